//! Traces of runs, sent by OTLP: what is sent twice has the same ids, and is one span.
use std::{convert::Infallible, path::Path, sync::Arc};

use dagbok_events::Record;
use dagbok_metrics::{Span, Spans};
use dagbok_runlog::RunLog;
use dagbok_runtime::Shutdown;
use dagbok_telemetry::{Sent, SpanSender, metrics, span_sender};

use super::export::{Exported, export};

struct Traces(&'static SpanSender);

impl Exported for Traces {
    type Fold = Spans;
    type Item = Span;
    const WHAT: &'static str = "traces";
    const FILE: &'static str = "traces.fold";
    const VERSION: u32 = 2;
    const AT_ONCE: usize = 512;
    const STANDING_BY: usize = 10_000;

    fn hears(subject: &str) -> bool {
        subject.starts_with("log.run.")
    }

    fn take(&self, fold: &mut Spans, record: &Record, due: &mut Vec<Span>) {
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
