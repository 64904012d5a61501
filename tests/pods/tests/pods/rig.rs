//! An executor of pods over queues in memory, with the scheduler and the kubelets played by the test.
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dagbok_events::{
    ExecutorId, ExecutorName, QueueName, TryKey, decode_any, decode_packed, encode_any,
};
use dagbok_executor::{Claim, ExecutorSettings, Runner};
use dagbok_pods::{
    CLAIM_VARIABLE, EXECUTOR_VARIABLE, MAKER_VARIABLE, PodsSettings, QUEUE_VARIABLE, TRY_VARIABLE,
};
use dagbok_protocol::{Command, CommandBody, Order, Report, ReportBody, WorkItem, names};
use dagbok_runlog::{Ports, QueueSettings, memory};
use dagbok_runtime::{Clock, Shutdown};
use futures::StreamExt as _;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::timeout};

use crate::server::Server;

/// No step of a test takes longer, on however slow a machine.
pub(crate) const LONG: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_millis(10);

/// Waits until something holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = timeout(LONG, async {
        while !holds().await {
            tokio::time::sleep(LOOK).await;
        }
    });
    assert!(waited.await.is_ok(), "waited for {LONG:?}: {what}");
}

pub(crate) struct Rig {
    pub(crate) ports: Ports,
    pub(crate) server: Server,
    pub(crate) settings: PodsSettings,
    pub(crate) reports: Arc<Mutex<Vec<Report>>>,
    /// What was said of whether it is full.
    pub(crate) full: Arc<Mutex<Vec<bool>>>,
    life: Option<(Shutdown, JoinHandle<()>)>,
    scheduler: JoinHandle<()>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.scheduler.abort();
        if let Some((_, life)) = &self.life {
            life.abort();
        }
    }
}

pub(crate) fn settings() -> PodsSettings {
    let id = ExecutorId::new(format!("pods-{}", dagbok_runtime::fresh_id())).unwrap();
    let mut settings = PodsSettings::new(id, ExecutorName::new("pods").unwrap(), "here".into());
    settings.image = Some("company/dagbok:1".into());
    settings.lease = Duration::from_secs(2);
    settings.delete_worker_pods_on_failure = true;
    settings
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut PodsSettings)) -> Self {
        drop(
            tracing_subscriber::fmt()
                .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
                .with_test_writer()
                .try_init(),
        );
        let ports = memory::ports();
        ports.state.put(names::PROTOCOL, "2".into(), None).await.unwrap();
        let mut settings = settings();
        change(&mut settings);
        let reports = Arc::new(Mutex::new(Vec::new()));
        let full = Arc::new(Mutex::new(Vec::new()));
        let heard = hear(ports.clone(), Arc::clone(&reports), Arc::clone(&full));
        let scheduler = tokio::spawn(heard);
        let server = Server::start().await;
        let mut rig = Self { ports, server, settings, reports, full, life: None, scheduler };
        rig.begin();
        rig
    }

    /// A life of the executor.
    pub(crate) fn begin(&mut self) {
        let id = format!("pods-{}", dagbok_runtime::fresh_id());
        self.settings.executor = ExecutorId::new(id).unwrap();
        let shutdown = Shutdown::new();
        let life = dagbok_pods::run(
            self.ports.clone(),
            self.settings.clone(),
            self.server.client(),
            Clock::system(),
            shutdown.clone(),
        );
        let life = tokio::spawn(async move { life.await.unwrap() });
        self.life = Some((shutdown, life));
    }

    /// Ends it as an orchestrator does.
    pub(crate) async fn end(&mut self) {
        let (shutdown, life) = self.life.take().unwrap();
        shutdown.start();
        timeout(LONG, life).await.unwrap().unwrap();
    }

    /// Ends it at once, as a kill does.
    pub(crate) async fn kill(&mut self) {
        let (_, life) = self.life.take().unwrap();
        life.abort();
        drop(life.await);
    }

    /// Queues a try of this task.
    pub(crate) async fn queue(&self, task: &str, more: Value) -> TryKey {
        let mut item = json!({
            "key": {"dag_id": "etl", "run_id": "r", "task_id": task, "try_number": 1},
            "queued_seq": 7, "queued_at": "2026-01-02T03:04:05Z",
            "bundle": "0".repeat(64), "file": "etl.py", "pool": "default_pool", "queue": "kubernetes",
            "max_tries": 3, "will_retry": true,
            "run": {"run_type": "manual", "run_after": "2026-01-02T03:04:05Z"},
        });
        for (field, value) in more.as_object().unwrap() {
            item[field] = value.clone();
        }
        let item: WorkItem = serde_json::from_value(item).unwrap();
        let work = self.work().await;
        work.publish(&names::work_key(&item.key), encode_any(&item).into()).await.unwrap();
        item.key
    }

    async fn work(&self) -> Arc<dyn dagbok_runlog::Queue> {
        let queue = names::work_queue(&QueueName::new("kubernetes").unwrap());
        let settings = QueueSettings { lease: self.settings.lease };
        self.ports.queues.open(&queue, settings).await.unwrap()
    }

    /// How many items are not acknowledged.
    pub(crate) async fn depth(&self) -> u64 {
        self.work().await.depth().await.unwrap()
    }

    /// The pod of a task, once it is there.
    pub(crate) async fn pod(&self, task: &str) -> (String, Value) {
        let found = || {
            let pods = self.server.pods();
            pods.into_iter().find(|(_, pod)| pod["metadata"]["annotations"]["task_id"] == task)
        };
        until("the pod is made", async || found().is_some()).await;
        found().unwrap()
    }

    /// What was reported of a try.
    pub(crate) fn reports_of(&self, key: &TryKey) -> Vec<ReportBody> {
        let reports = self.reports.lock();
        reports.iter().filter(|it| it.key == *key).map(|it| it.body.clone()).collect()
    }

    /// The end of a try, once it is reported.
    pub(crate) async fn end_of(&self, key: &TryKey) -> ReportBody {
        let end = || {
            self.reports_of(key).into_iter().find(|it| !matches!(it, ReportBody::Started { .. }))
        };
        until("an end is reported", async || end().is_some()).await;
        end().unwrap()
    }

    /// The message of a failure, with its kind.
    pub(crate) async fn failure_of(&self, key: &TryKey) -> (dagbok_events::FailureKind, String) {
        match self.end_of(key).await {
            ReportBody::Failed { failure, .. } => (failure.kind, failure.message),
            other => panic!("{other:?}"),
        }
    }

    /// Everything of before is over: nothing is left anywhere.
    pub(crate) async fn nothing_is_left(&self) {
        until("every item is acknowledged", async || self.depth().await == 0).await;
        until("every pod is gone", async || self.server.pods().is_empty()).await;
    }

    /// A pod that runs is deleted: its kubelet lets it go.
    pub(crate) async fn is_asked_to_go(&self, name: &str) {
        let told = || {
            let pods = self.server.pods();
            pods.get(name).is_none_or(|pod| !pod["metadata"]["deletionTimestamp"].is_null())
        };
        until("the pod is asked to go", async || told()).await;
    }

    /// Has the scheduler order the end of a try.
    pub(crate) async fn order_end(&self, key: &TryKey) {
        let order = encode_any(&Order::Kill { key: key.clone(), why: "cancelled".into() });
        let subject = names::orders_subject(&self.settings.executor);
        self.ports.signals.publish(&subject, order.into()).await.unwrap();
    }
}

/// Keeps what is reported.
async fn hear(ports: Ports, reports: Arc<Mutex<Vec<Report>>>, full: Arc<Mutex<Vec<bool>>>) {
    let inbox = ports.queues.open(names::INBOX, QueueSettings { lease: LONG }).await.unwrap();
    loop {
        for delivery in inbox.pull(100, LONG).await.unwrap() {
            let command: Command = decode_packed(&delivery.payload).unwrap();
            match command.body {
                CommandBody::Report(report) => reports.lock().push(*report),
                CommandBody::ExecutorFull { full: is_full, .. } => full.lock().push(is_full),
                _ => {}
            }
            delivery.handle.ack().await.unwrap();
        }
    }
}

/// What a container is told by its environment.
pub(crate) fn env_of(pod: &Value) -> BTreeMap<String, String> {
    let env = pod["spec"]["containers"][0]["env"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    env.iter().map(|it| (text(&it["name"]), text(&it["value"]))).collect()
}

/// The status of a pod whose container is so.
pub(crate) fn base_is(phase: &str, state: Value) -> Value {
    json!({"phase": phase, "containerStatuses": [
        {"name": "base", "image": "company/dagbok:1", "imageID": "", "ready": true, "restartCount": 0, "started": true, "state": state}]})
}

/// Runs the executor of one try that a pod is, here, and lets it do nothing but report.
pub(crate) async fn run_pod(ports: Ports, pod: &Value, home: &std::path::Path) {
    let env = env_of(pod);
    let claim = Claim {
        queue: QueueName::new(env[QUEUE_VARIABLE].as_str()).unwrap(),
        address: env[CLAIM_VARIABLE].clone(),
        key: env[TRY_VARIABLE].clone(),
        maker: Some(ExecutorName::new(env[MAKER_VARIABLE].as_str()).unwrap()),
    };
    let executor = ExecutorId::new(env[EXECUTOR_VARIABLE].as_str()).unwrap();
    let mut settings =
        ExecutorSettings::new(executor, "pod".into(), "python".into(), home.to_owned());
    settings.claim = Some(claim);
    settings.slots = 1;
    settings.runner = Runner::Null;
    let shutdown = Shutdown::new();
    dagbok_executor::run(ports, settings, Clock::system(), shutdown).await.unwrap();
}

/// A kubelet that runs each pod to its end, for as long as it is kept.
pub(crate) fn kubelet(rig: &Rig, home: std::path::PathBuf) -> JoinHandle<()> {
    let (server, ports) = (rig.server.clone(), rig.ports.clone());
    tokio::spawn(async move {
        let mut changes = tokio_stream_of(&server);
        let mut known = std::collections::BTreeSet::new();
        loop {
            for (name, pod) in server.pods() {
                if pod["status"]["phase"] == "Pending"
                    && known.insert(pod["metadata"]["uid"].to_string())
                {
                    let (server, ports) = (server.clone(), ports.clone());
                    let home = home.join(&name);
                    tokio::spawn(async move {
                        server.set_status(&name, base_is("Running", json!({"running": {}})));
                        run_pod(ports, &pod, &home).await;
                        server.set_status(
                            &name,
                            base_is("Succeeded", json!({"terminated": {"exitCode": 0}})),
                        );
                    });
                }
            }
            if changes.next().await.is_none() {
                return;
            }
        }
    })
}

/// A word with each change of the server.
fn tokio_stream_of(server: &Server) -> futures::stream::BoxStream<'static, ()> {
    let changes = server.changes();
    futures::stream::unfold(changes, |mut changes| async move {
        changes.changed().await.ok()?;
        Some(((), changes))
    })
    .boxed()
}

/// Reads what lies in the keyed state of an executor's presence.
pub(crate) async fn holds(rig: &Rig) -> Option<Vec<TryKey>> {
    let key = names::presence_key(&rig.settings.executor);
    let found = rig.ports.state.get(&key).await.unwrap()?;
    let presence: dagbok_protocol::Presence = decode_any(&found.value).unwrap();
    Some(presence.holds.into_iter().map(|it| it.key).collect())
}
