//! A log's bytes as lines in Airflow's words.
use bytes::Bytes;
use serde_json::{Map, Value};

use crate::shapes::LogLine;

/// Whole lines off the front: at most `most` bytes, or one line where that is longer.
pub(super) fn whole_lines(bytes: &Bytes, most: usize) -> Bytes {
    let end = if bytes.len() <= most {
        bytes.len()
    } else {
        let within = bytes[..most].iter().rposition(|&byte| byte == b'\n');
        // A line longer than that comes whole all the same.
        let line = within.or_else(|| bytes.iter().position(|&byte| byte == b'\n'));
        line.map_or(bytes.len(), |at| at + 1)
    };
    bytes.slice(..end)
}

/// Each line as it is sent, without what ends it.
pub(super) fn sent(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.lines().filter(|line| !line.is_empty()).map(line_of);
    lines.map(|line| serde_json::to_string(&line).expect("lines have text keys")).collect()
}

/// As lines of JSON.
pub(super) fn ndjson(bytes: &[u8]) -> String {
    sent(bytes).into_iter().map(|line| line + "\n").collect()
}

/// A stored line in Airflow's words; one that is no JSON comes as it is.
fn line_of(line: &str) -> LogLine {
    let Ok(mut more) = serde_json::from_str::<Map<String, Value>>(line) else {
        return LogLine {
            timestamp: None,
            event: line.to_owned(),
            level: None,
            source: None,
            more: Map::new(),
        };
    };
    let mut text = |name: &str| match more.shift_remove(name) {
        Some(Value::String(text)) => Some(text),
        Some(other) => Some(other.to_string()),
        None => None,
    };
    let (timestamp, event, level, source) = (text("t"), text("m"), text("l"), text("s"));
    for name in ["timestamp", "event", "level", "source"] {
        more.shift_remove(name);
    }
    LogLine { timestamp, event: event.unwrap_or_default(), level, source, more }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_ends_with_a_line() {
        let bytes = Bytes::from_static(b"{\"m\":\"one\"}\n{\"m\":\"two\"}\nthree\n");
        assert_eq!(whole_lines(&bytes, 14).len(), 12);
        assert_eq!(whole_lines(&bytes, 1_000), bytes);
        assert_eq!(whole_lines(&bytes, 3).len(), 12, "a longer line comes whole");
        assert_eq!(whole_lines(&Bytes::from_static(b"no end"), 3).len(), 6);
    }

    #[test]
    fn a_line_that_is_no_json_is_shown_as_it_is() {
        assert_eq!(
            sent(b"{\"m\":\"one\"}\n\nthree\n"),
            [r#"{"event":"one"}"#, r#"{"event":"three"}"#]
        );
        assert_eq!(ndjson(b"three\n"), "{\"event\":\"three\"}\n");
    }
}
