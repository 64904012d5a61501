//! What the processor is told, and why it can't start.
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use dagbok_runlog::PortError;
use thiserror::Error;

/// The Python that reads DAG files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Python {
    /// The interpreter.
    pub interpreter: PathBuf,
    /// A folder put before the others on `PYTHONPATH`, where the `dagbok` package is not installed.
    pub package_path: Option<PathBuf>,
    /// Exact mode: the script that starts the package's modules in Airflow's own Python.
    pub start: Option<PathBuf>,
    /// What its processes are told by their environment.
    pub env: BTreeMap<String, String>,
    /// Where what had to be compiled is kept, as nothing is written into the DAG folder or beside what is
    /// installed; `None` keeps it nowhere.
    pub bytecode: Option<PathBuf>,
    /// Where files ask for variables and connections of the log while they are read; `None` where nobody answers.
    pub lookup: Option<PathBuf>,
}

/// How lines of `.airflowignore` are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IgnoreSyntax {
    /// As in `.gitignore`: Airflow 3's default, and ours.
    #[default]
    Glob,
    /// Regular expressions, searched in the path from the file's folder on: Airflow 2's default.
    Regexp,
}

/// The processor's settings.
#[derive(Clone, Debug)]
pub struct ProcessorSettings {
    /// The DAG folder.
    pub folder: PathBuf,
    /// What it goes by in the facts, where that was said; `default` for no name.
    pub name: Option<String>,
    /// The machine that it lies on: a folder of the same path on another is another.
    pub host: String,
    /// The Python that reads its files.
    pub python: Python,
    /// A file that takes longer to parse is stopped, and is an import error.
    pub parse_timeout: Duration,
    /// How often the folder is walked though nothing was seen to change: for file systems that tell of
    /// no changes.
    pub rescan: Duration,
    /// How long the folder must be quiet before a change is acted on; a quarter of that where each file that
    /// changed was closed by who wrote it.
    pub debounce: Duration,
    /// Whether DAGs seen for the first time are paused, where they don't say.
    pub paused_at_creation: bool,
    /// Files parsed at once.
    pub parsers: usize,
    /// How `.airflowignore` is read.
    pub ignore_syntax: IgnoreSyntax,
    /// How long the scheduler's answer is waited for before it is asked again, under the same id.
    pub answer_within: Duration,
    /// The keyed state begins empty with each start. True where all services share one process.
    pub state_ends_with_process: bool,
}

impl ProcessorSettings {
    /// The defaults for one folder.
    pub fn new(folder: PathBuf, python: Python) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            folder,
            name: None,
            host: "localhost".to_owned(),
            python,
            parse_timeout: Duration::from_secs(30),
            rescan: Duration::from_secs(30),
            debounce: Duration::from_millis(200),
            paused_at_creation: false,
            parsers: cores.min(2),
            ignore_syntax: IgnoreSyntax::Glob,
            answer_within: Duration::from_secs(10),
            state_ends_with_process: false,
        }
    }
}

/// Why the processor stopped.
#[derive(Debug, Error)]
pub enum ProcessorError {
    /// There is no such folder.
    #[error("the DAG folder `{folder}` can't be read: {why}")]
    NoFolder {
        /// What was given.
        folder: PathBuf,
        /// What the system said.
        why: String,
    },
    /// A folder lies in another, or is it.
    #[error(
        "the DAG folder `{inner}` lies in `{outer}`, which is one too: its files would be read twice; name one of the two"
    )]
    Nested {
        /// The one within.
        inner: PathBuf,
        /// The one around it.
        outer: PathBuf,
    },
    /// Two folders go by one name.
    #[error(
        "the DAG folders `{one}` and `{other}` would both go by the name `{name}`; give one another, as --dags NAME={other}"
    )]
    SameName {
        /// The name.
        name: String,
        /// The folder that has it.
        one: PathBuf,
        /// The folder that would have it too.
        other: PathBuf,
    },
    /// Another processor has the name that a folder would go by.
    #[error(
        "the DAG folder `{folder}` would go by the name `{name}`, which another processor has, or had within a day, for \
         `{place}` on {host}; give it another, as --dags NAME={folder}"
    )]
    Held {
        /// The name.
        name: String,
        /// The folder here.
        folder: PathBuf,
        /// The other's folder.
        place: String,
        /// The other's machine.
        host: String,
    },
    /// The inbox can't be reached.
    #[error("the processor can't reach its scheduler")]
    Port(#[from] PortError),
}
