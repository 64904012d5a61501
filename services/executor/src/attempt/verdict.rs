//! What a try's end means: its own last word first, then what was done to it, then what the kernel says.
use std::path::Path;

use dagbok_events::{
    Failure, FailureKind, Fault, LostWhy, Micros, OutOfMemory, OutOfMemoryBy, Timestamp,
};
use dagbok_protocol::{limits::MESSAGE_BYTES, text};
use nix::sys::signal::Signal;

use super::{
    exit::Exit,
    said::{Deferred, Ending, Said},
};
use crate::{
    held::Kill,
    place::{Exited, Orphaned},
    raised::Raised,
};

/// Characters of a retry policy's reason, as Airflow keeps them.
const REASON_CHARS: usize = 500;

/// A try's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It succeeded.
    Succeeded,
    /// It failed; the traceback is whole yet.
    Failed(Box<Failure>),
    /// Its code said to skip.
    Skipped(String),
    /// It goes on later, no sooner than this.
    Rescheduled(Timestamp),
    /// It waits for a trigger.
    Deferred(Box<Deferred>),
    /// It is gone with no word, by no fault of its own.
    Lost(LostWhy),
}

/// Judges. `own` is a kill for memory in the try's own group. `oom` says whether the kernel killed for memory
/// elsewhere, whom and under which limit, and is asked only where that would explain it.
pub(crate) fn judge(
    said: &Said,
    exit: &Exit,
    folder: &Path,
    own: Option<OutOfMemory>,
    oom: impl FnOnce() -> Option<OutOfMemory>,
) -> Verdict {
    let terminated = said.error.as_ref().is_some_and(|error| error.kind == "terminated");
    match &said.ending {
        Some(Ending::Succeeded) => return Verdict::Succeeded,
        Some(Ending::Rescheduled(due)) => return Verdict::Rescheduled(*due),
        Some(Ending::Deferred(deferred)) => return Verdict::Deferred(deferred.clone()),
        Some(Ending::Skipped) => {
            let message =
                said.error.as_ref().map(|error| error.message.clone()).unwrap_or_default();
            return Verdict::Skipped(cut(message));
        }
        Some(Ending::Failed) if !terminated => {
            return failed(with_memory(failure_said(said, folder), own));
        }
        Some(Ending::Failed) | None => {}
    }
    match &exit.kill {
        // It is over already by the log: what it used and wrote is kept with the report that is refused.
        Some(Kill::Order(_) | Kill::Refused(_)) => return Verdict::Lost(LostWhy::Ordered),
        Some(Kill::Drained) => return Verdict::Lost(LostWhy::Drained),
        Some(Kill::Fenced) => return Verdict::Lost(LostWhy::Fenced),
        Some(Kill::OutOfMemory(why)) => {
            let signal = exit.exited.as_ref().and_then(|exited| exited.signal);
            return failed(Failure { signal, ..out_of_memory((**why).clone()) });
        }
        Some(Kill::Garbled(why)) => {
            let message = format!(
                "the task broke the connection of its process to Dagbok ({why}); code that closes or \
                 writes to file descriptors which it did not open does that"
            );
            return failed(failure(FailureKind::Exit, Fault::User, message));
        }
        None => {}
    }
    let Some(exited) = &exit.exited else { return orphaned(exit.orphaned) };
    if exited.fenced {
        return Verdict::Lost(LostWhy::Fenced);
    }
    if exit.timed_out {
        let message =
            "the task took longer than its execution_timeout, and was ended by the executor"
                .to_owned();
        return failed(Failure {
            signal: exited.signal,
            ..failure(FailureKind::Timeout, Fault::User, message)
        });
    }
    if terminated {
        let signal = Signal::SIGTERM as i32;
        let message = "the task was ended by SIGTERM, which Dagbok did not send".to_owned();
        return failed(Failure {
            signal: Some(signal),
            ..failure(FailureKind::Signal, Fault::System, message)
        });
    }
    if said.error.is_some() {
        return failed(with_memory(failure_said(said, folder), own));
    }
    failed(failure_seen(exited, exit.killed, own, oom))
}

/// A try whose end nobody saw, since the process that had forked it was gone before.
fn orphaned(how: Option<Orphaned>) -> Verdict {
    match how {
        None | Some(Orphaned::Alone) => Verdict::Lost(LostWhy::NotHeld),
        Some(Orphaned::WithOthers) => Verdict::Lost(LostWhy::ParentDied),
        Some(Orphaned::Apart) => {
            let message =
                "the process that this try was forked from was ended while the try ran in it \
                           alone: by its own code, it seems, which must not kill its parent process"
                    .to_owned();
            failed(failure(FailureKind::Signal, Fault::User, message))
        }
    }
}

fn failed(failure: Failure) -> Verdict {
    Verdict::Failed(Box::new(failure))
}

/// A failure with nothing but its kind and message.
pub(crate) fn failure(kind: FailureKind, fault: Fault, message: String) -> Failure {
    Failure::new(kind, fault, cut(message))
}

/// What is to be said of a try that was ended for its memory.
pub(super) fn memory_text(of: &OutOfMemory) -> String {
    let who = match (of.process.as_str(), of.pid) {
        ("", 0) => "a process of the try".to_owned(),
        ("", pid) => format!("process {pid}"),
        (name, 0) => format!("`{name}`"),
        (name, pid) => format!("`{name}` (process {pid})"),
    };
    let peak = format!("the try had used up to {} MiB", of.peak_bytes >> 20);
    let limit = of.limit_bytes.map(|limit| format!("{} MiB", limit >> 20));
    match (of.by, limit) {
        (OutOfMemoryBy::Limit, limit) => {
            let limit = limit.unwrap_or_default();
            format!("out of memory: the kernel killed {who} at the try's limit of {limit}; {peak}")
        }
        (OutOfMemoryBy::Executor, limit) => {
            let limit = limit.unwrap_or_default();
            format!(
                "out of memory: ended above the try's limit of {limit}; {peak}, most of it in {who}"
            )
        }
        (OutOfMemoryBy::Machine, Some(limit)) => format!(
            "the kernel killed {who} for want of memory: its executor and all tries have {limit} together; {peak}"
        ),
        (OutOfMemoryBy::Machine, None) => {
            format!("the kernel killed {who} for want of memory on the machine; {peak}")
        }
    }
}

fn out_of_memory(of: OutOfMemory) -> Failure {
    let text = memory_text(&of);
    Failure { out_of_memory: Some(of), ..failure(FailureKind::OutOfMemory, Fault::User, text) }
}

/// A failure that came of a kill in the try's own group, where there was one: what the task itself says stays.
fn with_memory(said: Failure, own: Option<OutOfMemory>) -> Failure {
    let Some(own) = own else { return said };
    let message = cut(format!("{}; the task then said: {}", memory_text(&own), said.message));
    Failure { kind: FailureKind::OutOfMemory, message, out_of_memory: Some(own), ..said }
}

/// A DAG file that did not load.
pub(crate) fn failure_to_load(error: &Raised, folder: &Path) -> Failure {
    let message =
        format!("the DAG file could not be loaded: {}: {}", error.exception, error.message);
    Failure {
        exception: some(&error.exception),
        traceback: some(&error.traceback),
        file: error.file.as_deref().map(|file| within(file, folder)),
        line: error.line,
        ..failure(FailureKind::ImportError, Fault::User, message)
    }
}

fn failure_said(said: &Said, folder: &Path) -> Failure {
    let unsaid = || Raised {
        message: "the task failed and did not say why".to_owned(),
        ..Raised::default()
    };
    let error = said.error.clone().unwrap_or_else(unsaid);
    let (kind, fault) = match error.kind.as_str() {
        // None of its code has run.
        "could_not_start" => (FailureKind::CouldNotStart, Fault::System),
        "not_allowed" => (FailureKind::Exit, Fault::User),
        "timeout" => (FailureKind::Timeout, Fault::User),
        "import_error" => (FailureKind::ImportError, Fault::User),
        _ if error.exception == "MemoryError" => (FailureKind::OutOfMemory, Fault::User),
        _ => (FailureKind::Exception, Fault::User),
    };
    let message = if error.message.is_empty() { error.exception.clone() } else { error.message };
    Failure {
        exception: some(&error.exception),
        traceback: some(&error.traceback),
        file: error.file.as_deref().map(|file| within(file, folder)),
        line: error.line,
        // Another try would ask for the same.
        retryable: !matches!(error.kind.as_str(), "fail_without_retry" | "not_allowed"),
        retry_delay: error.retry_delay_us.map(|delay| Micros(delay.max(0))),
        retry_reason: error
            .retry_reason
            .as_ref()
            .map(|why| why.chars().take(REASON_CHARS).collect()),
        ..failure(kind, fault, message)
    }
}

fn failure_seen(
    exited: &Exited,
    killed: bool,
    own: Option<OutOfMemory>,
    oom: impl FnOnce() -> Option<OutOfMemory>,
) -> Failure {
    if let Some(own) = own {
        let Exited { signal, exit_code, .. } = *exited;
        return Failure { signal, exit_code, ..out_of_memory(own) };
    }
    let Some(signal) = exited.signal else {
        let code = exited.exit_code.unwrap_or_default();
        let message = format!("the process ended with exit code {code} before its task did");
        return Failure {
            exit_code: Some(code),
            ..failure(FailureKind::Exit, Fault::User, message)
        };
    };
    let name = Signal::try_from(signal)
        .map_or_else(|_| signal.to_string(), |signal| signal.as_str().to_owned());
    if signal == Signal::SIGKILL as i32
        && !killed
        && let Some(mut why) = oom()
    {
        why.peak_bytes = why.peak_bytes.max(exited.max_rss_bytes);
        return Failure { signal: Some(signal), ..out_of_memory(why) };
    }
    let fault = if is_a_crash(signal) { Fault::User } else { Fault::System };
    let message = format!("the process was ended by the signal {name}");
    Failure { signal: Some(signal), ..failure(FailureKind::Signal, fault, message) }
}

/// Signals that a process brings upon itself.
fn is_a_crash(signal: i32) -> bool {
    [
        Signal::SIGSEGV,
        Signal::SIGABRT,
        Signal::SIGBUS,
        Signal::SIGFPE,
        Signal::SIGILL,
        Signal::SIGSYS,
        Signal::SIGTRAP,
        Signal::SIGXCPU,
        Signal::SIGXFSZ,
    ]
    .iter()
    .any(|one| *one as i32 == signal)
}

/// A path within the bundle where it lies there, otherwise as it is.
fn within(file: &str, folder: &Path) -> String {
    Path::new(file)
        .strip_prefix(folder)
        .map_or_else(|_| file.to_owned(), |path| path.to_string_lossy().into_owned())
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn cut(message: String) -> String {
    if message.len() <= MESSAGE_BYTES { message } else { text::cut(&message, MESSAGE_BYTES) }
}

#[cfg(test)]
mod tests;
