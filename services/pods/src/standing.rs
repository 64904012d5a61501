//! Whether pods are made: somebody may have cordoned or drained this executor, or the scheduler may speak another version.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dagbok_inbox::standing::{Said, said_of};
use dagbok_protocol::Cordon;
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use crate::shared::Shared;

/// How often is looked, at the least often.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What is known of it.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    cordoned: AtomicBool,
    look: Notify,
    drain: Mutex<Drain>,
    refused: Mutex<Option<String>>,
}

#[derive(Debug, Default)]
struct Drain {
    /// Whether was looked.
    is_known: bool,
    /// The cordon that was there at the first look, by its record: it was not said of this life that it leaves.
    found: Option<u64>,
    /// The one that was said since, and when its limit is over.
    asked: Option<(u64, Option<Instant>)>,
}

impl Standing {
    /// Whether it takes nothing new.
    pub(crate) fn is_cordoned(&self) -> bool {
        self.cordoned.load(Ordering::Relaxed)
    }

    /// Why no scheduler has this executor any more, where that is so.
    pub(crate) fn refused(&self) -> Option<String> {
        self.refused.lock().clone()
    }

    /// Has it looked at soon.
    pub(crate) fn look(&self) {
        self.look.notify_one();
    }

    /// Takes in what is said now.
    fn take(&self, cordon: Option<&Cordon>) {
        let is_cordoned = cordon.is_some();
        if self.cordoned.swap(is_cordoned, Ordering::Relaxed) != is_cordoned {
            tracing::info!(cordoned = is_cordoned, "whether pods are made has changed");
        }
        let mut known = self.drain.lock();
        // Or the one that was there then, in words that can be read now.
        if !std::mem::replace(&mut known.is_known, true) || known.found == Some(0) {
            known.found = cordon.map(|it| it.seq);
        }
        let found = known.found;
        known.asked = cordon.filter(|it| it.drain).filter(|it| Some(it.seq) != found).map(|it| {
            let until = || it.limit_ms.map(|ms| Instant::now() + Duration::from_millis(ms));
            known.asked.filter(|(seq, _)| *seq == it.seq).unwrap_or_else(|| (it.seq, until()))
        });
    }

    /// Whether it leaves now, where so many pods are there: once it is drained, with its last pod or when its time is over.
    fn leaves(&self, pods: usize) -> bool {
        let asked = self.drain.lock().asked;
        asked.is_some_and(|(_, until)| pods == 0 || until.is_some_and(|it| it <= Instant::now()))
    }
}

/// Looks once; an error where the scheduler speaks another version. What can't be read stands as it was.
pub(crate) async fn look(shared: &Shared) -> Result<(), String> {
    let said = said_of(&*shared.ports.state, &shared.settings.name);
    let Ok(Ok(said)) = timeout(LOOK_EVERY, said).await else { return Ok(()) };
    let Said { cordon, refused, is_whole } = said;
    if let Some(why) = refused {
        return Err(why);
    }
    if cordon.is_some() || is_whole {
        shared.standing.take(cordon.as_ref());
    }
    Ok(())
}

/// Looks for ever, and leaves where it is told to.
pub(crate) async fn follow(shared: Arc<Shared>) {
    let every = (shared.settings.lease / 4).min(LOOK_EVERY);
    loop {
        tokio::select! {
            () = sleep(every) => {}
            () = shared.standing.look.notified() => {}
        }
        if let Err(why) = look(&shared).await {
            tracing::error!(why, "this executor takes no work, and leaves");
            *shared.standing.refused.lock() = Some(why);
            shared.shutdown.start();
        }
        let pods = shared.book.len();
        if shared.standing.leaves(pods) {
            tracing::info!(
                pods,
                "this executor is drained: it leaves, and a later life finds the pods that are there"
            );
            shared.shutdown.start();
        }
    }
}

#[cfg(test)]
mod tests {
    use dagbok_events::{Actor, Timestamp};

    use super::*;

    fn drain(seq: u64, limit_ms: Option<u64>) -> Cordon {
        Cordon { seq, drain: true, limit_ms, by: Actor::Scheduler, reason: None, at: Timestamp(0) }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_drained_leaves_with_its_last_pod_or_when_the_time_is_over() {
        let it = Standing::default();
        it.take(None);
        assert!(!it.leaves(0));
        it.take(Some(&drain(7, Some(60_000))));
        assert!(it.is_cordoned() && it.leaves(0) && !it.leaves(1));
        tokio::time::advance(Duration::from_secs(59)).await;
        it.take(Some(&drain(7, Some(60_000))));
        assert!(!it.leaves(1), "a look begins no time anew");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(it.leaves(1));
        it.take(Some(&drain(9, None)));
        assert!(!it.leaves(1), "said anew without a limit");
        it.take(None);
        assert!(!it.is_cordoned() && !it.leaves(0));
    }

    #[test]
    fn a_life_that_begins_drained_stays_and_makes_nothing() {
        let it = Standing::default();
        it.take(Some(&drain(7, None)));
        assert!(it.is_cordoned() && !it.leaves(0));
        it.take(Some(&drain(8, None)));
        assert!(it.leaves(0), "that is said of this life");
        let it = Standing::default();
        it.take(Some(&Cordon { drain: false, ..drain(0, None) }));
        it.take(Some(&drain(7, None)));
        assert!(!it.leaves(0), "that was there, in words that could not be read");
    }
}
