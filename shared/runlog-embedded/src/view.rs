//! What readers may see: the durable entries, where they lie, and the newest of them in memory, so
//! that who keeps up never reads a file.
use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::Arc,
};

use dagbok_runlog::{Base, Entry, LogMark, PortError, PortResult, ReadBudget, ReadLimit, Seq};

use crate::{
    base::Trimmed,
    frame,
    index::{Index, Part, Sealed},
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
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) path: Arc<Path>,
    /// The entry at `offset`: the wanted one or some way before it.
    pub(crate) seq: u64,
    pub(crate) offset: u64,
    /// The last entry that may be read on to, of the segment or of a part of it, and where it ends.
    pub(crate) last: u64,
    pub(crate) end: u64,
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
            segment.index.note(entry.seq.0, segment.end, &entry.subject);
            segment.end += frame::size(&entry.subject, &entry.payload) as u64;
            segment.last = entry.seq.0;
            self.tail.push(entry);
        }
    }

    /// The newest entries after `after`, where all that are wanted are in memory.
    pub(crate) fn newest(&self, after: u64, limit: ReadLimit) -> Option<Vec<Entry>> {
        self.tail.read(after, limit)
    }

    /// Where an entry lies.
    pub(crate) fn locate(&self, seq: u64) -> Option<Place> {
        let after = self.segments.partition_point(|segment| segment.first <= seq);
        let segment = self.segments[..after].last().filter(|segment| seq <= segment.last)?;
        let (seq, offset) = segment.index.before(seq)?;
        let Segment { last, end, .. } = *segment;
        Some(Place { path: Arc::clone(&segment.path), seq, offset, last, end })
    }

    /// Where entries on `subject` may lie, from `base` up to `until`.
    pub(crate) fn places_of(&self, subject: &str, until: u64) -> Vec<Place> {
        let there = self.segments.iter().take_while(|segment| segment.first <= until);
        let places = there.flat_map(|segment| {
            segment.index.of_subject(subject).into_iter().map(|Part { seq, offset, next }| {
                let (last, end) =
                    next.map_or((segment.last, segment.end), |(next, at)| (next - 1, at));
                Place { path: Arc::clone(&segment.path), seq, offset, last, end }
            })
        });
        places.filter(|place| place.seq <= until).collect()
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
