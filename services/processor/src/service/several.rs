//! Folders side by side: each is walked, packed and read by itself, so that one that hangs is in no other's way.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use dagbok_events::{DagId, folder_of, path_in_folder};
use dagbok_inbox::{Inbox, Lookup};
use dagbok_runlog::Ports;
use dagbok_runtime::{Clock, Shutdown};
use dagbok_telemetry::metrics;
use futures::future::try_join_all;
use tokio::sync::mpsc;

use super::{Service, before::Before, blocking, room::Room};
use crate::{
    ProcessorError, ProcessorSettings,
    dates::{Dates, Place},
    folders, presence,
    tell::Teller,
};

/// DAGs that a file let go of; `None` where they are not known, as it was read by an earlier start.
pub(super) type Lost = Option<BTreeSet<DagId>>;

/// What the folders of a processor share.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) ports: Ports,
    pub(super) clock: Clock,
    pub(super) shutdown: Shutdown,
    pub(super) teller: Arc<Teller>,
    /// For files that are read at once.
    pub(super) room: Room,
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
    let room = Room::new(first.parsers);
    presence::show(Arc::clone(&ports.state), clock.clone(), &shutdown);
    let before = tokio::select! {
        before = Before::load(ports.clone(), folders.clone()) => before,
        () = shutdown.started() => return Ok(()),
    };
    let (said, was) = (folders.clone(), before.clone());
    let names = move || folders::names(&said, &was.known, &was.roots, &was.others);
    let names = blocking(names).await?;
    let common = Common { ports, clock, shutdown, teller, room, failures: Arc::default() };
    before.take_leave(&common, &folders, &names).await;
    let mut places = Vec::new();
    let mut services = Vec::new();
    for (one, (settings, root)) in
        each(names, &before.known).into_iter().zip(folders.into_iter().zip(real))
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
