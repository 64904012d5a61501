//! Where run events of OpenLineage go: the section's keys, and what OpenLineage's and Airflow's own variables say of them.
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use toml::Value;

use crate::{ConfigError, Period, Place, Secret};

/// How run events leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LineageTransport {
    /// Each is posted to `lineage.url`.
    Http,
    /// Each is a line of `lineage.file`, or a file of its own.
    File,
    /// Each is a line of the service's own log.
    Console,
}

/// How bodies of requests are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LineageCompression {
    /// Not at all.
    #[default]
    None,
    /// By gzip.
    Gzip,
}

/// Lineage for the outside: run events of OpenLineage. Said to schedulers: of several, the one that leads sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Lineage {
    /// How events leave: `http`, `file`, `console`. Where not said, by `url` or `file`, whichever is; and not at all
    /// where neither is.
    pub transport: Option<LineageTransport>,
    /// Where events are posted to: `http://` or `https://`. `OPENLINEAGE_URL` stands for it.
    pub url: Option<String>,
    /// The path there. `OPENLINEAGE_ENDPOINT` stands for it.
    pub endpoint: String,
    /// Sent as `Authorization: Bearer …`. `OPENLINEAGE_API_KEY` stands for it.
    pub api_key: Option<Secret>,
    /// How bodies are packed: `none`, `gzip`.
    pub compression: LineageCompression,
    /// How long one answer may take; from `100ms` on.
    #[schemars(extend("minimum" = 0.1))]
    pub timeout: Period,
    /// The file that events are appended to.
    pub file: Option<PathBuf>,
    /// Whether all events go into that one file. Where not, each goes into one of its own, which is named by it, the
    /// event's time, run and type: an event that is sent again is the same file.
    pub append: bool,
    /// The namespace of jobs. `OPENLINEAGE_NAMESPACE` stands for it.
    pub namespace: String,
    /// Whether nothing is sent whatever stands here. `OPENLINEAGE_DISABLED` stands for it.
    pub disabled: bool,
    /// What is wrong with what OpenLineage's or Airflow's own variables say: for who sends lineage to refuse. Others
    /// have no need of them.
    #[serde(skip)]
    #[schemars(skip)]
    pub fault: Option<String>,
}

impl Default for Lineage {
    fn default() -> Self {
        Self {
            transport: None,
            url: None,
            endpoint: "api/v1/lineage".to_owned(),
            api_key: None,
            compression: LineageCompression::None,
            timeout: Period::secs(5),
            file: None,
            append: true,
            namespace: "default".to_owned(),
            disabled: false,
            fault: None,
        }
    }
}

/// A key with its value, and the variable that says it.
pub(crate) type Said = (&'static str, Value, Place);

const TRANSPORT: &str = "AIRFLOW__OPENLINEAGE__TRANSPORT";
const CONFIG: &str = "OPENLINEAGE_CONFIG";

/// What the environment says of lineage by OpenLineage's and Airflow's names, least first.
pub(crate) fn of_environment(environment: &[(String, String)]) -> Result<Vec<Said>, ConfigError> {
    let get = |name: &str| {
        let found = environment.iter().rev().find(|(key, _)| key == name);
        found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    };
    let (mut all, mut is_disabled) = (Vec::new(), false);
    for name in ["OPENLINEAGE_DISABLED", "AIRFLOW__OPENLINEAGE__DISABLED"] {
        let Some(text) = get(name) else { continue };
        let is = match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "1" | "yes" | "on" => true,
            "false" | "f" | "0" | "no" | "off" => false,
            _ => return Err(bad(name, "lineage.disabled", "it is true or false".to_owned())),
        };
        all.push(("lineage.disabled", Value::from(is), Place::Variable(name.to_owned())));
        is_disabled = is;
    }
    // Where nothing is sent, what stands in the way of it is nobody's trouble.
    if is_disabled {
        return Ok(all);
    }
    for (name, key) in [
        ("OPENLINEAGE_URL", "lineage.url"),
        ("OPENLINEAGE_ENDPOINT", "lineage.endpoint"),
        ("OPENLINEAGE_API_KEY", "lineage.api_key"),
        ("OPENLINEAGE_NAMESPACE", "lineage.namespace"),
    ] {
        all.extend(get(name).map(|it| (key, Value::from(it), Place::Variable(name.to_owned()))));
    }
    if let Some(path) = get(CONFIG) {
        let read = std::fs::read_to_string(path);
        let unreadable = |why: String| ConfigError::Unreadable { path: path.into(), why };
        let text = read.map_err(|error| unreadable(error.to_string()))?;
        let config = mappings(&text).map_err(unreadable)?;
        if let Some(transport) = config.get("transport") {
            self::transport(transport, CONFIG, &mut all)?;
        }
    }
    if let Some(text) = get(TRANSPORT) {
        let parsed = serde_json::from_str(text);
        // What stands there may hold a secret: only where it breaks is said.
        let why = |error: serde_json::Error| {
            bad(
                TRANSPORT,
                "lineage.transport",
                format!("it is no JSON object (line {}, column {})", error.line(), error.column()),
            )
        };
        transport(&parsed.map_err(why)?, TRANSPORT, &mut all)?;
    }
    let namespace = "AIRFLOW__OPENLINEAGE__NAMESPACE";
    let of = |it| ("lineage.namespace", Value::from(it), Place::Variable(namespace.to_owned()));
    all.extend(get(namespace).map(of));
    Ok(all)
}

fn bad(variable: &str, key: &str, why: String) -> ConfigError {
    let place = Place::Variable(variable.to_owned());
    ConfigError::BadValue { place, key: key.to_owned(), why }
}

/// A `transport` of OpenLineage's client.
fn transport(of: &Json, from: &'static str, all: &mut Vec<Said>) -> Result<(), ConfigError> {
    let refuse = |key: &str, why: &str| Err(bad(from, key, why.to_owned()));
    let Some(of) = of.as_object() else {
        return refuse("lineage.transport", "a transport is an object with a `type`");
    };
    if !of.contains_key("type") {
        return refuse("lineage.transport", "a transport has a `type`: http, file, console");
    }
    for (name, value) in of {
        let key = match name.as_str() {
            "type" => "lineage.transport",
            "url" => "lineage.url",
            "endpoint" => "lineage.endpoint",
            "compression" => "lineage.compression",
            "timeout" => "lineage.timeout",
            "log_file_path" => "lineage.file",
            "append" => "lineage.append",
            "auth" => {
                all.push(auth(value, from)?);
                continue;
            }
            // Ours are sent again for as long as it takes.
            "retry" => continue,
            "verify" if *value == Json::Bool(true) => continue,
            _ => {
                let why = format!("`{name}` of a transport is not kept here");
                return refuse("lineage.transport", &why);
            }
        };
        let value = match (value, key) {
            (Json::String(text), _) => Value::from(text.as_str()),
            (Json::Bool(is), "lineage.append") => Value::from(*is),
            (Json::Number(seconds), "lineage.timeout") => Value::from(seconds.to_string()),
            (Json::Null, _) => continue,
            _ => return refuse(key, "another kind of value belongs there"),
        };
        all.push((key, value, Place::Variable(from.to_owned())));
    }
    // The client's own default, other than ours.
    if !of.contains_key("append") {
        all.push(("lineage.append", Value::from(false), Place::Variable(from.to_owned())));
    }
    Ok(())
}

fn auth(of: &Json, from: &'static str) -> Result<Said, ConfigError> {
    let text = |name: &str| of.get(name).and_then(Json::as_str);
    let key = text("apiKey").or_else(|| text("apikey")).or_else(|| text("api_key"));
    if let (Some("api_key"), Some(key)) = (text("type"), key) {
        let place = Place::Variable(from.to_owned());
        Ok(("lineage.api_key", Value::from(key), place))
    } else {
        let why = "of `auth`, the type `api_key` with an `apiKey` is kept".to_owned();
        Err(bad(from, "lineage.api_key", why))
    }
}

/// A file of OpenLineage's client: JSON, or of YAML what such a file needs: mappings by indentation, with plain or
/// quoted values. Anything else is said with its line: a part that is passed over would be an event that goes astray.
fn mappings(text: &str) -> Result<Json, String> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text)
            .map_err(|error| format!("line {}: it is no JSON", error.line()));
    }
    let mut root = serde_json::Map::new();
    // The keys that the line before stands under, each with its indentation.
    let mut under: Vec<(usize, String)> = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let plain = line.trim();
        if plain.is_empty() || plain.starts_with('#') || plain == "---" {
            continue;
        }
        let refuse = |why: &str| format!("line {number}: {why}");
        let indent = line.len() - line.trim_start_matches(' ').len();
        let Some((key, value)) = plain.split_once(':').filter(|(key, _)| is_key(key)) else {
            return Err(refuse("a `key: value` belongs there"));
        };
        under.retain(|(at, _)| *at < indent);
        let mut place = &mut root;
        for (_, key) in &under {
            let inside = place.get_mut(key).and_then(Json::as_object_mut);
            place = inside.ok_or_else(|| refuse("it stands under a key that has a value"))?;
        }
        let value = scalar(value).map_err(refuse)?;
        if place.insert(key.to_owned(), value).is_some() {
            return Err(refuse("the key stands there twice"));
        }
        under.push((indent, key.to_owned()));
    }
    Ok(Json::Object(root))
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// What stands after a key; nothing is a mapping that follows.
fn scalar(text: &str) -> Result<Json, &'static str> {
    let bare = text.trim();
    if let Some(quote) = bare.chars().next().filter(|first| matches!(first, '"' | '\'')) {
        let end = bare.get(1..).and_then(|rest| rest.find(quote)).map(|end| end + 1);
        let inside = end.and_then(|end| Some((bare.get(1..end)?, bare.get(end + 1..)?.trim())));
        return match inside {
            Some((inside, rest))
                if !inside.contains('\\') && (rest.is_empty() || rest.starts_with('#')) =>
            {
                Ok(inside.into())
            }
            _ => Err("a quoted value ends on its line and has no escapes"),
        };
    }
    let bare = bare.split(" #").next().unwrap_or_default().trim();
    if bare.starts_with('#') {
        return Ok(Json::Object(serde_json::Map::new()));
    }
    if bare.starts_with(['{', '[', '&', '*', '!', '|', '>', '%', '@', '`', '-']) {
        return Err("of YAML only mappings with plain or quoted values are read");
    }
    Ok(match bare {
        "" => Json::Object(serde_json::Map::new()),
        "true" | "True" => true.into(),
        "false" | "False" => false.into(),
        "null" | "~" => Json::Null,
        number => match number.parse::<f64>() {
            Ok(number) if number.is_finite() => number.into(),
            _ => bare.into(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Vec<(&'static str, String)>, String> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let all: Vec<_> = variables.iter().map(own).collect();
        let said = of_environment(&all).map_err(|error| error.to_string())?;
        Ok(said.into_iter().map(|(key, value, _)| (key, value.to_string())).collect())
    }

    #[test]
    fn others_variables_are_read_and_what_is_not_kept_is_said() {
        let transport = r#"{"type": "http", "url": "http://m:5000", "timeout": 1.5, "compression": "gzip",
            "auth": {"type": "api_key", "apiKey": "k"}, "retry": {"total": 3}, "verify": true}"#;
        let said = of(&[("OPENLINEAGE_URL", "http://o"), (TRANSPORT, transport)]).unwrap();
        for (key, value) in [
            ("lineage.url", "\"http://m:5000\""),
            ("lineage.timeout", "\"1.5\""),
            ("lineage.api_key", "\"k\""),
            ("lineage.transport", "\"http\""),
        ] {
            let last = said.iter().rev().find(|(of, _)| *of == key);
            assert_eq!(last.map(|(_, value)| value.as_str()), Some(value), "{key}");
        }
        for (name, value, word) in [
            (TRANSPORT, "{\"type\": \"http\", \"verify\": false}", "`verify`"),
            (TRANSPORT, "secret", "no JSON"),
            (TRANSPORT, "{}", "`type`"),
            (TRANSPORT, r#"{"type": "http", "auth": {"type": "jwt"}}"#, "api_key"),
            ("OPENLINEAGE_DISABLED", "maybe", "true or false"),
            (CONFIG, "/nowhere/openlineage.yml", "/nowhere/openlineage.yml"),
        ] {
            let why = of(&[(name, value)]).unwrap_err();
            assert!(why.contains(word) && !why.contains("secret"), "{why}");
        }
        assert_eq!(of(&[("OPENLINEAGE_URL", "")]), Ok(vec![]));
        let off = [("OPENLINEAGE_DISABLED", "true"), (CONFIG, "/nowhere/openlineage.yml")];
        assert_eq!(of(&off), Ok(vec![("lineage.disabled", "true".to_owned())]));
    }

    #[test]
    fn of_yaml_mappings_are_read_and_nothing_else_is_guessed() {
        let text = "# a comment\ntransport:\n  type: http\n  url: \"http://m:5000\"  # where\n  auth:\n    \
                    type: api_key\n    apiKey: 'a:b'\n  timeout: 2\nfacets:\n  x: true\n";
        let read = mappings(text).unwrap();
        assert_eq!(read["transport"]["url"], "http://m:5000");
        assert_eq!(read["transport"]["auth"]["apiKey"], "a:b");
        assert_eq!(read["transport"]["timeout"], 2.0);
        assert_eq!(read["facets"]["x"], true);
        for (text, line) in [
            ("transport:\n  - a\n", "line 2"),
            ("transport: {type: http}\n", "line 1"),
            ("a: 1\n  b: 2\n", "line 2"),
            ("a: 1\na: 2\n", "line 2"),
            ("a: \"x\n", "line 1"),
        ] {
            let why = mappings(text).unwrap_err();
            assert!(why.contains(line), "{text:?}: {why}");
        }
    }
}
