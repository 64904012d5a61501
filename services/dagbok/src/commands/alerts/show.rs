//! Alerts for eyes.
use std::collections::BTreeSet;

use dagbok_api::shapes::{AlertNotification, AlertResponse};

use crate::{
    context::Context,
    output::{Out, Table, one_line},
};

/// Alerts as a table.
pub(super) fn table(out: Out, alerts: &[AlertResponse]) -> Table {
    let mut table =
        Table::new(&["alert", "state", "severity", "owner", "since", "told", "summary"]);
    for alert in alerts {
        let label = |name: &str| alert.labels.get(name).cloned().unwrap_or_default();
        let state = match alert.silenced_by {
            Some(silence) => format!("{} (silence {silence})", alert.state),
            None => alert.state.clone(),
        };
        table.row(vec![
            alert.alert_id.to_string(),
            state,
            label("severity"),
            label("owner"),
            out.time(alert.since.0),
            told(alert),
            one_line(&alert.summary),
        ]);
    }
    table
}

/// Who took word of it.
fn told(alert: &AlertResponse) -> String {
    let of = |state: &str| -> BTreeSet<&str> {
        let found = alert.notifications.iter().filter(|it| it.state == state);
        found.filter(|it| it.purpose == "trigger").map(|it| it.receiver.as_str()).collect()
    };
    let accepted = of("accepted");
    if !accepted.is_empty() {
        return accepted.into_iter().collect::<Vec<_>>().join(", ");
    }
    if alert.notifications.is_empty() { "nobody".to_owned() } else { "nobody yet".to_owned() }
}

/// One alert, whole.
pub(super) fn one(context: &Context, alert: &AlertResponse) {
    let out = context.out;
    if out.is_json() {
        out.document(alert);
        return;
    }
    out.line(&format!("alert {} is {}: {}", alert.alert_id, alert.state, alert.summary));
    for detail in &alert.details {
        out.line(&format!("  {}: {}", detail.name, detail.value));
    }
    if let Some(runbook) = alert.labels.get("runbook") {
        out.line(&format!("  runbook: {runbook}"));
    }
    if alert.count > 1 {
        out.line(&format!(
            "  happened {} times, last at {}",
            alert.count,
            out.time(alert.last_at.0)
        ));
    }
    if let (Some(by), Some(at)) = (&alert.changed_by, &alert.changed_at) {
        let note = alert.note.as_deref().map(|note| format!(": {note}")).unwrap_or_default();
        let why = alert.resolved_why.as_deref().map(|why| format!(" ({why})")).unwrap_or_default();
        out.line(&format!("  {}{why} by {by} at {}{note}", alert.state, out.time(at.0)));
    }
    let causes: Vec<String> = alert.causes.iter().map(ToString::to_string).collect();
    if !causes.is_empty() {
        out.line(&format!("  records {} of the log", causes.join(", ")));
    }
    out.line(&format!("  key {}", alert.dedup_key));
    if alert.notifications.is_empty() {
        out.line("  nobody was told");
    }
    for notification in &alert.notifications {
        ledger(context, notification);
    }
}

fn ledger(context: &Context, it: &AlertNotification) {
    let instead =
        it.instead_of.as_deref().map(|of| format!(" instead of {of}")).unwrap_or_default();
    context.out.line(&format!(
        "  {} to {}{instead} by route {}: {}",
        it.purpose, it.receiver, it.route, it.state
    ));
    for attempt in &it.attempts {
        let status = attempt.status.map(|status| format!(" {status}")).unwrap_or_default();
        let took = attempt.took_ms.map(|ms| format!(" in {ms} ms")).unwrap_or_default();
        let why = attempt.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        let came = match (attempt.ended_at, &attempt.why) {
            (None, _) => "no answer recorded".to_owned(),
            (Some(_), None) => format!("taken{status}{took}"),
            (Some(_), Some(_)) => format!("failed{status}{took}{why}"),
        };
        context.out.line(&format!("    {} {}: {came}", attempt.at.0, attempt.number));
    }
}
