//! What goes wrong between here and the store: said so that a person knows what to do, and nothing is lost by it.
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use dagbok_runlog::{BlobInfo, Blobs as _, PortError, conformance::seeded::Seeded, digest_of};
use hyper::{Method, Request, body::Incoming};

use crate::servers::{Fault, Faults, Server, moto, none, objects, trickling};

/// Longer than one part.
fn large() -> Bytes {
    Seeded::new(7).bytes(20 << 20).into()
}

fn is_part(request: &Request<Incoming>) -> bool {
    request.method() == Method::PUT
        && request.uri().query().is_some_and(|query| query.contains("partNumber"))
}

/// The requests that `which` says fail in the places `from` to `to` of their row, from 0 on.
pub(crate) fn nth(
    which: fn(&Request<Incoming>) -> bool,
    (from, to): (usize, usize),
    fault: Fault,
) -> (Faults, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    let faults = move |request: &Request<Incoming>| {
        let at = which(request).then(|| counted.fetch_add(1, Ordering::Relaxed))?;
        (from..to).contains(&at).then_some(fault)
    };
    (Arc::new(faults), seen)
}

fn unavailable(error: PortError) -> String {
    match error {
        PortError::Unavailable { .. } => error.to_string(),
        other => panic!("{other:?} is nothing that waiting could mend"),
    }
}

#[tokio::test]
async fn a_store_that_is_busy_for_a_moment_is_asked_again() {
    for fault in [Fault::Says(503, "SlowDown"), Fault::Says(500, "InternalError"), Fault::Breaks] {
        let (faults, seen) = nth(is_part, (1, 3), fault);
        let server = Server::start(faults).await;
        let (blobs, bytes) = (server.objects(), large());
        let digest = blobs.put(bytes.clone()).await.unwrap();
        assert_eq!(blobs.get(&digest).await.unwrap(), Some(bytes));
        assert_eq!(seen.load(Ordering::Relaxed), 5, "three parts, and two of them again");
    }
}

#[tokio::test]
async fn credentials_that_expire_in_mid_upload_are_named_and_leave_nothing_half() {
    for (fault, word) in [
        (Fault::Says(403, "ExpiredToken"), "have expired: renew them (ExpiredToken)"),
        (Fault::Says(400, "ExpiredToken"), "have expired: renew them (ExpiredToken)"),
        (Fault::Says(403, "AccessDenied"), "refuses it: see that the credentials are right"),
        (Fault::Says(507, "XMinioStorageFull"), "is full: make room"),
        (Fault::Says(503, "SlowDown"), "asks for fewer requests"),
    ] {
        let (faults, seen) = nth(is_part, (1, 9), fault);
        let server = Server::start(faults).await;
        let (blobs, bytes) = (server.objects(), large());
        let said = unavailable(blobs.put(bytes.clone()).await.unwrap_err());
        assert!(said.contains(word) && said.contains("s3://big/some/where/default"), "{said}");
        assert!(!said.contains("wJalr"), "a secret is in {said}");
        assert_eq!(blobs.get(&digest_of(&bytes)).await.unwrap(), None, "{word}");
        assert_eq!(blobs.list(None, 9).await.unwrap(), []);
        // Renewed: as though nothing had been.
        seen.store(100, Ordering::Relaxed);
        let digest = blobs.put(bytes.clone()).await.unwrap();
        assert_eq!(blobs.get(&digest).await.unwrap(), Some(bytes));
    }
}

#[tokio::test]
async fn a_store_that_never_answers_is_given_up_in_time() {
    let (faults, _) = nth(|_| true, (0, 99), Fault::Hangs);
    let server = Server::start(faults).await;
    let blobs = server.bucket("big", Duration::from_millis(200));
    let begun = Instant::now();
    let said = unavailable(blobs.put("some".into()).await.unwrap_err());
    assert!(said.contains("did not answer in time"), "{said}");
    let said = unavailable(blobs.get(&digest_of(b"some")).await.unwrap_err());
    assert!(said.contains("did not answer in time"), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// What is no answer of the store's about the object must not be taken for one: a proxy's page, an empty answer.
#[tokio::test]
async fn a_strangers_404_is_no_missing_blob() {
    let (faults, _) = nth(|_| true, (0, 99), Fault::Says(404, "NotHere"));
    let server = Server::start(faults).await;
    let blobs = server.objects();
    for said in [
        blobs.get(&digest_of(b"some")).await.unwrap_err(),
        blobs.has(&digest_of(b"some")).await.unwrap_err(),
        blobs.delete(&digest_of(b"some"), SystemTime::now()).await.unwrap_err(),
        blobs.owner().await.unwrap_err(),
    ] {
        let said = unavailable(said);
        assert!(said.contains("status 404 (NotHere)"), "{said}");
    }
}

/// What nobody foresaw is told by the store's answer alone: an address may hold anything.
#[tokio::test]
async fn a_fault_is_told_without_the_address() {
    for (status, code) in [(418, "Teapot"), (409, "Conflict")] {
        let (faults, _) = nth(|_| true, (0, 99), Fault::Says(status, code));
        let server = Server::start(faults).await;
        let said = unavailable(server.objects().get(&digest_of(b"some")).await.unwrap_err());
        assert!(said.ends_with(&format!("it answers with the status {status} ({code})")), "{said}");
        assert!(!said.contains(&digest_of(b"some")), "{said}");
    }
}

/// A link that carries little carries all in the end: what counts is that something comes.
#[tokio::test]
async fn a_store_that_trickles_is_read_to_the_end() {
    let bytes = Bytes::from(Seeded::new(5).bytes(3 << 20));
    let digest = digest_of(&bytes);
    let port = trickling(bytes.clone(), Duration::from_millis(100)).await;
    let endpoint = format!("http://127.0.0.1:{port}");
    let blobs = objects(&endpoint, "big", "default", Duration::from_millis(700));
    let begun = Instant::now();
    assert_eq!(blobs.get(&digest).await.unwrap(), Some(bytes));
    assert!(begun.elapsed() > Duration::from_millis(700), "it was no slow link");
    // One byte now and then is as good as nothing: a small one has a second try's time, and no more.
    let small = Bytes::from(Seeded::new(6).bytes(40));
    let port = trickling(small.clone(), Duration::from_millis(500)).await;
    let endpoint = format!("http://127.0.0.1:{port}");
    let blobs = objects(&endpoint, "big", "default", Duration::from_millis(700));
    let said = unavailable(blobs.get(&digest_of(&small)).await.unwrap_err());
    assert!(said.contains("not all came in"), "{said}");
}

/// A removal that is sent again may come after a put of the same bytes, which would be gone though it was acknowledged.
#[tokio::test]
async fn a_removal_is_sent_once_and_over_soon() {
    fn is_removal(request: &Request<Incoming>) -> bool {
        request.method() == Method::DELETE
    }
    let late = SystemTime::now() + Duration::from_hours(1);
    let (faults, seen) = nth(is_removal, (0, 1), Fault::Says(503, "InternalError"));
    let server = Server::start(faults).await;
    let blobs = server.objects();
    let digest = blobs.put("some".into()).await.unwrap();
    unavailable(blobs.delete(&digest, late).await.unwrap_err());
    assert_eq!(seen.load(Ordering::Relaxed), 1);
    assert!(blobs.has(&digest).await.unwrap());
    assert!(blobs.delete(&digest, late).await.unwrap());

    let (faults, _) = nth(is_removal, (0, 9), Fault::Hangs);
    let server = Server::start(faults).await;
    let blobs = server.objects();
    let digest = blobs.put("some".into()).await.unwrap();
    let begun = Instant::now();
    let said = unavailable(blobs.delete(&digest, late).await.unwrap_err());
    assert!(said.contains("may be put again"), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// Folders that are full are not all listed for a page that one of them fills.
#[tokio::test]
async fn a_page_costs_no_more_lists_than_it_needs() {
    fn is_list(request: &Request<Incoming>) -> bool {
        request.method() == Method::GET
            && request.uri().query().is_some_and(|query| query.contains("list-type"))
    }
    let (faults, lists) = nth(is_list, (0, 0), Fault::Hangs);
    let server = Server::start(faults).await;
    let blobs = server.objects();
    let mut digests = Vec::new();
    for folder in 0..4 {
        // A name is enough for a list.
        for nth in 0..5 {
            let digest = format!("{folder:02x}{nth:062x}");
            let file = server.file(&digest);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "x").unwrap();
            digests.push(digest);
        }
    }
    let names = |page: Vec<BlobInfo>| page.into_iter().map(|it| it.digest).collect::<Vec<_>>();
    assert_eq!(names(blobs.list(None, 5).await.unwrap()), digests[..5]);
    assert_eq!(lists.swap(0, Ordering::Relaxed), 1);
    assert_eq!(names(blobs.list(Some(&digests[6]), 6).await.unwrap()), digests[7..13]);
    assert_eq!(lists.swap(0, Ordering::Relaxed), 2);
    assert_eq!(names(blobs.list(None, 100).await.unwrap()), digests);
}

/// Of a bucket that is not there a store says what it says of an object that is not: taken for that, all would be lost.
#[tokio::test]
async fn a_missing_bucket_is_no_missing_blob() {
    let url = tokio::task::spawn_blocking(moto).await.unwrap();
    let blobs = objects(url, "other", "default", Duration::from_secs(5));
    for said in [
        blobs.get(&digest_of(b"some")).await.unwrap_err(),
        blobs.has(&digest_of(b"some")).await.unwrap_err(),
        blobs.put("some".into()).await.unwrap_err(),
        blobs.list(None, 9).await.unwrap_err(),
        blobs.look(false).await.unwrap_err(),
    ] {
        let said = unavailable(said);
        assert!(said.contains("no such bucket: make it, or mend `blobs.url`"), "{said}");
    }
}

#[tokio::test]
async fn an_object_that_was_cut_or_changed_is_never_handed_out() {
    let server = Server::start(none()).await;
    let (blobs, bytes) = (server.objects(), Bytes::from(Seeded::new(3).bytes(100_000)));
    let digest = blobs.put(bytes.clone()).await.unwrap();
    let (file, mut changed) = (server.file(&digest), bytes.to_vec());
    changed[50_000] ^= 1;
    for harm in [&changed[..], &bytes[..99_999], b""] {
        std::fs::write(&file, harm).unwrap();
        let error = blobs.get(&digest).await.unwrap_err();
        let said = error.to_string();
        assert!(matches!(error, PortError::Damaged { .. }), "{said}");
        assert!(said.contains(&digest) && said.contains(&digest_of(harm)), "{said}");
    }
    // Whoever has the bytes heals it.
    assert_eq!(blobs.put(bytes.clone()).await.unwrap(), digest);
    assert_eq!(blobs.get(&digest).await.unwrap(), Some(bytes));
}

#[tokio::test]
async fn a_server_that_is_killed_in_mid_upload_has_no_half_of_it() {
    let (begun, mut is_begun) = tokio::sync::mpsc::unbounded_channel();
    let mut server = Server::start(Arc::new(move |request: &Request<Incoming>| {
        if !is_part(request) {
            return None;
        }
        begun.send(()).unwrap();
        Some(Fault::Hangs)
    }))
    .await;
    let (blobs, bytes) = (server.objects(), large());
    let putting = tokio::spawn({
        let (blobs, bytes) = (blobs.clone(), bytes.clone());
        async move { blobs.put(bytes).await }
    });
    is_begun.recv().await.unwrap();
    server.stop().await;
    let server = server.again().await;
    match putting.await.unwrap() {
        // The new server knows the upload that the old one began.
        Ok(digest) => assert_eq!(blobs.get(&digest).await.unwrap(), Some(bytes.clone())),
        Err(error) => {
            unavailable(error);
            assert_eq!(blobs.get(&digest_of(&bytes)).await.unwrap(), None);
        }
    }
    let digest = server.objects().put(bytes.clone()).await.unwrap();
    assert_eq!(blobs.get(&digest).await.unwrap(), Some(bytes));
}

#[tokio::test]
async fn a_look_writes_where_it_is_told_to() {
    let (faults, puts) = nth(|request| request.method() == Method::PUT, (0, 0), Fault::Hangs);
    let server = Server::start(faults).await;
    let blobs = server.objects();
    assert!(!blobs.look(false).await.unwrap().wrote);
    assert_eq!(puts.load(Ordering::Relaxed), 0);
    assert!(blobs.look(true).await.unwrap().wrote);
    assert_eq!(puts.load(Ordering::Relaxed), 1);
    let root = server.folder.path().join("big/some/where/default");
    assert!(!root.join("doctor").exists());
}
