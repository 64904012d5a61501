//! Records by hand, in an order that could have happened.
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use dagbok_events::{
    Actor, DagId, DagImportFailed, DagRegistered, DagSpec, Digest, ExecutorId, ExecutorJoined,
    Fact, Failure, FailureKind, Fault, Interval, LogRef, MapIndex, Micros, Payload, PoolName,
    QueueName, Record, RuledOut, RunCreated, RunExpected, RunId, RunKey, RunStarted, RunType,
    Schedule, Scope, SourceLocation, TaskId, TaskQueued, TaskRuledOut, TaskSpec, Timestamp,
    Timetable, TryFailed, TryNumber, TryStarted, TrySucceeded, Usage, XComPushed, encode,
    subject_of,
};
use dagbok_runlog::{Draft, RunLog, Seq};

pub(crate) const FIRST: Timestamp = Timestamp(1_767_225_600_000_000);

/// A story and the log that it is told to.
pub(crate) struct Story {
    log: Arc<dyn RunLog>,
    last: AtomicU64,
}

pub(crate) fn dag(id: &str) -> DagId {
    DagId::new(id).unwrap()
}

pub(crate) fn key(dag_id: &str, run_id: &str) -> RunKey {
    RunKey { dag_id: dag(dag_id), run_id: RunId::new(run_id).unwrap() }
}

pub(crate) fn task(id: &str) -> TaskId {
    TaskId::new(id).unwrap()
}

pub(crate) fn executor(id: &str) -> ExecutorId {
    ExecutorId::new(id).unwrap()
}

pub(crate) fn digest(of: &str) -> Digest {
    Digest::new(dagbok_runlog::digest_of(of.as_bytes())).unwrap()
}

pub(crate) fn nth(n: u16) -> TryNumber {
    TryNumber::new(n).unwrap()
}

/// The task of this name, after the one before it.
fn a_task(id: &str, at: u32) -> TaskSpec {
    TaskSpec {
        task_id: task(id),
        operator: "PythonOperator".to_owned(),
        upstream: at.checked_sub(1).into_iter().collect(),
        trigger_rule: dagbok_events::TriggerRule::AllSuccess,
        retries: 1,
        retry_delay: Micros::from_secs(90_061),
        retry_email: Vec::new(),
        retry_backoff_milli: 0,
        max_retry_delay: None,
        execution_timeout: None,
        pool: PoolName::new("default_pool").unwrap(),
        pool_slots: 1,
        queue: QueueName::new("default").unwrap(),
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

/// A chain of tasks, each upstream of the next.
pub(crate) fn spec(dag_id: &str, tasks: &[&str]) -> DagSpec {
    let tasks = tasks.iter().zip(0_u32..).map(|(id, at)| a_task(id, at));
    DagSpec {
        dag_id: dag(dag_id),
        display_name: None,
        description: Some("A chain.".to_owned()),
        doc_md: None,
        owner: "ada, grace".to_owned(),
        tags: vec!["nightly".to_owned()],
        failure_email: Vec::new(),
        watchers: Vec::new(),
        on_success_callback: false,
        on_failure_callback: false,
        pod_overrides: Vec::new(),
        failure_notify: Vec::new(),
        deadlines: Vec::new(),
        era: 2,
        schedule: Schedule {
            text: Some("@daily".to_owned()),
            timetable: Timetable::CronDataInterval { expression: "0 0 * * *".to_owned() },
            timezone: "UTC".to_owned(),
        },
        start_date: Some(FIRST),
        end_date: None,
        asset_condition: None,
        catchup: false,
        max_active_runs: 16,
        max_active_tasks: 16,
        dagrun_timeout: Some(Micros::from_millis(1_500)),
        is_paused_upon_creation: None,
        params: Some(r#"{"depth": 3}"#.to_owned()),
        param_schemas: Some(r#"{"depth": {"type": "integer", "maximum": 9}}"#.to_owned()),
        required_params: vec![],
        fail_fast: false,
        max_consecutive_failed_dag_runs: 0,
        tasks: tasks.collect(),
        not_carried_out: Vec::new(),
        source: SourceLocation { file: format!("{dag_id}.py"), line: 7 },
    }
}

impl Story {
    pub(crate) fn on(log: Arc<dyn RunLog>) -> Self {
        Self { log, last: AtomicU64::new(0) }
    }

    pub(crate) fn last(&self) -> Seq {
        Seq(self.last.load(Ordering::SeqCst))
    }

    /// One record, a second after the one before.
    pub(crate) async fn tell_as(
        &self,
        by: Actor,
        reason: Option<&str>,
        scope: Scope,
        facts: Vec<Fact>,
    ) -> Seq {
        let last = self.last();
        let at = FIRST.plus(Micros::from_secs(i64::try_from(last.0).unwrap()));
        let reason = reason.map(str::to_owned);
        let record = Record { at, clock: None, scope, by, reason, cause: None, trace: None, facts };
        let draft = Draft { subject: subject_of(&record.scope), payload: encode(&record).into() };
        let seq = self.log.append(last, vec![draft]).await.unwrap();
        self.last.store(seq.0, Ordering::SeqCst);
        seq
    }

    pub(crate) async fn tell(&self, scope: Scope, facts: Vec<Fact>) -> Seq {
        self.tell_as(Actor::Scheduler, None, scope, facts).await
    }

    pub(crate) async fn registered(&self, spec: DagSpec, version: u32) -> Seq {
        let scope = Scope::Dag(spec.dag_id.clone());
        let fact = DagRegistered {
            version,
            spec_digest: digest(&format!("{}{version}", spec.dag_id)),
            bundle: digest("bundle"),
            spec,
            paused: (version == 1).then_some(false),
        };
        self.tell_as(Actor::Processor, None, scope, vec![Fact::DagRegistered(Box::new(fact))]).await
    }

    pub(crate) async fn expected(&self, dag_id: &str, due: Timestamp) -> Seq {
        let interval = Interval { start: FIRST, end: due };
        let fact = RunExpected {
            logical_date: Some(FIRST),
            data_interval: Some(interval),
            due: Some(due),
            grace: Micros::from_secs(60),
            owner: "ada".to_owned(),
            further: Vec::new(),
            keeps: false,
        };
        self.tell(Scope::Dag(dag(dag_id)), vec![Fact::RunExpected(fact)]).await
    }

    pub(crate) fn creation(conf: Option<&str>) -> Fact {
        Fact::RunCreated(Box::new(RunCreated {
            run_type: RunType::Manual,
            logical_date: Some(FIRST),
            data_interval: None,
            run_after: FIRST,
            version: 1,
            bundle: digest("bundle"),
            conf: conf.map(|conf| Payload::Inline(conf.to_owned())),
            note: Some("by hand".to_owned()),
            asset_events: Vec::new(),
            asset_events_left_out: 0,
            backfill_id: None,
            partition: None,
        }))
    }

    pub(crate) async fn created(&self, run: &RunKey) -> Seq {
        let facts = vec![Self::creation(Some(r#"{"depth": 4}"#)), Fact::RunStarted(RunStarted {})];
        self.tell_as(Actor::User("ada".to_owned()), None, Scope::Run(run.clone()), facts).await
    }

    pub(crate) fn queueing(id: &str, number: u16) -> Fact {
        Fact::TaskQueued(TaskQueued {
            task_id: task(id),
            map_index: MapIndex::UNMAPPED,
            try_number: nth(number),
            leg: dagbok_events::Leg::FIRST,
            pool: PoolName::new("default_pool").unwrap(),
            pool_slots: 1,
            queue: QueueName::new("default").unwrap(),
        })
    }

    pub(crate) async fn queued(&self, run: &RunKey, id: &str, number: u16) -> Seq {
        self.tell(Scope::Run(run.clone()), vec![Self::queueing(id, number)]).await
    }

    pub(crate) async fn joined(&self, id: &str) -> Seq {
        let fact = ExecutorJoined {
            hostname: "box".to_owned(),
            slots: 8,
            queues: vec![QueueName::new("default").unwrap()],
            version: "0.1.0".to_owned(),
            python: "3.11.7".to_owned(),
            resources: dagbok_events::Resources::default(),
            isolation: String::new(),
            name: None,
            protocol: None,
            part_of: None,
        };
        self.tell(Scope::Executor(executor(id)), vec![Fact::ExecutorJoined(Box::new(fact))]).await
    }

    pub(crate) async fn started(&self, run: &RunKey, id: &str, number: u16, on: &str) -> Seq {
        let fact = TryStarted {
            task_id: task(id),
            map_index: MapIndex::UNMAPPED,
            try_number: nth(number),
            leg: dagbok_events::Leg::FIRST,
            executor: executor(on),
            hostname: "box".to_owned(),
            pid: 42,
            started_at: FIRST.plus(Micros::from_secs(100)),
            inputs: [("bundle".to_owned(), "abc".to_owned())].into(),
        };
        let by = Actor::Executor(executor(on));
        self.tell_as(by, None, Scope::Run(run.clone()), vec![Fact::TryStarted(Box::new(fact))])
            .await
    }

    pub(crate) fn success(id: &str, number: u16, log: Option<LogRef>) -> Fact {
        Fact::TrySucceeded(Box::new(TrySucceeded {
            task_id: task(id),
            map_index: MapIndex::UNMAPPED,
            try_number: nth(number),
            leg: dagbok_events::Leg::FIRST,
            ended_at: FIRST.plus(Micros::from_millis(102_500)),
            usage: Usage { max_rss_bytes: 1 << 20, user_us: 5, system_us: 6 },
            log,
            skips: vec![],
        }))
    }

    pub(crate) fn failure(id: &str, number: u16, retry_at: Option<Timestamp>) -> Fact {
        Fact::TryFailed(Box::new(TryFailed {
            task_id: task(id),
            map_index: MapIndex::UNMAPPED,
            try_number: nth(number),
            leg: dagbok_events::Leg::FIRST,
            ended_at: FIRST.plus(Micros::from_secs(103)),
            failure: Failure {
                kind: FailureKind::Exception,
                fault: Fault::User,
                message: "division by zero".to_owned(),
                exception: Some("ZeroDivisionError".to_owned()),
                traceback: Some("Traceback".to_owned()),
                traceback_blob: None,
                file: Some("chain.py".to_owned()),
                line: Some(3),
                signal: None,
                exit_code: None,
                retryable: true,
                retry_delay: None,
                retry_reason: None,
                out_of_memory: None,
            },
            retry_at,
            usage: Usage::default(),
            log: None,
        }))
    }

    pub(crate) fn pushed(id: &str, number: u16, name: &str, value: Option<&str>) -> Fact {
        Fact::XComPushed(XComPushed {
            task_id: task(id),
            map_index: MapIndex::UNMAPPED,
            try_number: nth(number),
            leg: dagbok_events::Leg::FIRST,
            key: name.to_owned(),
            value: value.map(|value| Payload::Inline(value.to_owned())),
            length: None,
        })
    }

    pub(crate) fn ruled_out(id: &str, why: RuledOut) -> Fact {
        Fact::TaskRuledOut(TaskRuledOut {
            task_id: task(id),
            map_index: MapIndex::UNMAPPED,
            why,
            further: 0,
            message: None,
        })
    }

    pub(crate) async fn in_run(&self, run: &RunKey, facts: Vec<Fact>) -> Seq {
        self.tell(Scope::Run(run.clone()), facts).await
    }

    pub(crate) async fn import_failed(&self, file: &str) -> Seq {
        let fact = DagImportFailed {
            line: Some(3),
            exception: "SyntaxError".to_owned(),
            message: "invalid syntax".to_owned(),
            traceback: "Traceback".to_owned(),
            keeps: vec![dag("chain")],
        };
        self.tell(Scope::File(file.to_owned()), vec![Fact::DagImportFailed(Box::new(fact))]).await
    }
}
