//! Parses one file in a Python process of its own. Whatever that process does, there is an answer.
use std::{os::unix::process::ExitStatusExt as _, path::Path, time::Duration};

use dagbok_runtime::Shutdown;
use dagbok_telemetry::metrics;
use tokio::{process::Command, time::Instant};

use crate::{
    ParsedFile, Python,
    child::{self, End, Outcome},
};

/// Parses `file` of `folder`; `None` where it is given up before.
pub(crate) async fn parse(
    python: &Python,
    folder: &Path,
    file: &str,
    within: Duration,
    given_up: &Shutdown,
) -> Option<ParsedFile> {
    let started = Instant::now();
    let ran = child::run(command(python, folder, file), within, given_up).await;
    let (parsed, outcome) = match ran {
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
                python.interpreter.display()
            );
            (passing(file, "Crash", message, String::new()), "crash")
        }
    };
    metrics().parsed(outcome, started.elapsed());
    Some(parsed)
}

fn command(python: &Python, folder: &Path, file: &str) -> Command {
    let mut command = Command::new(&python.interpreter);
    // -P: the folder we happen to stand in is not where modules come from.
    command.args(["-P", "-m", "dagbok.parsing", "--folder"]).arg(folder).arg("--file").arg(file);
    if let Some(path) = &python.package_path {
        let others = std::env::var_os("PYTHONPATH").filter(|others| !others.is_empty());
        let all =
            std::iter::once(path.clone()).chain(others.iter().flat_map(std::env::split_paths));
        // A folder with a colon in its name can't be said in PYTHONPATH at all.
        command
            .env("PYTHONPATH", std::env::join_paths(all).unwrap_or_else(|_| path.clone().into()));
    }
    if let Some(pycache) = &python.pycache {
        command.env("PYTHONPYCACHEPREFIX", pycache);
    }
    command
}

/// What the outcome says of the file, and its name among the metrics.
fn judge(file: &str, outcome: &Outcome, within: Duration) -> (ParsedFile, &'static str) {
    let status = match outcome.end {
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
        End::Ended(status) => status,
    };
    let ended = match (status.code(), status.signal()) {
        (Some(0), _) => None,
        (Some(code), _) => Some(format!("the parser's process ended with exit code {code}")),
        (None, signal) => {
            Some(format!("the parser's process was ended by signal {}", signal.unwrap_or_default()))
        }
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
