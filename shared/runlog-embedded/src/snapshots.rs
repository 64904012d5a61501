//! Snapshots in files: written beside, then renamed, so that a reader never sees half of one.
use std::{
    fs, io,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use bytes::Bytes;
use dagbok_runlog::{PortError, PortResult, Snapshots, limits::check_snapshot_name};

/// Snapshots in `<home>/snapshots`. Not flushed: one that a power cut garbles is refused by whoever
/// reads it, and folded again.
#[derive(Clone, Debug)]
pub struct FileSnapshots {
    dir: PathBuf,
}

impl FileSnapshots {
    /// Snapshots in `dir`, which is made when the first is stored.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    fn path(&self, name: &str) -> PortResult<PathBuf> {
        check_snapshot_name(name)?;
        Ok(self.dir.join(name))
    }
}

fn failed(action: &str, path: &Path, error: &io::Error) -> PortError {
    PortError::unavailable("snapshots", format!("can't {action} {}: {error}", path.display()))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> PortResult<T> + Send + 'static,
) -> PortResult<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(PortError::unavailable("snapshots", error)))
}

#[async_trait]
impl Snapshots for FileSnapshots {
    async fn put(&self, name: &str, bytes: Bytes) -> PortResult<()> {
        let (dir, path) = (self.dir.clone(), self.path(name)?);
        blocking(move || {
            let draft = path.with_extension("new");
            fs::create_dir_all(&dir)
                .and_then(|()| fs::write(&draft, &bytes))
                .and_then(|()| fs::rename(&draft, &path))
                .map_err(|error| failed("write", &path, &error))
        })
        .await
    }

    async fn get(&self, name: &str) -> PortResult<Option<Bytes>> {
        let path = self.path(name)?;
        blocking(move || match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path, &error)),
        })
        .await
    }
}
