//! Parts of the index, read side by side in one order.
use std::{cmp::Ordering, collections::BinaryHeap};

use dagbok_rows::StoreError;

/// A run as the index has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hit {
    /// What it has in the field, in the store's order.
    pub(super) value: Vec<u8>,
    /// The sequence of the record that made it.
    pub(super) seq: u64,
}

impl Hit {
    /// From a key whose first `prefix` bytes are the part's.
    pub(super) fn read(key: &[u8], prefix: usize) -> Result<Self, StoreError> {
        let broken = || StoreError::Unreadable("a key of the index of runs".to_owned());
        let (value, seq) =
            key.get(prefix..).and_then(|rest| rest.split_last_chunk::<8>()).ok_or_else(broken)?;
        Ok(Self { value: value.to_vec(), seq: u64::from_be_bytes(*seq) })
    }
}

impl Hit {
    /// The number that it has in the field, where that is one.
    pub(super) fn number(&self) -> Option<i64> {
        let bytes = self.value.as_slice().try_into().ok()?;
        Some((u64::from_be_bytes(bytes) ^ (1 << 63)).cast_signed())
    }
}

/// One part, in the order that is wanted.
pub(super) type Stream = Box<dyn Iterator<Item = Result<Hit, StoreError>>>;

struct Head {
    hit: Hit,
    of: usize,
    down: bool,
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap's top is its greatest.
        let order = self.hit.cmp(&other.hit);
        if self.down { order } else { order.reverse() }
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.hit == other.hit
    }
}

impl Eq for Head {}

/// Streams that are each in order, as one that is.
pub(super) struct Merge {
    streams: Vec<Stream>,
    heads: BinaryHeap<Head>,
    begun: bool,
    down: bool,
}

impl Merge {
    pub(super) fn new(streams: Vec<Stream>, down: bool) -> Self {
        Self { streams, heads: BinaryHeap::new(), begun: false, down }
    }

    fn pull(&mut self, of: usize) -> Result<(), StoreError> {
        if let Some(hit) = self.streams[of].next().transpose()? {
            self.heads.push(Head { hit, of, down: self.down });
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<Option<Hit>, StoreError> {
        if !self.begun {
            self.begun = true;
            for of in 0..self.streams.len() {
                self.pull(of)?;
            }
        }
        let Some(Head { hit, of, .. }) = self.heads.pop() else { return Ok(None) };
        self.pull(of)?;
        Ok(Some(hit))
    }
}

impl Iterator for Merge {
    type Item = Result<Hit, StoreError>;
    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}
