//! What is known of one DAG file: what its last reading depended on, and when to read it again.
use std::{collections::BTreeSet, time::Duration};

use dagbok_events::{DagId, encode_any};
use tokio::{
    task::{AbortHandle, Id},
    time::Instant,
};

use super::inputs::Inputs;
use crate::{
    ParsedFile,
    snapshot::{Hash, Snapshot, hash_bytes},
};

/// The first pause before what failed, and may heal, is tried again though nothing in the folder changed:
/// a package may have been installed, a server may answer. Each pause after it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_mins(1);
/// The longest pause: an import that never ends costs a core its timeout each time.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// Readings of one text that follow each other within this are in haste.
const HASTE: Duration = Duration::from_secs(30);
/// That many are borne: modules that a file was waiting for may come one by one. More come from a file that
/// changes at its import what it depends on, which would have it read for ever.
const HASTE_BORNE: u32 = 4;
/// The first pause after those, and the longest; each is twice as long as the one before.
const REST: (Duration, Duration) = (Duration::from_secs(2), Duration::from_mins(1));

/// Why a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It is new, or something that it depends on changed.
    Changed,
    /// It failed, and may have healed meanwhile.
    Retry,
}

/// One file.
#[derive(Debug, Default)]
pub(super) struct FileState {
    /// The job that reads it, while one does.
    job: Option<Job>,
    last: Option<Last>,
    /// Its DAGs at its last reading that was none of an error.
    dag_ids: BTreeSet<DagId>,
    haste: Option<Haste>,
}

/// Readings of the same text in a row.
#[derive(Debug)]
struct Haste {
    text: Option<Hash>,
    /// When the last one ended.
    ended: Instant,
    /// How many followed the first at once.
    count: u32,
}

impl Haste {
    /// Until when the text is left alone.
    fn rests_until(&self) -> Option<Instant> {
        let over = self.count.checked_sub(HASTE_BORNE)?;
        let (first, longest) = REST;
        let pause = first.saturating_mul(1 << over.min(16)).min(longest);
        Some(self.ended + pause)
    }
}

#[derive(Debug)]
struct Job {
    why: Why,
    /// The text that it reads.
    text: Option<Hash>,
    handle: AbortHandle,
}

/// Its last reading.
#[derive(Debug)]
struct Last {
    inputs: Inputs,
    /// Whether the folder's inputs are others by now.
    outdated: bool,
    /// What was told, with what it depended on.
    told: Hash,
    failed: bool,
    retry: Option<Retry>,
}

#[derive(Debug)]
struct Retry {
    at: Instant,
    pause: Duration,
}

impl FileState {
    /// Compares its last reading with the folder of now, and gives up the reading of a text that is no more.
    pub(super) fn look_at(&mut self, name: &str, snapshot: &Snapshot) {
        if let Some(last) = &mut self.last {
            last.outdated = !last.inputs.are_of(snapshot);
        }
        if let Some(job) = self.job.take_if(|job| job.text != snapshot.hash_of(name)) {
            job.handle.abort();
        }
    }

    /// Why it is to be read now, if it is.
    pub(super) fn due(&self, name: &str, snapshot: &Snapshot, now: Instant) -> Option<Why> {
        let present = snapshot.files.get(name).is_some_and(|facts| facts.present);
        let rests = self.rests_until(snapshot.hash_of(name)).is_some_and(|until| until > now);
        if self.job.is_some() || !present || rests {
            return None;
        }
        match &self.last {
            None => Some(Why::Changed),
            Some(last) if last.outdated => Some(Why::Changed),
            Some(last) => last.retry.as_ref().filter(|retry| retry.at <= now).map(|_| Why::Retry),
        }
    }

    /// When to try again though nothing changed, where it is not being read already.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        let last = self.last.as_ref().filter(|_| self.job.is_none())?;
        last.retry.as_ref().map(|retry| retry.at)
    }

    /// Until when this text, which was read again and again, is left alone.
    pub(super) fn rests_until(&self, text: Option<Hash>) -> Option<Instant> {
        self.haste.as_ref().filter(|haste| haste.text == text).and_then(Haste::rests_until)
    }

    /// Why it is being read, while it is.
    pub(super) fn reading(&self) -> Option<Why> {
        self.job.as_ref().map(|job| job.why)
    }

    /// A job begins to read this text of it.
    pub(super) fn begin(&mut self, why: Why, text: Option<Hash>, handle: AbortHandle) {
        self.job = Some(Job { why, text, handle });
    }

    /// A job ended: why it read, or `None` where it is not the one that reads this file now.
    pub(super) fn end(&mut self, job: Id) -> Option<Why> {
        let job = self.job.take_if(|reading| reading.handle.id() == job)?;
        let now = Instant::now();
        let before = self.haste.take().filter(|last| last.text == job.text);
        let count = match before {
            // What it rested for was long enough to be no haste, and shows that it has not ended.
            Some(last) if now < last.rests_until().unwrap_or(last.ended) + HASTE => last.count + 1,
            _ => 0,
        };
        self.haste = Some(Haste { text: job.text, ended: now, count });
        Some(job.why)
    }

    pub(super) fn has_failed(&self) -> bool {
        self.last.as_ref().is_some_and(|last| last.failed)
    }

    /// The DAGs that it holds, as far as is known.
    pub(super) fn dag_ids(&self) -> &BTreeSet<DagId> {
        &self.dag_ids
    }

    /// Has it read and told of again.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    /// Takes a reading over; whether it says anything new.
    pub(super) fn take(&mut self, why: Why, inputs: Inputs, parsed: &ParsedFile) -> bool {
        let told = hash_bytes(&encode_any(&(inputs.files(), &parsed.dags, &parsed.errors)));
        let before = self.last.take();
        let news = before.as_ref().is_none_or(|last| last.told != told);
        let failed = !parsed.errors.is_empty();
        let retry = (failed && parsed.may_heal).then(|| {
            let tried = before.and_then(|last| last.retry).filter(|_| why == Why::Retry);
            let pause = tried.map_or(FIRST_PAUSE, |tried| (tried.pause * 2).min(LONGEST_PAUSE));
            Retry { at: Instant::now() + pause, pause }
        });
        if !failed {
            self.dag_ids.clear();
        }
        self.dag_ids.extend(parsed.dags.iter().map(|dag| dag.spec.dag_id.clone()));
        self.last = Some(Last { inputs, outdated: false, told, failed, retry });
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_text_that_is_read_again_and_again_is_left_alone_for_ever_longer() {
        let mut state = FileState::default();
        let mut read = |text: &str| {
            let (text, job) = (Some(hash_bytes(text.as_bytes())), tokio::spawn(async {}));
            state.begin(Why::Changed, text, job.abort_handle());
            state.end(job.id()).unwrap();
            assert_eq!(state.rests_until(None), None, "another text");
            state.rests_until(text).map(|until| (until - Instant::now()).as_secs())
        };
        for _ in 0..=3 {
            assert_eq!(read("one"), None);
        }
        for rest in [2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(read("one"), Some(rest));
            tokio::time::advance(Duration::from_secs(rest)).await;
        }
        assert_eq!(read("another"), None, "a change of its own counts anew");
        for _ in 0..20 {
            tokio::time::advance(HASTE).await;
            assert_eq!(read("another"), None, "what comes now and then is no haste");
        }
    }

    const MINUTE: Duration = Duration::from_mins(1);

    fn failed(may_heal: bool) -> ParsedFile {
        let failed = ParsedFile::failed("x.py", "E", String::new(), String::new());
        ParsedFile { may_heal, ..failed }
    }

    /// The pause until the file is tried again, after a reading for this reason.
    fn pause_after(state: &mut FileState, why: Why, parsed: &ParsedFile) -> Option<Duration> {
        let job = tokio::spawn(async {});
        state.begin(why, None, job.abort_handle());
        assert_eq!(state.retry_at(), None, "it is being read");
        let why = state.end(job.id()).unwrap();
        let before = Instant::now();
        state.take(why, Inputs::default(), parsed);
        state.retry_at().map(|at| Duration::from_secs(at.duration_since(before).as_secs()))
    }

    #[tokio::test]
    async fn what_may_heal_is_tried_again_ever_more_rarely_and_from_the_start_after_a_change() {
        let mut state = FileState::default();
        assert_eq!(pause_after(&mut state, Why::Changed, &failed(true)), Some(MINUTE));
        for minutes in [2, 4, 8, 16, 32, 60, 60] {
            let pause = pause_after(&mut state, Why::Retry, &failed(true));
            assert_eq!(pause, Some(minutes * MINUTE));
        }
        assert_eq!(pause_after(&mut state, Why::Changed, &failed(true)), Some(MINUTE));
        assert!(state.has_failed());
        assert_eq!(pause_after(&mut state, Why::Retry, &ParsedFile::default()), None);
        assert!(!state.has_failed());
    }

    #[tokio::test]
    async fn what_can_not_heal_is_never_tried_again() {
        let mut state = FileState::default();
        assert_eq!(pause_after(&mut state, Why::Changed, &failed(false)), None);
        assert!(state.has_failed());
    }
}
