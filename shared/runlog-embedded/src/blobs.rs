//! Blobs as files: `<home>/blobs/ab/cdef…`, named by their digest, put there whole by a rename.
use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use async_trait::async_trait;
use bytes::Bytes;
use dagbok_runlog::{BlobInfo, Blobs, PortError, PortResult, digest_of};
use parking_lot::Mutex;

use crate::{
    Durability, OpenError,
    disk::{Disk as _, FileDisk},
};

/// Blobs in a directory.
#[derive(Clone, Debug)]
pub struct FileBlobs {
    dir: Arc<Path>,
    /// `None` where they are only read.
    disk: Option<FileDisk>,
    /// Names what is not yet whole.
    drafts: Arc<AtomicU64>,
    /// Whoever finds a blob there, or removes it, does so alone.
    turn: Arc<Mutex<()>>,
}

impl FileBlobs {
    /// Opens the blobs in `dir` as their only writer, and removes what a crash left unfinished.
    pub(crate) fn open(dir: &Path, durability: Durability) -> Result<Self, OpenError> {
        let disk = FileDisk { durability };
        let drafts = dir.join("new");
        disk.create_dirs(&drafts).map_err(|source| OpenError::io("make", &drafts, source))?;
        let left =
            fs::read_dir(&drafts).map_err(|source| OpenError::io("list", &drafts, source))?;
        for file in left.flatten() {
            // It is never looked at, so one that stays only takes room.
            let _ = fs::remove_file(file.path());
        }
        Ok(Self { dir: dir.into(), disk: Some(disk), drafts: Arc::default(), turn: Arc::default() })
    }

    /// The blobs in `dir`, to be read.
    pub(crate) fn read_only(dir: &Path) -> Self {
        Self { dir: dir.into(), disk: None, drafts: Arc::default(), turn: Arc::default() }
    }

    /// Where the blob with this digest is; `None` for what is no digest.
    fn path(&self, digest: &str) -> Option<PathBuf> {
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_digest = digest.len() == 64 && digest.bytes().all(is_hex);
        is_digest.then(|| self.dir.join(&digest[..2]).join(&digest[2..]))
    }

    fn put_blocking(&self, bytes: &[u8]) -> PortResult<String> {
        let Some(disk) = self.disk else {
            let why = "to be written: they were opened to be read".to_owned();
            return Err(PortError::Refused { what: "blobs", why });
        };
        let digest = digest_of(bytes);
        let path = self.path(&digest).expect("a digest is one");
        self.write(disk, &path, bytes).map_err(|error| unavailable("write", &path, &error))?;
        Ok(digest)
    }

    fn write(&self, disk: FileDisk, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let dir = path.parent().expect("a blob's path has a directory");
        // One that is there may be damaged, or its name not yet flushed.
        let is_there = {
            let _turn = self.turn.lock();
            fs::read(path).is_ok_and(|there| there == bytes) && renew(path)
        };
        if is_there {
            return disk.flush_dir(dir);
        }
        disk.create_dirs(dir)?;
        let number = self.drafts.fetch_add(1, Ordering::Relaxed);
        let draft = self.dir.join("new").join(number.to_string());
        let written = (|| {
            let mut file = File::create(&draft)?;
            file.write_all(bytes)?;
            disk.flush_file(&file)?;
            fs::rename(&draft, path)
        })();
        if written.is_err() {
            let _ = fs::remove_file(&draft);
        }
        written.and_then(|()| disk.flush_dir(dir))
    }

    fn get_blocking(&self, digest: &str) -> PortResult<Option<Bytes>> {
        let Some(path) = self.path(digest) else { return Ok(None) };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unavailable("read", &path, &error)),
        };
        if digest_of(&bytes) != digest {
            let place = path.display().to_string();
            let why = "its bytes do not match its name; put the file back from a backup".to_owned();
            return Err(PortError::Damaged { what: "blobs", place, why });
        }
        Ok(Some(bytes.into()))
    }

    /// One folder of digests after another, so that a page never lists more than it must.
    fn list_blocking(&self, after: Option<&str>, most: usize) -> PortResult<Vec<BlobInfo>> {
        let most = most.max(1);
        let mut page = Vec::new();
        let from = after.and_then(|after| after.get(..2)).unwrap_or("");
        for folder in names(&self.dir)?.iter().filter(|name| name.len() == 2 && &name[..] >= from) {
            for rest in names(&self.dir.join(folder))? {
                let digest = format!("{folder}{rest}");
                if after.is_some_and(|after| digest.as_str() <= after) {
                    continue;
                }
                // Deleted meanwhile, or no blob.
                let Some(path) = self.path(&digest) else { continue };
                let Ok(found) = fs::metadata(&path) else { continue };
                let modified = found.modified().map_err(|e| unavailable("look at", &path, &e))?;
                page.push(BlobInfo { digest, bytes: found.len(), modified });
                if page.len() == most {
                    return Ok(page);
                }
            }
        }
        Ok(page)
    }

    fn delete_blocking(&self, digest: &str, put_since: SystemTime) -> PortResult<bool> {
        if self.disk.is_none() {
            let why = "to be written: they were opened to be read".to_owned();
            return Err(PortError::Refused { what: "blobs", why });
        }
        let Some(path) = self.path(digest) else { return Ok(false) };
        let _turn = self.turn.lock();
        let failed = |error| unavailable("remove", &path, &error);
        match fs::metadata(&path).and_then(|found| found.modified()) {
            Ok(modified) if modified >= put_since => Ok(false),
            Ok(_) => fs::remove_file(&path).map(|()| true).map_err(failed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }
}

/// Makes a blob young again, so that it is not swept before it is named; whether that could be done.
fn renew(path: &Path) -> bool {
    File::open(path).and_then(|file| file.set_modified(SystemTime::now())).is_ok()
}

/// The names in a folder, sorted; none where it is not there.
fn names(dir: &Path) -> PortResult<Vec<String>> {
    let files = match fs::read_dir(dir) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unavailable("list", dir, &error)),
    };
    let names = files.flatten().filter_map(|file| file.file_name().into_string().ok());
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    Ok(names)
}

fn unavailable(action: &str, path: &Path, error: &io::Error) -> PortError {
    PortError::unavailable("blobs", format!("can't {action} {}: {error}", path.display()))
}

/// Runs what blocks on the disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> PortResult<T> + Send + 'static,
) -> PortResult<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(PortError::unavailable("blobs", error)))
}

#[async_trait]
impl Blobs for FileBlobs {
    async fn list(&self, after: Option<&str>, most: usize) -> PortResult<Vec<BlobInfo>> {
        let (blobs, after) = (self.clone(), after.map(ToOwned::to_owned));
        blocking(move || blobs.list_blocking(after.as_deref(), most)).await
    }

    async fn delete(&self, digest: &str, put_since: SystemTime) -> PortResult<bool> {
        let (blobs, digest) = (self.clone(), digest.to_owned());
        blocking(move || blobs.delete_blocking(&digest, put_since)).await
    }

    async fn put(&self, bytes: Bytes) -> PortResult<String> {
        let blobs = self.clone();
        blocking(move || blobs.put_blocking(&bytes)).await
    }

    async fn get(&self, digest: &str) -> PortResult<Option<Bytes>> {
        let (blobs, digest) = (self.clone(), digest.to_owned());
        blocking(move || blobs.get_blocking(&digest)).await
    }

    async fn has(&self, digest: &str) -> PortResult<bool> {
        let Some(path) = self.path(digest) else { return Ok(false) };
        blocking(move || path.try_exists().map_err(|error| unavailable("look for", &path, &error)))
            .await
    }
}
