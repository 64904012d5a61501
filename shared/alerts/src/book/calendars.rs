//! Calendars that are had by their addresses, and whether they can be.
use dagbok_events::Timestamp;
use serde::{Deserialize, Serialize};

use super::Book;
use crate::{AlertScope, CalendarRefused, CalendarTaken, Rule};

/// What is known of a calendar.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calendar {
    /// SHA-256 of the text that holds, where one does.
    pub digest: Option<String>,
    /// Shifts that it came to.
    pub shifts: u32,
    /// Since when it can't be had or read, and why not, where it can't.
    pub refused: Option<(Timestamp, String)>,
    /// Somebody said that this is well.
    pub(crate) is_closed: bool,
}

impl Book {
    /// What is known of a schedule's calendar.
    pub fn calendar(&self, schedule: &str) -> Option<&Calendar> {
        self.calendars.get(schedule)
    }

    pub(super) fn calendar_taken(&mut self, it: &CalendarTaken) {
        let (digest, shifts) = (Some(it.digest.clone()), it.shifts);
        let known = Calendar { digest, shifts, refused: None, is_closed: false };
        self.calendars.insert(it.schedule.clone(), known);
        self.touch_calendar(&it.schedule);
    }

    pub(super) fn calendar_refused(&mut self, at: Timestamp, it: &CalendarRefused) {
        let known = self.calendars.entry(it.schedule.clone()).or_default();
        let since = known.refused.as_ref().map_or(at, |(since, _)| *since);
        known.refused = Some((since, it.why.clone()));
        self.touch_calendar(&it.schedule);
    }

    pub(super) fn calendar_closed(&mut self, schedule: &str) {
        if let Some(known) = self.calendars.get_mut(schedule) {
            known.is_closed = true;
        }
    }

    fn touch_calendar(&mut self, schedule: &str) {
        let scope = AlertScope::Schedule(schedule.to_owned());
        self.touched_keys.note(|| (Rule::CalendarRefused, scope));
    }
}
