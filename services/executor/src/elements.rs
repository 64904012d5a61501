//! What copies are mapped over, with where each element lies in it: a copy takes its own alone, and an executor
//! reads a list that lies beside the log once for all copies that it runs.
use std::{fmt, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::de::{Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, value::RawValue};

use crate::store::Store;

/// Bytes of lists that are kept, places of elements included; the newest one whatever its size.
const KEPT_BYTES: usize = 128 << 20;

/// What a value is, as far as it has elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A list.
    List,
    /// A tuple, in the form that it travels in.
    Tuple,
    /// A dict: its elements are pairs.
    Dict,
    /// Something else, which has none.
    Other,
}

impl Kind {
    /// Python's word.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Tuple => "tuple",
            Self::Dict => "dict",
            Self::Other => "other",
        }
    }
}

/// A value's text, and where in it the elements are.
#[derive(Debug)]
pub(crate) struct Elements {
    text: Bytes,
    /// What it is.
    pub(crate) kind: Kind,
    /// From where to where.
    places: Vec<(u32, u32)>,
    /// Of a dict.
    keys: Vec<String>,
}

impl Elements {
    /// Finds the elements of a value.
    pub(crate) fn of(text: Bytes) -> Result<Self, String> {
        let no_json = |error: serde_json::Error| format!("it is no JSON: {error}");
        let mut reader = serde_json::Deserializer::from_slice(&text);
        let mut found = reader.deserialize_any(Top).map_err(no_json)?;
        reader.end().map_err(no_json)?;
        if let Some(class) = found.keys.iter().position(|key| key == "__classname__") {
            let is_tuple =
                found.raw.get(class).is_some_and(|raw| raw.get() == "\"builtins.tuple\"");
            let data = found.keys.iter().position(|key| key == "__data__");
            let data = data.filter(|_| is_tuple).and_then(|at| found.raw.get(at).copied());
            found = Found::other();
            if let Some(data) = data {
                let mut reader = serde_json::Deserializer::from_str(data.get());
                found = reader.deserialize_any(Top).map_err(no_json)?;
                found.kind = if found.kind == Kind::List { Kind::Tuple } else { Kind::Other };
            }
        }
        let begin = text.as_ptr() as usize;
        let place = |raw: &RawValue| {
            let from = raw.get().as_ptr() as usize - begin;
            let place = (u32::try_from(from).ok()?, u32::try_from(from + raw.get().len()).ok()?);
            Some(place)
        };
        let places: Option<Vec<(u32, u32)>> = found.raw.into_iter().map(place).collect();
        let places = places.ok_or("it is larger than any value may be")?;
        let (kind, keys) = (found.kind, found.keys);
        Ok(Self { text, kind, places, keys })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// One of them; of a dict, the pair of key and value.
    pub(crate) fn get(&self, place: usize) -> Option<Value> {
        let (from, to) = *self.places.get(place)?;
        let value = serde_json::from_slice(&self.text[from as usize..to as usize]).ok()?;
        match self.keys.get(place) {
            Some(key) => Some(Value::Array(vec![Value::String(key.clone()), value])),
            None => Some(value),
        }
    }

    fn bytes(&self) -> usize {
        let keys: usize = self.keys.iter().map(|key| key.len() + size_of::<String>()).sum();
        self.text.len() + self.places.len() * size_of::<(u32, u32)>() + keys
    }
}

struct Found<'de> {
    kind: Kind,
    raw: Vec<&'de RawValue>,
    keys: Vec<String>,
}

impl Found<'_> {
    const fn other() -> Self {
        Self { kind: Kind::Other, raw: Vec::new(), keys: Vec::new() }
    }
}

struct Top;

impl<'de> Visitor<'de> for Top {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut raw = Vec::new();
        while let Some(one) = seq.next_element::<&'de RawValue>()? {
            raw.push(one);
        }
        Ok(Found { kind: Kind::List, raw, keys: Vec::new() })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut raw, mut keys) = (Vec::new(), Vec::new());
        while let Some((key, one)) = map.next_entry::<String, &'de RawValue>()? {
            keys.push(key);
            raw.push(one);
        }
        Ok(Found { kind: Kind::Dict, raw, keys })
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Found::other())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Found::other())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Found::other())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Found::other())
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Found::other())
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Found::other())
    }
}

/// Lists that were looked at lately, by digest.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    /// The newest last.
    kept: Mutex<Vec<(String, Arc<Elements>)>>,
    /// One is read at a time, or all copies that begin at once would each hold it.
    reading: tokio::sync::Mutex<()>,
}

impl Lists {
    /// The elements of the blob with this digest.
    pub(crate) async fn get(&self, store: &Store, digest: &str) -> Result<Arc<Elements>, String> {
        if let Some(found) = self.known(digest) {
            return Ok(found);
        }
        let _one = self.reading.lock().await;
        if let Some(found) = self.known(digest) {
            return Ok(found);
        }
        let elements = Arc::new(Elements::of(store.get(digest).await?)?);
        let mut kept = self.kept.lock();
        kept.push((digest.to_owned(), Arc::clone(&elements)));
        let mut bytes: usize = kept.iter().map(|(_, it)| it.bytes()).sum();
        while bytes > KEPT_BYTES && kept.len() > 1 {
            bytes -= kept.remove(0).1.bytes();
        }
        Ok(elements)
    }

    fn known(&self, digest: &str) -> Option<Arc<Elements>> {
        let mut kept = self.kept.lock();
        let at = kept.iter().position(|(known, _)| known == digest)?;
        let found = kept.remove(at);
        let elements = Arc::clone(&found.1);
        kept.push(found);
        Some(elements)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(text: &str) -> Elements {
        Elements::of(Bytes::from(text.to_owned())).unwrap()
    }

    #[test]
    fn elements_are_found_in_whatever_has_some() {
        let list = of(r#" [1, "a,]", {"k": [2]}, null ] "#);
        assert_eq!((list.kind, list.len()), (Kind::List, 4));
        assert_eq!(list.get(1), Some(json!("a,]")));
        assert_eq!(list.get(2), Some(json!({"k": [2]})));
        assert_eq!(list.get(4), None);
        let dict = of(r#"{"b": 1, "a": [2]}"#);
        assert_eq!((dict.kind, dict.len()), (Kind::Dict, 2));
        assert_eq!(dict.get(0), Some(json!(["b", 1])));
        let tuple =
            of(r#"{"__classname__": "builtins.tuple", "__version__": 1, "__data__": [7, 8]}"#);
        assert_eq!((tuple.kind, tuple.get(1)), (Kind::Tuple, Some(json!(8))));
        let date =
            of(r#"{"__classname__": "datetime.date", "__version__": 1, "__data__": "2024-01-01"}"#);
        assert_eq!((date.kind, date.len()), (Kind::Other, 0));
        for other in ["7", "-7", "7.5", "\"text\"", "null", "true"] {
            assert_eq!(of(other).kind, Kind::Other, "{other}");
        }
        assert!(Elements::of(Bytes::from_static(b"[1, 2")).is_err());
        assert!(Elements::of(Bytes::from_static(b"[1] 2")).is_err());
    }
}
