//! The two promises about `schemas/`.
use std::fs;

use dagbok_protocol::limits as published;
use dagbok_schemas::{broken_promises, documents, folder, limits, pages, text_of};
use serde_json::{Value, json};

#[test]
fn what_is_checked_in_is_current() {
    for (name, document) in documents() {
        let path = folder().join(name);
        let stored = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            stored == text_of(&document),
            "schemas/{name} is stale; run `cargo run -p dagbok-schemas` and commit it"
        );
    }
    for (name, text) in pages() {
        let stored = fs::read_to_string(folder().join(name)).unwrap_or_default();
        assert!(stored == text, "schemas/{name} is stale; run `make schemas` and commit it");
    }
}

#[test]
fn the_events_checked_in_can_still_be_read() {
    for file in ["events.json", "alert-events.json"] {
        let stored = fs::read_to_string(folder().join(file)).expect("it is checked in");
        let stored: Value = serde_json::from_str(&stored).unwrap();
        let (_, now) = documents().into_iter().find(|(name, _)| *name == file).unwrap();
        assert_eq!(broken_promises(&stored, &now), Vec::<String>::new());
    }
}

#[test]
fn the_page_of_limits_has_the_numbers_of_the_code() {
    let found = limits();
    let of = |name: &str| found.iter().find(|it| it.name == name).expect("it is one of them").value;
    for (name, value) in [
        ("RECORD_BYTES", i64::try_from(published::RECORD_BYTES)),
        ("SPEC_BYTES", i64::try_from(published::SPEC_BYTES)),
        ("ASSET_EVENTS_PER_TRY_BYTES", i64::try_from(published::ASSET_EVENTS_PER_TRY_BYTES)),
        ("PARTITION_KEYS_BYTES", i64::try_from(published::PARTITION_KEYS_BYTES)),
        ("COPIES_PER_TASK", Ok(i64::from(published::COPIES_PER_TASK))),
        ("AHEAD_US", Ok(published::AHEAD_US)),
    ] {
        assert_eq!(Ok(of(name)), value, "{name}");
    }
    assert!(found.len() > 50, "{}", found.len());
    assert!(found.iter().all(|it| !it.meaning.is_empty()));
}

fn events() -> Value {
    documents().into_iter().find(|(name, _)| *name == "events.json").expect("it is one of them").1
}

/// Each of these would make an old log unreadable; each must be noticed.
#[test]
fn what_old_logs_cannot_bear_is_noticed() {
    let old = events();
    let mut removed = old.clone();
    removed["$defs"]["TaskQueued"]["properties"].as_object_mut().unwrap().remove("pool");
    let mut retyped = old.clone();
    retyped["$defs"]["TaskQueued"]["properties"]["pool_slots"]["type"] = json!("string");
    let mut demanded = old.clone();
    demanded["$defs"]["TryLost"]["required"].as_array_mut().unwrap().push(json!("host"));
    let mut variant_gone = old.clone();
    variant_gone["$defs"]["Fact"]["oneOf"].as_array_mut().unwrap().remove(3);
    let mut word_gone = old.clone();
    word_gone["$defs"]["LostWhy"]["oneOf"].as_array_mut().unwrap().remove(0);
    let mut def_gone = old.clone();
    def_gone["$defs"].as_object_mut().unwrap().remove("Usage");
    for (what, new) in [
        ("a field removed", removed),
        ("a field retyped", retyped),
        ("a field demanded", demanded),
        ("a fact removed", variant_gone),
        ("a word removed", word_gone),
        ("a type removed", def_gone),
    ] {
        assert!(!broken_promises(&old, &new).is_empty(), "{what} went unnoticed");
    }
}

#[test]
fn what_only_grows_is_allowed() {
    let old = events();
    let mut grown = old.clone();
    grown["$defs"]["TaskQueued"]["properties"]["hint"] = json!({ "type": "string" });
    grown["$defs"]["Fact"]["oneOf"].as_array_mut().unwrap().push(json!({
        "type": "object", "properties": { "TaskCleared": {} }, "required": ["TaskCleared"]
    }));
    grown["$defs"]["New"] = json!({ "type": "object" });
    assert_eq!(broken_promises(&old, &grown), Vec::<String>::new());
}

/// Texts of all fields of a document, with the way to each.
fn descriptions(at: &str, value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(text)) = map.get("description") {
                found.push((at.to_owned(), text.clone()));
            }
            map.iter()
                .for_each(|(name, value)| descriptions(&format!("{at}/{name}"), value, found));
        }
        Value::Array(values) => {
            for value in values {
                descriptions(at, value, found);
            }
        }
        _ => {}
    }
}

/// A question word, or an article and the field's own name: such a line helps nobody.
fn says_nothing(text: &str) -> bool {
    let words: Vec<&str> = text.trim_end_matches('.').split(' ').collect();
    let first = ["Which", "Whose", "When", "Where", "Why", "Who", "How", "The", "Its", "Of"];
    words.len() <= 2 && first.contains(&words[0]) || text.starts_with("How many.")
}

#[test]
fn every_description_says_something() {
    let mut found = Vec::new();
    for (name, document) in documents() {
        descriptions(name, &document, &mut found);
    }
    assert!(found.len() > 500, "the descriptions are found: {}", found.len());
    found.retain(|(_, text)| says_nothing(text));
    assert!(found.is_empty(), "descriptions that say nothing: {found:#?}");
}
