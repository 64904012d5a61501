//! Reports about callbacks of DAGs.
use dagbok_events::{
    DagCallbackStarted, DagCallbackSucceeded, Fact, RefusedWhy, RunKey, Scope, TaskCallbackFailed,
    Timestamp,
};
use dagbok_protocol::{Command, Report, ReportBody, limits::MESSAGE_BYTES};

use super::{accept::Accepted, report::refused};
use crate::{
    namespace::{
        Decision, Namespace, accepted, answering,
        callbacks::{failed_fact, lost_fact},
        unchanged,
    },
    retry,
};

/// The name of a callback is cut here, in bytes: an executor of another version may know others.
const CALLBACK_BYTES: usize = 64;

impl Namespace {
    /// What an executor says of a callback that it was given.
    pub(super) fn callback_report(
        &self,
        at: Timestamp,
        command: &Command,
        report: &Report,
    ) -> Decision {
        let key = &report.key;
        let run = RunKey { dag_id: key.dag_id.clone(), run_id: key.run_id.clone() };
        let call = match self.callback_held_by(key, &report.executor) {
            Ok(call) => call,
            Err(why) => return refused(at, command, run, report, why),
        };
        let (number, attempt) = (key.try_number.get(), key.leg);
        let fact = match &report.body {
            // Again, that is by the same executor.
            ReportBody::Started { .. } if self.is_callback_begun(key) => return unchanged(),
            ReportBody::Started { hostname, pid, .. } => {
                Fact::DagCallbackStarted(DagCallbackStarted {
                    number,
                    attempt,
                    executor: report.executor.clone(),
                    hostname: hostname.clone(),
                    pid: *pid,
                })
            }
            ReportBody::Succeeded { usage, log, .. } | ReportBody::Skipped { usage, log, .. } => {
                let (usage, log) = (*usage, log.clone());
                let done = DagCallbackSucceeded { number, attempt, usage, log };
                Fact::DagCallbackSucceeded(Box::new(done))
            }
            ReportBody::Failed { failure, log, .. } if retry::is_loss(failure) => {
                lost_fact(key, &report.executor, true, log.clone())
            }
            ReportBody::Failed { failure, usage, log, .. } => {
                failed_fact(call, number, attempt, failure.clone(), *usage, log.clone())
            }
            ReportBody::Returned => lost_fact(key, &report.executor, false, None),
            ReportBody::Lost { log, .. } => lost_fact(key, &report.executor, true, log.clone()),
            // Nobody reads what it hands on, and it can't wait.
            ReportBody::XCom(_)
            | ReportBody::Named { .. }
            | ReportBody::CallbackFailed { .. }
            | ReportBody::Checkpoint { .. }
            | ReportBody::Progress { .. }
            | ReportBody::Lineage { .. }
            | ReportBody::Rescheduled { .. }
            | ReportBody::Deferred { .. }
            | ReportBody::TriggerHeld
            | ReportBody::TriggerFired { .. }
            | ReportBody::TriggerFailed { .. } => return unchanged(),
            ReportBody::Left { .. } => {
                return refused(at, command, run, report, RefusedWhy::InFlight);
            }
        };
        accepted(vec![answering(command, at, Scope::Run(run), vec![fact])])
    }
}

impl Accepted<'_> {
    /// That a callback of the try's task failed.
    pub(super) fn callback_failed(&self, callback: &str, message: &str) -> Fact {
        let key = &self.report.key;
        let message = &message[..message.floor_char_boundary(MESSAGE_BYTES)];
        Fact::TaskCallbackFailed(Box::new(TaskCallbackFailed {
            task_id: key.task_id.clone(),
            map_index: key.map_index,
            try_number: key.try_number,
            leg: key.leg,
            callback: callback[..callback.floor_char_boundary(CALLBACK_BYTES)].to_owned(),
            message: message.to_owned(),
        }))
    }
}
