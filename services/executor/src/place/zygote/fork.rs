//! Makes a try's process: its descriptors, and the fork; and what can be done to it then.
use std::{
    collections::BTreeMap,
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream as StdStream,
    },
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use dagbok_events::RunKey;
use dagbok_protocol::{
    names,
    trace::{RunTrace, try_span},
};
use nix::{
    fcntl::OFlag,
    sys::signal::{Signal, killpg},
    unistd::{Pid, pipe2},
};
use tokio::{net::UnixStream, time::timeout};

use super::{
    Zygote,
    base::Base,
    control::Launch,
    pool::{Parent, Pool},
};
use crate::{
    log::{LiveLog, Pump},
    place::{Orphaned, PlaceError, Process, Start, Started},
};

/// How long a fork may take; a zygote that needs longer is broken.
const FORK_TIMEOUT: Duration = Duration::from_secs(30);
/// How often another zygote is tried where one went away before it had forked.
const ATTEMPTS: usize = 3;
/// How long a word to the zygote may take to go out.
const SEND_WAIT: Duration = Duration::from_secs(1);

/// A process that a zygote forked.
#[derive(Debug)]
struct Forked {
    /// Who forked it.
    zygote: Arc<Zygote>,
    /// Its name there.
    run_key: String,
    /// Its number; it leads its group.
    pid: u32,
    /// Who forked it, where that was started for it alone.
    apart: Option<Base>,
}

#[async_trait]
impl Process for Forked {
    /// By the zygote, which knows whether the process is still there: a pid alone may be another's by now.
    async fn signal(&self, signal: Signal) {
        drop(timeout(SEND_WAIT, self.zygote.kill(&self.run_key, signal)).await);
    }

    fn lost(&self) -> Orphaned {
        self.kill_group();
        match self.zygote.went_with() {
            _ if self.apart.is_some() => Orphaned::Apart,
            0 | 1 => Orphaned::Alone,
            _ => Orphaned::WithOthers,
        }
    }

    fn give_up(&self) {
        self.kill_group();
        self.zygote.destroy();
    }
}

impl Forked {
    /// By ourselves, where the zygote can't.
    fn kill_group(&self) {
        if let Ok(pid) = i32::try_from(self.pid) {
            // Gone already is as good.
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// Forks a process for a try.
pub(super) async fn fork(pool: &Pool, start: &Start<'_>) -> Result<Started, PlaceError> {
    let item = start.item;
    let mut why = String::new();
    for _ in 0..ATTEMPTS {
        let parent = if pool.must_be_apart(item) {
            pool.parent_apart().await
        } else {
            pool.parent(item.bundle.as_str(), start.folder, &item.file).await
        };
        let started = match parent {
            Ok(parent) => fork_by(parent, pool.next_launch(), start).await,
            Err(PlaceError::Start(why)) => Err(why),
            Err(error @ PlaceError::Load(_)) => return Err(error),
        };
        match started {
            Ok(started) => return Ok(started),
            Err(again) => {
                tracing::warn!(key = %item.key, why = again, "a try's process was not forked");
                why = again;
            }
        }
    }
    Err(PlaceError::Start(why))
}

async fn fork_by(parent: Parent, launch: u64, start: &Start<'_>) -> Result<Started, String> {
    let Parent { zygote, load_in_child, apart } = parent;
    let Start { item, folder, log, startup, bounds } = start;
    let run_key = format!("{}:{launch}", names::work_key(&item.key));
    let mut env: BTreeMap<String, String> = bounds.env.clone();
    // Spans of the user's code are part of the try's, which is known before anybody exports it.
    let run = RunKey { dag_id: item.key.dag_id.clone(), run_id: item.key.run_id.clone() };
    let run_after = item.run.run_after;
    let trace = RunTrace::of(&run, run_after, item.traceparent.as_deref());
    let span = try_span("try", &item.key, run_after);
    env.insert("TRACEPARENT".to_owned(), trace.traceparent(span));
    let ends = Ends::open(log).map_err(|error| format!("no pipes could be made: {error}"))?;
    let Ends { stream, pump, theirs } = ends;
    let mut rest = startup.unwrap_or_default().to_vec();
    // Into the socket's buffer, so that the process finds it there. What does not fit follows.
    if let Ok(sent) = stream.try_write(&rest) {
        rest.drain(..sent);
    }
    let load =
        load_in_child.then(|| folder.to_str().map(|folder| (folder, item.file.as_str()))).flatten();
    let fds = theirs.each_ref().map(|fd| fd.as_fd());
    let launch = Launch { key: &run_key, env: &env, bounds, load, fds };
    let heard = zygote.launch(launch).await.map_err(|gone| gone.to_string())?;
    drop(theirs);
    let pid = match timeout(FORK_TIMEOUT, heard.forked).await {
        Ok(Ok(forked)) => forked?,
        Ok(Err(_)) => return Err("the zygote process went away".to_owned()),
        Err(_) => {
            zygote.destroy();
            return Err(format!(
                "the zygote process did not fork within {} s",
                FORK_TIMEOUT.as_secs()
            ));
        }
    };
    let process = Arc::new(Forked { zygote, run_key, pid, apart });
    Ok(Started { process, pid, stream, startup: rest, pump, exited: heard.exited })
}

/// The descriptors of a try: our ends, and those of its process.
struct Ends {
    stream: UnixStream,
    pump: Pump,
    theirs: [OwnedFd; 4],
}

impl Ends {
    fn open(log: &Arc<LiveLog>) -> io::Result<Self> {
        let (ours, frames) = StdStream::pair()?;
        ours.set_nonblocking(true)?;
        let (out, stdout) = pipe2(OFlag::O_CLOEXEC)?;
        let (err, stderr) = pipe2(OFlag::O_CLOEXEC)?;
        let (lines, logs) = pipe2(OFlag::O_CLOEXEC)?;
        let pump = Pump::new(Arc::clone(log), out, err, lines)?;
        Ok(Self {
            stream: UnixStream::from_std(ours)?,
            pump,
            theirs: [frames.into(), stdout, stderr, logs],
        })
    }
}
