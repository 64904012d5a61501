//! The project's files: those that git keeps or would keep.
use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use ignore::WalkBuilder;

/// A file of the project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path from the root, `/` between its parts.
    pub path: String,
    /// What it says; empty where it is no text.
    pub text: String,
}

impl File {
    /// A file that is made up.
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// Whether its name ends so.
    pub fn is(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }

    /// Whether it is a test, or what tests use.
    pub fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        let in_tests = self.path.split('/').rev().skip(1).any(|part| part == "tests");
        in_tests || name == "tests.rs" || name.starts_with("test_")
    }
}

/// Every file under `root` that is not ignored, sorted by path.
pub fn files(root: &Path) -> Result<Vec<File>> {
    let mut found = Vec::new();
    let mut walk = WalkBuilder::new(root);
    // Only the project's own ignore files count, whatever a machine's say.
    walk.hidden(false).parents(false).git_global(false).git_exclude(false).require_git(false);
    walk.filter_entry(|entry| entry.file_name() != ".git");
    for entry in walk.build() {
        let entry = entry?;
        if !entry.file_type().is_some_and(|kind| kind.is_file()) {
            continue;
        }
        let path = entry.path().strip_prefix(root)?.to_string_lossy().replace('\\', "/");
        let bytes = match fs::read(entry.path()) {
            Ok(bytes) => bytes,
            // Gone between the listing and the reading: somebody's scratch file.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("can't read {path}")),
        };
        found.push(File { path, text: String::from_utf8(bytes).unwrap_or_default() });
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}
