//! Figures of the primitives on real servers: `cargo run --release -p dagbok-runlog-jetstream
//! --example jetstream_bench [-- ENTRIES]`. Needs what `tests/nats/install.sh` fetches. Client and
//! server share the machine; every figure is printed for a server that syncs every two minutes and
//! for one that syncs before it answers.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use dagbok_runlog::{Draft, Ports, QueueSettings, ReadLimit, RunLog, Seq};
use dagbok_runlog_jetstream::{ConnectSettings, connect};
use dagbok_test_support::{NatsServer, SyncInterval, versions};
use futures::{StreamExt as _, stream};

/// Bytes of one record.
const RECORD: usize = 200;

#[tokio::main]
async fn main() {
    let entries = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(200_000);
    println!("nats-server {}, {RECORD} bytes a record, one machine", versions::NEWEST);
    for sync in [SyncInterval::Default, SyncInterval::Always] {
        let server = NatsServer::start(versions::NEWEST, sync);
        let settings = ConnectSettings::new(server.url(), "bench");
        let (ports, _connection) = connect(settings).await.expect("the server has just started");
        println!("\nsync_interval: {sync:?}");
        appends(&ports, sync, entries).await;
        reads(&*ports.log, &ports).await;
        hops(&ports).await;
        state(&ports).await;
        blobs(&ports).await;
    }
}

fn draft(n: u64) -> Draft {
    let subject = format!("log.run.dag_{}.run_{}", n % 10, n / 50);
    Draft { subject, payload: Bytes::from(vec![b'x'; RECORD]) }
}

/// Prints a rate, and where single operations were timed how long they took.
fn figure(what: &str, count: usize, took: Duration, mut each: Vec<Duration>) {
    let count = u32::try_from(count).expect("a benchmark counts less than four thousand million");
    let rate = f64::from(count) / took.as_secs_f64();
    each.sort_unstable();
    let at = |part: usize| each.get(each.len() * part / 100).copied().unwrap_or_default();
    if each.is_empty() {
        println!("  {what:<46} {rate:>10.0} /s");
    } else {
        println!("  {what:<46} {rate:>10.0} /s   p50 {:?}, p99 {:?}", at(50), at(99));
    }
}

async fn appends(ports: &Ports, sync: SyncInterval, entries: usize) {
    let log = &ports.log;
    let mut last = log.last().await.expect("the log answers");
    let (start, mut each) = (Instant::now(), Vec::new());
    for n in 0..2_000 {
        let begun = Instant::now();
        last = log.append(last, vec![draft(n)]).await.expect("we are the only writer");
        each.push(begun.elapsed());
    }
    figure("append, one at a time", 2_000, start.elapsed(), each);
    for ahead in [10, 100] {
        let (start, first) = (Instant::now(), last.0);
        let one = |n: u64| log.append(Seq(n), vec![draft(n)]);
        let mut answers = stream::iter(first..first + 8_000).map(one).buffered(ahead);
        while let Some(answer) = answers.next().await {
            last = answer.expect("we are the only writer");
        }
        figure(&format!("append, {ahead} sent ahead"), 8_000, start.elapsed(), Vec::new());
    }
    let fill = if sync == SyncInterval::Always { entries.min(20_000) } else { entries };
    let (start, mut done) = (Instant::now(), 0);
    while done < fill {
        let count = 2_000.min(fill - done);
        let drafts = (0..count as u64).map(draft).collect();
        last = log.append(last, drafts).await.expect("we are the only writer");
        done += count;
    }
    figure("append, 2000 in one call", fill, start.elapsed(), Vec::new());
}

async fn reads(log: &dyn RunLog, ports: &Ports) {
    let last = log.last().await.expect("the log answers");
    let total = usize::try_from(last.0).expect("a benchmark's log is short");
    let start = Instant::now();
    let (mut follow, mut seen) = (ports.log.follow(Seq::ZERO), 0);
    while seen < total {
        seen +=
            follow.next().await.expect("a follow has no end").expect("the server is there").len();
    }
    figure(&format!("replay by follow, {total} records"), total, start.elapsed(), Vec::new());
    let start = Instant::now();
    let mut after = Seq::ZERO;
    while after < last {
        let entries = log.read(after, ReadLimit::default()).await.expect("the server is there");
        after = entries.last().expect("the end is not reached").seq;
    }
    figure(&format!("replay by read, {total} records"), total, start.elapsed(), Vec::new());
    let (start, mut each) = (Instant::now(), Vec::new());
    for n in 0..1_000 {
        let begun = Instant::now();
        let limit = ReadLimit { entries: 10, bytes: 1 << 20 };
        log.read(Seq(n * 7), limit).await.expect("the server is there");
        each.push(begun.elapsed());
    }
    figure("read of 10 records", 1_000, start.elapsed(), each);
}

/// Append a record, publish an item, pull it, report to the inbox, pull that, acknowledge both.
async fn hops(ports: &Ports) {
    let settings = QueueSettings { lease: Duration::from_secs(30) };
    let open = async |name| ports.queues.open(name, settings).await.expect("the server is there");
    let (work, inbox) = (open("work.bench").await, open("inbox").await);
    for in_flight in [1_usize, 10, 100] {
        let count = if in_flight == 1 { 500 } else { 2_000 };
        let worker = {
            let (work, inbox) = (Arc::clone(&work), Arc::clone(&inbox));
            tokio::spawn(async move {
                let mut done = 0;
                while done < count {
                    let items = work.pull(in_flight, Duration::from_secs(5)).await;
                    let items = items.expect("the server is there");
                    done += items.len();
                    let report = async |item: dagbok_runlog::Delivery| {
                        inbox.publish(&item.key, Bytes::from_static(b"done")).await.map(drop)?;
                        item.handle.ack().await
                    };
                    let reports = items.into_iter().map(report);
                    for outcome in futures::future::join_all(reports).await {
                        outcome.expect("the server is there");
                    }
                }
            })
        };
        let (start, mut each) = (Instant::now(), Vec::new());
        let (mut sent, mut back) = (0, 0);
        let mut begun = Instant::now();
        while back < count {
            let due = (back + in_flight).min(count);
            let publish = |n: usize| {
                let work = Arc::clone(&work);
                async move {
                    work.publish(&format!("{in_flight}-{n}"), Bytes::from(vec![0; RECORD])).await
                }
            };
            for outcome in futures::future::join_all((sent..due).map(publish)).await {
                outcome.expect("the server is there");
            }
            sent = due;
            let reports = inbox.pull(in_flight, Duration::from_secs(5)).await;
            let reports = reports.expect("the server is there");
            back += reports.len();
            let acks = reports.iter().map(|report| report.handle.ack());
            futures::future::join_all(acks).await;
            each.push(begun.elapsed());
            begun = Instant::now();
        }
        worker.await.expect("the worker does not panic");
        let each = if in_flight == 1 { each } else { Vec::new() };
        figure(
            &format!("hop: work and report, {in_flight} in flight"),
            count,
            start.elapsed(),
            each,
        );
    }
}

async fn state(ports: &Ports) {
    let value = Bytes::from(vec![b'v'; RECORD]);
    let (start, mut each) = (Instant::now(), Vec::new());
    let ttl = Some(Duration::from_mins(1));
    for n in 0..1_000 {
        let begun = Instant::now();
        let key = format!("bench/{}", n % 100);
        ports.state.put(&key, value.clone(), ttl).await.expect("the server is there");
        each.push(begun.elapsed());
    }
    figure("state: put with a time to live", 1_000, start.elapsed(), each);
    let (start, mut each) = (Instant::now(), Vec::new());
    for n in 0..1_000 {
        let begun = Instant::now();
        ports.state.get(&format!("bench/{}", n % 100)).await.expect("the server is there");
        each.push(begun.elapsed());
    }
    figure("state: get", 1_000, start.elapsed(), each);
    let (start, mut each) = (Instant::now(), Vec::new());
    for _ in 0..200 {
        let begun = Instant::now();
        ports.state.list("bench/").await.expect("the server is there");
        each.push(begun.elapsed());
    }
    figure("state: list of 100 keys", 200, start.elapsed(), each);
}

async fn blobs(ports: &Ports) {
    for size in [4 << 10, 4 << 20] {
        let count = if size > 1 << 20 { 10 } else { 200 };
        let (start, mut digests) = (Instant::now(), Vec::new());
        for n in 0..count {
            let mut bytes = vec![b'b'; size];
            bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
            digests.push(ports.blobs.put(bytes.into()).await.expect("the server is there"));
        }
        figure(&format!("blobs: put {} KiB", size >> 10), count, start.elapsed(), Vec::new());
        let start = Instant::now();
        for digest in &digests {
            let found = ports.blobs.get(digest).await.expect("the server is there");
            assert!(found.is_some(), "it was put");
        }
        figure(&format!("blobs: get {} KiB", size >> 10), count, start.elapsed(), Vec::new());
    }
}
