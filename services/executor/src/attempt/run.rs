//! Runs one try as a process: prepared, forked, served, watched, judged.
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dagbok_events::{Failure, FailureKind, Fault, Limits};
use dagbok_inbox::SecretsClient;
use dagbok_protocol::{ReportBody, WorkItem};
use parking_lot::Mutex;
use tokio::{
    io::BufReader,
    net::UnixStream,
    sync::{OwnedSemaphorePermit, mpsc},
    time::timeout,
};

use super::{
    ask::{ApiClient, PATIENCE},
    conclude::Used,
    passed,
    said::Said,
    serve::Server,
    settle::{End, Pulled},
    startup::{self, With},
    verdict::{Verdict, failure, failure_to_load},
    xcom::XComs,
};
use crate::{
    bundle::BundleFolder,
    cgroup::Group,
    held::{Control, Held, Kill},
    keep::Keeps,
    log::LiveLog,
    phase::PhaseTeller,
    place::{Bounds, Place, PlaceError, Start, Started},
    room::Part,
    shared::Shared,
    work::WorkFolder,
};

/// How long a try waits here for what it asks for before its item is passed on: another executor may have it free.
const ROOM_WAIT: Duration = Duration::from_secs(30);
/// What a process may ask for at once beyond twice its limit, in bytes: much that is asked for is never used.
const DATA_MORE: u64 = 1 << 30;

/// One try being run.
pub(crate) struct Running<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) item: &'a WorkItem,
    pub(crate) held: &'a Arc<Held>,
    pub(crate) pulled: &'a Pulled,
    pub(crate) log: Arc<LiveLog>,
    /// Where it runs.
    pub(crate) place: &'a dyn Place,
    /// What it takes up of this executor; free once its end is reported.
    pub(crate) part: Mutex<Option<Part>>,
    /// The slot that it holds; none while it waits for what it asks for.
    pub(crate) slot: Mutex<Option<OwnedSemaphorePermit>>,
    /// Whether it waited for that.
    pub(crate) waited: AtomicBool,
}

/// What goes with the try's process.
pub(super) struct Around {
    pub(super) bounds: Bounds,
    pub(super) limits: Limits,
    pub(super) group: Option<Arc<Group>>,
    pub(super) keeps: Arc<Keeps>,
    _work: WorkFolder,
}

/// Why there is no process.
enum Unstarted {
    /// It was not to be.
    Called(End),
    /// It could not be.
    Failed(Box<Failure>),
}

impl Running<'_> {
    /// To the end; what is returned is still to be reported.
    pub(crate) async fn run(&self, mut words: mpsc::UnboundedReceiver<Control>) -> End {
        let prepared = tokio::select! {
            biased;
            end = self.called_off(&mut words) => Err(Unstarted::Called(end)),
            prepared = self.prepare() => prepared,
        };
        match prepared {
            Ok((folder, started, around)) => self.supervise(&folder, started, around, words).await,
            Err(Unstarted::Called(end)) => end,
            Err(Unstarted::Failed(failure)) => self.unstarted(*failure).await,
        }
    }

    /// Completes when the try is not to be started any more.
    async fn called_off(&self, words: &mut mpsc::UnboundedReceiver<Control>) -> End {
        loop {
            tokio::select! {
                () = self.shared.shutdown.started() => return self.hand_back(),
                word = words.recv() => match word {
                    Some(Control::Kill(Kill::Order(_) | Kill::Refused(_))) => return End::Silent,
                    Some(Control::Kill(Kill::Fenced | Kill::Drained | Kill::Garbled(_) | Kill::OutOfMemory(_))) | None => return self.hand_back(),
                    Some(Control::Freeze | Control::Thaw) => {}
                },
            }
        }
    }

    /// A redelivery may be in other hands: only its queue item is handed back then. Of what waited for room nothing has
    /// begun.
    fn hand_back(&self) -> End {
        if self.waited.load(Ordering::Relaxed) && self.part.lock().is_none() {
            return End::Passed;
        }
        // Where it was passed on to this very process nobody else can have begun it since.
        let own = self.shared.settings.claim.is_some() && !self.pulled.again;
        if self.must_ask() && !own { End::Nak } else { End::report(ReportBody::Returned) }
    }

    /// A part of what this executor has, once it is free. Who waits for it holds no slot. Where it could never have
    /// it here, too many wait already, or somebody else may have it free, its item is passed on: that is no fact,
    /// and no try's number.
    async fn room(&self) -> Result<(), Unstarted> {
        let (shared, asked) = (self.shared, &self.item.resources);
        if shared.settings.claim.is_some() {
            // The room was made for it.
            return Ok(());
        }
        let passed = || Unstarted::Called(End::Passed);
        // First: nothing is used up of labels, so that a part may be free of what is in the wrong place.
        if let Some(lacks) = shared.room.too_small(asked) {
            tracing::debug!(key = %self.item.key, lacks, "a try asks for more than this executor has");
            return Err(passed());
        }
        if let Some(part) = shared.room.take(asked) {
            *self.part.lock() = Some(part);
            return Ok(());
        }
        let _seat = shared.room.seat().ok_or_else(passed)?;
        drop(self.slot.lock().take());
        shared.tell_slots();
        // Meanwhile it may be over by the log.
        self.waited.store(true, Ordering::Relaxed);
        let begins = async {
            let part = if shared.settings.fencing {
                let part = timeout(ROOM_WAIT, shared.room.wait(asked)).await;
                part.map_err(|_| passed())?
            } else {
                // Nobody else pulls from a queue in this process.
                shared.room.wait(asked).await
            };
            let slot = Arc::clone(&shared.slots).acquire_owned().await;
            Ok((part, slot.expect("slots are not closed")))
        };
        let (part, slot) = tokio::select! {
            biased;
            // What has not begun by then is something new.
            () = shared.standing.cordoned() => return Err(passed()),
            begins = begins => begins?,
        };
        *self.slot.lock() = Some(slot);
        *self.part.lock() = Some(part);
        shared.tell_slots();
        Ok(())
    }

    /// Whether the scheduler is asked before the task's code runs.
    pub(super) fn must_ask(&self) -> bool {
        self.pulled.must_ask || self.waited.load(Ordering::Relaxed)
    }

    /// What the process is bounded by.
    fn around(&self) -> Result<Around, String> {
        let Self { shared, item, .. } = self;
        let settings = &shared.settings;
        let limits = settings.limits_of(item);
        let group = shared.cgroups.as_ref().map(|groups| groups.make(&limits)).transpose();
        let group = group.map_err(|error| format!("no cgroup can be made for it: {error}"))?;
        let work = shared.work.make();
        let work =
            work.map_err(|error| format!("no working directory can be made for it: {error}"))?;
        let mut env = std::collections::BTreeMap::new();
        if !settings.gpus.is_empty() {
            let part = self.part.lock();
            let gpus = part.as_ref().map(|part| part.gpus().join(",")).unwrap_or_default();
            // None is an empty list, at which no device is seen.
            env.insert("CUDA_VISIBLE_DEVICES".to_owned(), gpus);
        }
        // Without a group one huge request is refused at once; smaller ones are seen when they are in use.
        let data = limits.memory.filter(|_| group.is_none());
        let bounds = Bounds {
            cgroup: group.as_ref().map(|group| group.path().display().to_string()),
            oom_score_adj: settings.oom_score_adj,
            data: data.map(|memory| memory.saturating_mul(2).saturating_add(DATA_MORE)),
            cwd: Some(work.path().display().to_string()),
            user: item.run_as_user.clone(),
            env,
        };
        let via = (&shared.store, &shared.reporter, &self.log);
        let keeps = Arc::new(Keeps::new(item, via, (work.path(), &work.checkpoint())));
        Ok(Around { bounds, limits, group: group.map(Arc::new), keeps, _work: work })
    }

    async fn prepare(&self) -> Result<(BundleFolder, Started, Around), Unstarted> {
        let Self { shared, item, .. } = self;
        let system =
            |kind, why: String| Unstarted::Failed(Box::new(failure(kind, Fault::System, why)));
        self.room().await?;
        passed::forget(shared, item, self.pulled.passed);
        let around = self.around().map_err(|why| system(FailureKind::CouldNotStart, why))?;
        let folder = shared.bundles.folder(&item.bundle).await;
        let folder =
            folder.map_err(|error| system(FailureKind::CouldNotStart, error.to_string()))?;
        let conf = startup::conf(item, &shared.store).await;
        let conf = conf.map_err(|why| system(FailureKind::CouldNotStart, why))?;
        let resume = startup::resumed(item, &shared.store).await;
        let resume = resume.map_err(|why| system(FailureKind::CouldNotStart, why))?;
        let with = With { conf: conf.as_deref(), resume: resume.as_ref(), callback: None };
        let startup = self.startup(with, &folder);
        let at_once = (!self.must_ask()).then_some(startup.as_slice());
        if at_once.is_some() {
            // Its code may run before its start is a fact.
            let marked = self.shared.begun.mark(&item.key);
            let why = |error| {
                format!("the start of the try can't be marked on this machine's disk: {error}")
            };
            marked.map_err(|error| system(FailureKind::CouldNotStart, why(error)))?;
        }
        let bounds = &around.bounds;
        let start = Start { item, folder: &folder, log: &self.log, startup: at_once, bounds };
        let mut process = self.place.start(start).await.map_err(|error| match error {
            PlaceError::Load(error) => {
                Unstarted::Failed(Box::new(failure_to_load(&error, &folder)))
            }
            PlaceError::Start(why) => system(FailureKind::CouldNotStart, why),
        })?;
        if self.must_ask() {
            process.startup = startup;
        }
        Ok((folder, process, around))
    }

    pub(super) fn startup(&self, with: With<'_>, folder: &Path) -> Vec<u8> {
        let settings = &self.shared.settings;
        let folder = folder.to_string_lossy();
        let here = (settings.hostname.as_str(), settings.max_map_length);
        startup::frame(self.item, with, here, &folder, self.shared.clock.now())
    }

    /// There will be no process. A redelivery asks even so whether the try is its own to fail.
    async fn unstarted(&self, failure: Failure) -> End {
        if self.must_ask() {
            let started = self.shared.reporter.report(&self.item.key, self.started(0));
            let asked = async {
                let waiting = started.send_asking().await.ok()?;
                Some(started.answer(waiting).await)
            };
            let answer = tokio::select! {
                answer = asked => answer,
                () = self.shared.shutdown.started() => None,
            };
            started.forget();
            match answer {
                Some(Ok(())) => {}
                Some(Err(_)) => return End::Silent,
                None => return End::Nak,
            }
        }
        self.conclude(Verdict::Failed(Box::new(failure)), Said::default(), None, Used::default())
            .await
    }

    pub(super) fn started(&self, pid: u32) -> ReportBody {
        let mut inputs = std::collections::BTreeMap::new();
        inputs.insert("bundle".to_owned(), self.item.bundle.to_string());
        inputs.insert("python".to_owned(), self.place.python_of(self.item));
        let (hostname, again) = (self.shared.settings.hostname.clone(), self.pulled.again);
        ReportBody::Started { hostname, pid, inputs, again }
    }

    /// What answers the process of the try.
    pub(super) fn server(
        &self,
        stream: UnixStream,
        startup: Vec<u8>,
        phase: &PhaseTeller,
        keeps: Option<Arc<Keeps>>,
    ) -> Server {
        let Self { shared, item, .. } = self;
        Server {
            key: item.key.clone(),
            stream: BufReader::new(stream),
            startup,
            reporter: shared.reporter.clone(),
            xcoms: XComs::new(Arc::clone(&shared.ports.state), shared.store.clone()),
            api: ApiClient::new(
                Arc::clone(&shared.ports.signals),
                shared.store.clone(),
                item.queued_seq,
                item.key.clone(),
            ),
            secrets: SecretsClient::new(
                Arc::clone(&shared.ports.signals),
                format!("task {}.{}", item.key.dag_id, item.key.task_id),
                item.queued_seq,
                PATIENCE,
            ),
            date: item.run.logical_date,
            first_started_at: item.first_started_at,
            held: Arc::clone(self.held),
            keeps,
            log: Arc::clone(&self.log),
            phase: phase.clone(),
        }
    }
}
