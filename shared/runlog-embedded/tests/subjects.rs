//! What is on one subject is read from where it lies, and from nowhere else.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
use std::{fs, path::Path};

use dagbok_runlog::{Draft, Entry, Ports, RunLog, Seq, chain_at};
use dagbok_runlog_embedded::{Durability, Options, open, open_read_only};

const RUNS: u64 = 400;
const OF_A_RUN: u64 = 10;

fn ports(home: &Path) -> Ports {
    // Several segments, each of several strides.
    let options = Options { durability: Durability::None, segment_bytes: 200 << 10 };
    open(home, options).unwrap().0
}

/// Each run's records follow one another, and after each run comes one of the DAG.
fn subject(n: u64) -> String {
    match n % (OF_A_RUN + 1) {
        OF_A_RUN => "log.dag".to_owned(),
        _ => format!("log.run.{}", n / (OF_A_RUN + 1)),
    }
}

async fn fill(log: &dyn RunLog) -> Vec<Entry> {
    let count = RUNS * (OF_A_RUN + 1);
    let entries: Vec<Entry> = (0..count)
        .map(|n| {
            let length = usize::try_from(50 + n * 7 % 400).unwrap();
            Entry { seq: Seq(n + 1), subject: subject(n), payload: vec![b'x'; length].into() }
        })
        .collect();
    for some in entries.chunks(64) {
        let drafts = some
            .iter()
            .map(|it| Draft { subject: it.subject.clone(), payload: it.payload.clone() });
        log.append(Seq(some[0].seq.0 - 1), drafts.collect()).await.unwrap();
    }
    entries
}

/// Whoever reads each subject finds what a walk over everything finds.
async fn assert_all(log: &dyn RunLog, entries: &[Entry]) {
    let last = entries.last().unwrap().seq;
    for subject in
        (0..RUNS).step_by(7).map(|run| format!("log.run.{run}")).chain(["log.dag".to_owned()])
    {
        for until in [last, Seq(last.0 / 2), entries[0].seq] {
            let wanted = entries.iter().filter(|it| it.subject == subject && it.seq <= until);
            let found = log.read_subject(&subject, until).await.unwrap();
            assert_eq!(found, wanted.cloned().collect::<Vec<_>>(), "{subject} until {until}");
        }
    }
    assert_eq!(log.read_subject("log.nobody", last).await.unwrap(), []);
}

#[tokio::test]
async fn a_subject_has_the_same_while_written_opened_again_read_beside_and_trimmed() {
    let home = tempfile::tempdir().unwrap();
    let mut entries = fill(&*ports(home.path()).log).await;
    let (beside, _) = open_read_only(home.path()).unwrap();
    assert_all(&*beside.log, &entries).await;
    let log = ports(home.path()).log;
    assert_all(&*log, &entries).await;
    let below = Seq(entries.len() as u64 / 2);
    log.trim(below, chain_at(&*log, Seq(below.0 - 1)).await.unwrap()).await.unwrap();
    entries.retain(|entry| entry.seq >= below);
    assert_all(&*log, &entries).await;
    assert_all(&*beside.log, &entries).await;
}

#[tokio::test]
async fn only_the_parts_that_have_it_are_read() {
    let home = tempfile::tempdir().unwrap();
    let entries = fill(&*ports(home.path()).log).await;
    let log = ports(home.path()).log;
    let segments = fs::read_dir(home.path().join("log")).unwrap().map(|file| file.unwrap().path());
    let mut segments: Vec<_> =
        segments.filter(|path| path.extension().is_some_and(|it| it == "seg")).collect();
    segments.sort();
    assert!(segments.len() > 3, "{segments:?}");
    // Whatever lies in the second half of the first file can't be read any more.
    let mut bytes = fs::read(&segments[0]).unwrap();
    let half = bytes.len() / 2;
    bytes[half..].fill(0xff);
    fs::write(&segments[0], bytes).unwrap();
    let last = entries.last().unwrap().seq;
    for run in [0, RUNS - 1] {
        let found = log.read_subject(&format!("log.run.{run}"), last).await.unwrap();
        assert_eq!(found.len() as u64, OF_A_RUN, "run {run}");
    }
    let error = log.read_subject("log.dag", last).await.unwrap_err().to_string();
    assert!(error.contains("put the file back from a backup"), "{error}");
}
