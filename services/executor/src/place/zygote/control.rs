//! One zygote's control socket: sends words with file descriptors, and hands what comes back to whoever
//! waits for it.
use std::{
    collections::BTreeMap,
    io::{self, IoSlice},
    os::{
        fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::net::UnixDatagram as StdDatagram,
    },
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair,
};
use parking_lot::Mutex;
use tokio::{
    io::Interest,
    net::UnixDatagram,
    sync::{oneshot, watch},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::message::{FromZygote, MESSAGE_BYTES, Ready, ToZygote};
use crate::{
    log::Masks,
    place::{Bounds, Exited},
    raised::Raised,
};

/// The zygote is gone, and with it what would have been said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the zygote process is gone")]
pub(crate) struct Gone;

/// What one try needs to be forked.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    /// Names the try on this socket; never used twice.
    pub(crate) key: &'a str,
    /// Set in the child.
    pub(crate) env: &'a BTreeMap<String, String>,
    /// What the child bounds itself by.
    pub(crate) bounds: &'a Bounds,
    /// Bundle folder and file, where the child itself must load them.
    pub(crate) load: Option<(&'a str, &'a str)>,
    /// Frames, stdout, stderr, logs.
    pub(crate) fds: [BorrowedFd<'a>; 4],
}

/// What will be heard of a try.
#[derive(Debug)]
pub(crate) struct Heard {
    /// Its process, or why there is none.
    pub(crate) forked: oneshot::Receiver<Result<u32, String>>,
    /// Its end.
    pub(crate) exited: oneshot::Receiver<Exited>,
}

#[derive(Debug, Default)]
struct Waiter {
    forked: Option<oneshot::Sender<Result<u32, String>>>,
    exited: Option<oneshot::Sender<Exited>>,
}

#[derive(Debug, Default)]
struct Waiting {
    tries: BTreeMap<String, Waiter>,
    gone: bool,
}

#[derive(Debug)]
struct ControlLine {
    /// A sequenced-packet socket: to tokio it looks like a datagram one, with an end.
    socket: UnixDatagram,
    waiting: Mutex<Waiting>,
    pid: Mutex<Option<u32>>,
    gone: watch::Sender<bool>,
    /// How many tries it had when it went.
    went_with: AtomicUsize,
    masks: Masks,
}

/// A zygote at the other end. Dropping it closes the socket, at which the zygote ends all that it runs.
#[derive(Debug)]
pub(crate) struct Zygote {
    line: Arc<ControlLine>,
    _reader: DropGuard,
}

/// A zygote's first word: ready, or why not.
pub(crate) type FirstWord = oneshot::Receiver<Result<Ready, Raised>>;

impl Zygote {
    /// A fresh pair: ours, and the end to hand to the zygote. The secrets that it tells of go to `masks`.
    pub(crate) fn pair(masks: &Masks) -> io::Result<(Self, FirstWord, OwnedFd)> {
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        let ours = StdDatagram::from(ours);
        ours.set_nonblocking(true)?;
        let line = Arc::new(ControlLine {
            socket: UnixDatagram::from_std(ours)?,
            waiting: Mutex::default(),
            pid: Mutex::default(),
            gone: watch::channel(false).0,
            went_with: AtomicUsize::new(0),
            masks: masks.clone(),
        });
        let (say, first_word) = oneshot::channel();
        let stop = CancellationToken::new();
        tokio::spawn(read(Arc::clone(&line), say, stop.clone()));
        Ok((Self { line, _reader: stop.drop_guard() }, first_word, theirs))
    }

    /// Asks for a fork. What comes of it is heard from what is returned; [`Gone`] where nobody is there.
    pub(crate) async fn launch(&self, launch: Launch<'_>) -> Result<Heard, Gone> {
        let (forked_tx, forked) = oneshot::channel();
        let (exited_tx, exited) = oneshot::channel();
        {
            let mut waiting = self.line.waiting.lock();
            if waiting.gone {
                return Err(Gone);
            }
            let waiter = Waiter { forked: Some(forked_tx), exited: Some(exited_tx) };
            waiting.tries.insert(launch.key.to_owned(), waiter);
        }
        let (bundle_path, file) = launch.load.unzip();
        let Launch { key, env, bounds, .. } = launch;
        let word = ToZygote::Run { key, env, bounds, bundle_path, file };
        if let Err(error) = self.send(&word, &launch.fds).await {
            tracing::warn!(%error, key = launch.key, "a zygote did not take a try");
            self.line.waiting.lock().tries.remove(launch.key);
            return Err(Gone);
        }
        Ok(Heard { forked, exited })
    }

    /// Sends a word with file descriptors.
    pub(crate) async fn send(&self, word: &ToZygote<'_>, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes =
            rmp_serde::to_vec_named(word).expect("words have text keys, and memory does not fail");
        if bytes.len() > MESSAGE_BYTES {
            let why = format!(
                "the message has {} bytes, more than {MESSAGE_BYTES}: the environment is too large",
                bytes.len()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let fds: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let attempt = || {
            let rights = [ControlMessage::ScmRights(&fds)];
            let control: &[ControlMessage<'_>] = if fds.is_empty() { &[] } else { &rights };
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            sendmsg::<()>(
                self.line.socket.as_raw_fd(),
                &[IoSlice::new(&bytes)],
                control,
                flags,
                None,
            )
            .map_err(io::Error::from)
        };
        self.line.socket.async_io(Interest::WRITABLE, attempt).await.map(drop)
    }

    /// Sends a signal to a try's process group; nothing happens where it is over.
    pub(crate) async fn kill(&self, key: &str, signal: nix::sys::signal::Signal) -> io::Result<()> {
        self.send(&ToZygote::Kill { key, signal: signal as i32 }, &[]).await
    }

    /// Whether the other end is gone.
    pub(crate) fn is_gone(&self) -> bool {
        *self.line.gone.borrow()
    }

    /// Waits until the other end is gone.
    pub(crate) async fn gone(&self) {
        let mut gone = self.line.gone.subscribe();
        // An error means that nobody can tell any more: gone as well.
        drop(gone.wait_for(|gone| *gone).await);
    }

    /// How many tries it had when it went away; 0 before.
    pub(crate) fn went_with(&self) -> usize {
        self.line.went_with.load(Ordering::Acquire)
    }

    /// Its process, once it said so.
    pub(crate) fn pid(&self) -> Option<u32> {
        *self.line.pid.lock()
    }

    /// Ends the process the hard way: it does not answer.
    pub(crate) fn destroy(&self) {
        if let Some(pid) = self.pid().filter(|_| !self.is_gone()) {
            kill(pid);
        }
    }
}

/// Kills a zygote, and with it all that it runs.
pub(crate) fn kill(pid: u32) {
    let Ok(raw) = i32::try_from(pid) else { return };
    tracing::warn!(pid, "a zygote is killed");
    // Gone already is as good.
    let _ =
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(raw), nix::sys::signal::Signal::SIGKILL);
}

async fn read(
    line: Arc<ControlLine>,
    say: oneshot::Sender<Result<Ready, Raised>>,
    stop: CancellationToken,
) {
    let mut say = Some(say);
    let mut buffer = vec![0; MESSAGE_BYTES];
    loop {
        let read = tokio::select! {
            () = stop.cancelled() => break,
            read = line.socket.recv(&mut buffer) => read,
        };
        let n = match read {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                tracing::debug!(%error, "a zygote's socket broke");
                break;
            }
        };
        match rmp_serde::from_slice::<FromZygote>(&buffer[..n]) {
            Ok(word) => hear(&line, &mut say, word),
            Err(error) => {
                // What it said may have been a try's end: nobody is to wait for that.
                tracing::error!(%error, bytes = n, "a zygote said what can't be understood, and is ended");
                let pid = *line.pid.lock();
                pid.into_iter().for_each(kill);
                break;
            }
        }
    }
    let tries = {
        let mut waiting = line.waiting.lock();
        waiting.gone = true;
        std::mem::take(&mut waiting.tries)
    };
    line.went_with.store(tries.len(), Ordering::Release);
    line.gone.send_replace(true);
    // Whoever waits hears of it by the senders' end.
    drop((tries, say));
}

fn hear(
    line: &ControlLine,
    say: &mut Option<oneshot::Sender<Result<Ready, Raised>>>,
    word: FromZygote,
) {
    match word {
        FromZygote::Mask { forms } => line.masks.add(forms),
        FromZygote::Ready(ready) => {
            *line.pid.lock() = Some(ready.pid);
            if let Some(say) = say.take() {
                drop(say.send(Ok(ready)));
            }
        }
        FromZygote::LoadFailed { error } => {
            if let Some(say) = say.take() {
                drop(say.send(Err(error)));
            }
        }
        FromZygote::Forked { key, pid } => {
            if let Some(forked) =
                line.waiting.lock().tries.get_mut(&key).and_then(|one| one.forked.take())
            {
                drop(forked.send(Ok(pid)));
            }
        }
        FromZygote::ForkFailed { key, message } => {
            if let Some(forked) = line.waiting.lock().tries.remove(&key).and_then(|one| one.forked)
            {
                drop(forked.send(Err(message)));
            }
        }
        FromZygote::Exited { key, exited } => {
            if let Some(tell) = line.waiting.lock().tries.remove(&key).and_then(|one| one.exited) {
                drop(tell.send(exited));
            }
        }
    }
}
