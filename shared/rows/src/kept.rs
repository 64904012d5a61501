//! The life of a projection's rows: opened, caught up, followed, and built anew when that is needed.
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use dagbok_events::Record;
use dagbok_projection::{
    Checkpoint, Decoded, FollowError, Pace, Progress, Projection, ProjectionError, check_log,
    follow,
};
use dagbok_runlog::{RunLog, Seq};
use dagbok_runtime::Shutdown;

use crate::{OpenError, Opened, Overlay, Store, StoreError, TableSet};

/// Rows that stay in hand between batches, for each table.
const KEEP: usize = 4_096;
/// Entries whose rows are written at once: larger batches of sled's are slow.
const AT_ONCE: usize = 2_048;
/// Entries after which the rows are flushed though no rest came.
const FLUSH_AFTER: usize = 100_000;

/// What records make of rows. Deterministic and total: the same records give the same rows however they
/// are batched, and no record is refused.
pub trait Fold: Send + Sync + 'static {
    /// Whose rows they are, for people: `the read model`.
    const NAME: &'static str;
    /// Of the rows and of these rules: raise it with any change of either, and the rows are built anew at
    /// the next start.
    const VERSION: u32;
    /// The tables.
    type Tables: TableSet;
    /// Rows as their readers hold them: a [`Store`], with whatever they keep beside it. A new one is made
    /// for each opening and each rebuild.
    type View: From<Store> + AsRef<Store> + Send + Sync + 'static;

    /// Changes the rows by one record.
    fn fold(
        rows: &mut Overlay<'_, Self::Tables>,
        seq: u64,
        record: &Record,
    ) -> Result<(), StoreError>;
}

/// A projection's rows as their readers hold them. Cheap to clone.
pub struct Kept<F: Fold>(Arc<Inner<F>>);

struct Inner<F: Fold> {
    view: ArcSwap<F::View>,
    progress: Progress,
    rebuilt_because: ArcSwapOption<String>,
    dir: Option<PathBuf>,
    /// Whether the rows may be built anew from a log that ends before they do.
    accepts_shorter_log: AtomicBool,
}

impl<F: Fold> Clone for Kept<F> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<F: Fold> fmt::Debug for Kept<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(F::NAME).field("progress", &self.0.progress.now()).finish_non_exhaustive()
    }
}

/// The rows could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
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

impl KeptError {
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

impl<F: Fold> Kept<F> {
    /// Opens the rows in the folder `dir`, or throw-away ones without. Does not wait for the log.
    pub fn open(dir: Option<&Path>) -> Result<Self, KeptError> {
        let opened = match dir {
            Some(dir) => Store::open(dir, F::VERSION)?,
            None => Opened { store: Store::temporary(F::VERSION)?, rebuilt_because: None },
        };
        let applied = opened.store.checkpoint()?.seq;
        Ok(Self(Arc::new(Inner {
            view: ArcSwap::from_pointee(opened.store.into()),
            progress: Progress::at(applied),
            rebuilt_because: ArcSwapOption::from_pointee(opened.rebuilt_because),
            dir: dir.map(Path::to_owned),
            accepts_shorter_log: AtomicBool::new(false),
        })))
    }

    /// The rows as they are; ask again for each request, since a rebuild replaces them.
    pub fn store(&self) -> Arc<F::View> {
        self.0.view.load_full()
    }

    fn rows(&self) -> Store {
        let view = self.store();
        (*view).as_ref().clone()
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
    pub async fn catch_up(&self, log: Arc<dyn RunLog>) -> Result<Seq, KeptError> {
        let last = log.last().await.map_err(FollowError::from)?;
        let shutdown = Shutdown::new();
        // Rows of another log may be further than this one is.
        self.settle(&*log, &shutdown).await?;
        let model = self.clone();
        let stop = shutdown.clone();
        let following = tokio::spawn(async move { model.keep_settled(log, &stop).await });
        // Who follows a log that is written to waits for the record that mends it; here there comes none.
        let mut stuck = None;
        while stuck.is_none() && !following.is_finished() {
            if self.progress().wait_for(last, Duration::from_secs(1)).await {
                break;
            }
            stuck = self.progress().now().failed;
        }
        shutdown.start();
        match (following.await, stuck) {
            (Ok(Ok(())), Some(why)) => {
                let why = ProjectionError::new(std::io::Error::other(why));
                Err(FollowError::Projection(why).into())
            }
            (Ok(ended), _) => ended.map(|()| last),
            (Err(panic), _) => Err(FollowError::Panicked(panic.to_string()).into()),
        }
    }

    /// From now on a log that ends before the rows do is taken as it is, and they are built anew.
    pub fn accept_shorter_log(&self) {
        self.0.accepts_shorter_log.store(true, Ordering::Relaxed);
    }

    /// Refuses a log that ends before the rows do: it has lost records, or a backup took its place.
    pub async fn check_log(&self, log: &dyn RunLog) -> Result<(), FollowError> {
        let Ok(checkpoint) = self.rows().checkpoint() else { return Ok(()) };
        match check_log(log, &checkpoint).await {
            Err(error @ FollowError::LogShorter { .. }) if !self.accepts_shorter_log() => {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Keeps the rows up to date until `shutdown` starts. Rows that turn out damaged or of another
    /// log are built anew; a log that is shorter than they are, or gets so, ends this with an error.
    pub async fn keep(&self, log: Arc<dyn RunLog>, shutdown: &Shutdown) -> Result<(), KeptError> {
        self.settle(&*log, shutdown).await?;
        self.keep_settled(log, shutdown).await
    }

    /// As [`Kept::keep`], of rows that are known to be this log's.
    async fn keep_settled(
        &self,
        log: Arc<dyn RunLog>,
        shutdown: &Shutdown,
    ) -> Result<(), KeptError> {
        /// Rebuilds in one life, after which something else must be wrong.
        const REBUILDS: usize = 3;
        for left in (0..REBUILDS).rev() {
            let folder = Folder::<F>::new(self.store())?;
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
    ) -> Result<(), KeptError> {
        const LONGEST_WAIT: Duration = Duration::from_secs(10);
        let mut wait = Duration::from_millis(500);
        loop {
            let error = match self.keep(Arc::clone(&log), shutdown).await {
                Ok(()) => return Ok(()),
                Err(error) if error.is_about_the_log() => return Err(error),
                Err(error) => error,
            };
            tracing::error!(%error, "{} can't be kept; trying again in {wait:?}", F::NAME);
            loop {
                tokio::select! {
                    () = shutdown.started() => return Ok(()),
                    () = tokio::time::sleep(wait) => {}
                }
                wait = (wait * 2).min(LONGEST_WAIT);
                match self.start_over(error.to_string()) {
                    Ok(()) => break,
                    Err(error) => tracing::warn!(%error, "{} can't be built anew yet", F::NAME),
                }
            }
        }
    }

    /// Holds the rows against the log, once it answers: starts over where they were not made from it, and
    /// refuses one that ends before they do.
    async fn settle(&self, log: &dyn RunLog, shutdown: &Shutdown) -> Result<(), FollowError> {
        loop {
            let Ok(checkpoint) = self.rows().checkpoint() else { return Ok(()) };
            match check_log(log, &checkpoint).await {
                Err(error @ FollowError::LogShorter { .. }) if !self.accepts_shorter_log() => {
                    return Err(error);
                }
                Err(error @ (FollowError::LogShorter { .. } | FollowError::LogReplaced { .. })) => {
                    tracing::error!(%error, "{} was made from another log than this", F::NAME);
                    if let Err(error) = self.start_over(error.to_string()) {
                        tracing::error!(%error, "{} can't be built anew", F::NAME);
                    }
                    return Ok(());
                }
                Err(error) => tracing::warn!(%error, "the log can't be read; trying again"),
                Ok(()) => return Ok(()),
            }
            tokio::select! {
                () = shutdown.started() => return Ok(()),
                () = tokio::time::sleep(Duration::from_millis(500)) => {}
            }
        }
    }

    fn accepts_shorter_log(&self) -> bool {
        self.0.accepts_shorter_log.load(Ordering::Relaxed)
    }

    fn start_over(&self, because: String) -> Result<(), KeptError> {
        let opened = match &self.0.dir {
            Some(dir) => Store::start_over(dir, F::VERSION, because)?,
            None => Opened { store: Store::temporary(F::VERSION)?, rebuilt_because: Some(because) },
        };
        self.0.view.store(Arc::new(opened.store.into()));
        self.0.rebuilt_because.store(opened.rebuilt_because.map(Arc::new));
        self.progress().update(|standing| {
            // What the old rows knew of says nothing of this log.
            (standing.applied, standing.last) = (Seq::ZERO, Seq::ZERO);
            standing.caught_up = false;
            standing.failed = None;
        });
        Ok(())
    }
}

/// The projection: folds batches into the rows.
struct Folder<F: Fold> {
    view: Arc<F::View>,
    tables: F::Tables,
    checkpoint: Checkpoint,
    unflushed: usize,
}

impl<F: Fold> Folder<F> {
    fn new(view: Arc<F::View>) -> Result<Self, StoreError> {
        let checkpoint = (*view).as_ref().checkpoint()?;
        Ok(Self { view, tables: F::Tables::default(), checkpoint, unflushed: 0 })
    }

    fn fold(&mut self, entries: &[Decoded]) -> Result<(), StoreError> {
        let Some(last) = entries.last() else { return Ok(()) };
        let store = (*self.view).as_ref();
        let mut rows = Overlay::new(store, &mut self.tables);
        for Decoded { seq, record, .. } in entries {
            F::fold(&mut rows, seq.0, record)?;
        }
        self.checkpoint = last.position().into();
        let changes = self.tables.take_changes(KEEP);
        store.write(&changes, &self.checkpoint)?;
        self.unflushed += entries.len();
        if self.unflushed >= FLUSH_AFTER {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.unflushed = 0;
        (*self.view).as_ref().flush()
    }
}

impl<F: Fold> Projection for Folder<F> {
    fn checkpoint(&self) -> Checkpoint {
        self.checkpoint
    }

    fn apply(&mut self, entries: &[Decoded]) -> Result<(), ProjectionError> {
        for part in entries.chunks(AT_ONCE) {
            self.fold(part).map_err(ProjectionError::new)?;
        }
        Ok(())
    }

    fn rest(&mut self) -> Result<(), ProjectionError> {
        self.flush().map_err(ProjectionError::new)
    }
}
