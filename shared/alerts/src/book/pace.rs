//! How much receivers are told, and what is withheld for a time.
use std::collections::BTreeSet;

use dagbok_events::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Book, Chase, Delivery, DeliveryState, ToldWith, evolve::trim};
use crate::{Limit, NotificationAttempted, NotificationWithheld, Purpose, limits};

/// What one receiver had, and what it has still to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pace {
    /// When it had its newest messages, the oldest first.
    sent: Vec<Timestamp>,
    /// Messages that are told together, by their alerts.
    pub(crate) withheld: BTreeSet<(u64, String)>,
}

impl Pace {
    /// From when on it may be told one by one again, with `more` messages that are about to be sent.
    pub(crate) fn room_from(&self, limit: Limit, more: usize) -> Timestamp {
        let most = usize::try_from(limit.messages).unwrap_or(usize::MAX).clamp(1, limits::PACE);
        match (self.sent.len() + more).checked_sub(most) {
            None => Timestamp(0),
            Some(nth) => self.sent.get(nth).map_or(Timestamp(i64::MAX), |at| at.plus(limit.per)),
        }
    }

    pub(super) fn clock_back(&mut self, to: Timestamp) {
        for at in &mut self.sent {
            *at = (*at).min(to);
        }
    }
}

impl Book {
    /// A receiver is about to have a message.
    pub(super) fn paced(&mut self, at: Timestamp, it: &NotificationAttempted) {
        let pace = self.paces.entry(it.receiver.clone()).or_default();
        pace.withheld.remove(&(it.id, it.message.clone()));
        if it.attempt == 1 {
            if pace.sent.len() >= limits::PACE {
                pace.sent.remove(0);
            }
            pace.sent.push(at);
        }
        if it.purpose == Purpose::Trigger && it.attempt == 1 {
            let others = it.gathers.iter().flat_map(|it| &it.alerts);
            for id in std::iter::once(&it.id).chain(others) {
                self.gathered(*id, it);
            }
        }
        self.worded(at, it);
    }

    /// What was withheld of an alert for the receiver of a message is told with that message; what another was to tell
    /// in whose place it is, too.
    fn gathered(&mut self, id: u64, it: &NotificationAttempted) {
        let failed = it.instead_of.as_ref().and_then(|receiver| {
            let of_it = &self.alerts.get(&it.id)?.deliveries;
            let place = |other: &&Delivery| (other.turn, other.step) == (it.turn, it.step);
            let all = of_it.iter().filter(|(_, other)| place(other));
            let mut all = all.filter(|(_, other)| other.receiver == *receiver);
            all.find(|(_, other)| other.gathers == it.gathers).map(|(name, _)| name.clone())
        });
        let Some(alert) = self.alerts.get_mut(&id) else { return };
        let with = ToldWith { id: it.id, message: it.message.clone(), is_taken: false };
        for (name, other) in &mut alert.deliveries {
            let is_waiting = match other.state {
                DeliveryState::Withheld => true,
                DeliveryState::Gathered => other.told_with.is_none(),
                _ => false,
            };
            let is_its = (id, name) != (it.id, &it.message) && other.receiver == it.receiver;
            let was_with = other.told_with.as_ref().filter(|with| with.id == it.id);
            let was_failed = other.state == DeliveryState::Rejected
                && was_with.is_some_and(|with| Some(&with.message) == failed.as_ref());
            if !(was_failed || is_waiting && is_its) {
                continue;
            }
            (other.state, other.told_with) = (DeliveryState::Gathered, Some(with.clone()));
            if let Some(pace) = self.paces.get_mut(&it.receiver) {
                pace.withheld.remove(&(id, name.clone()));
            }
        }
        self.touched.note(|| id);
        self.settle(id);
    }

    /// What came of a message came of all that it told. Where it is given up and another tells the same in its place,
    /// that one's outcome counts.
    pub(super) fn told_others(&mut self, id: u64, message: &str, state: DeliveryState) {
        let Some(carrier) = self.delivery(id, message).cloned() else { return };
        if !matches!(state, DeliveryState::Accepted | DeliveryState::Rejected) {
            return;
        }
        let others = carrier.gathers.iter().flat_map(|it| &it.alerts);
        let ids: Vec<u64> = std::iter::once(&id).chain(others).copied().collect();
        let instead = self.alerts.get(&id).and_then(|alert| {
            let mut all = alert.deliveries.iter();
            let found = all.find(|(_, it)| {
                it.instead_of.as_ref() == Some(&carrier.receiver)
                    && (it.turn, it.step) == (carrier.turn, carrier.step)
                    && it.gathers == carrier.gathers
                    && it.state != DeliveryState::Rejected
            });
            found.map(|(name, it)| (name.clone(), it.state == DeliveryState::Accepted))
        });
        for other in ids {
            let Some(alert) = self.alerts.get_mut(&other) else { continue };
            for delivery in alert.deliveries.values_mut() {
                let Some(with) = &mut delivery.told_with else { continue };
                if with.id != id || with.message != message {
                    continue;
                }
                match (state, &instead) {
                    (DeliveryState::Accepted, _) => {
                        // It may come late, after the message was given up.
                        with.is_taken = true;
                        delivery.state = DeliveryState::Gathered;
                    }
                    (_, Some((name, is_taken))) => {
                        (with.message, with.is_taken) = (name.clone(), *is_taken);
                    }
                    (_, None) => delivery.state = DeliveryState::Rejected,
                }
            }
            if other != id {
                self.touched.note(|| other);
                self.settle(other);
            }
        }
    }

    /// What is withheld of an alert says nothing new to whom was told of it already, once somebody has it in hand or
    /// it is over: told after its end, it would open it anew.
    pub(super) fn let_go(&mut self, id: u64) {
        let Some(alert) = self.alerts.get_mut(&id).filter(|alert| !alert.is_firing()) else {
            return;
        };
        let heard = alert.deliveries.values();
        let heard = heard.filter(|it| it.purpose == Purpose::Trigger && it.is_heard());
        let mut told: BTreeSet<String> = heard.map(|it| it.receiver.clone()).collect();
        told.extend(alert.told().into_iter().map(str::to_owned));
        for (name, delivery) in &mut alert.deliveries {
            let is_withheld = delivery.state == DeliveryState::Withheld;
            if !is_withheld || !told.contains(&delivery.receiver) {
                continue;
            }
            delivery.state = DeliveryState::Gathered;
            if let Some(pace) = self.paces.get_mut(&delivery.receiver) {
                pace.withheld.remove(&(id, name.clone()));
            }
        }
    }

    /// A message waits until its receiver has room for it. It takes the place of what waits of the same alert.
    pub(super) fn withheld(&mut self, at: Timestamp, it: &NotificationWithheld) {
        let Some(alert) = self.alerts.get_mut(&it.id) else { return };
        if alert.chase.is_none() {
            alert.chase = Some(Chase { turn: it.turn, step: it.step, at });
            alert.is_news = false;
        }
        let pace = self.paces.entry(it.receiver.clone()).or_default();
        for (name, other) in &mut alert.deliveries {
            if other.receiver == it.receiver && other.state == DeliveryState::Withheld {
                other.state = DeliveryState::Gathered;
                pace.withheld.remove(&(it.id, name.clone()));
            }
        }
        alert.deliveries.entry(it.message.clone()).or_insert_with(|| Delivery {
            purpose: Purpose::Trigger,
            receiver: it.receiver.clone(),
            route: it.route.clone(),
            turn: it.turn,
            step: it.step,
            instead_of: None,
            person: it.person.clone(),
            text_digest: String::new(),
            gathers: None,
            state: DeliveryState::Withheld,
            told_with: None,
            count: 0,
            first_at: at,
            provider_id: None,
            attempts: Vec::new(),
        });
        pace.withheld.insert((it.id, it.message.clone()));
        trim(alert);
        self.unsettled.insert(it.id);
    }
}
