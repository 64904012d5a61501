//! Figures of what waits for room, and of what was sent to others.
use opentelemetry::metrics::{Counter, Gauge, Meter};

use crate::{
    Metrics,
    metrics::{counter, gauge},
};

/// What waits for room, and what was sent elsewhere.
pub(crate) struct Elsewhere {
    pub(crate) waiting: Gauge<u64>,
    pub(crate) starving: Gauge<u64>,
    statsd_sent: Counter<u64>,
    statsd_dropped: Counter<u64>,
    spans_sent: Counter<u64>,
    spans_dropped: Counter<u64>,
    points_sent: Counter<u64>,
    points_dropped: Counter<u64>,
    log_lines_sent: Counter<u64>,
    log_lines_dropped: Counter<u64>,
    lineage_sent: Counter<u64>,
    lineage_dropped: Counter<u64>,
    lineage_waiting: Gauge<u64>,
}

impl Elsewhere {
    pub(crate) fn new(meter: &Meter) -> Self {
        Self {
            waiting: gauge(
                meter,
                "dagbok_tasks_waiting_for_room",
                "Tasks that wait for nothing but room",
            ),
            starving: gauge(
                meter,
                "dagbok_tasks_starving",
                "Tasks that wait for nothing but slots of their pool",
            ),
            statsd_sent: counter(meter, "dagbok_statsd_sent", "Values handed to the StatsD socket"),
            statsd_dropped: counter(
                meter,
                "dagbok_statsd_dropped",
                "Values that the StatsD socket did not take",
            ),
            spans_sent: counter(meter, "dagbok_spans_sent", "Spans that the collector took"),
            spans_dropped: counter(
                meter,
                "dagbok_spans_dropped",
                "Spans that the collector refused",
            ),
            points_sent: counter(
                meter,
                "dagbok_points_sent",
                "Values of the log's figures that the collector took",
            ),
            points_dropped: counter(
                meter,
                "dagbok_points_dropped",
                "Values of the log's figures that the collector did not take",
            ),
            log_lines_sent: counter(
                meter,
                "dagbok_log_lines_sent",
                "Log lines that the collector took",
            ),
            log_lines_dropped: counter(
                meter,
                "dagbok_log_lines_dropped",
                "Log lines that found no room, or that the collector refused",
            ),
            lineage_sent: counter(meter, "dagbok_lineage_sent", "Lineage events that were taken"),
            lineage_dropped: counter(
                meter,
                "dagbok_lineage_dropped",
                "Lineage events that were refused",
            ),
            lineage_waiting: gauge(
                meter,
                "dagbok_lineage_waiting",
                "Lineage events that are due and not taken yet",
            ),
        }
    }
}

impl Metrics {
    /// The StatsD socket took so many values.
    pub fn statsd_sent(&self, values: u64) {
        self.elsewhere.statsd_sent.add(values, &[]);
    }

    /// The StatsD socket did not take so many values.
    pub fn statsd_dropped(&self, values: u64) {
        self.elsewhere.statsd_dropped.add(values, &[]);
    }

    /// The collector took so many spans.
    pub fn spans_sent(&self, spans: u64) {
        self.elsewhere.spans_sent.add(spans, &[]);
    }

    /// The collector refused so many spans.
    pub fn spans_dropped(&self, spans: u64) {
        self.elsewhere.spans_dropped.add(spans, &[]);
    }

    /// The collector took so many values of figures, and so many it did not.
    pub fn points_sent(&self, taken: u64, dropped: u64) {
        self.elsewhere.points_sent.add(taken, &[]);
        self.elsewhere.points_dropped.add(dropped, &[]);
    }

    /// The collector took so many log lines, and so many are lost.
    pub fn log_lines_sent(&self, taken: u64, dropped: u64) {
        self.elsewhere.log_lines_sent.add(taken, &[]);
        self.elsewhere.log_lines_dropped.add(dropped, &[]);
    }

    /// So many lineage events were taken, and so many were refused.
    pub fn lineage_sent(&self, taken: u64, dropped: u64) {
        self.elsewhere.lineage_sent.add(taken, &[]);
        self.elsewhere.lineage_dropped.add(dropped, &[]);
    }

    /// So many lineage events are due and not taken yet.
    pub fn lineage_waiting(&self, events: usize) {
        self.elsewhere.lineage_waiting.record(events as u64, &[]);
    }
}
