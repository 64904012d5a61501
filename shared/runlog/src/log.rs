//! The run log: entries in one total order, appended only by who knows the last one.
use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use serde::{Deserialize, Serialize};

use crate::{AppendError, Chain, LogMark, PortResult};

/// A place in the log. `Seq(0)` is before the first entry; numbers rise by one with no gap.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first entry.
    pub const ZERO: Self = Self(0);

    /// The place `n` entries on.
    #[must_use]
    pub const fn plus(self, n: u64) -> Self {
        Self(self.0 + n)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Something to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// What it is about, in dots and escaped tokens, without the namespace: `log.run.my_dag.run_1`;
    /// see [`check_subject`](crate::limits::check_subject).
    pub subject: String,
    /// The record; at most [`RunLog::max_payload`] bytes.
    pub payload: Bytes,
}

/// Something that was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub seq: Seq,
    /// What it is about.
    pub subject: String,
    /// The record.
    pub payload: Bytes,
}

/// Where a log begins. What was before it was trimmed, and is held against the chain's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// The first entry that is held; 1 for a log that was never trimmed, empty or not.
    pub first: Seq,
    /// The [chain](Chain)'s value at the entry before it.
    pub chain: Chain,
}

impl Base {
    /// The base of a log that was never trimmed.
    pub const START: Self = Self { first: Seq(1), chain: Chain::START };
}

/// How much one read may bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    /// Entries; zero is taken as one, as an empty answer means the end of the log.
    pub entries: usize,
    /// Bytes of payload, all entries together; the first entry always comes, however large.
    pub bytes: usize,
}

/// What of a [`ReadLimit`] one read has used: every implementation counts with it, so that all stop
/// at the same entry.
#[derive(Clone, Copy, Debug)]
pub struct ReadBudget {
    limit: ReadLimit,
    entries: usize,
    bytes: usize,
}

impl ReadBudget {
    /// Nothing is used yet.
    pub const fn new(limit: ReadLimit) -> Self {
        Self { limit, entries: 0, bytes: 0 }
    }

    /// Whether an entry with `payload` bytes comes too; if so it is counted, if not the read ends.
    pub const fn takes(&mut self, payload: usize) -> bool {
        let bytes = self.bytes.saturating_add(payload);
        let fits = self.entries < self.limit.entries && bytes <= self.limit.bytes;
        if self.entries > 0 && !fits {
            return false;
        }
        self.entries += 1;
        self.bytes = bytes;
        true
    }
}

impl Default for ReadLimit {
    fn default() -> Self {
        Self { entries: 4_096, bytes: 4 << 20 }
    }
}

/// One namespace's log.
#[async_trait]
pub trait RunLog: Send + Sync + fmt::Debug {
    /// Appends all of `drafts` after `expected`, in order, and returns the last one's place once all
    /// are durable to the degree that the log was opened with. An empty list returns `expected`.
    ///
    /// On an error any prefix may have been appended: read before deciding again. A draft that is
    /// too large, or whose subject is no subject, is refused before anything is written. Appends
    /// take their turns in the order in which they were first polled, so that a writer who knows
    /// what will be last need not wait for one answer before the next append.
    async fn append(&self, expected: Seq, drafts: Vec<Draft>) -> Result<Seq, AppendError>;

    /// Entries after `after`, oldest first; empty at the end of the log. Never waits for new ones. Where
    /// the one after `after` was trimmed, [`PortError::Trimmed`](crate::PortError::Trimmed).
    async fn read(&self, after: Seq, limit: ReadLimit) -> PortResult<Vec<Entry>>;

    /// Every entry on a subject that the log holds, from the first up to `until`, oldest first.
    ///
    /// As it stands here it reads the whole log; an implementation that has an index, or whose server has,
    /// does better.
    async fn read_subject(&self, subject: &str, until: Seq) -> PortResult<Vec<Entry>> {
        let (mut after, mut found) = (Seq(self.base().await?.first.0 - 1), Vec::new());
        loop {
            let entries = self.read(after, ReadLimit::default()).await?;
            let Some(last) = entries.last().map(|entry| entry.seq) else { return Ok(found) };
            after = last;
            let wanted = |entry: &Entry| entry.subject == subject && entry.seq <= until;
            found.extend(entries.into_iter().filter(wanted));
            if after >= until {
                return Ok(found);
            }
        }
    }

    /// The last entry's place; [`Seq::ZERO`] for an empty log.
    async fn last(&self) -> PortResult<Seq>;

    /// Entries after `after` in batches, for ever: what is there, then what comes. Entries are seen
    /// only once durable. An error ends the stream; follow again from what was seen.
    fn follow(&self, after: Seq) -> BoxStream<'static, PortResult<Vec<Entry>>>;

    /// Where the log begins.
    async fn base(&self) -> PortResult<Base>;

    /// Which log it is; `None` while it has no entry. Trimming does not change it.
    async fn mark(&self) -> PortResult<Option<LogMark>>;

    /// Forgets all entries below `below`, and returns where the log then begins. `chain` is the chain's
    /// value at the entry before `below`, as whoever keeps those entries elsewhere has it: another one
    /// is refused, since the copies are then not of this log. The last entry is never forgotten: a
    /// `below` beyond it is refused. One that is not beyond the base changes nothing.
    ///
    /// After a crash the log begins at the old base or at the new one.
    async fn trim(&self, below: Seq, chain: Chain) -> PortResult<Base>;

    /// Largest payload of one draft, in bytes.
    fn max_payload(&self) -> usize;
}
