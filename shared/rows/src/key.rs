//! Keys of rows: the table's byte, then texts with a zero byte after each, which no id contains; then
//! numbers, big-endian, so that the store's order is theirs.
use crate::Row;

/// A row's key.
pub type Key = Vec<u8>;

/// The key of every row of a table; further parts narrow it.
pub fn table<R: Row>() -> Key {
    vec![R::TABLE]
}

/// Parts of a key, in the order in which rows are to stand.
pub trait Parts: Sized {
    /// A text without a zero byte in it.
    #[must_use]
    fn text(self, text: &str) -> Self;
    /// One byte, as it is.
    #[must_use]
    fn byte(self, byte: u8) -> Self;
    /// A number that has 32 bits.
    #[must_use]
    fn number32(self, number: u32) -> Self;
    /// A number that has 64 bits.
    #[must_use]
    fn number(self, number: u64) -> Self;
    /// A number that may be below zero.
    #[must_use]
    fn signed(self, number: i64) -> Self;
    /// Bytes at the end of the key, as they are.
    #[must_use]
    fn rest(self, bytes: &[u8]) -> Self;
}

impl Parts for Key {
    fn text(mut self, text: &str) -> Self {
        debug_assert!(!text.as_bytes().contains(&0), "no id contains a zero byte");
        self.reserve(text.len() + 17);
        self.extend_from_slice(text.as_bytes());
        self.push(0);
        self
    }

    fn byte(mut self, byte: u8) -> Self {
        self.push(byte);
        self
    }

    fn number32(mut self, number: u32) -> Self {
        self.extend_from_slice(&number.to_be_bytes());
        self
    }

    fn number(mut self, number: u64) -> Self {
        self.extend_from_slice(&number.to_be_bytes());
        self
    }

    fn signed(self, number: i64) -> Self {
        self.number(number.cast_unsigned() ^ (1 << 63))
    }

    fn rest(mut self, bytes: &[u8]) -> Self {
        self.extend_from_slice(bytes);
        self
    }
}

/// The first key after all that begin with `prefix`; `None` where there is none.
pub fn after(prefix: &[u8]) -> Option<Key> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut key = prefix[..=last].to_vec();
    key[last] += 1;
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_in_their_order() {
        let key = |number: i64| Key::new().signed(number);
        for pair in [i64::MIN, -7, -1, 0, 1, 7, i64::MAX].windows(2) {
            assert!(key(pair[0]) < key(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn what_follows_a_prefix_is_no_part_of_it() {
        assert_eq!(after(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(after(&[b'a', 0xFF]), Some(b"b".to_vec()));
        assert_eq!(after(&[0xFF, 0xFF]), None);
        assert_eq!(after(b""), None);
    }
}
