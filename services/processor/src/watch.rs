//! Wakes the processor when the folder changes. Losing a change costs time, never truth: the folder is
//! walked every so often anyway.
use std::{path::Path, time::Duration};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use crate::home::is_home;

/// A folder that never comes to rest is acted on after this many times the quiet time.
const PATIENCE: u32 = 10;

/// Watches one folder.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Kept for its thread; `None` where the system can't watch.
    _watcher: Option<RecommendedWatcher>,
    changes: mpsc::Receiver<()>,
    /// Since when a change waits for the folder to come to rest; kept here, so that a wait that is
    /// given up loses nothing.
    waits_since: Option<Instant>,
}

impl Watch {
    /// Begins to watch; where that is impossible says so once and leaves it to the walks.
    pub(crate) fn start(folder: &Path, rescan: Duration) -> Self {
        let (wake, changes) = mpsc::channel(1);
        let root = folder.to_owned();
        let handler = move |event: notify::Result<Event>| {
            if event.as_ref().map_or(true, |event| matters(event, &root)) {
                // Full means that a wake-up is on its way already.
                let _ = wake.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(handler).and_then(|mut watcher| {
            watcher.watch(folder, RecursiveMode::Recursive)?;
            Ok(watcher)
        });
        let watcher = watcher
            .inspect_err(|error| {
                tracing::warn!(folder = %folder.display(), %error, ?rescan,
                    "the DAG folder can't be watched; changes are found by walking it");
            })
            .ok();
        Self { _watcher: watcher, changes, waits_since: None }
    }

    /// Completes when something changed and the folder has been quiet for `debounce`. May be given up
    /// and begun again.
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
            let quiet = (Instant::now() + debounce).min(at_last);
            if !matches!(timeout_at(quiet, self.changes.recv()).await, Ok(Some(()))) {
                break;
            }
        }
        self.waits_since = None;
    }
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
