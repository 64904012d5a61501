//! A working directory for each try, removed after it; and what killed executors left of theirs.
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use dagbok_events::ExecutorId;
use tokio::time::sleep;

use crate::{
    keep,
    log::{LogFolder, the_dead},
    shared::Shared,
};

/// In an executor's home.
const WORK: &str = "work";
/// An executor that was killed may be thought to live for two leases: so often it is looked again, four times a lease.
const LOOKS: u32 = 12;

/// Where this executor's tries work.
#[derive(Debug)]
pub(crate) struct Work {
    all: PathBuf,
    own: PathBuf,
    made: AtomicU64,
}

/// One try's directory; removed when dropped.
#[derive(Debug)]
pub(crate) struct WorkFolder(PathBuf);

impl Work {
    /// In a folder of its own below `home`.
    pub(crate) fn open(home: &Path, executor: &ExecutorId) -> io::Result<Self> {
        let all = home.join(WORK);
        let own = all.join(executor.as_str());
        fs::create_dir_all(&own)?;
        Ok(Self { all, own, made: AtomicU64::new(0) })
    }

    /// A fresh directory.
    pub(crate) fn make(&self) -> io::Result<WorkFolder> {
        let path = self.own.join(self.made.fetch_add(1, Ordering::Relaxed).to_string());
        // An earlier life of the same name may have left one.
        for left in all_of(&path) {
            remove(&left)?;
        }
        fs::create_dir(&path)?;
        Ok(WorkFolder(path))
    }

    /// Removes the folder, with whatever is left in it.
    pub(crate) fn tidy(&self) {
        drop(fs::remove_dir_all(&self.own));
    }

    fn others(&self) -> Vec<ExecutorId> {
        let entries = fs::read_dir(&self.all).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.path() != self.own)
            .filter_map(|entry| ExecutorId::new(entry.file_name().to_str()?).ok())
            .collect()
    }
}

impl WorkFolder {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where the task's checkpoint is to lie, which goes with it.
    pub(crate) fn checkpoint(&self) -> PathBuf {
        keep::beside(&self.0)
    }
}

/// All that a try may leave: its directory, and its checkpoint, whole or half made.
fn all_of(work: &Path) -> [PathBuf; 3] {
    let checkpoint = keep::beside(work);
    [work.to_owned(), keep::half_of(&checkpoint), checkpoint]
}

/// Removes what is there, whatever the task put in its place.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    removed.or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.0);
        let remove = move || {
            for path in all_of(&path) {
                if let Err(error) = remove(&path) {
                    tracing::warn!(path = %path.display(), %error, "a try's working directory can't be removed");
                }
            }
        };
        // What a task downloaded may be large.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

/// Removes what killed executors of this home left, once they are surely dead.
pub(crate) async fn sweep(shared: Arc<Shared>, folder: Arc<LogFolder>) {
    for _ in 0..LOOKS {
        let others = shared.work.others();
        if others.is_empty() {
            return;
        }
        for dead in the_dead(&shared, &folder, others).await {
            let left = shared.work.all.join(dead.executor.as_str());
            let removed = tokio::task::spawn_blocking(move || fs::remove_dir_all(left)).await;
            if let Ok(Err(error)) = removed {
                tracing::warn!(executor = %dead.executor, %error, "what a killed executor's tries left can't be removed");
            }
        }
        sleep(shared.settings.lease / 4 + Duration::from_millis(50)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_goes_with_its_try_whatever_is_in_it() {
        let home = tempfile::tempdir().unwrap();
        let executor = ExecutorId::new("e").unwrap();
        let work = Work::open(home.path(), &executor).unwrap();
        let (one, two) = (work.make().unwrap(), work.make().unwrap());
        assert_ne!(one.path(), two.path());
        fs::create_dir(one.path().join("sub")).unwrap();
        fs::write(one.path().join("sub/file"), "x").unwrap();
        fs::create_dir(one.checkpoint()).unwrap();
        let half = one.path().with_extension("half");
        fs::create_dir_all(half.join("sub")).unwrap();
        let kept = one.checkpoint();
        let was = one.path().to_owned();
        drop(one);
        assert!(!was.exists() && !kept.exists() && !half.exists() && two.path().exists());
        drop(two);
        let again = Work::open(home.path(), &executor).unwrap();
        // Left by an executor of the same name that was killed, one of them by its task in the directory's place.
        fs::create_dir_all(half.join("sub")).unwrap();
        fs::write(&kept, "no directory").unwrap();
        let three = again.make().unwrap();
        assert_eq!(three.path(), was);
        assert!(was.is_dir() && !kept.exists() && !half.exists());
        drop(three);
        fs::write(home.path().join("work/e/0"), "left by a life before").unwrap();
        assert_eq!(Work::open(home.path(), &executor).unwrap().others(), []);
        work.tidy();
        assert!(!home.path().join("work/e").exists());
    }
}
