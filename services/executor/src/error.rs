//! Why an executor can't run at all. What goes wrong with one try is in its report instead.
use std::{io, path::PathBuf};

use thiserror::Error;

/// Why an executor could not start. Once it runs, it goes on until it is told to end.
#[derive(Debug, Error)]
pub enum ExecutorError {
    /// The Python could not be run, or does not have what tries need.
    #[error(
        "the executor could not start {python}: {why}; it must be CPython 3.11 or later with the `dagbok` package"
    )]
    Python {
        /// Which Python.
        python: PathBuf,
        /// What happened, with its last words.
        why: String,
    },
    /// The folder for bundles and logs can't be used.
    #[error("the executor's folder {path} can't be used: make it writable, or set another")]
    Home {
        /// Which folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The scheduler speaks another version of the protocol, too far from this one.
    #[error("this executor takes no work: {why}")]
    Refused {
        /// Which versions, and what to do.
        why: String,
    },
    /// A setting can't be right.
    #[error("the executor's setting `{setting}` {why}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// What is wrong with it, and what would be accepted.
        why: String,
    },
}
