//! Wakes the processor when the folder changes. Losing a change costs time, never truth: the folder is
//! walked every so often anyway.
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use parking_lot::Mutex;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use crate::{folder::Walked, home::is_home, unrest::Unrest};

/// Where all that changed is whole again, this part of the quiet time is enough.
const WHOLE: u32 = 4;
/// A folder that never comes to rest is acted on after this many times the quiet time.
const PATIENCE: u32 = 10;
/// Folders that are watched, at most: the system gives each of its users so many watches.
const MOST_FOLDERS: usize = 10_000;

/// Watches the folders of one folder, each by itself: which those are is the walk's to say, since a watcher
/// that goes into links by itself may find no end.
#[derive(Debug)]
pub(crate) struct FolderWatch {
    /// `None` where the system can't watch.
    watcher: Option<RecommendedWatcher>,
    /// What is watched, by the folder that stood there then.
    watched: BTreeMap<PathBuf, (u64, u64)>,
    last: Arc<Vec<Walked>>,
    wake: mpsc::Sender<()>,
    changes: mpsc::Receiver<()>,
    /// What changed and may not be whole yet.
    unrest: Arc<Mutex<Unrest>>,
    /// Since when a change waits for the folder to come to rest; kept here, so that a wait that is
    /// given up loses nothing.
    waits_since: Option<Instant>,
}

impl FolderWatch {
    /// Begins to watch the folder itself.
    pub(crate) fn start(folder: &Path, rescan: Duration) -> Self {
        let (wake, changes) = mpsc::channel(1);
        let (root, waker) = (folder.to_owned(), wake.clone());
        let unrest = Arc::new(Mutex::new(Unrest::default()));
        let seen = Arc::clone(&unrest);
        let handler = move |event: notify::Result<Event>| {
            let is_news = event.as_ref().map_or(true, |event| matters(event, &root));
            let whole = match &event {
                Ok(event) if is_news || matches!(event.kind, EventKind::Access(_)) => {
                    seen.lock().see(event)
                }
                _ => false,
            };
            if is_news || whole {
                // Full means that a wake-up is on its way already.
                let _ = waker.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(handler);
        let watcher = watcher.inspect_err(|error| warn(folder, rescan, error)).ok();
        let mut watch = Self {
            watcher,
            watched: BTreeMap::new(),
            last: Arc::default(),
            wake,
            changes,
            unrest,
            waits_since: None,
        };
        if let Some(Err(error)) = watch.add(folder) {
            warn(folder, rescan, &error);
            watch.watcher = None;
        }
        watch
    }

    /// Watches the folders that were walked, and no others; where that is not possible for one says so once
    /// and leaves it to the walks.
    pub(crate) fn follow(&mut self, folders: &Arc<Vec<Walked>>, rescan: Duration) {
        if Arc::ptr_eq(folders, &self.last) || self.watcher.is_none() {
            return;
        }
        let before = std::mem::replace(&mut self.last, Arc::clone(folders));
        let now: BTreeMap<_, _> =
            folders.iter().take(MOST_FOLDERS).map(|it| (it.path.clone(), it.id)).collect();
        let stands = |(path, id): (&PathBuf, &(u64, u64))| now.get(path) == Some(id);
        let gone: Vec<_> =
            self.watched.iter().filter(|it| !stands(*it)).map(|it| it.0.clone()).collect();
        for path in gone {
            self.watched.remove(&path);
            // Gone with what it watched, mostly.
            let _ = self.watcher.as_mut().map(|watcher| watcher.unwatch(&path));
        }
        let mut added = false;
        for (path, id) in now {
            if self.watched.contains_key(&path) {
                continue;
            }
            match self.add(&path) {
                Some(Ok(())) => {
                    self.watched.insert(path, id);
                    added = true;
                }
                Some(Err(error)) if !matches!(error.kind, notify::ErrorKind::PathNotFound) => {
                    if !before.iter().any(|walked| walked.path == path) {
                        warn(&path, rescan, &error);
                    }
                    break;
                }
                _ => {}
            }
        }
        if added {
            // What came into a new folder before it was watched is found by another walk.
            let _ = self.wake.try_send(());
        }
    }

    fn add(&mut self, folder: &Path) -> Option<notify::Result<()>> {
        self.watcher.as_mut().map(|watcher| watcher.watch(folder, RecursiveMode::NonRecursive))
    }

    /// Completes when something changed and the folder has been quiet for `debounce`, or for a part of that where
    /// each file that changed was closed by who wrote it. May be given up and begun again.
    pub(crate) async fn changed(&mut self, debounce: Duration) {
        let since = match self.waits_since {
            Some(since) => since,
            None => match self.changes.recv().await {
                Some(()) => *self.waits_since.insert(Instant::now()),
                None => std::future::pending().await,
            },
        };
        let at_last = since + debounce * PATIENCE;
        while Instant::now() < at_last {
            let whole = self.unrest.lock().is_over();
            let quiet = if whole { debounce / WHOLE } else { debounce };
            let quiet = (Instant::now() + quiet).min(at_last);
            if !matches!(timeout_at(quiet, self.changes.recv()).await, Ok(Some(()))) {
                break;
            }
        }
        self.waits_since = None;
        *self.unrest.lock() = Unrest::default();
    }
}

fn warn(folder: &Path, rescan: Duration, error: &notify::Error) {
    tracing::warn!(folder = %folder.display(), %error, ?rescan,
        "a folder can't be watched; changes are found by walking the DAG folder");
}

/// Reading a file is no change, what Python keeps for itself is none of ours, and what an installation writes
/// in its home is nobody's news.
fn matters(event: &Event, root: &Path) -> bool {
    let cache = |path: &Path| path.components().any(|part| part.as_os_str() == "__pycache__");
    let home = |path: &Path| {
        let mut around = path.ancestors().skip(1).take_while(|folder| *folder != root);
        around.any(is_home)
    };
    !matches!(event.kind, EventKind::Access(_))
        && (event.paths.is_empty() || !event.paths.iter().all(|path| cache(path) || home(path)))
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_file_that_was_closed_is_acted_on_sooner_than_one_that_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = FolderWatch::start(folder.path(), Duration::from_mins(1));
        let debounce = Duration::from_secs(8);
        std::fs::write(folder.path().join("a.py"), "a").unwrap();
        timeout(debounce * 3 / 4, watch.changed(debounce)).await.expect("a quarter is enough");
        std::fs::remove_file(folder.path().join("a.py")).unwrap();
        let sooner = timeout(debounce / 2, watch.changed(debounce)).await;
        assert!(sooner.is_err(), "it may be about to be written anew");
    }
}
