//! Words that may not be in some sources: what the rules must not touch, and clocks read elsewhere than
//! where the clock is.
use regex::Regex;

use crate::tree::File;

/// Where the rules and what they stand on are written.
const PURE_FOLDERS: &[&str] = &[
    "shared/events/src/",
    "shared/protocol/src/",
    "shared/domain/src/",
    "shared/alerts/src/",
    "shared/lineage/src/",
];

/// What no rule may use.
const IMPURE: &str = r"\b(HashMap|HashSet|RandomState|SystemTime|Instant|tokio|futures|rand|async fn|async move|\.await|println!|eprintln!|std::(fs|net|env|thread|process|io)|(Timestamp|Zoned|TimeZone)::(now|system))\b";

/// What reads the wall clock.
const WALL_CLOCK: &str = r"\b(SystemTime|Timestamp|Zoned|Utc|Local)::now\b";

/// Where the wall clock may be read, and why.
const CLOCK_READERS: &[(&str, &str)] = &[
    ("shared/runtime/src/clock.rs", "it is the clock"),
    (
        "services/executor/src/bundle.rs",
        "marks a folder as used, for whoever tidies up; decides nothing",
    ),
    (
        "shared/runlog-embedded/src/blobs.rs",
        "stamps a file as the file system does when it is written; whoever sweeps decides",
    ),
    ("shared/runlog/src/memory/blobs.rs", "stamps a blob as a store's own clock does"),
    (
        "shared/objects/src/list.rs",
        "holds the stamp of half a file, which the file system made, against the time",
    ),
    ("shared/runlog/src/conformance/blobs.rs", "holds the stamps of stores against the time"),
];

/// Words in the rules' sources that make them depend on more than their arguments.
pub fn impure_words(files: &[File]) -> Vec<String> {
    let pure = |file: &&File| PURE_FOLDERS.iter().any(|folder| file.path.starts_with(folder));
    words(files.iter().filter(pure), IMPURE, "is not for the rules")
}

/// Wall clocks read elsewhere than in `dagbok-runtime`.
pub fn wall_clocks(files: &[File]) -> Vec<String> {
    let readers = |file: &&File| {
        let excused = CLOCK_READERS.iter().any(|(path, _)| *path == file.path);
        file.is("rs") && !file.is_test() && !file.path.starts_with("tests/") && !excused
    };
    words(files.iter().filter(readers), WALL_CLOCK, "reads the clock; take `dagbok_runtime::Clock`")
}

fn words<'a>(files: impl Iterator<Item = &'a File>, pattern: &str, what: &str) -> Vec<String> {
    let pattern = Regex::new(pattern).expect("a constant pattern");
    let mut found = Vec::new();
    for file in files {
        for (line, number) in file.text.lines().zip(1..) {
            let code = line.split("//").next().unwrap_or_default();
            if let Some(word) = pattern.find(code) {
                found.push(format!("{}:{number}: `{}` {what}", file.path, word.as_str()));
            }
        }
    }
    found
}
