//! How many files of all folders are read at once: as many as there are parsers, and one of them at most that is only tried
//! again, so that files which take their whole time limit in several folders are in no other folder's way.
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::file_state::Why;

/// Room for readings. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Room {
    all: Arc<Semaphore>,
    tried_again: Arc<Semaphore>,
}

/// A reading's part of it, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    _again: Option<OwnedSemaphorePermit>,
    _one: OwnedSemaphorePermit,
}

impl Room {
    /// For so many readings.
    pub(super) fn new(parsers: usize) -> Self {
        let room = |seats| Arc::new(Semaphore::new(seats));
        Self { all: room(parsers.max(1)), tried_again: room(1) }
    }

    /// A part of it, once it is free. Cancel safe.
    pub(super) async fn enter(&self, why: Why) -> Seat {
        const OPEN: &str = "they are not closed";
        let again = match why {
            Why::Changed => None,
            Why::Retry => Some(Arc::clone(&self.tried_again).acquire_owned().await.expect(OPEN)),
        };
        let one = Arc::clone(&self.all).acquire_owned().await.expect(OPEN);
        Seat { _again: again, _one: one }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn what_is_only_tried_again_leaves_room_for_what_changed() {
        let room = Room::new(2);
        let again = room.enter(Why::Retry).await;
        assert!(room.enter(Why::Retry).now_or_never().is_none(), "one is");
        let changed = room.enter(Why::Changed).now_or_never().expect("there is room");
        assert!(room.enter(Why::Changed).now_or_never().is_none(), "both are taken");
        drop((again, changed));
        let both = [room.enter(Why::Changed).await, room.enter(Why::Changed).await];
        assert!(room.enter(Why::Retry).now_or_never().is_none());
        drop(both);
        assert!(room.enter(Why::Retry).now_or_never().is_some());
    }
}
