//! Where tries run: the seam between a try, as the executor carries it, and the process that runs its code.
//!
//! A [`Place`] starts a process for a try and hands out its frames, its output and its end; what is done to
//! the process afterwards goes through [`Process`]. Nothing outside of this folder knows more of either.
mod choice;
mod environments;
mod zygote;

use std::{collections::BTreeMap, fmt::Debug, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use dagbok_protocol::WorkItem;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use tokio::{net::UnixStream, sync::oneshot};

pub(crate) use choice::Choice;
pub(crate) use environments::{Begin, Environments};
pub(crate) use zygote::{Pool, base};

use crate::{
    log::{LiveLog, Pump},
    raised::Raised,
};

/// Somewhere that tries can run.
#[async_trait]
pub(crate) trait Place: Debug + Send + Sync {
    /// Starts a process for a try.
    async fn start(&self, start: Start<'_>) -> Result<Started, PlaceError>;

    /// A try's end could not be told. What that says of the tries beside it is for the place to know.
    fn orphaned(&self, item: &WorkItem, how: Orphaned);

    /// The lease is fine for `fence_after` more: without another word by then the place ends its tries itself.
    async fn tick(&self, fence_after: Duration);

    /// Lets go of what nobody used for long.
    fn trim(&self);

    /// The version of its Python.
    fn python(&self) -> String;

    /// The version of the Python that this try runs in.
    fn python_of(&self, _: &WorkItem) -> String {
        self.python()
    }
}

/// What a try's process begins with.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    /// The work.
    pub(crate) item: &'a WorkItem,
    /// The folder of its bundle.
    pub(crate) folder: &'a Path,
    /// Where what it writes goes.
    pub(crate) log: &'a Arc<LiveLog>,
    /// The first frame, where its code may run at once; without, it waits for that frame.
    pub(crate) startup: Option<&'a [u8]>,
    /// Within which bounds.
    pub(crate) bounds: &'a Bounds,
}

/// Within which bounds a try's process runs; it puts itself into them before any of the user's code runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Bounds {
    /// Its cgroup's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cgroup: Option<String>,
    /// How much sooner than others it is killed where the machine has no more memory: `oom_score_adj`.
    pub(crate) oom_score_adj: i32,
    /// The most memory that it may ask for at once, in bytes: `RLIMIT_DATA`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<u64>,
    /// Where it works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cwd: Option<String>,
    /// Whose rights it has from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    /// Set in its environment besides.
    #[serde(skip)]
    pub(crate) env: BTreeMap<String, String>,
}

/// A try's process that is there.
#[derive(Debug)]
pub(crate) struct Started {
    /// What can be done to it.
    pub(crate) process: Arc<dyn Process>,
    /// Its number where it runs.
    pub(crate) pid: u32,
    /// Its frames.
    pub(crate) stream: UnixStream,
    /// What is left of the first frame, to be sent on `stream`.
    pub(crate) startup: Vec<u8>,
    /// Its output.
    pub(crate) pump: Pump,
    /// Tells its end; closed without a word where nobody can tell any more.
    pub(crate) exited: oneshot::Receiver<Exited>,
}

/// Why a place could not start a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PlaceError {
    /// The DAG file does not load: the user's fault.
    Load(Raised),
    /// No process could be had: ours.
    Start(String),
}

/// A try's process, wherever it runs. What only this try needs of its place goes when this is dropped.
#[async_trait]
pub(crate) trait Process: Debug + Send + Sync {
    /// Sends a signal to the process and its children; nothing happens where it is over.
    async fn signal(&self, signal: Signal);

    /// Its end was not told: ends what may be left, and says what is known.
    fn lost(&self) -> Orphaned;

    /// It does not end even by SIGKILL: whatever holds it goes too.
    fn give_up(&self);
}

/// How a try's process ended, as the kernel told its parent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Exited {
    /// Its exit code, where it exited.
    pub(crate) exit_code: Option<i32>,
    /// The signal that ended it, where one did.
    pub(crate) signal: Option<i32>,
    /// Peak resident memory.
    #[serde(default)]
    pub(crate) max_rss_bytes: u64,
    /// CPU time in user code, in microseconds.
    #[serde(default)]
    pub(crate) user_us: u64,
    /// CPU time in the kernel, in microseconds.
    #[serde(default)]
    pub(crate) system_us: u64,
    /// Whether its place ended it because the executor went silent.
    #[serde(default)]
    pub(crate) fenced: bool,
    /// Processes that it left behind, and that were killed.
    #[serde(default)]
    pub(crate) leftovers: u32,
}

/// What is known of the end of whoever should have told a try's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Orphaned {
    /// It had other tries too: who ended it can't be told.
    WithOthers,
    /// It had this one alone, as it has for a file's first try too.
    Alone,
    /// It had been started for this one.
    Apart,
}
