//! Copies of a log whose writer goes on, and of one that is damaged.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use dagbok_runlog::{Draft, Ports, ReadLimit, Seq, chain_at};
use dagbok_runlog_embedded::{
    CopiedBlobs, Durability, OpenError, Options, copy_blobs, copy_log, open, open_read_only,
};
use tempfile::TempDir;

fn options(segment_bytes: u64) -> Options {
    Options { durability: Durability::None, segment_bytes }
}

async fn append(ports: &Ports, from: u64, count: u64) {
    let draft = |n: u64| Draft {
        subject: format!("log.entry.{n}"),
        payload: format!("{n} {}", "x".repeat(200)).into(),
    };
    ports.log.append(Seq(from), (from + 1..=from + count).map(draft).collect()).await.unwrap();
}

fn segments(home: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(home.join("log")).unwrap().map(|file| file.unwrap().path());
    let mut found: Vec<PathBuf> =
        files.filter(|file| file.extension().is_some_and(|it| it == "seg")).collect();
    found.sort();
    found
}

/// Copies again and again until `over`, counts how often it has begun, and reads each copy whole.
fn copies_until(over: &AtomicBool, begun: &AtomicU64, home: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut last = Seq::ZERO;
    loop {
        let is_over = over.load(Ordering::SeqCst);
        begun.fetch_add(1, Ordering::SeqCst);
        let to = TempDir::new().unwrap();
        let ends = copy_log(home, to.path()).unwrap();
        assert!(ends >= last, "{ends} after {last}");
        last = ends;
        let (copy, report) = open_read_only(to.path()).unwrap();
        assert!(report.torn.is_none(), "{report:?}");
        assert_eq!(runtime.block_on(copy.log.last()).unwrap(), ends);
        if is_over {
            return;
        }
    }
}

#[tokio::test]
async fn a_writer_that_appends_in_halves_is_copied_up_to_a_whole_record() {
    // The bytes that a log has at last, written by hand to one that has its beginning: each write ends amid a
    // record, and the next one has the rest of it and several whole ones.
    let (whole, home) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (ports, _) = open(whole.path(), options(1 << 30)).unwrap();
    for n in 0..10 {
        append(&ports, n * 1_000, 1_000).await;
    }
    drop(ports);
    let bytes = fs::read(&segments(whole.path())[0]).unwrap();
    fs::create_dir(home.path().join("log")).unwrap();
    let live = home.path().join("log").join(segments(whole.path())[0].file_name().unwrap());
    // Half of it is there from the beginning, so that a look at all of it takes a while.
    let half = bytes.len() / 2;
    fs::write(&live, &bytes[..half]).unwrap();
    let (over, begun) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let copies = scope.spawn(|| copies_until(&over, &begun, home.path()));
        let mut file = OpenOptions::new().append(true).open(&live).unwrap();
        for part in bytes[half..].chunks(777) {
            file.write_all(part).unwrap();
            // Some of them come within one look.
            for _ in 0..20_000 {
                std::hint::spin_loop();
            }
        }
        over.store(true, Ordering::SeqCst);
        copies.join().unwrap();
    });
}

#[test]
fn a_log_that_is_trimmed_meanwhile_is_copied_from_where_it_begins() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let home = TempDir::new().unwrap();
    let (ports, _) = open(home.path(), options(4_000)).unwrap();
    runtime.block_on(append(&ports, 0, 50));
    let (over, begun) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let copies = scope.spawn(|| copies_until(&over, &begun, home.path()));
        for n in 0..100 {
            // One trim for each copy, somewhere in it.
            while begun.load(Ordering::SeqCst) <= n && !copies.is_finished() {
                thread::yield_now();
            }
            runtime.block_on(async {
                let last = 50 + n * 10;
                append(&ports, last, 10).await;
                let below = Seq(last - 30);
                let chain = chain_at(&*ports.log, Seq(below.0 - 1)).await.unwrap();
                ports.log.trim(below, chain).await.unwrap();
            });
        }
        over.store(true, Ordering::SeqCst);
        copies.join().unwrap();
    });
}

#[tokio::test]
async fn damage_is_told_of_the_file_that_has_it_and_not_of_its_copy() {
    let (home, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (ports, _) = open(home.path(), options(4_000)).unwrap();
    for n in 0..10 {
        append(&ports, n * 10, 10).await;
    }
    drop(ports);
    // Its sidecar says that it is well.
    let second = segments(home.path()).remove(1);
    let mut bytes = fs::read(&second).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&second, bytes).unwrap();
    match copy_log(home.path(), to.path()) {
        Err(OpenError::Damaged { file, .. }) => assert_eq!(file, second),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn blobs_are_copied_once_and_those_that_are_damaged_are_named() {
    let (home, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (ports, _) = open(home.path(), options(1 << 20)).unwrap();
    let first = ports.blobs.put("one".into()).await.unwrap();
    let mut copied = CopiedBlobs::default();
    copy_blobs(home.path(), to.path(), &mut copied).unwrap();
    let second = ports.blobs.put("two".into()).await.unwrap();
    let third = ports.blobs.put("three".into()).await.unwrap();
    let at = |home: &Path, digest: &str| home.join("blobs").join(&digest[..2]).join(&digest[2..]);
    fs::remove_file(at(home.path(), &first)).unwrap();
    fs::remove_file(at(home.path(), &third)).unwrap();
    fs::write(at(home.path(), &third), "four").unwrap();
    copy_blobs(home.path(), to.path(), &mut copied).unwrap();
    let (there, broken): (Vec<_>, Vec<_>) =
        (copied.digests.iter().collect(), copied.damaged.iter().collect());
    let mut both = [&first, &second];
    both.sort();
    assert_eq!((there, broken, copied.bytes), (both.to_vec(), vec![&third], 6));
    assert!(at(to.path(), &second).is_file() && !at(to.path(), &third).exists());
    let read = ports.log.read(Seq::ZERO, ReadLimit::default()).await.unwrap();
    assert!(read.is_empty(), "nothing was said of it");
}
