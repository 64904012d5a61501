//! Numbers by instrument and labels: what notes add to.
use std::collections::{BTreeMap, VecDeque};

use dagbok_events::{Micros, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Note, Trace, Way, note};

/// Between the values of a series' labels.
pub(crate) const BETWEEN: char = '\u{1f}';
/// The upper ends of a histogram's steps in microseconds: from half a millisecond to a day.
pub(crate) const STEPS: [u64; 18] = [
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    1_000_000,
    5_000_000,
    15_000_000,
    60_000_000,
    300_000_000,
    900_000_000,
    3_600_000_000,
    14_400_000_000,
    86_400_000_000,
];
/// How many of the newest a summary's quantiles are of.
const NEWEST: usize = 100;

/// How many were at most so long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// By step, those above the last one at the end; not added up.
    pub steps: [u64; STEPS.len() + 1],
    /// All of them together, in microseconds.
    pub sum: u64,
    /// Of each step the newest that belongs to a trace, where one does.
    #[serde(default)]
    pub exemplars: BTreeMap<u8, Exemplar>,
}

/// One of those that were measured, with where to look it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exemplar {
    /// The trace.
    pub trace: Trace,
    /// How long it took, in microseconds.
    pub took: u64,
    /// When that was recorded.
    pub at: Timestamp,
}

impl Histogram {
    fn add(&mut self, took: u64, trace: Option<(Trace, Timestamp)>) {
        let step = STEPS.partition_point(|end| *end < took);
        if let Some(count) = self.steps.get_mut(step) {
            *count += 1;
        }
        if let (Some((trace, at)), Ok(step)) = (trace, u8::try_from(step)) {
            self.exemplars.insert(step, Exemplar { trace, took, at });
        }
        self.sum = self.sum.saturating_add(took);
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.steps.iter().sum()
    }
}

/// The newest values, and the sum and count of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recent {
    /// The newest, in microseconds, oldest first.
    pub newest: VecDeque<u64>,
    /// All of them together, in microseconds.
    pub sum: u64,
    /// How many in all.
    pub count: u64,
}

impl Recent {
    fn add(&mut self, took: u64) {
        if self.newest.len() == NEWEST {
            self.newest.pop_front();
        }
        self.newest.push_back(took);
        self.sum = self.sum.saturating_add(took);
        self.count += 1;
    }

    /// The values of the newest below which this share in hundredths lies, in microseconds; by nearest rank.
    pub fn quantiles<const N: usize>(&self, hundredths: [usize; N]) -> [u64; N] {
        let mut sorted: Vec<u64> = self.newest.iter().copied().collect();
        sorted.sort_unstable();
        hundredths.map(|share| {
            let rank = (sorted.len() * share).div_ceil(100).max(1);
            sorted.get(rank - 1).copied().unwrap_or(0)
        })
    }
}

type Series<T> = BTreeMap<String, BTreeMap<String, T>>;

/// All that is counted and measured so far. The keys within are an instrument's name, then its labels' values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tallies {
    pub(crate) counters: Series<u64>,
    pub(crate) histograms: Series<Histogram>,
    pub(crate) recents: Series<Recent>,
}

fn at<'a, T: Default>(of: &'a mut Series<T>, name: &str, labels: &[&str]) -> &'a mut T {
    if !of.contains_key(name) {
        of.insert(name.to_owned(), BTreeMap::new());
    }
    let family = of.get_mut(name).expect("it was put there just now");
    let mut key = String::with_capacity(32);
    for (n, label) in labels.iter().enumerate() {
        if n > 0 {
            key.push(BETWEEN);
        }
        key.push_str(label);
    }
    family.entry(key).or_default()
}

fn micros(of: Micros) -> u64 {
    u64::try_from(of.0).unwrap_or(0)
}

impl Tallies {
    pub(crate) fn count(&mut self, name: &str, labels: &[&str], by: u64) {
        let count = at(&mut self.counters, name, labels);
        *count = count.saturating_add(by);
    }

    pub(crate) fn time(
        &mut self,
        name: &str,
        labels: &[&str],
        took: Option<Micros>,
        trace: Option<(Trace, Timestamp)>,
    ) {
        if let Some(took) = took {
            at(&mut self.histograms, name, labels).add(micros(took), trace);
        }
    }

    fn recent(&mut self, name: &str, labels: &[&str], took: Option<Micros>) {
        if let Some(took) = took {
            at(&mut self.recents, name, labels).add(micros(took));
        }
    }

    /// Adds what a note says; series of single tasks only where they are asked for.
    pub(crate) fn take(&mut self, note: &Note<'_>, by_task: bool, now: Timestamp) {
        let trace = note.trace().map(|trace| (trace, now));
        match note {
            Note::RunCreated { run_type, delay, .. } => {
                self.count("dagbok_runs_created_total", &[note::run_type(*run_type)], 1);
                if delay.is_some() {
                    self.count("dagbok_expected_runs_total", &["made"], 1);
                }
                self.time("dagbok_schedule_delay_seconds", &["made"], *delay, trace);
            }
            Note::RunStarted { delay, .. } => {
                self.time("dagbok_schedule_delay_seconds", &["started"], *delay, trace);
            }
            Note::FirstTry { delay, .. } => {
                self.time("dagbok_schedule_delay_seconds", &["first_try"], *delay, trace);
            }
            Note::RunEnded { run, state, took, .. } => {
                let dag = run.dag_id.as_str();
                self.count("dagbok_runs_ended_total", &[state], 1);
                self.count("dagbok_dag_runs_ended_total", &[dag, state], 1);
                self.time("dagbok_run_duration_seconds", &[state], *took, trace);
                self.recent("dagbok_dag_run_duration_seconds", &[dag], *took);
            }
            Note::Missed { why, count } => self.count("dagbok_expected_runs_total", &[why], *count),
            Note::Queued { decided, .. } => {
                self.time("dagbok_hand_off_hop_seconds", &["decide"], *decided, trace);
            }
            Note::Started { queued, handed, .. } => {
                self.count("dagbok_tries_started_total", &[], 1);
                self.time("dagbok_queue_wait_seconds", &[], *queued, trace);
                self.time("dagbok_hand_off_seconds", &[], *handed, trace);
                let start = queued.filter(|_| handed.is_some());
                self.time("dagbok_hand_off_hop_seconds", &["start"], start, trace);
            }
            Note::Ended { .. } => self.ended(note, by_task, trace),
            Note::RuledOut { why, count, .. } => {
                self.count("dagbok_tasks_ruled_out_total", &[why], *count);
            }
            Note::Cleared { count } => self.count("dagbok_tasks_cleared_total", &[], *count),
            Note::Trigger { outcome, .. } => self.count("dagbok_triggers_total", &[outcome], 1),
            Note::Callback { outcome, .. } => self.count("dagbok_callbacks_total", &[outcome], 1),
            Note::Refused { why } => self.count("dagbok_reports_refused_total", &[why], 1),
            Note::AssetUpdated => self.count("dagbok_asset_updates_total", &[], 1),
            Note::Registered => self.count("dagbok_dags_registered_total", &[], 1),
            Note::Forgotten { dag } => self.forget(dag.as_str()),
            Note::ImportFailed { .. } => self.count("dagbok_import_failures_total", &[], 1),
            Note::ExecutorJoined => {}
            Note::ExecutorLeft { why } => self.count("dagbok_executors_left_total", &[why], 1),
            Note::ClockWentBack => self.count("dagbok_clock_went_back_total", &[], 1),
            Note::Foreign => self.count("dagbok_foreign_entries_total", &[], 1),
        }
    }

    fn ended(&mut self, note: &Note<'_>, by_task: bool, trace: Option<(Trace, Timestamp)>) {
        let Note::Ended { of: Way { run, task, .. }, state, took, usage, failure, .. } = note
        else {
            return;
        };
        let (dag, task) = (run.dag_id.as_str(), task.as_str());
        self.count("dagbok_tasks_ended_total", &[state], 1);
        self.count("dagbok_dag_tries_ended_total", &[dag, state], 1);
        self.time("dagbok_try_duration_seconds", &[state], *took, trace);
        if let Some(failure) = failure {
            let (kind, fault) = note::failure(failure);
            self.count("dagbok_task_failures_total", &[kind, fault], 1);
        }
        if let Some(usage) = usage {
            self.count("dagbok_try_cpu_seconds_total", &["user"], usage.user_us);
            self.count("dagbok_try_cpu_seconds_total", &["system"], usage.system_us);
        }
        if by_task {
            self.count("dagbok_task_tries_ended_total", &[dag, task, state], 1);
            let whole = took.filter(|_| matches!(*state, "success" | "failed" | "up_for_retry"));
            self.recent("dagbok_task_try_duration_seconds", &[dag, task], whole);
        }
    }

    /// Drops the series of a DAG that is gone for good.
    fn forget(&mut self, dag: &str) {
        fn drop_of<T>(of: &mut Series<T>, dag: &str) {
            for (name, family) in of {
                let instrument = crate::find(name);
                if instrument.is_some_and(|it| it.labels.first() == Some(&"dag_id")) {
                    family.retain(|labels, _| labels.split(BETWEEN).next() != Some(dag));
                }
            }
        }
        drop_of(&mut self.counters, dag);
        drop_of(&mut self.recents, dag);
    }
}
