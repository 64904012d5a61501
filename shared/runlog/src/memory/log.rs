//! The run log in memory.
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt as _};
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::{
    AppendError, Draft, Entry, PortResult, ReadBudget, ReadLimit, RunLog, Seq,
    limits::{MAX_PAYLOAD, check_payload, check_subject},
};

/// A log that is gone when its last handle is.
#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Entry `n` lies at index `n - 1`.
    entries: RwLock<Vec<Entry>>,
    last: watch::Sender<u64>,
}

impl Shared {
    fn read(&self, after: Seq, limit: ReadLimit) -> Vec<Entry> {
        let entries = self.entries.read();
        let from = usize::try_from(after.0).unwrap_or(usize::MAX).min(entries.len());
        let mut budget = ReadBudget::new(limit);
        let comes = |entry: &&Entry| budget.takes(entry.payload.len());
        entries[from..].iter().take_while(comes).cloned().collect()
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
        let mut entries = self.shared.entries.write();
        let actual = Seq(entries.len() as u64);
        if actual != expected {
            return Err(AppendError::Conflict { expected, actual: Some(actual) });
        }
        for draft in drafts {
            let seq = Seq(entries.len() as u64 + 1);
            entries.push(Entry { seq, subject: draft.subject, payload: draft.payload });
        }
        let last = entries.len() as u64;
        // Under the lock, so that followers never see the last place go back.
        self.shared.last.send_replace(last);
        Ok(Seq(last))
    }

    async fn read(&self, after: Seq, limit: ReadLimit) -> PortResult<Vec<Entry>> {
        Ok(self.shared.read(after, limit))
    }

    async fn last(&self) -> PortResult<Seq> {
        Ok(Seq(self.shared.entries.read().len() as u64))
    }

    fn follow(&self, after: Seq) -> BoxStream<'static, PortResult<Vec<Entry>>> {
        let shared = Arc::clone(&self.shared);
        let last = shared.last.subscribe();
        stream::unfold((shared, last, after), |(shared, mut last, after)| async move {
            // The sender lives in `shared`, which this stream holds: waiting can't fail.
            last.wait_for(|last| *last > after.0).await.ok()?;
            let entries = shared.read(after, ReadLimit::default());
            let seen = entries.last()?.seq;
            Some((Ok(entries), (shared, last, seen)))
        })
        .boxed()
    }

    fn max_payload(&self) -> usize {
        MAX_PAYLOAD
    }
}
