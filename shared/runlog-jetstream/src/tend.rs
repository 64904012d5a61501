//! Streams that are deleted under a running namespace: made again by whoever may make them. What was in them
//! heals by itself or is said to be lost; queues of other families are made again by whoever sends to them. All but the log, which nobody can make again: that it is whole is looked at,
//! too, so that nothing more is built on one that lost entries.
use std::sync::{Arc, Weak};

use async_nats::jetstream::stream::Config;
use dagbok_runlog::PortError;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    error::STREAM_NOT_FOUND,
    identity::Identity,
    limits::{SAY_AGAIN, TEND_EVERY},
    link::Link,
    names::Names,
    settings::ConnectSettings,
    streams,
};

/// Starts looking after the streams; ends with the connection's last user.
pub(crate) fn start(link: &Arc<Link>, settings: &ConnectSettings, log: Arc<Identity>) {
    let (link, settings) = (Arc::downgrade(link), settings.clone());
    tokio::spawn(async move {
        let mut said: Option<Instant> = None;
        loop {
            sleep(TEND_EVERY).await;
            let Some(link) = Weak::upgrade(&link) else { return };
            if link.is_connected() {
                round(&link, &settings, &log, &mut said).await;
            }
        }
    });
}

async fn round(
    link: &Link,
    settings: &ConnectSettings,
    log: &Identity,
    said: &mut Option<Instant>,
) {
    match log.look(link).await {
        Ok(_) => *said = None,
        Err(error @ PortError::Damaged { .. }) => {
            if said.is_none_or(|said| said.elapsed() >= SAY_AGAIN) {
                *said = Some(Instant::now());
                tracing::error!(%error, "nothing more is decided: nobody can make the log again");
            }
            return;
        }
        // The server is away or starting: nothing is known.
        Err(_) => return,
    }
    for config in streams::others(&Names::new(&settings.namespace)) {
        let found: Result<serde_json::Value, _> =
            link.api(&format!("STREAM.INFO.{}", config.name), &json!({})).await;
        match found {
            Err(error) if error.is(STREAM_NOT_FOUND) => heal(link, settings, config).await,
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

async fn heal(link: &Link, settings: &ConnectSettings, config: Config) {
    let stream = config.name.clone();
    match streams::heal(link, settings, config).await {
        Ok(()) => tracing::warn!(stream, "{}", lost(&stream)),
        Err(error) => tracing::warn!(%error, "a stream that was deleted can't be made again yet"),
    }
}

/// What the loss of a stream means.
fn lost(stream: &str) -> &'static str {
    match stream.rsplit('_').next() {
        Some("blobs") => {
            "the stream was deleted and is made again: logs and large values that were in it are lost; \
             start the processor again, so that the code is there"
        }
        Some("inbox") => {
            "the stream was deleted and is made again: what was in it and had no answer is to be sent again"
        }
        _ => "the stream was deleted and is made again; what was in it comes back by itself",
    }
}
