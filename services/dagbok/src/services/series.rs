//! Figures that the log tells of, pushed by OTLP from whoever shows them: the same fold, and the same numbers.
use std::sync::Arc;

use dagbok_events::{Timestamp, decode};
use dagbok_runlog::{ReadLimit, RunLog, Seq};
use dagbok_runtime::{Clock, Shutdown};
use dagbok_telemetry::series_sender;

use super::Numbers;

/// Sends them until the end is asked for, and once more then, where a collector is named.
pub(crate) fn push_series(numbers: &Numbers, log: Arc<dyn RunLog>, shutdown: &Shutdown) {
    let Some(sender) = series_sender() else { return };
    let (numbers, stop) = (numbers.clone(), shutdown.clone());
    shutdown.spawn(async move {
        let clock = Clock::system();
        let mut since = None;
        loop {
            let is_over = tokio::select! {
                () = tokio::time::sleep(sender.every()) => false,
                () = stop.started() => true,
            };
            // Ten thousand DAGs are megabytes of text.
            let shown = numbers.clone();
            let page = tokio::task::spawn_blocking(move || shown.folded()).await;
            if since.is_none() {
                since = begun(&*log).await;
            }
            if let (Ok(page), Some(since)) = (page, since) {
                sender.send(&page, since, clock.now()).await;
            }
            if is_over {
                return;
            }
        }
    });
}

/// When the first record that the log has was decided: from there all of it is counted.
async fn begun(log: &dyn RunLog) -> Option<Timestamp> {
    let first = log.base().await.ok()?.first.0;
    let limit = ReadLimit { entries: 1, ..ReadLimit::default() };
    let entries = log.read(Seq(first.saturating_sub(1)), limit).await.ok()?;
    decode(&entries.first()?.payload).ok().map(|record| record.at)
}
