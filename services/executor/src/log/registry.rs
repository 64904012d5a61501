//! The logs of tries in flight and just ended, for whoever follows one.
use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use dagbok_events::{
    DagId, Leg, MapIndex, RunId, TaskId, TryKey, TryNumber, decode_any, encode_any, escape_token,
    unescape_token,
};
use dagbok_protocol::{TryLogQuery, TryLogSlice};
use dagbok_runtime::Clock;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::{
    LiveLog, Masks,
    live::{KEY, UNTOLD},
};

/// How long an ended log can be read here; by then its reference is in the run log.
const KEPT_FOR: Duration = Duration::from_mins(1);
/// What ended logs may hold in memory together, in bytes.
const KEPT_BYTES: usize = 16 << 20;
/// Ended logs that are kept, however small.
const KEPT_LOGS: usize = 512;
/// The longest that one query waits.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// The most that one answer brings, in bytes.
pub(super) const MOST: usize = 512 << 10;

/// All logs of this executor.
#[derive(Debug)]
pub(crate) struct Logs {
    home: PathBuf,
    clock: Clock,
    masks: Masks,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    logs: BTreeMap<TryKey, Arc<LiveLog>>,
    ended: VecDeque<Ended>,
    ended_bytes: usize,
}

#[derive(Debug)]
struct Ended {
    at: Instant,
    key: TryKey,
    log: Arc<LiveLog>,
    bytes: usize,
}

impl Logs {
    /// Logs that spill to files under `home`, with these secrets masked in each.
    pub(crate) fn new(home: PathBuf, clock: Clock, masks: Masks) -> Self {
        Self { home, clock, masks, inner: Mutex::default() }
    }

    /// A fresh log for a try.
    pub(crate) fn begin(&self, key: &TryKey) -> Arc<LiveLog> {
        let path = path_of(&self.home, key);
        let is_told = key_in(&self.home, &path).as_ref() == Some(key);
        let log = LiveLog::new(path, self.clock.clone()).with_masks(self.masks.child());
        let log = Arc::new(if is_told { log } else { log.with_key(encode_any(key)) });
        self.inner.lock().logs.insert(key.clone(), Arc::clone(&log));
        log
    }

    /// The try is over: its log can be read a little longer, then its file is removed.
    pub(crate) fn end(&self, key: &TryKey, log: &Arc<LiveLog>) {
        log.finish();
        let bytes = log.weight();
        let ended = Ended { at: Instant::now(), key: key.clone(), log: Arc::clone(log), bytes };
        let mut inner = self.inner.lock();
        inner.ended_bytes += bytes;
        inner.ended.push_back(ended);
        drop(inner);
        self.trim();
    }

    /// The try's end, with its log, was reported.
    pub(crate) fn told(&self, key: &TryKey) {
        let log = self.inner.lock().logs.get(key).cloned();
        if let Some(log) = log.filter(|log| log.is_spilled()) {
            tokio::task::spawn_blocking(move || log.told());
        }
    }

    /// Lets go of logs that ended long ago, or that are too many or too heavy.
    pub(crate) fn trim(&self) {
        let mut spilled = vec![];
        let mut inner = self.inner.lock();
        while let Some(oldest) = inner.ended.front() {
            let few = inner.ended.len() <= KEPT_LOGS && inner.ended_bytes <= KEPT_BYTES;
            if few && oldest.at.elapsed() < KEPT_FOR {
                break;
            }
            let Some(Ended { key, log, bytes, .. }) = inner.ended.pop_front() else { break };
            inner.ended_bytes -= bytes;
            // A later delivery of the same try may have begun another log.
            if inner.logs.get(&key).is_some_and(|now| Arc::ptr_eq(now, &log)) {
                inner.logs.remove(&key);
            }
            if log.is_spilled() {
                spilled.push(log);
            }
        }
        drop(inner);
        if !spilled.is_empty() {
            tokio::task::spawn_blocking(move || spilled.iter().for_each(|log| log.remove_file()));
        }
    }

    /// Answers one query, waiting for more where there is nothing yet.
    pub(crate) async fn slice(&self, query: TryLogQuery) -> TryLogSlice {
        let log = self.inner.lock().logs.get(&query.key).cloned();
        let Some(log) = log else {
            return TryLogSlice { next_offset: query.offset, lines: String::new(), complete: true };
        };
        let mut grown = log.watch();
        let wait = Duration::from_millis(u64::from(query.wait_ms)).min(LONGEST_WAIT);
        let more = grown.wait_for(|extent| extent.bytes > query.offset || extent.complete);
        drop(timeout(wait, more).await);
        let extent = log.extent();
        let most = usize::try_from(query.max).unwrap_or(MOST).min(MOST);
        let read = tokio::task::spawn_blocking(move || log.slice(query.offset, most)).await;
        let (lines, next_offset) = match read {
            Ok(Ok(read)) => read,
            Ok(Err(error)) => {
                tracing::warn!(key = %query.key, %error, "a try's log can't be read back");
                (String::new(), query.offset)
            }
            Err(_) => (String::new(), query.offset),
        };
        TryLogSlice { next_offset, lines, complete: extent.complete && next_offset >= extent.bytes }
    }
}

/// `<home>/<dag>/<run>/<task>/<map>/<try>.jsonl`, or `<try>.<leg>.jsonl` from its second leg on, every part safe as a file's name.
pub(super) fn path_of(home: &Path, key: &TryKey) -> PathBuf {
    home.join(part(key.dag_id.as_str()))
        .join(part(key.run_id.as_str()))
        .join(part(key.task_id.as_str()))
        .join(key.map_index.0.to_string())
        .join(if key.leg.is_first() {
            format!("{}.{UNTOLD}", key.try_number)
        } else {
            format!("{}.{}.{UNTOLD}", key.try_number, key.leg)
        })
}

/// The try whose log lies at `path`, by the path or else by the file beside it; `None` where neither says.
/// Blocks on the disk.
pub(super) fn key_of(home: &Path, path: &Path) -> Option<TryKey> {
    key_in(home, path).or_else(|| {
        let key: TryKey = decode_any(&std::fs::read(path.with_extension(KEY)).ok()?).ok()?;
        (path_of(home, &key) == path).then_some(key)
    })
}

/// The try that a path of [`path_of`] tells; `None` where an id was too long for it.
fn key_in(home: &Path, path: &Path) -> Option<TryKey> {
    if path.extension()? != UNTOLD {
        return None;
    }
    let parts: Option<Vec<&str>> =
        path.strip_prefix(home).ok()?.iter().map(std::ffi::OsStr::to_str).collect();
    let [dag, run, task, map, file] = parts?[..] else { return None };
    let name = file.strip_suffix(UNTOLD)?.strip_suffix('.')?;
    let (number, leg) = name.split_once('.').unwrap_or((name, "0"));
    let key = TryKey {
        dag_id: DagId::try_from(unescape_token(dag)?).ok()?,
        run_id: RunId::new(unescape_token(run)?).ok()?,
        task_id: TaskId::new(unescape_token(task)?).ok()?,
        map_index: MapIndex(map.parse().ok()?),
        try_number: TryNumber::new(number.parse().ok()?)?,
        leg: Leg(leg.parse().ok()?),
    };
    (path_of(home, &key) == path).then_some(key)
}

/// An id as a file's name: ids hold no `/`; dots are escaped, so `..` can't come about, and a name that
/// would be too long for a file system ends in its hash.
fn part(id: &str) -> String {
    let name = escape_token(id);
    if name.len() <= 200 {
        return name;
    }
    let head: String = name.chars().take(120).collect();
    // No id escapes to that, so that it can't be taken for one.
    format!("{head}%_{}", dagbok_runlog::digest_of(id.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_leads_out_of_the_folder() {
        let key = TryKey {
            // No new DAG is called so; a log may have it.
            dag_id: DagId::try_from("..".to_owned()).unwrap(),
            run_id: RunId::new("a:b+c").unwrap(),
            task_id: TaskId::new("ä".repeat(120)).unwrap(),
            map_index: MapIndex::UNMAPPED,
            try_number: TryNumber::FIRST,
            leg: Leg::FIRST,
        };
        let path = path_of(Path::new("/h"), &key);
        assert!(path.starts_with("/h/%2E%2E/a:b+c"), "{}", path.display());
        assert!(path.components().all(|part| part.as_os_str().len() < 255));
        assert!(path.ends_with("-1/1.jsonl"));
        assert_eq!(key_of(Path::new("/h"), &path), None, "what was hashed can't be told");
    }

    #[tokio::test]
    async fn what_a_path_can_not_tell_stands_beside_the_log() {
        let home = tempfile::tempdir().unwrap();
        let logs = Logs::new(home.path().to_owned(), Clock::system(), Masks::default());
        for task in ["short".to_owned(), "日本".repeat(40)] {
            let key = TryKey {
                dag_id: DagId::new("d").unwrap(),
                run_id: RunId::new("r").unwrap(),
                task_id: TaskId::new(task.as_str()).unwrap(),
                map_index: MapIndex::UNMAPPED,
                try_number: TryNumber::FIRST,
                leg: Leg::FIRST,
            };
            let path = path_of(home.path(), &key);
            let log = logs.begin(&key);
            log.system("info", "one line");
            log.spill();
            assert_eq!(key_of(home.path(), &path), Some(key));
            assert_eq!(path.with_extension(KEY).exists(), task != "short");
            log.remove_file();
            assert!(!path.exists() && !path.with_extension(KEY).exists());
        }
    }

    #[test]
    fn a_path_tells_its_try() {
        let key = TryKey {
            dag_id: DagId::try_from("..".to_owned()).unwrap(),
            run_id: RunId::new("scheduled__2024-01-01T00:00:00+00:00").unwrap(),
            task_id: TaskId::new("group.läs").unwrap(),
            map_index: MapIndex(3),
            try_number: TryNumber::new(12).unwrap(),
            leg: Leg::FIRST,
        };
        let path = path_of(Path::new("/h"), &key);
        assert_eq!(key_of(Path::new("/h"), &path), Some(key));
        for other in ["told", "tmp"] {
            assert_eq!(key_of(Path::new("/h"), &path.with_extension(other)), None);
        }
        assert_eq!(key_of(Path::new("/h"), Path::new("/h/a/b/c/x/1.jsonl")), None);
        assert_eq!(key_of(Path::new("/h"), Path::new("/h/.lock")), None);
    }
}
