//! Log lines on stderr: for eyes on a terminal, one JSON object a line otherwise.
use std::{
    io::{IsTerminal as _, Write as _},
    sync::atomic::{AtomicBool, Ordering},
};

use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, Layer, fmt::writer::MakeWriterExt as _, registry::LookupSpan};

use crate::{
    TelemetryError,
    lines::{Held, Lines},
};

/// Whether the process has said its last word.
static ENDED: AtomicBool = AtomicBool::new(false);
/// Replaces the configured filter for one start.
const FILTER_VARIABLE: &str = "DAGBOK_LOG";

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For eyes where stderr is a terminal, JSON where it is not.
    #[default]
    Auto,
    /// For eyes.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged, and how.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// In `tracing`'s syntax: `info,dagbok_scheduler=debug`. `DAGBOK_LOG` goes before it.
    pub filter: String,
    /// How lines look.
    pub format: LogFormat,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Auto }
    }
}

/// Writes no line from here on: what a command says of its end is then the last line on stderr, whatever threads
/// that it leaves behind meet with.
pub fn end_lines() {
    ENDED.store(true, Ordering::SeqCst);
}

/// Says what is still held back: the process is about to end, and nobody would know how often.
pub(crate) fn say_held(held: &Held) {
    for line in held.take() {
        // Whoever closed the stream wants no lines.
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }
}

/// What is logged at all.
pub(crate) fn filter(settings: &LogSettings) -> Result<EnvFilter, TelemetryError> {
    let text = std::env::var(FILTER_VARIABLE).unwrap_or_else(|_| settings.filter.clone());
    EnvFilter::builder()
        .parse(&text)
        .map_err(|error| TelemetryError::BadFilter { filter: text, why: error.to_string() })
}

/// The layer that writes lines, and what it holds back.
pub(crate) fn layer<S>(
    settings: &LogSettings,
) -> Result<(Box<dyn Layer<S> + Send + Sync>, Held), TelemetryError>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let filter = filter(settings)?;
    let terminal = std::io::stderr().is_terminal();
    let json = match settings.format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let stderr = std::io::stderr.with_filter(|_| !ENDED.load(Ordering::SeqCst));
    let lines = tracing_subscriber::fmt::layer().with_writer(stderr);
    let held = Held::new(json);
    let layer = if json {
        let form = tracing_subscriber::fmt::format().json().flatten_event(true);
        let form = Lines::new(form.with_span_list(false), held.clone());
        lines.json().event_format(form).with_filter(filter).boxed()
    } else {
        let color = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let form = tracing_subscriber::fmt::format().compact().with_target(false);
        let form = Lines::new(form.with_ansi(color), held.clone());
        lines.with_ansi(color).event_format(form).with_filter(filter).boxed()
    };
    Ok((layer, held))
}
