//! What executors that were killed left on the disk: the logs of the tries they had in hand. Whoever
//! starts next in the same home hands them in, so that they are kept like any other.
//!
//! Each executor has a folder of its own among the logs, and holds a lock in it for as long as it lives. A
//! home may be shared over a file system that keeps locks to each machine: so who has a presence lives
//! too, and what is handed in says nothing of its try, which may after all be in good hands.
use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use dagbok_events::{Digest, ExecutorId, LogRef, TryKey};
use dagbok_inbox::whole;
use dagbok_protocol::{ReportBody, limits::TRY_LOG_BYTES, names};

use super::{
    LogLine,
    live::{KEY, TOLD, UNTOLD},
    registry::key_of,
};
use crate::shared::Shared;

/// The lock's file in an executor's folder.
const LOCK: &str = ".lock";
/// What can't be handed in stays for people to look at for this long.
const EVIDENCE_FOR: Duration = Duration::from_hours(7 * 24);

/// This executor's folder among the logs.
#[derive(Debug)]
pub(crate) struct LogFolder {
    /// All executors' folders are in this one.
    all: PathBuf,
    /// This one's.
    pub(crate) own: PathBuf,
    /// Held while this executor lives.
    _lock: File,
}

impl LogFolder {
    /// Makes it below `all`; blocks on the disk.
    pub(crate) fn make(all: PathBuf, executor: &ExecutorId) -> io::Result<Self> {
        let own = all.join(executor.as_str());
        let path = own.join(LOCK);
        for _ in 0..10 {
            fs::create_dir_all(&own)?;
            let made = File::create(&path).and_then(|lock| lock.lock().map(|()| lock));
            match made {
                // Somebody who cleans up may have taken the empty folder away.
                Ok(lock) if path.exists() => return Ok(Self { all, own, _lock: lock }),
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Err(io::Error::other(format!("{} is taken away again and again", own.display())))
    }

    /// Removes it, but for what was not reported. Blocks on the disk.
    pub(crate) fn tidy(&self) {
        clear(&self.own);
    }
}

/// An executor's folder that nobody holds any more.
struct Left {
    executor: ExecutorId,
    folder: PathBuf,
    tries: Vec<(TryKey, PathBuf)>,
    /// Held, so that two that start at once don't both hand it in.
    _lock: File,
}

/// Hands in every log that dead executors left. Looks again now and then, until none of those that it
/// found could be alive.
pub(crate) async fn hand_in(shared: Arc<Shared>, folder: Arc<LogFolder>) {
    loop {
        let (all, own) = (folder.all.clone(), folder.own.clone());
        let found = tokio::task::spawn_blocking(move || find(&all, &own)).await.unwrap_or_default();
        let mut later = false;
        for left in found {
            if may_live(&shared, &left.executor).await {
                later = true;
            } else {
                hand_in_all(&shared, left).await;
            }
        }
        if !later {
            return;
        }
        tokio::time::sleep(shared.settings.lease / 4).await;
    }
}

/// Those of `executors`, all of this home, that are surely dead. While what is returned is kept, nobody else
/// speaks for them.
pub(crate) async fn the_dead(
    shared: &Shared,
    folder: &LogFolder,
    executors: Vec<ExecutorId>,
) -> Vec<Dead> {
    let (all, own) = (folder.all.clone(), folder.own.clone());
    let look = move || {
        for executor in &executors {
            drop(fs::create_dir_all(all.join(executor.as_str())));
        }
        let mut found = find(&all, &own);
        found.retain(|left| executors.contains(&left.executor));
        found
    };
    let found = tokio::task::spawn_blocking(look).await.unwrap_or_default();
    let mut dead = Vec::new();
    for Left { executor, _lock: lock, .. } in found {
        if !may_live(shared, &executor).await {
            dead.push(Dead { executor, _lock: lock });
        }
    }
    dead
}

/// An executor that is dead.
#[derive(Debug)]
pub(crate) struct Dead {
    /// Which.
    pub(crate) executor: ExecutorId,
    /// Held, so that two that start at once don't both speak for it.
    _lock: File,
}

/// Whether an executor has a presence, or may have one that can't be read now.
async fn may_live(shared: &Shared, executor: &ExecutorId) -> bool {
    let presence = whole::get(&*shared.ports.state, &names::presence_key(executor)).await;
    !matches!(presence, Ok(None))
}

async fn hand_in_all(shared: &Shared, left: Left) {
    for (key, path) in &left.tries {
        match hand_in_one(shared, &left.executor, key, path).await {
            Ok(()) => {
                tracing::info!(%key, executor = %left.executor, "the log that a killed executor left is kept");
            }
            Err(why) => {
                tracing::warn!(%key, path = %path.display(), why, "a log that a killed executor left can't be kept");
            }
        }
    }
    drop(tokio::task::spawn_blocking(move || clear(&left.folder)).await);
}

async fn hand_in_one(
    shared: &Shared,
    executor: &ExecutorId,
    key: &TryKey,
    path: &Path,
) -> Result<(), String> {
    let (read, at) = (path.to_owned(), shared.clock.now());
    let read = tokio::task::spawn_blocking(move || {
        let text = "the executor was killed: what the try wrote after this, and what a full log was to keep of its end, is not known";
        whole(&read, &LogLine::system(at, "error", text))
    });
    let (bytes, lines) =
        read.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    let size = bytes.len() as u64;
    let digest = Digest::new(shared.store.put(bytes).await?).map_err(|error| error.to_string())?;
    let body = ReportBody::Left { log: LogRef { digest, size, lines, dropped: 0, usage: None } };
    let report = shared.reporter.report_of(executor.clone(), key, body);
    report.send().await.map_err(|error| error.to_string())?;
    let told = path.with_extension(TOLD);
    let renamed = tokio::fs::rename(path, told).await;
    renamed.map_err(|error| format!("it is handed in, and stays on the disk: {error}"))
}

/// A log's whole lines, with one more; the line that a kill tore goes.
fn whole(path: &Path, last: &LogLine) -> io::Result<(Bytes, u64)> {
    use io::Read as _;
    let mut bytes = Vec::new();
    File::open(path)?.take(TRY_LOG_BYTES as u64).read_to_end(&mut bytes)?;
    bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
    serde_json::to_writer(&mut bytes, last)?;
    bytes.push(b'\n');
    let lines = bytes.split(|byte| *byte == b'\n').count() as u64 - 1;
    Ok((Bytes::from(bytes), lines))
}

/// The folders of dead executors, each held now.
fn find(all: &Path, own: &Path) -> Vec<Left> {
    let mut found = Vec::new();
    for entry in fs::read_dir(all).into_iter().flatten().flatten() {
        let folder = entry.path();
        let named = entry.file_name().into_string().ok().and_then(|id| ExecutorId::new(id).ok());
        let Some(executor) = named.filter(|_| folder != own && folder.is_dir()) else { continue };
        let Ok(lock) = File::options().append(true).create(true).open(folder.join(LOCK)) else {
            continue;
        };
        match lock.try_lock() {
            Ok(()) => {
                let tries = logs_in(&folder);
                found.push(Left { executor, folder, tries, _lock: lock });
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => {
                tracing::warn!(folder = %folder.display(), %error, "a folder of logs can't be locked");
            }
        }
    }
    found
}

/// The logs in an executor's folder that were not handed in, with their tries.
fn logs_in(folder: &Path) -> Vec<(TryKey, PathBuf)> {
    let ends_so = |path: &PathBuf| path.extension().is_some_and(|it| it == UNTOLD);
    let mut found = Vec::new();
    for path in files(folder).into_iter().filter(ends_so) {
        if let Some(key) = key_of(folder, &path) {
            found.push((key, path));
        } else {
            let path = path.display();
            tracing::warn!(%path, "nothing says which try this log is of; it stays for a week");
        }
    }
    found
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Removes what was handed in or is old, and every folder that is empty then.
fn clear(folder: &Path) {
    let is_old = |path: &Path| {
        let modified = fs::metadata(path).and_then(|found| found.modified());
        modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > EVIDENCE_FOR))
    };
    for path in files(folder) {
        let ends_in = |end: &str| path.extension().is_some_and(|it| it == end);
        let is_done = ends_in(TOLD) || (ends_in(KEY) && !path.with_extension(UNTOLD).exists());
        if is_done || is_old(&path) {
            drop(fs::remove_file(&path));
        }
    }
    remove_empty(folder);
    if files(folder) == [folder.join(LOCK)] {
        drop(fs::remove_file(folder.join(LOCK)));
        drop(fs::remove_dir(folder));
    }
}

fn remove_empty(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty(&entry.path());
            // Refused where something is left in it, as it should be.
            drop(fs::remove_dir(entry.path()));
        }
    }
}

#[cfg(test)]
mod tests {
    use dagbok_events::Timestamp;

    use super::*;

    #[test]
    fn of_a_log_that_was_left_so_many_bytes_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("try.log");
        let line = [b"x".repeat(1_023), b"\n".to_vec()].concat();
        let all = line.repeat(TRY_LOG_BYTES / line.len() + 5);
        fs::write(&path, &all).unwrap();
        let last = LogLine::system(Timestamp(0), "error", "it was killed".to_owned());
        let (bytes, lines) = whole(&path, &last).unwrap();
        let end = serde_json::to_vec(&last).unwrap().len() + 1;
        assert_eq!(bytes.len(), TRY_LOG_BYTES + end);
        assert_eq!(usize::try_from(lines).unwrap(), TRY_LOG_BYTES / line.len() + 1);
    }
}
