//! Bundles: a DAG folder as it was, packed and named by its hash, unpacked once on this machine.
//!
//! The archive comes over the network and is not trusted: regular files with plain relative paths, and
//! nothing else, up to a limit.
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use dagbok_events::Digest;
use dagbok_protocol::limits::BUNDLE_BYTES;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::OnceCell;

use crate::store::Store;

/// Unpacked, a bundle is at most this large, in bytes.
const UNPACKED_BYTES: u64 = 4 * BUNDLE_BYTES as u64;
/// Files in one bundle.
const FILES: usize = 200_000;
/// What was left half unpacked this long ago is nobody's work any more.
const HALF_KEPT: Duration = Duration::from_hours(1);
/// Unpacked bundles kept; the one unused for longest goes first.
const KEPT: usize = 24;
/// A bundle used within this long is kept anyhow: a loaded zygote, or another process, may still need it.
const KEPT_ANYHOW: Duration = Duration::from_hours(24);

/// Why a bundle can't be used.
#[derive(Debug, Error)]
pub(crate) enum BundleError {
    /// It could not be fetched.
    #[error("the bundle {digest} could not be fetched: {why}")]
    Fetch {
        /// Which.
        digest: Digest,
        /// Why.
        why: String,
    },
    /// It is not what the processor makes.
    #[error("the bundle {digest} is not as the processor packs it: {why}")]
    Hostile {
        /// Which.
        digest: Digest,
        /// What is wrong with it.
        why: String,
    },
    /// It could not be written to this machine's disk.
    #[error("the bundle {digest} could not be unpacked into {folder}: {why}")]
    Disk {
        /// Which.
        digest: Digest,
        /// Where to.
        folder: PathBuf,
        /// Why.
        why: io::Error,
    },
}

/// The unpacked bundles of this machine.
#[derive(Debug)]
pub(crate) struct Bundles {
    folder: PathBuf,
    store: Store,
    known: Mutex<BTreeMap<Digest, Known>>,
}

/// A bundle's folder; it is not removed while somebody holds this.
pub(crate) type BundleFolder = Arc<PathBuf>;

#[derive(Debug)]
struct Known {
    folder: Arc<OnceCell<BundleFolder>>,
    used: Instant,
}

impl Bundles {
    /// Bundles under `folder`, which is made. What an earlier boot of the machine unpacked is removed: a
    /// power loss may have taken content and left names.
    pub(crate) fn open(folder: PathBuf, store: Store) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let (mark, boot) = (folder.join(".boot"), boot_id());
        let same_boot =
            fs::read_to_string(&mark).is_ok_and(|seen| seen == boot && !boot.is_empty());
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let half =
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".half-"));
            if path.is_dir() && (!same_boot || (half && is_old(&path, HALF_KEPT))) {
                fs::remove_dir_all(&path)?;
            }
        }
        fs::write(mark, boot)?;
        Ok(Self { folder, store, known: Mutex::default() })
    }

    /// The folder of this bundle, fetched and unpacked first where it is not there.
    pub(crate) async fn folder(&self, digest: &Digest) -> Result<BundleFolder, BundleError> {
        let cell = {
            let mut known = self.known.lock();
            let fresh = || Known { folder: Arc::default(), used: Instant::now() };
            let known = known.entry(digest.clone()).or_insert_with(fresh);
            known.used = Instant::now();
            Arc::clone(&known.folder)
        };
        cell.get_or_try_init(|| self.fetch(digest)).await.cloned()
    }

    async fn fetch(&self, digest: &Digest) -> Result<BundleFolder, BundleError> {
        let folder = self.folder.join(digest.as_str());
        if fs::metadata(&folder).is_ok_and(|found| found.is_dir()) {
            drop(touch(&folder));
            return Ok(Arc::new(folder));
        }
        let packed = self.store.get(digest.as_str()).await;
        let packed = packed.map_err(|why| BundleError::Fetch { digest: digest.clone(), why })?;
        let (digest, root, in_use) = (digest.clone(), self.folder.clone(), self.in_use());
        let work = move || {
            let half = root.join(format!(".half-{}", dagbok_runtime::fresh_id()));
            let unpacked =
                unpack(&packed, &half).and_then(|()| settle(&half, &folder).map_err(Unpack::Disk));
            if unpacked.is_err() {
                drop(fs::remove_dir_all(&half));
            }
            trim(&root, &in_use);
            match unpacked {
                Ok(()) => Ok(Arc::new(folder)),
                Err(Unpack::Hostile(why)) => Err(BundleError::Hostile { digest, why }),
                Err(Unpack::Disk(why)) => Err(BundleError::Disk { digest, folder, why }),
            }
        };
        tokio::task::spawn_blocking(work).await.expect("unpacking does not panic")
    }

    /// Forgets what nobody needed for long; names the rest.
    fn in_use(&self) -> Vec<Digest> {
        let mut known = self.known.lock();
        known.retain(|_, one| {
            let held = one.folder.get().is_none_or(|folder| Arc::strong_count(folder) > 1);
            held || one.used.elapsed() < KEPT_ANYHOW
        });
        known.keys().cloned().collect()
    }
}

#[derive(Debug)]
enum Unpack {
    Hostile(String),
    Disk(io::Error),
}

impl From<io::Error> for Unpack {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

/// Unpacks into `folder`, which must not exist.
fn unpack(packed: &[u8], folder: &Path) -> Result<(), Unpack> {
    let hostile = |why: String| Unpack::Hostile(why);
    fs::create_dir(folder)?;
    let unzipped = zstd::Decoder::new(packed).map_err(|error| hostile(error.to_string()))?;
    // What is beyond the limit looks like a torn archive; the sum below says which it was.
    let mut archive = tar::Archive::new(unzipped.take(UNPACKED_BYTES));
    let mut room = UNPACKED_BYTES;
    let entries = archive.entries().map_err(|error| hostile(error.to_string()))?;
    for (n, entry) in entries.enumerate() {
        let mut entry = entry.map_err(|error| hostile(error.to_string()))?;
        if n >= FILES {
            return Err(hostile(format!("it has more than {FILES} files")));
        }
        let path = entry.path().map_err(|error| hostile(error.to_string()))?.into_owned();
        let kind = entry.header().entry_type();
        let shown = path.display().to_string();
        if kind.is_dir() {
            fs::create_dir_all(
                folder.join(plain(&path).ok_or_else(|| hostile(bad_path(&shown)))?),
            )?;
            continue;
        }
        if !kind.is_file() {
            return Err(hostile(format!("`{shown}` is no regular file")));
        }
        let plain = plain(&path).filter(|path| !path.as_os_str().is_empty());
        let target = folder.join(plain.ok_or_else(|| hostile(bad_path(&shown)))?);
        room = room.checked_sub(entry.size()).ok_or_else(|| {
            hostile(format!("unpacked it has more than {} MiB", UNPACKED_BYTES >> 20))
        })?;
        let runs = entry.header().mode().is_ok_and(|mode| mode & 0o111 != 0);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        let mode = if runs { 0o755 } else { 0o644 };
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&target).map_err(
                |error| {
                    if error.kind() == io::ErrorKind::AlreadyExists {
                        hostile(format!("`{shown}` is in it twice"))
                    } else {
                        Unpack::Disk(error)
                    }
                },
            )?;
        copy(&mut entry, &mut file, &shown)?;
    }
    Ok(())
}

fn copy(
    entry: &mut tar::Entry<'_, impl Read>,
    file: &mut fs::File,
    shown: &str,
) -> Result<(), Unpack> {
    let mut buffer = vec![0; 64 << 10];
    let mut left = entry.size();
    while left > 0 {
        let read = entry.read(&mut buffer).map_err(|error| Unpack::Hostile(error.to_string()))?;
        if read == 0 {
            return Err(Unpack::Hostile(format!("`{shown}` ends early")));
        }
        file.write_all(&buffer[..read])?;
        left = left.saturating_sub(read as u64);
    }
    Ok(())
}

fn bad_path(shown: &str) -> String {
    format!("`{shown}` leads out of it")
}

/// The path without `.`; `None` where it is absolute or goes up.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => plain.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(plain)
}

/// Gives an unpacked folder its name.
fn settle(half: &Path, folder: &Path) -> io::Result<()> {
    match fs::rename(half, folder) {
        // Another process was quicker; the content is the same by its name.
        Err(_) if folder.is_dir() => fs::remove_dir_all(half),
        other => other,
    }
}

/// Names this boot of the machine; empty where the kernel does not say.
fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

fn touch(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.set_modified(SystemTime::now())
}

fn is_old(path: &Path, age: Duration) -> bool {
    let modified = fs::metadata(path).and_then(|found| found.modified());
    modified.ok().and_then(|at| at.elapsed().ok()).is_some_and(|elapsed| elapsed >= age)
}

/// Removes the bundles unused for longest where there are too many.
fn trim(root: &Path, in_use: &[Digest]) {
    let Ok(entries) = fs::read_dir(root) else { return };
    let mut found: Vec<(SystemTime, PathBuf)> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().len() == 64)
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    found.sort();
    let too_many = found.len().saturating_sub(KEPT);
    for (_, path) in found.into_iter().take(too_many) {
        let ours = in_use.iter().any(|digest| path.ends_with(digest.as_str()));
        if !ours && is_old(&path, KEPT_ANYHOW) {
            drop(fs::remove_dir_all(path));
        }
    }
}

#[cfg(test)]
mod tests;
