//! Finds the Python that DAG files and tasks run in, and makes sure that it can.
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use dagbok_config::{Config, Runtime};
use dagbok_executor::AirflowRuntime;
use dagbok_runtime::foreign_python_variables;
use serde::Deserialize;
use tokio::{process::Command, time::timeout};

use crate::{codes::Code, environment, failure::Failure};

pub(crate) mod airflow;

/// A Python that is asked something answers within this.
const WITHIN: Duration = Duration::from_secs(30);

/// Asks an interpreter what it is and has, without importing more than our package.
const QUESTION: &str = "\
import importlib.util, json, sys
answer = {'executable': sys.executable, 'version': '.'.join(map(str, sys.version_info[:3]))}
answer['new_enough'] = sys.version_info >= (3, 11) and sys.implementation.name == 'cpython'
answer['missing'] = [name for name in ('jinja2', 'msgpack') if importlib.util.find_spec(name) is None]
try:
    import dagbok
    answer['package'] = dagbok.__path__[0]
except Exception as error:
    answer['error'] = f'{type(error).__name__}: {error}'
print(json.dumps(answer))";

/// A Python that was asked.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Python {
    /// The interpreter itself, whatever shims were on the way to it.
    pub(crate) executable: PathBuf,
    /// `3.11.7`.
    pub(crate) version: String,
    /// A folder put on `PYTHONPATH`, where the package is not installed.
    #[serde(skip)]
    pub(crate) package_path: Option<PathBuf>,
    /// Where the `dagbok` package lies.
    #[serde(default)]
    pub(crate) package: Option<PathBuf>,
    /// Exact mode: what starts the package's modules in Airflow's own Python.
    #[serde(skip)]
    pub(crate) start: Option<PathBuf>,
    /// What its processes are told by their environment.
    #[serde(skip)]
    pub(crate) env: BTreeMap<String, String>,
    /// The Airflow that runs some of the tries.
    #[serde(skip)]
    pub(crate) beside: Option<AirflowRuntime>,
    /// Why it can't be imported.
    #[serde(default)]
    error: Option<String>,
    /// What it needs and does not have.
    missing: Vec<String>,
    new_enough: bool,
}

impl Python {
    /// Finds it and asks it; fails where it can't do what is needed.
    pub(crate) async fn find(config: &Config) -> Result<Self, Failure> {
        let python = Self::ask(config).await?;
        match python.trouble() {
            Some(failure) => Err(failure),
            None => Ok(python),
        }
    }

    /// Finds what a DAG folder's files and tasks run in: its own environment, if it has a lock file, which the
    /// Python of this installation makes.
    pub(crate) async fn find_for(config: &Config, folder: Option<&Path>) -> Result<Self, Failure> {
        if config.airflow.runtime == Runtime::Airflow {
            return airflow::find(config).await;
        }
        let base = Self::find(config).await?;
        let Some(folder) = folder.filter(|folder| environment::has_one(folder)) else {
            return Ok(base);
        };
        let found = environment::ask(&base, folder, &["list".to_owned()]).await?;
        let install = format!("`dagbok providers install --dags {}`", folder.display());
        let (Some(own), Some(digest)) = (found.interpreter, found.digest) else {
            let what = format!(
                "{}/{} asks for an environment that is not here",
                folder.display(),
                environment::LOCK
            );
            return Err(
                Failure::new(Code::BadEnvironment, what).next(format!("{install} makes it"))
            );
        };
        let mut python = Self::ask_it(&PathBuf::from(own), config).await?;
        if let Some(failure) = python.trouble() {
            return Err(failure);
        }
        // Each try's inputs say so: the same lock and Python give the same digest anywhere.
        python.version = format!("{}+{}", python.version, digest.get(..16).unwrap_or(&digest));
        Ok(python)
    }

    /// As `find_for`, for who runs tries: with the Airflow that runs some of them, where one does.
    pub(crate) async fn find_for_tries(
        config: &Config,
        folder: Option<&Path>,
    ) -> Result<Self, Failure> {
        let beside = airflow::beside(config).await?;
        Ok(Self { beside, ..Self::find_for(config, folder).await? })
    }

    /// Finds it and asks what it has.
    pub(crate) async fn ask(config: &Config) -> Result<Self, Failure> {
        Self::ask_it(&interpreter(config)?, config).await
    }

    /// Gives a command of this Python the environment that its processes have.
    pub(crate) fn prepare(&self, command: &mut Command) {
        for name in foreign_python_variables() {
            command.env_remove(name);
        }
        if let Some(path) = &self.package_path {
            command.env("PYTHONPATH", python_path(path));
        }
    }

    async fn ask_it(interpreter: &Path, config: &Config) -> Result<Self, Failure> {
        let mut command = Command::new(interpreter);
        command.args(["-P", "-c", QUESTION]).stdin(Stdio::null()).kill_on_drop(true);
        for name in foreign_python_variables() {
            command.env_remove(name);
        }
        if let Some(path) = &config.python.path {
            command.env("PYTHONPATH", python_path(path));
        }
        let no_python = |why: String| {
            Failure::new(
                Code::NoPython,
                format!("the Python `{}` can't be used: {why}", interpreter.display()),
            )
            .next("install CPython 3.11 or later, or name one with --python")
        };
        let output = match timeout(WITHIN, command.output()).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => return Err(no_python(error.to_string())),
            Err(_) => return Err(no_python(format!("it did not answer within {WITHIN:?}"))),
        };
        let mut python: Self = serde_json::from_slice(&output.stdout).map_err(|_| {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().last().unwrap_or_default().to_owned();
            no_python(format!("it gave no sensible answer ({last})"))
        })?;
        python.package_path.clone_from(&config.python.path);
        Ok(python)
    }

    /// Why it can't do what is needed.
    pub(crate) fn trouble(&self) -> Option<Failure> {
        let shown = self.executable.display();
        if !self.new_enough {
            let what = format!(
                "the Python `{shown}` is {}; CPython 3.11 or later is needed",
                self.version
            );
            return Some(Failure::new(Code::NoPython, what).next("name another with --python"));
        }
        if let Some(error) = &self.error {
            let what = format!("the Python `{shown}` can't import the `dagbok` package ({error})");
            let next = format!(
                "`{shown} -m pip install dagbok`; from a checkout, `make setup`, or --python-path shared/python/src"
            );
            return Some(Failure::new(Code::NoPythonPackage, what).next(next));
        }
        if !self.missing.is_empty() {
            let missing = self.missing.join(" ");
            let what =
                format!("the Python `{shown}` lacks what the `dagbok` package needs: {missing}");
            let next = format!("`{shown} -m pip install {missing}`");
            return Some(Failure::new(Code::NoPythonPackage, what).next(next));
        }
        None
    }

    /// As the processor wants it; what it has to compile is kept in `home`.
    pub(crate) fn for_processor(&self, home: &Path) -> dagbok_processor::Python {
        dagbok_processor::Python {
            interpreter: self.executable.clone(),
            package_path: self.package_path.clone(),
            start: self.start.clone(),
            env: self.env.clone(),
            bytecode: Some(home.join("bytecode")),
            lookup: None,
        }
    }
}

/// The one that was named, the one beside this binary (as in a virtual environment), the one on the
/// `PATH`.
fn interpreter(config: &Config) -> Result<PathBuf, Failure> {
    if let Some(named) = &config.python.interpreter {
        return Ok(named.clone());
    }
    let beside =
        std::env::current_exe().ok().and_then(|binary| Some(binary.parent()?.join("python3")));
    let on_path =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    beside
        .into_iter()
        .chain(on_path.into_iter().flatten().map(|folder| folder.join("python3")))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| {
            Failure::new(Code::NoPython, "there is no `python3` beside this binary or on the PATH")
                .next("install CPython 3.11 or later, or name one with --python")
        })
}

/// Our folder before what the environment has.
fn python_path(first: &Path) -> std::ffi::OsString {
    let others = std::env::var_os("PYTHONPATH").filter(|others| !others.is_empty());
    let all =
        std::iter::once(first.to_owned()).chain(others.iter().flat_map(std::env::split_paths));
    std::env::join_paths(all).unwrap_or_else(|_| first.into())
}
