//! This build, Python and its packages, a running API.
use dagbok_api::shapes::Health;
use dagbok_config::{Config, Runtime};

use super::Finding;
use crate::{
    api::Api,
    context::Context,
    python::{Python, airflow},
};

/// What this is.
pub(super) fn build() -> Finding {
    let (version, os, arch) =
        (env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH);
    Finding::ok("dagbok", format!("{version} on {os} {arch}"))
}

/// The interpreter, our package, and what that needs.
pub(super) async fn python(config: &Config) -> Vec<Finding> {
    let python = match Python::ask(config).await {
        Ok(python) => python,
        Err(failure) => return vec![Finding::failed("python", &failure)],
    };
    if let Some(failure) = python.trouble() {
        return vec![Finding::failed("python", &failure)];
    }
    let shown = format!("CPython {} at {}", python.version, python.executable.display());
    let package =
        python.package.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    vec![
        Finding::ok("python", shown),
        Finding::ok("package", format!("dagbok, jinja2 and msgpack; dagbok in {package}")),
    ]
}

/// The Airflow of exact mode, where one is asked for.
pub(super) async fn airflow(config: &Config) -> Option<Finding> {
    let asked = &config.airflow;
    let is_asked_for = asked.runtime == Runtime::Airflow;
    if !is_asked_for && asked.dags.is_empty() && asked.pools.is_empty() {
        return None;
    }
    Some(match airflow::find(config).await {
        Ok(python) => {
            Finding::ok("airflow", format!("{} at {}", python.version, python.executable.display()))
        }
        Err(failure) => Finding::failed("airflow", &failure),
    })
}

/// The API that was named.
pub(super) async fn api(context: &Context) -> Finding {
    let asked = async { Api::of(context).await?.get::<Health>(&["monitor", "health"], &[]).await };
    match asked.await {
        Ok(health) => {
            let projection = &health.dagbok.projection;
            let behind = projection.last.saturating_sub(projection.applied);
            let scheduler = health.scheduler.status.as_deref().unwrap_or("unknown");
            let message = format!(
                "at {}: scheduler {scheduler}, read model {behind} records behind",
                context.api()
            );
            match (&projection.failed, scheduler) {
                (Some(why), _) => Finding::error(
                    "api",
                    format!("the read model has stopped: {why}"),
                    "start the API again",
                ),
                (None, "healthy") => Finding::ok("api", message),
                (None, _) => {
                    let next = "start one with `dagbok scheduler`, or see its log lines";
                    Finding::warning("api", message, next)
                }
            }
        }
        Err(failure) => Finding::failed("api", &failure),
    }
}
