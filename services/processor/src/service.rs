//! The loop: walk, pack, parse what changed, tell. One thing is told at a time, in the order in which
//! it was read, so that an older reading of a file never follows a newer one.
mod bundle_state;
mod file_state;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use dagbok_events::DagId;
use dagbok_inbox::Inbox;
use dagbok_protocol::{Answer, CommandBody, DagFile};
use dagbok_runlog::Ports;
use dagbok_runtime::{Clock, Shutdown};
use dagbok_telemetry::metrics;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{
    ParsedFile, ProcessorError, ProcessorSettings,
    candidate::Kind,
    known,
    parser::{Parse, parse},
    snapshot::Snapshot,
    tell::{Teller, Told},
    watch::Watch,
};
use bundle_state::Bundle;
use file_state::{FileState, Inputs};

/// The pause before the ports are asked again what is known.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs the processor until `shutdown`.
pub async fn run(
    ports: Ports,
    settings: ProcessorSettings,
    clock: Clock,
    shutdown: Shutdown,
) -> Result<(), ProcessorError> {
    let folder = std::fs::canonicalize(&settings.folder).and_then(|folder| {
        std::fs::read_dir(&folder)?;
        Ok(folder)
    });
    let folder = folder.map_err(|error| ProcessorError::NoFolder {
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
            Some(done) = service.jobs.join_next() => match done {
                Ok(done) => service.settle(done).await,
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
    parse: Parse,
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
        if snapshot.problems != self.last_problems {
            for problem in &snapshot.problems {
                tracing::warn!(
                    problem,
                    "a part of the DAG folder can't be read and is left as it was known"
                );
            }
            self.last_problems.clone_from(&snapshot.problems);
        }
        self.snapshot = Arc::new(snapshot);
        if !self.bundle.renew(&self.ports, &self.snapshot, &self.shutdown).await {
            // It is being changed: once more when it has come to rest.
            self.wake_at = Instant::now() + self.settings.debounce;
            return;
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
        self.tell_of_gone().await;
    }

    /// Tells of known files that are not there any more, where the whole folder could be read.
    async fn tell_of_gone(&mut self) {
        if !self.snapshot.problems.is_empty() || !self.bundle.is_of(&self.snapshot) {
            return;
        }
        let gone: Vec<_> =
            self.known.iter().filter(|name| !self.files.contains_key(*name)).cloned().collect();
        for file in gone {
            self.tell_gone(file).await;
        }
    }

    /// A file let go of these DAGs: another that has one of them, and was refused it, may have it now.
    fn read_again_for(&mut self, lost: &BTreeSet<DagId>) {
        for state in self.files.values_mut().filter(|state| !state.dag_ids().is_disjoint(lost)) {
            state.forget();
        }
    }

    /// Parses what needs it, as far as there is room.
    fn start_jobs(&mut self) {
        let now = Instant::now();
        if !self.bundle.is_of(&self.snapshot) {
            return;
        }
        for (name, state) in &mut self.files {
            if self.jobs.len() >= self.settings.parsers {
                break;
            }
            if !state.needs_parsing(name, &self.snapshot, now) {
                continue;
            }
            state.parsing = true;
            let (file, snapshot) = (name.clone(), Arc::clone(&self.snapshot));
            let (python, folder) = (self.settings.python.clone(), self.settings.folder.clone());
            let within = self.settings.parse_timeout;
            let is_zip =
                snapshot.files.get(name).is_some_and(|facts| facts.kind == Kind::ZipPackage);
            self.jobs.spawn(async move {
                let parse = if is_zip {
                    refuse_zip(&file)
                } else {
                    parse(&python, &folder, &file, within).await
                };
                Done { file, snapshot, parse }
            });
        }
        let retry = self.files.values().filter_map(FileState::retry_at).min();
        self.wake_at = retry.map_or(self.wake_at, |at| at.max(now).min(self.wake_at));
    }

    /// Takes a finished parse over, and tells of it where it says something new.
    async fn settle(&mut self, done: Done) {
        let Done { file, snapshot, mut parse } = done;
        let Some(state) = self.files.get_mut(&file) else { return };
        state.parsing = false;
        let inputs = Inputs::new(&file, &parse.parsed.imports, &snapshot);
        if !inputs.are_current(&self.snapshot) {
            // It changed while it was read: what was read is of no time at all.
            self.wake_at = Instant::now();
            return;
        }
        for warning in &parse.parsed.warnings {
            tracing::warn!(file, warning, "a DAG file has a warning");
        }
        if let Some(why) = self.bundle.trouble() {
            let message = why.to_owned();
            parse.parsed = ParsedFile::failed(&file, "BundleTooLarge", message, String::new());
        }
        let had = state.dag_ids().clone();
        let news = state.take(inputs, snapshot.code, &parse);
        let lost: BTreeSet<_> = had.difference(state.dag_ids()).cloned().collect();
        metrics().set_import_errors(
            self.files.values().filter(|state| state.has_failed()).count() as u64
        );
        if news {
            self.tell_read(parse.parsed).await;
        }
        self.read_again_for(&lost);
    }

    async fn tell_read(&mut self, parsed: ParsedFile) {
        let Some(bundle) = self.bundle.digest() else { return };
        let file = parsed.file.clone();
        for error in &parsed.errors {
            let (exception, message, line) = (&error.exception, &error.message, error.line);
            tracing::warn!(file, line, exception, message, "a DAG file can't be read");
        }
        let paused_at_creation = self.settings.paused_at_creation;
        let body = |parsed: ParsedFile| {
            let ParsedFile { file, dags, errors, .. } = parsed;
            let bundle = bundle.clone();
            CommandBody::DagFileRead(Box::new(DagFile {
                file,
                bundle,
                dags,
                errors,
                paused_at_creation,
            }))
        };
        let mut told = self.teller.tell(&file, body(parsed)).await;
        if let Told::TooLarge(why) = told {
            let message = format!(
                "the file's DAGs are too large together ({why}); spread them over several files"
            );
            let failed = ParsedFile::failed(&file, "FileTooLarge", message, String::new());
            told = self.teller.tell(&file, body(failed)).await;
        }
        if log_answer(&file, &told)
            && self.known.insert(file.clone())
            && let Err(error) = known::remember(&self.ports, &file).await
        {
            tracing::warn!(file, %error, "that the file was read could not be kept");
        }
    }

    async fn tell_gone(&mut self, file: String) {
        let told = self.teller.tell(&file, CommandBody::DagFileGone { file: file.clone() }).await;
        if !log_answer(&file, &told) {
            return;
        }
        self.known.remove(&file);
        if let Err(error) = known::forget(&self.ports, &file).await {
            // It is told of again at the next start, which changes nothing.
            tracing::warn!(file, %error, "that the file is gone could not be kept");
        }
    }

    /// Tells of the folder's code once every file that changed with it has been told of.
    async fn publish_when_quiet(&mut self) {
        let now = Instant::now();
        let busy = !self.jobs.is_empty()
            || self
                .files
                .iter()
                .any(|(name, state)| state.needs_parsing(name, &self.snapshot, now));
        if busy || !self.bundle.is_of(&self.snapshot) {
            return;
        }
        let Some(bundle) = self.bundle.unpublished() else { return };
        let told = self
            .teller
            .tell("the bundle", CommandBody::PublishBundle { bundle: bundle.clone() })
            .await;
        if log_answer("the bundle", &told) {
            self.bundle.published(bundle);
        }
    }
}

/// Whether the scheduler has it now.
fn log_answer(what: &str, told: &Told) -> bool {
    match told {
        Told::Answered(Answer::Accepted { seq, .. }) => {
            tracing::info!(what, seq, "told the scheduler");
        }
        Told::Answered(Answer::Unchanged) => tracing::debug!(what, "the scheduler knew"),
        Told::Answered(Answer::Refused(refusal)) => {
            tracing::warn!(what, %refusal, "the scheduler refused what was read");
        }
        Told::TooLarge(why) => {
            tracing::error!(what, why, "the scheduler can't be told");
            return false;
        }
        Told::Stopped => return false,
    }
    true
}

fn refuse_zip(file: &str) -> Parse {
    let message =
        "packaged DAGs (zip) are not supported; unpack the package into the DAG folder".to_owned();
    Parse {
        parsed: ParsedFile::failed(file, "ZipPackage", message, String::new()),
        transient: false,
    }
}

/// Runs work that blocks away from the loop.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
