//! What an archive keeps, proves and refuses, and that a log with its archive reads as it did before it was
//! trimmed.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
use std::{fs, path::Path, sync::Arc};

use dagbok_archive::{Archive, ArchiveError, Whole};
use dagbok_runlog::{
    Base, Chain, Compared, Draft, Entry, LogMark, PortError, Position, ReadLimit, RunLog, Seq,
    chain_at, memory::MemoryLog,
};
use futures::StreamExt as _;
use tempfile::TempDir;

const ENTRIES: u64 = 500;

fn subject(n: u64) -> String {
    format!("log.run.etl.r{}", n % 7)
}

async fn log() -> Arc<MemoryLog> {
    let log = MemoryLog::default();
    let draft = |n: u64| Draft {
        subject: subject(n),
        payload: format!("{n} {}", "x".repeat(usize::try_from(n % 90).unwrap())).into(),
    };
    log.append(Seq::ZERO, (1..=ENTRIES).map(draft).collect()).await.unwrap();
    Arc::new(log)
}

async fn rest(log: &dyn RunLog, after: u64) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    loop {
        let seen = all.last().map_or(Seq(after), |entry| entry.seq);
        let limit = ReadLimit { entries: 37, ..ReadLimit::default() };
        let more = log.read(seen, limit).await.unwrap();
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

/// Archives the entries up to `upto` in files of `each`.
async fn archived(dir: &Path, log: &MemoryLog, upto: u64, each: usize) -> (Archive, Chain) {
    let archive = Archive::new(dir);
    let mark = log.mark().await.unwrap().unwrap();
    let mut chain = Chain::START;
    let entries = rest(log, 0).await;
    for batch in entries[..usize::try_from(upto).unwrap()].chunks(each) {
        chain = archive.add(mark, chain, batch).unwrap();
    }
    assert_eq!(chain, chain_at(log, Seq(upto)).await.unwrap());
    (archive, chain)
}

#[tokio::test]
async fn a_trimmed_log_with_its_archive_reads_as_the_whole_did() {
    let (dir, log) = (TempDir::new().unwrap(), log().await);
    let before = rest(&*log, 0).await;
    let there = Position::look(&*log, Seq(33)).await.unwrap().unwrap();
    let (archive, chain) = archived(dir.path(), &log, 320, 64).await;
    log.trim(Seq(321), chain).await.unwrap();
    let whole = Whole::new(log.clone(), archive.clone());
    assert_eq!(whole.base().await.unwrap(), Base::START);
    assert_eq!(there.compare(&whole).await.unwrap(), Compared::Same);
    for after in [0, 1, 63, 64, 319, 320, 321, 499, 500] {
        let expected = &before[usize::try_from(after).unwrap()..];
        assert_eq!(rest(&whole, after).await, expected, "after {after}");
        let mut follow = whole.follow(Seq(after));
        let mut seen = Vec::new();
        while seen.len() < expected.len() {
            seen.extend(follow.next().await.unwrap().unwrap());
        }
        assert_eq!(seen, expected, "followed after {after}");
    }
    for until in [0, 100, 320, 400, 500] {
        let expected: Vec<_> = before
            .iter()
            .filter(|entry| entry.subject == subject(3) && entry.seq <= Seq(until))
            .cloned()
            .collect();
        assert_eq!(whole.read_subject(&subject(3), Seq(until)).await.unwrap(), expected);
    }
    let verified = archive.verify().unwrap().unwrap();
    assert_eq!((verified.first, verified.last, verified.files), (Seq(1), Seq(320), 5));
    assert_eq!(chain_at(&whole, Seq(500)).await.unwrap(), chain_at(&*log, Seq(500)).await.unwrap());
}

#[tokio::test]
async fn who_follows_slowly_reads_on_in_the_archive() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryLog::default());
    let drafts = |range: std::ops::Range<u64>| -> Vec<Draft> {
        range.map(|n| Draft { subject: subject(n), payload: format!("{n}").into() }).collect()
    };
    log.append(Seq::ZERO, drafts(0..100)).await.unwrap();
    let (archive, log) = (Archive::new(dir.path()), Arc::new(log));
    let mut follow = Whole::new(log.clone(), archive).follow(Seq::ZERO);
    let mut seen = follow.next().await.unwrap().unwrap();
    assert_eq!(seen.len(), 100, "it is on the log, and reads no further for now");
    log.append(Seq(100), drafts(100..500)).await.unwrap();
    let before = rest(&*log, 0).await;
    let (_, chain) = archived(dir.path(), &log, 320, 64).await;
    log.trim(Seq(321), chain).await.unwrap();
    while seen.len() < before.len() {
        seen.extend(follow.next().await.unwrap().unwrap());
    }
    assert_eq!(seen, before);
}

/// All entries that an archive of one file holds, read anew.
fn rest_of(archive: &Archive) -> Result<Vec<Entry>, PortError> {
    Archive::new(archive.dir()).read(Seq::ZERO, ReadLimit::default())
}

#[tokio::test]
async fn what_was_changed_is_noticed() {
    let (dir, log) = (TempDir::new().unwrap(), log().await);
    let before = rest(&*log, 0).await[..100].to_vec();
    let (archive, _) = archived(dir.path(), &log, 100, 100).await;
    let file = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(&file).unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x20;
        fs::write(&file, &changed).unwrap();
        // A bit that unpacks to the same entries has changed nothing: the chain has proved them.
        match archive.verify() {
            Err(_) => assert!(rest_of(&archive).is_err(), "byte {at} of {}", bytes.len()),
            Ok(_) => assert_eq!(rest_of(&archive).unwrap(), before, "byte {at}"),
        }
    }
    for at in (0..bytes.len()).step_by(11) {
        fs::write(&file, &bytes[..at]).unwrap();
        assert!(archive.verify().is_err(), "{at} bytes");
    }
    fs::write(&file, &bytes).unwrap();
    archive.verify().unwrap();
}

#[tokio::test]
async fn entries_that_do_not_go_on_are_refused() {
    let (dir, log) = (TempDir::new().unwrap(), log().await);
    let (archive, chain) = archived(dir.path(), &log, 100, 50).await;
    let entries = rest(&*log, 0).await;
    let mark = log.mark().await.unwrap().unwrap();
    let refused = |mark, chain, from: usize| {
        let added = archive.add(mark, chain, &entries[from..from + 10]);
        assert!(matches!(added, Err(ArchiveError::NoFit { .. })), "{added:?}");
    };
    refused(mark, chain, 101);
    refused(mark, chain, 90);
    refused(mark, Chain::START, 100);
    refused(LogMark(Chain::START), chain, 100);
    assert_eq!(archive.span().unwrap().unwrap().last, Seq(100));
    archive.add(mark, chain, &entries[100..110]).unwrap();
    archive.verify().unwrap();
}

#[tokio::test]
async fn a_missing_file_and_another_logs_archive_are_named() {
    let (dir, log) = (TempDir::new().unwrap(), log().await);
    let (archive, chain) = archived(dir.path(), &log, 300, 100).await;
    log.trim(Seq(301), chain).await.unwrap();
    let whole = Whole::new(log.clone(), archive.clone());
    let second = dir.path().join(format!("{:020}-{:020}.arc", 101, 200));
    let aside = dir.path().join("aside");
    fs::rename(&second, &aside).unwrap();
    let error = archive.span().unwrap_err().to_string();
    assert!(error.contains("from 101 on"), "{error}");
    assert!(whole.read(Seq(150), ReadLimit::default()).await.is_err());
    fs::rename(&aside, &second).unwrap();
    assert_eq!(rest(&whole, 150).await.len(), 350);

    let other = MemoryLog::default();
    let draft = |n: u64| Draft { subject: "log.other".into(), payload: n.to_string().into() };
    other.append(Seq::ZERO, (0..ENTRIES).map(draft).collect()).await.unwrap();
    other.trim(Seq(301), chain_at(&other, Seq(300)).await.unwrap()).await.unwrap();
    let mixed = Whole::new(Arc::new(other), archive);
    let error = mixed.read(Seq(5), ReadLimit::default()).await.unwrap_err();
    assert!(matches!(error, PortError::Damaged { what: "archive", .. }), "{error}");
}

/// Without its archive a trimmed log says so, and where it begins.
#[tokio::test]
async fn a_log_without_its_archive_says_what_is_not_there() {
    let (dir, log) = (TempDir::new().unwrap(), log().await);
    let chain = chain_at(&*log, Seq(300)).await.unwrap();
    log.trim(Seq(301), chain).await.unwrap();
    let whole = Whole::new(log, Archive::new(dir.path()));
    let error = whole.read(Seq(9), ReadLimit::default()).await.unwrap_err();
    assert!(matches!(error, PortError::Trimmed { asked: Seq(10), first: Seq(301) }), "{error}");
    assert!(whole.follow(Seq(9)).next().await.unwrap().is_err());
    assert_eq!(rest(&whole, 300).await.len(), 200);
}

/// What was proved, and the fault in words where there is one.
async fn proof(archive: &Archive, log: &dyn RunLog) -> (u64, Option<String>) {
    let proof = archive.prove_against(log).await.unwrap();
    let proved = proof.proved.map_or(0, |span| span.last.0);
    (proved, proof.fault.map(|fault| fault.to_string()))
}

#[tokio::test]
async fn the_first_fault_is_named_and_what_was_proved_before_it() {
    let (dir, log) = (TempDir::new().unwrap(), log().await);
    let (archive, chain) = archived(dir.path(), &log, 300, 100).await;
    assert_eq!(proof(&archive, &*log).await, (300, None), "nothing was trimmed yet");
    log.trim(Seq(201), chain_at(&*log, Seq(200)).await.unwrap()).await.unwrap();
    assert_eq!(proof(&archive, &*log).await, (300, None), "both have some");
    log.trim(Seq(301), chain).await.unwrap();
    assert_eq!(proof(&archive, &*log).await, (300, None));

    let file = |first: u64| dir.path().join(format!("{first:020}-{:020}.arc", first + 99));
    let whole = fs::read(file(101)).unwrap();
    let mut changed = whole.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    fs::write(file(101), changed).unwrap();
    let found = archive.prove_against(&*log).await.unwrap();
    assert_eq!(found.fault.unwrap().path(), file(101));
    assert_eq!(found.proved.unwrap().last, Seq(100));
    fs::write(file(101), whole).unwrap();

    let aside = dir.path().join("aside");
    for (first, proved, from) in [(1, 300, None), (101, 100, Some(101)), (201, 200, Some(201))] {
        fs::rename(file(first), &aside).unwrap();
        let (last, fault) = proof(&archive, &*log).await;
        assert_eq!(last, proved);
        let from = from.map(|from| format!("the entries from {from} on are in no file"));
        assert_eq!(fault.is_some(), from.is_some(), "{fault:?}");
        assert!(fault.unwrap_or_default().contains(&from.unwrap_or_default()));
        fs::rename(&aside, file(first)).unwrap();
    }
    let empty = TempDir::new().unwrap();
    let (last, fault) = proof(&Archive::new(empty.path()), &*log).await;
    assert!(last == 0 && fault.unwrap().contains("from 1 on"));
}

#[tokio::test]
async fn an_archive_that_is_not_the_logs_is_no_proof() {
    let (dir, log) = (TempDir::new().unwrap(), log().await);
    let (archive, _) = archived(dir.path(), &log, 300, 100).await;
    // The same up to 250, and trimmed there: what is archived of the rest is another course of things.
    let forked = MemoryLog::default();
    let draft = |entry: Entry| Draft {
        subject: entry.subject,
        payload: if entry.seq == Seq(250) { "other".into() } else { entry.payload },
    };
    let drafts = rest(&*log, 0).await.into_iter().map(draft).collect();
    forked.append(Seq::ZERO, drafts).await.unwrap();
    for below in [2, 101, 200, 251, 301, 400] {
        let chain = chain_at(&forked, Seq(below - 1)).await.unwrap();
        forked.trim(Seq(below), chain).await.unwrap();
        let (_, fault) = proof(&archive, &forked).await;
        let word = if below == 400 { "from 301 on" } else { "do not go together" };
        assert!(fault.as_ref().is_some_and(|fault| fault.contains(word)), "{below} {fault:?}");
    }
    let other = MemoryLog::default();
    assert!(proof(&archive, &other).await.1.unwrap().contains("has no entry"));
    let draft = Draft { subject: "log.other".into(), payload: "x".into() };
    other.append(Seq::ZERO, vec![draft]).await.unwrap();
    assert!(proof(&archive, &other).await.1.unwrap().contains("and this log is"));
    let shorter = MemoryLog::default();
    let drafts = rest(&*log, 0).await.into_iter().take(290);
    let drafts = drafts.map(|it| Draft { subject: it.subject, payload: it.payload });
    shorter.append(Seq::ZERO, drafts.collect()).await.unwrap();
    assert!(proof(&archive, &shorter).await.1.unwrap().contains("ends at 300, and the log at 290"));
    // A head that names another log than its first entry makes.
    let lies = TempDir::new().unwrap();
    let entries = rest(&*log, 0).await;
    let mark = LogMark(Chain([7; 32]));
    Archive::new(lies.path()).add(mark, Chain::START, &entries[..5]).unwrap();
    let fault = Archive::new(lies.path()).verify().unwrap_err().to_string();
    assert!(fault.contains("of another log than its first entry"), "{fault}");
}

#[tokio::test]
async fn what_a_crash_left_unfinished_goes() {
    let (dir, log) = (TempDir::new().unwrap(), log().await);
    let half = dir.path().join(format!("{:020}-{:020}.new", 1, 77));
    fs::write(&half, b"dagbokar, and then the lights went out").unwrap();
    let (archive, _) = archived(dir.path(), &log, 100, 50).await;
    assert!(!half.exists());
    assert_eq!(archive.verify().unwrap().unwrap().files, 2);
}

#[tokio::test]
async fn of_two_that_add_at_once_one_is_refused() {
    let log = log().await;
    let (entries, mark) = (rest(&*log, 0).await, log.mark().await.unwrap().unwrap());
    for round in 0..50 {
        let dir = TempDir::new().unwrap();
        let add = |count: usize| {
            let added = Archive::new(dir.path()).add(mark, Chain::START, &entries[..count]);
            assert!(matches!(added, Ok(_) | Err(ArchiveError::NoFit { .. })), "{added:?}");
            added.is_ok()
        };
        let added = std::thread::scope(|scope| {
            let threads = [50, 60].map(|count| scope.spawn(move || add(count)));
            threads.map(|thread| thread.join().unwrap())
        });
        assert_eq!(added.iter().filter(|added| **added).count(), 1, "round {round}");
        assert_eq!(Archive::new(dir.path()).verify().unwrap().unwrap().files, 1);
    }
}
