//! Cases of the queues. Leases are a second long, so that what waits for one is quick.
use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Fixture, PATIENCE, awkward_keys, soon, text};
use crate::{Delivery, PortError, Ports, Published, Queue, QueueSettings, limits::MAX_PAYLOAD};

const LEASE: Duration = Duration::from_secs(1);
/// A lease that does not end during a case.
const LONG: Duration = Duration::from_mins(2);
/// Long enough to trust that nothing comes, short enough to wait for.
const MOMENT: Duration = Duration::from_millis(300);

async fn open(ports: &Ports, lease: Duration) -> Arc<dyn Queue> {
    ports.queues.open("work.case", QueueSettings { lease }).await.unwrap()
}

async fn put(queue: &dyn Queue, keys: &[&str]) {
    for key in keys {
        assert_eq!(queue.publish(key, text(key)).await.unwrap(), Published::New, "{key}");
    }
}

/// Exactly `count` items, over several pulls where it must be.
async fn take(queue: &dyn Queue, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let more = queue.pull(count - taken.len(), PATIENCE).await.unwrap();
        assert!(!more.is_empty(), "waited for {count} items and had {}", taken.len());
        taken.extend(more);
    }
    taken
}

async fn nothing_comes(queue: &dyn Queue) {
    let came = queue.pull(10, MOMENT).await.unwrap();
    assert!(came.is_empty(), "nothing was due, and {came:?} came");
}

fn keys(items: &[Delivery]) -> Vec<&str> {
    items.iter().map(|item| item.key.as_str()).collect()
}

/// First in, first out, while nothing goes wrong.
pub async fn items_come_in_order_with_what_was_published(fixture: &impl Fixture) {
    let queue = open(&fixture.ports().await, LONG).await;
    queue.publish("a", text("first")).await.unwrap();
    queue.publish("b", text("")).await.unwrap();
    queue.publish("c", text("third")).await.unwrap();
    let items = take(&*queue, 3).await;
    assert_eq!(keys(&items), ["a", "b", "c"]);
    let payloads: Vec<_> = items.iter().map(|item| &item.payload[..]).collect();
    assert_eq!(payloads, [&b"first"[..], b"", b"third"]);
    assert!(items.iter().all(|item| item.delivered == 1));
}

/// Keys are escaped where the store can't bear them.
pub async fn any_text_is_a_key(fixture: &impl Fixture) {
    let queue = open(&fixture.ports().await, LONG).await;
    for key in awkward_keys() {
        assert_eq!(queue.publish(&key, text(&key)).await.unwrap(), Published::New, "{key:?}");
        assert_eq!(
            queue.publish(&key, text("")).await.unwrap(),
            Published::AlreadyThere,
            "{key:?}"
        );
    }
    let mut items = take(&*queue, awkward_keys().len()).await;
    items.sort_by(|a, b| a.key.cmp(&b.key));
    let mut wanted = awkward_keys();
    wanted.sort();
    assert_eq!(keys(&items), wanted);
    assert!(items.iter().all(|item| item.payload == item.key.as_bytes()));
}

/// The queue itself refuses a second copy, until the first is acknowledged.
pub async fn a_key_is_taken_while_stored_and_in_flight(fixture: &impl Fixture) {
    let queue = open(&fixture.ports().await, LONG).await;
    let again = async || queue.publish("k", text("again")).await.unwrap();
    put(&*queue, &["k"]).await;
    assert_eq!(again().await, Published::AlreadyThere, "stored");
    let item = take(&*queue, 1).await.remove(0);
    assert_eq!(again().await, Published::AlreadyThere, "in flight");
    item.handle.nak(Duration::ZERO).await.unwrap();
    assert_eq!(again().await, Published::AlreadyThere, "handed back");
    let item = take(&*queue, 1).await.remove(0);
    assert_eq!(item.payload, "k", "the first copy is the one that counts");
    item.handle.ack().await.unwrap();
    assert_eq!(again().await, Published::New, "done with");
    let item = take(&*queue, 1).await.remove(0);
    assert_eq!((&item.payload[..], item.delivered), (&b"again"[..], 1));
}

/// Whoever has a delivery can pass it on: who takes it up by its address renews it, and has done with it, as the first could.
pub async fn a_delivery_is_passed_on_by_its_address(fixture: &impl Fixture) {
    let ports = fixture.ports().await;
    let queue = open(&ports, LEASE).await;
    put(&*queue, &["k"]).await;
    let item = take(&*queue, 1).await.remove(0);
    let address = item.handle.address().expect("deliveries can be passed on here");
    let other = open(&ports, LEASE).await;
    let taken = other.take_up(&address).await.unwrap().expect("the item is there");
    assert_eq!((taken.key.as_str(), &taken.payload[..]), ("k", &b"k"[..]));
    assert_eq!((taken.delivered, taken.waited), (1, Duration::MAX));
    for _ in 0..8 {
        taken.handle.progress().await.unwrap();
        tokio::time::sleep(LEASE / 4).await;
    }
    taken.handle.progress().await.unwrap();
    nothing_comes(&*queue).await;
    taken.handle.ack().await.unwrap();
    assert!(other.take_up(&address).await.unwrap().is_none(), "it is done with");
    assert_eq!(queue.depth().await.unwrap(), 0);
    let odd = other.take_up("somewhere").await.unwrap_err();
    assert!(matches!(odd, PortError::Refused { .. }), "{odd}");
}

/// Waiting has an end, and no waiting is none.
pub async fn an_empty_pull_waits_no_longer_than_told(fixture: &impl Fixture) {
    let queue = open(&fixture.ports().await, LONG).await;
    let start = Instant::now();
    assert!(queue.pull(5, Duration::ZERO).await.unwrap().is_empty());
    assert!(queue.pull(5, MOMENT).await.unwrap().is_empty());
    let waited = start.elapsed();
    assert!(waited >= MOMENT && waited < MOMENT + Duration::from_secs(5), "{waited:?}");
}

/// What is not asked for stays for others.
pub async fn a_pull_brings_at_most_what_was_asked(fixture: &impl Fixture) {
    let queue = open(&fixture.ports().await, LONG).await;
    put(&*queue, &["a", "b", "c"]).await;
    assert!(queue.pull(0, Duration::ZERO).await.unwrap().is_empty());
    let start = Instant::now();
    assert_eq!(take(&*queue, 2).await.len(), 2);
    let rest = queue.pull(100, PATIENCE).await.unwrap();
    assert_eq!(keys(&rest), ["c"]);
    assert!(start.elapsed() < PATIENCE / 2, "it returns what there is, without waiting for more");
}

/// Nobody polls.
pub async fn a_waiting_pull_wakes_for_a_publish(fixture: &impl Fixture) {
    let queue = open(&fixture.ports().await, LONG).await;
    let waiting = {
        let queue = Arc::clone(&queue);
        tokio::spawn(async move { queue.pull(1, PATIENCE).await.unwrap() })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    let start = Instant::now();
    put(&*queue, &["k"]).await;
    let items = soon("the waiting pull", waiting).await.unwrap();
    assert_eq!(keys(&items), ["k"]);
    assert!(start.elapsed() < PATIENCE / 2);
}

/// Several workers share, and none sees another's item.
pub async fn each_item_goes_to_one_worker(fixture: &impl Fixture) {
    const ITEMS: usize = 120;
    let queue = open(&fixture.ports().await, LONG).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let workers: Vec<_> = (1..=6)
        .map(|at_once| {
            let (queue, seen) = (Arc::clone(&queue), Arc::clone(&seen));
            tokio::spawn(async move {
                while seen.lock().len() < ITEMS {
                    for item in queue.pull(at_once, MOMENT).await.unwrap() {
                        item.handle.ack().await.unwrap();
                        seen.lock().push(item.key);
                    }
                }
            })
        })
        .collect();
    let names: Vec<_> = (0..ITEMS).map(|n| format!("item {n:03}")).collect();
    let published = join_all(names.iter().map(|name| queue.publish(name, text("")))).await;
    assert!(published.into_iter().all(|published| published.unwrap() == Published::New));
    soon("all workers", join_all(workers)).await.into_iter().for_each(Result::unwrap);
    let mut seen = seen.lock().clone();
    seen.sort();
    assert_eq!(seen, names);
    assert_eq!(queue.depth().await.unwrap(), 0);
}

/// Silence is the only sign of death there is.
pub async fn a_silent_worker_loses_the_item_when_its_lease_ends(fixture: &impl Fixture) {
    let queue = open(&fixture.ports().await, LEASE).await;
    put(&*queue, &["k"]).await;
    let start = Instant::now();
    let first = take(&*queue, 1).await.remove(0);
    drop(first);
    let second = take(&*queue, 1).await.remove(0);
    let waited = start.elapsed();
    assert_eq!((second.key.as_str(), second.delivered), ("k", 2));
    assert!(waited >= LEASE && waited < LEASE + Duration::from_secs(4), "{waited:?}");
    assert_eq!(queue.publish("k", text("")).await.unwrap(), Published::AlreadyThere);
    second.handle.ack().await.unwrap();
    assert_eq!(queue.depth().await.unwrap(), 0);
}

/// A worker that says it is alive keeps its item for as long as it says so.
pub async fn progress_keeps_the_lease(fixture: &impl Fixture) {
    let queue = open(&fixture.ports().await, LEASE).await;
    put(&*queue, &["k"]).await;
    let item = take(&*queue, 1).await.remove(0);
    for _ in 0..6 {
        let came = queue.pull(1, LEASE * 2 / 5).await.unwrap();
        assert!(came.is_empty(), "it went to a second worker: {came:?}");
        item.handle.progress().await.unwrap();
    }
    item.handle.ack().await.unwrap();
    assert_eq!(queue.depth().await.unwrap(), 0);
}

/// Work that was done is done, however late the word of it.
pub async fn a_late_acknowledgement_still_removes_the_item(fixture: &impl Fixture) {
    let queue = open(&fixture.ports().await, LEASE).await;
    put(&*queue, &["k"]).await;
    let late = take(&*queue, 1).await.remove(0);
    let second = take(&*queue, 1).await.remove(0);
    late.handle.ack().await.unwrap();
    assert_eq!(queue.depth().await.unwrap(), 0);
    second.handle.ack().await.unwrap();
    put(&*queue, &["k"]).await;
    late.handle.ack().await.unwrap();
    assert_eq!(queue.depth().await.unwrap(), 1, "a late word does not reach a later item");
}

/// What can't be done now comes again, to whoever pulls then.
pub async fn nak_hands_back_at_once_or_after_a_delay(fixture: &impl Fixture) {
    let queue = open(&fixture.ports().await, LONG).await;
    put(&*queue, &["k"]).await;
    take(&*queue, 1).await[0].handle.nak(Duration::ZERO).await.unwrap();
    let item = take(&*queue, 1).await.remove(0);
    assert_eq!(item.delivered, 2);
    let start = Instant::now();
    let delay = MOMENT * 3;
    item.handle.nak(delay).await.unwrap();
    nothing_comes(&*queue).await;
    put(&*queue, &["other"]).await;
    let other = take(&*queue, 1).await.remove(0);
    assert_eq!(other.key, "other", "who waits holds up nobody");
    let item = take(&*queue, 1).await.remove(0);
    assert_eq!((item.key.as_str(), item.delivered), ("k", 3));
    assert!(start.elapsed() >= delay, "{:?}", start.elapsed());
}

/// Depth is what is not done.
pub async fn depth_counts_what_is_in_flight_too(fixture: &impl Fixture) {
    let queue = open(&fixture.ports().await, LONG).await;
    assert_eq!(queue.depth().await.unwrap(), 0);
    put(&*queue, &["a", "b", "c"]).await;
    assert_eq!(queue.depth().await.unwrap(), 3);
    let items = take(&*queue, 2).await;
    assert_eq!(queue.depth().await.unwrap(), 3);
    items[0].handle.ack().await.unwrap();
    assert_eq!(queue.depth().await.unwrap(), 2);
    items[1].handle.nak(LONG).await.unwrap();
    assert_eq!(queue.depth().await.unwrap(), 2);
}

/// A queue is its name.
pub async fn queues_are_apart_and_opening_again_is_the_same_queue(fixture: &impl Fixture) {
    let ports = fixture.ports().await;
    let settings = QueueSettings { lease: LONG };
    let inbox = ports.queues.open("inbox", settings).await.unwrap();
    let work = ports.queues.open("work.default", settings).await.unwrap();
    put(&*inbox, &["k"]).await;
    put(&*work, &["k"]).await;
    assert_eq!(take(&*work, 1).await[0].key, "k");
    nothing_comes(&*work).await;
    let again = ports.queues.open("inbox", settings).await.unwrap();
    assert_eq!(again.publish("k", text("")).await.unwrap(), Published::AlreadyThere);
    assert_eq!(take(&*again, 1).await[0].key, "k");
    nothing_comes(&*inbox).await;
}

/// The limit is the same everywhere.
pub async fn an_item_that_is_too_large_is_refused(fixture: &impl Fixture) {
    let queue = open(&fixture.ports().await, LONG).await;
    let refused = queue.publish("k", vec![0; MAX_PAYLOAD + 1].into()).await;
    assert!(matches!(refused, Err(PortError::Refused { .. })), "{refused:?}");
    assert_eq!(queue.publish("k", vec![7; 500_000].into()).await.unwrap(), Published::New);
    assert_eq!(take(&*queue, 1).await[0].payload.len(), 500_000);
}

/// A pull that nobody waits for any more takes nothing with it for longer than a lease.
pub async fn a_cancelled_pull_loses_nothing(fixture: &impl Fixture) {
    let queue = open(&fixture.ports().await, LEASE).await;
    for n in 0..20_u64 {
        let pull = queue.pull(1, PATIENCE);
        let _ = tokio::time::timeout(Duration::from_micros(n * 50), pull).await;
    }
    put(&*queue, &["k"]).await;
    let item = take(&*queue, 1).await.remove(0);
    assert_eq!(item.key, "k");
    item.handle.ack().await.unwrap();
    assert_eq!(queue.depth().await.unwrap(), 0);
}

/// Where queues outlive the process, so do items and what is known of them.
pub async fn a_later_process_finds_the_items(fixture: &impl Fixture) {
    if !fixture.keeps_queues_and_state() {
        return;
    }
    let ports = fixture.ports().await;
    let queue = open(&ports, LEASE).await;
    put(&*queue, &["done", "taken", "waiting"]).await;
    let mut items = take(&*queue, 2).await;
    items.remove(0).handle.ack().await.unwrap();
    drop((queue, items));
    let ports = fixture.reopen(ports).await;
    let queue = open(&ports, LEASE).await;
    assert_eq!(queue.depth().await.unwrap(), 2);
    assert_eq!(queue.publish("taken", text("")).await.unwrap(), Published::AlreadyThere);
    let items = take(&*queue, 2).await;
    let mut found: Vec<_> = items.iter().map(|i| (i.key.as_str(), i.delivered)).collect();
    found.sort_unstable();
    assert_eq!(found, [("taken", 2), ("waiting", 1)]);
}
