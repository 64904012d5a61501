//! Moves what a try's processes write into its log, and has the log stored as soon as it may be whole.
use std::{io, os::fd::OwnedFd, sync::Arc, time::Duration};

use tokio::{
    net::unix::pipe,
    task::{JoinHandle, coop::consume_budget},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{LiveLog, LogSource, split::Splitter};
use crate::{
    phase::{Phase, PhaseReader},
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
            // What comes seldom goes first, and every pipe gets its turn, so that a try which floods one of
            // them delays neither its own records in another nor its end.
            tokio::select! {
                biased;
                now = phase.next() => match now {
                    Phase::Said if early.is_none() => {
                        self.take_all(&mut buffer);
                        early = self.store_early(&store);
                    }
                    Phase::Exited => deadline = Some(Instant::now() + EOF_GRACE),
                    Phase::Said | Phase::Waiting | Phase::Running => {}
                },
                () = at(deadline) => {
                    self.take_all(&mut buffer);
                    break;
                }
                _ = spill.tick() => self.spill().await,
                () = readable(out) => self.take_turns(&mut buffer),
                () = readable(err) => self.take_turns(&mut buffer),
                () = readable(log) => self.take_turns(&mut buffer),
            }
            consume_budget().await;
            if self.log.is_heavy() {
                self.spill().await;
            }
        }
        for Pipe { source, splitter, .. } in &mut self.pipes {
            self.log.read(*source, |each| splitter.finish(each));
        }
        early
    }

    /// Reads at most [`CHUNK`] from each pipe. One that is not readable costs no call of the system.
    fn take_turns(&mut self, buffer: &mut [u8]) {
        for which in 0..self.pipes.len() {
            self.read(which, buffer);
        }
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

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write as _};

    use dagbok_runlog::memory;
    use dagbok_runtime::Clock;
    use nix::unistd::pipe;

    use super::*;
    use crate::phase::PhaseTeller;

    /// A pump of a try that has filled stdout to its brim with empty lines, which are many times as long in
    /// the log, and has closed its pipes.
    async fn flooded(log: &Arc<LiveLog>) -> Pump {
        let [stdout, stderr, records] = [pipe(), pipe(), pipe()].map(Result::unwrap);
        let write = |to: OwnedFd, what: &[u8]| File::from(to).write_all(what).unwrap();
        write(stdout.1, &vec![b'\n'; 2 * CHUNK]);
        write(stderr.1, b"a word\n");
        write(records.1, b"a record\n");
        let pump = Pump::new(Arc::clone(log), stdout.0, stderr.0, records.0).unwrap();
        for pipe in &pump.pipes {
            readable(pipe).await;
        }
        pump
    }

    fn store() -> Store {
        Store::new(memory::ports().blobs)
    }

    #[tokio::test]
    async fn a_flood_of_one_pipe_leaves_the_others_their_turn() {
        let folder = tempfile::tempdir().unwrap();
        let log = Arc::new(LiveLog::new(folder.path().join("log.jsonl"), Clock::system()));
        let phase = PhaseTeller::new(Phase::Running);
        flooded(&log).await.run(phase.reader(), store()).await;
        let whole = String::from_utf8(log.whole().unwrap().to_vec()).unwrap();
        let lines: Vec<_> = whole.lines().collect();
        assert_eq!(lines.len(), 2 * CHUNK + 2);
        let others = &lines[CHUNK..CHUNK + 2];
        assert!(others[0].contains("a word") && others[1].contains("a record"), "{others:?}");
    }

    #[tokio::test]
    async fn what_the_process_says_is_heard_before_a_flood_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let log = Arc::new(LiveLog::new(folder.path().join("log.jsonl"), Clock::system()));
        let phase = PhaseTeller::new(Phase::Said);
        let early = flooded(&log).await.run(phase.reader(), store()).await;
        let early = early.expect("it was stored before anything went to the disk");
        assert_eq!(early.bytes, log.extent().bytes, "all that was in the pipes when it was said");
    }
}
