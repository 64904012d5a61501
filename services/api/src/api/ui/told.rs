//! Who was told of a run, in one word.
use std::collections::BTreeSet;

use dagbok_alerts::{Alert, AlertState, Book, DeliveryState, Purpose};
use dagbok_events::{RunKey, Timestamp};

use crate::{
    alerts::Alerts,
    api::{alerts::view, view::word},
    shapes::{AlertResponse, UiAlert, UiTold},
};

/// Alerts about one run that are shown with it.
const OF_A_RUN: usize = 20;

fn silent(state: &str) -> UiTold {
    UiTold { state: state.to_owned(), ..UiTold::default() }
}

/// Who was told of an alert.
fn of_alert(book: &Book, alert: &Alert, now: Timestamp) -> UiTold {
    let gathered = alert.deliveries.values().filter(|it| it.is_heard());
    let gathered = gathered.filter(|it| it.purpose == Purpose::Trigger);
    let gathered = gathered.map(|it| it.receiver.as_str());
    let told: BTreeSet<&str> = alert.told().into_iter().chain(gathered).collect();
    let receivers: Vec<String> = told.into_iter().map(str::to_owned).collect();
    let is = |wanted: fn(&DeliveryState) -> bool| {
        alert.deliveries.values().any(|delivery| wanted(&delivery.state))
    };
    let (state, by, by_at) = match &alert.state {
        AlertState::Acknowledged { by, at, .. } => ("acknowledged", Some(by.text()), Some(*at)),
        AlertState::Resolved { by, at, .. } => ("resolved", Some(by.text()), Some(*at)),
        AlertState::Firing if !receivers.is_empty() => ("told", None, None),
        AlertState::Firing if book.silenced_by(&alert.labels, now).is_some() => {
            ("silenced", None, None)
        }
        AlertState::Firing
            if is(|state| {
                matches!(
                    state,
                    DeliveryState::Sending
                        | DeliveryState::Waiting { .. }
                        | DeliveryState::Withheld
                        | DeliveryState::Gathered
                )
            }) =>
        {
            ("sending", None, None)
        }
        AlertState::Firing if is(|state| matches!(state, DeliveryState::Rejected)) => {
            ("not_told", None, None)
        }
        AlertState::Firing => ("no_receiver", None, None),
    };
    let accepted = alert.deliveries.values().filter(|it| it.is_heard());
    let at = accepted.map(|it| it.first_at).min().map(Into::into);
    let by_at = by_at.map(Into::into);
    UiTold { state: state.to_owned(), receivers, at, by, by_at, alert_id: Some(alert.id) }
}

/// Who was told of each of these runs, in their order.
pub(super) fn of_runs(alerts: Option<&Alerts>, runs: &[RunKey], now: Timestamp) -> Vec<UiTold> {
    let Some(alerts) = alerts else { return runs.iter().map(|_| silent("no_rule")).collect() };
    alerts.read(|book| {
        let of = |run: &RunKey| {
            let dag = run.dag_id.as_str();
            let found = book.alerts().find(|alert| {
                alert.labels.get("dag").is_some_and(|it| it == dag) && alert.runs.contains(run)
            });
            found.map_or_else(|| silent("no_rule"), |alert| of_alert(book, alert, now))
        };
        runs.iter().map(of).collect()
    })
}

/// All alerts about a run, whole.
pub(super) fn alerts_of(
    alerts: Option<&Alerts>,
    run: &RunKey,
    now: Timestamp,
) -> Vec<AlertResponse> {
    let Some(alerts) = alerts else { return Vec::new() };
    alerts.read(|book| {
        let found = book.alerts().filter(|alert| alert.runs.contains(run)).take(OF_A_RUN);
        found.map(|alert| view::shown(book, alert, now)).collect()
    })
}

/// Alerts that nobody has in hand.
#[derive(Debug, Default)]
pub(super) struct Unacknowledged {
    /// The first of those that stand alone.
    pub(super) shown: Vec<UiAlert>,
    /// How many stand alone.
    pub(super) count: usize,
    /// How many there are.
    pub(super) all: usize,
}

/// Those, without what is `elsewhere` on the page: that is left out before the list is cut.
pub(super) fn unacknowledged(
    alerts: Option<&Alerts>,
    elsewhere: &BTreeSet<u64>,
    most: usize,
    now: Timestamp,
) -> Unacknowledged {
    let Some(alerts) = alerts else { return Unacknowledged::default() };
    alerts.read(|book| {
        let firing = || book.alerts().filter(|alert| alert.is_firing());
        let alone = || firing().filter(|alert| !elsewhere.contains(&alert.id));
        let shown = alone().take(most).map(|alert| short(book, alert, now)).collect();
        Unacknowledged { shown, count: alone().count(), all: firing().count() }
    })
}

fn short(book: &Book, alert: &Alert, now: Timestamp) -> UiAlert {
    let run = alert.runs.last();
    let labelled = || alert.labels.get("dag").cloned();
    UiAlert {
        alert_id: alert.id,
        rule: word(&alert.rule),
        state: view::state_word(&alert.state).to_owned(),
        summary: alert.summary.clone(),
        opened_at: alert.opened_at.into(),
        count: alert.count,
        dag_id: run.map(|run| run.dag_id.to_string()).or_else(labelled),
        run_id: run.map(|run| run.run_id.to_string()),
        told: of_alert(book, alert, now),
    }
}
