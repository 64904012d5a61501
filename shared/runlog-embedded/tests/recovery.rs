//! What opening makes of files that a crash, a disk or a person has changed.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
use std::{
    fs,
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use dagbok_runlog::{
    AppendError, Draft, PortError, ReadLimit, RunLog, Seq,
    conformance::{seeded::Seeded, soon},
};
use dagbok_runlog_embedded::{Durability, OpenError, OpenReport, Options, open, open_read_only};
use futures::StreamExt as _;
use tempfile::TempDir;

/// Bytes of a segment's header.
const HEADER: u64 = 24;

fn options(segment_bytes: u64) -> Options {
    Options { durability: Durability::None, segment_bytes }
}

fn payload(n: u64) -> Bytes {
    let mut chance = Seeded::new(n);
    let length = chance.size(120);
    chance.bytes(length).into()
}

fn draft(n: u64) -> Draft {
    Draft { subject: format!("log.entry.{n}"), payload: payload(n) }
}

/// A log of `entries` in segments of about `segment_bytes`, closed.
async fn log_of(entries: u64, segment_bytes: u64) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    let (ports, _) = open(home.path(), options(segment_bytes)).unwrap();
    for n in 0..entries {
        ports.log.append(Seq(n), vec![draft(n + 1)]).await.unwrap();
    }
    home
}

async fn assert_has(log: &dyn RunLog, last: u64) {
    assert_eq!(log.last().await.unwrap(), Seq(last));
    let all = ReadLimit { entries: usize::MAX, bytes: usize::MAX };
    let entries = log.read(Seq::ZERO, all).await.unwrap();
    assert_eq!(entries.len() as u64, last);
    for (entry, n) in entries.iter().zip(1..) {
        assert_eq!((entry.seq, &entry.payload), (Seq(n), &payload(n)));
    }
}

/// Opens a log that must have `last` entries, and appends one more.
async fn opens_with(home: &Path, last: u64) -> OpenReport {
    let (ports, report) = open(home, options(1 << 20)).unwrap();
    assert_eq!(report.last, Seq(last));
    assert_has(&*ports.log, last).await;
    ports.log.append(Seq(last), vec![draft(last + 1)]).await.unwrap();
    assert_has(&*ports.log, last + 1).await;
    report
}

fn files(home: &Path, extension: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(home.join("log")).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|f| f.extension().is_some_and(|it| it == extension)).collect();
    files.sort();
    files
}

/// The first byte of every entry of a lone segment, and where the last ends.
fn boundaries(entries: u64) -> Vec<u64> {
    let mut ends = vec![HEADER];
    for n in 1..=entries {
        let size = 18 + draft(n).subject.len() + payload(n).len();
        ends.push(ends.last().unwrap() + size as u64);
    }
    ends
}

/// A copy of a home to spoil.
fn copy(home: &Path) -> TempDir {
    let copied = tempfile::tempdir().unwrap();
    fs::create_dir(copied.path().join("log")).unwrap();
    for file in fs::read_dir(home.join("log")).unwrap() {
        let path = file.unwrap().path();
        fs::copy(&path, copied.path().join("log").join(path.file_name().unwrap())).unwrap();
    }
    copied
}

fn damage(home: &Path) -> (PathBuf, u64, String) {
    let refused = open(home, options(1 << 20)).unwrap_err();
    let said = refused.to_string();
    match refused {
        OpenError::Damaged { file, offset, .. } => (file, offset, said),
        other => panic!("damage was to be said, not {other}"),
    }
}

#[tokio::test]
async fn a_tail_cut_anywhere_loses_only_the_entry_that_was_cut() {
    let home = log_of(3, 1 << 20).await;
    let ends = boundaries(3);
    let segment = files(home.path(), "seg").remove(0);
    let whole = fs::read(&segment).unwrap();
    assert_eq!(*ends.last().unwrap(), whole.len() as u64);
    for length in 0..whole.len() {
        let home = copy(home.path());
        let segment = files(home.path(), "seg").remove(0);
        fs::write(&segment, &whole[..length]).unwrap();
        let length = length as u64;
        let survive = ends.iter().filter(|end| **end <= length).count().saturating_sub(1) as u64;
        let report = opens_with(home.path(), survive).await;
        let end = ends[usize::try_from(survive).unwrap()];
        if length <= HEADER || length == end {
            assert_eq!(report.torn, None, "cut at {length}");
            continue;
        }
        let torn = report.torn.unwrap();
        assert_eq!((&torn.file, torn.offset, torn.bytes), (&segment, end, length - end));
        let kept = fs::read(torn.kept.as_ref().unwrap()).unwrap();
        assert_eq!(kept, whole[usize::try_from(end).unwrap()..][..kept.len()]);
        assert_eq!(kept.len() as u64, torn.bytes);
        assert!(torn.to_string().contains("was cut at byte"), "{torn}");
        assert_eq!(open(home.path(), options(1 << 20)).unwrap().1.torn, None, "it is said once");
    }
}

#[tokio::test]
async fn a_tail_garbled_in_any_way_is_cut_at_the_last_whole_entry() {
    let home = log_of(4, 1 << 20).await;
    let end = *boundaries(4).last().unwrap();
    let mut chance = Seeded::new(3);
    let mut tails: Vec<Vec<u8>> = vec![
        vec![0; 1],
        vec![0; 18],
        vec![0; 4_096],
        vec![0xff; 18],
        vec![0xff; 5_000],
        // A head that announces a megabyte, and one that announces more than there can be.
        [vec![1, 2, 3, 4], 1_000_000_u32.to_le_bytes().to_vec(), vec![0; 40]].concat(),
        [vec![1, 2, 3, 4], u32::MAX.to_le_bytes().to_vec(), vec![0; 40]].concat(),
    ];
    tails.extend((0..60).map(|n| chance.bytes(1 + n * 37)));
    // Whole entries in a place that is not theirs.
    let whole = fs::read(&files(home.path(), "seg")[0]).unwrap();
    tails.push(whole[usize::try_from(HEADER).unwrap()..].to_vec());
    tails.push(whole.clone());
    for tail in tails {
        let home = copy(home.path());
        let segment = files(home.path(), "seg").remove(0);
        fs::OpenOptions::new().append(true).open(&segment).unwrap().write_all(&tail).unwrap();
        let torn = opens_with(home.path(), 4).await.torn.unwrap();
        assert_eq!((torn.offset, torn.bytes), (end, tail.len() as u64));
        assert_eq!(fs::read(torn.kept.unwrap()).unwrap(), tail);
    }
}

#[tokio::test]
async fn any_changed_byte_before_the_last_entry_is_damage_and_nothing_is_cut() {
    let home = log_of(3, 1 << 20).await;
    let ends = boundaries(3);
    let whole = fs::read(&files(home.path(), "seg")[0]).unwrap();
    for at in 0..whole.len() as u64 {
        let home = copy(home.path());
        let segment = files(home.path(), "seg").remove(0);
        let mut spoilt = whole.clone();
        spoilt[usize::try_from(at).unwrap()] ^= 0x10;
        fs::write(&segment, &spoilt).unwrap();
        if at >= ends[2] {
            assert_eq!(opens_with(home.path(), 2).await.torn.unwrap().offset, ends[2]);
            continue;
        }
        if (8..12).contains(&at) {
            // The version: a changed one may look newer.
            assert!(open(home.path(), options(1)).is_err());
            continue;
        }
        let (file, offset, said) = damage(home.path());
        let begins = ends.iter().rfind(|end| **end <= at).copied().unwrap_or(0);
        assert_eq!((&file, offset), (&segment, begins), "byte {at}: {said}");
        assert!(said.contains("backup"), "{said}");
        assert_eq!(fs::read(&segment).unwrap(), spoilt, "nothing may be changed");
        assert!(open_read_only(home.path()).is_err(), "nor is it read as if all were well");
    }
}

#[tokio::test]
async fn the_advice_on_damage_works() {
    let home = log_of(5, 1 << 20).await;
    let segment = files(home.path(), "seg").remove(0);
    let third = boundaries(5)[2];
    let file = fs::OpenOptions::new().write(true).open(&segment).unwrap();
    file.write_all_at(&[0; 30], third).unwrap();
    let (_, offset, said) = damage(home.path());
    let advice = format!("truncate -s {offset} {}", segment.display());
    assert!(said.contains("entry 3 is due there") && said.contains(&advice), "{said}");
    file.set_len(offset).unwrap();
    opens_with(home.path(), 2).await;
}

#[tokio::test]
async fn sealed_segments_are_not_read_at_open_but_checked_when_they_are_read() {
    let home = log_of(60, 1_000).await;
    let segments = files(home.path(), "seg");
    assert!(segments.len() > 4);
    assert_eq!(files(home.path(), "idx").len(), segments.len() - 1, "all but the last are sealed");
    let file = fs::OpenOptions::new().write(true).open(&segments[1]).unwrap();
    file.write_all_at(&[0xaa; 4], HEADER + 20).unwrap();
    let (ports, _) = open(home.path(), options(1_000)).unwrap();
    let first: u64 = segments[1].file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let upto = ReadLimit { entries: usize::try_from(first).unwrap() - 1, bytes: 1 << 20 };
    assert_eq!(ports.log.read(Seq::ZERO, upto).await.unwrap().len(), upto.entries);
    let mut follow = ports.log.follow(Seq(first - 1));
    for outcome in [
        ports.log.read(Seq(first - 1), ReadLimit::default()).await,
        soon("a follower", follow.next()).await.unwrap(),
    ] {
        match outcome.unwrap_err() {
            PortError::Damaged { what: "log", place, .. } => {
                assert_eq!(place, format!("{} byte {HEADER}", segments[1].display()));
            }
            other => panic!("damage was to be said, not {other}"),
        }
    }
    let after: u64 = segments[2].file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let rest = ports.log.read(Seq(after - 1), ReadLimit::default()).await.unwrap();
    assert_eq!(rest.len() as u64, 61 - after, "what is whole can still be read");
}

#[tokio::test]
async fn lost_and_damaged_indexes_are_made_anew() {
    let home = log_of(60, 1_000).await;
    let indexes = files(home.path(), "idx");
    let wanted: Vec<_> = indexes.iter().map(|path| fs::read(path).unwrap()).collect();
    fs::remove_file(&indexes[0]).unwrap();
    fs::write(&indexes[1], b"").unwrap();
    fs::write(&indexes[2], &wanted[1]).unwrap();
    let (_, report) = open_read_only(home.path()).unwrap();
    assert_eq!(report.rebuilt, indexes[..3]);
    assert!(!indexes[0].exists(), "reading changes nothing");
    let report = opens_with(home.path(), 60).await;
    assert_eq!(report.rebuilt, indexes[..3]);
    for (path, wanted) in indexes.iter().zip(wanted) {
        assert_eq!(fs::read(path).unwrap(), wanted);
    }
    assert_eq!(open(home.path(), options(1_000)).unwrap().1.rebuilt, Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_missing_or_shortened_segment_is_damage() {
    let home = log_of(60, 1_000).await;
    let count = files(home.path(), "seg").len();
    for n in 0..count - 1 {
        let home = copy(home.path());
        let segments = files(home.path(), "seg");
        fs::remove_file(&segments[n]).unwrap();
        let (file, _, said) = damage(home.path());
        assert_eq!(file, segments[n + 1], "{said}");
        assert!(said.contains("are missing"), "{said}");
    }
    for cut in [0, 10, HEADER, HEADER + 1, 500] {
        let home = copy(home.path());
        let segment = &files(home.path(), "seg")[1];
        fs::OpenOptions::new().write(true).open(segment).unwrap().set_len(cut).unwrap();
        let (file, _, said) = damage(home.path());
        assert_eq!(&file, segment, "{said}");
    }
}

#[tokio::test]
async fn a_segment_that_a_crash_kept_from_being_begun_is_begun_again() {
    for begun in [&b""[..], b"dagbok", &[0; 24]] {
        let home = log_of(60, 1_000).await;
        let next = home.path().join("log").join(format!("{:020}.seg", 61));
        fs::write(&next, begun).unwrap();
        let report = opens_with(home.path(), 60).await;
        assert_eq!((report.torn, report.unbegun), (None, Some(next)));
        assert_eq!(open(home.path(), options(1_000)).unwrap().1.last, Seq(61));
    }
}

#[tokio::test]
async fn what_a_newer_version_wrote_is_left_to_it() {
    let home = log_of(3, 1 << 20).await;
    let segment = files(home.path(), "seg").remove(0);
    let file = fs::OpenOptions::new().write(true).open(&segment).unwrap();
    file.write_all_at(&9_u32.to_le_bytes(), 8).unwrap();
    let refused = open(home.path(), options(1 << 20)).unwrap_err();
    assert!(matches!(refused, OpenError::Newer { found: 9, known: 1, .. }), "{refused}");
    assert!(refused.to_string().contains("newer Dagbok"), "{refused}");
}

#[tokio::test]
async fn one_process_writes_and_others_may_read() {
    let home = log_of(3, 200).await;
    let (ports, _) = open(home.path(), options(200)).unwrap();
    let refused = open(home.path(), options(200)).unwrap_err();
    let (pid, said) = (std::process::id(), refused.to_string());
    assert!(matches!(refused, OpenError::Locked { holder: Some(holder), .. } if holder == pid));
    assert!(said.contains(&format!("(pid {pid})")), "{said}");

    let (reading, report) = open_read_only(home.path()).unwrap();
    assert_eq!(report.last, Seq(3));
    assert_has(&*reading.log, 3).await;
    let mut follow = reading.log.follow(Seq(2));
    assert_eq!(soon("a follower", follow.next()).await.unwrap().unwrap()[0].seq, Seq(3));
    // Over several segments, the reader keeps up with the writer.
    for n in 3..20 {
        ports.log.append(Seq(n), vec![draft(n + 1)]).await.unwrap();
        assert_has(&*reading.log, n + 1).await;
    }
    let followed = tokio::time::timeout(Duration::from_secs(20), async {
        let mut seen = 3;
        while seen < 20 {
            seen = soon("a follower", follow.next()).await.unwrap().unwrap().last().unwrap().seq.0;
        }
    });
    followed.await.unwrap();
    let refused = reading.log.append(Seq(20), vec![draft(21)]).await;
    assert!(matches!(refused, Err(AppendError::Port(PortError::Refused { .. }))), "{refused:?}");
    let digest = ports.blobs.put(Bytes::from_static(b"blob")).await.unwrap();
    assert_eq!(reading.blobs.get(&digest).await.unwrap().unwrap(), "blob");
    assert!(matches!(reading.blobs.put(Bytes::new()).await, Err(PortError::Refused { .. })));

    drop(ports);
    drop(open(home.path(), options(200)).unwrap());
    let nothing = tempfile::tempdir().unwrap();
    assert!(matches!(open_read_only(nothing.path()), Err(OpenError::Missing { .. })));
    assert_eq!(fs::read_dir(nothing.path()).unwrap().count(), 0, "looking makes nothing");
}

#[tokio::test]
async fn a_reader_leaves_a_torn_tail_to_the_writer() {
    let home = log_of(4, 1 << 20).await;
    let segment = files(home.path(), "seg").remove(0);
    fs::OpenOptions::new().append(true).open(&segment).unwrap().write_all(b"half").unwrap();
    let before = fs::read(&segment).unwrap();
    let (reading, report) = open_read_only(home.path()).unwrap();
    assert_has(&*reading.log, 4).await;
    let torn = report.torn.unwrap();
    assert_eq!((torn.bytes, torn.cut, torn.kept), (4, false, None));
    assert_eq!(fs::read(&segment).unwrap(), before);
}

#[tokio::test]
async fn a_damaged_blob_is_said_and_mended_by_putting_it_again() {
    let home = tempfile::tempdir().unwrap();
    let (ports, _) = open(home.path(), Options::default()).unwrap();
    let digest = ports.blobs.put(Bytes::from_static(b"whole")).await.unwrap();
    let path = home.path().join("blobs").join(&digest[..2]).join(&digest[2..]);
    for spoilt in [&b"whol"[..], b"whale", b""] {
        fs::write(&path, spoilt).unwrap();
        match ports.blobs.get(&digest).await.unwrap_err() {
            PortError::Damaged { what: "blobs", place, .. } => {
                assert_eq!(place, path.display().to_string());
            }
            other => panic!("damage was to be said, not {other}"),
        }
        assert_eq!(ports.blobs.put(Bytes::from_static(b"whole")).await.unwrap(), digest);
        assert_eq!(ports.blobs.get(&digest).await.unwrap().unwrap(), "whole");
    }
    let unfinished = home.path().join("blobs/new/7");
    fs::write(&unfinished, b"half").unwrap();
    drop(ports);
    drop(open(home.path(), Options::default()).unwrap());
    assert!(!unfinished.exists(), "what a crash left takes no room for ever");
}
