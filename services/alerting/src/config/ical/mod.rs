//! Shifts out of a calendar (iCalendar, RFC 5545): events with a begin, an end and a person's name as their summary. Those
//! that repeat are unrolled around a time, by the clock of the zone that they are written in: what begins at nine does so
//! in summer and in winter, and ends by the same clock.
mod event;
mod parts;
mod starts;
mod zones;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
    path::Path,
};

use dagbok_alerts::Shift;
use dagbok_events::{Micros, Timestamp};
use event::Event;
use jiff::tz::TimeZone;
use starts::Starts;
use zones::Zones;

/// The longest calendar, in bytes.
pub(crate) const BYTES: u64 = 4 << 20;
/// Shifts that one calendar comes to.
const SHIFTS: usize = 10_000;
/// Rules by which events repeat.
const REPEATING: usize = 200;
/// Starts that are gone through for all of them together.
const STARTS: usize = 200_000;
/// How far back and ahead of the time at which it is read what repeats is unrolled.
const BACK: Micros = Micros::from_secs(35 * 86_400);
const AHEAD: Micros = Micros::from_secs(400 * 86_400);

/// The text of a calendar's file.
pub(super) fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > BYTES {
        let why = format!("it has more than {} MiB", BYTES >> 20);
        return Err(std::io::Error::other(why));
    }
    Ok(text)
}

/// The shifts of a calendar around `now`; times without a zone go by `zone`.
pub(crate) fn shifts(text: &str, zone: &TimeZone, now: Timestamp) -> Result<Vec<Shift>, String> {
    let calendar = parts::read(text)?;
    let zones = Zones::of(&calendar, zone, now)?;
    let mut events = Vec::new();
    for part in calendar.iter().filter(|part| part.name == "VEVENT") {
        events.push(Event::read(part, &zones)?);
    }
    if events.iter().map(Event::rules).sum::<usize>() > REPEATING {
        return Err(format!("the events of a calendar repeat by up to {REPEATING} rules"));
    }
    let instead = replaced(&events);
    let mut starts = Starts::new(STARTS, (now.plus(Micros(-BACK.0)), now.plus(AHEAD)));
    let mut found = Vec::new();
    for event in events.iter().filter(|it| !it.is_cancelled) {
        let of_it = event.shifts(&mut starts, instead.get(&event.uid))?;
        found.extend(of_it);
        if found.len() > SHIFTS {
            return Err(format!("line {}: a calendar has up to {SHIFTS} shifts", event.line));
        }
    }
    found.sort_by(|one, other| (one.from, &one.person).cmp(&(other.from, &other.person)));
    Ok(found)
}

/// Which starts of what repeats something else stands for, by what repeats.
fn replaced(events: &[Event]) -> BTreeMap<String, BTreeSet<Timestamp>> {
    let mut instead: BTreeMap<String, BTreeSet<Timestamp>> = BTreeMap::new();
    for event in events {
        if let Some(at) = event.replaces {
            instead.entry(event.uid.clone()).or_default().insert(at);
        }
    }
    instead
}

/// Whether a text is a calendar at all.
pub(crate) fn is_calendar(text: &str) -> bool {
    let start = text.trim_start_matches('\u{feff}').trim_start();
    start.get(..15).is_some_and(|it| it.eq_ignore_ascii_case("BEGIN:VCALENDAR"))
}

#[cfg(test)]
mod tests;
