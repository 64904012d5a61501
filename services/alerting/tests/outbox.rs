//! Alerting dies at each step of the outbox, and comes back: somebody is told at least once, under one name, and there is
//! one incident. What dies is its whole runtime, with all that is under way in it.
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    sync::{Arc, mpsc},
    time::Duration,
};

use async_trait::async_trait;
use dagbok_alerting::{Parts, Settings, run};
use dagbok_alerts::{AlertFact, AlertRecord, Purpose};
use dagbok_events::{
    Actor, DagId, Digest, Fact, Record, RunCreated, RunFailed, RunId, RunKey, RunType, Scope,
    decode_packed, encode, subject_of,
};
use dagbok_runlog::{
    AppendError, Base, Chain, Draft, Entry, LogMark, PortResult, ReadLimit, RunLog, Seq, memory,
};
use dagbok_runtime::{Clock, Shutdown};
use futures::{StreamExt as _, stream::BoxStream};
use tokio::runtime::Runtime;

/// How long what is waited for may take: far longer than it does.
const PATIENCE: Duration = Duration::from_mins(1);

/// Where it dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    BeforeTheAttemptIsDurable,
    AfterTheAttemptIsDurable,
    BeforeTheAnswer,
    BeforeTheReceiptIsDurable,
    AfterTheReceiptIsDurable,
}

/// A log of alerts whose writer dies at a step: from then on nothing is heard of it.
#[derive(Debug)]
struct Deadly {
    log: Arc<dyn RunLog>,
    at: Step,
    died: mpsc::Sender<()>,
}

fn has(drafts: &[Draft], wanted: impl Fn(&AlertFact) -> bool) -> bool {
    drafts.iter().any(|draft| {
        let record: AlertRecord = decode_packed(&draft.payload).expect("a record of alerts");
        record.facts.iter().any(&wanted)
    })
}

impl Deadly {
    async fn die(&self) {
        let _ = self.died.send(());
        std::future::pending::<()>().await;
    }
}

#[async_trait]
impl RunLog for Deadly {
    async fn append(&self, expected: Seq, drafts: Vec<Draft>) -> Result<Seq, AppendError> {
        let attempts = has(&drafts, |fact| matches!(fact, AlertFact::NotificationAttempted(_)));
        let takes = has(&drafts, |fact| matches!(fact, AlertFact::NotificationAccepted(_)));
        if (attempts && self.at == Step::BeforeTheAttemptIsDurable)
            || (takes && self.at == Step::BeforeTheReceiptIsDurable)
        {
            self.die().await;
        }
        let done = self.log.append(expected, drafts).await;
        if (attempts && self.at == Step::AfterTheAttemptIsDurable)
            || (takes && self.at == Step::AfterTheReceiptIsDurable)
        {
            self.die().await;
        }
        done
    }

    async fn read(&self, after: Seq, limit: ReadLimit) -> PortResult<Vec<Entry>> {
        self.log.read(after, limit).await
    }

    async fn last(&self) -> PortResult<Seq> {
        self.log.last().await
    }

    fn follow(&self, after: Seq) -> BoxStream<'static, PortResult<Vec<Entry>>> {
        self.log.follow(after)
    }

    async fn base(&self) -> PortResult<Base> {
        self.log.base().await
    }

    async fn mark(&self) -> PortResult<Option<LogMark>> {
        self.log.mark().await
    }

    async fn trim(&self, below: Seq, chain: Chain) -> PortResult<Base> {
        self.log.trim(below, chain).await
    }

    fn max_payload(&self) -> usize {
        self.log.max_payload()
    }
}

/// A web address that hands over the `webhook-id` of each request, and answers once it is told to.
struct Hook {
    url: String,
    got: mpsc::Receiver<String>,
    answer: mpsc::Sender<()>,
}

fn hook() -> Hook {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let (out, got) = mpsc::channel();
    let (answer, answers) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut reader = BufReader::new(stream.try_clone().expect("one more handle"));
            let (mut id, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) <= 2 {
                    break;
                }
                let (name, value) = line.split_once(':').unwrap_or_default();
                match name.to_ascii_lowercase().as_str() {
                    "webhook-id" => value.trim().clone_into(&mut id),
                    "content-length" => length = value.trim().parse().expect("a number"),
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).is_err() || out.send(id).is_err() {
                return;
            }
            if answers.recv().is_err() {
                return;
            }
            let said = "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(said.as_bytes());
        }
    });
    Hook { url, got, answer }
}

fn failed_run() -> Vec<Draft> {
    let dag_id = DagId::new("training").expect("an id");
    let run_id = RunId::new("night").expect("an id");
    let scope = Scope::Run(RunKey { dag_id, run_id });
    let now = Clock::system().now();
    let created = RunCreated {
        run_type: RunType::Manual,
        logical_date: Some(now),
        data_interval: None,
        run_after: now,
        version: 1,
        bundle: Digest::new("0".repeat(64)).expect("a digest"),
        conf: None,
        note: None,
        asset_events: vec![],
        asset_events_left_out: 0,
        backfill_id: None,
        partition: None,
    };
    let facts =
        [Fact::RunCreated(Box::new(created)), Fact::RunFailed(RunFailed { failed: vec![] })];
    let drafts = facts.into_iter().map(|fact| {
        let record = Record {
            at: now,
            clock: None,
            scope: scope.clone(),
            by: Actor::Scheduler,
            reason: None,
            cause: None,
            trace: None,
            facts: vec![fact],
        };
        Draft { subject: subject_of(&scope), payload: encode(&record).into() }
    });
    drafts.collect()
}

/// One life of the service, in a runtime of its own.
fn live(
    run_log: &Arc<dyn RunLog>,
    alert_log: Arc<dyn RunLog>,
    config: &std::path::Path,
) -> Runtime {
    let runtime = Runtime::new().expect("a runtime");
    // Its lease dies with it here: how long another waits for that is told elsewhere.
    let fresh = memory::ports();
    let parts = Parts {
        stores: None,
        blobs: None,
        run_log: Arc::clone(run_log),
        alert_log,
        state: fresh.state,
        signals: fresh.signals,
        snapshots: fresh.snapshots,
    };
    let settings = Settings::new("default", Some(config.to_owned()));
    runtime.spawn(async move {
        run(parts, settings, Clock::system(), Shutdown::new()).await.expect("it goes on");
    });
    runtime
}

/// All facts of the log up to the receipt of a trigger.
async fn until_taken(log: &Arc<dyn RunLog>) -> Vec<AlertFact> {
    let mut facts = Vec::new();
    let mut follow = log.follow(Seq(0));
    while let Some(entries) = follow.next().await {
        for entry in entries.expect("it can be read") {
            let record: AlertRecord = decode_packed(&entry.payload).expect("a record of alerts");
            facts.extend(record.facts);
        }
        if facts.iter().any(|fact| matches!(fact, AlertFact::NotificationAccepted(_))) {
            return facts;
        }
    }
    facts
}

fn killed_at(step: Step) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("alerting.toml");
    let hook = hook();
    let text = format!(
        "[receivers.pager.webhook]\nurl = \"{}\"\n[guard]\nallow = [\"127.0.0.1\"]\n",
        hook.url
    );
    std::fs::write(&config, text).expect("it is written");
    let watching = Runtime::new().expect("a runtime");
    let (run_log, alert_log) = (memory::ports().log, memory::ports().log);
    watching.block_on(run_log.append(Seq(0), failed_run())).expect("it is appended");

    let (died, dead) = mpsc::channel();
    let deadly = Deadly { log: Arc::clone(&alert_log), at: step, died };
    let life = live(&run_log, Arc::new(deadly), &config);
    let mut ids = Vec::new();
    match step {
        Step::BeforeTheAttemptIsDurable | Step::AfterTheAttemptIsDurable => {}
        Step::BeforeTheAnswer => ids.push(hook.got.recv_timeout(PATIENCE).expect("it is sent")),
        Step::BeforeTheReceiptIsDurable | Step::AfterTheReceiptIsDurable => {
            ids.push(hook.got.recv_timeout(PATIENCE).expect("it is sent"));
            hook.answer.send(()).expect("the hook is there");
        }
    }
    if step != Step::BeforeTheAnswer {
        dead.recv_timeout(PATIENCE).expect("it dies");
    }
    life.shutdown_background();
    assert_eq!(hook.got.try_iter().count(), 0, "nothing is sent before its attempt is durable");

    let life = live(&run_log, Arc::clone(&alert_log), &config);
    if step == Step::BeforeTheAnswer {
        // The first request waits for its answer still.
        hook.answer.send(()).expect("the hook is there");
    }
    if step != Step::AfterTheReceiptIsDurable {
        ids.push(hook.got.recv_timeout(PATIENCE).expect("it is sent once it is back"));
        hook.answer.send(()).expect("the hook is there");
    }
    let facts = watching.block_on(async {
        tokio::time::timeout(PATIENCE, until_taken(&alert_log)).await.expect("it is taken")
    });
    life.shutdown_background();
    ids.extend(hook.got.try_iter());
    let twice = matches!(step, Step::BeforeTheAnswer | Step::BeforeTheReceiptIsDurable);
    assert_eq!(ids.len(), if twice { 2 } else { 1 }, "{step:?}");
    ids.dedup();
    assert_eq!(ids.len(), 1, "a second copy has the first one's name: {step:?}");
    let opened = facts.iter().filter(|fact| matches!(fact, AlertFact::AlertOpened(_)));
    assert_eq!(opened.count(), 1, "one incident: {step:?}");
    let attempts = facts.iter().filter_map(|fact| match fact {
        AlertFact::NotificationAttempted(it) if it.purpose == Purpose::Trigger => Some(it.attempt),
        _ => None,
    });
    let first = [Step::BeforeTheAttemptIsDurable, Step::AfterTheReceiptIsDurable].contains(&step);
    let expected: &[u32] = if first { &[1] } else { &[1, 2] };
    assert_eq!(attempts.collect::<Vec<_>>(), expected, "{step:?}");
}

#[test]
fn killed_before_the_attempt_is_durable() {
    killed_at(Step::BeforeTheAttemptIsDurable);
}

#[test]
fn killed_after_the_attempt_is_durable() {
    killed_at(Step::AfterTheAttemptIsDurable);
}

#[test]
fn killed_before_the_answer() {
    killed_at(Step::BeforeTheAnswer);
}

#[test]
fn killed_before_the_receipt_is_durable() {
    killed_at(Step::BeforeTheReceiptIsDurable);
}

#[test]
fn killed_after_the_receipt_is_durable() {
    killed_at(Step::AfterTheReceiptIsDurable);
}
