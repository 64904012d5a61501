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

/// A date and a time, with or without an offset, a `T` or a blank between them: Airflow 2 takes one that has none,
/// and says so in its log, and Airflow 3 looks at none. The Python package holds defaults to the same
/// (`_is_date_time` in `authoring/params.py`).
fn is_instant(text: &str) -> bool {
    let Some((date, rest)) = text.split_at_checked(10) else { return false };
    let is_date = date.is_ascii() && date.parse::<jiff::civil::Date>().is_ok();
    let Some(clock) = rest.strip_prefix(['T', 't', ' ']) else { return false };
    let at = clock.find(['Z', 'z', '+', '-']).unwrap_or(clock.len());
    let (clock, offset) = clock.split_at(at);
    is_date && is_clock(clock) && is_offset(offset)
}

/// Hours and minutes, then perhaps seconds and a fraction of them.
fn is_clock(text: &str) -> bool {
    let (whole, fraction) =
        text.split_once(['.', ',']).map_or((text, None), |(whole, it)| (whole, Some(it)));
    let parts: Vec<&str> = whole.split(':').collect();
    let most = [23, 59, 59];
    let whole = matches!(parts.len(), 2 | 3)
        && parts.iter().zip(most).all(|(part, most)| is_number(part, most));
    let digits = |it: &str| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit());
    whole && fraction.is_none_or(|it| parts.len() == 3 && digits(it))
}

/// `Z`, `+02`, `+0200`, `+02:00`, or nothing.
fn is_offset(text: &str) -> bool {
    if text.is_empty() || matches!(text, "Z" | "z") {
        return true;
    }
    let Some(rest) = text.strip_prefix(['+', '-']) else { return false };
    let Some((hours, minutes)) = rest.split_at_checked(2) else { return false };
    let minutes = minutes.strip_prefix(':').unwrap_or(minutes);
    let has_colon = rest.len() == 3;
    is_number(hours, 23) && !has_colon && (minutes.is_empty() || is_number(minutes, 59))
}

/// Two digits, at most so much.
fn is_number(text: &str, most: u8) -> bool {
    text.len() == 2
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && text.parse::<u8>().is_ok_and(|it| it <= most)
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

#[cfg(test)]
mod tests {
    use super::holds;

    /// The package's own test reads the same lines.
    const DATE_TIMES: &str = include_str!("../../../../../shared/python/tests/date_times.txt");

    #[test]
    fn dates_and_times_are_the_same_as_in_the_package() {
        let (mut good, mut bad) = (0, 0);
        for line in DATE_TIMES.lines() {
            let (wanted, text) = line.split_once(' ').unwrap();
            assert_eq!(holds("date-time", text), wanted == "yes", "{text}");
            if wanted == "yes" { good += 1 } else { bad += 1 }
        }
        assert!(good > 5 && bad > 5, "{good} and {bad}");
    }
}
