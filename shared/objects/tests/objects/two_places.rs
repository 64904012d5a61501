//! Near and far: what goes where, what moves when, and that nothing is lost while the store is away.
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use dagbok_objects::{TierSettings, Tiers};
use dagbok_runlog::{
    Blobs, Draft, Moved, PortError, Ports, Seq, conformance::seeded::Seeded, digest_of, memory,
};

use crate::servers::{Server, none};

const HOUR: Duration = Duration::from_hours(1);
const SETTINGS: TierSettings = TierSettings { direct_from: 100_000, move_after: Some(HOUR) };

fn bytes(seed: u64, length: usize) -> Bytes {
    Seeded::new(seed).bytes(length).into()
}

/// Ports whose log has a first entry, and so a name.
async fn begun() -> Ports {
    let ports = memory::ports();
    let draft = Draft { subject: "log.case".to_owned(), payload: bytes(1, 10) };
    ports.log.append(Seq::ZERO, vec![draft]).await.unwrap();
    ports
}

fn tiers(ports: &Ports, server: &Server) -> Tiers {
    let log = Some(Arc::clone(&ports.log));
    let far = server.bucket("big", Duration::from_millis(500));
    Tiers::new(Arc::clone(&ports.blobs), far, SETTINGS, log)
}

async fn is_near(ports: &Ports, digest: &str) -> bool {
    ports.blobs.has(digest).await.unwrap()
}

#[tokio::test]
async fn what_is_large_goes_far_at_once_and_what_is_small_once_it_is_old() {
    let (ports, server) = (begun().await, Server::start(none()).await);
    let blobs = tiers(&ports, &server);
    let (small, large) = (bytes(2, 99_999), bytes(3, 100_000));
    let of_small = blobs.put(small.clone()).await.unwrap();
    let of_large = blobs.put(large.clone()).await.unwrap();
    assert!(is_near(&ports, &of_small).await && !is_near(&ports, &of_large).await);
    assert!(server.file(&of_large).exists() && !server.file(&of_small).exists());

    let now = SystemTime::now();
    assert_eq!(blobs.settle(now).await.unwrap(), Moved::default(), "it is young");
    let moved = blobs.settle(now + HOUR + Duration::from_secs(1)).await.unwrap();
    assert_eq!(moved, Moved { blobs: 1, bytes: 99_999 });
    assert!(!is_near(&ports, &of_small).await && server.file(&of_small).exists());
    for (digest, want) in [(&of_small, small), (&of_large, large)] {
        assert_eq!(blobs.get(digest).await.unwrap(), Some(want));
    }
    assert_eq!(blobs.list(None, 9).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_store_that_is_away_loses_nothing_and_holds_nobody_up() {
    let (ports, mut server) = (begun().await, Server::start(none()).await);
    let blobs = tiers(&ports, &server);
    let old = blobs.put(bytes(4, 200_000)).await.unwrap();
    server.stop().await;
    let large = bytes(5, 200_000);
    let digest = blobs.put(large.clone()).await.unwrap();
    assert!(is_near(&ports, &digest).await, "it is kept here");
    assert_eq!(blobs.get(&digest).await.unwrap(), Some(large.clone()));
    let error = blobs.get(&old).await.unwrap_err();
    assert!(matches!(error, PortError::Unavailable { .. }), "{error}: it is not said to be gone");
    let late = SystemTime::now() + 2 * HOUR;
    blobs.settle(late).await.unwrap_err();
    assert!(is_near(&ports, &digest).await, "and stays until it is there");

    let server = server.again().await;
    assert_eq!(blobs.settle(late).await.unwrap(), Moved { blobs: 1, bytes: 200_000 });
    assert!(!is_near(&ports, &digest).await && server.file(&digest).exists());
    assert_eq!(blobs.get(&digest).await.unwrap(), Some(large));
    assert!(blobs.get(&old).await.unwrap().is_some());
}

#[tokio::test]
async fn a_copy_that_was_put_since_keeps_the_blob() {
    let (ports, server) = (begun().await, Server::start(none()).await);
    let blobs = tiers(&ports, &server);
    let small = bytes(6, 50);
    let digest = blobs.put(small.clone()).await.unwrap();
    let late = SystemTime::now() + 2 * HOUR;
    blobs.settle(late).await.unwrap();
    // As of an hour ago all is young; as of later only what lies far is old.
    let hour_ago = SystemTime::now() - HOUR;
    assert!(!blobs.delete(&digest, hour_ago).await.unwrap());
    assert!(blobs.has(&digest).await.unwrap());
    assert!(blobs.delete(&digest, late).await.unwrap());
    assert_eq!(blobs.get(&digest).await.unwrap(), None);
    assert!(!server.file(&digest).exists());
}

#[tokio::test]
async fn all_that_is_old_moves() {
    let (ports, server) = (begun().await, Server::start(none()).await);
    let blobs = tiers(&ports, &server);
    for seed in 10..15 {
        blobs.put(bytes(seed, 1_000)).await.unwrap();
    }
    let moved = blobs.settle(SystemTime::now() + 2 * HOUR).await.unwrap();
    assert_eq!(moved, Moved { blobs: 5, bytes: 5_000 });
    assert_eq!(ports.blobs.list(None, 9).await.unwrap(), []);
}

/// Two logs in one place would sweep away one another's.
#[tokio::test]
async fn a_place_that_is_another_logs_is_left_alone() {
    let server = Server::start(none()).await;
    let (ours, theirs) = (begun().await, memory::ports());
    let draft = Draft { subject: "log.case".to_owned(), payload: bytes(99, 10) };
    theirs.log.append(Seq::ZERO, vec![draft]).await.unwrap();
    let (mine, other) = (tiers(&ours, &server), tiers(&theirs, &server));
    assert!(mine.claimed().await.unwrap());
    let digest = mine.put(bytes(7, 200_000)).await.unwrap();
    let error = other.claimed().await.unwrap_err();
    assert!(matches!(error, PortError::Refused { .. }), "{error}");
    let stays = other.put(bytes(8, 200_000)).await.unwrap();
    assert!(is_near(&theirs, &stays).await);
    other.list(None, 9).await.unwrap_err();
    other.delete(&digest, SystemTime::now() + HOUR).await.unwrap_err();
    other.settle(SystemTime::now() + 2 * HOUR).await.unwrap_err();
    assert!(mine.get(&digest).await.unwrap().is_some());
}

#[tokio::test]
async fn a_log_without_an_entry_has_no_place_yet() {
    let (ports, server) = (memory::ports(), Server::start(none()).await);
    let blobs = tiers(&ports, &server);
    assert!(!blobs.claimed().await.unwrap());
    let digest = blobs.put(bytes(9, 200_000)).await.unwrap();
    assert!(is_near(&ports, &digest).await);
    assert_eq!(digest, digest_of(&bytes(9, 200_000)));
}
