//! The run log in memory.
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt as _};
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::{
    AppendError, Base, Chain, Draft, Entry, LogMark, PortError, PortResult, ReadBudget, ReadLimit,
    RunLog, Seq,
    limits::{MAX_PAYLOAD, check_payload, check_subject, check_trim},
};

/// A log that is gone when its last handle is.
#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    held: RwLock<Held>,
    last: watch::Sender<u64>,
}

/// What is held; entry `n` lies at index `n - base.first`.
#[derive(Debug)]
struct Held {
    base: Base,
    mark: Option<LogMark>,
    entries: Vec<Entry>,
}

impl Default for Held {
    fn default() -> Self {
        Self { base: Base::START, mark: None, entries: Vec::new() }
    }
}

impl Held {
    fn last(&self) -> Seq {
        Seq(self.base.first.0 - 1 + self.entries.len() as u64)
    }

    fn read(&self, after: Seq, limit: ReadLimit) -> PortResult<Vec<Entry>> {
        let first = self.base.first;
        let Some(from) = after.0.checked_sub(first.0 - 1) else {
            return Err(PortError::Trimmed { asked: after.plus(1), first });
        };
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(self.entries.len());
        let mut budget = ReadBudget::new(limit);
        let comes = |entry: &&Entry| budget.takes(entry.payload.len());
        Ok(self.entries[from..].iter().take_while(comes).cloned().collect())
    }

    fn trim(&mut self, below: Seq, chain: Chain) -> PortResult<Base> {
        let count = usize::try_from(below.0.saturating_sub(self.base.first.0)).unwrap_or(0);
        if count == 0 {
            return Ok(self.base);
        }
        let goes = &self.entries[..count.min(self.entries.len())];
        let value = goes.iter().fold(self.base.chain, Chain::then);
        check_trim(below, self.last(), chain, value)?;
        self.entries.drain(..count);
        self.base = Base { first: below, chain };
        Ok(self.base)
    }
}

#[async_trait]
impl RunLog for MemoryLog {
    async fn append(&self, expected: Seq, drafts: Vec<Draft>) -> Result<Seq, AppendError> {
        for draft in &drafts {
            check_subject("log", &draft.subject)?;
            check_payload("log", &draft.subject, draft.payload.len())?;
        }
        if drafts.is_empty() {
            return Ok(expected);
        }
        let mut held = self.shared.held.write();
        let actual = held.last();
        if actual != expected {
            return Err(AppendError::Conflict { expected, actual: Some(actual) });
        }
        for draft in drafts {
            let seq = held.last().plus(1);
            let entry = Entry { seq, subject: draft.subject, payload: draft.payload };
            held.mark.get_or_insert_with(|| LogMark::of(&entry));
            held.entries.push(entry);
        }
        let last = held.last();
        // Under the lock, so that followers never see the last place go back.
        self.shared.last.send_replace(last.0);
        Ok(last)
    }

    async fn read(&self, after: Seq, limit: ReadLimit) -> PortResult<Vec<Entry>> {
        self.shared.held.read().read(after, limit)
    }

    async fn last(&self) -> PortResult<Seq> {
        Ok(self.shared.held.read().last())
    }

    fn follow(&self, after: Seq) -> BoxStream<'static, PortResult<Vec<Entry>>> {
        let shared = Arc::clone(&self.shared);
        let last = shared.last.subscribe();
        stream::unfold(Some((shared, last, after)), |following| async move {
            let (shared, mut last, after) = following?;
            // The sender lives in `shared`, which this stream holds: waiting can't fail.
            last.wait_for(|last| *last > after.0).await.ok()?;
            let entries = shared.held.read().read(after, ReadLimit::default());
            match entries {
                Ok(entries) => {
                    let seen = entries.last()?.seq;
                    Some((Ok(entries), Some((shared, last, seen))))
                }
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    async fn base(&self) -> PortResult<Base> {
        Ok(self.shared.held.read().base)
    }

    async fn mark(&self) -> PortResult<Option<LogMark>> {
        Ok(self.shared.held.read().mark)
    }

    async fn trim(&self, below: Seq, chain: Chain) -> PortResult<Base> {
        self.shared.held.write().trim(below, chain)
    }

    fn max_payload(&self) -> usize {
        MAX_PAYLOAD
    }
}
