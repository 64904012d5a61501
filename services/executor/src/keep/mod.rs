//! What a task keeps for its next try, and what it says of how far it has come: asked for by its process, and seen
//! to by this executor, which outlives it.
mod archive;
mod checkpoint;
#[cfg(test)]
mod heard;
mod pace;
mod pieces;
mod progress;

use std::{path::Path, sync::Arc};

use dagbok_protocol::WorkItem;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

pub(crate) use self::{archive::half_of, checkpoint::beside};
use self::{checkpoint::Checkpoint, progress::Progress};
use crate::{log::LiveLog, reports::Reporter, store::Store};

/// An answer: a body, nothing, or an error with its code.
type Reply = Result<Value, (&'static str, String)>;

/// Both, of one try.
#[derive(Debug)]
pub(crate) struct Keeps {
    checkpoint: Arc<Checkpoint>,
    progress: Arc<Progress>,
}

#[derive(Deserialize)]
struct GetCheckpoint {
    /// Whether the task's code asks for the directory itself, and not for values alone.
    #[serde(default)]
    directory: bool,
}

#[derive(Deserialize)]
struct SetCheckpointValue {
    key: String,
    /// JSON text; none takes the value away.
    #[serde(default)]
    value: Option<String>,
}

#[derive(Deserialize)]
struct SetProgress {
    /// From 0 to 1.
    fraction: f64,
    #[serde(default)]
    text: Option<String>,
}

impl Keeps {
    /// Nothing asked yet. `work` is the try's working directory, `folder` where its checkpoint is to lie.
    pub(crate) fn new(
        item: &WorkItem,
        (store, reporter, log): (&Store, &Reporter, &Arc<LiveLog>),
        (work, folder): (&Path, &Path),
    ) -> Self {
        let before = item.checkpoint.as_deref().cloned().unwrap_or_default();
        let checkpoint = Checkpoint::new(
            (item.key.clone(), before),
            (store.clone(), reporter.clone(), Arc::clone(log)),
            (work.to_owned(), folder.to_owned()),
        );
        let progress = Progress::new(item.key.clone(), reporter.clone());
        Self { checkpoint: Arc::new(checkpoint), progress: Arc::new(progress) }
    }

    /// Whether `kind` is asked here.
    pub(crate) fn is_asked(kind: &str) -> bool {
        matches!(kind, "GetCheckpoint" | "SaveCheckpoint" | "SetCheckpointValue" | "SetProgress")
    }

    /// The answer to what is asked here.
    pub(crate) async fn answer(
        &self,
        kind: &str,
        body: Map<String, Value>,
        log: &LiveLog,
    ) -> Reply {
        match kind {
            "GetCheckpoint" => {
                let GetCheckpoint { directory } = fields(body)?;
                self.checkpoint.open(directory).await.map_err(generic)
            }
            "SaveCheckpoint" => Ok(self.checkpoint.save().await),
            "SetCheckpointValue" => {
                let SetCheckpointValue { key, value } = fields(body)?;
                Ok(self.checkpoint.set(key, value))
            }
            _ => {
                let SetProgress { fraction, text } = fields(body)?;
                if !(0.0..=1.0).contains(&fraction) {
                    return Err(generic(format!(
                        "progress goes from 0 to 1, and {fraction} is not"
                    )));
                }
                self.progress.say(fraction, &log.masks().text(text.unwrap_or_default()));
                Ok(Value::Null)
            }
        }
    }

    /// The try's process is gone: what it said last is told, and its directory kept as `how` has it. Nothing of it
    /// is said afterwards.
    pub(crate) async fn end(&self, how: Ended) {
        self.progress.end(how != Ended::ByLog).await;
        self.checkpoint.end(how).await;
    }
}

/// What the end of a leg makes of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The task is done: nothing follows that needs it.
    Done,
    /// The same try goes on later, from what lies there.
    GoesOn,
    /// It failed, or its process was ended: perhaps in the middle of a file.
    Badly,
    /// It was over by the log before: what it says is refused.
    ByLog,
}

fn fields<T: DeserializeOwned>(body: Map<String, Value>) -> Result<T, (&'static str, String)> {
    serde_json::from_value(Value::Object(body))
        .map_err(|error| generic(format!("the request is not understood: {error}")))
}

fn generic(why: String) -> (&'static str, String) {
    ("GENERIC_ERROR", why)
}
