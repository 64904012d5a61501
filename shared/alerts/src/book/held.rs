//! What is not told by itself, and signs of life in both directions.
use dagbok_events::Timestamp;

use super::{Book, Failing, Heartbeat, Held, SIGNS};
use crate::{AlertFact, AlertScope, AlertSuppressed, HeartbeatReceived, Rule, limits};

impl Book {
    pub(super) fn suppressed(&mut self, it: &AlertSuppressed) {
        self.released(it.id);
        // What is told with it is looked at again: it may be told by itself now.
        for member in self.holds.get(&it.id).into_iter().flatten() {
            self.touched.note(|| *member);
        }
        let Some(alert) = self.alerts.get_mut(&it.id) else { return };
        alert.held = Some(Held { why: it.why, by: it.by, silence: it.silence });
        let summary = alert.summary.clone();
        let Some(holder) = it.by.and_then(|by| self.alerts.get_mut(&by)) else { return };
        holder.follows.count = holder.follows.count.saturating_add(1);
        if holder.follows.first.len() < limits::NAMED {
            holder.follows.first.push(summary);
        }
        // Whoever was told hears of it when the group's time comes.
        holder.is_news |= holder.chase.is_some();
        let holder = holder.id;
        self.touched.note(|| holder);
        self.holds.entry(holder).or_default().insert(it.id);
    }

    pub(super) fn released(&mut self, id: u64) {
        let held = self.alerts.get_mut(&id).and_then(|alert| alert.held.take());
        let Some(by) = held.and_then(|held| held.by) else { return };
        if let Some(members) = self.holds.get_mut(&by) {
            members.remove(&id);
            if members.is_empty() {
                self.holds.remove(&by);
            }
        }
    }

    /// Takes in who lives.
    pub(super) fn lives(&mut self, at: Timestamp, fact: &AlertFact) {
        match fact {
            AlertFact::SignOfLife(it) => {
                (self.signs.number, self.signs.at) = (it.number, Some(at));
            }
            AlertFact::SignOfLifeAccepted(_) => {
                self.signs.lost = 0;
                self.failing.remove(SIGNS);
                self.touch_receiver(SIGNS);
            }
            AlertFact::SignOfLifeFailed(it) => {
                self.signs.lost = self.signs.lost.saturating_add(1);
                let is_known = self.failing.contains_key(SIGNS);
                if self.signs.lost >= limits::SIGNS_LOST && !is_known {
                    let (since, why) = (at, it.why.clone());
                    let failing = Failing { since, why, is_refused: false, closed_at: None };
                    self.failing.insert(SIGNS.to_owned(), failing);
                    self.touch_receiver(SIGNS);
                }
            }
            AlertFact::HeartbeatReceived(it) => self.beat(at, it),
            AlertFact::HeartbeatForgotten(it) => self.forget_beat(&it.name),
            _ => {}
        }
    }

    fn beat(&mut self, at: Timestamp, it: &HeartbeatReceived) {
        self.forget_beat(&it.name);
        let (period, grace, owner) = (it.period, it.grace, it.owner.clone());
        let beat = Heartbeat { at, period, grace, owner, is_closed: false };
        self.missing.insert((beat.missing_at(), it.name.clone()));
        self.heartbeats.insert(it.name.clone(), beat);
    }

    fn forget_beat(&mut self, name: &str) {
        if let Some(before) = self.heartbeats.remove(name) {
            self.missing.remove(&(before.missing_at(), name.to_owned()));
            self.touched_keys
                .note(|| (Rule::HeartbeatMissing, AlertScope::Heartbeat(name.to_owned())));
        }
    }
}
