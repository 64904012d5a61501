//! Rows about runs.
use std::collections::BTreeMap;

use dagbok_events::{
    Actor, BackfillId, DagId, DagVersion, Digest, ExecutorId, ForeignReport, Interval, LogRef,
    MapIndex, Partition, Payload, RefusedWhy, RunId, RunKey, RunType, TaskId, TasksWere, Timestamp,
    TryNumber, Usage,
};
use dagbok_protocol::Lapses;
use serde::{Deserialize, Serialize};

use super::TaskInstanceState;

/// Airflow's states of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Made, not started.
    Queued,
    /// Its tasks may run.
    Running,
    /// Over, well.
    Success,
    /// Over, badly.
    Failed,
}

impl RunState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Queued, Self::Running, Self::Success, Self::Failed];

    /// Airflow's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Success => "success",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing more happens to the run.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Success | Self::Failed)
    }
}

/// How a run came to its end, where that says more than its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunEnd {
    /// Its tasks did.
    Tasks,
    /// It took longer than `dagrun_timeout`.
    TimedOut,
    /// Somebody ended it.
    Cancelled,
    /// Somebody says so.
    Marked,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRow {
    /// Whose.
    pub dag_id: DagId,
    /// Which.
    pub run_id: RunId,
    /// Its state.
    pub state: RunState,
    /// How it came about.
    pub run_type: RunType,
    /// The partition that it stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Partition>,
    /// What it stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logical_date: Option<Timestamp>,
    /// The data it covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_interval: Option<Interval>,
    /// Not before this.
    pub run_after: Timestamp,
    /// Which meaning of the DAG it runs.
    pub version: DagVersion,
    /// Which code.
    pub bundle: Digest,
    /// Which it ran before that, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<EarlierVersion>,
    /// Copies of tasks that are not in that version, and were in an earlier one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<GoneRow>,
    /// Who made it.
    pub created_by: Actor,
    /// When it was made.
    pub queued_at: Timestamp,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_date: Option<Timestamp>,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_date: Option<Timestamp>,
    /// The latest that a task of it began, by the executor's clock; of those that were cleared since, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_start: Option<Timestamp>,
    /// How it came to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<RunEnd>,
    /// The record since which it is over; 0 where it is not.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub over_seq: u64,
    /// Of tries that were offered before some record the logs are forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs_lapsed: Option<Lapsed>,
    /// Of tries that were offered before some record the values are forgotten that they handed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xcoms_lapsed: Option<Lapsed>,
    /// Who ended it, where somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<Actor>,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<String>,
    /// Tasks that failed themselves, the first ones, in the order in which they did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<(TaskId, MapIndex)>,
    /// Its tasks, each copy of a mapped one.
    pub tasks: u32,
    /// Mapped tasks that have their copies, with how many.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub expanded: BTreeMap<TaskId, u32>,
    /// Those of them that have a state, by state.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<TaskInstanceState, u32>,
    /// The backfill that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backfill_id: Option<BackfillId>,
    /// Reports about it that were refused.
    pub refused: u32,
    /// The sequence of the record that made it.
    pub created_seq: u64,
    /// The sequence of the last record about it.
    pub last_seq: u64,
    /// When that was decided; the latest date of its tasks where an executor's clock, or one that was set back since,
    /// was ahead. It never falls, and no date of a task is later.
    pub updated_at: Timestamp,
    /// The newest sequences of its records, as stretches; older ones are in [`SeqsRow`]s.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seqs: Vec<Stretch>,
}

impl RunRow {
    /// Which.
    pub fn key(&self) -> RunKey {
        RunKey { dag_id: self.dag_id.clone(), run_id: self.run_id.clone() }
    }

    /// The version by which a try ran that was offered by the record `seq`.
    pub fn version_at(&self, seq: u64) -> DagVersion {
        let earlier = self.earlier.iter().find(|it| seq < it.until);
        earlier.map_or(self.version, |it| it.version)
    }

    /// The version that it went on with after this one.
    pub(crate) fn version_after(&self, version: DagVersion) -> DagVersion {
        let later = self.earlier.iter().rev().take_while(|it| it.version != version);
        later.last().map_or(self.version, |it| it.version)
    }

    /// How many copies of tasks are gone, and stand for themselves: one that is replaced by copies with indexes is shown
    /// in their place until they are there.
    pub(crate) fn gone_count(&self) -> u32 {
        let shown = self.gone.iter().filter(|it| !self.is_hidden(it));
        shown.map(|it| it.count).sum()
    }

    /// Whether something else has the place of what is gone.
    pub(crate) fn is_hidden(&self, gone: &GoneRow) -> bool {
        gone.replaced && gone.first < 0 && !self.expanded.contains_key(&gone.task_id)
    }

    /// Its tasks that have no state yet.
    pub fn stateless(&self) -> u32 {
        self.tasks.saturating_sub(self.counts.values().sum())
    }
}

/// What of a run was forgotten before it went itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lapsed {
    /// Of tries that were offered before this record.
    pub before_seq: u64,
    /// Until when it was kept.
    pub kept_until: Timestamp,
}

impl Lapsed {
    /// All of the run, which is over.
    pub const fn whole(kept_until: Timestamp) -> Self {
        Self { before_seq: u64::MAX, kept_until }
    }

    /// Whether it is all of the run.
    pub const fn is_whole(self) -> bool {
        self.before_seq == u64::MAX
    }

    /// Until when it was kept of a try that this record offered.
    pub fn of(lapsed: Option<Self>, queued_seq: u64) -> Option<Timestamp> {
        lapsed.filter(|it| queued_seq < it.before_seq).map(|it| it.kept_until)
    }
}

/// By what facts logs and values of runs that are over are forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LapsesRow {
    /// Logs.
    pub logs: Lapses,
    /// Values that tasks handed on.
    pub xcoms: Lapses,
}

/// A version that a run had before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EarlierVersion {
    /// Which.
    pub version: DagVersion,
    /// The record by which it went on with another.
    pub until: u64,
}

/// Copies of a task that are no longer in their run: their rows stay, as `removed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GoneRow {
    /// Of which task.
    pub task_id: TaskId,
    /// The last version that had it.
    pub version: DagVersion,
    /// The first map index; -1 of one without.
    pub first: i32,
    /// How many there are.
    pub count: u32,
    /// Whether the run's version has a task of that name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replaced: bool,
}

impl GoneRow {
    /// Whether this copy is among them.
    pub fn is_of(&self, task_id: &TaskId, map_index: i32) -> bool {
        let past = self.first.saturating_add_unsigned(self.count);
        self.task_id == *task_id && (self.first..past).contains(&map_index)
    }

    /// Where it stands among others: by task, then by map index.
    pub(crate) fn place(&self) -> (&str, i32) {
        (self.task_id.as_str(), self.first)
    }

    /// What is left of it beside others: the copies before those, and after.
    pub(crate) fn without(self, others: &Self) -> impl Iterator<Item = Self> + use<> {
        let end = |it: &Self| it.first.saturating_add_unsigned(it.count);
        let (from, to) = if self.task_id == others.task_id {
            (others.first.clamp(self.first, end(&self)), end(others).clamp(self.first, end(&self)))
        } else {
            (end(&self), end(&self))
        };
        let parts = [self.first..from, to..end(&self)];
        parts.into_iter().filter(|part| !part.is_empty()).map(move |part| Self {
            first: part.start,
            count: u32::try_from(part.end - part.start).unwrap_or(0),
            ..self.clone()
        })
    }
}

/// What whoever made a run passed along.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunInputRow {
    /// A JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conf: Option<Payload>,
    /// A note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Sequences with no gap between them: the first, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch(pub u64, pub u32);

/// A stretch of a run's records that no longer fits its [`RunRow`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeqsRow(pub Vec<Stretch>);

/// A run in the order of making, over all DAGs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunOrderRow {
    /// Whose.
    pub dag_id: DagId,
    /// Which.
    pub run_id: RunId,
}

/// A run's place in an index; all is in its key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunIndexRow {}

/// That a run has a task in a state; all is in the key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunHavingRow {}

/// That a run was given a value by a name; all is in the key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunGivenRow {}

/// How many runs and tasks there are, of a DAG or of all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TotalsRow {
    /// Runs by state and type.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub runs: BTreeMap<(RunState, RunType), u64>,
    /// Tasks of those runs by state; `None` for those without one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tasks: BTreeMap<Option<TaskInstanceState>, u64>,
    /// Executors that have left; over all DAGs only.
    #[serde(default)]
    pub executors_left: u64,
}

impl TotalsRow {
    /// Runs by state.
    pub fn runs_by_state(&self) -> BTreeMap<RunState, u64> {
        let mut by_state = BTreeMap::new();
        for ((state, _), count) in &self.runs {
            *by_state.entry(*state).or_default() += count;
        }
        by_state
    }
}

/// A report that was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefusedRow {
    /// The sequence of the record that says so.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// The task that it named.
    pub task_id: TaskId,
    /// The copy that it named.
    pub map_index: MapIndex,
    /// The try that it named.
    pub try_number: TryNumber,
    /// What it claimed.
    pub report: ForeignReport,
    /// Who sent it.
    pub executor: ExecutorId,
    /// Why it was refused.
    pub why: RefusedWhy,
    /// What the try used, by the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The log that came with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogRef>,
}

/// What somebody changed of a task's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskChangeRow {
    /// Of which task.
    pub task_id: TaskId,
    /// The first copy.
    pub map_index: MapIndex,
    /// How many further ones.
    pub further: u32,
    /// `cleared`, `noted`, `added`, `removed`, or as what it was marked.
    pub change: String,
    /// How they stood before, in order.
    pub was: Vec<TasksWere>,
    /// Its note from then on, where that was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Its note before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note_was: Option<String>,
}

/// What somebody changed of a run's history, in one record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunChangeRow {
    /// The record that says so.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: Actor,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What became of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// How the run stood before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// The version that it goes on with, and the one before, where it has another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<(DagVersion, DagVersion)>,
    /// Its note from then on, where that was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Its note before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note_was: Option<String>,
    /// The tasks, the first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<TaskChangeRow>,
    /// How many more entries there were.
    pub more: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}
