//! The scheduler that an executor under test meets: it offers what a case asks for, answers every report, and keeps all
//! that it heard. It decides nothing and has no log.
use std::{collections::BTreeSet, io::Write as _, path::PathBuf, sync::Arc, time::Duration};

use dagbok_events::{
    DagId, Digest, ExecutorId, Leg, Limits, MapIndex, Payload, PoolName, QueueName, Resources,
    RunId, RunType, TaskId, TryKey, TryNumber, decode_any, decode_packed, encode_any,
};
use dagbok_inbox::INBOX_LEASE;
use dagbok_protocol::{
    Answer, Command, CommandBody, Order, PROTOCOL, Presence, Refusal, RefusalCode, Report,
    ReportBody, RunContext, WorkItem, names,
};
use dagbok_runlog::{PortError, Ports, Queue, QueueSettings};
use dagbok_runtime::Clock;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{sync::Notify, task::JoinHandle, time::timeout};

/// How often is looked at what can't be waited for otherwise.
const LOOK: Duration = Duration::from_millis(50);
/// By then whoever pulls for less is behind who began to pull.
const FIRST_IN_LINE: Duration = Duration::from_secs(3);

/// What was heard of executors.
#[derive(Debug, Default)]
pub(super) struct Heard {
    commands: Vec<Command>,
    /// Tries whose start is refused.
    refused: BTreeSet<TryKey>,
}

impl Heard {
    /// Every report, in the order of coming.
    pub(super) fn reports(&self) -> impl Iterator<Item = &Report> {
        self.commands.iter().filter_map(|command| match &command.body {
            CommandBody::Report(report) => Some(&**report),
            _ => None,
        })
    }

    /// What was said of one try, by whomever.
    pub(super) fn of<'a>(&'a self, key: &'a TryKey) -> impl Iterator<Item = &'a Report> {
        self.reports().filter(move |report| report.key == *key)
    }

    /// All that is no report.
    pub(super) fn others(&self) -> impl Iterator<Item = &CommandBody> {
        let bodies = self.commands.iter().map(|command| &command.body);
        bodies.filter(|body| !matches!(body, CommandBody::Report(_)))
    }
}

/// Whether a report says that its try is over.
pub(super) const fn is_end(body: &ReportBody) -> bool {
    matches!(
        body,
        ReportBody::Succeeded { .. }
            | ReportBody::Failed { .. }
            | ReportBody::Skipped { .. }
            | ReportBody::Lost { .. }
            | ReportBody::Returned
    )
}

/// The scheduler's part.
pub(super) struct Stage {
    /// The primitives.
    pub(super) ports: Ports,
    /// Which queue is served.
    pub(super) queue: QueueName,
    /// How long anything may take.
    pub(super) patience: Duration,
    /// Where tasks write what they do.
    pub(super) witness: PathBuf,
    bundle: Digest,
    heard: Arc<Mutex<Heard>>,
    changed: Arc<Notify>,
    hearing: JoinHandle<()>,
    runs: Mutex<u32>,
    /// Items on the queue that are no case's any more.
    left: Mutex<u64>,
    /// The executor's lease, as its presence said last: it is asked for once it has left, too.
    lease: Mutex<Option<Duration>>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.hearing.abort();
    }
}

impl Stage {
    /// Sets up a namespace that is empty.
    pub(super) async fn open(
        ports: Ports,
        queue: QueueName,
        patience: Duration,
        witness: PathBuf,
    ) -> Result<Self, PortError> {
        let version = PROTOCOL.to_string().into_bytes();
        ports.state.put(names::PROTOCOL, version.into(), None).await?;
        let bundle = ports.blobs.put(bundle().into()).await?;
        let bundle = Digest::new(bundle).expect("a digest is one");
        let (heard, changed) = (Arc::<Mutex<Heard>>::default(), Arc::new(Notify::new()));
        let inbox = ports.queues.open(names::INBOX, QueueSettings { lease: INBOX_LEASE }).await?;
        let hearing =
            tokio::spawn(hear(inbox, ports.clone(), Arc::clone(&heard), Arc::clone(&changed)));
        let (runs, left, lease) = (Mutex::new(0), Mutex::new(0), Mutex::new(None));
        Ok(Self {
            ports,
            queue,
            patience,
            witness,
            bundle,
            heard,
            changed,
            hearing,
            runs,
            left,
            lease,
        })
    }

    /// An item for a task of a run of its own.
    pub(super) fn item(&self, task: &str) -> WorkItem {
        let mut runs = self.runs.lock();
        *runs += 1;
        let conf = json!({ "witness": self.witness });
        let now = Clock::system().now();
        WorkItem {
            key: TryKey {
                dag_id: DagId::new("conformance").expect("an id"),
                run_id: RunId::new(format!("run-{runs}")).expect("an id"),
                task_id: TaskId::new(task).expect("an id"),
                map_index: MapIndex::UNMAPPED,
                try_number: TryNumber::FIRST,
                leg: Leg::FIRST,
            },
            queued_seq: u64::from(*runs),
            queued_at: now,
            bundle: self.bundle.clone(),
            file: "dag.py".to_owned(),
            folder: None,
            pool: PoolName::new("default_pool").expect("a name"),
            queue: self.queue.clone(),
            max_tries: 0,
            will_retry: false,
            first_started_at: None,
            execution_timeout: None,
            next_interval: None,
            ask_after: None,
            run: RunContext {
                run_type: RunType::Manual,
                logical_date: Some(now),
                data_interval: None,
                run_after: now,
                start_date: Some(now),
                conf: Some(Payload::Inline(conf.to_string())),
                triggered_by: None,
                note: None,
                asset_events: Vec::new(),
                partition: None,
            },
            traceparent: None,
            resume: None,
            trigger: None,
            watches: false,
            dag_callback: None,
            resources: Resources::default(),
            limits: Limits::default(),
            run_as_user: None,
            pod_override: None,
            checkpoint: None,
            lineage: false,
            ask: false,
        }
    }

    /// The same that takes so many seconds.
    pub(super) fn brief(&self, seconds: f64) -> WorkItem {
        let conf = json!({ "witness": self.witness, "seconds": seconds });
        let mut item = self.item("brief");
        item.run.conf = Some(Payload::Inline(conf.to_string()));
        item
    }

    async fn work(&self, lease: Duration) -> Result<Arc<dyn Queue>, String> {
        let name = names::work_queue(&self.queue);
        let opened = self.ports.queues.open(&name, QueueSettings { lease });
        opened.await.map_err(|error| error.to_string())
    }

    /// Offers it.
    pub(super) async fn offer(&self, item: &WorkItem) -> Result<(), String> {
        let lease = self.lease().await?;
        let queue = self.work(lease).await?;
        let published = queue.publish(&names::work_key(&item.key), encode_any(item).into()).await;
        published.map(drop).map_err(|error| error.to_string())
    }

    /// Offers what is no item.
    pub(super) async fn offer_garbage(&self, key: &str) -> Result<(), String> {
        let queue = self.work(self.lease().await?).await?;
        let published = queue.publish(key, vec![0xc1, 0, 0xff].into()).await;
        published.map(drop).map_err(|error| error.to_string())
    }

    /// Ends what a case's tries still run, and takes off what it left on the queue. What was handed back with a delay can't be
    /// had: it is not counted any more.
    pub(super) async fn clear(&self) -> Result<(), String> {
        for presence in self.presences().await? {
            for held in presence.holds {
                let order = Order::Kill { key: held.key, why: "its case is over".to_owned() };
                self.order(&presence.executor, &order).await?;
            }
        }
        let queue = self.work(Duration::from_secs(30)).await?;
        for _ in 0..4 {
            let pulled = queue.pull(16, Duration::from_millis(500)).await;
            for delivery in pulled.map_err(|error| error.to_string())? {
                delivery.handle.ack().await.map_err(|error| error.to_string())?;
            }
        }
        let left = queue.depth().await.map_err(|error| error.to_string())?;
        *self.left.lock() = left;
        Ok(())
    }

    /// So many more items that can't be had are no case's.
    pub(super) fn leave(&self, count: u64) {
        *self.left.lock() += count;
    }

    /// Offers an item, takes it before the executor can, and lets it go: the executor has it as one that was delivered
    /// before. Whoever has asked for longest is served first; where the executor was, it is offered another.
    pub(super) async fn offer_again(
        &self,
        item: impl Fn() -> WorkItem,
    ) -> Result<WorkItem, String> {
        let queue = self.work(self.lease().await?).await?;
        for _ in 0..5 {
            let item = item();
            let pulls = queue.pull(1, self.patience);
            let offers = async {
                // By then the executor's own pulls, which are short, come behind.
                tokio::time::sleep(FIRST_IN_LINE).await;
                self.offer(&item).await
            };
            let taken = async {
                let (pulled, offered) = tokio::join!(pulls, offers);
                offered?;
                pulled.map_err(|error| error.to_string())
            };
            let pulled = tokio::select! {
                pulled = taken => pulled?,
                end = self.end(&item.key) => {
                    end?;
                    continue;
                }
            };
            if let Some(delivery) = pulled.into_iter().next() {
                delivery.handle.nak(Duration::ZERO).await.map_err(|error| error.to_string())?;
                return Ok(item);
            }
        }
        Err("the suite could not have an item before the executor: stop others that pull from its queue".to_owned())
    }

    /// How many items of cases are not acknowledged.
    pub(super) async fn depth(&self) -> Result<u64, String> {
        let queue = self.work(self.lease().await?).await?;
        let depth = queue.depth().await.map_err(|error| error.to_string())?;
        Ok(depth.saturating_sub(*self.left.lock()))
    }

    /// Whether somebody else who pulls all the time for so long is given something: a try whose lease is not renewed.
    /// Whoever has asked for longest is served first, so that the executor's own short pulls come behind. It is not taken up.
    pub(super) async fn is_given_to_others(&self, within: Duration) -> Result<bool, String> {
        let queue = self.work(self.lease().await?).await?;
        let pulled = queue.pull(1, within).await.map_err(|error| error.to_string())?;
        Ok(!pulled.is_empty())
    }

    /// The start of a try is refused from now on.
    pub(super) fn refuse(&self, key: &TryKey) {
        self.heard.lock().refused.insert(key.clone());
    }

    /// Orders something of an executor.
    pub(super) async fn order(&self, executor: &ExecutorId, order: &Order) -> Result<(), String> {
        let subject = names::orders_subject(executor);
        let sent = self.ports.signals.publish(&subject, encode_any(order).into()).await;
        sent.map_err(|error| error.to_string())
    }

    /// Waits until `look` finds something in what was heard.
    pub(super) async fn heard<T>(
        &self,
        what: &str,
        look: impl Fn(&Heard) -> Option<T>,
    ) -> Result<T, String> {
        let waits = async {
            loop {
                let mut changed = std::pin::pin!(self.changed.notified());
                changed.as_mut().enable();
                if let Some(found) = look(&self.heard.lock()) {
                    return found;
                }
                changed.await;
            }
        };
        timeout(self.patience, waits)
            .await
            .map_err(|_| format!("{what}: not within {:?}", self.patience))
    }

    /// What was heard, as it is.
    pub(super) fn now<T>(&self, look: impl Fn(&Heard) -> T) -> T {
        look(&self.heard.lock())
    }

    /// Waits for the end of a try.
    pub(super) async fn end(&self, key: &TryKey) -> Result<Report, String> {
        let what = format!("the end of `{}` is reported", key.task_id);
        self.heard(&what, |heard| heard.of(key).find(|it| is_end(&it.body)).cloned()).await
    }

    /// Waits until a try is known to have begun.
    pub(super) async fn start(&self, key: &TryKey) -> Result<Report, String> {
        let is_start = |it: &&Report| matches!(it.body, ReportBody::Started { .. });
        let what = format!("the start of `{}` is reported", key.task_id);
        self.heard(&what, |heard| heard.of(key).find(is_start).cloned()).await
    }

    /// Executors that are there, newest beat first read.
    pub(super) async fn presences(&self) -> Result<Vec<Presence>, String> {
        let found = self.ports.state.list(names::PRESENCE_PREFIX).await;
        let found = found.map_err(|error| error.to_string())?;
        let mut presences = Vec::new();
        for (key, it) in found {
            let presence: Presence = decode_any(&it.value)
                .map_err(|error| format!("what lies under `{key}` is no Presence: {error}"))?;
            if names::presence_key(&presence.executor) != key {
                return Err(format!("the presence of `{}` lies under `{key}`", presence.executor));
            }
            presences.push(presence);
        }
        Ok(presences)
    }

    /// The executor under test; there must be one.
    pub(super) async fn presence(&self) -> Result<Presence, String> {
        self.until("an executor keeps its presence", async || {
            Ok(self.presences().await?.into_iter().next())
        })
        .await
    }

    async fn lease(&self) -> Result<Duration, String> {
        if let Some(lease) = *self.lease.lock() {
            return Ok(lease);
        }
        let lease = self.presence().await?.lease_ms.unwrap_or(30_000);
        let lease = Duration::from_millis(lease);
        *self.lease.lock() = Some(lease);
        Ok(lease)
    }

    /// Waits until `look` finds something.
    pub(super) async fn until<T>(
        &self,
        what: &str,
        look: impl AsyncFn() -> Result<Option<T>, String>,
    ) -> Result<T, String> {
        let waits = async {
            loop {
                if let Some(found) = look().await? {
                    return Ok(found);
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let waited = timeout(self.patience, waits).await;
        waited.unwrap_or_else(|_| Err(format!("{what}: not within {:?}", self.patience)))
    }

    /// What tasks of a run wrote of themselves: the word, and the try's number.
    pub(super) fn witnessed(&self, key: &TryKey) -> Vec<(String, u64)> {
        self.witnesses(key).into_iter().map(|(word, number, _)| (word, number)).collect()
    }

    /// The same, with the process that wrote it.
    pub(super) fn witnesses(&self, key: &TryKey) -> Vec<(String, u64, Option<u32>)> {
        let text = std::fs::read_to_string(&self.witness).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Vec<Value>>(line).ok());
        let of_it = lines.filter_map(|line| match line.as_slice() {
            [
                Value::String(word),
                Value::String(task),
                Value::String(run),
                Value::Number(number),
                more @ ..,
            ] if task == key.task_id.as_str() && run == key.run_id.as_str() => {
                let pid = more.first().and_then(Value::as_u64).and_then(|it| it.try_into().ok());
                Some((word.clone(), number.as_u64()?, pid))
            }
            _ => None,
        });
        of_it.collect()
    }
}

/// Hears the inbox for ever, and answers.
async fn hear(inbox: Arc<dyn Queue>, ports: Ports, heard: Arc<Mutex<Heard>>, changed: Arc<Notify>) {
    loop {
        let Ok(pulled) = inbox.pull(64, Duration::from_secs(1)).await else {
            tokio::time::sleep(LOOK).await;
            continue;
        };
        for delivery in pulled {
            match decode_packed::<Command>(&delivery.payload) {
                Ok(command) => {
                    let answer = answer(&heard.lock(), &command);
                    let reply_to = command.reply_to.clone();
                    heard.lock().commands.push(command);
                    if let Some(subject) = reply_to {
                        drop(ports.signals.publish(&subject, encode_any(&answer).into()).await);
                    }
                }
                Err(error) => {
                    tracing::warn!(key = delivery.key, %error, "a message of the inbox is no command");
                }
            }
            drop(delivery.handle.ack().await);
            changed.notify_waiters();
        }
    }
}

fn answer(heard: &Heard, command: &Command) -> Answer {
    if let CommandBody::Report(report) = &command.body
        && heard.refused.contains(&report.key)
    {
        let message = "the try is not in flight any more".to_owned();
        return Answer::Refused(Refusal { code: RefusalCode::StaleReport, message });
    }
    let seq = heard.commands.len() as u64 + 1;
    Answer::Accepted { seq, run_id: None }
}

/// The DAG file, as the processor packs a folder.
fn bundle() -> Vec<u8> {
    let file = include_bytes!("dag.py");
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(file.len() as u64);
    header.set_mode(0o644);
    let whole = "bytes in memory take all";
    tar.append_data(&mut header, "dag.py", file.as_slice()).expect(whole);
    let mut packed = zstd::Encoder::new(Vec::new(), 1).expect(whole);
    packed.write_all(&tar.into_inner().expect(whole)).expect(whole);
    packed.finish().expect(whole)
}
