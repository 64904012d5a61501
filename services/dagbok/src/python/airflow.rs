//! Finds the Python of the Airflow that exact mode drives, and makes sure that it can.
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
};

use dagbok_config::{Config, Runtime};
use dagbok_executor::AirflowRuntime;
use dagbok_runtime::foreign_python_variables;
use serde::Deserialize;
use tokio::{process::Command, time::timeout};

use super::{Python, WITHIN};
use crate::{codes::Code, failure::Failure};

/// Within the package: what starts its modules where the package is not installed.
const START: &str = "exact/start.py";
/// Says to the package that a process is one of exact mode.
const EXACT: &str = "DAGBOK_EXACT";
/// Where Airflow keeps its own configuration; it makes that folder where it is imported.
const AIRFLOW_HOME: &str = "AIRFLOW_HOME";

#[derive(Deserialize)]
struct About {
    executable: PathBuf,
    version: String,
    airflow: Option<String>,
    trouble: Option<String>,
}

/// The Python that everything runs in where `airflow.runtime` is `airflow`.
pub(crate) async fn find(config: &Config) -> Result<Python, Failure> {
    let base = Python::find(config).await?;
    let package = base.package.as_deref().unwrap_or(Path::new(""));
    let start = package.join(START);
    let named = config.airflow.python.as_deref().ok_or_else(|| {
        Failure::new(
            Code::NoAirflow,
            "exact mode is asked for, and no Python with Airflow is named",
        )
        .next("name one with --airflow-python, DAGBOK_AIRFLOW_PYTHON or `airflow.python`")
    })?;
    let about = ask(named, &start).await?;
    let version = about.airflow.unwrap_or_default();
    Ok(Python {
        executable: about.executable,
        version: format!("{}+airflow-{version}", about.version),
        package_path: None,
        package: base.package.clone(),
        start: Some(start),
        env: environment(),
        beside: None,
        error: None,
        missing: Vec::new(),
        new_enough: true,
    })
}

/// What Airflow runs beside Dagbok's own package, where the configuration names DAGs or pools.
pub(crate) async fn beside(config: &Config) -> Result<Option<AirflowRuntime>, Failure> {
    let asked = &config.airflow;
    if asked.runtime == Runtime::Airflow || (asked.dags.is_empty() && asked.pools.is_empty()) {
        return Ok(None);
    }
    let python = find(config).await?;
    Ok(Some(AirflowRuntime {
        python: python.executable,
        start: python.start.unwrap_or_default(),
        env: python.env,
        dags: asked.dags.clone(),
        pools: asked.pools.clone(),
    }))
}

fn environment() -> BTreeMap<String, String> {
    let mut env = BTreeMap::from([(EXACT.to_owned(), "1".to_owned())]);
    // Airflow would make `~/airflow`, with a configuration that nobody asked for.
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    let data = data.or_else(|| Some(std::env::home_dir()?.join(".local/share")));
    if let Some(data) = data.filter(|_| std::env::var_os(AIRFLOW_HOME).is_none()) {
        env.insert(AIRFLOW_HOME.to_owned(), data.join("dagbok/airflow").display().to_string());
    }
    env
}

async fn ask(interpreter: &Path, start: &Path) -> Result<About, Failure> {
    let shown = interpreter.display();
    let unusable = |why: String| {
        Failure::new(Code::NoAirflow, format!("the Airflow of `{shown}` can't be driven: {why}"))
            .next("deploy/errors/DBK0047.md says how to make an environment for it")
    };
    let mut command = Command::new(interpreter);
    command.arg("-P").arg(start).arg("--about").stdin(Stdio::null()).kill_on_drop(true);
    for name in foreign_python_variables() {
        command.env_remove(name);
    }
    let output = match timeout(WITHIN, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(unusable(error.to_string())),
        Err(_) => return Err(unusable(format!("it did not answer within {WITHIN:?}"))),
    };
    let about: About = serde_json::from_slice(&output.stdout).map_err(|_| {
        let said = String::from_utf8_lossy(&output.stderr);
        unusable(said.lines().last().unwrap_or("it gave no answer").to_owned())
    })?;
    match about.trouble {
        Some(trouble) => Err(unusable(trouble)),
        None => Ok(about),
    }
}
