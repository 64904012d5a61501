//! Time zones, from the database in the binary: the machine's own is never consulted, so that the
//! same log gives the same runs on every machine.
use std::str::FromStr;

use dagbok_events::Timestamp;
use jiff::Zoned;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};

use super::error::BadSchedule;

/// Where a schedule's wall clock hangs.
#[derive(Clone, Debug)]
pub(crate) struct Zone(TimeZone);

impl Zone {
    /// Reads an IANA name, `UTC`, or an offset (`+02:00`, `-0330`, `UTC+02:00`).
    pub(crate) fn parse(name: &str) -> Result<Self, BadSchedule> {
        let unknown = || BadSchedule::Zone { zone: name.to_owned() };
        if let Some(offset) = offset(name) {
            return Ok(Self(TimeZone::fixed(offset)));
        }
        // jiff answers `Etc/Unknown` with UTC and a name of its own: a typing error must not pass.
        if name.eq_ignore_ascii_case("etc/unknown") {
            return Err(unknown());
        }
        TimeZoneDatabase::bundled().get(name).map(Self).map_err(|_| unknown())
    }

    /// The wall clock at `at`.
    pub(crate) fn wall(&self, at: Timestamp) -> DateTime {
        self.0.to_datetime(at.to_jiff())
    }

    /// The instant of a wall clock time: the second one where it comes twice; moved on by the gap's
    /// length where it does not come at all. `None` past the end of time.
    pub(crate) fn instant(&self, wall: DateTime) -> Option<Timestamp> {
        self.0.to_ambiguous_timestamp(wall).later().ok().map(Timestamp::from)
    }

    /// A wall clock time as it does come, with all that is to be said of it.
    pub(crate) fn zoned(&self, wall: DateTime) -> Option<Zoned> {
        self.0.to_ambiguous_zoned(wall).later().ok()
    }

    /// The same of an instant.
    pub(crate) fn zoned_at(&self, at: Timestamp) -> Zoned {
        at.to_jiff().to_zoned(self.0.clone())
    }

    /// A wall clock time as it does come.
    pub(crate) fn settled(&self, wall: DateTime) -> Option<DateTime> {
        Some(self.zoned(wall)?.datetime())
    }
}

fn offset(name: &str) -> Option<Offset> {
    let signed = name.strip_prefix("UTC").unwrap_or(name);
    let (sign, digits) = match signed.as_bytes().first()? {
        b'+' => (1, &signed[1..]),
        b'-' => (-1, &signed[1..]),
        _ => return None,
    };
    let compact: String = match digits.split(':').collect::<Vec<_>>().as_slice() {
        parts if parts.len() > 1 && parts.iter().all(|part| part.len() == 2) => parts.concat(),
        [whole] => (*whole).to_owned(),
        _ => return None,
    };
    if !matches!(compact.len(), 2 | 4 | 6) || !compact.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |at: usize| compact.get(at..at + 2).map_or(Some(0), |two| i32::from_str(two).ok());
    let (hours, minutes, seconds) = (part(0)?, part(2)?, part(4)?);
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60 + seconds)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_read_in_every_usual_form() {
        for (text, seconds) in [
            ("+02:00", 7200),
            ("-03:30", -12600),
            ("UTC+05:45", 20700),
            ("-0800", -28800),
            ("+01", 3600),
            ("+00:00:30", 30),
        ] {
            assert_eq!(offset(text).map(Offset::seconds), Some(seconds), "{text}");
        }
        for text in ["", "+", "+2:00", "+24:00", "+02:60", "02:00", "+02:00:00:00", "+é0", "UTC"] {
            assert_eq!(offset(text), None, "{text}");
        }
    }

    #[test]
    fn an_unknown_zone_is_refused_by_name() {
        for name in ["", "Europe/Zurik", "Etc/Unknown", "+99:00"] {
            let refused = Zone::parse(name).expect_err(name);
            assert!(refused.to_string().contains(&format!("`{name}`")), "{refused}");
        }
        assert!(Zone::parse("UTC").is_ok() && Zone::parse("America/New_York").is_ok());
    }
}
