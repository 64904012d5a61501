//! What the log is kept in: the real log in memory, its real archive in files, the real snapshots, and the
//! scheduler's own ways of loading and archiving. Only a crash is made up: a trim that breaks off.
use std::{future::Future, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use dagbok_archive::{Archive, Span, Whole};
use dagbok_domain::namespace::{ColdRun, Namespace};
use dagbok_events::{Record, RunKey, Scope, Timestamp, decode, subject_of};
use dagbok_runlog::{
    AppendError, Base, Chain, Draft, Entry, LogMark, PortError, PortResult, Ports, ReadLimit,
    RunLog, Seq,
    memory::{self, MemoryLog, MemorySnapshots},
};
use dagbok_scheduler::{Archiving, Loaded, SchedulerError, archive_old, load, store_snapshot};
use futures::stream::BoxStream;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// Where whoever archives dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Break {
    /// The archive has the entries, and the log too.
    BeforeTrim,
    /// The log has let them go, and nobody heard.
    AfterTrim,
}

/// A log whose next trim may be broken off.
#[derive(Debug, Default)]
struct Breakable {
    log: MemoryLog,
    breaks: Mutex<Option<Break>>,
}

/// All that is kept.
#[derive(Debug)]
pub(crate) struct Storage {
    runtime: Runtime,
    ports: Ports,
    log: Arc<Breakable>,
    archive: Archive,
    dir: TempDir,
}

impl Storage {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        // In memory where there is such a place: what a disk does to files is tested elsewhere.
        let shared = PathBuf::from("/dev/shm");
        let place = if shared.is_dir() { shared } else { std::env::temp_dir() };
        let dir = TempDir::with_prefix_in("dagbok-simulation-", place).expect("a folder");
        let (log, archive) = (Arc::new(Breakable::default()), Archive::new(dir.path()));
        let whole = Whole::new(Arc::clone(&log) as Arc<dyn RunLog>, archive.clone());
        let ports = Ports { log: Arc::new(whole), ..memory::ports() };
        Self { runtime, ports, log, archive, dir }
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Puts an entry at the log's end.
    pub(crate) fn append(&self, subject: &str, payload: &[u8]) {
        let draft = Draft { subject: subject.to_owned(), payload: payload.to_vec().into() };
        let appended = self.wait(async {
            let last = self.ports.log.last().await?;
            self.ports.log.append(last, vec![draft]).await
        });
        appended.expect("nobody else writes");
    }

    /// The fold of all there is, as a scheduler makes it; `None` where an entry is no record and no word says
    /// so.
    pub(crate) fn load(&self, from_snapshot: bool) -> Option<Loaded> {
        let mut ports = self.ports.clone();
        if !from_snapshot {
            ports.snapshots = Arc::new(MemorySnapshots::default());
        }
        match self.wait(load(&ports, false)) {
            Ok(loaded) => Some(loaded),
            Err(SchedulerError::Record { .. }) => None,
            Err(error) => panic!("the log can't be loaded: {error}"),
        }
    }

    /// Stores a snapshot, as a scheduler does.
    pub(crate) fn store_snapshot(&self, fold: &Namespace) {
        self.wait(store_snapshot(&self.ports, fold));
    }

    /// What `fold` needs to take up a run that is over, out of the entries up to `upto`.
    pub(crate) fn cold(&self, fold: &Namespace, key: &RunKey, upto: u64) -> ColdRun {
        let records_of = |scope: Scope| -> Vec<(u64, Record)> {
            let found = self.wait(self.ports.log.read_subject(&subject_of(&scope), Seq(upto)));
            let found = found.expect("the log can be read").into_iter();
            found.map(|it| (it.seq.0, decode(&it.payload).expect("a record"))).collect()
        };
        let of_run = records_of(Scope::Run(key.clone()));
        let own =
            ColdRun::of_run(key, of_run.iter().cloned()).expect("the log or its archive has it");
        if fold.has_versions_of(&own) {
            return own;
        }
        let of_dag = records_of(Scope::Dag(key.dag_id.clone()));
        let all = of_dag.iter().chain(&of_run).map(|(seq, record)| (*seq, record));
        ColdRun::pick(key, all).expect("the log or its archive has it")
    }

    /// Archives and trims what is older than `keep`; how many entries went. It may die on the way.
    pub(crate) fn archive_old(
        &self,
        (now, keep): (Timestamp, std::time::Duration),
        batch: usize,
        dies: Option<Break>,
    ) -> Option<u64> {
        *self.log.breaks.lock() = dies;
        let batch = ReadLimit { entries: batch, ..ReadLimit::default() };
        let archiving = Archiving { batch, ..Archiving::new(self.archive.clone(), keep) };
        let archived = self.wait(archive_old(&self.ports, &archiving, now));
        let broken = self.log.breaks.lock().take() != dies;
        match archived {
            Ok(count) => Some(count),
            Err(_) if broken => None,
            Err(error) => panic!("the log can't be archived: {error}"),
        }
    }

    /// Leaves half a file of the archive behind, as a crash in its midst does.
    pub(crate) fn half_a_file(&self) {
        let next = self.wait(self.log.base()).expect("in memory").first.0;
        let path = self.dir.path().join(format!("{next:020}-{:020}.new", next + 9));
        std::fs::write(path, b"dagbokar, and then the lights went out").expect("a file");
    }

    /// Where the log itself begins.
    pub(crate) fn base(&self) -> Base {
        self.wait(self.log.base()).expect("in memory")
    }

    /// Entries after `after` as every reader sees them, up to so many.
    pub(crate) fn read(&self, after: u64, entries: usize) -> Vec<Entry> {
        let limit = ReadLimit { entries, ..ReadLimit::default() };
        self.wait(self.ports.log.read(Seq(after), limit)).expect("the log can be read")
    }

    /// Whether all that was acknowledged is in the log or in its archive, as it was, and the chain proves it.
    pub(crate) fn holds(&self, acknowledged: &[Vec<u8>]) -> Result<(), String> {
        let (base, mut seen, mut chain) = (self.base(), 0, Chain::START);
        let span = self.archive.verify().map_err(|error| error.to_string())?;
        let archived = span.map_or(0, |Span { last, .. }| last.0);
        if base.first.0 > archived + 1 {
            let first = base.first;
            return Err(format!("the archive ends at {archived}, and the log begins at {first}"));
        }
        if let Some(mark) = self.wait(self.log.mark()).map_err(|error| error.to_string())?
            && span.is_some_and(|span| span.mark != mark)
        {
            return Err("the archive is another log's".to_owned());
        }
        loop {
            for entry in self.read(seen, 512) {
                seen += 1;
                let due = usize::try_from(seen - 1).ok().and_then(|at| acknowledged.get(at));
                if entry.seq.0 != seen || due.is_none_or(|due| due[..] != entry.payload[..]) {
                    return Err(format!(
                        "entry {} stands where {seen} was acknowledged",
                        entry.seq
                    ));
                }
                chain = chain.then(&entry);
                if seen + 1 == base.first.0 && chain != base.chain {
                    return Err(format!("the log's base has another chain than the entry {seen}"));
                }
                if span.is_some_and(|span| span.last == entry.seq && span.after != chain) {
                    return Err(format!(
                        "the archive ends with another chain than the entry {seen}"
                    ));
                }
            }
            if seen == acknowledged.len() as u64 {
                return Ok(());
            }
            if self.read(seen, 1).is_empty() {
                let due = acknowledged.len();
                return Err(format!("{due} entries were acknowledged, and {seen} are there"));
            }
        }
    }
}

#[async_trait]
impl RunLog for Breakable {
    async fn append(&self, expected: Seq, drafts: Vec<Draft>) -> Result<Seq, AppendError> {
        self.log.append(expected, drafts).await
    }

    async fn read(&self, after: Seq, limit: ReadLimit) -> PortResult<Vec<Entry>> {
        self.log.read(after, limit).await
    }

    async fn last(&self) -> PortResult<Seq> {
        self.log.last().await
    }

    fn follow(&self, after: Seq) -> BoxStream<'static, PortResult<Vec<Entry>>> {
        self.log.follow(after)
    }

    async fn base(&self) -> PortResult<Base> {
        self.log.base().await
    }

    async fn mark(&self) -> PortResult<Option<LogMark>> {
        self.log.mark().await
    }

    async fn trim(&self, below: Seq, chain: Chain) -> PortResult<Base> {
        let breaks = self.breaks.lock().take();
        let trimmed = match breaks {
            Some(Break::BeforeTrim) => None,
            Some(Break::AfterTrim) | None => Some(self.log.trim(below, chain).await?),
        };
        match (breaks, trimmed) {
            (None, Some(base)) => Ok(base),
            _ => Err(PortError::unavailable("log", "the process is gone")),
        }
    }

    fn max_payload(&self) -> usize {
        self.log.max_payload()
    }
}
