//! A window of a try's log: around the line that says why it failed, around a place, or at its end. What is kept is
//! looked through here, so that a browser gets what it shows and no more.
use std::time::Duration;

use axum::{Json, extract::State};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::IntoParams;

use super::{
    super::{
        errors::ApiError,
        extract::{InPath, InQuery},
        logs::{Reader, Wanted},
        state::ApiState,
    },
    failure,
};
use crate::{
    model::rows::TryRow,
    shapes::{Detail, UiLog, UiLogLine},
};

/// Bytes of a window.
const WINDOW: usize = 64 << 10;
/// Of which so many come before the line that is asked for.
const BEFORE: usize = 16 << 10;

/// Which window.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogQuery {
    /// Which copy of the task; -1 where not said.
    map_index: Option<i32>,
    /// The lines from this byte on.
    from: Option<u64>,
    /// The lines before this byte.
    before: Option<u64>,
    /// The lines around the line of this number, from 1.
    line: Option<u64>,
    /// `error` for the lines around the one that says why the try failed, or the end where none does; `end`.
    at: Option<String>,
    /// Only lines that have this text in them, whatever its case; at most 1,000.
    grep: Option<String>,
    /// Only lines that are as loud, or louder: `debug`, `info`, `warning`, `error`, `critical`; at most 1,000.
    level: Option<String>,
    /// Only lines from there: `stdout`, `stderr`, `log`, `system`; at most 1,000.
    source: Option<String>,
}

/// From the quietest to the loudest.
const LEVELS: [&str; 5] = ["debug", "info", "warning", "error", "critical"];

fn loudness(level: &str) -> Option<usize> {
    LEVELS.iter().position(|it| *it == level)
}

/// Which lines of all are wanted.
struct Sought<'a> {
    text: Option<String>,
    loud: usize,
    source: Option<&'a str>,
}

impl<'a> Sought<'a> {
    /// What the query looks for, where it does.
    fn of(query: &'a LogQuery) -> Option<Self> {
        let level = query.level.as_deref();
        let sought = query.grep.is_some() || level.is_some() || query.source.is_some();
        sought.then(|| Self {
            text: query.grep.as_deref().map(str::to_lowercase),
            loud: level.and_then(loudness).unwrap_or(0),
            source: query.source.as_deref(),
        })
    }

    fn is(&self, line: &UiLogLine) -> bool {
        let loud = line.l.as_deref().and_then(loudness).unwrap_or(1);
        loud >= self.loud
            && self.source.is_none_or(|source| line.s.as_deref() == Some(source))
            && self.text.as_ref().is_none_or(|text| line.m.to_lowercase().contains(text))
    }
}

/// Lines of a try's log that follow one another.
#[utoipa::path(get, path = "/api/v2/dagbok/ui/logs/{dag_id}/{dag_run_id}/{task_id}/{try_number}", tag = "UI",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path), ("task_id" = String, Path),
        ("try_number" = u16, Path), LogQuery), responses(
    (status = 200, body = UiLog), (status = 404, body = Detail), (status = 422, body = Detail),
    (status = 503, body = Detail)
))]
pub(crate) async fn log(
    State(state): State<ApiState>,
    InPath((dag, run, task, number)): InPath<(String, String, String, u16)>,
    InQuery(query): InQuery<LogQuery>,
) -> Result<Json<UiLog>, ApiError> {
    if let Some(level) = query.level.as_ref().filter(|level| loudness(level).is_none()) {
        let why = format!("`{level}` is no level of a line; there are {}", LEVELS.join(", "));
        return Err(ApiError::invalid("enum", &["query", "level"], why));
    }
    let wanted = Wanted::new(&dag, &run, &task, number, query.map_index)?;
    let reader = Reader::new(state, wanted);
    let row = reader.row().await?;
    if let (Some(from), None) = (query.from, row.kept_log()) {
        // It grows: only what came since is read, however long it is.
        let slice = reader.slice(&row, from, Duration::ZERO).await?;
        return Ok(Json(tail(&slice.text, from, slice.complete && row.end.is_some())));
    }
    let (bytes, over) = if let Some(log) = row.kept_log() {
        (reader.kept(&log.digest).await?, true)
    } else {
        let found = reader.rest(&row, 0).await?;
        (found.texts.concat().into(), found.complete && row.end.is_some())
    };
    let work = tokio::task::spawn_blocking(move || window(&bytes, &row, &query, over));
    work.await.map(Json).map_err(|panic| ApiError::bug(&panic))
}

/// Where every line begins, and which of them are loud.
struct Index {
    starts: Vec<usize>,
    errors: u64,
    warnings: u64,
    /// The place of the line that says why.
    why: Option<usize>,
}

impl Index {
    /// Of a try that failed with this message.
    fn of(bytes: &[u8], failed: Option<&str>) -> Self {
        let mut found = Self { starts: Vec::new(), errors: 0, warnings: 0, why: None };
        let (mut begin, mut first_loud, mut last_said) = (0, None, None);
        // The end of a line as it is stored: as JSON, its quotes and ends of lines escaped.
        let said = failed.and_then(|text| text.lines().next()).filter(|text| !text.is_empty());
        let said = said.map(|text| Value::from(text).to_string());
        let said = said.as_ref().map(|text| text.trim_matches('"').as_bytes());
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let loud = has(line, b"\"l\":\"error\"") || has(line, b"\"l\":\"critical\"");
            found.errors += u64::from(loud);
            found.warnings += u64::from(has(line, b"\"l\":\"warning\""));
            let at = found.starts.len();
            if loud && first_loud.is_none() {
                first_loud = Some(at);
            }
            if said.is_some_and(|said| has(line, said)) {
                last_said = Some(at);
            }
            found.starts.push(begin);
            begin += line.len();
        }
        // The last that says what the failure says; else the last loud one stands nearest to it.
        found.why = failed.and(last_said.or(first_loud));
        found
    }

    /// The line that has this byte in it.
    fn line_at(&self, byte: usize) -> usize {
        self.starts.partition_point(|start| *start <= byte).saturating_sub(1)
    }
}

fn has(line: &[u8], wanted: &[u8]) -> bool {
    wanted.len() <= line.len() && line.windows(wanted.len()).any(|it| it == wanted)
}

fn window(bytes: &Bytes, row: &TryRow, query: &LogQuery, over: bool) -> UiLog {
    let failed = failure::of_try(row).map(|failure| failure.message);
    let index = Index::of(bytes, failed.as_deref());
    let byte_of = |line: usize| index.starts.get(line).copied().unwrap_or(bytes.len());
    let clamp = |byte: u64| usize::try_from(byte).unwrap_or(usize::MAX).min(bytes.len());
    let around = |byte: usize| byte_of(index.line_at(byte.saturating_sub(BEFORE)));
    // Whole lines before a place, all of which a window holds: the one that a longer way back lies in would push out the last.
    let back = |end: usize| {
        let first = index.starts.partition_point(|start| *start < end.saturating_sub(WINDOW));
        byte_of(first.min(index.line_at(end.saturating_sub(1))))
    };
    let last = || back(bytes.len());
    let why = index.why.map(byte_of);
    let (mut from, mut to) = match (query.from, query.before, query.line, query.at.as_deref()) {
        (Some(from), ..) => (byte_of(index.line_at(clamp(from))), bytes.len()),
        (_, Some(before), ..) => {
            let end = clamp(before);
            (back(end), end)
        }
        (_, _, Some(line), _) => (around(byte_of(clamp(line.saturating_sub(1)))), bytes.len()),
        (_, _, _, Some("error")) => (why.map_or_else(last, around), bytes.len()),
        (_, _, _, Some("end")) => (last(), bytes.len()),
        _ => (0, bytes.len()),
    };
    if query.from.is_some_and(|from| clamp(from) >= bytes.len()) {
        from = bytes.len();
    }
    let wanted = Sought::of(query);
    if wanted.is_some() {
        (from, to) = (0, bytes.len());
    }
    let mut shown = UiLog {
        lines: Vec::new(),
        from: from as u64,
        to: to as u64,
        size: bytes.len() as u64,
        first_line: Some(index.line_at(from) as u64 + 1),
        line_count: Some(index.starts.len() as u64),
        error: why.map(|byte| byte as u64),
        levels: [index.errors, index.warnings],
        complete: over && to == bytes.len(),
        dropped: row.kept_log().map_or(0, |log| log.dropped),
    };
    cut(&mut shown, bytes, &index, (from, to), wanted.as_ref());
    shown.complete &= shown.to == shown.size;
    shown
}

/// What came after `from` of a log that grows. Whoever has the rest knows what stands before it.
fn tail(bytes: &Bytes, from: u64, over: bool) -> UiLog {
    let mut shown = UiLog {
        lines: Vec::new(),
        from,
        to: from,
        size: from + bytes.len() as u64,
        first_line: None,
        line_count: None,
        error: None,
        levels: [0, 0],
        complete: over,
        dropped: 0,
    };
    cut(&mut shown, bytes, &Index::of(bytes, None), (0, bytes.len()), None);
    let end = usize::try_from(shown.to).unwrap_or(bytes.len());
    let seen = Index::of(&bytes[..end], None);
    shown.levels = [seen.errors, seen.warnings];
    shown.to += from;
    for line in &mut shown.lines {
        line.o += from;
    }
    shown.complete &= shown.to == shown.size;
    shown
}

/// Takes the lines between, as far as a window goes.
fn cut(
    shown: &mut UiLog,
    bytes: &[u8],
    index: &Index,
    (from, to): (usize, usize),
    wanted: Option<&Sought<'_>>,
) {
    const FOUND: usize = 1_000;
    let mut at = from;
    for line in index.starts.partition_point(|start| *start < from).. {
        let (Some(&start), end) =
            (index.starts.get(line), index.starts.get(line + 1).copied().unwrap_or(bytes.len()))
        else {
            break;
        };
        let full = wanted.is_none() && !shown.lines.is_empty() && end - from > WINDOW;
        if start >= to || full || shown.lines.len() >= FOUND && wanted.is_some() {
            break;
        }
        at = end;
        let read = line_of(start, &bytes[start..end]);
        if wanted.is_none_or(|wanted| wanted.is(&read)) {
            shown.lines.push(read);
        }
    }
    shown.to = at as u64;
}

/// A stored line; one that is no JSON comes as it is.
fn line_of(start: usize, stored: &[u8]) -> UiLogLine {
    let text = String::from_utf8_lossy(stored);
    let text = text.trim_end_matches(['\n', '\r']);
    let blank = UiLogLine { o: start as u64, t: None, l: None, s: None, m: text.to_owned() };
    let Ok(mut fields) = serde_json::from_str::<Map<String, Value>>(text) else { return blank };
    let mut take = |name: &str| match fields.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let (t, l, s, m) = (take("t"), take("l"), take("s"), take("m").unwrap_or_default());
    UiLogLine { t, l, s, m, ..blank }
}

#[cfg(test)]
mod tests {
    use dagbok_events::{Leg, PoolName, QueueName, Timestamp, TryNumber};
    use serde_json::json;

    use super::*;
    use crate::model::rows::TaskInstanceState;

    fn log() -> Bytes {
        let mut text = String::new();
        for n in 0..3_000 {
            let line = format!("step {n} went as it should");
            text += &json!({"s": "stdout", "l": "info", "m": line}).to_string();
            text.push('\n');
        }
        text.push_str("{\"s\":\"log\",\"l\":\"error\",\"m\":\"loss is \\\"NaN\\\"\"}\n");
        text.push_str("{\"s\":\"log\",\"l\":\"info\",\"m\":\"after it\"}\n");
        text.into()
    }

    #[test]
    fn the_line_that_says_why_is_found_though_its_quotes_are_escaped() {
        let bytes = log();
        let index = Index::of(&bytes, Some("loss is \"NaN\""));
        assert_eq!((index.why, index.errors, index.starts.len()), (Some(3_000), 1, 3_002));
        assert_eq!(
            Index::of(&bytes, Some("another text")).why,
            Some(3_000),
            "the loud one stands for it"
        );
        assert_eq!(Index::of(&bytes, None).why, None, "a try that did not fail has none");
    }

    fn row() -> TryRow {
        TryRow {
            number: TryNumber::FIRST,
            spared: 0,
            state: TaskInstanceState::Success,
            pool: PoolName::new("default_pool").expect("a name"),
            pool_slots: 1,
            queue: QueueName::new("default").expect("a name"),
            queued_at: Timestamp(0),
            queued_seq: 1,
            started_at: None,
            ended_at: None,
            executor: None,
            hostname: None,
            pid: None,
            end: None,
            retry_at: None,
            usage: None,
            log: None,
            left: None,
            leg: Leg::FIRST,
            legs: Vec::new(),
            inputs: std::collections::BTreeMap::new(),
            failed_callbacks: Vec::new(),
            progress: None,
            dag_callback: None,
        }
    }

    #[test]
    fn windows_before_each_other_leave_no_line_out() {
        let (bytes, row) = (log(), row());
        let ask = |query: LogQuery| window(&bytes, &row, &query, true);
        let mut shown = ask(LogQuery { at: Some("end".to_owned()), ..LogQuery::default() });
        assert_eq!(shown.to, bytes.len() as u64, "the end of it has its last line");
        let mut lines = shown.lines.len();
        while shown.from > 0 {
            let before = shown.from;
            shown = ask(LogQuery { before: Some(before), ..LogQuery::default() });
            assert_eq!(shown.to, before);
            lines += shown.lines.len();
        }
        assert_eq!(lines, 3_002);
    }

    #[test]
    fn lines_are_picked_out_by_how_loud_they_are_and_where_they_come_from() {
        let (bytes, row) = (log(), row());
        let ask = |level: Option<&str>, source: Option<&str>, grep: Option<&str>| {
            let text = |it: Option<&str>| it.map(str::to_owned);
            let (level, source, grep) = (text(level), text(source), text(grep));
            window(&bytes, &row, &LogQuery { grep, level, source, ..LogQuery::default() }, true)
        };
        let loud = ask(Some("warning"), None, None);
        assert_eq!(
            loud.lines.iter().map(|it| it.m.as_str()).collect::<Vec<_>>(),
            ["loss is \"NaN\""]
        );
        assert_eq!(ask(Some("critical"), None, None).lines.len(), 0);
        assert_eq!(ask(None, Some("log"), None).lines.len(), 2);
        assert_eq!(ask(Some("info"), Some("log"), Some("AFTER")).lines.len(), 1);
        assert_eq!(ask(Some("debug"), None, None).lines.len(), 1_000, "no more than can be read");
    }

    #[test]
    fn a_tail_goes_on_where_the_window_before_it_ended() {
        let bytes = log();
        let half = Index::of(&bytes, None).starts[2_900];
        let (mut from, mut places) = (half as u64, Vec::new());
        loop {
            let rest = bytes.slice(usize::try_from(from).expect("it is small")..);
            let shown = tail(&rest, from, true);
            assert_eq!((shown.from, shown.first_line, shown.line_count), (from, None, None));
            places.extend(shown.lines.iter().map(|line| line.o));
            from = shown.to;
            if shown.complete {
                assert_eq!(shown.levels, [1, 0]);
                break;
            }
        }
        let all: Vec<u64> = Index::of(&bytes, None).starts.iter().map(|it| *it as u64).collect();
        assert_eq!(places, all[2_900..]);
    }

    #[test]
    fn windows_follow_each_other_without_a_gap() {
        let bytes = log();
        let index = Index::of(&bytes, None);
        let (mut from, mut lines) = (0, 0);
        while from < bytes.len() {
            let mut shown = UiLog {
                lines: Vec::new(),
                from: 0,
                to: 0,
                size: 0,
                first_line: None,
                line_count: None,
                error: None,
                levels: [0, 0],
                complete: false,
                dropped: 0,
            };
            cut(&mut shown, &bytes, &index, (from, bytes.len()), None);
            lines += shown.lines.len();
            let to = usize::try_from(shown.to).unwrap_or(0);
            assert!(to > from);
            from = to;
        }
        assert_eq!(lines, 3_002);
    }
}
