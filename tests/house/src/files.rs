//! What holds for each file by itself: its length, its first line, and that nothing in it is of one
//! machine or left undone.
use regex::Regex;

use crate::tree::File;

/// Lines that a file may have at most, tests apart.
pub const MOST: usize = 500;
/// Lines that a file should not go much beyond.
pub const NEAR: usize = 300;

/// Files longer than `lines`, tests apart, longest first.
pub fn longer_than(files: &[File], lines: usize) -> Vec<String> {
    let counted = |file: &&File| (file.is("rs") || file.is("py")) && !file.is_test();
    let mut long: Vec<(usize, &str)> = files
        .iter()
        .filter(counted)
        .map(|file| (file.text.lines().count(), file.path.as_str()))
        .filter(|(count, _)| *count > lines)
        .collect();
    long.sort_unstable_by(|one, other| other.cmp(one));
    long.into_iter().map(|(count, path)| format!("{path} has {count} lines")).collect()
}

/// Rust files that do not begin with what they are for.
pub fn without_purpose(files: &[File]) -> Vec<String> {
    let says = |file: &&File| file.text.starts_with("//!") || file.text.starts_with("#!/");
    let silent = files.iter().filter(|file| file.is("rs")).filter(|file| !says(file));
    silent.map(|file| format!("{} does not begin with `//!`", file.path)).collect()
}

/// What must not be in any file, and why. Written so that this file itself does not break them.
const RESIDUE: &[(&str, &str)] = &[
    (r"(?:^|[^\w./~$}-])/(?:work|root|home|Users)/", "is a path of somebody's machine"),
    (
        r"\b(?:TO[D]O|FIX[M]E|XX[X]|HAC[K])\b",
        "says that something is left undone; do it or name its issue",
    ),
    (
        r"(?m)^\s*--?(?:extra-)?index-url\b|^\s*--trusted-hos[t]\b",
        "names a package index; a machine's settings do that",
    ),
    (r"<{7} |>{7} |^={7}$", "is left of a merge"),
];

/// Where a home is a container's, and not somebody's.
const OF_CONTAINERS: &[&str] = &["deploy/"];

/// What is of one machine, or left undone.
pub fn residue(files: &[File]) -> Vec<String> {
    let patterns: Vec<_> = RESIDUE
        .iter()
        .map(|(pattern, why)| (Regex::new(pattern).expect("a constant pattern"), *why))
        .collect();
    let mut found = Vec::new();
    for file in files {
        for (line, number) in file.text.lines().zip(1..) {
            for (pattern, why) in &patterns {
                let Some(word) = pattern.find(line) else { continue };
                let container = OF_CONTAINERS.iter().any(|folder| file.path.starts_with(folder));
                if !(container && word.as_str().ends_with("home/")) {
                    found.push(format!("{}:{number}: `{}` {why}", file.path, word.as_str().trim()));
                }
            }
        }
    }
    found.extend(registries(files));
    found
}

/// Where locked packages come from, other than from the public registries.
fn registries(files: &[File]) -> Vec<String> {
    const CRATES: &str = "registry+https://github.com/rust-lang/crates.io-index";
    const NPM: &str = "https://registry.npmjs.org/";
    let mut found = Vec::new();
    for file in files {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        if matches!(name, ".npmrc" | "pip.conf" | ".pypirc" | ".netrc")
            || file.path.contains(".cargo/config")
        {
            found.push(format!("{} is a machine's settings", file.path));
        }
        let (key, home) = match name {
            "Cargo.lock" => ("source = \"", CRATES),
            "package-lock.json" => ("\"resolved\": \"", NPM),
            _ => continue,
        };
        for (line, number) in file.text.lines().zip(1..) {
            if let Some(source) =
                line.trim_start().strip_prefix(key).filter(|it| !it.starts_with(home))
            {
                found.push(format!(
                    "{}:{number}: {} is not the public registry",
                    file.path,
                    source.trim_matches(['"', ','])
                ));
            }
        }
    }
    found
}

/// Fields of log lines that have the name of one that every line has: JSON would have it twice.
pub fn fields_said_twice(files: &[File]) -> Vec<String> {
    let said =
        Regex::new(r"tracing::(?:error|warn|info|debug|trace)!\([^;]*;").expect("a constant");
    let text = Regex::new(r#""(?:[^"\\]|\\.)*""#).expect("a constant pattern");
    let taken =
        Regex::new(r"[(,\s%?](message|timestamp|level)\s*[,=]").expect("a constant pattern");
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.is("rs")) {
        for line in said.find_iter(&file.text) {
            let number = file.text[..line.start()].lines().count();
            let fields = text.replace_all(line.as_str(), "");
            if let Some(field) = taken.captures(&fields) {
                found.push(format!("{}:{number}: `{}` is every line's own", file.path, &field[1]));
            }
        }
    }
    found
}

/// Fences in the documentation of code that a compiler would run as an example. The round of tests runs none.
pub fn examples_unrun(files: &[File]) -> Vec<String> {
    let fence = Regex::new(r"^\s*//[/!] ?```(.*)$").expect("a constant pattern");
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.is("rs")) {
        let mut is_open = false;
        for (line, number) in file.text.lines().zip(1..) {
            let Some(language) = fence.captures(line) else { continue };
            is_open = !is_open;
            if is_open && matches!(&language[1], "" | "rust") {
                found.push(format!("{}:{number}: write a test, or say `text`", file.path));
            }
        }
    }
    found
}
