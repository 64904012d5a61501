//! Reports that were refused: one is chance, many are an executor that is not what it says, or a network that says things
//! twice.
use dagbok_events::{Fault, Timestamp};

use super::{Condition, Watch};
use crate::{
    AlertScope, Labels, Rule, Severity,
    limits::{REFUSALS, REFUSALS_WITHIN},
};

const KEY: (Rule, AlertScope) = (Rule::ReportsRefused, AlertScope::Namespace);

impl Watch {
    pub(super) fn report_refused(&mut self, seq: u64, at: Timestamp) {
        if self.refusals.len() >= REFUSALS {
            self.refusals.remove(0);
        }
        self.refusals.push((seq, at));
        if self.refusals.len() >= REFUSALS {
            self.touched.note(|| KEY);
        }
    }

    pub(super) fn refusals_clock_back(&mut self, to: Timestamp) {
        self.refusals.iter_mut().for_each(|(_, at)| *at = (*at).min(to));
    }

    /// From when on they are no longer too many.
    fn refusals_end(&self) -> Option<Timestamp> {
        let (_, first) = self.refusals.first().filter(|_| self.refusals.len() >= REFUSALS)?;
        Some(first.plus(REFUSALS_WITHIN))
    }

    pub(super) fn next_refusals(&self, now: Timestamp) -> Option<Timestamp> {
        self.refusals_end().filter(|end| *end > now)
    }

    /// Whether they came to be too many no longer in a span of time.
    pub(super) fn refusals_in(
        &self,
        since: Timestamp,
        now: Timestamp,
    ) -> Option<(Rule, AlertScope)> {
        self.refusals_end().filter(|end| since < *end && *end <= now).map(|_| KEY)
    }

    pub(super) fn too_many_refusals(&self, now: Timestamp) -> Option<Condition> {
        self.refusals_end().filter(|end| now < *end)?;
        let (first, since) = *self.refusals.first()?;
        let (last, _) = *self.refusals.last()?;
        let minutes = REFUSALS_WITHIN.0 / 60_000_000;
        Some(Condition {
            rule: Rule::ReportsRefused,
            scope: AlertScope::Namespace,
            severity: Severity::Warning,
            fault: Some(Fault::System),
            since,
            causes: vec![first, last],
            due: None,
            run: None,
            labels: Labels::new(),
            summary: format!(
                "{REFUSALS} reports of executors were refused within {minutes} minutes"
            ),
            details: vec![(
                "newest".to_owned(),
                format!("record {last} says what it claimed and why"),
            )],
        })
    }
}
