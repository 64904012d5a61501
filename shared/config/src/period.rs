//! Lengths of time as people write them.
use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time: `30s`, `1m 30s`, `500ms`, or a number of seconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

impl Period {
    /// The longest that a key may have: a year.
    pub const LONGEST: Self = Self::secs(365 * 24 * 3_600);

    /// `n` whole seconds.
    pub const fn secs(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }

    /// `n` whole milliseconds.
    pub const fn millis(n: u64) -> Self {
        Self(Duration::from_millis(n))
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form =
            || format!("`{text}` is no length of time; write `30s`, `500ms`, `1m 30s` or `2h`");
        if let Ok(seconds) = text.trim().parse::<f64>() {
            return Duration::try_from_secs_f64(seconds).map(Self).map_err(|_| form());
        }
        let signed: SignedDuration = text.parse().map_err(|_| form())?;
        Duration::try_from(signed).map(Self).map_err(|_| form())
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SignedDuration::try_from(self.0) {
            Ok(signed) => write!(f, "{signed:#}"),
            Err(_) => write!(f, "{}s", self.0.as_secs()),
        }
    }
}

impl fmt::Debug for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Period;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length of time such as \"30s\", or a number of seconds")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Period, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Period, E> {
                seconds.to_string().parse().map_err(E::custom)
            }
            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Period, E> {
                Ok(Period::secs(seconds))
            }
            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Period, E> {
                seconds.to_string().parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Period {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "number"],
            "description": "a length of time: `30s`, `500ms`, `1m 30s`, or a number of seconds",
            // Beyond this, adding it to an instant is no instant any more.
            "maximum": Self::LONGEST.0.as_secs()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_write_lengths_of_time_in_many_ways() {
        for (text, millis) in [
            ("30s", 30_000),
            ("500ms", 500),
            ("1m 30s", 90_000),
            ("2h", 7_200_000),
            ("45", 45_000),
            ("0.25", 250),
            ("PT1M", 60_000),
        ] {
            assert_eq!(text.parse(), Ok(Period::millis(millis)), "{text}");
        }
        for text in ["", "soon", "-3s", "-1", "30 parsecs", "nan"] {
            assert!(text.parse::<Period>().unwrap_err().contains("is no length of time"), "{text}");
        }
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        for period in [Period::secs(30), Period::millis(1500), Period::secs(3_600), Period::secs(0)]
        {
            assert_eq!(period.to_string().parse(), Ok(period), "{period}");
        }
    }
}
