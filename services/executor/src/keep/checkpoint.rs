//! The checkpoint of a task: a directory, filled with what the try before left when it is first asked for, and values.
//!
//! A directory counts once all of its pieces lie beside the log and a report names them: who reads it finds the last
//! whole one. Whoever calls `save` says when the directory is whole, so that stands after a try that ended badly. Of
//! a task that never does, what lies there at the end is kept.
use std::{
    collections::BTreeMap,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use dagbok_events::{Checkpoint as Kept, CheckpointFiles, TryKey};
use dagbok_protocol::{ReportBody, limits::CHECKPOINT_VALUES_BYTES};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::{Ended, pieces};
use crate::{log::LiveLog, reports::Reporter, store::Store};

/// Values that change more often are told together.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// One try's.
#[derive(Debug)]
pub(super) struct Checkpoint {
    key: TryKey,
    store: Store,
    reporter: Reporter,
    log: Arc<LiveLog>,
    /// The working directory of the try: whose that is, the checkpoint is.
    work: PathBuf,
    folder: PathBuf,
    known: Mutex<Known>,
    /// Who fills, keeps or tells does so alone.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Known {
    /// What stands, as far as it was told.
    kept: Kept,
    /// Values that are not told yet.
    untold: BTreeMap<String, Option<String>>,
    told_at: Option<Instant>,
    /// Whether somebody is about to tell.
    is_to_tell: bool,
    /// Whether the directory is there.
    is_there: bool,
    /// Whether the task's code asked to keep it, and it was kept.
    saved: bool,
    /// Whether it is being kept because the code asked.
    saving: bool,
}

impl Known {
    /// The values as the task has them.
    fn values(&self) -> BTreeMap<String, String> {
        let mut values = self.kept.values.clone();
        for (key, value) in &self.untold {
            match value {
                Some(value) => drop(values.insert(key.clone(), value.clone())),
                None => drop(values.remove(key)),
            }
        }
        values
    }
}

impl Checkpoint {
    pub(super) fn new(
        (key, kept): (TryKey, Kept),
        (store, reporter, log): (Store, Reporter, Arc<LiveLog>),
        (work, folder): (PathBuf, PathBuf),
    ) -> Self {
        let known = Known {
            kept,
            untold: BTreeMap::new(),
            told_at: None,
            is_to_tell: false,
            is_there: false,
            saved: false,
            saving: false,
        };
        let turn = tokio::sync::Mutex::default();
        Self { key, store, reporter, log, work, folder, known: Mutex::new(known), turn }
    }

    /// Where it is, and its values.
    pub(super) async fn open(&self) -> Result<Value, String> {
        let _turn = self.turn.lock().await;
        let files = {
            let known = self.known.lock();
            (!known.is_there).then(|| known.kept.files.clone().unwrap_or_default())
        };
        if let Some(files) = files {
            self.fill(&files).await?;
            self.known.lock().is_there = true;
        }
        let values = self.known.lock().values();
        let path = self.folder.display().to_string();
        Ok(json!({"type": "CheckpointResult", "path": path, "values": values}))
    }

    async fn fill(&self, files: &CheckpointFiles) -> Result<(), String> {
        let why = |error: &dyn std::fmt::Display| {
            format!("what the task kept for this try can't be put back: {error}")
        };
        let owner = std::fs::metadata(&self.work).map_err(|error| why(&error))?;
        let owner = (owner.uid(), owner.gid());
        pieces::unpack(&self.store, files, &self.folder, owner).await.map_err(|error| why(&error))
    }

    /// Keeps the directory as it is now; says whether it did, and why not.
    pub(super) async fn save(&self) -> Value {
        let _turn = self.turn.lock().await;
        self.known.lock().saving = true;
        let kept = self.keep().await;
        let mut known = self.known.lock();
        known.saving = false;
        known.saved |= kept.is_ok();
        let why = kept.err();
        json!({"type": "CheckpointSaved", "kept": why.is_none(), "why": why})
    }

    /// Takes a value in, or away; says whether it did, and why not.
    pub(super) fn set(self: &Arc<Self>, key: String, value: Option<String>) -> Value {
        let mut known = self.known.lock();
        let mut all = known.values();
        all.insert(key.clone(), value.clone().unwrap_or_default());
        if value.is_some()
            && let Some(bytes) = too_many(&all)
        {
            let why = format!(
                "the value `{key}` of the checkpoint is not kept: with it its values have {bytes} bytes of JSON, and the \
                 limit is {CHECKPOINT_VALUES_BYTES}"
            );
            drop(known);
            self.log.system("warning", why.clone());
            return json!({"type": "CheckpointSaved", "kept": false, "why": why});
        }
        known.untold.insert(key, value);
        if !std::mem::replace(&mut known.is_to_tell, true) {
            let due = known.told_at.map_or_else(Instant::now, |told| told + TELL_EVERY);
            drop(tokio::spawn(Arc::clone(self).tell_at(due)));
        }
        json!({"type": "CheckpointSaved", "kept": true, "why": null})
    }

    async fn tell_at(self: Arc<Self>, due: Instant) {
        sleep_until(due).await;
        let _turn = self.turn.lock().await;
        self.known.lock().is_to_tell = false;
        drop(self.tell(None).await);
    }

    /// The try's process is gone.
    pub(super) async fn end(&self, how: Ended) {
        let _turn = self.turn.lock().await;
        let (is_there, whole) = {
            let known = self.known.lock();
            (known.is_there, !known.saved || known.saving)
        };
        let keeps = match how {
            Ended::Done | Ended::ByLog => return self.known.lock().untold.clear(),
            Ended::GoesOn => is_there,
            Ended::Badly => is_there && whole,
        };
        drop(if keeps { self.keep().await } else { self.tell(None).await });
    }

    /// Packs the directory, and says what it came to. Where it can't be kept, the log says so, and what was kept
    /// before stands.
    async fn keep(&self) -> Result<(), String> {
        let packed = pieces::pack(&self.store, &self.folder).await;
        let kept = match packed {
            Ok(files) => self.tell(Some(files)).await,
            Err(why) => Err(why),
        };
        kept.map_err(|why| {
            let stands = match &self.known.lock().kept.files {
                Some(files) => format!("the one before, of {} bytes, stands", files.bytes),
                None => "there is none before it".to_owned(),
            };
            let why = format!("the checkpoint is not kept: {why}; {stands}");
            self.log.system("warning", why.clone());
            why
        })
    }

    /// Reports what changed: the directory, where it is another, and values.
    async fn tell(&self, files: Option<CheckpointFiles>) -> Result<(), String> {
        let (files, values) = {
            let known = self.known.lock();
            (files.filter(|files| known.kept.files.as_ref() != Some(files)), known.untold.clone())
        };
        if files.is_none() && values.is_empty() {
            return Ok(());
        }
        let body = ReportBody::Checkpoint { files: files.clone(), values: values.clone() };
        let sent = self.reporter.report(&self.key, body).send().await;
        sent.map_err(|error| error.to_string())?;
        let mut known = self.known.lock();
        known.told_at = Some(Instant::now());
        if files.is_some() {
            known.kept.files = files;
        }
        for (key, value) in values {
            // It may be another by now.
            if known.untold.get(&key) == Some(&value) {
                known.untold.remove(&key);
            }
            match value {
                Some(value) => drop(known.kept.values.insert(key, value)),
                None => drop(known.kept.values.remove(&key)),
            }
        }
        Ok(())
    }
}

/// Where the checkpoint of a try lies: beside its working directory, which is the task's own.
pub(crate) fn beside(work: &Path) -> PathBuf {
    work.with_extension("checkpoint")
}

/// How many bytes values have with their keys, where they are more than a checkpoint may have.
fn too_many(all: &BTreeMap<String, String>) -> Option<usize> {
    let bytes = all.iter().map(|(key, value)| key.len() + value.len()).sum();
    (bytes > CHECKPOINT_VALUES_BYTES).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_a_checkpoint_have_so_many_bytes() {
        let of = |bytes: usize| {
            let one = ("step".to_owned(), "7".to_owned());
            too_many(&BTreeMap::from([one, ("x".to_owned(), "y".repeat(bytes - 6))]))
        };
        assert_eq!(of(CHECKPOINT_VALUES_BYTES), None);
        assert_eq!(of(CHECKPOINT_VALUES_BYTES + 1), Some(CHECKPOINT_VALUES_BYTES + 1));
    }
}
