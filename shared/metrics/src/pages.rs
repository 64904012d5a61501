//! Spans of what people were told, folded from the log of alerts: each attempt is one, in the trace of the run that it is
//! about.
use std::collections::BTreeMap;

use dagbok_alerts::{AlertFact, AlertRecord, NotificationAttempted};
use dagbok_events::{Micros, Timestamp};
use dagbok_protocol::trace::{RunTrace, page_span};
use serde::{Deserialize, Serialize};

use crate::Span;

/// Alerts whose runs are known: the newest.
const KNOWN: usize = 10_000;
/// Attempts that no answer has come of, and that are known.
const UNDER_WAY: usize = 10_000;

/// What an alert is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct About {
    /// W3C's `traceparent` of its run's span.
    trace: String,
    rule: String,
    severity: String,
}

/// An attempt that no answer has come of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Attempt {
    at: Timestamp,
    id: u64,
    receiver: String,
    route: String,
    purpose: String,
    person: Option<String>,
}

/// The fold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pages {
    alerts: BTreeMap<u64, About>,
    attempts: BTreeMap<(String, u32), Attempt>,
}

/// How an attempt ended.
struct End<'a> {
    message: &'a str,
    attempt: u32,
    took_ms: u64,
    status: Option<u16>,
    outcome: &'static str,
    why: Option<&'a str>,
}

impl Pages {
    /// Takes a record in, and says which spans are over with it.
    pub fn take(&mut self, record: &AlertRecord, say: &mut Vec<Span>) {
        for fact in &record.facts {
            self.fact(record.at, fact, say);
        }
    }

    fn fact(&mut self, at: Timestamp, fact: &AlertFact, say: &mut Vec<Span>) {
        let end = match fact {
            AlertFact::AlertOpened(it) => {
                if let Some(trace) = it.trace.clone() {
                    let severity = it.labels.get("severity").cloned().unwrap_or_default();
                    let about = About { trace, rule: it.rule.word().to_owned(), severity };
                    self.alerts.insert(it.id, about);
                    while self.alerts.len() > KNOWN {
                        self.alerts.pop_first();
                    }
                }
                return;
            }
            AlertFact::AlertRecurred(it) => {
                // What is told from here on is about another run.
                if let (Some(about), Some(trace)) = (self.alerts.get_mut(&it.id), &it.trace) {
                    about.trace.clone_from(trace);
                }
                return;
            }
            AlertFact::NotificationAttempted(it) => return self.attempted(at, it),
            AlertFact::NotificationAccepted(it) => End {
                message: &it.message,
                attempt: it.attempt,
                took_ms: it.took_ms,
                status: it.status,
                outcome: "accepted",
                why: None,
            },
            AlertFact::NotificationFailed(it) => End {
                message: &it.message,
                attempt: it.attempt,
                took_ms: it.took_ms,
                status: it.status,
                outcome: "failed",
                why: Some(&it.why),
            },
            AlertFact::NotificationRejected(it) => End {
                message: &it.message,
                attempt: it.attempt,
                took_ms: it.took_ms,
                status: it.status,
                outcome: "rejected",
                why: Some(&it.why),
            },
            _ => return,
        };
        say.extend(self.ended(&end));
    }

    fn attempted(&mut self, at: Timestamp, it: &NotificationAttempted) {
        if !self.alerts.contains_key(&it.id) {
            return;
        }
        let attempt = Attempt {
            at,
            id: it.id,
            receiver: it.receiver.clone(),
            route: it.route.clone(),
            purpose: it.purpose.word().to_owned(),
            person: it.person.clone(),
        };
        self.attempts.insert((it.message.clone(), it.attempt), attempt);
        while self.attempts.len() > UNDER_WAY {
            self.attempts.pop_first();
        }
    }

    fn ended(&mut self, end: &End<'_>) -> Option<Span> {
        let attempt = self.attempts.remove(&(end.message.to_owned(), end.attempt))?;
        let about = self.alerts.get(&attempt.id)?;
        let trace = RunTrace::read(&about.trace).filter(|trace| trace.flags & 1 == 1)?;
        let took = i64::try_from(end.took_ms).unwrap_or(i64::MAX);
        let mut attributes = vec![
            ("dagbok.alert_id", attempt.id.to_string()),
            ("dagbok.alert.rule", about.rule.clone()),
            ("dagbok.alert.severity", about.severity.clone()),
            ("dagbok.receiver", attempt.receiver.clone()),
            ("dagbok.route", attempt.route),
            ("dagbok.purpose", attempt.purpose),
            ("dagbok.attempt", end.attempt.to_string()),
            ("dagbok.outcome", end.outcome.to_owned()),
        ];
        attributes.extend(attempt.person.map(|person| ("dagbok.person", person)));
        attributes.extend(end.status.map(|status| ("dagbok.status", status.to_string())));
        Some(Span {
            trace_id: trace.trace_id,
            span_id: page_span(end.message, end.attempt),
            parent: trace.parent,
            name: format!("page {}", attempt.receiver),
            start: attempt.at,
            end: attempt.at.plus(Micros::from_millis(took)),
            attributes,
            error: end.why.map(str::to_owned),
            links: Vec::new(),
        })
    }
}
