//! Alerts as the API shows them.
use dagbok_alerts::{Alert, AlertState, Book, Delivery, DeliveryState, ResolvedWhy};
use dagbok_events::Timestamp;

use crate::{
    api::view::word,
    shapes::{AlertAttempt, AlertDetail, AlertNotification, AlertResponse, AlertRun},
};

pub(crate) const fn state_word(state: &AlertState) -> &'static str {
    match state {
        AlertState::Firing => "firing",
        AlertState::Acknowledged { .. } => "acknowledged",
        AlertState::Resolved { .. } => "resolved",
    }
}

pub(crate) fn shown(book: &Book, alert: &Alert, now: Timestamp) -> AlertResponse {
    let (by, at, note) = match &alert.state {
        AlertState::Firing => (None, None, None),
        AlertState::Acknowledged { by, at, note } | AlertState::Resolved { by, at, note, .. } => {
            (Some(by.text()), Some(*at), note.clone())
        }
    };
    let why: Option<&ResolvedWhy> = match &alert.state {
        AlertState::Resolved { why, .. } => Some(why),
        AlertState::Firing | AlertState::Acknowledged { .. } => None,
    };
    let silenced_by = alert.is_open().then(|| book.silenced_by(&alert.labels, now)).flatten();
    let run = |run: &dagbok_events::RunKey| AlertRun {
        dag_id: run.dag_id.to_string(),
        dag_run_id: run.run_id.to_string(),
    };
    let detail =
        |(name, value): &(String, String)| AlertDetail { name: name.clone(), value: value.clone() };
    let mut told: Vec<(&String, &Delivery)> = alert.deliveries.iter().collect();
    told.sort_by_key(|(_, delivery)| delivery.first_at);
    AlertResponse {
        alert_id: alert.id,
        rule: alert.rule.word().to_owned(),
        scope: alert.scope.to_string(),
        generation: alert.generation,
        dedup_key: alert.dedup_key.clone(),
        state: state_word(&alert.state).to_owned(),
        silenced_by,
        suppressed_why: alert.held.map(|held| held.why.word().to_owned()),
        suppressed_by: alert.held.and_then(|held| held.by),
        told_with_it: alert.follows.count,
        labels: alert.labels.clone(),
        summary: alert.summary.clone(),
        details: alert.details.iter().map(detail).collect(),
        causes: alert.causes.clone(),
        count: alert.count,
        runs: newest(&alert.runs).iter().map(run).collect(),
        since: alert.since.into(),
        opened_at: alert.opened_at.into(),
        last_at: alert.last_at.into(),
        changed_at: at.map(Into::into),
        changed_by: by,
        note,
        resolved_why: why.map(word),
        resolved_by: alert.resolved_by,
        notifications: told.into_iter().map(notification).collect(),
    }
}

/// Runs that one answer names.
const RUNS: usize = 16;

fn newest(runs: &[dagbok_events::RunKey]) -> &[dagbok_events::RunKey] {
    &runs[runs.len().saturating_sub(RUNS)..]
}

fn notification((message, delivery): (&String, &Delivery)) -> AlertNotification {
    let (state, retry_at) = match delivery.state {
        DeliveryState::Sending => ("sending", None),
        DeliveryState::Waiting { until } => ("waiting", Some(until)),
        DeliveryState::Accepted => ("accepted", None),
        DeliveryState::Rejected => ("rejected", None),
        DeliveryState::Withheld => ("withheld", None),
        DeliveryState::Gathered => ("gathered", None),
    };
    let attempts = delivery.attempts.iter().map(|attempt| AlertAttempt {
        number: attempt.number,
        at: attempt.at.into(),
        ended_at: attempt.ended_at.map(Into::into),
        status: attempt.status,
        why: attempt.why.clone(),
        took_ms: attempt.took_ms,
    });
    AlertNotification {
        message: message.clone(),
        purpose: delivery.purpose.word().to_owned(),
        receiver: delivery.receiver.clone(),
        route: delivery.route.clone(),
        turn: delivery.turn,
        step: delivery.step,
        instead_of: delivery.instead_of.clone(),
        person: delivery.person.clone(),
        state: state.to_owned(),
        retry_at: retry_at.map(Into::into),
        provider_id: delivery.provider_id.clone(),
        text_digest: delivery.text_digest.clone(),
        attempts: attempts.collect(),
    }
}
