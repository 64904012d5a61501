//! Where rows stand: a generation that is written to, the one before it while its rows move, and the cold ones.
use std::{
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use arc_swap::ArcSwap;

use crate::{
    cold::Cold,
    hot::Hot,
    merge::{Bytes, Merged, Pairs},
    store::StoreError,
};

/// The places, as a reader has them: what it holds stays readable though rows move meanwhile.
#[derive(Clone)]
pub(crate) struct Levels {
    pub(crate) hot: Arc<Hot>,
    /// A whole generation that moves to the cold rows.
    pub(crate) settling: Option<Arc<Hot>>,
    pub(crate) cold: Option<Cold>,
}

impl Levels {
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        for hot in [Some(&self.hot), self.settling.as_ref()].into_iter().flatten() {
            if let Some(said) = hot.get(key)? {
                return Ok(said.row().map(Bytes::Hot));
            }
        }
        let cold = self.cold.as_ref().map(|cold| cold.get(key)).transpose()?.flatten();
        Ok(cold.map(Bytes::Cold))
    }

    pub(crate) fn range(&self, range: (Bound<&[u8]>, Bound<&[u8]>)) -> Merged {
        let hot = [Some(&self.hot), self.settling.as_ref()].into_iter().flatten();
        // A walk keeps the generation, and with it its files, until it is over.
        let hot = hot.map(|hot| (Box::new(hot.range(range)) as Pairs, Some(Arc::clone(hot))));
        let cold = self.cold.as_ref().map(|cold| (Box::new(cold.range(range)) as Pairs, None));
        Merged::new(hot.chain(cold))
    }

    /// Whether what is gone may still be in an older place.
    pub(crate) fn has_older(&self) -> bool {
        self.settling.is_some() || self.cold.is_some()
    }
}

/// The thread that moves a generation's rows to the cold ones.
pub(crate) struct Mover {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Mover {
    pub(crate) fn start(levels: &Arc<ArcSwap<Levels>>) -> Result<Self, StoreError> {
        let stop = Arc::new(AtomicBool::new(false));
        let (levels, stopped) = (Arc::clone(levels), Arc::clone(&stop));
        let thread = thread::Builder::new()
            .name("move-rows".to_owned())
            .spawn(move || move_rows(&levels, &stopped))?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Whether it does nothing more, whatever came of it.
    pub(crate) fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until the rows have moved.
    pub(crate) fn finish(mut self) {
        self.join();
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("moving rows to the cold ones panicked: they stay where they are");
        }
    }
}

impl Drop for Mover {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
        self.join();
    }
}

/// Moves the rows of the generation that settles, and puts the cold ones in order. Tries again where the disk
/// refuses: until then they are read from where they are, and the next generation grows.
fn move_rows(levels: &ArcSwap<Levels>, stop: &AtomicBool) {
    const WAIT: Duration = Duration::from_secs(10);
    loop {
        let Levels { hot, settling: Some(settling), cold: Some(cold) } = (**levels.load()).clone()
        else {
            return;
        };
        let all = settling.range((Bound::Unbounded, Bound::Unbounded));
        match cold.take_in(all, || !stop.load(Ordering::Relaxed)) {
            Ok(true) => {
                levels.store(Arc::new(Levels { hot, settling: None, cold: Some(cold.clone()) }));
                settling.spend();
                drop(settling);
                if let Err(error) = cold.merge(|| !stop.load(Ordering::Relaxed)) {
                    tracing::warn!(%error, "cold rows can't be merged: the next that come tries again");
                }
                return;
            }
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(%error, "rows can't be moved to the cold ones; trying again in {WAIT:?}");
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                thread::park_timeout(WAIT);
            }
        }
    }
}
