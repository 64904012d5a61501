//! What tries wrote: from the blob once they are over, from their executor while they run.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::http::StatusCode;
use dagbok_events::{
    Fact, ForeignReport, LogRef, LostWhy, MapIndex, RefusedWhy, ReportRefused, RunCancelled,
    TryCancelled, TryLost, Usage, decode_any, encode_any,
};
use dagbok_protocol::{TryLogQuery, TryLogSlice, names::log_subject};
use dagbok_runlog::Ports;
use futures::StreamExt as _;
use parking_lot::Mutex;
use serde_json::{Value, json};
use support::{
    World, lines_of,
    story::{FIRST, Story, digest, executor, key, nth, spec, task},
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
                let slice = TryLogSlice {
                    next_offset: written.len() as u64,
                    lines: written[from..].to_owned(),
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
    let world = World::new().await;
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
    let log = LogRef { digest, size: text.len() as u64, lines: 1, dropped: 0 };
    world.story.in_run(&key("chain", "one"), vec![Story::success("a", 1, Some(log))]).await;
    world.settled().await;
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
        report: ForeignReport::Lost,
        executor: executor(by),
        why: RefusedWhy::RunOver,
        usage: Some(Usage { max_rss_bytes: 77, user_us: 1, system_us: 2 }),
        log: Some(log.clone()),
    }))
}

fn lost(number: u16) -> Fact {
    Fact::TryLost(Box::new(TryLost {
        task_id: task("a"),
        map_index: MapIndex::UNMAPPED,
        try_number: nth(number),
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
        executor: Some(executor("exec-1")),
    });
    world.story.in_run(&run, vec![Fact::RunCancelled(RunCancelled {}), cancelled]).await;
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
    let log = LogRef { digest, size: 2, lines: 2, dropped: 0 };
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
    let log = LogRef { digest, size: 2, lines: 1, dropped: 0 };
    world.story.in_run(&run, vec![left_behind("exec-1", 1, &log)]).await;
    world.story.in_run(&run, vec![left_behind("exec-1", 2, &log)]).await;
    world.settled().await;
    let first = world.ok(&format!("{LOG}/1")).await;
    assert_eq!(first["content"][0]["event"], "line 9");
    let second = world.ok(&format!("{LOG}/2")).await;
    assert_eq!(second["content"], json!([]), "what is in flight is not over by a refused word");
}

#[tokio::test]
async fn a_lost_blob_is_said() {
    let world = running().await;
    let log = LogRef { digest: digest("never stored"), size: 3, lines: 1, dropped: 0 };
    world.story.in_run(&key("chain", "one"), vec![Story::success("a", 1, Some(log))]).await;
    world.settled().await;
    let (status, answer) = world.get(&format!("{LOG}/1")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(answer["detail"].as_str().unwrap().contains("is missing"), "{answer}");
}
