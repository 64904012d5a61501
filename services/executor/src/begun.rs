//! Marks on the disk of tries whose code may run before their start is a fact. A start is told while it
//! happens, since waiting for the scheduler's word would cost each try its latency; so an executor that is
//! killed in between leaves a try of which the log knows only that it was queued. Whoever starts next in the
//! same home says so, before it takes up any work: that try is lost, and its number is not used again.
//!
//! The marks outlive a kill, not the machine's loss of power: they are not synced, for each try would wait.
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use dagbok_events::{ExecutorId, LostWhy, TryKey, decode_any, encode_any};
use dagbok_protocol::{Refusal, ReportBody};
use tokio::{sync::oneshot, time::timeout};

use crate::{
    log::{LogFolder, the_dead},
    reports::Unreportable,
    shared::Shared,
};

/// How long the scheduler may take to hear of one. Where none is there, nothing is offered to us either.
const HEARD_WITHIN: Duration = Duration::from_secs(30);

/// The marks of one executor, a file each.
#[derive(Debug)]
pub(crate) struct Begun {
    all: PathBuf,
    own: PathBuf,
    /// What an earlier life of the same name had marked.
    before: Vec<TryKey>,
}

impl Begun {
    /// In a folder of its own below `all`.
    pub(crate) fn open(all: PathBuf, executor: &ExecutorId) -> io::Result<Self> {
        let own = all.join(executor.as_str());
        fs::create_dir_all(&own)?;
        let before = marked_in(&own);
        Ok(Self { all, own, before })
    }

    /// This try may begin now. Blocks for the time that it takes to make a file in the page cache.
    pub(crate) fn mark(&self, key: &TryKey) -> io::Result<()> {
        fs::write(self.path(key), encode_any(key))
    }

    /// Whether this try is marked.
    pub(crate) fn is_marked(&self, key: &TryKey) -> bool {
        self.path(key).exists()
    }

    /// Its start is a fact, or it is over by the log.
    pub(crate) fn unmark(&self, key: &TryKey) {
        // It may be gone already.
        drop(fs::remove_file(self.path(key)));
    }

    fn path(&self, key: &TryKey) -> PathBuf {
        self.own.join(dagbok_runlog::digest_of(key.to_string().as_bytes()))
    }

    /// The other executors that have such a folder.
    fn others(&self) -> Vec<ExecutorId> {
        let entries = fs::read_dir(&self.all).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.path() != self.own)
            .filter_map(|entry| ExecutorId::new(entry.file_name().to_str()?).ok())
            .collect()
    }

    fn folder_of(&self, executor: &ExecutorId) -> PathBuf {
        self.all.join(executor.as_str())
    }

    /// Removes the folder, where nothing is marked.
    pub(crate) fn tidy(&self) {
        drop(fs::remove_dir(&self.own));
    }
}

/// Sends a report about a try that is marked, and takes the mark away once the scheduler has answered, however
/// long after the try's end: what is in the inbox alone may be lost with a process that has the inbox within.
/// What is returned tells when the inbox has it, or that it never will; `then` hears the answer.
pub(crate) fn report_marked(
    shared: &Arc<Shared>,
    key: TryKey,
    body: ReportBody,
    then: impl FnOnce(Result<(), Refusal>) + Send + 'static,
) -> oneshot::Receiver<Result<(), Unreportable>> {
    let (tell, told) = oneshot::channel();
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let report = shared.reporter.report(&key, body);
        let waiting = match report.send_asking().await {
            Ok(waiting) => waiting,
            Err(error) => {
                report.forget();
                drop(tell.send(Err(error)));
                return;
            }
        };
        drop(tell.send(Ok(())));
        let answer = report.answer(waiting).await;
        shared.begun.unmark(&key);
        then(answer);
    });
    told
}

/// A mark that a kill tore was not followed by a fork, and is none.
fn marked_in(folder: &Path) -> Vec<TryKey> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| decode_any(&fs::read(entry.path()).ok()?).ok()).collect()
}

/// Reports what dead executors of this home had begun, and waits until that is decided.
pub(crate) async fn hand_in(shared: &Shared, folder: &LogFolder) {
    let begun = &shared.begun;
    for key in &begun.before {
        if !tell(shared, &shared.settings.executor, key).await {
            return;
        }
        begun.unmark(key);
    }
    for dead in the_dead(shared, folder, begun.others()).await {
        let marks = begun.folder_of(&dead.executor);
        for key in marked_in(&marks) {
            if !tell(shared, &dead.executor, &key).await {
                return;
            }
        }
        drop(fs::remove_dir_all(marks));
    }
}

/// Whether a scheduler heard it.
async fn tell(shared: &Shared, executor: &ExecutorId, key: &TryKey) -> bool {
    let body = ReportBody::Lost { why: LostWhy::MayHaveBegun, usage: None, log: None };
    let report = shared.reporter.report_of(executor.clone(), key, body);
    let asked = async {
        let waiting = report.send_asking().await.ok()?;
        Some(report.answer(waiting).await)
    };
    let answer = timeout(HEARD_WITHIN, asked).await;
    report.forget();
    match answer {
        Ok(Some(Ok(()))) => {
            tracing::info!(%key, %executor, "a killed executor may have begun this try: it is lost");
            true
        }
        // It was known to have begun, or is over.
        Ok(Some(Err(_))) => true,
        Ok(None) | Err(_) => {
            tracing::warn!(%key, "no scheduler heard that a killed executor may have begun this try");
            false
        }
    }
}
