//! Cases of the snapshots.
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;

use super::{Fixture, seeded::Seeded, soon, text};
use crate::PortError;

fn some_bytes(seed: u64, length: usize) -> Bytes {
    Seeded::new(seed).bytes(length).into()
}

/// Of any size, and none is another's.
pub async fn the_newest_of_a_name_is_read_back(fixture: &impl Fixture) {
    let snapshots = fixture.ports().await.snapshots;
    for (seed, length) in [(1, 10), (2, 3 << 20), (3, 0), (4, 200_000)] {
        let bytes = some_bytes(seed, length);
        soon("a put", snapshots.put("rules", bytes.clone())).await.unwrap();
        snapshots.put("rules-2_X", text("another")).await.unwrap();
        assert_eq!(soon("a get", snapshots.get("rules")).await.unwrap(), Some(bytes));
    }
    assert_eq!(snapshots.get("rules-2_X").await.unwrap(), Some(text("another")));
}

/// Absence is an answer.
pub async fn what_was_never_put_is_not_there(fixture: &impl Fixture) {
    let snapshots = fixture.ports().await.snapshots;
    snapshots.put("there", text("x")).await.unwrap();
    for name in ["ther", "there-", "THERE", "_", &"x".repeat(255)] {
        assert_eq!(snapshots.get(name).await.unwrap(), None, "{name}");
    }
}

/// A name is a file in one store and a subject in another.
pub async fn names_that_no_store_could_bear_are_refused(fixture: &impl Fixture) {
    let snapshots = fixture.ports().await.snapshots;
    for name in ["", ".", "..", "a/b", "../up", "a.b", "a b", "*", ">", "\u{e9}", &"x".repeat(256)]
    {
        let put = snapshots.put(name, text("x")).await;
        assert!(matches!(put, Err(PortError::Refused { .. })), "{name:?}: {put:?}");
        let got = snapshots.get(name).await;
        assert!(matches!(got, Err(PortError::Refused { .. })), "{name:?}: {got:?}");
    }
}

/// Reading while it is being written: never half of each, and never an older one again.
pub async fn readers_see_the_old_or_the_new_whole(fixture: &impl Fixture) {
    const VERSIONS: u8 = 12;
    let snapshots = fixture.ports().await.snapshots;
    let version = |n: u8| Bytes::from(vec![n; 150_000 + usize::from(n)]);
    snapshots.put("view", version(0)).await.unwrap();
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let snapshots = Arc::clone(&snapshots);
            tokio::spawn(async move {
                let mut newest = 0;
                while newest < VERSIONS {
                    // Overtaken by writers, a reader may come away with nothing: it costs time only.
                    let Some(bytes) = snapshots.get("view").await.unwrap() else { continue };
                    let found = bytes[0];
                    assert!(bytes == version(found), "parts of several versions");
                    assert!(found >= newest, "{newest} was there before {found}");
                    newest = found;
                }
            })
        })
        .collect();
    for n in 1..=VERSIONS {
        snapshots.put("view", version(n)).await.unwrap();
    }
    soon("all readers", join_all(readers)).await.into_iter().for_each(Result::unwrap);
}

/// A restart is what they are for.
pub async fn a_later_process_finds_the_snapshots(fixture: &impl Fixture) {
    let ports = fixture.ports().await;
    ports.snapshots.put("rules", text("old")).await.unwrap();
    ports.snapshots.put("rules", text("new")).await.unwrap();
    let ports = fixture.reopen(ports).await;
    assert_eq!(ports.snapshots.get("rules").await.unwrap(), Some(text("new")));
}
