//! A log up to its end, read and decoded elsewhere than where it is folded.
use std::sync::Arc;

use bytes::Bytes;
use dagbok_events::{DecodeError, Record, decode};
use dagbok_runlog::{Entry, PortResult, ReadLimit, RunLog, Seq};
use tokio::{sync::mpsc, task::spawn_blocking};

/// Batches that wait to be folded, while one more is made.
const WAITING: usize = 2;

/// An entry, and what it says.
#[derive(Debug)]
pub struct Read {
    /// Where it stands.
    pub seq: Seq,
    /// Its bytes.
    pub payload: Bytes,
    /// What it says; an entry that somebody else put there is for [`Skipped`](crate::Skipped) to know.
    pub record: Result<Record, DecodeError>,
}

/// Reads a log, and decodes its entries, while whoever takes them folds those before.
#[derive(Debug)]
pub struct ReadAhead {
    batches: mpsc::Receiver<PortResult<Vec<Read>>>,
}

impl ReadAhead {
    /// From the entry behind `after` up to the end of the log as it is found there.
    pub fn start(log: Arc<dyn RunLog>, after: Seq) -> Self {
        let (made, batches) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            let mut seen = after;
            loop {
                let read = log.read(seen, ReadLimit::default()).await;
                let batch = match read {
                    Ok(entries) => {
                        let Some(last) = entries.last() else { return };
                        seen = last.seq;
                        let work = move || entries.into_iter().map(Read::of).collect();
                        Ok(spawn_blocking(work).await.expect("decoding does not panic"))
                    }
                    Err(error) => Err(error),
                };
                let failed = batch.is_err();
                // Nobody takes it: what was looked for is found, or can't be.
                if made.send(batch).await.is_err() || failed {
                    return;
                }
            }
        });
        Self { batches }
    }

    /// The next entries in order; `None` at the log's end, and behind an error.
    pub async fn next(&mut self) -> PortResult<Option<Vec<Read>>> {
        self.batches.recv().await.transpose()
    }
}

impl Read {
    fn of(entry: Entry) -> Self {
        let Entry { seq, payload, .. } = entry;
        let record = decode(&payload);
        Self { seq, payload, record }
    }
}
