//! Writes records onto a log at speed: many to a batch.
use std::sync::Arc;

use dagbok_events::{Record, encode, subject_of};
use dagbok_runlog::{Draft, RunLog, Seq};

/// Records appended at once.
const BATCH: usize = 4_096;

/// The end of a log, and what is to come behind it.
pub(crate) struct Appender {
    log: Arc<dyn RunLog>,
    last: Seq,
    drafts: Vec<Draft>,
}

impl Appender {
    /// Onto a log that is empty.
    pub(crate) fn new(log: Arc<dyn RunLog>) -> Self {
        Self { log, last: Seq::ZERO, drafts: Vec::new() }
    }

    /// The last entry that was appended.
    pub(crate) const fn last(&self) -> Seq {
        self.last
    }

    /// The place of the record that is added next.
    pub(crate) fn next(&self) -> Seq {
        self.last.plus(self.drafts.len() as u64 + 1)
    }

    /// Adds a record, to be appended with others.
    pub(crate) async fn add(&mut self, record: &Record) -> anyhow::Result<()> {
        let subject = subject_of(&record.scope);
        self.drafts.push(Draft { subject, payload: encode(record).into() });
        if self.drafts.len() >= BATCH { self.flush().await } else { Ok(()) }
    }

    /// Appends what was added.
    pub(crate) async fn flush(&mut self) -> anyhow::Result<()> {
        let drafts = std::mem::take(&mut self.drafts);
        if !drafts.is_empty() {
            self.last = self.log.append(self.last, drafts).await?;
        }
        Ok(())
    }
}
