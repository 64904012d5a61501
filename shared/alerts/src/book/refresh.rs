//! What receivers call the messages about an alert, and those that are told again and again since they forget.
use dagbok_events::Timestamp;

use super::{Alert, Book, Delivery, DeliveryState};
use crate::{NotificationAccepted, NotificationAttempted, Purpose};

impl Book {
    /// What a provider calls a message; the first of an alert is what others follow.
    pub(super) fn named(&mut self, it: &NotificationAccepted) {
        let Some(alert) = self.alerts.get_mut(&it.id) else { return };
        let Some(delivery) = alert.deliveries.get_mut(&it.message) else { return };
        delivery.provider_id.clone_from(&it.provider_id);
        if let Some(called) =
            it.provider_id.as_ref().filter(|_| delivery.purpose == Purpose::Trigger)
        {
            let threads = alert.threads.entry(delivery.receiver.clone());
            let thread = threads.or_insert_with(|| called.clone());
            // It had to go elsewhere: what it was told in before is gone.
            let place = |it: &str| it.split_once('/').map(|(place, _)| place.to_owned());
            if place(thread) != place(called) {
                thread.clone_from(called);
            }
        }
    }

    /// What somebody was to be told again of an alert that is over now would open it anew.
    pub(super) fn refresh_no_more(&mut self, id: u64) {
        let Some(alert) = self.alerts.get_mut(&id) else { return };
        let waits = |it: &Delivery| {
            it.purpose == Purpose::Refresh && matches!(it.state, DeliveryState::Waiting { .. })
        };
        alert.deliveries.retain(|_, it| !waits(it));
    }
}

impl Alert {
    /// A receiver that forgets is about to be told: of what it was told before in that way nothing more is to come.
    pub(super) fn told_again(&mut self, at: Timestamp, it: &NotificationAttempted) {
        if let Some((count, last)) = self.refreshed.get_mut(&it.receiver) {
            *last = at;
            *count += u32::from(it.purpose == Purpose::Refresh && it.attempt == 1);
        } else if it.purpose != Purpose::Resolve {
            let count = u32::from(it.purpose == Purpose::Refresh);
            self.refreshed.insert(it.receiver.clone(), (count, at));
        }
        if it.purpose == Purpose::Refresh {
            let is_old = |other: &Delivery| {
                other.purpose == Purpose::Refresh
                    && other.receiver == it.receiver
                    && other.state.is_done()
            };
            self.deliveries.retain(|name, other| *name == it.message || !is_old(other));
        }
    }
}
