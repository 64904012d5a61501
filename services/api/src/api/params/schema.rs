//! JSON Schema, as far as values by hand are held to it: every keyword that judges a value, and `$ref`s
//! within the schema. What can't be understood holds: the task itself checks again, with Python's own.
use std::fmt::Display;

use regex::Regex;
use serde_json::{Map, Value};

use super::format;

/// How deep schemas may stand in one another.
const DEPTH: usize = 64;
/// How much of a value is shown, in characters.
const SHOWN: usize = 120;

type Judged = Result<(), String>;
type Keywords = Map<String, Value>;

/// Why `value` breaks `schema`, where it does.
pub(super) fn check(schema: &Value, value: &Value) -> Judged {
    Judge { root: schema }.value(schema, value, 0)
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

fn broken(value: &Value, why: impl Display) -> Judged {
    Err(format!("{} {why}", shown(value)))
}

/// Schemas under a keyword.
fn schemas<'a>(keywords: &'a Keywords, name: &str) -> Option<&'a Vec<Value>> {
    keywords.get(name).and_then(Value::as_array)
}

fn number(keywords: &Keywords, name: &str) -> Option<f64> {
    keywords.get(name).and_then(Value::as_f64)
}

fn count(keywords: &Keywords, name: &str) -> Option<usize> {
    number(keywords, name).map(|count| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "casts of floats saturate"
        )]
        let count = count as usize;
        count
    })
}

struct Judge<'a> {
    root: &'a Value,
}

impl Judge<'_> {
    fn value(&self, schema: &Value, value: &Value, depth: usize) -> Judged {
        let keywords = match schema {
            Value::Bool(false) => return broken(value, "is not allowed"),
            Value::Object(keywords) if depth < DEPTH => keywords,
            // `true` allows everything, and what is no schema forbids nothing.
            _ => return Ok(()),
        };
        if let Some(name) = keywords.get("$ref").and_then(Value::as_str)
            && let Some(place) = name.strip_prefix('#')
            && let Some(other) = self.root.pointer(place)
        {
            self.value(other, value, depth + 1)?;
        }
        of_type(keywords, value)?;
        if let Some(all) = schemas(keywords, "enum").filter(|all| !all.contains(value)) {
            let all: Vec<String> = all.iter().map(shown).collect();
            return broken(value, format_args!("is none of {}", all.join(", ")));
        }
        if let Some(only) = keywords.get("const").filter(|only| *only != value) {
            return broken(value, format_args!("is not {}", shown(only)));
        }
        match value {
            Value::Number(_) => of_number(keywords, value)?,
            Value::String(text) => of_text(keywords, value, text)?,
            Value::Array(items) => self.items(keywords, value, items, depth)?,
            Value::Object(fields) => self.fields(keywords, value, fields, depth)?,
            Value::Null | Value::Bool(_) => {}
        }
        self.combined(keywords, value, depth)
    }

    fn holds(&self, schema: &Value, value: &Value, depth: usize) -> bool {
        self.value(schema, value, depth + 1).is_ok()
    }

    fn combined(&self, keywords: &Keywords, value: &Value, depth: usize) -> Judged {
        for schema in schemas(keywords, "allOf").into_iter().flatten() {
            self.value(schema, value, depth + 1)?;
        }
        let holding =
            |all: &Vec<Value>| all.iter().filter(|schema| self.holds(schema, value, depth)).count();
        if schemas(keywords, "anyOf").map(holding) == Some(0) {
            return broken(value, "is not valid under any of the given schemas");
        }
        match schemas(keywords, "oneOf").map(holding) {
            None | Some(1) => {}
            Some(0) => return broken(value, "is not valid under any of the given schemas"),
            Some(_) => return broken(value, "is valid under more than one of the given schemas"),
        }
        if keywords.get("not").is_some_and(|schema| self.holds(schema, value, depth)) {
            return broken(value, "is valid under a schema that it must not be");
        }
        if let Some(condition) = keywords.get("if") {
            let name = if self.holds(condition, value, depth) { "then" } else { "else" };
            if let Some(schema) = keywords.get(name) {
                self.value(schema, value, depth + 1)?;
            }
        }
        Ok(())
    }

    fn items(&self, keywords: &Keywords, value: &Value, items: &[Value], depth: usize) -> Judged {
        if count(keywords, "maxItems").is_some_and(|most| items.len() > most) {
            return broken(value, "is too long");
        }
        if count(keywords, "minItems").is_some_and(|least| items.len() < least) {
            return broken(value, "is too short");
        }
        let twice = |(at, item): (usize, &Value)| items[..at].contains(item);
        if keywords.get("uniqueItems") == Some(&Value::Bool(true))
            && items.iter().enumerate().any(twice)
        {
            return broken(value, "has non-unique elements");
        }
        // `items` was a list where `prefixItems` is now.
        let first = schemas(keywords, "prefixItems").or_else(|| schemas(keywords, "items"));
        let first = first.map_or(&[][..], Vec::as_slice);
        for (schema, item) in first.iter().zip(items) {
            self.value(schema, item, depth + 1)?;
        }
        if let Some(schema) = keywords.get("items").filter(|schema| !schema.is_array()) {
            for item in items.iter().skip(first.len()) {
                self.value(schema, item, depth + 1)?;
            }
        }
        if let Some(schema) = keywords.get("contains") {
            let found = items.iter().filter(|item| self.holds(schema, item, depth)).count();
            let least = count(keywords, "minContains").unwrap_or(1);
            if found < least || count(keywords, "maxContains").is_some_and(|most| found > most) {
                return broken(value, "does not contain what it must");
            }
        }
        Ok(())
    }

    fn fields(
        &self,
        keywords: &Keywords,
        value: &Value,
        fields: &Keywords,
        depth: usize,
    ) -> Judged {
        if count(keywords, "maxProperties").is_some_and(|most| fields.len() > most) {
            return broken(value, "has too many properties");
        }
        if count(keywords, "minProperties").is_some_and(|least| fields.len() < least) {
            return broken(value, "does not have enough properties");
        }
        let required = schemas(keywords, "required").into_iter().flatten();
        for name in required.filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                return Err(format!("`{name}` is a required property"));
            }
        }
        let properties = keywords.get("properties").and_then(Value::as_object);
        let patterns = keywords.get("patternProperties").and_then(Value::as_object);
        let patterns: Vec<(Regex, &Value)> = patterns
            .into_iter()
            .flatten()
            .filter_map(|(pattern, schema)| Some((Regex::new(pattern).ok()?, schema)))
            .collect();
        for (name, field) in fields {
            if let Some(schema) = keywords.get("propertyNames") {
                self.value(schema, &Value::String(name.clone()), depth + 1)?;
            }
            let named = properties.and_then(|all| all.get(name));
            let matched = patterns.iter().filter(|(pattern, _)| pattern.is_match(name));
            let mut judged = false;
            for schema in named.into_iter().chain(matched.map(|(_, schema)| *schema)) {
                judged = true;
                self.value(schema, field, depth + 1).map_err(|why| format!("{name}: {why}"))?;
            }
            match keywords.get("additionalProperties") {
                Some(Value::Bool(false)) if !judged => {
                    return Err(format!("`{name}` is not one of the properties that are allowed"));
                }
                Some(schema) if !judged => self.value(schema, field, depth + 1)?,
                _ => {}
            }
        }
        Ok(())
    }
}

fn of_type(keywords: &Keywords, value: &Value) -> Judged {
    let is = |name: &str| match (name, value) {
        ("string", Value::String(_))
        | ("number", Value::Number(_))
        | ("boolean", Value::Bool(_))
        | ("array", Value::Array(_))
        | ("object", Value::Object(_))
        | ("null", Value::Null) => true,
        ("integer", Value::Number(number)) => {
            number.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        _ => false,
    };
    let types: Vec<&str> = match keywords.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(any)) => any.iter().filter_map(Value::as_str).collect(),
        _ => return Ok(()),
    };
    if types.iter().any(|name| is(name)) {
        return Ok(());
    }
    broken(value, format_args!("is not of type {}", types.join(" or ")))
}

fn of_number(keywords: &Keywords, value: &Value) -> Judged {
    let Some(found) = value.as_f64() else { return Ok(()) };
    let limit = |name| number(keywords, name);
    if let Some(most) = limit("maximum").filter(|most| found > *most) {
        return broken(value, format_args!("is greater than the maximum of {most}"));
    }
    if let Some(least) = limit("minimum").filter(|least| found < *least) {
        return broken(value, format_args!("is less than the minimum of {least}"));
    }
    if let Some(most) = limit("exclusiveMaximum").filter(|most| found >= *most) {
        return broken(value, format_args!("is not less than {most}"));
    }
    if let Some(least) = limit("exclusiveMinimum").filter(|least| found <= *least) {
        return broken(value, format_args!("is not greater than {least}"));
    }
    let of = limit("multipleOf").filter(|of| *of > 0.0);
    if let Some(of) = of.filter(|of| ((found / of) - (found / of).round()).abs() > 1e-9) {
        return broken(value, format_args!("is not a multiple of {of}"));
    }
    Ok(())
}

fn of_text(keywords: &Keywords, value: &Value, text: &str) -> Judged {
    let length = text.chars().count();
    if count(keywords, "maxLength").is_some_and(|most| length > most) {
        return broken(value, "is too long");
    }
    if count(keywords, "minLength").is_some_and(|least| length < least) {
        return broken(value, "is too short");
    }
    let pattern = keywords.get("pattern").and_then(Value::as_str);
    if let Some(pattern) = pattern
        && Regex::new(pattern).is_ok_and(|pattern| !pattern.is_match(text))
    {
        return broken(value, format_args!("does not match `{pattern}`"));
    }
    let wanted = keywords.get("format").and_then(Value::as_str);
    if let Some(wanted) = wanted.filter(|wanted| !format::holds(wanted, text)) {
        return broken(value, format_args!("is not a `{wanted}`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_held_to_their_schemas() {
        for (schema, good, bad) in [
            (json!({ "type": "integer", "maximum": 9 }), json!(9), json!(10)),
            (json!({ "type": "integer" }), json!(3.0), json!(3.5)),
            (json!({ "type": ["null", "string"] }), json!(null), json!(3)),
            (
                json!({ "type": "string", "format": "date" }),
                json!("2024-02-29"),
                json!("2023-02-29"),
            ),
            (json!({ "format": "date-time" }), json!("2024-01-01T00:00:00Z"), json!("2024-01-01")),
            (json!({ "type": "array", "items": { "type": "string" } }), json!(["a"]), json!([1])),
            (json!({ "enum": ["a", 2] }), json!(2), json!("2")),
            (json!({ "const": 1 }), json!(1), json!(2)),
            (json!({ "minLength": 2, "pattern": "^a" }), json!("ab"), json!("ba")),
            (json!({ "multipleOf": 0.1 }), json!(0.3), json!(0.35)),
            (json!({ "uniqueItems": true }), json!([1, 2]), json!([1, 1])),
            (json!({ "required": ["a"] }), json!({ "a": 1 }), json!({})),
            (
                json!({ "properties": { "a": { "type": "string" } }, "additionalProperties": false }),
                json!({ "a": "x" }),
                json!({ "b": "x" }),
            ),
            (
                json!({ "properties": { "a": { "properties": { "b": { "minimum": 2 } } } } }),
                json!({ "a": { "b": 2 } }),
                json!({ "a": { "b": 1 } }),
            ),
            (json!({ "anyOf": [{ "type": "string" }, { "minimum": 5 }] }), json!(5), json!(4)),
            (json!({ "oneOf": [{ "minimum": 1 }, { "minimum": 5 }] }), json!(3), json!(6)),
            (json!({ "not": { "type": "null" } }), json!(1), json!(null)),
            (json!({ "if": { "minimum": 5 }, "then": { "multipleOf": 2 } }), json!(6), json!(7)),
            (
                json!({ "$ref": "#/$defs/n", "$defs": { "n": { "type": "integer" } } }),
                json!(1),
                json!("1"),
            ),
            (json!({ "prefixItems": [{ "type": "string" }] }), json!(["a", 1]), json!([1])),
            (json!({ "contains": { "const": 1 } }), json!([0, 1]), json!([0])),
        ] {
            assert_eq!(check(&schema, &good), Ok(()), "{schema}");
            assert!(check(&schema, &bad).is_err(), "{schema} takes {bad}");
        }
    }

    #[test]
    fn a_schema_that_is_within_itself_ends() {
        let schema = json!({ "$ref": "#" });
        assert_eq!(check(&schema, &json!(1)), Ok(()));
    }
}
