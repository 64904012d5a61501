//! The environment of a DAG folder: what provider packages and requirements its lock file asks for. The package
//! `dagbok.environments` makes and finds it; here is only who asks.
use std::{collections::BTreeMap, path::Path, process::Stdio};

use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::{codes::Code, failure::Failure, python::Python};

/// What a folder with an environment of its own has.
pub(crate) use dagbok_executor::LOCK;

/// A folder's environment, as the package tells it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Environment {
    pub(crate) folder: String,
    pub(crate) lock: Option<String>,
    #[serde(default)]
    pub(crate) digest: Option<String>,
    pub(crate) interpreter: Option<String>,
    pub(crate) wanted: Vec<String>,
    #[serde(default)]
    pub(crate) providers: BTreeMap<String, String>,
    pub(crate) packages: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) stale: bool,
}

impl Environment {
    /// A folder without one.
    pub(crate) fn none(folder: &Path) -> Self {
        Self {
            folder: folder.display().to_string(),
            lock: None,
            digest: None,
            interpreter: None,
            wanted: Vec::new(),
            providers: BTreeMap::new(),
            packages: BTreeMap::new(),
            stale: false,
        }
    }
}

#[derive(Deserialize)]
struct Refusal {
    failure: String,
}

/// Whether a folder's files run in an environment of their own.
pub(crate) fn has_one(folder: &Path) -> bool {
    folder.join(LOCK).is_file()
}

/// Asks the package, by an interpreter that has it; environments are made from that interpreter.
pub(crate) async fn ask(
    python: &Python,
    folder: &Path,
    arguments: &[String],
) -> Result<Environment, Failure> {
    let failed = |why: String| Failure::new(Code::BadEnvironment, why);
    let mut command = Command::new(&python.executable);
    command.args(["-P", "-m", "dagbok.environments", "--folder"]).arg(folder).args(arguments);
    command.stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    python.prepare(&mut command);
    let output = command.output().await.map_err(|error| failed(error.to_string()))?;
    if let Ok(told) = serde_json::from_slice::<Refusal>(&output.stdout) {
        return Err(failed(told.failure));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|_| failed(format!("`{}` gave no answer", python.executable.display())))
}
