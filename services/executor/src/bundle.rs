//! Bundles: a DAG folder as it was, packed and named by its hash, unpacked once on this machine.
//!
//! A bundle is named by its content, so nothing may change it: it is unpacked for reading only, and since that
//! does not keep root from writing, each use looks whether it is as it was unpacked. One that is not is put
//! back in the same place at once, for whoever reads it then.
mod seal;
mod unpack;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use dagbok_events::Digest;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::OnceCell;

use self::{
    seal::{Seal, remove_tree},
    unpack::{Unpack, unpack},
};
use crate::store::Store;

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
    looked: Arc<tokio::sync::Mutex<Looked>>,
}

/// When a bundle was last compared with its seal, and how long that took.
#[derive(Debug, Default)]
struct Looked {
    at: Option<Instant>,
    took: Duration,
}

/// Comparing may take this part of the time, so that a huge folder does not slow each try down.
const LOOKING_PART: u32 = 50;
/// What took no longer last time is done where it stands.
const QUICK: Duration = Duration::from_millis(1);

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
                remove_tree(&path)?;
            }
        }
        fs::write(mark, boot)?;
        Ok(Self { folder, store, known: Mutex::default() })
    }

    /// The folder of this bundle, fetched and unpacked first where it is not there.
    pub(crate) async fn folder(&self, digest: &Digest) -> Result<BundleFolder, BundleError> {
        let cell = {
            let mut known = self.known.lock();
            let fresh =
                || Known { folder: Arc::default(), used: Instant::now(), looked: Arc::default() };
            let known = known.entry(digest.clone()).or_insert_with(fresh);
            known.used = Instant::now();
            Arc::clone(&known.folder)
        };
        let folder = cell.get_or_try_init(|| self.fetch(digest)).await.cloned()?;
        self.check(digest, &folder).await?;
        Ok(folder)
    }

    /// Puts a bundle back that was changed since it was unpacked; says what was.
    pub(crate) async fn check(
        &self,
        digest: &Digest,
        folder: &BundleFolder,
    ) -> Result<Option<String>, BundleError> {
        let looked = self.known.lock().get(digest).map(|known| Arc::clone(&known.looked));
        let Some(looked) = looked else { return Ok(None) };
        let mut looked = looked.lock().await;
        if looked.at.is_some_and(|at| at.elapsed() < looked.took * LOOKING_PART) {
            return Ok(None);
        }
        let (begun, path) = (Instant::now(), Arc::clone(folder));
        let work = move || {
            Seal::read(&path).map_or_else(
                || Some("what it was like is not known".to_owned()),
                |seal| seal.broken(&path),
            )
        };
        // A small folder is compared sooner than another thread is woken.
        let damage = if looked.at.is_some() && looked.took < QUICK {
            work()
        } else {
            tokio::task::spawn_blocking(work).await.expect("looking does not panic")
        };
        if let Some(what) = &damage {
            tracing::warn!(%digest, what, "a bundle was changed on this machine's disk and is unpacked again");
            self.unpack_to(digest, folder).await?;
        }
        *looked = Looked { at: Some(Instant::now()), took: begun.elapsed() };
        Ok(damage)
    }

    async fn fetch(&self, digest: &Digest) -> Result<BundleFolder, BundleError> {
        let folder = self.folder.join(digest.as_str());
        if fs::metadata(&folder).is_ok_and(|found| found.is_dir()) {
            drop(touch(&folder));
            return Ok(Arc::new(folder));
        }
        self.unpack_to(digest, &folder).await?;
        Ok(Arc::new(folder))
    }

    /// Unpacks to where nothing is yet, or in the place of what is there.
    async fn unpack_to(&self, digest: &Digest, folder: &Path) -> Result<(), BundleError> {
        let packed = self.store.get(digest.as_str()).await;
        let packed = packed.map_err(|why| BundleError::Fetch { digest: digest.clone(), why })?;
        let (digest, root, in_use) = (digest.clone(), self.folder.clone(), self.in_use());
        let folder = folder.to_owned();
        let work = move || {
            let half = root.join(format!(".half-{}", dagbok_runtime::fresh_id()));
            let unpacked =
                unpack(&packed, &half).and_then(|()| settle(&half, &folder).map_err(Unpack::Disk));
            if half.exists() {
                drop(remove_tree(&half));
            }
            trim(&root, &in_use);
            match unpacked {
                Ok(()) => Ok(()),
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

/// Gives an unpacked folder its name, and its seal. What stood there before is in `half` then.
fn settle(half: &Path, folder: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let seal = Seal::of(half)?;
    // A folder can only be renamed by who may write to it.
    seal::let_write(half)?;
    match fs::rename(half, folder) {
        Err(_) if folder.is_dir() => {
            seal::let_write(folder)?;
            renameat_with(CWD, half, CWD, folder, RenameFlags::EXCHANGE)?;
        }
        other => other?,
    }
    seal::forbid_writing(folder)?;
    seal.write(folder)
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
            drop(remove_tree(&path));
            drop(fs::remove_file(seal::path_of(&path)));
        }
    }
}

#[cfg(test)]
mod tests;
