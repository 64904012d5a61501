//! What is shown of a value.
use serde_json::Value;

/// What stands in a secret's place.
pub(super) const MASK: &str = "***";
/// How deep is looked for telling names, as in Airflow.
const DEPTH: usize = 5;
/// What a telling name has in it; the list of `shared/python/src/dagbok/masking.py`, which is Airflow's.
const TELLING: &[&str] = &[
    "access_token",
    "api_key",
    "apikey",
    "authorization",
    "keyfile_dict",
    "passphrase",
    "passwd",
    "password",
    "private_key",
    "secret",
    "service_account",
    "token",
];

fn is_telling(name: &str) -> bool {
    let name = name.trim().to_lowercase();
    TELLING.iter().any(|part| name.contains(part))
}

/// A variable's value as it may be seen, and whether some of it is masked.
pub(super) fn variable(key: &str, value: &str) -> (String, bool) {
    if is_telling(key) {
        return (MASK.to_owned(), true);
    }
    if let Ok(mut read) = serde_json::from_str::<Value>(value)
        && within(&mut read, 0)
    {
        return (read.to_string(), true);
    }
    (value.to_owned(), false)
}

/// Masks what stands under telling names; whether there was any.
fn within(value: &mut Value, depth: usize) -> bool {
    let mut any = false;
    match value {
        _ if depth > DEPTH => {}
        Value::Object(fields) => {
            for (name, field) in fields {
                if is_telling(name) && !field.is_null() {
                    *field = MASK.into();
                    any = true;
                } else {
                    any |= within(field, depth + 1);
                }
            }
        }
        Value::Array(all) => {
            for one in all {
                any |= within(one, depth + 1);
            }
        }
        _ => {}
    }
    any
}

/// A variable's text that was read masked and is sent back: what is masked in it stays as it was.
pub(super) fn unmasked_variable(key: &str, sent: &str, before: &str) -> String {
    if sent == MASK {
        return before.to_owned();
    }
    let read = |text: &str| serde_json::from_str::<Value>(text).ok();
    if is_telling(key) {
        return sent.to_owned();
    }
    let (Some(mut new), Some(old)) = (read(sent), read(before)) else { return sent.to_owned() };
    if put_back(&mut new, &old, 0) { new.to_string() } else { sent.to_owned() }
}

/// Puts back what [`within`] masks, where both have it; whether there was any.
fn put_back(new: &mut Value, old: &Value, depth: usize) -> bool {
    let mut any = false;
    match (new, old) {
        _ if depth > DEPTH => {}
        (Value::Object(new), Value::Object(old)) => {
            for (name, field) in new {
                let Some(was) = old.get(name) else { continue };
                if is_telling(name) && field.as_str() == Some(MASK) {
                    field.clone_from(was);
                    any = true;
                } else {
                    any |= put_back(field, was, depth + 1);
                }
            }
        }
        // Which one of a list is which is not known where some came or went.
        (Value::Array(new), Value::Array(old)) if new.len() == old.len() => {
            for (one, was) in new.iter_mut().zip(old) {
                any |= put_back(one, was, depth + 1);
            }
        }
        _ => {}
    }
    any
}

/// A connection's extra with nothing but its names.
pub(super) fn extra(text: &str) -> String {
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(mut fields)) => {
            for (_, field) in &mut fields {
                *field = MASK.into();
            }
            Value::Object(fields).to_string()
        }
        _ => MASK.to_owned(),
    }
}

/// A password as it was shown is to stay.
pub(super) fn kept(sent: Option<String>, before: Option<String>) -> Option<String> {
    if sent.as_deref() == Some(MASK) { before } else { sent }
}

/// An extra that was read masked and is sent back: what is masked in it stays as it was.
pub(super) fn unmasked(sent: &str, before: Option<&str>) -> String {
    let fields = |text: &str| match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(fields)) => Some(fields),
        _ => None,
    };
    let (Some(mut new), Some(old)) = (fields(sent), before.and_then(fields)) else {
        return if sent == MASK { before.unwrap_or_default() } else { sent }.to_owned();
    };
    let mut any = false;
    for (name, field) in &mut new {
        if let (Some(MASK), Some(was)) = (field.as_str(), old.get(name)) {
            field.clone_from(was);
            any = true;
        }
    }
    if any { Value::Object(new).to_string() } else { sent.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_telling_name_hides_its_value_wherever_it_stands() {
        assert_eq!(variable("API_TOKEN", "x"), (MASK.to_owned(), true));
        assert_eq!(variable("shape", "{not json"), ("{not json".to_owned(), false));
        assert_eq!(variable("shape", r#"{"a": 1}"#), (r#"{"a": 1}"#.to_owned(), false));
        let (shown, masked) = variable("db", r#"{"hosts": [{"password": {"of": 1}, "port": 2}]}"#);
        assert_eq!((shown.as_str(), masked), (r#"{"hosts":[{"password":"***","port":2}]}"#, true));
    }

    #[test]
    fn a_variable_keeps_what_is_sent_back_masked() {
        let before = r#"{"hosts": [{"password": "p", "port": 2}], "token": "t"}"#;
        let (shown, _) = variable("db", before);
        let kept = unmasked_variable("db", &shown.replace('2', "3"), before);
        assert_eq!(kept, r#"{"hosts":[{"password":"p","port":3}],"token":"t"}"#);
        let added = r#"{"hosts": [{"password": "***"}, {"password": "***"}], "token": "new"}"#;
        assert_eq!(unmasked_variable("db", added, before), added);
        assert_eq!(unmasked_variable("db", "***", before), before);
        assert_eq!(
            unmasked_variable("API_TOKEN", r#"{"token": "***"}"#, before),
            r#"{"token": "***"}"#
        );
    }

    #[test]
    fn names_tell_here_what_they_tell_tasks() {
        let python = include_str!("../../../../../shared/python/src/dagbok/masking.py");
        let (_, list) = python.split_once("TELLING = (").expect("its list");
        let (list, _) = list.split_once(')').expect("its end");
        let theirs: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
        assert_eq!(theirs, TELLING);
    }

    #[test]
    fn an_extra_keeps_what_is_sent_back_masked() {
        let before = r#"{"key":"k","region":"eu"}"#;
        assert_eq!(extra(before), r#"{"key":"***","region":"***"}"#);
        let sent = r#"{"key":"***","region":"us"}"#;
        assert_eq!(unmasked(sent, Some(before)), r#"{"key":"k","region":"us"}"#);
        assert_eq!(unmasked(r#"{"new": "***"}"#, Some(before)), r#"{"new": "***"}"#);
        assert_eq!(unmasked(MASK, Some("no json")), "no json");
    }
}
