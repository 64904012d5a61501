//! Instants for eyes: in the reader's zone, short, with how long ago that is.
use dagbok_events::Timestamp;
use dagbok_runtime::Clock;
use jiff::{Zoned, tz::TimeZone};

use super::Out;

impl Out {
    /// An instant: short and with its age, or with `-o wide` in full and in UTC.
    pub(crate) fn time(self, at: Timestamp) -> String {
        // Each look would print a line anew whose age alone is another.
        if self.is_wide() || self.is_added() {
            return at.to_string();
        }
        let (Some(at), Some(now)) = (local(at), local(Clock::system().now())) else {
            return at.to_string();
        };
        let since = now.timestamp().as_second() - at.timestamp().as_second();
        format!("{} ({})", short(&at, &now), age(since))
    }
}

fn local(at: Timestamp) -> Option<Zoned> {
    let at = jiff::Timestamp::from_microsecond(at.0).ok()?;
    Some(at.to_zoned(TimeZone::system()))
}

/// As much of it as tells it from now.
fn short(at: &Zoned, now: &Zoned) -> String {
    let form = if at.date() == now.date() {
        "%H:%M:%S"
    } else if at.year() == now.year() {
        "%b %-d %H:%M"
    } else {
        "%Y-%m-%d %H:%M"
    };
    at.strftime(form).to_string()
}

fn age(since: i64) -> String {
    let seconds = since.unsigned_abs();
    let length = match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} m", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    };
    if since < 0 { format!("in {length}") } else { format!("{length} ago") }
}

/// A text from elsewhere with each instant of UTC in it said in the reader's zone, with the zone's name.
pub(crate) fn in_zone(text: &str) -> String {
    in_zone_of(text, &TimeZone::system())
}

fn in_zone_of(text: &str, zone: &TimeZone) -> String {
    let said = text.split(' ').map(|word| {
        let bare = word.trim_end_matches([',', ';', ':', '.', ')']);
        let begin = bare.trim_start_matches('(');
        match begin.parse::<jiff::Timestamp>() {
            Ok(at) if begin.ends_with('Z') => {
                let at = at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string();
                let opening = &bare[..bare.len() - begin.len()];
                format!("{opening}{at}{}", &word[bare.len()..])
            }
            _ => word.to_owned(),
        }
    });
    said.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Zoned {
        text.parse::<jiff::Timestamp>().unwrap().to_zoned(zone())
    }

    fn zone() -> TimeZone {
        TimeZone::get("Europe/Stockholm").unwrap()
    }

    #[test]
    fn an_instant_is_as_short_as_it_can_be() {
        let now = at("2026-11-29T12:00:00Z");
        for (text, said) in [
            ("2026-11-29T11:58:07Z", "12:58:07"),
            ("2026-11-28T23:30:00Z", "00:30:00"),
            ("2026-11-28T22:30:00Z", "Nov 28 23:30"),
            ("2025-12-31T22:30:00Z", "2025-12-31 23:30"),
        ] {
            assert_eq!(short(&at(text), &now), said, "{text}");
        }
        for (since, said) in [
            (0, "0 s ago"),
            (61, "1 m ago"),
            (-61, "in 1 m"),
            (7_300, "2 h ago"),
            (200_000, "2 d ago"),
        ] {
            assert_eq!(age(since), said);
        }
    }

    #[test]
    fn instants_in_a_sentence_are_said_in_the_zone() {
        let said = in_zone_of(
            "due at 2026-07-01T05:30:00Z, of 2026-07-01 (2026-07-01T05:30:00Z)",
            &zone(),
        );
        assert_eq!(
            said,
            "due at 2026-07-01 07:30:00 CEST, of 2026-07-01 (2026-07-01 07:30:00 CEST)"
        );
    }
}
