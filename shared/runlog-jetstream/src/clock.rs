//! The server's clock as this process knows it: what the server said last, and how long ago that was by the
//! monotonic clock. By it a queue tells whether an item was stored soon after it was decided on; no machine's
//! clock is compared with another's.
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_nats::datetime::parse_rfc3339;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    error::AskError,
    limits::{CLOCK_REFRESH, LOOK_AGAIN, RECONNECT_LONGEST},
    link::Link,
};

/// What is known of the server's clock.
#[derive(Debug, Default)]
pub(crate) struct ServerClock {
    known: Mutex<Option<Reading>>,
    /// When the server was asked last.
    asked: Mutex<Option<Instant>>,
}

/// One answer of the server's.
#[derive(Clone, Debug)]
struct Reading {
    /// Nanoseconds since 1970, as the server has it.
    nanos: i128,
    /// When that was, here.
    at: Instant,
    /// Which run of the server said so.
    run: Option<String>,
    /// Since when that run is known here.
    run_since: Instant,
}

impl ServerClock {
    /// Takes in a time as RFC 3339 that the server gave just now.
    fn note(&self, said: &str, asked: Instant, run: Option<String>) {
        let Ok(time) = parse_rfc3339(said) else {
            tracing::debug!(said, "the server's time can't be read");
            return;
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let same = known.as_ref().filter(|known| known.run == run).map(|known| known.run_since);
        let run_since = same.unwrap_or(asked);
        *known = Some(Reading { nanos: time.unix_timestamp_nanos(), at: asked, run, run_since });
    }

    /// What the server's clock showed at `when`; `None` where that is not known, or was before `run`, the
    /// run of the server that is there now, was known.
    pub(crate) fn at(&self, when: Instant, run: Option<&str>) -> Option<i128> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.as_ref().filter(|known| known.run.as_deref() == run)?;
        let nanos =
            |span: std::time::Duration| i128::try_from(span.as_nanos()).unwrap_or(i128::MAX);
        match when.checked_duration_since(known.at) {
            Some(after) => Some(known.nanos.saturating_add(nanos(after))),
            None if when < known.run_since => None,
            None => Some(known.nanos.saturating_sub(nanos(known.at.duration_since(when)))),
        }
    }

    /// Whether the clock of the server's run that is there now is known.
    fn is_known(&self, run: Option<&str>) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().is_some_and(|known| known.run.as_deref() == run)
    }

    /// Whether it is time to ask again; then whoever hears so asks.
    fn is_due(&self) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let due = asked.is_none_or(|asked| asked.elapsed() > CLOCK_REFRESH);
        if due {
            *asked = Some(Instant::now());
        }
        due
    }
}

/// Asks the server for its time, of a stream's leader in a cluster, where what is known grows old; waits for
/// the answer only where nothing is known yet of the run of the server that is there now.
pub(crate) async fn refresh(link: &Arc<Link>, stream: &str) {
    let known = link.clock.is_known(link.lone_server_run().as_deref());
    if known && !link.clock.is_due() {
        return;
    }
    let (link, stream) = (Arc::clone(link), stream.to_owned());
    let asking = async move {
        if let Err(error) = ask(&link, &stream).await {
            tracing::debug!(%error, "the server's time can't be had; items count as copies meanwhile");
        }
    };
    if known {
        tokio::spawn(asking);
    } else {
        asking.await;
    }
}

/// Asks at once whenever another run of the server is there, so that what is decided from then on can be told
/// from what was decided before. Ends with the connection's last user.
pub(crate) fn keep(link: &Arc<Link>, stream: String) {
    let link = Arc::downgrade(link);
    tokio::spawn(async move {
        loop {
            let Some(link) = Weak::upgrade(&link) else { return };
            let run = link.lone_server_run();
            let is_news = link.is_connected() && !link.clock.is_known(run.as_deref());
            if is_news && ask(&link, &stream).await.is_err() {
                sleep(LOOK_AGAIN).await;
                continue;
            }
            // Not for ever: the last user must be seen to go.
            let _ = timeout(RECONNECT_LONGEST, link.status.changed()).await;
        }
    });
}

async fn ask(link: &Link, stream: &str) -> Result<(), AskError> {
    #[derive(Deserialize)]
    struct Dated {
        ts: String,
    }
    let (asked, run) = (Instant::now(), link.lone_server_run());
    let said: Dated = link.api(&format!("STREAM.INFO.{stream}"), &json!({})).await?;
    link.clock.note(&said.ts, asked, run);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_servers_time_is_known_before_and_after_it_was_said_but_only_of_the_same_run() {
        let (clock, said) = (ServerClock::default(), Instant::now());
        let run = |name: &str| Some(name.to_owned());
        assert_eq!(clock.at(said, Some("a")), None);
        clock.note("1970-01-01T00:01:40Z", said, run("a"));
        let later = said + Duration::from_secs(5);
        assert_eq!(clock.at(later, Some("a")), Some(105_000_000_000));
        clock.note("1970-01-01T00:01:50Z", said + Duration::from_secs(10), run("a"));
        assert_eq!(clock.at(later, Some("a")), Some(105_000_000_000));
        assert_eq!(clock.at(later, Some("b")), None, "another server's time");
        clock.note("1970-01-01T00:02:00Z", said + Duration::from_secs(20), run("b"));
        assert_eq!(clock.at(later, Some("b")), None, "before that run");
        assert!(clock.at(said + Duration::from_secs(21), Some("b")).is_some());
    }
}
