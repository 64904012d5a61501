//! Streams and consumers that are deleted, purged or filled with garbage under a running namespace: what can
//! heal does so by itself, the log is never begun anew, and only the scheduler makes anything.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]
mod common;

use std::{io::ErrorKind, path::Path, sync::Arc, time::Duration};

use async_nats::jetstream;
use bytes::Bytes;
use common::on;
use dagbok_runlog::{
    AppendError, Draft, PortError, Published, Queue, QueueSettings, ReadLimit, Seq,
};
use dagbok_runlog_jetstream::{ConnectError, ConnectSettings, connect};
use dagbok_test_support::{NatsServer, SyncInterval, versions};
use futures::StreamExt as _;
use tokio::time::{Instant, sleep, timeout};

const LEASE: QueueSettings = QueueSettings { lease: Duration::from_secs(30) };
const PATIENCE: Duration = Duration::from_secs(20);

fn draft() -> Vec<Draft> {
    vec![Draft { subject: "log.x".to_owned(), payload: Bytes::from_static(b"x") }]
}

async fn rogue(server: &NatsServer) -> jetstream::Context {
    jetstream::new(async_nats::connect(server.url()).await.unwrap())
}

fn reader(server: &NatsServer, namespace: &str) -> ConnectSettings {
    ConnectSettings { creates: false, ..ConnectSettings::new(server.url(), namespace) }
}

/// Tries until it works; the errors until then must be those that are tried again.
async fn healed<T, W>(what: &str, mut work: impl FnMut() -> W) -> T
where
    W: Future<Output = Result<T, PortError>>,
{
    let trying = async {
        loop {
            match work().await {
                Ok(done) => return done,
                Err(error @ PortError::Unavailable { .. }) => {
                    assert!(!error.to_string().is_empty());
                    sleep(Duration::from_millis(50)).await;
                }
                Err(error) => panic!("{what}: {error}"),
            }
        }
    };
    timeout(PATIENCE, trying).await.unwrap_or_else(|_| panic!("{what} does not heal"))
}

async fn goes_round(queue: &Arc<dyn Queue>, sender: &Arc<dyn Queue>, key: &str) {
    healed(key, || sender.publish(key, Bytes::from_static(b"x"))).await;
    let taken = timeout(PATIENCE, async {
        loop {
            let mut taken = healed(key, || queue.pull(1, Duration::from_millis(300))).await;
            if let Some(item) = taken.pop() {
                break item;
            }
        }
    });
    let item = taken.await.unwrap_or_else(|_| panic!("{key} never comes"));
    assert_eq!(item.key, key);
    item.handle.ack().await.unwrap();
}

/// Removes a folder in which the server may be writing.
fn remove(folder: &Path) {
    while let Err(error) = std::fs::remove_dir_all(folder) {
        match error.kind() {
            ErrorKind::DirectoryNotEmpty => {}
            ErrorKind::NotFound => return,
            _ => panic!("{}: {error}", folder.display()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_heal_from_deletion_purge_and_garbage() {
    let server = NatsServer::start(versions::NEWEST, SyncInterval::Default);
    let (scheduler, _c) = on(&server, "a").await;
    let (executor, _d) = connect(reader(&server, "a")).await.unwrap();
    let rogue = rogue(&server).await;
    for (name, stream, takes) in
        [("inbox", "dagbok_a_inbox", &scheduler), ("work.default", "dagbok_a_work", &executor)]
    {
        let sends = if name == "inbox" { &executor } else { &scheduler };
        let queue = takes.queues.open(name, LEASE).await.unwrap();
        let sender = sends.queues.open(name, LEASE).await.unwrap();
        goes_round(&queue, &sender, "before").await;
        rogue.delete_stream(stream).await.unwrap();
        goes_round(&queue, &sender, "stream deleted").await;
        let consumer = name.rsplit('.').next().unwrap();
        rogue.delete_consumer_from_stream(consumer, stream).await.unwrap();
        goes_round(&queue, &sender, "consumer deleted").await;
        // While somebody waits in a pull.
        let (waiting, deleting) =
            tokio::join!(healed("a pull", || queue.pull(1, Duration::from_secs(5))), async {
                sleep(Duration::from_millis(200)).await;
                rogue.delete_consumer_from_stream(consumer, stream).await
            });
        deleting.unwrap();
        assert!(waiting.is_empty(), "there was nothing");
        goes_round(&queue, &sender, "consumer deleted in a pull").await;
        // As a server leaves it whose removal of a deleted consumer's files was slow.
        let files = server.store().join(format!("jetstream/$G/streams/{stream}/obs/{consumer}"));
        remove(&files);
        let (another, _e) = on(&server, "a").await;
        healed("a consumer without files", || another.queues.open(name, LEASE)).await;
        goes_round(&queue, &sender, "consumer without files").await;
        rogue.get_stream(stream).await.unwrap().purge().await.unwrap();
        goes_round(&queue, &sender, "purged").await;
        rogue.publish(format!("dagbok.a.{name}.=ZZ"), "\u{1}".into()).await.unwrap().await.unwrap();
        rogue.publish(format!("dagbok.a.{name}.k"), "".into()).await.unwrap().await.unwrap();
        let removing = timeout(PATIENCE, async {
            while healed("garbage", || queue.depth()).await > 0 {
                let taken = healed("garbage", || queue.pull(1, Duration::from_millis(300))).await;
                for item in taken {
                    item.handle.ack().await.unwrap();
                }
            }
        });
        removing.await.expect("garbage does not stay on the queue");
        goes_round(&queue, &sender, "after garbage").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keyed_state_and_snapshots_heal_from_deletion() {
    let server = NatsServer::start(versions::NEWEST, SyncInterval::Default);
    let (scheduler, _c) = on(&server, "a").await;
    let rogue = rogue(&server).await;
    scheduler.state.put("k", Bytes::from_static(b"1"), None).await.unwrap();
    rogue.delete_stream("KV_dagbok_a_state").await.unwrap();
    healed("state", || scheduler.state.put("k", Bytes::from_static(b"2"), None)).await;
    assert_eq!(scheduler.state.get("k").await.unwrap().unwrap().value, "2");
    rogue.delete_stream("dagbok_a_snapshots").await.unwrap();
    healed("snapshots", || scheduler.snapshots.put("s", Bytes::from_static(b"s"))).await;
    assert_eq!(scheduler.snapshots.get("s").await.unwrap().unwrap(), "s");
    rogue.delete_stream("dagbok_a_blobs").await.unwrap();
    let digest = healed("blobs", || scheduler.blobs.put(Bytes::from_static(b"b"))).await;
    assert!(scheduler.blobs.get(&digest).await.unwrap().is_some());
}

/// Else whoever sends to it does so for ever, and whatever is sent after it waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_of_triggers_heals_for_who_only_sends() {
    let server = NatsServer::start(versions::NEWEST, SyncInterval::Default);
    let (scheduler, _c) = on(&server, "a").await;
    let sender = scheduler.queues.open("triggers", LEASE).await.unwrap();
    sender.publish("k", Bytes::from_static(b"x")).await.unwrap();
    rogue(&server).await.delete_stream("dagbok_a_triggers").await.unwrap();
    // At once, and not once somebody comes round.
    let sent = sender.publish("k", Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(sent, Published::New);
    let (triggerer, _d) = connect(reader(&server, "a")).await.unwrap();
    let queue = healed("opening", || triggerer.queues.open("triggers", LEASE)).await;
    goes_round(&queue, &sender, "k").await;
    let refused = triggerer.queues.open("others", LEASE).await.unwrap_err();
    assert!(
        matches!(refused, PortError::Unavailable { .. }),
        "who may not make it says so: {refused}"
    );
}

/// A server that is told to forget the log goes on numbering as if nothing had happened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purged_log_is_built_on_by_nobody() {
    let server = NatsServer::start(versions::NEWEST, SyncInterval::Default);
    let (scheduler, _c) = on(&server, "a").await;
    let (follower, _d) = connect(reader(&server, "a")).await.unwrap();
    let last = scheduler.log.append(Seq::ZERO, [draft(), draft(), draft()].concat()).await.unwrap();
    let mut following = follower.log.follow(Seq::ZERO);
    let mut seen = 0;
    while seen < 3 {
        seen += following.next().await.unwrap().unwrap().len();
    }
    rogue(&server).await.get_stream("dagbok_a_log").await.unwrap().purge().await.unwrap();
    let says = |error: &PortError| {
        let text = error.to_string();
        let right =
            text.contains("entries 1 to 3 are not there any more") && text.contains("restore");
        assert!(matches!(error, PortError::Damaged { .. }) && right, "{text}");
    };
    // By itself, within seconds: whoever writes and whoever follows.
    let ended = timeout(PATIENCE, following.next()).await.unwrap().unwrap();
    says(&ended.unwrap_err());
    let refused = timeout(PATIENCE, async {
        let mut last = last;
        loop {
            match scheduler.log.append(last, draft()).await {
                Ok(next) => last = next,
                Err(AppendError::Port(error)) => break error,
                Err(error) => panic!("{error}"),
            }
            sleep(Duration::from_millis(50)).await;
        }
    });
    says(&refused.await.unwrap());
    // And whoever starts afterwards.
    let (again, _e) = connect(reader(&server, "a")).await.unwrap();
    let text = again.log.last().await.unwrap_err().to_string();
    assert!(text.contains("entries 1 to ") && text.contains("restore"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_gone_is_never_begun_anew_beside_what_is_left_of_its_namespace() {
    let server = NatsServer::start(versions::NEWEST, SyncInterval::Default);
    let (scheduler, _c) = on(&server, "a").await;
    scheduler.log.append(Seq(0), draft()).await.unwrap();
    let rogue = rogue(&server).await;
    rogue.delete_stream("dagbok_a_log").await.unwrap();
    let error = scheduler.log.last().await.unwrap_err();
    assert!(matches!(&error, PortError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("restore the stream from a backup"), "{error}");
    let error = connect(ConnectSettings::new(server.url(), "a")).await.unwrap_err();
    assert!(matches!(error, ConnectError::LogGone { .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains("`dagbok_a_log`") && said.contains("restore it from a backup"), "{said}");
    // Nor by whoever was connected before, however long it takes.
    sleep(Duration::from_secs(5)).await;
    assert_eq!(server.streams(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_creates_makes_streams_and_others_are_told_what_is_missing() {
    let server = NatsServer::start(versions::NEWEST, SyncInterval::Default);
    let error = connect(reader(&server, "typo")).await.unwrap_err();
    assert!(matches!(error, ConnectError::NoNamespace { .. }), "{error}");
    assert!(error.to_string().contains("dagbok scheduler --namespace typo"), "{error}");
    assert_eq!(server.streams(), 0);
    let scheduler = on(&server, "a").await;
    assert_eq!(server.streams(), 6);
    drop(scheduler);
    let rogue = rogue(&server).await;
    let (executor, _c) = connect(reader(&server, "a")).await.unwrap();
    rogue.delete_stream("dagbok_a_inbox").await.unwrap();
    let error = connect(reader(&server, "a")).await.unwrap_err();
    assert!(matches!(error, ConnectError::Incomplete { .. }), "{error}");
    let error = executor.queues.open("inbox", LEASE).await.unwrap_err();
    assert!(error.to_string().contains("`dagbok_a_inbox` is missing"), "{error}");
    assert_eq!(server.streams(), 5, "nothing is made");
}

/// A stream of the namespace is deleted in the middle of everything, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_again_and_again_heals_every_time() {
    let server = NatsServer::start(versions::NEWEST, SyncInterval::Default);
    let (scheduler, _c) = on(&server, "a").await;
    let queue = scheduler.queues.open("inbox", LEASE).await.unwrap();
    let rogue = rogue(&server).await;
    let end = Instant::now() + Duration::from_secs(6);
    let mut round = 0;
    while Instant::now() < end {
        round += 1;
        rogue.delete_stream("dagbok_a_inbox").await.ok();
        goes_round(&queue, &queue, &format!("round {round}")).await;
    }
    assert!(round >= 3, "{round}");
    assert_eq!(scheduler.log.read(Seq(0), ReadLimit::default()).await.unwrap().len(), 0);
}
