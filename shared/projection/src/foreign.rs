//! Entries of the log that somebody else put there: passed over where a record says so. Such a record stands
//! behind the entry, so that whoever meets one that can't be read looks ahead for it.
use std::collections::BTreeSet;

use dagbok_events::{Actor, DecodeError, Digest, Fact, Record, Scope, Timestamp, decode};
use dagbok_runlog::{Entry, PortResult, ReadLimit, RunLog, Seq, digest_of};

use crate::Read;

/// Which entries of one log are to be passed over, as far as is known.
#[derive(Clone, Debug, Default)]
pub struct Skipped {
    entries: BTreeSet<(Seq, Digest)>,
    /// Up to where the log was searched.
    read_to: Seq,
}

impl Skipped {
    /// What an entry says; a record without facts for one that is passed over.
    pub fn decode(&self, seq: Seq, payload: &[u8]) -> Result<Record, DecodeError> {
        decode(payload)
            .or_else(|error| if self.knows(seq, payload) { Ok(nothing()) } else { Err(error) })
    }

    /// What an entry says that was read ahead: one that can't be read may be somebody else's, which a record behind
    /// it says then.
    pub async fn record_of(
        &mut self,
        log: &dyn RunLog,
        read: Read,
    ) -> PortResult<Result<Record, DecodeError>> {
        let Read { seq, payload, record: Err(error) } = read else { return Ok(read.record) };
        if !self.knows(seq, &payload) {
            self.search(log, seq).await?;
        }
        Ok(if self.knows(seq, &payload) { Ok(nothing()) } else { Err(error) })
    }

    /// Searches the log, from the entry at `from` to its end, for records that name entries to pass over;
    /// not again where it was searched before.
    pub async fn search(&mut self, log: &dyn RunLog, from: Seq) -> PortResult<()> {
        self.read_to = self.read_to.max(from);
        loop {
            let entries = log.read(self.read_to, ReadLimit::default()).await?;
            let Some(last) = entries.last() else { return Ok(()) };
            self.read_to = last.seq;
            for entry in &entries {
                self.note(entry);
            }
        }
    }

    fn note(&mut self, entry: &Entry) {
        let Ok(record) = decode(&entry.payload) else { return };
        for fact in &record.facts {
            if let Fact::ForeignEntrySkipped(fact) = fact {
                self.entries.insert((Seq(fact.seq), fact.digest.clone()));
            }
        }
    }

    /// Whether an entry is to be passed over.
    pub fn has(&self, entry: &Entry) -> bool {
        self.knows(entry.seq, &entry.payload)
    }

    fn knows(&self, seq: Seq, payload: &[u8]) -> bool {
        let mut at = self.entries.iter().filter(|(known, _)| *known == seq);
        at.any(|(_, digest)| digest.as_str() == digest_of(payload))
    }
}

/// What an entry says, for who shows the log as it is; a record without facts for one that is no record, whether
/// or not it is passed over.
pub fn decode_or_nothing(payload: &[u8]) -> Result<Record, DecodeError> {
    decode(payload).or_else(|error| match error {
        DecodeError::Malformed(_) | DecodeError::Trailing(_) => Ok(nothing()),
        newer @ DecodeError::Newer(_) => Err(newer),
    })
}

/// Stands for an entry that is none of ours: it changes nothing.
fn nothing() -> Record {
    Record {
        at: Timestamp(0),
        clock: None,
        scope: Scope::Namespace,
        by: Actor::Scheduler,
        reason: Some("somebody else put an entry here that is no record".to_owned()),
        cause: None,
        trace: None,
        facts: vec![],
    }
}
