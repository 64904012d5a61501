//! Shifts out of a calendar (iCalendar, RFC 5545): events with a begin, an end and a person's name as their summary.
use dagbok_alerts::Shift;
use dagbok_events::Timestamp;
use jiff::{civil, tz::TimeZone};

use super::crew::at_local;

/// Events of one calendar.
const EVENTS: usize = 10_000;

/// The shifts of a calendar; times without a zone go by `zone`.
pub(super) fn shifts(text: &str, zone: &TimeZone) -> Result<Vec<Shift>, String> {
    let (mut found, mut event) = (Vec::new(), None::<Event>);
    for (number, line) in unfolded(text) {
        let at = |what: String| format!("line {number}: {what}");
        let Some((head, value)) = line.split_once(':') else { continue };
        let (name, parameters) = head.split_once(';').unwrap_or((head, ""));
        match (name.to_ascii_uppercase().as_str(), &mut event) {
            ("BEGIN", _) if value.trim() == "VEVENT" => event = Some(Event::default()),
            ("END", Some(_)) if value.trim() == "VEVENT" => {
                let shift = event.take().and_then(Event::shift);
                found.push(shift.ok_or_else(|| {
                    at("an event has SUMMARY, DTSTART and, later, DTEND".to_owned())
                })?);
                if found.len() > EVENTS {
                    return Err(at(format!("a calendar has up to {EVENTS} events")));
                }
            }
            ("SUMMARY", Some(event)) => event.person = Some(value.trim().to_owned()),
            ("DTSTART", Some(event)) => {
                event.from = Some(instant(parameters, value.trim(), zone).map_err(at)?);
            }
            ("DTEND", Some(event)) => {
                event.until = Some(instant(parameters, value.trim(), zone).map_err(at)?);
            }
            ("RRULE" | "RDATE" | "DURATION", Some(_)) => {
                let what = format!("{name} is not read: export each shift with its begin and end");
                return Err(at(what));
            }
            _ => {}
        }
    }
    Ok(found)
}

#[derive(Default)]
struct Event {
    person: Option<String>,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Event {
    fn shift(self) -> Option<Shift> {
        let (person, from, until) = (self.person?, self.from?, self.until?);
        (from < until).then_some(Shift { person, from, until })
    }
}

/// Lines with their numbers, those that go on with a blank joined.
fn unfolded(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        match (line.strip_prefix([' ', '\t']), lines.last_mut()) {
            (Some(more), Some((_, before))) => before.push_str(more),
            _ => lines.push((index + 1, line.to_owned())),
        }
    }
    lines
}

/// `20261224T090000Z`, the same without `Z` by a zone, or a date.
fn instant(parameters: &str, value: &str, zone: &TimeZone) -> Result<Timestamp, String> {
    let named = parameters.split(';').find_map(|it| it.strip_prefix("TZID="));
    let zone = match named {
        Some(name) => {
            TimeZone::get(name.trim_matches('"')).map_err(|_| format!("`{name}` is no zone"))?
        }
        None => zone.clone(),
    };
    let wrong = || format!("`{value}` is no time of a calendar");
    let (text, zone) = match value.strip_suffix('Z') {
        Some(text) => (text, TimeZone::UTC),
        None => (value, zone),
    };
    let local = match text.len() {
        8 => civil::Date::strptime("%Y%m%d", text)
            .map_err(|_| wrong())?
            .to_datetime(civil::Time::midnight()),
        _ => civil::DateTime::strptime("%Y%m%dT%H%M%S", text).map_err(|_| wrong())?,
    };
    at_local(local, &zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shifts_have_zones_and_lines_may_be_folded() {
        let text = "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nSUMMARY:an\r\n a\r\n\
            DTSTART;TZID=Europe/Madrid:20260329T000000\r\nDTEND:20260330T070000Z\r\nEND:VEVENT\r\n\
            BEGIN:VEVENT\r\nSUMMARY:bo\r\nDTSTART;VALUE=DATE:20260330\r\nDTEND;VALUE=DATE:20260331\r\n\
            END:VEVENT\r\nEND:VCALENDAR\r\n";
        let zone = TimeZone::get("Europe/Madrid").expect("a zone");
        let found = shifts(text, &zone).expect("two shifts");
        let said: Vec<String> =
            found.iter().map(|it| format!("{} {} {}", it.person, it.from, it.until)).collect();
        assert_eq!(
            said,
            [
                "ana 2026-03-28T23:00:00Z 2026-03-30T07:00:00Z",
                "bo 2026-03-29T22:00:00Z 2026-03-30T22:00:00Z"
            ]
        );
        let repeats = text.replace("SUMMARY:bo", "SUMMARY:bo\r\nRRULE:FREQ=WEEKLY");
        assert!(
            shifts(&repeats, &zone).expect_err("a rule").contains("line 10: RRULE is not read")
        );
        let odd = text.replace("20260331", "tomorrow");
        assert!(shifts(&odd, &zone).is_err());
    }
}
