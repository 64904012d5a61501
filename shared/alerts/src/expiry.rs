//! What receivers are told by holds for a time: keys, tokens, certificates.
use std::ops::Bound;

use dagbok_events::{Fault, Timestamp};

use crate::{AlertScope, Condition, Labels, Policy, Rule, Severity, limits::EXPIRES_SOON};

impl Policy {
    /// What is wrong by the configuration alone.
    pub(crate) fn condition(
        &self,
        rule: Rule,
        scope: &AlertScope,
        now: Timestamp,
    ) -> Option<Condition> {
        let (Rule::CredentialsExpiring, AlertScope::Receiver(name)) = (rule, scope) else {
            return None;
        };
        let until = self.receivers.get(name)?.expires?;
        let soon = Timestamp(until.0.saturating_sub(EXPIRES_SOON.0));
        if now < soon {
            return None;
        }
        let (severity, since, what) = if now < until {
            (Severity::Warning, soon, format!("hold until {until}"))
        } else {
            (Severity::Critical, until, format!("hold no more since {until}"))
        };
        Some(Condition {
            rule,
            scope: scope.clone(),
            severity,
            fault: Some(Fault::System),
            since,
            causes: Vec::new(),
            due: Some(since),
            run: None,
            labels: Labels::from([("receiver".to_owned(), name.clone())]),
            summary: format!("the credentials of the receiver {name} {what}, by the configuration"),
            details: vec![("expires".to_owned(), until.to_string())],
        })
    }

    fn turns(&self) -> impl Iterator<Item = (Timestamp, &String)> {
        let all = self.receivers.iter().filter_map(|(name, it)| Some((name, it.expires?)));
        all.flat_map(|(name, at)| {
            [(Timestamp(at.0.saturating_sub(EXPIRES_SOON.0)), name), (at, name)]
        })
    }

    /// Receivers of which that became another thing in a span of time; all that have an end, at first.
    pub(crate) fn expiring_in(
        &self,
        since: Timestamp,
        until: Timestamp,
        is_all: bool,
    ) -> Vec<(Rule, AlertScope)> {
        let first = if is_all { Bound::Unbounded } else { Bound::Excluded(since) };
        let span = (first, Bound::Included(until));
        let turned = self.turns().filter(|(at, _)| std::ops::RangeBounds::contains(&span, at));
        turned
            .map(|(_, name)| (Rule::CredentialsExpiring, AlertScope::Receiver(name.clone())))
            .collect()
    }

    /// When it becomes another thing next, after `now`.
    pub(crate) fn next_expiry(&self, now: Timestamp) -> Option<Timestamp> {
        self.turns().map(|(at, _)| at).filter(|at| *at > now).min()
    }
}
