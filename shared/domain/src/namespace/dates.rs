//! A set of instants that takes little room where they lie at even distances, as a schedule's do: a year of
//! an hourly one is a single entry.
use std::collections::BTreeMap;

use dagbok_events::Timestamp;
use serde::{Deserialize, Serialize};

/// Instants from the one that is its key on, `count` of them, each `step` microseconds after the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stretch {
    step: i64,
    count: u32,
}

/// The set. Stretches neither touch nor overlap, so one look finds an instant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Dates {
    stretches: BTreeMap<i64, Stretch>,
}

impl Stretch {
    const ONE: Self = Self { step: 0, count: 1 };

    fn last(self, first: i64) -> i64 {
        first + self.step * i64::from(self.count - 1)
    }

    /// Which of its instants `at` is, where the stretch begins at `first`.
    fn place(self, first: i64, at: i64) -> Option<u32> {
        if at == first {
            return Some(0);
        }
        let offset = at.checked_sub(first)?;
        let on_step = self.step > 0 && offset > 0 && offset % self.step == 0;
        let place = if on_step { u32::try_from(offset / self.step).ok()? } else { return None };
        (place < self.count).then_some(place)
    }
}

impl Dates {
    pub(super) fn is_empty(&self) -> bool {
        self.stretches.is_empty()
    }

    pub(super) fn contains(&self, at: Timestamp) -> bool {
        self.around(at.0).is_some_and(|(first, stretch)| stretch.place(first, at.0).is_some())
    }

    /// Whether there is any by `at`.
    pub(super) fn has_by(&self, at: Timestamp) -> bool {
        self.around(at.0).is_some()
    }

    /// The last instant before `at`.
    pub(super) fn before(&self, at: Timestamp) -> Option<Timestamp> {
        let (first, stretch) = self.around(at.0.checked_sub(1)?)?;
        let offset = (at.0 - 1).checked_sub(first).unwrap_or(i64::MAX);
        let place = if stretch.step > 0 { offset / stretch.step } else { 0 };
        let place = place.min(i64::from(stretch.count) - 1);
        Some(Timestamp(first + place * stretch.step))
    }

    pub(super) fn insert(&mut self, at: Timestamp) {
        let at = at.0;
        let Some((first, stretch)) = self.around(at) else {
            self.stretches.insert(at, Stretch::ONE);
            return;
        };
        if stretch.place(first, at).is_some() {
            return;
        }
        let last = stretch.last(first);
        if at < last {
            // It lies between two instants of a stretch, which ends before it and goes on after it.
            let before =
                u32::try_from((at - first) / stretch.step).expect("within the stretch") + 1;
            self.put(first, stretch.step, before);
            self.put(
                first + stretch.step * i64::from(before),
                stretch.step,
                stretch.count - before,
            );
            self.stretches.insert(at, Stretch::ONE);
            return;
        }
        let step = at.saturating_sub(last);
        let in_step = stretch.count == 1 || step == stretch.step;
        // Where the whole stretch can't be measured, its places can't be either.
        if in_step && at.checked_sub(first).is_some() && stretch.count < u32::MAX {
            self.put(first, step, stretch.count + 1);
        } else {
            self.stretches.insert(at, Stretch::ONE);
        }
    }

    pub(super) fn remove(&mut self, at: Timestamp) {
        let Some((first, stretch)) = self.around(at.0) else { return };
        let Some(place) = stretch.place(first, at.0) else { return };
        self.stretches.remove(&first);
        self.put(first, stretch.step, place);
        self.put(at.0.saturating_add(stretch.step), stretch.step, stretch.count - place - 1);
    }

    /// The first instant from `from` on that is not in the set.
    pub(super) fn first_free(&self, from: Timestamp) -> Timestamp {
        let mut free = from;
        while self.contains(free) {
            free = Timestamp(free.0.saturating_add(1));
        }
        free
    }

    fn around(&self, at: i64) -> Option<(i64, Stretch)> {
        self.stretches.range(..=at).next_back().map(|(first, stretch)| (*first, *stretch))
    }

    fn put(&mut self, first: i64, step: i64, count: u32) {
        match count {
            0 => {}
            1 => {
                self.stretches.insert(first, Stretch::ONE);
            }
            _ => {
                self.stretches.insert(first, Stretch { step, count });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn pseudo(seed: &mut u64) -> u64 {
        *seed =
            seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *seed >> 33
    }

    #[test]
    fn it_is_a_set() {
        for seed in 0..200 {
            let (mut rng, mut dates, mut plain) = (seed, Dates::default(), BTreeSet::new());
            for _ in 0..300 {
                let at = i64::try_from(pseudo(&mut rng) % 60).unwrap() * 5
                    + i64::from(pseudo(&mut rng).is_multiple_of(9));
                if pseudo(&mut rng).is_multiple_of(4) {
                    dates.remove(Timestamp(at));
                    plain.remove(&at);
                } else {
                    dates.insert(Timestamp(at));
                    plain.insert(at);
                }
                for at in 0..310 {
                    assert_eq!(dates.contains(Timestamp(at)), plain.contains(&at), "{seed}: {at}");
                }
            }
            let mut free = 3;
            while plain.contains(&free) {
                free += 1;
            }
            assert_eq!(dates.first_free(Timestamp(3)).0, free);
        }
    }

    #[test]
    fn an_even_year_is_one_entry() {
        let mut dates = Dates::default();
        (0..8_760).for_each(|hour| dates.insert(Timestamp(hour * 3_600_000_000)));
        assert_eq!(dates.stretches.len(), 1);
    }

    #[test]
    fn the_ends_of_time_are_no_fault() {
        let mut dates = Dates::default();
        for at in [i64::MIN, i64::MAX, 0, i64::MIN, i64::MAX] {
            dates.insert(Timestamp(at));
            assert!(dates.contains(Timestamp(at)));
        }
        dates.remove(Timestamp(i64::MAX));
        assert!(!dates.contains(Timestamp(i64::MAX)) && dates.contains(Timestamp(0)));
    }
}
