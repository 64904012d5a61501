//! What is called for, as records of the alert log.
mod chase;
mod notices;

pub(crate) use notices::{Place, first, has};

use std::collections::BTreeSet;

use dagbok_events::Timestamp;

use crate::{
    Alert, AlertFact, AlertOpened, AlertRecord, AlertRecurred, AlertResolved, Book, By, Condition,
    Policy, ResolvedWhy, Rule, Severity, Watch, dedup_key, limits,
};

/// What is to be recorded at `now`; the first facts of an empty answer are in force already. `sending` names the
/// deliveries that the asker has under way: others that the book has as being sent were in the hands of somebody
/// who is gone, and are sent again under the same name.
///
/// Fold what it answers and ask again, until nothing is called for.
pub fn plan(
    watch: &Watch,
    book: &Book,
    policy: &Policy,
    now: Timestamp,
    sending: &BTreeSet<String>,
) -> Vec<AlertRecord> {
    let seen = watch.last_seq();
    let mut records = Vec::new();
    let mut add = |facts: Vec<AlertFact>| {
        if !facts.is_empty() {
            records.push(AlertRecord { at: now, by: By::Rules, reason: None, seen, facts });
        }
    };
    if !book.has_begun() {
        return records;
    }
    let mut opened = book.opened;
    let mut conditions = watch.conditions(now);
    conditions.extend(book.conditions());
    let mut changed = Vec::new();
    for condition in &conditions {
        let facts = about(book, condition, &mut opened);
        changed.extend(facts.iter().filter_map(changes));
        add(facts);
    }
    for alert in book.open() {
        let facts = over(watch, alert, &conditions);
        changed.extend(facts.iter().filter_map(changes));
        add(facts);
    }
    // What has changed in this round is looked at in the next: nobody is told of what is over by now.
    let changed: BTreeSet<u64> = changed.into_iter().collect();
    let looked_at = book.open.union(&book.unsettled).filter(|id| !changed.contains(id));
    for alert in looked_at.filter_map(|id| book.alert(*id)) {
        add(chase::facts(book, policy, alert, now));
        add(notices::facts(policy, alert, now, sending));
    }
    records
}

/// The alert that a fact changes.
fn changes(fact: &AlertFact) -> Option<u64> {
    match fact {
        AlertFact::AlertRecurred(it) => Some(it.id),
        AlertFact::AlertResolved(it) => Some(it.id),
        _ => None,
    }
}

/// When to ask again though nothing was recorded.
pub fn next_due(watch: &Watch, book: &Book, policy: &Policy, now: Timestamp) -> Option<Timestamp> {
    let looked_at: BTreeSet<u64> = book.open.union(&book.unsettled).copied().collect();
    let alerts = looked_at.iter().filter_map(|id| book.alert(*id));
    let dues = alerts.flat_map(|alert| [chase::due(book, policy, alert, now), notices::due(alert)]);
    let silences = book.silences.values().map(|it| Some(it.until).filter(|until| *until > now));
    dues.chain(silences).chain([watch.next_due(now)]).flatten().min()
}

/// What a condition calls for: a new alert, another word in an open one, or nothing.
fn about(book: &Book, condition: &Condition, opened: &mut u64) -> Vec<AlertFact> {
    let key = (condition.rule, condition.scope.clone());
    let newest = book.newest.get(&key).and_then(|id| book.alert(*id));
    let (generation, covered) = book.generations.get(&key).copied().unwrap_or_default();
    let is_new = condition.last_cause() > covered;
    match newest.filter(|alert| alert.is_open()) {
        Some(alert) if is_new && condition.rule.recurs() => {
            if alert.is_firing() && !is_worse(alert, condition) {
                vec![recurred(alert, condition)]
            } else {
                // Whoever has it in hand has the one that was before; and one that got worse goes by other routes.
                let over = resolved(alert, ResolvedWhy::Superseded, Some(condition.last_cause()));
                vec![over, open(book, condition, generation + 1, opened)]
            }
        }
        Some(_) => Vec::new(),
        // Somebody said that it is over, and nothing came since.
        None if generation > 0 && !is_new && !condition.causes.is_empty() => Vec::new(),
        None => {
            let began = book.began.as_ref().map_or(Timestamp(0), |(at, _)| *at);
            let is_history = condition.since.plus(limits::LOOK_BACK) < began;
            if is_history {
                Vec::new()
            } else {
                vec![open(book, condition, generation + 1, opened)]
            }
        }
    }
}

fn is_worse(alert: &Alert, condition: &Condition) -> bool {
    let was = alert.labels.get("severity").map(String::as_str);
    let known = [Severity::Info, Severity::Warning, Severity::Critical];
    known.into_iter().find(|it| Some(it.word()) == was).is_some_and(|was| was < condition.severity)
}

fn open(book: &Book, condition: &Condition, generation: u32, opened: &mut u64) -> AlertFact {
    *opened += 1;
    let namespace = book.namespace();
    AlertFact::AlertOpened(Box::new(AlertOpened {
        id: *opened,
        rule: condition.rule,
        scope: condition.scope.clone(),
        generation,
        dedup_key: dedup_key(namespace, condition.rule, &condition.scope, generation),
        labels: condition.all_labels(namespace),
        summary: condition.summary.clone(),
        details: condition.details.clone(),
        causes: condition.causes.clone(),
        since: condition.since,
        run: condition.run.clone(),
        only: None,
    }))
}

fn recurred(alert: &Alert, condition: &Condition) -> AlertFact {
    let known = alert.last_cause;
    AlertFact::AlertRecurred(Box::new(AlertRecurred {
        id: alert.id,
        summary: condition.summary.clone(),
        details: condition.details.clone(),
        causes: condition.causes.iter().copied().filter(|seq| *seq > known).collect(),
        run: condition.run.clone(),
    }))
}

pub(crate) fn resolved(alert: &Alert, why: ResolvedWhy, by_seq: Option<u64>) -> AlertFact {
    AlertFact::AlertResolved(AlertResolved { id: alert.id, why, by_seq })
}

/// Whether what an open alert is about is so no more.
fn over(watch: &Watch, alert: &Alert, conditions: &[Condition]) -> Vec<AlertFact> {
    if alert.rule == Rule::Test {
        let is_done = alert.chase.is_some() && notices::all_said(alert);
        return if is_done { vec![resolved(alert, ResolvedWhy::Tested, None)] } else { Vec::new() };
    }
    let stands = |it: &Condition| it.rule == alert.rule && it.scope == alert.scope;
    if conditions.iter().any(stands) {
        return Vec::new();
    }
    let by_seq = watch.cleared_by(alert.rule, &alert.scope);
    vec![resolved(alert, ResolvedWhy::Recovered, by_seq)]
}
