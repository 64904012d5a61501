//! The suite on real servers: the newest, the one in between and the oldest, one that syncs before it
//! answers, and three that keep streams together.
mod common;

use common::OnNats;
use dagbok_test_support::{SyncInterval, versions};

mod newest {
    use super::*;
    async fn fixture() -> OnNats {
        OnNats::one(versions::NEWEST, SyncInterval::Default)
    }
    dagbok_runlog::conformance_tests!(fixture);
}

mod newest_synced {
    use super::*;
    async fn fixture() -> OnNats {
        OnNats::one(versions::NEWEST, SyncInterval::Always)
    }
    dagbok_runlog::conformance_tests!(fixture);
}

mod middle {
    use super::*;
    async fn fixture() -> OnNats {
        OnNats::one(versions::MIDDLE, SyncInterval::Default)
    }
    dagbok_runlog::conformance_tests!(fixture);
}

mod oldest {
    use super::*;
    async fn fixture() -> OnNats {
        OnNats::one(versions::OLDEST, SyncInterval::Default)
    }
    dagbok_runlog::conformance_tests!(fixture);
}
