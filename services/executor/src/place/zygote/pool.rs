//! All zygotes of an executor, the place where its tries run: the base, started again when it dies, and one
//! for each DAG file in use.
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use dagbok_events::file_in;
use dagbok_protocol::WorkItem;
use dagbok_runtime::Backoff;
use parking_lot::Mutex;
use tokio::{
    sync::{OnceCell, watch},
    time::{Instant, timeout},
};

use super::{
    Zygote,
    apart::Apart,
    base::{self, Base},
    fork::fork,
    load::load,
    message::ToZygote,
};
use crate::{
    ExecutorSettings, ExecutorStats,
    log::Masks,
    place::{Orphaned, Place, PlaceError, Start, Started},
    shared::since_boot,
};

/// How long a try waits for the base zygote to be there again.
const BASE_WAIT: Duration = Duration::from_mins(1);
/// How long a word about the lease may take to go out.
const TICK_WAIT: Duration = Duration::from_millis(100);
/// How long the base zygote may take to end by itself.
const END_WAIT: Duration = Duration::from_secs(2);

/// Who is to fork a try.
#[derive(Debug)]
pub(super) struct Parent {
    /// The process that does.
    pub(super) zygote: Arc<Zygote>,
    /// Whether the child must load the DAG file itself.
    pub(super) load_in_child: bool,
    /// The process that was started for this try alone; it goes when this is dropped.
    pub(super) apart: Option<Base>,
}

type FileKey = (String, String);

#[derive(Debug)]
enum Loaded {
    Own(Arc<Zygote>),
    /// The import left threads behind: forking it is unsafe, so each child loads the file itself.
    InChild,
}

#[derive(Debug)]
struct Slot {
    loaded: OnceCell<Loaded>,
    used: Mutex<Instant>,
}

/// All zygotes.
#[derive(Debug)]
pub(crate) struct Pool {
    settings: ExecutorSettings,
    masks: Masks,
    base: watch::Sender<Option<Arc<Zygote>>>,
    python: Mutex<String>,
    files: Mutex<BTreeMap<FileKey, Arc<Slot>>>,
    all: Mutex<Vec<Weak<Zygote>>>,
    /// Whose tries don't share a process.
    apart: Apart,
    /// Until when tries may go on, as last told to all zygotes; since boot.
    good_until: Mutex<Option<Duration>>,
    /// Counts process starts, to name each.
    launches: AtomicU64,
}

impl Pool {
    /// Starts the base zygote; fails where Python itself does.
    pub(crate) async fn start(
        settings: ExecutorSettings,
        masks: Masks,
    ) -> Result<(Arc<Self>, Base), String> {
        let base = base::start(&settings, &masks).await?;
        let pool = Arc::new(Self {
            settings,
            masks,
            base: watch::channel(None).0,
            python: Mutex::default(),
            files: Mutex::default(),
            all: Mutex::default(),
            apart: Apart::default(),
            good_until: Mutex::default(),
            launches: AtomicU64::new(0),
        });
        pool.install(&base).await;
        Ok((pool, base))
    }

    async fn install(&self, base: &Base) {
        self.python.lock().clone_from(&base.ready.python);
        self.remember(&base.zygote).await;
        self.base.send_replace(Some(Arc::clone(&base.zygote)));
    }

    /// A new zygote hears of the lease before it is given a try.
    async fn remember(&self, zygote: &Arc<Zygote>) {
        {
            let mut all = self.all.lock();
            all.retain(|one| one.strong_count() > 0);
            all.push(Arc::downgrade(zygote));
        }
        let good_until = *self.good_until.lock();
        if let Some(until) = good_until {
            tick(zygote, until.saturating_sub(since_boot())).await;
        }
    }

    /// Keeps a base zygote alive until `end` completes; then ends all of them.
    pub(crate) async fn supervise(self: Arc<Self>, mut base: Base, end: impl Future<Output = ()>) {
        let mut end = std::pin::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => break,
                () = base.zygote.gone() => {}
            }
            self.base.send_replace(None);
            tracing::warn!("the base zygote is gone and is started again");
            drop(base.child.kill().await);
            base = tokio::select! {
                () = &mut end => return,
                again = self.start_again() => again,
            };
            self.install(&base).await;
        }
        self.base.send_replace(None);
        self.files.lock().clear();
        let Base { zygote, mut child, .. } = base;
        drop(zygote);
        if timeout(END_WAIT, child.wait()).await.is_err() {
            drop(child.kill().await);
        }
    }

    async fn start_again(&self) -> Base {
        let mut backoff = Backoff::default();
        loop {
            match base::start(&self.settings, &self.masks).await {
                Ok(base) => return base,
                Err(why) => {
                    if backoff.is_worth_telling() {
                        tracing::error!(why, "the base zygote does not start; trying again");
                    }
                }
            }
            backoff.pause().await;
        }
    }

    /// Who forks a try of this file: the file's own zygote, loaded now where it is not yet.
    pub(super) async fn parent(
        &self,
        digest: &str,
        folder: &Path,
        file: &str,
    ) -> Result<Parent, PlaceError> {
        let slot = self.slot((digest.to_owned(), file.to_owned()));
        let loaded = slot.loaded.get_or_try_init(|| self.load(folder, file)).await?;
        match loaded {
            Loaded::Own(zygote) => {
                Ok(Parent { zygote: Arc::clone(zygote), load_in_child: false, apart: None })
            }
            Loaded::InChild => {
                Ok(Parent { zygote: self.base().await?, load_in_child: true, apart: None })
            }
        }
    }

    /// Whether this try must not share a process with others.
    pub(super) fn must_be_apart(&self, item: &WorkItem) -> bool {
        self.apart.is_wanted(&file_of(item), &item.key)
    }

    /// A Python process that is this try's alone, whose child loads the file.
    pub(super) async fn parent_apart(&self) -> Result<Parent, PlaceError> {
        let base = base::start(&self.settings, &self.masks).await.map_err(PlaceError::Start)?;
        self.remember(&base.zygote).await;
        Ok(Parent { zygote: Arc::clone(&base.zygote), load_in_child: true, apart: Some(base) })
    }

    /// A number that no other start of a process has.
    pub(super) fn next_launch(&self) -> u64 {
        self.launches.fetch_add(1, Ordering::Relaxed)
    }

    fn slot(&self, key: FileKey) -> Arc<Slot> {
        let mut files = self.files.lock();
        let is_dead = |slot: &Arc<Slot>| matches!(slot.loaded.get(), Some(Loaded::Own(zygote)) if zygote.is_gone());
        if let Some(slot) = files.get(&key).filter(|slot| !is_dead(slot)) {
            *slot.used.lock() = Instant::now();
            return Arc::clone(slot);
        }
        let slot = Arc::new(Slot { loaded: OnceCell::new(), used: Mutex::new(Instant::now()) });
        files.insert(key, Arc::clone(&slot));
        while files.len() > self.settings.loaded_files {
            let oldest = files
                .iter()
                .filter(|(_, one)| is_idle(one))
                .min_by_key(|(_, one)| *one.used.lock());
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { break };
            files.remove(&oldest);
        }
        slot
    }

    async fn base(&self) -> Result<Arc<Zygote>, PlaceError> {
        let mut base = self.base.subscribe();
        let there = base.wait_for(Option::is_some);
        let waited = timeout(BASE_WAIT, there).await;
        let zygote = waited.ok().and_then(Result::ok).and_then(|base| base.clone());
        zygote.ok_or_else(|| PlaceError::Start("no Python process is there to run it".to_owned()))
    }

    async fn load(&self, folder: &Path, file: &str) -> Result<Loaded, PlaceError> {
        ExecutorStats::count(&self.settings.stats.loads);
        let base = self.base().await?;
        let (zygote, ready) =
            load(&base, folder, file, self.settings.load_timeout, &self.masks).await?;
        tracing::debug!(file, seconds = ready.load_seconds, pid = ready.pid, "DAG file loaded");
        if ready.fork_safe {
            let zygote = Arc::new(zygote);
            self.remember(&zygote).await;
            return Ok(Loaded::Own(zygote));
        }
        let why = ready.why.unwrap_or_default();
        tracing::info!(file, why, "this DAG file can't be forked safely: each try loads it anew");
        Ok(Loaded::InChild)
    }
}

/// An item's file, told from those of other folders.
fn file_of(item: &WorkItem) -> String {
    file_in(item.folder.as_deref(), &item.file)
}

#[async_trait]
impl Place for Pool {
    async fn start(&self, start: Start<'_>) -> Result<Started, PlaceError> {
        fork(self, &start).await
    }

    fn orphaned(&self, item: &WorkItem, how: Orphaned) {
        self.apart.orphaned(&file_of(item), &item.key, how == Orphaned::Apart);
    }

    async fn tick(&self, fence_after: Duration) {
        *self.good_until.lock() = Some(since_boot() + fence_after);
        let all: Vec<Arc<Zygote>> = self.all.lock().iter().filter_map(Weak::upgrade).collect();
        for zygote in all {
            tick(&zygote, fence_after).await;
        }
    }

    fn trim(&self) {
        let idle = self.settings.loaded_idle;
        self.files.lock().retain(|_, slot| !is_idle(slot) || slot.used.lock().elapsed() < idle);
    }

    fn python(&self) -> String {
        self.python.lock().clone()
    }
}

async fn tick(zygote: &Zygote, fence_after: Duration) {
    let word = ToZygote::Tick { fence_after: fence_after.as_secs_f64() };
    // Never waits for long: a zygote that does not read has its own end coming.
    drop(timeout(TICK_WAIT, zygote.send(&word, &[])).await);
}

/// Whether no try runs there, and nobody waits for it to load.
fn is_idle(slot: &Arc<Slot>) -> bool {
    Arc::strong_count(slot) == 1
        && match slot.loaded.get() {
            Some(Loaded::Own(zygote)) => Arc::strong_count(zygote) == 1,
            Some(Loaded::InChild) | None => true,
        }
}
