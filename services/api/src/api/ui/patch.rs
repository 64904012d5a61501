//! What changed between two snapshots, as a JSON merge patch (RFC 7396): members that are gone are null, lists come
//! whole. And what a snapshot says, as one word, by which it is known whether anything did.
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::{Map, Value};

/// What changes with every record and every second, and is nothing that a view shows for itself.
const PASSING: [&str; 4] = ["seq", "as_of", "since", "mark"];

/// All that a snapshot says, as one word. Two of the same sequence may differ: alerts have a log of their own, and who
/// is there is in none.
pub(super) fn mark(snapshot: &Value) -> String {
    let mut hasher = DefaultHasher::new();
    for (name, value) in snapshot.as_object().into_iter().flatten() {
        if !PASSING.contains(&name.as_str()) {
            (name, value.to_string()).hash(&mut hasher);
        }
    }
    format!("{:016x}", hasher.finish())
}

/// The patch that makes `new` of `old`; `None` where they are the same. A member that is null is as one that is not
/// there, for both sides.
pub(super) fn between(old: &Value, new: &Value) -> Option<Value> {
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        return (old != new).then(|| new.clone());
    };
    let mut patch = Map::new();
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, value) in new {
        let change = match old.get(name) {
            None => Some(value.clone()),
            Some(before) => between(before, value),
        };
        if let Some(change) = change {
            patch.insert(name.clone(), change);
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_mark_is_of_what_is_said_and_not_of_when() {
        let at =
            |seq: u64, count: u64| json!({"seq": seq, "as_of": seq, "since": seq, "count": count});
        assert_eq!(mark(&at(1, 5)), mark(&at(2, 5)));
        assert_ne!(mark(&at(1, 5)), mark(&at(1, 6)));
    }

    /// As RFC 7396 says.
    fn apply(target: Value, patch: &Value) -> Value {
        let Value::Object(patch) = patch else { return patch.clone() };
        let mut target = match target {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        for (name, value) in patch {
            if value.is_null() {
                target.remove(name);
            } else {
                let before = target.remove(name).unwrap_or(Value::Null);
                target.insert(name.clone(), apply(before, value));
            }
        }
        Value::Object(target)
    }

    #[test]
    fn a_patch_makes_the_new_of_the_old() {
        let old = json!({"a": 1, "b": {"x": [1, 2], "y": 2}, "gone": true, "same": {"z": 1}});
        let new = json!({"a": 2, "b": {"x": [1], "y": 2, "n": {"deep": 1}}, "same": {"z": 1}});
        let patch = between(&old, &new).expect("they differ");
        assert_eq!(patch, json!({"gone": null, "a": 2, "b": {"x": [1], "n": {"deep": 1}}}));
        assert_eq!(apply(old, &patch), new);
        assert_eq!(between(&new, &new), None);
    }
}
