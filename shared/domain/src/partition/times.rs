//! Keys that are times: read and written by the directives of `strptime` and `strftime`.
use std::fmt;

use dagbok_events::{PartitionMapper, Period, Timestamp};
use jiff::{
    ToSpan as _, Zoned,
    civil::{Date, DateTime, Time},
    fmt::strtime::BrokenDownTime,
    tz::Offset,
};

use super::strptime::read;
use crate::timetable::Zone;

/// What a key stands for within a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// A time on the wall, with its offset where the key has one.
    At(DateTime, Option<Offset>),
    /// A key that is no time.
    Text(String),
}

impl fmt::Display for Decoded {
    /// As Python's `isoformat` has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::At(at, None) => write!(f, "{at}"),
            Self::At(at, Some(offset)) => {
                let minutes = offset.seconds() / 60;
                let sign = if minutes < 0 { '-' } else { '+' };
                let (hours, rest) = (minutes.abs() / 60, minutes.abs() % 60);
                write!(f, "{at}{sign}{hours:02}:{rest:02}")
            }
        }
    }
}

/// A mapper to the beginning of a period.
pub(super) struct Temporal<'a> {
    period: Period,
    zone: Zone,
    input_format: &'a str,
    output_format: &'a str,
}

impl<'a> Temporal<'a> {
    /// The same made ready; nothing of another mapper.
    pub(super) fn of(mapper: &'a PartitionMapper) -> Option<Result<Self, String>> {
        let PartitionMapper::StartOf { period, timezone, input_format, output_format } = mapper
        else {
            return None;
        };
        let zone = Zone::parse(timezone).map_err(|error| error.to_string());
        Some(zone.map(|zone| Self { period: *period, zone, input_format, output_format }))
    }

    /// The key of the period that a key lies in.
    pub(super) fn to_downstream(&self, key: &str) -> Result<String, String> {
        let (at, offset) = read(key, self.input_format)?;
        let at = match offset {
            None => self.zone.settled(at).ok_or_else(|| past_the_end(key))?,
            Some(offset) => self.zone.wall(instant(at, offset, key)?),
        };
        let begin = begin_of(self.period, at).ok_or_else(|| past_the_end(key))?;
        self.written_at(begin, self.zone.zoned(begin).as_ref())
    }

    /// What one of its own keys stands for.
    pub(super) fn decode(&self, key: &str) -> Result<Decoded, String> {
        let (at, offset) = match self.period {
            Period::Week | Period::Quarter => (self.matched(key)?, None),
            _ => read(key, self.output_format)?,
        };
        Ok(Decoded::At(at, offset))
    }

    /// When the period of one of its own keys begins.
    pub(super) fn date_of(&self, key: &str) -> Result<Timestamp, String> {
        let Decoded::At(at, offset) = self.decode(key)? else {
            return Err(format!("the key `{key}` is no time"));
        };
        let begin = begin_of(self.period, at).ok_or_else(|| past_the_end(key))?;
        match offset {
            Some(offset) => instant(begin, offset, key),
            None => self.zone.instant(begin).ok_or_else(|| past_the_end(key)),
        }
    }

    /// An item of a window as one of its own keys.
    pub(super) fn written(&self, item: &Decoded) -> Result<String, String> {
        match item {
            Decoded::At(at, _) => self.written_at(*at, None),
            Decoded::Text(text) => Err(format!("`{text}` is no time")),
        }
    }

    /// An item of a window as a key from upstream.
    pub(super) fn encode(&self, item: &Decoded) -> Result<String, String> {
        let (at, offset) = match item {
            Decoded::At(at, offset) => (*at, *offset),
            Decoded::Text(text) => return Err(format!("`{text}` is no time")),
        };
        let at = match offset {
            None => at,
            Some(offset) => self.zone.wall(instant(at, offset, self.input_format)?),
        };
        let at = self.zone.zoned(at).ok_or_else(|| past_the_end(self.input_format))?;
        write(self.input_format, &BrokenDownTime::from(&at))
    }

    fn written_at(&self, at: DateTime, zoned: Option<&Zoned>) -> Result<String, String> {
        let broken = zoned.map_or_else(|| BrokenDownTime::from(at), BrokenDownTime::from);
        if self.period != Period::Quarter {
            return write(self.output_format, &broken);
        }
        let quarter = (at.month() - 1) / 3 + 1;
        Ok(write(self.output_format, &broken)?.replace("{quarter}", &quarter.to_string()))
    }

    /// The date in a key whose format can't be read as a time: all of it must be as written.
    fn matched(&self, key: &str) -> Result<DateTime, String> {
        let found = matched(self.output_format, key).ok_or_else(|| {
            format!("the key `{key}` is not of the form `{}`", self.output_format)
        })?;
        let date = if self.period == Period::Week {
            found.year.zip(found.month).zip(found.day).map(|((y, m), d)| Date::new(y, m, d))
        } else {
            found
                .year
                .zip(found.quarter)
                .map(|(year, quarter)| Date::new(year, (quarter - 1) * 3 + 1, 1))
        };
        match date {
            Some(Ok(date)) => Ok(date.to_datetime(Time::midnight())),
            Some(Err(error)) => Err(format!("the key `{key}` is no date: {error}")),
            None => Err(format!(
                "output_format `{}` must have {}",
                self.output_format,
                if self.period == Period::Week { "%Y, %m and %d" } else { "%Y and {quarter}" }
            )),
        }
    }
}

/// A partition's key and begin, of a run at a tick.
pub(crate) fn key_of_tick(at: Timestamp, format: &str, zone: &Zone) -> Result<String, String> {
    let zoned = zone.zoned_at(at);
    write(format, &BrokenDownTime::from(&zoned))
}

/// When a partition begins, by its key as a schedule writes it.
pub(super) fn tick_of_key(key: &str, format: &str, timezone: &str) -> Result<Timestamp, String> {
    let zone = Zone::parse(timezone).map_err(|error| error.to_string())?;
    let (at, offset) = read(key, format)?;
    if let Some(offset) = offset {
        return instant(at, offset, key);
    }
    zone.instant(at).ok_or_else(|| past_the_end(key))
}

fn past_the_end(key: &str) -> String {
    format!("the time of `{key}` lies past the end of time")
}

fn instant(at: DateTime, offset: Offset, key: &str) -> Result<Timestamp, String> {
    offset.to_timestamp(at).map(Timestamp::from).map_err(|_| past_the_end(key))
}

/// Writes a time as Python's `strftime` does.
fn write(format: &str, broken: &BrokenDownTime) -> Result<String, String> {
    // Python's fraction always has six digits. Two signs that stand for one are no directive's beginning.
    let parts: Vec<String> = format.split("%%").map(|part| part.replace("%f", "%6f")).collect();
    let format = parts.join("%%");
    broken.to_string(&format).map_err(|error| format!("the format `{format}`: {error}"))
}

fn begin_of(period: Period, at: DateTime) -> Option<DateTime> {
    let date = match period {
        Period::Hour => {
            let hour = Time::new(at.hour(), 0, 0, 0).ok()?;
            return Some(at.date().to_datetime(hour));
        }
        Period::Day => at.date(),
        Period::Week => {
            let days = i64::from(at.weekday().to_monday_zero_offset());
            at.date().checked_sub(days.days()).ok()?
        }
        Period::Month => at.date().first_of_month(),
        Period::Quarter => Date::new(at.year(), (at.month() - 1) / 3 * 3 + 1, 1).ok()?,
        Period::Year => at.date().first_of_year(),
    };
    Some(date.to_datetime(Time::midnight()))
}

#[derive(Default)]
struct Found {
    year: Option<i16>,
    month: Option<i8>,
    day: Option<i8>,
    quarter: Option<i8>,
}

/// What a key has where its format has directives: all are of a fixed width, and all else must stand there as it is.
fn matched(format: &str, key: &str) -> Option<Found> {
    let (mut found, mut format, mut key) = (Found::default(), format, key);
    while let Some(first) = format.chars().next() {
        let directive = format.get(..2).filter(|it| {
            matches!(*it, "%Y" | "%m" | "%d" | "%H" | "%M" | "%S" | "%V" | "%U" | "%W")
        });
        if let Some(directive) = directive {
            let digits = key.get(..if directive == "%Y" { 4 } else { 2 })?;
            let value: i16 =
                digits.bytes().all(|it| it.is_ascii_digit()).then(|| digits.parse())?.ok()?;
            let small = i8::try_from(value).ok();
            match directive {
                "%Y" => found.year = Some(value),
                "%m" => found.month = small,
                "%d" => found.day = small,
                _ => {}
            }
            (format, key) = (&format[2..], &key[digits.len()..]);
        } else if let Some(rest) = format.strip_prefix("{quarter}") {
            let digit = key.get(..1).filter(|it| matches!(*it, "1" | "2" | "3" | "4"))?;
            found.quarter = digit.parse().ok();
            (format, key) = (rest, &key[1..]);
        } else {
            key = key.strip_prefix(first)?;
            format = &format[first.len_utf8()..];
        }
    }
    key.is_empty().then_some(found)
}
