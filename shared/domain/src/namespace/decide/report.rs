//! Reports of tries: accepted with all that follows, or kept as refused.
use dagbok_events::{
    Fact, Failure, ForeignReport, LogRef, LostWhy, RefusedWhy, ReportRefused, RuledOut, RunKey,
    Scope, Timestamp, TryFailed, TryReturned, TrySkipped, TryStarted, TrySucceeded, Usage,
    XComPushed,
};
use dagbok_protocol::{Command, RefusalCode, Report, ReportBody, XComValue};

use super::executors::Loss;
use crate::{
    graph::Ix,
    namespace::{Decision, Namespace, accepted, answering, unchanged},
    retry,
    run::{Done, Run, TaskState},
};

impl Namespace {
    pub(super) fn report(&self, at: Timestamp, command: &Command, report: &Report) -> Decision {
        let key = RunKey { dag_id: report.key.dag_id.clone(), run_id: report.key.run_id.clone() };
        let (run, ix) = match self.addressee(&key, report) {
            Ok(found) => found,
            Err(why) => return refused(at, command, key, report, why),
        };
        if matches!(report.body, ReportBody::Left { .. }) {
            return refused(at, command, key, report, RefusedWhy::InFlight);
        }
        let started = matches!(report.body, ReportBody::Started { .. });
        if started && matches!(run.task(ix).state, TaskState::Running { .. }) {
            return unchanged();
        }
        let facts = self.accept(run, ix, report, at);
        accepted(vec![answering(command, at, Scope::Run(key), facts)])
    }

    /// The run and task that the report is about, if the try is in flight and its sender may speak for it.
    fn addressee(&self, key: &RunKey, report: &Report) -> Result<(&Run, Ix), RefusedWhy> {
        let Some(run) = self.run(key) else {
            let over = self.past_ending(key).is_some();
            return Err(if over { RefusedWhy::RunOver } else { RefusedWhy::NoSuchRun });
        };
        let ix =
            run.find(&report.key.task_id, report.key.map_index).ok_or(RefusedWhy::NoSuchTask)?;
        match &run.task(ix).state {
            TaskState::Queued { try_number, .. } if *try_number == report.key.try_number => {}
            TaskState::Running { try_number, executor, .. }
                if *try_number == report.key.try_number =>
            {
                if *executor != report.executor {
                    return Err(RefusedWhy::HeldByAnother);
                }
            }
            TaskState::Queued { .. }
            | TaskState::Running { .. }
            | TaskState::Waiting
            | TaskState::UpForRetry { .. }
            | TaskState::Done(_) => return Err(RefusedWhy::NotInFlight),
        }
        Ok((run, ix))
    }

    fn accept(&self, run: &Run, ix: Ix, report: &Report, at: Timestamp) -> Vec<Fact> {
        let (task_id, map_index) = (report.key.task_id.clone(), report.key.map_index);
        let (try_number, ended_at) = (report.key.try_number, report.at);
        let pushed = |xcoms: &[XComValue]| -> Vec<Fact> {
            xcoms.iter().map(|xcom| Fact::XComPushed(pushed(report, xcom))).collect()
        };
        match &report.body {
            ReportBody::Started { hostname, pid, inputs } => {
                vec![Fact::TryStarted(Box::new(TryStarted {
                    task_id,
                    map_index,
                    try_number,
                    executor: report.executor.clone(),
                    hostname: hostname.clone(),
                    pid: *pid,
                    started_at: report.at,
                    inputs: inputs.clone(),
                }))]
            }
            ReportBody::XCom(xcom) => pushed(std::slice::from_ref(xcom)),
            ReportBody::Succeeded { xcoms, usage, log } => {
                let (usage, log) = (*usage, log.clone());
                let end = TrySucceeded { task_id, map_index, try_number, ended_at, usage, log };
                let mut facts = pushed(xcoms);
                facts.push(Fact::TrySucceeded(Box::new(end)));
                facts.extend(run.after_done(ix, Done::Success));
                facts
            }
            ReportBody::Skipped { message, xcoms, usage, log } => {
                let (message, usage, log) = (message.clone(), *usage, log.clone());
                let end =
                    TrySkipped { task_id, map_index, try_number, ended_at, message, usage, log };
                let mut facts = pushed(xcoms);
                facts.push(Fact::TrySkipped(Box::new(end)));
                facts.extend(run.after_done(ix, Done::RuledOut(RuledOut::Skipped)));
                facts
            }
            ReportBody::Failed { failure, xcoms, usage, log } => {
                let (failure, usage, log) = (failure.clone(), *usage, log.clone());
                let retry_at = self.retry_after(run, ix, &failure, at);
                let end = TryFailed {
                    task_id,
                    map_index,
                    try_number,
                    ended_at,
                    failure,
                    retry_at,
                    usage,
                    log,
                };
                let mut facts = pushed(xcoms);
                facts.push(Fact::TryFailed(Box::new(end)));
                if retry_at.is_none() {
                    facts.extend(run.after_done(ix, Done::Failed));
                }
                facts
            }
            // Handed back for the last time that can be counted: nobody wants it.
            ReportBody::Returned if !run.has_another_try(ix) => {
                self.lost_facts(run, ix, Loss::said(report, LostWhy::NotHeld), at)
            }
            ReportBody::Returned => {
                let executor = report.executor.clone();
                vec![Fact::TryReturned(TryReturned { task_id, map_index, try_number, executor })]
            }
            ReportBody::Lost { why, usage, log } => {
                let (usage, log) = (*usage, log.clone());
                self.lost_facts(run, ix, Loss { usage, log, ..Loss::said(report, *why) }, at)
            }
            // Never accepted: it decides nothing.
            ReportBody::Left { .. } => Vec::new(),
        }
    }

    fn retry_after(
        &self,
        run: &Run,
        ix: Ix,
        failure: &Failure,
        at: Timestamp,
    ) -> Option<Timestamp> {
        let (spec, task) = (run.version().task(ix), run.task(ix));
        let (failures, losses) = (task.failures, task.losses);
        let most = self.limits.max_losses;
        retry::after_failure(spec, failure, failures, losses, most, at)
            .filter(|_| run.has_another_try(ix))
    }
}

fn pushed(report: &Report, xcom: &XComValue) -> XComPushed {
    XComPushed {
        task_id: report.key.task_id.clone(),
        map_index: report.key.map_index,
        try_number: report.key.try_number,
        key: xcom.key.clone(),
        value: xcom.value.clone(),
    }
}

fn refused(
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
        ReportBody::Succeeded { usage, log, .. } => {
            (ForeignReport::Succeeded, Some(*usage), log.clone())
        }
        ReportBody::Failed { usage, log, .. } => (ForeignReport::Failed, Some(*usage), log.clone()),
        ReportBody::Skipped { usage, log, .. } => {
            (ForeignReport::Skipped, Some(*usage), log.clone())
        }
        ReportBody::Returned => (ForeignReport::Returned, None, None),
        ReportBody::Lost { usage, log, .. } => (ForeignReport::Lost, *usage, log.clone()),
        ReportBody::Left { log } => (ForeignReport::Left, None, Some(log.clone())),
    }
}
