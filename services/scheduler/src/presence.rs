//! Executors' presence as the scheduler sees it. Time counts against an executor only while the
//! keyed state answers: a broker that is down makes nobody absent.
use std::{collections::BTreeMap, time::Duration};

use dagbok_events::{ExecutorId, TryKey, decode_any};
use dagbok_protocol::{Presence, names};
use dagbok_runlog::Ports;
use dagbok_runtime::Shutdown;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
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

impl Look {
    /// The shortest lease of those who are there, `lease` for those who name none.
    fn shortest_lease(&self, lease: Duration) -> Duration {
        let leases = self.present.iter().filter_map(|it| it.lease_ms).map(Duration::from_millis);
        leases.min().map_or(lease, |shortest| shortest.min(lease))
    }
}

/// Starts looking, as often as the shortest lease asks for; ends with the term.
pub(crate) fn start(ports: &Ports, lease: Duration, term: &Shutdown) -> mpsc::Receiver<Look> {
    let (sender, looks) = mpsc::channel(1);
    let (state, ended) = (std::sync::Arc::clone(&ports.state), term.clone());
    term.spawn(async move {
        let (mut last, mut next) = (Instant::now(), Instant::now());
        let mut every = period(lease);
        loop {
            tokio::select! {
                () = ended.started() => return,
                () = sender.closed() => return,
                () = sleep_until(next) => next = Instant::now() + every,
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
            every = period(look.shortest_lease(lease));
            next = next.min(last + every);
            if sender.send(look).await.is_err() {
                return;
            }
        }
    });
    looks
}

/// What is remembered between looks.
#[derive(Debug, Default)]
pub(crate) struct PresenceWatch {
    silent: BTreeMap<ExecutorId, Silence>,
    /// Tries that the log says an executor runs and its presence does not name.
    not_held: BTreeMap<TryKey, Duration>,
}

/// What an executor's presence said last, and how long ago.
#[derive(Debug, Default)]
struct Silence {
    beat: Option<u64>,
    /// Its own, where it names one.
    lease: Option<Duration>,
    /// For how long the beat has not changed.
    lasts: Duration,
}

impl PresenceWatch {
    /// Takes a look in; returns who of `known` has been silent for its lease: its own, or else `lease`.
    pub(crate) fn silent_for<'a>(
        &mut self,
        look: &Look,
        known: impl Iterator<Item = &'a ExecutorId>,
        lease: Duration,
    ) -> Vec<ExecutorId> {
        let present: BTreeMap<&ExecutorId, &Presence> =
            look.present.iter().map(|it| (&it.executor, it)).collect();
        let mut before = std::mem::take(&mut self.silent);
        let mut gone = Vec::new();
        for executor in known {
            let there = present.get(executor);
            let beat = there.map(|it| it.beat);
            let own = there.and_then(|it| it.lease_ms).map(Duration::from_millis);
            let mut silence = before.remove(executor).unwrap_or(Silence {
                beat,
                lease: own,
                lasts: Duration::ZERO,
            });
            // A presence that is gone is silence, whatever the last beat was.
            silence.lasts = if beat.is_some() && beat != silence.beat {
                Duration::ZERO
            } else {
                silence.lasts + look.elapsed
            };
            silence.beat = beat.or(silence.beat);
            silence.lease = own.or(silence.lease);
            if silence.lasts >= silence.lease.unwrap_or(lease) {
                gone.push(executor.clone());
            }
            self.silent.insert(executor.clone(), silence);
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

#[cfg(test)]
mod tests {
    use dagbok_events::Timestamp;

    use super::*;

    fn present(beat: u64, lease_ms: Option<u64>) -> Presence {
        Presence {
            executor: ExecutorId::new("e").expect("an id"),
            hostname: String::new(),
            slots: 1,
            queues: vec![],
            version: String::new(),
            python: String::new(),
            resources: dagbok_events::Resources::default(),
            isolation: String::new(),
            name: None,
            protocol: None,
            part_of: None,
            cordoned: false,
            stays: false,
            draining: false,
            beat,
            lease_ms,
            at: Timestamp(0),
            holds: vec![],
        }
    }

    /// After how many looks of a second an executor that said this once is given up.
    fn looks(lease_ms: Option<u64>) -> usize {
        let known = [ExecutorId::new("e").expect("an id")];
        let mut watch = PresenceWatch::default();
        let mut look = |present: Vec<Presence>| {
            let look = Look { present, elapsed: Duration::from_secs(1) };
            !watch.silent_for(&look, known.iter(), Duration::from_secs(30)).is_empty()
        };
        assert!(!look(vec![present(1, lease_ms)]) && !look(vec![present(2, lease_ms)]));
        // It is there still, and then its presence is gone as well.
        assert!(!look(vec![present(2, lease_ms)]));
        (2..1_000).find(|_| look(vec![])).expect("some time")
    }

    #[test]
    fn an_executor_is_silent_for_its_own_lease() {
        assert_eq!(looks(Some(5_000)), 5);
        assert_eq!(looks(Some(60_000)), 60);
        assert_eq!(looks(None), 30);
    }
}
