//! What tries wrote: from the blob once they are over, from their executor while they run.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use axum::{http::StatusCode, response::Response};
use bytes::Bytes;
use dagbok_api::Patience;
use dagbok_events::{
    Fact, ForeignReport, LogRef, LostWhy, MapIndex, RefusedWhy, ReportRefused, RunCancelled,
    TryCancelled, TryLost, Usage, decode_any, encode_any,
};
use dagbok_protocol::{TryLogQuery, TryLogSlice, names::log_subject};
use dagbok_runlog::{BlobInfo, Blobs, PortResult, Ports, memory};
use futures::StreamExt as _;
use parking_lot::Mutex;
use serde_json::{Value, json};
use support::{
    PATIENCE, SOON, World, lines_of,
    story::{self, FIRST, Story, digest, executor, key, nth, spec, task},
};

const LOG: &str = "/api/v2/dags/chain/dagRuns/one/taskInstances/a/logs";
const FOLLOW: &str = "/api/v2/dagbok/logs/chain/one/a/1/follow";

fn line(n: usize) -> String {
    json!({ "t": "2026-01-01T00:00:00Z", "s": "log", "l": "info", "m": format!("line {n}"), "logger": "x" }).to_string()
        + "\n"
}

/// An executor that hands over what has been written so far.
#[derive(Clone, Default)]
struct Writer {
    written: Arc<Mutex<String>>,
    over: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    /// Where not 0: the bytes it hands over at once.
    most: Arc<AtomicUsize>,
}

impl Writer {
    async fn answering(ports: &Ports) -> Self {
        let writer = Self::default();
        let mut asked = ports.signals.subscribe(&log_subject(&executor("exec-1"))).await.unwrap();
        let it = writer.clone();
        tokio::spawn(async move {
            while let Some(signal) = asked.next().await {
                let query: TryLogQuery = decode_any(&signal.payload).unwrap();
                let written = it.written.lock().clone();
                let from = usize::try_from(query.offset).unwrap();
                let most = it.most.load(Ordering::SeqCst);
                let mut end = written.len();
                if most > 0 && end - from > most {
                    end = from + written[from..from + most].rfind('\n').unwrap() + 1;
                }
                it.asked.fetch_add(1, Ordering::SeqCst);
                let slice = TryLogSlice {
                    next_offset: end as u64,
                    lines: written[from..end].to_owned(),
                    complete: it.over.load(Ordering::SeqCst),
                };
                signal.responder.unwrap().respond(encode_any(&slice).into()).await.unwrap();
            }
        });
        writer
    }

    fn write(&self, n: usize) {
        self.written.lock().push_str(&line(n));
    }
}

async fn running() -> World {
    running_on(World::new().await).await
}

async fn running_on(world: World) -> World {
    world.story.registered(spec("chain", &["a", "b"]), 1).await;
    let run = key("chain", "one");
    world.story.created(&run).await;
    world.story.queued(&run, "a", 1).await;
    world.story.started(&run, "a", 1, "exec-1").await;
    world.settled().await;
    world
}

async fn over(world: &World, text: &str) {
    let stored = world.ports.blobs.put(text.to_owned().into()).await.unwrap();
    let digest = dagbok_events::Digest::new(stored).unwrap();
    let log = LogRef { digest, size: text.len() as u64, lines: 1, dropped: 0, usage: None };
    world.story.in_run(&key("chain", "one"), vec![Story::success("a", 1, Some(log))]).await;
    world.settled().await;
}

/// Blobs that take their time, and count how often they are got.
#[derive(Debug)]
struct Counted {
    inner: Arc<dyn Blobs>,
    takes: Duration,
    gets: AtomicUsize,
}

#[async_trait]
impl Blobs for Counted {
    async fn put(&self, bytes: Bytes) -> PortResult<String> {
        self.inner.put(bytes).await
    }
    async fn get(&self, digest: &str) -> PortResult<Option<Bytes>> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(self.takes).await;
        self.inner.get(digest).await
    }
    async fn has(&self, digest: &str) -> PortResult<bool> {
        self.inner.has(digest).await
    }
    async fn list(&self, after: Option<&str>, most: usize) -> PortResult<Vec<BlobInfo>> {
        self.inner.list(after, most).await
    }
    async fn delete(&self, digest: &str, put_since: SystemTime) -> PortResult<bool> {
        self.inner.delete(digest, put_since).await
    }
}

/// The body's text, and how long its longest piece is.
async fn pieces_of(response: Response) -> (String, usize) {
    assert_eq!(response.status(), StatusCode::OK);
    let mut body = response.into_body().into_data_stream();
    let (mut text, mut longest) = (String::new(), 0);
    while let Some(piece) = tokio::time::timeout(SOON, body.next()).await.expect("in time") {
        let piece = piece.unwrap();
        longest = longest.max(piece.len());
        text.push_str(std::str::from_utf8(&piece).unwrap());
    }
    (text, longest)
}

#[tokio::test]
async fn a_long_log_is_got_once_and_told_in_pieces_however_long_it_takes() {
    const LINES: usize = 40_000;
    let mut ports = memory::ports();
    let takes = Duration::from_millis(300);
    let counted = Arc::new(Counted { inner: ports.blobs, takes, gets: AtomicUsize::new(0) });
    ports.blobs = Arc::<Counted>::clone(&counted);
    let patience = Patience { request: Duration::from_millis(200), ..PATIENCE };
    let world = running_on(World::on(ports, patience).await).await;
    let text: String = (0..LINES).map(line).collect();
    assert!(text.len() > 3 << 20, "many slices");
    over(&world, &text).await;

    let whole = format!("{LOG}/1?full_content=true");
    let lines = [("accept", "application/x-ndjson")];
    for (path, headers) in [(&*format!("{LOG}/1"), &lines[..]), (FOLLOW, &[]), (&*whole, &[])] {
        let (text, longest) = pieces_of(world.get_with(path, headers).await).await;
        assert_eq!(counted.gets.load(Ordering::SeqCst), 1, "{path}: all share what was got once");
        assert!(longest < 1 << 20, "{path}: a piece of {longest} bytes");
        let told: Vec<Value> = if path == whole {
            let log: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(log["continuation_token"], Value::Null);
            log["content"].as_array().unwrap().clone()
        } else {
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        assert_eq!(told.len(), LINES, "{path}");
        let in_order =
            told.iter().enumerate().all(|(n, line)| line["event"] == format!("line {n}"));
        assert!(in_order, "{path}");
    }
}

#[tokio::test]
async fn a_long_log_of_a_running_try_is_told_whole_with_where_to_go_on() {
    let world = running().await;
    let writer = Writer::answering(&world.ports).await;
    writer.most.store(1_000, Ordering::SeqCst);
    (0..100).for_each(|n| writer.write(n));
    let written = writer.written.lock().len();
    let whole = world.ok(&format!("{LOG}/1?full_content=true")).await;
    assert_eq!(whole["content"].as_array().unwrap().len(), 100);
    assert_eq!(whole["continuation_token"], written.to_string());
    let headers = [("accept", "application/x-ndjson")];
    let response = world.get_with(&format!("{LOG}/1"), &headers).await;
    assert_eq!(response.headers()["airflow-continuation-token"], written.to_string());
    assert_eq!(lines_of(response).await.len(), 100);
}

#[tokio::test]
async fn an_executor_that_has_nothing_more_yet_is_not_asked_without_a_pause() {
    let world = running().await;
    world.story.in_run(&key("chain", "one"), vec![lost(1)]).await;
    world.settled().await;
    let writer = Writer::answering(&world.ports).await;
    let mut body = world.get_with(FOLLOW, &[]).await.into_body().into_data_stream();
    for _ in 0..2 {
        assert_eq!(body.next().await.unwrap().unwrap(), "\n", "a sign of life");
    }
    let asked = writer.asked.load(Ordering::SeqCst);
    assert!((1..10).contains(&asked), "{asked} times within two signs of life");
}

#[tokio::test]
async fn following_breaks_where_the_log_is_gone() {
    let world = running().await;
    let writer = Writer::answering(&world.ports).await;
    writer.write(1);
    let mut body = world.get_with(FOLLOW, &[]).await.into_body().into_data_stream();
    body.next().await.unwrap().unwrap();
    let log = LogRef { digest: digest("never stored"), size: 3, lines: 1, dropped: 0, usage: None };
    world.story.in_run(&key("chain", "one"), vec![Story::success("a", 1, Some(log))]).await;
    world.settled().await;
    let broken = async {
        while let Some(piece) = body.next().await {
            if piece.is_err() {
                return true;
            }
        }
        false
    };
    assert!(tokio::time::timeout(SOON, broken).await.unwrap(), "no end that looks like one");
    assert_eq!(world.get(FOLLOW).await.0, StatusCode::NOT_FOUND, "told where it can be");
}

#[tokio::test]
async fn a_finished_tries_log_is_its_blob() {
    let world = running().await;
    over(&world, &(line(1) + &line(2))).await;
    let log = world.ok(&format!("{LOG}/1")).await;
    assert_eq!(log["continuation_token"], Value::Null);
    assert_eq!(log["content"].as_array().unwrap().len(), 2);
    let first = &log["content"][0];
    let want = json!({ "timestamp": "2026-01-01T00:00:00Z", "event": "line 1", "level": "info", "source": "log", "logger": "x" });
    assert_eq!(*first, want);
    let lines =
        lines_of(world.get_with(&format!("{LOG}/1"), &[("accept", "application/x-ndjson")]).await)
            .await;
    assert_eq!(lines[1]["event"], "line 2");
    for missing in ["2", "0"] {
        assert_eq!(world.get(&format!("{LOG}/{missing}")).await.0, StatusCode::NOT_FOUND);
    }
    assert_eq!(world.get(&format!("{LOG}/1?token=forged")).await.0, StatusCode::BAD_REQUEST);
    let past = world.ok(&format!("{LOG}/1?token=999999")).await;
    assert_eq!(past["content"], json!([]));
}

#[tokio::test]
async fn a_running_tries_log_comes_from_its_executor() {
    let world = running().await;
    assert_eq!(
        world.get(&format!("{LOG}/1")).await.0,
        StatusCode::SERVICE_UNAVAILABLE,
        "nobody answers yet"
    );
    let writer = Writer::answering(&world.ports).await;
    writer.write(1);
    let log = world.ok(&format!("{LOG}/1")).await;
    assert_eq!(log["content"][0]["event"], "line 1");
    let token = log["continuation_token"].as_str().expect("more may come").to_owned();
    writer.write(2);
    let log = world.ok(&format!("{LOG}/1?token={token}")).await;
    assert_eq!(log["content"].as_array().unwrap().len(), 1);
    assert_eq!(log["content"][0]["event"], "line 2");
}

#[tokio::test]
async fn following_hands_over_each_line_once_until_the_end() {
    let world = running().await;
    let writer = Writer::answering(&world.ports).await;
    writer.write(1);
    let response = world.get_with(FOLLOW, &[]).await;
    let mut body = response.into_body().into_data_stream();
    let first = body.next().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("line 1"));
    writer.write(2);
    let mut seen = String::new();
    while !seen.contains("line 2") {
        seen.push_str(&String::from_utf8_lossy(&body.next().await.unwrap().unwrap()));
    }
    writer.write(3);
    writer.over.store(true, Ordering::SeqCst);
    let written = writer.written.lock().clone();
    over(&world, &written).await;
    while let Some(chunk) = body.next().await {
        seen.push_str(&String::from_utf8_lossy(&chunk.unwrap()));
    }
    let events: Vec<Value> = seen
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["event"].clone())
        .collect();
    assert_eq!(events, ["line 2", "line 3"]);
}

#[tokio::test]
async fn following_waits_for_a_try_to_begin_and_gives_up_on_none() {
    let world = running().await;
    world.story.queued(&key("chain", "one"), "b", 1).await;
    world.settled().await;
    let path = "/api/v2/dagbok/logs/chain/one/b/1/follow";
    let mut body = world.get_with(path, &[]).await.into_body().into_data_stream();
    assert_eq!(body.next().await.unwrap().unwrap(), "\n", "a sign of life while it is queued");
    world.story.in_run(&key("chain", "one"), vec![Story::success("b", 1, None)]).await;
    while let Some(chunk) = body.next().await {
        assert_eq!(chunk.unwrap().iter().filter(|byte| **byte != b'\n').count(), 0);
    }
    let other = "/api/v2/dagbok/logs/chain/one/b/9/follow";
    assert_eq!(world.get(other).await.0, StatusCode::NOT_FOUND);
}

fn left_behind(by: &str, number: u16, log: &LogRef) -> Fact {
    Fact::ReportRefused(Box::new(ReportRefused {
        task_id: task("a"),
        map_index: MapIndex::UNMAPPED,
        try_number: nth(number),
        leg: dagbok_events::Leg::FIRST,
        report: ForeignReport::Lost,
        executor: executor(by),
        why: RefusedWhy::RunOver,
        usage: Some(Usage { max_rss_bytes: 77, user_us: 1, system_us: 2 }),
        log: Some(log.clone()),
    }))
}

fn found_on_disk(by: &str, number: u16, log: &LogRef) -> Fact {
    let Fact::ReportRefused(mut fact) = left_behind(by, number, log) else { unreachable!() };
    (fact.report, fact.why, fact.usage) = (ForeignReport::Left, RefusedWhy::InFlight, None);
    Fact::ReportRefused(fact)
}

fn lost(number: u16) -> Fact {
    Fact::TryLost(Box::new(TryLost {
        task_id: task("a"),
        map_index: MapIndex::UNMAPPED,
        try_number: nth(number),
        leg: dagbok_events::Leg::FIRST,
        executor: Some(executor("exec-1")),
        why: LostWhy::ExecutorGone,
        retry_at: Some(FIRST),
        usage: None,
        log: None,
    }))
}

#[tokio::test]
async fn a_cancelled_tries_log_comes_with_the_report_that_is_refused() {
    let world = running().await;
    let run = key("chain", "one");
    let cancelled = Fact::TryCancelled(TryCancelled {
        task_id: task("a"),
        map_index: MapIndex::UNMAPPED,
        try_number: nth(1),
        leg: dagbok_events::Leg::FIRST,
        executor: Some(executor("exec-1")),
        skipped: false,
    });
    world.story.in_run(&run, vec![Fact::RunCancelled(RunCancelled::default()), cancelled]).await;
    world.settled().await;
    let log = world.ok(&format!("{LOG}/1")).await;
    assert_eq!((&log["content"], &log["continuation_token"]), (&json!([]), &Value::Null));

    let writer = Writer::answering(&world.ports).await;
    writer.write(1);
    let mut body = world.get_with(FOLLOW, &[]).await.into_body().into_data_stream();
    let first = body.next().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("line 1"), "its processes are ending yet");

    let stored = world.ports.blobs.put((line(1) + &line(2)).into()).await.unwrap();
    let digest = dagbok_events::Digest::new(stored).unwrap();
    let log = LogRef { digest, size: 2, lines: 2, dropped: 0, usage: None };
    world.story.in_run(&run, vec![left_behind("another", 1, &log)]).await;
    world.settled().await;
    let one = "/api/v2/dags/chain/dagRuns/one/taskInstances/a/tries/1";
    assert_eq!(world.ok(one).await["dagbok"]["log"], Value::Null, "another's word says nothing");
    world.story.in_run(&run, vec![left_behind("exec-1", 1, &log)]).await;
    world.settled().await;
    let shown = world.ok(one).await;
    assert_eq!(shown["state"], "failed", "its claim changes nothing");
    assert_eq!(shown["dagbok"]["usage"]["max_rss_bytes"], 77);
    assert_eq!(world.ok(&format!("{LOG}/1")).await["content"].as_array().unwrap().len(), 2);
    let mut rest = String::new();
    while let Some(chunk) = body.next().await {
        rest.push_str(&String::from_utf8_lossy(&chunk.unwrap()));
    }
    assert!(rest.contains("line 2") && !rest.contains("line 1"), "{rest}");
}

#[tokio::test]
async fn a_lost_tries_log_is_found_with_the_try_that_it_is_of() {
    let world = running().await;
    let run = key("chain", "one");
    world.story.in_run(&run, vec![lost(1)]).await;
    world.story.queued(&run, "a", 2).await;
    let stored = world.ports.blobs.put(line(9).into()).await.unwrap();
    let digest = dagbok_events::Digest::new(stored).unwrap();
    let log = LogRef { digest, size: 2, lines: 1, dropped: 0, usage: None };
    let found = LogRef { size: 99, digest: story::digest("on a disk"), ..log.clone() };
    for fact in [
        left_behind("exec-1", 1, &log),
        found_on_disk("exec-1", 1, &found),
        found_on_disk("another", 2, &found),
        found_on_disk("exec-1", 2, &log),
    ] {
        world.story.in_run(&run, vec![fact]).await;
    }
    world.settled().await;
    let first = world.ok(&format!("{LOG}/1")).await;
    assert_eq!(first["content"][0]["event"], "line 9");
    let second = world.ok(&format!("{LOG}/2")).await;
    assert_eq!(second["content"], json!([]), "what is in flight is not over by a refused word");
    world.story.in_run(&run, vec![lost(2)]).await;
    world.settled().await;
    let second = world.ok(&format!("{LOG}/2")).await;
    assert_eq!(second["content"][0]["event"], "line 9", "and is known once it is");
}

#[tokio::test]
async fn a_lost_blob_is_said() {
    let world = running().await;
    let log = LogRef { digest: digest("never stored"), size: 3, lines: 1, dropped: 0, usage: None };
    world.story.in_run(&key("chain", "one"), vec![Story::success("a", 1, Some(log))]).await;
    world.settled().await;
    let (status, answer) = world.get(&format!("{LOG}/1")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(answer["detail"].as_str().unwrap().contains("is missing"), "{answer}");
}
