//! Streams that are deleted under a running namespace: made again by whoever may make them. What was in them
//! heals by itself or is said to be lost. All but the log, which nobody can make again.
use std::{
    collections::BTreeSet,
    sync::{Arc, Weak},
};

use async_nats::jetstream::stream::Config;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    error::STREAM_NOT_FOUND,
    limits::{SAY_AGAIN, TEND_EVERY},
    link::Link,
    names::Names,
    settings::ConnectSettings,
    streams,
};

/// Starts looking after the streams; ends with the connection's last user.
pub(crate) fn start(link: &Arc<Link>, settings: &ConnectSettings) {
    let (link, settings) = (Arc::downgrade(link), settings.clone());
    tokio::spawn(async move {
        let mut said: Option<Instant> = None;
        loop {
            sleep(TEND_EVERY).await;
            let Some(link) = Weak::upgrade(&link) else { return };
            if link.is_connected() {
                round(&link, &settings, &mut said).await;
            }
        }
    });
}

async fn round(link: &Link, settings: &ConnectSettings, said: &mut Option<Instant>) {
    let names = Names::new(&settings.namespace);
    let mut missing = BTreeSet::new();
    let log = names.stream("log");
    let others = streams::others(&names);
    for name in others.iter().map(|config| &config.name).chain([&log]) {
        let found: Result<serde_json::Value, _> =
            link.api(&format!("STREAM.INFO.{name}"), &json!({})).await;
        match found {
            Err(error) if error.is(STREAM_NOT_FOUND) => _ = missing.insert(name.clone()),
            Ok(_) => {}
            // The server is away or starting: nothing is known.
            Err(_) => return,
        }
    }
    if missing.remove(&log) {
        if said.is_none_or(|said| said.elapsed() >= SAY_AGAIN) {
            *said = Some(Instant::now());
            tracing::error!(
                stream = log,
                "the log is gone, and nobody can make it again: restore it from a backup (`nats stream \
                 restore`), or begin anew in another namespace"
            );
        }
        return;
    }
    *said = None;
    for config in others.into_iter().filter(|config| missing.contains(&config.name)) {
        heal(link, settings, config).await;
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
