//! What is known of one DAG file: what its last reading depended on, and when to read it again.
use std::{collections::BTreeSet, time::Duration};

use dagbok_events::{DagId, encode_any};
use dagbok_runtime::Shutdown;
use tokio::{task::Id, time::Instant};

use super::{
    inputs::Inputs,
    repeats::{Pace, Repeats},
};
use crate::{
    ParsedFile,
    foretell::{Again, Last},
    snapshot::{Hash, Snapshot, hash_bytes},
};

/// The first pause before what failed, and may heal, is tried again though nothing in the folder changed:
/// a package may have been installed, a server may answer. Each pause after it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_mins(1);
/// The longest pause: an import that never ends costs a core its timeout each time.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// Readings of one text that follow each other: modules that a file was waiting for may come one by one. More
/// come from a file that changes at its import what it depends on, which would have it read for ever.
static READINGS: Pace = Pace {
    within: Duration::from_secs(30),
    allowed: 4,
    rest: (Duration::from_secs(2), Duration::from_mins(1)),
};

/// Why a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It is new, or something that it depends on changed.
    Changed,
    /// It failed, and may have healed meanwhile; or its timetables are to be asked for what comes next.
    Retry,
}

/// One file.
#[derive(Debug, Default)]
pub(super) struct FileState {
    /// The job that reads it, while one does.
    job: Option<Job>,
    last: Option<LastReading>,
    /// Its DAGs at its last reading that was none of an error.
    dag_ids: BTreeSet<DagId>,
    /// Those of them whose timetables are written in Python.
    to_foretell: BTreeSet<DagId>,
    /// Readings of the same text in a row.
    repeats: Option<(Option<Hash>, Repeats)>,
}

#[derive(Debug)]
struct Job {
    why: Why,
    /// The text that it reads.
    text: Option<Hash>,
    id: Id,
    began: Instant,
    /// Gives it up.
    give_up: Shutdown,
}

/// Its last reading.
#[derive(Debug)]
struct LastReading {
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
    /// Until when it need not be read where these are still the last runs.
    unless: Option<(Instant, Last)>,
}

impl FileState {
    /// Compares its last reading with the folder of now, and gives up the reading of a text that is no more.
    pub(super) fn look_at(&mut self, name: &str, snapshot: &Snapshot) {
        if let Some(last) = &mut self.last {
            last.outdated = !last.inputs.are_of(snapshot);
        }
        if let Some(job) = self.job.take_if(|job| job.text != snapshot.hash_of(name)) {
            job.give_up.start();
        }
    }

    /// Gives up the reading that goes on, if one does.
    pub(super) fn give_up(&mut self) {
        if let Some(job) = self.job.take() {
            job.give_up.start();
        }
    }

    /// Gives up its reading of what only may have healed, to be tried after the same pause again; whether
    /// it was being read for that.
    pub(super) fn put_off(&mut self) -> bool {
        let Some(job) = self.job.take_if(|job| job.why == Why::Retry) else { return false };
        job.give_up.start();
        self.look_later();
        true
    }

    /// Why it is to be read now, if it is.
    pub(super) fn due(&self, name: &str, snapshot: &Snapshot, now: Instant) -> Option<Why> {
        let present = snapshot.facts_of(name).is_some_and(|facts| facts.present);
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

    /// The last runs, where it is not to be read as long as they are: its timetables would answer as they did.
    pub(super) fn unused(&self, why: Why, now: Instant) -> Option<Last> {
        let retry = self.last.as_ref().filter(|_| why == Why::Retry)?.retry.as_ref()?;
        let (until, last) = retry.unless.as_ref()?;
        (now < *until).then(|| last.clone())
    }

    /// Its timetables need not be asked yet: after the same pause it is looked at again.
    pub(super) fn look_later(&mut self) {
        if let Some(retry) = self.last.as_mut().and_then(|last| last.retry.as_mut()) {
            retry.at = Instant::now() + retry.pause;
        }
    }

    /// Until when this text, which was read again and again, is left alone.
    pub(super) fn rests_until(&self, text: Option<Hash>) -> Option<Instant> {
        let (of, repeats) = self.repeats.as_ref()?;
        repeats.rests_until().filter(|_| *of == text)
    }

    /// Why it is being read, while it is.
    pub(super) fn reading(&self) -> Option<Why> {
        self.job.as_ref().map(|job| job.why)
    }

    /// A job begins to read this text of it, until it is given up.
    pub(super) fn begin(&mut self, why: Why, text: Option<Hash>, id: Id, give_up: Shutdown) {
        self.job = Some(Job { why, text, id, began: Instant::now(), give_up });
    }

    /// A job ended: why it read, or `None` where it is not the one that reads this file now.
    pub(super) fn end(&mut self, job: Id) -> Option<Why> {
        let job = self.job.take_if(|reading| reading.id == job)?;
        let before = self.repeats.take().filter(|(text, _)| *text == job.text);
        let repeats = before
            .map_or_else(|| Repeats::begun(&READINGS), |(_, repeats)| repeats.again(job.began));
        self.repeats = Some((job.text, repeats));
        Some(job.why)
    }

    pub(super) fn has_failed(&self) -> bool {
        self.last.as_ref().is_some_and(|last| last.failed)
    }

    /// The DAGs that it holds, as far as is known.
    pub(super) fn dag_ids(&self) -> &BTreeSet<DagId> {
        &self.dag_ids
    }

    /// Those of them whose timetables are asked when they make their next runs.
    pub(super) fn to_foretell(&self) -> &BTreeSet<DagId> {
        &self.to_foretell
    }

    /// Has it read and told of again.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    /// Takes a reading over, which is to be done again after `again`; whether it says anything new.
    pub(super) fn take(
        &mut self,
        why: Why,
        inputs: Inputs,
        parsed: &ParsedFile,
        again: Option<Again>,
    ) -> bool {
        // A zip that is being written says the same at each look, whatever is in it by then.
        let files = (!parsed.is_of_broken_zip()).then(|| inputs.files());
        let told = hash_bytes(&encode_any(&(files, &parsed.dags, &parsed.errors)));
        let before = self.last.take();
        let news = before.as_ref().is_none_or(|last| last.told != told);
        let failed = !parsed.errors.is_empty();
        let pause = if failed && parsed.may_heal {
            let tried = before.filter(|last| why == Why::Retry && last.failed);
            let tried = tried.and_then(|last| last.retry);
            let pause = tried.map_or(FIRST_PAUSE, |tried| (tried.pause * 2).min(LONGEST_PAUSE));
            // What it would look up may be there sooner than a package that is missing.
            Some(again.as_ref().map_or(pause, |again| pause.min(again.look)))
        } else {
            again.as_ref().map(|again| again.look)
        };
        let now = Instant::now();
        let unless = again.filter(|_| !failed).and_then(|again| again.unless);
        let unless = unless.map(|(read, last)| (now + read, last));
        let retry = pause.map(|pause| Retry { at: now + pause, pause, unless });
        if !failed {
            self.dag_ids.clear();
            self.to_foretell.clear();
        }
        self.to_foretell.extend(parsed.to_foretell().cloned());
        self.dag_ids.extend(parsed.dags.iter().map(|dag| dag.spec.dag_id.clone()));
        self.last = Some(LastReading { inputs, outdated: false, told, failed, retry });
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
            state.begin(Why::Changed, text, job.id(), Shutdown::new());
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
            tokio::time::advance(READINGS.within).await;
            assert_eq!(read("another"), None, "what comes now and then is not too soon");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn readings_that_take_long_are_counted_as_well() {
        let (mut state, text) = (FileState::default(), Some(hash_bytes(b"")));
        for n in 0..=READINGS.allowed {
            assert_eq!(state.rests_until(text), None, "{n}");
            let job = tokio::spawn(async {});
            state.begin(Why::Changed, text, job.id(), Shutdown::new());
            tokio::time::advance(2 * READINGS.within).await;
            state.end(job.id()).unwrap();
        }
        assert!(state.rests_until(text).is_some());
    }

    const MINUTE: Duration = Duration::from_mins(1);

    fn failed(may_heal: bool) -> ParsedFile {
        let failed = ParsedFile::failed("x.py", "E", String::new(), String::new());
        ParsedFile { may_heal, ..failed }
    }

    /// The pause until the file is tried again, after a reading for this reason.
    fn pause_after(state: &mut FileState, why: Why, parsed: &ParsedFile) -> Option<Duration> {
        let job = tokio::spawn(async {});
        state.begin(why, None, job.id(), Shutdown::new());
        assert_eq!(state.retry_at(), None, "it is being read");
        let why = state.end(job.id()).unwrap();
        let before = Instant::now();
        state.take(why, Inputs::default(), parsed, None);
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

    #[tokio::test(start_paused = true)]
    async fn what_is_only_tried_again_is_put_off_by_its_pause_and_nothing_else_is() {
        let mut state = FileState::default();
        pause_after(&mut state, Why::Changed, &failed(true));
        pause_after(&mut state, Why::Retry, &failed(true));
        tokio::time::advance(2 * MINUTE).await;
        for (why, put_off) in [(Why::Changed, false), (Why::Retry, true)] {
            let (job, given_up) = (tokio::spawn(async {}), Shutdown::new());
            state.begin(why, None, job.id(), given_up.clone());
            assert_eq!((state.put_off(), given_up.is_started()), (put_off, put_off), "{why:?}");
        }
        assert_eq!(state.retry_at(), Some(Instant::now() + 2 * MINUTE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_whose_timetables_are_asked_is_read_again_though_nothing_changed() {
        let (mut state, job) = (FileState::default(), tokio::spawn(async {}));
        state.begin(Why::Changed, None, job.id(), Shutdown::new());
        state.end(job.id()).unwrap();
        let again = Again { look: MINUTE, unless: None };
        state.take(Why::Changed, Inputs::default(), &ParsedFile::default(), Some(again));
        assert_eq!(state.retry_at(), Some(Instant::now() + MINUTE));
        assert!(!state.has_failed());
        assert_eq!(state.unused(Why::Retry, Instant::now()), None);
        // What fails then is tried again as anything that fails for the first time.
        tokio::time::advance(MINUTE).await;
        assert_eq!(pause_after(&mut state, Why::Retry, &failed(true)), Some(MINUTE));
        assert_eq!(pause_after(&mut state, Why::Retry, &failed(true)), Some(2 * MINUTE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_whose_schedule_catches_up_is_not_read_again_before_a_run_was_made() {
        let (mut state, job) = (FileState::default(), tokio::spawn(async {}));
        state.begin(Why::Changed, None, job.id(), Shutdown::new());
        state.end(job.id()).unwrap();
        let last = Last::from([(DagId::new("old").unwrap(), None)]);
        let again = Again { look: MINUTE, unless: Some((3 * MINUTE, last.clone())) };
        state.take(Why::Changed, Inputs::default(), &ParsedFile::default(), Some(again));
        for minute in 1..3 {
            tokio::time::advance(MINUTE).await;
            let now = Instant::now();
            assert!(state.retry_at().is_some_and(|at| at <= now), "minute {minute}");
            assert_eq!(state.unused(Why::Retry, now), Some(last.clone()));
            assert_eq!(state.unused(Why::Changed, now), None, "what changed is read");
            state.look_later();
        }
        tokio::time::advance(MINUTE).await;
        assert_eq!(
            state.unused(Why::Retry, Instant::now()),
            None,
            "now and then it is read all the same"
        );
    }

    #[tokio::test]
    async fn what_can_not_heal_is_never_tried_again() {
        let mut state = FileState::default();
        assert_eq!(pause_after(&mut state, Why::Changed, &failed(false)), None);
        assert!(state.has_failed());
    }
}
