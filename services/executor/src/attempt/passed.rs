//! Items that are passed on since there is no room for them here ([`dagbok_inbox::passed`]). A queue in this process has nobody else
//! who could have begun one, and needs no notes.
use std::sync::Arc;

use dagbok_inbox::passed;
use dagbok_protocol::{WorkItem, names};

use crate::{held::Held, shared::Shared};

/// Hands an item on. `unbegun` says that nobody can have begun it, neither here nor before.
pub(super) async fn pass_on(shared: &Shared, held: &Held, delivered: u32, unbegun: bool) {
    if shared.settings.fencing && unbegun {
        passed::note(&*shared.ports.state, &held.key, delivered).await;
    }
    passed::hand_on(&held.key, &*held.handle(), delivered).await;
}

/// Whether the delivery before this one was passed on unbegun.
pub(super) async fn on(shared: &Shared, item: &WorkItem, delivered: u32) -> bool {
    !shared.settings.fencing
        || passed::was_passed_on(&*shared.ports.state, &item.key, delivered).await
}

/// It begins: the note says nothing any more.
pub(super) fn forget(shared: &Arc<Shared>, item: &WorkItem, passed: bool) {
    if passed && shared.settings.fencing {
        let (shared, key) = (Arc::clone(shared), names::passed_key(&item.key));
        // It goes by itself where this fails.
        tokio::spawn(async move { drop(shared.ports.state.delete(&key).await) });
    }
}
