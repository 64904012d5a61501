//! What a service shows of itself: log lines, metrics, traces.
//!
//! [`init`] is called once by the binary. Libraries log with `tracing` and count with [`metrics`],
//! which works before and without [`init`], so that tests need no set-up. Nothing here is ever read to
//! decide anything.
mod collector;
mod elsewhere;
mod lines;
mod log_records;
mod logging;
mod metrics;
mod otlp;
mod series;
mod spans;
mod statsd;
mod trace;

pub use collector::Sent;
pub use logging::{LogFormat, LogSettings, end_lines};
pub use metrics::{Metrics, metrics};
pub use series::{SeriesRequest, SeriesSender, series_sender};
pub use spans::{SpanSender, span_sender};
pub use statsd::{Sample, Statsd, StatsdSettings, TagForm, Waiting};
pub use trace::{adopt, trace_context};

use std::time::Duration;

use thiserror::Error;
use tracing_subscriber::{Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// Why telemetry could not be set up.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// The filter in `DAGBOK_LOG` or the configuration is not one.
    #[error(
        "the log filter `{filter}` is not valid: {why}; write `info`, or `info,dagbok_scheduler=debug`"
    )]
    BadFilter {
        /// What was written.
        filter: String,
        /// What is wrong with it.
        why: String,
    },
    /// A standard `OTEL_` variable asks for what is not there.
    #[error("{variable}={value} is not supported: {why}")]
    Unsupported {
        /// Which variable.
        variable: &'static str,
        /// What it said.
        value: String,
        /// What would be accepted.
        why: &'static str,
    },
    /// A setting of StatsD can't be meant.
    #[error("{key} = `{value}`: {why}")]
    Statsd {
        /// Which.
        key: &'static str,
        /// What it said.
        value: String,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// An exporter could not be built.
    #[error("the OpenTelemetry exporter could not be built: {0}")]
    Exporter(String),
    /// Somebody else has taken the process' log already.
    #[error("the process logs already: {0}")]
    Twice(String),
}

/// How long the last log lines may take to a collector.
const LAST_LINES: Duration = Duration::from_secs(3);

/// Keeps the exporters; [`Telemetry::finish`] sends what they still hold.
#[derive(Debug)]
#[must_use = "dropping it loses what the exporters still hold"]
pub struct Telemetry {
    exporters: otlp::Exporters,
    held: lines::Held,
    flusher: Option<log_records::Flusher>,
}

impl Telemetry {
    /// Sends what is still held, and says lines that were held back; returns after at most a few seconds.
    pub fn finish(self) {
        self.exporters.finish();
        logging::say_held(&self.held);
        if let Some(flusher) = self.flusher {
            // What a collector does not take in time is in the lines on stderr.
            flusher.flush(LAST_LINES);
        }
    }
}

/// Sets up the process' log, metrics and traces as `service` (`dagbok-scheduler`, …).
///
/// OTLP is switched on by the standard `OTEL_` variables alone.
pub fn init(service: &'static str, settings: &LogSettings) -> Result<Telemetry, TelemetryError> {
    let exporters = otlp::Exporters::from_environment(service)?;
    metrics::install(exporters.meter_reader()?, exporters.resource());
    if let Some(sender) = exporters.span_sender()? {
        spans::install(sender);
    }
    let traces = exporters.tracer().map(|tracer| {
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_filter(tracing_subscriber::filter::filter_fn(|meta| !otlp::is_own(meta.target())))
    });
    if let Some(sender) = exporters.series_sender()? {
        series::install(sender);
    }
    let (lines, held) = logging::layer(settings)?;
    let (records, flusher) = match exporters.log_collector()? {
        Some(collector) => {
            let (records, flusher) = log_records::start(collector)?;
            (Some(records.with_filter(logging::filter(settings)?)), Some(flusher))
        }
        None => (None, None),
    };
    tracing_subscriber::registry()
        .with(lines)
        .with(records)
        .with(traces)
        .try_init()
        .map_err(|error| TelemetryError::Twice(error.to_string()))?;
    Ok(Telemetry { exporters, held, flusher })
}
