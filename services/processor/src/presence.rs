//! That the processor is there, for whoever asks after its health: a key that vanishes soon after it.
use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use dagbok_protocol::names::PROCESSOR_PRESENCE;
use dagbok_runlog::{KeyedState, PortResult};
use dagbok_runtime::{Clock, Shutdown};

/// How often it is renewed.
const BEAT: Duration = Duration::from_secs(3);
/// How long it stays without.
const STAYS: Duration = Duration::from_secs(10);

/// How often it is renewed that a processor has a folder, and how long that holds without: a processor that is put
/// elsewhere, or mended, is away for less.
const CLAIM: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(24));
/// Before the name of a folder.
const CLAIMS: &str = "processor/folder/";

/// Keeps until `shutdown` starts that these folders are a processor's that has no others.
pub(crate) fn claim(state: Arc<dyn KeyedState>, folders: BTreeSet<String>, shutdown: &Shutdown) {
    let ended = shutdown.clone();
    shutdown.spawn(async move {
        loop {
            let mut pause = CLAIM.0;
            for folder in &folders {
                let key = format!("{CLAIMS}{folder}");
                if let Err(error) = state.put(&key, Bytes::new(), Some(CLAIM.1)).await {
                    tracing::debug!(folder, %error, "it can't be kept that this processor has the folder");
                    pause = BEAT;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = ended.started() => break,
            }
        }
    });
}

/// Whether a processor has had a folder of late, and has no others.
pub(crate) async fn is_claimed(state: &dyn KeyedState, folder: &str) -> PortResult<bool> {
    Ok(state.get(&format!("{CLAIMS}{folder}")).await?.is_some())
}

/// Shows until `shutdown` starts that the processor is there; the value is the instant, as text.
pub(crate) fn show(state: Arc<dyn KeyedState>, clock: Clock, shutdown: &Shutdown) {
    let ended = shutdown.clone();
    shutdown.spawn(async move {
        loop {
            let now = Bytes::from(clock.now().to_string());
            if let Err(error) = state.put(PROCESSOR_PRESENCE, now, Some(STAYS)).await {
                tracing::debug!(%error, "the processor can't show that it is there");
            }
            tokio::select! {
                () = tokio::time::sleep(BEAT) => {}
                () = ended.started() => break,
            }
        }
        // It vanishes by itself where this can't be done.
        let _ = state.delete(PROCESSOR_PRESENCE).await;
    });
}
