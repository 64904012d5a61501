//! Blobs that a backup's log names and that are not in it: the log is folded into throw-away rows, which say what is
//! still named. What was swept in its time is named by nothing any more, and is not missed.
use std::{path::Path, sync::Arc};

use dagbok_api::{model::ReadModel, retention};
use dagbok_archive::{Archive, Whole};
use dagbok_runlog::Blobs as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{make, manifest::Manifest};
use crate::{context::Context, wire};

/// Questions to an object store that are on their way at once.
const ASKED_AT_ONCE: usize = 16;

/// Their digests, in order, but for those that were damaged before; or why that can't be told.
pub(super) async fn found(
    context: &Context,
    folder: &Path,
    manifest: &Manifest,
) -> Result<Vec<String>, String> {
    if manifest.log.is_none() {
        return Err("the log is on the server".to_owned());
    }
    if let Some(last) = manifest.archived_elsewhere() {
        return Err(format!("records 1 to {last} are in the archive, which was left out"));
    }
    let read = make::opened(folder).await.map_err(|failure| failure.to_string())?;
    let log = Arc::new(Whole::new(read.log, Archive::new(&folder.join("archive"))));
    // Beside what it is of there may be no room, and nobody may be allowed to write.
    let rows = tempfile::tempdir().map_err(|error| error.to_string())?;
    let model = ReadModel::open(Some(rows.path())).map_err(|error| error.to_string())?;
    model.catch_up(log).await.map_err(|error| error.to_string())?;
    let lost = retention::lost(&model.store(), &*read.blobs).await;
    let mut lost = lost.map_err(|error| error.to_string())?;
    // What moved to the object store is there, and not in a backup.
    if let Some(far) = wire::objects(&context.config).map_err(|failure| failure.to_string())? {
        let asked = stream::iter(lost).map(|digest| {
            let far = &far;
            async move { far.has(&digest).await.map(|is_there| (!is_there).then_some(digest)) }
        });
        let missing = asked.buffered(ASKED_AT_ONCE).try_collect::<Vec<_>>().await;
        lost = missing.map_err(|error| error.to_string())?.into_iter().flatten().collect();
    }
    lost.retain(|digest| !manifest.blobs.damaged.contains(digest));
    Ok(lost)
}
