//! Every published limit is tried at its edge: by a test that names it.
use std::collections::BTreeSet;

use crate::tree::File;

/// Where they stand.
const LIMITS: &str = "shared/protocol/src/limits.rs";

/// The limits that no test names.
pub fn untried(files: &[File]) -> Vec<String> {
    let text = files.iter().find(|file| file.path == LIMITS).map_or("", |file| &file.text);
    let names = text.lines().filter_map(|line| line.strip_prefix("pub const "));
    let names: BTreeSet<&str> = names.filter_map(|line| line.split(':').next()).collect();
    let mut tried = BTreeSet::new();
    for file in files.iter().filter(|file| file.is("rs") || file.is("py")) {
        // What this is made of is no test of it.
        if file.path.starts_with("tests/schemas/") || file.path.starts_with("tests/house/") {
            continue;
        }
        let tests = match file.text.find("#[cfg(test)]") {
            _ if file.is_test() => &file.text[..],
            Some(at) => &file.text[at..],
            None => continue,
        };
        let words = tests.split(|it: char| !it.is_ascii_alphanumeric() && it != '_');
        tried.extend(words.filter(|word| names.contains(word)));
    }
    names.difference(&tried).map(|name| format!("{LIMITS}: no test names {name}")).collect()
}
