//! What the log promises on a disk that is full, fails, forgets or is slow.
use std::{
    collections::BTreeMap,
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use dagbok_runlog::{
    AppendError, Draft, PortError, Ports, ReadLimit, RunLog, Seq, conformance::soon,
};
use futures::{FutureExt as _, StreamExt as _, future::join_all};
use parking_lot::{Condvar, Mutex};
use tempfile::TempDir;

use crate::{
    Durability, Options,
    disk::{Disk, FileDisk, WriteAt},
    open_on,
};

/// Files that behave, under a disk that may not.
const FILES: FileDisk = FileDisk { durability: Durability::None };

/// How a disk misbehaves, and what it has been asked.
#[derive(Debug, Default)]
struct Moods {
    /// Bytes that still fit; `None` for enough.
    room: Option<u64>,
    cut_fails: bool,
    /// The number of the first flush that fails, if any.
    flush_fails: Option<usize>,
    /// Flushes do nothing, though they say that they did.
    flush_lies: bool,
    /// Flushes wait while this is set.
    flush_waits: bool,
    flushes: usize,
    /// What a power cut leaves of each file, in bytes.
    durable: BTreeMap<PathBuf, u64>,
}

#[derive(Debug, Default)]
struct Shared {
    moods: Mutex<Moods>,
    changed: Condvar,
}

#[derive(Clone, Debug, Default)]
struct MoodyDisk(Arc<Shared>);

#[derive(Debug)]
struct MoodyFile {
    disk: MoodyDisk,
    path: PathBuf,
    file: Box<dyn WriteAt>,
}

impl MoodyDisk {
    fn set(&self, change: impl FnOnce(&mut Moods)) {
        change(&mut self.0.moods.lock());
        self.0.changed.notify_all();
    }

    fn flushes(&self) -> usize {
        self.0.moods.lock().flushes
    }

    /// Waits until a flush has begun.
    fn flush_begun(&self) {
        let mut moods = self.0.moods.lock();
        while moods.flushes == 0 {
            let waited = self.0.changed.wait_for(&mut moods, Duration::from_secs(20));
            assert!(!waited.timed_out(), "no flush began");
        }
    }

    /// Takes room for `bytes`; on a full disk says how many fit.
    fn take_room(&self, bytes: usize) -> Result<(), usize> {
        let mut moods = self.0.moods.lock();
        let Some(room) = &mut moods.room else { return Ok(()) };
        match room.checked_sub(bytes as u64) {
            Some(left) => {
                *room = left;
                Ok(())
            }
            None => Err(usize::try_from(std::mem::take(room)).unwrap()),
        }
    }

    /// Notes that all of a file is there for good, unless this disk lies.
    fn keep(&self, path: &Path) -> io::Result<()> {
        let length = fs::metadata(path)?.len();
        let mut moods = self.0.moods.lock();
        if !moods.flush_lies {
            moods.durable.insert(path.to_owned(), length);
        }
        Ok(())
    }

    /// Leaves of the files under `dir` what had been flushed.
    fn cut_power(&self, dir: &Path) {
        let moods = self.0.moods.lock();
        for file in fs::read_dir(dir).unwrap() {
            let path = file.unwrap().path();
            match moods.durable.get(&path) {
                Some(&length) => FILES.open(&path).unwrap().set_len(length).unwrap(),
                None if path.is_file() => fs::remove_file(&path).unwrap(),
                None => {}
            }
        }
    }
}

fn full() -> io::Error {
    io::Error::new(ErrorKind::StorageFull, "No space left on device")
}

impl Disk for MoodyDisk {
    fn create_dirs(&self, dir: &Path) -> io::Result<()> {
        FILES.create_dirs(dir)
    }

    fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<Box<dyn WriteAt>> {
        if let Err(fit) = self.take_room(bytes.len()) {
            fs::write(path, &bytes[..fit])?;
            return Err(full());
        }
        let file = FILES.create(path, bytes)?;
        self.keep(path)?;
        Ok(Box::new(MoodyFile { disk: self.clone(), path: path.to_owned(), file }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn WriteAt>> {
        let file = FILES.open(path)?;
        self.keep(path)?;
        Ok(Box::new(MoodyFile { disk: self.clone(), path: path.to_owned(), file }))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.take_room(bytes.len()).map_err(|_| full())?;
        FILES.replace(path, bytes)?;
        self.keep(path)
    }
}

impl WriteAt for MoodyFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self.disk.take_room(bytes.len()) {
            Ok(()) => self.file.write_all_at(bytes, offset),
            Err(fit) => {
                self.file.write_all_at(&bytes[..fit], offset)?;
                Err(full())
            }
        }
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        if self.disk.0.moods.lock().cut_fails {
            return Err(io::Error::other("the disk is gone"));
        }
        self.file.set_len(bytes)
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        self.file.is_at(path)
    }

    fn flush(&self) -> io::Result<()> {
        {
            let mut moods = self.disk.0.moods.lock();
            moods.flushes += 1;
            self.disk.0.changed.notify_all();
            while moods.flush_waits {
                self.disk.0.changed.wait(&mut moods);
            }
            if moods.flush_fails.is_some_and(|first| moods.flushes >= first) {
                return Err(io::Error::other("Input/output error"));
            }
        }
        self.disk.keep(&self.path)
    }
}

/// A log on a moody disk.
struct Bench {
    home: TempDir,
    disk: MoodyDisk,
    segment_bytes: u64,
}

impl Bench {
    fn new(segment_bytes: u64) -> Self {
        Self { home: tempfile::tempdir().unwrap(), disk: MoodyDisk::default(), segment_bytes }
    }

    fn open(&self) -> Ports {
        let options = Options { segment_bytes: self.segment_bytes, ..Options::default() };
        let (ports, report) =
            open_on(Arc::new(self.disk.clone()), self.home.path(), options).unwrap();
        assert_eq!(report.torn, None, "nothing here may leave a torn tail");
        ports
    }

    fn log_dir(&self) -> PathBuf {
        self.home.path().join("log")
    }

    /// Bytes of all segments.
    fn bytes(&self) -> u64 {
        let files = fs::read_dir(self.log_dir()).unwrap().map(|file| file.unwrap().path());
        let segments = files.filter(|path| path.extension().is_some_and(|it| it == "seg"));
        segments.map(|path| fs::metadata(path).unwrap().len()).sum()
    }
}

fn draft(n: u64) -> Draft {
    Draft { subject: "log.case".to_owned(), payload: Bytes::from(format!("entry {n:>200}")) }
}

async fn add(log: &dyn RunLog, after: u64) -> Result<Seq, AppendError> {
    log.append(Seq(after), vec![draft(after + 1)]).await
}

async fn assert_has(log: &dyn RunLog, last: u64) {
    assert_eq!(log.last().await.unwrap(), Seq(last));
    let all = ReadLimit { entries: usize::MAX, bytes: usize::MAX };
    let entries = log.read(Seq::ZERO, all).await.unwrap();
    let found: Vec<_> = entries.iter().map(|entry| (entry.seq.0, &entry.payload)).collect();
    let payloads: Vec<_> = (1..=last).map(|n| draft(n).payload).collect();
    assert_eq!(found, (1..).zip(&payloads).collect::<Vec<_>>());
}

fn why(outcome: Result<Seq, AppendError>) -> String {
    match outcome {
        Err(AppendError::Port(PortError::Unavailable { what: "log", why })) => why,
        other => panic!("the log was to be unavailable, not {other:?}"),
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_the_log_goes_on_when_there_is_room() {
    // All kinds of room, so that a write is cut at every kind of place.
    for room in (0..690).step_by(7) {
        let bench = Bench::new(1 << 20);
        let log = bench.open().log;
        add(&*log, 0).await.unwrap();
        let before = bench.bytes();
        bench.disk.set(|moods| moods.room = Some(room));
        let mut last = 1;
        let said = loop {
            match add(&*log, last).await {
                Ok(seq) => last = seq.0,
                refused => break why(refused),
            }
        };
        assert!(said.contains("No space left on device"), "{said}");
        assert!(last < 4, "room {room}: {last} entries");
        assert_has(&*log, last).await;
        assert!(bench.bytes() <= before + room, "half a write is left");
        let again = why(add(&*log, last).await);
        assert!(again.contains("the next one tries again"), "{again}");
        bench.disk.set(|moods| moods.room = None);
        assert_eq!(add(&*log, last).await.unwrap(), Seq(last + 1));
        assert_has(&*log, last + 1).await;
        drop(log);
        assert_has(&*bench.open().log, last + 1).await;
    }
}

#[tokio::test]
async fn a_disk_too_full_for_a_new_segment_refuses_and_goes_on_too() {
    for room in [0, 10, 23, 24, 60, 100, 200, 300] {
        // Each segment holds one entry, so each append begins one and seals the one before.
        let bench = Bench::new(1);
        let log = bench.open().log;
        bench.disk.set(|moods| moods.room = Some(room));
        let mut last = 0;
        let said = loop {
            match add(&*log, last).await {
                Ok(seq) => last = seq.0,
                refused => break why(refused),
            }
        };
        assert!(said.contains("No space left on device"), "{said}");
        assert_has(&*log, last).await;
        bench.disk.set(|moods| moods.room = None);
        for _ in 0..3 {
            last = add(&*log, last).await.unwrap().0;
        }
        assert_has(&*log, last).await;
        drop(log);
        assert_has(&*bench.open().log, last).await;
    }
}

#[tokio::test]
async fn after_a_failed_flush_nothing_is_written_until_the_log_is_opened_again() {
    let bench = Bench::new(1 << 20);
    let log = bench.open().log;
    add(&*log, 0).await.unwrap();
    bench.disk.set(|moods| moods.flush_fails = Some(2));
    let said = why(add(&*log, 1).await);
    assert!(said.contains("can't flush") && said.contains("start again"), "{said}");
    // The disk says that it is well again, as Linux does after it has dropped the pages.
    bench.disk.set(|moods| moods.flush_fails = None);
    assert_eq!(why(add(&*log, 1).await), said);
    assert_has(&*log, 1).await;
    drop(log);
    let log = bench.open().log;
    let last = log.last().await.unwrap().0;
    assert!(last == 1 || last == 2, "the refused entry may be there, the acknowledged one is");
    add(&*log, last).await.unwrap();
    assert_has(&*log, last + 1).await;
}

#[tokio::test]
async fn a_write_that_cannot_be_cut_back_is_the_last_one() {
    let bench = Bench::new(1 << 20);
    let log = bench.open().log;
    add(&*log, 0).await.unwrap();
    bench.disk.set(|moods| (moods.room, moods.cut_fails) = (Some(100), true));
    let said = why(add(&*log, 1).await);
    assert!(said.contains("nor can it be cut back"), "{said}");
    bench.disk.set(|moods| (moods.room, moods.cut_fails) = (None, false));
    assert_eq!(why(add(&*log, 1).await), said, "a record would follow half a record");
    assert_has(&*log, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_shares_one_flush_and_is_seen_only_after_it() {
    let bench = Bench::new(1 << 20);
    let log = bench.open().log;
    bench.disk.set(|moods| moods.flush_waits = true);
    let mut follow = log.follow(Seq::ZERO);
    let first = {
        let log = Arc::clone(&log);
        tokio::spawn(async move { add(&*log, 0).await })
    };
    bench.disk.flush_begun();
    assert_has(&*log, 0).await;
    assert!(follow.next().now_or_never().is_none(), "it is not durable yet");
    let mut rest = Box::pin(join_all((1..100).map(|n| add(&*log, n))));
    assert!(rest.as_mut().now_or_never().is_none(), "nothing is acknowledged before the flush");
    assert!(!first.is_finished());
    bench.disk.set(|moods| moods.flush_waits = false);
    soon("the first", first).await.unwrap().unwrap();
    assert!(soon("the rest", rest).await.into_iter().all(|answer| answer.is_ok()));
    assert_eq!(bench.disk.flushes(), 2, "ninety-nine waited for the first, and share the second");
    assert_has(&*log, 100).await;
    assert_eq!(soon("a follower", follow.next()).await.unwrap().unwrap()[0].seq, Seq(1));
    log.append(Seq(100), (101..=200).map(draft).collect()).await.unwrap();
    assert_eq!(bench.disk.flushes(), 3, "a batch is one flush");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_refused_for_entries_that_then_fail_is_not_told_that_they_are_there() {
    let bench = Bench::new(1 << 20);
    let log = bench.open().log;
    bench.disk.set(|moods| (moods.flush_waits, moods.flush_fails) = (true, Some(2)));
    let mut first = Box::pin(add(&*log, 0));
    assert!(first.as_mut().now_or_never().is_none());
    bench.disk.flush_begun();
    // These wait together, and share the flush that fails.
    let wait = [add(&*log, 0), add(&*log, 1), add(&*log, 2), add(&*log, 1), add(&*log, 7)];
    let mut wait = Box::pin(join_all(wait));
    assert!(wait.as_mut().now_or_never().is_none());
    bench.disk.set(|moods| moods.flush_waits = false);
    assert_eq!(soon("the first", first).await.unwrap(), Seq(1));
    let mut answers = soon("the rest", wait).await.into_iter();
    let stale = answers.next().unwrap();
    assert!(matches!(stale, Err(AppendError::Conflict { actual: Some(Seq(1)), .. })), "{stale:?}");
    for answer in answers {
        why(answer);
    }
}

async fn power_cut(lies: bool) -> u64 {
    let bench = Bench::new(4_096);
    bench.disk.set(|moods| moods.flush_lies = lies);
    let log = bench.open().log;
    for n in 0..50 {
        add(&*log, n).await.unwrap();
    }
    drop(log);
    bench.disk.cut_power(&bench.log_dir());
    let log = bench.open().log;
    let last = log.last().await.unwrap().0;
    assert_has(&*log, last).await;
    last
}

#[tokio::test]
async fn a_power_cut_takes_nothing_that_was_acknowledged() {
    assert_eq!(power_cut(false).await, 50);
}

#[tokio::test]
async fn without_flushes_the_same_power_cut_takes_it() {
    assert_eq!(power_cut(true).await, 0, "the test above would notice");
}

#[tokio::test]
async fn a_closed_log_ends_its_followers_with_an_error() {
    let bench = Bench::new(1 << 20);
    let log = bench.open().log;
    let mut follow = log.follow(Seq::ZERO);
    add(&*log, 0).await.unwrap();
    drop(log);
    assert_eq!(
        soon("a follower", follow.next()).await.unwrap().unwrap().len(),
        1,
        "what was there comes first"
    );
    let said = soon("a follower", follow.next()).await.unwrap().unwrap_err().to_string();
    assert!(said.contains("closed"), "{said}");
    assert!(soon("a follower", follow.next()).await.is_none());
}
