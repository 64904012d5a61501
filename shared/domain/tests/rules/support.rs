//! A namespace with its log and a clock that tests set; DAGs in a line; facts in a few words.
use dagbok_domain::namespace::{ColdRun, Namespace, Outcome};
use dagbok_events::{
    Actor, AssetUpdated, CommandId, DagId, DagPaused, DagSpec, Digest, ExecutorId, Fact, Failure,
    FailureKind, Fault, Leg, LimitsSet, MapIndex, Micros, PoolName, QueueName, Record, RunExpected,
    RunFailed, RunId, RunKey, Schedule, Scope, SourceLocation, TaskCleared, TaskGone, TaskId,
    TaskMarked, TaskSpec, Timestamp, Timetable, TriggerRule, TryCancelled, TryKey, TryNumber,
    Usage, decode, encode,
};
use dagbok_protocol::{
    ClearTasks, Command, CommandBody, DagFile, ImportError, PoolChange, Presence, RefusalCode,
    RegisteredDag, Report, ReportBody, TriggerRun, Why, WhyAsk, XComValue,
};

/// The instant that a text in RFC 3339 names; a date alone is its midnight in UTC.
#[track_caller]
pub(crate) fn at(text: &str) -> Timestamp {
    let text = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        _ => text.to_owned(),
    };
    text.parse::<jiff::Timestamp>().expect("an instant").into()
}

pub(crate) const HOUR: Micros = Micros::from_secs(3_600);
pub(crate) const DAY: Micros = Micros::from_secs(24 * 3_600);

pub(crate) fn secs(n: i64) -> Micros {
    Micros::from_secs(n)
}

/// A digest told from others by a number.
pub(crate) fn digest(n: u64) -> Digest {
    Digest::new(format!("{n:064x}")).expect("hexadecimal")
}

pub(crate) fn dag_id(name: &str) -> DagId {
    DagId::new(name).expect("a DAG id")
}

pub(crate) fn task_id(name: &str) -> TaskId {
    TaskId::new(name).expect("a task id")
}

pub(crate) fn executor(name: &str) -> ExecutorId {
    ExecutorId::new(name).expect("an executor id")
}

/// A DAG without a schedule and without tasks, in `<name>.py`, of the newer era.
pub(crate) fn dag(name: &str) -> DagSpec {
    DagSpec {
        dag_id: dag_id(name),
        display_name: None,
        description: None,
        doc_md: None,
        owner: String::new(),
        tags: Vec::new(),
        failure_email: Vec::new(),
        watchers: Vec::new(),
        on_success_callback: false,
        on_failure_callback: false,
        pod_overrides: Vec::new(),
        failure_notify: Vec::new(),
        deadlines: Vec::new(),
        era: 3,
        schedule: Schedule { text: None, timetable: Timetable::Manual, timezone: "UTC".to_owned() },
        start_date: None,
        end_date: None,
        asset_condition: None,
        catchup: false,
        max_active_runs: 16,
        max_active_tasks: 16,
        dagrun_timeout: None,
        is_paused_upon_creation: None,
        params: None,
        param_schemas: None,
        required_params: vec![],
        fail_fast: false,
        max_consecutive_failed_dag_runs: 0,
        tasks: Vec::new(),
        not_carried_out: Vec::new(),
        source: SourceLocation { file: format!("{name}.py"), line: 1 },
    }
}

/// Ways to say what a DAG is like, in a chain.
pub(crate) trait DagExt: Sized {
    fn with(self, change: impl FnOnce(&mut DagSpec)) -> Self;
    fn add(self, name: &str, upstream: &[&str], change: impl FnOnce(&mut TaskSpec)) -> Self;

    fn task(self, name: &str, upstream: &[&str]) -> Self {
        self.add(name, upstream, |_| {})
    }
    fn timetable(self, timetable: Timetable) -> Self {
        self.with(|dag| dag.schedule.timetable = timetable)
    }
    /// Every day at midnight, from this date on.
    fn daily(self, start: &str) -> Self {
        self.timetable(Timetable::CronDataInterval { expression: "0 0 * * *".to_owned() })
            .with(|dag| dag.start_date = Some(at(start)))
    }
    fn catchup(self) -> Self {
        self.with(|dag| dag.catchup = true)
    }
}

impl DagExt for DagSpec {
    fn with(mut self, change: impl FnOnce(&mut DagSpec)) -> Self {
        change(&mut self);
        self
    }

    fn add(mut self, name: &str, upstream: &[&str], change: impl FnOnce(&mut TaskSpec)) -> Self {
        let place = |up: &&str| {
            let found = self.tasks.iter().position(|task| task.task_id.as_str() == *up);
            u32::try_from(found.expect("an upstream that is there")).expect("few tasks")
        };
        let mut upstream: Vec<u32> = upstream.iter().map(place).collect();
        upstream.sort_unstable();
        let mut task = plain_task(name, upstream);
        change(&mut task);
        self.tasks.push(task);
        self
    }
}

/// A task at Airflow's defaults.
pub(crate) fn plain_task(name: &str, upstream: Vec<u32>) -> TaskSpec {
    TaskSpec {
        task_id: task_id(name),
        operator: "PythonOperator".to_owned(),
        upstream,
        trigger_rule: TriggerRule::AllSuccess,
        retries: 0,
        retry_delay: secs(300),
        retry_email: Vec::new(),
        retry_backoff_milli: 0,
        max_retry_delay: None,
        execution_timeout: None,
        pool: PoolName::new("default_pool").expect("a pool"),
        pool_slots: 1,
        queue: QueueName::new("default").expect("a queue"),
        priority_weight: 1,
        owner: String::new(),
        group: None,
        is_mapped: false,
        expand: None,
        is_setup: false,
        is_teardown: false,
        on_failure_fail_dagrun: false,
        mapped_group: None,
        resources: dagbok_events::Resources::default(),
        limits: dagbok_events::Limits::default(),
        run_as_user: None,
        pod_override: None,
        wants_next_interval: false,
        inlets: Vec::new(),
        outlets: Vec::new(),
        max_active_tis_per_dag: None,
        max_active_tis_per_dagrun: None,
        depends_on_past: false,
        wait_for_downstream: false,
        ignore_first_depends_on_past: true,
        wait_for_past_depends_before_skipping: false,
        start_date: None,
        end_date: None,
        doc_md: None,
    }
}

/// A failure of this kind and fault.
pub(crate) fn failure(fault: Fault) -> Failure {
    Failure {
        kind: match fault {
            Fault::System => FailureKind::CouldNotStart,
            Fault::User | Fault::Data => FailureKind::Exception,
        },
        fault,
        message: "ValueError: no".to_owned(),
        exception: Some("ValueError".to_owned()),
        traceback: None,
        traceback_blob: None,
        file: None,
        line: None,
        signal: None,
        exit_code: None,
        retryable: true,
        retry_delay: None,
        retry_reason: None,
        out_of_memory: None,
    }
}

/// What became of a command: its outcome, and what it added to the log.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) outcome: Outcome,
    pub(crate) records: Vec<Record>,
}

impl Sent {
    /// Accepted, with these facts and no others, in a few words each.
    #[track_caller]
    pub(crate) fn is<const N: usize>(&self, facts: [&str; N]) -> &Self {
        assert!(matches!(self.outcome, Outcome::Accepted { .. }), "{:?}", self.outcome);
        assert_eq!(brief_all(&self.records), facts);
        self
    }

    /// Refused, with nothing written but these facts. Returns what the person is told.
    #[track_caller]
    pub(crate) fn refused<const N: usize>(&self, code: RefusalCode, facts: [&str; N]) -> &str {
        let Outcome::Refused(refusal) = &self.outcome else { panic!("{:?}", self.outcome) };
        assert_eq!(refusal.code, code, "{refusal}");
        assert_eq!(brief_all(&self.records), facts);
        &refusal.message
    }

    #[track_caller]
    pub(crate) fn unchanged(&self) {
        assert_eq!(self.outcome, Outcome::Unchanged);
        assert_eq!(brief_all(&self.records), [] as [&str; 0]);
    }

    /// The run that was made.
    #[track_caller]
    pub(crate) fn run_id(&self) -> RunId {
        match &self.outcome {
            Outcome::Accepted { run_id: Some(run_id) } => run_id.clone(),
            other => panic!("no run was made: {other:?}"),
        }
    }
}

/// A namespace with its log and clock.
pub(crate) struct World {
    pub(crate) namespace: Namespace,
    pub(crate) now: Timestamp,
    pub(crate) log: Vec<Record>,
    next_id: u64,
}

impl World {
    /// Nothing yet, on 1 January 2024.
    pub(crate) fn new() -> Self {
        Self { namespace: Namespace::new(), now: at("2024-01-01"), log: Vec::new(), next_id: 0 }
    }

    /// As from now on tries may be queued for so long; 0 is for ever.
    pub(crate) fn queued_for(&mut self, timeout: Micros) -> Sent {
        let LimitsSet { parallelism, max_losses, .. } = self.namespace.limits();
        self.send(CommandBody::SetLimits {
            parallelism,
            max_losses,
            max_consecutive_failed_dag_runs: None,
            task_queued_timeout: Some(timeout),
        })
    }

    /// With these DAGs, unpaused.
    pub(crate) fn with<const N: usize>(dags: [DagSpec; N]) -> Self {
        let mut world = Self::new();
        for dag in dags {
            world.read(&dag);
        }
        world.settle();
        world
    }

    /// A command nobody sent yet.
    pub(crate) fn command(&mut self, body: CommandBody) -> Command {
        self.next_id += 1;
        Command {
            id: CommandId::new(format!("c{}", self.next_id)).expect("an id"),
            by: Actor::User("ada".to_owned()),
            sent_at: self.now,
            reply_to: None,
            reason: None,
            trace: None,
            body,
        }
    }

    pub(crate) fn send(&mut self, body: CommandBody) -> Sent {
        let command = self.command(body);
        self.deliver(&command)
    }

    /// Decides on a command and folds in what was decided.
    pub(crate) fn deliver(&mut self, command: &Command) -> Sent {
        let mut decision = self.namespace.decide(self.now, command);
        if let Outcome::Needs(key) = &decision.outcome {
            self.revive(&key.clone());
            decision = self.namespace.decide(self.now, command);
        }
        if let CommandBody::DeleteRun { .. } = &command.body {
            self.assert_deletion_is_right(&decision.records);
        }
        for record in &decision.records {
            self.append(record);
        }
        Sent { outcome: decision.outcome, records: decision.records }
    }

    /// Takes a run up again that is over, from what the log has of it.
    #[track_caller]
    pub(crate) fn revive(&mut self, key: &RunKey) {
        let of_run = (1..).zip(&self.log).filter(|(_, it)| it.scope == Scope::Run(key.clone()));
        let own = ColdRun::of_run(key, of_run.map(|(seq, record)| (seq, record.clone())));
        let own = own.expect("the log has it");
        let picked = ColdRun::pick(key, (1..).zip(&self.log)).expect("the log has it");
        assert_eq!((&own.key, &own.records), (&picked.key, &picked.records));
        let known = self.namespace.has_versions_of(&own);
        self.namespace.revive(if known { &own } else { &picked }).expect("it is over");
    }

    /// What the fold keeps of a run that is over is what the run's own records say.
    #[track_caller]
    fn assert_deletion_is_right(&mut self, records: &[Record]) {
        for record in records {
            let (Scope::Run(key), [Fact::RunDeleted(f)]) = (&record.scope, &record.facts[..])
            else {
                continue;
            };
            self.revive(key);
            let run = self.namespace.revived_run(key).expect("it was revived");
            let read = (run.meta().logical_date, run.most_tries(), run.ends());
            assert_eq!((f.logical_date, f.tries, f.ends), read, "of {key}");
        }
    }

    /// Appends a record, as the log would store it, and checks that nothing depends on having seen it live.
    pub(crate) fn append(&mut self, record: &Record) {
        let stored = decode(&encode(record)).expect("what was encoded");
        assert_eq!(stored, *record, "stored and read back");
        if let Some(last) = self.log.last() {
            assert!(record.at >= last.at, "time on the log goes forward");
        }
        if let Some(key) = self.namespace.needs(record) {
            self.revive(&key);
        }
        self.log.push(stored);
        self.namespace.evolve(self.log.len() as u64, record);
    }

    /// Carries out what the rules call for now, until nothing; each proposal is one that holds.
    #[track_caller]
    pub(crate) fn settle(&mut self) -> Vec<String> {
        let from = self.log.len();
        for _ in 0..10_000 {
            let proposals = self.namespace.plan(self.now);
            if proposals.is_empty() {
                return brief_all(&self.log[from..]);
            }
            for proposal in &proposals {
                if let Some(key) = self.namespace.needs_to(proposal) {
                    self.revive(&key);
                }
                let record = self.namespace.carry_out(self.now, proposal);
                let record = record.unwrap_or_else(|| panic!("proposed and refused: {proposal:?}"));
                self.append(&record);
            }
        }
        panic!("the rules call for more and more at {}", self.now);
    }

    /// Lets time go by, then settles.
    #[track_caller]
    pub(crate) fn pass(&mut self, time: Micros) -> Vec<String> {
        self.now = self.now.plus(time);
        self.settle()
    }

    /// Sets the clock, then settles.
    #[track_caller]
    pub(crate) fn go_to(&mut self, time: &str) -> Vec<String> {
        self.now = at(time);
        self.settle()
    }

    // What the processor says.

    pub(crate) fn read(&mut self, dag: &DagSpec) -> Sent {
        let file = file_of(dag);
        self.read_file(&file)
    }

    pub(crate) fn read_file(&mut self, file: &DagFile) -> Sent {
        self.send(CommandBody::DagFileRead(Box::new(file.clone())))
    }

    // What people say.

    pub(crate) fn trigger(&mut self, dag: &str) -> Sent {
        let ask = ask(dag);
        self.send(CommandBody::TriggerRun(ask))
    }

    /// Triggers a run with this id.
    pub(crate) fn trigger_as(&mut self, dag: &str, run: &str) -> Sent {
        let run_id = Some(RunId::new(run).expect("a run id"));
        self.send(CommandBody::TriggerRun(TriggerRun { run_id, ..ask(dag) }))
    }

    pub(crate) fn pause(&mut self, dag: &str) -> Sent {
        self.send(CommandBody::PauseDag { dag_id: dag_id(dag) })
    }

    pub(crate) fn unpause(&mut self, dag: &str) -> Sent {
        self.send(CommandBody::UnpauseDag { dag_id: dag_id(dag) })
    }

    pub(crate) fn set_pool(&mut self, pool: &str, slots: u32) -> Sent {
        let pool = PoolName::new(pool).expect("a pool");
        self.send(CommandBody::SetPool(PoolChange::sized(pool, slots)))
    }

    pub(crate) fn delete_pool(&mut self, pool: &str) -> Sent {
        let pool = PoolName::new(pool).expect("a pool");
        self.send(CommandBody::DeletePool { pool })
    }

    pub(crate) fn set_limits(&mut self, parallelism: u32, max_losses: u16) -> Sent {
        self.send(CommandBody::SetLimits {
            parallelism,
            max_losses,
            max_consecutive_failed_dag_runs: None,
            task_queued_timeout: None,
        })
    }

    pub(crate) fn cancel(&mut self, dag: &str, run: &str) -> Sent {
        let run_id = RunId::new(run).expect("a run id");
        self.send(CommandBody::CancelRun { dag_id: dag_id(dag), run_id })
    }

    /// Clears tasks of a run: all that failed, or all.
    pub(crate) fn clear(&mut self, dag: &str, run: &str, only_failed: bool) -> Sent {
        self.send(CommandBody::ClearTasks(clearing(dag, run, only_failed)))
    }

    pub(crate) fn delete(&mut self, dag: &str, run: &str) -> Sent {
        let run_id = RunId::new(run).expect("a run id");
        self.send(CommandBody::DeleteRun { dag_id: dag_id(dag), run_id })
    }

    // What executors say. Tries are named `dag/run/task/try`, `dag/run/task[map]/try.leg`.

    pub(crate) fn join(&mut self, name: &str) -> Sent {
        self.join_with(name, dagbok_events::Resources::default())
    }

    /// An executor that has these.
    pub(crate) fn join_with(&mut self, name: &str, resources: dagbok_events::Resources) -> Sent {
        self.join_as(name, resources, None)
    }

    /// An executor that speaks this version of the protocol.
    pub(crate) fn join_speaking(&mut self, name: &str, protocol: Option<u32>) -> Sent {
        self.join_as(name, dagbok_events::Resources::default(), protocol)
    }

    /// An executor of one try that is a place of another, which is called so.
    pub(crate) fn join_part(&mut self, name: &str, of: &str) -> Sent {
        let nothing = dagbok_events::Resources::default();
        let presence = self.presence(name, nothing, None);
        let part_of = Some(dagbok_events::ExecutorName::new(of).expect("a name"));
        let presence = Presence { slots: 1, queues: Vec::new(), part_of, ..presence };
        self.send_presence(presence)
    }

    fn join_as(
        &mut self,
        name: &str,
        resources: dagbok_events::Resources,
        protocol: Option<u32>,
    ) -> Sent {
        let presence = self.presence(name, resources, protocol);
        self.send_presence(presence)
    }

    fn send_presence(&mut self, presence: Presence) -> Sent {
        let executor = presence.executor.clone();
        self.send(CommandBody::ExecutorJoined { executor, presence: Box::new(presence) })
    }

    fn presence(
        &self,
        name: &str,
        resources: dagbok_events::Resources,
        protocol: Option<u32>,
    ) -> Presence {
        Presence {
            executor: executor(name),
            hostname: "localhost".to_owned(),
            slots: 8,
            queues: vec![QueueName::new("default").expect("a queue")],
            version: "0.1.0".to_owned(),
            python: "3.11".to_owned(),
            resources,
            isolation: String::new(),
            name: None,
            protocol,
            part_of: None,
            cordoned: false,
            stays: false,
            draining: false,
            beat: 1,
            lease_ms: None,
            at: self.now,
            holds: Vec::new(),
        }
    }

    /// It has no place for another, or has one again.
    pub(crate) fn full(&mut self, name: &str, full: bool) -> Sent {
        self.send(CommandBody::ExecutorFull { executor: executor(name), full })
    }

    pub(crate) fn leave(&mut self, name: &str) -> Sent {
        self.send(CommandBody::ExecutorLeft { executor: executor(name) })
    }

    /// Declares an executor gone; returns what followed.
    pub(crate) fn gone(&mut self, name: &str) -> Vec<String> {
        let records = self.namespace.executor_gone(self.now, &executor(name));
        for record in &records {
            self.append(record);
        }
        brief_all(&records)
    }

    pub(crate) fn report(&mut self, by: &str, key: &str, body: ReportBody) -> Sent {
        let report = report(by, key, self.now, body);
        self.send(CommandBody::Report(Box::new(report)))
    }

    pub(crate) fn start(&mut self, by: &str, key: &str) -> Sent {
        self.report(by, key, started())
    }

    pub(crate) fn succeed(&mut self, by: &str, key: &str) -> Sent {
        self.report(by, key, succeeded(Vec::new()))
    }

    pub(crate) fn skip(&mut self, by: &str, key: &str) -> Sent {
        let (message, xcoms, usage) = ("not today".to_owned(), Vec::new(), Usage::default());
        self.report(by, key, ReportBody::Skipped { message, xcoms, usage, log: None })
    }

    /// A sensor that looks again in a while.
    pub(crate) fn reschedule(&mut self, by: &str, key: &str, wait: Micros) -> Sent {
        let due = self.now.plus(wait);
        let (xcoms, usage) = (Vec::new(), Usage::default());
        self.report(by, key, ReportBody::Rescheduled { due, xcoms, usage, log: None })
    }

    pub(crate) fn fail(&mut self, by: &str, key: &str) -> Sent {
        self.fail_with(by, key, failure(Fault::User))
    }

    pub(crate) fn fail_with(&mut self, by: &str, key: &str, failure: Failure) -> Sent {
        let (xcoms, usage) = (Vec::new(), Usage::default());
        self.report(by, key, ReportBody::Failed { failure, xcoms, usage, log: None })
    }

    // What there is to see.

    /// What is answered to who asks why something waits.
    pub(crate) fn why(
        &self,
        dag: &str,
        run: Option<&str>,
        task: Option<&str>,
        map_index: MapIndex,
    ) -> Why {
        let run_id = run.map(|run| run_key(dag, run).run_id);
        let ask = WhyAsk { dag_id: dag_id(dag), run_id, task_id: task.map(task_id), map_index };
        match self.namespace.why(self.now, &ask).outcome {
            Outcome::Waits(why) => *why,
            other => panic!("{other:?}"),
        }
    }

    /// Tries offered to executors, by weight and age: `dag/run/task/try`.
    pub(crate) fn offered(&self) -> Vec<String> {
        let items = self.namespace.queued_tries().into_iter();
        let items =
            items.map(|it| self.namespace.work_item(it).expect("an offered try has an item"));
        items.map(|item| item.key.to_string()).collect()
    }

    pub(crate) fn is_active(&self, dag: &str, run: &str) -> bool {
        self.namespace.active_run(&run_key(dag, run)).is_some()
    }

    /// Everything that the rules could depend on but the place on the log and the commands seen.
    pub(crate) fn state(&self) -> String {
        let mut text = String::new();
        for run in self.namespace.active_runs() {
            use std::fmt::Write as _;
            writeln!(
                text,
                "{:?} {:?} {:?}",
                run.key(),
                run.phase(),
                run.xcoms().collect::<Vec<_>>()
            )
            .expect("text");
            for (_, it) in run.instances() {
                writeln!(text, "{it:?}").expect("text");
            }
        }
        for (dag_id, dag) in self.namespace.dags() {
            use std::fmt::Write as _;
            let (current, expected) = (dag.current().number, dag.expected());
            writeln!(text, "{dag_id} {current} {expected:?} {} {}", dag.is_paused(), dag.is_gone())
                .expect("text");
        }
        text
    }
}

/// Asks for tasks of a run to run again.
pub(crate) fn clearing(dag: &str, run: &str, only_failed: bool) -> ClearTasks {
    let run_id = RunId::new(run).expect("a run id");
    ClearTasks { only_failed, ..ClearTasks::of(dag_id(dag), run_id) }
}

pub(crate) fn ask(dag: &str) -> TriggerRun {
    TriggerRun {
        dag_id: dag_id(dag),
        run_id: None,
        logical_date: None,
        conf: None,
        note: None,
        partition_key: None,
    }
}

pub(crate) fn run_key(dag: &str, run: &str) -> RunKey {
    RunKey { dag_id: dag_id(dag), run_id: RunId::new(run).expect("a run id") }
}

/// The file that defines this DAG alone.
pub(crate) fn file_of(dag: &DagSpec) -> DagFile {
    file(&dag.source.file, &[dag])
}

/// A file that defines these DAGs, in bundle 1.
pub(crate) fn file(name: &str, dags: &[&DagSpec]) -> DagFile {
    let registered = |spec: &&DagSpec| RegisteredDag {
        spec_digest: meaning(spec),
        spec: (*spec).clone(),
        foretold: None,
    };
    DagFile {
        file: name.to_owned(),
        bundle: digest(1),
        dags: dags.iter().map(registered).collect(),
        errors: Vec::new(),
        paused_at_creation: false,
    }
}

pub(crate) fn import_error(message: &str) -> ImportError {
    ImportError {
        line: Some(3),
        exception: "SyntaxError".to_owned(),
        message: message.to_owned(),
        traceback: String::new(),
    }
}

/// A stand-in for the hash of a DAG's meaning: equal where that is.
fn meaning(spec: &DagSpec) -> Digest {
    let mut spec = spec.clone();
    spec.source = SourceLocation::default();
    let bytes = dagbok_events::encode_any(&spec);
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    digest(bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

/// `dag/run/task/try`, with `[map]` after the task and `.leg` after the try where they are not the only ones.
#[track_caller]
pub(crate) fn try_key(text: &str) -> TryKey {
    let [dag, run, task, number] = text.split('/').collect::<Vec<_>>()[..] else {
        panic!("`{text}` is not dag/run/task/try")
    };
    let RunKey { dag_id, run_id } = run_key(dag, run);
    let (task, map) = match task.strip_suffix(']').and_then(|task| task.split_once('[')) {
        Some((task, map)) => (task, MapIndex(map.parse().expect("a map index"))),
        None => (task, MapIndex::UNMAPPED),
    };
    let (number, leg) = number.split_once('.').unwrap_or((number, "0"));
    let try_number = TryNumber::new(number.parse().expect("a number")).expect("from one");
    let leg = Leg(leg.parse().expect("a leg"));
    TryKey { dag_id, run_id, task_id: task_id(task), map_index: map, try_number, leg }
}

pub(crate) fn report(by: &str, key: &str, at: Timestamp, body: ReportBody) -> Report {
    Report { key: try_key(key), executor: executor(by), at, body }
}

pub(crate) fn started() -> ReportBody {
    let (hostname, inputs) = ("localhost".to_owned(), std::collections::BTreeMap::new());
    ReportBody::Started { hostname, pid: 42, inputs, again: false }
}

pub(crate) fn succeeded(xcoms: Vec<XComValue>) -> ReportBody {
    ReportBody::Succeeded {
        xcoms,
        usage: Usage::default(),
        log: None,
        skips: vec![],
        outlets: vec![],
    }
}

pub(crate) fn brief_all(records: &[Record]) -> Vec<String> {
    records.iter().flat_map(|record| &record.facts).map(brief).collect()
}

/// A fact in a few words.
#[expect(clippy::too_many_lines, reason = "one arm for each fact")]
pub(crate) fn brief(fact: &Fact) -> String {
    match fact {
        Fact::DagRegistered(f) => format!("DagRegistered {} v{}", f.spec.dag_id, f.version),
        Fact::BundlePublished(_) => "BundlePublished".to_owned(),
        Fact::DagImportFailed(f) => format!("DagImportFailed {}: {}", f.exception, f.message),
        Fact::DagImportRecovered(f) => format!("DagImportRecovered removed={}", f.removed),
        Fact::DagDisappeared(f) => format!("DagDisappeared file_gone={}", f.file_gone),
        Fact::DagPaused(f) => brief_paused(f),
        Fact::DagUnpaused(_) => "DagUnpaused".to_owned(),
        Fact::RunExpected(f) => brief_expected(f),
        Fact::RunMissed(f) => {
            format!("RunMissed {} from {} to {}: {:?}", f.count, f.first, f.last, f.why)
        }
        Fact::RunCreated(f) => format!("RunCreated {:?} {}", f.run_type, until(f.logical_date)),
        Fact::RunStarted(_) => "RunStarted".to_owned(),
        Fact::RunSucceeded(_) => "RunSucceeded".to_owned(),
        Fact::RunFailed(f) => brief_failed(f),
        Fact::RunTimedOut(f) => with("RunTimedOut", "teardowns", f.teardowns_left),
        Fact::RunCancelled(f) => with("RunCancelled", "teardowns", f.teardowns_left),
        Fact::RunCleared(_) => "RunCleared".to_owned(),
        Fact::RunDeleted(_) => "RunDeleted".to_owned(),
        Fact::TaskExpanded(f) => format!("TaskExpanded {} {}", f.task_id, f.length),
        Fact::TaskCleared(f) => brief_cleared(f),
        Fact::TaskMarked(f) => brief_marked(f),
        Fact::RunMarked(f) => {
            with(&format!("RunMarked {}", word(f.state)), "teardowns", f.teardowns_left)
        }
        Fact::RunVersionChanged(_) | Fact::TaskNoted(_) | Fact::RunNoted(_) => brief_said(fact),
        Fact::TryDeferred(_)
        | Fact::TriggerFired(_)
        | Fact::TriggerFailed(_)
        | Fact::HitlAnswered(_) => brief_deferral(fact),
        Fact::DagCallbackOrdered(_)
        | Fact::DagCallbackStarted(_)
        | Fact::DagCallbackSucceeded(_)
        | Fact::DagCallbackFailed(_)
        | Fact::DagCallbackLost(_)
        | Fact::DagCallbackUnbegun(_)
        | Fact::TaskCallbackFailed(_) => brief_callback(fact),
        Fact::TryRescheduled(f) => {
            format!("TryRescheduled {} {}.{} {}", f.task_id, f.try_number, f.leg, f.due)
        }
        Fact::TaskQueued(f) => format!("TaskQueued {} {}", f.task_id, f.try_number),
        Fact::TaskRuledOut(f) => brief_ruled_out(f),
        Fact::TryStarted(f) => brief_started(f),
        Fact::TrySucceeded(f) => format!("TrySucceeded {} {}", f.task_id, f.try_number),
        Fact::TryFailed(f) => {
            format!("TryFailed {} {} retry {}", f.task_id, f.try_number, until(f.retry_at))
        }
        Fact::TrySkipped(f) => format!("TrySkipped {} {}", f.task_id, f.try_number),
        Fact::TryLost(f) => brief_lost(f),
        Fact::TryCancelled(f) => brief_cancelled(f),
        Fact::TryReturned(f) => format!("TryReturned {} {}", f.task_id, f.try_number),
        Fact::XComPushed(f) => format!("XComPushed {} {}", f.task_id, f.key),
        Fact::TryNamed(f) => format!("TryNamed {} {}", f.task_id, f.rendered_map_index),
        Fact::CheckpointKept(f) => {
            let files = f.files.as_ref().map_or(0, |it| it.files);
            format!("CheckpointKept {} {files} files {:?}", f.task_id, f.values)
        }
        Fact::CheckpointDropped(f) => {
            format!("CheckpointDropped {}", copies(&f.task_id, f.map_index, 0))
        }
        Fact::TryProgressed(f) => format!("TryProgressed {} {} {}", f.task_id, f.done, f.text),
        Fact::LineageTold(f) => format!("LineageTold {} {}", f.task_id, f.lineage),
        Fact::ReportRefused(f) => {
            format!("ReportRefused {} {} {:?}: {:?}", f.task_id, f.try_number, f.report, f.why)
        }
        Fact::PoolSet(f) => format!("PoolSet {} {}", f.pool, f.slots),
        Fact::PoolDeleted(f) => format!("PoolDeleted {}", f.pool),
        Fact::VariableSet(f) => format!("VariableSet {} {}", f.key, f.sealed.id),
        Fact::VariableDeleted(f) => format!("VariableDeleted {}", f.key),
        Fact::ConnectionSet(f) => format!("ConnectionSet {} {}", f.conn_id, f.sealed.id),
        Fact::ConnectionDeleted(f) => format!("ConnectionDeleted {}", f.conn_id),
        Fact::SecretsRewrapped(f) => format!("SecretsRewrapped {} {}", f.master, f.keys.len()),
        Fact::LimitsSet(f) => format!("LimitsSet {} {}", f.parallelism, f.max_losses),
        Fact::ExecutorJoined(f) => format!("ExecutorJoined {}", f.slots),
        Fact::ExecutorLeft(f) => format!("ExecutorLeft {:?}", f.why),
        Fact::ExecutorCordoned(f) => format!("ExecutorCordoned {} {}", f.name, f.drain),
        Fact::ExecutorUncordoned(f) => format!("ExecutorUncordoned {}", f.name),
        Fact::ExecutorFull(f) => format!("ExecutorFull {}", f.full),
        Fact::ClockWentBack(f) => format!("ClockWentBack from {} to {}", f.from, f.to),
        Fact::ForeignEntrySkipped(f) => format!("ForeignEntrySkipped {}", f.seq),
        Fact::DagForgotten(_) => "DagForgotten".to_owned(),
        Fact::DagVersionsForgotten(f) => format!("DagVersionsForgotten below {}", f.below),
        Fact::HistoryForgotten(_) => "HistoryForgotten".to_owned(),
        Fact::AssetUpdated(f) => brief_updated(f),
        Fact::QueuedAssetsDropped(f) => format!("QueuedAssetsDropped {}", f.assets.len()),
        Fact::ScheduleForetold(f) => brief_foretold(f),
        Fact::BackfillCreated(_)
        | Fact::BackfillPaused(_)
        | Fact::BackfillUnpaused(_)
        | Fact::BackfillCancelled(_)
        | Fact::BackfillCompleted(_)
        | Fact::BackfillSkipped(_)
        | Fact::RunBackfilled(_) => brief_backfill(fact),
    }
}

fn brief_ruled_out(f: &dagbok_events::TaskRuledOut) -> String {
    let message = f.message.as_deref().map(|message| format!(": {message}"));
    let copies = copies(&f.task_id, f.map_index, f.further);
    format!("TaskRuledOut {copies} {:?}{}", f.why, message.unwrap_or_default())
}

fn brief_foretold(f: &dagbok_events::ScheduleForetold) -> String {
    let count: u32 = f.runs.iter().map(|runs| runs.count).sum();
    format!("ScheduleForetold {count}")
}

fn brief_backfill(fact: &Fact) -> String {
    match fact {
        Fact::BackfillCreated(f) => {
            let count: u32 = f.runs.iter().map(|it| it.count).sum();
            format!("BackfillCreated {}: {count}", f.backfill_id)
        }
        Fact::BackfillPaused(f) => format!("BackfillPaused {}", f.backfill_id),
        Fact::BackfillUnpaused(f) => format!("BackfillUnpaused {}", f.backfill_id),
        Fact::BackfillCancelled(f) => format!("BackfillCancelled {}", f.backfill_id),
        Fact::BackfillCompleted(f) => format!("BackfillCompleted {}", f.backfill_id),
        Fact::BackfillSkipped(f) => format!("BackfillSkipped {} {:?}", f.count, f.why),
        Fact::RunBackfilled(f) => format!("RunBackfilled {}", f.backfill_id),
        other => unreachable!("no fact of a backfill: {other:?}"),
    }
}

fn until(at: Option<Timestamp>) -> String {
    at.map_or("never".to_owned(), |at| at.to_string())
}

fn brief_started(f: &dagbok_events::TryStarted) -> String {
    format!("TryStarted {} {} by {}", f.task_id, f.try_number, f.executor)
}

fn brief_lost(f: &dagbok_events::TryLost) -> String {
    let (task, n, why) = (&f.task_id, f.try_number, &f.why);
    format!("TryLost {task} {n} {why:?} retry {}", until(f.retry_at))
}

fn brief_expected(fact: &RunExpected) -> String {
    match fact.logical_date {
        Some(date) => format!("RunExpected {date} due {}", until(fact.due)),
        None => "RunExpected none".to_owned(),
    }
}

fn brief_updated(fact: &AssetUpdated) -> String {
    let names = |dags: &[DagId]| dags.iter().map(DagId::as_str).collect::<Vec<_>>().join(",");
    let (queued, kept) = (names(&fact.queued_for), names(&fact.kept_for));
    format!("AssetUpdated {} for {queued}; kept for {kept}", fact.asset.uri)
}

/// A task, and which of its copies.
fn copies(task_id: &TaskId, first: MapIndex, further: u32) -> String {
    match (first.is_unmapped(), further) {
        (true, _) => task_id.to_string(),
        (false, 0) => format!("{task_id}[{}]", first.0),
        (false, more) => {
            format!("{task_id}[{}..={}]", first.0, i64::from(first.0) + i64::from(more))
        }
    }
}

fn with(name: &str, more: &str, said: bool) -> String {
    if said { format!("{name} {more}") } else { name.to_owned() }
}

fn brief_paused(f: &DagPaused) -> String {
    let runs = f.failed_runs.iter().map(|run| format!(" {run}"));
    format!("DagPaused{}", runs.collect::<String>())
}

fn brief_cancelled(f: &TryCancelled) -> String {
    with(&format!("TryCancelled {} {}", f.task_id, f.try_number), "skipped", f.skipped)
}

fn brief_failed(f: &RunFailed) -> String {
    let names: Vec<&str> = f.failed.iter().map(TaskId::as_str).collect();
    format!("RunFailed {}", names.join(","))
}

fn brief_cleared(f: &TaskCleared) -> String {
    format!("TaskCleared {}", copies(&f.task_id, f.map_index, f.further))
}

/// Of a run, what somebody noted, or which version it goes on with.
fn brief_said(fact: &Fact) -> String {
    match fact {
        Fact::RunNoted(f) => format!("RunNoted {}", f.note.as_deref().unwrap_or("-")),
        Fact::TaskNoted(f) => {
            let copy = copies(&f.task_id, f.map_index, 0);
            format!("TaskNoted {copy} {}", f.note.as_deref().unwrap_or("-"))
        }
        Fact::RunVersionChanged(f) => {
            let added = f.added.iter().map(|task_id| format!(" +{task_id}"));
            let gone = |it: &TaskGone| copies(&it.task_id, it.map_index, it.further);
            let removed = f.removed.iter().map(|it| format!(" -{}", gone(it)));
            format!("RunVersionChanged v{}{}", f.version, added.chain(removed).collect::<String>())
        }
        other => unreachable!("{other:?}"),
    }
}

fn brief_marked(f: &TaskMarked) -> String {
    format!("TaskMarked {} {}", copies(&f.task_id, f.map_index, f.further), word(f.state))
}

fn word(state: impl std::fmt::Debug) -> String {
    format!("{state:?}").to_lowercase()
}

fn brief_deferral(fact: &Fact) -> String {
    match fact {
        Fact::TryDeferred(f) => {
            format!("TryDeferred {} {}.{} {}", f.task_id, f.try_number, f.leg, until(f.timeout_at))
        }
        Fact::TriggerFired(f) => {
            let fired = format!("TriggerFired {} {}.{}", f.task_id, f.try_number, f.leg);
            if f.ends_task { format!("{fired} ends it") } else { fired }
        }
        Fact::HitlAnswered(f) => {
            let by = f.by.as_ref().map_or("nobody", |by| &by.name);
            format!("HitlAnswered {} {} by {by}", f.task_id, f.chosen_options.join("+"))
        }
        Fact::TriggerFailed(f) => {
            format!("TriggerFailed {} {}.{} {:?}", f.task_id, f.try_number, f.leg, f.why)
        }
        _ => String::new(),
    }
}

fn brief_callback(fact: &Fact) -> String {
    match fact {
        Fact::DagCallbackOrdered(f) => {
            let callback = f.callback.argument();
            format!("{callback} {}.{} ordered: {} of {}", f.number, f.attempt, f.reason, f.task_id)
        }
        Fact::DagCallbackStarted(f) => format!("callback {}.{} started", f.number, f.attempt),
        Fact::DagCallbackSucceeded(f) => format!("callback {}.{} succeeded", f.number, f.attempt),
        Fact::DagCallbackFailed(f) => format!("callback {}.{} failed", f.number, f.attempt),
        Fact::DagCallbackLost(f) => format!("callback {}.{} lost", f.number, f.attempt),
        Fact::DagCallbackUnbegun(f) => format!("callback {}.{} unbegun", f.number, f.attempt),
        Fact::TaskCallbackFailed(f) => format!("{} of {} failed", f.callback, f.task_id),
        _ => unreachable!("it is called for callbacks"),
    }
}
