//! A scheduler service: fold, decide, plan, append if last, and let the effects go once that is safe. It
//! dies wherever that hurts most.
use std::collections::BTreeMap;

use dagbok_domain::namespace::{Namespace, Outcome, Proposal};
use dagbok_events::{ExecutorId, Fact, LostWhy, Record, RunKey, Scope, Timestamp, TryKey};
use dagbok_protocol::{Answer, Command, CommandBody, names};

use crate::world::{LEASE, SECOND, World};

/// A scheduler process, in all its lives.
#[derive(Debug)]
pub(crate) struct Scheduler {
    /// When it next does something by itself.
    pub(crate) wake: i64,
    /// How far its clock is off.
    skew: i64,
    fold: Option<Namespace>,
    loaded_at: i64,
    offered: bool,
    look_at: i64,
    silent: BTreeMap<ExecutorId, (Option<u64>, i64)>,
    not_held: BTreeMap<TryKey, i64>,
}

/// A batch in the making.
#[derive(Default)]
struct Batch {
    records: Vec<Record>,
    acks: Vec<u64>,
    /// Commands to be decided once this batch is in the log.
    later: Vec<u64>,
    answers: Vec<(String, Answer)>,
    offer: bool,
}

/// Where in an append a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    Before,
    InMid,
    After,
    /// The commands are done with, and nobody was told.
    Untold,
}

impl Scheduler {
    pub(crate) fn new(world: &mut World) -> Self {
        let skew = world.some_skew();
        Self {
            wake: world.now,
            skew,
            fold: None,
            loaded_at: 0,
            offered: false,
            look_at: 0,
            silent: BTreeMap::new(),
            not_held: BTreeMap::new(),
        }
    }

    /// Whether it is up and would see at once that a command came.
    pub(crate) fn listens(&self) -> bool {
        self.fold.is_some()
    }

    /// What it has folded, where it is up.
    pub(crate) fn fold(&self) -> Option<&Namespace> {
        self.fold.as_ref()
    }

    fn clock(&self, world: &World) -> Timestamp {
        Timestamp(world.now + self.skew)
    }

    /// One turn of its loop.
    pub(crate) fn step(&mut self, world: &mut World) {
        if world.trouble(4) {
            world.note("scheduler frozen");
            self.wake = world.now + world.rng.between(SECOND, 4 * LEASE);
            return;
        }
        let off = self.skew.abs() > 2 * SECOND;
        if world.trouble(10) || (!world.chaos && off) {
            world.note(if off { "clock set" } else { "clock jumped" });
            self.skew = world.some_skew();
        }
        let Some(mut fold) = self.fold.take().or_else(|| self.load(world)) else {
            // An entry is in its way, until somebody says that it is to be passed over.
            self.wake = world.now + SECOND;
            return;
        };
        if !world.chaos && fold.last_seq() != world.log.len() as u64 {
            // In the end nobody decides anything that would show it.
            world.note("behind in the end");
            self.wake = world.now + SECOND / 10;
            return;
        }
        let mut batch = Batch::default();
        for _ in 0..world.rng.between(1, 8) {
            let World { inbox, rng, now, .. } = world;
            let Some(delivery) = inbox.pull(*now, rng) else { break };
            let now = self.clock(world);
            if decide(world, &mut fold, now, &delivery.message, &mut batch) {
                batch.acks.push(delivery.id);
            } else {
                batch.later.push(delivery.id);
            }
        }
        if world.now >= self.look_at {
            self.look(world, &mut fold, &mut batch);
        }
        if !self.offered
            && (world.inbox.depth() == 0 || world.now > self.loaded_at + LEASE + SECOND / 2)
        {
            (self.offered, batch.offer) = (true, true);
        }
        let waits = plan(world, &mut fold, self.clock(world), &mut batch);
        if self.commit(world, &fold, batch) {
            let now = self.clock(world);
            let due = fold.next_due(now).map_or(10 * SECOND, |due| due.since(now).0);
            assert!(due > 0, "what is due next lies ahead");
            let command = world.inbox.next_at().unwrap_or(i64::MAX).max(world.now + 100);
            let look = self.look_at.max(world.now + 100);
            // What a run that is over is needed for is planned again once the log has what was said of it.
            let again = if waits { world.now + 100 } else { i64::MAX };
            self.wake = (world.now + due).min(command).min(look).min(again);
            self.fold = Some(fold);
        }
    }

    /// Folds the log, from a snapshot on where there is one that will do; `None` where an entry can't be read.
    fn load(&mut self, world: &mut World) -> Option<Namespace> {
        let from_snapshot = world.rng.chance(700);
        let Some(loaded) = world.storage.load(from_snapshot) else {
            world.note("stopped by a foreign entry");
            return None;
        };
        if world.audit.goes_on_after(loaded.snapshot_at) {
            world.note("revived while loading");
        }
        if world.storage.base().first.0 > loaded.snapshot_at + 1 {
            world.note("loaded from the archive on");
        }
        (self.loaded_at, self.offered, self.look_at) = (world.now, false, world.now);
        self.silent.clear();
        self.not_held.clear();
        Some(loaded.namespace)
    }

    /// Appends, and lets the effects go; false where the process dies or is behind.
    fn commit(&mut self, world: &mut World, fold: &Namespace, batch: Batch) -> bool {
        let expected = usize::try_from(fold.last_seq()).expect("small") - batch.records.len();
        let death = world.trouble(15).then(|| {
            let deaths = [Death::Before, Death::InMid, Death::After, Death::Untold];
            *world.rng.pick(&deaths).expect("four")
        });
        if let Some(death) = death {
            world.note(&format!("scheduler died {death:?}"));
            let landed = match death {
                Death::Before => 0,
                Death::InMid => world.rng.below(batch.records.len()),
                Death::After | Death::Untold => batch.records.len(),
            };
            // What landed before it died landed in order, and only if nobody else had written.
            let appended = world.append(expected, &batch.records[..landed]).is_ok();
            if appended && death == Death::Untold {
                batch.acks.iter().for_each(|id| world.inbox.ack(*id));
            }
            self.wake = world.now + world.rng.between(SECOND / 10, 2 * LEASE);
            return false;
        }
        if !batch.records.is_empty() && world.append(expected, &batch.records).is_err() {
            self.wake = world.now + world.rng.between(1_000, SECOND / 10);
            return false;
        }
        if world.rng.chance(20) && fold.last_seq() == world.log.len() as u64 {
            world.audit.agrees_with(fold).unwrap_or_else(|finding| panic!("{finding}"));
        }
        // At rest the rules call for nothing, so that whatever waits has a reason.
        if fold.last_seq().is_multiple_of(32) && fold.last_seq() == world.log.len() as u64 {
            let explained = world.audit.explains(fold, self.clock(world));
            explained.unwrap_or_else(|finding| panic!("{finding}"));
        }
        batch.acks.iter().for_each(|id| world.inbox.ack(*id));
        batch.later.iter().for_each(|id| world.inbox.hand_back(*id, world.now));
        for (to, answer) in batch.answers {
            if !world.trouble(100) {
                world.answers.insert(to, answer);
            }
        }
        publish_work(world, fold, &batch.records, batch.offer);
        if world.rng.chance(15) {
            world.storage.store_snapshot(fold);
        }
        true
    }

    /// Looks at who is there: gives up the tries of who is not, and tells who is what to end.
    fn look(&mut self, world: &mut World, fold: &mut Namespace, batch: &mut Batch) {
        self.look_at = world.now + LEASE / 5;
        let now = self.clock(world);
        let known: Vec<ExecutorId> = fold.executors().cloned().collect();
        let mut before = std::mem::take(&mut self.silent);
        for executor in known {
            let there = world.presence.get(&executor).filter(|(put, _)| *put + LEASE > world.now);
            let beat = there.map(|(_, presence)| presence.beat);
            let (last, since) = before.remove(&executor).unwrap_or((beat, world.now));
            let since = if beat.is_some() && beat != last { world.now } else { since };
            if world.now - since >= LEASE {
                batch.take(fold, fold.executor_gone(now, &executor));
            } else {
                self.silent.insert(executor, (beat.or(last), since));
            }
        }
        let mut before = std::mem::take(&mut self.not_held);
        for (_, presence) in world.presence.values().filter(|(put, _)| *put + LEASE > world.now) {
            let holds = |key: &TryKey| presence.holds.iter().any(|held| held.key == *key);
            let ended = presence.holds.iter().filter(|held| fold.is_over(&held.key));
            let orders: Vec<TryKey> = ended.map(|held| held.key.clone()).collect();
            world.orders.entry(presence.executor.clone()).or_default().extend(orders);
            for key in fold.held_by(&presence.executor).into_iter().filter(|key| !holds(key)) {
                let since = before.remove(&key).unwrap_or(world.now);
                if world.now - since >= 2 * LEASE {
                    let given_up = fold.give_up(now, &key, LostWhy::NotHeld);
                    batch.take(fold, given_up.into_iter().collect());
                } else {
                    self.not_held.insert(key, since);
                }
            }
        }
    }
}

impl Batch {
    fn take(&mut self, fold: &mut Namespace, records: Vec<Record>) {
        for record in records {
            fold.evolve(fold.last_seq() + 1, &record);
            self.records.push(record);
        }
    }
}

fn decide(
    world: &mut World,
    fold: &mut Namespace,
    now: Timestamp,
    command: &Command,
    batch: &mut Batch,
) -> bool {
    let mut decision = fold.decide(now, command);
    if let Outcome::Needs(key) = &decision.outcome {
        if !batch.records.is_empty() {
            // What the log says of the run may be about to change: the command comes again.
            world.note("decided later, for a run that is over");
            return false;
        }
        // Who is behind the log reads no further than it has folded.
        let cold = world.storage.cold(fold, key, fold.last_seq());
        fold.revive(&cold).expect("it is over");
        world.note("run revived");
        decision = fold.decide(now, command);
    }
    check_answer(world, fold, batch, command, &decision.outcome);
    check_silence(world, fold, batch, command, &decision.outcome);
    batch.take(fold, decision.records);
    let seq = fold.last_seq();
    let answer = match decision.outcome {
        Outcome::Accepted { run_id } => Answer::Accepted { seq, run_id },
        Outcome::Seen { seq, run_id } => Answer::Accepted { seq, run_id },
        Outcome::Unchanged => Answer::Unchanged,
        Outcome::Waits(why) => Answer::Waits(why),
        Outcome::WouldClear { run_goes_on, tasks, version } => {
            Answer::WouldClear { run_goes_on, tasks, version }
        }
        Outcome::WouldMark { run_goes_on, tasks, cleared } => {
            Answer::WouldMark { run_goes_on, tasks, cleared }
        }
        Outcome::WouldMake(runs) => Answer::WouldMake(runs),
        Outcome::WouldBackfill(plan) => Answer::WouldBackfill(plan),
        Outcome::LastScheduled(runs) => Answer::LastScheduled(runs),
        Outcome::Needs(key) => unreachable!("{key} was revived"),
        Outcome::Refused(refusal) => Answer::Refused(refusal),
    };
    if let Some(to) = &command.reply_to {
        batch.answers.push((to.clone(), answer));
    }
    true
}

/// What is answered about clearing, deleting, and ids and dates that are taken must be so by the log.
fn check_answer(
    world: &mut World,
    fold: &Namespace,
    batch: &Batch,
    command: &Command,
    outcome: &Outcome,
) {
    let is_last = usize::try_from(fold.last_seq()).expect("small") == world.log.len();
    if !is_last || !batch.records.is_empty() {
        return;
    }
    if let Outcome::Refused(refusal) = outcome {
        world.note(&format!("answered {:?}", refusal.code));
    }
    let right = world.audit.is_right_answer(command, outcome);
    assert!(right, "{command:?} is answered {outcome:?}");
}

/// A report that leaves no record must be one that was decided before or says what is known.
fn check_silence(
    world: &mut World,
    fold: &Namespace,
    batch: &Batch,
    command: &Command,
    outcome: &Outcome,
) {
    let CommandBody::Report(report) = &command.body else { return };
    let is_last = usize::try_from(fold.last_seq()).expect("small") == world.log.len();
    if !is_last || !batch.records.is_empty() {
        return;
    }
    let before = world.audit.answer_to(&command.id);
    match outcome {
        Outcome::Seen { seq, .. } => {
            world.note("report seen before");
            assert_eq!(before, Some(*seq), "{command:?}");
        }
        Outcome::WouldClear { .. }
        | Outcome::WouldMark { .. }
        | Outcome::Waits(_)
        | Outcome::WouldMake(_)
        | Outcome::WouldBackfill(_)
        | Outcome::LastScheduled(_)
        | Outcome::Needs(_) => {
            unreachable!("{command:?} is a report")
        }
        Outcome::Unchanged => {
            assert!(world.audit.is_known(report) && world.audit.why_stale(report).is_none());
        }
        Outcome::Accepted { .. } => assert_eq!(before, None, "{command:?} was decided before"),
        Outcome::Refused(_) => {
            let stale = world.audit.why_stale(report).is_some();
            let begun = world.audit.may_have_begun(report);
            assert!(before.is_some() || stale || begun, "{command:?}");
        }
    }
}

/// Carries out what the rules call for until they call for nothing; they call for what they permit.
/// Whether something waits until this batch is in the log.
fn plan(world: &mut World, fold: &mut Namespace, now: Timestamp, batch: &mut Batch) -> bool {
    for round in 0..=1_000 {
        let proposals = fold.plan(now);
        assert!(
            round < 1_000,
            "the rules call for more and more: {proposals:?} at {now} after {:?}",
            &batch.records[batch.records.len().saturating_sub(3)..]
        );
        let about = |key: &RunKey, batch: &Batch| {
            batch.records.iter().any(|record| record.scope == Scope::Run(key.clone()))
        };
        let waits = |fold: &Namespace, proposal: &Proposal, batch: &Batch| {
            fold.needs_to(proposal).is_some_and(|key| about(&key, batch))
        };
        if proposals.iter().all(|proposal| waits(fold, proposal, batch)) {
            return !proposals.is_empty();
        }
        for proposal in &proposals {
            if let Some(key) = fold.needs_to(proposal) {
                if about(&key, batch) {
                    continue;
                }
                let logged = fold.last_seq() - batch.records.len() as u64;
                let cold = world.storage.cold(fold, &key, logged);
                fold.revive(&cold).expect("it is over");
                world.note("run revived for a backfill");
            }
            let Some(record) = fold.carry_out(now, proposal) else {
                // What was carried out before it may stand against it, as a run that was just made and comes before its own
                // does; then it is not called for any more.
                let again = fold.plan(now).contains(proposal);
                assert!(!again, "called for and not permitted: {proposal:?} of {proposals:?}");
                world.note("no longer called for");
                continue;
            };
            batch.take(fold, vec![record]);
        }
    }
    unreachable!("it ends when nothing is called for")
}

/// Offers the tries that were just queued, or all that are, to the executors.
fn publish_work(world: &mut World, fold: &Namespace, records: &[Record], all: bool) {
    let mut items = Vec::new();
    if all {
        items.extend(fold.queued_tries().into_iter().filter_map(|it| fold.work_item(it)));
    }
    for record in records {
        let Scope::Run(key) = &record.scope else { continue };
        for fact in &record.facts {
            if let Fact::TaskQueued(f) = fact {
                items.extend(fold.work_item_of(key, &f.task_id, f.map_index));
            }
        }
    }
    let is_last = usize::try_from(fold.last_seq()).expect("small") == world.log.len();
    for item in items {
        if is_last {
            world.audit.check_offer(&item).unwrap_or_else(|finding| panic!("{finding}"));
        }
        let at = world.now + world.rng.between(100, 3_000);
        world.work.publish(&names::work_key(&item.key), item, at);
    }
}
