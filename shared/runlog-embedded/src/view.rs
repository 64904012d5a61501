//! What readers may see: the durable entries, where they lie, and the newest of them in memory, so
//! that who keeps up never reads a file.
use std::{
    collections::VecDeque,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use dagbok_runlog::{Base, Entry, LogMark, PortError, PortResult, ReadBudget, ReadLimit, Seq};
use parking_lot::RwLock;

use crate::{
    base::Trimmed,
    frame::{self, Frame},
    index::{Index, Sealed},
    reader::{FrameReader, Step},
};

/// Entries kept in memory behind the last.
const TAIL_ENTRIES: usize = 4_096;

/// Bytes of payload and subject kept in memory behind the last entry.
const TAIL_BYTES: usize = 2 << 20;

/// A segment as far as it is durable.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) path: Arc<Path>,
    pub(crate) first: u64,
    /// One below `first` while it is empty.
    pub(crate) last: u64,
    /// Bytes.
    pub(crate) end: u64,
    pub(crate) index: Index,
}

impl Segment {
    /// A segment that a sidecar tells of.
    pub(crate) fn sealed(path: PathBuf, sealed: Sealed) -> Self {
        let Sealed { first, last, end, index } = sealed;
        Self { path: path.into(), first, last, end, index }
    }
}

/// All durable entries.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// In order and without a gap; the last is the one that grows.
    pub(crate) segments: Vec<Segment>,
    /// Where it begins, if not with the first entry that ever was.
    pub(crate) trimmed: Option<Trimmed>,
    /// Which log it is, once that was looked up.
    pub(crate) mark: Option<LogMark>,
    tail: Tail,
}

/// Where a read goes on.
struct Place {
    path: Arc<Path>,
    /// The entry at `offset`: the wanted one or some way before it.
    seq: u64,
    offset: u64,
    /// The segment's last entry, and where it ends.
    last: u64,
    end: u64,
}

impl View {
    /// The last durable entry.
    pub(crate) fn last(&self) -> u64 {
        self.segments.last().map_or(self.base().first.0 - 1, |segment| segment.last)
    }

    /// Where the log begins.
    pub(crate) fn base(&self) -> Base {
        self.trimmed.map_or(Base::START, |trimmed| trimmed.base)
    }

    /// Refuses a read that would begin below the base.
    pub(crate) fn check_base(&self, after: u64) -> PortResult<()> {
        let Base { first, .. } = self.base();
        let asked = Seq(after.saturating_add(1));
        if asked < first { Err(PortError::Trimmed { asked, first }) } else { Ok(()) }
    }

    /// Lets the log begin at a later entry; returns the files that are not needed any more.
    pub(crate) fn trim(&mut self, trimmed: Trimmed) -> Vec<Arc<Path>> {
        let first = trimmed.base.first.0;
        self.trimmed = Some(trimmed);
        self.mark = Some(trimmed.mark);
        self.tail.trim(first);
        // The last segment stays whatever it holds: it is the one that is written on.
        let count = self.segments.partition_point(|segment| segment.last < first);
        let count = count.min(self.segments.len().saturating_sub(1));
        self.segments.drain(..count).map(|segment| segment.path).collect()
    }

    /// Takes in entries that have become durable at the end of the last segment.
    pub(crate) fn grow(&mut self, entries: impl IntoIterator<Item = Entry>) {
        let segment = self.segments.last_mut().expect("a log that grows has a segment");
        for entry in entries {
            segment.index.note(entry.seq.0, segment.end);
            segment.end += frame::size(&entry.subject, &entry.payload) as u64;
            segment.last = entry.seq.0;
            self.tail.push(entry);
        }
    }

    fn locate(&self, seq: u64) -> Option<Place> {
        let after = self.segments.partition_point(|segment| segment.first <= seq);
        let segment = self.segments[..after].last().filter(|segment| seq <= segment.last)?;
        let (seq, offset) = segment.index.before(seq)?;
        let Segment { last, end, .. } = *segment;
        Some(Place { path: Arc::clone(&segment.path), seq, offset, last, end })
    }
}

/// The newest entries.
#[derive(Debug, Default)]
struct Tail {
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Tail {
    fn push(&mut self, entry: Entry) {
        self.bytes += weight(&entry);
        self.entries.push_back(entry);
        while self.entries.len() > TAIL_ENTRIES || self.bytes > TAIL_BYTES {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= weight(&oldest);
        }
    }

    /// Forgets the entries below `first`.
    fn trim(&mut self, first: u64) {
        while self.entries.front().is_some_and(|entry| entry.seq.0 < first) {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= weight(&oldest);
        }
    }

    /// The entries after `after`, where all that are wanted are here.
    fn read(&self, after: u64, limit: ReadLimit) -> Option<Vec<Entry>> {
        let oldest = self.entries.front()?.seq.0;
        let from = usize::try_from(after.checked_add(1)?.checked_sub(oldest)?).ok()?;
        let mut budget = ReadBudget::new(limit);
        let comes = |entry: &&Entry| budget.takes(entry.payload.len());
        Some(self.entries.iter().skip(from).take_while(comes).cloned().collect())
    }
}

fn weight(entry: &Entry) -> usize {
    entry.payload.len() + entry.subject.len()
}

/// The entries after `after` that are in memory or known not to be there; `None` where files must
/// be read.
pub(crate) fn read_memory(view: &RwLock<View>, after: Seq, limit: ReadLimit) -> Option<Vec<Entry>> {
    let view = view.read();
    if after.0 >= view.last() {
        return Some(Vec::new());
    }
    view.tail.read(after.0, limit)
}

/// The entries after `after` from the files. Blocks on the disk.
pub(crate) fn read_files(
    view: &RwLock<View>,
    after: Seq,
    limit: ReadLimit,
) -> PortResult<Vec<Entry>> {
    let mut read = Reading { seen: after.0, entries: Vec::new(), budget: ReadBudget::new(limit) };
    loop {
        let place = {
            let view = view.read();
            let trimmed = view.check_base(read.seen);
            trimmed.map(|()| view.locate(read.seen.saturating_add(1)))
        };
        let place = match place {
            Ok(place) => place,
            // Trimmed under the read: what was read before stands.
            Err(error) if read.entries.is_empty() => return Err(error),
            Err(_) => return Ok(read.entries),
        };
        let Some(place) = place else { return Ok(read.entries) };
        match read.read_on(&place) {
            Ok(true) => {}
            // The file went by a trim, which the next look sees.
            Err(_) if view.read().check_base(read.seen).is_err() => {}
            // What is whole comes first; the next read meets the damage, and says so.
            Err(error) if read.entries.is_empty() => return Err(error),
            Ok(false) | Err(_) => return Ok(read.entries),
        }
    }
}

/// A read over one or more files.
struct Reading {
    /// The last entry that was read or is not wanted.
    seen: u64,
    entries: Vec<Entry>,
    budget: ReadBudget,
}

impl Reading {
    /// Reads one segment on from a place; says whether more may be read after it.
    fn read_on(&mut self, place: &Place) -> PortResult<bool> {
        let path = &place.path;
        let failed = |error| PortError::unavailable("log", format!("{}: {error}", path.display()));
        let file = File::open(path).map_err(failed)?;
        let mut reader = FrameReader::new(&file, place.offset, place.end);
        let mut due = place.seq;
        loop {
            let begins = reader.offset();
            let damaged = |why: &str| PortError::Damaged {
                what: "log",
                place: format!("{} byte {begins}", path.display()),
                why: format!("{why}; put the file back from a backup"),
            };
            match reader.next().map_err(failed)? {
                Step::Frame(frame) if frame.seq == due => {
                    due += 1;
                    if frame.seq <= self.seen {
                        continue;
                    }
                    if !self.budget.takes(frame.payload.len()) {
                        return Ok(false);
                    }
                    self.seen = frame.seq;
                    self.entries.push(entry(frame));
                }
                Step::Frame(_) => return Err(damaged("a record has another record's place")),
                Step::Fault(why) => return Err(damaged(why)),
                Step::End if due > place.last => return Ok(true),
                Step::End => return Err(damaged("entries that were there are not")),
            }
        }
    }
}

/// An entry of its own: a slice of what was read would keep all of that in memory.
fn entry(frame: Frame<'_>) -> Entry {
    let Frame { seq, subject, payload } = frame;
    Entry { seq: Seq(seq), subject: subject.to_owned(), payload: payload.to_vec().into() }
}

/// As [`read_memory`], else as [`read_files`] where blocking is allowed.
pub(crate) async fn read(
    view: &Arc<RwLock<View>>,
    after: Seq,
    limit: ReadLimit,
) -> PortResult<Vec<Entry>> {
    view.read().check_base(after.0)?;
    if let Some(entries) = read_memory(view, after, limit) {
        return Ok(entries);
    }
    let view = Arc::clone(view);
    let read = tokio::task::spawn_blocking(move || read_files(&view, after, limit));
    read.await.unwrap_or_else(|error| Err(PortError::unavailable("log", error)))
}

/// Which log it is, by its first entry, where that is not known yet.
pub(crate) async fn mark(view: &Arc<RwLock<View>>) -> PortResult<Option<LogMark>> {
    if let Some(mark) = view.read().mark {
        return Ok(Some(mark));
    }
    let one = ReadLimit { entries: 1, ..ReadLimit::default() };
    let found = match read(view, Seq::ZERO, one).await {
        // It was trimmed meanwhile, so the mark is known.
        Err(PortError::Trimmed { .. }) => return Ok(view.read().mark),
        found => found?,
    };
    let mark = found.first().map(LogMark::of);
    if mark.is_some() {
        view.write().mark = mark;
    }
    Ok(mark)
}
