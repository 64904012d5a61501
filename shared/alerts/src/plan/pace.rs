//! How much a receiver is told one by one: what is above its limit waits, and is told together once there is room.
use dagbok_events::Timestamp;

use super::{Planned, chase, notices};
use crate::{
    Alert, AlertFact, Book, Delivery, DeliveryState, Gathered, Held, Limit, NotificationAttempted,
    NotificationRejected, NotificationWithheld, Policy, Purpose, Rule, Severity, Telling,
    book::Pace, limits, render,
};

/// The limit of a receiver, where it has one.
fn limit_of(policy: &Policy, receiver: &str) -> Option<Limit> {
    policy.receivers.get(receiver)?.limit
}

/// Whether an alert is told at once, however many there are.
fn is_exempt(alert: &Alert) -> bool {
    let severity = alert.labels.get("severity").map(String::as_str);
    severity == Some(Severity::Critical.word()) || alert.rule == Rule::Test
}

/// Whether what is withheld of an alert may be told now: nothing holds it. Of one that nobody chases any more nobody
/// else looks whether what held it still does.
fn is_free(book: &Book, policy: &Policy, alert: &Alert, now: Timestamp) -> bool {
    let is_mute =
        || chase::route_of(policy, alert).is_some_and(|routed| policy.is_mute(&routed, now));
    let is_silent = || book.silenced_by(&alert.labels, now).is_some() || is_mute();
    if alert.is_firing() || alert.rule == Rule::Test {
        return alert.held.is_none();
    }
    let is_with = |held: &Held| held.by.and_then(|by| book.alert(by)).is_some_and(Alert::is_open);
    !alert.held.as_ref().is_some_and(is_with) && !is_silent()
}

/// What may be told together now, in the order of the alerts.
fn waiting<'a>(
    book: &'a Book,
    policy: &'a Policy,
    pace: &'a Pace,
    now: Timestamp,
) -> impl Iterator<Item = Waiting<'a>> {
    pace.withheld.iter().filter_map(move |(id, message)| {
        let alert = book.alert(*id)?;
        let delivery = alert.deliveries.get(message)?;
        let is_it = delivery.state == DeliveryState::Withheld;
        (is_it && is_free(book, policy, alert, now)).then_some((alert, message, delivery))
    })
}

type Waiting<'a> = (&'a Alert, &'a String, &'a Delivery);

/// When what is withheld may be told next.
pub(super) fn next_room(book: &Book, policy: &Policy, now: Timestamp) -> Option<Timestamp> {
    let is_waiting = |pace: &Pace| waiting(book, policy, pace, now).next().is_some();
    let waiting = book.paces.iter().filter(|(_, pace)| is_waiting(pace));
    let room = waiting.map(|(receiver, pace)| {
        limit_of(policy, receiver).map_or(Timestamp(0), |limit| pace.room_from(limit, 0))
    });
    room.min()
}

impl Planned {
    /// Records what is called for, but for messages that are too many.
    pub(super) fn add_paced(
        &mut self,
        book: &Book,
        policy: &Policy,
        alert: &Alert,
        facts: Vec<AlertFact>,
    ) {
        let paced = |fact| match fact {
            AlertFact::NotificationAttempted(it) if it.attempt == 1 => {
                self.one(book, policy, alert, it)
            }
            other => other,
        };
        let facts = facts.into_iter().map(paced).collect();
        self.add(facts);
    }

    /// A message, or that it waits.
    fn one(
        &mut self,
        book: &Book,
        policy: &Policy,
        alert: &Alert,
        it: Box<NotificationAttempted>,
    ) -> AlertFact {
        let is_bound = it.purpose == Purpose::Trigger && !is_exempt(alert);
        if is_bound && !self.has_room(book, policy, &it.receiver) {
            let NotificationAttempted { id, message, receiver, route, turn, step, person, .. } =
                *it;
            let withheld =
                NotificationWithheld { id, message, receiver, route, turn, step, person };
            return AlertFact::NotificationWithheld(Box::new(withheld));
        }
        *self.sent.entry(it.receiver.clone()).or_default() += 1;
        AlertFact::NotificationAttempted(it)
    }

    fn has_room(&self, book: &Book, policy: &Policy, receiver: &str) -> bool {
        let Some(limit) = limit_of(policy, receiver) else { return true };
        let more = self.sent.get(receiver).copied().unwrap_or(0);
        match book.paces.get(receiver) {
            // Whoever waits already is told first, with all the others.
            Some(pace) if waiting(book, policy, pace, self.now).next().is_some() => false,
            Some(pace) => pace.room_from(limit, more) <= self.now,
            None => more < usize::try_from(limit.messages).unwrap_or(usize::MAX),
        }
    }

    /// Tells what was withheld where there is room again: one message tells all of it.
    pub(super) fn add_gathered(&mut self, book: &Book, policy: &Policy) {
        for (receiver, pace) in book.paces.iter().filter(|(_, pace)| !pace.withheld.is_empty()) {
            if !policy.receivers.contains_key(receiver) {
                let gone = pace.withheld.iter().map(|(id, message)| {
                    AlertFact::NotificationRejected(NotificationRejected {
                        id: *id,
                        message: message.clone(),
                        attempt: 0,
                        status: None,
                        why: "the receiver is not in the configuration any more".to_owned(),
                        took_ms: 0,
                    })
                });
                let gone = gone.collect();
                self.add(gone);
                continue;
            }
            let more = self.sent.get(receiver).copied().unwrap_or(0);
            let limit = limit_of(policy, receiver);
            if limit.is_some_and(|limit| pace.room_from(limit, more) > self.now) {
                continue;
            }
            let waiting = waiting(book, policy, pace, self.now);
            let waiting: Vec<_> = waiting.take(limits::GATHERED + 1).collect();
            // Whoever looks at the message looks at what is wrong still.
            let Some(first) = waiting.iter().find(|it| it.0.is_open()).or(waiting.first()) else {
                continue;
            };
            let (alert, message, delivery) = *first;
            let others = waiting.iter().filter(|it| it.0.id != alert.id);
            let mut it = NotificationAttempted {
                id: alert.id,
                message: message.clone(),
                purpose: delivery.purpose,
                receiver: receiver.clone(),
                route: delivery.route.clone(),
                turn: delivery.turn,
                step: delivery.step,
                attempt: 1,
                instead_of: None,
                person: delivery.person.clone(),
                text_digest: String::new(),
                gathers: None,
                plain_since: None,
            };
            let mut alerts: Vec<u64> = others.clone().map(|(other, ..)| other.id).collect();
            alerts.dedup();
            if !alerts.is_empty() {
                let title = |(other, _, delivery): &Waiting<'_>| {
                    let purpose = if other.is_open() { Purpose::Trigger } else { Purpose::Resolve };
                    let (route, gathers) = (delivery.route.as_str(), None);
                    render(other, &Telling { purpose, receiver: "", route, gathers }, policy).title
                };
                let first = others.take(limits::NAMED).map(title).collect();
                it.gathers = Some(Gathered { alerts, first });
            }
            *self.sent.entry(receiver.clone()).or_default() += 1;
            let fact = notices::attempted(policy, alert, it);
            self.add(vec![fact]);
        }
    }
}
