//! People, and who of them is on call: rotations by the clock of a place, and who stands in for a time.
use std::collections::BTreeMap;

use dagbok_events::{Micros, Timestamp};
use jiff::{
    civil::{DateTime, Time},
    tz::TimeZone,
};

/// One way to reach somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// The receiver.
    pub receiver: String,
    /// How long after the person was first told, where they have not acknowledged.
    pub after: Micros,
}

/// Somebody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// How they are reached: the first at once.
    pub contacts: Vec<Contact>,
}

/// People who take turns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// In this order; at least one.
    pub people: Vec<String>,
    /// When the first turn begins, by the schedule's clock; its time of day is that of every hand-over.
    pub start: DateTime,
    /// How many days a turn lasts; at least one.
    pub days: u32,
    /// The hours of the day in which it holds, where not all: from the first to before the second, which may be on the
    /// next day.
    pub hours: Option<(Time, Time)>,
}

impl Rotation {
    /// Whose turn it is when the schedule's clock shows `local`.
    fn turn(&self, local: DateTime) -> Option<&str> {
        if local < self.start {
            return None;
        }
        let inside = self.hours.is_none_or(|(from, to)| {
            let at = local.time();
            if from <= to { from <= at && at < to } else { from <= at || at < to }
        });
        if !inside {
            return None;
        }
        let days = local.date().duration_since(self.start.date()).as_hours() / 24;
        let days = days - i64::from(local.time() < self.start.time());
        let turn = usize::try_from(days / i64::from(self.days.max(1))).ok()?;
        self.people.get(turn % self.people.len().max(1)).map(String::as_str)
    }
}

/// Somebody for a span of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shift {
    /// Who.
    pub person: String,
    /// From when.
    pub from: Timestamp,
    /// Until before when.
    pub until: Timestamp,
}

impl Shift {
    fn holds(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.until
    }
}

/// Who is on call when.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// The clock that its rotations go by.
    pub zone: TimeZone,
    /// Who takes turns; the first that has somebody counts.
    pub rotations: Vec<Rotation>,
    /// Shifts that were imported; before rotations.
    pub calendar: Vec<Shift>,
    /// Who stands in; before everything else, the last of them first.
    pub overrides: Vec<Shift>,
    /// Why its calendar can't be had or read just now, for people: what was read last holds.
    pub trouble: Option<String>,
}

impl Schedule {
    /// Who is on call at `at`.
    pub fn on_call(&self, at: Timestamp) -> Option<&str> {
        let stands_in = self.overrides.iter().rev().find(|it| it.holds(at));
        let shift = stands_in.or_else(|| self.calendar.iter().find(|it| it.holds(at)));
        if let Some(shift) = shift {
            return Some(&shift.person);
        }
        let local = at.to_jiff().to_zoned(self.zone.clone()).datetime();
        self.rotations.iter().find_map(|rotation| rotation.turn(local))
    }

    /// The first quarter of an hour within `span` of `from` in which nobody is on call.
    pub fn gap(&self, from: Timestamp, span: Micros) -> Option<Timestamp> {
        const QUARTER: i64 = 900_000_000;
        let quarters = (0..span.0 / QUARTER).map(|n| from.plus(Micros(n * QUARTER)));
        quarters.into_iter().find(|at| self.on_call(*at).is_none())
    }

    /// Everybody whom it names.
    pub fn people(&self) -> impl Iterator<Item = &String> {
        let turns = self.rotations.iter().flat_map(|it| &it.people);
        turns.chain(self.calendar.iter().chain(&self.overrides).map(|it| &it.person))
    }
}

/// People and schedules by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Crew {
    /// People.
    pub people: BTreeMap<String, Person>,
    /// Schedules.
    pub schedules: BTreeMap<String, Schedule>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        let at: jiff::Timestamp = text.parse().expect("an instant");
        Timestamp(at.as_microsecond())
    }

    fn schedule() -> Schedule {
        Schedule {
            zone: TimeZone::get("Europe/Madrid").expect("a zone"),
            rotations: vec![Rotation {
                people: vec!["ana".to_owned(), "bo".to_owned(), "cy".to_owned()],
                start: "2026-03-02T09:00".parse().expect("a time"),
                days: 7,
                hours: None,
            }],
            calendar: Vec::new(),
            overrides: Vec::new(),
            trouble: None,
        }
    }

    #[test]
    fn hand_over_is_at_the_same_hour_of_the_clock_when_that_changes() {
        let schedule = schedule();
        let who = |text: &str| schedule.on_call(at(text));
        assert_eq!(who("2026-03-02T07:59:59Z"), None, "before the first turn");
        assert_eq!(who("2026-03-02T08:00:00Z"), Some("ana"));
        assert_eq!(who("2026-03-09T07:59:59Z"), Some("ana"));
        assert_eq!(who("2026-03-09T08:00:00Z"), Some("bo"));
        // The clocks go forward on the 29th: nine o'clock is an hour earlier in UTC.
        assert_eq!(who("2026-03-30T06:59:59Z"), Some("ana"));
        assert_eq!(who("2026-03-30T06:59:59Z"), who("2026-03-23T08:00:00Z").map(|_| "ana"));
        assert_eq!(who("2026-03-30T07:00:00Z"), Some("bo"));
        // And back on the 25th of October.
        assert_eq!(who("2026-10-26T07:59:59Z"), who("2026-10-25T22:00:00Z"));
        assert_ne!(who("2026-10-26T08:00:00Z"), who("2026-10-26T07:59:59Z"));
    }

    #[test]
    fn whoever_stands_in_goes_first_and_hours_may_pass_midnight() {
        let mut schedule = schedule();
        schedule.rotations[0].hours =
            Some((Time::constant(20, 0, 0, 0), Time::constant(8, 0, 0, 0)));
        assert_eq!(schedule.on_call(at("2026-03-03T12:00:00Z")), None);
        assert_eq!(schedule.on_call(at("2026-03-03T23:30:00Z")), Some("ana"));
        assert_eq!(schedule.on_call(at("2026-03-04T05:00:00Z")), Some("ana"));
        let day = Micros::from_secs(86_400);
        assert_eq!(schedule.gap(at("2026-03-03T20:00:00Z"), day), Some(at("2026-03-04T07:00:00Z")));
        let (from, until) = (at("2026-03-03T10:00:00Z"), at("2026-03-03T14:00:00Z"));
        let shift = |person: &str| Shift { person: person.to_owned(), from, until };
        schedule.calendar.push(shift("bo"));
        assert_eq!(schedule.on_call(at("2026-03-03T12:00:00Z")), Some("bo"));
        schedule.overrides = vec![shift("ana"), shift("cy")];
        assert_eq!(schedule.on_call(at("2026-03-03T12:00:00Z")), Some("cy"), "the last one");
        assert_eq!(schedule.on_call(until), None);
    }
}
