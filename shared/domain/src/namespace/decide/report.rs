//! Reports of tries: accepted with all that follows, or kept as refused.
use dagbok_events::{
    Fact, Failure, ForeignReport, LogRef, LostWhy, Micros, RefusedWhy, ReportRefused, RuledOut,
    RunKey, Scope, Timestamp, TryFailed, TryRescheduled, TryReturned, TrySkipped, TryStarted,
    TrySucceeded, Usage, XComPushed,
};
use dagbok_protocol::{Command, RefusalCode, Report, ReportBody, XComValue};

use super::executors::Loss;
use crate::{
    namespace::{Decision, Namespace, accepted, answering, unchanged},
    retry,
    run::{Done, InstanceNo, Run, TaskState, Token},
};

/// The shortest wait between two legs of a try: a sensor that waits for no time must not fill the log.
const RESCHEDULE_WAIT: Micros = Micros::from_secs(1);

impl Namespace {
    pub(super) fn report(&self, at: Timestamp, command: &Command, report: &Report) -> Decision {
        let key = RunKey { dag_id: report.key.dag_id.clone(), run_id: report.key.run_id.clone() };
        let (run, no) = match self.addressee(&key, report) {
            Ok(found) => found,
            Err(why) => return refused(at, command, key, report, why),
        };
        if matches!(report.body, ReportBody::Left { .. }) {
            return refused(at, command, key, report, RefusedWhy::InFlight);
        }
        let started = matches!(report.body, ReportBody::Started { .. });
        if started && matches!(run.instance(no).state, TaskState::Running { .. }) {
            return unchanged();
        }
        let queued = matches!(run.instance(no).state, TaskState::Queued { .. });
        if queued && matches!(report.body, ReportBody::Started { again: true, .. }) {
            return self.may_have_begun(run, no, at, command, report);
        }
        let facts = self.accept(run, no, report, at);
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
        match &run.instance(no).state {
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
            | TaskState::Done(_) => return Err(RefusedWhy::NotInFlight),
        }
        Ok((run, no))
    }

    fn accept(&self, run: &Run, no: InstanceNo, report: &Report, at: Timestamp) -> Vec<Fact> {
        let (task_id, map_index) = (report.key.task_id.clone(), report.key.map_index);
        let (try_number, leg, ended_at) = (report.key.try_number, report.key.leg, report.at);
        let pushed = |xcoms: &[XComValue]| -> Vec<Fact> {
            xcoms.iter().map(|xcom| Fact::XComPushed(pushed(report, xcom))).collect()
        };
        match &report.body {
            ReportBody::Started { hostname, pid, inputs, .. } => {
                vec![Fact::TryStarted(Box::new(TryStarted {
                    task_id,
                    map_index,
                    try_number,
                    leg,
                    executor: report.executor.clone(),
                    hostname: hostname.clone(),
                    pid: *pid,
                    started_at: report.at,
                    inputs: inputs.clone(),
                }))]
            }
            ReportBody::XCom(xcom) => pushed(std::slice::from_ref(xcom)),
            ReportBody::Succeeded { xcoms, usage, log, skips } => {
                let (usage, log) = (*usage, log.clone());
                let skips = run.skippable(no, skips);
                let then = run.after_success(no, &skips);
                let end = TrySucceeded {
                    task_id,
                    map_index,
                    try_number,
                    leg,
                    ended_at,
                    usage,
                    log,
                    skips,
                };
                let mut facts = pushed(xcoms);
                facts.push(Fact::TrySucceeded(Box::new(end)));
                facts.extend(then);
                facts
            }
            ReportBody::Skipped { message, xcoms, usage, log } => {
                let (message, usage, log) = (message.clone(), *usage, log.clone());
                let end = TrySkipped {
                    task_id,
                    map_index,
                    try_number,
                    leg,
                    ended_at,
                    message,
                    usage,
                    log,
                };
                let mut facts = pushed(xcoms);
                facts.push(Fact::TrySkipped(Box::new(end)));
                facts.extend(run.after_done(&[(no, Done::RuledOut(RuledOut::Skipped))]));
                facts
            }
            ReportBody::Failed { failure, xcoms, usage, log } => {
                let (failure, usage, log) = (failure.clone(), *usage, log.clone());
                let retry_at = self.retry_after(run, no, &failure, at);
                let end = TryFailed {
                    task_id,
                    map_index,
                    try_number,
                    leg,
                    ended_at,
                    failure,
                    retry_at,
                    usage,
                    log,
                };
                let mut facts = pushed(xcoms);
                facts.push(Fact::TryFailed(Box::new(end)));
                if retry_at.is_none() {
                    facts.extend(run.after_done(&[(no, Done::Failed)]));
                }
                facts
            }
            ReportBody::Rescheduled { due, xcoms, usage, log } => {
                let (usage, log) = (*usage, log.clone());
                // What the executor's clock says is a distance; the date is made by the clock here.
                let wait = due.since(report.at).max(RESCHEDULE_WAIT);
                let mut facts = pushed(xcoms);
                facts.push(Fact::TryRescheduled(Box::new(TryRescheduled {
                    task_id,
                    map_index,
                    try_number,
                    leg,
                    ended_at,
                    due: at.plus(wait),
                    usage,
                    log,
                })));
                facts
            }
            // Handed back for the last time that can be counted: nobody wants it.
            ReportBody::Returned if !run.has_another_try(no) => {
                self.lost_facts(run, no, Loss::said(report, LostWhy::NotHeld), at)
            }
            ReportBody::Returned => {
                let executor = report.executor.clone();
                vec![Fact::TryReturned(TryReturned {
                    task_id,
                    map_index,
                    try_number,
                    leg,
                    executor,
                })]
            }
            ReportBody::Lost { why, usage, log } => {
                let (usage, log) = (*usage, log.clone());
                // Once its start is a fact, a mark that it may have begun says no more than that.
                let running = matches!(run.instance(no).state, TaskState::Running { .. });
                let why = match why {
                    LostWhy::MayHaveBegun if running => LostWhy::ExecutorGone,
                    why => *why,
                };
                self.lost_facts(run, no, Loss { usage, log, ..Loss::said(report, why) }, at)
            }
            // Never accepted: it decides nothing.
            ReportBody::Left { .. } => Vec::new(),
        }
    }

    fn retry_after(
        &self,
        run: &Run,
        no: InstanceNo,
        failure: &Failure,
        at: Timestamp,
    ) -> Option<Timestamp> {
        let (spec, instance) = (run.spec(no), run.instance(no));
        let (failures, losses) = (instance.failures, instance.losses);
        let most = self.limits.max_losses;
        retry::after_failure(spec, failure, failures, losses, most, at)
            .filter(|_| run.has_another_try(no))
    }
}

fn pushed(report: &Report, xcom: &XComValue) -> XComPushed {
    XComPushed {
        task_id: report.key.task_id.clone(),
        map_index: report.key.map_index,
        try_number: report.key.try_number,
        leg: report.key.leg,
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
        ReportBody::Returned => (ForeignReport::Returned, None, None),
        ReportBody::Lost { usage, log, .. } => (ForeignReport::Lost, *usage, log.clone()),
        ReportBody::Left { log } => (ForeignReport::Left, None, Some(log.clone())),
    }
}
