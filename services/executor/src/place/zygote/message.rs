//! The words between executor and zygote: one MessagePack map in each datagram.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    place::{Bounds, Exited},
    raised::Raised,
};

/// The largest message, in bytes: what a datagram socket surely takes.
pub(crate) const MESSAGE_BYTES: usize = 64 << 10;

/// To a zygote.
#[derive(Debug, Serialize)]
#[serde(tag = "type")]
pub(crate) enum ToZygote<'a> {
    /// Fork a zygote that loads a DAG file; with its control socket.
    Load {
        /// The folder of the bundle.
        bundle_path: &'a str,
        /// The file in it.
        file: &'a str,
        /// Set before the import.
        env: &'a BTreeMap<String, String>,
        /// After this many seconds the import is broken off.
        timeout: f64,
    },
    /// Fork a try; with its frames socket, stdout, stderr and logs.
    Run {
        /// Names the try on this socket.
        key: &'a str,
        /// Set in the child.
        env: &'a BTreeMap<String, String>,
        /// What the child bounds itself by.
        bounds: &'a Bounds,
        /// For a base zygote: what the child itself loads.
        #[serde(skip_serializing_if = "Option::is_none")]
        bundle_path: Option<&'a str>,
        /// For a base zygote: what the child itself loads.
        #[serde(skip_serializing_if = "Option::is_none")]
        file: Option<&'a str>,
    },
    /// Send a signal to a try's process group.
    Kill {
        /// Which try.
        key: &'a str,
        /// Which signal.
        signal: i32,
    },
    /// The lease is fine.
    Tick {
        /// Without another word for this many seconds the zygote kills its tries.
        fence_after: f64,
    },
}

/// From a zygote. Unknown fields are passed over, so that the Python side may say more.
#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
pub(crate) enum FromZygote {
    /// Secrets that it knows, in every form: they are to be masked in whatever is kept.
    Mask {
        /// The texts.
        forms: Vec<String>,
    },
    /// It serves.
    Ready(Ready),
    /// The DAG file could not be loaded; it ends.
    LoadFailed {
        /// Why.
        error: Raised,
    },
    /// A try's process is there.
    Forked {
        /// Which try.
        key: String,
        /// Its process.
        pid: u32,
    },
    /// No process could be made.
    ForkFailed {
        /// Which try.
        key: String,
        /// Why.
        message: String,
    },
    /// A try's process is gone, and what it left behind too.
    Exited {
        /// Which try.
        key: String,
        /// How it ended.
        #[serde(flatten)]
        exited: Exited,
    },
}

/// A zygote's introduction.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Ready {
    /// Its process.
    pub(crate) pid: u32,
    /// Whether a fork of it is safe: no threads are left from the import.
    pub(crate) fork_safe: bool,
    /// Why not.
    #[serde(default)]
    pub(crate) why: Option<String>,
    /// How long the import took.
    #[serde(default)]
    pub(crate) load_seconds: f64,
    /// Python's version.
    #[serde(default)]
    pub(crate) python: String,
}
