//! The executor's life: start, work, drain.
use std::{collections::VecDeque, sync::Arc, time::Duration};

use dagbok_inbox::{LOOKUP_VARIABLE, Lookup};
use dagbok_protocol::names;
use dagbok_runlog::Ports;
use dagbok_runtime::{Clock, Shutdown};
use futures::future::try_join_all;
use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, oneshot},
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_util::task::TaskTracker;

use crate::{
    ExecutorError, ExecutorSettings, Runner,
    begun::{self, Begun},
    bundle::Bundles,
    cgroup::Cgroups,
    claim,
    fence::Fence,
    held::{Control, Holds, Kill},
    lease::Lease,
    log::{LOGS, LogFolder, Logs, Masks, hand_in},
    oom::OomWatch,
    orders,
    place::{Begin, Choice, Environments, Place, Pool},
    pull::pull,
    reports::Reporter,
    room::Room,
    settings::AfterDrain,
    shared::{Shared, since_boot},
    standing::{self, Standing},
    store::Store,
    usage::Meters,
    work::{self, Work},
};

/// What the last reports may take once every process is gone.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// What the goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// Runs an executor until `shutdown` starts and the tries in hand are over, handed back or ended. An error
/// means that it could not begin.
///
/// The process's cgroup is taken over when this is called: what is started afterwards, by whomever, is in the right one.
pub fn run(
    ports: Ports,
    settings: ExecutorSettings,
    clock: Clock,
    shutdown: Shutdown,
) -> impl Future<Output = Result<(), ExecutorError>> + Send {
    let groups = isolation(&settings);
    live(ports, settings, clock, shutdown, groups)
}

async fn live(
    ports: Ports,
    settings: ExecutorSettings,
    clock: Clock,
    shutdown: Shutdown,
    (cgroups, isolation): (Option<Cgroups>, String),
) -> Result<(), ExecutorError> {
    check(&settings)?;
    let store = Store::new(Arc::clone(&ports.blobs));
    let home = |source| ExecutorError::Home { path: settings.home.clone(), source };
    let bundles = Bundles::open(settings.home.join("bundles"), store.clone()).map_err(home)?;
    let (logs, executor) = (settings.home.join(LOGS), settings.executor.clone());
    let made = tokio::task::spawn_blocking(move || LogFolder::make(logs, &executor)).await;
    let folder = Arc::new(made.expect("making a folder does not panic").map_err(home)?);
    let begun = Begun::open(settings.home.join("begun"), &settings.executor).map_err(home)?;
    let work = Work::open(&settings.home, &settings.executor).map_err(home)?;
    allow_many_files();
    let masks = Masks::default();
    let mut settings = settings;
    // Kept to the end: the socket goes with it.
    let lookup = Lookup::start(Arc::clone(&ports.signals), "an executor", shutdown.clone());
    tell_lookup(&lookup, &mut settings);
    let (place, pools) = places(&settings, &masks).await?;
    let reporter = tokio::select! {
        () = shutdown.started() => return Ok(()),
        reporter = Reporter::open(&ports, settings.executor.clone(), clock.clone()) => reporter,
    };
    let shared = Arc::new(Shared {
        clock: clock.clone(),
        store,
        reporter,
        holds: Holds::default(),
        bundles,
        begun,
        place,
        logs: Logs::new(folder.own.clone(), clock, masks),
        room: Room::new(settings.resources.clone(), &settings.gpus),
        cgroups,
        isolation,
        work,
        meters: Meters::start(settings.usage_every),
        oom: OomWatch::new(),
        fence: Mutex::new(Fence::new(settings.lease, since_boot())),
        slots: Arc::new(Semaphore::new(settings.slots as usize)),
        settings,
        ports,
        standing: Standing::new(),
        parting: tokio::sync::watch::channel(None).0,
        shutdown: shutdown.child(),
        asked: shutdown,
    });
    serve(Arc::clone(&shared), Arc::clone(&folder)).await;
    shared.begun.tidy();
    shared.work.tidy();
    let pools = std::mem::take(&mut *pools.lock());
    for (end, supervised) in pools {
        drop(end);
        drop(supervised.await);
    }
    drop(tokio::task::spawn_blocking(move || folder.tidy()).await);
    shared.standing.refused().map_or(Ok(()), |why| Err(ExecutorError::Refused { why }))
}

/// Has files find where to ask for variables while they are loaded.
fn tell_lookup<E: std::fmt::Display>(lookup: &Result<Lookup, E>, settings: &mut ExecutorSettings) {
    match lookup {
        Ok(lookup) => {
            let socket = lookup.socket().display().to_string();
            settings.env.insert(LOOKUP_VARIABLE.to_owned(), socket);
        }
        Err(error) => {
            tracing::warn!(%error, "files can't ask for variables of the log while they are loaded");
        }
    }
}

/// How tries are held to their limits here. Before any child is there: it would stay where it was.
fn isolation(settings: &ExecutorSettings) -> (Option<Cgroups>, String) {
    if settings.runner == Runner::Null {
        return (None, String::new());
    }
    let (cgroups, told) = match Cgroups::take_over(settings.executor.as_str()) {
        Ok(cgroups) => {
            let told = cgroups.told();
            (Some(cgroups), told)
        }
        Err(why) => {
            let told = format!(
                "no cgroups ({why}): memory is looked at and more than the limit is ended; CPU and processes are not bounded"
            );
            (None, told)
        }
    };
    tracing::info!(isolation = told, "how tries are held to their limits");
    (cgroups, told)
}

/// What keeps a place's processes going: it ends when the first is dropped.
type Kept = (oneshot::Sender<()>, JoinHandle<()>);

/// All that keeps places going, of those too that begin later.
type Pools = Arc<Mutex<Vec<Kept>>>;

/// Where tries run: nowhere, in one place, or in several where Airflow runs some or DAG folders have environments.
async fn places(
    settings: &ExecutorSettings,
    masks: &Masks,
) -> Result<(Option<Arc<dyn Place>>, Pools), ExecutorError> {
    if settings.runner == Runner::Null {
        return Ok((None, Pools::default()));
    }
    let beside = settings.airflow.as_ref().map(|airflow| settings.in_airflow(airflow));
    let environments = settings.environments.as_ref();
    let known = environments.map(|it| it.known.clone()).unwrap_or_default();
    let inside = known.values().map(|it| settings.in_environment(it));
    let all = std::iter::once(settings.clone()).chain(inside).chain(beside);
    let all = try_join_all(all.map(|settings| place(settings, masks.clone()))).await?;
    let (mut places, kept): (VecDeque<_>, Vec<_>) = all.into_iter().unzip();
    let pools = Arc::new(Mutex::new(kept));
    let own = places.pop_front().expect("the first is always there");
    if places.is_empty() && environments.is_none() {
        return Ok((Some(own), pools));
    }
    let airflow = settings.airflow.clone().and_then(|whose| Some((whose, places.pop_back()?)));
    let known = known.into_keys().zip(places).collect();
    let begin = begin_in(settings, masks, &pools);
    let environments = environments.map(|it| Environments::new(it.find.clone(), begin, known));
    Ok((Some(Arc::new(Choice { own, environments, airflow })), pools))
}

/// Begins a place in an environment that was not known at the start.
fn begin_in(settings: &ExecutorSettings, masks: &Masks, pools: &Pools) -> Begin {
    let (settings, masks, pools) = (settings.clone(), masks.clone(), Arc::clone(pools));
    Box::new(move |environment| {
        let inside = settings.in_environment(&environment);
        let (masks, pools) = (masks.clone(), Arc::clone(&pools));
        Box::pin(async move {
            let (place, kept) = place(inside, masks).await.map_err(|error| error.to_string())?;
            pools.lock().push(kept);
            Ok(place)
        })
    })
}

async fn place(
    settings: ExecutorSettings,
    masks: Masks,
) -> Result<(Arc<dyn Place>, Kept), ExecutorError> {
    let python = settings.python.clone();
    let started = Pool::start(settings, masks).await;
    let (pool, base) = started.map_err(|why| ExecutorError::Python { python, why })?;
    let (end, ends) = oneshot::channel::<()>();
    let ends = async move { drop(ends.await) };
    let place = Arc::clone(&pool) as Arc<dyn Place>;
    Ok((place, (end, tokio::spawn(pool.supervise(base, ends)))))
}

fn check(settings: &ExecutorSettings) -> Result<(), ExecutorError> {
    let bad = |setting, why: &str| Err(ExecutorError::Setting { setting, why: why.to_owned() });
    if settings.slots == 0 {
        return bad("slots", "is 0: it must be at least 1");
    }
    if settings.queues.is_empty() {
        return bad("queues", "names none: it must name at least one");
    }
    if settings.lease < Duration::from_secs(1) {
        return bad("lease", "is too short: it must be at least 1 s");
    }
    Ok(())
}

/// A try takes four descriptors: the soft limit of a shell is soon reached.
fn allow_many_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // Refused, the old limit holds.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(65_536), hard);
    }
}

async fn serve(shared: Arc<Shared>, folder: Arc<LogFolder>) {
    let lease = Arc::new(Lease::new(Arc::clone(&shared)));
    shared.tell_slots();
    let mut beside = JoinSet::new();
    beside.spawn(shared.reporter.clone().hear(Arc::clone(&shared.ports.signals)));
    beside.spawn(orders::obey(Arc::clone(&shared)));
    standing::learn(&shared).await;
    beside.spawn(standing::follow(Arc::clone(&shared)));
    beside.spawn(standing::leave_when_drained(Arc::clone(&shared)));
    beside.spawn(orders::read_logs(Arc::clone(&shared)));
    beside.spawn(orders::read_usage(Arc::clone(&shared)));
    // The presence first: a try that is pulled must find this executor there.
    lease.put_presence(shared.settings.lease / 4).await;
    beside.spawn({
        let lease = Arc::clone(&lease);
        async move { tokio::join!(lease.renew(), lease.watch(), lease.join()).0 }
    });
    // Before any work: what is offered again may be a try that they had begun.
    tokio::select! {
        () = begun::hand_in(&shared, &folder) => {}
        () = shared.shutdown.started() => {}
    }
    // One after the other: each speaks for the dead alone, and would pass over whom the other has in hand.
    beside.spawn({
        let shared = Arc::clone(&shared);
        async move {
            hand_in(Arc::clone(&shared), Arc::clone(&folder)).await;
            work::sweep(shared, folder).await;
        }
    });
    let (tries, mut pulls) = (TaskTracker::new(), JoinSet::new());
    match shared.settings.claim.clone() {
        Some(claim) => {
            pulls.spawn(claim::run(Arc::clone(&shared), claim, tries.clone()));
        }
        None => {
            for queue in shared.settings.queues.clone() {
                pulls.spawn(pull(Arc::clone(&shared), queue, tries.clone()));
            }
        }
    }
    shared.shutdown.started().await;
    let held = shared.holds.all();
    tracing::info!(held = held.len(), "the executor takes no more work");
    if !held.is_empty() {
        const NAMED: usize = 5;
        let names: Vec<String> = held.iter().take(NAMED).map(|it| it.key.to_string()).collect();
        let at_most = shared.settings.drain_timeout;
        tracing::info!(
            held = held.len(),
            tries = names.join(", "),
            ?at_most,
            "waiting for tries to end; a second signal ends them at once"
        );
    }
    lease.put_presence(GOODBYE).await;
    while pulls.join_next().await.is_some() {}
    drain(&shared, &tries).await;
    let key = names::presence_key(&shared.settings.executor);
    let goodbye = async {
        let left = shared.reporter.left().send().await;
        let deleted = shared.ports.state.delete(&key).await;
        left.is_ok() && deleted.is_ok()
    };
    beside.abort_all();
    if !timeout(GOODBYE, goodbye).await.unwrap_or(false) {
        tracing::warn!("the executor could not say goodbye: it will be found to be gone");
    }
}

/// Waits for the tries in hand, then ends them, then gives up on what can't be reported.
async fn drain(shared: &Shared, tries: &TaskTracker) {
    let settings = &shared.settings;
    tries.close();
    if waited_for_drained(shared, tries).await
        || timeout(settings.drain_timeout, tries.wait()).await.is_ok()
    {
        return;
    }
    end(shared, tries).await;
}

/// Where somebody had it drained, their limit counts and what is set of its end, until whoever runs the process asks
/// for that themselves. Whether all is over.
async fn waited_for_drained(shared: &Shared, tries: &TaskTracker) -> bool {
    let settings = &shared.settings;
    let Some(mut order) = shared.standing.drained_by().filter(|_| !shared.asked.is_started())
    else {
        return false;
    };
    loop {
        let limit = order.limit_ms.map_or(settings.drain_timeout, Duration::from_millis);
        let over = async {
            tokio::time::sleep(limit).await;
            if settings.after_drain == AfterDrain::Wait {
                let held = shared.holds.all().len();
                tracing::info!(
                    held,
                    ?limit,
                    "the drain's limit is over: tries go on to their ends, as it is set"
                );
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = tries.wait() => return true,
            () = shared.asked.started() => return false,
            // Whoever says it anew means another time, from now on.
            () = shared.standing.drained_anew(order.seq) => {}
            () = over => break,
        }
        if let Some(newer) = shared.standing.drained_by() {
            tracing::info!(limit_ms = newer.limit_ms, "the drain has another limit");
            order = newer;
        } else {
            // It is uncordoned already, and leaves all the same, within the time that was said before.
            order.seq = u64::MAX;
        }
    }
    end(shared, tries).await;
    true
}

async fn end(shared: &Shared, tries: &TaskTracker) {
    let held = shared.holds.all().len();
    tracing::warn!(held, "tries are ended because they were not over in time");
    shared.holds.tell_all(&Control::Kill(Kill::Drained));
    if timeout(shared.settings.kill_grace * 2 + LAST_WORDS, tries.wait()).await.is_err() {
        tracing::error!(held = shared.holds.all().len(), "tries are left to be found lost");
    }
}
