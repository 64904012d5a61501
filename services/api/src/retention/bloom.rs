//! A set of digests that forgets none, in two bytes for each; of a hundred others it takes one for one of
//! its own at most. Digests are as good as random, so their own bytes choose the bits.

/// Bits for each digest that is expected.
const BITS: u64 = 16;
/// Bits that each digest sets.
const MARKS: usize = 4;

/// The set.
#[derive(Debug)]
pub(super) struct Bloom {
    words: Vec<u64>,
    /// Another one takes others for its own: what one pass keeps by mistake, the next lets go.
    salt: u64,
}

impl Bloom {
    /// A set with room for `count` digests.
    pub(super) fn new(count: u64, salt: u64) -> Self {
        let words = usize::try_from((count.max(64) * BITS).div_ceil(64)).unwrap_or(usize::MAX);
        Self { words: vec![0; words], salt }
    }

    /// Takes a digest in; what is no digest is in none of the blobs' names.
    pub(super) fn add(&mut self, digest: &str) {
        for (word, bit) in self.places(digest).into_iter().flatten() {
            self.words[word] |= bit;
        }
    }

    /// Whether it was taken in; always true where it was, and for what is no digest.
    pub(super) fn may_have(&self, digest: &str) -> bool {
        self.places(digest)
            .is_none_or(|places| places.into_iter().all(|(word, bit)| self.words[word] & bit != 0))
    }

    fn places(&self, digest: &str) -> Option<[(usize, u64); MARKS]> {
        let mut places = [(0, 0); MARKS];
        for (at, place) in places.iter_mut().enumerate() {
            let part = digest.get(at * 16..(at + 1) * 16)?;
            let number = u64::from_str_radix(part, 16).ok()?;
            let number = (number ^ self.salt).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
            let bit = number % (self.words.len() as u64 * 64);
            *place = (usize::try_from(bit / 64).ok()?, 1 << (bit % 64));
        }
        Some(places)
    }
}

#[cfg(test)]
mod tests {
    use dagbok_runlog::digest_of;

    use super::*;

    #[test]
    fn it_forgets_none_and_takes_few_others_for_its_own() {
        for (count, salt) in [(0, 0), (10, 7), (5_000, 1), (5_000, u64::MAX)] {
            let mut bloom = Bloom::new(count, salt);
            let digest = |n: u64| digest_of(&n.to_le_bytes());
            (0..count).for_each(|n| bloom.add(&digest(n)));
            assert!((0..count).all(|n| bloom.may_have(&digest(n))));
            let mistaken = (0..10_000).filter(|n| bloom.may_have(&digest(1_000_000 + n))).count();
            assert!(mistaken < 100, "{mistaken} of 10,000 with {count}");
        }
        assert!(Bloom::new(9, 0).may_have("no digest"));
    }
}
