//! One trigger in hand, and the lines that it wrote.
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use dagbok_events::{Digest, LogRef, Timestamp};
use dagbok_protocol::{WorkItem, limits::TRIGGER_LOG_BYTES};
use dagbok_runlog::DeliveryHandle;

use super::group::GroupNo;
use crate::{
    log::{LogLine, LogSource, Masks},
    store::Store,
};

/// After so long a watcher of an asset that failed begins anew, the first time.
const FIRST_WAIT: Duration = Duration::from_mins(1);
/// And the longest.
const LONGEST_WAIT: Duration = Duration::from_mins(30);

/// A trigger's number in the frames to Python: never used twice in one life of a triggerer.
pub(super) type TriggerNo = u64;

/// One in hand.
#[derive(Debug)]
pub(super) struct Held {
    /// Which.
    pub(super) no: TriggerNo,
    /// What it is.
    pub(super) item: Arc<WorkItem>,
    /// The newest delivery's.
    pub(super) handle: Arc<dyn DeliveryHandle>,
    /// Its arguments, JSON in text; none before it was made ready.
    pub(super) kwargs: Option<String>,
    /// Where its bundle lies; nothing where it needs none.
    pub(super) folder: Option<String>,
    /// In which process it runs.
    pub(super) group: Option<GroupNo>,
    /// How often a process died that it was alone in.
    pub(super) deaths: u8,
    /// How often it failed in a row, and when it did so last, where it watches an asset.
    pub(super) failures: Failures,
    /// When the scheduler said last that somebody waits for it.
    pub(super) asked: Instant,
    /// What it wrote.
    pub(super) log: Lines,
}

/// How a watcher of an asset fails: one that always does so is begun anew less and less often.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Failures {
    in_a_row: u32,
    last: Option<Instant>,
}

impl Failures {
    /// After what time it begins anew that failed at `now`: longer each time, up to a ceiling; from the start again
    /// where it ran for longer than it ever waits.
    pub(super) fn wait(&mut self, now: Instant) -> Duration {
        let quiet = self.last.is_some_and(|last| now.duration_since(last) > LONGEST_WAIT * 2);
        self.in_a_row = if quiet { 0 } else { self.in_a_row };
        let wait = FIRST_WAIT.saturating_mul(1 << self.in_a_row.min(16));
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.last = Some(now);
        wait.min(LONGEST_WAIT)
    }
}

/// The log of one trigger, in memory: it is short.
#[derive(Debug, Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    count: u64,
    dropped: u64,
}

impl Lines {
    /// A line of ours.
    pub(super) fn system(&mut self, at: Timestamp, level: &str, message: impl Into<String>) {
        self.push(&LogLine::system(at, level, message));
    }

    /// A line of Python's logging.
    pub(super) fn logged(&mut self, at: Timestamp, raw: &str, masks: &Masks) {
        let raw = masks.text(raw.to_owned());
        self.push(&LogLine::read(at, LogSource::Log, raw.as_bytes(), 0));
    }

    fn push(&mut self, line: &LogLine) {
        let mut line = serde_json::to_vec(line).expect("texts and numbers");
        line.push(b'\n');
        if self.bytes.len() + line.len() > TRIGGER_LOG_BYTES {
            self.dropped += 1;
            return;
        }
        self.bytes.extend(line);
        self.count += 1;
    }

    /// Keeps them beside the log; none where there is nothing, or it can't be kept.
    pub(super) async fn store(self, store: &Store) -> Option<LogRef> {
        if self.bytes.is_empty() {
            return None;
        }
        let (size, lines, dropped) = (self.bytes.len() as u64, self.count, self.dropped);
        match store.put(self.bytes.into()).await {
            Ok(digest) => {
                let digest = Digest::new(digest).expect("a blob store answers with a digest");
                Some(LogRef { digest, size, lines, dropped, usage: None })
            }
            Err(why) => {
                tracing::error!(why, "a trigger's log can't be kept");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_s_log_has_so_many_bytes_and_what_is_above_is_counted() {
        let (mut lines, at) = (Lines::default(), Timestamp(0));
        let one = || "x".repeat(1_000);
        while lines.dropped == 0 {
            lines.system(at, "info", one());
        }
        let size = lines.bytes.len() / usize::try_from(lines.count).unwrap();
        assert!(lines.bytes.len() <= TRIGGER_LOG_BYTES);
        assert!(lines.bytes.len() + size > TRIGGER_LOG_BYTES, "as many as there is room for");
        // A shorter one may still go in; none is cut.
        lines.system(at, "info", one());
        assert_eq!(lines.dropped, 2);
        assert!(lines.bytes.ends_with(b"\n"));
    }

    #[test]
    fn a_watcher_that_always_fails_waits_longer_each_time_and_one_that_ran_is_begun_soon() {
        let (mut failures, mut now) = (Failures::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..8 {
            let wait = failures.wait(now);
            waits.push(wait.as_secs() / 60);
            now += wait;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(failures.wait(now + LONGEST_WAIT * 2), FIRST_WAIT);
    }
}
