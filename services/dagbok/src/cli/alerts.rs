//! Arguments of `dagbok alerts`.
use std::path::PathBuf;

use clap::{Args, Subcommand};
use dagbok_config::Period;

/// `dagbok alerts …`.
#[derive(Debug, Subcommand)]
pub(crate) enum AlertsCommand {
    /// List alerts, the newest first, and whether somebody was told
    #[command(
        after_help = "With --json: the API's AlertCollection, `{alerts: […], total_entries}`"
    )]
    List(List),
    /// Show one alert, and who was told of it, when, and what the provider answered
    #[command(after_help = "With --json: the API's AlertResponse")]
    Show(Alert),
    /// Say that you have an alert in hand: nobody further is told of it
    #[command(after_help = "With --json: the API's AlertResponse")]
    Ack(Change),
    /// Say that an alert is over
    #[command(after_help = "With --json: the API's AlertResponse")]
    Resolve(Change),
    /// Have alerts not told for a time; they are opened and shown all the same
    #[command(after_help = "With --json: the API's SilenceResponse")]
    Silence(Silence),
    /// End a silence before its time
    #[command(after_help = "With --json: `{silence_id}`")]
    Unsilence(Alert),
    /// List silences
    #[command(
        after_help = "With --json: the API's SilenceCollection, `{silences: […], total_entries}`"
    )]
    Silences,
    /// Tell a receiver something by the real way, marked as a test, and show its answer
    #[command(after_help = "With --json: the API's AlertResponse, once the provider answered")]
    Test(Test),
    /// Check the configuration, and who would be told of each DAG
    #[command(
        after_help = "Ends with 4 where a failure of a DAG reaches nobody or the guard refuses an address, with 2 where the configuration does not hold, with 7 where a file of --dags can't be read.\n\nWith --json: `file`, `receivers`, `warnings`, `guarded` (what the guard does not let be reached), `dags`, a list of `dag_id`, `owner`, `route`, `receivers`, or null where no API answers"
    )]
    Check(Check),
    /// Say who is on call, by the configuration's schedules
    #[command(
        after_help = "With --json: `at`, `schedules`, a list of `schedule`, `person` (null where nobody is) and `receivers`"
    )]
    Oncall(OnCall),
    /// Say what one record of the log calls for, by the configuration: what is wrong by it, what is awaited, who is told
    #[command(
        after_help = "With --json: `seq`, `at`, `facts`, `wrong` (each `rule`, `summary`, `labels`, `route`, `steps`), `awaited` (each `rule`, `scope`, `at`) and `over`"
    )]
    Explain(Explain),
    /// Go through the log again and say who would have been told by the configuration; nothing can be sent
    #[command(
        after_help = "With --json: `since`, `until`, `records`, `left_out` and `alerts`, a list of `rule`, `scope`, `summary`, `labels`, `opened_at`, `resolved_at`, `route` and `told`"
    )]
    Backtest(Backtest),
    /// Say who was told of a run
    #[command(after_help = "With --json: the API's AlertCollection")]
    Trace(Trace),
}

/// An alert or a silence.
#[derive(Debug, Args)]
pub(crate) struct Alert {
    /// Its number
    pub(crate) id: u64,
}

/// `dagbok alerts list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those in this state; `open` is firing or acknowledged
    #[arg(long, value_name = "STATE", value_parser = ["firing", "acknowledged", "resolved", "open"])]
    pub(crate) state: Option<String>,
    /// Only those of this DAG
    #[arg(long, value_name = "DAG")]
    pub(crate) dag: Option<String>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 25)]
    pub(crate) limit: usize,
    /// Leave out this many
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) offset: usize,
}

/// `dagbok alerts ack` and `resolve`.
#[derive(Debug, Args)]
pub(crate) struct Change {
    /// Its number
    pub(crate) id: u64,
    /// A word for others
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
}

/// `dagbok alerts silence`.
#[derive(Debug, Args)]
pub(crate) struct Silence {
    /// Which alerts, as `dag="etl"`, with `=`, `!=`, `=~`, `!~`: all of them match
    #[arg(required = true, value_name = "MATCHER")]
    pub(crate) matchers: Vec<String>,
    /// For how long, as `2h`
    #[arg(long = "for", value_name = "TIME")]
    pub(crate) period: Period,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

/// `dagbok alerts test`.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// The receiver's name
    pub(crate) receiver: String,
    /// How long its answer is waited for
    #[arg(long, value_name = "TIME", default_value = "1m")]
    pub(crate) timeout: Period,
}

/// `dagbok alerts check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The file [default: the one that is configured, or alerting.toml in the installation's folder]
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Check the DAGs of this folder, for CI: no API is asked and no secret is read; once more for each further one
    #[arg(long, value_name = "FOLDER")]
    pub(crate) dags: Vec<PathBuf>,
}

/// `dagbok alerts oncall`.
#[derive(Debug, Args)]
pub(crate) struct OnCall {
    /// The file [default: the one that is configured, or alerting.toml in the installation's folder; with --api what is in force there]
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// At what time, as `2026-12-24T18:00:00Z`; now where not said
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<jiff::Timestamp>,
}

/// `dagbok alerts explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The file [default: the one that is configured, or alerting.toml in the installation's folder]
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The record's sequence, as `dagbok events` shows it
    #[arg(long, value_name = "SEQ")]
    pub(crate) event: u64,
}

/// `dagbok alerts backtest`.
#[derive(Debug, Args)]
pub(crate) struct Backtest {
    /// The file [default: the one that is configured, or alerting.toml in the installation's folder]
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// How far back, as `90d` or `12h`
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = days)]
    pub(crate) since: Period,
}

/// A length of time, of which days may be one.
fn days(text: &str) -> Result<Period, String> {
    let days = text.trim().strip_suffix('d').and_then(|days| days.parse::<u64>().ok());
    match days.and_then(|days| days.checked_mul(86_400)).filter(|it| *it < 1 << 32) {
        Some(seconds) => Ok(Period::secs(seconds)),
        None => text.parse().map_err(|error: String| format!("{error}, or `90d`")),
    }
}

/// `dagbok alerts trace`.
#[derive(Debug, Args)]
pub(crate) struct Trace {
    /// Of which DAG
    pub(crate) dag_id: String,
    /// Which run
    pub(crate) run_id: String,
}
