//! How much receivers are told, and what is withheld for a time.
use std::collections::BTreeSet;

use dagbok_events::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Book, Chase, Delivery, DeliveryState};
use crate::{
    AlertScope, Gathered, Limit, NotificationAttempted, NotificationWithheld, Purpose, Rule, limits,
};

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
        if let Some(gathers) = &it.gathers {
            self.gathered(&it.receiver, gathers);
        }
        let was = match &it.plain_since {
            Some(why) if self.wordless.contains_key(&it.receiver) => Some((at, why.clone())),
            Some(why) => self.wordless.insert(it.receiver.clone(), (at, why.clone())),
            None => self.wordless.remove(&it.receiver),
        };
        if it.plain_since.is_some() != was.is_some() {
            let scope = AlertScope::Receiver(it.receiver.clone());
            self.touched_keys.note(|| (Rule::TemplateFailing, scope));
        }
    }

    /// What was withheld for a receiver is told with another message.
    fn gathered(&mut self, receiver: &str, gathers: &Gathered) {
        for id in &gathers.alerts {
            let Some(alert) = self.alerts.get_mut(id) else { continue };
            let withheld = alert
                .deliveries
                .iter_mut()
                .filter(|(_, it)| it.receiver == receiver && it.state == DeliveryState::Withheld);
            for (message, delivery) in withheld {
                delivery.state = DeliveryState::Gathered;
                if let Some(pace) = self.paces.get_mut(receiver) {
                    pace.withheld.remove(&(*id, message.clone()));
                }
            }
            self.touched.note(|| *id);
            self.settle(*id);
        }
    }

    /// A message waits until its receiver has room for it.
    pub(super) fn withheld(&mut self, at: Timestamp, it: &NotificationWithheld) {
        let Some(alert) = self.alerts.get_mut(&it.id) else { return };
        if alert.chase.is_none() {
            alert.chase = Some(Chase { turn: it.turn, step: it.step, at });
            alert.is_news = false;
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
            count: 0,
            first_at: at,
            provider_id: None,
            attempts: Vec::new(),
        });
        let pace = self.paces.entry(it.receiver.clone()).or_default();
        pace.withheld.insert((it.id, it.message.clone()));
        self.unsettled.insert(it.id);
    }
}
