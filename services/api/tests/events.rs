//! The log as a stream: whole, filtered, live, and taken up where it broke off.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod support;

use axum::{
    body::BodyDataStream,
    http::{StatusCode, header},
    response::Response,
};
use dagbok_events::{
    Actor, Digest, Fact, ForeignEntrySkipped, Record, Scope, Timestamp, encode, subject_of,
};
use dagbok_runlog::{Draft, digest_of};
use futures::StreamExt as _;
use serde_json::Value;
use support::{
    SOON, World, lines_of,
    story::{Story, key, spec},
};

const EVENTS: &str = "/api/v2/dagbok/events";

/// Two runs whose records alternate.
async fn told() -> World {
    let world = World::new().await;
    world.story.registered(spec("chain", &["a", "b"]), 1).await;
    world.story.registered(spec("fan", &["a"]), 1).await;
    let (one, two) = (key("chain", "one"), key("fan", "two"));
    world.story.created(&one).await;
    world.story.created(&two).await;
    for number in 1..=3 {
        world.story.queued(&one, "a", number).await;
        world.story.queued(&two, "a", number).await;
    }
    world.settled().await;
    world
}

fn seqs(lines: &[Value]) -> Vec<u64> {
    lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect()
}

async fn some(world: &World, query: &str) -> Vec<u64> {
    seqs(&lines_of(world.get_with(&format!("{EVENTS}?{query}"), &[]).await).await)
}

#[tokio::test]
async fn lines_are_records_and_filters_leave_out_the_others() {
    let world = told().await;
    let lines = lines_of(world.get_with(EVENTS, &[]).await).await;
    assert_eq!(seqs(&lines), (1..=10).collect::<Vec<_>>());
    assert_eq!(lines[2]["facts"][0]["type"], "RunCreated");
    assert_eq!(lines[2]["by"], "user:ada");
    assert_eq!(some(&world, "from=8").await, [8, 9, 10]);
    assert_eq!(some(&world, "limit=2").await, [1, 2]);
    assert_eq!(some(&world, "dag_id=fan").await, [2, 4, 6, 8, 10]);
    assert_eq!(some(&world, "dag_id=chain&run_id=one").await, [3, 5, 7, 9]);
    assert_eq!(some(&world, "dag_id=chain&run_id=one&from=6").await, [7, 9]);
    assert_eq!(some(&world, "dag_id=chain&run_id=nope").await, Vec::<u64>::new());
    assert_eq!(some(&world, "from=99").await, Vec::<u64>::new());
    assert_eq!(some(&world, "from=3&to=6&dag_id=fan").await, [4, 6], "no later one is looked for");
    assert_eq!(some(&world, "to=7&dag_id=chain&run_id=one").await, [3, 5, 7]);
    assert_eq!(some(&world, "to=2&follow=true").await, [1, 2], "and none is waited for");
    for bad in ["run_id=one", "from=-1", "dag_id=a%20b", "fromm=1", "follow=maybe"] {
        let (status, _) = world.get(&format!("{EVENTS}?{bad}")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
    }
}

/// Reads a stream piece by piece.
struct Reader {
    body: BodyDataStream,
    text: String,
}

impl Reader {
    fn of(response: Response) -> Self {
        assert_eq!(response.status(), StatusCode::OK);
        Self { body: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The next piece up to a blank line or a line's end, `end`; `None` where the stream ends.
    async fn next(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some(at) = self.text.find(end) {
                let rest = self.text.split_off(at + end.len());
                return Some(std::mem::replace(&mut self.text, rest));
            }
            let chunk = tokio::time::timeout(SOON, self.body.next())
                .await
                .expect("the stream says something");
            self.text.push_str(std::str::from_utf8(&chunk?.unwrap()).unwrap());
        }
    }

    /// The id of the next event that has one.
    async fn id(&mut self) -> Option<u64> {
        loop {
            let event = self.next("\n\n").await?;
            if let Some(id) = event.lines().find_map(|line| line.strip_prefix("id:")) {
                let data = event.lines().find_map(|line| line.strip_prefix("data:")).unwrap();
                let record: Value = serde_json::from_str(data.trim()).unwrap();
                assert_eq!(
                    record["seq"].as_u64(),
                    id.trim().parse().ok(),
                    "the id is the record's place"
                );
                return id.trim().parse().ok();
            }
        }
    }

    async fn seq(&mut self) -> Option<u64> {
        loop {
            let line = self.next("\n").await?;
            if !line.trim().is_empty() {
                return serde_json::from_str::<Value>(&line).unwrap()["seq"].as_u64();
            }
        }
    }
}

#[tokio::test]
async fn server_sent_events_go_on_and_resume() {
    let world = told().await;
    let accept = ("accept", "text/event-stream");
    let run = "?dag_id=chain&run_id=one";
    let response = world.get_with(&format!("{EVENTS}{run}"), &[accept]).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut live = Reader::of(response);
    for want in [3, 5, 7, 9] {
        assert_eq!(live.id().await, Some(want));
    }
    world.story.queued(&key("fan", "two"), "a", 4).await;
    world.story.queued(&key("chain", "one"), "a", 4).await;
    assert_eq!(live.id().await, Some(12), "what comes is seen, and only this run's");
    drop(live);

    world.story.queued(&key("chain", "one"), "a", 5).await;
    let last = ("last-event-id", "7");
    let mut again =
        Reader::of(world.get_with(&format!("{EVENTS}{run}&from=1"), &[accept, last]).await);
    for want in [9, 12, 13] {
        assert_eq!(again.id().await, Some(want), "nothing is missed and nothing comes twice");
    }
    let heartbeat = again.next("\n\n").await.unwrap();
    assert!(heartbeat.starts_with(':'), "{heartbeat:?}");
    world.shutdown.start();
    assert_eq!(again.id().await, None, "the stream ends with the service");

    let (status, _) =
        support::json_of(world.get_with(EVENTS, &[accept, ("last-event-id", "x")]).await).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn lines_that_end_are_packed_and_those_that_go_on_are_sent_at_once() {
    let world = told().await;
    let packed = [("accept-encoding", "gzip")];
    let coding = |response: &Response| response.headers().get(header::CONTENT_ENCODING).cloned();
    let ends = world.get_with(EVENTS, &packed).await;
    assert_eq!(coding(&ends).unwrap(), "gzip");
    let goes_on = world.get_with(&format!("{EVENTS}?follow=true"), &packed).await;
    assert_eq!(coding(&goes_on), None);
    world.shutdown.start();
}

#[tokio::test]
async fn lines_follow_where_asked_to() {
    let world = told().await;
    let mut live = Reader::of(world.get_with(&format!("{EVENTS}?follow=true&from=10"), &[]).await);
    assert_eq!(live.seq().await, Some(10));
    world.story.in_run(&key("fan", "two"), vec![Story::success("a", 3, None)]).await;
    assert_eq!(live.seq().await, Some(11));
    assert_eq!(live.next("\n").await.as_deref(), Some("\n"), "a quiet log gives signs of life");
    world.shutdown.start();
    assert_eq!(live.seq().await, None);
}

#[tokio::test]
async fn a_follower_with_a_limit_comes_to_an_end() {
    let world = told().await;
    let mut live =
        Reader::of(world.get_with(&format!("{EVENTS}?follow=true&from=9&limit=2"), &[]).await);
    assert_eq!((live.seq().await, live.seq().await, live.seq().await), (Some(9), Some(10), None));
}

#[tokio::test]
async fn a_log_that_cannot_be_read_breaks_the_stream() {
    let world = told().await;
    let garbage = Draft { subject: "log.namespace".to_owned(), payload: vec![0xc1].into() };
    world.ports.log.append(world.story.last(), vec![garbage]).await.unwrap();
    let response = world.get_with(&format!("{EVENTS}?from=10"), &[]).await;
    let mut body = response.into_body().into_data_stream();
    assert!(body.next().await.unwrap().is_ok());
    assert!(body.next().await.unwrap().is_err(), "a part is not taken for the whole");
}

#[tokio::test]
async fn what_a_record_has_passed_over_is_shown_without_facts() {
    let world = told().await;
    let after = world.story.last();
    let payload = vec![0xc1];
    let skip = ForeignEntrySkipped {
        seq: after.0 + 1,
        subject: "log.namespace".to_owned(),
        digest: Digest::new(digest_of(&payload)).unwrap(),
        bytes: 1,
    };
    let garbage = Draft { subject: skip.subject.clone(), payload: payload.into() };
    let last = world.ports.log.append(after, vec![garbage]).await.unwrap();
    let record = Record {
        at: Timestamp(0),
        clock: None,
        scope: Scope::Namespace,
        by: Actor::User("doctor".to_owned()),
        reason: None,
        cause: None,
        trace: None,
        facts: vec![Fact::ForeignEntrySkipped(Box::new(skip))],
    };
    let draft = Draft { subject: subject_of(&record.scope), payload: encode(&record).into() };
    world.ports.log.append(last, vec![draft]).await.unwrap();
    let response = world.get_with(&format!("{EVENTS}?from={}", last.0), &[]).await;
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let lines: Vec<Value> =
        body.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0]["facts"], serde_json::json!([]), "{lines:?}");
    assert_eq!(lines[1]["facts"][0]["type"], "ForeignEntrySkipped", "{lines:?}");
}
