//! A Python process that runs triggers: started, written to, read from, ended.
use std::{collections::VecDeque, io, os::fd::OwnedFd, sync::Arc};

use dagbok_protocol::limits::PAYLOAD_BYTES;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::{
    io::{AsyncWriteExt as _, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    process::Child,
    sync::mpsc,
};

use super::{
    Shared,
    crowd::Event,
    group::GroupNo,
    word::{self, Word},
};
use crate::{
    attempt::wire::{self, Incoming},
    place::base,
};

#[derive(Serialize)]
#[serde(tag = "type")]
enum Body<'a> {
    Begin { folder: Option<&'a str> },
}

/// The way to one process; it is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Process {
    frames: mpsc::UnboundedSender<Vec<u8>>,
    kill: Option<tokio::sync::oneshot::Sender<()>>,
    /// Its id.
    pub(super) pid: u32,
}

impl Process {
    /// Starts one for the bundle in `folder`, in Airflow's Python or ours; what it says comes as events of `group`.
    pub(super) fn start(
        shared: &Arc<Shared>,
        (group, in_airflow): (GroupNo, bool),
        folder: Option<&str>,
        events: mpsc::UnboundedSender<Event>,
    ) -> io::Result<Self> {
        let airflow = shared.settings.airflow.as_ref().filter(|_| in_airflow);
        let exact = airflow.map(|airflow| shared.settings.in_airflow(airflow));
        let own = folder.filter(|_| exact.is_none()).and_then(|folder| shared.settings.of(folder));
        let settings = exact.as_ref().or(own.as_ref()).unwrap_or(&shared.settings);
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, flags)?;
        let (output, child) = base::spawn(settings, "dagbok.runtime.triggerer", theirs, &[])?;
        let words = Arc::new(Mutex::new(VecDeque::new()));
        tokio::spawn(base::listen(output, words, shared.masks.clone()));
        let (reading, writing) = stream_of(ours)?.into_split();
        let (frames, to_write) = mpsc::unbounded_channel();
        drop(frames.send(wire::encode(&(0, Body::Begin { folder }, ()))));
        tokio::spawn(write(writing, to_write));
        let pid = child.id().unwrap_or_default();
        let (kill, killed) = tokio::sync::oneshot::channel();
        tokio::spawn(watch(child, reading, killed, group, events));
        Ok(Self { frames, kill: Some(kill), pid })
    }

    /// Sends a frame; nobody hears it where the process is gone.
    pub(super) fn send(&self, frame: Vec<u8>) {
        drop(self.frames.send(frame));
    }

    /// The way that frames go, for answers that take their time.
    pub(super) fn frames(&self) -> mpsc::UnboundedSender<Vec<u8>> {
        self.frames.clone()
    }

    /// Kills it, if it is not dead.
    pub(super) fn kill(&mut self) {
        if let Some(kill) = self.kill.take() {
            // Dead already, nobody hears it.
            let _ = kill.send(());
        }
    }
}

fn stream_of(socket: OwnedFd) -> io::Result<UnixStream> {
    let stream = std::os::unix::net::UnixStream::from(socket);
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

async fn write(mut socket: OwnedWriteHalf, mut frames: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(frame) = frames.recv().await {
        if socket.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// Hears it until it is dead; then says so.
async fn watch(
    mut child: Child,
    reading: OwnedReadHalf,
    killed: tokio::sync::oneshot::Receiver<()>,
    group: GroupNo,
    events: mpsc::UnboundedSender<Event>,
) {
    tokio::select! {
        () = hear(reading, group, &events) => {}
        // Dropped: the triggerer ends, or the group is not wanted any more.
        _ = killed => {}
    }
    drop(child.start_kill());
    let how = match child.wait().await {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    drop(events.send(Event::Gone(group, how)));
}

async fn hear(reading: OwnedReadHalf, group: GroupNo, events: &mpsc::UnboundedSender<Event>) {
    let mut reading = BufReader::new(reading);
    loop {
        match wire::read(&mut reading).await {
            Ok(Some(Incoming::Request { id, body })) => {
                let (of, kind) = (word::trigger_named(&body), word::kind_named(&body));
                let word = Word::read(id, body).or_else(|| {
                    tracing::warn!(kind, "a triggers' process says what is not understood");
                    let why =
                        format!("its process said `{kind}` of it, which is not understood here");
                    Word::unusable(&kind, of?, why)
                });
                if let Some(word) = word {
                    drop(events.send(Event::Said(group, word)));
                }
            }
            Ok(Some(Incoming::TooLarge { bytes, seen, .. })) => {
                let kind = word::kind_named(&seen);
                tracing::warn!(bytes, kind, "a triggers' process says too much at once");
                let limit = PAYLOAD_BYTES >> 20;
                let why = format!("its `{kind}` has {bytes} bytes; the limit is {limit} MiB");
                let word = word::trigger_named(&seen).and_then(|of| Word::unusable(&kind, of, why));
                if let Some(word) = word {
                    drop(events.send(Event::Said(group, word)));
                }
            }
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "a triggers' process can't be understood any more");
                return;
            }
        }
    }
}
