//! Near and far: what goes where, what moves when, and that nothing is lost while the store is away.
use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use dagbok_objects::{Objects, Part, TierSettings, Tiers, Title, owner::InState};
use dagbok_runlog::{
    BlobInfo, Blobs, Draft, Moved, PortError, PortResult, Ports, Seq,
    conformance::seeded::Seeded,
    digest_of,
    memory::{self, MemoryBlobs},
};
use hyper::{Method, Request, body::Incoming};

use crate::servers::{Fault, Server, fresh, none};

const HOUR: Duration = Duration::from_hours(1);
const SETTINGS: TierSettings = TierSettings {
    direct_from: 100_000,
    move_after: Some(HOUR),
    timeout: Duration::from_millis(1_500),
};

fn far(server: &Server) -> Objects {
    server.bucket("big", Duration::from_millis(500))
}

fn settled() -> SystemTime {
    SystemTime::now() + 2 * HOUR
}

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
    let claims = Arc::new(InState(Arc::clone(&ports.state), "blobs/place"));
    let log = Some(Arc::clone(&ports.log));
    let title = Title::new(far(server), claims, log, Part::Claims(fresh));
    Tiers::new(Arc::clone(&ports.blobs), far(server), SETTINGS, Arc::new(title))
}

fn nothing() -> HashSet<String> {
    HashSet::new()
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
    assert_eq!(blobs.settle(now, &nothing()).await.unwrap(), Moved::default(), "it is young");
    let moved = blobs.settle(now + HOUR + Duration::from_secs(1), &nothing()).await.unwrap();
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
    blobs.settle(late, &nothing()).await.unwrap_err();
    assert!(is_near(&ports, &digest).await, "and stays until it is there");

    let server = server.again().await;
    assert_eq!(blobs.settle(late, &nothing()).await.unwrap(), Moved { blobs: 1, bytes: 200_000 });
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
    blobs.settle(late, &nothing()).await.unwrap();
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
    let moved = blobs.settle(SystemTime::now() + 2 * HOUR, &nothing()).await.unwrap();
    assert_eq!(moved, Moved { blobs: 5, bytes: 5_000 });
    assert_eq!(ports.blobs.list(None, 9).await.unwrap(), []);
}

/// A broken object keeps no other from moving, however low its digest is; and is told of.
#[tokio::test]
async fn one_that_does_not_move_keeps_no_other_from_it() {
    let ports = begun().await;
    let bad = digest_of(&bytes(21, 1_000));
    let refused = bad.clone();
    let server = Server::start(Arc::new(move |request: &Request<Incoming>| {
        let is_bad = request.method() == Method::PUT && request.uri().path().contains(&refused);
        is_bad.then_some(Fault::Says(403, "AccessDenied"))
    }))
    .await;
    let blobs = tiers(&ports, &server);
    for seed in 20..30 {
        blobs.put(bytes(seed, 1_000)).await.unwrap();
    }
    let said = blobs.settle(settled(), &nothing()).await.unwrap_err().to_string();
    assert!(said.contains("refuses it"), "{said}");
    let near = ports.blobs.list(None, 99).await.unwrap();
    assert_eq!(near.into_iter().map(|it| it.digest).collect::<Vec<_>>(), [bad]);
}

#[tokio::test]
async fn what_must_stay_near_stays_and_comes_back() {
    let (ports, server) = (begun().await, Server::start(none()).await);
    let blobs = tiers(&ports, &server);
    let (large, small) = (bytes(31, 200_000), bytes(32, 1_000));
    let stay = HashSet::from([
        blobs.put(large.clone()).await.unwrap(),
        blobs.put(small.clone()).await.unwrap(),
    ]);
    assert!(!is_near(&ports, &digest_of(&large)).await);
    let other = blobs.put(bytes(33, 1_000)).await.unwrap();
    let moved = blobs.settle(settled(), &stay).await.unwrap();
    assert_eq!(moved, Moved { blobs: 1, bytes: 1_000 });
    assert!(!is_near(&ports, &other).await);
    for kept in [large, small] {
        assert_eq!(ports.blobs.get(&digest_of(&kept)).await.unwrap(), Some(kept));
    }
}

/// A store that accepts and never ends holds a put up no longer than is said, parts or not.
#[tokio::test]
async fn a_put_waits_no_longer_than_is_said() {
    let (ports, stalls) = (begun().await, Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&stalls);
    let server = Server::start(Arc::new(move |request: &Request<Incoming>| {
        let is_part = request.uri().query().is_some_and(|it| it.contains("partNumber"));
        // Each is answered just before the client gives it up, and has to be sent again.
        (is_part && seen.fetch_add(1, Ordering::Relaxed) < 99).then_some(Fault::Late)
    }))
    .await;
    let blobs = tiers(&ports, &server);
    let large = bytes(41, 40 << 20);
    let begun = Instant::now();
    let digest = blobs.put(large).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert!(is_near(&ports, &digest).await);
    assert!(stalls.load(Ordering::Relaxed) > 0);
}

/// Google lets one object be written once a second: that is no word about the others.
#[tokio::test]
async fn one_busy_object_spares_no_other() {
    let ports = begun().await;
    let busy = digest_of(&bytes(51, 200_000));
    let server = Server::start(Arc::new(move |request: &Request<Incoming>| {
        let is_busy = request.method() == Method::PUT && request.uri().path().contains(&busy);
        is_busy.then_some(Fault::Says(429, "SlowDown"))
    }))
    .await;
    let blobs = tiers(&ports, &server);
    let of_busy = blobs.put(bytes(51, 200_000)).await.unwrap();
    let other = blobs.put(bytes(52, 200_000)).await.unwrap();
    assert!(is_near(&ports, &of_busy).await);
    assert!(!is_near(&ports, &other).await);
}

/// Blobs of which none can be read.
#[derive(Debug)]
struct Torn(MemoryBlobs);

#[async_trait]
impl Blobs for Torn {
    async fn put(&self, bytes: Bytes) -> PortResult<String> {
        self.0.put(bytes).await
    }
    async fn get(&self, digest: &str) -> PortResult<Option<Bytes>> {
        let (place, why) = (digest.to_owned(), "torn".to_owned());
        Err(PortError::Damaged { what: "blobs", place, why })
    }
    async fn has(&self, digest: &str) -> PortResult<bool> {
        self.0.has(digest).await
    }
    async fn list(&self, after: Option<&str>, most: usize) -> PortResult<Vec<BlobInfo>> {
        self.0.list(after, most).await
    }
    async fn delete(&self, digest: &str, put_since: SystemTime) -> PortResult<bool> {
        self.0.delete(digest, put_since).await
    }
}

/// Whoever waits for a store may find a whole copy there: nothing is given up before that is known.
#[tokio::test]
async fn a_damaged_blob_is_given_up_only_once_the_store_has_answered() {
    let mut ports = begun().await;
    let mut server = Server::start(none()).await;
    let (whole, lost) = (bytes(61, 1_000), bytes(62, 1_000));
    let digest = far(&server).put(whole.clone()).await.unwrap();
    ports.blobs = Arc::new(Torn(MemoryBlobs::default()));
    let blobs = tiers(&ports, &server);
    assert_eq!(blobs.get(&digest).await.unwrap(), Some(whole));
    let error = blobs.get(&digest_of(&lost)).await.unwrap_err();
    assert!(matches!(error, PortError::Damaged { .. }), "{error}");
    server.stop().await;
    let error = blobs.get(&digest).await.unwrap_err();
    assert!(matches!(error, PortError::Unavailable { .. }), "{error}");
}
