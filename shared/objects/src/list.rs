//! Which blobs lie in a place: by folders, since not every store lists in order; and all of it at once, where a place is
//! given up.
use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use dagbok_runlog::{BlobInfo, PortResult};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::{Error, ObjectMeta, ObjectStoreExt as _};

use crate::{Objects, fault, store::is_digest};

/// Folders that are listed at once.
const AT_ONCE: usize = 16;
/// Objects that are deleted at once.
const DELETED_AT_ONCE: usize = 16;
/// Half a file is of nobody who still writes it once it is so old.
const LEFT: Duration = Duration::from_hours(24);

impl Objects {
    /// The blobs after `after`, `most` of them at most, in order. One folder is looked at first: where folders are full,
    /// what more of them hold would be thrown away.
    pub(crate) async fn page(&self, after: Option<&str>, most: usize) -> PortResult<Vec<BlobInfo>> {
        let first = after.and_then(|after| u8::from_str_radix(after.get(..2)?, 16).ok());
        let (mut next, mut at_once) = (u16::from(first.unwrap_or(0)), 1);
        let mut page = Vec::new();
        while u8::try_from(next).is_ok() && page.len() < most {
            let folders: Vec<u8> =
                (next..).map_while(|it| u8::try_from(it).ok()).take(at_once).collect();
            next += u16::try_from(folders.len()).unwrap_or(u16::MAX);
            let found = stream::iter(folders).map(|folder| self.folder(folder, after, most));
            let found: Vec<Vec<BlobInfo>> = found.buffered(AT_ONCE).try_collect().await?;
            let longest = found.iter().map(Vec::len).max().unwrap_or_default();
            page.extend(found.into_iter().flatten());
            at_once = (most.saturating_sub(page.len()) / longest.max(1)).clamp(1, AT_ONCE);
        }
        page.truncate(most);
        Ok(page)
    }

    /// The blobs of one folder after `after`, in order, at least the first `most` of them.
    async fn folder(
        &self,
        folder: u8,
        after: Option<&str>,
        most: usize,
    ) -> PortResult<Vec<BlobInfo>> {
        let folder = format!("{folder:02x}");
        self.tidy(&folder).await;
        let path = self.root.clone().join(folder.as_str());
        let offset =
            after.filter(|after| after.starts_with(&folder)).map(|it| path.clone().join(it));
        let found = match offset {
            Some(offset) => self.store.list_with_offset(Some(&path), &offset),
            None => self.store.list(Some(&path)),
        };
        let blobs = found.try_filter_map(|meta| {
            let blob = meta.location.filename().filter(|it| is_digest(it)).map(str::to_owned);
            let blob = blob.filter(|digest| after.is_none_or(|after| digest.as_str() > after));
            let ObjectMeta { size: bytes, last_modified, .. } = meta;
            let blob =
                blob.map(|digest| BlobInfo { digest, bytes, modified: last_modified.into() });
            std::future::ready(Ok(blob))
        });
        let wanted = if self.lists_in_order { most } else { usize::MAX };
        let found: Result<Vec<BlobInfo>, Error> = blobs.take(wanted).try_collect().await;
        let mut blobs = match found {
            Ok(blobs) => blobs,
            Err(error) if fault::is_missing(&error) => return Ok(Vec::new()),
            Err(error) => return Err(self.failed("list", &error)),
        };
        blobs.sort_unstable_by(|a, b| a.digest.cmp(&b.digest));
        Ok(blobs)
    }

    /// Takes away what a process left in a folder of a file system that was killed while it wrote: no list shows it.
    async fn tidy(&self, folder: &str) {
        let Some(dir) = self.on_disk.as_ref().map(|dir| dir.join(folder)) else { return };
        let tidied = tokio::task::spawn_blocking(move || tidied(&dir)).await;
        if let Ok(Err(error)) = tidied {
            tracing::debug!(%error, place = self.place(), "what was left half written stays");
        }
    }

    /// Deletes all that lies there, `owner` last, and returns how many objects: of a place that is given up.
    pub async fn clear(&self) -> PortResult<u64> {
        let owner = self.root.clone().join(crate::owner::OWNER);
        let found = self.store.list(Some(&self.root));
        let gone = found
            .try_filter(|meta| std::future::ready(meta.location != owner))
            .map_ok(|meta| async move { self.store.delete(&meta.location).await })
            .try_buffer_unordered(DELETED_AT_ONCE)
            .try_fold(0, |count, ()| std::future::ready(Ok(count + 1)))
            .await;
        let gone = gone.map_err(|error| self.failed("delete from", &error))?;
        match self.store.delete(&owner).await {
            Ok(()) => Ok(gone),
            Err(error) if fault::is_missing(&error) => Ok(gone),
            Err(error) => Err(self.failed("delete from", &error)),
        }
    }
}

fn tidied(dir: &Path) -> std::io::Result<()> {
    let listed = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        listed => listed?,
    };
    for entry in listed {
        let entry = entry?;
        let name = entry.file_name();
        let half = name.to_str().and_then(|name| name.split_once('#'));
        let is_half = half.is_some_and(|(digest, nth)| {
            is_digest(digest) && !nth.is_empty() && nth.bytes().all(|it| it.is_ascii_digit())
        });
        if is_half && entry.metadata()?.modified()? + LEFT < SystemTime::now() {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
