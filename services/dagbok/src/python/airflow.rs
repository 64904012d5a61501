//! Finds the Python of the Airflow that exact mode drives, and makes sure that it can.
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::DirBuilder,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
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
        env: environment(config, &version)?,
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
        tasks: BTreeSet::new(),
    }))
}

/// What its processes are told by their environment: one folder of Airflow's own for the parser and for tries.
fn environment(config: &Config, version: &str) -> Result<BTreeMap<String, String>, Failure> {
    if let Some(said) = config.executor.env.get(AIRFLOW_HOME) {
        return Ok(BTreeMap::from([(AIRFLOW_HOME.to_owned(), said.clone())]));
    }
    if std::env::var_os(AIRFLOW_HOME).is_some() {
        return Ok(BTreeMap::new());
    }
    // Airflow would make `~/airflow`, with a configuration that nobody asked for.
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|it| it.is_absolute());
    let data = data.or_else(|| Some(std::env::home_dir()?.join(".local/share")));
    let next = "name a folder in AIRFLOW_HOME";
    let Some(data) = data else {
        let what = "there is no home folder for Airflow's own configuration";
        return Err(Failure::new(Code::NoAirflow, what).next(next));
    };
    let folder = data.join("dagbok").join(format!("airflow-{version}"));
    match own_folder(&folder) {
        Ok(()) => {
            let said = folder.display().to_string();
            Ok(BTreeMap::from([(AIRFLOW_HOME.to_owned(), said)]))
        }
        Err(why) => {
            let what = format!("`{}` can't be Airflow's own folder: {why}", folder.display());
            Err(Failure::new(Code::NoAirflow, what).next(next))
        }
    }
}

/// Makes a folder where there is none; Airflow runs code that lies in it, so that nobody else may write there.
fn own_folder(folder: &Path) -> Result<(), String> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| error.to_string())?;
    let found = std::fs::symlink_metadata(folder).map_err(|error| error.to_string())?;
    // What this process makes is its own.
    let mine = tempfile::tempfile_in(folder).and_then(|file| file.metadata());
    let mine = mine.map_err(|error| error.to_string())?;
    if !found.is_dir() || found.uid() != mine.uid() {
        return Err("it is not a folder of this user's own".to_owned());
    }
    if found.mode() & 0o022 != 0 {
        return Err("other users may write to it".to_owned());
    }
    Ok(())
}

async fn ask(interpreter: &Path, start: &Path) -> Result<About, Failure> {
    let shown = interpreter.display();
    let unusable = |why: String| {
        Failure::new(Code::NoAirflow, format!("the Airflow of `{shown}` can't be driven: {why}"))
            .next("deploy/errors/DBK0047.md says how to make an environment for it")
    };
    let mut command = Command::new(interpreter);
    // Without `-P`, which a Python that is too old does not know: it is to say that it is.
    command.arg(start).arg("--about").stdin(Stdio::null()).kill_on_drop(true);
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::own_folder;

    #[test]
    fn airflows_own_folder_is_this_users_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("data/dagbok/airflow-3.3.2");
        own_folder(&folder).unwrap();
        own_folder(&folder).unwrap();
        let mode = std::fs::metadata(&folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(own_folder(&folder).unwrap_err().contains("other users"));
        let link = scratch.path().join("link");
        symlink(scratch.path(), &link).unwrap();
        assert!(own_folder(&link).unwrap_err().contains("of this user's own"));
    }
}
