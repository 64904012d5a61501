//! Frames: a 4-byte big-endian length and MessagePack, in the shape of Airflow's Task SDK.
use std::{fmt, time::Duration};

use bytes::BufMut as _;
use dagbok_events::Timestamp;
use dagbok_protocol::limits::PAYLOAD_BYTES;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, SeqAccess, Visitor},
    ser::Error as _,
};
use serde_bytes::{ByteBuf, Bytes};
use serde_json::{Map, Number, Value};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    time::timeout,
};

/// The largest frame that is read whole, in bytes: the largest value, and what stands around it.
pub(crate) const FRAME_BYTES: usize = PAYLOAD_BYTES + (64 << 10);
/// Of a frame beyond that, this much is looked at to say what it was, in bytes.
const PEEK_BYTES: usize = 4 << 10;

/// By so many of its first bytes what is no request is told from one.
const BEGIN: usize = 2;
/// How long nothing may come in the middle of a frame. A try that is frozen for its lease is so for less.
const STALL: Duration = Duration::from_mins(1);

/// One request, or one that was too large.
#[derive(Debug, PartialEq)]
pub(crate) enum Incoming {
    /// A whole frame.
    Request {
        /// To be answered with it.
        id: i64,
        /// What is asked; a map with `type`.
        body: Map<String, Value>,
    },
    /// Its bytes were passed over.
    TooLarge {
        /// To be answered with it.
        id: i64,
        /// Its size in bytes.
        bytes: usize,
        /// What could be seen of it: `type`, `key`.
        seen: Map<String, Value>,
    },
}

/// Why the frames can't go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// The socket broke.
    #[error("the frames broke: {0}")]
    Io(#[from] std::io::Error),
    /// What came is no request.
    #[error("{0}")]
    Garbled(String),
}

/// Reads one frame; `None` at the end of the stream, also where that comes in the middle of a frame. What
/// begins like no request is an error at once, and so is a frame that does not go on.
pub(crate) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<Incoming>, FrameError> {
    let mut header = Vec::with_capacity(4);
    // The first byte may be long in coming.
    if ended(stream.read_buf(&mut (&mut header).limit(4)).await)?
        || !fill(stream, &mut header, 4).await?
    {
        return Ok(None);
    }
    let bytes = u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize;
    let whole = bytes <= FRAME_BYTES;
    // Grows with what really comes: a length alone takes no memory.
    let mut frame = Vec::new();
    let room = if whole { bytes } else { PEEK_BYTES };
    if bytes < BEGIN || !fill(stream, &mut frame, BEGIN).await? {
        return if bytes < BEGIN { Err(no_request(&header)) } else { Ok(None) };
    }
    if !begins_a_request(&frame) {
        return Err(no_request(&[&header[..], &frame[..]].concat()));
    }
    if !fill(stream, &mut frame, room).await? {
        return Ok(None);
    }
    if whole {
        return decode(&frame).map(Some);
    }
    if !pass_over(stream, bytes - room).await? {
        return Ok(None);
    }
    let (id, seen) = peek(&frame).ok_or_else(|| FrameError::Garbled(format!("{bytes} bytes")))?;
    Ok(Some(Incoming::TooLarge { id, bytes, seen }))
}

/// Reads on until `buffer` has `bytes`; false where the stream ends before.
async fn fill(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
    bytes: usize,
) -> Result<bool, FrameError> {
    while buffer.len() < bytes {
        let room = bytes - buffer.len();
        if ended(going_on(stream.read_buf(&mut (&mut *buffer).limit(room))).await?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Reads on for so many bytes that nobody wants; false where the stream ends before.
async fn pass_over(
    stream: &mut (impl AsyncRead + Unpin),
    mut bytes: usize,
) -> Result<bool, FrameError> {
    let mut unwanted = Vec::with_capacity(64 << 10);
    while bytes > 0 {
        unwanted.clear();
        let room = bytes.min(64 << 10);
        if ended(going_on(stream.read_buf(&mut (&mut unwanted).limit(room))).await?)? {
            return Ok(false);
        }
        bytes -= unwanted.len();
    }
    Ok(true)
}

/// The read, if it brings something before the frame counts as broken off.
async fn going_on<T>(read: impl Future<Output = T>) -> Result<T, FrameError> {
    let broken = || format!("a frame broke off for {} s", STALL.as_secs());
    timeout(STALL, read).await.map_err(|_| FrameError::Garbled(broken()))
}

fn ended(read: std::io::Result<usize>) -> Result<bool, FrameError> {
    match read {
        Ok(read) => Ok(read == 0),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Whether a body may go on as a request: a short list that begins with a whole number.
fn begins_a_request(frame: &[u8]) -> bool {
    matches!(frame, [0x92 | 0x93, 0x00..=0x7f | 0xcc..=0xd3 | 0xe0..=0xff, ..])
}

fn no_request(bytes: &[u8]) -> FrameError {
    FrameError::Garbled(format!("it got bytes that begin no request: {}", bytes.escape_ascii()))
}

fn decode(frame: &[u8]) -> Result<Incoming, FrameError> {
    let value = rmp_serde::from_slice::<Json>(frame)
        .map_err(|error| FrameError::Garbled(error.to_string()))?;
    let Value::Array(parts) = value.0 else {
        return Err(FrameError::Garbled("no list".to_owned()));
    };
    // A trace carrier may stand third.
    let mut parts = parts.into_iter();
    match (parts.next().and_then(|id| id.as_i64()), parts.next()) {
        (Some(id), Some(Value::Object(body))) => Ok(Incoming::Request { id, body }),
        _ => Err(FrameError::Garbled("a request is a list of a number and a map".to_owned())),
    }
}

/// The id, and the texts at the start of the body, of a frame's first bytes.
fn peek(frame: &[u8]) -> Option<(i64, Map<String, Value>)> {
    let mut rest = frame;
    let mut decoder = rmp_serde::Deserializer::new(&mut rest);
    let mut seen = (None, Map::new());
    // Ends with an error where the bytes end; what was seen until then is kept.
    drop(decoder.deserialize_seq(Peek(&mut seen)));
    seen.0.map(|id| (id, seen.1))
}

struct Peek<'a>(&'a mut (Option<i64>, Map<String, Value>));

impl<'de> Visitor<'de> for Peek<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of an id and a map")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.0.0 = seq.next_element()?;
        seq.next_element_seed(PeekBody(&mut self.0.1)).map(drop)
    }
}

struct PeekBody<'a>(&'a mut Map<String, Value>);

impl<'de> de::DeserializeSeed<'de> for PeekBody<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for PeekBody<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value::<Json>()?;
            self.0.insert(name, value.0);
        }
        Ok(())
    }
}

/// Encodes one frame of our own.
pub(crate) fn encode(message: &impl Serialize) -> Vec<u8> {
    let mut frame = vec![0; 4];
    let mut serializer = rmp_serde::Serializer::new(&mut frame).with_struct_map();
    message.serialize(&mut serializer).expect("text keys, and memory does not fail");
    let length =
        u32::try_from(frame.len() - 4).expect("what is answered is within the limits of values");
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

/// An instant as a MessagePack timestamp, which Python reads as a datetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(pub(crate) Timestamp);

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = self.0.0.div_euclid(1_000_000);
        let nanos =
            u32::try_from(self.0.0.rem_euclid(1_000_000) * 1_000).map_err(S::Error::custom)?;
        let bytes = match u64::try_from(seconds) {
            Ok(seconds) if seconds < 1 << 34 => {
                ((u64::from(nanos) << 34) | seconds).to_be_bytes().to_vec()
            }
            _ => [&nanos.to_be_bytes()[..], &seconds.to_be_bytes()[..]].concat(),
        };
        serializer.serialize_newtype_struct("_ExtStruct", &(-1_i8, Bytes::new(&bytes)))
    }
}

/// Any MessagePack as JSON; timestamps become RFC 3339 text.
#[derive(Debug)]
struct Json(Value);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor).map(Json)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what JSON can say")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom(format!("{value} has no form in JSON")))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_bytes<E: de::Error>(self, value: &[u8]) -> Result<Value, E> {
        Err(E::custom(format!("{} raw bytes have no form in JSON", value.len())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Json(value)) = seq.next_element()? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            object.insert(name, map.next_value::<Json>()?.0);
        }
        Ok(Value::Object(object))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, ext: D) -> Result<Value, D::Error> {
        let (tag, bytes) = <(i8, ByteBuf)>::deserialize(ext)?;
        let at = (tag == -1).then(|| timestamp(&bytes)).flatten();
        let at =
            at.ok_or_else(|| de::Error::custom(format!("extension {tag} has no form in JSON")))?;
        Ok(Value::String(at.to_string()))
    }
}

/// MessagePack's three lengths of timestamps.
fn timestamp(bytes: &[u8]) -> Option<Timestamp> {
    let (seconds, nanos) = match *bytes {
        [a, b, c, d] => (i64::from(u32::from_be_bytes([a, b, c, d])), 0),
        [_, _, _, _, _, _, _, _] => {
            let both = u64::from_be_bytes(bytes.try_into().ok()?);
            (i64::try_from(both & ((1 << 34) - 1)).ok()?, i64::try_from(both >> 34).ok()?)
        }
        [a, b, c, d, ..] if bytes.len() == 12 => (
            i64::from_be_bytes(bytes[4..].try_into().ok()?),
            i64::from(u32::from_be_bytes([a, b, c, d])),
        ),
        _ => return None,
    };
    Some(Timestamp(seconds.checked_mul(1_000_000)?.checked_add(nanos / 1_000)?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_request_comes_back_as_json_with_its_times() {
        for at in [
            Timestamp(0),
            Timestamp(1_700_000_000_123_456),
            Timestamp(-5),
            Timestamp(20_000_000_000_000_001),
        ] {
            let frame =
                encode(&(7, json!({"type": "T", "n": [1, -2, 2.5, null, true]}), Stamp(at)));
            let got = read(&mut frame.as_slice()).await.unwrap().unwrap();
            let Incoming::Request { id, body } = got else { panic!("{got:?}") };
            assert_eq!((id, body["n"].clone()), (7, json!([1, -2, 2.5, null, true])));
            let frame = encode(&(7, std::collections::BTreeMap::from([("at", Stamp(at))])));
            let got = read(&mut frame.as_slice()).await.unwrap().unwrap();
            let Incoming::Request { body, .. } = got else { panic!("{got:?}") };
            assert_eq!(body["at"], json!(at.to_string()));
        }
    }

    #[tokio::test]
    async fn noise_is_an_error_and_an_end_is_an_end() {
        let frame = encode(&json!({"no": "list"}));
        assert!(matches!(read(&mut frame.as_slice()).await, Err(FrameError::Garbled(_))));
        let frame = encode(&(1, json!({"type": "T"})));
        assert!(read(&mut &frame[..frame.len() - 1]).await.unwrap().is_none());
        assert!(read(&mut &frame[..2]).await.unwrap().is_none());
        assert!(read(&mut [0_u8; 0].as_slice()).await.unwrap().is_none());
        let nan = encode(&(1, std::collections::BTreeMap::from([("x", f64::NAN)])));
        assert!(read(&mut nan.as_slice()).await.unwrap_err().to_string().contains("NaN"));
    }

    #[tokio::test]
    async fn bytes_that_begin_no_request_are_an_error_at_once() {
        // The writer stays open: nothing may wait for more.
        for noise in [
            &b"AAAAAA"[..],
            b"\0\0\0\0",
            b"\0\0\0\x01\x92",
            b"\xff\xff\xff\xff\0\0",
            b"\0\0\0\x09\x92\xc0",
        ] {
            let (mut ours, mut theirs) = tokio::io::duplex(64);
            tokio::io::AsyncWriteExt::write_all(&mut theirs, noise).await.unwrap();
            assert!(matches!(read(&mut ours).await, Err(FrameError::Garbled(_))), "{noise:?}");
        }
        // A stray byte shifts what follows.
        let (mut ours, mut theirs) = tokio::io::duplex(64);
        let shifted = [b"x", &encode(&(1, json!({"type": "T"})))[..]].concat();
        tokio::io::AsyncWriteExt::write_all(&mut theirs, &shifted).await.unwrap();
        assert!(matches!(read(&mut ours).await, Err(FrameError::Garbled(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_that_does_not_go_on_is_an_error_in_time() {
        let whole = encode(&(1, json!({"type": "T", "text": "long enough"})));
        for cut in [1, 3, 4, 5, 6, whole.len() - 1] {
            let (mut ours, mut theirs) = tokio::io::duplex(64);
            tokio::io::AsyncWriteExt::write_all(&mut theirs, &whole[..cut]).await.unwrap();
            let got = timeout(STALL * 2, read(&mut ours)).await.expect("it gives up by itself");
            assert!(matches!(got, Err(FrameError::Garbled(_))), "{cut}: {got:?}");
        }
        let (mut ours, _theirs) = tokio::io::duplex(64);
        assert!(timeout(STALL * 9, read(&mut ours)).await.is_err(), "before a frame there is time");
    }

    #[tokio::test]
    async fn what_is_too_large_is_passed_over_and_named() {
        let big = "x".repeat(FRAME_BYTES + 1);
        let mut stream = encode(&(3, json!({"type": "SetXCom", "key": "k", "value": big})));
        stream.extend(encode(&(4, json!({"type": "Next"}))));
        let mut stream = stream.as_slice();
        let got = read(&mut stream).await.unwrap().unwrap();
        let Incoming::TooLarge { id, bytes, seen } = got else { panic!("too large") };
        assert!(bytes > FRAME_BYTES);
        assert_eq!((id, Value::Object(seen)), (3, json!({"type": "SetXCom", "key": "k"})));
        let next = read(&mut stream).await.unwrap().unwrap();
        assert!(matches!(next, Incoming::Request { id: 4, .. }));
    }
}
