//! Traces of runs and of what people were told of them, sent by OTLP: what is sent twice has the same ids, and is one span.
use std::{convert::Infallible, path::Path, sync::Arc, time::Duration};

use dagbok_alerts::AlertRecord;
use dagbok_events::{Record, Timestamp, decode, decode_packed};
use dagbok_metrics::{Pages, Span, Spans};
use dagbok_runlog::RunLog;
use dagbok_runtime::Shutdown;
use dagbok_telemetry::{Sent, SpanSender, metrics, span_sender};

use super::export::{Exported, export};

/// How often is looked whether there is a log of alerts by now.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

struct Traces(&'static SpanSender);

impl Exported for Traces {
    type Fold = Spans;
    type Record = Record;
    type Item = Span;
    const WHAT: &'static str = "traces";
    const FILE: &'static str = "traces.fold";
    const VERSION: u32 = 3;
    const AT_ONCE: usize = 512;
    const STANDING_BY: usize = 10_000;

    fn hears(subject: &str) -> bool {
        subject.starts_with("log.run.")
    }

    fn read(payload: &[u8]) -> Option<Record> {
        decode(payload).ok()
    }

    fn take(&self, fold: &mut Spans, record: &Record, due: &mut Vec<Span>) {
        fold.take(record, due);
    }

    fn pass(fold: &mut Spans, now: Timestamp, due: &mut Vec<Span>) {
        fold.pass(now, due);
    }

    async fn send(&self, spans: &[Span]) -> Sent {
        self.0.send(spans).await
    }

    fn count(&self, taken: u64, dropped: u64) {
        metrics().spans_sent(taken);
        metrics().spans_dropped(dropped);
    }
}

/// What people were told.
struct Told(&'static SpanSender);

impl Exported for Told {
    type Fold = Pages;
    type Record = AlertRecord;
    type Item = Span;
    const WHAT: &'static str = "traces of alerts";
    const FILE: &'static str = "pages.fold";
    const VERSION: u32 = 1;
    const AT_ONCE: usize = 512;
    const STANDING_BY: usize = 10_000;

    fn hears(subject: &str) -> bool {
        subject.starts_with("alerts.alert.")
    }

    fn read(payload: &[u8]) -> Option<AlertRecord> {
        decode_packed(payload).ok()
    }

    fn take(&self, fold: &mut Pages, record: &AlertRecord, due: &mut Vec<Span>) {
        fold.take(record, due);
    }

    async fn send(&self, spans: &[Span]) -> Sent {
        self.0.send(spans).await
    }

    fn count(&self, taken: u64, dropped: u64) {
        metrics().spans_sent(taken);
        metrics().spans_dropped(dropped);
    }
}

/// Exports spans, where somebody asked for traces.
pub(crate) async fn export_runs(
    log: Arc<dyn RunLog>,
    folder: Option<&Path>,
    shutdown: Shutdown,
) -> impl Future<Output = Result<(), Infallible>> + use<> {
    export(span_sender().map(Traces), log, folder, shutdown).await
}

/// Exports what people were told, where somebody asked for traces; from when there is a log of alerts.
pub(crate) async fn export_pages(
    log: Arc<dyn RunLog>,
    folder: Option<std::path::PathBuf>,
    shutdown: Shutdown,
) -> Result<(), Infallible> {
    // Alerting makes its log, and may come later than whoever exports, or never.
    while span_sender().is_some() && log.base().await.is_err() {
        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = shutdown.started() => return Ok(()),
        }
    }
    export(span_sender().map(Told), log, folder.as_deref(), shutdown).await.await
}
