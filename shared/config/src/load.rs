//! Lays the sources over one another, remembering where each value stands.
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize as _;
use toml::{Spanned, Table, Value, de::DeTable};

use crate::{
    Config, ConfigError, Place, blobs,
    keys::{self, Holds, Key},
    lineage,
};

/// The file's name, where only its folder is known.
pub const FILE_NAME: &str = "dagbok.toml";
/// Begins the name of every environment variable that is a key.
pub const PREFIX: &str = "DAGBOK__";

/// Where settings come from, least first.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A file that may be there: the installation's own.
    pub optional_file: Option<PathBuf>,
    /// A file that was named and must be there; given, the optional one is not read.
    pub file: Option<PathBuf>,
    /// The environment; what does not begin with `DAGBOK__` is passed over.
    pub environment: Vec<(String, String)>,
    /// Flags, or variables that stand for one, with the key that each stands for.
    pub flags: Vec<(&'static str, &'static str, Value)>,
}

/// A key with what holds for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// With its section, as `scheduler.parallelism`.
    pub key: String,
    /// As JSON; dots in a secret's place, null where it is not set.
    pub value: serde_json::Value,
    /// Where that comes from.
    pub place: Place,
}

/// Reads the configuration.
pub fn load(sources: &Sources) -> Result<Config, ConfigError> {
    layers(sources)?.finish()
}

/// Reads the configuration, key by key.
pub fn settings(sources: &Sources) -> Result<Vec<Setting>, ConfigError> {
    let layers = layers(sources)?;
    let places = layers.places.clone();
    let config = serde_json::to_value(layers.finish()?).expect("a configuration has a form");
    let sections = config.as_object().into_iter().flatten();
    let keys = sections.flat_map(|(section, inside)| {
        let inside = inside.as_object().into_iter().flatten();
        inside.map(move |(key, value)| (format!("{section}.{key}"), value.clone()))
    });
    let settings = keys.map(|(key, value)| {
        let place = places.get(&key).cloned().unwrap_or(Place::Default);
        let value = hushed(&key, value);
        Setting { key, value, place }
    });
    Ok(settings.collect())
}

/// A value without what may be secret in it: who logs in at an address, and what tasks find in their environment.
fn hushed(key: &str, value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::String(text) => match text.split_once("://") {
            Some((scheme, rest)) => {
                let host = rest.find(['/', '?', '#']).unwrap_or(rest.len());
                match rest[..host].rfind('@') {
                    Some(at) => format!("{scheme}://…@{}", &rest[at + 1..]).into(),
                    None => text.into(),
                }
            }
            None => text.into(),
        },
        Value::Array(all) => all.into_iter().map(|one| hushed(key, one)).collect(),
        Value::Object(all) if matches!(key, "executor.env" | "kubernetes.env") => {
            all.into_iter().map(|(name, _)| (name, Value::from("…"))).collect()
        }
        Value::Object(all) => all.into_iter().map(|(name, one)| (name, hushed(key, one))).collect(),
        other => other,
    }
}

fn layers(sources: &Sources) -> Result<Layers, ConfigError> {
    let (keys, named) = (keys::all(), keys::named());
    let mut layers =
        Layers { keys, named, table: Table::new(), places: BTreeMap::new(), lineage_fault: None };
    // What others' variables say stands below what is said to Dagbok itself.
    for (key, value, place) in blobs::of_environment(&sources.environment)? {
        layers.set(key, value, place)?;
    }
    match lineage::of_environment(&sources.environment) {
        Ok(all) => {
            for (key, value, place) in all {
                layers.set(key, value, place)?;
            }
        }
        // It is for who sends lineage to refuse: a file that is gone is nothing to who lists runs.
        Err(error) => layers.lineage_fault = Some(error.to_string()),
    }
    match (&sources.file, &sources.optional_file) {
        (Some(path), _) => layers.file(path, true)?,
        (None, Some(path)) => layers.file(path, false)?,
        (None, None) => {}
    }
    for (name, text) in &sources.environment {
        if let Some(rest) = name.strip_prefix(PREFIX) {
            layers.variable(name, rest, text)?;
        }
    }
    for (flag, key, value) in &sources.flags {
        // A variable that stands for a flag is named as what it is.
        let place = match flag.strip_prefix("--") {
            Some(_) => Place::Flag(flag),
            None => Place::Variable((*flag).to_owned()),
        };
        layers.set(key, value.clone(), place)?;
    }
    Ok(layers)
}

struct Layers {
    keys: BTreeMap<String, Key>,
    /// Sections whose keys are names of the user's own.
    named: BTreeSet<String>,
    table: Table,
    places: BTreeMap<String, Place>,
    /// What is wrong with others' variables about lineage.
    lineage_fault: Option<String>,
}

impl Layers {
    fn file(&mut self, path: &Path, required: bool) -> Result<(), ConfigError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if !required && error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                return Err(ConfigError::Unreadable {
                    path: path.to_owned(),
                    why: error.to_string(),
                });
            }
        };
        let place = |span: Option<std::ops::Range<usize>>| {
            let line =
                span.map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            Place::File { path: path.to_owned(), line }
        };
        let syntax = |error: toml::de::Error| ConfigError::Syntax {
            place: place(error.span()),
            why: error.message().to_owned(),
        };
        let spans = DeTable::parse(&text).map_err(syntax)?;
        let values: Table = toml::from_str(&text).map_err(syntax)?;
        for (section, inside) in values {
            let section_span = spans
                .get_ref()
                .keys()
                .find(|key| key.get_ref() == section.as_str())
                .map(Spanned::span);
            let Value::Table(inside) = inside else {
                return Err(self.unknown(section, place(section_span)));
            };
            let section_keys =
                spans.get_ref().iter().find(|(key, _)| key.get_ref() == section.as_str());
            let section_keys = section_keys.and_then(|(_, value)| value.get_ref().as_table());
            for (key, value) in inside {
                let span = section_keys
                    .and_then(|keys| keys.keys().find(|known| known.get_ref() == key.as_str()))
                    .map(Spanned::span);
                self.set(&format!("{section}.{key}"), value, place(span.or(section_span.clone())))?;
            }
        }
        Ok(())
    }

    fn variable(&mut self, name: &str, rest: &str, text: &str) -> Result<(), ConfigError> {
        let key = rest.to_lowercase().replace("__", ".");
        let place = Place::Variable(name.to_owned());
        let as_toml = || toml::from_str::<Table>(&format!("value = {text}")).ok()?.remove("value");
        let value = match self.keys.get(&key).map(|key| key.holds) {
            Some(Holds::List) if !text.trim_start().starts_with('[') => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Value::Array(items.map(Value::from).collect())
            }
            Some(Holds::Text) => Value::from(text),
            _ => as_toml().unwrap_or_else(|| Value::from(text)),
        };
        self.set(&key, value, place)
    }

    fn set(&mut self, key: &str, value: Value, place: Place) -> Result<(), ConfigError> {
        let known = |section: &str| self.keys.contains_key(key) || self.named.contains(section);
        let Some((section, name)) = key.split_once('.').filter(|(section, _)| known(section))
        else {
            return Err(self.unknown(key.to_owned(), place));
        };
        let section = self.table.entry(section).or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(section) = section {
            section.insert(name.to_owned(), value);
        }
        self.places.insert(key.to_owned(), place);
        Ok(())
    }

    fn unknown(&self, key: String, place: Place) -> ConfigError {
        ConfigError::Unknown { place, near: keys::near(&key, &self.keys), key }
    }

    fn finish(self) -> Result<Config, ConfigError> {
        // Of the right type first: a number for people to mend is said before its size.
        let bounds = self.check_bounds();
        let mut track = serde_path_to_error::Track::new();
        let deserializer =
            serde_path_to_error::Deserializer::new(Value::Table(self.table), &mut track);
        let mut config = Config::deserialize(deserializer).map_err(|error: toml::de::Error| {
            let path = track.path().to_string();
            let key = self
                .places
                .keys()
                .find(|key| path.starts_with(key.as_str()))
                .cloned()
                .unwrap_or(path);
            let place = self.places.get(&key).cloned().unwrap_or(Place::Default);
            ConfigError::BadValue { place, key, why: error.message().to_owned() }
        })?;
        config.lineage.fault = self.lineage_fault;
        bounds?;
        config.blobs.with(&config.logging).map_err(|(key, why)| {
            let place = self.places.get(key).cloned().unwrap_or(Place::Default);
            ConfigError::BadValue { place, key: key.to_owned(), why }
        })?;
        Ok(config)
    }

    /// Holds every value that was given to what its key may be.
    fn check_bounds(&self) -> Result<(), ConfigError> {
        for (key, place) in &self.places {
            let Some((section, name)) = key.split_once('.') else { continue };
            let value = self.table.get(section).and_then(|section| section.get(name));
            let refusal = self.keys.get(key).zip(value);
            if let Some(why) = refusal.and_then(|(known, value)| known.bounds.refusal(value)) {
                return Err(ConfigError::BadValue { place: place.clone(), key: key.clone(), why });
            }
        }
        Ok(())
    }
}
