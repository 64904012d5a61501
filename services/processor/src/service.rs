//! The loop: walk, pack, parse what changed, tell. One thing is told at a time, in the order in which
//! it was read, so that an older reading of a file never follows a newer one.
mod agenda;
mod bundle_state;
mod file_state;
mod inputs;
mod reading;
mod repeats;
mod telling;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use dagbok_events::DagId;
use dagbok_inbox::{Inbox, Lookup};
use dagbok_runlog::Ports;
use dagbok_runtime::{Backoff, Clock, Shutdown};
use dagbok_telemetry::metrics;
use dagbok_zipped::splits;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{
    ProcessorError, ProcessorSettings, dates::Dates, foretell::Read, home::dag_folder, known,
    parser::Parsers, presence, snapshot::Snapshot, tell::Teller, watch::FolderWatch,
};
use agenda::Agenda;
use bundle_state::Bundle;
use file_state::FileState;

/// The pause before the ports are asked again what is known.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs the processor until `shutdown`.
pub async fn run(
    ports: Ports,
    settings: ProcessorSettings,
    clock: Clock,
    shutdown: Shutdown,
) -> Result<(), ProcessorError> {
    let folder = dag_folder(&settings.folder).map_err(|error| ProcessorError::NoFolder {
        folder: settings.folder.clone(),
        why: error.to_string(),
    })?;
    let mut watch = FolderWatch::start(&folder, settings.rescan);
    let mut settings = settings;
    let lookup = Lookup::start(Arc::clone(&ports.signals), "the processor", shutdown.clone());
    match &lookup {
        Ok(lookup) => settings.python.lookup = Some(lookup.socket()),
        Err(error) => {
            tracing::warn!(%error, "files can't ask for variables of the log while they are read");
        }
    }
    let mut service = Service::open(ports, settings, clock, shutdown.clone()).await?;
    let (parsers, signals) = (service.parsers.clone(), Arc::clone(&service.ports.signals));
    let within = service.settings.parse_timeout;
    Dates { parsers, folder: folder.clone(), within }.serve(signals, &shutdown);
    presence::show(Arc::clone(&service.ports.state), service.clock.clone(), &shutdown);
    let loading = load_known(service.ports.clone(), service.settings.state_ends_with_process);
    tokio::pin!(loading);
    tracing::info!(folder = %folder.display(), parsers = service.settings.parsers, "the processor is up");
    loop {
        let debounce = service.settings.debounce;
        tokio::select! {
            () = shutdown.started() => break,
            Some(done) = service.jobs.join_next_with_id() => match done {
                Ok((job, done)) => service.settle(job, done).await,
                // Its text is no more.
                Err(error) if error.is_cancelled() => {}
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
            known = &mut loading, if !service.has_known => {
                service.has_known = true;
                service.known.extend(known);
                service.take_files();
                service.tell_of_gone().await;
            }
            () = watch.changed(debounce) => service.walk().await,
            () = sleep_until(service.wake_at) => service.walk().await,
        }
        watch.follow(&service.snapshot.folders, service.settings.rescan);
        service.start_jobs();
        service.publish_when_quiet().await;
    }
    service.give_up().await;
    tracing::info!("the processor is down");
    Ok(())
}

/// What was known before, as soon as the ports say.
async fn load_known(ports: Ports, resumes: bool) -> BTreeSet<String> {
    let mut backoff = Backoff::new(PAUSE / 8, PAUSE);
    loop {
        match known::load(&ports, resumes).await {
            Ok(known) => return known,
            Err(error) => {
                tracing::warn!(%error, "which files were known before can't be read; trying again");
                backoff.pause().await;
            }
        }
    }
}

/// A finished parse, and what it was given.
struct Done {
    file: String,
    snapshot: Arc<Snapshot>,
    /// `None` where it was given up.
    parsed: Option<Read>,
}

struct Service {
    ports: Ports,
    settings: ProcessorSettings,
    clock: Clock,
    teller: Arc<Teller>,
    shutdown: Shutdown,
    snapshot: Arc<Snapshot>,
    bundle: Bundle,
    files: BTreeMap<String, FileState>,
    agenda: Agenda,
    /// Files that the scheduler was told of.
    known: BTreeSet<String>,
    /// Whether those of an earlier start are among them yet.
    has_known: bool,
    jobs: JoinSet<Done>,
    parsers: Parsers,
    wake_at: Instant,
    /// Something changed since the last walk, so that what is read now would be of no time again.
    must_walk: bool,
    last_problems: Vec<String>,
}

impl Service {
    async fn open(
        ports: Ports,
        settings: ProcessorSettings,
        clock: Clock,
        shutdown: Shutdown,
    ) -> Result<Self, ProcessorError> {
        let inbox = Inbox::open(&ports, clock.clone()).await?;
        let parsers = Parsers::new(settings.python.clone());
        Ok(Self {
            known: BTreeSet::new(),
            has_known: false,
            teller: Arc::new(Teller::new(inbox, shutdown.clone(), settings.answer_within)),
            ports,
            settings,
            clock,
            shutdown,
            snapshot: Arc::default(),
            bundle: Bundle::default(),
            files: BTreeMap::new(),
            agenda: Agenda::default(),
            jobs: JoinSet::new(),
            parsers,
            wake_at: Instant::now(),
            must_walk: false,
            last_problems: Vec::new(),
        })
    }

    /// Walks the folder; packs it where it changed; tells of files that are gone.
    async fn walk(&mut self) {
        self.wake_at = Instant::now() + self.settings.rescan;
        let (folder, syntax) = (self.settings.folder.clone(), self.settings.ignore_syntax);
        let (before, now) = (Arc::clone(&self.snapshot), self.clock.now());
        // The end is not waited for: a walk of a file system that hangs may have none.
        let walked = tokio::select! {
            walked = blocking(move || Snapshot::take(&folder, syntax, &before, now)) => walked,
            () = self.shutdown.started() => return,
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
        let Self { ports, snapshot, shutdown, .. } = self;
        let Some(packed) = self.bundle.renew(ports, snapshot, shutdown, called_for).await else {
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
            let lost = self.files.remove(&file).map(|state| state.dag_ids().clone());
            self.read_again_for(&lost.unwrap_or_default());
        }
        for name in there {
            self.files.entry(name).or_default();
        }
        self.note_all();
    }

    /// The files to read. What was known of a zip that can't be read now is not gone: its DAGs keep the code they had.
    fn there(&self) -> BTreeSet<String> {
        let mut there: BTreeSet<String> = self.snapshot.dag_files().collect();
        for zip in self.snapshot.broken_zips() {
            let known = self.files.keys().chain(&self.known);
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
        metrics().set_import_errors(self.agenda.failures() as u64);
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
