//! Stretches of a try's log, from wherever it lies.
use std::time::Duration;

use bytes::Bytes;
use dagbok_events::{
    ExecutorId, MapIndex, RunKey, TaskId, TryKey, TryNumber, decode_any, encode_any,
};
use dagbok_protocol::{TryLogQuery, TryLogSlice, names};
use serde_json::{Map, Value};

use super::super::{
    errors::ApiError,
    extract::{map_index, no_try, run_key, task_id, try_number},
    state::ApiState,
    tasks::instance,
};
use crate::{
    model::rows::{TryEnd, TryRow},
    shapes::LogLine,
};

/// Bytes of a log that are asked for at once.
pub(super) const SLICE_BYTES: u32 = 256 << 10;
/// How long an executor may take to answer, beyond what it is asked to wait.
const EXECUTOR_PATIENCE: Duration = Duration::from_secs(2);

/// A try, as asked for.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    run: RunKey,
    task_id: TaskId,
    map: MapIndex,
    number: TryNumber,
}

impl Wanted {
    pub(super) fn new(
        dag: &str,
        run: &str,
        task: &str,
        number: u16,
        map: Option<i32>,
    ) -> Result<Self, ApiError> {
        Ok(Self {
            run: run_key(dag, run)?,
            task_id: task_id(task)?,
            map: map_index(map),
            number: try_number(number, task)?,
        })
    }

    fn key(&self) -> TryKey {
        TryKey {
            dag_id: self.run.dag_id.clone(),
            run_id: self.run.run_id.clone(),
            task_id: self.task_id.clone(),
            map_index: self.map,
            try_number: self.number,
        }
    }

    /// The try as the rows have it now.
    pub(super) async fn row(&self, state: &ApiState) -> Result<TryRow, ApiError> {
        let wanted = self.clone();
        let found = state.read(move |store| {
            let Self { run, task_id, map, number } = &wanted;
            instance(store, run, task_id.as_str(), Some(*map))?;
            let found = store.one_try(run, task_id, *map, *number)?;
            found.ok_or_else(|| no_try(task_id.as_str(), number.get()))
        });
        found.await
    }
}

/// A stretch of a log.
#[derive(Debug)]
pub(super) struct Slice {
    pub(super) lines: Vec<LogLine>,
    /// Where to go on.
    pub(super) next: u64,
    /// Whether nothing will follow.
    pub(super) complete: bool,
}

/// The stretch after `offset`, at most `max` bytes of it; waits up to `wait` for one while the try
/// runs.
pub(super) async fn slice(
    state: &ApiState,
    wanted: &Wanted,
    row: &TryRow,
    offset: u64,
    max: u32,
    wait: Duration,
) -> Result<Slice, ApiError> {
    if let Some(log) = &row.log {
        let bytes = state.ports.blobs.get(log.digest.as_str()).await?;
        let bytes = bytes.ok_or_else(|| {
            ApiError::NotFound(format!(
                "the log of this try is gone: the blob {} is missing",
                log.digest
            ))
        })?;
        return Ok(cut(&bytes, offset, max));
    }
    let nothing = Slice { lines: Vec::new(), next: offset, complete: row.end.is_some() };
    match (&row.executor, &row.end) {
        (Some(executor), None) => from_executor(state, wanted, executor, offset, max, wait).await,
        // Its processes may be ending yet, and its log be on the way.
        (Some(executor), Some(TryEnd::Cancelled | TryEnd::Lost(_))) => {
            let asked = from_executor(state, wanted, executor, offset, max, wait).await;
            Ok(asked.unwrap_or(nothing))
        }
        // Queued: it may come. Over without a log: nothing will.
        _ => Ok(nothing),
    }
}

/// Whole lines of a blob from `offset` on.
fn cut(bytes: &Bytes, offset: u64, max: u32) -> Slice {
    let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    let rest = &bytes[from..];
    let most = usize::try_from(max).unwrap_or(usize::MAX);
    let end = if rest.len() <= most {
        rest.len()
    } else {
        let within = rest[..most].iter().rposition(|&byte| byte == b'\n');
        // A line longer than the slice comes whole all the same.
        let line = within.or_else(|| rest.iter().position(|&byte| byte == b'\n'));
        line.map_or(rest.len(), |at| at + 1)
    };
    let lines = lines_of(&String::from_utf8_lossy(&rest[..end]));
    Slice { lines, next: (from + end) as u64, complete: from + end == bytes.len() }
}

async fn from_executor(
    state: &ApiState,
    wanted: &Wanted,
    executor: &ExecutorId,
    offset: u64,
    max: u32,
    wait: Duration,
) -> Result<Slice, ApiError> {
    let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
    let query = TryLogQuery { key: wanted.key(), offset, max, wait_ms };
    let subject = names::log_subject(executor);
    let asked =
        state.ports.signals.request(&subject, encode_any(&query).into(), wait + EXECUTOR_PATIENCE);
    match asked.await {
        Ok(answer) => {
            let answer: TryLogSlice = decode_any(&answer).map_err(|error| ApiError::bug(&error))?;
            let TryLogSlice { next_offset, lines, complete } = answer;
            Ok(Slice { lines: lines_of(&lines), next: next_offset, complete })
        }
        Err(error) => Err(ApiError::Unavailable(format!(
            "the try runs on executor {executor}, which did not hand over its log: {error}"
        ))),
    }
}

fn lines_of(text: &str) -> Vec<LogLine> {
    text.lines().filter(|line| !line.is_empty()).map(line_of).collect()
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

/// A line as it is sent.
pub(super) fn json_line(line: &LogLine) -> String {
    serde_json::to_string(line).expect("lines have text keys") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_ends_with_a_line() {
        let bytes = Bytes::from_static(b"{\"m\":\"one\"}\n{\"m\":\"two\"}\nthree\n");
        let first = cut(&bytes, 0, 14);
        assert_eq!((first.lines.len(), first.next, first.complete), (1, 12, false));
        let rest = cut(&bytes, first.next, 1_000);
        assert_eq!((rest.lines.len(), rest.complete), (2, true));
        assert_eq!(rest.lines[1].event, "three", "a line that is no JSON is shown as it is");
        let long = cut(&bytes, 0, 3);
        assert_eq!(
            (long.lines.len(), long.next),
            (1, 12),
            "a line longer than the slice comes whole"
        );
        assert!(cut(&bytes, 1 << 40, 10).complete);
    }
}
