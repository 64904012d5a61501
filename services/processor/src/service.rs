//! The loop: walk, pack, parse what changed, tell. One thing is told at a time, in the order in which
//! it was read, so that an older reading of a file never follows a newer one.
mod agenda;
mod before;
mod bundle_state;
mod file_state;
mod inputs;
mod reading;
mod repeats;
mod room;
mod several;
mod telling;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use dagbok_events::DagId;
use dagbok_zipped::splits;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{
    ProcessorError, ProcessorSettings, foretell::Read, parser::Parsers, snapshot::Snapshot,
    watch::FolderWatch,
};
use agenda::Agenda;
use bundle_state::Bundle;
use file_state::FileState;
use several::{Common, One};
pub use several::{run, run_all};

/// A finished parse, and what it was given.
struct Done {
    file: String,
    snapshot: Arc<Snapshot>,
    /// `None` where it was given up.
    parsed: Option<Read>,
}

/// One folder.
struct Service {
    common: Common,
    one: One,
    settings: ProcessorSettings,
    snapshot: Arc<Snapshot>,
    bundle: Bundle,
    files: BTreeMap<String, FileState>,
    agenda: Agenda,
    /// DAGs of files that are not there any more, until the scheduler was told so.
    leaving: BTreeMap<String, BTreeSet<DagId>>,
    jobs: JoinSet<Done>,
    parsers: Parsers,
    wake_at: Instant,
    /// Something changed since the last walk, so that what is read now would be of no time again.
    must_walk: bool,
    last_problems: Vec<String>,
}

impl Service {
    fn open(common: Common, settings: ProcessorSettings, one: One) -> Self {
        let parsers = Parsers::new(settings.python.clone());
        Self {
            common,
            one,
            settings,
            snapshot: Arc::default(),
            bundle: Bundle::default(),
            files: BTreeMap::new(),
            agenda: Agenda::default(),
            leaving: BTreeMap::new(),
            jobs: JoinSet::new(),
            parsers,
            wake_at: Instant::now(),
            must_walk: false,
            last_problems: Vec::new(),
        }
    }

    /// Serves the folder, which is `root` without links, until the processor is to end.
    async fn serve(mut self, root: PathBuf) -> Result<(), ProcessorError> {
        let mut watch = FolderWatch::start(&root, self.settings.rescan);
        let (name, folder) = (self.one.name.as_deref(), root.display());
        tracing::info!(%folder, name, parsers = self.settings.parsers, "the processor is up");
        loop {
            let debounce = self.settings.debounce;
            tokio::select! {
                () = self.common.shutdown.started() => break,
                Some(done) = self.jobs.join_next_with_id() => match done {
                    Ok((job, done)) => self.settle(job, done).await,
                    // Its text is no more.
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
                Some(lost) = self.one.heard.recv() => self.hear(lost),
                () = watch.changed(debounce) => self.walk().await,
                () = sleep_until(self.wake_at) => self.walk().await,
            }
            watch.follow(&self.snapshot.folders, self.settings.rescan);
            self.start_jobs();
            self.publish_when_quiet().await;
        }
        self.give_up().await;
        tracing::info!(%folder, "the processor is down");
        Ok(())
    }

    /// Walks the folder; packs it where it changed; tells of files that are gone.
    async fn walk(&mut self) {
        self.wake_at = Instant::now() + self.settings.rescan;
        let (folder, syntax) = (self.settings.folder.clone(), self.settings.ignore_syntax);
        let (before, now) = (Arc::clone(&self.snapshot), self.common.clock.now());
        // The end is not waited for: a walk of a file system that hangs may have none.
        let walked = tokio::select! {
            walked = blocking(move || Snapshot::take(&folder, syntax, &before, now)) => walked,
            () = self.common.shutdown.started() => return,
        };
        let snapshot = match walked {
            Ok(snapshot) => snapshot,
            Err(error) => {
                // The folder itself is away, as a mount can be: nothing in it is taken for gone.
                tracing::error!(folder = %self.settings.folder.display(), %error, "the DAG folder can't be read");
                self.bundle.stop_resting();
                return;
            }
        };
        self.warn_of_passed_over(&snapshot);
        if snapshot.problems != self.last_problems {
            for problem in &snapshot.problems {
                tracing::warn!(
                    problem,
                    "a part of the DAG folder can't be read and is left as it was known"
                );
            }
            self.last_problems.clone_from(&snapshot.problems);
        }
        self.must_walk = false;
        self.look_at(Arc::new(snapshot));
        let was_in_trouble = self.bundle.trouble().is_some();
        self.note_all();
        let called_for = !self.startable().is_empty();
        let Self { common, snapshot, .. } = self;
        let packed = self.bundle.renew(&common.ports, snapshot, &common.shutdown, called_for);
        let Some(packed) = packed.await else {
            // It is being changed: once more when it has come to rest.
            self.wake_at = Instant::now() + self.settings.debounce;
            return;
        };
        // Readings are judged by what was packed.
        self.look_at(packed);
        if was_in_trouble && self.bundle.trouble().is_none() {
            self.files.values_mut().filter(|state| state.has_failed()).for_each(FileState::forget);
        }
        self.take_files();
        self.count_errors();
        self.tell_of_gone().await;
    }

    /// Takes over which files there are to read.
    fn take_files(&mut self) {
        let there = self.there();
        let gone: Vec<_> =
            self.files.keys().filter(|name| !there.contains(*name)).cloned().collect();
        for file in gone {
            if let Some(state) = self.files.remove(&file) {
                self.leaving.insert(file, state.dag_ids().clone());
            }
        }
        for name in there {
            self.leaving.remove(&name);
            self.files.entry(name).or_default();
        }
        self.note_all();
    }

    /// The files to read. What was known of a zip that can't be read now is not gone: its DAGs keep the code they had.
    fn there(&self) -> BTreeSet<String> {
        let mut there: BTreeSet<String> = self.snapshot.dag_files().collect();
        for zip in self.snapshot.broken_zips() {
            let known = self.files.keys().chain(&self.one.known);
            let inside = |name: &&String| splits(name).any(|(around, _)| around == zip);
            let known: Vec<_> = known.filter(inside).cloned().collect();
            if !known.is_empty() {
                there.remove(zip);
                there.extend(known);
            }
        }
        there
    }

    fn warn_of_passed_over(&self, snapshot: &Snapshot) {
        for (folder, why) in &snapshot.passed_over {
            if self.snapshot.passed_over.get(folder) != Some(why) {
                tracing::warn!(
                    folder = %folder.display(),
                    why,
                    "a folder or link in the DAG folder is passed over: nothing in it is read or published; take \
                     it away, or name it in a `.dagbokignore` (written as a .gitignore is)"
                );
            }
        }
        let homes = snapshot.homes.iter();
        for (folder, home) in homes.filter(|(folder, _)| !self.snapshot.homes.contains_key(*folder))
        {
            tracing::warn!(
                folder = %folder.display(),
                home = %home.display(),
                "a folder or link in the DAG folder leads into the home of an installation and is passed over: \
                 nothing in it is read or published; move DAG files out of the home and take the link away, \
                 or, where it is no home any more, remove `.dagbokhome` from it"
            );
        }
    }

    /// Takes the folder as it is now, and notes whose readings are outdated by it.
    fn look_at(&mut self, snapshot: Arc<Snapshot>) {
        let before = std::mem::replace(&mut self.snapshot, snapshot);
        let now = &self.snapshot;
        if now.hash == before.hash && now.problems.is_empty() && before.problems.is_empty() {
            return;
        }
        for (name, state) in &mut self.files {
            state.look_at(name, now);
        }
    }

    fn count_errors(&self) {
        self.common.count_errors(self.one.number, self.agenda.failures());
    }

    /// A file let go of these DAGs: another that has one of them, and was refused it, may have it now.
    fn read_again_for(&mut self, lost: &BTreeSet<DagId>) {
        if lost.is_empty() {
            return;
        }
        let now = Instant::now();
        for (name, state) in &mut self.files {
            if !state.dag_ids().is_disjoint(lost) {
                state.forget();
                self.agenda.note(name, state, &self.snapshot, now);
            }
        }
    }

    /// Takes what is next for a file over, whose state changed.
    fn note(&mut self, name: &str) {
        match self.files.get(name) {
            Some(state) => self.agenda.note(name, state, &self.snapshot, Instant::now()),
            None => self.agenda.forget(name),
        }
    }

    /// The same of every file.
    fn note_all(&mut self) {
        let now = Instant::now();
        self.agenda = Agenda::default();
        for (name, state) in &self.files {
            self.agenda.note(name, state, &self.snapshot, now);
        }
    }
}

/// Runs work that blocks away from the loop.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
