//! `dagbok standalone`: all services in one process, on the embedded log.
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use dagbok_config::Config;
use dagbok_projection::FollowError;
use dagbok_runlog::RunLog;
use dagbok_runtime::Clock;
use serde_json::json;

use crate::{
    cli::{Global, Standalone},
    codes::Code,
    context::{Context, Flags, path_text, push},
    failure::{Failure, Outcome},
    folders::{self, Pythons, push_folders},
    services::{self, Crew, Stage},
    wire,
};

/// Beyond the drain, for what ends a try and reports it.
const AFTER_DRAIN: Duration = Duration::from_secs(15);

pub(crate) async fn run(global: &Global, args: &Standalone) -> Outcome {
    let mut flags = Flags::new();
    push_folders(&mut flags, &args.dags)?;
    push(&mut flags, "--listen", "ui.listen", args.listen.map(|at| at.to_string()));
    push(&mut flags, "--slots", "executor.slots", args.slots.map(i64::from));
    let alerting = path_text(args.alerting_config.as_ref())?;
    push(&mut flags, "--alerting-config", "alerting.config", alerting);
    let context = Context::new(global, flags)?;
    let telemetry = services::telemetry("dagbok", &context.config)?;
    let outcome = serve(&context, args).await;
    // The exporters block until what they hold is sent.
    let sent = tokio::task::spawn_blocking(move || telemetry.finish()).await;
    sent.map_err(|panic| Failure::new(Code::Bug, panic))?;
    outcome
}

async fn serve(context: &Context, args: &Standalone) -> Outcome {
    let accept_shorter_log = args.accept_shorter_log;
    let config = &context.config;
    let home = context.home()?;
    let (opened, python) =
        tokio::join!(wire::open(&home, config, args.take_over_blobs), Pythons::find(config));
    let ((ports, report), pythons) = (opened?, python?);
    let python = &pythons.tries;
    let mut scheduler = services::scheduler(config)?;
    scheduler.executors_end_with_process = true;
    scheduler.accept_shorter_log = accept_shorter_log;
    scheduler.archiving = services::archiving(config, wire::archive(&home, config));
    check_log(&ports, &scheduler).await?;
    let mut executor = services::executor(config, python, home.join(wire::EXECUTOR))?;
    executor.environments.clone_from(&pythons.environments);
    // The queue is in this process: nobody else could be given the work.
    executor.fencing = false;
    // Drained, it takes nothing new: it can't leave without the others.
    executor.leaves = false;
    let mut triggerer = services::triggerer(config, python, home.join("triggerer"))?;
    triggerer.environments = pythons.environments;
    triggerer.fencing = false;
    let mut processors = services::processors(config, &pythons.folders, &home.join("cache"))?;
    for it in &mut processors {
        it.state_ends_with_process = true;
    }
    folders::check(&processors)?;

    let alert_log = wire::alert_log(&home).await?;
    let clock = Clock::system();
    let mut crew = Crew::new(config.executor.drain.0 + AFTER_DRAIN);
    let alerts = Some(Arc::clone(&alert_log));
    let (statsd, lineage) = (services::statsd(config)?, services::lineage(config)?);
    let api = ApiParts { config, home: &home, keys: &home, accept_shorter_log, alerts, statsd };
    let address = start_api(&mut crew, &ports, api, &clock).await?;
    let figures = crew.shutdown(Stage::Answers);
    tokio::spawn(services::follow_log(ports.log.clone(), figures.clone()));
    services::follow_executor(&executor.stats, executor.slots, &figures);
    let traces = services::export_runs(ports.log.clone(), Some(&home), figures.clone()).await;
    crew.add(Stage::Answers, "traces", traces);
    let pages = crew.shutdown(Stage::Answers);
    let pages = services::export_pages(Arc::clone(&alert_log), Some(home.clone()), pages);
    crew.add(Stage::Answers, "traces of alerts", pages);
    let lineage = services::export_lineage(lineage, ports.log.clone(), Some(&home), figures).await;
    crew.add(Stage::Answers, "lineage", lineage);
    let deciding = crew.shutdown(Stage::Decides);
    crew.add(
        Stage::Decides,
        "scheduler",
        dagbok_scheduler::run(ports.clone(), scheduler, clock.clone(), deciding),
    );
    let alerting = services::alerting(config, &home);
    let stands_on = (alert_log, None, wire::big_things(config)?);
    start_alerting(&mut crew, &ports, stands_on, alerting, &clock);
    let taking = crew.shutdown(Stage::Takes);
    crew.add(
        Stage::Takes,
        "executor",
        dagbok_executor::run(ports.clone(), executor, clock.clone(), taking.clone()),
    );
    let service =
        dagbok_executor::run_triggerer(ports.clone(), triggerer, clock.clone(), taking.clone());
    crew.add(Stage::Takes, "triggerer", service);
    let folders: Vec<PathBuf> = processors.iter().map(|it| it.folder.clone()).collect();
    let service = dagbok_processor::run_all(ports, processors, clock, taking);
    crew.add(Stage::Takes, "processor", service);

    tracing::info!(%report, "the log is open");
    say_where(context, address, &home, &folders);
    crew.run().await
}

/// The log of alerting, what the broker may hold, and where big things lie.
pub(crate) type WatchedByAlerting = (
    Arc<dyn RunLog>,
    Option<Arc<dyn dagbok_alerting::Stores>>,
    Option<Arc<dyn dagbok_alerting::BigThings>>,
);

/// Starts alerting, which stands on the two logs and the small primitives.
pub(crate) fn start_alerting(
    crew: &mut Crew,
    ports: &dagbok_runlog::Ports,
    (alert_log, stores, blobs): WatchedByAlerting,
    settings: dagbok_alerting::Settings,
    clock: &Clock,
) {
    let stands_on = dagbok_alerting::Parts {
        run_log: Arc::clone(&ports.log),
        alert_log,
        state: Arc::clone(&ports.state),
        signals: Arc::clone(&ports.signals),
        snapshots: Arc::clone(&ports.snapshots),
        stores,
        blobs,
    };
    let shutdown = crew.shutdown(Stage::Tells);
    let service = dagbok_alerting::run(stands_on, settings, clock.clone(), shutdown);
    crew.add(Stage::Tells, "alerting", service);
}

/// Refuses a log that has lost records which the scheduler knows of, before anything is built on it.
pub(crate) async fn check_log(
    ports: &dagbok_runlog::Ports,
    settings: &dagbok_scheduler::SchedulerSettings,
) -> Result<(), Failure> {
    if settings.accept_shorter_log {
        return Ok(());
    }
    dagbok_scheduler::check_log(ports).await.map_err(|error| match error {
        dagbok_scheduler::SchedulerError::LogShorter { .. } => log_is_shorter(&error),
        error => Failure::of_service(&error),
    })
}

fn log_is_shorter(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::from_error(Code::LogShorter, error)
        .next("put the log that has them back; or give them up and start with --accept-shorter-log")
}

/// What the API is started with.
pub(crate) struct ApiParts<'a> {
    pub(crate) config: &'a Config,
    /// Where its read model lies.
    pub(crate) home: &'a Path,
    /// The installation's folder, where the master key of variables and connections lies.
    pub(crate) keys: &'a Path,
    pub(crate) accept_shorter_log: bool,
    /// The log of alerts.
    pub(crate) alerts: Option<Arc<dyn RunLog>>,
    /// Where values of StatsD go, where this process' scheduler sends them.
    pub(crate) statsd: Option<services::Socket>,
}

/// Starts the API, with the figures beside it.
pub(crate) async fn start_api(
    crew: &mut Crew,
    ports: &dagbok_runlog::Ports,
    ApiParts { config, home, keys, accept_shorter_log, alerts, statsd }: ApiParts<'_>,
    clock: &Clock,
) -> Result<SocketAddr, Failure> {
    let ui = &config.ui;
    let mut settings = dagbok_api::Settings::new(ui.listen);
    settings.accept_shorter_log = accept_shorter_log;
    settings.retention = Some(services::retention(config));
    settings.names = names(ui);
    settings.connections = services::connections();
    settings.home = Some(home.to_owned());
    settings.past = Some(services::past(ports, clock));
    settings.alerts = alerts.clone();
    settings.secrets = Some(services::key_file(config, keys));
    let shutdown = crew.shutdown(Stage::Answers);
    let with = (config, statsd);
    let numbers = services::Numbers::follow(Arc::clone(&ports.log), home, with, &shutdown).await;
    if let Some(alerts) = &alerts {
        numbers.follow_alerts(Arc::clone(alerts), &shutdown);
    }
    let series = services::push_series(numbers.clone(), Arc::clone(&ports.log), shutdown.clone());
    crew.add(Stage::Answers, "figures", series);
    settings.queues = Some(Arc::new(numbers.clone()));
    let more = services::with_metrics(Router::new(), Some(numbers));
    let more = services::with_refolds(more, Arc::clone(&ports.log), clock.clone());
    let served = dagbok_api::serve(ports.clone(), settings, clock.clone(), more, &shutdown).await;
    let served = served.map_err(|error| api_failure(&error))?;
    services::follow_model(&served.model, &shutdown);
    crew.add(Stage::Answers, "API", served.task);
    Ok(served.address)
}

/// The names that the API goes by: an address that it was told to listen at is one.
fn names(ui: &dagbok_config::Ui) -> dagbok_api::Names {
    let mut hosts = ui.allowed_hosts.clone();
    if !ui.listen.ip().is_unspecified() {
        hosts.push(ui.listen.ip().to_string());
    }
    dagbok_api::Names::new(&hosts, &ui.allowed_origins)
}

fn api_failure(error: &dagbok_api::ServeError) -> Failure {
    let code = match error {
        dagbok_api::ServeError::Listen { source, .. }
            if source.kind() == std::io::ErrorKind::AddrInUse =>
        {
            Code::PortInUse
        }
        dagbok_api::ServeError::Listen { .. } => Code::CantListen,
        dagbok_api::ServeError::Model(_) => Code::HomeUnusable,
        dagbok_api::ServeError::Log(error @ FollowError::LogShorter { .. }) => {
            return log_is_shorter(error);
        }
        dagbok_api::ServeError::Log(_) | dagbok_api::ServeError::Port(_) => {
            return Failure::of_service(error);
        }
    };
    Failure::from_error(code, error)
}

/// With `--json`: `{"api", "home", "dags", "pid"}` on one line; `dags` is a list where there are several.
fn say_where(context: &Context, address: SocketAddr, home: &Path, folders: &[PathBuf]) {
    let api = format!("http://{address}");
    let out = context.out;
    if out.is_json() {
        let dags = match folders {
            [one] => json!(one),
            several => json!(several),
        };
        out.json_line(
            &json!({ "api": api, "home": home, "dags": dags, "pid": std::process::id() }),
        );
        return;
    }
    out.line(&format!("Dagbok {} is up.", env!("CARGO_PKG_VERSION")));
    out.line(&format!("  open  {api}/"));
    out.line(&format!("  API   {api}/api/v2"));
    out.line(&format!("  log   {}", home.join("log").display()));
    for folder in folders {
        out.line(&format!("  DAGs  {}", folder.display()));
    }
    if !address.ip().is_loopback() {
        out.line("  note  the API asks for no password, and listens beyond this machine");
    }
}
