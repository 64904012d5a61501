//! What trimming leaves on the disk, and what opening makes of a crash in the middle of it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use dagbok_runlog::{Base, Chain, Draft, PortError, Ports, ReadLimit, RunLog, Seq, chain_at};
use dagbok_runlog_embedded::{Durability, OpenError, Options, open, open_read_only};
use tempfile::TempDir;

const ENTRIES: u64 = 400;
const OPTIONS: Options = Options { durability: Durability::None, segment_bytes: 2_000 };

fn draft(n: u64) -> Draft {
    Draft { subject: format!("log.entry.{n}"), payload: format!("payload {n}").into() }
}

async fn log() -> (TempDir, Ports) {
    let home = tempfile::tempdir().unwrap();
    let (ports, _) = open(home.path(), OPTIONS).unwrap();
    for n in 1..=ENTRIES {
        ports.log.append(Seq(n - 1), vec![draft(n)]).await.unwrap();
    }
    (home, ports)
}

fn files(home: &Path) -> BTreeSet<PathBuf> {
    fs::read_dir(home.join("log")).unwrap().map(|file| file.unwrap().path()).collect()
}

fn segments(home: &Path) -> Vec<u64> {
    let stems =
        files(home).into_iter().filter(|file| file.extension().is_some_and(|it| it == "seg"));
    stems.map(|file| file.file_stem().unwrap().to_str().unwrap().parse().unwrap()).collect()
}

async fn trim(log: &dyn RunLog, below: u64) -> Base {
    let chain = chain_at(log, Seq(below - 1)).await.unwrap();
    log.trim(Seq(below), chain).await.unwrap()
}

async fn assert_from(log: &dyn RunLog, first: u64) {
    let entries = log.read(Seq(first - 1), ReadLimit::default()).await.unwrap();
    assert_eq!(entries.len() as u64, ENTRIES + 1 - first);
    for (entry, n) in entries.iter().zip(first..) {
        assert_eq!((entry.seq, &entry.payload), (Seq(n), &draft(n).payload));
    }
    let below = log.read(Seq(first - 2), ReadLimit::default()).await;
    assert!(matches!(below, Err(PortError::Trimmed { .. })), "{below:?}");
}

#[tokio::test]
async fn files_that_lie_below_the_base_are_removed_and_no_others() {
    let (home, ports) = log().await;
    let before = segments(home.path());
    assert!(before.len() > 5, "{before:?}");
    let (second, last) = (before[1], *before.last().unwrap());
    trim(&*ports.log, second - 1).await;
    assert_eq!(segments(home.path()), before, "the first one still holds the base");
    trim(&*ports.log, second).await;
    assert_eq!(segments(home.path()), before[1..]);
    assert_from(&*ports.log, second).await;
    trim(&*ports.log, ENTRIES).await;
    assert_eq!(segments(home.path()), [last], "the one that is written stays");
    drop(ports);
    let (ports, report) = open(home.path(), OPTIONS).unwrap();
    assert_eq!((report.last, report.segments), (Seq(ENTRIES), 1));
    assert_from(&*ports.log, ENTRIES).await;
    assert_eq!(ports.log.append(Seq(ENTRIES), vec![draft(1)]).await.unwrap(), Seq(ENTRIES + 1));
}

/// A crash after the base is there and before the files are gone, at each of them.
#[tokio::test]
async fn files_that_a_crash_left_below_the_base_go_at_the_next_open() {
    let (home, ports) = log().await;
    let whole = tempfile::tempdir().unwrap();
    for file in files(home.path()) {
        fs::copy(&file, whole.path().join(file.file_name().unwrap())).unwrap();
    }
    let first = segments(home.path())[4] + 3;
    let end = chain_at(&*ports.log, Seq(ENTRIES)).await.unwrap();
    let (base, mark) = (trim(&*ports.log, first).await, ports.log.mark().await.unwrap());
    drop(ports);
    let after = files(home.path());
    for (file, n) in fs::read_dir(whole.path()).unwrap().map(|file| file.unwrap().path()).zip(0..) {
        if file.extension().is_some_and(|it| it == "idx") {
            continue;
        }
        let to = home.path().join("log").join(file.file_name().unwrap());
        fs::copy(&file, &to).unwrap();
        // Every other one with the sidecar that goes before it; the last has none.
        if n % 2 == 0 && file.with_extension("idx").exists() {
            fs::copy(file.with_extension("idx"), to.with_extension("idx")).unwrap();
        }
        // Read by somebody who may not remove anything.
        let (read, _) = open_read_only(home.path()).unwrap();
        assert_from(&*read.log, first).await;
        assert_eq!(read.log.base().await.unwrap(), base);
        let (ports, _) = open(home.path(), OPTIONS).unwrap();
        assert_eq!(
            (ports.log.base().await.unwrap(), ports.log.mark().await.unwrap()),
            (base, mark)
        );
        assert_eq!(chain_at(&*ports.log, Seq(ENTRIES)).await.unwrap(), end);
        assert_from(&*ports.log, first).await;
        drop(ports);
        assert_eq!(files(home.path()), after);
    }
}

#[tokio::test]
async fn a_reader_elsewhere_sees_that_the_writer_trimmed() {
    let (home, ports) = log().await;
    let (read, _) = open_read_only(home.path()).unwrap();
    let first = segments(home.path())[3];
    trim(&*ports.log, first).await;
    assert_from(&*ports.log, first).await;
    // Its files are gone under it: either it still reads what it holds open, or it says where the log begins.
    match read.log.read(Seq(0), ReadLimit::default()).await {
        Err(PortError::Trimmed { first: said, .. }) => assert_eq!(said, Seq(first)),
        other => panic!("{other:?}"),
    }
    assert_eq!(read.log.base().await.unwrap(), ports.log.base().await.unwrap());
    assert_from(&*read.log, first).await;
}

#[tokio::test]
async fn a_base_that_is_lost_or_damaged_opens_nothing() {
    let (home, ports) = log().await;
    let first = segments(home.path())[3];
    trim(&*ports.log, first).await;
    drop(ports);
    let base = home.path().join("log/base");
    let text = fs::read_to_string(&base).unwrap();
    fs::write(&base, text.replace("first ", "first 1")).unwrap();
    assert!(matches!(open(home.path(), OPTIONS), Err(OpenError::Damaged { .. })));
    fs::remove_file(&base).unwrap();
    let Err(OpenError::Damaged { why, .. }) = open(home.path(), OPTIONS) else {
        panic!("a log without its base opened");
    };
    assert!(why.contains("from 1 to"), "{why}");
    fs::write(&base, &text).unwrap();
    let last = segments(home.path()).pop().unwrap();
    for file in files(home.path()) {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let is_segment = file.extension().is_some_and(|it| it == "seg");
        if is_segment && !name.starts_with(&format!("{last:020}")) {
            fs::remove_file(file).unwrap();
        }
    }
    assert!(matches!(open(home.path(), OPTIONS), Err(OpenError::Damaged { .. })));
}

/// A trim that the writer goes on beside: nothing that is appended meanwhile is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_go_on_while_the_log_is_trimmed() {
    let (home, ports) = log().await;
    let appending = {
        let log = ports.log.clone();
        tokio::spawn(async move {
            for n in ENTRIES..ENTRIES + 600 {
                log.append(Seq(n), vec![draft(n + 1)]).await.unwrap();
            }
        })
    };
    let mut below = 2;
    while !appending.is_finished() {
        let last = ports.log.last().await.unwrap().0;
        below = (below + 37).min(last);
        trim(&*ports.log, below).await;
        tokio::task::yield_now().await;
    }
    appending.await.unwrap();
    drop(ports);
    let (ports, report) = open(home.path(), OPTIONS).unwrap();
    assert_eq!(report.last, Seq(ENTRIES + 600));
    assert_eq!(ports.log.base().await.unwrap().first, Seq(below));
    let entries = ports.log.read(Seq(below - 1), ReadLimit::default()).await.unwrap();
    assert_eq!(entries.len() as u64, ENTRIES + 600 + 1 - below);
    assert_ne!(ports.log.base().await.unwrap().chain, Chain::START);
}
