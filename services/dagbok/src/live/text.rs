//! Records and log lines as one line of text each.
use dagbok_api::shapes::LogLine;
use serde_json::Value;

use crate::output::{state_style, styled};

/// A line of a task's log: time, level where it is not the usual, text; under it the traceback that came
/// with it, and how much of the line was cut.
pub(crate) fn log_line_text(line: &LogLine) -> String {
    let time = line.timestamp.as_deref().map(|at| clock_part(at).to_owned()).unwrap_or_default();
    let raw = matches!(line.source.as_deref(), Some("stdout" | "stderr"));
    let level = line.level.as_deref().filter(|_| !raw).unwrap_or_default();
    let level = match level {
        "" | "info" => String::new(),
        "error" | "critical" => format!("{} ", styled(state_style("failed"), level)),
        _ => format!("{} ", styled(state_style("queued"), level)),
    };
    let cut = line.more.get("cut").and_then(Value::as_u64).filter(|cut| *cut > 0);
    let cut = cut.map(|cut| format!(" … {cut} bytes left out")).unwrap_or_default();
    let mut text = format!("{time} {level}{}{cut}", line.event);
    let exception = line.more.get("exception").and_then(Value::as_str);
    for traced in exception.iter().flat_map(|text| text.lines()) {
        text.push('\n');
        text.push_str(traced);
    }
    text
}

/// The time of day of an instant in RFC 3339, to the millisecond.
pub(crate) fn clock_part(at: &str) -> &str {
    let time = at.split_once('T').map_or(at, |(_, time)| time).trim_end_matches('Z');
    let end = time.find('.').map_or(time.len(), |dot| (dot + 4).min(time.len()));
    &time[..end]
}

/// A record of the log: sequence, instant, what it is about, its facts.
pub(crate) fn record_text(entry: &Value) -> String {
    let text = |name: &str| entry[name].as_str().unwrap_or_default();
    let about = match text("scope") {
        "run" => format!("{} {}", text("dag_id"), text("run_id")),
        "dag" => text("dag_id").to_owned(),
        "file" => text("file").to_owned(),
        "executor" => text("executor").to_owned(),
        other => other.to_owned(),
    };
    let facts: Vec<String> =
        entry["facts"].as_array().into_iter().flatten().map(fact_text).collect();
    format!(
        "{:>6} {} {about}: {}",
        entry["seq"].as_u64().unwrap_or_default(),
        text("at"),
        facts.join(", ")
    )
}

fn fact_text(fact: &Value) -> String {
    let name = fact["type"].as_str().unwrap_or("?");
    match (fact["task_id"].as_str(), fact["try_number"].as_u64()) {
        (Some(task), Some(number)) if number > 1 => format!("{name}({task}, try {number})"),
        (Some(task), _) => format!("{name}({task})"),
        (None, _) => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_is_one_line() {
        let entry = json!({"seq": 7, "at": "2026-01-01T00:00:00Z", "scope": "run", "dag_id": "d", "run_id": "r",
            "facts": [{"type": "TrySucceeded", "task_id": "a", "try_number": 2}, {"type": "RunSucceeded"}]});
        assert_eq!(
            record_text(&entry),
            "     7 2026-01-01T00:00:00Z d r: TrySucceeded(a, try 2), RunSucceeded"
        );
    }

    #[test]
    fn a_line_brings_its_traceback_and_what_was_cut() {
        let line = json!({"timestamp": "2026-01-01T12:34:56.789123Z", "event": "Task failed", "level": "info",
            "source": "log", "exception": "Traceback:\n  here\nValueError: no\n"});
        let line: LogLine = serde_json::from_value(line).unwrap();
        assert_eq!(
            log_line_text(&line),
            "12:34:56.789 Task failed\nTraceback:\n  here\nValueError: no"
        );
        let line = json!({"event": "yy", "source": "stdout", "cut": 7});
        let line: LogLine = serde_json::from_value(line).unwrap();
        assert_eq!(log_line_text(&line), " yy … 7 bytes left out");
    }

    #[test]
    fn times_are_cut_to_milliseconds() {
        assert_eq!(clock_part("2026-01-01T12:34:56.789123Z"), "12:34:56.789");
        assert_eq!(clock_part("2026-01-01T12:34:56Z"), "12:34:56");
    }
}
