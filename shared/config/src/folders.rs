//! DAG folders: one, or several.
use std::{
    borrow::Cow,
    fmt,
    path::{Path, PathBuf},
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, SeqAccess},
};

/// DAG folders as they are written: `DIR`, or `NAME=DIR`; one as text, or a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folders(Vec<String>);

impl Folders {
    /// These, without names, whatever the paths look like.
    pub fn of_paths(paths: &[PathBuf]) -> Self {
        Self(paths.iter().map(|path| unnamed(path)).collect())
    }

    /// Whether none is given.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each with the name that was given to it.
    pub fn named(&self) -> impl Iterator<Item = (Option<&str>, &Path)> {
        self.0.iter().map(|written| named(written))
    }

    /// Where they lie.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.named().map(|(_, path)| path)
    }
}

/// A path as a folder without a name is written.
fn unnamed(path: &Path) -> String {
    let text = path.to_string_lossy().into_owned();
    if named(&text).0.is_some() { format!("./{text}") } else { text }
}

/// A folder's name, where one stands before it. A path such as `a=b` is written `./a=b`.
fn named(written: &str) -> (Option<&str>, &Path) {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    match written.split_once('=') {
        Some((name, path))
            if !name.is_empty() && !path.is_empty() && name.bytes().all(is_plain) =>
        {
            (Some(name), Path::new(path))
        }
        _ => (None, Path::new(written)),
    }
}

impl Serialize for Folders {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0[..] {
            [] => serializer.serialize_none(),
            [one] => serializer.serialize_str(one),
            several => serializer.collect_seq(several),
        }
    }
}

impl<'de> Deserialize<'de> for Folders {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Folders;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a folder, or a list of folders")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Folders, E> {
                Ok(Folders(vec![text.to_owned()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Folders, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = items.next_element::<String>()? {
                    all.push(one);
                }
                Ok(Folders(all))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Folders {
    fn schema_name() -> Cow<'static, str> {
        "Folders".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["array", "string"],
            "items": { "type": "string" },
            "description": "One folder, or a list; each as DIR or NAME=DIR",
        })
    }
}
