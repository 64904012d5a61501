//! Whether a newer schema of the events still reads what an older one wrote.
use std::collections::BTreeSet;

use serde_json::Value;

/// What a reader of `new` could not bear in logs written under `old`; empty if nothing.
pub fn broken_promises(old: &Value, new: &Value) -> Vec<String> {
    let mut broken = Vec::new();
    compare("Record", old, new, &mut broken);
    for (name, old_def) in fields(old, "$defs") {
        match new.get("$defs").and_then(|defs| defs.get(name)) {
            Some(new_def) => compare(name, old_def, new_def, &mut broken),
            None => broken.push(format!("{name} is gone")),
        }
    }
    broken
}

fn fields<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value.get(key).and_then(Value::as_object).into_iter().flatten()
}

fn compare(place: &str, old: &Value, new: &Value, broken: &mut Vec<String>) {
    for key in ["type", "format", "$ref", "const"] {
        if old.get(key) != new.get(key) {
            broken.push(format!(
                "{place}: `{key}` changed from {:?} to {:?}",
                old.get(key),
                new.get(key)
            ));
        }
    }
    let required = |value: &Value| -> BTreeSet<String> {
        let names = value.get("required").and_then(Value::as_array).into_iter().flatten();
        names.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    for name in required(new).difference(&required(old)) {
        broken.push(format!("{place}: `{name}` is required now; give it a default"));
    }
    for (name, old_field) in fields(old, "properties") {
        match new.get("properties").and_then(|all| all.get(name)) {
            Some(new_field) => compare(&format!("{place}.{name}"), old_field, new_field, broken),
            None => broken.push(format!("{place}: `{name}` is gone")),
        }
    }
    for key in ["oneOf", "anyOf", "enum", "prefixItems"] {
        variants(place, key, old, new, broken);
    }
    for key in ["items", "additionalProperties"] {
        if let (Some(old), Some(new)) = (old.get(key), new.get(key)) {
            compare(&format!("{place}[]"), old, new, broken);
        }
    }
}

/// Each old variant must be found among the new ones, by what names it.
fn variants(place: &str, key: &str, old: &Value, new: &Value, broken: &mut Vec<String>) {
    let Some(old_list) = old.get(key).and_then(Value::as_array) else { return };
    let none = Vec::new();
    let new_list = new.get(key).and_then(Value::as_array).unwrap_or(&none);
    for old_variant in old_list {
        let name = variant_name(old_variant);
        match new_list.iter().find(|new_variant| variant_name(new_variant) == name) {
            Some(new_variant) => {
                compare(&format!("{place}::{name}"), old_variant, new_variant, broken);
            }
            None => broken.push(format!("{place}: the variant {name} is gone")),
        }
    }
}

fn variant_name(variant: &Value) -> String {
    if let Some(word) = variant.as_str() {
        return word.to_owned();
    }
    if let Some(word) = variant.get("const") {
        return word.to_string();
    }
    if let Some(target) = variant.get("$ref").and_then(Value::as_str) {
        return target.to_owned();
    }
    if let Some(words) = variant.get("enum") {
        return words.to_string();
    }
    if let Some((name, _)) = fields(variant, "properties").next() {
        return name.clone();
    }
    variant.get("type").map_or_else(|| variant.to_string(), Value::to_string)
}
