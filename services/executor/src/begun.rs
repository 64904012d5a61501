//! Marks on the disk of tries whose code may run before their start is a fact. A start is told while it
//! happens, since waiting for the scheduler's word would cost each try its latency; so an executor that is
//! killed in between leaves a try of which the log knows only that it was queued. Whoever starts next in the
//! same home says so, before it takes up any work: that try is lost, and its number is not used again.
//!
//! The marks outlive a kill, not the machine's loss of power: they are not synced, for each try would wait.
use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use dagbok_events::{ExecutorId, LostWhy, TryKey, decode_any, encode_any};
use dagbok_protocol::{Refusal, ReportBody};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::{sync::oneshot, time::timeout};

use crate::{
    log::{LogFolder, the_dead},
    reports::Unreportable,
    shared::Shared,
};

/// How long the scheduler may take to hear of one. Where none is there, nothing is offered to us either.
const HEARD_WITHIN: Duration = Duration::from_secs(30);

/// The marks of one executor: a file that only grows while tries are marked, and is emptied when none is.
#[derive(Debug)]
pub(crate) struct Begun {
    all: PathBuf,
    own: PathBuf,
    /// What an earlier life of the same name had marked.
    before: Vec<TryKey>,
    marks: Mutex<Marks>,
}

/// The file's name, in a folder of each executor's own.
const MARKS: &str = "marks";
/// A file that is longer than this many bytes is written anew with the marks that stand.
const LONG: u64 = 1 << 20;

#[derive(Debug)]
struct Marks {
    file: fs::File,
    bytes: u64,
    standing: BTreeSet<TryKey>,
}

/// One line of the file, in MessagePack behind its length.
#[derive(Serialize, Deserialize)]
enum Word {
    /// This try may begin.
    Marked(TryKey),
    /// Its start is a fact, or it is over by the log.
    Unmarked(TryKey),
}

impl Begun {
    /// In a folder of its own below `all`.
    pub(crate) fn open(all: PathBuf, executor: &ExecutorId) -> io::Result<Self> {
        let own = all.join(executor.as_str());
        fs::create_dir_all(&own)?;
        let before = marked_in(&own);
        let marks = Mutex::new(Marks::write(&own, before.iter().cloned().collect())?);
        Ok(Self { all, own, before, marks })
    }

    /// This try may begin now. Blocks for the time that it takes to write to the page cache.
    pub(crate) fn mark(&self, key: &TryKey) -> io::Result<()> {
        let mut marks = self.marks.lock();
        if marks.bytes > LONG {
            *marks = Marks::write(&self.own, std::mem::take(&mut marks.standing))?;
        }
        marks.say(&Word::Marked(key.clone()))?;
        marks.standing.insert(key.clone());
        Ok(())
    }

    /// Whether this try is marked.
    pub(crate) fn is_marked(&self, key: &TryKey) -> bool {
        self.marks.lock().standing.contains(key)
    }

    /// Its start is a fact, or it is over by the log.
    pub(crate) fn unmark(&self, key: &TryKey) {
        let mut marks = self.marks.lock();
        if !marks.standing.remove(key) {
            return;
        }
        let said = if marks.standing.is_empty() {
            marks.empty()
        } else {
            marks.say(&Word::Unmarked(key.clone()))
        };
        if let Err(error) = said {
            // It is told once more by whoever reads it, and refused.
            tracing::warn!(%key, %error, "a mark stays on this machine's disk");
        }
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
        if self.marks.lock().standing.is_empty() {
            drop(fs::remove_dir_all(&self.own));
        }
    }
}

impl Marks {
    /// A file with these marks in the place of the one that is there.
    fn write(folder: &Path, standing: BTreeSet<TryKey>) -> io::Result<Self> {
        let half = folder.join(format!("{MARKS}.half"));
        let file = fs::OpenOptions::new().create(true).append(true).open(&half)?;
        file.set_len(0)?;
        let mut marks = Self { file, bytes: 0, standing: BTreeSet::new() };
        for key in &standing {
            marks.say(&Word::Marked(key.clone()))?;
        }
        fs::rename(&half, folder.join(MARKS))?;
        Ok(Self { standing, ..marks })
    }

    fn say(&mut self, word: &Word) -> io::Result<()> {
        let word = encode_any(word);
        let length = u32::try_from(word.len()).map_err(io::Error::other)?;
        let line = [&length.to_le_bytes(), word.as_slice()].concat();
        // In one write: a kill leaves all of it or nothing.
        self.file.write_all(&line)?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    fn empty(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.bytes = 0;
        Ok(())
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

/// The marks that stand in a folder. One that a kill tore was not followed by a fork, and is none.
fn marked_in(folder: &Path) -> Vec<TryKey> {
    let bytes = fs::read(folder.join(MARKS)).unwrap_or_default();
    let (mut rest, mut standing) = (bytes.as_slice(), BTreeSet::new());
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let Some((word, behind)) = behind.split_at_checked(length) else { break };
        match decode_any(word) {
            Ok(Word::Marked(key)) => standing.insert(key),
            Ok(Word::Unmarked(key)) => standing.remove(&key),
            Err(_) => break,
        };
        rest = behind;
    }
    standing.into_iter().collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn key(try_number: u16) -> TryKey {
        serde_json::from_value(serde_json::json!({
            "dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "try_number": try_number,
        }))
        .unwrap()
    }

    #[test]
    fn what_is_marked_is_known_to_the_next_life_and_a_torn_mark_is_none() {
        let all = tempfile::tempdir().unwrap();
        let executor = ExecutorId::new("e").unwrap();
        let open = || Begun::open(all.path().to_owned(), &executor).unwrap();
        let file = all.path().join("e").join(MARKS);
        let begun = open();
        (1..=3).for_each(|n| begun.mark(&key(n)).unwrap());
        begun.unmark(&key(2));
        assert!(begun.is_marked(&key(1)) && !begun.is_marked(&key(2)));
        let whole = fs::read(&file).unwrap();
        assert_eq!(open().before, [key(1), key(3)]);
        fs::write(&file, &whole[..whole.len() - 1]).unwrap();
        assert_eq!(open().before, [key(1), key(2), key(3)], "the word that took one back is torn");
        let begun = open();
        (1..=3).for_each(|n| begun.unmark(&key(n)));
        assert_eq!(fs::metadata(&file).unwrap().len(), 0, "nothing is marked");
        begun.mark(&key(4)).unwrap();
        assert_eq!(open().before, [key(4)]);
    }

    #[test]
    fn a_long_file_is_written_anew_with_what_stands() {
        let all = tempfile::tempdir().unwrap();
        let executor = ExecutorId::new("e").unwrap();
        let begun = Begun::open(all.path().to_owned(), &executor).unwrap();
        begun.mark(&key(1)).unwrap();
        let file = all.path().join("e").join(MARKS);
        let mut longest = 0;
        for n in 2..20_000 {
            begun.mark(&key(n)).unwrap();
            begun.unmark(&key(n));
            longest = longest.max(fs::metadata(&file).unwrap().len());
        }
        assert!(longest < LONG + 1_000 && longest > LONG / 2, "{longest}");
        drop(begun);
        assert_eq!(Begun::open(all.path().to_owned(), &executor).unwrap().before, [key(1)]);
    }
}
