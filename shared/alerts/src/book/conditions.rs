//! What is wrong with alerting itself, and with what it waits for.
use dagbok_events::{Micros, Timestamp};

use super::{Book, SIGNS};
use crate::{AlertScope, Condition, Labels, Rule, Severity};

impl Book {
    /// Heartbeats that came to be missing in a span of time.
    pub(crate) fn missing_in(
        &self,
        since: Timestamp,
        until: Timestamp,
    ) -> impl Iterator<Item = (Rule, AlertScope)> {
        let first = (since.plus(Micros(1)), String::new());
        let last = (until.plus(Micros(1)), String::new());
        let (first, last) = if first <= last { (first, last) } else { (last.clone(), last) };
        let found = self.missing.range(first..last).map(|(_, name)| name.clone());
        found.map(|name| (Rule::HeartbeatMissing, AlertScope::Heartbeat(name)))
    }

    /// When the next heartbeat comes to be missing, after `now`.
    pub(crate) fn next_missing(&self, now: Timestamp) -> Option<Timestamp> {
        self.missing.range((now.plus(Micros(1)), String::new())..).next().map(|(at, _)| *at)
    }

    /// What is wrong with telling people, for whoever watches from outside.
    pub(crate) fn trouble(&self) -> Option<String> {
        let mut failing = self.failing.iter().filter(|(_, it)| it.closed_at.is_none());
        let known = failing.find(|(name, _)| *name != SIGNS);
        known.map(|(name, it)| {
            format!("the receiver {name} does not take what it is sent: {}", it.why)
        })
    }

    /// What is wrong with alerting itself.
    pub(crate) fn condition_keys(&self) -> Vec<(Rule, AlertScope)> {
        let failing = self.failing.keys().cloned().map(AlertScope::Receiver);
        let mut keys: Vec<_> = failing.map(|scope| (Rule::ReceiverFailing, scope)).collect();
        let wordless = self.wordless.keys().cloned().map(AlertScope::Receiver);
        keys.extend(wordless.map(|scope| (Rule::TemplateFailing, scope)));
        keys.push((Rule::ConfigurationRefused, AlertScope::Namespace));
        let of_all =
            [Rule::MessagesWaiting, Rule::DiskFilling, Rule::ProjectionBehind, Rule::BlobsAway];
        keys.extend(of_all.map(|rule| (rule, AlertScope::Namespace)));
        keys.extend(self.stores().map(|scope| (Rule::DiskFilling, scope)));
        let calendars = self.calendars.keys().cloned().map(AlertScope::Schedule);
        keys.extend(calendars.map(|scope| (Rule::CalendarRefused, scope)));
        let names = self.heartbeats.keys().cloned().map(AlertScope::Heartbeat);
        keys.extend(names.map(|scope| (Rule::HeartbeatMissing, scope)));
        keys
    }

    /// What is wrong with a part of alerting, or with what it waits for.
    pub(crate) fn condition(
        &self,
        rule: Rule,
        scope: &AlertScope,
        now: Timestamp,
    ) -> Option<Condition> {
        let own = own(rule, scope);
        match (rule, scope) {
            (Rule::ReceiverFailing, AlertScope::Receiver(receiver)) => {
                let failing = self.failing.get(receiver).filter(|it| it.closed_at.is_none())?;
                let why = &failing.why;
                let mut condition = own(
                    Severity::Critical,
                    failing.since,
                    format!("the receiver {receiver} does not take what it is sent: {why}"),
                    vec![("answer".to_owned(), why.clone())],
                );
                condition.labels.insert("receiver".to_owned(), receiver.clone());
                if failing.is_refused {
                    condition.labels.insert("cause".to_owned(), "credentials".to_owned());
                }
                Some(condition)
            }
            (Rule::TemplateFailing, AlertScope::Receiver(receiver)) => {
                let super::Wordless { since, why, .. } = self.wordless.get(receiver)?;
                let mut condition = own(
                    Severity::Warning,
                    *since,
                    format!(
                        "the words of the receiver {receiver} can't be used, and plain ones are: {why}"
                    ),
                    vec![("error".to_owned(), why.clone())],
                );
                condition.labels.insert("receiver".to_owned(), receiver.clone());
                Some(condition)
            }
            (Rule::ConfigurationRefused, AlertScope::Namespace) => {
                let refused = self.refused.as_ref().filter(|it| !it.is_closed)?;
                let summary =
                    "the alerting configuration can't be read; the last good one is in force";
                let details = vec![("error".to_owned(), refused.why.clone())];
                Some(own(Severity::Warning, refused.at, summary.to_owned(), details))
            }
            (Rule::HeartbeatMissing, AlertScope::Heartbeat(name)) => {
                let beat = self.heartbeats.get(name)?;
                if beat.is_closed || now < beat.missing_at() {
                    return None;
                }
                let due = beat.at.plus(beat.period);
                let mut condition = own(
                    Severity::Critical,
                    due,
                    format!("{name}: no heartbeat since {}; the next was due at {due}", beat.at),
                    vec![("last heartbeat".to_owned(), beat.at.to_string())],
                );
                condition.fault = None;
                condition.labels.insert("heartbeat".to_owned(), name.clone());
                if let Some(owner) = &beat.owner {
                    condition.labels.insert("owner".to_owned(), owner.clone());
                }
                Some(condition)
            }
            _ => self.wrong_with_others(rule, scope, now),
        }
    }

    /// What is wrong with calendars, and with messages on their way.
    fn wrong_with_others(
        &self,
        rule: Rule,
        scope: &AlertScope,
        now: Timestamp,
    ) -> Option<Condition> {
        let own = own(rule, scope);
        match (rule, scope) {
            (Rule::CalendarRefused, AlertScope::Schedule(schedule)) => {
                let known = self.calendars.get(schedule).filter(|it| !it.is_closed)?;
                let (since, why) = known.refused.as_ref()?;
                let holds = match known.digest {
                    Some(_) => "what was read last holds",
                    None => "nobody is on call by it",
                };
                let summary =
                    format!("the calendar of the schedule {schedule} can't be read, and {holds}");
                let details = vec![("error".to_owned(), why.clone())];
                // Without a calendar nobody knows who is on call.
                let severity =
                    if known.digest.is_some() { Severity::Warning } else { Severity::Critical };
                let mut condition = own(severity, *since, summary, details);
                condition.labels.insert("schedule".to_owned(), schedule.clone());
                Some(condition)
            }
            (Rule::DiskFilling | Rule::ProjectionBehind, AlertScope::Namespace) => {
                self.wrong_with_machine(rule, own)
            }
            (Rule::BlobsAway, AlertScope::Namespace) => self.wrong_with_blobs(own),
            (Rule::DiskFilling, AlertScope::Store(name)) => self.wrong_with_store(name, own),
            (Rule::MessagesWaiting, AlertScope::Namespace) => {
                let (first, count, receivers) = self.overdue(now)?;
                let receivers = receivers.into_iter().collect::<Vec<_>>().join(", ");
                let summary = format!("{count} messages are taken by nobody since {first}");
                let details = vec![("receivers".to_owned(), receivers)];
                Some(own(Severity::Critical, first, summary, details))
            }
            _ => None,
        }
    }
}

/// A condition of alerting's own, but for how bad it is, since when, and what is said of it.
fn own(
    rule: Rule,
    scope: &AlertScope,
) -> impl Fn(Severity, Timestamp, String, Vec<(String, String)>) -> Condition {
    move |severity, since, summary, details| Condition {
        rule,
        scope: scope.clone(),
        severity,
        fault: Some(dagbok_events::Fault::System),
        since,
        causes: Vec::new(),
        due: None,
        run: None,
        labels: Labels::new(),
        summary,
        details,
    }
}
