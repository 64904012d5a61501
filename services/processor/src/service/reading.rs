//! Which files are read when, and what becomes of a reading.
use std::{collections::BTreeSet, sync::Arc, time::Duration};

use dagbok_runtime::Shutdown;
use tokio::{
    task::Id,
    time::{Instant, timeout},
};

use super::{
    Done, Service,
    file_state::{FileState, Why},
    inputs::Inputs,
};
use crate::{ParsedFile, candidate::Kind, parser::parse};

/// How long the end of processes that are given up is waited for.
const LAST_LOOK: Duration = Duration::from_secs(5);

impl Service {
    /// Parses what needs it. What is read must be what is published, so that where the bundle is of other
    /// data the folder is walked, and packed, first.
    pub(super) fn start_jobs(&mut self) {
        if self.must_walk {
            return;
        }
        let now = Instant::now();
        let startable = self.startable(now);
        if self.bundle.rests_at(&self.snapshot) {
            if !startable.is_empty() {
                self.wake_at = now;
                return;
            }
        } else if !self.bundle.is_of(&self.snapshot) {
            return;
        }
        for (file, why) in startable {
            self.start_job(file, why);
        }
        self.make_room(now);
        // What is due and found no room is started when another ends.
        let again = self.files.iter().flat_map(|(name, state)| {
            [state.retry_at(), state.rests_until(self.snapshot.hash_of(name))]
        });
        let again = again.flatten().filter(|at| *at > now);
        let next = again.chain(self.bundle.rests_until()).min();
        self.wake_at = next.map_or(self.wake_at, |at| at.min(self.wake_at));
    }

    /// What is to be read now, as far as there is room; what changed comes first, and of what is only tried
    /// again one at a time, so that files that take their whole timeout are in nobody's way.
    pub(super) fn startable(&self, now: Instant) -> Vec<(String, Why)> {
        let mut retries = self.due(Why::Retry, now);
        if self.files.values().any(|state| state.reading() == Some(Why::Retry)) {
            retries.clear();
        }
        retries.truncate(1);
        let changed = self.due(Why::Changed, now).into_iter().map(|file| (file, Why::Changed));
        let due = changed.chain(retries.into_iter().map(|file| (file, Why::Retry)));
        due.take(self.room()).collect()
    }

    fn room(&self) -> usize {
        self.settings.parsers.saturating_sub(self.jobs.len())
    }

    /// What changed does not wait for what is only tried again.
    fn make_room(&mut self, now: Instant) {
        if self.room() == 0 && !self.due(Why::Changed, now).is_empty() {
            // At most one is.
            let _ = self.files.values_mut().any(FileState::put_off);
        }
    }

    /// Ends all readings, with all that they started.
    pub(super) async fn give_up(&mut self) {
        self.files.values_mut().for_each(FileState::give_up);
        let ended = async { while self.jobs.join_next().await.is_some() {} };
        if timeout(LAST_LOOK, ended).await.is_err() {
            self.jobs.shutdown().await;
        }
    }

    fn due(&self, why: Why, now: Instant) -> Vec<String> {
        let due = self
            .files
            .iter()
            .filter(|(name, state)| state.due(name, &self.snapshot, now) == Some(why));
        due.map(|(name, _)| name.clone()).collect()
    }

    fn start_job(&mut self, file: String, why: Why) {
        tracing::debug!(file, ?why, "a DAG file is read");
        let (name, snapshot) = (file.clone(), Arc::clone(&self.snapshot));
        let text = snapshot.hash_of(&file);
        let (python, folder) = (self.settings.python.clone(), self.settings.folder.clone());
        let within = self.settings.parse_timeout;
        let is_zip = snapshot.files.get(&file).is_some_and(|facts| facts.kind == Kind::ZipPackage);
        let give_up = Shutdown::new();
        let told = give_up.clone();
        let job = self.jobs.spawn(async move {
            let parsed = if is_zip {
                Some(refuse_zip(&file))
            } else {
                parse(&python, &folder, &file, within, &told).await
            };
            Done { file, snapshot, parsed }
        });
        self.files.entry(name).or_default().begin(why, text, job.id(), give_up);
    }

    /// Takes a finished parse over, and tells of it where it says something new.
    pub(super) async fn settle(&mut self, job: Id, done: Done) {
        let Done { file, snapshot, parsed } = done;
        let Some(mut parsed) = parsed else { return };
        let Some(state) = self.files.get_mut(&file) else { return };
        let Some(why) = state.end(job) else { return };
        let inputs = Inputs::of(&parsed, &snapshot);
        let until = state.rests_until(self.snapshot.hash_of(&file));
        let rest = until.map(|until| until.saturating_duration_since(Instant::now()));
        let rest = rest.map(|rest| rest.as_secs_f32().round());
        if !inputs.are_current(&self.snapshot) || !self.bundle.holds(&inputs) {
            // It changed while it was read: what was read is of no time at all, or not what would run.
            let Some(rest) = rest else {
                let changed =
                    inputs.first_changed(&self.snapshot).unwrap_or("the names in a folder");
                tracing::info!(
                    file,
                    changed,
                    "what a DAG file depends on changed while it was read; it is read again"
                );
                self.must_walk = true;
                self.wake_at = Instant::now();
                return;
            };
            tracing::warn!(
                file,
                "a DAG file changes at its import what it depends on, or something else does all the time; \
                 it is read again after {rest} s"
            );
        } else if let Some(rest) = rest {
            tracing::info!(
                file,
                "a DAG file was read several times in a row; its next reading waits for {rest} s, or for \
                 its own text to change"
            );
        }
        for warning in &parsed.warnings {
            tracing::warn!(file, warning, "a DAG file has a warning");
        }
        if let Some(why) = self.bundle.trouble() {
            let message = why.to_owned();
            parsed = ParsedFile::failed(&file, "BundleTooLarge", message, String::new());
        }
        let had = state.dag_ids().clone();
        let news = state.take(why, inputs, &parsed);
        state.look_at(&file, &self.snapshot);
        let lost: BTreeSet<_> = had.difference(state.dag_ids()).cloned().collect();
        self.count_errors();
        if news {
            self.tell_read(parsed).await;
        }
        self.read_again_for(&lost);
    }
}

fn refuse_zip(file: &str) -> ParsedFile {
    let message =
        "packaged DAGs (zip) are not supported; unpack the package into the DAG folder".to_owned();
    ParsedFile::failed(file, "ZipPackage", message, String::new())
}
