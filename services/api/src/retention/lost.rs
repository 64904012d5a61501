//! Blobs that rows name and that are not there.
use std::collections::{BTreeSet, HashSet};

use dagbok_runlog::Blobs;

use super::sweep::{Named, SweepError, each_named};
use crate::model::Store;

/// Blobs looked at in one piece.
const PAGE: usize = 10_000;

/// The blobs that something in `store` names and that `blobs` has not, in order. `store` must hold all that the log
/// holds, and nobody put or delete blobs meanwhile.
pub async fn lost(store: &Store, blobs: &dyn Blobs) -> Result<Vec<String>, SweepError> {
    let mut there: HashSet<String> = HashSet::new();
    let mut after: Option<String> = None;
    loop {
        let page = blobs.list(after.as_deref(), PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.digest.clone());
        there.extend(page.into_iter().map(|blob| blob.digest));
    }
    let rows = store.clone();
    let looked = tokio::task::spawn_blocking(move || {
        let mut lost = BTreeSet::new();
        let named = each_named(&rows, &mut |name| {
            if let Named::Blob(digest) = name
                && !there.contains(digest)
            {
                lost.insert(digest.to_owned());
            }
        });
        named.map(|()| lost.into_iter().collect())
    });
    Ok(looked.await.map_err(|panic| SweepError::Panicked(panic.to_string()))??)
}
