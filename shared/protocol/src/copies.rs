//! Which copies of a mapped task have returned something: written once for all of them, so that who is mapped
//! over what they returned, or gathers it, need not list them to count.
use dagbok_events::MapIndex;
use serde::{Deserialize, Serialize};

/// Stretches above which bits say the same in less.
const STRETCHES: usize = 64;

/// The copies that returned something, in order. At the most copies that a task may have it takes 25 kB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnedBy {
    /// How many.
    len: u32,
    /// Where they are few: the first of each stretch, and how many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    stretches: Vec<(u32, u32)>,
    /// Else four copies to a hexadecimal digit, the first one the highest bit.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    bits: String,
}

impl ReturnedBy {
    /// These, in order.
    pub fn of(copies: impl IntoIterator<Item = MapIndex>) -> Self {
        let (mut len, mut stretches) = (0, Vec::<(u32, u32)>::new());
        for copy in copies.into_iter().filter_map(|copy| u32::try_from(copy.0).ok()) {
            len += 1;
            match stretches.last_mut() {
                Some((first, count)) if *first + *count == copy => *count += 1,
                _ => stretches.push((copy, 1)),
            }
        }
        if stretches.len() <= STRETCHES {
            return Self { len, stretches, bits: String::new() };
        }
        let end = stretches.last().map_or(0, |(first, count)| first + count) as usize;
        let mut digits = vec![0_u8; end.div_ceil(4)];
        for copy in stretches.into_iter().flat_map(|(first, count)| first..first + count) {
            digits[copy as usize / 4] |= 8 >> (copy % 4);
        }
        let bits = digits.iter().filter_map(|digit| char::from_digit(u32::from(*digit), 16));
        Self { len, stretches: Vec::new(), bits: bits.collect() }
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The copy that is the `nth` of them, from 0.
    pub fn nth(&self, nth: usize) -> Option<MapIndex> {
        let mut rest = u32::try_from(nth).ok()?;
        let copy = |number: u32| i32::try_from(number).ok().map(MapIndex);
        for (first, count) in &self.stretches {
            if rest < *count {
                return copy(first.checked_add(rest)?);
            }
            rest -= count;
        }
        for (place, digit) in (0_u32..).zip(self.bits.bytes()) {
            let digit = char::from(digit).to_digit(16)?;
            if rest >= digit.count_ones() {
                rest -= digit.count_ones();
                continue;
            }
            let mut set = (0..4).filter(|bit| digit & (8 >> bit) != 0);
            return copy(place * 4 + set.nth(rest as usize)?);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_by_its_place_however_they_lie() {
        let every = |step: i32, end: i32| (0..end).filter(move |n| n % step == 0);
        let lie: [Vec<i32>; 6] = [
            vec![],
            vec![3],
            (0..1_000).collect(),
            every(2, 1_001).collect(),
            every(3, 100).collect(),
            every(7, 100_000).chain(100_000..100_050).collect(),
        ];
        for copies in lie {
            let found = ReturnedBy::of(copies.iter().map(|n| MapIndex(*n)));
            assert_eq!((found.len(), found.is_empty()), (copies.len(), copies.is_empty()));
            for (nth, copy) in copies.iter().enumerate().step_by(copies.len() / 50 + 1) {
                assert_eq!(found.nth(nth), Some(MapIndex(*copy)), "{nth} of {}", copies.len());
            }
            assert_eq!(found.nth(copies.len()), None);
            let text = serde_json::to_string(&found).unwrap();
            assert!(text.len() < 26_000, "{} bytes", text.len());
            assert_eq!(serde_json::from_str::<ReturnedBy>(&text).unwrap(), found);
        }
    }
}
