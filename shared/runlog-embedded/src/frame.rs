//! One entry as bytes, checked as a whole.
//!
//! ```text
//! crc32 u32 | body u32 | seq u64 | subject u16 | subject bytes | payload bytes     (little endian)
//! ```
//!
//! `body` counts subject and payload; the checksum covers all that follows it, place and lengths
//! too, so a frame that was copied elsewhere is no frame.
use dagbok_runlog::limits::{MAX_PAYLOAD, MAX_SUBJECT};

/// Bytes before the subject.
pub(crate) const HEAD: usize = 18;

/// Bytes of the largest frame.
pub(crate) const MAX: usize = HEAD + MAX_SUBJECT + MAX_PAYLOAD;

/// An entry in the bytes that hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) seq: u64,
    pub(crate) subject: &'a str,
    pub(crate) payload: &'a [u8],
}

/// Bytes that an entry takes.
pub(crate) const fn size(subject: &str, payload: &[u8]) -> usize {
    HEAD + subject.len() + payload.len()
}

/// Adds an entry within [the limits](dagbok_runlog::limits).
pub(crate) fn encode(into: &mut Vec<u8>, frame: Frame<'_>) {
    let Frame { seq, subject, payload } = frame;
    let body = u32::try_from(subject.len() + payload.len()).expect("the limits are far below");
    let subject_len = u16::try_from(subject.len()).expect("the limit is far below");
    let start = into.len();
    into.extend_from_slice(&[0; 4]);
    into.extend_from_slice(&body.to_le_bytes());
    into.extend_from_slice(&seq.to_le_bytes());
    into.extend_from_slice(&subject_len.to_le_bytes());
    into.extend_from_slice(subject.as_bytes());
    into.extend_from_slice(payload);
    let crc = crc32fast::hash(&into[start + 4..]);
    into[start..start + 4].copy_from_slice(&crc.to_le_bytes());
}

/// Bytes that the frame beginning with `head` says it takes; `None` where none is as large.
pub(crate) fn announced(head: &[u8; HEAD]) -> Option<usize> {
    let body = usize::try_from(u32_at(head, 4)).ok()?;
    let subject = usize::from(u16::from_le_bytes([head[16], head[17]]));
    (subject <= body && HEAD + body <= MAX).then_some(HEAD + body)
}

/// The place that the frame beginning with `head` says it has.
pub(crate) fn announced_seq(head: &[u8; HEAD]) -> u64 {
    u64::from_le_bytes(head[8..16].try_into().expect("eight bytes are eight"))
}

/// The frame that takes up all of `bytes`; `None` where the checksum is another.
pub(crate) fn decode(bytes: &[u8]) -> Option<Frame<'_>> {
    let head: &[u8; HEAD] = bytes.first_chunk()?;
    if announced(head)? != bytes.len() || crc32fast::hash(&bytes[4..]) != u32_at(head, 0) {
        return None;
    }
    let subject = usize::from(u16::from_le_bytes([head[16], head[17]]));
    let (subject, payload) = bytes[HEAD..].split_at(subject);
    Some(Frame { seq: announced_seq(head), subject: std::str::from_utf8(subject).ok()?, payload })
}

fn u32_at(head: &[u8; HEAD], at: usize) -> u32 {
    u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(seq: u64, subject: &str, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&mut bytes, Frame { seq, subject, payload });
        bytes
    }

    #[test]
    fn a_frame_comes_back_as_it_went() {
        for (subject, payload) in
            [("log.a", &b"bytes"[..]), ("x", b""), ("log.\u{1f980}", &[0; 999])]
        {
            let bytes = encoded(7, subject, payload);
            assert_eq!(bytes.len(), size(subject, payload));
            assert_eq!(decode(&bytes), Some(Frame { seq: 7, subject, payload }));
        }
    }

    #[test]
    fn any_changed_bit_and_any_other_length_is_noticed() {
        let bytes = encoded(7, "log.a", b"payload");
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&changed), None, "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), None, "{length} bytes");
        }
        assert_eq!(decode(&[0; 64]), None, "zeros are what an unwritten block reads as");
        assert_eq!(decode(&[0; HEAD]), None);
    }

    #[test]
    fn an_absurd_length_is_not_believed() {
        let mut head = [0xff; HEAD];
        assert_eq!(announced(&head), None);
        head[4..8].copy_from_slice(&u32::try_from(MAX - HEAD + 1).unwrap().to_le_bytes());
        head[16..].copy_from_slice(&[0, 0]);
        assert_eq!(announced(&head), None);
    }
}
