//! A running hash over the log: what one entry adds to all before it. Two logs with the same value at
//! an entry have the same entries up to there, so records that were trimmed and archived can be held
//! against the log they came from.
use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{Base, Entry, PortError, PortResult, ReadLimit, RunLog, Seq};

/// The chain's value at an entry: `SHA-256(value before ‖ place ‖ length of subject ‖ subject ‖
/// payload)`, numbers as eight bytes, little end first. Before the first entry it is all zeros. Written
/// in lower-case hexadecimal.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Chain(pub [u8; 32]);

/// Not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest has 64 hexadecimal digits")]
pub struct NotADigest;

impl Chain {
    /// The value before the first entry.
    pub const START: Self = Self([0; 32]);

    /// The value at `entry`, where this is the value at the one before it.
    #[must_use]
    pub fn then(self, entry: &Entry) -> Self {
        self.with(entry.seq, &entry.subject, &entry.payload)
    }

    /// As [`Chain::then`], of an entry's parts.
    #[must_use]
    pub fn with(self, seq: Seq, subject: &str, payload: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(seq.0.to_le_bytes());
        hash.update((subject.len() as u64).to_le_bytes());
        hash.update(subject.as_bytes());
        hash.update(payload);
        Self(hash.finalize().into())
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chain({self})")
    }
}

impl FromStr for Chain {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let (pairs, odd) = text.as_bytes().as_chunks::<2>();
        let mut bytes = [0; 32];
        if pairs.len() != bytes.len() || !odd.is_empty() {
            return Err(NotADigest);
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|it| u8::try_from(it).ok());
        for (byte, &[high, low]) in bytes.iter_mut().zip(pairs) {
            let (high, low) = (digit(high).ok_or(NotADigest)?, digit(low).ok_or(NotADigest)?);
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Chain {
    type Error = NotADigest;

    fn try_from(text: String) -> Result<Self, NotADigest> {
        text.parse()
    }
}

impl From<Chain> for String {
    fn from(chain: Chain) -> Self {
        chain.to_string()
    }
}

/// The chain's value at `seq`, from the entries that the log holds: time grows with their number. For
/// an entry below the log's base, [`PortError::Trimmed`]; beyond its end, a refusal.
pub async fn chain_at(log: &dyn RunLog, seq: Seq) -> PortResult<Chain> {
    let Base { first, chain } = log.base().await?;
    if seq.plus(1) < first {
        return Err(PortError::Trimmed { asked: seq, first });
    }
    chain_from(log, Seq(first.0 - 1), chain, seq).await
}

/// The chain's value at `upto`, where `chain` is its value at `after`.
pub async fn chain_from(
    log: &dyn RunLog,
    after: Seq,
    mut chain: Chain,
    upto: Seq,
) -> PortResult<Chain> {
    let mut seen = after;
    while seen < upto {
        let entries = log.read(seen, ReadLimit::default()).await?;
        if entries.is_empty() {
            let why = format!("the chain at entry {upto}: the log ends at {seen}");
            return Err(PortError::Refused { what: "log", why });
        }
        for entry in entries.iter().take_while(|entry| entry.seq <= upto) {
            chain = chain.then(entry);
            seen = entry.seq;
        }
    }
    Ok(chain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: u64, subject: &str, payload: &'static [u8]) -> Entry {
        Entry { seq: Seq(seq), subject: subject.to_owned(), payload: payload.into() }
    }

    #[test]
    fn every_part_of_an_entry_and_all_before_it_count() {
        let one = Chain::START.then(&entry(1, "log.a", b"x"));
        let others = [entry(2, "log.a", b"x"), entry(1, "log.b", b"x"), entry(1, "log.a", b"y")];
        for other in others.iter().chain([&entry(1, "log.ax", b"")]) {
            assert_ne!(Chain::START.then(other), one, "{other:?}");
        }
        let next = entry(2, "log.a", b"z");
        assert_ne!(one.then(&next), Chain::START.then(&next));
    }

    #[test]
    fn the_format_is_for_ever() {
        let chain = Chain::START.then(&entry(1, "log.a", b"x")).then(&entry(2, "log.b", b""));
        let known = "d9900241e39d3345c21f24a26ef683d6338aaa49521d2df96fe1fef6f043e550";
        assert_eq!(chain.to_string(), known);
    }

    #[test]
    fn it_is_written_in_hexadecimal_and_read_back() {
        let chain = Chain::START.then(&entry(1, "log.a", b"x"));
        assert_eq!(chain.to_string().parse(), Ok(chain));
        for bad in ["", "0", &"0".repeat(63), &"0".repeat(65), &"x".repeat(64), &"é".repeat(32)] {
            assert_eq!(bad.parse::<Chain>(), Err(NotADigest), "{bad}");
        }
    }
}
