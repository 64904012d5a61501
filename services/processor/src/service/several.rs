//! Folders side by side: each is walked, packed and read by itself, so that one that hangs is in no other's way.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dagbok_events::{DagId, file_in, folder_of, path_in_folder};
use dagbok_inbox::{Inbox, Lookup};
use dagbok_protocol::CommandBody;
use dagbok_runlog::{PortError, Ports};
use dagbok_runtime::{Backoff, Clock, Shutdown};
use dagbok_telemetry::metrics;
use futures::future::try_join_all;
use tokio::sync::{Semaphore, mpsc};

use super::{Service, blocking, telling::log_answer};
use crate::{
    ProcessorError, ProcessorSettings,
    dates::{Dates, Place},
    folders, known, presence,
    roots::{self, Roots},
    tell::Teller,
};

/// The pause before the ports are asked again what is known.
const PAUSE: Duration = Duration::from_secs(1);

/// DAGs that a file let go of; `None` where they are not known, as it was read by an earlier start.
pub(super) type Lost = Option<BTreeSet<DagId>>;

/// What the folders of a processor share.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) ports: Ports,
    pub(super) clock: Clock,
    pub(super) shutdown: Shutdown,
    pub(super) teller: Arc<Teller>,
    /// Files that may be read at once.
    pub(super) room: Arc<Semaphore>,
    /// How many files of each folder can't be read.
    failures: Arc<Mutex<BTreeMap<usize, usize>>>,
}

impl Common {
    /// Shows how many files of a folder can't be read, with those of the others.
    pub(super) fn count_errors(&self, folder: usize, failures: usize) {
        // Each count is whole.
        let mut all = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(folder, failures);
        metrics().set_import_errors(all.values().sum::<usize>() as u64);
    }
}

/// One folder among those of the processor.
pub(super) struct One {
    /// Which of them.
    pub(super) number: usize,
    /// What it goes by in the facts.
    pub(super) name: Option<String>,
    /// Its files that the scheduler was told of by an earlier start, by their paths in it.
    pub(super) known: BTreeSet<String>,
    /// What files of the other folders let go of.
    pub(super) heard: mpsc::UnboundedReceiver<Lost>,
    /// To the other folders.
    pub(super) others: Vec<mpsc::UnboundedSender<Lost>>,
}

/// Runs the processor of one folder until `shutdown`.
pub async fn run(
    ports: Ports,
    settings: ProcessorSettings,
    clock: Clock,
    shutdown: Shutdown,
) -> Result<(), ProcessorError> {
    run_all(ports, vec![settings], clock, shutdown).await
}

/// Runs the processor of these folders until `shutdown`. What is not said of one folder alone is as the first has it.
pub async fn run_all(
    ports: Ports,
    mut folders: Vec<ProcessorSettings>,
    clock: Clock,
    shutdown: Shutdown,
) -> Result<(), ProcessorError> {
    let real = folders::check_folders(&folders)?;
    let Some(first) = folders.first().cloned() else { return Ok(()) };
    // Kept to the end: the socket goes with it.
    let lookup = Lookup::start(Arc::clone(&ports.signals), "the processor", shutdown.clone());
    match &lookup {
        Ok(lookup) => {
            for it in &mut folders {
                it.python.lookup = Some(lookup.socket());
            }
        }
        Err(error) => {
            tracing::warn!(%error, "files can't ask for variables of the log while they are read");
        }
    }
    let inbox = Inbox::open(&ports, clock.clone()).await?;
    let teller = Arc::new(Teller::new(inbox, shutdown.clone(), first.answer_within));
    let room = Arc::new(Semaphore::new(first.parsers.max(1)));
    presence::show(Arc::clone(&ports.state), clock.clone(), &shutdown);
    let resumes = first.state_ends_with_process;
    let (known, roots) = tokio::select! {
        known = load_known(ports.clone(), resumes) => known,
        () = shutdown.started() => return Ok(()),
    };
    let (said, files, before) = (folders.clone(), known.clone(), roots.clone());
    let names = blocking(move || folders::names(&said, &files, &before)).await?;
    keep_roots(&ports, &folders, &names, (roots, resumes)).await;
    let common = Common { ports, clock, shutdown, teller, room, failures: Arc::default() };
    take_leave(&common, &folders, &names, &known).await;
    let mut places = Vec::new();
    let mut services = Vec::new();
    for (one, (settings, root)) in
        each(names, &known).into_iter().zip(folders.into_iter().zip(real))
    {
        let service = Service::open(common.clone(), settings, one);
        places.push(Place {
            name: service.one.name.clone(),
            parsers: service.parsers.clone(),
            folder: root.clone(),
        });
        services.push(service.serve(root));
    }
    Dates { places: places.into(), within: first.parse_timeout }
        .serve(Arc::clone(&common.ports.signals), &common.shutdown);
    try_join_all(services).await.map(drop)
}

/// The folders with what is known of each, and a way from each to every other.
fn each(names: Vec<Option<String>>, known: &BTreeSet<String>) -> Vec<One> {
    let (tell, hear): (Vec<_>, Vec<_>) = names.iter().map(|_| mpsc::unbounded_channel()).unzip();
    let numbered = names.into_iter().zip(hear).enumerate();
    let one = |(number, (name, heard)): (usize, (Option<String>, _))| {
        let own = known.iter().filter(|file| folder_of(file) == name.as_deref());
        let known = own.map(|file| path_in_folder(file).to_owned()).collect();
        let others = tell.iter().enumerate().filter(|(other, _)| *other != number);
        let others = others.map(|(_, tell)| tell.clone()).collect();
        One { number, name, known, heard, others }
    };
    numbered.map(one).collect()
}

/// What was known before, as soon as the ports say.
async fn load_known(ports: Ports, resumes: bool) -> (BTreeSet<String>, Roots) {
    let mut backoff = Backoff::new(PAUSE / 8, PAUSE);
    loop {
        let loaded = async {
            let known = known::load(&ports, resumes).await?;
            Ok::<_, PortError>((known, roots::load(&ports, resumes).await?))
        };
        match loaded.await {
            Ok(known) => return known,
            Err(error) => {
                tracing::warn!(%error, "which files were known before can't be read; trying again");
                backoff.pause().await;
            }
        }
    }
}

/// Keeps where the folders lie that were given no names.
async fn keep_roots(
    ports: &Ports,
    folders: &[ProcessorSettings],
    names: &[Option<String>],
    (before, resumes): (Roots, bool),
) {
    let mut roots = before.clone();
    for (ProcessorSettings { folder, name, .. }, is) in folders.iter().zip(names) {
        if name.is_none() {
            // A name is one folder's: the one that had it before lies here now, or is another by now.
            roots.retain(|_, other| other != is);
            roots.insert(folder.to_string_lossy().into_owned(), is.clone());
        }
    }
    if roots != before
        && let Err(error) = roots::keep(ports, &roots, resumes).await
    {
        tracing::warn!(%error, "where the DAG folders lie can't be kept");
    }
}

/// Tells that files are gone whose folder no processor has any more. A processor all of whose folders were given names
/// answers for those alone; another one for all, but for names that a processor of that kind has had of late.
async fn take_leave(
    common: &Common,
    folders: &[ProcessorSettings],
    names: &[Option<String>],
    known: &BTreeSet<String>,
) {
    let has_all = folders.iter().any(|folder| folder.name.is_none());
    if !has_all {
        let own = names.iter().map(|name| name.as_deref().unwrap_or(folders::UNNAMED).to_owned());
        let own = own.collect();
        presence::claim(Arc::clone(&common.ports.state), own, &common.shutdown);
    }
    let own = |folder: Option<&str>| names.iter().any(|name| name.as_deref() == folder);
    let mut others: BTreeMap<Option<&str>, Vec<&str>> = BTreeMap::new();
    for file in known.iter().filter(|file| !own(folder_of(file))) {
        others.entry(folder_of(file)).or_default().push(path_in_folder(file));
    }
    for (folder, files) in others {
        let name = folder.unwrap_or(folders::UNNAMED);
        if !has_all {
            if folder.is_none() {
                tracing::warn!(
                    files = files.len(),
                    "files of a folder without a name are known, and each folder here has one: where they are those of \
                     one of these, call it `{}` (--dags {}=DIR)",
                    folders::UNNAMED,
                    folders::UNNAMED,
                );
            }
            continue;
        }
        match presence::is_claimed(&*common.ports.state, name).await {
            Ok(false) => {}
            Ok(true) => {
                tracing::info!(
                    folder = name,
                    "another processor has this folder, or had it of late"
                );
                continue;
            }
            Err(error) => {
                tracing::warn!(folder = name, %error, "it can't be read who has this folder; its files are left");
                continue;
            }
        }
        tracing::warn!(
            folder = name,
            files = files.len(),
            "a DAG folder is not among those of now"
        );
        for path in files {
            let file = file_in(folder, path);
            let told = common.teller.tell(&file, CommandBody::DagFileGone { file: file.clone() });
            if log_answer(&file, &told.await)
                && let Err(error) = known::forget(&common.ports, &file).await
            {
                tracing::warn!(file, %error, "that the file is gone could not be kept");
            }
        }
    }
}

impl Service {
    /// A file let go of DAGs, and the scheduler has heard it: another that has one of them may have it now.
    pub(super) fn let_go(&mut self, lost: &Lost) {
        if lost.as_ref().is_some_and(BTreeSet::is_empty) {
            return;
        }
        if let Some(lost) = lost {
            self.read_again_for(lost);
        }
        for other in &self.one.others {
            // One that is gone has ended with the process.
            drop(other.send(lost.clone()));
        }
    }

    /// A file of another folder let go of DAGs.
    pub(super) fn hear(&mut self, lost: Lost) {
        let all = || self.files.values().flat_map(|state| state.dag_ids().iter().cloned());
        let lost = lost.unwrap_or_else(|| all().collect());
        self.read_again_for(&lost);
    }
}
