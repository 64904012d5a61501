//! What of a store's folder can be used: the cold rows, and of the generations above them those that stand on them.
//!
//! A process that is killed, or a power cut, may leave a generation whose files should be gone, one that lost its
//! end, or one that stands on what another lost. The rows then begin again where those below them end, and the log
//! is folded from there.
use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    cold::Cold,
    hot::{Hot, OpenFailure, Said},
    levels::Levels,
    store::{META, Meta, OpenError, StoreError, unpack},
};

/// Why a folder's rows can't be had.
pub(crate) enum Failure {
    /// Building them anew would not help.
    Fatal(OpenError),
    /// They are to be built anew.
    Useless(String),
}

/// A folder in use: nobody else opens it.
pub(crate) struct Claim {
    pub(crate) root: PathBuf,
    _lock: File,
}

/// Opens the rows in the folder `dir`, or makes some.
pub(crate) fn open(dir: &Path, version: u32) -> Result<(Claim, Levels), Failure> {
    let claim = claim(dir)?;
    let levels = levels(&claim.root, version)?;
    Ok((claim, levels))
}

fn claim(dir: &Path) -> Result<Claim, Failure> {
    let disk = |source| Failure::Fatal(OpenError::Disk { path: dir.to_owned(), source });
    if dir.join("conf").exists() {
        return Err(Failure::Useless("its files are laid out as an earlier build did".to_owned()));
    }
    let root = match numbered(dir, "rows-").map_err(disk)?.pop() {
        Some((_, root)) => root,
        None => dir.join(format!("rows-{}", beyond(dir).map_err(disk)?)),
    };
    fs::create_dir_all(&root).map_err(disk)?;
    let lock = File::create(root.join("lock")).map_err(disk)?;
    match lock.try_lock() {
        Ok(()) => Ok(Claim { root, _lock: lock }),
        Err(TryLockError::WouldBlock) => Err(Failure::Fatal(OpenError::InUse(dir.to_owned()))),
        Err(TryLockError::Error(error)) => Err(disk(error)),
    }
}

/// A number that no folder had which was set aside: readers of that one may still write to where it was.
fn beyond(dir: &Path) -> io::Result<u64> {
    let aside = dir.with_extension("set-aside");
    let last = if aside.exists() { numbered(&aside, "rows-")?.pop() } else { None };
    Ok(last.map_or(0, |(number, _)| number) + 1)
}

/// The folders in `dir` whose names are `prefix` and a number, by that.
fn numbered(dir: &Path, prefix: &str) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(prefix)?.parse().ok());
        found.extend(number.map(|number| (number, entry.path())));
    }
    found.sort();
    Ok(found)
}

/// Where a generation is.
pub(crate) fn generation(root: &Path, number: u64) -> PathBuf {
    root.join(format!("generation-{number}"))
}

/// Where the cold rows are.
pub(crate) fn cold(root: &Path) -> PathBuf {
    root.join("cold")
}

fn levels(root: &Path, version: u32) -> Result<Levels, Failure> {
    let cold_dir = cold(root);
    let cold = if cold_dir.exists() {
        Some(Cold::open(&cold_dir).map_err(|error| of_cold(root, error))?)
    } else {
        None
    };
    let settled = cold.as_ref().map(|cold| cold.get(META)).transpose().map_err(unreadable)?;
    let settled = meta(settled.flatten().as_deref(), version)?;
    let (number, base) = settled.map_or((0, 0), |meta| (meta.generation, meta.seq));
    let mut usable = usable(root, version, (number, base, cold.is_some()))?;
    let hot = match usable.pop() {
        Some(hot) => hot,
        None => opened(root, number + 1, base)?,
    };
    let settling = usable.pop().map(Arc::new);
    if let Some(third) = usable.pop() {
        return Err(Failure::Useless(format!(
            "generation {} of its rows never settled",
            third.number
        )));
    }
    // A generation moves to cold rows that are there.
    let cold = match (cold, &settling) {
        (None, Some(_)) => Some(Cold::open(&cold_dir).map_err(|error| of_cold(root, error))?),
        (cold, _) => cold,
    };
    Ok(Levels { hot: Arc::new(hot), settling, cold })
}

/// The generations that stand on the cold rows, which end with generation `number` and the entry `base`, and on each
/// other. The others go.
fn usable(
    root: &Path,
    version: u32,
    (mut number, mut base, mut is_over_rows): (u64, u64, bool),
) -> Result<Vec<Hot>, Failure> {
    let disk = |source| Failure::Fatal(OpenError::Disk { path: root.to_owned(), source });
    let mut usable = Vec::new();
    let mut broken = false;
    for (found, path) in numbered(root, "generation-").map_err(disk)? {
        if found <= number || broken || found != number + 1 {
            broken |= found > number;
            discard(&path, "they have moved, or stand on rows that are lost");
            continue;
        }
        let hot = match opened(root, found, base) {
            Ok(hot) => hot,
            Err(Failure::Useless(why)) if is_over_rows => {
                broken = true;
                discard(&path, &why);
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let said = hot.get(META).map_err(unreadable)?.and_then(Said::row);
        if let Some(meta) = meta(said.as_deref(), version)? {
            if meta.base != base {
                broken = true;
                hot.spend();
                continue;
            }
            base = meta.seq;
        }
        (number, is_over_rows) = (found, true);
        usable.push(hot);
    }
    Ok(usable)
}

fn discard(path: &Path, why: &str) {
    tracing::warn!(path = %path.display(), why, "the newest rows are of no use, and are folded again");
    if let Err(error) = fs::remove_dir_all(path) {
        tracing::warn!(path = %path.display(), %error, "they are left on the disk");
    }
}

fn opened(root: &Path, number: u64, base: u64) -> Result<Hot, Failure> {
    let path = root.parent().unwrap_or(root).to_owned();
    Hot::open(&generation(root, number), number, base).map_err(|failure| match failure {
        OpenFailure::InUse => Failure::Fatal(OpenError::InUse(path)),
        OpenFailure::Disk(source) => Failure::Fatal(OpenError::Disk { path, source }),
        OpenFailure::Damaged(why) => Failure::Useless(format!("it is damaged: {why}")),
    })
}

fn meta(bytes: Option<&[u8]>, version: u32) -> Result<Option<Meta>, Failure> {
    let meta: Option<Meta> = bytes.map(unpack).transpose().map_err(unreadable)?;
    match meta {
        Some(Meta { version: found, .. }) if found != version => Err(Failure::Useless(format!(
            "its rows are of version {found}, and this build makes version {version}"
        ))),
        meta => Ok(meta),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "what `map_err` hands over")]
fn unreadable(error: StoreError) -> Failure {
    Failure::Useless(format!("it is damaged: {error}"))
}

fn of_cold(root: &Path, error: lsm_tree::Error) -> Failure {
    use io::ErrorKind as Kind;
    let path = root.parent().unwrap_or(root).to_owned();
    match error {
        lsm_tree::Error::Io(source)
            if matches!(
                source.kind(),
                Kind::PermissionDenied
                    | Kind::StorageFull
                    | Kind::ReadOnlyFilesystem
                    | Kind::QuotaExceeded
            ) =>
        {
            Failure::Fatal(OpenError::Disk { path, source })
        }
        error => Failure::Useless(format!("its cold rows are damaged: {error}")),
    }
}
