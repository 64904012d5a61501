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
        // What this is made of is no test of it, and what tests are made of is none.
        let parts: Vec<&str> = file.path.split('/').collect();
        if matches!(parts[..], ["tests", "schemas" | "house", ..] | ["tests", _, "src", ..]) {
            continue;
        }
        let tests = match file.text.find("#[cfg(test)]") {
            _ if file.is_test() => &file.text[..],
            Some(at) => &file.text[at..],
            None => continue,
        };
        let mut imports = false;
        for line in tests.lines().map(str::trim_start).filter(|line| !line.starts_with("//")) {
            // To name it where it is imported is not to try it.
            imports |= line.starts_with("use ");
            let words = line.split(|it: char| !it.is_ascii_alphanumeric() && it != '_');
            if !imports {
                tried.extend(words.filter(|word| names.contains(word)));
            }
            imports &= !line.ends_with(';');
        }
    }
    names.difference(&tried).map(|name| format!("{LIMITS}: no test names {name}")).collect()
}
