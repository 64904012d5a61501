//! The keys that exist, read off the schema, so that there is no second list to keep.
use std::collections::{BTreeMap, BTreeSet};

use schemars::{Schema, generate::SchemaSettings};
use serde_json::Value;

use crate::{Config, bounds::Bounds};

/// What is known of a key.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) holds: Holds,
    pub(crate) bounds: Bounds,
}

/// What a key holds, as far as text from the environment must be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    Text,
    List,
    Other,
}

/// The schema of the whole file.
pub(crate) fn schema() -> Schema {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<Config>()
}

/// Every key as `section.key`.
pub(crate) fn all() -> BTreeMap<String, Key> {
    let schema = schema().to_value();
    let mut keys = BTreeMap::new();
    for (section, inside) in properties(&schema) {
        for (key, value) in properties(inside) {
            let known = Key { holds: holds(value), bounds: Bounds::of(value) };
            keys.insert(format!("{section}.{key}"), known);
        }
    }
    keys
}

/// Sections that hold tables by names of the user's own.
pub(crate) fn named() -> BTreeSet<String> {
    let schema = schema().to_value();
    let free = |inside: &Value| inside.get("additionalProperties").is_some_and(Value::is_object);
    properties(&schema)
        .filter(|(_, inside)| free(inside))
        .map(|(section, _)| section.clone())
        .collect()
}

/// The key most like `key`, where one is.
pub(crate) fn near(key: &str, keys: &BTreeMap<String, Key>) -> Option<String> {
    const ALIKE: f64 = 0.75;
    let likeness = |known: &&String| strsim::jaro_winkler(key, known);
    let best = keys.keys().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(&best) >= ALIKE).then(|| best.clone())
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

fn holds(schema: &Value) -> Holds {
    let says = |what: &str| match schema.get("type") {
        Some(Value::String(only)) => only == what,
        Some(Value::Array(several)) => several.iter().any(|one| one == what),
        _ => false,
    };
    if says("array") {
        Holds::List
    } else if says("integer") {
        Holds::Other
    } else if says("string") || schema.get("enum").is_some() || schema.get("oneOf").is_some() {
        Holds::Text
    } else {
        Holds::Other
    }
}
