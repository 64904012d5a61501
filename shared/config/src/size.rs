//! Amounts of memory as people write them.
use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An amount of memory: `512MiB`, `2Gi`, `1.5G`, or a number of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// Units, longest first, so that none is taken for the end of another.
const UNITS: [(&str, u64); 27] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("PiB", 1 << 50),
    ("EiB", 1 << 60),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("PB", 1_000_000_000_000_000),
    ("EB", 1_000_000_000_000_000_000),
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("Ei", 1 << 60),
    ("k", 1_000),
    ("K", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000),
    ("B", 1),
    ("", 1),
];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("`{text}` is no amount of memory; write `512MiB`, `2GiB` or `1.5G`");
        let (number, unit) = UNITS
            .iter()
            .find_map(|(name, unit)| Some((text.trim().strip_suffix(name)?, *unit)))
            .ok_or_else(form)?;
        if let Ok(whole) = number.trim().parse::<u64>() {
            return whole.checked_mul(unit).ok_or_else(form).and_then(Self::some);
        }
        let figure: f64 = number.trim().parse().map_err(|_| form())?;
        #[expect(clippy::cast_precision_loss, reason = "a unit has few digits")]
        let bytes = figure * unit as f64;
        if !(0.0..9e18).contains(&bytes) {
            return Err(form());
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it lies within what u64 holds"
        )]
        Self::some(bytes as u64)
    }
}

impl Size {
    fn some(bytes: u64) -> Result<Self, String> {
        if bytes == 0 {
            Err("no memory at all is no limit: leave it out".to_owned())
        } else {
            Ok(Self(bytes))
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = ["TiB", "GiB", "MiB", "KiB"].into_iter().zip([40, 30, 20, 10]);
        for (name, bits) in whole {
            if self.0 != 0 && self.0.trailing_zeros() >= bits {
                return write!(f, "{}{name}", self.0 >> bits);
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl fmt::Debug for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Size;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount of memory such as \"2GiB\", or a number of bytes")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
                bytes.to_string().parse().map_err(E::custom)
            }
            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
                Size::some(bytes).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Size {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"], "description": "an amount of memory: `512MiB`, `2Gi`, `1.5G`, or a number of bytes" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("2Gi", 2 << 30),
            ("2 GiB", 2 << 30),
            ("512MiB", 512 << 20),
            ("1.5G", 1_500_000_000),
            ("2GB", 2_000_000_000),
            ("1Pi", 1 << 50),
            ("7B", 7),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in
            ["", "0", "0GiB", "GiB", "-1", "2 pints", "1e99G", "nan", "99999999999999999999"]
        {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        assert_eq!(Size(3 << 30).to_string().parse(), Ok(Size(3 << 30)));
        assert_eq!((Size(1_001).to_string(), Size(0).to_string()), ("1001B".into(), "0B".into()));
    }
}
