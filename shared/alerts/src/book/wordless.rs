//! Receivers whose own words can't be used.
use dagbok_events::Timestamp;
use serde::{Deserialize, Serialize};

use super::Book;
use crate::{AlertScope, NotificationAttempted, Rule, limits};

/// Since when the words of a receiver fail, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wordless {
    pub(crate) since: Timestamp,
    /// When they failed last.
    last: Timestamp,
    pub(crate) why: String,
}

impl Book {
    /// Whether a message went out in its receiver's own words. One that did heals nothing by itself: words may fail for
    /// some alerts and hold for others, that about the words among them.
    pub(super) fn worded(&mut self, at: Timestamp, it: &NotificationAttempted) {
        let is_own = self.alerts.get(&it.id).is_none_or(|it| it.rule == Rule::TemplateFailing);
        if is_own {
            return;
        }
        let is_changed = match (&it.plain_since, self.wordless.get_mut(&it.receiver)) {
            (Some(_), Some(known)) => {
                known.last = at;
                false
            }
            (Some(why), None) => {
                let wordless = Wordless { since: at, last: at, why: why.clone() };
                self.wordless.insert(it.receiver.clone(), wordless);
                true
            }
            (None, Some(known)) if at.since(known.last) >= limits::WORDS_QUIET => {
                self.wordless.remove(&it.receiver);
                true
            }
            (None, _) => false,
        };
        if is_changed {
            let scope = AlertScope::Receiver(it.receiver.clone());
            self.touched_keys.note(|| (Rule::TemplateFailing, scope));
        }
    }

    /// Nothing failed later than `to`, by the clock as it is.
    pub(super) fn words_clock_back(&mut self, to: Timestamp) {
        for known in self.wordless.values_mut() {
            known.last = known.last.min(to);
        }
    }
}
