//! Arguments of the services.
use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand};

/// All services in one process.
#[derive(Clone, Debug, Args)]
pub(crate) struct Standalone {
    /// A DAG folder, as DIR or NAME=DIR; once more for each further one
    #[arg(long, value_name = "DIR")]
    pub(crate) dags: Vec<PathBuf>,
    /// Where the API listens [default: 127.0.0.1:8793]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// Tries at once [default: twice the cores, at least 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) slots: Option<u32>,
    /// Start on a log that has lost records (a restored backup), and give up what is missing
    #[arg(long)]
    pub(crate) accept_shorter_log: bool,
    /// Take over the place on the object store from another copy of this log, which is gone for good, or give up what lies
    /// in the place of before
    #[arg(long)]
    pub(crate) take_over_blobs: bool,
    /// Who is told of what goes wrong [default: alerting.toml in the installation's folder, if it is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) alerting_config: Option<PathBuf>,
}

/// Where services that run apart meet.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct NatsArgs {
    /// NATS servers of one cluster, separated by commas [default: nats://127.0.0.1:4222]
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    pub(crate) nats: Vec<String>,
    /// The namespace [default: default]
    #[arg(long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// A NATS `.creds` file
    #[arg(long, value_name = "FILE")]
    pub(crate) nats_creds: Option<PathBuf>,
    /// The NATS user; the password comes from DAGBOK__NATS__PASSWORD
    #[arg(long, value_name = "NAME")]
    pub(crate) nats_user: Option<String>,
    /// Who vouches for the NATS server, in PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) nats_ca: Option<PathBuf>,
    /// This client's certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "nats_key")]
    pub(crate) nats_cert: Option<PathBuf>,
    /// This client's key, in PEM
    #[arg(long, value_name = "FILE", requires = "nats_cert")]
    pub(crate) nats_key: Option<PathBuf>,
    /// Copies of every stream that the scheduler makes: 1, 3 or 5 [default: 3 in a cluster, else 1]
    #[arg(long, value_name = "N")]
    pub(crate) replicas: Option<usize>,
    /// Where /metrics and /health are served [default: nowhere]
    #[arg(long, value_name = "ADDR")]
    pub(crate) metrics_listen: Option<SocketAddr>,
}

/// The scheduler.
#[derive(Clone, Debug, Args)]
pub(crate) struct SchedulerArgs {
    #[command(flatten)]
    pub(crate) nats: NatsArgs,
    /// The lease of executors that name none, and how closely all are watched: five times in it
    /// [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub(crate) executor_lease: Option<dagbok_config::Period>,
    /// Lead without asking whether another does: for testing that two at once do no harm
    #[arg(long, hide = true)]
    pub(crate) ignore_lease: bool,
    /// Start on a log that has lost records (a restored backup), and give up what is missing
    #[arg(long)]
    pub(crate) accept_shorter_log: bool,
    /// Take over the place on the object store from another copy of this log, which is gone for good, or give up what lies
    /// in the place of before
    #[arg(long)]
    pub(crate) take_over_blobs: bool,
}

/// What else is done about an executor.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ExecutorCommand {
    /// Try whether an executor, whoever wrote it, does what the protocol asks for
    #[command(
        after_help = "With --json: `cases` (`case`, `passed`, `why`, `about`) and `passed`. Ends with 0 where all pass, \
                      with 1 where one does not."
    )]
    Conformance(Box<ConformanceArgs>),
    /// Run each try in a pod of Kubernetes: as `[kubernetes]` says, by this process' service account or the kubeconfig
    Kubernetes(Box<KubernetesArgs>),
    /// Run the one try that this process was started for, in its pod
    #[command(hide = true)]
    One(Box<OneArgs>),
}

/// `dagbok executor kubernetes`.
#[derive(Clone, Debug, Args)]
pub(crate) struct KubernetesArgs {
    #[command(flatten)]
    pub(crate) nats: NatsArgs,
    /// Pods at once [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) slots: Option<u32>,
    /// Queues to pull from, separated by commas [default: kubernetes]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) queues: Vec<String>,
    /// The image that tries run in, where neither the template nor the task names one
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<String>,
    /// A pod in YAML that every other is made from
    #[arg(long, value_name = "FILE")]
    pub(crate) pod_template_file: Option<PathBuf>,
    /// What it is called over its lives [default: kubernetes]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
}

/// `dagbok executor one`.
#[derive(Clone, Debug, Args)]
pub(crate) struct OneArgs {
    #[command(flatten)]
    pub(crate) nats: NatsArgs,
    /// Where the try's delivery is
    #[arg(long, env = dagbok_pods::CLAIM_VARIABLE)]
    pub(crate) claim: String,
    /// The queue that it was pulled from
    #[arg(long, env = dagbok_pods::QUEUE_VARIABLE)]
    pub(crate) queue: String,
    /// Whose item that is, as the queue names it
    #[arg(long = "try", env = dagbok_pods::TRY_VARIABLE)]
    pub(crate) key: String,
    /// Under which id it speaks
    #[arg(long, env = dagbok_pods::EXECUTOR_VARIABLE)]
    pub(crate) executor: String,
    /// What the executor is called that made its pod
    #[arg(long, env = dagbok_pods::MAKER_VARIABLE)]
    pub(crate) maker: Option<String>,
}

/// `dagbok executor conformance`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConformanceArgs {
    #[command(flatten)]
    pub(crate) nats: NatsArgs,
    /// The queue that the executor pulls from
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) queue: String,
    /// How long anything may take [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub(crate) patience: Option<dagbok_config::Period>,
    /// Only these cases, separated by commas
    #[arg(long, value_name = "CASE", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// What starts the executor, where it does not run already: `{nats}`, `{namespace}` and `{queue}` in it are filled in
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// An executor.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ExecutorArgs {
    #[command(subcommand)]
    pub(crate) command: Option<ExecutorCommand>,
    #[command(flatten)]
    pub(crate) nats: NatsArgs,
    /// Tries at once [default: twice the cores, at least 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) slots: Option<u32>,
    /// Queues to pull from, separated by commas [default: default]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) queues: Vec<String>,
    /// How long work may go unrenewed before it is taken for lost; from 5s on [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub(crate) lease: Option<dagbok_config::Period>,
    /// Memory that tries may ask for together, as 16GiB [default: not counted]
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<dagbok_config::Size>,
    /// CPUs that tries may ask for together [default: not counted]
    #[arg(long, value_name = "N")]
    pub(crate) cpus: Option<f64>,
    /// GPUs that tries can have, as CUDA names them, separated by commas
    #[arg(long, value_name = "DEVICE", value_delimiter = ',')]
    pub(crate) gpus: Vec<String>,
    /// What else tries may ask for together, as licence=2; may be given several times
    #[arg(long, value_name = "NAME=N", value_parser = resource)]
    pub(crate) resource: Vec<(String, u64)>,
    /// What it is called over its lives [default: the machine's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// What it is or where, as region=eu, which tasks may ask for; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    pub(crate) label: Vec<(String, String)>,
    /// Run no user code, and report success at once: for measuring what the rest can carry
    #[arg(long, hide = true)]
    pub(crate) null: bool,
}

/// `licence=2`.
fn resource(text: &str) -> Result<(String, u64), String> {
    let (name, count) = text.split_once('=').ok_or("write NAME=N, as licence=2")?;
    let count = count.parse().map_err(|_| format!("{count:?} is no whole number from 0 on"))?;
    if name.is_empty() { Err("it has no name".to_owned()) } else { Ok((name.to_owned(), count)) }
}

/// `region=eu`; a name alone is true.
fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').unwrap_or((text, "true"));
    if name.is_empty() {
        Err("it has no name: write NAME=VALUE, as region=eu".to_owned())
    } else {
        Ok((name.to_owned(), value.to_owned()))
    }
}

/// A triggerer.
#[derive(Clone, Debug, Args)]
pub(crate) struct TriggererArgs {
    #[command(flatten)]
    pub(crate) nats: NatsArgs,
    /// How long triggers may go unrenewed before they run elsewhere; from 5s on [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub(crate) lease: Option<dagbok_config::Period>,
}

/// The processor.
#[derive(Clone, Debug, Args)]
pub(crate) struct ProcessorArgs {
    #[command(flatten)]
    pub(crate) nats: NatsArgs,
    /// A DAG folder, as DIR or NAME=DIR; once more for each further one
    #[arg(long, value_name = "DIR")]
    pub(crate) dags: Vec<PathBuf>,
}

/// The API.
#[derive(Clone, Debug, Args)]
pub(crate) struct UiArgs {
    #[command(flatten)]
    pub(crate) nats: NatsArgs,
    /// Where the API listens [default: 127.0.0.1:8793]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// Start on a log that has lost records (a restored backup), and give up what is missing
    #[arg(long)]
    pub(crate) accept_shorter_log: bool,
}

/// Alerting.
#[derive(Clone, Debug, Args)]
pub(crate) struct AlertingArgs {
    #[command(flatten)]
    pub(crate) nats: NatsArgs,
    /// Receivers, chains and routes [default: alerting.toml in the installation's folder, if it is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) alerting_config: Option<PathBuf>,
}

/// What to check.
#[derive(Clone, Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) nats: NatsArgs,
    /// Has entries on the log that are no records passed over from now on, by a record for each
    #[arg(long)]
    pub(crate) repair: bool,
    /// Puts a small object into the object store for big things, reads it and deletes it
    #[arg(long)]
    pub(crate) write: bool,
    /// Which service's permissions on NATS are checked, as its user [default: the user's name, where it is a service's]
    #[arg(long, value_name = "SERVICE", value_parser = dagbok_runlog_jetstream::permissions::SERVICES)]
    pub(crate) service: Option<String>,
    /// The DAG folder, to be checked too; once more for each further one
    #[arg(long, value_name = "DIR")]
    pub(crate) dags: Vec<PathBuf>,
}

/// `dagbok namespaces …`.
#[derive(Debug, Subcommand)]
pub(crate) enum NamespacesCommand {
    /// List the namespaces on a NATS server, with what they hold and whether services live there
    #[command(
        after_help = "With --json: a list of `namespace`, `records`, `bytes`, `services`, `streams`, `missing`"
    )]
    List(NatsArgs),
    /// Delete a namespace with all that it holds: its log, too. Refused where services live there
    #[command(after_help = "With --json: `namespace`, `streams`, those that are gone")]
    Delete(DeleteNamespace),
}

/// `dagbok namespaces delete`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DeleteNamespace {
    /// Which, by its whole name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) nats: NatsArgs,
    /// Don't ask
    #[arg(long, short)]
    pub(crate) yes: bool,
}
