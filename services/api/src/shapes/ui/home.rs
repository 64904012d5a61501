//! Home: whether all is right, and if not, what failed and who was told.
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{super::DateTime, UiAsk};

/// Home.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UiHome {
    /// The last record of the log that is in it.
    pub seq: u64,
    /// When it was made.
    pub as_of: DateTime,
    /// All that it says, as one word: who comes back to the stream with it gets nothing twice.
    pub mark: String,
    /// Where the window begins: runs that ended since then are counted.
    pub since: DateTime,
    /// In numbers.
    pub verdict: UiVerdict,
    /// Alerts that nobody has in hand and that are about none of the runs below, newest first, at most 20.
    pub needs_human: Vec<UiAlert>,
    /// Questions of tasks that nobody has answered: those that are due first, and then those that wait longest, at
    /// most 20.
    #[serde(default)]
    pub asks: Vec<UiAsk>,
    /// Runs that failed within the window, those that ended last first, at most 50.
    pub failed: Vec<UiFailedRun>,
    /// Runs that go on though a task of them has failed, those that began last first, at most 20.
    #[serde(default)]
    pub failing: Vec<UiFailedRun>,
    /// Promised runs that are late, and broken promises of the window, at most 50.
    pub late: Vec<UiLate>,
    /// Runs in which something waits, and nothing has happened for a minute, the longest first, at most 20.
    pub waiting: Vec<UiWaiting>,
    /// Files that can't be read, at most 20.
    pub import_errors: Vec<UiImportError>,
    /// The next promised runs, at most 8.
    pub next: Vec<UiNext>,
    /// How many runs are promised in each half hour from `as_of` on, for twelve hours.
    pub next_12h: Vec<u32>,
}

/// The expected board.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UiExpected {
    /// The last record of the log that is in it.
    pub seq: u64,
    /// When it was made.
    pub as_of: DateTime,
    /// All that it says, as one word: who comes back to the stream with it gets nothing twice.
    pub mark: String,
    /// Promises that were found broken since then are counted.
    pub since: DateTime,
    /// Promised runs that are late, and broken promises of the window, at most 1,000.
    pub late: Vec<UiLate>,
    /// How many of those rows there are.
    pub late_count: usize,
    /// Runs in which something waits, and nothing has happened for a minute, the longest first, at most 1,000.
    pub waiting: Vec<UiWaiting>,
    /// How many of those there are.
    pub waiting_count: usize,
    /// Whether that is the whole number, or at least that.
    pub waiting_is_exact: bool,
    /// The next promised runs, at most 50.
    pub next: Vec<UiNext>,
    /// How many runs are promised in each half hour from `as_of` on, for twelve hours.
    pub next_12h: Vec<u32>,
}

/// What home says first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of its own on the page")]
pub struct UiVerdict {
    /// Runs that failed within the window.
    pub failed: usize,
    /// Whether that is the whole number, or at least that.
    pub failed_is_exact: bool,
    /// Runs that go on though a task of them has failed.
    #[serde(default)]
    pub failing: usize,
    /// Whether that is the whole number, or at least that.
    #[serde(default)]
    pub failing_is_exact: bool,
    /// Runs that succeeded within the window.
    pub succeeded: usize,
    /// Whether that is the whole number, or at least that.
    pub succeeded_is_exact: bool,
    /// Runs that run.
    pub running: u64,
    /// Runs that are queued.
    pub queued: u64,
    /// Promised runs that are late.
    pub late: usize,
    /// Promised runs that did not happen, found within the window.
    pub missed: usize,
    /// Runs in which something waits, and nothing has happened for a minute.
    pub waiting: usize,
    /// Whether that is the whole number, or at least that.
    pub waiting_is_exact: bool,
    /// Alerts that nobody has in hand.
    pub unacknowledged: usize,
    /// Those of them that are about none of the failed runs that home shows.
    pub needs_human: usize,
    /// Questions of tasks that nobody has answered.
    #[serde(default)]
    pub asks: usize,
    /// Whether that is the whole number, or at least that.
    #[serde(default)]
    pub asks_is_exact: bool,
    /// Files that can't be read.
    pub import_errors: usize,
    /// DAGs that a file defines.
    pub dags: usize,
    /// Those of them that are paused.
    pub paused: usize,
    /// Whether a scheduler has the lease.
    pub scheduler: bool,
    /// Executors that are there; left out where that can't be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executors: Option<usize>,
    /// Records of the log that are not in this yet.
    pub lag: u64,
    /// Whether there is a log of alerts to ask.
    pub alerting: bool,
}

/// An alert in short.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UiAlert {
    /// Number of the alert, as in its page and links.
    pub alert_id: u64,
    /// `run_failed` and the like.
    pub rule: String,
    /// `firing`, `acknowledged` or `resolved`.
    pub state: String,
    /// One line for people.
    pub summary: String,
    /// When it was opened.
    pub opened_at: DateTime,
    /// How often it happened.
    pub count: u32,
    /// Id of the DAG that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dag_id: Option<String>,
    /// The newest run that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// Who was told.
    pub told: UiTold,
}

/// Who was told of something.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct UiTold {
    /// `told`, `acknowledged`, `resolved`, `sending`, `not_told` where every attempt was turned down, `silenced`, `no_rule`
    /// where no alert was made, `no_receiver` where an alert was made and no route leads to anybody.
    pub state: String,
    /// Receivers that took it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub receivers: Vec<String>,
    /// When the first of them did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<DateTime>,
    /// Who has it in hand, or said that it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_at: Option<DateTime>,
    /// Number of the alert that somebody was told of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert_id: Option<u64>,
}

/// A run that failed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UiFailedRun {
    /// Id of the DAG.
    pub dag_id: String,
    /// Id of the run.
    pub run_id: String,
    /// What it stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logical_date: Option<DateTime>,
    /// `manual`, `scheduled`, `backfill`, `asset_triggered`.
    pub run_type: String,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_date: Option<DateTime>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<super::UiFailure>,
    /// Whose it is.
    pub owner: String,
    /// Who was told.
    pub told: UiTold,
}

/// A run that should have come.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UiLate {
    /// Id of the DAG.
    pub dag_id: String,
    /// What it would stand for; of several that were missed the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logical_date: Option<DateTime>,
    /// When it was due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<DateTime>,
    /// `late`, or of a broken promise why: `paused`, `no_scheduler`, `schedule_changed`, `too_many_active`,
    /// `made_by_hand`.
    pub why: String,
    /// How many runs.
    pub count: u32,
    /// Whose it is.
    pub owner: String,
}

/// A run in which something waits.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UiWaiting {
    /// Id of the DAG.
    pub dag_id: String,
    /// Id of the run.
    pub run_id: String,
    /// What it stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logical_date: Option<DateTime>,
    /// `queued` or `running`.
    pub state: String,
    /// Tasks of it that are queued or scheduled.
    pub tasks: u32,
    /// Since when nothing has happened.
    pub since: DateTime,
}

/// A file that can't be read.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UiImportError {
    /// Its path in the DAG folder.
    pub file: String,
    /// Line of the file, from 1; none where the error names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The exception's class.
    pub exception: String,
    /// One line.
    pub message: String,
    /// Since when.
    pub at: DateTime,
    /// DAGs of it that stay in force as they were.
    pub keeps: Vec<String>,
}

/// A promised run.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UiNext {
    /// Id of the DAG.
    pub dag_id: String,
    /// When it is due.
    pub due: DateTime,
}
