//! One line of a try's log, as it is kept for ever and shown to people.
use dagbok_events::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Where a line came from.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum LogSource {
    /// The standard output of the task's processes.
    Stdout,
    /// Their standard error.
    Stderr,
    /// Python's `logging`.
    Log,
    /// Dagbok itself: what it did to the try, and what it left out of the log.
    System,
}

/// One line of a try's log: a JSON object with short names, one a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogLine {
    /// When: as the logger says, otherwise when the executor read it.
    pub t: Timestamp,
    /// Where it came from.
    pub s: LogSource,
    /// Level in lower case: `debug`, `info`, `warning`, `error`, `critical`, or a name of the user's.
    pub l: String,
    /// The line, without its end; bytes that are not UTF-8 are replaced.
    pub m: String,
    /// The logger's name, for lines of `logging`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logger: Option<String>,
    /// The file that logged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line in that file, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The traceback that was logged with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exception: Option<String>,
    /// Bytes cut from this line's end because it was longer than the published limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<u64>,
}

impl LogLine {
    /// A line of our own.
    pub(crate) fn system(at: Timestamp, level: &str, message: impl Into<String>) -> Self {
        Self::plain(at, LogSource::System, level, message.into())
    }

    /// What was read as raw bytes from `source` at `at`; `cut` counts what the splitter left out.
    pub(crate) fn read(at: Timestamp, source: LogSource, raw: &[u8], cut: u64) -> Self {
        let mut line = match source {
            LogSource::Log => Self::logged(at, raw),
            LogSource::Stdout | LogSource::System => Self::plain(at, source, "info", lossy(raw)),
            LogSource::Stderr => Self::plain(at, source, "error", lossy(raw)),
        };
        line.cut = (cut > 0).then_some(cut);
        line
    }

    fn plain(at: Timestamp, source: LogSource, level: &str, message: String) -> Self {
        Self {
            t: at,
            s: source,
            l: level.to_owned(),
            m: message,
            logger: None,
            file: None,
            line: None,
            exception: None,
            cut: None,
        }
    }

    /// A record of `logging`, which the task's process sent as JSON; anything else is kept as it came.
    fn logged(at: Timestamp, raw: &[u8]) -> Self {
        let Ok(mut fields) = serde_json::from_slice::<Map<String, Value>>(raw) else {
            return Self::plain(at, LogSource::Log, "info", lossy(raw));
        };
        let level =
            text(fields.remove("level")).unwrap_or_else(|| "info".to_owned()).to_lowercase();
        let message = text(fields.remove("event")).unwrap_or_default();
        let said_at =
            fields.remove("timestamp").and_then(|value| serde_json::from_value(value).ok());
        let exception = fields.remove("exception").filter(|value| !value.is_null());
        let exception =
            exception.or_else(|| fields.remove("error_detail").filter(|value| !value.is_null()));
        Self {
            t: said_at.unwrap_or(at),
            s: LogSource::Log,
            l: level,
            m: message,
            logger: text(fields.remove("logger")),
            file: text(fields.remove("filename")),
            line: fields
                .remove("lineno")
                .and_then(|n| n.as_u64())
                .and_then(|n| u32::try_from(n).ok()),
            exception: text(exception),
            cut: None,
        }
    }
}

fn lossy(raw: &[u8]) -> String {
    String::from_utf8_lossy(raw).into_owned()
}

fn text(value: Option<Value>) -> Option<String> {
    match value? {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logging_record_keeps_its_own_time_and_place() {
        let raw = br#"{"timestamp":"2026-11-03T01:02:03.000004Z","level":"WARNING","logger":"airflow.task","event":"careful","filename":"a.py","lineno":7,"exception":"Traceback"}"#;
        let line = LogLine::read(Timestamp(0), LogSource::Log, raw, 0);
        assert_eq!(line.t.to_string(), "2026-11-03T01:02:03.000004Z");
        assert_eq!((line.l.as_str(), line.m.as_str()), ("warning", "careful"));
        assert_eq!((line.file.as_deref(), line.line), (Some("a.py"), Some(7)));
        assert_eq!(line.exception.as_deref(), Some("Traceback"));
    }

    #[test]
    fn what_is_no_record_is_kept_as_it_came() {
        let line = LogLine::read(Timestamp(5), LogSource::Log, b"not json \xff", 9);
        assert_eq!(
            (line.t, line.m.as_str(), line.cut),
            (Timestamp(5), "not json \u{fffd}", Some(9))
        );
    }
}
