//! Stretches of a try's log, from wherever it lies.
use std::time::Duration;

use bytes::Bytes;
use dagbok_events::{
    Digest, ExecutorId, Leg, MapIndex, RunKey, TaskId, TryKey, TryNumber, decode_any, encode_any,
};
use dagbok_protocol::{TryLogQuery, TryLogSlice, names};

use super::{
    super::{
        errors::ApiError,
        extract::{map_index, no_try, run_key, task_id, try_number},
        state::ApiState,
        tasks::instance,
    },
    lines::whole_lines,
};
use crate::model::{
    of_dag,
    rows::{TryEnd, TryRow},
};

/// The bytes of a slice, but for a longer line.
const SLICE_BYTES: u32 = 256 << 10;
/// How long an executor may take to answer, beyond what it is asked to wait.
pub(super) const EXECUTOR_PATIENCE: Duration = Duration::from_secs(2);

/// A try, as asked for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    run: RunKey,
    task_id: TaskId,
    map: MapIndex,
    number: TryNumber,
}

impl Wanted {
    pub(crate) fn new(
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

    pub(super) fn key(&self, leg: Leg) -> TryKey {
        TryKey {
            dag_id: self.run.dag_id.clone(),
            run_id: self.run.run_id.clone(),
            task_id: self.task_id.clone(),
            map_index: self.map,
            try_number: self.number,
            leg,
        }
    }
}

/// Whole lines of a log, as they are stored.
#[derive(Debug)]
pub(crate) struct Slice {
    pub(crate) text: Bytes,
    /// Where to go on.
    pub(super) next: u64,
    /// Whether nothing will follow.
    pub(crate) complete: bool,
}

/// All that a log had when it was asked for.
#[derive(Debug)]
pub(crate) struct Stretch {
    pub(crate) texts: Vec<Bytes>,
    /// Where to go on.
    pub(super) next: u64,
    /// Whether nothing will follow.
    pub(crate) complete: bool,
}

/// Reads one try's log.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(super) state: ApiState,
    pub(super) wanted: Wanted,
}

impl Reader {
    pub(crate) const fn new(state: ApiState, wanted: Wanted) -> Self {
        Self { state, wanted }
    }

    /// The try as the rows have it now.
    pub(crate) async fn row(&self) -> Result<TryRow, ApiError> {
        let wanted = self.wanted.clone();
        let found = self.state.read(move |store| {
            let Wanted { run, task_id, map, number } = &wanted;
            // What a DAG's callback wrote is no task's.
            if *task_id != of_dag() {
                instance(store, run, task_id.as_str(), Some(*map))?;
            }
            let found = store.one_try(run, task_id, *map, *number)?;
            let found = found.ok_or_else(|| no_try(task_id.as_str(), number.get()))?;
            let of = store.run(run)?;
            match of.and_then(|of| of.log_kept_until(&found)).filter(|_| has_log(&found)) {
                Some(until) => Err(ApiError::NotFound(format!(
                    "the log of try {number} of `{task_id}` was kept until {:.0}, by retention.logs",
                    until.to_jiff()
                ))),
                None => Ok(found),
            }
        });
        found.await
    }

    /// The slice after `offset`; waits up to `wait` for one while the try runs. What its earlier legs wrote, and
    /// the triggers that it waited for, comes first.
    pub(crate) async fn slice(
        &self,
        row: &TryRow,
        offset: u64,
        wait: Duration,
    ) -> Result<Slice, ApiError> {
        let mut before = 0;
        for leg in &row.legs {
            if offset < before + leg.size {
                let slice = cut(&self.kept(&leg.digest).await?, offset.saturating_sub(before));
                return Ok(Slice { next: before + slice.next, complete: false, ..slice });
            }
            before += leg.size;
        }
        let slice = self.slice_of_leg(row, offset - before, wait).await?;
        Ok(Slice { next: before + slice.next, ..slice })
    }

    /// The same of the last leg alone.
    async fn slice_of_leg(
        &self,
        row: &TryRow,
        offset: u64,
        wait: Duration,
    ) -> Result<Slice, ApiError> {
        if let Some(log) = row.kept_log() {
            return Ok(cut(&self.kept(&log.digest).await?, offset));
        }
        let nothing = Slice { text: Bytes::new(), next: offset, complete: row.end.is_some() };
        match (&row.executor, &row.end) {
            (Some(executor), None) => self.ask(executor, row.leg, offset, wait).await,
            // Its processes may be ending yet, and its log be on the way.
            (Some(executor), Some(TryEnd::Cancelled | TryEnd::Lost(_))) => {
                Ok(self.ask(executor, row.leg, offset, wait).await.unwrap_or(nothing))
            }
            // Queued: it may come. Over without a log: nothing will.
            _ => Ok(nothing),
        }
    }

    /// All there is after `offset` of a try that runs: held at once, at most the limit of a try's log, since
    /// where to go on is said first.
    pub(crate) async fn rest(&self, row: &TryRow, offset: u64) -> Result<Stretch, ApiError> {
        let mut found = Stretch { texts: Vec::new(), next: offset, complete: false };
        loop {
            let Slice { text, next, complete } =
                self.slice(row, found.next, Duration::ZERO).await?;
            let grew = next > found.next;
            (found.next, found.complete) = (next, complete);
            if !text.is_empty() {
                found.texts.push(text);
            }
            if complete || !grew {
                return Ok(found);
            }
        }
    }

    pub(crate) async fn kept(&self, digest: &Digest) -> Result<Bytes, ApiError> {
        let found = self.state.logs.get(&*self.state.ports.blobs, digest).await?;
        found.ok_or_else(|| {
            ApiError::NotFound(format!("the log of this try is gone: the blob {digest} is missing"))
        })
    }

    async fn ask(
        &self,
        executor: &ExecutorId,
        leg: Leg,
        offset: u64,
        wait: Duration,
    ) -> Result<Slice, ApiError> {
        let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        let query = TryLogQuery { key: self.wanted.key(leg), offset, max: SLICE_BYTES, wait_ms };
        let subject = names::log_subject(executor);
        let patience = wait + EXECUTOR_PATIENCE;
        let signals = &self.state.ports.signals;
        match signals.request(&subject, encode_any(&query).into(), patience).await {
            Ok(answer) => {
                let answer = decode_any(&answer).map_err(|error| ApiError::bug(&error))?;
                let TryLogSlice { next_offset, lines, complete } = answer;
                Ok(Slice { text: lines.into(), next: next_offset, complete })
            }
            Err(error) => Err(ApiError::Unavailable(format!(
                "the try runs on executor {executor}, which did not hand over its log: {error}"
            ))),
        }
    }
}

fn has_log(row: &TryRow) -> bool {
    row.kept_log().is_some() || !row.legs.is_empty()
}

/// The slice of a blob from `offset` on.
fn cut(bytes: &Bytes, offset: u64) -> Slice {
    let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    // What was read from an executor before it was killed may end within a line of what it left.
    let from = bytes[..from].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let text = whole_lines(&bytes.slice(from..), SLICE_BYTES as usize);
    let end = from + text.len();
    // A copy: an answer that is read slowly must not hold the whole.
    let text = Bytes::copy_from_slice(&text);
    Slice { text, next: end as u64, complete: end == bytes.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_within_a_line_begins_with_that_line() {
        let bytes = Bytes::from_static(b"one\ntwo\n");
        for (offset, want) in
            [(0, "one\ntwo\n"), (2, "one\ntwo\n"), (4, "two\n"), (6, "two\n"), (8, "")]
        {
            let slice = cut(&bytes, offset);
            assert_eq!((&slice.text[..], slice.next, slice.complete), (want.as_bytes(), 8, true));
        }
    }

    #[test]
    fn slices_of_a_blob_follow_each_other_to_its_end() {
        let line = [b"x".repeat(99), b"\n".to_vec()].concat();
        let bytes = Bytes::from(line.repeat(6_000));
        let (first, most) = (cut(&bytes, 0), SLICE_BYTES as usize);
        assert!(first.text.len() <= most && first.text.len() > most - 100 && !first.complete);
        let (mut next, mut whole) = (0, Vec::new());
        loop {
            let slice = cut(&bytes, next);
            whole.extend_from_slice(&slice.text);
            next = slice.next;
            if slice.complete {
                break;
            }
        }
        assert!(whole == bytes);
        let past = cut(&bytes, 1 << 40);
        assert!(past.complete && past.text.is_empty());
    }
}
