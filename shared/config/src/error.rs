//! What is wrong with a configuration, and where.
use std::{fmt, path::PathBuf};

use thiserror::Error;

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file, with its line from 1.
    File {
        /// Which.
        path: PathBuf,
        /// Where in it; `None` where unknown.
        line: Option<usize>,
    },
    /// In the environment, under this name.
    Variable(String),
    /// On the command line, as this flag.
    Flag(&'static str),
    /// In the defaults.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line: Some(line) } => write!(f, "`{}`, line {line}", path.display()),
            Self::File { path, line: None } => write!(f, "`{}`", path.display()),
            Self::Variable(name) => write!(f, "the environment variable `{name}`"),
            Self::Flag(flag) => write!(f, "the flag `{flag}`"),
            Self::Default => f.write_str("the defaults"),
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// A file that was named can't be read.
    #[error("the configuration `{path}` can't be read: {why}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// A file is no TOML.
    #[error("{place}: {why}")]
    Syntax {
        /// Where.
        place: Place,
        /// What the parser said.
        why: String,
    },
    /// A key that nobody reads.
    #[error("{place}: unknown key `{key}`{}", near.as_ref().map(|near| format!("; is `{near}` meant?")).unwrap_or_default())]
    Unknown {
        /// Where.
        place: Place,
        /// Which, with its section.
        key: String,
        /// A key that is like it.
        near: Option<String>,
    },
    /// A value that its key can't have.
    #[error("{place}: `{key}` can't be that: {why}")]
    BadValue {
        /// Where.
        place: Place,
        /// Which, with its section.
        key: String,
        /// What would do.
        why: String,
    },
}
