//! What follows from a report of a try that waits for a trigger, or of the trigger.
use dagbok_events::{
    Fact, Failure, FailureKind, Fault, Micros, TriggerFailed, TriggerFired, TryDeferred, Usage,
};
use dagbok_protocol::{ReportBody, TriggerEnd, XComValue};

use super::accept::Accepted;

impl Accepted<'_> {
    pub(super) fn deferred(&self) -> Vec<Fact> {
        let ReportBody::Deferred {
            trigger,
            next_method,
            next_kwargs,
            timeout_at,
            ask,
            xcoms,
            usage,
            log,
        } = &self.report.body
        else {
            return Vec::new();
        };
        let key = &self.report.key;
        // What the executor's clock says is a distance; the date is made by the clock here.
        let wait = timeout_at.map(|at| at.since(self.report.at).max(Micros(0)));
        let end = Fact::TryDeferred(Box::new(TryDeferred {
            task_id: key.task_id.clone(),
            map_index: key.map_index,
            try_number: key.try_number,
            leg: key.leg,
            ended_at: self.report.at,
            trigger: trigger.clone(),
            next_method: next_method.clone(),
            next_kwargs: next_kwargs.clone(),
            timeout_at: wait.map(|wait| self.at.plus(wait)),
            ask: ask.clone(),
            usage: *usage,
            log: log.clone(),
        }));
        let mut facts = self.ended(xcoms, end, None);
        facts.extend(self.going_on(true));
        facts
    }

    pub(super) fn trigger_fired(&self) -> Vec<Fact> {
        let ReportBody::TriggerFired { event, ends, xcoms, log } = &self.report.body else {
            return Vec::new();
        };
        let key = &self.report.key;
        let mut facts = vec![Fact::TriggerFired(Box::new(TriggerFired {
            task_id: key.task_id.clone(),
            map_index: key.map_index,
            try_number: key.try_number,
            leg: key.leg,
            event: event.clone(),
            ends_task: ends.is_some(),
            executor: self.report.executor.clone(),
            fired_at: self.report.at,
            log: log.clone(),
        }))];
        facts.extend(match ends {
            None => self.going_on(true),
            Some(end) => self.ended_by_trigger(*end, xcoms),
        });
        facts
    }

    fn ended_by_trigger(&self, end: TriggerEnd, xcoms: &[XComValue]) -> Vec<Fact> {
        let nothing = Usage::default();
        match end {
            TriggerEnd::Success => self.succeeded(xcoms, nothing, None, (&[], &[])),
            TriggerEnd::Skipped => self.skipped("its trigger said to skip", xcoms, nothing, None),
            TriggerEnd::Failed => self.failed(&failed_by_trigger(), xcoms, nothing, None),
        }
    }

    pub(super) fn trigger_failed(&self) -> Vec<Fact> {
        let ReportBody::TriggerFailed { why, traceback, log } = &self.report.body else {
            return Vec::new();
        };
        let key = &self.report.key;
        let mut facts = vec![Fact::TriggerFailed(Box::new(TriggerFailed {
            task_id: key.task_id.clone(),
            map_index: key.map_index,
            try_number: key.try_number,
            leg: key.leg,
            why: *why,
            traceback: traceback.clone(),
            executor: Some(self.report.executor.clone()),
            log: log.clone(),
            asset: None,
        }))];
        facts.extend(self.going_on(true));
        facts
    }
}

/// As in Airflow no retry follows.
fn failed_by_trigger() -> Failure {
    let message = "its trigger said that the task failed".to_owned();
    let failure = Failure::new(FailureKind::Exception, Fault::User, message);
    Failure { retryable: false, ..failure }
}
