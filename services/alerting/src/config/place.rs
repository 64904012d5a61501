//! Where in a file something stands.
use std::path::Path;

use serde::Deserialize as _;
use toml::de::{DeTable, DeValue};

use super::{ConfigError, file::File};

/// Reads the file's text as what it is to be.
pub(super) fn read(path: &Path, text: &str) -> Result<File, ConfigError> {
    let wrong =
        |line: Option<usize>, what: String| ConfigError { file: path.to_owned(), line, what };
    let deserializer = toml::Deserializer::parse(text).map_err(|error| {
        wrong(error.span().map(|span| line_at(text, span.start)), error.message().to_owned())
    })?;
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(deserializer, &mut track);
    File::deserialize(tracked).map_err(|error| {
        let path_in = track.path();
        let at = path_in.to_string();
        let parts: Vec<String> = path_in
            .iter()
            .filter_map(|part| match part {
                serde_path_to_error::Segment::Map { key } => Some(key.clone()),
                serde_path_to_error::Segment::Seq { index } => Some(index.to_string()),
                _ => None,
            })
            .collect();
        let span = error.span().map(|span| line_at(text, span.start));
        let line = span.or_else(|| line_of(text, &parts));
        let what = if at == "." {
            error.message().to_owned()
        } else {
            format!("`{at}`: {}", error.message())
        };
        wrong(line, what)
    })
}

/// The line of a place in the text, from 1.
fn line_at(text: &str, at: usize) -> usize {
    text[..at.min(text.len())].matches('\n').count() + 1
}

/// The line of a key, or of the deepest table on the way to it.
pub(super) fn line_of<S: AsRef<str>>(text: &str, path: &[S]) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let mut found = None;
    let (first, rest) = path.split_first()?;
    let (key, value) = root.get_ref().iter().find(|(key, _)| key.get_ref() == first.as_ref())?;
    found = Some(key.span().start).or(found);
    let mut value = value;
    for part in rest {
        let next = match value.get_ref() {
            DeValue::Table(table) => {
                let entry = table.iter().find(|(key, _)| key.get_ref() == part.as_ref());
                entry.map(|(key, value)| (key.span().start, value))
            }
            DeValue::Array(items) => {
                let item = part.as_ref().parse().ok().and_then(|at: usize| items.get(at));
                item.map(|value| (value.span().start, value))
            }
            _ => None,
        };
        let Some((start, inside)) = next else { break };
        found = Some(start);
        value = inside;
    }
    found.map(|start| line_at(text, start))
}
