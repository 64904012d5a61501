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

/// What a cluster makes different, on one cluster: a start of three servers for every case would take
/// minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_together() {
    use dagbok_runlog::conformance::{blobs, log, queue, signals, state};
    let fixture = OnNats::three(versions::NEWEST);
    log::who_is_behind_is_refused_and_told_what_is_last(&fixture).await;
    log::who_is_ahead_is_refused_and_told_what_is_last(&fixture).await;
    log::a_subject_is_read_alone_in_order_and_up_to_a_place(&fixture).await;
    log::appends_need_not_wait_for_one_another(&fixture).await;
    log::a_gap_in_the_pipeline_voids_the_rest(&fixture).await;
    log::racing_writers_each_win_a_place_of_their_own(&fixture).await;
    log::a_cancelled_append_is_there_whole_or_not_at_all(&fixture).await;
    log::follow_brings_what_is_there_then_what_comes(&fixture).await;
    log::followers_see_every_entry_once_in_order(&fixture).await;
    log::two_processes_share_one_order(&fixture).await;
    queue::a_key_is_taken_while_stored_and_in_flight(&fixture).await;
    queue::each_item_goes_to_one_worker(&fixture).await;
    queue::a_later_process_finds_the_items(&fixture).await;
    state::create_is_for_what_is_not_there(&fixture).await;
    state::racing_creators_have_one_winner(&fixture).await;
    state::racing_updates_lose_nothing(&fixture).await;
    state::watch_then_list_misses_nothing(&fixture).await;
    blobs::many_at_once_do_not_disturb_one_another(&fixture).await;
    signals::a_request_is_answered(&fixture).await;
}
