//! A world for the scheduler: ports in memory, a DAG, people who ask, and an executor that plays tries
//! without processes but speaks to the real queues.
#![expect(dead_code, clippy::unwrap_used, reason = "each test uses a part; tests may unwrap")]
use std::{sync::Arc, time::Duration};

use dagbok_events::{
    Actor, DagId, DagSpec, Digest, ExecutorId, Fact, Payload, Record, RunId, Schedule,
    SourceLocation, TaskId, TaskSpec, Timestamp, Timetable, TryKey, Usage, decode, decode_any,
    encode_any,
};
use dagbok_inbox::{Ask, Inbox};
use dagbok_protocol::{
    Answer, CommandBody, DagFile, HeldTry, Presence, RegisteredDag, Report, ReportBody, TriggerRun,
    WorkItem, XComValue, names,
};
use dagbok_runlog::{Delivery, Ports, QueueSettings, ReadLimit, Seq};
use dagbok_runtime::{Clock, Shutdown};
use dagbok_scheduler::{SchedulerError, SchedulerSettings};
use tokio::task::JoinHandle;

pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) fn dag_id() -> DagId {
    DagId::new("pipeline").unwrap()
}

pub(crate) fn digest(of: char) -> Digest {
    Digest::new(of.to_string().repeat(64)).unwrap()
}

/// `edges[i]` are the upstreams of task `t<i>`.
pub(crate) fn spec(edges: &[&[u32]], retries: u16) -> DagSpec {
    let task = |(number, upstream): (usize, &&[u32])| -> TaskSpec {
        serde_json::from_value(serde_json::json!({
            "task_id": format!("t{number}"),
            "operator": "PythonOperator",
            "upstream": upstream,
            "retries": retries,
            "retry_delay": 1_000_000,
        }))
        .unwrap()
    };
    DagSpec {
        dag_id: dag_id(),
        display_name: None,
        description: None,
        doc_md: None,
        owner: "tests".into(),
        tags: vec![],
        failure_email: Vec::new(),
        watchers: Vec::new(),
        on_success_callback: false,
        on_failure_callback: false,
        pod_overrides: Vec::new(),
        failure_notify: Vec::new(),
        deadlines: Vec::new(),
        era: 2,
        schedule: Schedule { text: None, timetable: Timetable::Manual, timezone: "UTC".into() },
        start_date: None,
        end_date: None,
        asset_condition: None,
        catchup: false,
        max_active_runs: 16,
        max_active_tasks: 16,
        dagrun_timeout: None,
        is_paused_upon_creation: Some(false),
        params: None,
        param_schemas: None,
        required_params: vec![],
        fail_fast: false,
        max_consecutive_failed_dag_runs: 0,
        tasks: edges.iter().enumerate().map(task).collect(),
        not_carried_out: Vec::new(),
        source: SourceLocation { file: "pipeline.py".into(), line: 1 },
    }
}

pub(crate) struct World {
    pub(crate) ports: Ports,
    pub(crate) clock: Clock,
    pub(crate) inbox: Inbox,
}

impl World {
    pub(crate) async fn new(ports: Ports) -> Self {
        let clock = Clock::system();
        let inbox = Inbox::open(&ports, clock.clone()).await.unwrap();
        Self { ports, clock, inbox }
    }

    pub(crate) fn scheduler(
        &self,
        ports: Ports,
        settings: SchedulerSettings,
    ) -> (Shutdown, JoinHandle<Result<(), SchedulerError>>) {
        let shutdown = Shutdown::new();
        let work = dagbok_scheduler::run(ports, settings, self.clock.clone(), shutdown.clone());
        (shutdown, tokio::spawn(work))
    }

    pub(crate) async fn ask(&self, body: CommandBody) -> Answer {
        self.inbox.ask(Ask::new(Actor::User("ann".into()), body), PATIENCE).await.unwrap()
    }

    pub(crate) async fn register(&self, spec: DagSpec) {
        let file = DagFile {
            file: spec.source.file.clone(),
            bundle: digest('b'),
            dags: vec![RegisteredDag { spec_digest: digest('a'), spec, foretold: None }],
            errors: vec![],
            paused_at_creation: false,
        };
        let answer = self.ask(CommandBody::DagFileRead(Box::new(file))).await;
        assert!(matches!(answer, Answer::Accepted { .. }), "{answer:?}");
    }

    pub(crate) async fn trigger(&self, run: &str) -> Answer {
        self.ask(CommandBody::TriggerRun(TriggerRun {
            dag_id: dag_id(),
            run_id: Some(RunId::new(run).unwrap()),
            logical_date: Some(Timestamp(run.bytes().map(i64::from).sum::<i64>() * 1_000_003)),
            conf: None,
            note: None,
            partition_key: None,
        }))
        .await
    }

    pub(crate) async fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        loop {
            let after = Seq(records.len() as u64);
            let entries = self.ports.log.read(after, ReadLimit::default()).await.unwrap();
            if entries.is_empty() {
                return records;
            }
            records.extend(entries.iter().map(|entry| decode(&entry.payload).unwrap()));
        }
    }

    pub(crate) async fn facts(&self) -> Vec<Fact> {
        self.records().await.into_iter().flat_map(|record| record.facts).collect()
    }

    /// Waits until `enough` holds of all facts, woken by the log.
    pub(crate) async fn until(&self, what: &str, enough: impl Fn(&[Fact]) -> bool) {
        let work = async {
            loop {
                let last = self.ports.log.last().await.unwrap();
                if enough(&self.facts().await) {
                    return;
                }
                futures::StreamExt::next(&mut self.ports.log.follow(last)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE * 10, work).await.is_ok(), "{what} did not happen");
    }
}

/// An executor without processes.
pub(crate) struct Player {
    pub(crate) ports: Ports,
    pub(crate) inbox: Inbox,
    pub(crate) id: ExecutorId,
    pub(crate) queue: Arc<dyn dagbok_runlog::Queue>,
    pub(crate) lease: Duration,
}

impl Player {
    pub(crate) async fn new(world: &World, id: &str, lease: Duration) -> Self {
        let queue = world.ports.queues.open("work.default", QueueSettings { lease }).await.unwrap();
        let id = ExecutorId::new(id).unwrap();
        Self { ports: world.ports.clone(), inbox: world.inbox.clone(), id, queue, lease }
    }

    pub(crate) async fn take(&self) -> (WorkItem, Delivery) {
        loop {
            let mut pulled = self.queue.pull(1, PATIENCE).await.unwrap();
            if let Some(delivery) = pulled.pop() {
                return (decode_any(&delivery.payload).unwrap(), delivery);
            }
        }
    }

    pub(crate) async fn report(&self, key: &TryKey, body: ReportBody) -> Answer {
        let (key, executor, at) = (key.clone(), self.id.clone(), Timestamp(1));
        let report = Box::new(Report { key, executor, at, body });
        let by = Actor::Executor(self.id.clone());
        self.inbox.ask(Ask::new(by, CommandBody::Report(report)), PATIENCE).await.unwrap()
    }

    pub(crate) async fn start(&self, key: &TryKey) -> Answer {
        let inputs = std::collections::BTreeMap::new();
        self.report(
            key,
            ReportBody::Started { hostname: "here".into(), pid: 1, inputs, again: false },
        )
        .await
    }

    pub(crate) async fn succeed(&self, key: &TryKey, value: &str) -> Answer {
        let value = Some(Payload::Inline(value.to_owned()));
        let xcoms = vec![XComValue { key: "return_value".into(), value, length: None }];
        self.report(
            key,
            ReportBody::Succeeded {
                xcoms,
                usage: Usage::default(),
                log: None,
                skips: vec![],
                outlets: vec![],
            },
        )
        .await
    }

    /// Plays every try to success, for ever.
    pub(crate) async fn play(self) {
        loop {
            let (item, delivery) = self.take().await;
            self.start(&item.key).await;
            self.succeed(&item.key, "1").await;
            delivery.handle.ack().await.unwrap();
        }
    }

    /// Keeps presence for ever, naming `holds`.
    pub(crate) async fn stay(&self, holds: &[TryKey], every: Duration) {
        let mut beat = 0;
        loop {
            beat += 1;
            let holds = holds
                .iter()
                .map(|key| HeldTry { key: key.clone(), pid: None, waits: None })
                .collect();
            let presence = Presence {
                executor: self.id.clone(),
                hostname: "here".into(),
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
                lease_ms: u64::try_from(self.lease.as_millis()).ok(),
                at: Timestamp(0),
                holds,
            };
            let value = encode_any(&presence).into();
            self.ports.state.put(&names::presence_key(&self.id), value, None).await.unwrap();
            tokio::time::sleep(every).await;
        }
    }
}

pub(crate) fn task(number: usize) -> TaskId {
    TaskId::new(format!("t{number}")).unwrap()
}

pub(crate) fn runs_ended(facts: &[Fact]) -> usize {
    facts.iter().filter(|fact| fact.ends_run()).count()
}

/// Every try of the log was queued once, and ended by exactly one fact.
pub(crate) fn assert_each_try_ended_once(records: &[Record]) {
    let mut queued = std::collections::BTreeMap::new();
    for record in records {
        let dagbok_events::Scope::Run(run) = &record.scope else { continue };
        for fact in &record.facts {
            let (task, n, ends) = match fact {
                Fact::TaskQueued(f) => (&f.task_id, f.try_number, false),
                Fact::TrySucceeded(f) => (&f.task_id, f.try_number, true),
                Fact::TryFailed(f) => (&f.task_id, f.try_number, true),
                Fact::TrySkipped(f) => (&f.task_id, f.try_number, true),
                Fact::TryLost(f) => (&f.task_id, f.try_number, true),
                Fact::TryCancelled(f) => (&f.task_id, f.try_number, true),
                Fact::TryReturned(f) => (&f.task_id, f.try_number, true),
                _ => continue,
            };
            let counts: &mut (u32, u32) = queued.entry((run.clone(), task.clone(), n)).or_default();
            if ends {
                counts.1 += 1;
            } else {
                counts.0 += 1;
            }
        }
    }
    for (key, counts) in queued {
        assert_eq!(counts, (1, 1), "{key:?} was queued and ended so often");
    }
}
