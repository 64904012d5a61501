//! Generates `schemas/` from the types, and holds the two promises about it: what is checked in is
//! current, and the events only ever grow.
mod documents;
mod executor_protocol;
mod growth;
mod limits;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};
pub use documents::{documents, pages};
pub use growth::broken_promises;
pub use limits::{Limit, limits};
use serde_json::Value;

/// Where the schemas are checked in.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../schemas")
}

/// The file's text for a document.
pub fn text_of(document: &Value) -> String {
    let mut text = serde_json::to_string_pretty(document).expect("a JSON value can be written");
    text.push('\n');
    text
}

/// Writes every document, unless the events would break the promise to old logs.
pub fn write() -> Result<()> {
    for (name, document) in documents() {
        let path = folder().join(name);
        if matches!(name, "events.json" | "alert-events.json") && path.exists() {
            let old = fs::read_to_string(&path)
                .with_context(|| format!("can't read {}", path.display()))?;
            let broken = broken_promises(&serde_json::from_str(&old)?, &document);
            if !broken.is_empty() {
                bail!("old logs could not be read any more:\n  {}", broken.join("\n  "));
            }
        }
        fs::write(&path, text_of(&document))
            .with_context(|| format!("can't write {}", path.display()))?;
    }
    for (name, text) in pages() {
        let path = folder().join(name);
        fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
    }
    Ok(())
}
