//! Blobs that a backup's log names and that are not in it: the log is folded into throw-away rows, which say what is
//! still named. What was swept in its time is named by nothing any more, and is not missed.
use std::{path::Path, sync::Arc};

use dagbok_api::{model::ReadModel, retention};
use dagbok_archive::{Archive, Whole};

use super::{make, manifest::Manifest};

/// Their digests, in order, but for those that were damaged before; or why that can't be told.
pub(super) async fn found(folder: &Path, manifest: &Manifest) -> Result<Vec<String>, String> {
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
    lost.retain(|digest| !manifest.blobs.damaged.contains(digest));
    Ok(lost)
}
