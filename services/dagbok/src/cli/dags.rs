//! Arguments of `dagbok dags`.
use std::path::PathBuf;

use clap::{Args, Subcommand};
use dagbok_events::Timestamp;

use super::{Asked, DryRun};

/// `dagbok dags …`.
#[derive(Debug, Subcommand)]
pub(crate) enum DagsCommand {
    /// List the DAGs
    #[command(
        after_help = "With --json: the API's DAGCollectionResponse, `{dags: […], total_entries}`"
    )]
    List(List),
    /// Show one DAG and its tasks, of a file or of an installation
    #[command(
        after_help = "With --json: `dag_id`, `schedule`, `start_date`, `catchup`, `max_active_runs`, `tags`, `owner`, and `tasks`, a list of `task_id`, `operator`, `downstream` (sorted), `trigger_rule`, `retries`, `is_mapped`, `group`"
    )]
    Show(Show),
    /// Parse a folder as a processor would, and say what can't be read and what behaves otherwise here
    #[command(
        after_help = "Ends with 7 where a file can't be read. With --json: `ok`, `files`, `dags`, and lists: `errors` of `file`, `line`, `exception`, `message`; `not_carried_out` of `file`, `dag_id`, `what`; `warnings` of `file`, `message`"
    )]
    Check(Check),
    /// Run a DAG once, here, on a log that is thrown away
    #[command(
        after_help = "With --json, at the end: `dag_id`, `run_id`, `state`, `duration` in seconds, `log` (the folder, or null), and `tasks`, by task an object of `state`, `try_number`, `start_date`, `end_date`, `failure`"
    )]
    Test(Test),
    /// Make no new runs of a DAG
    #[command(after_help = "With --json: the API's DAGResponse")]
    Pause(Pause),
    /// Make runs of a DAG again, and say which are made at once
    #[command(
        after_help = "With --json: the API's DAGResponse; with --dry-run `{dag_id, runs, first_logical_date, last_logical_date, next_run_after}`"
    )]
    Unpause(Unpause),
    /// Say when a DAG's next runs are due, as its schedule promises them
    #[command(
        after_help = "With --json: the API's ExpectedRunCollection, `{expected_runs: […], total_entries, is_paused}`"
    )]
    NextExecution(NextExecution),
    /// Promise a DAG's next run anew, by the clock and the schedule as they are
    #[command(
        long_about = "Promise a DAG's next run anew, by the clock and the schedule as they are: mends what a clock that was wrong had promised. A promise that is due stays, and so do runs that were made",
        after_help = "With --json: `{dags: [{dag_id, next_dagrun_run_after}]}` of those that changed"
    )]
    Reschedule(Reschedule),
    /// Let DAGs that no file has any more be gone, with all their runs
    #[command(
        long_about = "Let DAGs that no file has any more be gone, with all their runs, and show first what goes. Refused while a file defines the DAG, or one of its runs is not over; the log keeps its records, and the fact that it was deleted",
        after_help = "With --json, for each: `dag_id`, `dry_run`, `runs`, `versions`, `bytes` (of logs and values that go with the next sweep)"
    )]
    Delete(Delete),
    /// List the files that can't be read
    #[command(
        after_help = "With --json: the API's ImportErrorCollectionResponse, `{import_errors: […], total_entries}`"
    )]
    Errors,
    /// Make a run of a DAG
    #[command(after_help = "With --json: the API's DAGRunResponse")]
    Trigger(Trigger),
}

/// `dagbok dags list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Also DAGs that are gone from their files
    #[arg(long)]
    pub(crate) all: bool,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: usize,
    /// Leave out this many
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) offset: usize,
}

/// `dagbok dags reschedule`.
#[derive(Debug, Args)]
pub(crate) struct Reschedule {
    /// Which DAG
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(crate) dag_id: Option<String>,
    /// Every DAG
    #[arg(long)]
    pub(crate) all: bool,
}

/// `dagbok dags pause`.
#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// Which DAG, or several
    #[arg(required = true, value_name = "DAG_ID")]
    pub(crate) dag_ids: Vec<String>,
}

/// `dagbok dags unpause`.
#[derive(Debug, Args)]
pub(crate) struct Unpause {
    /// Which DAG, or several
    #[arg(required = true, value_name = "DAG_ID")]
    pub(crate) dag_ids: Vec<String>,
    #[command(flatten)]
    pub(crate) only: DryRun,
}

/// `dagbok dags delete`.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Which DAG, or several
    #[arg(required = true, value_name = "DAG_ID")]
    pub(crate) dag_ids: Vec<String>,
    #[command(flatten)]
    pub(crate) asked: Asked,
}

/// `dagbok dags next-execution`.
#[derive(Debug, Args)]
pub(crate) struct NextExecution {
    /// Of which DAG
    pub(crate) dag_id: String,
    /// How many of its next runs
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    pub(crate) num_executions: usize,
}

/// `dagbok dags show`.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// A DAG file, or the id of a DAG in a running installation, or else in the configured folder; or several
    #[arg(value_name = "FILE|DAG_ID", required = true)]
    pub(crate) what: Vec<String>,
    /// The folder that the file's imports are looked for in [default: the project that the file lies in, or its own]
    #[arg(long, value_name = "DIR")]
    pub(crate) dags: Option<PathBuf>,
    /// Which DAG of a file that has several
    #[arg(long, value_name = "DAG_ID")]
    pub(crate) dag: Option<String>,
}

/// `dagbok dags check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The DAG folder, or several [default: `processor.dags` of the configuration]
    #[arg(value_name = "FOLDER")]
    pub(crate) folders: Vec<PathBuf>,
}

/// `dagbok dags test`.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// A DAG file, or the id of a DAG in the folder that --dags or `processor.dags` names
    #[arg(value_name = "FILE|DAG_ID")]
    pub(crate) what: String,
    /// The folder that the DAG and its imports are looked for in [default: the project that the file lies in, or its own]
    #[arg(long, value_name = "DIR")]
    pub(crate) dags: Option<PathBuf>,
    /// Which DAG of a file that has several
    #[arg(long, value_name = "DAG_ID")]
    pub(crate) dag: Option<String>,
    /// What the run stands for: `2026-01-31`, or RFC 3339
    #[arg(long, value_name = "DATE", value_parser = logical_date)]
    pub(crate) logical_date: Option<Timestamp>,
    /// A JSON object that tasks find as `dag_run.conf`
    #[arg(long, value_name = "JSON")]
    pub(crate) conf: Option<String>,
    /// What to answer where the task asks people: an option, and once more for each further one; `TASK[3]=OPTION` for one
    /// copy. Without it whoever is at the terminal is asked, else the task's default counts, and without that it fails
    #[arg(long = "answer", value_name = "TASK=OPTION", value_parser = pair)]
    pub(crate) answers: Vec<(String, String)>,
    /// What the fields of such a question are filled in with: a JSON object
    #[arg(long = "fields", value_name = "TASK=JSON", value_parser = pair)]
    pub(crate) fields: Vec<(String, String)>,
    /// Tasks whose whole id this matches are marked success and not run: a regular expression of Python
    #[arg(long, value_name = "REGEX")]
    pub(crate) mark_success_pattern: Option<String>,
    /// Keep the log in this folder, flushed to the disk as in production
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// Tries at once [default: twice the cores, at least 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) slots: Option<u32>,
}

/// `dagbok dags trigger`.
#[derive(Debug, Args)]
pub(crate) struct Trigger {
    /// Of which DAG, or of several, a run each
    #[arg(required = true, value_name = "DAG_ID")]
    pub(crate) dag_ids: Vec<String>,
    /// The run's id [default: made from the date]
    #[arg(long, value_name = "ID")]
    pub(crate) run_id: Option<String>,
    /// What the run stands for: `2026-01-31`, or RFC 3339
    #[arg(long, value_name = "DATE", value_parser = logical_date)]
    pub(crate) logical_date: Option<Timestamp>,
    /// A JSON object that tasks find as `dag_run.conf`; `@FILE` reads it from there, `@-` from standard input
    #[arg(long, value_name = "JSON")]
    pub(crate) conf: Option<String>,
    /// A note for people
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
    /// The partition that the run stands for, of a DAG whose runs have some
    #[arg(long, value_name = "KEY")]
    pub(crate) partition_key: Option<String>,
    /// Wait until the run is over, and end as it did
    #[arg(long, short)]
    pub(crate) wait: bool,
}

/// What stands before and after a `=`.
fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(task, said)| !task.is_empty() && !said.is_empty());
    let (task, said) = pair.ok_or("write a task's id, `=`, and what is said")?;
    Ok((task.to_owned(), said.to_owned()))
}

/// An instant as people write it, or how long ago it was.
pub(crate) fn since(text: &str) -> Result<Timestamp, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
    let ago = match days {
        Some(days) => Ok(std::time::Duration::from_secs(u64::from(days) * 86_400)),
        None => text.parse::<dagbok_config::Period>().map(|period| period.0),
    };
    let Ok(ago) = ago else {
        return logical_date(text)
            .map_err(|_| "write it as `2h`, `7d`, `2026-01-31`, or `2026-01-31T05:30:00Z`".into());
    };
    let now = dagbok_runtime::Clock::system().now();
    let ago = i64::try_from(ago.as_micros()).ok().and_then(|ago| now.0.checked_sub(ago));
    ago.filter(|at| *at > 0).map(Timestamp).ok_or_else(|| "that is too long ago".into())
}

/// An instant as people write it; a date alone is its midnight in UTC.
pub(crate) fn logical_date(text: &str) -> Result<Timestamp, String> {
    let midnight =
        |date: jiff::civil::Date| date.to_zoned(jiff::tz::TimeZone::UTC).map(|at| at.timestamp());
    let only_date = text.len() <= "2026-01-31".len();
    let at = if only_date {
        text.parse::<jiff::civil::Date>().and_then(midnight)
    } else {
        text.parse::<jiff::Timestamp>()
    };
    at.map(Timestamp::from)
        .map_err(|_| format!("`{text}` is no date; write `2026-01-31` or `2026-01-31T02:00:00Z`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_people_write_them() {
        let at = |text| logical_date(text).map(|at| at.to_string());
        assert_eq!(at("2026-01-31"), Ok("2026-01-31T00:00:00Z".into()));
        assert_eq!(at("2026-01-31T02:30:00+02:00"), Ok("2026-01-31T00:30:00Z".into()));
        assert_eq!(at("2026-01-31T02:30:00Z"), Ok("2026-01-31T02:30:00Z".into()));
        for bad in ["", "yesterday", "2026-13-01", "2026-01-31T02:30:00", "31.1.2026"] {
            assert!(at(bad).unwrap_err().contains("is no date"), "{bad}");
        }
    }
}
