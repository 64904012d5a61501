//! Times at which a route tells nobody, by the clock of a place.
use dagbok_events::Timestamp;
use jiff::{
    ToSpan as _,
    civil::{Date, Time, Weekday},
    tz::TimeZone,
};

/// Such a time, week by week.
#[derive(Clone, Debug, PartialEq)]
pub struct MuteTime {
    /// The clock that it goes by.
    pub zone: TimeZone,
    /// On which days; on every one where there is none.
    pub weekdays: Vec<Weekday>,
    /// From when until before when, which may be on the next day; the whole day where not said.
    pub hours: Option<(Time, Time)>,
}

impl MuteTime {
    /// Whether it holds at `at`.
    pub fn holds(&self, at: Timestamp) -> bool {
        let local = at.to_jiff().to_zoned(self.zone.clone()).datetime();
        let (date, time) = (local.date(), local.time());
        let is_day =
            |date: Date| self.weekdays.is_empty() || self.weekdays.contains(&date.weekday());
        match self.hours {
            None => is_day(date),
            Some((from, until)) if from < until => is_day(date) && from <= time && time < until,
            Some((from, until)) => {
                let began_before = date.yesterday().is_ok_and(is_day);
                (is_day(date) && from <= time) || (began_before && time < until)
            }
        }
    }

    /// When that changes next, after `at`.
    pub fn changes_after(&self, at: Timestamp) -> Option<Timestamp> {
        let is = self.holds(at);
        let first = at.to_jiff().to_zoned(self.zone.clone()).date();
        let (from, until) = self.hours.unwrap_or((Time::midnight(), Time::midnight()));
        let days = (0..=8).filter_map(|n| first.checked_add(n.days()).ok());
        let times =
            days.flat_map(|day| [Time::midnight(), from, until].map(|time| day.to_datetime(time)));
        let times = times.filter_map(|local| {
            let zoned = self.zone.to_ambiguous_zoned(local).compatible().ok()?;
            Some(Timestamp(zoned.timestamp().as_microsecond()))
        });
        let changes = |time: &Timestamp| *time > at && self.holds(*time) != is;
        times.filter(changes).min()
    }
}
