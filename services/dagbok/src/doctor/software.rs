//! This build, Python and its packages, a running API.
use std::path::Path;

use dagbok_config::{Config, Runtime};

use super::Finding;
use crate::{
    environment::LOCK,
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

/// The environments that DAG folders have of their own: their files are read and their tasks run there.
pub(super) async fn environments(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for folder in config.processor.dags.paths() {
        findings.extend(environment(config, folder).await);
    }
    findings
}

async fn environment(config: &Config, folder: &Path) -> Option<Finding> {
    const CHECK: &str = "providers";
    if !folder.join(LOCK).is_file() {
        return None;
    }
    Some(match Python::find_for(config, Some(folder)).await {
        Ok(python) => {
            let (folder, at) = (folder.display(), python.executable.display());
            Finding::ok(CHECK, format!("files of {folder} are read and run by {at}"))
        }
        Err(failure) => Finding::failed(CHECK, &failure),
    })
}
