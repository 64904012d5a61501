//! Thirty nights of history that alerting comes upon, folds again and backtests: nothing of it is sent. What fails then is.
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    path::Path,
    sync::{Arc, mpsc},
    time::Duration,
};

use dagbok_alerting::{Parts, Settings, run};
use dagbok_alerts::{ASK, AlertFact, AlertRecord, Ask, AskBody, By, Reply, Studied, Study};
use dagbok_events::{
    Actor, DagId, Digest, Fact, Micros, Record, RunCreated, RunFailed, RunId, RunKey, RunSucceeded,
    RunType, Scope, Timestamp, decode_any, decode_packed, encode, encode_any, subject_of,
};
use dagbok_runlog::{Draft, Ports, ReadLimit, RunLog, Seq, memory};
use dagbok_runtime::{Clock, Shutdown};
use futures::StreamExt as _;
use tokio::runtime::Runtime;

/// How long what is waited for may take: far longer than it does.
const PATIENCE: Duration = Duration::from_mins(1);
const DAY: Micros = Micros::from_secs(24 * 3_600);

/// Takes whatever is sent, and hands over each body.
fn hook() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let (out, got) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut reader = BufReader::new(stream.try_clone().expect("one more handle"));
            let mut length = 0;
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) <= 2 {
                    break;
                }
                let (name, value) = line.split_once(':').unwrap_or_default();
                if name.eq_ignore_ascii_case("content-length") {
                    length = value.trim().parse().expect("a number");
                }
            }
            let mut body = vec![0; length];
            let read = reader.read_exact(&mut body);
            let body = String::from_utf8_lossy(&body).into_owned();
            if read.is_err() || out.send(body).is_err() {
                return;
            }
            let said = "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(said.as_bytes());
        }
    });
    (url, got)
}

fn created(at: Timestamp) -> Fact {
    Fact::RunCreated(Box::new(RunCreated {
        run_type: RunType::Scheduled,
        logical_date: Some(at),
        data_interval: None,
        run_after: at,
        version: 1,
        bundle: Digest::new("0".repeat(64)).expect("a digest"),
        conf: None,
        note: None,
        asset_events: vec![],
        asset_events_left_out: 0,
        backfill_id: None,
        partition: None,
    }))
}

/// A run that fails at that time, or succeeds.
fn night(dag: &str, run: &str, at: Timestamp, is_well: bool) -> Vec<Draft> {
    let run_id = RunId::new(run).expect("an id");
    let scope = Scope::Run(RunKey { dag_id: DagId::new(dag).expect("an id"), run_id });
    let end = if is_well {
        Fact::RunSucceeded(RunSucceeded {})
    } else {
        Fact::RunFailed(RunFailed { failed: vec![] })
    };
    let drafts = [created(at), end].into_iter().map(|fact| {
        let record = Record {
            at,
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

/// Thirty nights: one DAG fails each second night, one since the night before the last and nobody mended it.
fn history(now: Timestamp) -> Vec<Draft> {
    let nights = 0..30_i64;
    let each = nights.flat_map(|n| {
        let at = now.plus(Micros(-(31 - n) * DAY.0));
        let run = format!("night_{n}");
        let mut drafts = night("training", &run, at, n % 2 == 1);
        drafts.extend(night("export", &run, at, n < 28));
        drafts
    });
    each.collect()
}

/// One life of the service, in a runtime of its own, which has nothing but the two logs.
fn live(run_log: &Arc<dyn RunLog>, alert_log: &Arc<dyn RunLog>, config: &Path) -> (Runtime, Ports) {
    let runtime = Runtime::new().expect("a runtime");
    let fresh = memory::ports();
    let parts = Parts {
        run_log: Arc::clone(run_log),
        alert_log: Arc::clone(alert_log),
        state: Arc::clone(&fresh.state),
        signals: Arc::clone(&fresh.signals),
        snapshots: Arc::clone(&fresh.snapshots),
        stores: None,
        blobs: None,
    };
    let settings = Settings::new("default", Some(config.to_owned()));
    runtime.spawn(async move {
        run(parts, settings, Clock::system(), Shutdown::new()).await.expect("it goes on");
    });
    (runtime, fresh)
}

fn facts(payload: &[u8]) -> Vec<AlertFact> {
    decode_packed::<AlertRecord>(payload).expect("a record of alerts").facts
}

/// Waits until it has begun: from then on it hears questions.
async fn begun(log: &Arc<dyn RunLog>) {
    let mut follow = log.follow(Seq(0));
    while let Some(entries) = follow.next().await {
        let entries = entries.expect("it can be read");
        let mut facts = entries.iter().flat_map(|entry| facts(&entry.payload));
        if facts.any(|fact| matches!(fact, AlertFact::AlertingBegan(_))) {
            return;
        }
    }
}

#[test]
fn thirty_nights_are_folded_and_backtested_and_nothing_is_sent() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("alerting.toml");
    let (url, got) = hook();
    let text =
        format!("[receivers.pager.webhook]\nurl = \"{url}\"\n[guard]\nallow = [\"127.0.0.1\"]\n");
    std::fs::write(&config, text).expect("it is written");
    let watching = Runtime::new().expect("a runtime");
    let (run_log, alert_log) = (memory::ports().log, memory::ports().log);
    let now = Clock::system().now();
    let past = history(now);
    let count = past.len() as u64;
    watching.block_on(run_log.append(Seq(0), past)).expect("it is appended");

    let (life, ports) = live(&run_log, &alert_log, &config);
    let replayed = watching.block_on(async {
        begun(&alert_log).await;
        let study = Study::Backtest { since: now.plus(Micros(-32 * DAY.0)) };
        let body = AskBody::Study { study, configuration: None };
        let ask = Ask { by: By::User("ana".to_owned()), reason: None, body };
        let said = ports.signals.request(ASK, encode_any(&ask).into(), PATIENCE).await;
        match decode_any(&said.expect("it answers")).expect("a reply") {
            Reply::Studied(studied) => match *studied {
                Studied::Backtested(it) => it,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    });
    let failures = replayed.alerts.iter().filter(|it| it.rule == "run_failed").count();
    assert_eq!(failures, 16, "each second night of one, and one incident of the other");
    let told = |log: &Arc<dyn RunLog>| {
        let entries =
            watching.block_on(log.read(Seq(0), ReadLimit::default())).expect("it is read");
        let all = entries.iter().flat_map(|entry| facts(&entry.payload));
        all.filter(|fact| matches!(fact, AlertFact::NotificationAttempted(_))).count()
    };
    assert_eq!(told(&alert_log), 0, "no attempt, and none is made without its record");
    life.shutdown_background();

    // Another comes, has nothing but the logs, and tells of what fails now as the first thing.
    let (life, _ports) = live(&run_log, &alert_log, &config);
    let tonight = night("tonight", "night_31", Clock::system().now(), false);
    watching.block_on(run_log.append(Seq(count), tonight)).expect("it is appended");
    let first = got.recv_timeout(PATIENCE).expect("it is sent");
    assert!(first.contains("tonight"), "{first}");
    assert!(got.try_recv().is_err(), "and nothing else");
    assert_eq!(told(&alert_log), 1);
    life.shutdown_background();
}
