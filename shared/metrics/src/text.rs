//! The figures in Prometheus' text format.
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use dagbok_events::{FailureKind, Timestamp, hex};

use crate::{
    INSTRUMENTS, Instrument, Kind, Ledger, Source, Tallies,
    tallies::{BETWEEN, Exemplar, STEPS},
};

/// How much is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// All.
    #[default]
    All,
    /// No series of single DAGs and tasks.
    Totals,
}

/// A label's value, as it stands between quotation marks.
pub fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Microseconds as seconds, without an exponent and without rounding.
fn seconds(micros: u64) -> String {
    let (whole, part) = (micros / 1_000_000, micros % 1_000_000);
    if part == 0 {
        return whole.to_string();
    }
    let text = format!("{whole}.{part:06}");
    text.trim_end_matches('0').to_owned()
}

fn stamp(at: Timestamp) -> String {
    seconds(u64::try_from(at.0).unwrap_or(0))
}

/// What is written so far.
#[derive(Default)]
pub(crate) struct Page {
    text: String,
    /// Whether each step of a histogram is to have its exemplar.
    exemplars: bool,
}

impl Page {
    /// All of it.
    pub(crate) fn text(self) -> String {
        self.text
    }

    fn line(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let written = if labels.is_empty() {
            writeln!(self.text, "{name} {value}")
        } else {
            writeln!(self.text, "{name}{{{labels}}} {value}")
        };
        written.expect("a string takes all");
    }
}

/// `a="1",b="2"` of a series' key.
fn labels(instrument: &Instrument, key: &str) -> String {
    let mut text = String::new();
    if instrument.labels.is_empty() {
        return text;
    }
    for (name, value) in instrument.labels.iter().zip(key.split(BETWEEN)) {
        let comma = if text.is_empty() { "" } else { "," };
        write!(text, "{comma}{name}=\"{}\"", escape(value)).expect("a string takes all");
    }
    text
}

/// An exemplar as OpenMetrics has it behind a value.
fn said(it: &Exemplar) -> String {
    format!(" # {{trace_id=\"{}\"}} {} {}", hex(&it.trace), seconds(it.took), stamp(it.at))
}

fn with(labels: &str, name: &str, value: &str) -> String {
    let comma = if labels.is_empty() { "" } else { "," };
    format!("{labels}{comma}{name}=\"{value}\"")
}

/// The series of a counter that are there before anything happened: all of those whose labels' values are known.
fn zeros(instrument: &Instrument) -> Vec<String> {
    let values: &[&str] = match instrument.name {
        "dagbok_expected_runs_total" => &[
            "made",
            "paused",
            "no_scheduler",
            "schedule_changed",
            "too_many_active",
            "made_by_hand",
        ],
        "dagbok_runs_created_total" => &["manual", "scheduled", "backfill", "asset_triggered"],
        "dagbok_runs_ended_total" => &["success", "failed", "timed_out", "cancelled"],
        "dagbok_tasks_ended_total" => &[
            "success",
            "failed",
            "up_for_retry",
            "skipped",
            "up_for_reschedule",
            "deferred",
            "lost",
            "cancelled",
            "returned",
        ],
        "dagbok_tasks_ruled_out_total" => &["skipped", "upstream_failed", "removed"],
        "dagbok_triggers_total" => &["fired", "failed"],
        "dagbok_callbacks_total" => &["success", "failed", "lost", "task_failed"],
        "dagbok_executors_left_total" => &["drained", "gone"],
        "dagbok_try_cpu_seconds_total" => &["user", "system"],
        "dagbok_notification_ends_total" => &["accepted", "failed", "rejected"],
        "dagbok_task_failures_total" => return failures(),
        _ if instrument.labels.is_empty() => &[""],
        _ => &[],
    };
    values.iter().map(|value| (*value).to_owned()).collect()
}

/// Counters of single DAGs, with the states that are there from the DAG's first end on, of a run or of a try. Not all:
/// there are ten thousand DAGs.
const OF_DAGS: [(&str, &[&str]); 2] = [
    ("dagbok_dag_runs_ended_total", &["success", "failed", "timed_out"]),
    ("dagbok_dag_tries_ended_total", &["success", "failed", "up_for_retry"]),
];

fn failures() -> Vec<String> {
    const KINDS: [FailureKind; 8] = [
        FailureKind::Exception,
        FailureKind::Timeout,
        FailureKind::OutOfMemory,
        FailureKind::Signal,
        FailureKind::Exit,
        FailureKind::ImportError,
        FailureKind::CouldNotStart,
        FailureKind::Executor,
    ];
    let faults = ["user", "system", "data"];
    KINDS
        .iter()
        .flat_map(|kind| faults.map(|fault| format!("{}{BETWEEN}{fault}", kind.word())))
        .collect()
}

impl Tallies {
    /// Writes one instrument; of a gauge its labels and values, which are not counted here.
    pub(crate) fn write(
        &self,
        page: &mut Page,
        instrument: &Instrument,
        gauge: Vec<(String, String)>,
    ) {
        let name = instrument.name;
        let help = instrument.meaning.replace('\\', "\\\\");
        writeln!(page.text, "# HELP {name} {help}\n# TYPE {name} {}", instrument.kind.word())
            .expect("a string takes all");
        match instrument.kind {
            Kind::Counter | Kind::SecondsCounter => self.counter(page, instrument),
            Kind::Gauge => {
                for (labels, value) in gauge {
                    page.line(name, &labels, value);
                }
            }
            Kind::Histogram => self.histogram(page, instrument),
            Kind::Summary => self.summary(page, instrument),
        }
    }

    fn counter(&self, page: &mut Page, instrument: &Instrument) {
        let family = self.counters.get(instrument.name);
        if let Some((_, states)) = OF_DAGS.iter().find(|(name, _)| *name == instrument.name) {
            self.zeros_of_dags(page, instrument, states);
        }
        // What has not happened is shown as none: else its first time would be no rise of anything.
        for key in zeros(instrument) {
            if family.is_none_or(|family| !family.contains_key(&key)) {
                page.line(instrument.name, &labels(instrument, &key), 0);
            }
        }
        for (key, value) in family.into_iter().flatten() {
            let labels = labels(instrument, key);
            if instrument.kind == Kind::SecondsCounter {
                page.line(instrument.name, &labels, seconds(*value));
            } else {
                page.line(instrument.name, &labels, value);
            }
        }
    }

    fn zeros_of_dags(&self, page: &mut Page, instrument: &Instrument, states: &[&str]) {
        let families = OF_DAGS.iter().filter_map(|(name, _)| self.counters.get(*name));
        let keys = families.flat_map(BTreeMap::keys);
        let dags: BTreeSet<&str> = keys.filter_map(|key| key.split(BETWEEN).next()).collect();
        let family = self.counters.get(instrument.name);
        let mut key = String::new();
        for (dag, state) in dags.iter().flat_map(|dag| states.iter().map(move |it| (dag, it))) {
            key.clear();
            key.push_str(dag);
            key.push(BETWEEN);
            key.push_str(state);
            if family.is_none_or(|family| !family.contains_key(&key)) {
                page.line(instrument.name, &labels(instrument, &key), 0);
            }
        }
    }

    fn histogram(&self, page: &mut Page, instrument: &Instrument) {
        let name = instrument.name;
        for (key, histogram) in self.histograms.get(name).into_iter().flatten() {
            let labels = labels(instrument, key);
            let bucket = format!("{name}_bucket");
            let mut below = 0;
            let ends = STEPS.iter().map(|end| seconds(*end)).chain(["+Inf".to_owned()]);
            for ((end, count), step) in ends.zip(&histogram.steps).zip(0_u8..) {
                below += count;
                let exemplar = histogram.exemplars.get(&step).filter(|_| page.exemplars);
                let labels = with(&labels, "le", &end);
                match exemplar {
                    Some(exemplar) => {
                        page.line(&bucket, &labels, format_args!("{below}{}", said(exemplar)));
                    }
                    None => page.line(&bucket, &labels, below),
                }
            }
            page.line(&format!("{name}_sum"), &labels, seconds(histogram.sum));
            page.line(&format!("{name}_count"), &labels, histogram.count());
        }
    }

    fn summary(&self, page: &mut Page, instrument: &Instrument) {
        let name = instrument.name;
        let (sum, count) = (format!("{name}_sum"), format!("{name}_count"));
        for (key, recent) in self.recents.get(name).into_iter().flatten() {
            let labels = labels(instrument, key);
            let values = recent.quantiles([50, 95, 99]);
            for (quantile, value) in ["0.5", "0.95", "0.99"].into_iter().zip(values) {
                page.line(name, &with(&labels, "quantile", quantile), seconds(value));
            }
            page.line(&sum, &labels, seconds(recent.sum));
            page.line(&count, &labels, recent.count);
        }
    }
}

impl Ledger {
    /// Everything that is folded, in Prometheus' text format.
    pub fn text(&self, detail: Detail) -> String {
        self.page(detail, false)
    }

    /// The same with an exemplar at each step of a histogram that has one, which only OpenMetrics has a form for: see
    /// [`open_metrics`](crate::open_metrics).
    pub fn text_with_exemplars(&self, detail: Detail) -> String {
        self.page(detail, true)
    }

    fn page(&self, detail: Detail, exemplars: bool) -> String {
        let mut page = Page { exemplars, ..Page::default() };
        for instrument in INSTRUMENTS {
            let shown = match instrument.source {
                Source::Fold => true,
                Source::TaskFold => self.is_by_task(),
                Source::Service(_) | Source::AlertFold => false,
            };
            let is_single = instrument.labels.contains(&"dag_id");
            if shown && !(detail == Detail::Totals && is_single) {
                self.write(&mut page, instrument);
            }
        }
        page.text
    }

    /// One instrument of those that are folded, in Prometheus' text format.
    pub fn lines(&self, instrument: &Instrument) -> String {
        let mut page = Page::default();
        self.write(&mut page, instrument);
        page.text
    }

    fn write(&self, page: &mut Page, instrument: &Instrument) {
        let gauge =
            if instrument.kind == Kind::Gauge { self.gauge(instrument.name) } else { vec![] };
        self.tallies.write(page, instrument, gauge);
    }

    fn gauge(&self, name: &str) -> Vec<(String, String)> {
        let one = |value: String| vec![(String::new(), value)];
        let of = |label: &str, values: &[(&str, u64)]| -> Vec<(String, String)> {
            let line = |(word, value): &(&str, u64)| (with("", label, word), value.to_string());
            values.iter().map(line).collect()
        };
        match name {
            "dagbok_next_run_due_timestamp_seconds" => {
                self.state.next_due().map(|due| one(stamp(due))).unwrap_or_default()
            }
            "dagbok_runs" => {
                let (queued, running) = self.state.runs();
                of("state", &[("queued", queued), ("running", running)])
            }
            "dagbok_tasks" => of("state", &self.state.tasks()),
            "dagbok_pool_slots" | "dagbok_pool_size" => self.pool_lines(name),
            "dagbok_queue_depth"
            | "dagbok_queue_oldest_timestamp_seconds"
            | "dagbok_queue_slots"
            | "dagbok_queue_executors" => self.queue_lines(name),
            "dagbok_queue_wanted" => self.wanted_lines(),
            "dagbok_executors" => one(self.state.executors().0.to_string()),
            "dagbok_executor_slots" => {
                let slots = self.state.executors().1;
                let running = self.state.queues().values().map(|queue| queue.running).sum::<u64>();
                of("state", &[("open", slots.saturating_sub(running)), ("running", running)])
            }
            "dagbok_log_folded_seq" => one(self.seq.to_string()),
            "dagbok_log_last_record_timestamp_seconds" => one(stamp(self.at)),
            "dagbok_dags" => {
                let (active, paused, gone) = self.state.dags();
                of("state", &[("active", active), ("paused", paused), ("gone", gone)])
            }
            "dagbok_import_errors" => one(self.state.import_errors().to_string()),
            _ => Vec::new(),
        }
    }

    fn pool_lines(&self, name: &str) -> Vec<(String, String)> {
        let mut lines = Vec::new();
        for (pool, uses) in self.state.pools() {
            let pool = with("", "pool", &escape(pool));
            if name == "dagbok_pool_size" {
                let size = uses.slots.map_or_else(|| "-1".to_owned(), |slots| slots.to_string());
                lines.push((pool, size));
                continue;
            }
            for (state, slots) in
                [("queued", uses.queued), ("running", uses.running), ("deferred", uses.deferred)]
            {
                lines.push((with(&pool, "state", state), slots.to_string()));
            }
            if let Some(open) = uses.open {
                lines.push((with(&pool, "state", "open"), open.to_string()));
            }
        }
        lines
    }

    fn wanted_lines(&self) -> Vec<(String, String)> {
        let mut lines = Vec::new();
        for (queue, depth) in self.state.queues() {
            for (labels, wanted) in depth.wanted.into_iter().filter(|(_, it)| it.slots > 0) {
                let queue = with("", "queue", &escape(queue));
                let of = with(&queue, "labels", &escape(&labels));
                let mut say = |resource: &str, value: String| {
                    lines.push((with(&of, "resource", &escape(resource)), value));
                };
                say("slots", wanted.slots.to_string());
                let (whole, part) = (wanted.cpu_milli / 1_000, wanted.cpu_milli % 1_000);
                for (resource, value, text) in [
                    ("memory", wanted.memory, wanted.memory.to_string()),
                    ("cpus", wanted.cpu_milli, format!("{whole}.{part:03}")),
                    ("gpus", wanted.gpus, wanted.gpus.to_string()),
                ] {
                    if value > 0 {
                        say(resource, text);
                    }
                }
                for (resource, count) in &wanted.custom {
                    say(resource, count.to_string());
                }
            }
        }
        lines
    }

    fn queue_lines(&self, name: &str) -> Vec<(String, String)> {
        let queues = self.state.queues();
        let lines = queues.into_iter().filter_map(|(queue, depth)| {
            let value = match name {
                "dagbok_queue_depth" => depth.queued.to_string(),
                "dagbok_queue_executors" => depth.executors.to_string(),
                "dagbok_queue_slots" => depth.slots.to_string(),
                _ => stamp(depth.oldest?),
            };
            Some((with("", "queue", &escape(queue)), value))
        });
        lines.collect()
    }
}
