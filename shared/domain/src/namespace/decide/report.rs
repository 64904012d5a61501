//! Reports of tries: accepted with all that follows, or kept as refused.
use dagbok_events::{
    Fact, ForeignReport, LogRef, LostWhy, RefusedWhy, ReportRefused, RunKey, Scope, Timestamp,
    Usage,
};
use dagbok_protocol::{
    Command, RefusalCode, Report, ReportBody,
    limits::LINEAGE_BYTES,
    names::{DAG_CALLBACK, WATCH},
};

use super::{accept::Accepted, checkpoint, executors::Loss};
use crate::{
    namespace::{Decision, Namespace, accepted, answering, unchanged},
    run::{InstanceNo, Run, TaskState, Token},
};

impl Namespace {
    pub(super) fn report(&self, at: Timestamp, command: &Command, report: &Report) -> Decision {
        if report.key.task_id.as_str() == DAG_CALLBACK {
            return self.callback_report(at, command, report);
        }
        if report.key.run_id.as_str().starts_with(WATCH) {
            return self.watcher_report(at, command, report);
        }
        let key = RunKey { dag_id: report.key.dag_id.clone(), run_id: report.key.run_id.clone() };
        let (run, no) = match self.addressee(&key, report) {
            Ok(found) => found,
            Err(why) => return refused(at, command, key, report, why),
        };
        if matches!(report.body, ReportBody::Left { .. }) {
            return refused(at, command, key, report, RefusedWhy::InFlight);
        }
        if matches!(report.body, ReportBody::TriggerHeld) {
            return unchanged();
        }
        let started = matches!(report.body, ReportBody::Started { .. });
        if started && matches!(run.instance(no).state, TaskState::Running { .. }) {
            return unchanged();
        }
        let queued = matches!(run.instance(no).state, TaskState::Queued { .. });
        if queued && matches!(report.body, ReportBody::Started { again: true, .. }) {
            return self.may_have_begun(run, no, at, command, report);
        }
        if let ReportBody::Checkpoint { files, values } = &report.body {
            if run.keeps_nothing(no) {
                return unchanged();
            }
            if let Err(why) = checkpoint::fits(run, &report.key, files.as_ref(), values) {
                return crate::namespace::refuse(RefusalCode::Invalid, why);
            }
        }
        // An executor may be anybody's.
        if let ReportBody::Lineage { lineage } = &report.body
            && lineage.len() > LINEAGE_BYTES
        {
            let bytes = lineage.len();
            let why = format!(
                "the lineage of {} has {bytes} bytes, and the limit is {LINEAGE_BYTES}",
                report.key
            );
            return crate::namespace::refuse(RefusalCode::Invalid, why);
        }
        let facts = Accepted { namespace: self, run, no, report, at }.facts();
        accepted(vec![answering(command, at, Scope::Run(key), facts)])
    }

    /// Uses up the number of a try that may have begun elsewhere: what it has done so far is nowhere known.
    fn may_have_begun(
        &self,
        run: &Run,
        no: InstanceNo,
        at: Timestamp,
        command: &Command,
        report: &Report,
    ) -> Decision {
        let facts = self.lost_facts(run, no, Loss::said(report, LostWhy::MayHaveBegun), at);
        let message =
            format!("try {} may have begun elsewhere: another takes its place", report.key);
        let mut decision = crate::namespace::refuse(RefusalCode::StaleReport, message);
        let scope = Scope::Run(run.key().clone());
        decision.records.push(answering(command, at, scope, facts));
        decision
    }

    /// The run and task that the report is about, if the try is in flight and its sender may speak for it.
    fn addressee(&self, key: &RunKey, report: &Report) -> Result<(&Run, InstanceNo), RefusedWhy> {
        let Some(run) = self.run(key) else {
            let over = self.past_ending(key).is_some();
            return Err(if over { RefusedWhy::RunOver } else { RefusedWhy::NoSuchRun });
        };
        let no =
            run.find(&report.key.task_id, report.key.map_index).ok_or(RefusedWhy::NoSuchTask)?;
        let named = Token { try_number: report.key.try_number, leg: report.key.leg };
        let state = &run.instance(no).state;
        if is_of_trigger(&report.body) {
            let waits = state.deferred() == Some(named);
            return if waits { Ok((run, no)) } else { Err(RefusedWhy::NotInFlight) };
        }
        match state {
            TaskState::Queued { token, .. } if *token == named => {}
            TaskState::Running { token, executor, .. } if *token == named => {
                if *executor != report.executor {
                    return Err(RefusedWhy::HeldByAnother);
                }
            }
            TaskState::Queued { .. }
            | TaskState::Running { .. }
            | TaskState::Waiting
            | TaskState::UpForRetry { .. }
            | TaskState::UpForReschedule { .. }
            | TaskState::Deferred { .. }
            | TaskState::Done(_) => return Err(RefusedWhy::NotInFlight),
        }
        Ok((run, no))
    }
}

/// Whether a triggerer says so, of a trigger.
const fn is_of_trigger(body: &ReportBody) -> bool {
    matches!(
        body,
        ReportBody::TriggerHeld
            | ReportBody::TriggerFired { .. }
            | ReportBody::TriggerFailed { .. }
    )
}

pub(super) fn refused(
    at: Timestamp,
    command: &Command,
    key: RunKey,
    report: &Report,
    why: RefusedWhy,
) -> Decision {
    let (claim, usage, log) = claim_of(&report.body);
    let fact = Fact::ReportRefused(Box::new(ReportRefused {
        task_id: report.key.task_id.clone(),
        map_index: report.key.map_index,
        try_number: report.key.try_number,
        leg: report.key.leg,
        report: claim,
        executor: report.executor.clone(),
        why,
        usage,
        log,
    }));
    let message = match why {
        RefusedWhy::NoSuchRun => format!("there is no run {key}"),
        RefusedWhy::NoSuchTask => format!("run {key} has no task {}", report.key.task_id),
        RefusedWhy::NotInFlight => format!("try {} is not in flight", report.key),
        RefusedWhy::HeldByAnother => format!("try {} is held by another executor", report.key),
        RefusedWhy::RunOver => format!("run {key} is over"),
        RefusedWhy::InFlight => format!("try {} is in flight", report.key),
    };
    let mut decision = crate::namespace::refuse(RefusalCode::StaleReport, message);
    decision.records.push(answering(command, at, Scope::Run(key), vec![fact]));
    decision
}

/// What a report claims, and what it brings along: kept even where the claim is refused.
fn claim_of(body: &ReportBody) -> (ForeignReport, Option<Usage>, Option<LogRef>) {
    match body {
        ReportBody::Started { .. } => (ForeignReport::Started, None, None),
        ReportBody::XCom(_) => (ForeignReport::XCom, None, None),
        ReportBody::Named { .. } => (ForeignReport::Named, None, None),
        ReportBody::Succeeded { usage, log, .. } => {
            (ForeignReport::Succeeded, Some(*usage), log.clone())
        }
        ReportBody::Failed { usage, log, .. } => (ForeignReport::Failed, Some(*usage), log.clone()),
        ReportBody::Skipped { usage, log, .. } => {
            (ForeignReport::Skipped, Some(*usage), log.clone())
        }
        ReportBody::Rescheduled { usage, log, .. } => {
            (ForeignReport::Rescheduled, Some(*usage), log.clone())
        }
        ReportBody::Deferred { usage, log, .. } => {
            (ForeignReport::Deferred, Some(*usage), log.clone())
        }
        ReportBody::TriggerHeld => (ForeignReport::TriggerHeld, None, None),
        ReportBody::TriggerFired { log, .. } => (ForeignReport::TriggerFired, None, log.clone()),
        ReportBody::TriggerFailed { log, .. } => (ForeignReport::TriggerFailed, None, log.clone()),
        ReportBody::CallbackFailed { .. } => (ForeignReport::CallbackFailed, None, None),
        ReportBody::Checkpoint { .. } => (ForeignReport::Checkpoint, None, None),
        ReportBody::Progress { .. } => (ForeignReport::Progress, None, None),
        ReportBody::Lineage { .. } => (ForeignReport::Lineage, None, None),
        ReportBody::Returned => (ForeignReport::Returned, None, None),
        ReportBody::Lost { usage, log, .. } => (ForeignReport::Lost, *usage, log.clone()),
        ReportBody::Left { log } => (ForeignReport::Left, None, Some(log.clone())),
    }
}
