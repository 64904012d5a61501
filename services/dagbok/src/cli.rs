//! The command line, as types. What each command does is in [`crate::commands`].
mod about;
mod alerts;
mod archive;
mod backfill;
mod backup;
mod change;
mod dags;
mod examples;
mod hitl;
mod metrics;
mod pools;
mod providers;
mod runs;
mod secrets;
mod services;
mod tasks;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use about::{
    Completion, ConfigCommand, ConfigShow, CordonExecutor, ExecutorsCommand, Explain, Init, Man,
};
pub(crate) use alerts::{
    AlertsCommand, Backtest as BacktestAlerts, Change as ChangeAlert, Check as CheckAlerting,
    Explain as ExplainAlerts, List as AlertsList, OnCall, Silence as SilenceAlerts,
    Test as TestReceiver, Trace as TraceAlerts,
};
pub(crate) use archive::{ArchiveCommand, Verify};
pub(crate) use backfill::{
    BackfillCommand, ChangeBackfill, CreateBackfill, ListBackfills, Reprocess,
};
pub(crate) use backup::{Backup, BackupCommand, Restore};
pub(crate) use change::{Asked, DryRun, Reason};
pub(crate) use dags::{
    Check as CheckDags, DagsCommand, Delete as DeleteDags, List as DagsList, NextExecution, Pause,
    Reschedule, Show, Test, Trigger, Unpause,
};
pub(crate) use examples::with_examples;
pub(crate) use hitl::{AnswerHitl, HitlCommand, HitlOf, ListHitl};
pub(crate) use metrics::{MetricHistory, MetricsCommand, VerifyMetrics};
pub(crate) use pools::{File as PoolFile, Pool, PoolsCommand, SetPool};
pub(crate) use providers::{Install as InstallProviders, ProvidersCommand};
pub(crate) use runs::{
    Callbacks, Cancel, Clear, Delete, Events, List as RunsList, MarkRun, Note, OtherRuns, Prune,
    Run, RunLogs, RunsCommand, Wait, WhyRun,
};
pub(crate) use secrets::{
    AddConnection, Connection, ConnectionsCommand, ExportConnections, ExportVariables, FileFormat,
    GetConnection, GetVariable, ImportConnections, ImportVariables, OnExisting, SecretsCommand,
    Serialization, SetVariable, Variable, VariablesCommand,
};
pub(crate) use services::{
    AlertingArgs, ConformanceArgs, DeleteNamespace, Doctor, ExecutorArgs, ExecutorCommand,
    KubernetesArgs, NamespacesCommand, NatsArgs, OneArgs, ProcessorArgs, SchedulerArgs, Standalone,
    TriggererArgs, UiArgs,
};
pub(crate) use tasks::{
    Alone, ListTasks, Logs, MarkTask, NoteTask, TasksCommand, Usage, Why, WhyOf, WhyTask,
    XcomCommand, Xcoms,
};

use crate::{
    exit::Exit,
    output::{Format, Held, Out},
};

/// Where an API is looked for when nobody says.
pub(crate) const DEFAULT_API: &str = "http://127.0.0.1:8793";

/// An event-sourced orchestrator for Airflow DAG files.
#[derive(Debug, Parser)]
#[command(name = "dagbok", version, propagate_version = true, after_help = Exit::help(), max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The heading of what every command takes.
const EVERYWHERE: &str = "With every command";

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// The API of a running installation [default: DAGBOK_API, or http://127.0.0.1:8793]
    #[arg(long, value_name = "URL", global = true, help_heading = EVERYWHERE)]
    pub(crate) api: Option<String>,
    /// The installation's folder; with commands that only read, its log is read without a service
    #[arg(long, value_name = "DIR", global = true, help_heading = EVERYWHERE)]
    pub(crate) home: Option<PathBuf>,
    /// The configuration [default: dagbok.toml in the installation's folder, if it is there]
    #[arg(long, env = "DAGBOK_CONFIG", value_name = "FILE", global = true, help_heading = EVERYWHERE)]
    pub(crate) config: Option<PathBuf>,
    /// The shape of results [default: table]
    #[arg(long, short, value_enum, value_name = "FORMAT", global = true, hide_possible_values = true, help_heading = EVERYWHERE, help = "The shape of results: table, wide, json, yaml or name [default: table]")]
    pub(crate) output: Option<Format>,
    /// As `-o json`: one document, or one a line for streams; what goes wrong is one on standard error,
    /// `{error: {code, exit, message, next}}`, and a note `{note}`
    #[arg(long, global = true, conflicts_with = "output", help_heading = EVERYWHERE)]
    pub(crate) json: bool,
    /// Ask again every N seconds, and draw what is new: lists, shows and `status` [default: 2]
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "2", global = true, help_heading = EVERYWHERE, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) watch: Option<u64>,
    /// The Python interpreter [default: the one beside this binary, or on the PATH]
    #[arg(long, env = "DAGBOK_PYTHON", value_name = "FILE", global = true, help_heading = EVERYWHERE)]
    pub(crate) python: Option<PathBuf>,
    /// A folder with the `dagbok` package, where the interpreter does not have it
    #[arg(long, env = "DAGBOK_PYTHONPATH", value_name = "DIR", global = true, help_heading = EVERYWHERE)]
    pub(crate) python_path: Option<PathBuf>,
    /// What reads DAG files and runs tries: Dagbok's own package, or an installed Airflow (exact mode)
    #[arg(long, env = "DAGBOK_RUNTIME", value_name = "NAME", global = true, help_heading = EVERYWHERE, value_parser = ["dagbok", "airflow"])]
    pub(crate) runtime: Option<String>,
    /// The Python of an environment with Airflow 3.1, 3.2 or 3.3, for exact mode
    #[arg(long, env = "DAGBOK_AIRFLOW_PYTHON", value_name = "FILE", global = true, help_heading = EVERYWHERE)]
    pub(crate) airflow_python: Option<PathBuf>,
    /// Where results are held back that are drawn together.
    #[arg(skip)]
    pub(crate) held: Option<&'static Held>,
}

impl Global {
    /// Where results go.
    pub(crate) fn out(&self) -> Out {
        let format = if self.json { Format::Json } else { self.output.unwrap_or_default() };
        Out::new(format, self.held)
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run all services in one process, on a log of its own
    Standalone(Standalone),
    /// Run the scheduler, on NATS
    Scheduler(SchedulerArgs),
    /// Run an executor, on NATS
    Executor(Box<ExecutorArgs>),
    /// Run a triggerer, on NATS: it runs what deferred tasks wait for
    Triggerer(TriggererArgs),
    /// Run the processor of DAG files, on NATS
    Processor(ProcessorArgs),
    /// Run the API, on NATS
    Ui(UiArgs),
    /// Run alerting, on NATS: it tells people of what goes wrong, whoever else is down
    Alerting(AlertingArgs),
    /// Whether all is right, on one screen: services, runs, failures, files, alerts
    #[command(
        after_help = "With --json: `home`, what the first page of the UI has, `health`, the API's, and `executors`"
    )]
    Status,
    /// Make a folder with a first DAG, a test of it, and a configuration
    #[command(after_help = "With --json: `folder`, `files`")]
    Init(Init),
    /// DAGs: list, show, test, trigger, pause
    #[command(subcommand)]
    Dags(DagsCommand),
    /// Runs: list, show, why, logs, wait, retry, clear, cancel
    #[command(subcommand)]
    Runs(RunsCommand),
    /// Tasks: list, logs, why they wait, what they have handed on
    #[command(subcommand)]
    Tasks(TasksCommand),
    /// Say why a DAG, a run or a task waits: all that is in its way, who has it, since when, and what comes before it
    #[command(
        after_help = "With --json, the API's `WhyAnswer`: `message`, `is` with `state` and `reasons`, `place`, `expected`, `roots`"
    )]
    Why(Why),
    /// What tasks hand on: list, get
    #[command(subcommand)]
    Xcom(XcomCommand),
    /// What tasks ask people: list, show, answer
    #[command(subcommand)]
    Hitl(HitlCommand),
    /// Backfills: create, list, show, pause, resume, cancel
    #[command(subcommand)]
    Backfill(BackfillCommand),
    /// Pools of slots that tasks share: list, get, set, delete, import, export
    #[command(subcommand)]
    Pools(PoolsCommand),
    /// Executors: list, show, cordon, drain, uncordon
    #[command(subcommand)]
    Executors(ExecutorsCommand),
    /// Figures: list, verify, history
    #[command(subcommand)]
    Metrics(MetricsCommand),
    /// Connections to other systems: add, list, get, delete, import, export, test
    #[command(subcommand)]
    Connections(ConnectionsCommand),
    /// Variables: set, list, get, delete, import, export
    #[command(subcommand)]
    Variables(VariablesCommand),
    /// The master key of variables and connections: rotate
    #[command(subcommand)]
    Secrets(SecretsCommand),
    /// Provider packages of a DAG folder, in an environment of its own: install, list, remove
    #[command(subcommand)]
    Providers(ProvidersCommand),
    /// Alerts: list, show, ack, resolve, silence, test, check, trace
    #[command(subcommand)]
    Alerts(AlertsCommand),
    /// Let runs go that are over and old, and say before how much that frees
    #[command(
        after_help = "With --json, the API's `Pruned`: `dry_run`, `runs`, `bytes`, `dags`, `more`"
    )]
    Prune(Prune),
    /// Copy an installation's folder as it is now, also while it runs: the log, the archive, files beside them
    #[command(
        long_about = "Copy an installation's folder as it is now, also while it runs: the log up to its last record, the log of alerts, the archive, what tasks wrote and handed on, the configuration, and by choice the keys. What can be made again is left out. The manifest that is written last has the digest of each file. On NATS it copies what is not on the server, and says how the rest is copied",
        after_help = "With --json: `folder`, `manifest` (its digest), `log` and `alerts` with `mark`, `first`, `last`, `blobs`, `files`, `bytes`, `keys`; on NATS `commands`"
    )]
    Backup(Backup),
    /// Put a backup back where there is no installation: the folder of --home is not there, or empty
    #[command(after_help = "With --json: `home`, `manifest`, `made_at`, `log`, `key`, `lacks_key`")]
    Restore(Restore),
    /// The archive of old records: verify
    #[command(subcommand)]
    Archive(ArchiveCommand),
    /// The log itself, record by record
    #[command(
        after_help = "With --json, one record a line: `seq`, `at`, `scope`, `dag_id`, `run_id`, `by`, `reason`, `cause`, `trace`, and `facts`, a list of objects with their name as `type`"
    )]
    Events(Events),
    /// Check what the services need, and say what to do
    #[command(
        after_help = "With --json: `ok`, and `findings`, a list of `check`, `status` (`ok`, `warning`, `error`), `message`, `next`"
    )]
    Doctor(Doctor),
    /// Namespaces on NATS: list, delete
    #[command(subcommand)]
    Namespaces(NamespacesCommand),
    /// The configuration: show, check
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Explain the code of an error, as DBK0014; without one list all
    #[command(after_help = "With --json: `code`, `page`; without a code a list of `code`, `about`")]
    Explain(Explain),
    /// Print what has a shell complete commands: `source <(dagbok completion bash)`
    Completion(Completion),
    /// Write the man pages of all commands into a folder: `man -l DIR/dagbok.1` reads them there
    #[command(after_help = "With --json: `folder`, `pages`")]
    Man(Man),
    /// This build, and the API's
    #[command(after_help = "With --json: `version`, and `api`, the API's version or null")]
    Version,
}
