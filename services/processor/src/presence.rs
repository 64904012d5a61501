//! That the processor is there, for whoever asks after its health: a key that vanishes soon after it.
use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use dagbok_protocol::names::PROCESSOR_PRESENCE;
use dagbok_runlog::KeyedState;
use dagbok_runtime::{Clock, Shutdown};

/// How often it is renewed.
const BEAT: Duration = Duration::from_secs(3);
/// How long it stays without.
const STAYS: Duration = Duration::from_secs(10);

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
