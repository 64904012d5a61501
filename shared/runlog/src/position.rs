//! Where in which log something stands: what every checkpoint and snapshot carries, so that it is never
//! continued on another log, nor on one that has lost what was folded into it.
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Base, Chain, Entry, PortResult, ReadLimit, RunLog, Seq};

/// Which log it is: the chain's value at its first entry, wherever the log lies and however often it is
/// copied. A log without entries has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogMark(pub Chain);

impl LogMark {
    /// The mark of the log that begins with `first`.
    pub fn of(first: &Entry) -> Self {
        Self(Chain::START.then(first))
    }
}

impl fmt::Display for LogMark {
    /// Its first twelve digits: enough for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_string()[..12])
    }
}

/// An entry of a certain log, known by its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The log.
    pub log: LogMark,
    /// The entry.
    pub seq: Seq,
    /// The entry's own fingerprint: the chain's value at it as if nothing came before.
    pub entry: Chain,
}

impl Position {
    /// The position of `entry` in the log with the mark `log`.
    pub fn of(log: LogMark, entry: &Entry) -> Self {
        Self { log, seq: entry.seq, entry: Chain::START.then(entry) }
    }

    /// As [`Position::of`], of an entry's parts.
    pub fn with(log: LogMark, seq: Seq, subject: &str, payload: &[u8]) -> Self {
        Self { log, seq, entry: Chain::START.with(seq, subject, payload) }
    }

    /// The position of the entry `seq` of `log` as it is now; `None` where the log does not hold it.
    pub async fn look(log: &dyn RunLog, seq: Seq) -> PortResult<Option<Self>> {
        let Some(mark) = log.mark().await? else { return Ok(None) };
        let found = held(log, seq).await?;
        Ok(found.map(|entry| Self::of(mark, &entry)))
    }

    /// Holds this position against a log.
    pub async fn compare(&self, log: &dyn RunLog) -> PortResult<Compared> {
        if log.mark().await?.is_some_and(|mark| mark != self.log) {
            return Ok(Compared::Other { at: Seq(1) });
        }
        let last = log.last().await?;
        if last < self.seq {
            return Ok(Compared::Shorter { last, missing: self.seq.0 - last.0 });
        }
        let Base { first, .. } = log.base().await?;
        if self.seq < first {
            return Ok(Compared::Trimmed { first });
        }
        let same = held(log, self.seq).await?.is_some_and(|it| Self::of(self.log, &it) == *self);
        Ok(if same { Compared::Same } else { Compared::Other { at: self.seq } })
    }
}

/// The entry `seq`, where the log holds it.
async fn held(log: &dyn RunLog, seq: Seq) -> PortResult<Option<Entry>> {
    let first = log.base().await?.first;
    if seq < first {
        return Ok(None);
    }
    let one = ReadLimit { entries: 1, ..ReadLimit::default() };
    let found = log.read(Seq(seq.0 - 1), one).await?;
    Ok(found.into_iter().next().filter(|entry| entry.seq == seq))
}

/// What a log has where a position was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// The same entry of the same log: what was folded up to there may go on.
    Same,
    /// Another entry: the fold is of another log, or of another course of this one. Fold afresh.
    Other {
        /// Where they differ, as far as is known.
        at: Seq,
    },
    /// The log ends before it, or is empty: records that were there are not. Nothing may be built on it
    /// unless somebody says so.
    Shorter {
        /// The log's last entry.
        last: Seq,
        /// How many entries are known to be missing.
        missing: u64,
    },
    /// The log begins after it, so it can't be compared. Fold afresh.
    Trimmed {
        /// The first entry that the log holds.
        first: Seq,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Draft, chain_at, memory::MemoryLog};

    async fn log_of(texts: &[&'static str]) -> MemoryLog {
        let log = MemoryLog::default();
        let drafts = texts
            .iter()
            .map(|text| Draft { subject: "log.case".to_owned(), payload: text.as_bytes().into() });
        log.append(Seq::ZERO, drafts.collect()).await.unwrap();
        log
    }

    #[tokio::test]
    async fn a_position_is_known_in_its_own_log_only() {
        let log = log_of(&["a", "b", "c"]).await;
        let there = Position::look(&log, Seq(2)).await.unwrap().unwrap();
        assert_eq!(there.compare(&log).await.unwrap(), Compared::Same);
        let longer = log_of(&["a", "b", "x", "y"]).await;
        assert_eq!(there.compare(&longer).await.unwrap(), Compared::Same, "up to there it is");
        let other = log_of(&["z", "b", "c"]).await;
        assert_eq!(there.compare(&other).await.unwrap(), Compared::Other { at: Seq(1) });
        let forked = log_of(&["a", "z", "c"]).await;
        assert_eq!(there.compare(&forked).await.unwrap(), Compared::Other { at: Seq(2) });
    }

    #[tokio::test]
    async fn a_shorter_log_is_told_with_what_it_lacks() {
        let there = Position::look(&log_of(&["a", "b", "c"]).await, Seq(3)).await.unwrap().unwrap();
        let shorter = |last, missing| Compared::Shorter { last: Seq(last), missing };
        let other = Compared::Other { at: Seq(1) };
        assert_eq!(there.compare(&log_of(&["a"]).await).await.unwrap(), shorter(1, 2));
        assert_eq!(there.compare(&log_of(&[]).await).await.unwrap(), shorter(0, 3));
        assert_eq!(there.compare(&log_of(&["z"]).await).await.unwrap(), other);
    }

    #[tokio::test]
    async fn what_was_trimmed_can_not_be_compared() {
        let log = log_of(&["a", "b", "c"]).await;
        let there = Position::look(&log, Seq(1)).await.unwrap().unwrap();
        let kept = Position::look(&log, Seq(2)).await.unwrap().unwrap();
        log.trim(Seq(2), chain_at(&log, Seq(1)).await.unwrap()).await.unwrap();
        assert_eq!(there.compare(&log).await.unwrap(), Compared::Trimmed { first: Seq(2) });
        assert_eq!(kept.compare(&log).await.unwrap(), Compared::Same, "its mark is kept");
        assert_eq!(Position::look(&log, Seq(1)).await.unwrap(), None);
        assert_eq!(Position::look(&log, Seq(9)).await.unwrap(), None);
    }
}
