//! One term of leading: the loop that decides and appends.
use std::{collections::BTreeSet, time::Duration};

use dagbok_domain::namespace::{Namespace, Outcome, Proposal};
use dagbok_events::{ExecutorId, LostWhy, Record, RunKey, TryKey};
use dagbok_inbox::INBOX_LEASE;
use dagbok_leading::Steady;
use dagbok_protocol::{Order, limits, names};
use dagbok_runlog::{AppendError, Ports, Seq};
use dagbok_runtime::{Clock, Shutdown};
use dagbok_telemetry::metrics;
use tokio::{sync::mpsc, time::Instant};

use crate::{
    SchedulerError, SchedulerSettings, archivist,
    bad::Bad,
    cold,
    desk::Desk,
    effects::{Dispatcher, Effects},
    hold,
    inbox::{self, Received},
    load::{Loaded, load},
    offers::Offers,
    presence::{self, Look},
    snapshot,
    stage::Stage,
};

/// The loop looks at the clock at least this often, in case somebody set it.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);
/// How soon a command comes again that can't be answered now.
const NOT_NOW: Duration = Duration::from_millis(200);
/// Commands decided in one batch.
const COMMANDS_AT_ONCE: usize = 256;

/// Why a term ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TermEnd {
    /// The service is to end.
    Asked,
    /// Somebody else may lead.
    LeaseLost,
    /// Somebody else wrote: the fold is behind.
    Outdated,
}

/// One term.
#[derive(Debug)]
pub(crate) struct Leader {
    ports: Ports,
    settings: SchedulerSettings,
    clock: Clock,
    term: Shutdown,
}

/// What woke the loop.
enum Wake {
    Asked,
    Commands,
    Look(Look),
    Time,
}

/// How soon what waits for room is counted again at the soonest, and after how many times as long as counting took.
const COUNT_EVERY: Duration = Duration::from_secs(1);
const COUNT_SHARE: u32 = 100;

impl Leader {
    pub(crate) fn new(
        ports: Ports,
        settings: SchedulerSettings,
        clock: Clock,
        term: Shutdown,
    ) -> Self {
        Self { ports, settings, clock, term }
    }

    /// Leads until the term ends.
    pub(crate) async fn lead(&self) -> Result<TermEnd, SchedulerError> {
        // Counted from the snapshot: many short lives would else never store one.
        let Loaded { namespace, snapshot_at } =
            load(&self.ports, self.settings.accept_shorter_log).await?;
        metrics().term_began(namespace.last_seq());
        let mut commands = inbox::open(&self.ports, &self.term).await?;
        let mut looks = presence::start(&self.ports, self.settings.executor_lease, &self.term);
        let lease = self.settings.executor_lease;
        let out = Dispatcher::start(self.ports.clone(), (lease, self.settings.lineage), &self.term);
        if let Some(archiving) = &self.settings.archiving {
            archivist::start(&self.ports, archiving.clone(), self.clock.clone(), &self.term);
        }
        let steady = Steady::new(self.clock.now(), namespace.last_clock());
        let mut desk = Desk::new(namespace, snapshot_at, out, steady);
        self.hand_out_values(&mut desk).await?;
        if let Some(end) = self.forget_executors(&mut desk).await? {
            return Ok(end);
        }
        if let Some(end) = self.hold(&mut desk).await? {
            return Ok(end);
        }
        self.say_clock(&desk.namespace);
        metrics_of(&mut desk);
        let mut offers = Offers::new(self.settings.offer_again);
        let mut batch = Vec::with_capacity(COMMANDS_AT_ONCE);
        loop {
            batch.append(&mut desk.later);
            let wake = if std::mem::take(&mut desk.again) && batch.is_empty() {
                Wake::Time
            } else if batch.is_empty() {
                self.next(&desk, offers.patience(), &mut commands, &mut batch, &mut looks).await
            } else {
                Wake::Commands
            };
            let mut stage = Stage::default();
            match wake {
                Wake::Asked => return self.finish(desk).await,
                Wake::Commands => {
                    for received in batch.drain(..) {
                        self.decide(&mut desk, &mut stage, received).await?;
                    }
                    // A busy inbox must not keep the loop from seeing who is there.
                    if let Ok(look) = looks.try_recv() {
                        self.look(&mut desk, &mut stage, &look);
                    }
                }
                Wake::Look(look) => self.look(&mut desk, &mut stage, &look),
                Wake::Time => {}
            }
            let due = offers.due(&desk.namespace, async || self.inbox_is_empty().await).await;
            stage.effects.work.extend(due);
            desk.heard = offers.is_heard();
            self.plan(&mut desk, &mut stage).await?;
            for key in std::mem::take(&mut stage.taken_up) {
                let values = cold::values(&self.ports, &desk.namespace, &key).await?;
                stage.effects.values.extend(values);
            }
            if let Some(end) = self.commit(&mut desk, stage).await? {
                return Ok(end);
            }
            self.snapshot_if_due(&mut desk);
        }
    }

    /// Says where the log was written by a clock that showed much more than this one does.
    fn say_clock(&self, namespace: &Namespace) {
        let now = self.clock.now();
        let ahead = namespace.stamp_ahead(now);
        if ahead.0 > limits::CLOCK_BACK_US {
            tracing::error!(
                ahead = ?ahead.to_std(),
                "the log's last record is stamped later than this clock shows: the scheduler's clock was \
                 ahead, or is behind now. What falls due goes by this clock; stamps stand still until it gets \
                 there. `dagbok doctor` compares clocks"
            );
        }
        metrics().set_stamp_ahead(ahead.to_std());
    }

    async fn next(
        &self,
        desk: &Desk,
        patience: Duration,
        commands: &mut mpsc::Receiver<Received>,
        batch: &mut Vec<Received>,
        looks: &mut mpsc::Receiver<Look>,
    ) -> Wake {
        let now = self.clock.now();
        let due = desk.namespace.next_due(now).map_or(LONGEST_SLEEP, |due| due.since(now).to_std());
        let most = patience.min(LONGEST_SLEEP);
        tokio::select! {
            biased;
            () = self.term.started() => Wake::Asked,
            count = commands.recv_many(batch, COMMANDS_AT_ONCE) => {
                if count == 0 { Wake::Asked } else { Wake::Commands }
            }
            Some(look) = looks.recv() => Wake::Look(look),
            () = tokio::time::sleep(due.min(most)) => Wake::Time,
        }
    }

    async fn decide(
        &self,
        desk: &mut Desk,
        stage: &mut Stage,
        received: Received,
    ) -> Result<(), SchedulerError> {
        let mut decision = desk.namespace.decide(self.clock.now(), &received.command);
        if let Outcome::Needs(key) = &decision.outcome {
            if !stage.drafts.is_empty() {
                desk.later.push(received);
                return Ok(());
            }
            let logged = Seq(desk.namespace.last_seq());
            if cold::revive(&self.ports, &mut desk.namespace, &key.clone(), logged).await? {
                decision = desk.namespace.decide(self.clock.now(), &received.command);
            }
        }
        stage.decided(&mut desk.namespace, received, decision);
        Ok(())
    }

    /// Carries out what the rules call for, until they call for nothing more.
    async fn plan(&self, desk: &mut Desk, stage: &mut Stage) -> Result<(), SchedulerError> {
        while !stage.is_full() {
            let now = self.clock.now();
            desk.steady.look(now);
            let proposals = if desk.heard && desk.steady.may_time_out() {
                desk.namespace.plan(now)
            } else {
                desk.namespace.plan_in_doubt(now)
            };
            let mut done = 0;
            for proposal in &proposals {
                let record = match desk.namespace.needs_to(proposal) {
                    Some(key) => self.carry_out_about(desk, stage, proposal, &key).await?,
                    None => desk.namespace.carry_out(now, proposal),
                };
                if let Some(record) = record {
                    let fits = desk.put(stage, &record);
                    if !fits {
                        desk.namespace.set_aside(proposal);
                    }
                    done += usize::from(fits);
                }
            }
            if done == 0 {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The same of a proposal that is about a run which is over.
    async fn carry_out_about(
        &self,
        desk: &mut Desk,
        stage: &Stage,
        proposal: &Proposal,
        key: &RunKey,
    ) -> Result<Option<Record>, SchedulerError> {
        if stage.is_about(key) {
            desk.again = true;
            return Ok(None);
        }
        let now = self.clock.now();
        let logged = Seq(desk.namespace.last_seq() - stage.drafts.len() as u64);
        Ok(if cold::revive(&self.ports, &mut desk.namespace, key, logged).await? {
            desk.namespace.carry_out(now, proposal)
        } else {
            desk.namespace.skip_in_backfill(now, &key.dag_id)
        })
    }

    /// Appends the batch and lets its effects go. The fold is ahead of the log until this returns.
    async fn commit(
        &self,
        desk: &mut Desk,
        stage: Stage,
    ) -> Result<Option<TermEnd>, SchedulerError> {
        if stage.is_empty() {
            return Ok(None);
        }
        let Stage { drafts, mut effects, bad, .. } = stage;
        let records = drafts.len() as u64;
        let is_of_now = if records > 0 {
            let expected = Seq(desk.namespace.last_seq() - records);
            let started = Instant::now();
            effects.since = Some(started);
            match self.ports.log.append(expected, drafts).await {
                Ok(_) => {
                    metrics().appended(records, started.elapsed());
                    metrics().term_reached(desk.namespace.last_seq());
                    bad.iter().for_each(Bad::say);
                    true
                }
                Err(AppendError::Conflict { .. }) => false,
                Err(error) => return Err(error.into()),
            }
        } else {
            self.is_of_now(desk, &mut effects).await
        };
        if !is_of_now {
            effects.hand_back(Duration::ZERO).await;
            return Ok(Some(TermEnd::Outdated));
        }
        if !effects.is_empty() && desk.out.send(effects).await.is_err() {
            return Ok(Some(TermEnd::Asked));
        }
        Ok(None)
    }

    /// Whether what no append has checked was decided out of a fold that ends where the log does. Where
    /// the log can't say, those commands are handed back, and the rest holds.
    async fn is_of_now(&self, desk: &Desk, effects: &mut Effects) -> bool {
        if effects.unrecorded.is_empty() {
            return true;
        }
        match self.ports.log.last().await {
            Ok(last) => last.0 == desk.namespace.last_seq(),
            Err(error) => {
                tracing::warn!(%error, "where the log ends can't be seen: some commands must wait");
                let unrecorded = std::mem::take(&mut effects.unrecorded);
                Effects { unrecorded, ..Effects::default() }.hand_back(NOT_NOW).await;
                true
            }
        }
    }

    async fn inbox_is_empty(&self) -> bool {
        let settings = dagbok_runlog::QueueSettings { lease: INBOX_LEASE };
        match self.ports.queues.open(names::INBOX, settings).await {
            Ok(queue) => matches!(queue.depth().await, Ok(0)),
            Err(_) => false,
        }
    }

    /// Values that tasks handed on, for tasks to read: the keyed state may be new, or have missed some. Those of
    /// runs that are over go, where whoever was to take them away died before.
    async fn hand_out_values(&self, desk: &mut Desk) -> Result<(), SchedulerError> {
        let mut effects = Effects { fills: true, ..Effects::default() };
        effects.values.extend(cold::values_left(&self.ports, &desk.namespace).await?);
        effects.values.extend(cold::said_to_executors(&self.ports, &desk.namespace).await?);
        for run in desk.namespace.active_runs() {
            effects.values.extend(cold::values(&self.ports, &desk.namespace, run.key()).await?);
        }
        if desk.out.send(effects).await.is_err() {
            tracing::debug!("the term ended at its start");
        }
        Ok(())
    }

    /// Makes limits and pools what the configuration asks for, where they are not.
    async fn hold(&self, desk: &mut Desk) -> Result<Option<TermEnd>, SchedulerError> {
        let Some(holds) = &self.settings.holds else { return Ok(None) };
        let mut stage = Stage::default();
        for record in hold::records(&desk.namespace, holds, self.clock.now()) {
            desk.put(&mut stage, &record);
        }
        self.commit(desk, stage).await
    }

    /// Gives up the tries of executors that ended when this process did, where they all did.
    async fn forget_executors(&self, desk: &mut Desk) -> Result<Option<TermEnd>, SchedulerError> {
        if !self.settings.executors_end_with_process {
            return Ok(None);
        }
        let known: Vec<ExecutorId> = desk.namespace.executors().cloned().collect();
        let mut stage = Stage::default();
        for executor in known {
            for record in desk.namespace.executor_gone(self.clock.now(), &executor) {
                desk.put(&mut stage, &record);
            }
        }
        self.commit(desk, stage).await
    }

    /// Takes in who is there: gives up the tries of who is not, and repeats orders that were not heard.
    fn look(&self, desk: &mut Desk, stage: &mut Stage, look: &Look) {
        let lease = self.settings.executor_lease;
        let known: Vec<ExecutorId> = desk.namespace.executors().cloned().collect();
        for executor in desk.watch.silent_for(look, known.iter(), lease) {
            tracing::warn!(%executor, "an executor is gone: its tries are lost");
            for record in desk.namespace.executor_gone(self.clock.now(), &executor) {
                desk.put(stage, &record);
            }
        }
        for presence in &look.present {
            for held in &presence.holds {
                if desk.namespace.is_over(&held.key) {
                    let (key, why) = (held.key.clone(), "the try is not in flight any more".into());
                    let order = (presence.executor.clone(), Order::Kill { key, why });
                    stage.effects.orders.push(order);
                }
            }
        }
        let not_held = not_held(&desk.namespace, look);
        for key in desk.watch.not_held_for(look.elapsed, not_held, lease * 2) {
            tracing::warn!(%key, "its executor does not hold this try: it is lost");
            if let Some(record) = desk.namespace.give_up(self.clock.now(), &key, LostWhy::NotHeld) {
                desk.put(stage, &record);
            }
        }
        metrics_of(desk);
        metrics().set_stamp_ahead(desk.namespace.stamp_ahead(self.clock.now()).to_std());
    }

    fn snapshot_if_due(&self, desk: &mut Desk) {
        let last = desk.namespace.last_seq();
        if last - desk.snapshot_at >= self.settings.snapshot_every {
            desk.snapshot_at = last;
            let (frozen, ports) = (desk.namespace.freeze(), self.ports.clone());
            self.term.spawn(async move { snapshot::store(&ports, frozen).await });
        }
    }

    async fn finish(&self, desk: Desk) -> Result<TermEnd, SchedulerError> {
        let last = desk.namespace.last_seq();
        if last > desk.snapshot_at {
            snapshot::store(&self.ports, desk.namespace.freeze()).await;
        }
        drop(desk.out);
        self.term.finished(Duration::from_secs(5)).await;
        Ok(TermEnd::Asked)
    }
}

/// Tries that the log says a present executor runs and that it does not name.
fn not_held(namespace: &Namespace, look: &Look) -> Vec<TryKey> {
    let mut missing = Vec::new();
    for presence in &look.present {
        let held: BTreeSet<&TryKey> = presence.holds.iter().map(|held| &held.key).collect();
        let running = namespace.held_by(&presence.executor);
        missing.extend(running.into_iter().filter(|key| !held.contains(key)));
    }
    missing
}

fn metrics_of(desk: &mut Desk) {
    let namespace = &desk.namespace;
    metrics().set_tasks("in_flight", u64::from(namespace.in_flight()));
    metrics().set_runs("active", namespace.active_runs().count() as u64);
    // All that is ready is walked: where that is much, decisions must not wait for it often.
    let began = Instant::now();
    if began >= desk.count_at {
        let waiting = namespace.waiting_for_room().into_iter();
        let waiting = waiting.map(|(pool, it)| (pool.to_string(), (it.ready, it.starving)));
        metrics().set_waiting(Some(waiting.collect()));
        desk.count_at = Instant::now() + (began.elapsed() * COUNT_SHARE).max(COUNT_EVERY);
    }
}
