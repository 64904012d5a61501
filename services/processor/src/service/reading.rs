//! Which files are read when, and what becomes of a reading.
use std::{collections::BTreeSet, sync::Arc, time::Duration};

use dagbok_events::{NotCarriedOut, TaskId, Timestamp};
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
use crate::{
    ParsedFile,
    foretell::{self, Again, Read, Reading},
};

/// How long the end of processes that are given up is waited for.
const LAST_LOOK: Duration = Duration::from_secs(5);

/// How long what a file read of the log's variables counts as new: Airflow reads every file as often.
const LOOKED_UP_PAUSE: Duration = Duration::from_secs(30);

impl Service {
    /// Parses what needs it. What is read must be what is published, so that where the bundle is of other
    /// data the folder is walked, and packed, first.
    pub(super) fn start_jobs(&mut self) {
        if self.must_walk {
            return;
        }
        let now = Instant::now();
        self.agenda.advance(&self.files, &self.snapshot, now);
        let startable = self.startable();
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
        self.make_room();
        // What is due and found no room is started when another ends.
        let next = self.agenda.next().into_iter().chain(self.bundle.rests_until()).min();
        self.wake_at = next.map_or(self.wake_at, |at| at.min(self.wake_at));
    }

    /// What is to be read now, as far as there is room.
    pub(super) fn startable(&self) -> Vec<(String, Why)> {
        self.agenda.startable(self.room())
    }

    fn room(&self) -> usize {
        self.settings.parsers.saturating_sub(self.jobs.len())
    }

    /// What changed does not wait for what is only tried again.
    fn make_room(&mut self) {
        if self.room() > 0 || !self.agenda.has_changed() {
            return;
        }
        // At most one is.
        let Some(name) = self.agenda.tried_again() else { return };
        if self.files.get_mut(&name).is_some_and(FileState::put_off) {
            self.note(&name);
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

    fn start_job(&mut self, file: String, why: Why) {
        tracing::debug!(file, ?why, "a DAG file is read");
        let (name, snapshot) = (file.clone(), Arc::clone(&self.snapshot));
        let text = snapshot.hash_of(&file);
        let (parsers, folder) = (self.parsers.clone(), self.settings.folder.clone());
        let within = self.settings.parse_timeout;
        let trouble = snapshot.trouble_of(&file).map(|error| ParsedFile::of_zip(&file, error));
        let give_up = Shutdown::new();
        let told = give_up.clone();
        let (teller, known) = (Arc::clone(&self.common.teller), self.files.get(&file));
        let room = self.common.room.clone();
        let unused = known.and_then(|state| state.unused(why, Instant::now()));
        let known = known.map(|state| state.to_foretell().clone()).unwrap_or_default();
        let job = self.jobs.spawn(async move {
            let parsed = if let Some(trouble) = trouble {
                Some(Read::Parsed(Box::new(trouble)))
            } else {
                // The other folders' files are read by as many processes as these.
                let _seat = tokio::select! {
                    seat = room.enter(why) => seat,
                    () = told.started() => return Done { file, snapshot, parsed: None },
                };
                let reading = Reading { parsers, teller, folder, within, told };
                reading.read(&file, known, unused).await
            };
            Done { file, snapshot, parsed }
        });
        self.files.entry(name.clone()).or_default().begin(why, text, job.id(), give_up);
        self.note(&name);
    }

    /// Takes a finished parse over, and tells of it where it says something new.
    pub(super) async fn settle(&mut self, job: Id, done: Done) {
        let Done { file, snapshot, parsed } = done;
        let Some(read) = parsed else { return };
        let Some(state) = self.files.get_mut(&file) else { return };
        let Some(why) = state.end(job) else { return };
        let Read::Parsed(mut parsed) = read else {
            state.look_later();
            self.note(&file);
            return;
        };
        self.agenda.note(&file, state, &self.snapshot, Instant::now());
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
        for spec in parsed.dags.iter().map(|dag| &dag.spec) {
            for NotCarriedOut { what, task_id, more, line } in &spec.not_carried_out {
                let (dag_id, task_id) = (&spec.dag_id, task_id.as_ref().map(TaskId::as_str));
                tracing::warn!(
                    file, line, %dag_id, task_id, more, what,
                    "a DAG asks for what is not carried out"
                );
            }
        }
        if let Some(why) = self.bundle.trouble() {
            let message = why.to_owned();
            *parsed = ParsedFile::failed(&file, "BundleTooLarge", message, String::new());
        }
        let had = state.dag_ids().clone();
        let again = again_in(&parsed, self.common.clock.now());
        let news = state.take(why, inputs, &parsed, again);
        state.look_at(&file, &self.snapshot);
        self.agenda.note(&file, state, &self.snapshot, Instant::now());
        let lost: BTreeSet<_> = had.difference(state.dag_ids()).cloned().collect();
        self.count_errors();
        if news {
            self.tell_read(*parsed).await;
        }
        self.let_go(&Some(lost));
    }
}

/// When a file is to be read again though nothing of it changed.
fn again_in(parsed: &ParsedFile, now: Timestamp) -> Option<Again> {
    let again = foretell::again_in(parsed, now);
    if !parsed.looked_up {
        return again;
    }
    // What it read of the log may have changed, whatever its timetables would answer.
    let look = again.map_or(LOOKED_UP_PAUSE, |again| again.look.min(LOOKED_UP_PAUSE));
    Some(Again { look, unless: None })
}
