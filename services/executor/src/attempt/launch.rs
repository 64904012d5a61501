//! Makes a try's process: its descriptors, and the fork.
use std::{
    collections::BTreeMap,
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream as StdStream,
    },
    path::Path,
    sync::Arc,
    time::Duration,
};

use dagbok_protocol::{WorkItem, names};
use nix::{fcntl::OFlag, unistd::pipe2};
use tokio::{net::UnixStream, sync::oneshot, time::timeout};

use crate::{
    log::{LiveLog, Pump},
    shared::Shared,
    zygote::{Base, Exited, Launch, Place, PlaceError, Zygote},
};

/// How long a fork may take; a zygote that needs longer is broken.
const FORK_TIMEOUT: Duration = Duration::from_secs(30);
/// How often another zygote is tried where one went away before it had forked.
const ATTEMPTS: usize = 3;

/// A process that is there.
#[derive(Debug)]
pub(crate) struct Launched {
    /// Who forked it.
    pub(crate) zygote: Arc<Zygote>,
    /// Its name there.
    pub(crate) run_key: String,
    /// Its process.
    pub(crate) pid: u32,
    /// Tells its end.
    pub(crate) exited: oneshot::Receiver<Exited>,
    /// Its frames.
    pub(crate) stream: UnixStream,
    /// What is left of the first frame.
    pub(crate) startup: Vec<u8>,
    /// Its output.
    pub(crate) pump: Pump,
    /// The process that was started for it alone, where it is not to share one.
    pub(crate) apart: Option<Base>,
}

/// Forks a process for `item`. With `startup` it may begin at once; without, it waits for that frame.
pub(crate) async fn launch(
    shared: &Shared,
    item: &WorkItem,
    folder: &Path,
    log: &Arc<LiveLog>,
    startup: Option<&[u8]>,
) -> Result<Launched, PlaceError> {
    let pool = shared.pool.as_ref().expect("the Python runner has a pool");
    let mut why = String::new();
    for _ in 0..ATTEMPTS {
        let place = if pool.must_be_apart(&item.file, &item.key) {
            pool.place_apart().await
        } else {
            pool.place(item.bundle.as_str(), folder, &item.file).await
        };
        let launched = match place {
            Ok(place) => fork(shared, item, folder, log, startup, place).await,
            Err(PlaceError::Start(why)) => Err(why),
            Err(error @ PlaceError::Load(_)) => return Err(error),
        };
        match launched {
            Ok(launched) => return Ok(launched),
            Err(again) => {
                tracing::warn!(key = %item.key, why = again, "a try's process was not forked");
                why = again;
            }
        }
    }
    Err(PlaceError::Start(why))
}

async fn fork(
    shared: &Shared,
    item: &WorkItem,
    folder: &Path,
    log: &Arc<LiveLog>,
    startup: Option<&[u8]>,
    place: Place,
) -> Result<Launched, String> {
    let Place { zygote, load_in_child, apart } = place;
    let run_key = format!("{}:{}", names::work_key(&item.key), shared.next_launch());
    let mut env = BTreeMap::new();
    if let Some(traceparent) = &item.traceparent {
        env.insert("TRACEPARENT".to_owned(), traceparent.clone());
    }
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
    let launch = Launch { key: &run_key, env: &env, load, fds };
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
    Ok(Launched { zygote, run_key, pid, exited: heard.exited, stream, startup: rest, pump, apart })
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
