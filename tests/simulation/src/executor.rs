//! An executor process, in all its lives: takes work, runs it for a while, says how it went until
//! somebody has heard. It crashes, freezes, forgets and says things twice.
use std::collections::{BTreeMap, BTreeSet};

use dagbok_events::{
    Actor, ExecutorId, Failure, FailureKind, Fault, Leg, LogRef, LostWhy, Payload, QueueName,
    TaskId, Timestamp, TriggerCall, TriggerFailedWhy, TryKey, Usage,
};
use dagbok_protocol::{
    Answer, Command, CommandBody, HeldTry, OutletEvent, Presence, Report, ReportBody, TriggerEnd,
    WorkItem, XComValue, limits::COPIES_PER_TASK,
};

use crate::{
    dags::{digest, some_asset},
    world::{LEASE, SECOND, World},
};

/// A try in hand.
#[derive(Clone, Debug)]
struct Job {
    /// The work item's place on the queue.
    delivery: u64,
    /// The record that offered the try.
    queued_seq: u64,
    phase: Phase,
    /// The report of its beginning, until it is answered.
    beginning: Option<Command>,
}

#[derive(Clone, Debug)]
enum Phase {
    /// Somebody may have it already: waits for leave to begin.
    Asking { again_at: i64 },
    /// Runs until then.
    Running { until: i64 },
    /// Its end is told until that is safe.
    Ending(Box<Command>),
}

/// An executor process.
#[derive(Debug)]
pub(crate) struct Executor {
    /// When it next does something.
    pub(crate) wake: i64,
    name: usize,
    life: u32,
    id: ExecutorId,
    /// How far its clock is off: only people see it.
    skew: i64,
    up: bool,
    draining: bool,
    slots: usize,
    jobs: BTreeMap<TryKey, Job>,
    beat: u64,
    renewed_at: i64,
}

impl Executor {
    pub(crate) fn new(world: &mut World, name: usize) -> Self {
        let mut executor = Self {
            wake: world.now,
            name,
            life: 0,
            id: ExecutorId::new(format!("e{name}-0")).expect("an id"),
            skew: world.some_skew(),
            up: false,
            draining: false,
            slots: 1 + world.rng.below(4),
            jobs: BTreeMap::new(),
            beat: 0,
            renewed_at: world.now,
        };
        executor.begin_life(world);
        executor
    }

    fn begin_life(&mut self, world: &mut World) {
        self.life += 1;
        self.id = ExecutorId::new(format!("e{}-{}", self.name, self.life)).expect("an id");
        (self.up, self.draining, self.beat, self.renewed_at) = (true, false, 0, world.now);
        self.jobs.clear();
        let presence = Box::new(self.presence(world));
        if !world.trouble(200) {
            let body = CommandBody::ExecutorJoined { executor: self.id.clone(), presence };
            self.say(world, body);
        }
    }

    fn say(&self, world: &mut World, body: CommandBody) -> Command {
        let command = world.command(Actor::Executor(self.id.clone()), body, false);
        world.send(&command);
        command
    }

    fn presence(&self, world: &World) -> Presence {
        let hold = |key: &TryKey| HeldTry { key: key.clone(), pid: Some(1), waits: None };
        Presence {
            executor: self.id.clone(),
            hostname: format!("host{}", self.name),
            slots: u32::try_from(self.slots).expect("few"),
            queues: vec![QueueName::new("default").expect("a queue")],
            version: "0.1.0".to_owned(),
            python: "3.11".to_owned(),
            resources: dagbok_events::Resources::default(),
            isolation: String::new(),
            name: None,
            protocol: None,
            part_of: None,
            cordoned: false,
            stays: false,
            draining: self.draining,
            beat: self.beat,
            lease_ms: None,
            at: Timestamp(world.now + self.skew),
            holds: self.jobs.keys().map(hold).collect(),
        }
    }

    /// Whether it is up and would see at once that work came.
    pub(crate) fn listens(&self, now: i64) -> bool {
        self.up && !self.draining && self.wake <= now + LEASE / 4
    }

    /// One turn of its loop.
    pub(crate) fn step(&mut self, world: &mut World) {
        if !self.up {
            self.begin_life(world);
        }
        if self.falls(world) {
            return;
        }
        if world.now - self.renewed_at > LEASE * 2 / 3 {
            self.wake_late(world);
        }
        for key in world.orders.remove(&self.id).unwrap_or_default() {
            if !world.trouble(300)
                && let Some(job) = self.jobs.remove(&key)
            {
                world.note("killed by order");
                self.say_ordered(world, key, &job);
            }
        }
        self.hear_answers(world);
        self.go_on(world);
        if !self.draining {
            self.pull(world);
        } else if self.jobs.is_empty() {
            self.say(world, CommandBody::ExecutorLeft { executor: self.id.clone() });
            world.presence.remove(&self.id);
            self.up = false;
            self.wake = world.now + world.rng.between(SECOND, LEASE);
            return;
        }
        if world.now - self.renewed_at >= LEASE / 4 || self.beat == 0 {
            self.renew(world);
        }
        self.wake = self.next_wake(world);
    }

    /// Crashes, freezes, or is told to stop.
    fn falls(&mut self, world: &mut World) -> bool {
        if world.trouble(3) {
            world.note("executor crashed");
            self.up = false;
            self.wake = world.now + world.rng.between(SECOND / 10, 2 * LEASE);
            return true;
        }
        if world.trouble(3) {
            world.note("executor frozen");
            self.wake = world.now + world.rng.between(LEASE / 4, 3 * LEASE);
            return true;
        }
        if world.trouble(2) {
            self.draining = true;
            if world.rng.chance(300) {
                // It does not wait for what it holds.
                world.note("executor left with tries");
                self.jobs.clear();
            }
        }
        false
    }

    /// It could not renew for too long: it must take its tries for lost, if it does as it should.
    fn wake_late(&mut self, world: &mut World) {
        self.renewed_at = world.now;
        match world.rng.below(3) {
            0 => world.note("zombie goes on"),
            1 => self.jobs.clear(),
            _ => {
                for (key, job) in std::mem::take(&mut self.jobs) {
                    let why = LostWhy::Fenced;
                    let body = ReportBody::Lost { why, usage: None, log: None };
                    self.report(world, key, job.queued_seq, body);
                }
            }
        }
    }

    fn hear_answers(&mut self, world: &mut World) {
        let mut refused = Vec::new();
        for (key, job) in &mut self.jobs {
            let Some(asked) = &job.beginning else { continue };
            match world.answer_to(&asked.id) {
                None => {}
                Some(Answer::Refused(_)) => refused.push(key.clone()),
                Some(
                    Answer::Accepted { .. }
                    | Answer::Unchanged
                    | Answer::WouldClear { .. }
                    | Answer::WouldMark { .. }
                    | Answer::Waits(_)
                    | Answer::WouldMake(_)
                    | Answer::LastScheduled(_)
                    | Answer::WouldBackfill(_),
                ) => {
                    job.beginning = None;
                    if matches!(job.phase, Phase::Asking { .. }) {
                        world.note("redelivery may begin");
                        job.phase = Phase::Running { until: world.now + length(world) };
                    }
                }
            }
        }
        for key in refused {
            world.note("told to end");
            if let Some(job) = self.jobs.remove(&key) {
                self.say_ordered(world, key, &job);
            }
        }
    }

    /// It ended a try because it was told to: who told it may have been behind the log.
    fn say_ordered(&self, world: &mut World, key: TryKey, job: &Job) {
        let body = ReportBody::Lost { why: LostWhy::Ordered, usage: None, log: None };
        self.report(world, key, job.queued_seq, body);
        world.work.ack(job.delivery);
    }

    /// Moves every try on as far as it goes now.
    fn go_on(&mut self, world: &mut World) {
        let keys: Vec<TryKey> = self.jobs.keys().cloned().collect();
        for key in keys {
            let Some(job) = self.jobs.get(&key) else { continue };
            let queued_seq = job.queued_seq;
            match job.phase.clone() {
                Phase::Asking { again_at } if again_at <= world.now => {
                    if let Some(asked) = &job.beginning {
                        world.send(&asked.clone());
                    }
                    let again_at = world.now + 2 * SECOND;
                    self.set(&key, Phase::Asking { again_at });
                }
                Phase::Running { until } if until <= world.now => {
                    let body = ending(world, world.now + self.skew, key.leg);
                    if matches!(body, ReportBody::Rescheduled { .. }) {
                        self.tell_beginning_late(world, &key);
                    }
                    if matches!(body, ReportBody::Deferred { .. }) {
                        self.fire_later(world, &key, queued_seq);
                    }
                    let command = self.report_command(world, key.clone(), queued_seq, body);
                    self.set(&key, Phase::Ending(Box::new(command)));
                    self.tell_end(world, &key);
                }
                Phase::Running { .. } if world.rng.chance(50) => {
                    let value = Some(Payload::Inline("1".to_owned()));
                    let xcom = XComValue { key: "k".to_owned(), value, length: None };
                    self.report(world, key, queued_seq, ReportBody::XCom(xcom));
                }
                Phase::Ending(_) => self.tell_end(world, &key),
                Phase::Asking { .. } | Phase::Running { .. } => {}
            }
        }
    }

    /// Some triggerer runs what a leg waits for, or two do: it fires, comes to nothing, or takes too long.
    fn fire_later(&self, world: &mut World, waiting: &TryKey, queued_seq: u64) {
        let Some(leg) = waiting.leg.next() else { return };
        let key = TryKey { leg, ..waiting.clone() };
        let body = match world.rng.below(8) {
            0 => return world.note("a trigger takes too long"),
            1 => ReportBody::TriggerFailed {
                why: TriggerFailedWhy::Raised,
                traceback: "on purpose".to_owned(),
                log: None,
            },
            drawn => {
                let ends = [TriggerEnd::Success, TriggerEnd::Failed, TriggerEnd::Skipped];
                let ends = if drawn < 5 { ends.get(drawn - 2).copied() } else { None };
                let event = Payload::Inline("1".to_owned());
                ReportBody::TriggerFired { event, ends, xcoms: Vec::new(), log: None }
            }
        };
        for _ in 0..=usize::from(world.rng.chance(300)) {
            let command = self.report_command(world, key.clone(), queued_seq, body.clone());
            world.send_late(&command, 20 * SECOND);
        }
    }

    /// The word of a leg's beginning is on its way while the leg ends.
    fn tell_beginning_late(&self, world: &mut World, key: &TryKey) {
        if !world.trouble(300) {
            return;
        }
        let Some(job) = self.jobs.get(key) else { return };
        let body = self.beginning(false);
        let command = self.report_command(world, key.clone(), job.queued_seq, body);
        world.send_late(&command, 2 * LEASE);
    }

    fn beginning(&self, again: bool) -> ReportBody {
        let (hostname, inputs) = (format!("host{}", self.name), BTreeMap::new());
        ReportBody::Started { hostname, pid: 1, inputs, again }
    }

    fn set(&mut self, key: &TryKey, phase: Phase) {
        if let Some(job) = self.jobs.get_mut(key) {
            job.phase = phase;
        }
    }

    /// Tells how a try ended; the work item is let go only once the report is safe.
    fn tell_end(&mut self, world: &mut World, key: &TryKey) {
        let Some(job) = self.jobs.get(key) else { return };
        let Phase::Ending(command) = &job.phase else { return };
        if world.trouble(150) {
            world.note("report not taken");
            return;
        }
        world.send(command);
        if world.trouble(50) {
            // It was taken, and the word of that was lost: it is told again.
            return;
        }
        world.work.ack(job.delivery);
        self.jobs.remove(key);
    }

    fn pull(&mut self, world: &mut World) {
        while self.jobs.len() < self.slots {
            let World { work, rng, now, .. } = world;
            let Some(delivery) = work.pull(*now, rng) else { return };
            let (id, key) = (delivery.id, delivery.message.key.clone());
            if let Some(job) = self.jobs.get_mut(&key) {
                // Its own, come again because the lease ran out: it has it still.
                job.delivery = id;
                return;
            }
            if world.trouble(30) {
                world.note("handed back");
                let queued_seq = delivery.message.queued_seq;
                self.report(world, key, queued_seq, ReportBody::Returned);
                world.work.ack(id);
                continue;
            }
            self.begin(world, &delivery.message, id, delivery.count == 1);
        }
    }

    fn begin(&mut self, world: &mut World, item: &WorkItem, delivery: u64, first: bool) {
        // Who was handed the item before may have begun; not every executor knows to say so.
        let again = !first && world.rng.chance(300);
        let report = self.about(world, item.key.clone(), self.beginning(again));
        let by = Actor::Executor(self.id.clone());
        let command = world.command(by, CommandBody::Report(Box::new(report)), true);
        world.audit.is_of_offer(&command.id, item.queued_seq);
        let phase = if first {
            Phase::Running { until: world.now + length(world) }
        } else {
            world.note("redelivered");
            Phase::Asking { again_at: world.now + 2 * SECOND }
        };
        if world.trouble(50) {
            world.note("beginning not told");
        } else {
            world.send(&command);
        }
        let queued_seq = item.queued_seq;
        let job = Job { delivery, queued_seq, phase, beginning: Some(command) };
        self.jobs.insert(item.key.clone(), job);
    }

    fn renew(&mut self, world: &mut World) {
        for job in self.jobs.values() {
            world.work.renew(job.delivery, world.now);
        }
        self.beat += 1;
        self.renewed_at = world.now;
        world.presence.insert(self.id.clone(), (world.now, self.presence(world)));
    }

    fn about(&self, world: &World, key: TryKey, body: ReportBody) -> Report {
        Report { key, executor: self.id.clone(), at: Timestamp(world.now + self.skew), body }
    }

    fn report_command(
        &self,
        world: &mut World,
        key: TryKey,
        queued_seq: u64,
        body: ReportBody,
    ) -> Command {
        let report = self.about(world, key, body);
        let body = CommandBody::Report(Box::new(report));
        let command = world.command(Actor::Executor(self.id.clone()), body, false);
        world.audit.is_of_offer(&command.id, queued_seq);
        command
    }

    fn report(&self, world: &mut World, key: TryKey, queued_seq: u64, body: ReportBody) {
        let command = self.report_command(world, key, queued_seq, body);
        world.send(&command);
    }

    fn next_wake(&self, world: &World) -> i64 {
        let jobs = self.jobs.values().map(|job| match job.phase {
            Phase::Asking { again_at } => again_at.min(world.now + SECOND / 10),
            Phase::Running { until } => until,
            Phase::Ending(_) => world.now + SECOND / 5,
        });
        let room = self.jobs.len() < self.slots && !self.draining;
        let work = world.work.next_at().filter(|_| room);
        let renew = self.renewed_at + LEASE / 4;
        jobs.chain(work).chain([renew]).min().unwrap_or(renew).max(world.now + 200)
    }
}

/// How long a try runs.
fn length(world: &mut World) -> i64 {
    if world.trouble(50) {
        world.rng.between(LEASE, 4 * LEASE)
    } else {
        world.rng.between(1_000, SECOND)
    }
}

/// How a leg of a try ends, by its executor's clock at `at`: with another leg to come more often where one was.
fn ending(world: &mut World, at: i64, leg: Leg) -> ReportBody {
    let usage = Usage { max_rss_bytes: 1, user_us: 1, system_us: 1 };
    let log = Some(LogRef { digest: digest(1), size: 1, lines: 1, dropped: 0, usage: None });
    if world.rng.chance(if leg.is_first() { 80 } else { 400 }) {
        let wait = match world.rng.below(4) {
            0 => world.rng.between(-60 * SECOND, -1),
            1 => 0,
            2 => world.rng.between(1, SECOND),
            _ => world.rng.between(SECOND, 15 * SECOND),
        };
        world.note(if wait > SECOND { "rescheduled for later" } else { "rescheduled for now" });
        let (due, xcoms) = (Timestamp(at + wait), Vec::new());
        return ReportBody::Rescheduled { due, xcoms, usage, log };
    }
    if world.rng.chance(60) {
        world.note("deferred");
        let until = world.rng.between(SECOND, 30 * SECOND);
        let trigger =
            TriggerCall { class_path: "a.B".to_owned(), kwargs: Payload::Inline("{}".to_owned()) };
        return ReportBody::Deferred {
            trigger,
            next_method: "go_on".to_owned(),
            next_kwargs: None,
            // Without it one whose only word is lost would wait for ever.
            timeout_at: Some(Timestamp(at + until)),
            ask: None,
            xcoms: Vec::new(),
            usage,
            log,
        };
    }
    let returned = || Some(Payload::Inline("1".to_owned()));
    let value = world.rng.chance(850).then(returned).flatten();
    // As many as copies of a task may be mapped over it, now and then too many.
    let length = match world.rng.below(40) {
        0 => COPIES_PER_TASK + 1,
        _ => u32::try_from(world.rng.below(6)).expect("small"),
    };
    let length = value.is_some().then_some(length).filter(|_| world.rng.chance(900));
    let xcoms = vec![XComValue { key: "return_value".to_owned(), value, length }];
    let (kind, fault, retryable) = match world.rng.below(21) {
        0..=12 => {
            let skips = some_skips(world);
            let outlets = if world.rng.chance(300) {
                let asset = some_asset(&mut world.rng);
                vec![OutletEvent { asset, extra: None, aliases: vec![], partition_key: None }]
            } else {
                vec![]
            };
            return ReportBody::Succeeded { xcoms, usage, log, skips, outlets };
        }
        13 => {
            let message = "not today".to_owned();
            return ReportBody::Skipped { message, xcoms: Vec::new(), usage, log };
        }
        14 => (FailureKind::CouldNotStart, Fault::System, true),
        20 => (FailureKind::Signal, Fault::System, true),
        15 => (FailureKind::Exception, Fault::Data, true),
        16 => (FailureKind::Exception, Fault::User, false),
        _ => (FailureKind::Exception, Fault::User, true),
    };
    let failure = failure(kind, fault, retryable);
    ReportBody::Failed { failure, xcoms: Vec::new(), usage, log }
}

/// What a task decides against, now and then: some of the tasks that a DAG may have.
fn some_skips(world: &mut World) -> Vec<TaskId> {
    if !world.rng.chance(120) {
        return Vec::new();
    }
    world.note("decided against tasks");
    let names = (0..=world.rng.below(3)).map(|_| 1 + world.rng.below(7));
    let names: BTreeSet<usize> = names.collect();
    names.into_iter().map(|n| TaskId::new(format!("t{n}")).expect("a task id")).collect()
}

/// A failure with nothing but what the rules look at.
pub fn failure(kind: FailureKind, fault: Fault, retryable: bool) -> Failure {
    Failure {
        kind,
        fault,
        message: "no".to_owned(),
        exception: None,
        traceback: None,
        traceback_blob: None,
        file: None,
        line: None,
        signal: None,
        exit_code: None,
        retryable,
        retry_delay: None,
        retry_reason: None,
        out_of_memory: None,
    }
}
