//! Keyed state on a stream that is laid out as NATS's buckets are: the last message of a subject is
//! its key's value, its sequence the revision. The client's own bucket is not used: it forgets the
//! time to live of a key that is created anew after it ran out.
use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use async_nats::{
    HeaderMap, StatusCode,
    header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_TTL},
    jetstream::{self, consumer::DeliverPolicy, stream::LastRawMessageErrorKind},
};
use async_trait::async_trait;
use bytes::Bytes;
use dagbok_runlog::{
    Change, KeyedState, PortResult, StateError, Versioned,
    limits::{check_payload, check_subject},
};
use futures::stream::BoxStream;
use serde_json::json;

use crate::{
    error::{AskError, WRONG_LAST_SEQUENCE},
    follow::make,
    limits::{FOLLOW_BATCH, LONGEST_SPAN, MARKER_TTL, SHORTEST_TTL},
    link::{API, Link},
    names::{Names, key_subject, prefix_filter, subject_key},
    read, watch,
};

/// What a bucket's message does, where it does not put.
const OPERATION: &str = "KV-Operation";
/// Why the server itself took a key away.
const MARKER: &str = "Nats-Marker-Reason";
/// How often a key that keeps vanishing is tried to be created.
const CREATE_TRIES: usize = 8;

/// A namespace's keyed state.
#[derive(Clone)]
pub(crate) struct JetStreamState {
    pub(crate) link: Arc<Link>,
    pub(crate) stream: String,
    pub(crate) root: String,
    /// Whether replicas may lag, so that only the leader is asked.
    ask_leader: bool,
}

impl fmt::Debug for JetStreamState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStreamState").field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// What a key's last message says.
struct Last {
    revision: u64,
    /// `None` for a key that is gone.
    value: Option<Bytes>,
}

impl JetStreamState {
    pub(crate) fn new(link: Arc<Link>, names: &Names, ask_leader: bool) -> Self {
        Self { link, stream: names.state_stream(), root: names.state_root(), ask_leader }
    }

    fn subject(&self, key: &str) -> PortResult<String> {
        let subject = format!("{}{}", self.root, key_subject(key));
        check_subject("state", &subject).map(|()| subject)
    }

    async fn last(&self, subject: &str) -> Result<Option<Last>, AskError> {
        if !self.ask_leader {
            let found = read::last_of(&self.link, &self.stream, subject).await?;
            return Ok(found.map(|stored| {
                let gone = stored.header(OPERATION).is_some() || stored.header(MARKER).is_some();
                Last { revision: stored.seq.0, value: (!gone).then_some(stored.payload) }
            }));
        }
        let epoch = self.link.ready().await?;
        let other = |error: &dyn fmt::Display| AskError::Other(error.to_string());
        let asking = async {
            let stream = self.link.jetstream.get_stream_no_info(&self.stream).await;
            let stream = stream.map_err(|error| other(&error))?;
            match stream.get_last_raw_message_by_subject(subject).await {
                Ok(found) => {
                    let headers = &found.headers;
                    let gone = headers.get(OPERATION).is_some() || headers.get(MARKER).is_some();
                    let value = (!gone).then_some(found.payload);
                    Ok(Some(Last { revision: found.sequence, value }))
                }
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
                Err(error) => Err(other(&error)),
            }
        };
        tokio::select! {
            biased;
            found = asking => found,
            () = self.link.status.lost(epoch) => Err(AskError::Lost),
        }
    }

    /// Stores a value, where `expected` is given only if the subject's last message is that one.
    async fn store(
        &self,
        subject: &str,
        value: Bytes,
        ttl: Option<Duration>,
        expected: Option<u64>,
    ) -> Result<u64, AskError> {
        let mut headers = HeaderMap::new();
        if let Some(ttl) = ttl {
            headers.insert(NATS_MESSAGE_TTL, whole_seconds(ttl).to_string().as_str());
        }
        if let Some(expected) = expected {
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected.to_string().as_str());
        }
        self.link.store(subject, headers, value).await.map(|stored| stored.seq)
    }

    /// Everything that a short-lived reader finds under the filter, the last word on each key.
    async fn collect(
        &self,
        filter: String,
    ) -> Result<BTreeMap<String, Option<Versioned>>, AskError> {
        let start = DeliverPolicy::LastPerSubject;
        let reader = make(&self.link, &self.stream, start, filter).await?;
        let name = &reader.cached_info().name;
        let mut found = BTreeMap::new();
        while self.take(name, &mut found).await? == FOLLOW_BATCH {}
        let delete = format!("{API}CONSUMER.DELETE.{}.{name}", self.stream);
        self.link.tell(delete, None, json!({}).to_string().into()).await?;
        Ok(found)
    }

    /// Takes what a reader has ready; returns how many messages that were.
    async fn take(
        &self,
        reader: &str,
        found: &mut BTreeMap<String, Option<Versioned>>,
    ) -> Result<usize, AskError> {
        let request = json!({ "batch": FOLLOW_BATCH, "no_wait": true }).to_string();
        let subject = format!("{API}CONSUMER.MSG.NEXT.{}.{reader}", self.stream);
        let mut answers = self.link.ask_many(subject, request.into()).await?;
        let mut taken = 0;
        while taken < FOLLOW_BATCH {
            let answer = answers.next(self.link.timeout).await?;
            match answer.status {
                None => {}
                Some(StatusCode::NOT_FOUND | StatusCode::TIMEOUT) => break,
                Some(status) => return Err(AskError::Other(format!("the reader ends: {status}"))),
            }
            let context = self.link.jetstream.clone();
            if let Some(change) = self.change(jetstream::Message { message: answer, context })? {
                match change {
                    Change::Put { key, value } => found.insert(key, Some(value)),
                    Change::Gone { key } => found.insert(key, None),
                };
            }
            taken += 1;
        }
        Ok(taken)
    }

    /// What a message of the bucket changes; `None` for one that nobody here has written.
    pub(crate) fn change(&self, message: jetstream::Message) -> Result<Option<Change>, AskError> {
        let Some(key) = message.subject.strip_prefix(&self.root).and_then(subject_key) else {
            return Ok(None);
        };
        let info = message.info().map_err(|error| AskError::Other(error.to_string()))?;
        let revision = info.stream_sequence;
        let headers = message.headers.as_ref();
        let has = |name: &str| headers.is_some_and(|headers| headers.get(name).is_some());
        if has(OPERATION) || has(MARKER) {
            return Ok(Some(Change::Gone { key }));
        }
        let (message, _) = message.split();
        Ok(Some(Change::Put { key, value: Versioned { value: message.payload, revision } }))
    }
}

/// What the server counts in, never less than was asked for.
fn whole_seconds(ttl: Duration) -> u64 {
    let ttl = ttl.clamp(SHORTEST_TTL, LONGEST_SPAN);
    ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0)
}

fn conflict_or_port(error: AskError, key: &str) -> StateError {
    if error.is(WRONG_LAST_SEQUENCE) {
        StateError::Conflict { key: key.to_owned() }
    } else {
        StateError::Port(error.port("state"))
    }
}

#[async_trait]
impl KeyedState for JetStreamState {
    async fn get(&self, key: &str) -> PortResult<Option<Versioned>> {
        let last = self.last(&self.subject(key)?).await.map_err(|error| error.port("state"))?;
        Ok(last.and_then(|Last { revision, value }| Some(Versioned { value: value?, revision })))
    }

    async fn put(&self, key: &str, value: Bytes, ttl: Option<Duration>) -> PortResult<u64> {
        check_payload("state", key, value.len())?;
        let subject = self.subject(key)?;
        self.store(&subject, value, ttl, None).await.map_err(|error| error.port("state"))
    }

    async fn create(
        &self,
        key: &str,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> Result<u64, StateError> {
        check_payload("state", key, value.len())?;
        let subject = self.subject(key)?;
        let mut expected = 0;
        for _ in 0..CREATE_TRIES {
            match self.store(&subject, value.clone(), ttl, Some(expected)).await {
                Err(error) if error.is(WRONG_LAST_SEQUENCE) => {}
                stored => return stored.map_err(|error| conflict_or_port(error, key)),
            }
            // A key that went left a mark, which may itself go any moment.
            expected = match self.last(&subject).await {
                Ok(Some(Last { value: Some(_), .. })) => break,
                Ok(Some(Last { revision, value: None })) => revision,
                Ok(None) => 0,
                Err(error) => return Err(error.port("state").into()),
            };
        }
        Err(StateError::Conflict { key: key.to_owned() })
    }

    async fn update(
        &self,
        key: &str,
        value: Bytes,
        revision: u64,
        ttl: Option<Duration>,
    ) -> Result<u64, StateError> {
        check_payload("state", key, value.len())?;
        let subject = self.subject(key)?;
        if revision == 0 {
            // To the server that would mean a key that is not there; no key is at revision zero.
            return Err(StateError::Conflict { key: key.to_owned() });
        }
        let stored = self.store(&subject, value, ttl, Some(revision)).await;
        stored.map_err(|error| conflict_or_port(error, key))
    }

    async fn delete(&self, key: &str) -> PortResult<()> {
        let failed = |error: AskError| error.port("state");
        let subject = self.subject(key)?;
        let last = self.last(&subject).await.map_err(failed)?;
        if last.is_none_or(|last| last.value.is_none()) {
            return Ok(());
        }
        let mut headers = HeaderMap::new();
        headers.insert(OPERATION, "DEL");
        headers.insert(NATS_MESSAGE_TTL, whole_seconds(MARKER_TTL).to_string().as_str());
        self.link.store(&subject, headers, Bytes::new()).await.map(drop).map_err(failed)
    }

    async fn list(&self, prefix: &str) -> PortResult<Vec<(String, Versioned)>> {
        let filter = format!("{}{}", self.root, prefix_filter(prefix));
        let found = self.collect(filter).await.map_err(|error: AskError| error.port("state"))?;
        let here = found.into_iter().filter(|(key, _)| key.starts_with(prefix));
        Ok(here.filter_map(|(key, value)| Some((key, value?))).collect())
    }

    async fn watch(&self, prefix: &str) -> PortResult<BoxStream<'static, PortResult<Change>>> {
        watch::watch(self.clone(), prefix.to_owned()).await.map_err(|e| e.port("state"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_is_never_shortened() {
        let seconds = |millis| whole_seconds(Duration::from_millis(millis));
        assert_eq!([seconds(0), seconds(1), seconds(1_000)], [1, 1, 1]);
        assert_eq!([seconds(1_001), seconds(2_000), seconds(2_500)], [2, 2, 3]);
    }
}
