//! Every key with its default and its bounds. The comments are the reference: they become the schema's
//! descriptions; and the bounds are what [`crate::load`] holds values to. A period's are in seconds.
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Blobs, Executor, Folders, Kubernetes, Lineage, Logging, Period, QueueLimits, Secret};

/// The whole of `dagbok.toml`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The one writer.
    pub scheduler: Scheduler,
    /// Pools by name, as `[pools.NAME]`. Those that are not named here are left as they are.
    pub pools: BTreeMap<String, Pool>,
    /// Who runs tries.
    pub executor: Executor,
    /// Who runs each try in a pod of its own.
    pub kubernetes: Kubernetes,
    /// What a try may use that does not say so itself, by its queue, as `[limits.QUEUE]`; `[limits."*"]` is for all others.
    pub limits: BTreeMap<String, QueueLimits>,
    /// Who reads DAG files.
    pub processor: Processor,
    /// The address and the manners of the API.
    pub ui: Ui,
    /// Who is told of what goes wrong.
    pub alerting: Alerting,
    /// Where services that run apart meet.
    pub nats: Nats,
    /// The Python that DAG files and tasks run in.
    pub python: Python,
    /// Exact mode: an Airflow that is installed reads files and runs tries, in the place of Dagbok's own package.
    pub airflow: Airflow,
    /// How variables and connections are kept.
    pub secrets: Secrets,
    /// What is kept, and for how long.
    pub retention: Retention,
    /// Where big things lie.
    pub blobs: Blobs,
    /// Airflow's settings of remote logging.
    pub logging: Logging,
    /// Log lines.
    pub log: Log,
    /// Figures for the outside.
    pub telemetry: Telemetry,
    /// Lineage for the outside.
    pub lineage: Lineage,
}

/// How variables and connections are kept: encrypted, by a key that lies outside of every log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Secrets {
    /// The file of the master key, which whoever serves the API reads: 32 bytes in Base64; further lines have older keys.
    /// Where not said, `secrets.key` in the installation's folder, which is made when it is needed first.
    pub key_file: Option<PathBuf>,
}

/// Who is told of what goes wrong. Receivers and routes stand in a file of their own, which is taken anew whenever
/// it changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Alerting {
    /// Receivers, chains and routes; where not said, `alerting.toml` in the installation's folder, if it is there.
    pub config: Option<PathBuf>,
    /// How long an alerting service may be silent before its stand-by takes over; from `1s` on.
    #[schemars(extend("minimum" = 1))]
    pub lease: Period,
}

impl Default for Alerting {
    fn default() -> Self {
        Self { config: None, lease: Period::secs(5) }
    }
}

/// The one writer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Scheduler {
    /// How long a scheduler may be silent before its stand-by takes over; from `1s` on.
    #[schemars(extend("minimum" = 1))]
    pub lease: Period,
    /// How many records may be between two snapshots of its fold.
    #[schemars(range(min = 1))]
    pub snapshot_every: u64,
    /// Tries that may be in flight at once over all DAGs, queued ones included: Airflow's `core.parallelism`.
    #[schemars(range(min = 1))]
    pub parallelism: u32,
    /// How long a try may be queued while an executor has a free slot for it, or none is there: then another takes
    /// its place, and after the third in a row its task fails. `0s` for ever. Airflow's
    /// `scheduler.task_queued_timeout`.
    pub task_queued_timeout: Period,
    /// Tries of one task in one run that may be lost by the system's fault and are made up for, beside the task's own
    /// retries; the next loss fails it, and with 0 the first does. Losses that a neighbour brought about don't count.
    pub max_losses: u16,
    /// A DAG that does not say is paused once so many of its newest runs have failed, all of them; 0 for never.
    /// Airflow's `core.max_consecutive_failed_dag_runs_per_dag`.
    #[schemars(range(max = 1_000))]
    pub max_consecutive_failed_dag_runs_per_dag: u32,
}

impl Default for Scheduler {
    fn default() -> Self {
        Self {
            lease: Period::secs(3),
            snapshot_every: 50_000,
            parallelism: 1_024,
            task_queued_timeout: Period::secs(600),
            max_losses: 10,
            max_consecutive_failed_dag_runs_per_dag: 0,
        }
    }
}

/// A pool that is to be as it stands here whenever a scheduler begins to lead, whatever was made of it since.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// How many slots it has; -1 for no limit.
    #[schemars(range(min = -1))]
    pub slots: i64,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// Whether tasks that are deferred take up its slots too.
    #[serde(default)]
    pub include_deferred: bool,
}

/// How lines of `.airflowignore` are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IgnoreSyntax {
    /// As in `.gitignore`: Airflow 3's default.
    #[default]
    Glob,
    /// Regular expressions: Airflow 2's default.
    Regexp,
}

/// Who reads DAG files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Processor {
    /// The DAG folder, or a list of several, each as `DIR` or `NAME=DIR`: each is read, packed and run by itself.
    pub dags: Folders,
    /// A file that takes longer to parse is stopped, and is an import error; from `1s` on.
    #[schemars(extend("minimum" = 1))]
    pub parse_timeout: Period,
    /// How often the folder is walked though nothing was seen to change; from `1s` on.
    #[schemars(extend("minimum" = 1))]
    pub rescan: Period,
    /// How long the folder must be quiet before a change is acted on; a quarter of that where each file that
    /// changed was closed by who wrote it.
    #[schemars(extend("maximum" = 3600))]
    pub debounce: Period,
    /// Files parsed at once; the cores, and at most two, where not set.
    #[schemars(range(min = 1))]
    pub parsers: Option<usize>,
    /// Whether DAGs seen for the first time are paused, where they don't say.
    pub paused_at_creation: bool,
    /// How lines of `.airflowignore` are read.
    pub ignore_syntax: IgnoreSyntax,
}

impl Default for Processor {
    fn default() -> Self {
        Self {
            dags: Folders::default(),
            parse_timeout: Period::secs(30),
            rescan: Period::secs(30),
            debounce: Period::millis(200),
            parsers: None,
            paused_at_creation: false,
            ignore_syntax: IgnoreSyntax::Glob,
        }
    }
}

/// The address and the manners of the API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ui {
    /// Where the API listens. Whoever can reach it can do everything: it asks for no password.
    pub listen: SocketAddr,
    /// Names that the API may be asked by besides this machine's own (`localhost`, `127.0.0.1`), without a
    /// port: `dagbok.example`. Requests by other names are refused, since a page in a browser can send
    /// those. `*` is any name.
    pub allowed_hosts: Vec<String>,
    /// Pages that may ask the API besides this machine's own: `https://dagbok.example`. `*` is any.
    pub allowed_origins: Vec<String>,
}

impl Default for Ui {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8793)),
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
        }
    }
}

/// Where services that run apart meet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Nats {
    /// Servers of one cluster, at least one: `nats://host:4222`, `tls://host`.
    #[schemars(length(min = 1))]
    pub urls: Vec<String>,
    /// The unit of tenancy, of pools and of scale-out.
    pub namespace: String,
    /// A user, with `password`.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// A token.
    pub token: Option<Secret>,
    /// The seed of an NKEY.
    pub nkey_seed: Option<Secret>,
    /// A `.creds` file.
    pub creds_file: Option<PathBuf>,
    /// Who vouches for the server, in PEM.
    pub ca_file: Option<PathBuf>,
    /// This client's certificate, in PEM; with `key_file`.
    pub cert_file: Option<PathBuf>,
    /// This client's key, in PEM.
    pub key_file: Option<PathBuf>,
    /// Copies of every stream that has to be made: 1, 3 or 5; where not set, 3 in a cluster and 1 on one server.
    #[schemars(extend("enum" = [1, 3, 5, null]))]
    pub replicas: Option<usize>,
    /// The servers' monitoring addresses (`http://127.0.0.1:8222`), with commas between them: from there `doctor` reads
    /// durability, and alerting how full JetStream is.
    pub monitor: Option<String>,
    /// How long one question to the server may take, from `100ms` on; `5s` where not set.
    #[schemars(extend("minimum" = 0.1))]
    pub timeout: Option<Period>,
}

impl Default for Nats {
    fn default() -> Self {
        Self {
            urls: vec!["nats://127.0.0.1:4222".to_owned()],
            namespace: "default".to_owned(),
            user: None,
            password: None,
            token: None,
            nkey_seed: None,
            creds_file: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            replicas: None,
            monitor: None,
            timeout: None,
        }
    }
}

/// The Python that DAG files and tasks run in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Python {
    /// The interpreter; the one beside the `dagbok` binary or on the `PATH`, where not set.
    pub interpreter: Option<PathBuf>,
    /// A folder with the `dagbok` package, where the interpreter does not have it.
    pub path: Option<PathBuf>,
}

/// Exact mode: which Airflow, and what it runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Airflow {
    /// What reads DAG files and runs tries: Dagbok's own package, or an installed Airflow's parser and task runner.
    pub runtime: Runtime,
    /// The Python of an environment with Airflow 3.1, 3.2 or 3.3.
    pub python: Option<PathBuf>,
    /// DAGs whose tries Airflow runs though `runtime` is `dagbok`; `*` stands for any text.
    pub dags: Vec<String>,
    /// Pools whose tries Airflow runs though `runtime` is `dagbok`; `*` stands for any text.
    pub pools: Vec<String>,
}

/// What files and tries run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// Dagbok's own package, which answers what files import from Airflow.
    #[default]
    Dagbok,
    /// An Airflow that is installed.
    Airflow,
}

/// What is kept, and for how long. What is older goes; what goes is said by facts, and counted by
/// `dagbok prune --dry-run`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// How long a run is kept after its end, with its task instances, XComs and logs; `0s` for ever.
    pub runs: Period,
    /// How long what its tries wrote is kept after a run's end; `0s` for as long as the run. A run that goes on keeps
    /// what it has by then.
    pub logs: Period,
    /// How long what its tasks handed on is kept after a run's end; `0s` for as long as the run. A task of a run that is
    /// cleared later and asks for such a value fails, and is told so.
    pub xcoms: Period,
    /// How many finished runs of a DAG are kept at most, whatever their age; all where not set.
    #[schemars(range(min = 1))]
    pub runs_per_dag: Option<u64>,
    /// How long a DAG that no file defines any more is kept once it has no run left; `0s` for ever.
    pub dags: Period,
    /// How long a version of a DAG is kept that no run of it has, and new ones do not get; `0s` for ever.
    pub versions: Period,
    /// How long an executor is shown after it left; `0s` for ever.
    pub executors: Period,
    /// How long a report that was refused is shown, if its run is not gone before; `0s` for ever.
    pub reports: Period,
    /// How long a backfill is shown after it was over; `0s` for ever. Its runs go as all others.
    pub backfills: Period,
    /// How long logs, large values and code are kept that nothing names any more; at least as long as an executor
    /// may be without its broker; `0s` for ever.
    pub blobs: Period,
    /// How long the records of the event log stay at hand before they go into the archive; `0s` for ever.
    /// From the archive they are read as before, only slower.
    pub log: Period,
    /// The folder of the archive. Where not set, `archive` in the home of a standalone; and on NATS none, so that
    /// the log keeps all its records: there it is to be a folder that the schedulers and the UI share.
    pub archive: Option<PathBuf>,
    /// Records of one file of the archive; until so many are old enough, they stay in the log.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub archive_records: usize,
    /// How often is looked for what is to go; from `1s` on.
    #[schemars(extend("minimum" = 1))]
    pub every: Period,
}

impl Default for Retention {
    fn default() -> Self {
        const DAY: u64 = 24 * 3_600;
        Self {
            runs: Period::secs(365 * DAY),
            logs: Period::secs(0),
            xcoms: Period::secs(0),
            runs_per_dag: None,
            dags: Period::secs(365 * DAY),
            versions: Period::secs(365 * DAY),
            executors: Period::secs(365 * DAY),
            reports: Period::secs(365 * DAY),
            backfills: Period::secs(365 * DAY),
            blobs: Period::secs(2 * DAY),
            log: Period::secs(30 * DAY),
            archive: None,
            archive_records: 16_384,
            every: Period::secs(600),
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For eyes on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// For eyes.
    Text,
    /// One JSON object a line.
    Json,
}

/// Log lines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// What is logged: `info`, `info,dagbok_scheduler=debug`. `DAGBOK_LOG` goes before it.
    pub filter: String,
    /// How lines look.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info,async_nats=warn".to_owned(), format: LogFormat::Auto }
    }
}

/// How values of StatsD carry their tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StatsdTags {
    /// Not at all: what they would say stands in dotted names alone.
    #[default]
    Off,
    /// After the value, `|#dag_id:etl`: Airflow's `metrics.statsd_datadog_enabled`.
    Datadog,
    /// In the name, `ti_failures,dag_id=etl`: Airflow's `metrics.statsd_influxdb_enabled`.
    Influx,
}

/// Figures for the outside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// Where a service that runs apart serves `/metrics` and `/health`; nowhere where not set.
    pub metrics_listen: Option<SocketAddr>,
    /// Whether `/metrics` has series of every single task, besides those of every DAG.
    pub task_labels: bool,
    /// Where values go by Airflow's names of StatsD: `udp://host:8125` or `unix:///path`; nowhere where not set. Said to
    /// schedulers: of several, the one that leads sends.
    pub statsd: Option<String>,
    /// What all names of StatsD begin with: Airflow's `metrics.statsd_prefix`.
    pub statsd_prefix: String,
    /// How values of StatsD carry their tags.
    pub statsd_tags: StatsdTags,
    /// Whether dotted names with ids in them are sent too: Airflow's `metrics.legacy_names_on`.
    pub statsd_legacy_names: bool,
    /// Regular expressions of names that are sent, all where there are none: Airflow's `metrics.metrics_allow_list`.
    pub statsd_allow: Vec<String>,
    /// Regular expressions of names that are not sent, without an allow list: Airflow's `metrics.metrics_block_list`.
    pub statsd_block: Vec<String>,
    /// Tags that are left out: Airflow's `metrics.statsd_disabled_tags`.
    pub statsd_disabled_tags: Vec<String>,
    /// How often gauges are sent by StatsD; from `100ms` on.
    #[schemars(extend("minimum" = 0.1))]
    pub statsd_every: Period,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            metrics_listen: None,
            task_labels: false,
            statsd: None,
            statsd_prefix: "airflow".to_owned(),
            statsd_tags: StatsdTags::Off,
            statsd_legacy_names: true,
            statsd_allow: Vec::new(),
            statsd_block: Vec::new(),
            statsd_disabled_tags: vec!["job_id".to_owned(), "run_id".to_owned()],
            statsd_every: Period::secs(5),
        }
    }
}
