//! The read model: a fold of the log into rows that answer the API's questions at once.
//!
//! It decides nothing, may be deleted at any time, and is rebuilt when it is missing, damaged, made by
//! other rules or from another log. While it is rebuilt, readers see how far it is.
mod fold;
mod keys;
mod overlay;
mod read;
pub mod rows;
mod store;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use dagbok_projection::{
    Checkpoint, Decoded, FollowError, Mark, Pace, Progress, Projection, ProjectionError, check_log,
    follow,
};
use dagbok_runlog::{RunLog, Seq};
use dagbok_runtime::{Backoff, Shutdown};
use overlay::{Overlay, Tables};
pub use store::{OpenError, Opened, Store, StoreError};

/// Rows that stay in hand between batches, for each table.
const KEEP: usize = 4_096;
/// Entries after which the rows are flushed though no rest came.
const FLUSH_AFTER: usize = 100_000;

/// The read model as its readers hold it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ReadModel(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: ArcSwap<Store>,
    progress: Progress,
    rebuilt_because: ArcSwapOption<String>,
    dir: Option<PathBuf>,
}

/// The read model could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The store could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log could not be read, or is not to be trusted.
    #[error(transparent)]
    Follow(#[from] FollowError),
}

impl ModelError {
    /// Whether no retry can mend it, since it is the log that is not as it should be.
    fn is_about_the_log(&self) -> bool {
        match self {
            Self::Open(_) | Self::Store(_) => false,
            Self::Follow(error) => {
                !matches!(error, FollowError::Projection(_) | FollowError::Panicked(_))
            }
        }
    }
}

impl ReadModel {
    /// Opens the rows in the folder `dir`, or throw-away ones without. Does not wait for the log.
    pub fn open(dir: Option<&Path>) -> Result<Self, ModelError> {
        let opened = match dir {
            Some(dir) => Store::open(dir)?,
            None => Opened { store: Store::temporary()?, rebuilt_because: None },
        };
        let applied = opened.store.checkpoint()?.seq;
        Ok(Self(Arc::new(Inner {
            store: ArcSwap::from_pointee(opened.store),
            progress: Progress::at(applied),
            rebuilt_because: ArcSwapOption::from_pointee(opened.rebuilt_because),
            dir: dir.map(Path::to_owned),
        })))
    }

    /// The rows as they are; ask again for each request, since a rebuild replaces them.
    pub fn store(&self) -> Arc<Store> {
        self.0.store.load_full()
    }

    /// How far the rows are.
    pub fn progress(&self) -> &Progress {
        &self.0.progress
    }

    /// Why the rows were built anew, where they were since the start.
    pub fn rebuilt_because(&self) -> Option<Arc<String>> {
        self.0.rebuilt_because.load_full()
    }

    /// Folds everything that the log holds now, and returns up to where that is: for reading a log
    /// that nobody writes.
    pub async fn catch_up(&self, log: Arc<dyn RunLog>) -> Result<Seq, ModelError> {
        let last = log.last().await.map_err(FollowError::from)?;
        let shutdown = Shutdown::new();
        let model = self.clone();
        let stop = shutdown.clone();
        let following = tokio::spawn(async move { model.keep(log, &stop).await });
        while !self.progress().wait_for(last, Duration::from_secs(1)).await {
            if following.is_finished() {
                break;
            }
        }
        shutdown.start();
        match following.await {
            Ok(ended) => ended.map(|()| last),
            Err(panic) => Err(FollowError::Panicked(panic.to_string()).into()),
        }
    }

    /// Keeps the rows up to date until `shutdown` starts. Rows that turn out damaged or of another
    /// log are built anew; a log that gets shorter under a running fold ends this with an error.
    pub async fn keep(&self, log: Arc<dyn RunLog>, shutdown: &Shutdown) -> Result<(), ModelError> {
        /// Rebuilds in one life, after which something else must be wrong.
        const REBUILDS: usize = 3;
        self.check(&*log, shutdown).await;
        for left in (0..REBUILDS).rev() {
            let folder = Folder::new((*self.store()).clone())?;
            let pace = Pace::default();
            let following =
                follow(Arc::clone(&log), folder, self.progress().clone(), pace, shutdown);
            let ended =
                following.task.await.map_err(|panic| FollowError::Panicked(panic.to_string()))?;
            match ended {
                Err(error @ (FollowError::Projection(_) | FollowError::Panicked(_)))
                    if left > 0 =>
                {
                    self.start_over(error.to_string())?;
                }
                ended => return Ok(ended?),
            }
        }
        Ok(())
    }

    /// As [`ReadModel::keep`], and when the rows can't be kept (a full disk, say) tries again, with
    /// growing waits, until they can. Ends with an error only where the log itself is not to be trusted.
    pub async fn keep_on(
        &self,
        log: Arc<dyn RunLog>,
        shutdown: &Shutdown,
    ) -> Result<(), ModelError> {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
        loop {
            let error = match self.keep(Arc::clone(&log), shutdown).await {
                Ok(()) => return Ok(()),
                Err(error) if error.is_about_the_log() => return Err(error),
                Err(error) => error,
            };
            tracing::error!(%error, "the read model can't be kept; trying again");
            loop {
                if !backoff.pause_unless(shutdown).await {
                    return Ok(());
                }
                match self.start_over(error.to_string()) {
                    Ok(()) => break,
                    Err(error) => tracing::warn!(%error, "the read model can't be built anew yet"),
                }
            }
        }
    }

    /// Starts over where the rows were not made from this log; waits until the log answers.
    async fn check(&self, log: &dyn RunLog, shutdown: &Shutdown) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        loop {
            let Ok(checkpoint) = self.store().checkpoint() else { return };
            match check_log(log, &checkpoint).await {
                Err(error @ (FollowError::LogShorter { .. } | FollowError::LogReplaced { .. })) => {
                    tracing::error!(%error, "the read model was made from another log than this");
                    if let Err(error) = self.start_over(error.to_string()) {
                        tracing::error!(%error, "the read model can't be built anew");
                    }
                    return;
                }
                Err(error) => tracing::warn!(%error, "the log can't be read; trying again"),
                Ok(()) => return,
            }
            if !backoff.pause_unless(shutdown).await {
                return;
            }
        }
    }

    fn start_over(&self, because: String) -> Result<(), ModelError> {
        let opened = match &self.0.dir {
            Some(dir) => Store::start_over(dir, because)?,
            None => Opened { store: Store::temporary()?, rebuilt_because: Some(because) },
        };
        self.0.store.store(Arc::new(opened.store));
        self.0.rebuilt_because.store(opened.rebuilt_because.map(Arc::new));
        self.progress().update(|standing| {
            standing.applied = Seq::ZERO;
            standing.caught_up = false;
            standing.failed = None;
        });
        Ok(())
    }
}

/// The projection: folds batches into the rows.
#[derive(Debug)]
struct Folder {
    store: Store,
    tables: Tables,
    checkpoint: Checkpoint,
    unflushed: usize,
}

impl Folder {
    fn new(store: Store) -> Result<Self, StoreError> {
        let checkpoint = store.checkpoint()?;
        Ok(Self { store, tables: Tables::default(), checkpoint, unflushed: 0 })
    }

    fn fold(&mut self, entries: &[Decoded]) -> Result<(), StoreError> {
        let Some(last) = entries.last() else { return Ok(()) };
        let mut rows = Overlay::new(&self.store, &mut self.tables);
        for Decoded { seq, record, .. } in entries {
            fold::fold(&mut rows, seq.0, record)?;
        }
        self.checkpoint = Checkpoint { seq: last.seq, mark: Some(Mark::of(&last.payload)) };
        let changes = self.tables.take_changes(KEEP);
        self.store.write(&changes, &self.checkpoint)?;
        self.unflushed += entries.len();
        if self.unflushed >= FLUSH_AFTER {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.unflushed = 0;
        self.store.flush()
    }
}

impl Projection for Folder {
    fn checkpoint(&self) -> Checkpoint {
        self.checkpoint.clone()
    }

    fn apply(&mut self, entries: &[Decoded]) -> Result<(), ProjectionError> {
        self.fold(entries).map_err(ProjectionError::new)
    }

    fn rest(&mut self) -> Result<(), ProjectionError> {
        self.flush().map_err(ProjectionError::new)
    }
}
