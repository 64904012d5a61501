//! A follow catches up, follows on, starts over where the log failed, and stops where going on would
//! be wrong.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use dagbok_events::{Actor, Record, Scope, Timestamp, encode};
use dagbok_projection::{
    Checkpoint, Decoded, FollowError, Following, Pace, Progress, Projection, ProjectionError,
    follow,
};
use dagbok_runlog::{
    AppendError, Base, Chain, Draft, Entry, LogMark, PortError, PortResult, Position, ReadLimit,
    RunLog, Seq, memory::MemoryLog,
};
use dagbok_runtime::Shutdown;
use futures::{StreamExt as _, stream, stream::BoxStream};
use tokio::sync::mpsc;

const SOON: Duration = Duration::from_secs(20);

fn draft(at: i64) -> Draft {
    let record = Record {
        at: Timestamp(at),
        clock: None,
        scope: Scope::Namespace,
        by: Actor::Scheduler,
        reason: None,
        cause: None,
        trace: None,
        facts: vec![],
    };
    Draft { subject: "log.namespace".to_owned(), payload: encode(&record).into() }
}

async fn log_of(count: i64) -> Arc<MemoryLog> {
    let log = Arc::new(MemoryLog::default());
    log.append(Seq::ZERO, (1..=count).map(draft).collect()).await.unwrap();
    log
}

/// Hands on what it is given.
struct Tape {
    checkpoint: Checkpoint,
    seen: mpsc::UnboundedSender<Vec<u64>>,
    fails_at: Option<u64>,
}

impl Tape {
    fn from(checkpoint: Checkpoint) -> (Self, mpsc::UnboundedReceiver<Vec<u64>>) {
        let (seen, tape) = mpsc::unbounded_channel();
        (Self { checkpoint, seen, fails_at: None }, tape)
    }
}

impl Projection for Tape {
    fn checkpoint(&self) -> Checkpoint {
        self.checkpoint
    }
    fn apply(&mut self, entries: &[Decoded]) -> Result<(), ProjectionError> {
        if entries.iter().any(|entry| Some(entry.seq.0) == self.fails_at) {
            return Err(ProjectionError::new("the disk is full"));
        }
        // What is passed over has no time of its own.
        for entry in entries.iter().filter(|entry| entry.record.at != Timestamp(0)) {
            assert_eq!(
                entry.record.at.0,
                i64::try_from(entry.seq.0).unwrap(),
                "record and place belong together"
            );
        }
        self.checkpoint.seq = entries.last().map_or(self.checkpoint.seq, |entry| entry.seq);
        let _ = self.seen.send(entries.iter().map(|entry| entry.seq.0).collect());
        Ok(())
    }
}

fn quick() -> Pace {
    Pace {
        batch: ReadLimit { entries: 7, bytes: 1 << 20 },
        backoff: Duration::from_millis(1),
        max_backoff: Duration::from_millis(5),
        rest_after: Duration::from_millis(20),
        gather: Duration::from_millis(2),
    }
}

fn start(log: Arc<dyn RunLog>, tape: Tape) -> (Following, Shutdown) {
    let shutdown = Shutdown::new();
    (follow(log, tape, Progress::default(), quick(), &shutdown), shutdown)
}

async fn ended(following: Following) -> FollowError {
    let ended = tokio::time::timeout(SOON, following.task).await.expect("the follow must end");
    ended.unwrap().expect_err("the follow must end with a reason")
}

async fn all(tape: &mut mpsc::UnboundedReceiver<Vec<u64>>, upto: u64) -> Vec<u64> {
    let mut seen = Vec::new();
    while seen.last() != Some(&upto) {
        let batch = tokio::time::timeout(SOON, tape.recv()).await.expect("entries must come");
        seen.extend(batch.expect("the follow goes on"));
    }
    seen
}

#[tokio::test]
async fn catches_up_then_follows_in_order() {
    let log = log_of(50).await;
    let (tape, mut seen) = Tape::from(Checkpoint::default());
    let (following, shutdown) = start(log.clone(), tape);
    assert!(following.progress.wait_for(Seq(50), SOON).await);
    assert!(following.progress.now().caught_up);
    log.append(Seq(50), vec![draft(51)]).await.unwrap();
    assert!(following.progress.wait_for(Seq(51), SOON).await, "what is written can be waited for");
    assert_eq!(all(&mut seen, 51).await, (1..=51).collect::<Vec<_>>());
    assert_eq!(following.progress.now().lag(), 0);
    assert!(!following.progress.wait_for(Seq(52), Duration::from_millis(5)).await);
    shutdown.start();
    following.task.await.unwrap().expect("a shutdown is no error");
}

#[tokio::test]
async fn goes_on_from_its_checkpoint() {
    let log = log_of(9).await;
    let there = Position::look(&*log, Seq(6)).await.unwrap().unwrap();
    let (tape, mut seen) = Tape::from(there.into());
    let (_following, _shutdown) = start(log, tape);
    assert_eq!(all(&mut seen, 9).await, vec![7, 8, 9]);
}

#[tokio::test]
async fn stops_at_a_log_that_lost_records() {
    let (tape, _seen) = Tape::from(Checkpoint { seq: Seq(12), position: None });
    let (following, _shutdown) = start(log_of(9).await, tape);
    let progress = following.progress.clone();
    let error = ended(following).await;
    assert!(
        matches!(error, FollowError::LogShorter { last: Seq(9), checkpoint: Seq(12) }),
        "{error}"
    );
    assert!(progress.now().failed.expect("readers are told").contains("ends at 9"));
}

#[tokio::test]
async fn stops_at_another_log() {
    let log = log_of(9).await;
    let there = Position::look(&*log, Seq(6)).await.unwrap().unwrap();
    let other_entry = Position { entry: Chain::START, ..there };
    let other_log = Position { log: LogMark(Chain::START), ..there };
    let beyond = Position { seq: Seq(99), ..other_log };
    for (there, at) in [(other_entry, 6), (other_log, 1), (beyond, 1)] {
        let (tape, _seen) = Tape::from(there.into());
        let (following, _shutdown) = start(log.clone(), tape);
        let error = ended(following).await;
        assert!(
            matches!(error, FollowError::LogReplaced { at: found } if found == Seq(at)),
            "{error}"
        );
    }
}

#[tokio::test]
async fn waits_at_bytes_that_are_no_record_until_a_record_has_them_passed_over() {
    let log = log_of(3).await;
    let garbage = Draft { subject: "log.namespace".to_owned(), payload: vec![0xc1, 0, 1].into() };
    log.append(Seq(3), vec![garbage.clone(), draft(5)]).await.unwrap();
    let (tape, mut seen) = Tape::from(Checkpoint::default());
    let (following, shutdown) = start(log.clone(), tape);
    assert_eq!(all(&mut seen, 3).await, [1, 2, 3], "what comes before is not held up");
    let mut told = following.progress.now().failed;
    while told.is_none() {
        tokio::task::yield_now().await;
        told = following.progress.now().failed;
    }
    let told = told.unwrap();
    assert!(told.contains("entry 4") && told.contains("dagbok doctor --repair"), "{told}");
    let skip = |at: i64, digest: String| {
        let fact = dagbok_events::ForeignEntrySkipped {
            seq: 4,
            subject: garbage.subject.clone(),
            digest: dagbok_events::Digest::new(digest).unwrap(),
            bytes: 3,
        };
        let mut record = dagbok_events::decode(&draft(at).payload).unwrap();
        record.facts.push(dagbok_events::Fact::ForeignEntrySkipped(Box::new(fact)));
        Draft { payload: encode(&record).into(), ..draft(at) }
    };
    // One of other bytes at that place means another entry.
    log.append(Seq(5), vec![skip(6, "0".repeat(64))]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(following.progress.now().failed.is_some());
    let right = skip(7, dagbok_runlog::digest_of(&garbage.payload));
    log.append(Seq(6), vec![right]).await.unwrap();
    assert_eq!(all(&mut seen, 7).await, [4, 5, 6, 7]);
    assert_eq!(following.progress.now().failed, None);
    shutdown.start();
    following.task.await.unwrap().expect("it went on");
}

#[tokio::test]
async fn stops_at_a_record_of_a_newer_version() {
    let log = log_of(3).await;
    let mut newer = draft(4).payload.to_vec();
    let at = newer.windows(9).position(|word| word == b"Scheduler").expect("it is named");
    newer[at..at + 9].copy_from_slice(b"Seraphims");
    let newer = Draft { payload: newer.into(), ..draft(4) };
    log.append(Seq(3), vec![newer, draft(5)]).await.unwrap();
    let (tape, _seen) = Tape::from(Checkpoint::default());
    let (following, _shutdown) = start(log, tape);
    let error = ended(following).await;
    assert!(matches!(error, FollowError::Decode { at: Seq(4), .. }), "{error}");
}

#[tokio::test]
async fn stops_where_rows_cannot_be_kept() {
    let (mut tape, _seen) = Tape::from(Checkpoint::default());
    tape.fails_at = Some(10);
    let (following, _shutdown) = start(log_of(20).await, tape);
    let progress = following.progress.clone();
    assert!(matches!(ended(following).await, FollowError::Projection(_)));
    let now = progress.now();
    assert_eq!(now.applied, Seq(7), "the batch that failed is not counted");
    assert!(now.failed.unwrap().contains("the disk is full"));
    assert!(!progress.wait_for(Seq(10), SOON).await, "nobody waits for what won't come");
}

struct Panics(Checkpoint);

impl Projection for Panics {
    fn checkpoint(&self) -> Checkpoint {
        self.0
    }
    fn apply(&mut self, _: &[Decoded]) -> Result<(), ProjectionError> {
        panic!("sled broke");
    }
}

#[tokio::test]
async fn a_panic_is_an_error_with_its_words() {
    let shutdown = Shutdown::new();
    let log = log_of(1).await;
    let following =
        follow(log, Panics(Checkpoint::default()), Progress::default(), quick(), &shutdown);
    assert!(ended(following).await.to_string().contains("sled broke"));
}

/// A log whose reads and follows break again and again.
#[derive(Debug)]
struct Flaky {
    log: Arc<MemoryLog>,
    calls: AtomicUsize,
}

impl Flaky {
    fn breaks(&self, every: usize) -> PortResult<()> {
        if self.calls.fetch_add(1, Ordering::SeqCst).is_multiple_of(every) {
            return Err(PortError::unavailable("log", "the broker is away"));
        }
        Ok(())
    }
}

#[async_trait]
impl RunLog for Flaky {
    async fn append(&self, expected: Seq, drafts: Vec<Draft>) -> Result<Seq, AppendError> {
        self.log.append(expected, drafts).await
    }
    async fn read(&self, after: Seq, limit: ReadLimit) -> PortResult<Vec<Entry>> {
        self.breaks(3)?;
        self.log.read(after, limit).await
    }
    async fn last(&self) -> PortResult<Seq> {
        self.breaks(5)?;
        self.log.last().await
    }
    fn follow(&self, after: Seq) -> BoxStream<'static, PortResult<Vec<Entry>>> {
        let broken =
            stream::once(async { Err(PortError::unavailable("log", "the connection broke")) });
        self.log.follow(after).take(2).chain(broken).boxed()
    }
    async fn base(&self) -> PortResult<Base> {
        self.log.base().await
    }
    async fn mark(&self) -> PortResult<Option<LogMark>> {
        self.log.mark().await
    }
    async fn trim(&self, below: Seq, chain: Chain) -> PortResult<Base> {
        self.log.trim(below, chain).await
    }
    fn max_payload(&self) -> usize {
        self.log.max_payload()
    }
}

#[tokio::test]
async fn starts_over_after_the_log_broke_and_loses_nothing() {
    let log = log_of(40).await;
    let flaky = Arc::new(Flaky { log: log.clone(), calls: AtomicUsize::new(0) });
    let (tape, mut seen) = Tape::from(Checkpoint::default());
    let (following, _shutdown) = start(flaky, tape);
    for next in 40..60 {
        log.append(Seq(next), vec![draft(i64::try_from(next).unwrap() + 1)]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(all(&mut seen, 60).await, (1..=60).collect::<Vec<_>>());
    assert_eq!(following.progress.now().failed, None);
}
