//! Executors' presence as the scheduler sees it. Time counts against an executor only while the
//! keyed state answers: a broker that is down makes nobody absent.
use std::{collections::BTreeMap, time::Duration};

use dagbok_events::{ExecutorId, TryKey, decode_any};
use dagbok_protocol::{Presence, names};
use dagbok_runlog::Ports;
use dagbok_runtime::Shutdown;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};

/// How often presence is looked at, for a lease.
fn period(lease: Duration) -> Duration {
    (lease / 5).clamp(Duration::from_millis(200), Duration::from_secs(3))
}

/// One look: who is there, and how much time the look stands for.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) present: Vec<Presence>,
    pub(crate) elapsed: Duration,
}

/// Starts looking; ends with the term.
pub(crate) fn start(ports: &Ports, lease: Duration, term: &Shutdown) -> mpsc::Receiver<Look> {
    let (sender, looks) = mpsc::channel(1);
    let (state, ended, every) = (std::sync::Arc::clone(&ports.state), term.clone(), period(lease));
    term.spawn(async move {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = Instant::now();
        loop {
            tokio::select! {
                () = ended.started() => return,
                () = sender.closed() => return,
                _ = ticks.tick() => {}
            }
            let Ok(Ok(entries)) =
                tokio::time::timeout(every * 2, state.list(names::PRESENCE_PREFIX)).await
            else {
                // Time without an answer stands for nothing.
                last = Instant::now();
                continue;
            };
            let present = entries.iter().filter_map(|(key, entry)| {
                decode_any::<Presence>(&entry.value)
                    .inspect_err(|error| tracing::warn!(%key, %error, "presence can't be read"))
                    .ok()
            });
            // A look that came late, because this process was frozen, stands for no more than two.
            let look = Look { present: present.collect(), elapsed: last.elapsed().min(every * 2) };
            last = Instant::now();
            if sender.send(look).await.is_err() {
                return;
            }
        }
    });
    looks
}

/// What is remembered between looks.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// The last beat, and for how long it has not changed.
    silent: BTreeMap<ExecutorId, (Option<u64>, Duration)>,
    /// Tries that the log says an executor runs and its presence does not name.
    not_held: BTreeMap<TryKey, Duration>,
}

impl Watch {
    /// Takes a look in; returns who of `known` has been silent for a lease.
    pub(crate) fn silent_for<'a>(
        &mut self,
        look: &Look,
        known: impl Iterator<Item = &'a ExecutorId>,
        lease: Duration,
    ) -> Vec<ExecutorId> {
        let beats: BTreeMap<&ExecutorId, u64> =
            look.present.iter().map(|it| (&it.executor, it.beat)).collect();
        let mut before = std::mem::take(&mut self.silent);
        let mut gone = Vec::new();
        for executor in known {
            let beat = beats.get(executor).copied();
            let (last, silent) = before.remove(executor).unwrap_or((beat, Duration::ZERO));
            // A presence that is gone is silence, whatever the last beat was.
            let silent =
                if beat.is_some() && beat != last { Duration::ZERO } else { silent + look.elapsed };
            if silent >= lease {
                gone.push(executor.clone());
            }
            self.silent.insert(executor.clone(), (beat.or(last), silent));
        }
        gone
    }

    /// Takes in which running tries their present executors do not name; returns those so for `patience`.
    pub(crate) fn not_held_for(
        &mut self,
        elapsed: Duration,
        not_held: Vec<TryKey>,
        patience: Duration,
    ) -> Vec<TryKey> {
        let mut before = std::mem::take(&mut self.not_held);
        let mut given_up = Vec::new();
        for key in not_held {
            let since = before.remove(&key).unwrap_or(Duration::ZERO) + elapsed;
            if since >= patience {
                given_up.push(key);
            } else {
                self.not_held.insert(key, since);
            }
        }
        given_up
    }
}
