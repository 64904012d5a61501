//! The checkpoint of a task: a directory, filled with what the try before left when it is first asked for, and values.
//!
//! A directory counts once all of its pieces lie beside the log and a report names them: who reads it finds the last
//! whole one. Whoever calls `save` says when the directory is whole, so that stands after a try that ended badly. Of
//! a task that never does, what lies there at the end is kept.
//!
//! Values go with the directory once that is used: a step that is told without its weights would be wrong in the next
//! try, and nothing would say so. Where values are all that a task uses, they are told as they come.
use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use dagbok_events::{Checkpoint as Kept, CheckpointFiles, TryKey};
use dagbok_protocol::{ReportBody, limits::CHECKPOINT_VALUES_BYTES};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    sync::{Notify, OwnedMutexGuard},
    time::{Instant, sleep_until},
};

use super::{Ended, pace::Pace, pieces};
use crate::{log::LiveLog, reports::Reporter, store::Store};

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
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Nothing is told any more.
    over: Notify,
}

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each goes by itself")]
struct Known {
    /// What stands, as far as it was told.
    kept: Kept,
    /// Values that are not told yet.
    untold: BTreeMap<String, Option<String>>,
    /// Those of them that are being told.
    telling: BTreeSet<String>,
    pace: Pace,
    /// Whether the log says that a save had to wait.
    said_to_wait: bool,
    /// Whether somebody is about to tell.
    is_to_tell: bool,
    /// Whether the directory is there.
    is_there: bool,
    /// Whether the task's code asked for the directory itself.
    asked_for_it: bool,
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
        let known = Mutex::new(Known { kept, ..Known::default() });
        let (turn, over) = (Arc::default(), Notify::new());
        Self { key, store, reporter, log, work, folder, known, turn, over }
    }

    /// Where it is, and its values. `asks_for_it` says whether the directory itself is asked for.
    pub(super) async fn open(&self, asks_for_it: bool) -> Result<Value, String> {
        let mut turn = Arc::clone(&self.turn).lock_owned().await;
        let files = {
            let mut known = self.known.lock();
            known.asked_for_it |= asks_for_it;
            (!known.is_there).then(|| known.kept.files.clone().unwrap_or_default())
        };
        if let Some(files) = files {
            turn = self.fill(&files, turn).await?;
            self.known.lock().is_there = true;
        }
        let values = self.known.lock().values();
        drop(turn);
        let path = self.folder.display().to_string();
        Ok(json!({"type": "CheckpointResult", "path": path, "values": values}))
    }

    async fn fill(
        &self,
        files: &CheckpointFiles,
        turn: OwnedMutexGuard<()>,
    ) -> Result<OwnedMutexGuard<()>, String> {
        let why = |error: &dyn std::fmt::Display| {
            format!("what the task kept for this try can't be put back: {error}")
        };
        let owner = std::fs::metadata(&self.work).map_err(|error| why(&error))?;
        let to = (self.folder.as_path(), (owner.uid(), owner.gid()));
        pieces::unpack(&self.store, files, to, turn).await.map_err(|error| why(&error))
    }

    /// Whether values are told with the directory alone: it is used, as far as anybody knows.
    fn is_used(&self) -> bool {
        {
            let known = self.known.lock();
            let had = known.kept.files.as_ref().is_some_and(|files| !files.pieces.is_empty());
            if !known.is_there || known.asked_for_it || known.saved || had {
                return known.is_there;
            }
        }
        // A runner of before does not say what it asks for.
        std::fs::read_dir(&self.folder).is_ok_and(|mut entries| entries.next().is_some())
    }

    /// Keeps the directory as it is now; says whether it did, and why not, or how long it is to wait.
    pub(super) async fn save(&self) -> Value {
        let _turn = self.turn.lock().await;
        if let Some(answer) = self.too_soon() {
            return answer;
        }
        self.known.lock().saving = true;
        let kept = self.keep().await;
        let mut known = self.known.lock();
        known.saving = false;
        known.saved |= kept.is_ok();
        let why = kept.err();
        json!({"type": "CheckpointSaved", "kept": why.is_none(), "why": why})
    }

    fn too_soon(&self) -> Option<Value> {
        let mut known = self.known.lock();
        let now = Instant::now();
        let Some(wait) = known.pace.wait(now) else {
            known.pace.saves(now);
            return None;
        };
        let is_said = std::mem::replace(&mut known.said_to_wait, true);
        drop(known);
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let why =
            format!("the checkpoint was saved often lately: the next save is done in {wait_ms} ms");
        if !is_said {
            let text =
                format!("{why}; whoever saves each step waits, and better saves each minute");
            self.log.system("warning", text);
        }
        Some(json!({"type": "CheckpointSaved", "kept": false, "why": why, "wait_ms": wait_ms}))
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
        let is_known = known.kept.values.contains_key(&key) || known.telling.contains(&key);
        if value.is_none() && !is_known {
            // Nobody has heard of it, so nobody needs to hear that it is gone.
            known.untold.remove(&key);
        } else {
            known.untold.insert(key, value);
        }
        if !known.untold.is_empty() && !std::mem::replace(&mut known.is_to_tell, true) {
            drop(tokio::spawn(Arc::clone(self).tell_in_time()));
        }
        json!({"type": "CheckpointSaved", "kept": true, "why": null})
    }

    async fn tell_in_time(self: Arc<Self>) {
        loop {
            let turn = self.turn.lock().await;
            let due = self.known.lock().pace.due().filter(|due| *due > Instant::now());
            let Some(due) = due else {
                self.known.lock().is_to_tell = false;
                if !self.is_used() {
                    drop(self.tell(None).await);
                }
                return;
            };
            drop(turn);
            tokio::select! {
                () = sleep_until(due) => {}
                () = self.over.notified() => return,
            }
        }
    }

    /// The try's process is gone.
    pub(super) async fn end(&self, how: Ended) {
        let _turn = self.turn.lock().await;
        let is_used = self.is_used();
        let stands = {
            let known = self.known.lock();
            known.saved && !known.saving
        };
        match how {
            Ended::Done | Ended::ByLog => {}
            // With the values that it had: later ones are of a directory that nobody will see.
            Ended::Badly if is_used && stands => {}
            Ended::GoesOn | Ended::Badly if is_used => drop(self.keep().await),
            Ended::GoesOn | Ended::Badly => drop(self.tell(None).await),
        }
        self.known.lock().untold.clear();
        self.over.notify_one();
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
            let mut known = self.known.lock();
            known.telling = known.untold.keys().cloned().collect();
            (files.filter(|files| known.kept.files.as_ref() != Some(files)), known.untold.clone())
        };
        if files.is_none() && values.is_empty() {
            return Ok(());
        }
        let body = ReportBody::Checkpoint { files: files.clone(), values: values.clone() };
        let sent = self.reporter.report(&self.key, body).send().await;
        let mut known = self.known.lock();
        known.telling.clear();
        sent.map_err(|error| error.to_string())?;
        let sizes =
            values.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, String::len));
        let pieces = files.as_ref().map_or(0, |files| files.pieces.len());
        known.pace.told(Instant::now(), sizes.sum(), pieces);
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
mod tests;
