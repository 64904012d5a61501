//! Alerting: how fast it folds, what open alerts take up, how long it starts on a long log of alerts, and how long a
//! fact takes to reach somebody.
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use axum::{Router, body::Bytes, extract::State, routing::post};
use dagbok_alerting::{Parts, Settings};
use dagbok_alerts::{
    AlertFact, AlertOpened, AlertRecord, AlertResolved, AlertScope, Book, By, NotificationAccepted,
    NotificationAttempted, Purpose, ResolvedWhy, Rule, Watch, dedup_key,
};
use dagbok_events::{
    Actor, DagId, Fact, Record, RunCreated, RunFailed, RunId, RunKey, RunType, Scope, Timestamp,
    decode_any, encode, encode_any, subject_of,
};
use dagbok_runlog::{Draft, Seq};
use dagbok_runlog_embedded::{Options, open};
use dagbok_runtime::{Clock, Shutdown};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{
    mapped::memory,
    script::{Script, dag_file, digest},
    shapes::Shape,
};

/// How long one message is waited for.
const PATIENCE: Duration = Duration::from_mins(1);

/// Everything that is measured.
pub(crate) async fn measure(
    records: usize,
    open_alerts: u64,
    log: u64,
    pages: u32,
) -> anyhow::Result<Value> {
    let fold = fold(records)?;
    let open = open_book(open_alerts)?;
    let start = start(log)?;
    let told = told(pages).await?;
    Ok(json!({ "fold": fold, "open": open, "start": start, "told": told }))
}

/// Facts a second that the watch takes in.
fn fold(records: usize) -> anyhow::Result<Value> {
    let kept = std::cell::RefCell::new(Vec::new());
    let mut script = Script::new(|record: &Record| kept.borrow_mut().push(record.clone()));
    let ids: Vec<DagId> = (0..100)
        .map(|number| {
            let spec = Shape::Fan.dag(&format!("bench_{number:03}"), 10, u32::MAX);
            let dag_id = spec.dag_id.clone();
            script.command(dag_file(spec));
            dag_id
        })
        .collect();
    let mut run = 0_usize;
    while kept.borrow().len() < records {
        script.play(&ids[run % ids.len()], RunId::new(format!("run-{run}"))?);
        script.now.0 += 1_000_000;
        run += 1;
    }
    let kept = kept.take();
    let facts: usize = kept.iter().map(|record| record.facts.len()).sum();
    let (mut watch, begun) = (Watch::default(), Instant::now());
    for (seq, record) in (1..).zip(&kept) {
        watch.evolve(seq, record);
    }
    let s = begun.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = facts as f64 / s;
    Ok(json!({ "facts": facts, "facts_per_s": rate }))
}

fn alert_record(facts: Vec<AlertFact>) -> AlertRecord {
    let at = Timestamp(1_800_000_000_000_000);
    AlertRecord { at, by: By::Rules, reason: None, seen: 0, facts }
}

/// An alert as one of a failed run is, that one receiver took.
fn opened(id: u64) -> [AlertFact; 3] {
    told_of(id, Purpose::Trigger)
}

fn told_of(id: u64, purpose: Purpose) -> [AlertFact; 3] {
    let dag_id = DagId::new(format!("dag_{id}")).expect("an id");
    let (scope, run_id) = (AlertScope::Dag(dag_id.clone()), RunId::new("r").expect("an id"));
    let key = dedup_key("default", Rule::RunFailed, &scope, 1);
    let labels = [
        ("dag", dag_id.as_str()),
        ("rule", "run_failed"),
        ("severity", "critical"),
        ("owner", "ml"),
    ];
    let message = format!("{key}/{}/0.0/pager", purpose.word());
    let opened = AlertOpened {
        id,
        rule: Rule::RunFailed,
        generation: 1,
        dedup_key: key,
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        summary: format!("{dag_id}: run r failed at task train (out_of_memory): killed"),
        details: vec![("error".to_owned(), "MemoryError: cannot allocate 12 GiB".to_owned())],
        causes: vec![id * 10],
        since: Timestamp(1_800_000_000_000_000),
        run: Some(RunKey { dag_id, run_id }),
        trace: None,
        only: None,
        scope,
    };
    let attempted = NotificationAttempted {
        id,
        message: message.clone(),
        purpose,
        receiver: "pager".to_owned(),
        route: "platform".to_owned(),
        turn: 0,
        step: 0,
        attempt: 1,
        instead_of: None,
        person: None,
        text_digest: "0".repeat(64),
        gathers: None,
        plain_since: None,
    };
    let (status, provider_id) = (Some(202), None);
    let accepted =
        NotificationAccepted { id, message, attempt: 1, status, provider_id, took_ms: 12 };
    [
        AlertFact::AlertOpened(Box::new(opened)),
        AlertFact::NotificationAttempted(Box::new(attempted)),
        AlertFact::NotificationAccepted(accepted),
    ]
}

/// What so many open alerts take up.
fn open_book(alerts: u64) -> anyhow::Result<Value> {
    let before = memory("VmRSS:")?;
    let mut book = Book::default();
    for id in 1..=alerts {
        for fact in opened(id) {
            book.evolve(book.last_seq() + 1, &alert_record(vec![fact]));
        }
    }
    let mib = memory("VmRSS:")?.saturating_sub(before);
    anyhow::ensure!(book.open().count() as u64 == alerts, "every alert is open");
    Ok(json!({ "alerts": alerts, "mib": mib }))
}

/// A checkpoint of a log of so many records: what it weighs, and how long it takes to be read.
fn start(records: u64) -> anyhow::Result<Value> {
    let mut book = Book::default();
    let mut id = 0;
    while book.last_seq() < records {
        id += 1;
        for fact in opened(id) {
            book.evolve(book.last_seq() + 1, &alert_record(vec![fact]));
        }
        let resolved = AlertResolved { id, why: ResolvedWhy::Recovered, by_seq: None };
        book.evolve(book.last_seq() + 1, &alert_record(vec![AlertFact::AlertResolved(resolved)]));
        // Its end is told too: only then it may be let go.
        let [_, attempted, accepted] = told_of(id, Purpose::Resolve);
        for fact in [attempted, accepted] {
            book.evolve(book.last_seq() + 1, &alert_record(vec![fact]));
        }
    }
    let kept = encode_any(&book);
    let begun = Instant::now();
    let read: Book = decode_any(&kept)?;
    let s = begun.elapsed().as_secs_f64();
    anyhow::ensure!(read == book, "the checkpoint is the fold");
    Ok(json!({ "records": records, "bytes": kept.len(), "s": s }))
}

fn entry(scope: &Scope, fact: Fact, at: Timestamp) -> Draft {
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
    Draft { subject: subject_of(scope), payload: encode(&record).into() }
}

/// How long from a failure's being durable until a receiver has its message, one after the other, in milliseconds.
async fn told(pages: u32) -> anyhow::Result<Value> {
    // Another may be there already; either will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir()?;
    let (out, mut inbox) = mpsc::unbounded_channel::<Instant>();
    let take = |State(out): State<mpsc::UnboundedSender<Instant>>, _: Bytes| async move {
        let _ = out.send(Instant::now());
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let app = Router::new().route("/", post(take)).with_state(out);
    tokio::spawn(async move { axum::serve(listener, app).await });
    let config = folder.path().join("alerting.toml");
    let text = format!(
        "[receivers.hub.webhook]\nurl = \"http://{address}/\"\n[route]\nreceiver = \"hub\"\ngroup_after = 1000000\n[guard]\nallow = [\"127.0.0.1\"]\n"
    );
    std::fs::write(&config, text)?;
    let (ports, _) = open(&folder.path().join("runs"), Options::default())?;
    let (own, _) = open(&folder.path().join("alerts"), Options::default())?;
    let stands_on = Parts {
        stores: None,
        blobs: None,
        run_log: Arc::clone(&ports.log),
        alert_log: own.log,
        state: ports.state,
        signals: ports.signals,
        snapshots: ports.snapshots,
    };
    let (clock, shutdown) = (Clock::system(), Shutdown::new());
    let settings = Settings::new("default", Some(config));
    let service = dagbok_alerting::run(stands_on, settings, clock.clone(), shutdown.clone());
    let service = tokio::spawn(service);
    let (mut last, mut took) = (Seq::ZERO, Vec::new());
    // The first also waits for the lease.
    for number in 0..=pages {
        let at = clock.now();
        let run_id = RunId::new("r")?;
        let run = RunKey { dag_id: DagId::new(format!("dag_{number}"))?, run_id };
        let created = RunCreated {
            run_type: RunType::Scheduled,
            logical_date: Some(at),
            data_interval: None,
            run_after: at,
            version: 1,
            bundle: digest(),
            conf: None,
            note: None,
            asset_events: vec![],
            asset_events_left_out: 0,
            backfill_id: None,
            partition: None,
        };
        let scope = Scope::Run(run);
        let drafts = vec![
            entry(&scope, Fact::RunCreated(Box::new(created)), at),
            entry(&scope, Fact::RunFailed(RunFailed { failed: vec![] }), at),
        ];
        last = ports.log.append(last, drafts).await?;
        let begun = Instant::now();
        let arrived = tokio::time::timeout(PATIENCE, inbox.recv()).await;
        let arrived = arrived.context("no message came")?.context("the receiver is gone")?;
        if number > 0 {
            took.push(arrived.saturating_duration_since(begun).as_secs_f64() * 1e3);
        }
    }
    shutdown.start();
    service.await??;
    took.sort_by(f64::total_cmp);
    let at = |share: usize| took.get(took.len() * share / 100).or(took.last()).copied();
    Ok(json!({ "pages": pages, "p50_ms": at(50), "p99_ms": at(99), "max_ms": took.last() }))
}
