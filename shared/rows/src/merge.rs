//! Rows of several places as those of one: by key, and of a key what the newest place says of it.
use std::{ops::Deref, sync::Arc};

use crate::{hot::Hot, store::StoreError};

/// Bytes as the place that they come from holds them.
#[derive(Clone, Debug)]
pub enum Bytes {
    /// Of a generation.
    Hot(sled::IVec),
    /// Of the cold rows.
    Cold(fjall::Slice),
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

/// One place's pairs, with the next of either end in hand.
struct Place {
    pairs: Pairs,
    front: Option<Pair>,
    back: Option<Pair>,
    /// Dropped last: the files that are read go with it.
    _of: Option<Arc<Hot>>,
}

impl Place {
    fn fill_front(&mut self) -> Result<(), StoreError> {
        if self.front.is_none() {
            self.front = self.pairs.next().transpose()?.or_else(|| self.back.take());
        }
        Ok(())
    }

    fn fill_back(&mut self) -> Result<(), StoreError> {
        if self.back.is_none() {
            self.back = self.pairs.next_back().transpose()?.or_else(|| self.front.take());
        }
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
        let place = |(pairs, of)| Place { pairs, front: None, back: None, _of: of };
        Self { places: places.into_iter().map(place).collect(), failed: false }
    }

    fn forward(&mut self) -> Result<Option<Pair>, StoreError> {
        loop {
            for place in &mut self.places {
                place.fill_front()?;
            }
            let fronts = self.places.iter().filter_map(|place| place.front.as_ref());
            // Of equal keys the first is the newest place's.
            let Some(least) = fronts.map(|pair| &pair.key).min_by(|a, b| a[..].cmp(&b[..])) else {
                return Ok(None);
            };
            let least = least.clone();
            let same = |pair: &mut Pair| pair.key[..] == least[..];
            let mut found = self.places.iter_mut().filter_map(|place| place.front.take_if(same));
            let newest = found.next();
            found.for_each(drop);
            if newest.as_ref().is_some_and(|pair| pair.value.is_some()) {
                return Ok(newest);
            }
        }
    }

    fn backward(&mut self) -> Result<Option<Pair>, StoreError> {
        loop {
            for place in &mut self.places {
                place.fill_back()?;
            }
            let backs = self.places.iter().filter_map(|place| place.back.as_ref());
            let Some(most) = backs.map(|pair| &pair.key).max_by(|a, b| a[..].cmp(&b[..])) else {
                return Ok(None);
            };
            let most = most.clone();
            let same = |pair: &mut Pair| pair.key[..] == most[..];
            let mut found = self.places.iter_mut().filter_map(|place| place.back.take_if(same));
            let newest = found.next();
            found.for_each(drop);
            if newest.as_ref().is_some_and(|pair| pair.value.is_some()) {
                return Ok(newest);
            }
        }
    }

    /// A walk that failed is over: what follows would not be whole.
    fn step(
        &mut self,
        step: impl FnOnce(&mut Self) -> Result<Option<Pair>, StoreError>,
    ) -> Option<Result<Pair, StoreError>> {
        if self.failed {
            return None;
        }
        let found = step(self);
        self.failed = found.is_err();
        found.transpose()
    }
}

impl Iterator for Merged {
    type Item = Result<Pair, StoreError>;
    fn next(&mut self) -> Option<Self::Item> {
        self.step(Self::forward)
    }
}

impl DoubleEndedIterator for Merged {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(Self::backward)
    }
}
