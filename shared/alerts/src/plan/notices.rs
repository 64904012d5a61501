//! Messages: begun, tried again, and the words that follow an alert's acknowledgement and end.
use std::collections::{BTreeMap, BTreeSet};

use dagbok_events::Timestamp;

use crate::{
    Alert, AlertFact, AlertState, Delivery, DeliveryState, Gathered, NotificationAttempted,
    NotificationRejected, Policy, Purpose, Rule, Telling, render,
};

/// Where in a chain a message belongs.
pub(crate) struct Place<'a> {
    pub(crate) turn: u32,
    pub(crate) step: u32,
    pub(crate) route: &'a str,
    pub(crate) instead_of: Option<&'a str>,
    pub(crate) person: Option<&'a str>,
}

/// The name of a delivery: the same from the same history, so that a provider knows a second copy.
fn name(alert: &Alert, purpose: Purpose, receiver: &str, turn: u32, step: u32) -> String {
    format!("{}/{}/{turn}.{step}/{receiver}", alert.dedup_key, purpose.word())
}

/// The first attempt of a message.
pub(crate) fn first(
    policy: &Policy,
    alert: &Alert,
    purpose: Purpose,
    receiver: &str,
    place: &Place<'_>,
) -> AlertFact {
    let Place { turn, step, route, instead_of, person } = *place;
    attempted(
        policy,
        alert,
        NotificationAttempted {
            id: alert.id,
            message: name(alert, purpose, receiver, turn, step),
            purpose,
            receiver: receiver.to_owned(),
            route: route.to_owned(),
            turn,
            step,
            attempt: 1,
            instead_of: instead_of.map(str::to_owned),
            person: person.map(str::to_owned),
            text_digest: String::new(),
            gathers: None,
            plain_since: None,
        },
    )
}

/// An attempt, with what is known of its text.
pub(super) fn attempted(
    policy: &Policy,
    alert: &Alert,
    mut it: NotificationAttempted,
) -> AlertFact {
    let message = render(alert, &Telling::from(&it), policy);
    (it.text_digest, it.plain_since) = (message.digest(), message.plain_since);
    AlertFact::NotificationAttempted(Box::new(it))
}

/// The same message, telling of others besides.
pub(crate) fn gathering(
    policy: &Policy,
    alert: &Alert,
    fact: AlertFact,
    gathers: Option<Gathered>,
) -> AlertFact {
    match (fact, gathers) {
        (AlertFact::NotificationAttempted(it), gathers @ Some(_)) => {
            attempted(policy, alert, NotificationAttempted { gathers, ..*it })
        }
        (fact, _) => fact,
    }
}

/// Whether nothing of an alert is on its way any more.
pub(super) fn all_said(alert: &Alert) -> bool {
    alert.deliveries.values().all(|it| it.state.is_done())
}

/// Whether an alert has had a message of that purpose to a receiver.
pub(crate) fn has(
    alert: &Alert,
    purpose: Purpose,
    receiver: &str,
    place: Option<(u32, u32)>,
) -> bool {
    alert.deliveries.values().any(|it| {
        it.purpose == purpose
            && it.receiver == receiver
            && place.is_none_or(|place| place == (it.turn, it.step))
    })
}

/// What is called for besides the chain: what failed and is due again, and words of an alert's change.
pub(super) fn facts(
    policy: &Policy,
    alert: &Alert,
    now: Timestamp,
    sending: &BTreeSet<String>,
) -> Vec<AlertFact> {
    let mut facts = Vec::new();
    for (message, delivery) in &alert.deliveries {
        // That it still is so is no news of what is over.
        let is_old = delivery.purpose == Purpose::Refresh && !alert.is_open();
        let is_due = match delivery.state {
            DeliveryState::Sending | DeliveryState::Waiting { .. } if is_old => false,
            DeliveryState::Sending => !sending.contains(message),
            DeliveryState::Waiting { until } => until <= now,
            DeliveryState::Accepted
            | DeliveryState::Rejected
            | DeliveryState::Withheld
            | DeliveryState::Gathered => false,
        };
        if is_due {
            facts.push(again(policy, alert, message, delivery));
        }
    }
    facts.extend(refreshed(policy, alert).into_iter().filter(|it| it.0 <= now).map(|it| it.1));
    let purpose = match alert.state {
        AlertState::Firing => {
            facts
                .extend(further(policy, alert).into_iter().filter(|it| it.0 <= now).map(|it| it.1));
            return facts;
        }
        AlertState::Acknowledged { .. } => Purpose::Acknowledge,
        AlertState::Resolved { .. } => Purpose::Resolve,
    };
    for receiver in alert.told() {
        let Some(rules) = policy.receivers.get(receiver) else { continue };
        let wants = if purpose == Purpose::Resolve { rules.resolves } else { rules.acknowledges };
        // A retry that is over is no news: its run's end is.
        let wants = wants && alert.rule != Rule::TaskRetried;
        // What is under way that says that it still is so may come after its end, and open it anew.
        let is_behind = purpose == Purpose::Resolve
            && alert.deliveries.iter().any(|(message, it)| {
                it.purpose == Purpose::Refresh
                    && it.receiver == receiver
                    && it.state == DeliveryState::Sending
                    && sending.contains(message)
            });
        if wants && !is_behind && !has(alert, purpose, receiver, None) {
            let told = alert.deliveries.values().rev().find(|it| it.receiver == receiver);
            let route = told.map_or("platform", |it| it.route.as_str());
            let place = Place { turn: 0, step: 0, route, instead_of: None, person: None };
            facts.push(first(policy, alert, purpose, receiver, &place));
        }
    }
    facts
}

/// Word that an alert is not over, to those who took word of it and forget what they are not told again, by when.
fn refreshed(policy: &Policy, alert: &Alert) -> Vec<(Timestamp, AlertFact)> {
    if !alert.is_open() || alert.rule == Rule::Test {
        return Vec::new();
    }
    let mut found = Vec::new();
    for receiver in alert.told() {
        let every = policy.receivers.get(receiver).and_then(|it| it.refresh);
        let is_under_way = alert.deliveries.values().any(|it| {
            it.receiver == receiver && it.purpose != Purpose::Resolve && !it.state.is_done()
        });
        let (Some(every), false) = (every, is_under_way) else { continue };
        let known = alert.refreshed.get(receiver).copied();
        let (count, last) = known.unwrap_or((0, alert.opened_at));
        let told = alert.deliveries.values().rev().find(|it| it.receiver == receiver);
        let route = told.map_or("platform", |it| it.route.as_str());
        let place = Place { turn: count, step: 0, route, instead_of: None, person: None };
        let fact = first(policy, alert, Purpose::Refresh, receiver, &place);
        found.push((last.plus(every), fact));
    }
    found
}

/// One more attempt of a message; a receiver that is not there any more gets none.
fn again(policy: &Policy, alert: &Alert, message: &str, delivery: &Delivery) -> AlertFact {
    let attempt = delivery.count.saturating_add(1);
    if !policy.receivers.contains_key(&delivery.receiver) {
        return AlertFact::NotificationRejected(NotificationRejected {
            id: alert.id,
            message: message.to_owned(),
            attempt: delivery.count,
            status: None,
            why: "the receiver is not in the configuration any more".to_owned(),
            took_ms: 0,
        });
    }
    attempted(
        policy,
        alert,
        NotificationAttempted {
            id: alert.id,
            message: message.to_owned(),
            purpose: delivery.purpose,
            receiver: delivery.receiver.clone(),
            route: delivery.route.clone(),
            turn: delivery.turn,
            step: delivery.step,
            attempt,
            instead_of: delivery.instead_of.clone(),
            person: delivery.person.clone(),
            text_digest: String::new(),
            gathers: delivery.gathers.clone(),
            plain_since: None,
        },
    )
}

/// Further ways to people who were told and have not acknowledged, by when: a later step of the chain does not cut
/// them short.
fn further(policy: &Policy, alert: &Alert) -> Vec<(Timestamp, AlertFact)> {
    if !alert.is_firing() || alert.held.is_some() {
        return Vec::new();
    }
    let mut begun: BTreeMap<(&str, u32, u32), (Timestamp, &str)> = BTreeMap::new();
    for delivery in alert.deliveries.values().filter(|it| it.purpose == Purpose::Trigger) {
        let Some(person) = &delivery.person else { continue };
        let key = (person.as_str(), delivery.turn, delivery.step);
        let first = begun.entry(key).or_insert((delivery.first_at, &delivery.route));
        first.0 = first.0.min(delivery.first_at);
    }
    let mut found = Vec::new();
    for ((name, turn, step), (since, route)) in begun {
        let Some(person) = policy.crew.people.get(name) else { continue };
        for contact in person.contacts.iter().filter(|it| it.after.0 > 0) {
            let receiver = &contact.receiver;
            let is_new = !has(alert, Purpose::Trigger, receiver, Some((turn, step)));
            if is_new && policy.receivers.contains_key(receiver) {
                let person = Some(name);
                let place = Place { turn, step, route, instead_of: None, person };
                let fact = first(policy, alert, Purpose::Trigger, receiver, &place);
                found.push((since.plus(contact.after), fact));
            }
        }
    }
    found
}

/// When a message of an alert is due again.
pub(super) fn due(policy: &Policy, alert: &Alert) -> Option<Timestamp> {
    // That it still is so is no news of what is over.
    let is_wanted = |it: &&Delivery| it.purpose != Purpose::Refresh || alert.is_open();
    let until = alert.deliveries.values().filter(is_wanted).filter_map(|it| match it.state {
        DeliveryState::Waiting { until } => Some(until),
        DeliveryState::Sending
        | DeliveryState::Accepted
        | DeliveryState::Rejected
        | DeliveryState::Withheld
        | DeliveryState::Gathered => None,
    });
    let refreshed = refreshed(policy, alert).into_iter();
    until.chain(further(policy, alert).into_iter().chain(refreshed).map(|it| it.0)).min()
}
