//! The formats of JSON Schema that Airflow's params are held to. One that is unknown holds.
use std::net::{Ipv4Addr, Ipv6Addr};

/// Whether `text` is of this format.
pub(super) fn holds(format: &str, text: &str) -> bool {
    match format {
        "date" => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
        "date-time" => is_instant(text),
        "time" => is_time(text),
        "email" | "idn-email" => text.contains('@'),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "uuid" => is_uuid(text),
        _ => true,
    }
}

/// RFC 3339: with an offset, and a `T` or a blank before the time.
fn is_instant(text: &str) -> bool {
    let mended = text.replacen(' ', "T", 1);
    matches!(text.as_bytes().get(10), Some(b'T' | b't' | b' '))
        && mended.parse::<jiff::Timestamp>().is_ok()
}

fn is_time(text: &str) -> bool {
    let clock = text.find(['Z', 'z', '+', '-']).map_or(text, |at| &text[..at]);
    clock.matches(':').count() == 2 && clock.parse::<jiff::civil::Time>().is_ok()
}

fn is_uuid(text: &str) -> bool {
    let lengths = [8, 4, 4, 4, 12];
    let parts: Vec<&str> = text.split('-').collect();
    parts.len() == lengths.len()
        && lengths.iter().zip(&parts).all(|(length, part)| {
            part.len() == *length && part.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
}
