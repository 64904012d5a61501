//! The one place that turns records into bytes: MessagePack with named fields.
//!
//! Named, because positions break when a field is added in the middle. Every encoder goes through
//! here so that no positional form slips into a log. A large record is compressed: the end of a run of
//! many tasks must fit in one message. The first bytes tell which form it is.
use serde::{Serialize, de::DeserializeOwned};

use crate::Record;

/// Stored bytes that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Written by a newer Dagbok, which knows facts that this one does not.
    #[error("the record was written by a newer version ({0}); run that version or a later one")]
    Newer(String),
    /// Not a record.
    #[error("the bytes are no record: {0}")]
    Malformed(String),
    /// Whole, and something after it.
    #[error("{0} bytes follow the record")]
    Trailing(usize),
}

/// Records longer than this are compressed, in bytes.
const COMPRESS_ABOVE: usize = 32 << 10;
/// The longest record that is unpacked, in bytes: more is no record of ours.
const UNPACKED_MOST: usize = 64 << 20;
/// How a Zstandard frame begins; no MessagePack map does.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Encodes a record.
pub fn encode(record: &Record) -> Vec<u8> {
    encode_packed(record, COMPRESS_ABOVE)
}

/// As [`encode`], of a record that fits into `most` bytes and that a reader unpacks.
pub fn encode_within(record: &Record, most: usize) -> Result<Vec<u8>, TooLong> {
    let plain = encode_any(record);
    if plain.len() > UNPACKED_MOST {
        return Err(TooLong { bytes: plain.len(), most: UNPACKED_MOST });
    }
    let packed = pack(plain, COMPRESS_ABOVE);
    let bytes = packed.len();
    if bytes > most { Err(TooLong { bytes, most }) } else { Ok(packed) }
}

/// A record that can't be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record of {bytes} bytes is more than the {most} that fit")]
pub struct TooLong {
    /// Bytes that it has, or would have once it is unpacked.
    pub bytes: usize,
    /// Bytes that it may have.
    pub most: usize,
}

/// Decodes a record, all bytes of it.
pub fn decode(bytes: &[u8]) -> Result<Record, DecodeError> {
    decode_packed(bytes)
}

/// As [`encode_any`], and compressed where it is longer than `above` bytes.
pub fn encode_packed<T: Serialize>(value: &T, above: usize) -> Vec<u8> {
    pack(encode_any(value), above)
}

fn pack(plain: Vec<u8>, above: usize) -> Vec<u8> {
    if plain.len() <= above {
        return plain;
    }
    zstd::bulk::compress(&plain, 3).unwrap_or(plain)
}

/// Decodes anything that [`encode_packed`] or [`encode_any`] wrote.
pub fn decode_packed<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    if !bytes.starts_with(&ZSTD_MAGIC) {
        return decode_any(bytes);
    }
    let said = zstd::zstd_safe::get_frame_content_size(bytes).ok().flatten();
    let room = said.and_then(|size| usize::try_from(size).ok()).unwrap_or(UNPACKED_MOST);
    let plain = zstd::bulk::decompress(bytes, room.min(UNPACKED_MOST))
        .map_err(|error| DecodeError::Malformed(error.to_string()))?;
    decode_any(&plain)
}

/// Encodes anything of ours that is stored or sent.
pub fn encode_any<T: Serialize>(value: &T) -> Vec<u8> {
    rmp_serde::to_vec_named(value)
        .expect("our types have no maps with odd keys and memory does not fail")
}

/// Decodes anything that [`encode_any`] wrote.
pub fn decode_any<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let mut rest = bytes;
    let value = {
        let mut decoder = rmp_serde::Deserializer::new(&mut rest);
        T::deserialize(&mut decoder).map_err(|error| {
            let text = error.to_string();
            if text.contains("unknown variant") {
                DecodeError::Newer(text)
            } else {
                DecodeError::Malformed(text)
            }
        })?
    };
    if rest.is_empty() { Ok(value) } else { Err(DecodeError::Trailing(rest.len())) }
}
