//! A home that is deleted or replaced under a running writer: nothing is acknowledged into files that
//! have no name any more.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
use std::{fs, path::Path};

use bytes::Bytes;
use dagbok_runlog::{AppendError, Draft, PortError, Ports, RunLog, Seq};
use dagbok_runlog_embedded::{Durability, Options, open};

fn open_in(home: &Path, segment_bytes: u64) -> Ports {
    open(home, Options { durability: Durability::Fsync, segment_bytes }).unwrap().0
}

async fn add(log: &dyn RunLog, after: u64) -> Result<Seq, AppendError> {
    let draft = Draft { subject: "log.case".to_owned(), payload: Bytes::from_static(b"entry") };
    log.append(Seq(after), vec![draft]).await
}

/// The log has stopped for good, and says which file is gone.
async fn stopped(log: &dyn RunLog, file: &str) {
    for _ in 0..2 {
        match add(log, 1).await {
            Err(AppendError::Port(PortError::Damaged { place, why, .. })) => {
                assert!(place.ends_with(file), "{place}");
                assert!(
                    why.contains("deleted or replaced") && why.contains("start again"),
                    "{why}"
                );
            }
            other => panic!("the log was to stop, not {other:?}"),
        }
        assert_eq!(log.last().await.unwrap(), Seq(1), "what was not acknowledged is not shown");
    }
}

const SEGMENT: &str = "00000000000000000001.seg";

#[tokio::test]
async fn a_deleted_home_stops_the_log() {
    // Of the second size each append begins a segment.
    for segment_bytes in [1 << 20, 1] {
        let home = tempfile::tempdir().unwrap();
        let ports = open_in(home.path(), segment_bytes);
        add(&*ports.log, 0).await.unwrap();
        fs::remove_dir_all(home.path()).unwrap();
        stopped(&*ports.log, SEGMENT).await;
    }
}

#[tokio::test]
async fn a_home_with_another_in_its_place_stops_the_log() {
    let above = tempfile::tempdir().unwrap();
    let home = above.path().join("home");
    let ports = open_in(&home, 1 << 20);
    add(&*ports.log, 0).await.unwrap();
    fs::rename(&home, above.path().join("old")).unwrap();
    let new = open_in(&home, 1 << 20);
    add(&*new.log, 0).await.unwrap();
    stopped(&*ports.log, SEGMENT).await;
    assert_eq!(add(&*new.log, 1).await.unwrap(), Seq(2), "the new one is not disturbed");
}

#[tokio::test]
async fn a_lock_that_is_gone_stops_the_log() {
    let home = tempfile::tempdir().unwrap();
    let ports = open_in(home.path(), 1 << 20);
    add(&*ports.log, 0).await.unwrap();
    // Whoever takes the new one would write beside us.
    fs::remove_file(home.path().join("lock")).unwrap();
    stopped(&*ports.log, "lock").await;
}

/// The one way to go on is the old one: what was acknowledged is all there.
#[tokio::test]
async fn a_home_put_back_goes_on_once_it_is_opened_again() {
    let above = tempfile::tempdir().unwrap();
    let (home, away) = (above.path().join("home"), above.path().join("away"));
    let ports = open_in(&home, 1 << 20);
    add(&*ports.log, 0).await.unwrap();
    fs::rename(&home, &away).unwrap();
    stopped(&*ports.log, SEGMENT).await;
    drop(ports);
    fs::rename(&away, &home).unwrap();
    let ports = open_in(&home, 1 << 20);
    let last = ports.log.last().await.unwrap();
    assert_eq!(add(&*ports.log, last.0).await.unwrap(), last.plus(1));
}
