//! What follows from a report that is accepted: a try that starts, hands on a value or comes to an end.
use dagbok_events::{
    Fact, Failure, LineageTold, LogRef, LostWhy, Micros, RuledOut, TaskId, Timestamp, TryFailed,
    TryNamed, TryRescheduled, TryReturned, TrySkipped, TryStarted, TrySucceeded, Usage, XComPushed,
};
use dagbok_protocol::{
    OutletEvent, Report, ReportBody, XComValue, limits::RENDERED_MAP_INDEX_CHARS,
};

use super::executors::Loss;
use crate::{
    namespace::Namespace,
    retry,
    run::{Done, InstanceNo, Run, TaskState},
};

/// The shortest wait between two legs of a try: a sensor that waits for no time must not fill the log.
const RESCHEDULE_WAIT: Micros = Micros::from_secs(1);

/// A report about a try in flight, by who holds it.
pub(super) struct Accepted<'a> {
    pub(super) namespace: &'a Namespace,
    pub(super) run: &'a Run,
    /// Whose try.
    pub(super) no: InstanceNo,
    pub(super) report: &'a Report,
    /// When it is decided on.
    pub(super) at: Timestamp,
}

impl Accepted<'_> {
    /// All that follows, the values that the report brings first.
    pub(super) fn facts(&self) -> Vec<Fact> {
        match &self.report.body {
            ReportBody::Started { .. } => self.started(),
            ReportBody::XCom(xcom) => vec![self.pushed(xcom)],
            ReportBody::Named { rendered_map_index } => vec![self.named(rendered_map_index)],
            ReportBody::Checkpoint { files, values } => {
                vec![self.checkpoint_kept(files.as_ref(), values)]
            }
            ReportBody::Progress { done, text } => vec![self.progressed(*done, text)],
            ReportBody::Lineage { lineage } => vec![self.lineage_told(lineage)],
            ReportBody::Succeeded { xcoms, usage, log, skips, outlets } => {
                self.succeeded(xcoms, *usage, log.as_ref(), (skips, outlets))
            }
            ReportBody::Skipped { message, xcoms, usage, log } => {
                self.skipped(message, xcoms, *usage, log.as_ref())
            }
            ReportBody::Failed { failure, xcoms, usage, log } => {
                self.failed(failure, xcoms, *usage, log.as_ref())
            }
            ReportBody::Rescheduled { due, xcoms, usage, log } => {
                self.rescheduled(*due, xcoms, *usage, log.as_ref())
            }
            ReportBody::Deferred { .. } => self.deferred(),
            ReportBody::TriggerFired { .. } => self.trigger_fired(),
            ReportBody::TriggerFailed { .. } => self.trigger_failed(),
            ReportBody::CallbackFailed { callback, message } => {
                vec![self.callback_failed(callback, message)]
            }
            ReportBody::Returned => self.returned(),
            ReportBody::Lost { why, usage, log } => self.lost(*why, *usage, log.as_ref()),
            // Never accepted, or no more than answered: they decide nothing.
            ReportBody::Left { .. } | ReportBody::TriggerHeld => Vec::new(),
        }
    }

    fn started(&self) -> Vec<Fact> {
        let ReportBody::Started { hostname, pid, inputs, .. } = &self.report.body else {
            return Vec::new();
        };
        let key = &self.report.key;
        vec![Fact::TryStarted(Box::new(TryStarted {
            task_id: key.task_id.clone(),
            map_index: key.map_index,
            try_number: key.try_number,
            leg: key.leg,
            executor: self.report.executor.clone(),
            hostname: hostname.clone(),
            pid: *pid,
            started_at: self.report.at,
            inputs: inputs.clone(),
        }))]
    }

    pub(super) fn succeeded(
        &self,
        xcoms: &[XComValue],
        usage: Usage,
        log: Option<&LogRef>,
        (skips, outlets): (&[TaskId], &[OutletEvent]),
    ) -> Vec<Fact> {
        let key = &self.report.key;
        let skips = self.run.skippable(self.no, skips);
        let then = self.run.after_success(self.no, &skips);
        let end = Fact::TrySucceeded(Box::new(TrySucceeded {
            task_id: key.task_id.clone(),
            map_index: key.map_index,
            try_number: key.try_number,
            leg: key.leg,
            ended_at: self.report.at,
            usage,
            log: log.cloned(),
            skips,
        }));
        let mut facts = self.ended(xcoms, end, None);
        let task = (&key.task_id, key.map_index);
        let own = self.run.meta().partition.as_ref();
        facts.extend(self.namespace.outlet_facts(task, own, outlets));
        facts.extend(then);
        facts
    }

    pub(super) fn skipped(
        &self,
        message: &str,
        xcoms: &[XComValue],
        usage: Usage,
        log: Option<&LogRef>,
    ) -> Vec<Fact> {
        let key = &self.report.key;
        let end = Fact::TrySkipped(Box::new(TrySkipped {
            task_id: key.task_id.clone(),
            map_index: key.map_index,
            try_number: key.try_number,
            leg: key.leg,
            ended_at: self.report.at,
            message: message.to_owned(),
            usage,
            log: log.cloned(),
        }));
        self.ended(xcoms, end, Some(Done::RuledOut(RuledOut::Skipped)))
    }

    pub(super) fn failed(
        &self,
        failure: &Failure,
        xcoms: &[XComValue],
        usage: Usage,
        log: Option<&LogRef>,
    ) -> Vec<Fact> {
        let key = &self.report.key;
        let retry_at = self.retry_after(failure);
        let end = Fact::TryFailed(Box::new(TryFailed {
            task_id: key.task_id.clone(),
            map_index: key.map_index,
            try_number: key.try_number,
            leg: key.leg,
            ended_at: self.report.at,
            failure: failure.clone(),
            retry_at,
            usage,
            log: log.cloned(),
        }));
        let mut facts = self.ended(xcoms, end, retry_at.is_none().then_some(Done::Failed));
        facts.extend(self.going_on(retry_at.is_some()));
        facts
    }

    fn rescheduled(
        &self,
        due: Timestamp,
        xcoms: &[XComValue],
        usage: Usage,
        log: Option<&LogRef>,
    ) -> Vec<Fact> {
        let key = &self.report.key;
        // What the executor's clock says is a distance; the date is made by the clock here.
        let wait = due.since(self.report.at).max(RESCHEDULE_WAIT);
        let end = Fact::TryRescheduled(Box::new(TryRescheduled {
            task_id: key.task_id.clone(),
            map_index: key.map_index,
            try_number: key.try_number,
            leg: key.leg,
            ended_at: self.report.at,
            due: self.at.plus(wait),
            usage,
            log: log.cloned(),
        }));
        let mut facts = self.ended(xcoms, end, None);
        facts.extend(self.going_on(true));
        facts
    }

    /// Where its task is to go on: that it does not, if a task before it decided so meanwhile.
    pub(super) fn going_on(&self, goes_on: bool) -> Vec<Fact> {
        if goes_on { self.run.after_going_on(self.no) } else { Vec::new() }
    }

    fn returned(&self) -> Vec<Fact> {
        if !self.run.has_another_try(self.no) {
            // Handed back for the last time that can be counted: nobody wants it.
            let loss = Loss::said(self.report, LostWhy::NotHeld);
            return self.namespace.lost_facts(self.run, self.no, loss, self.at);
        }
        let key = &self.report.key;
        let mut facts = vec![Fact::TryReturned(TryReturned {
            task_id: key.task_id.clone(),
            map_index: key.map_index,
            try_number: key.try_number,
            leg: key.leg,
            executor: self.report.executor.clone(),
        })];
        facts.extend(self.going_on(true));
        facts
    }

    fn lost(&self, why: LostWhy, usage: Option<Usage>, log: Option<&LogRef>) -> Vec<Fact> {
        // Once its start is a fact, a mark that it may have begun says no more than that.
        let running = matches!(self.run.instance(self.no).state, TaskState::Running { .. });
        let why = match why {
            LostWhy::MayHaveBegun if running => LostWhy::ExecutorGone,
            // Nobody but the scheduler can say so.
            LostWhy::QueuedTooLong => LostWhy::NotHeld,
            why => why,
        };
        let loss = Loss { usage, log: log.cloned(), ..Loss::said(self.report, why) };
        self.namespace.lost_facts(self.run, self.no, loss, self.at)
    }

    /// The values, the end, and what it means for the tasks downstream and the run where it is for good.
    pub(super) fn ended(&self, xcoms: &[XComValue], end: Fact, done: Option<Done>) -> Vec<Fact> {
        let mut facts: Vec<Fact> = xcoms.iter().map(|xcom| self.pushed(xcom)).collect();
        facts.push(end);
        facts.extend(done.into_iter().flat_map(|done| self.run.after_done(&[(self.no, done)])));
        facts
    }

    fn pushed(&self, xcom: &XComValue) -> Fact {
        let key = &self.report.key;
        Fact::XComPushed(XComPushed {
            task_id: key.task_id.clone(),
            map_index: key.map_index,
            try_number: key.try_number,
            leg: key.leg,
            key: xcom.key.clone(),
            value: xcom.value.clone(),
            length: xcom.length,
        })
    }

    fn named(&self, name: &str) -> Fact {
        let key = &self.report.key;
        Fact::TryNamed(TryNamed {
            task_id: key.task_id.clone(),
            map_index: key.map_index,
            try_number: key.try_number,
            leg: key.leg,
            rendered_map_index: name.chars().take(RENDERED_MAP_INDEX_CHARS).collect(),
        })
    }

    fn lineage_told(&self, lineage: &str) -> Fact {
        let key = &self.report.key;
        Fact::LineageTold(Box::new(LineageTold {
            task_id: key.task_id.clone(),
            map_index: key.map_index,
            try_number: key.try_number,
            leg: key.leg,
            lineage: lineage.to_owned(),
        }))
    }

    fn retry_after(&self, failure: &Failure) -> Option<Timestamp> {
        let (spec, instance) = (self.run.spec(self.no), self.run.instance(self.no));
        let (failures, losses) = (instance.failures, instance.losses);
        let (dag_id, logical_date) = (&self.run.key().dag_id, self.run.meta().logical_date);
        let failed = retry::Failed { spec, dag_id, logical_date, failures, losses };
        retry::after_failure(failed, failure, self.namespace.limits.max_losses, self.at)
            .filter(|_| self.run.has_another_try(self.no))
    }
}
