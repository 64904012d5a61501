//! The loop: walk, pack, parse what changed, tell. One thing is told at a time, in the order in which
//! it was read, so that an older reading of a file never follows a newer one.
mod bundle_state;
mod file_state;
mod inputs;
mod telling;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use dagbok_events::DagId;
use dagbok_inbox::Inbox;
use dagbok_runlog::Ports;
use dagbok_runtime::{Clock, Shutdown};
use dagbok_telemetry::metrics;
use tokio::{
    task::{Id, JoinSet},
    time::{Instant, sleep_until},
};

use crate::{
    ParsedFile, ProcessorError, ProcessorSettings, candidate::Kind, home::dag_folder, known,
    parser::parse, snapshot::Snapshot, tell::Teller, watch::Watch,
};
use bundle_state::Bundle;
use file_state::{FileState, Why};
use inputs::Inputs;

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
    let mut watch = Watch::start(&folder, settings.rescan);
    let mut service = Service::open(ports, settings, clock, shutdown.clone()).await?;
    let loading = load_known(service.ports.clone());
    tokio::pin!(loading);
    let mut loaded = false;
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
            known = &mut loading, if !loaded => {
                loaded = true;
                service.known.extend(known);
                service.tell_of_gone().await;
            }
            () = watch.changed(debounce) => service.walk().await,
            () = sleep_until(service.wake_at) => service.walk().await,
        }
        service.start_jobs();
        service.publish_when_quiet().await;
    }
    // Dropping a job kills its process with all that it started.
    service.jobs.shutdown().await;
    tracing::info!("the processor is down");
    Ok(())
}

/// What was known before, as soon as the ports say.
async fn load_known(ports: Ports) -> BTreeSet<String> {
    loop {
        match known::load(&ports).await {
            Ok(known) => return known,
            Err(error) => {
                tracing::warn!(%error, "which files were known before can't be read; trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// A finished parse, and what it was given.
struct Done {
    file: String,
    snapshot: Arc<Snapshot>,
    parsed: ParsedFile,
}

struct Service {
    ports: Ports,
    settings: ProcessorSettings,
    clock: Clock,
    teller: Teller,
    shutdown: Shutdown,
    snapshot: Arc<Snapshot>,
    bundle: Bundle,
    files: BTreeMap<String, FileState>,
    known: BTreeSet<String>,
    jobs: JoinSet<Done>,
    wake_at: Instant,
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
        Ok(Self {
            known: BTreeSet::new(),
            teller: Teller::new(inbox, shutdown.clone(), settings.answer_within),
            ports,
            settings,
            clock,
            shutdown,
            snapshot: Arc::default(),
            bundle: Bundle::default(),
            files: BTreeMap::new(),
            jobs: JoinSet::new(),
            wake_at: Instant::now(),
            last_problems: Vec::new(),
        })
    }

    /// Walks the folder; packs it where it changed; tells of files that are gone.
    async fn walk(&mut self) {
        self.wake_at = Instant::now() + self.settings.rescan;
        let (folder, syntax) = (self.settings.folder.clone(), self.settings.ignore_syntax);
        let (before, now) = (Arc::clone(&self.snapshot), self.clock.now());
        let walked = blocking(move || Snapshot::take(&folder, syntax, &before, now)).await;
        let snapshot = match walked {
            Ok(snapshot) => snapshot,
            Err(error) => {
                // The folder itself is away, as a mount can be: nothing in it is taken for gone.
                tracing::error!(folder = %self.settings.folder.display(), %error, "the DAG folder can't be read");
                return;
            }
        };
        for home in snapshot.homes.difference(&self.snapshot.homes) {
            tracing::info!(home = %home.display(), "the home of an installation lies in the DAG folder; it is passed over");
        }
        if snapshot.problems != self.last_problems {
            for problem in &snapshot.problems {
                tracing::warn!(
                    problem,
                    "a part of the DAG folder can't be read and is left as it was known"
                );
            }
            self.last_problems.clone_from(&snapshot.problems);
        }
        self.look_at(snapshot);
        let was_in_trouble = self.bundle.trouble().is_some();
        if !self.bundle.renew(&self.ports, &self.snapshot, &self.shutdown).await {
            // It is being changed: once more when it has come to rest.
            self.wake_at = Instant::now() + self.settings.debounce;
            return;
        }
        if was_in_trouble && self.bundle.trouble().is_none() {
            self.files.values_mut().filter(|state| state.has_failed()).for_each(FileState::forget);
        }
        let is_read = |kind| matches!(kind, Kind::DagFile | Kind::ZipPackage);
        let there = self.snapshot.files.iter().filter(|(_, facts)| is_read(facts.kind));
        let there: BTreeSet<String> = there.map(|(name, _)| name.clone()).collect();
        let gone: Vec<_> =
            self.files.keys().filter(|name| !there.contains(*name)).cloned().collect();
        for file in gone {
            let lost = self.files.remove(&file).map(|state| state.dag_ids().clone());
            self.read_again_for(&lost.unwrap_or_default());
        }
        for name in there {
            self.files.entry(name).or_default();
        }
        self.count_errors();
        self.tell_of_gone().await;
    }

    /// Takes the folder as it is now, and notes whose readings are outdated by it.
    fn look_at(&mut self, snapshot: Snapshot) {
        let before = std::mem::replace(&mut self.snapshot, Arc::new(snapshot));
        let now = &self.snapshot;
        if now.hash == before.hash && now.problems.is_empty() && before.problems.is_empty() {
            return;
        }
        for (name, state) in &mut self.files {
            state.look_at(name, now);
        }
    }

    fn count_errors(&self) {
        let failed = self.files.values().filter(|state| state.has_failed()).count();
        metrics().set_import_errors(failed as u64);
    }

    /// A file let go of these DAGs: another that has one of them, and was refused it, may have it now.
    fn read_again_for(&mut self, lost: &BTreeSet<DagId>) {
        for state in self.files.values_mut().filter(|state| !state.dag_ids().is_disjoint(lost)) {
            state.forget();
        }
    }

    /// Parses what needs it, as far as there is room; what changed comes first, and of what is only tried
    /// again one at a time, so that files that take their whole timeout are in nobody's way.
    fn start_jobs(&mut self) {
        let now = Instant::now();
        if !self.bundle.is_of(&self.snapshot) {
            return;
        }
        let mut retries = self.due(Why::Retry, now);
        if self.files.values().any(|state| state.reading() == Some(Why::Retry)) {
            retries.clear();
        }
        retries.truncate(1);
        let changed = self.due(Why::Changed, now).into_iter().map(|file| (file, Why::Changed));
        let due = changed.chain(retries.into_iter().map(|file| (file, Why::Retry)));
        let room = self.settings.parsers.saturating_sub(self.jobs.len());
        for (file, why) in due.take(room) {
            self.start_job(file, why);
        }
        // What is due and found no room is started when another ends.
        let again = self.files.iter().flat_map(|(name, state)| {
            [state.retry_at(), state.rests_until(self.snapshot.hash_of(name))]
        });
        let again = again.flatten();
        let next = again.filter(|at| *at > now).min();
        self.wake_at = next.map_or(self.wake_at, |at| at.min(self.wake_at));
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
        let job = self.jobs.spawn(async move {
            let parsed = if is_zip {
                refuse_zip(&file)
            } else {
                parse(&python, &folder, &file, within).await
            };
            Done { file, snapshot, parsed }
        });
        self.files.entry(name).or_default().begin(why, text, job);
    }

    /// Takes a finished parse over, and tells of it where it says something new.
    async fn settle(&mut self, job: Id, done: Done) {
        let Done { file, snapshot, mut parsed } = done;
        let Some(state) = self.files.get_mut(&file) else { return };
        let Some(why) = state.end(job) else { return };
        let inputs = Inputs::of(&parsed, &snapshot);
        if !inputs.are_current(&self.snapshot) {
            // It changed while it was read: what was read is of no time at all.
            let Some(until) = state.rests_until(self.snapshot.hash_of(&file)) else {
                self.wake_at = Instant::now();
                return;
            };
            let rest = until.saturating_duration_since(Instant::now());
            let rest = rest.as_secs_f32().round();
            tracing::warn!(
                file,
                "a DAG file changes at its import what it depends on; it is read again after {rest} s"
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

/// Runs work that blocks away from the loop.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
