//! Which files are not read as DAG files (`.airflowignore`), and which are not looked at at all
//! (`.dagbokignore`, and what no bundle needs).
//!
//! A file that `.airflowignore` names is still published: DAGs import it, as they do under Airflow.
use std::{fs, io::ErrorKind, path::Path, sync::Arc};

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use regex::Regex;

use crate::IgnoreSyntax;

const PARSE_IGNORE: &str = ".airflowignore";
const BUNDLE_IGNORE: &str = ".dagbokignore";

/// Folders that no bundle needs, by name.
const NEVER: [&str; 6] = ["__pycache__", ".git", ".hg", ".svn", ".mypy_cache", ".pytest_cache"];

/// Whether a folder entry is passed over whatever the ignore files say: caches, version control,
/// virtual environments, and the hidden generations of a mounted ConfigMap (`..data`).
pub(crate) fn is_never_read(path: &Path, name: &str, is_dir: bool) -> bool {
    if is_dir {
        NEVER.contains(&name) || name.starts_with("..") || path.join("pyvenv.cfg").is_file()
    } else {
        Path::new(name).extension().is_some_and(|extension| extension == "pyc")
    }
}

/// Whether a file of this name, a path in the folder, says which files are read or published.
pub(crate) fn is_ignore_file(name: &str) -> bool {
    [PARSE_IGNORE, BUNDLE_IGNORE].contains(&name.rsplit('/').next().unwrap_or(name))
}

/// The ignore rules in force in one folder: its own before those of the folders around it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    parse: Vec<Arc<RuleFile>>,
    bundle: Vec<Arc<RuleFile>>,
}

/// One ignore file.
#[derive(Debug)]
enum RuleFile {
    Glob(Gitignore),
    Regexp { base: std::path::PathBuf, patterns: Vec<Regex> },
}

impl Rules {
    /// The rules inside `folder`, which lies where `self` is in force; unreadable lines are told to
    /// `complain` and skipped.
    pub(crate) fn inside(
        &self,
        folder: &Path,
        syntax: IgnoreSyntax,
        complain: &mut dyn FnMut(String),
    ) -> Self {
        let mut rules = self.clone();
        rules.parse.extend(RuleFile::read(folder, PARSE_IGNORE, syntax, complain));
        rules.bundle.extend(RuleFile::read(folder, BUNDLE_IGNORE, IgnoreSyntax::Glob, complain));
        rules
    }

    /// Whether the entry is no DAG file.
    pub(crate) fn not_parsed(&self, path: &Path, is_dir: bool) -> bool {
        verdict(&self.parse, path, is_dir)
    }

    /// Whether the entry is not published.
    pub(crate) fn not_published(&self, path: &Path, is_dir: bool) -> bool {
        verdict(&self.bundle, path, is_dir)
    }
}

/// The innermost file that has an opinion decides.
fn verdict(files: &[Arc<RuleFile>], path: &Path, is_dir: bool) -> bool {
    files.iter().rev().find_map(|file| file.says(path, is_dir)).unwrap_or(false)
}

impl RuleFile {
    fn read(
        folder: &Path,
        name: &str,
        syntax: IgnoreSyntax,
        complain: &mut dyn FnMut(String),
    ) -> Option<Arc<Self>> {
        let path = folder.join(name);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                complain(format!("`{}` can't be read: {error}", path.display()));
                return None;
            }
        };
        let mut bad = |line: usize, why: &dyn std::fmt::Display| {
            complain(format!("`{}`, line {}: {why}", path.display(), line + 1));
        };
        Some(Arc::new(match syntax {
            IgnoreSyntax::Glob => {
                let mut builder = GitignoreBuilder::new(folder);
                for (number, line) in text.lines().enumerate() {
                    if let Err(error) = builder.add_line(None, line) {
                        bad(number, &error);
                    }
                }
                Self::Glob(builder.build().unwrap_or_else(|error| {
                    bad(0, &error);
                    Gitignore::empty()
                }))
            }
            IgnoreSyntax::Regexp => {
                let mut patterns = Vec::new();
                for (number, line) in text.lines().enumerate() {
                    // As in Airflow: a comment goes to the line's end, with the blanks before it.
                    let line = line.split_once('#').map_or(line, |(before, _)| before).trim_end();
                    if line.is_empty() {
                        continue;
                    }
                    match Regex::new(line) {
                        Ok(pattern) => patterns.push(pattern),
                        Err(error) => bad(number, &error),
                    }
                }
                Self::Regexp { base: folder.to_owned(), patterns }
            }
        }))
    }

    /// `Some(true)` to ignore, `Some(false)` to keep, `None` for no opinion.
    fn says(&self, path: &Path, is_dir: bool) -> Option<bool> {
        match self {
            Self::Glob(rules) => match rules.matched(path, is_dir) {
                ignore::Match::None => None,
                ignore::Match::Ignore(_) => Some(true),
                ignore::Match::Whitelist(_) => Some(false),
            },
            Self::Regexp { base, patterns } => {
                let inside = path.strip_prefix(base).unwrap_or(path).to_string_lossy();
                patterns.iter().any(|pattern| pattern.is_match(&inside)).then_some(true)
            }
        }
    }
}
