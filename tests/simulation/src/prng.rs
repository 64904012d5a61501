//! The only source of chance: small, seeded, and the same on every machine and at every version.

/// SplitMix64: passes what matters here, in five lines.
#[derive(Clone, Debug)]
pub struct Prng(u64);

impl Prng {
    /// The sequence that this seed gives.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 up to, without, `end`; 0 where `end` is.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).expect("a length fits");
        usize::try_from(self.roll() % end).expect("below a length")
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = u64::try_from(high - low + 1).expect("high is not below low");
        low + i64::try_from(self.roll() % span).expect("below the span")
    }

    /// Whether something happens that does so in `permille` of a thousand cases.
    pub fn chance(&mut self, permille: u64) -> bool {
        self.roll() % 1_000 < permille
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len()))
    }
}
