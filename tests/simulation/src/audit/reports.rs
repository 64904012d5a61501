//! The second opinion on reports: which are believed, and what of them.
use std::collections::BTreeSet;

use dagbok_events::{CommandId, ExecutorId, Fact, LostWhy, Micros, Record, RefusedWhy, RunKey};
use dagbok_protocol::{Command, Report, ReportBody, WorkItem};

use super::{
    Audit, Finding,
    run::Stage,
    task::{CopyModel, Stand},
};

impl Audit {
    /// Whether a report asks to begin what another may have begun, of which nothing is known.
    pub fn may_have_begun(&self, report: &Report) -> bool {
        let queued = |copy: &CopyModel| matches!(copy.stand, Stand::Queued(_));
        matches!(report.body, ReportBody::Started { again: true, .. })
            && self.copy_of(report).is_some_and(queued)
    }

    /// Notes that a command is the report of a try that was offered by this record.
    pub(crate) fn is_of_offer(&mut self, command: &CommandId, queued_seq: u64) {
        self.offers.insert(command.clone(), queued_seq);
    }

    /// A report is believed where it is about a try in flight and its sender's, and kept otherwise.
    pub(super) fn check_report(
        &mut self,
        record: &Record,
        command: &Command,
        report: &Report,
    ) -> Finding {
        let refused = match &record.facts[..] {
            [Fact::ReportRefused(fact)] => Some(fact.why),
            _ => None,
        };
        if refused.is_none() && record.facts.iter().any(|f| matches!(f, Fact::ReportRefused(_))) {
            return Err("a refused report has consequences".to_owned());
        }
        let should = self.why_stale(report);
        if let Some(why) = should {
            self.note(&format!("refused {why:?}"));
        }
        self.note_report(report, should);
        if refused != should {
            return Err(format!(
                "a report of {} is refused as {refused:?}, not {should:?}",
                report.key
            ));
        }
        if refused.is_some() {
            return Ok(());
        }
        let queued = self.copy_of(report).map(|copy| copy.queued_seq);
        if let Some(offer) = self.offers.get(&command.id)
            && Some(*offer) != queued
        {
            return Err(format!(
                "a report of {} as record {offer} offered it is believed of record {queued:?}'s",
                report.key
            ));
        }
        let lost = record
            .facts
            .iter()
            .any(|fact| matches!(fact, Fact::TryLost(f) if f.why == LostWhy::MayHaveBegun));
        let running = |copy: &CopyModel| matches!(copy.stand, Stand::Running(..));
        let said = matches!(report.body, ReportBody::Lost { why: LostWhy::MayHaveBegun, .. })
            && !self.copy_of(report).is_some_and(running);
        if lost != (said || self.may_have_begun(report)) {
            return Err(format!("{} may have begun, or not: {lost}", report.key));
        }
        if lost && !said {
            self.note("may have begun elsewhere");
        }
        if let ReportBody::Rescheduled { due, .. } = &report.body {
            let wait = Micros(due.since(report.at).0.max(1_000_000));
            let expected = record.decided_at().plus(wait);
            let is_right =
                |fact: &Fact| matches!(fact, Fact::TryRescheduled(f) if f.due == expected);
            if !record.facts.iter().any(is_right) {
                return Err(format!("the next leg is due at {expected}"));
            }
        }
        Ok(())
    }

    /// Notes what of reports is worth testing.
    fn note_report(&mut self, report: &Report, stale: Option<RefusedWhy>) {
        let copy = self.copy_of(report);
        let offered = copy.and_then(|copy| copy.offered.last().copied());
        let mapped = !report.key.map_index.is_unmapped();
        let named = (report.key.try_number.get(), report.key.leg.0);
        let key = run_of(report);
        let gone = self.deleted.contains(&key);
        let lacks = copy.is_none() && self.runs.contains_key(&key);
        let started = matches!(report.body, ReportBody::Started { .. });
        let earlier = offered.is_some_and(|(n, leg)| n == named.0 && leg > named.1);
        if stale == Some(RefusedWhy::NotInFlight) && earlier {
            self.note("refused an earlier leg");
            if started {
                self.note("refused a late start of an earlier leg");
            }
        }
        if stale == Some(RefusedWhy::NoSuchTask) && lacks && mapped {
            self.note("refused an unknown copy");
        }
        if stale == Some(RefusedWhy::NoSuchRun) && gone {
            self.note("refused of a deleted run");
        }
        if stale.is_none() && named.1 > 0 {
            self.note(if named.1 > 1 { "a third leg" } else { "a second leg" });
            if matches!(report.body, ReportBody::Returned) {
                self.note("a leg handed back");
            }
            if matches!(report.body, ReportBody::Succeeded { .. }) {
                self.note("succeeded after legs");
            }
            if matches!(report.body, ReportBody::Failed { .. }) {
                self.note("failed after legs");
            }
        }
    }

    fn copy_of(&self, report: &Report) -> Option<&CopyModel> {
        self.runs.get(&run_of(report))?.copy(&report.key.task_id, report.key.map_index)
    }

    /// Why a report that comes now is to be refused.
    pub fn why_stale(&self, report: &Report) -> Option<RefusedWhy> {
        let Some(run) = self.runs.get(&run_of(report)) else {
            return Some(RefusedWhy::NoSuchRun);
        };
        if run.stage == Stage::Over {
            return Some(RefusedWhy::RunOver);
        }
        let left = matches!(report.body, ReportBody::Left { .. });
        let stale = run.why_stale(&report.key, &report.executor);
        if matches!(report.body, ReportBody::TriggerFired { .. } | ReportBody::TriggerFailed { .. })
        {
            let named = (report.key.try_number.get(), report.key.leg.0);
            let deferred = self.copy_of(report).and_then(CopyModel::deferred) == Some(named);
            return match stale {
                _ if deferred => None,
                Some(RefusedWhy::NoSuchTask) => stale,
                _ => Some(RefusedWhy::NotInFlight),
            };
        }
        stale.or_else(|| left.then_some(RefusedWhy::InFlight))
    }

    /// Whether a fresh report says nothing new.
    pub fn is_known(&self, report: &Report) -> bool {
        let started = matches!(report.body, ReportBody::Started { .. });
        let running = |copy: &CopyModel| matches!(copy.stand, Stand::Running(..));
        started && self.copy_of(report).is_some_and(running)
    }

    /// Whether an item of work says what the log says; the log must not have gone on since.
    pub fn check_offer(&self, item: &WorkItem) -> Finding {
        let key = &item.key;
        let run = RunKey { dag_id: key.dag_id.clone(), run_id: key.run_id.clone() };
        let copy = self.runs.get(&run).and_then(|run| run.copy(&key.task_id, key.map_index));
        let Some(copy) = copy else { return Err(format!("{key} is offered and is not there")) };
        let execution = (key.try_number.get(), key.leg.0);
        if copy.stand != Stand::Queued(execution) || copy.queued_seq != item.queued_seq {
            return Err(format!("{key} is offered, and stands at {copy:?}"));
        }
        if copy.began != item.first_started_at || (key.leg.0 == 0 && copy.began.is_some()) {
            return Err(format!(
                "{key} began at {:?}, it is said at {:?}",
                copy.began, item.first_started_at
            ));
        }
        Ok(())
    }

    /// Who runs something, as far as the log knows.
    pub fn holders(&self) -> BTreeSet<&ExecutorId> {
        self.active().flat_map(|(_, run)| run.holders()).collect()
    }
}

fn run_of(report: &Report) -> RunKey {
    RunKey { dag_id: report.key.dag_id.clone(), run_id: report.key.run_id.clone() }
}
