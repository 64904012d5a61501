//! Every figure that Dagbok counts, by name, in one place. Served for Prometheus, pushed by OTLP where
//! asked for; one provider feeds both.
use std::{
    fmt,
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use dagbok_events::{FailureKind, Fault};
use dagbok_metrics::{Source, airflow::Waiting, find};
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Histogram, Meter, MeterProvider as _},
};
use opentelemetry_sdk::{
    Resource,
    metrics::{Aggregation, Instrument, SdkMeterProvider, Stream, reader::MetricReader},
};
use prometheus::{Encoder as _, TextEncoder};

use crate::elsewhere::Elsewhere;

/// From half a millisecond to an hour: hand-offs lie at its lower end, queues in trouble at its upper.
const SECONDS: [f64; 18] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0,
    300.0, 900.0, 3600.0,
];

static METRICS: OnceLock<Metrics> = OnceLock::new();

/// The process' figures. Recording one takes no lock of ours and allocates nothing.
pub struct Metrics {
    registry: prometheus::Registry,
    provider: SdkMeterProvider,
    tasks: Gauge<u64>,
    tasks_ended: Counter<u64>,
    task_failures: Counter<u64>,
    runs: Gauge<u64>,
    runs_ended: Counter<u64>,
    hand_off: Histogram<f64>,
    queue_wait: Histogram<f64>,
    slots: Gauge<u64>,
    slots_open: Gauge<u64>,
    appends: Counter<u64>,
    records: Counter<u64>,
    append_seconds: Histogram<f64>,
    decisions: Counter<u64>,
    refusals: Counter<u64>,
    projection_lag: Gauge<u64>,
    files_parsed: Counter<u64>,
    parse_seconds: Histogram<f64>,
    import_errors: Gauge<u64>,
    stamp_ahead: Gauge<f64>,
    clock_back: Counter<u64>,
    pub(crate) elsewhere: Elsewhere,
    waits: Mutex<Option<Waiting>>,
    terms: Mutex<Vec<Term>>,
}

/// Terms of this process' scheduler that are known: who sends what they decided is not far behind.
const TERMS: usize = 32;

/// What a scheduler decided while it led.
#[derive(Debug)]
struct Term {
    after: u64,
    /// The last record that it is known to have appended.
    last: u64,
    is_over: bool,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// The process' figures; the same ones from everywhere.
pub fn metrics() -> &'static Metrics {
    METRICS.get_or_init(|| {
        Metrics::new(None::<opentelemetry_sdk::metrics::ManualReader>, Resource::builder().build())
    })
}

/// Sets up the figures with what pushes them; too late where one was counted already.
pub(crate) fn install(push: Option<impl MetricReader>, resource: Resource) {
    if METRICS.set(Metrics::new(push, resource)).is_err() {
        tracing::warn!(
            "metrics were counted before telemetry was set up, so that OTLP does not see them"
        );
    }
}

/// Pushes what is held.
pub(crate) fn flush() {
    if let Some(metrics) = METRICS.get()
        && let Err(error) = metrics.provider.force_flush()
    {
        tracing::warn!(%error, "the last metrics were not exported");
    }
}

/// Leaves out what the log tells of: a process sees its own part of that.
fn only_own(instrument: &Instrument) -> Option<Stream> {
    let name = instrument.name();
    let counted = format!("{name}_total");
    let found = find(name).or_else(|| find(&counted));
    if found.is_some_and(|it| matches!(it.source, Source::Service(_))) {
        return None;
    }
    Stream::builder().with_aggregation(Aggregation::Drop).build().ok()
}

/// The figures' provider, read by the registry and, where there is one, by who pushes them.
fn provider(
    push: Option<impl MetricReader>,
    resource: Resource,
) -> (prometheus::Registry, SdkMeterProvider) {
    let registry = prometheus::Registry::new();
    let pull = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .scope_info_enabled(false)
        .build()
        .expect("a fresh registry takes its first collector");
    let builder = SdkMeterProvider::builder().with_resource(resource).with_reader(pull);
    let provider = match push {
        // What the log tells of is pushed from there: see `series`.
        Some(push) => builder.with_reader(push).with_view(only_own).build(),
        None => builder.build(),
    };
    (registry, provider)
}

impl Metrics {
    fn new(push: Option<impl MetricReader>, resource: Resource) -> Self {
        let (registry, provider) = provider(push, resource);
        let meter = provider.meter("dagbok");
        Self {
            tasks: gauge(&meter, "dagbok_tasks", "Tasks of unfinished runs by state"),
            tasks_ended: counter(&meter, "dagbok_tasks_ended", "Tasks that ended, by state"),
            task_failures: counter(
                &meter,
                "dagbok_task_failures",
                "Failed tries by kind and fault",
            ),
            runs: gauge(&meter, "dagbok_runs", "Unfinished runs by state"),
            runs_ended: counter(&meter, "dagbok_runs_ended", "Runs that ended, by state"),
            hand_off: seconds(
                &meter,
                "dagbok_hand_off_seconds",
                "From the last upstream's end to a try's start",
            ),
            queue_wait: seconds(
                &meter,
                "dagbok_queue_wait_seconds",
                "From a try's queueing to its start",
            ),
            slots: gauge(&meter, "dagbok_slots", "Tries that the executor can hold"),
            slots_open: gauge(
                &meter,
                "dagbok_slots_open",
                "Tries that the executor could take now",
            ),
            appends: counter(&meter, "dagbok_appends", "Appends to the log"),
            records: counter(&meter, "dagbok_records_appended", "Records appended to the log"),
            append_seconds: seconds(
                &meter,
                "dagbok_append_seconds",
                "From an append's start to its durability",
            ),
            decisions: counter(&meter, "dagbok_decisions", "Commands decided"),
            refusals: counter(&meter, "dagbok_refusals", "Commands refused, by code"),
            projection_lag: gauge(
                &meter,
                "dagbok_projection_lag_records",
                "Records that the read model is behind",
            ),
            files_parsed: counter(&meter, "dagbok_files_parsed", "DAG files parsed, by outcome"),
            parse_seconds: seconds(&meter, "dagbok_parse_seconds", "Time to parse a DAG file"),
            import_errors: gauge(
                &meter,
                "dagbok_import_errors",
                "DAG files that can't be read now",
            ),
            stamp_ahead: meter
                .f64_gauge("dagbok_log_ahead_seconds")
                .with_description("How far the last record's stamp lies ahead of the clock")
                .build(),
            clock_back: counter(
                &meter,
                "dagbok_clock_went_back",
                "Times that the scheduler's clock showed much less than before",
            ),
            elsewhere: Elsewhere::new(&meter),
            waits: Mutex::default(),
            terms: Mutex::default(),
            registry,
            provider,
        }
    }

    /// The figures of the names that are asked for, in Prometheus' text format, served as `text/plain; version=0.0.4`.
    pub fn render(&self, wanted: impl Fn(&str) -> bool) -> String {
        let mut text = Vec::new();
        let mut families = self.registry.gather();
        families.retain(|family| wanted(family.name()));
        if let Err(error) = TextEncoder::new().encode(&families, &mut text) {
            tracing::error!(%error, "the metrics can't be written");
        }
        String::from_utf8(text).unwrap_or_default()
    }

    /// `n` tasks of unfinished runs are in `state` now (`queued`, `running`, `up_for_retry`, …).
    pub fn set_tasks(&self, state: &'static str, n: u64) {
        self.tasks.record(n, &[KeyValue::new("state", state)]);
    }

    /// A task ended in `state` (`success`, `failed`, `upstream_failed`, `skipped`, …).
    pub fn task_ended(&self, state: &'static str) {
        self.tasks_ended.add(1, &[KeyValue::new("state", state)]);
    }

    /// A try failed.
    pub fn task_failed(&self, kind: FailureKind, fault: Fault) {
        let labels =
            [KeyValue::new("kind", kind.word()), KeyValue::new("fault", fault_label(fault))];
        self.task_failures.add(1, &labels);
    }

    /// `n` unfinished runs are in `state` now (`queued`, `running`).
    pub fn set_runs(&self, state: &'static str, n: u64) {
        self.runs.record(n, &[KeyValue::new("state", state)]);
    }

    /// A run ended in `state` (`success`, `failed`, …).
    pub fn run_ended(&self, state: &'static str) {
        self.runs_ended.add(1, &[KeyValue::new("state", state)]);
    }

    /// A try started this long after the last of its upstreams ended.
    pub fn hand_off(&self, took: Duration) {
        self.hand_off.record(took.as_secs_f64(), &[]);
    }

    /// A try started this long after it was queued.
    pub fn queue_wait(&self, took: Duration) {
        self.queue_wait.record(took.as_secs_f64(), &[]);
    }

    /// The executor can hold `all` tries, and could take `open` more now.
    pub fn set_slots(&self, open: u64, all: u64) {
        self.slots_open.record(open, &[]);
        self.slots.record(all, &[]);
    }

    /// An append of `records` records became durable after `took`.
    pub fn appended(&self, records: u64, took: Duration) {
        self.appends.add(1, &[]);
        self.records.add(records, &[]);
        self.append_seconds.record(took.as_secs_f64(), &[]);
    }

    /// A command was decided.
    pub fn decided(&self) {
        self.decisions.add(1, &[]);
    }

    /// A command or report was refused; `code` as in the refusal (`run_not_found`, `stale_report`, …).
    pub fn refused(&self, code: &'static str) {
        self.refusals.add(1, &[KeyValue::new("code", code)]);
    }

    /// The read model is `records` behind the log.
    pub fn set_projection_lag(&self, records: u64) {
        self.projection_lag.record(records, &[]);
    }

    /// A DAG file was parsed; `outcome` is `ok`, `error`, `timeout` or `crash`.
    pub fn parsed(&self, outcome: &'static str, took: Duration) {
        self.files_parsed.add(1, &[KeyValue::new("outcome", outcome)]);
        self.parse_seconds.record(took.as_secs_f64(), &[]);
    }

    /// The last record's stamp lies this far ahead of the scheduler's clock.
    pub fn set_stamp_ahead(&self, by: Duration) {
        self.stamp_ahead.record(by.as_secs_f64(), &[]);
    }

    /// The scheduler's clock showed much less than before.
    pub fn clock_went_back(&self) {
        self.clock_back.add(1, &[]);
    }

    /// What waits for room by pool, as whoever leads sees it; `None` where this process does not lead.
    pub fn set_waiting(&self, waiting: Option<Waiting>) {
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *waits, waiting).unwrap_or_default();
        let now = waits.as_ref();
        for pool in before.keys().chain(now.into_iter().flat_map(Waiting::keys)) {
            let (ready, starving) = now.and_then(|it| it.get(pool)).copied().unwrap_or_default();
            let labels = [KeyValue::new("pool", pool.clone())];
            self.elsewhere.waiting.record(u64::from(ready), &labels);
            self.elsewhere.starving.record(u64::from(starving), &labels);
        }
    }

    /// What waits for room by pool; `None` where this process does not lead.
    pub fn waiting(&self) -> Option<Waiting> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// This process' scheduler leads, and decides what comes after this record of the log.
    pub fn term_began(&self, after: u64) {
        let mut terms = self.terms.lock().unwrap_or_else(PoisonError::into_inner);
        if terms.len() == TERMS {
            terms.remove(0);
        }
        terms.push(Term { after, last: after, is_over: false });
    }

    /// It appended up to this record.
    pub fn term_reached(&self, seq: u64) {
        if let Some(term) = self.terms.lock().unwrap_or_else(PoisonError::into_inner).last_mut() {
            term.last = seq;
        }
    }

    /// It leads no more: what comes after its last record is another's.
    pub fn term_ended(&self) {
        if let Some(term) = self.terms.lock().unwrap_or_else(PoisonError::into_inner).last_mut() {
            term.is_over = true;
        }
    }

    /// Whether this process' scheduler decided this record. While it leads nobody else can.
    pub fn was_led(&self, seq: u64) -> bool {
        let terms = self.terms.lock().unwrap_or_else(PoisonError::into_inner);
        terms.iter().any(|term| seq > term.after && (!term.is_over || seq <= term.last))
    }

    /// `n` DAG files can't be read now.
    pub fn set_import_errors(&self, n: u64) {
        self.import_errors.record(n, &[]);
    }
}

pub(crate) fn gauge(meter: &Meter, name: &'static str, what: &'static str) -> Gauge<u64> {
    meter.u64_gauge(name).with_description(what).build()
}

pub(crate) fn counter(meter: &Meter, name: &'static str, what: &'static str) -> Counter<u64> {
    meter.u64_counter(name).with_description(what).build()
}

fn seconds(meter: &Meter, name: &'static str, what: &'static str) -> Histogram<f64> {
    meter.f64_histogram(name).with_description(what).with_boundaries(SECONDS.to_vec()).build()
}

const fn fault_label(fault: Fault) -> &'static str {
    match fault {
        Fault::User => "user",
        Fault::System => "system",
        Fault::Data => "data",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_rendered_under_its_name() {
        let metrics = Metrics::new(
            None::<opentelemetry_sdk::metrics::ManualReader>,
            Resource::builder().build(),
        );
        metrics.set_tasks("running", 3);
        metrics.set_tasks("running", 2);
        metrics.task_ended("success");
        metrics.task_failed(FailureKind::OutOfMemory, Fault::System);
        metrics.hand_off(Duration::from_millis(4));
        metrics.set_slots(7, 8);
        metrics.appended(3, Duration::from_micros(300));
        metrics.refused("stale_report");
        metrics.set_projection_lag(12);
        let text = metrics.render(|_| true);
        for line in [
            "dagbok_tasks{state=\"running\"} 2",
            "dagbok_tasks_ended_total{state=\"success\"} 1",
            "dagbok_task_failures_total{fault=\"system\",kind=\"out_of_memory\"} 1",
            "dagbok_hand_off_seconds_bucket{le=\"0.0025\"} 0",
            "dagbok_hand_off_seconds_bucket{le=\"0.005\"} 1",
            "dagbok_hand_off_seconds_count 1",
            "dagbok_slots_open 7",
            "dagbok_records_appended_total 3",
            "dagbok_refusals_total{code=\"stale_report\"} 1",
            "dagbok_projection_lag_records 12",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
        }
    }

    #[test]
    fn a_record_is_its_terms_from_the_first_to_the_last_however_late_it_is_asked_of() {
        let metrics = Metrics::new(
            None::<opentelemetry_sdk::metrics::ManualReader>,
            Resource::builder().build(),
        );
        let led = |of: std::ops::RangeInclusive<u64>| -> Vec<u64> {
            of.filter(|seq| metrics.was_led(*seq)).collect()
        };
        assert!(led(0..=20).is_empty());
        metrics.term_began(4);
        assert_eq!(led(3..=7), [5, 6, 7]);
        metrics.term_reached(6);
        metrics.term_ended();
        metrics.term_began(10);
        assert_eq!(led(3..=12), [5, 6, 11, 12]);
    }

    #[test]
    fn what_was_never_counted_is_not_shown_as_zero_of_something_else() {
        let metrics = Metrics::new(
            None::<opentelemetry_sdk::metrics::ManualReader>,
            Resource::builder().build(),
        );
        assert!(!metrics.render(|_| true).contains("dagbok_tasks"));
    }
}
