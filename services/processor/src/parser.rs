//! Parses files in Python processes that stay warm and fork for each. Whatever such a process does, there is
//! an answer.
use std::{
    io,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dagbok_protocol::DatesQuestion;
use dagbok_runtime::{Shutdown, foreign_python_variables};
use dagbok_telemetry::metrics;
use serde_json::json;
use tokio::{process::Command, time::Instant};

use crate::{
    ParsedFile, Python,
    child::{Answerer, End, Outcome},
    foretell::Last,
};

/// A process that is asked nothing for so long is ended: its memory is others', and the next one sees what was
/// installed meanwhile.
const IDLE: Duration = Duration::from_mins(1);
/// Files that one process reads, at most, so that whatever grows in it starts anew.
const FILES: u32 = 1_000;
/// What the timetables of a file may take on top of its import: none begins after twenty seconds, and each that hangs is
/// killed after seven.
const TIMETABLES: Duration = Duration::from_secs(30);
/// How the line begins that holds a file's answer; notes begin otherwise.
const ANSWER: &[u8] = b"{\"file\"";

/// The processes that read files: as many as files are read at once.
#[derive(Clone, Debug)]
pub(crate) struct Parsers {
    python: Arc<Python>,
    waiting: Arc<Mutex<Vec<Waiting>>>,
}

/// A process that waits for the next file.
#[derive(Debug)]
struct Waiting {
    answerer: Answerer,
    /// How many it has read.
    files: u32,
    since: Instant,
}

impl Parsers {
    /// None yet: they are started when a file is to be read.
    pub(crate) fn new(python: Python) -> Self {
        Self { python: Arc::new(python), waiting: Arc::default() }
    }

    /// Parses `file` of `folder`, and asks the timetables of the DAGs in `last`; `None` where it is given up before.
    pub(crate) async fn parse(
        &self,
        folder: &Path,
        file: &str,
        last: &Last,
        within: Duration,
        given_up: &Shutdown,
    ) -> Option<ParsedFile> {
        // Timetables that hang are stopped one by one: the rest of their file is not to fall with them.
        let within = if last.is_empty() { within } else { within + TIMETABLES };
        let request = json!({ "folder": folder, "file": file, "last": last });
        self.parse_as(file, &request, within, given_up).await
    }

    /// Parses a file, and asks the timetable of one of its DAGs for the runs between two dates.
    pub(crate) async fn parse_between(
        &self,
        folder: &Path,
        asked: &DatesQuestion,
        within: Duration,
        given_up: &Shutdown,
    ) -> Option<ParsedFile> {
        let DatesQuestion { dag_id, file, from, to } = asked;
        let mut last = serde_json::Map::new();
        last.insert(dag_id.to_string(), json!({ "from": from, "to": to }));
        let request = json!({ "folder": folder, "file": file, "last": last });
        self.parse_as(file, &request, within + TIMETABLES, given_up).await
    }

    async fn parse_as(
        &self,
        file: &str,
        request: &serde_json::Value,
        within: Duration,
        given_up: &Shutdown,
    ) -> Option<ParsedFile> {
        let started = Instant::now();
        let (parsed, outcome) = match self.ask(request, within, given_up).await {
            Ok(None) => return None,
            Ok(Some(outcome)) => {
                if outcome.held_open {
                    tracing::warn!(
                        file,
                        "a process that a DAG file started at its import got away and lives on; end it, and \
                         move what starts it into a task"
                    );
                }
                judge(file, &outcome, within)
            }
            Err(error) => {
                let message = format!(
                    "the Python interpreter `{}` can't be started: {error}; name another with --python",
                    self.python.interpreter.display()
                );
                (passing(file, "Crash", message, String::new()), "crash")
            }
        };
        metrics().parsed(outcome, started.elapsed());
        Some(parsed)
    }

    async fn ask(
        &self,
        request: &serde_json::Value,
        within: Duration,
        given_up: &Shutdown,
    ) -> io::Result<Option<Outcome>> {
        let mut request = request.to_string().into_bytes();
        request.push(b'\n');
        let mut one = match self.take() {
            Some(one) => one,
            None => Waiting {
                answerer: Answerer::start(command(&self.python))?,
                files: 0,
                since: Instant::now(),
            },
        };
        let asked = one.answerer.ask(&request, ANSWER, within, given_up).await?;
        if asked.as_ref().is_some_and(|outcome| outcome.end == End::Answered) {
            one.files += 1;
            self.put_back(one);
        }
        Ok(asked)
    }

    fn take(&self) -> Option<Waiting> {
        self.lock().pop()
    }

    /// Lets a process wait for its next file, and ends it when none comes.
    fn put_back(&self, one: Waiting) {
        if one.files >= FILES {
            return;
        }
        let waiting = Arc::downgrade(&self.waiting);
        self.lock().push(Waiting { since: Instant::now(), ..one });
        tokio::spawn(async move {
            tokio::time::sleep(IDLE).await;
            if let Some(waiting) = waiting.upgrade() {
                let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
                waiting.retain(|one| one.since.elapsed() < IDLE);
            }
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Waiting>> {
        // A push or a pop is whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn command(python: &Python) -> Command {
    let mut command = Command::new(&python.interpreter);
    // -P: the folder we happen to stand in is not where modules come from.
    match &python.start {
        Some(start) => command.arg("-P").arg(start),
        None => command.args(["-P", "-m"]),
    };
    command.args(["dagbok.parsing", "--serve"]);
    for name in foreign_python_variables() {
        command.env_remove(name);
    }
    command.envs(&python.env);
    if let Some(path) = &python.package_path {
        let others = std::env::var_os("PYTHONPATH").filter(|others| !others.is_empty());
        let all =
            std::iter::once(path.clone()).chain(others.iter().flat_map(std::env::split_paths));
        // A folder with a colon in its name can't be said in PYTHONPATH at all.
        command
            .env("PYTHONPATH", std::env::join_paths(all).unwrap_or_else(|_| path.clone().into()));
    }
    if let Some(bytecode) = &python.bytecode {
        command.env("DAGBOK_BYTECODE", bytecode);
    }
    if let Some(lookup) = &python.lookup {
        command.env(dagbok_inbox::LOOKUP_VARIABLE, lookup);
    }
    command
}

/// What the outcome says of the file, and its name among the metrics.
fn judge(file: &str, outcome: &Outcome, within: Duration) -> (ParsedFile, &'static str) {
    let ended = match outcome.end {
        End::TimedOut => {
            let message = format!(
                "importing the file took longer than {within:?} and was stopped; \
                 move work out of the module's top level into tasks, or raise processor.parse_timeout"
            );
            let parsed = passing(file, "Timeout", message, outcome.stderr.clone());
            return (parsed.noted(&outcome.stdout), "timeout");
        }
        End::TooMuch => {
            let message = "the parser's answer is too large to be read".to_owned();
            let parsed = ParsedFile::failed(file, "Crash", message, outcome.stderr.clone());
            return (parsed.noted(&outcome.stdout), "crash");
        }
        End::Answered => None,
        End::Ended(status) => Some(match (status.code(), status.signal()) {
            (Some(code), _) => format!("the parser's process ended with exit code {code}"),
            (None, signal) => {
                format!("the parser's process was ended by signal {}", signal.unwrap_or_default())
            }
        }),
    };
    let read = match ended {
        Some(why) => Err(why),
        None => ParsedFile::from_answer(file, &outcome.stdout)
            .map_err(|why| format!("the parser's process gave no result: {why}")),
    };
    match read {
        Ok(parsed) => {
            let outcome = if parsed.errors.is_empty() { "ok" } else { "error" };
            (parsed, outcome)
        }
        Err(message) => {
            let parsed = passing(file, "Crash", message, outcome.stderr.clone());
            (parsed.noted(&outcome.stdout), "crash")
        }
    }
}

/// Stopped or crashed, which a busy machine or a passing fault can do to a good file.
fn passing(file: &str, exception: &str, message: String, traceback: String) -> ParsedFile {
    let failed = ParsedFile::failed(file, exception, message, traceback);
    ParsedFile { may_heal: true, ..failed }
}
