//! Spans of what people were told, folded from the log of alerts: each attempt is one, in the trace of the run that it is
//! about.
use std::collections::{BTreeMap, BTreeSet};

use dagbok_alerts::{AlertFact, AlertOpened, AlertRecord, NotificationAttempted};
use dagbok_events::{Micros, Timestamp};
use dagbok_protocol::trace::{RunTrace, page_span};
use serde::{Deserialize, Serialize};

use crate::Span;

/// Alerts whose runs are known: the newest.
const KNOWN: usize = 10_000;
/// Attempts that no answer has come of, and that are known: the newest.
const UNDER_WAY: usize = 10_000;

/// What an alert is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct About {
    /// W3C's `traceparent` of its run's span, where that is known.
    trace: Option<String>,
    rule: String,
    severity: String,
}

/// An attempt that no answer has come of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Attempt {
    /// Which one it is of its message.
    number: u32,
    at: Timestamp,
    id: u64,
    /// Of the run that its alert was about then.
    trace: String,
    receiver: String,
    route: String,
    purpose: String,
    person: Option<String>,
}

/// The fold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pages {
    alerts: BTreeMap<u64, About>,
    /// The last of each message.
    attempts: BTreeMap<String, Attempt>,
    /// Their messages, by when they were made.
    order: BTreeSet<(Timestamp, String)>,
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
            AlertFact::AlertOpened(it) => return self.opened(it),
            AlertFact::AlertRecurred(it) => {
                // What is told from here on is about another run, whether or not its trace is known.
                if let Some(about) = self.alerts.get_mut(&it.id) {
                    about.trace.clone_from(&it.trace);
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
            AlertFact::AlertingBegan(_)
            | AlertFact::ConfigurationTaken(_)
            | AlertFact::ConfigurationRefused(_)
            | AlertFact::AlertAcknowledged(_)
            | AlertFact::AlertEscalated(_)
            | AlertFact::AlertResolved(_)
            | AlertFact::AlertSilenced(_)
            | AlertFact::AlertUnsilenced(_)
            | AlertFact::NotificationWithheld(_)
            | AlertFact::ClockWentBack(_)
            | AlertFact::AlertSuppressed(_)
            | AlertFact::AlertReleased(_)
            | AlertFact::SignOfLife(_)
            | AlertFact::SignOfLifeFailed(_)
            | AlertFact::SignOfLifeAccepted(_)
            | AlertFact::HeartbeatReceived(_)
            | AlertFact::HeartbeatForgotten(_)
            | AlertFact::CalendarTaken(_)
            | AlertFact::CalendarRefused(_)
            | AlertFact::DiskObserved(_)
            | AlertFact::ProjectionObserved(_)
            | AlertFact::StoreObserved(_)
            | AlertFact::BlobsObserved(_) => return,
        };
        say.extend(self.ended(&end));
    }

    fn opened(&mut self, it: &AlertOpened) {
        let severity = it.labels.get("severity").cloned().unwrap_or_default();
        let about = About { trace: it.trace.clone(), rule: it.rule.word().to_owned(), severity };
        self.alerts.insert(it.id, about);
        while self.alerts.len() > KNOWN {
            self.alerts.pop_first();
        }
    }

    fn attempted(&mut self, at: Timestamp, it: &NotificationAttempted) {
        // Who asks again has no answer of the one before.
        self.answered(&it.message);
        let Some(trace) = self.alerts.get(&it.id).and_then(|about| about.trace.clone()) else {
            return;
        };
        let attempt = Attempt {
            number: it.attempt,
            at,
            id: it.id,
            trace,
            receiver: it.receiver.clone(),
            route: it.route.clone(),
            purpose: it.purpose.word().to_owned(),
            person: it.person.clone(),
        };
        self.attempts.insert(it.message.clone(), attempt);
        self.order.insert((at, it.message.clone()));
        while self.order.len() > UNDER_WAY {
            let Some((_, oldest)) = self.order.pop_first() else { return };
            self.attempts.remove(&oldest);
        }
    }

    /// Takes out what is known of a message's attempt.
    fn answered(&mut self, message: &str) -> Option<Attempt> {
        let attempt = self.attempts.remove(message)?;
        self.order.remove(&(attempt.at, message.to_owned()));
        Some(attempt)
    }

    fn ended(&mut self, end: &End<'_>) -> Option<Span> {
        self.attempts.get(end.message).filter(|it| it.number == end.attempt)?;
        let attempt = self.answered(end.message)?;
        let about = self.alerts.get(&attempt.id)?;
        let trace = RunTrace::read(&attempt.trace).filter(|trace| trace.flags & 1 == 1)?;
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

#[cfg(test)]
mod tests {
    use dagbok_alerts::{
        AlertRecurred, AlertScope, By, NotificationAccepted, NotificationFailed, Purpose, Rule,
    };
    use dagbok_events::{RunId, RunKey, hex};

    use super::*;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn opened(id: u64, trace: Option<&str>) -> AlertFact {
        let dag_id: dagbok_events::DagId = "etl".parse().unwrap();
        AlertFact::AlertOpened(Box::new(AlertOpened {
            id,
            rule: Rule::RunFailed,
            scope: AlertScope::Dag(dag_id.clone()),
            generation: 1,
            dedup_key: format!("key-{id}"),
            labels: [("severity".to_owned(), "critical".to_owned())].into(),
            summary: String::new(),
            details: Vec::new(),
            causes: Vec::new(),
            since: Timestamp(1),
            run: Some(RunKey { dag_id, run_id: RunId::new("r").unwrap() }),
            trace: trace.map(str::to_owned),
            only: None,
        }))
    }

    fn attempted(id: u64, attempt: u32) -> AlertFact {
        AlertFact::NotificationAttempted(Box::new(NotificationAttempted {
            id,
            message: format!("message-{id}"),
            purpose: Purpose::Trigger,
            receiver: "pager".to_owned(),
            route: "platform".to_owned(),
            turn: 0,
            step: 0,
            attempt,
            instead_of: None,
            person: Some("ana".to_owned()),
            text_digest: String::new(),
            gathers: None,
            plain_since: None,
        }))
    }

    fn failed(id: u64) -> AlertFact {
        AlertFact::NotificationFailed(NotificationFailed {
            id,
            message: format!("message-{id}"),
            attempt: 1,
            status: Some(503),
            why: "busy".to_owned(),
            retry_at: Timestamp(9),
            took_ms: 2,
        })
    }

    fn accepted(id: u64) -> AlertFact {
        AlertFact::NotificationAccepted(NotificationAccepted {
            id,
            message: format!("message-{id}"),
            attempt: 2,
            status: Some(202),
            provider_id: None,
            took_ms: 3,
        })
    }

    fn told(facts: Vec<AlertFact>) -> Vec<Span> {
        let (mut pages, mut say) = (Pages::default(), Vec::new());
        for (at, fact) in (1_000..).step_by(1_000).zip(facts) {
            let (at, facts) = (Timestamp(at), vec![fact]);
            let record = AlertRecord { at, by: By::Rules, reason: None, seen: 0, facts };
            pages.take(&record, &mut say);
        }
        say
    }

    #[test]
    fn each_attempt_is_a_span_of_the_trace_of_the_alerts_run() {
        let facts =
            vec![opened(1, Some(TRACE)), attempted(1, 1), failed(1), attempted(1, 2), accepted(1)];
        let said = told(facts);
        let [first, second] = said.as_slice() else { panic!("{said:?}") };
        for span in [first, second] {
            assert_eq!(hex(&span.trace_id), "0af7651916cd43dd8448eb211c80319c");
            assert_eq!(span.parent.map(|id| hex(&id)).as_deref(), Some("b7ad6b7169203331"));
            assert_eq!(span.name, "page pager");
        }
        assert_ne!(first.span_id, second.span_id);
        assert_eq!((first.start, first.end), (Timestamp(2_000), Timestamp(4_000)));
        assert_eq!((first.error.as_deref(), second.error.as_deref()), (Some("busy"), None));
        assert!(second.attributes.contains(&("dagbok.outcome", "accepted".to_owned())));
        assert!(second.attributes.contains(&("dagbok.person", "ana".to_owned())));
    }

    fn recurred(id: u64, trace: Option<&str>) -> AlertFact {
        AlertFact::AlertRecurred(Box::new(AlertRecurred {
            id,
            summary: String::new(),
            details: Vec::new(),
            causes: Vec::new(),
            run: None,
            trace: trace.map(str::to_owned),
        }))
    }

    #[test]
    fn what_recurs_is_about_the_run_of_then_and_about_none_where_that_is_not_known() {
        let other = TRACE.replace("0af7", "1bf7");
        let gone = vec![opened(1, Some(TRACE)), recurred(1, None), attempted(1, 2), accepted(1)];
        assert_eq!(told(gone), []);
        let came = vec![opened(1, None), recurred(1, Some(&other)), attempted(1, 2), accepted(1)];
        let said = told(came);
        let [span] = said.as_slice() else { panic!("{said:?}") };
        assert!(hex(&span.trace_id).starts_with("1bf7"));
        let before =
            vec![opened(1, Some(TRACE)), attempted(1, 2), recurred(1, Some(&other)), accepted(1)];
        let said = told(before);
        let [span] = said.as_slice() else { panic!("{said:?}") };
        assert!(hex(&span.trace_id).starts_with("0af7"), "it was told before");
    }

    #[test]
    fn of_attempts_without_an_answer_the_oldest_are_forgotten_and_the_next_takes_the_place() {
        let mut facts = vec![opened(1, Some(TRACE)), attempted(1, 1), attempted(1, 2), failed(1)];
        assert_eq!(told(facts.clone()), [], "the first has a second by then");
        facts.push(accepted(1));
        assert_eq!(told(facts).len(), 1);
        // By its name the second would go before the first.
        let last = 9 + UNDER_WAY as u64;
        let mut pages = Pages::default();
        for (at, id) in (0..).map(Timestamp).zip(9..=last) {
            let facts = vec![opened(id, Some(TRACE)), attempted(id, 2)];
            let record = AlertRecord { at, by: By::Rules, reason: None, seen: 0, facts };
            pages.take(&record, &mut Vec::new());
        }
        assert_eq!((pages.attempts.len(), pages.order.len()), (UNDER_WAY, UNDER_WAY));
        let known = |id: u64| pages.attempts.contains_key(&format!("message-{id}"));
        assert_eq!((known(9), known(10), known(last)), (false, true, true));
    }

    #[test]
    fn what_is_about_no_run_or_about_one_that_is_not_sampled_is_no_span() {
        let silent = TRACE.replace("-01", "-00");
        for trace in [None, Some(silent.as_str())] {
            assert_eq!(told(vec![opened(1, trace), attempted(1, 2), accepted(1)]), []);
        }
    }
}
