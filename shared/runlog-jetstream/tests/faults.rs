//! Servers that stop, start, are killed and freeze in the middle of work, and writers that are wrong
//! about the log: nothing acknowledged is lost, nothing lands twice or out of its order, and what
//! can't be known is said to be unknown.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]
mod common;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use common::on;
use dagbok_runlog::{
    AppendError, Draft, Entry, Once, PortError, Ports, Published, QueueSettings, ReadLimit, RunLog,
    Seq, StateError,
};
use dagbok_runlog_jetstream::{ConnectSettings, connect};
use dagbok_test_support::{NatsServer, SyncInterval, versions};
use futures::StreamExt as _;
use tokio::time::{Instant, sleep, timeout};

const PATIENCE: Duration = Duration::from_mins(1);

fn draft(payload: &str) -> Draft {
    Draft { subject: "log.fault".to_owned(), payload: Bytes::copy_from_slice(payload.as_bytes()) }
}

async fn all(log: &dyn RunLog) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    loop {
        let seen = all.last().map_or(Seq::ZERO, |entry| entry.seq);
        let more = log.read(seen, ReadLimit::default()).await.unwrap();
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

/// Tries until the answer is not that the server is away.
async fn insist<T, E: std::fmt::Display, W>(mut work: impl FnMut() -> W) -> T
where
    W: Future<Output = Result<T, E>>,
{
    let trying = async {
        loop {
            match work().await {
                Ok(done) => return done,
                Err(error) => {
                    let said = error.to_string();
                    assert!(said.contains("unavailable"), "{said}");
                    sleep(Duration::from_millis(20)).await;
                }
            }
        }
    };
    timeout(PATIENCE, trying).await.expect("the server comes back in time")
}

/// Appends numbered batches until `count` are in, as the scheduler does: after an error it reads what
/// is last, and goes on from there with what is missing.
async fn write(log: Arc<dyn RunLog>, count: usize, batch: usize) -> usize {
    let mut last = insist(|| log.last()).await;
    let (mut sent, mut doubts) = (usize::try_from(last.0).unwrap(), 0);
    while sent < count {
        let drafts = (sent..count.min(sent + batch)).map(|n| draft(&n.to_string())).collect();
        match log.append(last, drafts).await {
            Ok(seq) => last = seq,
            // The conflict of a sole writer is with what it gave up on, and was heard late.
            Err(
                AppendError::Port(PortError::Unavailable { .. }) | AppendError::Conflict { .. },
            ) => {
                doubts += 1;
                // What did land of it is found by looking.
                last = insist(|| log.last()).await;
            }
            Err(other) => panic!("after {sent}: {other}"),
        }
        sent = usize::try_from(last.0).unwrap();
    }
    doubts
}

/// Follows until `count` entries were seen, again whenever it ends.
async fn follow(log: Arc<dyn RunLog>, count: usize) -> (Vec<Entry>, usize) {
    let (mut seen, mut breaks): (Vec<Entry>, usize) = (Vec::new(), 0);
    while seen.len() < count {
        let after = seen.last().map_or(Seq::ZERO, |entry| entry.seq);
        let mut batches = log.follow(after);
        while seen.len() < count {
            match batches.next().await {
                Some(Ok(batch)) => seen.extend(batch),
                Some(Err(PortError::Unavailable { .. })) => {
                    breaks += 1;
                    sleep(Duration::from_millis(20)).await;
                    break;
                }
                other => panic!("after {}: {other:?}", seen.len()),
            }
        }
    }
    (seen, breaks)
}

fn assert_counts_up(entries: &[Entry], count: usize) {
    let said: Vec<_> = entries.iter().map(|e| String::from_utf8_lossy(&e.payload)).collect();
    let wanted: Vec<_> = (0..count).map(|n| n.to_string()).collect();
    assert_eq!(said, wanted);
    let seqs: Vec<_> = entries.iter().map(|entry| entry.seq.0).collect();
    assert_eq!(seqs, (1..=count as u64).collect::<Vec<_>>());
}

async fn appends_and_follows_survive(sync: SyncInterval, kill: bool) {
    const ENTRIES: usize = 6_000;
    let mut server = NatsServer::start(versions::NEWEST, sync);
    let (ports, connection) = on(&server, "a").await;
    let writer = tokio::spawn(write(Arc::clone(&ports.log), ENTRIES, 40));
    let follower = tokio::spawn(follow(Arc::clone(&ports.log), ENTRIES));
    for step in 1..=3 {
        // In the middle, wherever that is: once a part of the entries is there.
        let due = (ENTRIES / 5 * step) as u64;
        while insist(|| ports.log.last()).await.0 < due {
            sleep(Duration::from_millis(2)).await;
        }
        if kill {
            server.kill();
        } else {
            server.stop();
        }
        server.restart();
    }
    timeout(PATIENCE, writer).await.expect("the writer ends").unwrap();
    let (seen, breaks) = timeout(PATIENCE, follower).await.expect("the follower ends").unwrap();
    assert_counts_up(&seen, ENTRIES);
    assert_counts_up(&all(&*ports.log).await, ENTRIES);
    assert!(connection.health().breaks >= 3, "{:?}", connection.health());
    assert!(breaks >= 1, "the follower is told that the connection broke");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_and_follows_survive_a_server_that_stops_and_starts() {
    appends_and_follows_survive(SyncInterval::Default, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_and_follows_survive_a_server_that_is_killed() {
    appends_and_follows_survive(SyncInterval::Default, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_and_follows_survive_a_synced_server_that_is_killed() {
    appends_and_follows_survive(SyncInterval::Always, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_makes_everything_fail_in_time_and_nothing_late() {
    let mut server = NatsServer::start(versions::NEWEST, SyncInterval::Default);
    let settings = ConnectSettings {
        timeout: Duration::from_millis(500),
        ..ConnectSettings::new(server.url(), "a")
    };
    let (ports, connection) = connect(settings).await.unwrap();
    let queue = ports.queues.open("work.q", lease(30_000)).await.unwrap();
    ports.log.append(Seq(0), vec![draft("before")]).await.unwrap();
    server.stop();
    let start = Instant::now();
    let unavailable = |error: &dyn std::fmt::Display| {
        let said = error.to_string();
        assert!(said.contains("unavailable"), "{said}");
    };
    unavailable(&ports.log.append(Seq(1), vec![draft("away")]).await.unwrap_err());
    unavailable(&ports.log.read(Seq(0), ReadLimit::default()).await.unwrap_err());
    unavailable(&ports.log.last().await.unwrap_err());
    unavailable(&ports.log.follow(Seq(0)).next().await.unwrap().unwrap_err());
    unavailable(&queue.publish("k", Bytes::new()).await.unwrap_err());
    unavailable(&queue.pull(1, Duration::from_millis(100)).await.unwrap_err());
    unavailable(&ports.state.put("k", Bytes::from_static(b"away"), None).await.unwrap_err());
    unavailable(&ports.state.get("k").await.unwrap_err());
    unavailable(&ports.blobs.put(Bytes::from_static(b"away")).await.unwrap_err());
    unavailable(&ports.signals.publish("s", Bytes::new()).await.unwrap_err());
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    server.restart();
    insist(|| ports.log.last()).await;
    assert!(connection.health().connected);
    // What was given up on is not delivered after all.
    assert_eq!(all(&*ports.log).await.len(), 1);
    assert_eq!(ports.state.get("k").await.unwrap(), None);
    assert_eq!(queue.depth().await.unwrap(), 0);
    assert_eq!(ports.log.append(Seq(1), vec![draft("after")]).await.unwrap(), Seq(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_means_maybe_and_the_log_is_right_after() {
    let server = NatsServer::start(versions::NEWEST, SyncInterval::Default);
    let settings = ConnectSettings {
        timeout: Duration::from_millis(700),
        ..ConnectSettings::new(server.url(), "a")
    };
    let (ports, _connection) = connect(settings).await.unwrap();
    ports.log.append(Seq(0), vec![draft("0")]).await.unwrap();
    server.freeze();
    let drafts = (1..=20).map(|n| draft(&n.to_string())).collect();
    let error = ports.log.append(Seq(1), drafts).await.unwrap_err();
    assert!(matches!(error, AppendError::Port(PortError::Unavailable { .. })), "{error}");
    server.thaw();
    // The server now hears what was sent to it before: a writer that looks finds it, or is refused.
    write(Arc::clone(&ports.log), 200, 7).await;
    assert_counts_up(&all(&*ports.log).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_freeze_is_waited_out() {
    let server = NatsServer::start(versions::NEWEST, SyncInterval::Default);
    let (ports, _connection) = on(&server, "a").await;
    server.freeze();
    let log = Arc::clone(&ports.log);
    let append = tokio::spawn(async move { log.append(Seq(0), vec![draft("0")]).await });
    sleep(Duration::from_millis(300)).await;
    assert!(!append.is_finished());
    server.thaw();
    assert_eq!(append.await.unwrap().unwrap(), Seq(1));
}

/// A rogue writer takes the place of the first of several records that were sent ahead. Their
/// sequences are right again after it; still none of them may land.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_lands_behind_a_record_whose_place_was_taken() {
    let server = NatsServer::start(versions::NEWEST, SyncInterval::Default);
    let ((ours, _c1), (rogues, _c2)) = (on(&server, "a").await, on(&server, "a").await);
    let mut taken = 0;
    for round in 0..200 {
        let last = ours.log.last().await.unwrap();
        let rogue = rogues.log.append(last, vec![draft("rogue")]);
        let one = |n: u64| ours.log.append(last.plus(n), vec![draft(&format!("{round}/{n}"))]);
        let (rogue, first, second, third) = tokio::join!(rogue, one(0), one(1), one(2));
        let landed = [first.is_ok(), second.is_ok(), third.is_ok()];
        assert!(
            matches!(landed, [true, _, _] | [false, false, false]) && (landed[1] || !landed[2]),
            "round {round}: {rogue:?} {first:?} {second:?} {third:?}"
        );
        let batch: Vec<_> = (0..3).map(|n| draft(&format!("batch {round}/{n}"))).collect();
        let last = ours.log.last().await.unwrap();
        let (rogue_too, batch) = tokio::join!(
            rogues.log.append(last, vec![draft("rogue")]),
            ours.log.append(last, batch)
        );
        assert!(rogue_too.is_ok() != batch.is_ok(), "one of two wins a place");
        taken += usize::from(rogue.is_ok()) + usize::from(rogue_too.is_ok());
    }
    assert!(taken > 0, "the rogue never won: this test has tried nothing");
    // Within one batch and one pipeline, what is there is a prefix.
    let said: Vec<_> = all(&*ours.log)
        .await
        .iter()
        .map(|e| String::from_utf8_lossy(&e.payload).into_owned())
        .collect();
    let there: BTreeSet<_> = said.iter().cloned().collect();
    for round in 0..200 {
        for prefix in ["", "batch "] {
            let has = |n: u64| there.contains(&format!("{prefix}{round}/{n}"));
            assert!((has(0) || !has(1)) && (has(1) || !has(2)), "{prefix}{round}");
        }
    }
}

/// As above with the server restarting: what was sent again must not slip in either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_over_restarts_leave_prefixes_only() {
    let mut server = NatsServer::start(versions::NEWEST, SyncInterval::Default);
    let ((ours, _c1), (rogues, _c2)) = (on(&server, "a").await, on(&server, "a").await);
    let race = |name: &'static str, ports: Ports| {
        tokio::spawn(async move {
            for round in 0..150 {
                let last = insist(|| ports.log.last()).await;
                let one = |n: u64| {
                    let drafts = (0..2).map(|k| draft(&format!("{name} {round} {}", n * 2 + k)));
                    ports.log.append(last.plus(n * 2), drafts.collect())
                };
                let (a, b, c) = tokio::join!(one(0), one(1), one(2));
                for outcome in [a, b, c] {
                    match outcome {
                        Ok(_)
                        | Err(
                            AppendError::Conflict { .. }
                            | AppendError::Port(PortError::Unavailable { .. }),
                        ) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            }
        })
    };
    let (first, second) = (race("ours", ours.clone()), race("rogue", rogues));
    for _ in 0..3 {
        sleep(Duration::from_millis(150)).await;
        server.kill();
        server.restart();
    }
    timeout(PATIENCE, first).await.expect("it ends").unwrap();
    timeout(PATIENCE, second).await.expect("it ends").unwrap();
    let said: Vec<String> = all(&*ours.log)
        .await
        .iter()
        .map(|e| String::from_utf8_lossy(&e.payload).into_owned())
        .collect();
    let there: BTreeSet<_> = said.iter().cloned().collect();
    assert_eq!(there.len(), said.len(), "nothing is there twice");
    for (place, text) in said.iter().enumerate() {
        let (head, number) = text.rsplit_once(' ').unwrap();
        let number: usize = number.parse().unwrap();
        if number > 0 {
            assert_eq!(said[place - 1], format!("{head} {}", number - 1), "before {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_was_lost_or_made_anew_is_damage() {
    let mut server = NatsServer::start(versions::NEWEST, SyncInterval::Default);
    let (ports, _connection) = on(&server, "a").await;
    ports.log.append(Seq(0), (0..5).map(|n| draft(&n.to_string())).collect()).await.unwrap();
    assert_eq!(ports.log.last().await.unwrap(), Seq(5));
    server.stop();
    server.wipe();
    server.restart();
    let lost = async |what: &str| {
        let error = loop {
            match ports.log.last().await {
                Err(PortError::Unavailable { .. }) => sleep(Duration::from_millis(20)).await,
                outcome => break outcome.expect_err(what),
            }
        };
        assert!(matches!(&error, PortError::Damaged { what: "log", .. }), "{error}");
        error.to_string()
    };
    assert!(lost("the stream is gone").await.contains("not there any more"));
    // Another process makes it anew, and writes as much as there was.
    let (other, _c) = on(&server, "a").await;
    assert!(lost("the stream is empty").await.contains("5 was there"));
    other.log.append(Seq(0), (0..9).map(|n| draft(&n.to_string())).collect()).await.unwrap();
    assert!(lost("the stream is another").await.contains("it was made at"));
    let followed = ports.log.follow(Seq(5)).next().await.unwrap().unwrap_err();
    assert!(matches!(followed, PortError::Damaged { .. }), "{followed}");
}

const fn lease(milliseconds: u64) -> QueueSettings {
    QueueSettings { lease: Duration::from_millis(milliseconds) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_survive_a_server_that_is_killed() {
    const ITEMS: usize = 400;
    let mut server = NatsServer::start(versions::NEWEST, SyncInterval::Default);
    // A killed server does not answer acknowledgements of what it forgot to have handed out.
    let settings = ConnectSettings {
        timeout: Duration::from_millis(500),
        ..ConnectSettings::new(server.url(), "a")
    };
    let (ports, _connection) = connect(settings).await.unwrap();
    let queue = ports.queues.open("work.q", lease(2_000)).await.unwrap();
    let worker = {
        let queue = Arc::clone(&queue);
        tokio::spawn(async move {
            let mut done = BTreeSet::new();
            while done.len() < ITEMS {
                let items = insist(|| queue.pull(8, Duration::from_secs(1))).await;
                for item in items {
                    // An acknowledgement that is not answered may have been heard: the item comes
                    // again or not, and is the same.
                    let _ = item.handle.ack().await;
                    done.insert(item.key);
                }
            }
            done
        })
    };
    let mut published = 0;
    for n in 0..ITEMS {
        if n % 130 == 129 {
            server.kill();
            server.restart();
        }
        let key = format!("item {n}");
        // Said to be there already where the first try was heard after all.
        match insist(|| queue.publish(&key, Bytes::new())).await {
            Published::New => published += 1,
            Published::AlreadyThere => {}
        }
    }
    assert!(published >= ITEMS - 3, "{published}");
    let done = timeout(PATIENCE, worker).await;
    assert_eq!(done.expect("the queue is worked off").unwrap().len(), ITEMS);
    // What was acknowledged into the void comes again, and can be acknowledged again.
    while queue.depth().await.unwrap() > 0 {
        for item in queue.pull(8, Duration::from_secs(5)).await.unwrap() {
            assert!(item.delivered > 1, "{item:?}");
            item.handle.ack().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_kill_no_delivery_claims_to_be_the_first_and_renewing_says_the_truth() {
    let mut server = NatsServer::start(versions::NEWEST, SyncInterval::Always);
    let settings = ConnectSettings {
        timeout: Duration::from_millis(500),
        ..ConnectSettings::new(server.url(), "a")
    };
    let (ports, _connection) = connect(settings).await.unwrap();
    let queue = ports.queues.open("work.q", lease(4_000)).await.unwrap();
    queue.publish("k", Bytes::new()).await.unwrap();
    let held = queue.pull(1, Duration::from_secs(1)).await.unwrap().remove(0);
    server.kill();
    // An executor that can't renew must know that it can't.
    held.handle.progress().await.unwrap_err();
    server.restart();
    insist(|| held.handle.progress()).await;
    // A killed server may have forgotten that the item was handed out. Whoever gets it then must not
    // believe to be the first.
    let again = queue.pull(1, Duration::from_millis(500)).await.unwrap();
    assert!(again.iter().all(|item| item.delivered > 1), "{again:?}");
    held.handle.ack().await.unwrap();
    assert_eq!(queue.depth().await.unwrap(), 0);
    let taken = queue.publish("k", Bytes::new()).await.unwrap();
    assert_eq!(taken, Published::New);
}

fn now(id: u64) -> Once {
    Once { id, since: Instant::now() }
}

/// Of the copies of an item no more than one may be begun without a question, whoever sent them, whenever
/// they arrive, and though the first is long acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_than_one_copy_of_an_item_is_surely_the_first() {
    let server = NatsServer::start(versions::NEWEST, SyncInterval::Default);
    let ((ports, _c), (others, _d)) = (on(&server, "a").await, on(&server, "a").await);
    let queue = ports.queues.open("work.q", lease(30_000)).await.unwrap();
    let other = others.queues.open("work.q", lease(30_000)).await.unwrap();
    let take = async || queue.pull(1, Duration::from_millis(200)).await.unwrap().pop();
    let decided = Instant::now();
    let sent = async |by: &Arc<dyn dagbok_runlog::Queue>, since| {
        by.publish_once("k", Bytes::from_static(b"x"), Once { id: 1, since }).await.unwrap()
    };
    assert_eq!(sent(&queue, decided).await, Published::New);
    let first = take().await.expect("it is there");
    assert_eq!(first.delivered, 1);
    first.handle.ack().await.unwrap();
    assert_eq!(queue.depth().await.unwrap(), 0);
    // Another leader's copy, and a late one of the first leader's.
    assert_eq!(sent(&other, Instant::now()).await, Published::AlreadyThere);
    assert_eq!(sent(&queue, decided).await, Published::AlreadyThere);
    assert!(take().await.is_none(), "a copy within the window is dropped");
    // The same key for something else: a run was deleted, and its name is used anew.
    let anew = queue.publish_once("k", Bytes::from_static(b"y"), now(2)).await.unwrap();
    let taken = take().await.expect("it is there");
    assert_eq!((anew, taken.delivered), (Published::New, 1));
    taken.handle.ack().await.unwrap();

    // One that was decided on long ago, by somebody who stood still since.
    let long_ago = decided.checked_sub(Duration::from_secs(31)).unwrap();
    queue.publish_once("old", Bytes::new(), Once { id: 2, since: long_ago }).await.unwrap();
    assert!(take().await.expect("it is there").delivered > 1, "nobody can tell");

    // By hand: the payload alone, and all that there was of a message.
    let client = async_nats::connect(server.url()).await.unwrap();
    let stream = async_nats::jetstream::new(client.clone());
    queue.publish_once("hand", Bytes::from_static(b"h"), now(3)).await.unwrap();
    let work = stream.get_stream("dagbok_a_work").await.unwrap();
    let kept = work.get_last_raw_message_by_subject("dagbok.a.work.q.hand").await.unwrap();
    take().await.expect("it is there").handle.ack().await.unwrap();
    let by_hand = async |headers: Option<async_nats::HeaderMap>| {
        let headers = headers.unwrap_or_default();
        let sent = stream.publish_with_headers(kept.subject.clone(), headers, kept.payload.clone());
        sent.await.unwrap().await.unwrap();
    };
    by_hand(None).await;
    let copy = take().await.expect("it is there");
    assert!(copy.delivered > 1, "a copy by hand may not be the first");
    copy.handle.ack().await.unwrap();
    by_hand(Some(kept.headers.clone())).await;
    assert!(take().await.is_none(), "a whole copy is dropped");
}

/// A consumer that is made again counts deliveries from 1, whatever the one before had handed out, and whoever
/// made it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_made_again_hands_out_nothing_as_if_for_the_first_time() {
    let server = NatsServer::start(versions::NEWEST, SyncInterval::Default);
    let ((ports, _c), (others, _d)) = (on(&server, "a").await, on(&server, "a").await);
    let queue = ports.queues.open("work.q", lease(30_000)).await.unwrap();
    let other = others.queues.open("work.q", lease(30_000)).await.unwrap();
    let take = async |by: &Arc<dyn dagbok_runlog::Queue>| {
        by.pull(1, Duration::from_millis(200)).await.unwrap().pop().expect("it is there")
    };
    for key in ["begun", "waits"] {
        queue.publish_once(key, Bytes::from_static(b"x"), now(1)).await.unwrap();
    }
    let begun = take(&queue).await;
    assert_eq!((begun.key.as_str(), begun.delivered), ("begun", 1));
    let rogue = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
    rogue.delete_consumer_from_stream("q", "dagbok_a_work").await.unwrap();
    let (same, waited) = (take(&other).await, take(&queue).await);
    assert_eq!((same.key.as_str(), waited.key.as_str()), ("begun", "waits"));
    assert!(same.delivered > 1, "the one who made the consumer again: {same:?}");
    assert!(waited.delivered > 1, "one who has not heard of it: {waited:?}");
    same.handle.ack().await.unwrap();
    waited.handle.ack().await.unwrap();
    queue.publish_once("later", Bytes::new(), now(2)).await.unwrap();
    assert_eq!(take(&queue).await.delivered, 1, "what was stored since is begun at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keyed_state_survives_a_server_that_is_killed() {
    let mut server = NatsServer::start(versions::NEWEST, SyncInterval::Default);
    let (ports, _connection) = on(&server, "a").await;
    let state = Arc::clone(&ports.state);
    state.put("kept", Bytes::from_static(b"v"), None).await.unwrap();
    let mut watch = state.watch("").await.unwrap();
    let counter = {
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let mut count = 0_u64;
            while count < 600 {
                let now = insist(|| state.get("count")).await;
                let revision = now.as_ref().map(|now| now.revision);
                count = now.map_or(0, |n| std::str::from_utf8(&n.value).unwrap().parse().unwrap());
                let next = Bytes::from((count + 1).to_string());
                let set = match revision {
                    Some(revision) => state.update("count", next, revision, None).await,
                    None => state.create("count", next, None).await,
                };
                match set {
                    // A conflict is our own update, heard though its answer was lost.
                    Ok(_) | Err(StateError::Conflict { .. } | StateError::Port(_)) => {}
                }
            }
        })
    };
    for _ in 0..2 {
        sleep(Duration::from_millis(60)).await;
        server.kill();
        server.restart();
    }
    timeout(PATIENCE, counter).await.expect("the counter ends").unwrap();
    let kept = insist(|| state.get("kept")).await;
    assert_eq!(kept.unwrap().value, "v");
    let ended = async { while watch.next().await.is_some_and(|change| change.is_ok()) {} };
    timeout(PATIENCE, ended).await.expect("a watch over a broken connection ends");
}
