//! Cases of the blobs.
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;

use super::{Fixture, seeded::Seeded, soon, text};
use crate::digest_of;

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
