//! What an executor is told at its start. Every figure that a deployment may set is here; the published
//! limits are in [`dagbok_protocol::limits`].
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use dagbok_events::{DagId, ExecutorId, ExecutorName, Limits, QueueName, Resources, TaskId};
use dagbok_protocol::{WorkItem, limits::MAX_MAP_LENGTH};
use dagbok_runlog::digest_of;
use futures::future::BoxFuture;

use crate::{Claim, ExecutorStats};

/// Says whether the broker is down for everybody: then keeping a try alive harms nobody.
pub type BrokerDown = Arc<dyn Fn() -> bool + Send + Sync>;

/// How tries are run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Runner {
    /// As processes, forked from a Python that has the DAG file loaded.
    #[default]
    Python,
    /// Not at all: every try is reported as started and succeeded, and no user code runs. For measuring
    /// what the scheduler and the broker can carry; never for work.
    Null,
}

/// An Airflow that is installed, whose own task runner runs the tries of some DAGs and pools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AirflowRuntime {
    /// Its Python.
    pub python: PathBuf,
    /// The script that starts the package's modules there.
    pub start: PathBuf,
    /// What its processes are told by their environment.
    pub env: BTreeMap<String, String>,
    /// DAGs whose tries it runs; `*` stands for any text.
    pub dags: Vec<String>,
    /// Pools whose tries it runs; `*` stands for any text.
    pub pools: Vec<String>,
    /// Tasks, each behind its DAG, whose tries it runs besides, whatever their pool.
    pub tasks: BTreeSet<(DagId, TaskId)>,
}

impl AirflowRuntime {
    /// Whether it runs a try.
    pub(crate) fn takes(&self, item: &WorkItem) -> bool {
        let named = |patterns: &[String], name: &str| patterns.iter().any(|one| fits(one, name));
        named(&self.dags, item.key.dag_id.as_str())
            || named(&self.pools, item.pool.as_str())
            || self.tasks.contains(&(item.key.dag_id.clone(), item.key.task_id.clone()))
    }

    /// Whether it runs the tries of a pool.
    pub fn takes_pool(&self, pool: &str) -> bool {
        self.pools.iter().any(|one| fits(one, pool))
    }
}

/// Whether a name is as a pattern says, in which `*` stands for any text.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(left) = name.strip_prefix(start) else { return false };
    left.char_indices()
        .map(|(at, _)| &left[at..])
        .chain(std::iter::once(""))
        .any(|left| fits(rest, left))
}

/// The file that says what a DAG folder's own environment has.
pub const LOCK: &str = "dagbok.lock";

/// The Python of a DAG folder's own environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Its Python.
    pub python: PathBuf,
    /// Where the `dagbok` package lies, where it is not installed there.
    pub python_path: Option<PathBuf>,
}

/// Finds the environment that the lock in a folder asks for on this machine, or says why it can't be had.
pub type FindEnvironment =
    Arc<dyn Fn(PathBuf) -> BoxFuture<'static, Result<Environment, String>> + Send + Sync>;

/// Environments of DAG folders.
#[derive(Clone)]
pub struct FolderEnvironments {
    /// Those that are known, by the digests of their locks.
    pub known: BTreeMap<String, Environment>,
    /// Finds what is not among them.
    pub find: FindEnvironment,
}

/// The digest of the lock that lies in a folder, where one does.
pub fn lock_in(folder: &Path) -> io::Result<Option<String>> {
    match std::fs::read(folder.join(LOCK)) {
        Ok(lock) => Ok(Some(digest_of(&lock))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What becomes of tries that go on after the time limit of a drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AfterDrain {
    /// They are ended: lost by the system's fault, and tried elsewhere.
    #[default]
    End,
    /// They go on to their ends, however long that takes.
    Wait,
}

/// How an executor runs.
#[derive(Clone)]
pub struct ExecutorSettings {
    /// This life's id: a restart is another.
    pub executor: ExecutorId,
    /// The machine's name, for people.
    pub hostname: String,
    /// What it is called over its lives.
    pub name: ExecutorName,
    /// Whether it leaves when it is drained; else it stays and takes nothing new.
    pub leaves: bool,
    /// What becomes of tries after the time limit of a drain.
    pub after_drain: AfterDrain,
    /// Tries at once.
    pub slots: u32,
    /// Queues to pull from.
    pub queues: Vec<QueueName>,
    /// The one try that it is there for, where it pulls none: it ends with that.
    pub claim: Option<Claim>,
    /// How tries are run.
    pub runner: Runner,
    /// The Python to run tries with, as a path: a bare name would make each start a slow fork.
    pub python: PathBuf,
    /// Where the `dagbok` package lies, where it is not installed in that Python.
    pub python_path: Option<PathBuf>,
    /// Exact mode: the script that starts the package's modules in Airflow's own Python, which `python` then is.
    pub start: Option<PathBuf>,
    /// The Airflow that runs some of the tries, where it does not run all.
    pub airflow: Option<AirflowRuntime>,
    /// Environments of DAG folders: a try runs in the one whose lock its bundle has, one of a bundle without a lock in
    /// `python`. `None` where all run in `python`.
    pub environments: Option<FolderEnvironments>,
    /// Folder of this executor's own: bundles, and the logs of tries in flight.
    pub home: PathBuf,
    /// Environment of every try, over the executor's own.
    pub env: BTreeMap<String, String>,
    /// Which of the executor's own variables reach tries: names, or how they begin with `*` behind it.
    pub inherit_env: Vec<String>,
    /// What tries can use together; what is not said is not counted.
    pub resources: Resources,
    /// The GPUs that tries can have, as CUDA names them.
    pub gpus: Vec<String>,
    /// What a try may use that does not say so itself, by its queue; `*` stands for every other.
    pub limits: BTreeMap<String, Limits>,
    /// How much sooner than others tries are killed where the machine has no more memory.
    pub oom_score_adj: i32,
    /// How long work may go unrenewed before it is given to another; at least one second.
    pub lease: Duration,
    /// Whether tries are ended when the lease can't be renewed. Off where the queue lives in this very
    /// process, so that nobody else could be given the work.
    pub fencing: bool,
    /// Says whether the broker is down for everybody, where the carrier can tell.
    pub broker_down: Option<BrokerDown>,
    /// How long tries may go on after the executor was asked to end.
    pub drain_timeout: Duration,
    /// From SIGTERM to SIGKILL.
    pub kill_grace: Duration,
    /// From `execution_timeout`, which the task's own process watches, to the executor's SIGTERM.
    pub timeout_grace: Duration,
    /// From a task's last word to SIGKILL, where its process does not end.
    pub overtime: Duration,
    /// Elements that a task may return for others to be mapped over.
    pub max_map_length: u32,
    /// How long the import of a DAG file may take.
    pub load_timeout: Duration,
    /// DAG files held loaded at once; the one unused for longest goes first.
    pub loaded_files: usize,
    /// A loaded DAG file unused for this long is let go.
    pub loaded_idle: Duration,
    /// How long a process that was forked ahead of a try waits to be one; with none, none is.
    pub spares_for: Duration,
    /// How often it is looked at what tries use.
    pub usage_every: Duration,
    /// Figures for the outside.
    pub stats: Arc<ExecutorStats>,
}

impl ExecutorSettings {
    /// The defaults around what has none: four slots on the queue `default`, a lease of 30 s.
    pub fn new(executor: ExecutorId, hostname: String, python: PathBuf, home: PathBuf) -> Self {
        Self {
            executor,
            name: ExecutorName::or_of_machine(None, &hostname),
            hostname,
            leaves: true,
            after_drain: AfterDrain::End,
            slots: 4,
            queues: vec![QueueName::new("default").expect("a constant within the rules")],
            claim: None,
            runner: Runner::Python,
            python,
            python_path: None,
            start: None,
            airflow: None,
            environments: None,
            home,
            env: BTreeMap::new(),
            inherit_env: vec!["*".to_owned()],
            resources: Resources::default(),
            gpus: Vec::new(),
            limits: BTreeMap::new(),
            oom_score_adj: 500,
            lease: Duration::from_secs(30),
            fencing: true,
            broker_down: None,
            drain_timeout: Duration::from_mins(1),
            kill_grace: Duration::from_secs(5),
            timeout_grace: Duration::from_secs(3),
            overtime: Duration::from_secs(20),
            max_map_length: MAX_MAP_LENGTH,
            load_timeout: Duration::from_mins(2),
            loaded_files: 32,
            loaded_idle: Duration::from_mins(10),
            spares_for: Duration::from_secs(30),
            usage_every: Duration::from_secs(5),
            stats: Arc::default(),
        }
    }

    /// What a try may use: what it says itself first, then its queue's, then everybody's.
    pub(crate) fn limits_of(&self, item: &WorkItem) -> Limits {
        let of = |name: &str| self.limits.get(name).copied().unwrap_or_default();
        let (said, queue, all) = (item.limits, of(item.queue.as_str()), of("*"));
        Limits {
            memory: said.memory.or(queue.memory).or(all.memory),
            cpu_milli: said.cpu_milli.or(queue.cpu_milli).or(all.cpu_milli),
            processes: said.processes.or(queue.processes).or(all.processes),
        }
    }

    /// Whether one of this process' own variables reaches tries. Passwords of Dagbok's own never do.
    pub(crate) fn inherits(&self, name: &str) -> bool {
        let is_secret = [
            "DAGBOK__NATS__",
            "DAGBOK__SECRETS__",
            "DAGBOK__BLOBS__",
            "DAGBOK_NATS",
            "DAGBOK_SECRETS",
            "DAGBOK_BLOBS",
        ]
        .iter()
        .any(|own| name.starts_with(own));
        let named = |one: &String| match one.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => one == name,
        };
        !is_secret && self.inherit_env.iter().any(named)
    }

    /// The same for what Airflow runs of it.
    pub(crate) fn in_airflow(&self, airflow: &AirflowRuntime) -> Self {
        let mut settings = self.clone();
        settings.python.clone_from(&airflow.python);
        settings.start = Some(airflow.start.clone());
        settings.python_path = None;
        settings.airflow = None;
        settings.environments = None;
        // What the configuration says of every try stands above what is usual for Airflow.
        settings.env = airflow.env.clone();
        settings.env.extend(self.env.clone());
        settings
    }

    /// The same for what runs in the environment that a bundle has the lock of, where it is one of these.
    pub(crate) fn of(&self, bundle: &str) -> Option<Self> {
        let known = &self.environments.as_ref()?.known;
        let environment = known.get(&lock_in(Path::new(bundle)).ok()??)?;
        Some(self.in_environment(environment))
    }

    /// The same for what runs in an environment of a DAG folder.
    pub(crate) fn in_environment(&self, environment: &Environment) -> Self {
        let mut settings = self.clone();
        settings.python.clone_from(&environment.python);
        settings.python_path.clone_from(&environment.python_path);
        settings.airflow = None;
        settings.environments = None;
        settings
    }

    /// Whether the broker is known to be down for everybody.
    pub(crate) fn broker_is_down(&self) -> bool {
        self.broker_down.as_ref().is_some_and(|tell| tell())
    }
}

impl fmt::Debug for ExecutorSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecutorSettings")
            .field("executor", &self.executor)
            .field("slots", &self.slots)
            .field("queues", &self.queues)
            .field("runner", &self.runner)
            .field("python", &self.python)
            .field("home", &self.home)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{AirflowRuntime, ExecutorSettings, fits};

    #[test]
    fn what_is_configured_for_every_try_stands_above_what_is_usual_for_airflow() {
        let id = dagbok_events::ExecutorId::new("e").unwrap();
        let mut settings = ExecutorSettings::new(id, "here".into(), "python".into(), "home".into());
        settings.env.insert("AIRFLOW_HOME".into(), "/mine".into());
        let usual = [("AIRFLOW_HOME", "/usual"), ("OTHER", "1")];
        let env = usual.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let inside = settings.in_airflow(&AirflowRuntime { env, ..AirflowRuntime::default() });
        assert_eq!(inside.env["AIRFLOW_HOME"], "/mine");
        assert_eq!(inside.env["OTHER"], "1");
    }

    #[test]
    fn passwords_of_dagboks_own_reach_no_try() {
        let id = dagbok_events::ExecutorId::new("e").unwrap();
        let settings = ExecutorSettings::new(id, "here".into(), "python".into(), "home".into());
        for name in [
            "DAGBOK__NATS__PASSWORD",
            "DAGBOK__SECRETS__KEY_FILE",
            "DAGBOK__BLOBS__OPTIONS",
            "DAGBOK_BLOBS",
        ] {
            assert!(!settings.inherits(name), "{name}");
        }
        // Tasks have use for these as well.
        assert!(settings.inherits("AWS_SECRET_ACCESS_KEY") && settings.inherits("AIRFLOW_CONN_A"));
    }

    #[test]
    fn a_star_stands_for_any_text() {
        let yes = [
            ("a", "a"),
            ("*", "any"),
            ("*", ""),
            ("a*", "abc"),
            ("*c", "abc"),
            ("a*b*c", "axxbyc"),
        ];
        let no = [("a", "ab"), ("a*", "b"), ("*c", "cb"), ("a*b", "a"), ("", "a")];
        assert!(yes.iter().all(|(pattern, name)| fits(pattern, name)));
        assert!(!no.iter().any(|(pattern, name)| fits(pattern, name)));
    }
}
