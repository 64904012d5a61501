//! A log that is read ahead comes whole and in order, ends where the log ends, and says what failed.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]
use std::sync::Arc;

use dagbok_events::{
    Actor, Digest, Fact, ForeignEntrySkipped, Record, Scope, Timestamp, encode, subject_of,
};
use dagbok_projection::{ReadAhead, Skipped};
use dagbok_runlog::{
    Chain, Draft, PortError, ReadLimit, RunLog as _, Seq, digest_of, memory::MemoryLog,
};

fn draft(at: i64, facts: Vec<Fact>) -> Draft {
    let (scope, by) = (Scope::Namespace, Actor::Scheduler);
    let subject = subject_of(&scope);
    let record = Record {
        at: Timestamp(at),
        clock: None,
        scope,
        by,
        reason: None,
        cause: None,
        trace: None,
        facts,
    };
    Draft { subject, payload: encode(&record).into() }
}

async fn log_of(count: i64) -> Arc<MemoryLog> {
    let log = Arc::new(MemoryLog::default());
    log.append(Seq::ZERO, (1..=count).map(|at| draft(at, vec![])).collect()).await.unwrap();
    log
}

#[tokio::test]
async fn it_comes_whole_and_in_order() {
    // Several batches, more than wait to be taken.
    let count = 5 * i64::try_from(ReadLimit::default().entries).unwrap() + 3;
    let log = log_of(count).await;
    let mut ahead = ReadAhead::start(log, Seq(2));
    let mut found = Vec::new();
    while let Some(batch) = ahead.next().await.unwrap() {
        found.extend(batch.into_iter().map(|read| (read.seq.0, read.record.unwrap().at.0)));
    }
    assert!(found.iter().map(|&(_, at)| at).eq(3..=count));
    assert!(found.iter().all(|&(seq, at)| i64::try_from(seq).unwrap() == at));
    assert!(ahead.next().await.unwrap().is_none());
}

#[tokio::test]
async fn an_error_is_said_and_ends_it() {
    let log = log_of(9).await;
    let before = log.read(Seq::ZERO, ReadLimit { entries: 4, bytes: usize::MAX }).await.unwrap();
    let chain = before.iter().fold(Chain::START, Chain::then);
    log.trim(Seq(5), chain).await.unwrap();
    let mut ahead = ReadAhead::start(log, Seq(2));
    assert!(matches!(ahead.next().await, Err(PortError::Trimmed { .. })));
    assert!(ahead.next().await.unwrap().is_none());
}

#[tokio::test]
async fn what_somebody_else_put_there_is_passed_over_where_a_record_says_so() {
    let log = log_of(1).await;
    let foreign = Draft { subject: subject_of(&Scope::Namespace), payload: vec![0xc1].into() };
    let skip = ForeignEntrySkipped {
        seq: 2,
        subject: foreign.subject.clone(),
        digest: Digest::new(digest_of(&foreign.payload)).unwrap(),
        bytes: 1,
    };
    let is_said = vec![Fact::ForeignEntrySkipped(Box::new(skip))];
    log.append(Seq(1), vec![foreign.clone(), draft(2, is_said), foreign]).await.unwrap();
    let mut ahead = ReadAhead::start(Arc::clone(&log) as _, Seq::ZERO);
    let (mut skipped, mut found) = (Skipped::default(), Vec::new());
    for read in ahead.next().await.unwrap().unwrap() {
        let record = skipped.record_of(&*log, read).await.unwrap();
        found.push(record.map(|record| record.facts.len()).ok());
    }
    assert_eq!(found, [Some(0), Some(0), Some(1), None], "nothing says so of the last one");
}
