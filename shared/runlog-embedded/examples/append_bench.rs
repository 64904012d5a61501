//! What the embedded log does on this machine's disk: `cargo run --release -p dagbok-runlog-embedded
//! --example append_bench [DIR] [RECORDS]`. DIR must be on the disk that is meant: /tmp may be memory.
#![expect(clippy::print_stdout, reason = "figures for a person")]
use std::{
    error::Error,
    fs::File,
    io::Write as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use bytes::Bytes;
use dagbok_runlog::{Draft, Ports, ReadLimit, RunLog, Seq};
use dagbok_runlog_embedded::{Durability, Options, open, open_read_only};
use futures::{StreamExt as _, TryStreamExt as _, stream::FuturesOrdered};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Bytes of one record, as most are.
const RECORD: usize = 250;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let records = arguments.next().map_or(Ok(1_000_000), |text| text.parse::<u64>())?;
    let home = tempfile::tempdir_in(dir)?;
    println!("records of {RECORD} bytes in {}", home.path().display());

    bare_flushes(&home.path().join("bare"))?;
    let (ports, _) = open(home.path(), Options::default())?;
    one_at_a_time(&*ports.log).await?;
    in_batches(&*ports.log, 100, 300).await?;
    pipelined(&*ports.log, 100, 10_000).await?;
    drop(ports);
    replay(&home.path().join("replay"), records).await
}

fn record() -> Draft {
    let subject = "log.run.recommendation_training.scheduled__2026-11-20T00:00:00".to_owned();
    Draft { subject, payload: Bytes::from(vec![7; RECORD]) }
}

/// The floor: a write and an fdatasync, and nothing else.
fn bare_flushes(path: &std::path::Path) -> Outcome<()> {
    let mut file = File::create(path)?;
    let mut times = Vec::new();
    for _ in 0..2_000 {
        let start = Instant::now();
        file.write_all(&[7; 320])?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    print_times("bare write and fdatasync", &mut times);
    Ok(())
}

async fn one_at_a_time(log: &dyn RunLog) -> Outcome<()> {
    let mut times = Vec::new();
    let mut last = log.last().await?;
    for _ in 0..3_000 {
        let start = Instant::now();
        last = log.append(last, vec![record()]).await?;
        times.push(start.elapsed());
    }
    print_times("append one, durable", &mut times);
    Ok(())
}

async fn in_batches(log: &dyn RunLog, size: usize, batches: usize) -> Outcome<()> {
    let mut times = Vec::new();
    let mut last = log.last().await?;
    let all = Instant::now();
    for _ in 0..batches {
        let start = Instant::now();
        last = log.append(last, vec![record(); size]).await?;
        times.push(start.elapsed());
    }
    print_times(&format!("append {size} at once, durable"), &mut times);
    print_rate("  records", size * batches, all.elapsed());
    Ok(())
}

/// As a scheduler does it: single records, so many in flight.
async fn pipelined(log: &dyn RunLog, in_flight: usize, count: u64) -> Outcome<()> {
    let start = Instant::now();
    let last = log.last().await?;
    let mut answers = FuturesOrdered::new();
    for n in 0..count {
        answers.push_back(log.append(last.plus(n), vec![record()]));
        if answers.len() == in_flight {
            answers.next().await.transpose()?;
        }
    }
    answers.try_collect::<Vec<_>>().await?;
    print_rate(
        &format!("append one, {in_flight} in flight"),
        usize::try_from(count)?,
        start.elapsed(),
    );
    Ok(())
}

async fn replay(home: &std::path::Path, records: u64) -> Outcome<()> {
    let start = Instant::now();
    let options = Options { durability: Durability::None, ..Options::default() };
    let (ports, _) = open(home, options)?;
    let mut last = Seq::ZERO;
    while last.0 < records {
        last = ports.log.append(last, vec![record(); 1_000]).await?;
    }
    print_rate("fill, not flushed", usize::try_from(last.0)?, start.elapsed());
    drop(ports);

    let (Ports { log, .. }, report) = open(home, options)?;
    println!("{report}");
    let start = Instant::now();
    let mut follow = log.follow(Seq::ZERO);
    let mut seen = Seq::ZERO;
    while seen < last {
        let entries = follow.next().await.ok_or("the log ended")??;
        seen = entries.last().map_or(seen, |entry| entry.seq);
    }
    print_rate("replay by follow", usize::try_from(last.0)?, start.elapsed());

    let mut times = Vec::new();
    for n in 0..2_000 {
        let after = Seq(n * 7_919 % last.0);
        let start = Instant::now();
        log.read(after, ReadLimit { entries: 1, ..ReadLimit::default() }).await?;
        times.push(start.elapsed());
    }
    print_times("read one, anywhere", &mut times);
    let (_, report) = open_read_only(home)?;
    println!("to be read: {report}");
    Ok(())
}

fn print_times(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!("{what:<32} p50 {:>9.1?}  p99 {:>9.1?}", at(50), at(99));
}

fn print_rate(what: &str, count: usize, took: Duration) {
    #[expect(clippy::cast_precision_loss, reason = "a figure for a person")]
    let rate = count as f64 / took.as_secs_f64();
    println!("{what:<32} {rate:>12.0} /s  ({count} in {took:.2?})");
}
