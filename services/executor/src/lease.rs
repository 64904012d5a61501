//! Keeps the lease: renews the items and the presence, and sees what follows where that fails.
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use dagbok_protocol::{Answer, PROTOCOL, Presence, RefusalCode, names};
use futures::future::join_all;
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout},
};

use crate::{
    ExecutorStats,
    fence::Advice,
    held::{Control, Kill},
    shared::{Shared, since_boot},
};

/// Two puts of the presence for a change are at least this far apart.
const CHANGE_EVERY: Duration = Duration::from_millis(50);
/// How often what is idle is let go, and the kernel's counters are looked at.
const TIDY_EVERY: Duration = Duration::from_secs(10);

/// The lease of one executor.
#[derive(Debug)]
pub(crate) struct Lease {
    shared: Arc<Shared>,
    beat: AtomicU64,
    rejoin: Notify,
}

impl Lease {
    /// Not renewed yet.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, beat: AtomicU64::new(0), rejoin: Notify::new() }
    }

    /// What this executor says of itself now.
    pub(crate) fn presence(&self) -> Presence {
        let Shared { settings, clock, place, holds, shutdown, isolation, .. } = &*self.shared;
        Presence {
            executor: settings.executor.clone(),
            hostname: settings.hostname.clone(),
            slots: settings.slots,
            // Who is there for one try pulls from none.
            queues: if settings.claim.is_some() { Vec::new() } else { settings.queues.clone() },
            version: env!("CARGO_PKG_VERSION").to_owned(),
            python: place.as_ref().map(|place| place.python()).unwrap_or_default(),
            resources: settings.resources.clone(),
            isolation: isolation.clone(),
            name: Some(settings.name.clone()),
            protocol: Some(PROTOCOL),
            part_of: settings.claim.as_ref().and_then(|claim| claim.maker.clone()),
            draining: shutdown.is_started(),
            cordoned: self.shared.standing.is_cordoned(),
            stays: !settings.leaves,
            beat: self.beat.fetch_add(1, Ordering::Relaxed) + 1,
            lease_ms: u64::try_from(settings.lease.as_millis()).ok(),
            at: clock.now(),
            holds: holds.names(),
        }
    }

    /// Renews items and presence a few times in each lease, soon again where that failed, and the presence
    /// with each change.
    pub(crate) async fn renew(&self) {
        let beat = self.shared.settings.lease / 4;
        let again = self.shared.settings.lease / 30;
        let mut due = Instant::now();
        loop {
            tokio::select! {
                () = sleep_until(due) => {
                    let renewed = self.beat(beat).await;
                    due = Instant::now() + if renewed { beat } else { again };
                }
                () = self.shared.holds.changed() => {
                    self.put_presence(beat).await;
                    sleep(CHANGE_EVERY).await;
                }
            }
        }
    }

    async fn beat(&self, limit: Duration) -> bool {
        let sent = since_boot();
        let holds = self.shared.holds.all();
        let items = async {
            let renewals =
                holds.iter().map(|held| async move { held.handle().progress().await.is_ok() });
            let all = timeout(limit, join_all(renewals)).await;
            all.is_ok_and(|all| !all.is_empty() && all.into_iter().all(|one| one))
        };
        let (presence, items) = tokio::join!(self.put_presence(limit), items);
        if !presence && items {
            self.good(sent).await;
        }
        if !presence && !items {
            ExecutorStats::count(&self.shared.settings.stats.failed_beats);
            self.excuse().await;
        }
        presence || items
    }

    /// Puts the presence; a success is a renewal.
    pub(crate) async fn put_presence(&self, limit: Duration) -> bool {
        let sent = since_boot();
        let Shared { settings, ports, .. } = &*self.shared;
        let presence = dagbok_events::encode_any(&self.presence());
        let key = names::presence_key(&settings.executor);
        let put = ports.state.put(&key, presence.into(), Some(settings.lease * 2));
        let done = matches!(timeout(limit, put).await, Ok(Ok(_)));
        if done {
            self.good(sent).await;
        }
        done
    }

    /// Where the broker is down for everybody, nobody can be given the work.
    async fn excuse(&self) {
        let now = since_boot();
        if self.shared.settings.broker_is_down() {
            self.good(now).await;
        }
    }

    async fn good(&self, sent: Duration) {
        let verdict = self.shared.fence.lock().good(sent);
        self.act(verdict);
        self.tick().await;
    }

    /// Looks at the clock often, whatever the renewals do meanwhile.
    pub(crate) async fn watch(&self) {
        let every = (self.shared.settings.lease / 30)
            .clamp(Duration::from_millis(20), Duration::from_secs(1));
        let mut looks = interval(every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tidied = Instant::now();
        loop {
            looks.tick().await;
            let now = since_boot();
            let stale = self.shared.fence.lock().is_stale(now);
            if stale && self.shared.settings.broker_is_down() {
                self.good(now).await;
            } else {
                let verdict = self.shared.fence.lock().look(now);
                self.act(verdict);
            }
            if tidied.elapsed() >= TIDY_EVERY {
                tidied = Instant::now();
                self.shared.oom.look();
                self.shared.logs.trim();
                if let Some(place) = &self.shared.place {
                    place.trim();
                }
            }
        }
    }

    fn act(&self, verdict: Advice) {
        if !self.shared.settings.fencing {
            return;
        }
        let holds = &self.shared.holds;
        let held = holds.all().len();
        match verdict {
            Advice::Fine => {}
            Advice::Freeze => {
                tracing::warn!(
                    held,
                    "the lease can't be renewed: tries are stopped where they are"
                );
                holds.tell_all(&Control::Freeze);
            }
            Advice::Thaw => {
                tracing::info!(held, "the lease is renewed: tries go on");
                holds.tell_all(&Control::Thaw);
            }
            Advice::Kill => {
                if held > 0 {
                    tracing::error!(held, "the lease was not renewed in time: tries are killed");
                }
                holds.tell_all(&Control::Kill(Kill::Fenced));
                self.rejoin.notify_one();
            }
        }
    }

    /// Tells the place how long tries may go on there if nothing more is heard of this executor.
    async fn tick(&self) {
        if let (true, Some(place)) = (self.shared.settings.fencing, &self.shared.place) {
            let left = self.shared.fence.lock().left(since_boot());
            place.tick(left).await;
        }
    }

    /// Says that this executor is there: at its start, and again where it may have been given up.
    pub(crate) async fn join(&self) {
        loop {
            let joined = self.shared.reporter.joined(self.presence());
            match joined.send_asking().await {
                Ok(waiting) => tokio::select! {
                    answer = waiting.heard() => {
                        self.answered(answer);
                        self.rejoin.notified().await;
                    }
                    () = self.rejoin.notified() => {}
                },
                Err(error) => {
                    tracing::error!(%error, "this executor can't introduce itself");
                    self.rejoin.notified().await;
                }
            }
            joined.forget();
            // Not while it can't be renewed: once is enough for one gap.
            sleep(self.shared.settings.lease / 4).await;
        }
    }

    /// A scheduler that does not have it says so. An answer that is lost is no matter: where it can't be had is read
    /// in the keyed state as well.
    fn answered(&self, answer: Option<Answer>) {
        let Some(Answer::Refused(refusal)) = answer else { return };
        if refusal.code == RefusalCode::ProtocolTooFar {
            tracing::error!(
                why = refusal.message,
                "the scheduler refuses this executor, which leaves"
            );
            self.shared.standing.refuse(refusal.message);
            self.shared.shutdown.start();
        }
    }
}
