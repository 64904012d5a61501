//! Rows of several places as those of one: by key, and of a key what the newest place says of it.
use std::{ops::Deref, sync::Arc};

use crate::{hot::Hot, store::StoreError};

/// Bytes as the place that they come from holds them.
#[derive(Clone, Debug)]
pub enum Bytes {
    /// Of a generation.
    Hot(sled::IVec),
    /// Of the cold rows.
    Cold(lsm_tree::Slice),
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Hot(bytes) => bytes,
            Self::Cold(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// A key, and its row; `None` where it is gone, whatever an older place says.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) key: Bytes,
    pub(crate) value: Option<Bytes>,
}

pub(crate) type Pairs = Box<dyn DoubleEndedIterator<Item = Result<Pair, StoreError>>>;

/// Which end of a range a walk goes on from.
#[derive(Clone, Copy)]
enum End {
    Front,
    Back,
}

/// One place's pairs, with the next of either end in hand.
struct Place {
    pairs: Pairs,
    held: [Option<Pair>; 2],
    /// Dropped last: the files that are read go with it.
    _of: Option<Arc<Hot>>,
}

impl Place {
    fn fill(&mut self, end: End) -> Result<(), StoreError> {
        let [front, back] = &mut self.held;
        let (next, here, there) = match end {
            End::Front if front.is_none() => (self.pairs.next(), front, back),
            End::Back if back.is_none() => (self.pairs.next_back(), back, front),
            End::Front | End::Back => return Ok(()),
        };
        *here = next.transpose()?.or_else(|| there.take());
        Ok(())
    }
}

/// Walks several places at once, from either end; what is gone is left out.
pub(crate) struct Merged {
    /// The newest first.
    places: Vec<Place>,
    failed: bool,
}

impl Merged {
    pub(crate) fn new(places: impl IntoIterator<Item = (Pairs, Option<Arc<Hot>>)>) -> Self {
        let place = |(pairs, of)| Place { pairs, held: [None, None], _of: of };
        Self { places: places.into_iter().map(place).collect(), failed: false }
    }

    fn advance(&mut self, end: End) -> Result<Option<Pair>, StoreError> {
        let at = end as usize;
        let order = |a: &&Bytes, b: &&Bytes| match end {
            End::Front => a[..].cmp(&b[..]),
            End::Back => b[..].cmp(&a[..]),
        };
        loop {
            for place in &mut self.places {
                place.fill(end)?;
            }
            let held = self.places.iter().filter_map(|place| place.held[at].as_ref());
            let Some(first) = held.map(|pair| &pair.key).min_by(order).cloned() else {
                return Ok(None);
            };
            let same = |pair: &mut Pair| pair.key[..] == first[..];
            // Of equal keys the first is the newest place's, and says what there is.
            let mut found = self.places.iter_mut().filter_map(|it| it.held[at].take_if(same));
            let newest = found.next();
            found.for_each(drop);
            if newest.as_ref().is_some_and(|pair| pair.value.is_some()) {
                return Ok(newest);
            }
        }
    }

    /// A walk that failed is over: what follows would not be whole.
    fn step(&mut self, end: End) -> Option<Result<Pair, StoreError>> {
        if self.failed {
            return None;
        }
        let found = self.advance(end);
        self.failed = found.is_err();
        found.transpose()
    }
}

impl Iterator for Merged {
    type Item = Result<Pair, StoreError>;
    fn next(&mut self) -> Option<Self::Item> {
        self.step(End::Front)
    }
}

impl DoubleEndedIterator for Merged {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(End::Back)
    }
}
