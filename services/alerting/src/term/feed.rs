//! The run log, decoded, as batches that the loop takes in its turn.
use std::sync::Arc;

use dagbok_alerts::Watch;
use dagbok_projection::{
    Checkpoint, Decoded, FollowError, Pace, Progress, Projection, ProjectionError, follow,
};
use dagbok_runlog::Seq;
use dagbok_runtime::Shutdown;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::Parts;

/// Follows the run log until the term's end.
#[derive(Debug)]
pub(crate) struct Feed {
    batches: mpsc::Receiver<Vec<Decoded>>,
    task: JoinHandle<Result<(), FollowError>>,
}

impl Feed {
    pub(crate) fn start(parts: &Parts, from: &Watch, end: &Shutdown) -> Self {
        let (out, batches) = mpsc::channel(4);
        let seq = Seq(from.last_seq());
        let handing = Handing { seq, out };
        let log = Arc::clone(&parts.run_log);
        let following = follow(log, handing, Progress::at(seq), Pace::default(), end);
        Self { batches, task: following.task }
    }

    /// The next batch; `None` once there can be none.
    pub(crate) async fn next(&mut self) -> Option<Vec<Decoded>> {
        self.batches.recv().await
    }

    /// Why there are no more.
    pub(crate) async fn why(&mut self) -> FollowError {
        match (&mut self.task).await {
            Ok(Err(error)) => error,
            Ok(Ok(())) => FollowError::Panicked("the follow ended unasked".to_owned()),
            Err(panic) => FollowError::Panicked(panic.to_string()),
        }
    }
}

/// Hands batches on.
struct Handing {
    seq: Seq,
    out: mpsc::Sender<Vec<Decoded>>,
}

impl Projection for Handing {
    fn checkpoint(&self) -> Checkpoint {
        Checkpoint { seq: self.seq, position: None }
    }

    fn apply(&mut self, entries: &[Decoded]) -> Result<(), ProjectionError> {
        if let Some(last) = entries.last() {
            self.seq = last.seq;
        }
        self.out.blocking_send(entries.to_vec()).map_err(|_| ProjectionError::new("the term ended"))
    }
}
