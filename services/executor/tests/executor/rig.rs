//! An executor with a scheduler played by the test: real queues, inbox, state and blobs in memory, and real
//! Python processes.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use dagbok_events::{
    Digest, ExecutorId, FailureKind, LostWhy, MapIndex, Micros, Payload, PoolName, QueueName,
    RunId, RunType, TaskId, Timestamp, TryKey, TryNumber, decode_any, encode_any,
};
use dagbok_executor::{ExecutorError, ExecutorSettings, LogLine, run};
use dagbok_protocol::{
    Answer, Command, CommandBody, Order, PROTOCOL, Refusal, RefusalCode, Report, ReportBody,
    RunContext, TryLogQuery, TryLogSlice, WorkItem, XComValue, names,
};
use dagbok_runlog::{Ports, QueueSettings, memory};
use dagbok_runtime::{Clock, Shutdown};
use parking_lot::Mutex;
use tokio::{sync::Notify, task::JoinHandle, time::timeout};

/// No step of a test takes longer, on however slow a machine.
pub(crate) const LONG: Duration = Duration::from_mins(1);

/// The Python that tries run with.
pub(crate) fn python() -> PathBuf {
    let python = std::env::var_os("DAGBOK_PYTHON").map(PathBuf::from);
    python.expect(
        "set DAGBOK_PYTHON to a CPython 3.11+ that has msgpack and jinja2; `make test` makes one in .venv",
    )
}

/// The package's sources.
pub(crate) fn python_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/python/src").canonicalize().unwrap()
}

/// Settings for tests: short patience.
pub(crate) fn settings(home: &Path) -> ExecutorSettings {
    let executor = ExecutorId::new(format!("test-{}", dagbok_runtime::fresh_id())).unwrap();
    let mut settings =
        ExecutorSettings::new(executor, "testhost".into(), python(), home.to_owned());
    settings.python_path = Some(python_path());
    settings.kill_grace = Duration::from_millis(700);
    settings.timeout_grace = Duration::from_millis(500);
    settings.drain_timeout = Duration::from_secs(5);
    settings
}

/// A running executor and the scheduler's part in the test's hands.
pub(crate) struct Rig {
    pub(crate) ports: Ports,
    pub(crate) settings: ExecutorSettings,
    pub(crate) shutdown: Shutdown,
    pub(crate) scheduler: Scheduler,
    pub(crate) bundle: Digest,
    pub(crate) home: tempfile::TempDir,
    task: Option<JoinHandle<Result<(), ExecutorError>>>,
}

impl Rig {
    /// An executor over memory, with a DAG folder of one file.
    pub(crate) async fn new(source: &str) -> Self {
        Self::with(source, memory::ports(), |_| {}).await
    }

    /// The same with other settings.
    pub(crate) async fn with(
        source: &str,
        ports: Ports,
        change: impl FnOnce(&mut ExecutorSettings),
    ) -> Self {
        Self::over(ports.clone(), ports, source, change).await
    }

    /// `theirs` is what the executor sees of `ports`.
    pub(crate) async fn over(
        ports: Ports,
        theirs: Ports,
        source: &str,
        change: impl FnOnce(&mut ExecutorSettings),
    ) -> Self {
        drop(
            tracing_subscriber::fmt()
                .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
                .with_test_writer()
                .try_init(),
        );
        let home = tempfile::tempdir().unwrap();
        let mut settings = settings(home.path());
        change(&mut settings);
        let bundle = put_bundle(&ports, &[("dag.py", source)]).await;
        let scheduler = Scheduler::play(&ports).await;
        let shutdown = Shutdown::new();
        let task = tokio::spawn(run(theirs, settings.clone(), Clock::system(), shutdown.clone()));
        Self { ports, settings, shutdown, scheduler, bundle, home, task: Some(task) }
    }

    /// A work item for this task of the file's DAG `d`.
    pub(crate) fn item(&self, task: &str) -> WorkItem {
        item(&self.bundle, task)
    }

    /// Queues it.
    pub(crate) async fn queue(&self, item: &WorkItem) {
        let settings = QueueSettings { lease: self.settings.lease };
        let queue =
            self.ports.queues.open(&names::work_queue(&item.queue), settings).await.unwrap();
        queue.publish(&names::work_key(&item.key), encode_any(item).into()).await.unwrap();
    }

    /// Queues this task and waits for its end.
    pub(crate) async fn run_task(&self, task: &str) -> ReportBody {
        self.run_item(&self.item(task)).await
    }

    /// Queues this item and waits for its end.
    pub(crate) async fn run_item(&self, item: &WorkItem) -> ReportBody {
        self.queue(item).await;
        self.scheduler.end(&item.key).await
    }

    /// How many items the queue `default` holds.
    pub(crate) async fn depth(&self) -> u64 {
        let settings = QueueSettings { lease: self.settings.lease };
        self.ports.queues.open("work.default", settings).await.unwrap().depth().await.unwrap()
    }

    /// Waits until all items are acknowledged.
    pub(crate) async fn until_acknowledged(&self) {
        until("the items are acknowledged", async || self.depth().await == 0).await;
    }

    /// The kept log of an end.
    pub(crate) async fn log(&self, end: &ReportBody) -> Vec<LogLine> {
        let log = match end {
            ReportBody::Succeeded { log, .. }
            | ReportBody::Failed { log, .. }
            | ReportBody::Skipped { log, .. }
            | ReportBody::Rescheduled { log, .. }
            | ReportBody::Deferred { log, .. }
            | ReportBody::TriggerFired { log, .. }
            | ReportBody::TriggerFailed { log, .. }
            | ReportBody::Lost { log, .. } => log.as_ref(),
            ReportBody::Left { log } => Some(log),
            ReportBody::Started { .. }
            | ReportBody::XCom(_)
            | ReportBody::Named { .. }
            | ReportBody::Checkpoint { .. }
            | ReportBody::Progress { .. }
            | ReportBody::Lineage { .. }
            | ReportBody::TriggerHeld
            | ReportBody::CallbackFailed { .. }
            | ReportBody::Returned => None,
        };
        let log = log.unwrap_or_else(|| panic!("{end:?} has no log"));
        let bytes =
            self.ports.blobs.get(log.digest.as_str()).await.unwrap().expect("the log is kept");
        assert_eq!(bytes.len() as u64, log.size);
        let lines: Vec<LogLine> = bytes
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        assert_eq!(lines.len() as u64, log.lines);
        lines
    }

    /// Asks the executor for a try's log so far.
    pub(crate) async fn read_log(&self, key: &TryKey, offset: u64, wait: Duration) -> TryLogSlice {
        let wait_ms = u32::try_from(wait.as_millis()).unwrap();
        let query = TryLogQuery { key: key.clone(), offset, max: 1 << 20, wait_ms };
        let subject = names::log_subject(&self.settings.executor);
        let answer =
            self.ports.signals.request(&subject, encode_any(&query).into(), LONG).await.unwrap();
        decode_any(&answer).unwrap()
    }

    /// Orders a try's end.
    pub(crate) async fn order_kill(&self, key: &TryKey, why: &str) {
        let order = Order::Kill { key: key.clone(), why: why.to_owned() };
        let subject = names::orders_subject(&self.settings.executor);
        self.ports.signals.publish(&subject, encode_any(&order).into()).await.unwrap();
    }

    /// Ends the executor and waits for it.
    pub(crate) async fn stop(&mut self) {
        self.shutdown.start();
        self.stopped().await;
    }

    /// Waits until the executor returns.
    pub(crate) async fn stopped(&mut self) {
        let task = self.task.take().expect("it runs");
        timeout(LONG, task).await.expect("the executor returns").unwrap().unwrap();
    }
}

/// How a try was lost, and whether both its log and what it used are known.
pub(crate) fn lost(end: &ReportBody) -> (LostWhy, bool) {
    let ReportBody::Lost { why, usage, log } = end else { panic!("{end:?} is no loss") };
    let counted = usage.is_some_and(|usage| usage.max_rss_bytes > 0);
    (*why, counted && log.is_some())
}

/// Waits until `look` says yes.
pub(crate) async fn until(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let looks = async {
        while !look().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, looks).await.unwrap_or_else(|_| panic!("in vain waited until {what}"));
}

/// Whether a process is there and no zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).is_some_and(|state| state != 'Z')
}

/// A bundle of these files.
pub(crate) async fn put_bundle(ports: &Ports, files: &[(&str, &str)]) -> Digest {
    let mut tar = tar::Builder::new(vec![]);
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    let mut packed = zstd::Encoder::new(vec![], 1).unwrap();
    packed.write_all(&tar.into_inner().unwrap()).unwrap();
    Digest::new(ports.blobs.put(packed.finish().unwrap().into()).await.unwrap()).unwrap()
}

/// A work item for a task of the DAG `d` in `dag.py`.
pub(crate) fn item(bundle: &Digest, task: &str) -> WorkItem {
    WorkItem {
        ask_after: None,
        folder: None,
        key: TryKey {
            dag_id: "d".parse().unwrap(),
            run_id: RunId::new("run1").unwrap(),
            task_id: TaskId::new(task).unwrap(),
            map_index: MapIndex::UNMAPPED,
            try_number: TryNumber::FIRST,
            leg: dagbok_events::Leg::FIRST,
        },
        queued_seq: 1,
        queued_at: Clock::system().now(),
        bundle: bundle.clone(),
        file: "dag.py".to_owned(),
        pool: PoolName::new("default_pool").unwrap(),
        queue: QueueName::new("default").unwrap(),
        max_tries: 0,
        will_retry: false,
        first_started_at: None,
        next_interval: None,
        execution_timeout: None,
        resume: None,
        trigger: None,
        watches: false,
        dag_callback: None,
        resources: dagbok_events::Resources::default(),
        limits: dagbok_events::Limits::default(),
        run_as_user: None,
        pod_override: None,
        checkpoint: None,
        run: RunContext {
            run_type: RunType::Manual,
            logical_date: Some(Timestamp(1_790_000_000_000_000)),
            data_interval: None,
            run_after: Timestamp(1_790_000_000_000_000),
            start_date: None,
            conf: None,
            triggered_by: None,
            note: None,
            asset_events: Vec::new(),
            partition: None,
        },
        traceparent: None,
        lineage: false,
        ask: false,
    }
}

/// Microseconds from milliseconds.
pub(crate) fn millis(n: i64) -> Micros {
    Micros::from_millis(n)
}

type Said = BTreeMap<TryKey, Vec<Report>>;

/// The scheduler's part: decides every report, and writes what tasks hand on.
#[derive(Clone)]
pub(crate) struct Scheduler {
    inner: Arc<Inner>,
}

struct Inner {
    ports: Ports,
    said: Mutex<Said>,
    in_order: Mutex<Vec<Report>>,
    others: Mutex<Vec<CommandBody>>,
    refused: Mutex<BTreeSet<TryKey>>,
    silent: Mutex<bool>,
    seen: Mutex<BTreeSet<String>>,
    changed: Notify,
}

impl Scheduler {
    /// Begins to decide.
    pub(crate) async fn play(ports: &Ports) -> Self {
        let inner = Arc::new(Inner {
            ports: ports.clone(),
            said: Mutex::default(),
            in_order: Mutex::default(),
            others: Mutex::default(),
            refused: Mutex::default(),
            silent: Mutex::default(),
            seen: Mutex::default(),
            changed: Notify::new(),
        });
        let version = PROTOCOL.to_string().into_bytes();
        if ports.state.get(names::PROTOCOL).await.unwrap().is_none() {
            ports.state.put(names::PROTOCOL, version.into(), None).await.unwrap();
        }
        let inbox = ports.queues.open(names::INBOX, QueueSettings { lease: LONG }).await.unwrap();
        tokio::spawn({
            let inner = Arc::clone(&inner);
            async move {
                loop {
                    for delivery in inbox.pull(100, Duration::from_secs(5)).await.unwrap() {
                        let command: Command = decode_any(&delivery.payload).unwrap();
                        inner.decide(command).await;
                        delivery.handle.ack().await.unwrap();
                        inner.changed.notify_waiters();
                    }
                }
            }
        });
        Self { inner }
    }

    /// Reports of this try are refused from now on.
    pub(crate) fn refuse(&self, key: &TryKey) {
        self.inner.refused.lock().insert(key.clone());
    }

    /// Whether nothing is answered.
    pub(crate) fn be_silent(&self, silent: bool) {
        *self.inner.silent.lock() = silent;
    }

    /// All that was said of a try.
    pub(crate) fn said(&self, key: &TryKey) -> Vec<Report> {
        self.inner.said.lock().get(key).cloned().unwrap_or_default()
    }

    /// All that was said, in the order in which a scheduler would have it in the log.
    pub(crate) fn in_order(&self) -> Vec<Report> {
        self.inner.in_order.lock().clone()
    }

    /// Commands that are no reports.
    pub(crate) fn others(&self) -> Vec<CommandBody> {
        self.inner.others.lock().clone()
    }

    /// Waits for a report that `find` knows.
    pub(crate) async fn wait_for<T>(
        &self,
        key: &TryKey,
        what: &str,
        mut find: impl FnMut(&ReportBody) -> Option<T>,
    ) -> T {
        let wait = async {
            loop {
                let changed = self.inner.changed.notified();
                if let Some(found) = self.said(key).iter().find_map(|report| find(&report.body)) {
                    return found;
                }
                changed.await;
            }
        };
        timeout(LONG, wait)
            .await
            .unwrap_or_else(|_| panic!("no {what} of {key}; said: {:?}", self.said(key)))
    }

    /// Waits for a try's terminal report.
    pub(crate) async fn end(&self, key: &TryKey) -> ReportBody {
        self.wait_for(key, "end", |body| is_end(body).then(|| body.clone())).await
    }

    /// Waits for a try's start; returns its process.
    pub(crate) async fn started(&self, key: &TryKey) -> u32 {
        self.wait_for(key, "start", |body| match body {
            ReportBody::Started { pid, .. } => Some(*pid),
            _ => None,
        })
        .await
    }
}

impl Inner {
    async fn decide(&self, command: Command) {
        let fresh = self.seen.lock().insert(command.id.to_string());
        let mut answer = Answer::Accepted { seq: 1, run_id: None };
        match command.body {
            CommandBody::Report(report) => {
                if self.refused.lock().contains(&report.key) || self.is_over(&report.key, fresh) {
                    let message = "another executor holds it".to_owned();
                    answer = Answer::Refused(Refusal { code: RefusalCode::StaleReport, message });
                } else {
                    self.keep_xcoms(&report).await;
                }
                if fresh {
                    self.in_order.lock().push(Report::clone(&report));
                    self.said.lock().entry(report.key.clone()).or_default().push(*report);
                }
            }
            other => self.others.lock().push(other),
        }
        let silent = *self.silent.lock();
        if let (false, Some(subject)) = (silent, command.reply_to) {
            self.ports.signals.publish(&subject, encode_any(&answer).into()).await.unwrap();
        }
    }

    /// Whether the try has ended already: what comes then is stale.
    fn is_over(&self, key: &TryKey, fresh: bool) -> bool {
        let said = self.said.lock();
        fresh && said.get(key).is_some_and(|said| said.iter().any(|report| is_end(&report.body)))
    }

    async fn keep_xcoms(&self, report: &Report) {
        let values: Vec<XComValue> = match &report.body {
            ReportBody::XCom(value) => vec![value.clone()],
            ReportBody::Succeeded { xcoms, .. } => xcoms.clone(),
            _ => vec![],
        };
        for XComValue { key, value, length: _ } in values {
            let TryKey { dag_id, run_id, task_id, map_index, .. } = &report.key;
            let place = names::xcom_key(dag_id, run_id, task_id, *map_index, &key);
            match value {
                Some(value) => {
                    let value = serde_json::to_vec(&value).unwrap();
                    self.ports.state.put(&place, value.into(), None).await.unwrap();
                }
                None => self.ports.state.delete(&place).await.unwrap(),
            }
        }
    }
}

fn is_end(body: &ReportBody) -> bool {
    !matches!(
        body,
        ReportBody::Started { .. }
            | ReportBody::XCom(_)
            | ReportBody::Named { .. }
            | ReportBody::Checkpoint { .. }
            | ReportBody::Progress { .. }
            | ReportBody::Lineage { .. }
    )
}

/// The failure of an end.
pub(crate) fn failure(end: &ReportBody) -> &dagbok_events::Failure {
    match end {
        ReportBody::Failed { failure, .. } => failure,
        other => panic!("no failure: {other:?}"),
    }
}

/// Its kind and message.
pub(crate) fn kind(end: &ReportBody) -> (FailureKind, &str) {
    (failure(end).kind, failure(end).message.as_str())
}

/// The text of a payload.
pub(crate) async fn text(ports: &Ports, payload: &Payload) -> String {
    match payload {
        Payload::Inline(text) => text.clone(),
        Payload::Blob { digest, .. } => {
            let bytes: Bytes = ports.blobs.get(digest.as_str()).await.unwrap().unwrap();
            String::from_utf8(bytes.to_vec()).unwrap()
        }
    }
}
