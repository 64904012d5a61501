//! What an alert is about, and the key by which everybody knows it.
use std::fmt;

use dagbok_events::{DagId, TaskId, hex};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What was found wrong.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// A run failed for good.
    RunFailed,
    /// A promised run is not there, its grace included, by the alerter's own clock.
    RunMissing,
    /// A callback of a DAG or of its tasks raised, took too long, or nobody began to call it.
    CallbackFailed,
    /// Promised runs did not happen and won't, as the scheduler says.
    RunMissed,
    /// A DAG file can't be read.
    ImportError,
    /// A DAG is in no file any more.
    DagVanished,
    /// Tries are queued and nobody begins them.
    StuckQueued,
    /// A receiver does not take what it is sent.
    ReceiverFailing,
    /// The alerting configuration can't be read; the last good one is in force.
    ConfigurationRefused,
    /// Somebody tests a receiver.
    Test,
    /// No scheduler writes anything though runs are due.
    SchedulerSilent,
    /// Something outside that says regularly that it lives has not.
    HeartbeatMissing,
    /// A run or a task is not done by when its DAG's file or the configuration says.
    DeadlineMissed,
    /// A run takes much longer than those before it.
    RunSlow,
    /// Nothing of a run is under way, and it is not over.
    RunStuck,
    /// A DAG's last success is older than the configuration allows.
    Stale,
    /// An executor went without a word.
    ExecutorLost,
    /// A task needs a pool that is not there.
    PoolMissing,
    /// A task's memory is near what the configuration allows, or will soon be.
    MemoryHigh,
    /// A DAG's tasks are tried again more and more often.
    RetriesRising,
    /// A task failed and is tried again, and its author asks for mail of that (`email_on_retry`).
    TaskRetried,
    /// A watcher of an asset that a DAG is scheduled on fails again and again.
    WatcherFailing,
    /// The words that the configuration has for a receiver can't be used; plain ones are sent.
    TemplateFailing,
    /// The calendar of a schedule can't be had or read; what was read last holds.
    CalendarRefused,
    /// What a receiver is told by soon holds no more.
    CredentialsExpiring,
    /// Messages are not taken for too long.
    MessagesWaiting,
    /// A run is so late that it will miss a deadline if it takes as long as those before it.
    DeadlineAhead,
    /// Nobody answers what a task asks.
    QuestionWaiting,
    /// Reports of executors are refused again and again.
    ReportsRefused,
    /// The disk on which the installation writes, or what the broker may hold, is full before long.
    DiskFilling,
    /// Alerting has not folded what the run log has for some time.
    ProjectionBehind,
    /// The object store where big things lie does not do what it is asked.
    BlobsAway,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 32] = [
        Self::RunFailed,
        Self::RunMissing,
        Self::CallbackFailed,
        Self::RunMissed,
        Self::ImportError,
        Self::DagVanished,
        Self::StuckQueued,
        Self::ReceiverFailing,
        Self::ConfigurationRefused,
        Self::Test,
        Self::SchedulerSilent,
        Self::HeartbeatMissing,
        Self::DeadlineMissed,
        Self::RunSlow,
        Self::RunStuck,
        Self::Stale,
        Self::ExecutorLost,
        Self::PoolMissing,
        Self::MemoryHigh,
        Self::RetriesRising,
        Self::TaskRetried,
        Self::WatcherFailing,
        Self::TemplateFailing,
        Self::CalendarRefused,
        Self::CredentialsExpiring,
        Self::MessagesWaiting,
        Self::DeadlineAhead,
        Self::QuestionWaiting,
        Self::ReportsRefused,
        Self::DiskFilling,
        Self::ProjectionBehind,
        Self::BlobsAway,
    ];

    /// As it stands in facts and labels.
    pub const fn word(self) -> &'static str {
        match self {
            Self::RunFailed => "run_failed",
            Self::CallbackFailed => "callback_failed",
            Self::RunMissing => "run_missing",
            Self::RunMissed => "run_missed",
            Self::ImportError => "import_error",
            Self::DagVanished => "dag_vanished",
            Self::StuckQueued => "stuck_queued",
            Self::ReceiverFailing => "receiver_failing",
            Self::ConfigurationRefused => "configuration_refused",
            Self::Test => "test",
            Self::SchedulerSilent => "scheduler_silent",
            Self::HeartbeatMissing => "heartbeat_missing",
            Self::DeadlineMissed => "deadline_missed",
            Self::RunSlow => "run_slow",
            Self::RunStuck => "run_stuck",
            Self::Stale => "stale",
            Self::ExecutorLost => "executor_lost",
            Self::PoolMissing => "pool_missing",
            Self::MemoryHigh => "memory_high",
            Self::RetriesRising => "retries_rising",
            Self::TaskRetried => "task_retried",
            Self::WatcherFailing => "watcher_failing",
            Self::TemplateFailing => "template_failing",
            Self::CalendarRefused => "calendar_refused",
            Self::CredentialsExpiring => "credentials_expiring",
            Self::MessagesWaiting => "messages_waiting",
            Self::DeadlineAhead => "deadline_ahead",
            Self::QuestionWaiting => "question_waiting",
            Self::ReportsRefused => "reports_refused",
            Self::DiskFilling => "disk_filling",
            Self::ProjectionBehind => "projection_behind",
            Self::BlobsAway => "blobs_away",
        }
    }

    /// Whether a further cause of an open alert is told again.
    pub const fn recurs(self) -> bool {
        matches!(
            self,
            Self::RunFailed
                | Self::RunMissed
                | Self::CallbackFailed
                | Self::DeadlineMissed
                | Self::QuestionWaiting
                | Self::ExecutorLost
                | Self::TaskRetried
                | Self::CredentialsExpiring
                | Self::DiskFilling
        )
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Whose trouble it is.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum AlertScope {
    /// A DAG's.
    Dag(DagId),
    /// A DAG file's, by its path in the folder.
    File(String),
    /// A receiver's, by its name.
    Receiver(String),
    /// Of something outside, by the name of its heartbeat.
    Heartbeat(String),
    /// A task's, in whichever of its DAG's runs.
    Task(DagId, TaskId),
    /// A schedule's, by its name.
    Schedule(String),
    /// Of what the broker keeps things in, by its name.
    Store(String),
    /// The whole namespace's, of which alerting itself is a part.
    Namespace,
}

impl fmt::Display for AlertScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dag(dag_id) => write!(f, "dag:{dag_id}"),
            Self::File(path) => write!(f, "file:{path}"),
            Self::Receiver(name) => write!(f, "receiver:{name}"),
            Self::Heartbeat(name) => write!(f, "heartbeat:{name}"),
            Self::Task(dag_id, task_id) => write!(f, "task:{dag_id}/{task_id}"),
            Self::Schedule(name) => write!(f, "schedule:{name}"),
            Self::Store(name) => write!(f, "store:{name}"),
            Self::Namespace => f.write_str("namespace"),
        }
    }
}

/// How bad it is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// To be known.
    Info,
    /// To be looked at by day.
    Warning,
    /// Somebody is to be woken.
    Critical,
}

impl Severity {
    /// As it stands in facts and labels.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// What providers know an incident by: the same for every attempt, restart and replica, another for each
/// generation, which begins only when the one before is over.
pub fn dedup_key(namespace: &str, rule: Rule, scope: &AlertScope, generation: u32) -> String {
    let text = format!("{namespace}\0{rule}\0{scope}\0{generation}");
    format!("dagbok-{}", hex(&Sha256::digest(text.as_bytes())[..16]))
}
