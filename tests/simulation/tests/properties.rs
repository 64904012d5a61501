//! Any DAGs, any commands, any reports, with nothing around the rules: found by proptest, and made small
//! by it where something does not hold. Time goes by to what is due next and no other way.
use dagbok_domain::namespace::{ColdRun, Namespace, Outcome};
use dagbok_events::{
    Actor, BackfillId, CommandId, DagSpec, ExecutorId, FailureKind, Fault, Leg, MapIndex, Micros,
    Payload, PoolSet, Record, ReprocessBehavior, RunKey, RunMark, TaskId, TaskMark, Timestamp,
    TriggerCall, TryKey, TryNumber, Usage, decode, encode,
};
use dagbok_protocol::{
    ClearTasks, Command, CommandBody, CreateBackfill, ImportError, MarkTasks, OnRunning,
    PoolChange, Report, ReportBody, TaskCopy, TriggerRun,
};
use dagbok_simulation::{
    Prng,
    audit::{Audit, Stage, fold_all},
    dags::{POOLS, dag_id, file_name, file_of, pool, some_dag, unscheduled},
    failure,
};
use proptest::{prelude::*, sample::Index};

const DAGS: usize = 2;
const MARKS: [TaskMark; 3] = [TaskMark::Success, TaskMark::Failed, TaskMark::Skipped];

/// Something that somebody does.
#[derive(Clone, Debug)]
enum Act {
    Trigger(usize),
    TriggerDated(usize, i64),
    Cancel(Index),
    /// Of any run: one task or all, all or what failed, or only the question; by its own version or the newest.
    Clear(Index, Option<Index>, (bool, bool), bool),
    /// The same of single copies, or of what comes before or after a task, whatever runs of it.
    ClearMore(Index, Index, Reach),
    /// Says how a task ended, or a copy of it.
    Mark(Index, Index, Reach, TaskMark),
    /// Says how a run ended.
    MarkRun(Index, RunMark),
    /// From so many seconds ago on.
    Backfill(usize, i64, (bool, u8)),
    /// Stops the last backfill, lets it go on, or ends it.
    ChangeBackfill(u8),
    DeletePool(usize),
    /// What comes next is decided before anybody plans, up to the next of these.
    Together(bool),
    /// What waits for a trigger goes on.
    Fire(Index),
    Delete(Index),
    Pause(usize),
    Unpause(usize),
    Change(usize, u64),
    Break(usize),
    Remove(usize),
    SetPool(usize, u32),
    SetLimits(u32, u16),
    /// About a try in flight, by who holds it or by one of two.
    Report(Index, Word, u8),
    /// About any try of any run, by anybody.
    Lie(Index, Index, (u16, u32), Word, u8),
    Gone(u8),
    /// The same command once more.
    Again(Index),
    /// Up to what is due next.
    Wait,
    /// A little while.
    Pass(i64),
}

/// How far a clear or a mark goes.
#[derive(Clone, Copy, Debug)]
struct Reach {
    /// This copy alone.
    copy: Option<i32>,
    upstream: bool,
    downstream: bool,
    /// With what runs.
    kill: bool,
}

fn reach() -> impl Strategy<Value = Reach> {
    (prop::option::weighted(0.3, -1..3), any::<(bool, bool, bool)>())
        .prop_map(|(copy, (upstream, downstream, kill))| Reach { copy, upstream, downstream, kill })
}

/// What a report says.
#[derive(Clone, Copy, Debug)]
enum Word {
    Started,
    Succeeded,
    /// And against the tasks whose bits are set.
    Decided(u8),
    Failed,
    FailedForGood,
    NotOurFault,
    Skipped,
    /// To go on in so many milliseconds.
    Rescheduled(i64),
    /// For a trigger, so many milliseconds at the most.
    Deferred(i64),
    Returned,
    Lost,
}

fn word() -> impl Strategy<Value = Word> {
    prop::sample::select(vec![
        Word::Started,
        Word::Started,
        Word::Started,
        Word::Succeeded,
        Word::Succeeded,
        Word::Decided(0b0000_1110),
        Word::Decided(0b1111_0101),
        Word::Failed,
        Word::FailedForGood,
        Word::NotOurFault,
        Word::Skipped,
        Word::Rescheduled(-5_000),
        Word::Rescheduled(4_000),
        Word::Deferred(3_000),
        Word::Returned,
        Word::Lost,
    ])
}

fn act() -> impl Strategy<Value = Act> {
    let dag = || 0..DAGS;
    prop_oneof![
        6 => dag().prop_map(Act::Trigger),
        1 => (dag(), 0_i64..4).prop_map(|(dag, n)| Act::TriggerDated(dag, n)),
        1 => any::<Index>().prop_map(Act::Cancel),
        3 => (any::<Index>(), any::<Option<Index>>(), (any::<bool>(), prop::bool::weighted(0.2)), prop::bool::weighted(0.4))
            .prop_map(|(run, task, how, latest)| Act::Clear(run, task, how, latest)),
        2 => (any::<Index>(), any::<Index>(), reach())
            .prop_map(|(run, task, reach)| Act::ClearMore(run, task, reach)),
        2 => (any::<Index>(), any::<Index>(), reach(), prop::sample::select(MARKS.to_vec()))
            .prop_map(|(run, task, reach, mark)| Act::Mark(run, task, reach, mark)),
        1 => (any::<Index>(), any::<bool>()).prop_map(|(run, well)| {
            Act::MarkRun(run, if well { RunMark::Success } else { RunMark::Failed })
        }),
        1 => (dag(), 0_i64..60, (any::<bool>(), 0_u8..3))
            .prop_map(|(dag, ago, how)| Act::Backfill(dag, ago, how)),
        1 => (0_u8..3).prop_map(Act::ChangeBackfill),
        1 => (0..POOLS.len()).prop_map(Act::DeletePool),
        2 => any::<bool>().prop_map(Act::Together),
        2 => any::<Index>().prop_map(Act::Fire),
        1 => any::<Index>().prop_map(Act::Delete),
        1 => dag().prop_map(Act::Pause),
        2 => dag().prop_map(Act::Unpause),
        2 => (dag(), any::<u64>()).prop_map(|(dag, seed)| Act::Change(dag, seed)),
        1 => dag().prop_map(Act::Break),
        1 => dag().prop_map(Act::Remove),
        1 => (0..POOLS.len(), prop_oneof![7 => 0_u32..7, 1 => Just(PoolSet::UNLIMITED)])
            .prop_map(|(pool, slots)| Act::SetPool(pool, slots)),
        1 => (0_u32..6, 0_u16..4).prop_map(|(most, losses)| Act::SetLimits(most, losses)),
        24 => (any::<Index>(), word(), 0_u8..2).prop_map(|(at, word, by)| Act::Report(at, word, by)),
        4 => (any::<Index>(), any::<Index>(), (1_u16..4, 0_u32..3), word(), 0_u8..3)
            .prop_map(|(run, task, n, word, by)| Act::Lie(run, task, n, word, by)),
        1 => (0_u8..2).prop_map(Act::Gone),
        2 => any::<Index>().prop_map(Act::Again),
        6 => Just(Act::Wait),
        3 => (0_i64..4_000).prop_map(Act::Pass),
    ]
}

/// The rules and nothing else.
struct Desk {
    namespace: Namespace,
    audit: Audit,
    log: Vec<Record>,
    now: Timestamp,
    dags: Vec<DagSpec>,
    commands: Vec<Command>,
    /// Whether nobody plans yet.
    together: bool,
}

impl Desk {
    fn new(seed: u64) -> Self {
        let now = Timestamp(1_704_067_200_000_000);
        let mut rng = Prng::new(seed);
        let dags = (0..DAGS).map(|n| some_dag(&mut rng, n, now, 1)).collect();
        let (namespace, audit) = (Namespace::new(), Audit::new());
        let (log, commands, together) = (Vec::new(), Vec::new(), false);
        let mut desk = Self { namespace, audit, log, now, dags, commands, together };
        (0..DAGS).for_each(|n| desk.read(n));
        desk.settle();
        desk
    }

    fn append(&mut self, record: Record, command: Option<&Command>) {
        assert_eq!(decode(&encode(&record)).expect("ours"), record);
        let seq = self.log.len() as u64 + 1;
        self.namespace.evolve(seq, &record);
        self.audit.check(seq, &record, command).unwrap_or_else(|finding| panic!("{finding}"));
        self.log.push(record);
    }

    fn send(&mut self, by: Actor, body: CommandBody) {
        let id = CommandId::new(format!("c{}", self.commands.len())).expect("an id");
        let (sent_at, reply_to) = (self.now, None);
        let command = Command { id, by, sent_at, reply_to, reason: None, trace: None, body };
        self.commands.push(command.clone());
        self.deliver(&command);
    }

    fn deliver(&mut self, command: &Command) {
        let mut decision = self.namespace.decide(self.now, command);
        if let Outcome::Needs(key) = &decision.outcome {
            let cold = ColdRun::pick(key, (1..).zip(&self.log)).expect("the log has it");
            self.namespace.revive(&cold).expect("it is over");
            decision = self.namespace.decide(self.now, command);
        }
        let right = self.audit.is_right_answer(command, &decision.outcome);
        assert!(right, "{command:?} is answered {:?}", decision.outcome);
        for record in decision.records {
            self.append(record, Some(command));
        }
    }

    fn say(&mut self, body: CommandBody) {
        self.send(Actor::User("ada".to_owned()), body);
    }

    fn read(&mut self, n: usize) {
        let file = file_of(&self.dags[n], 1);
        self.send(Actor::Processor, CommandBody::DagFileRead(Box::new(file)));
    }

    /// Carries out what is called for; whatever is called for is permitted.
    fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 2_000, "the rules call for more and more at {}", self.now);
            let proposals = self.namespace.plan(self.now);
            if proposals.is_empty() {
                return;
            }
            for proposal in &proposals {
                if let Some(key) = self.namespace.needs_to(proposal) {
                    let cold = ColdRun::pick(&key, (1..).zip(&self.log)).expect("the log has it");
                    self.namespace.revive(&cold).expect("it is over");
                }
                let Some(record) = self.namespace.carry_out(self.now, proposal) else {
                    // What was carried out before it may stand against it; then it is not called for any more.
                    let again = self.namespace.plan(self.now).contains(proposal);
                    assert!(!again, "called for, not permitted: {proposal:?}");
                    continue;
                };
                self.append(record, None);
            }
        }
    }

    /// Goes to what is due next; nothing is called for before that. False where nothing ever is.
    fn wait(&mut self) -> bool {
        self.settle();
        let Some(due) = self.namespace.next_due(self.now) else {
            let much_later = self.now.plus(Micros::from_secs(1_000_000));
            assert_eq!(self.namespace.plan(much_later), [], "it is due, and nobody said so");
            return false;
        };
        assert!(due > self.now, "what is due next lies ahead");
        let between = self.now.0.midpoint(due.0);
        for before in [between, due.0 - 1].map(Timestamp) {
            assert_eq!(self.namespace.plan(before.max(self.now)), [], "due before it is due");
        }
        self.now = due;
        true
    }

    /// Every try in flight, with who holds it.
    fn in_flight(&self) -> Vec<(TryKey, Option<ExecutorId>)> {
        self.audit.active().flat_map(|(key, run)| run.tries(key)).collect()
    }

    fn report(&mut self, key: TryKey, executor: ExecutorId, word: Word) {
        let body = body_of(word, self.now);
        let report = Report { key, executor: executor.clone(), at: self.now, body };
        self.send(Actor::Executor(executor), CommandBody::Report(Box::new(report)));
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Trigger(n) => self.trigger(n, None),
            Act::TriggerDated(n, ago) => {
                let second = self.now.0 / 1_000_000 - ago;
                self.trigger(n, Some(Timestamp(second * 1_000_000)));
            }
            Act::Cancel(at) => {
                let runs: Vec<RunKey> = self.audit.active().map(|(key, _)| key.clone()).collect();
                if !runs.is_empty() {
                    let RunKey { dag_id, run_id } = at.get(&runs).clone();
                    self.say(CommandBody::CancelRun { dag_id, run_id });
                }
            }
            Act::Clear(run, task, how, latest) => {
                self.clear(run, task, how, latest);
            }
            Act::Delete(run) => {
                let runs: Vec<RunKey> = self.audit.runs().map(|(key, _)| key.clone()).collect();
                if !runs.is_empty() {
                    let RunKey { dag_id, run_id } = run.get(&runs).clone();
                    self.say(CommandBody::DeleteRun { dag_id, run_id });
                }
            }
            Act::Pause(_) | Act::Unpause(_) | Act::Change(..) | Act::Break(_) | Act::Remove(_) => {
                self.act_on_dags(act);
            }
            Act::SetPool(n, slots) => {
                self.say(CommandBody::SetPool(PoolChange::sized(pool(POOLS[n].0), slots)));
            }
            Act::SetLimits(parallelism, max_losses) => {
                self.say(CommandBody::SetLimits {
                    parallelism,
                    max_losses,
                    max_consecutive_failed_dag_runs: None,
                    task_queued_timeout: None,
                });
            }
            Act::Report(at, word, by) => {
                let tries = self.in_flight();
                if !tries.is_empty() {
                    let (key, holder) = at.get(&tries).clone();
                    self.report(key, holder.unwrap_or_else(|| executor(by)), word);
                }
            }
            Act::Lie(run, task, n, word, by) => self.lie(run, task, n, word, by),
            Act::Gone(by) => {
                for record in self.namespace.executor_gone(self.now, &executor(by)) {
                    self.append(record, None);
                }
            }
            Act::Again(at) => {
                let command = at.get(&self.commands).clone();
                self.deliver(&command);
            }
            Act::Wait => {
                self.together = false;
                self.wait();
            }
            Act::Pass(millis) => self.now = self.now.plus(Micros::from_millis(millis)),
            _ => self.act_on_runs(act),
        }
        if !self.together {
            self.settle();
        }
    }

    /// What becomes of DAGs and their files.
    fn act_on_dags(&mut self, act: &Act) {
        match *act {
            Act::Pause(n) => self.say(CommandBody::PauseDag { dag_id: dag_id(n) }),
            Act::Unpause(n) => self.say(CommandBody::UnpauseDag { dag_id: dag_id(n) }),
            Act::Change(n, seed) => {
                self.dags[n] = some_dag(&mut Prng::new(seed), n, self.now, 1);
                self.read(n);
            }
            Act::Break(n) => self.break_file(n),
            Act::Remove(n) => {
                let file = file_name(n);
                self.send(Actor::Processor, CommandBody::DagFileGone { file });
            }
            _ => unreachable!("it is about no DAG"),
        }
    }

    /// What people do to runs, beyond beginning and ending them.
    fn act_on_runs(&mut self, act: &Act) {
        match *act {
            Act::ClearMore(run, task, reach) => self.clear_more(run, task, reach),
            Act::Mark(run, task, reach, mark) => self.mark(run, task, reach, mark),
            Act::MarkRun(run, state) => {
                let runs: Vec<RunKey> = self.audit.active().map(|(key, _)| key.clone()).collect();
                if !runs.is_empty() {
                    let RunKey { dag_id, run_id } = run.get(&runs).clone();
                    self.say(CommandBody::MarkRun { dag_id, run_id, state });
                }
            }
            Act::Backfill(n, ago, how) => self.backfill(n, ago, how),
            Act::ChangeBackfill(how) => self.change_backfill(how),
            Act::DeletePool(n) => self.say(CommandBody::DeletePool { pool: pool(POOLS[n].0) }),
            Act::Together(together) => self.together = together,
            Act::Fire(at) => self.fire(at),
            _ => unreachable!("{act:?} is seen to elsewhere"),
        }
    }

    /// Some task of some run, as it is named.
    fn some_task(&self, run: Index, task: Index) -> Option<(RunKey, TaskId)> {
        let runs: Vec<_> = self.audit.runs().filter(|(_, run)| !run.tasks.is_empty()).collect();
        if runs.is_empty() {
            return None;
        }
        let (key, model) = run.get(&runs);
        Some(((*key).clone(), task.get(&model.tasks).spec.task_id.clone()))
    }

    fn clear_more(&mut self, run: Index, task: Index, reach: Reach) {
        let Some((key, task_id)) = self.some_task(run, task) else { return };
        let (task_ids, copies) = reach.of(task_id);
        let ask = ClearTasks {
            task_ids,
            copies,
            upstream: reach.upstream,
            downstream: reach.downstream,
            running: if reach.kill { OnRunning::Restart } else { OnRunning::Refuse },
            ..ClearTasks::of(key.dag_id, key.run_id)
        };
        self.say(CommandBody::ClearTasks(ask));
    }

    fn mark(&mut self, run: Index, task: Index, reach: Reach, state: TaskMark) {
        let Some((key, task_id)) = self.some_task(run, task) else { return };
        let (task_ids, copies) = reach.of(task_id);
        let ask = MarkTasks {
            dag_id: key.dag_id,
            run_id: key.run_id,
            task_ids,
            copies,
            state,
            upstream: reach.upstream,
            downstream: reach.downstream,
            dry_run: false,
        };
        self.say(CommandBody::MarkTasks(ask));
    }

    fn backfill(&mut self, n: usize, ago: i64, (run_backwards, again): (bool, u8)) {
        let from_date = self.now.plus(Micros::from_secs(-ago));
        let ask = CreateBackfill {
            dag_id: dag_id(n),
            from_date,
            to_date: from_date.plus(Micros::from_secs(20)),
            run_backwards,
            reprocess_behavior: match again {
                0 => ReprocessBehavior::None,
                1 => ReprocessBehavior::Failed,
                _ => ReprocessBehavior::Completed,
            },
            max_active_runs: 2,
            conf: None,
            runs: None,
            dry_run: false,
        };
        self.say(CommandBody::CreateBackfill(Box::new(ask)));
    }

    fn change_backfill(&mut self, how: u8) {
        let Some(id) = self.audit.backfills().map(|(id, _)| id).last() else { return };
        let backfill_id = BackfillId(id);
        self.say(match how {
            0 => CommandBody::PauseBackfill { backfill_id },
            1 => CommandBody::UnpauseBackfill { backfill_id },
            _ => CommandBody::CancelBackfill { backfill_id },
        });
    }

    /// Every leg that a trigger stands for.
    fn deferred(&self) -> Vec<TryKey> {
        self.audit.active().flat_map(|(key, run)| run.deferred(key)).collect()
    }

    fn fire(&mut self, at: Index) {
        let waiting = self.deferred();
        if waiting.is_empty() {
            return;
        }
        let (event, xcoms) = (Payload::Inline("1".to_owned()), Vec::new());
        let body = ReportBody::TriggerFired { event, ends: None, xcoms, log: None };
        let (key, executor) = (at.get(&waiting).clone(), executor(0));
        let report = Report { key, executor: executor.clone(), at: self.now, body };
        self.send(Actor::Executor(executor), CommandBody::Report(Box::new(report)));
    }

    /// Lets go on what waits for a run before it that is over or has no turn, and backfills; false where there is none.
    fn free(&mut self) -> bool {
        if let Some((key, task_ids)) = self.audit.keeping_others().into_iter().next() {
            self.say(CommandBody::MarkTasks(MarkTasks {
                dag_id: key.dag_id,
                run_id: key.run_id,
                task_ids,
                copies: Vec::new(),
                state: TaskMark::Success,
                upstream: false,
                downstream: false,
                dry_run: false,
            }));
            return true;
        }
        let paused = self.audit.paused_backfills().next();
        if let Some(id) = paused {
            self.say(CommandBody::UnpauseBackfill { backfill_id: BackfillId(id) });
            return true;
        }
        let waiting = self.audit.waiting_for_others().into_iter().next();
        let Some(RunKey { dag_id, run_id }) = waiting else { return false };
        self.say(CommandBody::CancelRun { dag_id, run_id });
        true
    }

    fn clear(&mut self, run: Index, task: Option<Index>, how: (bool, bool), latest: bool) {
        let runs: Vec<_> = self.audit.runs().filter(|(_, run)| !run.tasks.is_empty()).collect();
        if runs.is_empty() {
            return;
        }
        let (key, model) = run.get(&runs);
        let task_id = |task: Index| task.get(&model.tasks).spec.task_id.clone();
        let task_ids = task.map(task_id).into_iter().collect();
        let (dag_id, run_id) = (key.dag_id.clone(), key.run_id.clone());
        let (only_failed, dry_run) = how;
        let ask = ClearTasks {
            task_ids,
            only_failed,
            dry_run,
            on_latest_version: latest,
            ..ClearTasks::of(dag_id, run_id)
        };
        self.say(CommandBody::ClearTasks(ask));
    }

    fn trigger(&mut self, n: usize, logical_date: Option<Timestamp>) {
        let (dag_id, run_id, conf, note) = (dag_id(n), None, None, None);
        let partition_key = None;
        let ask = TriggerRun { dag_id, run_id, logical_date, conf, note, partition_key };
        self.say(CommandBody::TriggerRun(ask));
    }

    fn break_file(&mut self, n: usize) {
        let mut file = file_of(&self.dags[n], 1);
        file.dags.clear();
        file.errors.push(ImportError {
            line: None,
            exception: "SyntaxError".to_owned(),
            message: "invalid syntax".to_owned(),
            traceback: String::new(),
        });
        self.send(Actor::Processor, CommandBody::DagFileRead(Box::new(file)));
    }

    fn lie(&mut self, run: Index, task: Index, (n, leg): (u16, u32), word: Word, by: u8) {
        let runs: Vec<_> = self.audit.runs().filter(|(_, run)| !run.tasks.is_empty()).collect();
        if runs.is_empty() {
            return;
        }
        let (key, model) = run.get(&runs);
        // Every third names a copy, whether the task has any or not.
        let mapped = i32::try_from(task.index(7)).expect("small");
        let map_index = if mapped > 4 { MapIndex(mapped - 5) } else { MapIndex::UNMAPPED };
        let key = TryKey {
            dag_id: key.dag_id.clone(),
            run_id: key.run_id.clone(),
            task_id: task.get(&model.tasks).spec.task_id.clone(),
            map_index,
            try_number: TryNumber::new(n).expect("from one"),
            leg: Leg(leg),
        };
        self.report(key, executor(by), word);
    }

    /// Everything may run now: it does, and comes to an end.
    fn finish(&mut self) {
        self.settle();
        for n in 0..DAGS {
            self.dags[n] = unscheduled(self.dags[n].clone());
            self.read(n);
            self.say(CommandBody::UnpauseDag { dag_id: dag_id(n) });
        }
        for (name, slots) in POOLS {
            self.say(CommandBody::SetPool(PoolChange::sized(pool(name), slots)));
        }
        self.say(CommandBody::SetLimits {
            parallelism: 8,
            max_losses: 3,
            max_consecutive_failed_dag_runs: None,
            task_queued_timeout: None,
        });
        for _ in 0..10_000 {
            self.settle();
            let tries = self.in_flight();
            for (key, holder) in &tries {
                let executor = holder.clone().unwrap_or_else(|| executor(0));
                self.report(key.clone(), executor, Word::Succeeded);
            }
            if tries.is_empty() && !self.wait() {
                // Runs that failed may have paused their DAG.
                let paused: Vec<_> = self.audit.paused().cloned().collect();
                if paused.is_empty() && !self.free() {
                    break;
                }
                for dag_id in paused {
                    self.say(CommandBody::UnpauseDag { dag_id });
                }
            }
        }
        let left: Vec<_> = self.audit.runs().filter(|(_, run)| run.stage != Stage::Over).collect();
        assert!(left.is_empty(), "nothing is due and these are not over: {left:#?}");
        assert_eq!(self.namespace.in_flight(), 0);
    }

    /// The log folded again, whole and from a snapshot at `cut` on, gives the same state.
    fn check_replay(&self, cut: usize) {
        let mut whole = Namespace::new();
        fold_all(&mut whole, &self.log, cut);
        let mut resumed = Namespace::from_snapshot(&whole.to_snapshot()).expect("ours");
        fold_all(&mut whole, &self.log, self.log.len());
        fold_all(&mut resumed, &self.log, self.log.len());
        let bytes = self.namespace.to_snapshot();
        assert!(whole.to_snapshot() == bytes, "replayed it is another");
        assert!(resumed.to_snapshot() == bytes, "resumed at {cut} it is another");
        for later in [0, 1, 60, 3_600] {
            let now = self.now.plus(Micros::from_secs(later));
            assert_eq!(whole.plan(now), resumed.plan(now));
            assert_eq!(whole.next_due(now), resumed.next_due(now));
        }
    }
}

impl Reach {
    /// The task by its name, or the copy of it alone.
    fn of(self, task_id: TaskId) -> (Vec<TaskId>, Vec<TaskCopy>) {
        match self.copy {
            None => (vec![task_id], Vec::new()),
            Some(n) => (Vec::new(), vec![TaskCopy { task_id, map_index: MapIndex(n) }]),
        }
    }
}

fn executor(n: u8) -> ExecutorId {
    ExecutorId::new(format!("e{n}")).expect("an id")
}

fn body_of(word: Word, now: Timestamp) -> ReportBody {
    let (xcoms, usage) = (Vec::new(), Usage::default());
    let failed = |kind, fault, retryable| ReportBody::Failed {
        failure: failure(kind, fault, retryable),
        xcoms: Vec::new(),
        usage: Usage::default(),
        log: None,
    };
    match word {
        Word::Started => ReportBody::Started {
            hostname: "host".to_owned(),
            pid: 1,
            inputs: std::collections::BTreeMap::new(),
            again: false,
        },
        Word::Succeeded => {
            ReportBody::Succeeded { xcoms, usage, log: None, skips: vec![], outlets: vec![] }
        }
        Word::Decided(bits) => {
            let against = (0..8).filter(|n| bits & (1 << n) != 0);
            let name = |n| TaskId::new(format!("t{n}")).expect("a task id");
            ReportBody::Succeeded {
                xcoms,
                usage,
                log: None,
                skips: against.map(name).collect(),
                outlets: vec![],
            }
        }
        Word::Failed => failed(FailureKind::Exception, Fault::User, true),
        Word::FailedForGood => failed(FailureKind::Exception, Fault::User, false),
        Word::NotOurFault => failed(FailureKind::CouldNotStart, Fault::System, true),
        Word::Skipped => ReportBody::Skipped { message: String::new(), xcoms, usage, log: None },
        Word::Rescheduled(millis) => {
            let due = now.plus(Micros::from_millis(millis));
            ReportBody::Rescheduled { due, xcoms, usage, log: None }
        }
        Word::Deferred(millis) => ReportBody::Deferred {
            trigger: TriggerCall {
                class_path: "a.Trigger".to_owned(),
                kwargs: Payload::Inline("{}".to_owned()),
            },
            next_method: "go_on".to_owned(),
            next_kwargs: None,
            timeout_at: Some(now.plus(Micros::from_millis(millis))),
            ask: None,
            xcoms,
            usage,
            log: None,
        },
        Word::Returned => ReportBody::Returned,
        Word::Lost => {
            let why = dagbok_events::LostWhy::NotHeld;
            ReportBody::Lost { why, usage: None, log: None }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(400),
        max_shrink_iters: 4_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_is_done_every_run_ends_and_the_log_replays(
        seed in any::<u64>(),
        acts in prop::collection::vec(act(), 0..120),
        cut in any::<Index>(),
    ) {
        let mut desk = Desk::new(seed);
        for act in acts {
            desk.act(&act);
        }
        desk.settle();
        desk.check_replay(cut.index(desk.log.len() + 1));
        desk.audit.agrees_with(&desk.namespace).map_err(TestCaseError::fail)?;
        desk.audit.agrees_when_revived(&desk.namespace).map_err(TestCaseError::fail)?;
        desk.finish();
        desk.check_replay(cut.index(desk.log.len() + 1));
    }

    #[test]
    fn a_log_in_any_order_is_folded_all_the_same(
        seed in any::<u64>(),
        acts in prop::collection::vec(act(), 20..80),
        order in prop::collection::vec(any::<Index>(), 0..200),
    ) {
        let mut desk = Desk::new(seed);
        for act in acts {
            desk.act(&act);
        }
        let mut odd = Namespace::new();
        for (seq, at) in (1..).zip(&order) {
            odd.evolve(seq, at.get(&desk.log));
        }
        for proposal in odd.plan(desk.now) {
            odd.carry_out(desk.now, &proposal);
        }
        prop_assert!(odd.next_due(desk.now).is_none_or(|due| due > desk.now));
        let used: u64 = odd
            .active_runs()
            .flat_map(dagbok_domain::run::Run::instances)
            .filter_map(|(_, it)| it.state.hold())
            .filter(|hold| hold.pool.as_str() == POOLS[0].0)
            .map(|hold| u64::from(hold.slots))
            .sum();
        prop_assert_eq!(u64::from(odd.pool_use(POOLS[0].0).unwrap_or_default().0), used);
        drop(Namespace::from_snapshot(&odd.to_snapshot()));
    }
}
