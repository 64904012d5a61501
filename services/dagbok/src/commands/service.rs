//! `dagbok scheduler|executor|triggerer|processor|ui|alerting`: one service, on NATS.
use std::{
    collections::BTreeMap,
    future::Future,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::Router;
use dagbok_archive::Archive;
use dagbok_config::Config;
use dagbok_runlog::{Ports, RunLog};
use dagbok_runlog_jetstream::Connection;
use dagbok_runtime::{Clock, Shutdown};
use serde_json::json;

use super::standalone::{ApiParts, check_log, start_alerting, start_api};
use crate::{
    cli::{
        AlertingArgs, ExecutorArgs, Global, KubernetesArgs, NatsArgs, OneArgs, ProcessorArgs,
        SchedulerArgs, TriggererArgs, UiArgs,
    },
    codes::Code,
    context::{Context, Flags, nats_flags, path_text, push},
    failure::{Failure, Outcome},
    folders::{self, Pythons, push_folders},
    python::Python,
    services::{self, Crew, Stage},
    wire,
};

/// How long a service that holds no tries may take to end.
const PATIENCE: Duration = Duration::from_secs(15);

/// What the executor that makes pods is called where figures are sent to.
const PODS: &str = "dagbok-pods";

/// What a service has once it is connected.
struct Base {
    context: Context,
    ports: Ports,
    connection: Connection,
    clock: Clock,
    crew: Crew,
}

impl Base {
    fn config(&self) -> &Config {
        &self.context.config
    }

    /// This service's folder on this machine.
    fn folder(&self, service: &str) -> Result<PathBuf, Failure> {
        Ok(self.home()?.join(service).join(&self.config().nats.namespace))
    }

    /// The installation's folder on this machine, marked as one.
    fn home(&self) -> Result<PathBuf, Failure> {
        let home = self.context.home()?;
        dagbok_processor::mark_home(&home);
        Ok(home)
    }

    /// Serves figures and health where it is told to.
    async fn serve_figures(&mut self, service: &'static str) -> Result<(), Failure> {
        let Some(at) = self.config().telemetry.metrics_listen else { return Ok(()) };
        if service == "ui" && at == self.config().ui.listen && at.port() != 0 {
            let what = format!("telemetry.metrics_listen and ui.listen are both {at}");
            let next =
                "leave telemetry.metrics_listen out: the UI serves /metrics at ui.listen too";
            return Err(Failure::new(Code::Config, what).next(next));
        }
        let listener = services::bind(at).await?;
        tracing::info!(%at, "figures and health are served");
        let router = services::with_health(
            services::with_metrics(Router::new(), None),
            service,
            self.connection.clone(),
        );
        let shutdown = self.crew.shutdown(Stage::Answers);
        self.crew.add(Stage::Answers, "metrics", services::serve(listener, router, shutdown));
        Ok(())
    }

    /// The log of alerts; made, where it is to be and is not there.
    async fn alert_log(&self, creates: bool) -> Result<Arc<dyn RunLog>, Failure> {
        let log = self.connection.alert_log(creates).await;
        log.map_err(|error| wire::failure(&error))
    }

    /// Says which rights this service's user lacks. A scheduler that can't write the log or the lease would wait for ever:
    /// it ends. Whatever else it lacks may be granted in another form, or never be needed: it is said.
    async fn check_rights(&self, service: &'static str, queues: &[String]) -> Result<(), Failure> {
        // Where the server does not say what a user may do, what is denied is said when it is.
        let Ok(Some(granted)) = self.connection.permissions().await else { return Ok(()) };
        let config = self.config();
        let namespace = &config.nats.namespace;
        let missing = granted.missing(service, namespace, queues).join(", ");
        let leading = granted.leading_lacks(namespace);
        if service == "scheduler" && !leading.is_empty() {
            let what = format!("this user may not lead: it lacks {missing}");
            return Err(Failure::new(Code::BrokerMisconfigured, what).next(
                "connect as the scheduler's user (--nats-user), or grant this one what it lacks",
            ));
        }
        if !missing.is_empty() {
            tracing::warn!(
                service,
                missing,
                "the user of this service lacks rights: grant it what is missing"
            );
        }
        Ok(())
    }

    fn say_up(&self, service: &str) {
        let nats = &self.config().nats;
        let version = self.connection.server_version();
        let build = env!("CARGO_PKG_VERSION");
        tracing::info!(service, build, namespace = nats.namespace, nats = %version, "connected");
    }
}

/// Connects, lets `start` add the service, and runs until the end.
async fn run<F>(
    global: &Global,
    nats: &NatsArgs,
    flags: Flags,
    names: (&'static str, &'static str),
    start: impl FnOnce(Base) -> F,
) -> Outcome
where
    F: Future<Output = Result<Crew, Failure>>,
{
    run_with(global, nats, (flags, false), names, start).await
}

/// As [`run`]; the place of big things is taken over where that is asked for.
async fn run_with<F>(
    global: &Global,
    nats: &NatsArgs,
    (mut flags, takes_over): (Flags, bool),
    (service, name): (&'static str, &'static str),
    start: impl FnOnce(Base) -> F,
) -> Outcome
where
    F: Future<Output = Result<Crew, Failure>>,
{
    flags.extend(nats_flags(nats)?);
    let context = Context::new(global, flags)?;
    // What no broker could mend is said before one is asked.
    services::queues(&context.config)?;
    let telemetry = services::telemetry(name, &context.config)?;
    let patience =
        if service == "executor" { context.config.executor.drain.0 + PATIENCE } else { PATIENCE };
    let outcome = async {
        let (ports, connection) = wire::connect(&context.config, service, takes_over).await?;
        let crew = Crew::new(patience);
        let mut base = Base { context, ports, connection, clock: Clock::system(), crew };
        base.say_up(service);
        let config = base.config();
        let pulls = if name == PODS { &config.kubernetes.queues } else { &config.executor.queues };
        base.check_rights(service, &pulls.clone()).await?;
        base.serve_figures(service).await?;
        // On the heap: every command's future would carry a service's start.
        Box::pin(start(base)).await?.run().await
    };
    let outcome = outcome.await;
    let sent = tokio::task::spawn_blocking(move || telemetry.finish()).await;
    sent.map_err(|panic| Failure::new(Code::Bug, panic))?;
    outcome
}

/// Where a scheduler keeps how far it has sent figures, traces and lineage; nowhere where it sends none.
fn figures_folder(base: &Base, sends: bool) -> Result<Option<PathBuf>, Failure> {
    if !sends && dagbok_telemetry::span_sender().is_none() {
        return Ok(None);
    }
    let folder = base.folder("scheduler")?;
    std::fs::create_dir_all(&folder).map_err(|error| {
        let what = format!("can't make `{}`: {error}", folder.display());
        Failure::new(Code::HomeUnusable, what)
    })?;
    Ok(Some(folder))
}

/// `dagbok scheduler`.
pub(crate) async fn scheduler(global: &Global, args: &SchedulerArgs) -> Outcome {
    let names = ("scheduler", "dagbok-scheduler");
    let mut flags = Flags::new();
    let lease = args.executor_lease.map(|lease| lease.to_string());
    push(&mut flags, "--executor-lease", "executor.lease", lease);
    let flags = (flags, args.take_over_blobs);
    run_with(global, &args.nats, flags, names, async |mut base: Base| {
        let mut settings = services::scheduler(base.config())?;
        settings.ignore_lease = args.ignore_lease;
        settings.accept_shorter_log = args.accept_shorter_log;
        let archive = base.config().retention.archive.as_deref().map(Archive::new);
        settings.archiving = archive.and_then(|it| services::archiving(base.config(), it));
        let statsd = services::statsd(base.config())?;
        let lineage = services::lineage(base.config())?;
        check_log(&base.ports, &settings).await?;
        let folder = figures_folder(&base, statsd.is_some() || lineage.is_some())?;
        if let (Some(socket), Some(folder)) = (statsd, &folder) {
            let (log, stop) = (Arc::clone(&base.ports.log), base.crew.shutdown(Stage::Answers));
            let with = (base.config(), Some(socket));
            services::Numbers::follow(log, folder, with, &stop).await;
        }
        let shutdown = base.crew.shutdown(Stage::Decides);
        tokio::spawn(services::follow_log(
            Arc::clone(&base.ports.log),
            base.crew.shutdown(Stage::Answers),
        ));
        let traces = services::export_runs(
            Arc::clone(&base.ports.log),
            folder.as_deref(),
            base.crew.shutdown(Stage::Answers),
        )
        .await;
        base.crew.add(Stage::Answers, "traces", traces);
        let pages = services::export_pages(
            base.alert_log(false).await?,
            folder.clone(),
            base.crew.shutdown(Stage::Answers),
        );
        base.crew.add(Stage::Answers, "traces of alerts", pages);
        let lineage = services::export_lineage(
            lineage,
            Arc::clone(&base.ports.log),
            folder.as_deref(),
            base.crew.shutdown(Stage::Answers),
        )
        .await;
        base.crew.add(Stage::Answers, "lineage", lineage);
        let service = dagbok_scheduler::run(base.ports, settings, base.clock, shutdown);
        base.crew.add(Stage::Decides, "scheduler", service);
        Ok(base.crew)
    })
    .await
}

/// Keeps track, while there is no connection, of whether the broker refuses everybody. A partition is
/// something else: there another executor may be given the work.
fn watch_broker(connection: Connection, shutdown: Shutdown) -> Arc<AtomicBool> {
    const EVERY: Duration = Duration::from_millis(500);
    let down = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&down);
    tokio::spawn(async move {
        while !shutdown.is_started() {
            let refused = !connection.health().connected && connection.refused_by_all().await;
            told.store(refused, Ordering::Relaxed);
            tokio::time::sleep(EVERY).await;
        }
    });
    down
}

/// `dagbok executor`.
pub(crate) async fn executor(global: &Global, args: &ExecutorArgs) -> Outcome {
    let mut flags = Flags::new();
    push(&mut flags, "--slots", "executor.slots", args.slots.map(i64::from));
    push(
        &mut flags,
        "--queues",
        "executor.queues",
        (!args.queues.is_empty()).then(|| args.queues.clone()),
    );
    push(&mut flags, "--lease", "executor.lease", args.lease.map(|lease| lease.to_string()));
    push(&mut flags, "--memory", "executor.memory", args.memory.map(|size| size.to_string()));
    push(&mut flags, "--cpus", "executor.cpus", args.cpus);
    push(&mut flags, "--gpus", "executor.gpus", (!args.gpus.is_empty()).then(|| args.gpus.clone()));
    let custom: BTreeMap<String, i64> = args
        .resource
        .iter()
        .map(|(name, count)| (name.clone(), i64::try_from(*count).unwrap_or(i64::MAX)))
        .collect();
    push(&mut flags, "--resource", "executor.resources", (!custom.is_empty()).then_some(custom));
    push(&mut flags, "--name", "executor.name", args.name.clone());
    let labels: BTreeMap<String, String> = args.label.iter().cloned().collect();
    push(&mut flags, "--label", "executor.labels", (!labels.is_empty()).then_some(labels));
    let null = args.null;
    run(global, &args.nats, flags, ("executor", "dagbok-executor"), async |mut base: Base| {
        let pythons = Pythons::find(base.config()).await?;
        let folder = base.folder("executor")?;
        let mut settings = services::executor(base.config(), &pythons.tries, folder)?;
        settings.environments = pythons.environments;
        if null {
            settings.runner = dagbok_executor::Runner::Null;
        }
        // Where nobody has a broker, nobody else can be given the work.
        let down = watch_broker(base.connection.clone(), base.crew.shutdown(Stage::Answers));
        settings.broker_down = Some(Arc::new(move || down.load(Ordering::Relaxed)));
        let shutdown = base.crew.shutdown(Stage::Takes);
        services::follow_executor(
            &settings.stats,
            settings.slots,
            &base.crew.shutdown(Stage::Answers),
        );
        base.crew.add_leaving(
            Stage::Takes,
            "executor",
            dagbok_executor::run(base.ports, settings, base.clock, shutdown),
        );
        Ok(base.crew)
    })
    .await
}

/// `dagbok executor kubernetes`.
pub(crate) async fn kubernetes(global: &Global, args: &KubernetesArgs) -> Outcome {
    let mut flags = Flags::new();
    push(&mut flags, "--slots", "kubernetes.slots", args.slots.map(i64::from));
    let queues = (!args.queues.is_empty()).then(|| args.queues.clone());
    push(&mut flags, "--queues", "kubernetes.queues", queues);
    push(&mut flags, "--image", "kubernetes.image", args.image.clone());
    let template = path_text(args.pod_template_file.as_ref())?;
    push(&mut flags, "--pod-template-file", "kubernetes.pod_template_file", template);
    push(&mut flags, "--name", "kubernetes.name", args.name.clone());
    run(global, &args.nats, flags, ("executor", PODS), async |mut base: Base| {
        let (settings, client) = services::pods(base.config()).await?;
        let shutdown = base.crew.shutdown(Stage::Takes);
        let service = dagbok_pods::run(base.ports, settings, client, base.clock, shutdown);
        base.crew.add_leaving(Stage::Takes, "executor", service);
        Ok(base.crew)
    })
    .await
}

/// `dagbok executor one`: in a pod, for the try that it was made for.
pub(crate) async fn one(global: &Global, args: &OneArgs) -> Outcome {
    let bad = |error: dagbok_events::BadId| {
        Failure::from_error(Code::Usage, &error).next(
            "this is what a pod runs that `dagbok executor kubernetes` made: don't run it by hand",
        )
    };
    let maker = args.maker.as_deref().map(dagbok_events::ExecutorName::new);
    let claim = dagbok_executor::Claim {
        queue: dagbok_events::QueueName::new(args.queue.as_str()).map_err(bad)?,
        address: args.claim.clone(),
        key: args.key.clone(),
        maker: maker.transpose().map_err(bad)?,
    };
    let id = dagbok_events::ExecutorId::new(args.executor.as_str()).map_err(bad)?;
    let mut flags = Flags::new();
    push(&mut flags, "--queue", "executor.queues", Some(vec![args.queue.clone()]));
    push(&mut flags, "--slots", "executor.slots", Some(1_i64));
    // Whoever ends a pod has its own patience, by which the try's last words must be said.
    push(&mut flags, "--drain", "executor.drain", Some("0s".to_owned()));
    run(global, &args.nats, flags, ("executor", "dagbok-executor"), async |mut base: Base| {
        let python = Python::find_for_tries(base.config(), None).await?;
        let mut settings = services::executor(base.config(), &python, base.folder("executor")?)?;
        (settings.executor, settings.claim) = (id, Some(claim));
        let down = watch_broker(base.connection.clone(), base.crew.shutdown(Stage::Answers));
        settings.broker_down = Some(Arc::new(move || down.load(Ordering::Relaxed)));
        let shutdown = base.crew.shutdown(Stage::Takes);
        let service = dagbok_executor::run(base.ports, settings, base.clock, shutdown);
        base.crew.add_leaving(Stage::Takes, "executor", service);
        Ok(base.crew)
    })
    .await
}

/// `dagbok triggerer`.
pub(crate) async fn triggerer(global: &Global, args: &TriggererArgs) -> Outcome {
    let mut flags = Flags::new();
    push(&mut flags, "--lease", "executor.lease", args.lease.map(|lease| lease.to_string()));
    run(global, &args.nats, flags, ("triggerer", "dagbok-triggerer"), async |mut base: Base| {
        let pythons = Pythons::find(base.config()).await?;
        let folder = base.folder("triggerer")?;
        let mut settings = services::triggerer(base.config(), &pythons.tries, folder)?;
        settings.environments = pythons.environments;
        let shutdown = base.crew.shutdown(Stage::Takes);
        let service = dagbok_executor::run_triggerer(base.ports, settings, base.clock, shutdown);
        base.crew.add(Stage::Takes, "triggerer", service);
        Ok(base.crew)
    })
    .await
}

/// `dagbok processor`.
pub(crate) async fn processor(global: &Global, args: &ProcessorArgs) -> Outcome {
    let mut flags = Flags::new();
    push_folders(&mut flags, &args.dags)?;
    run(global, &args.nats, flags, ("processor", "dagbok-processor"), async |mut base: Base| {
        let pythons = Pythons::find(base.config()).await?;
        let cache = base.home()?.join("cache");
        let mut all = services::processors(base.config(), &pythons.folders, &cache)?;
        folders::check(&all)?;
        for settings in &mut all {
            services::hear_of_pods(settings, base.config());
        }
        let shutdown = base.crew.shutdown(Stage::Takes);
        base.crew.add(
            Stage::Takes,
            "processor",
            dagbok_processor::run_all(base.ports, all, base.clock, shutdown),
        );
        Ok(base.crew)
    })
    .await
}

/// `dagbok ui`; with `--json` one line: `api`, `pid`.
pub(crate) async fn ui(global: &Global, args: &UiArgs) -> Outcome {
    let mut flags = Flags::new();
    push(&mut flags, "--listen", "ui.listen", args.listen.map(|at| at.to_string()));
    run(global, &args.nats, flags, ("ui", "dagbok-ui"), async |mut base: Base| {
        let (keys, folder) = (base.home()?, base.folder("ui")?);
        let config = base.config().clone();
        let alerts = Some(base.alert_log(false).await?);
        let address = start_api(
            &mut base.crew,
            &base.ports,
            // Blobs on NATS are another service's to delete.
            ApiParts {
                config: &config,
                home: &folder,
                keys: &keys,
                accept_shorter_log: args.accept_shorter_log,
                alerts,
                statsd: None,
            },
            &base.clock,
        )
        .await?;
        let (out, api) = (base.context.out, format!("http://{address}"));
        if out.is_json() {
            out.json_line(&json!({ "api": api, "pid": std::process::id() }));
        } else {
            out.line(&format!("API {api}"));
        }
        Ok(base.crew)
    })
    .await
}

/// `dagbok alerting`.
pub(crate) async fn alerting(global: &Global, args: &AlertingArgs) -> Outcome {
    let mut flags = Flags::new();
    let file = path_text(args.alerting_config.as_ref())?;
    push(&mut flags, "--alerting-config", "alerting.config", file);
    run(global, &args.nats, flags, ("alerting", "dagbok-alerting"), async |mut base: Base| {
        let settings = services::alerting(base.config(), &base.context.home()?);
        let log = base.alert_log(true).await?;
        let broker: Arc<dyn dagbok_alerting::Stores> =
            Arc::new(wire::Broker(base.connection.clone()));
        let stands_on = (log, Some(broker), wire::big_things(base.config())?);
        start_alerting(&mut base.crew, &base.ports, stands_on, settings, &base.clock);
        Ok(base.crew)
    })
    .await
}
