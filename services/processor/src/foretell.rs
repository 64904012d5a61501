//! Timetables written in Python: asked after the run that the scheduler made last, for what comes next, and again as
//! that draws near, though no file changed.
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use dagbok_events::{DagId, Interval, Micros, ScheduleForetold, Timestamp};
use dagbok_protocol::{Answer, CommandBody, limits::AHEAD_US};
use dagbok_runtime::Shutdown;

use crate::{
    ParsedFile,
    parser::Parsers,
    tell::{Teller, Told},
};

/// Of which DAGs the timetables are asked, each after which data interval; `None` before the first run.
pub(crate) type Last = BTreeMap<DagId, Option<Interval>>;

/// Timetables are asked again after so long at the latest: they may go by more than their file.
const LATEST: Duration = Duration::from_hours(12);
/// And at the earliest: while a schedule catches up, a few days of it are used up at once.
const EARLIEST: Duration = Duration::from_mins(1);
/// An answer with fewer runs was not cut short: there are none after them.
const CUT: u64 = 300;

/// How one file is read.
pub(crate) struct Reading {
    pub(crate) parsers: Parsers,
    pub(crate) teller: Arc<Teller>,
    pub(crate) folder: PathBuf,
    pub(crate) within: Duration,
    /// Gives it up.
    pub(crate) told: Shutdown,
}

impl Reading {
    /// Reads a file, and asks its timetables; once more, where it has such that are not among those `known`. It is not
    /// read where the runs of `unused` are still the last ones. `None` where it is given up before.
    pub(crate) async fn read(
        &self,
        file: &str,
        known: BTreeSet<DagId>,
        unused: Option<Last>,
    ) -> Option<Read> {
        if let Some(unused) = unused {
            let dag_ids: BTreeSet<DagId> = unused.keys().cloned().collect();
            let last = tokio::select! {
                last = self.last_of(file, &dag_ids) => last?,
                () = self.told.started() => return None,
            };
            if last == unused {
                return Some(Read::Unused);
            }
        }
        let parsed = self.read_after(file, &known).await?;
        let found: BTreeSet<DagId> = parsed.to_foretell().cloned().collect();
        if found.is_subset(&known) {
            return Some(Read::Parsed(Box::new(parsed)));
        }
        let parsed = self.read_after(file, &found).await?;
        Some(Read::Parsed(Box::new(parsed)))
    }

    async fn read_after(&self, file: &str, dag_ids: &BTreeSet<DagId>) -> Option<ParsedFile> {
        let last = tokio::select! {
            last = self.last_of(file, dag_ids) => last?,
            () = self.told.started() => return None,
        };
        self.parsers.parse(&self.folder, file, &last, self.within, &self.told).await
    }

    async fn last_of(&self, file: &str, dag_ids: &BTreeSet<DagId>) -> Option<Last> {
        let mut last: Last = dag_ids.iter().map(|dag_id| (dag_id.clone(), None)).collect();
        if last.is_empty() {
            return Some(last);
        }
        let body = CommandBody::LastScheduled { dag_ids: dag_ids.iter().cloned().collect() };
        if let Told::Answered(Answer::LastScheduled(known)) = self.teller.tell(file, body).await {
            last.extend(known.into_iter().map(|it| (it.dag_id, it.data_interval)));
            return Some(last);
        }
        None
    }
}

/// How a reading ended.
pub(crate) enum Read {
    /// What the file says.
    Parsed(Box<ParsedFile>),
    /// Nothing of what its timetables answered before was used up, so that it was not read.
    Unused,
}

/// When the timetables of a file are to be asked again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Again {
    /// After so long.
    pub(crate) look: Duration,
    /// Not before so long, while these runs are the last ones: a schedule that catches up, and is paused, or waits for
    /// its turn, would answer as before.
    pub(crate) unless: Option<(Duration, Last)>,
}

/// After what time the timetables of a file are to be asked again, where it has such.
pub(crate) fn again_in(parsed: &ParsedFile, now: Timestamp) -> Option<Again> {
    let answers = parsed.dags.iter().filter_map(|dag| Some((dag, dag.foretold.as_deref()?)));
    let (mut look, mut read, mut unused) = (None, Duration::MAX, Last::new());
    for (dag, answer) in answers {
        let reach = reach(answer, now);
        look = Some(look.map_or(reach, |soonest: Duration| soonest.min(reach)));
        if reach < 2 * EARLIEST {
            unused.insert(dag.spec.dag_id.clone(), answer.after);
        } else {
            read = read.min(reach);
        }
    }
    // Files that were read at once are not all read at once again.
    let bytes = parsed.file.bytes();
    let spread = bytes.fold(0_u32, |mix, byte| mix.wrapping_mul(31).wrapping_add(byte.into()));
    let after = |reach: Duration| {
        (reach / 2).clamp(EARLIEST, LATEST).mul_f64(1.0 - f64::from(spread % 256) / 1024.0)
    };
    let unless = (!unused.is_empty()).then(|| (after(read), unused));
    look.map(|look| Again { look: after(look), unless })
}

/// How far ahead an answer goes; for ever, where there is nothing after it.
fn reach(answer: &ScheduleForetold, now: Timestamp) -> Duration {
    let count: u64 = answer.runs.iter().map(|runs| u64::from(runs.count)).sum();
    let Some(last) = answer.runs.last() else { return Duration::MAX };
    let step = Micros(last.step.0.saturating_mul(i64::from(last.count.saturating_sub(1))));
    let last = last.run_after.unwrap_or(last.first.end).plus(step);
    let ahead = last.since(now).0;
    if count < CUT && ahead < AHEAD_US {
        return Duration::MAX;
    }
    Duration::from_micros(u64::try_from(ahead).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use dagbok_events::ForetoldRuns;
    use dagbok_protocol::RegisteredDag;

    use super::*;

    const HOUR: i64 = 3_600_000_000;

    fn answer(hours: &[(i64, u32)]) -> ScheduleForetold {
        let runs = hours.iter().map(|(from, count)| ForetoldRuns {
            first: Interval { start: Timestamp(from * HOUR), end: Timestamp((from + 1) * HOUR) },
            run_after: None,
            step: Micros(HOUR),
            count: *count,
        });
        ScheduleForetold { after: None, runs: runs.collect(), heedless: false, manual: None }
    }

    fn dag(dag_id: &str, answer: ScheduleForetold) -> RegisteredDag {
        let spec = serde_json::json!({
            "dag_id": dag_id, "schedule": { "timetable": "Manual", "timezone": "UTC" }, "max_active_runs": 1,
            "max_active_tasks": 1, "tasks": [], "source": { "file": "a.py" }
        });
        let spec = serde_json::from_value(spec).unwrap();
        let spec_digest = dagbok_events::Digest::new("0".repeat(64)).unwrap();
        RegisteredDag { spec_digest, spec, foretold: Some(Box::new(answer)) }
    }

    #[test]
    fn it_is_asked_again_before_what_was_foretold_is_used_up() {
        let hours = |n: u64| Duration::from_hours(n);
        for (answer, reaches) in [
            (answer(&[(0, 30)]), hours(30)),
            (answer(&[(0, 1), (99, 1)]), hours(100)),
            // There are none after these: what ends is asked as rarely as may be.
            (answer(&[(0, 3)]), Duration::MAX),
            (answer(&[]), Duration::MAX),
            // So many that they do not reach far: while it catches up.
            (answer(&[(-1_000, 999)]), Duration::ZERO),
        ] {
            assert_eq!(reach(&answer, Timestamp(0)), reaches, "{answer:?}");
        }
    }

    #[test]
    fn files_are_asked_again_at_different_times_and_those_without_such_timetables_never() {
        let file = |name: &str| ParsedFile { file: name.to_owned(), ..ParsedFile::default() };
        assert_eq!(again_in(&file("a.py"), Timestamp(0)), None);
        let foretold = |name: &str| {
            let dags = vec![dag("one", answer(&[(0, 30)]))];
            again_in(&ParsedFile { dags, ..file(name) }, Timestamp(0)).unwrap()
        };
        let (one, other) = (foretold("a.py"), foretold("b.py"));
        assert_ne!(one.look, other.look);
        assert_eq!((one.unless, other.unless), (None, None));
    }

    #[test]
    fn a_schedule_that_catches_up_is_not_asked_again_before_it_moved() {
        let back =
            |after: Option<Interval>| ScheduleForetold { after, ..answer(&[(-9_000, 1_440)]) };
        let last = Interval { start: Timestamp(-9_001 * HOUR), end: Timestamp(-9_000 * HOUR) };
        let again = |dags| {
            let parsed = ParsedFile { file: "a.py".to_owned(), dags, ..ParsedFile::default() };
            again_in(&parsed, Timestamp(0)).unwrap()
        };
        let alone = again(vec![dag("old", back(Some(last)))]);
        assert!(alone.look <= EARLIEST);
        let (read, unused) = alone.unless.unwrap();
        assert!(read > LATEST / 2, "{read:?}");
        assert_eq!(unused, Last::from([(DagId::new("old").unwrap(), Some(last))]));
        // Beside another it is read when that one is to be.
        let (of_both, other) = (
            again(vec![dag("old", back(None)), dag("new", answer(&[(0, 10)]))]),
            again(vec![dag("new", answer(&[(0, 10)]))]),
        );
        assert_eq!(of_both.unless.unwrap().0, other.look);
    }
}
