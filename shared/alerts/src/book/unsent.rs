//! Messages that were begun and that nobody took yet: how long the oldest of them waits says whether people are told at all.
use std::collections::BTreeSet;

use dagbok_events::{Micros, Timestamp};

use super::Book;
use crate::{AlertScope, Rule, limits::UNSENT};

impl Book {
    /// A message is done with.
    pub(super) fn sent(&mut self, at: Timestamp, (begun, id, message): (Timestamp, u64, &str)) {
        self.unsent.remove(&(begun, id, message.to_owned()));
        if at.since(begun) >= UNSENT {
            self.touched_keys.note(|| (Rule::MessagesWaiting, AlertScope::Namespace));
        }
    }

    pub(super) fn unsent_clock_back(&mut self, to: Timestamp) {
        let all = std::mem::take(&mut self.unsent);
        self.unsent = all.into_iter().map(|(at, id, name)| (at.min(to), id, name)).collect();
        self.unsent_closed = self.unsent_closed.map(|at| at.min(to));
    }

    /// What waits, but for what did so when somebody said that it is well.
    fn waiting(&self) -> impl Iterator<Item = &(Timestamp, u64, String)> {
        let after = self.unsent_closed.map_or(Timestamp(i64::MIN), |at| at.plus(Micros(1)));
        self.unsent.range((after, 0, String::new())..)
    }

    /// Since when the oldest message waits for too long, how many do, and for whom the first of them are.
    pub(crate) fn overdue(&self, now: Timestamp) -> Option<(Timestamp, usize, BTreeSet<&str>)> {
        let late = || self.waiting().take_while(|(begun, _, _)| begun.plus(UNSENT) <= now);
        let (first, _, _) = late().next()?;
        let receivers = late().take(100).filter_map(|(_, id, message)| {
            let delivery = self.alerts.get(id)?.deliveries.get(message)?;
            Some(delivery.receiver.as_str())
        });
        Some((*first, late().count(), receivers.collect()))
    }

    /// When a message waits for too long next, after `now`.
    pub(crate) fn next_unsent(&self, now: Timestamp) -> Option<Timestamp> {
        let after = (now.plus(Micros(1 - UNSENT.0)), 0, String::new());
        self.unsent.range(after..).next().map(|(begun, _, _)| begun.plus(UNSENT))
    }

    /// What came to wait for too long in a span of time.
    pub(crate) fn unsent_in(
        &self,
        since: Timestamp,
        until: Timestamp,
    ) -> Option<(Rule, AlertScope)> {
        let next = self.next_unsent(since).filter(|at| *at <= until);
        next.map(|_| (Rule::MessagesWaiting, AlertScope::Namespace))
    }
}
