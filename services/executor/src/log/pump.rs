//! Moves what a try's processes write into its log, and has the log stored as soon as it may be whole.
use std::{io, os::fd::OwnedFd, sync::Arc, time::Duration};

use tokio::{
    net::unix::pipe,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{LiveLog, LogSource, split::Splitter};
use crate::{
    attempt::{Phase, PhaseReader},
    store::Store,
};

/// How often what is in memory only goes to the disk, so that a killed executor leaves the log behind.
const SPILL_EVERY: Duration = Duration::from_millis(250);
/// How long after the process' end its pipes may stay open in somebody else's hands.
const EOF_GRACE: Duration = Duration::from_millis(250);
/// Read at once.
const CHUNK: usize = 32 << 10;

#[derive(Debug)]
struct Pipe {
    source: LogSource,
    receiver: Option<pipe::Receiver>,
    splitter: Splitter,
}

/// A log put to the blobs before the process had ended: right if nothing was added since.
#[derive(Debug)]
pub(crate) struct Early {
    /// How long the log was.
    pub(crate) bytes: u64,
    /// The upload.
    pub(crate) stored: JoinHandle<Result<String, String>>,
}

/// The three pipes of a try.
#[derive(Debug)]
pub(crate) struct Pump {
    log: Arc<LiveLog>,
    pipes: [Pipe; 3],
}

impl Pump {
    /// Takes the reading ends.
    pub(crate) fn new(
        log: Arc<LiveLog>,
        stdout: OwnedFd,
        stderr: OwnedFd,
        logs: OwnedFd,
    ) -> io::Result<Self> {
        let pipe = |source, fd| {
            let receiver = Some(pipe::Receiver::from_owned_fd(fd)?);
            Ok::<_, io::Error>(Pipe { source, receiver, splitter: Splitter::default() })
        };
        let pipes = [
            pipe(LogSource::Stdout, stdout)?,
            pipe(LogSource::Stderr, stderr)?,
            pipe(LogSource::Log, logs)?,
        ];
        Ok(Self { log, pipes })
    }

    /// Reads until all pipes are closed, or shortly after the process' end.
    pub(crate) async fn run(mut self, mut phase: PhaseReader, store: Store) -> Option<Early> {
        let mut early = None;
        let mut buffer = vec![0; CHUNK];
        let mut spill = interval(SPILL_EVERY);
        spill.set_missed_tick_behavior(MissedTickBehavior::Delay);
        spill.reset();
        let mut deadline: Option<Instant> = None;
        while self.pipes.iter().any(|pipe| pipe.receiver.is_some()) {
            let [out, err, log] = &self.pipes;
            tokio::select! {
                biased;
                () = readable(out) => drop(self.read(0, &mut buffer)),
                () = readable(err) => drop(self.read(1, &mut buffer)),
                () = readable(log) => drop(self.read(2, &mut buffer)),
                now = phase.next() => match now {
                    Phase::Said if early.is_none() => {
                        self.take_all(&mut buffer);
                        early = self.store_early(&store);
                    }
                    Phase::Exited => deadline = Some(Instant::now() + EOF_GRACE),
                    Phase::Said | Phase::Waiting | Phase::Running => {}
                },
                _ = spill.tick() => self.spill().await,
                () = at(deadline) => {
                    self.take_all(&mut buffer);
                    break;
                }
            }
            if self.log.is_heavy() {
                self.spill().await;
            }
        }
        for Pipe { source, splitter, .. } in &mut self.pipes {
            self.log.read(*source, |each| splitter.finish(each));
        }
        early
    }

    /// Reads all that is there in all pipes, up to what they hold.
    fn take_all(&mut self, buffer: &mut [u8]) {
        for which in 0..self.pipes.len() {
            for _ in 0..64 {
                if !self.read(which, buffer) {
                    break;
                }
            }
        }
    }

    fn read(&mut self, which: usize, buffer: &mut [u8]) -> bool {
        let pipe = &mut self.pipes[which];
        let Some(receiver) = &pipe.receiver else { return false };
        match receiver.try_read(buffer) {
            Ok(0) => {
                pipe.receiver = None;
                false
            }
            Ok(n) => {
                self.log.read(pipe.source, |each| pipe.splitter.feed(&buffer[..n], each));
                true
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                false
            }
            Err(_) => {
                pipe.receiver = None;
                false
            }
        }
    }

    fn store_early(&self, store: &Store) -> Option<Early> {
        let whole = self.log.in_memory().filter(|whole| !whole.is_empty())?;
        let bytes = whole.len() as u64;
        let store = store.clone();
        Some(Early { bytes, stored: tokio::spawn(async move { store.put(whole).await }) })
    }

    async fn spill(&self) {
        let log = Arc::clone(&self.log);
        drop(tokio::task::spawn_blocking(move || log.spill()).await);
    }
}

async fn readable(pipe: &Pipe) {
    match &pipe.receiver {
        // An error shows again when reading.
        Some(receiver) => drop(receiver.readable().await),
        None => std::future::pending().await,
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
