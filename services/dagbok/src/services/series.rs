//! Figures that the log tells of, pushed by OTLP from whoever shows them: the same fold, and the same numbers.
use std::{convert::Infallible, sync::Arc, time::Duration};

use dagbok_events::{Timestamp, decode};
use dagbok_runlog::{ReadLimit, RunLog, Seq};
use dagbok_runtime::{Clock, Shutdown};
use dagbok_telemetry::{SeriesSender, series_sender};
use tokio::time::timeout;

use super::Numbers;

/// How long the last ones may take, once the end is asked for.
const LAST: Duration = Duration::from_secs(2);

/// Sends them until the end is asked for, and once more then, where a collector is named. Waits for the end without
/// doing anything where none is.
pub(crate) async fn push_series(
    numbers: Numbers,
    log: Arc<dyn RunLog>,
    shutdown: Shutdown,
) -> Result<(), Infallible> {
    let Some(sender) = series_sender() else {
        shutdown.started().await;
        return Ok(());
    };
    let mut since = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(sender.every()) => {}
            () = shutdown.started() => break,
        }
        // The last ones have what these would say.
        tokio::select! {
            () = push(sender, &numbers, &*log, &mut since) => {}
            () = shutdown.started() => break,
        }
    }
    if timeout(LAST, push(sender, &numbers, &*log, &mut since)).await.is_err() {
        tracing::warn!("the last figures of the log are not taken by the collector");
    }
    Ok(())
}

async fn push(
    sender: &'static SeriesSender,
    numbers: &Numbers,
    log: &dyn RunLog,
    since: &mut Option<Timestamp>,
) {
    if since.is_none() {
        *since = begun(log).await;
    }
    let Some(since) = *since else { return };
    let shown = numbers.clone();
    // Of ten thousand DAGs it is megabytes, as text and as what is sent.
    let made = tokio::task::spawn_blocking(move || {
        let page = shown.folded();
        sender.requests(&page, since, Clock::system().now())
    });
    if let Ok(requests) = made.await {
        sender.send(requests).await;
    }
}

/// When the first record that the log has was decided: from there all of it is counted.
async fn begun(log: &dyn RunLog) -> Option<Timestamp> {
    let first = log.base().await.ok()?.first.0;
    let limit = ReadLimit { entries: 1, ..ReadLimit::default() };
    let entries = log.read(Seq(first.saturating_sub(1)), limit).await.ok()?;
    decode(&entries.first()?.payload).ok().map(|record| record.at)
}
