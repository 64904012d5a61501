//! That what the documents name exists.
use std::collections::BTreeSet;

use regex::Regex;

use crate::tree::File;

/// Paths and links in Markdown that lead nowhere. A path is what stands in backticks and begins with a
/// folder of the root, or is a file's name with nothing before it that the root or the document's own
/// folder should have.
pub fn dead_paths(files: &[File]) -> Vec<String> {
    let there: BTreeSet<&str> = files.iter().flat_map(|file| prefixes(&file.path)).collect();
    let tops: BTreeSet<&str> =
        there.iter().copied().filter(|path| !path.contains('/') && !path.contains('.')).collect();
    let mut dead = Vec::new();
    for file in files.iter().filter(|file| file.is("md")) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (number, path) in named(&file.text, &tops) {
            let path = path.trim_end_matches('/');
            let beside = join(folder, path);
            if !there.contains(path) && !there.contains(beside.as_str()) {
                dead.push(format!("{}:{number}: `{path}` does not exist", file.path));
            }
        }
    }
    dead
}

/// A path and every folder on it.
fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at]).chain([path])
}

/// The paths that a document names, with their lines; code blocks are not read.
fn named<'a>(text: &'a str, tops: &BTreeSet<&str>) -> Vec<(usize, &'a str)> {
    let ticks = Regex::new(r"`([^`\s]+)`").expect("a constant pattern");
    let links = Regex::new(r"\]\(([^)\s]+)\)").expect("a constant pattern");
    let known = Regex::new(
        r"^([A-Z]+\.md|(Cargo|clippy|deny|rustfmt)\.toml|Cargo\.lock|Makefile|LICENSE)$",
    )
    .expect("a constant pattern");
    let mut found = Vec::new();
    let mut in_block = false;
    for (line, number) in text.lines().zip(1..) {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        }
        if in_block {
            continue;
        }
        for word in ticks.captures_iter(line).filter_map(|captures| captures.get(1)) {
            // `path:line` and `path#part` name the path.
            let path = word.as_str().split([':', '#']).next().unwrap_or_default();
            let free = path.contains(['*', '<', '{', '$', '…', '(', '=']) || path.contains("NAME");
            let top = path.split_once('/').is_some_and(|(top, _)| tops.contains(top));
            if !free && (top || known.is_match(path)) {
                found.push((number, path));
            }
        }
        for link in links.captures_iter(line).filter_map(|captures| captures.get(1)) {
            let path = link.as_str().split('#').next().unwrap_or_default();
            if !path.is_empty() && !path.contains("://") && !path.starts_with("mailto:") {
                found.push((number, path));
            }
        }
    }
    found
}

fn join(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
