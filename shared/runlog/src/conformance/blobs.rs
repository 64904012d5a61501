//! Cases of the blobs.
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures::future::join_all;

use super::{Fixture, seeded::Seeded, soon, text};
use crate::{BlobInfo, digest_of};

fn some_bytes(seed: u64, length: usize) -> Bytes {
    Seeded::new(seed).bytes(length).into()
}

/// Of any size, none included.
pub async fn bytes_come_back_by_their_digest(fixture: &impl Fixture) {
    let blobs = fixture.ports().await.blobs;
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(blobs.put(Bytes::new()).await.unwrap(), empty);
    assert_eq!(blobs.get(empty).await.unwrap(), Some(Bytes::new()));
    for (seed, length) in [(1, 1), (2, 1_000), (3, 131_072), (4, 131_073), (5, 3 << 20)] {
        let bytes = some_bytes(seed, length);
        let digest = soon("a put", blobs.put(bytes.clone())).await.unwrap();
        assert_eq!(digest, digest_of(&bytes));
        assert!(blobs.has(&digest).await.unwrap());
        assert_eq!(soon("a get", blobs.get(&digest)).await.unwrap(), Some(bytes));
    }
}

/// Neither is what no digest names.
pub async fn what_was_never_put_is_not_there(fixture: &impl Fixture) {
    let blobs = fixture.ports().await.blobs;
    let put = blobs.put(text("here")).await.unwrap();
    let never = digest_of(b"never");
    for digest in [
        never.as_str(),
        "",
        "ab",
        "../../etc/passwd",
        "zz",
        &put.to_uppercase(),
        &put[..63],
        &format!("{put}0"),
        "a b",
        "é",
        "*",
        ">",
    ] {
        assert_eq!(blobs.get(digest).await.unwrap(), None, "{digest:?}");
        assert!(!blobs.has(digest).await.unwrap(), "{digest:?}");
    }
}

/// The second put changes nothing.
pub async fn the_same_bytes_twice_are_one_blob(fixture: &impl Fixture) {
    let blobs = fixture.ports().await.blobs;
    let bytes = some_bytes(9, 5_000);
    let first = blobs.put(bytes.clone()).await.unwrap();
    assert_eq!(blobs.put(bytes.clone()).await.unwrap(), first);
    assert_eq!(blobs.get(&first).await.unwrap(), Some(bytes));
}

/// The same bytes from several at once, too.
pub async fn many_at_once_do_not_disturb_one_another(fixture: &impl Fixture) {
    let blobs = fixture.ports().await.blobs;
    let puts = (0..24).map(|n| {
        let blobs = Arc::clone(&blobs);
        tokio::spawn(async move {
            let bytes = some_bytes(n % 6, 20_000);
            let digest = blobs.put(bytes.clone()).await.unwrap();
            assert_eq!(blobs.get(&digest).await.unwrap(), Some(bytes));
        })
    });
    soon("all puts", join_all(puts)).await.into_iter().for_each(Result::unwrap);
}

/// Blobs outlive the process, as the log does.
pub async fn a_later_process_finds_the_blobs(fixture: &impl Fixture) {
    let ports = fixture.ports().await;
    let bytes = some_bytes(11, 200_000);
    let digest = ports.blobs.put(bytes.clone()).await.unwrap();
    let ports = fixture.reopen(ports).await;
    assert!(ports.blobs.has(&digest).await.unwrap());
    assert_eq!(ports.blobs.get(&digest).await.unwrap(), Some(bytes));
}

/// Every page in the order of digests, each blob once, with its size and age.
pub async fn lists_come_in_pages(fixture: &impl Fixture) {
    let blobs = fixture.ports().await.blobs;
    assert_eq!(blobs.list(None, 10).await.unwrap(), []);
    let begun = SystemTime::now();
    let mut put = Vec::new();
    for n in 0..25 {
        let bytes = some_bytes(n, 100 + usize::try_from(n).unwrap() * 10_000);
        put.push((blobs.put(bytes.clone()).await.unwrap(), bytes.len() as u64));
    }
    put.sort();
    for most in [0, 1, 7, 25, 100] {
        let mut found = Vec::new();
        loop {
            let after = found.last().map(|info: &BlobInfo| info.digest.clone());
            let page = blobs.list(after.as_deref(), most).await.unwrap();
            assert!(page.len() <= most.max(1));
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert_eq!(found.len(), put.len());
        for (info, (digest, bytes)) in found.iter().zip(&put) {
            assert_eq!(info.digest, *digest);
            assert!(info.bytes >= *bytes && info.bytes < bytes + (1 << 20), "{info:?} of {bytes}");
            // The store's clock may be another machine's.
            let age = begun.duration_since(info.modified).unwrap_or_default();
            assert!(age < Duration::from_mins(10), "{info:?}");
        }
    }
}

/// What is deleted is gone for all, the others stay, and it can be put again; what was just put stays.
pub async fn what_is_deleted_is_gone_until_it_is_put_again(fixture: &impl Fixture) {
    let ports = fixture.ports().await;
    let (small, large) = (some_bytes(1, 50), some_bytes(2, 900_000));
    let stays = ports.blobs.put(some_bytes(3, 50)).await.unwrap();
    let (hour_ago, in_an_hour) =
        (SystemTime::now() - Duration::from_hours(1), SystemTime::now() + Duration::from_hours(1));
    for bytes in [small, large] {
        let digest = ports.blobs.put(bytes.clone()).await.unwrap();
        assert!(!ports.blobs.delete(&digest, hour_ago).await.unwrap(), "it was put since");
        assert_eq!(ports.blobs.get(&digest).await.unwrap().as_ref(), Some(&bytes));
        assert!(ports.blobs.delete(&digest, in_an_hour).await.unwrap());
        assert!(!ports.blobs.delete(&digest, in_an_hour).await.unwrap());
        assert_eq!(ports.blobs.get(&digest).await.unwrap(), None);
        assert!(!ports.blobs.has(&digest).await.unwrap());
        assert_eq!(ports.blobs.list(None, 9).await.unwrap().len(), 1);
        assert_eq!(ports.blobs.put(bytes.clone()).await.unwrap(), digest);
        assert_eq!(ports.blobs.get(&digest).await.unwrap(), Some(bytes));
        assert!(ports.blobs.delete(&digest, in_an_hour).await.unwrap());
    }
    assert!(!ports.blobs.delete("no digest", in_an_hour).await.unwrap());
    let ports = fixture.reopen(ports).await;
    assert_eq!(ports.blobs.list(None, 9).await.unwrap()[0].digest, stays);
}

/// Who puts a blob that is there already counts as having put it: it may not be swept away before it is
/// named.
pub async fn what_is_put_again_is_young_again(fixture: &impl Fixture) {
    let blobs = fixture.ports().await.blobs;
    for bytes in [some_bytes(1, 50), some_bytes(2, 900_000)] {
        let digest = blobs.put(bytes.clone()).await.unwrap();
        let first = blobs.list(None, 9).await.unwrap();
        let since = first.iter().find(|info| info.digest == digest).unwrap().modified;
        let since = since + Duration::from_micros(1);
        loop {
            blobs.put(bytes.clone()).await.unwrap();
            let now = blobs.list(None, 9).await.unwrap();
            // A store's clock may stand still for a moment.
            if now.iter().find(|info| info.digest == digest).unwrap().modified >= since {
                break;
            }
        }
        assert!(!blobs.delete(&digest, since).await.unwrap());
        assert_eq!(blobs.get(&digest).await.unwrap(), Some(bytes));
    }
}
