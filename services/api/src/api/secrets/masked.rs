//! What is shown of a value.
use serde_json::Value;

/// What stands in a secret's place.
pub(super) const MASK: &str = "***";
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
    match serde_json::from_str::<Value>(value) {
        Ok(mut read) => {
            let masked = within(&mut read);
            (if masked { read.to_string() } else { value.to_owned() }, masked)
        }
        // What Python reads as JSON and others don't may have secrets as well.
        Err(_) if value.trim_start().starts_with(['{', '[']) && is_telling(value) => {
            (MASK.to_owned(), true)
        }
        Err(_) => (value.to_owned(), false),
    }
}

/// Masks what stands under telling names; whether there was any.
fn within(value: &mut Value) -> bool {
    let mut any = false;
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if is_telling(name) && !field.is_null() {
                    *field = MASK.into();
                    any = true;
                } else {
                    any |= within(field);
                }
            }
        }
        Value::Array(all) => {
            for one in all {
                any |= within(one);
            }
        }
        _ => {}
    }
    any
}

/// A variable's text that was read masked and is sent back: what is masked in it stays as it was. An error where it can't
/// be told what a mask stands for.
pub(super) fn unmasked_variable(
    key: &str,
    sent: &str,
    before: &str,
) -> Result<String, &'static str> {
    if sent == MASK {
        return Ok(before.to_owned());
    }
    let read = |text: &str| serde_json::from_str::<Value>(text).ok();
    if is_telling(key) {
        return Ok(sent.to_owned());
    }
    let (Some(mut new), Some(old)) = (read(sent), read(before)) else { return Ok(sent.to_owned()) };
    Ok(if put_back(&mut new, &old)? { new.to_string() } else { sent.to_owned() })
}

/// Puts back what [`within`] masks, where both have it; whether there was any.
fn put_back(new: &mut Value, old: &Value) -> Result<bool, &'static str> {
    let mut any = false;
    match (new, old) {
        (Value::Object(new), Value::Object(old)) => {
            for (name, field) in new {
                let Some(was) = old.get(name) else { continue };
                if is_telling(name) && field.as_str() == Some(MASK) {
                    field.clone_from(was);
                    any = true;
                } else {
                    any |= put_back(field, was)?;
                }
            }
        }
        (Value::Array(new), Value::Array(old)) => {
            let alone = new.len() == 1 && old.len() == 1;
            for one in new {
                any |= put_back_one(one, old, alone)?;
            }
        }
        _ => {}
    }
    Ok(any)
}

/// As [`put_back`], of an entry of a list: which one it was is told by all that is not masked in it.
fn put_back_one(new: &mut Value, old: &[Value], alone: bool) -> Result<bool, &'static str> {
    if !has_mask(new) {
        return Ok(false);
    }
    let looks_alike = |was: &&Value| {
        let mut shown = (*was).clone();
        within(&mut shown) && shown == *new
    };
    let mut alike = old.iter().filter(looks_alike);
    match (alike.next(), alike.next()) {
        (Some(was), None) => {
            new.clone_from(was);
            Ok(true)
        }
        // Entries that look alike are not told apart; where they are the same there is nothing to tell.
        (Some(was), Some(other)) if was == other && alike.all(|one| one == was) => {
            new.clone_from(was);
            Ok(true)
        }
        _ if alone => put_back(new, &old[0]),
        _ => Err(
            "of a list with several entries it can't be told what `***` stands for; send the whole value",
        ),
    }
}

/// Whether something is masked in it.
fn has_mask(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.iter().any(|(name, field)| {
            is_telling(name) && field.as_str() == Some(MASK) || has_mask(field)
        }),
        Value::Array(all) => all.iter().any(has_mask),
        _ => false,
    }
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
        let unmasked = |key: &str, sent: &str| unmasked_variable(key, sent, before);
        let (shown, _) = variable("db", before);
        let kept = unmasked("db", &shown.replace('2', "3")).unwrap();
        assert_eq!(kept, r#"{"hosts":[{"password":"p","port":3}],"token":"t"}"#);
        let whole = r#"{"hosts": [{"password": "a"}, {"password": "b"}], "token": "new"}"#;
        assert_eq!(unmasked("db", whole).unwrap(), whole);
        assert_eq!(unmasked("db", "***").unwrap(), before);
        let telling = r#"{"token": "***"}"#;
        assert_eq!(unmasked("API_TOKEN", telling).unwrap(), telling);
    }

    #[test]
    fn an_entry_of_a_list_gets_its_own_secret_back_or_none_does() {
        let before = r#"[{"name":"a","password":"pa"},{"name":"b","password":"pb"}]"#;
        let turned = r#"[{"name":"b","password":"***"},{"name":"a","password":"***"}]"#;
        let kept = unmasked_variable("all", turned, before).unwrap();
        assert_eq!(kept, r#"[{"name":"b","password":"pb"},{"name":"a","password":"pa"}]"#);
        let fewer = r#"[{"name":"b","password":"***"}]"#;
        let kept = unmasked_variable("all", fewer, before).unwrap();
        assert_eq!(kept, r#"[{"name":"b","password":"pb"}]"#);
        let renamed = r#"[{"name":"c","password":"***"},{"name":"a","password":"***"}]"#;
        assert!(unmasked_variable("all", renamed, before).is_err());
        let alike = r#"[{"password":"pa"},{"password":"pb"}]"#;
        let shown = r#"[{"password":"***"},{"password":"***"}]"#;
        assert!(unmasked_variable("all", shown, alike).is_err());
    }

    #[test]
    fn what_can_not_be_looked_through_is_masked_whole() {
        for text in [r#"{"password":"x","n":NaN}"#, r#" [{"token": "x"}, 1e400]"#] {
            assert_eq!(variable("v", text), (MASK.to_owned(), true), "{text}");
        }
        let deep = format!("{}{{\"password\":\"x\"}}{}", "[".repeat(20), "]".repeat(20));
        assert!(!variable("v", &deep).0.contains('x'));
        assert_eq!(variable("v", "{not json").0, "{not json");
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
