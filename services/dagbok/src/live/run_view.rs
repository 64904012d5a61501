//! One run as its facts tell it: a small fold, for the terminal and for the result at the end.
use std::collections::BTreeMap;

use dagbok_events::{Fact, Failure, RuledOut, TaskId, Timestamp, TryNumber};
use serde::Serialize;

/// A run.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunView {
    pub(crate) tasks: BTreeMap<TaskId, TaskView>,
    pub(crate) started: Option<Timestamp>,
    /// How it ended, and when; `None` while it has not.
    pub(crate) ended: Option<(&'static str, Timestamp)>,
}

/// A task of it.
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
    Began(TaskId, TryNumber),
    /// A task is in another state, and how long its try took.
    Task(TaskId, &'static str, Option<f64>, Option<String>),
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

    /// Folds a fact of the run in.
    pub(crate) fn apply(&mut self, at: Timestamp, fact: &Fact) -> Change {
        match fact {
            // A run that waited for its turn began with its start.
            Fact::RunCreated(_) | Fact::RunStarted(_) => self.started = Some(at),
            Fact::TaskQueued(f) => {
                let task = self.task(&f.task_id);
                *task = TaskView {
                    state: Some("queued"),
                    try_number: f.try_number.get(),
                    ..TaskView::default()
                };
            }
            Fact::TryStarted(f) => {
                let task = self.task(&f.task_id);
                task.state = Some("running");
                task.started = Some(f.started_at);
                return Change::Began(f.task_id.clone(), f.try_number);
            }
            Fact::TrySucceeded(f) => return self.end(&f.task_id, "success", f.ended_at, None),
            Fact::TrySkipped(f) => return self.end(&f.task_id, "skipped", f.ended_at, None),
            Fact::TryFailed(f) => {
                let state = if f.retry_at.is_some() { "up_for_retry" } else { "failed" };
                return self.end(&f.task_id, state, f.ended_at, Some(f.failure.clone()));
            }
            Fact::TryLost(f) => {
                let state = if f.retry_at.is_some() { "up_for_retry" } else { "failed" };
                return self.end(&f.task_id, state, at, None);
            }
            Fact::TryCancelled(f) => return self.end(&f.task_id, "failed", at, None),
            Fact::TryRescheduled(f) => self.task(&f.task_id).state = Some("up_for_reschedule"),
            Fact::TaskCleared(f) => *self.task(&f.task_id) = TaskView::default(),
            Fact::TryReturned(f) => self.task(&f.task_id).state = Some("scheduled"),
            Fact::TaskRuledOut(f) => {
                let state = match f.why {
                    RuledOut::Skipped => "skipped",
                    RuledOut::UpstreamFailed => "upstream_failed",
                    RuledOut::Removed => "removed",
                };
                return self.end(&f.task_id, state, at, None);
            }
            Fact::RunSucceeded(_) => return self.over("success", at),
            Fact::RunFailed(_) | Fact::RunTimedOut(_) | Fact::RunCancelled(_) => {
                return self.over("failed", at);
            }
            _ => {}
        }
        Change::Quiet
    }

    fn task(&mut self, id: &TaskId) -> &mut TaskView {
        self.tasks.entry(id.clone()).or_default()
    }

    fn end(
        &mut self,
        id: &TaskId,
        state: &'static str,
        at: Timestamp,
        failure: Option<Failure>,
    ) -> Change {
        let task = self.task(id);
        task.state = Some(state);
        task.ended = Some(at);
        let message = failure.as_ref().map(|failure| failure.message.clone());
        task.failure = failure;
        Change::Task(id.clone(), state, task.seconds(), message)
    }

    fn over(&mut self, state: &'static str, at: Timestamp) -> Change {
        self.ended = Some((state, at));
        Change::Over(state)
    }
}
