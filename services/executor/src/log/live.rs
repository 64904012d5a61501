//! A log that grows: kept in memory while small, spilled to a file beside, cut in the middle at its cap.
use std::{
    collections::VecDeque,
    fs,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use dagbok_events::Timestamp;
use dagbok_protocol::limits::TRY_LOG_BYTES;
use dagbok_runtime::Clock;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{LogLine, LogSource, Masks};

/// What the name of a log's file ends in before and after its try's end was reported.
pub(super) const UNTOLD: &str = "jsonl";
pub(super) const TOLD: &str = "told";
/// And what its name ends in that says which try it is of, where its path can't.
pub(super) const KEY: &str = "key";
/// Of the cap, this much is kept for the log's end, in bytes as they were read.
const TAIL_BYTES: usize = 1 << 20;
/// Up to here the whole log stays in memory, in bytes.
const MEMORY_BYTES: usize = 256 << 10;
/// Without a disk to spill to, memory holds this much before the log is cut, in bytes.
const STRANDED_BYTES: usize = 4 << 20;

/// The log of one try while it is in flight, and a little longer. Shared between who writes and who reads.
#[derive(Debug)]
pub(crate) struct LiveLog {
    path: PathBuf,
    /// What stands in the file beside that says which try it is of, where the path can't.
    key: Option<Vec<u8>>,
    clock: Clock,
    cap: usize,
    masks: Masks,
    inner: Mutex<Inner>,
    grown: watch::Sender<Extent>,
}

/// How far a log has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Bytes that can be read.
    pub(crate) bytes: u64,
    /// Whether nothing will follow.
    pub(crate) complete: bool,
}

#[derive(Debug, Default)]
struct Inner {
    memory: Vec<u8>,
    memory_from: u64,
    spilled: u64,
    lines: u64,
    tail: VecDeque<(Timestamp, LogSource, Vec<u8>, u64)>,
    tail_bytes: usize,
    dropped: u64,
    dropped_bytes: u64,
    cutting: bool,
    complete: bool,
    disk_refused: Option<String>,
}

impl Inner {
    fn len(&self) -> u64 {
        self.memory_from + self.memory.len() as u64
    }

    fn write(&mut self, line: &LogLine) {
        serde_json::to_writer(&mut self.memory, line).expect("text keys, and memory does not fail");
        self.memory.push(b'\n');
        self.lines += 1;
    }

    fn keep_for_the_end(&mut self, at: Timestamp, source: LogSource, raw: &[u8], cut: u64) {
        self.tail_bytes += raw.len() + 64;
        self.tail.push_back((at, source, raw.to_vec(), cut));
        while self.tail_bytes > TAIL_BYTES {
            let Some((_, _, raw, cut)) = self.tail.pop_front() else { break };
            self.tail_bytes -= raw.len() + 64;
            self.dropped += 1;
            self.dropped_bytes += raw.len() as u64 + cut;
        }
    }
}

impl LiveLog {
    /// An empty log that will spill to `path` if it has to.
    pub(crate) fn new(path: PathBuf, clock: Clock) -> Self {
        let (grown, _) = watch::channel(Extent::default());
        let (masks, inner) = (Masks::default(), Mutex::default());
        Self { path, key: None, clock, cap: TRY_LOG_BYTES, masks, inner, grown }
    }

    /// With these secrets masked in it.
    pub(crate) fn with_masks(self, masks: Masks) -> Self {
        Self { masks, ..self }
    }

    /// What is masked in it, and in whatever else is told of its try.
    pub(crate) fn masks(&self) -> &Masks {
        &self.masks
    }

    /// With a file beside it that has these bytes, as soon as it has one itself.
    pub(crate) fn with_key(self, key: Vec<u8>) -> Self {
        Self { key: Some(key), ..self }
    }

    /// Takes lines that were read; `feed` is handed the place to put each.
    pub(crate) fn read(&self, source: LogSource, feed: impl FnOnce(&mut dyn FnMut(&[u8], u64))) {
        let at = self.clock.now();
        let mut inner = self.inner.lock();
        feed(&mut |raw, cut| self.push(&mut inner, at, source, raw, cut));
        self.tell(&inner);
    }

    /// Writes a line of our own.
    pub(crate) fn system(&self, level: &str, message: impl Into<String>) {
        let mut inner = self.inner.lock();
        let message = self.masks.text(message.into());
        let line = LogLine::system(self.clock.now(), level, message);
        if inner.cutting {
            inner.keep_for_the_end(line.t, LogSource::System, line.m.as_bytes(), 0);
        } else {
            inner.write(&line);
            self.tell(&inner);
        }
    }

    fn push(&self, inner: &mut Inner, at: Timestamp, source: LogSource, raw: &[u8], cut: u64) {
        if !inner.cutting && self.is_full(inner) {
            inner.cutting = true;
            let why = match &inner.disk_refused {
                Some(why) => format!("the log can't be written to disk ({why})"),
                None => format!("the log has reached its limit of {} MiB", self.cap >> 20),
            };
            let kept = TAIL_BYTES >> 10;
            inner.write(&LogLine::system(
                at,
                "warning",
                format!("{why}: of what follows only the last {kept} KiB are kept, and shown when the try is over"),
            ));
        }
        let raw = if cut > 0 { self.masks.cut_line(raw) } else { self.masks.bytes(raw) };
        if inner.cutting {
            inner.keep_for_the_end(at, source, &raw, cut);
        } else {
            inner.write(&LogLine::read(at, source, &raw, cut));
        }
    }

    fn is_full(&self, inner: &Inner) -> bool {
        // Twice the tail: written out, a line takes more than it had when read.
        inner.len() >= (self.cap as u64).saturating_sub(2 * TAIL_BYTES as u64)
            || (inner.disk_refused.is_some() && inner.memory.len() >= STRANDED_BYTES)
    }

    fn tell(&self, inner: &Inner) {
        self.grown.send_replace(Extent { bytes: inner.len(), complete: inner.complete });
    }

    /// How far it has come.
    pub(crate) fn extent(&self) -> Extent {
        *self.grown.borrow()
    }

    /// Tells of every growth.
    pub(crate) fn watch(&self) -> watch::Receiver<Extent> {
        self.grown.subscribe()
    }

    /// Whether so much is in memory alone that it should go to the disk now.
    pub(crate) fn is_heavy(&self) -> bool {
        let inner = self.inner.lock();
        inner.disk_refused.is_none() && inner.len() - inner.spilled > MEMORY_BYTES as u64 / 2
    }

    /// All of it, where that is in memory still.
    pub(crate) fn in_memory(&self) -> Option<Bytes> {
        let inner = self.inner.lock();
        let all = inner.memory_from == 0 && !inner.cutting;
        all.then(|| Bytes::copy_from_slice(&inner.memory))
    }

    /// Writes what the file lacks; blocks on the disk. A disk that refuses is said in the log, once.
    pub(crate) fn spill(&self) {
        let (from, fresh) = {
            let inner = self.inner.lock();
            if inner.disk_refused.is_some() || inner.len() == inner.spilled {
                return;
            }
            let start = usize::try_from(inner.spilled - inner.memory_from)
                .expect("memory begins before the spill's end");
            (inner.spilled, inner.memory[start..].to_vec())
        };
        let written = append(&self.path, from, &fresh);
        if let (Some(key), 0, Ok(())) = (&self.key, from, &written)
            && let Err(error) = fs::write(self.path.with_extension(KEY), key)
        {
            // It matters only if this executor is killed: the log stays on the disk then.
            tracing::warn!(path = %self.path.display(), %error, "which try a log is of can't be written beside it");
        }
        let mut inner = self.inner.lock();
        match written {
            Ok(()) => {
                inner.spilled = from + fresh.len() as u64;
                if inner.memory.len() > MEMORY_BYTES {
                    let gone = inner.spilled - inner.memory_from;
                    inner
                        .memory
                        .drain(..usize::try_from(gone).expect("no more than the memory holds"));
                    inner.memory_from = inner.spilled;
                }
            }
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "a try's log can't be written to disk");
                inner.disk_refused = Some(error.to_string());
            }
        }
    }

    /// Ends the log: what the cap left out is counted, and the end that was kept follows.
    pub(crate) fn finish(&self) {
        let mut inner = self.inner.lock();
        if inner.complete {
            return;
        }
        let tail = std::mem::take(&mut inner.tail);
        if inner.dropped > 0 {
            let message = format!(
                "{} lines ({} bytes) were left out here",
                inner.dropped, inner.dropped_bytes
            );
            let at = tail.front().map_or_else(|| self.clock.now(), |(at, ..)| *at);
            inner.write(&LogLine::system(at, "warning", message));
        }
        for (at, source, raw, cut) in tail {
            inner.write(&LogLine::read(at, source, &raw, cut));
        }
        inner.complete = true;
        self.tell(&inner);
    }

    /// All of it; blocks on the disk where it was spilled.
    pub(crate) fn whole(&self) -> io::Result<Bytes> {
        let (from, memory) = {
            let inner = self.inner.lock();
            (inner.memory_from, inner.memory.clone())
        };
        if from == 0 {
            return Ok(Bytes::from(memory));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(from).unwrap_or(0) + memory.len());
        open(&self.path)?.take(from).read_to_end(&mut bytes)?;
        bytes.extend_from_slice(&memory);
        Ok(Bytes::from(bytes))
    }

    /// Lines that it holds, and that were left out.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let inner = self.inner.lock();
        (inner.lines, inner.dropped)
    }

    /// Whole lines from `offset`, at most `max` bytes (but one line at least), and where the next begin;
    /// blocks on the disk where those were spilled.
    pub(crate) fn slice(&self, offset: u64, max: usize) -> io::Result<(String, u64)> {
        let (memory_from, memory) = {
            let inner = self.inner.lock();
            if offset >= inner.len() {
                return Ok((String::new(), offset));
            }
            let start =
                usize::try_from(offset.saturating_sub(inner.memory_from)).unwrap_or(usize::MAX);
            let rest = inner.memory.get(start..).unwrap_or_default();
            (
                inner.memory_from,
                if offset >= inner.memory_from { whole_lines(rest, max).to_vec() } else { vec![] },
            )
        };
        let bytes = if offset >= memory_from {
            memory
        } else {
            let mut file = open(&self.path)?;
            file.seek(SeekFrom::Start(offset))?;
            let mut bytes = Vec::new();
            let most = (max.max(LINE_ROOM) as u64).min(memory_from - offset);
            file.take(most).read_to_end(&mut bytes)?;
            whole_lines(&bytes, max).to_vec()
        };
        let next = offset + bytes.len() as u64;
        Ok((String::from_utf8_lossy(&bytes).into_owned(), next))
    }

    /// Whether there is a file of it.
    pub(crate) fn is_spilled(&self) -> bool {
        self.inner.lock().spilled > 0
    }

    /// The try's end was reported: should this executor be killed now, nothing is left to tell from the
    /// file. Blocks on the disk.
    pub(crate) fn told(&self) {
        if self.is_spilled() {
            // Where it can't be renamed it is told twice, and refused the second time.
            drop(fs::rename(&self.path, self.path.with_extension(TOLD)));
        }
    }

    /// Removes the file, and what folders are empty without it.
    pub(crate) fn remove_file(&self) {
        drop(fs::remove_file(&self.path));
        drop(fs::remove_file(self.path.with_extension(TOLD)));
        if self.key.is_some() {
            drop(fs::remove_file(self.path.with_extension(KEY)));
        }
        // `<dag>/<run>/<task>/<map>`: the first that is not empty refuses, and ends it.
        let mut folders = self.path.ancestors().skip(1).take(4);
        while folders.next().is_some_and(|folder| fs::remove_dir(folder).is_ok()) {}
    }

    /// Bytes held in memory.
    pub(crate) fn weight(&self) -> usize {
        self.inner.lock().memory.len()
    }
}

/// One line, written out, is never longer: six bytes for each that JSON escapes, and the fields around.
pub(super) const LINE_ROOM: usize = 8 * dagbok_protocol::limits::LOG_LINE_BYTES;

pub(super) fn whole_lines(bytes: &[u8], max: usize) -> &[u8] {
    let room = &bytes[..bytes.len().min(max)];
    let end = room
        .iter()
        .rposition(|&byte| byte == b'\n')
        .or_else(|| bytes.iter().position(|&byte| byte == b'\n'));
    &bytes[..end.map_or(0, |end| end + 1)]
}

/// A log's file, whether its try's end was reported or not.
pub(super) fn open(path: &Path) -> io::Result<fs::File> {
    match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::File::open(path.with_extension(TOLD))
        }
        opened => opened,
    }
}

fn append(path: &Path, from: u64, bytes: &[u8]) -> io::Result<()> {
    let open =
        || fs::OpenOptions::new().create(from == 0).write(true).truncate(from == 0).open(path);
    let mut file = open();
    // Its folder is not there yet, or was just removed because it was empty.
    for _ in 0..3 {
        match (&file, path.parent()) {
            (Err(error), Some(folder)) if error.kind() == io::ErrorKind::NotFound && from == 0 => {
                fs::create_dir_all(folder)?;
                file = open();
            }
            _ => break,
        }
    }
    let mut file = file?;
    file.seek(SeekFrom::Start(from))?;
    file.write_all(bytes)
}
