//! The zones of a calendar's times: by their names, or by what the calendar itself says of them, as Outlook's do.
use std::collections::BTreeMap;

use dagbok_events::Timestamp;
use jiff::{
    civil,
    tz::{Offset, TimeZone},
};

use super::parts::{Part, Property};

/// Zones by the names that a calendar's times use.
pub(super) struct Zones<'a> {
    own: BTreeMap<String, Result<TimeZone, String>>,
    otherwise: &'a TimeZone,
}

impl<'a> Zones<'a> {
    pub(super) fn of(
        calendar: &[Part],
        otherwise: &'a TimeZone,
        now: Timestamp,
    ) -> Result<Self, String> {
        let today = now.to_jiff().to_zoned(TimeZone::UTC).date();
        let mut own = BTreeMap::new();
        for part in calendar.iter().filter(|part| part.name == "VTIMEZONE") {
            let id = part
                .one("TZID")
                .ok_or_else(|| format!("line {}: a VTIMEZONE has no TZID", part.line))?;
            own.insert(id.value.trim().to_owned(), described(part, today));
        }
        Ok(Self { own, otherwise })
    }

    /// The zone that a property's times go by, but for those that end with `Z`.
    pub(super) fn zone(&self, property: &Property) -> Result<TimeZone, String> {
        let Some(name) = property.parameter("TZID") else { return Ok(self.otherwise.clone()) };
        if let Some(zone) = known(name) {
            return Ok(zone);
        }
        let line = property.line;
        match self.own.get(name) {
            Some(Ok(zone)) => Ok(zone.clone()),
            Some(Err(why)) => Err(format!("line {line}: the zone `{name}`: {why}")),
            None => Err(format!("line {line}: `{name}` is no zone")),
        }
    }
}

/// A zone of the database, also where a program puts its own address before the name.
fn known(name: &str) -> Option<TimeZone> {
    let parts: Vec<&str> = name.trim_matches('/').split('/').collect();
    let tails = (0..parts.len()).map(|first| parts[first..].join("/"));
    tails.into_iter().find_map(|tail| TimeZone::get(&tail).ok())
}

/// A zone by what a calendar says of it: the newest rules of winter and summer, for all times.
fn described(part: &Part, today: civil::Date) -> Result<TimeZone, String> {
    let named = part.one("X-LIC-LOCATION").and_then(|it| known(it.value.trim()));
    if let Some(zone) = named {
        return Ok(zone);
    }
    let newest = |name: &str| {
        let of_name = part.parts.iter().filter(|it| it.name == name);
        of_name.max_by_key(|it| it.one("DTSTART").map(|it| it.value.clone()))
    };
    let winter = newest("STANDARD").ok_or("it has no STANDARD")?;
    let offset = offset_of(winter)?;
    let Some(summer) = newest("DAYLIGHT").filter(|it| goes_on(it, today)) else {
        return Ok(TimeZone::fixed(offset));
    };
    if !goes_on(winter, today) {
        let line = winter.line;
        return Err(format!("line {line}: summer begins by a rule, and winter by none"));
    }
    let (to_summer, to_winter) = (change_of(summer)?, change_of(winter)?);
    let name = |kind: &str, it: Offset| {
        // POSIX counts to the west.
        let seconds = -it.seconds();
        let (sign, seconds) = if seconds < 0 { ("-", -seconds) } else { ("", seconds) };
        format!("<{kind}>{sign}{}:{:02}", seconds / 3_600, seconds % 3_600 / 60)
    };
    let (standard, daylight) = (name("STD", offset), name("DST", offset_of(summer)?));
    let text = format!("{standard}{daylight},{to_summer},{to_winter}");
    TimeZone::posix(&text).map_err(|error| error.to_string())
}

/// Whether a change comes again each year. A rule that has ended was replaced, or there is no summer any more.
fn goes_on(part: &Part, today: civil::Date) -> bool {
    let Some(rule) = part.one("RRULE") else { return false };
    let ends = rule.value.split(';').find_map(|it| it.trim().strip_prefix("UNTIL="));
    let ends = ends.and_then(|it| civil::Date::strptime("%Y%m%d", it.get(..8)?).ok());
    ends.is_none_or(|it| it >= today)
}

/// `TZOFFSETTO`, as `+0100`.
fn offset_of(part: &Part) -> Result<Offset, String> {
    let wrong = || format!("line {}: TZOFFSETTO is as `+0100`", part.line);
    let text = part.one("TZOFFSETTO").ok_or_else(wrong)?.value.trim();
    let (sign, digits) = match text.split_at_checked(1).ok_or_else(wrong)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return Err(wrong()),
    };
    let number = |from: usize| digits.get(from..from + 2).and_then(|it| it.parse::<i32>().ok());
    let (hours, minutes) = (number(0).ok_or_else(wrong)?, number(2).ok_or_else(wrong)?);
    Offset::from_seconds(sign * (hours * 3_600 + minutes * 60)).map_err(|_| wrong())
}

/// When a change comes each year, in POSIX's words: `FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU` at two is `M3.5.0/2`.
fn change_of(part: &Part) -> Result<String, String> {
    let wrong = || {
        format!(
            "line {}: a zone changes by `FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU` and the like",
            part.line
        )
    };
    let rule = part.one("RRULE").ok_or_else(wrong)?;
    let said: BTreeMap<&str, &str> =
        rule.value.split(';').filter_map(|it| it.split_once('=')).collect();
    let month: u8 = said.get("BYMONTH").and_then(|it| it.parse().ok()).ok_or_else(wrong)?;
    let by_day = said.get("BYDAY").map(|it| it.trim()).ok_or_else(wrong)?;
    let (week, day) =
        by_day.len().checked_sub(2).and_then(|at| by_day.split_at_checked(at)).ok_or_else(wrong)?;
    let week = match week.parse::<i8>().map_err(|_| wrong())? {
        -1 => 5,
        week @ 1..=4 => week,
        _ => return Err(wrong()),
    };
    let days = ["SU", "MO", "TU", "WE", "TH", "FR", "SA"];
    let day = days.iter().position(|it| *it == day).ok_or_else(wrong)?;
    let start = part.one("DTSTART").ok_or_else(wrong)?;
    let start =
        civil::DateTime::strptime("%Y%m%dT%H%M%S", start.value.trim()).map_err(|_| wrong())?;
    Ok(format!("M{month}.{week}.{day}/{}:{:02}", start.hour(), start.minute()))
}
