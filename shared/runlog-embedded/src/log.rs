//! The run log that the writer's thread keeps.
use std::{
    fs::File,
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
};

use async_trait::async_trait;
use dagbok_runlog::{
    AppendError, Base, Chain, Draft, Entry, LogMark, PortError, PortResult, ReadLimit, RunLog, Seq,
    limits::{MAX_PAYLOAD, check_payload, check_subject},
};
use futures::stream::{self, BoxStream, StreamExt as _};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot, watch,
};

use crate::{
    OpenError, OpenReport, Options,
    disk::Disk,
    frame::{self, Frame},
    lock::{self, Held},
    read, recover,
    trim::Trimmer,
    view::View,
    writer::{Request, Writer},
};

/// Appends that may wait for the writer; one more is turned away, to be tried again.
const WAITING: usize = 4_096;

/// A log in segment files, open for writing; dropping it waits for the writer's last answer.
#[derive(Debug)]
pub struct EmbeddedLog {
    view: Arc<RwLock<View>>,
    durable: watch::Receiver<u64>,
    trimmer: Arc<Trimmer>,
    /// `None` only while it is dropped.
    requests: Option<mpsc::Sender<Request>>,
    writer: Option<JoinHandle<()>>,
    /// Let go of last, when nothing writes any more.
    _lock: File,
}

impl EmbeddedLog {
    pub(crate) fn open(
        lock: File,
        disk: Arc<dyn Disk>,
        home: &Path,
        options: Options,
    ) -> Result<(Self, OpenReport), OpenError> {
        let dir = &home.join("log");
        let mut found = recover::look(dir)?;
        recover::repair(&*disk, dir, &mut found)?;
        let (durable_sender, durable) = watch::channel(found.view.last());
        let view = Arc::new(RwLock::new(found.view));
        let (requests, receiver) = mpsc::channel(WAITING);
        let bytes = options.segment_bytes;
        let (to_trim, turn) = (Arc::clone(&disk), Mutex::default());
        let trimmer = Arc::new(Trimmer { disk: to_trim, dir: dir.clone(), turn });
        let begun = || {
            let held = Held { file: lock.try_clone()?, path: lock::path(home) };
            Writer::new(disk, dir, bytes, Arc::clone(&view), durable_sender, held)
        };
        let writer = begun().map_err(|source| OpenError::io("open a segment in", dir, source))?;
        let spawned = thread::Builder::new()
            .name("dagbok-log".to_owned())
            .spawn(move || writer.run(receiver))
            .map_err(|source| OpenError::io("start a thread to write", dir, source))?;
        let (requests, writer) = (Some(requests), Some(spawned));
        Ok((Self { view, durable, trimmer, requests, writer, _lock: lock }, found.report))
    }
}

#[async_trait]
impl RunLog for EmbeddedLog {
    async fn append(&self, expected: Seq, drafts: Vec<Draft>) -> Result<Seq, AppendError> {
        let (entries, frames) = encode(expected, drafts)?;
        if entries.is_empty() {
            return Ok(expected);
        }
        let (answer, answered) = oneshot::channel();
        let requests = self.requests.as_ref().expect("it is there until the drop");
        let stopped = "its writer has stopped; start again";
        // Never waiting for room: tokio wakes who waits in no order, and appends keep theirs.
        let sent = requests.try_send(Request { expected, entries, frames, answer });
        sent.map_err(|error| match error {
            TrySendError::Full(_) => {
                let why = format!("the disk is {WAITING} appends behind; try again");
                PortError::unavailable("log", why)
            }
            TrySendError::Closed(_) => PortError::unavailable("log", stopped),
        })?;
        answered.await.map_err(|_| PortError::unavailable("log", stopped))?
    }

    async fn read(&self, after: Seq, limit: ReadLimit) -> PortResult<Vec<Entry>> {
        read::read(&self.view, after, limit).await
    }

    async fn read_subject(&self, subject: &str, until: Seq) -> PortResult<Vec<Entry>> {
        read::on_subject(&self.view, subject, until).await
    }

    async fn last(&self) -> PortResult<Seq> {
        Ok(Seq(self.view.read().last()))
    }

    fn follow(&self, after: Seq) -> BoxStream<'static, PortResult<Vec<Entry>>> {
        let (view, durable) = (Arc::clone(&self.view), self.durable.clone());
        stream::unfold(Some((view, durable, after)), |following| async move {
            let (view, mut durable, after) = following?;
            let more = durable.wait_for(|last| *last > after.0).await.map(|_| ());
            if more.is_err() {
                let closed = PortError::unavailable("log", "it was closed");
                return Some((Err(closed), None));
            }
            match read::read(&view, after, ReadLimit::default()).await {
                Ok(entries) => {
                    let seen = entries.last().map_or(after, |entry| entry.seq);
                    Some((Ok(entries), Some((view, durable, seen))))
                }
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    async fn base(&self) -> PortResult<Base> {
        Ok(self.view.read().base())
    }

    async fn mark(&self) -> PortResult<Option<LogMark>> {
        read::mark(&self.view).await
    }

    async fn trim(&self, below: Seq, chain: Chain) -> PortResult<Base> {
        let Some(mark) = self.mark().await? else { return Ok(Base::START) };
        let (trimmer, view) = (Arc::clone(&self.trimmer), Arc::clone(&self.view));
        let work = tokio::task::spawn_blocking(move || trimmer.trim(&view, mark, below, chain));
        work.await.unwrap_or_else(|error| Err(PortError::unavailable("log", error)))
    }

    fn max_payload(&self) -> usize {
        MAX_PAYLOAD
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the log's writer panicked");
        }
    }
}

/// The entries that drafts become after `expected`, and their frames; checks them first.
///
/// Done by whoever appends, so that the writer only copies: the places are known, as an append that
/// is wrong about `expected` is refused.
fn encode(expected: Seq, drafts: Vec<Draft>) -> PortResult<(Vec<Entry>, Vec<u8>)> {
    for draft in &drafts {
        check_subject("log", &draft.subject)?;
        check_payload("log", &draft.subject, draft.payload.len())?;
    }
    let sizes = drafts.iter().map(|draft| frame::size(&draft.subject, &draft.payload));
    let mut frames = Vec::with_capacity(sizes.sum());
    let mut seq = expected.0;
    let mut entries = Vec::with_capacity(drafts.len());
    for Draft { subject, payload } in drafts {
        // An absurd `expected` is refused as a conflict, not here.
        seq = seq.wrapping_add(1);
        frame::encode(&mut frames, Frame { seq, subject: &subject, payload: &payload });
        entries.push(Entry { seq: Seq(seq), subject, payload });
    }
    Ok((entries, frames))
}
