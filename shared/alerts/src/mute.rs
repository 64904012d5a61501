//! Times at which a route tells nobody, by the clock of a place.
use dagbok_events::{Micros, Timestamp};
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
        // An hour may come twice, and one that is left out ends with the clock's jump.
        let times = times.flat_map(|local| {
            let ambiguous = || self.zone.to_ambiguous_zoned(local);
            [ambiguous().earlier(), ambiguous().later()].into_iter().flatten()
        });
        let times = times.map(|zoned| zoned.timestamp());
        let until = at.plus(Micros::from_secs(9 * 86_400)).to_jiff();
        let jumps = self.zone.following(at.to_jiff()).map(|it| it.timestamp());
        let times = times.chain(jumps.take_while(|time| *time <= until));
        let times = times.map(|time| Timestamp(time.as_microsecond()));
        let changes = |time: &Timestamp| *time > at && self.holds(*time) != is;
        times.filter(changes).min()
    }

    /// Whether it never ends: who is mute by it is told nothing at all.
    pub fn is_always(&self) -> bool {
        let is_whole = self.hours.is_none_or(|(from, until)| from == until);
        let days = [
            Weekday::Monday,
            Weekday::Tuesday,
            Weekday::Wednesday,
            Weekday::Thursday,
            Weekday::Friday,
            Weekday::Saturday,
            Weekday::Sunday,
        ];
        is_whole && (self.weekdays.is_empty() || days.iter().all(|it| self.weekdays.contains(it)))
    }
}
