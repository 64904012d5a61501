//! One run as its facts tell it: a small fold, for the terminal and for the result at the end.
use std::{collections::BTreeMap, fmt};

use dagbok_events::{
    Fact, Failure, HitlAsk, MapIndex, RuledOut, RunMark, RunMarked, TaskId, TaskMark, Timestamp,
    TryNumber,
};
use dagbok_protocol::names::DAG_CALLBACK;
use serde::Serialize;

/// A run.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunView {
    pub(crate) tasks: BTreeMap<TaskCopy, TaskView>,
    pub(crate) started: Option<Timestamp>,
    /// How it ended, and when; `None` while it has not.
    pub(crate) ended: Option<(&'static str, Timestamp)>,
    /// How the call of the DAG's callback ended that its end called for.
    pub(crate) callback: Option<Called>,
}

/// How the call of a DAG's callback ended.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Called {
    pub(crate) state: &'static str,
    /// How it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<Failure>,
}

/// A task of it; of a mapped one, a copy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TaskCopy {
    pub(crate) task_id: TaskId,
    pub(crate) map_index: MapIndex,
}

impl TaskCopy {
    /// That copy of the task.
    pub(crate) fn of(task_id: &TaskId, map_index: MapIndex) -> Self {
        Self { task_id: task_id.clone(), map_index }
    }
}

impl fmt::Display for TaskCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.map_index {
            _ if self.task_id.as_str() == DAG_CALLBACK => f.write_str("callback of the DAG"),
            MapIndex::UNMAPPED => self.task_id.fmt(f),
            MapIndex(number) => write!(f, "{}[{number}]", self.task_id),
        }
    }
}

/// How it stands with a task.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct TaskView {
    /// In Airflow's words; null before it is queued.
    pub(crate) state: Option<&'static str>,
    /// The last try; 0 before the first.
    pub(crate) try_number: u16,
    #[serde(rename = "start_date")]
    pub(crate) started: Option<Timestamp>,
    #[serde(rename = "end_date")]
    pub(crate) ended: Option<Timestamp>,
    /// How the last try failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<Failure>,
}

impl TaskView {
    /// From the last try's start to its end, in seconds.
    pub(crate) fn seconds(&self) -> Option<f64> {
        Some(seconds(self.started?, self.ended?))
    }
}

/// What a fact changed, for whoever watches.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// A try began.
    Began(TaskCopy, TryNumber),
    /// A task is in another state, and how long its try took.
    Task(TaskCopy, &'static str, Option<f64>, Option<String>),
    /// A task asks people.
    Asked(TaskCopy, Box<HitlAsk>),
    /// The run is over.
    Over(&'static str),
    /// Nothing to tell.
    Quiet,
}

/// The time between two instants, in seconds.
pub(crate) fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "2^53 microseconds are 285 years")]
    let micros = to.since(from).0 as f64;
    micros / 1_000_000.0
}

impl RunView {
    /// How long the run took, in seconds.
    pub(crate) fn seconds(&self) -> Option<f64> {
        Some(seconds(self.started?, self.ended?.1))
    }

    /// Whether everything is told, where its end calls for a callback that `calls` says there is.
    pub(crate) fn is_told(&self, calls: impl Fn(&str) -> bool) -> bool {
        self.ended.is_some_and(|(state, _)| self.callback.is_some() || !calls(state))
    }

    fn call_moved(&mut self, fact: &Fact) -> Change {
        match fact {
            Fact::DagCallbackSucceeded(_) => self.called("success", None),
            Fact::DagCallbackFailed(f) => self.called("failed", Some(f.failure.clone())),
            _ => {
                let copy = TaskCopy::of(&callback_id(), MapIndex::UNMAPPED);
                Change::Began(copy, TryNumber::FIRST)
            }
        }
    }

    fn called(&mut self, state: &'static str, failure: Option<Failure>) -> Change {
        let message = failure.as_ref().map(|failure| failure.message.clone());
        self.callback = Some(Called { state, failure });
        Change::Task(TaskCopy::of(&callback_id(), MapIndex::UNMAPPED), state, None, message)
    }

    /// Folds a fact of the run in.
    pub(crate) fn apply(&mut self, at: Timestamp, fact: &Fact) -> Change {
        match fact {
            // A run that waited for its turn began with its start.
            Fact::RunCreated(_) | Fact::RunStarted(_) => self.started = Some(at),
            Fact::TaskQueued(f) => {
                let task = self.task(&f.task_id, f.map_index);
                *task = TaskView {
                    state: Some("queued"),
                    try_number: f.try_number.get(),
                    ..TaskView::default()
                };
            }
            Fact::TryStarted(f) => {
                let task = self.task(&f.task_id, f.map_index);
                task.state = Some("running");
                task.started = Some(f.started_at);
                return Change::Began(TaskCopy::of(&f.task_id, f.map_index), f.try_number);
            }
            Fact::TrySucceeded(f) => {
                return self.end(&f.task_id, f.map_index, "success", f.ended_at, None);
            }
            Fact::TrySkipped(f) => {
                return self.end(&f.task_id, f.map_index, "skipped", f.ended_at, None);
            }
            Fact::TryFailed(f) => {
                let state = if f.retry_at.is_some() { "up_for_retry" } else { "failed" };
                return self.end(
                    &f.task_id,
                    f.map_index,
                    state,
                    f.ended_at,
                    Some(f.failure.clone()),
                );
            }
            Fact::TryLost(f) => {
                let state = if f.retry_at.is_some() { "up_for_retry" } else { "failed" };
                return self.end(&f.task_id, f.map_index, state, at, None);
            }
            Fact::TryCancelled(f) => {
                let state = if f.skipped { "skipped" } else { "cancelled" };
                return self.end(&f.task_id, f.map_index, state, at, None);
            }
            Fact::TryDeferred(_) | Fact::TryRescheduled(_) => return self.put_off(fact),
            Fact::TaskCleared(f) => {
                for map_index in stretch(f.map_index, f.further) {
                    *self.task(&f.task_id, map_index) = TaskView::default();
                }
            }
            Fact::TryReturned(f) => self.task(&f.task_id, f.map_index).state = Some("scheduled"),
            Fact::TaskRuledOut(f) => {
                let of = (&f.task_id, f.map_index, f.further);
                return self.end_all(of, ruled_out_word(f.why), at);
            }
            Fact::TaskMarked(f) => {
                let of = (&f.task_id, f.map_index, f.further);
                return self.end_all(of, marked_word(f.state), at);
            }
            Fact::DagCallbackStarted(_)
            | Fact::DagCallbackSucceeded(_)
            | Fact::DagCallbackFailed(_) => return self.call_moved(fact),
            Fact::RunSucceeded(_)
            | Fact::RunMarked(RunMarked {
                state: RunMark::Success, teardowns_left: false, ..
            }) => {
                return self.over("success", at);
            }
            Fact::RunCancelled(f) if !f.teardowns_left => return self.over("cancelled", at),
            end if end.ends_run() => return self.over("failed", at),
            _ => {}
        }
        Change::Quiet
    }

    fn task(&mut self, id: &TaskId, map_index: MapIndex) -> &mut TaskView {
        self.tasks.entry(TaskCopy::of(id, map_index)).or_default()
    }

    /// Copies that end without a try.
    fn end_all(
        &mut self,
        (id, first, further): (&TaskId, MapIndex, u32),
        state: &'static str,
        at: Timestamp,
    ) -> Change {
        for map_index in stretch(first, further) {
            self.end(id, map_index, state, at, None);
        }
        Change::Task(TaskCopy::of(id, first), state, None, None)
    }

    /// A try goes on later.
    fn put_off(&mut self, fact: &Fact) -> Change {
        match fact {
            Fact::TryDeferred(f) => self.end(&f.task_id, f.map_index, "deferred", f.ended_at, None),
            Fact::TryRescheduled(f) => {
                self.end(&f.task_id, f.map_index, "up_for_reschedule", f.ended_at, None)
            }
            _ => Change::Quiet,
        }
    }

    fn end(
        &mut self,
        id: &TaskId,
        map_index: MapIndex,
        state: &'static str,
        at: Timestamp,
        failure: Option<Failure>,
    ) -> Change {
        let task = self.task(id, map_index);
        task.state = Some(state);
        task.ended = Some(at);
        let message = failure.as_ref().map(|failure| failure.message.clone());
        task.failure = failure;
        Change::Task(TaskCopy::of(id, map_index), state, task.seconds(), message)
    }

    fn over(&mut self, state: &'static str, at: Timestamp) -> Change {
        self.ended = Some((state, at));
        Change::Over(state)
    }
}

/// What stands in place of a task's id where a call of a DAG's callback is told of.
fn callback_id() -> TaskId {
    TaskId::new(DAG_CALLBACK).expect("a constant within the rules")
}

/// The copies of a fact that is about several: the first, and how many follow it.
fn stretch(first: MapIndex, further: u32) -> impl Iterator<Item = MapIndex> {
    let last = i64::from(first.0) + i64::from(further);
    (i64::from(first.0)..=last).filter_map(|number| i32::try_from(number).ok().map(MapIndex))
}

const fn ruled_out_word(why: RuledOut) -> &'static str {
    match why {
        RuledOut::Skipped => "skipped",
        RuledOut::UpstreamFailed => "upstream_failed",
        RuledOut::Removed | RuledOut::OutOfDates => "removed",
    }
}

const fn marked_word(state: TaskMark) -> &'static str {
    match state {
        TaskMark::Success => "success",
        TaskMark::Failed => "failed",
        TaskMark::Skipped => "skipped",
    }
}
