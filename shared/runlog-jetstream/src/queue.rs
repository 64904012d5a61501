//! Queues on work-queue streams: each item on a subject of its own, so that the server itself
//! refuses a second copy of one that is stored or in flight; a durable consumer for each queue,
//! whose wait for an acknowledgement is the lease.
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_nats::{
    HeaderMap, Message,
    header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID},
    jetstream::{
        self,
        consumer::{
            AckPolicy, DeliverPolicy, Info, IntoConsumerConfig as _, pull::Config as PullConfig,
        },
        stream::Config,
    },
};
use async_trait::async_trait;
use bytes::Bytes;
use dagbok_runlog::{
    Delivery, DeliveryHandle, Once, PortError, PortResult, Published, Queue, QueueSettings, Queues,
    limits::{check_payload, check_subject},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    clock,
    error::{AskError, CONSUMER_NOT_STORED, MESSAGE_NOT_FOUND, WRONG_LAST_SEQUENCE},
    limits::{FRESH, IN_FLIGHT_PER_QUEUE, LONGEST_SPAN, SETTLES_IN, WAITING_PULLS},
    link::Link,
    names::{Names, escape, unescape},
    passed,
    pull::{self, Taken},
    settings::ConnectSettings,
    streams,
};

/// On an item: which run of the server took it. A killed server forgets what it handed out since its
/// last write, and hands it out once more as if for the first time.
const TAKEN_BY: &str = "Dagbok-Taken-By";
/// On an item: what the server's clock showed when it was decided on, in nanoseconds. What is stored much
/// later, or has no such word, may be a copy.
const DECIDED: &str = "Dagbok-Decided";

/// More subjects than a stream can have.
const BEYOND_ALL: u64 = 1 << 40;

/// Families of names that are streams of another kind, or none.
const RESERVED: [&str; 6] = ["log", "blobs", "snapshots", "state", "signals", "alerts"];

/// All queues of a namespace.
#[derive(Debug)]
pub(crate) struct JetStreamQueues {
    link: Arc<Link>,
    names: Names,
    settings: ConnectSettings,
}

impl JetStreamQueues {
    pub(crate) fn new(link: Arc<Link>, names: &Names, settings: &ConnectSettings) -> Self {
        Self { link, names: names.clone(), settings: settings.clone() }
    }
}

#[async_trait]
impl Queues for JetStreamQueues {
    async fn open(&self, name: &str, settings: QueueSettings) -> PortResult<Arc<dyn Queue>> {
        let (family, rest) = match name.split_once('.') {
            Some((family, rest)) => (family, Some(rest)),
            None => (name, None),
        };
        if RESERVED.contains(&family) {
            let why = format!("the name `{name}`: `{family}` is no family of queues");
            return Err(PortError::Refused { what: "queue", why });
        }
        let family = escape(family);
        let base = match rest {
            Some(rest) => format!("{}{family}.{}", self.names.root(), escape(rest)),
            None => format!("{}{family}", self.names.root()),
        };
        let stream = streams::queue_stream(&self.names, &family);
        let shared = Shared {
            link: Arc::clone(&self.link),
            settings: self.settings.clone(),
            config: stream.clone(),
            has_consumer: AtomicBool::new(false),
            gives_once: AtomicBool::new(false),
            consumer: rest.map_or_else(|| family.clone(), escape),
            stream: stream.name,
            base,
            lease: settings.lease.min(LONGEST_SPAN),
        };
        shared.ensure_stream().await?;
        // Whoever only publishes has no use for the consumer, and no right to make it.
        if self.settings.creates {
            shared.ensure_consumer().await?;
        }
        clock::refresh(&shared.link, &shared.stream).await;
        Ok(Arc::new(JetStreamQueue(Arc::new(shared))))
    }
}

/// One queue.
#[derive(Clone, Debug)]
struct JetStreamQueue(Arc<Shared>);

struct Shared {
    link: Arc<Link>,
    settings: ConnectSettings,
    config: Config,
    /// Whether the consumer was made here, or looked at.
    has_consumer: AtomicBool,
    /// Whether an item came that is to be begun once.
    gives_once: AtomicBool,
    stream: String,
    consumer: String,
    /// What comes before an item's key.
    base: String,
    lease: Duration,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStreamQueue").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Shared {
    async fn ensure_stream(&self) -> PortResult<()> {
        let ensured = streams::heal(&self.link, &self.settings, self.config.clone()).await;
        ensured.map_err(|error| PortError::unavailable("queue", error))
    }

    fn consumer_config(&self) -> PullConfig {
        PullConfig {
            durable_name: Some(self.consumer.clone()),
            name: Some(self.consumer.clone()),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.lease,
            max_deliver: -1,
            filter_subject: format!("{}.*", self.base),
            max_ack_pending: IN_FLIGHT_PER_QUEUE,
            max_waiting: WAITING_PULLS,
            ..PullConfig::default()
        }
    }

    /// Makes the consumer, or gives the one that is there this lease; checks what comes back.
    async fn ensure_consumer(&self) -> PortResult<()> {
        let asked = self.consumer_config().into_consumer_config();
        let question = json!({ "stream_name": self.stream, "config": asked });
        let name =
            format!("CONSUMER.CREATE.{}.{}.{}", self.stream, self.consumer, asked.filter_subject);
        let made: Result<Info, AskError> = match self.link.api(&name, &question).await {
            Err(error) if error.is(CONSUMER_NOT_STORED) => {
                self.delete_broken_consumer(&error).await;
                self.link.api(&name, &question).await
            }
            answered => answered,
        };
        let made = made.map_err(|error| {
            let (queue, stream) = (&self.consumer, &self.stream);
            PortError::unavailable("queue", format!("`{queue}` of `{stream}`: {error}"))
        })?;
        self.has_consumer.store(true, Ordering::Relaxed);
        let got = &made.config;
        if got.ack_wait == asked.ack_wait
            && got.filter_subject == asked.filter_subject
            && got.ack_policy == asked.ack_policy
            && got.max_deliver == asked.max_deliver
        {
            return Ok(());
        }
        let why = format!("the server keeps another configuration than it was given: {got:?}");
        Err(PortError::Damaged { what: "queue", place: self.consumer.clone(), why })
    }

    /// A server removes the files of a consumer that was deleted a moment after it answers, and with them those of
    /// one that was made in its place by then. It serves on, and can never be changed again, as each new leader
    /// does; so it is made anew, and what it handed out comes once more.
    async fn delete_broken_consumer(&self, why: &AskError) {
        let name = format!("CONSUMER.DELETE.{}.{}", self.stream, self.consumer);
        let deleted = self.link.api::<Value>(&name, &json!({})).await;
        let (stream, consumer) = (&self.stream, &self.consumer);
        tracing::warn!(%stream, %consumer, %why, ?deleted, "the server has lost the files of a consumer: it is made anew");
    }

    /// Stores an item unless its subject has one; with `once`, unless a copy is remembered.
    async fn publish(
        &self,
        key: &str,
        payload: Bytes,
        once: Option<Once>,
    ) -> PortResult<Published> {
        check_payload("queue", key, payload.len())?;
        let subject = format!("{}.{}", self.base, escape(key));
        check_subject("queue", &subject)?;
        let mut headers = HeaderMap::new();
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
        let run = self.link.lone_server_run();
        if let Some(Once { id, .. }) = once {
            headers.insert(NATS_MESSAGE_ID, format!("{subject}#{id}").as_str());
        }
        let since = once.map_or_else(Instant::now, |once| once.since);
        if let Some(decided) = self.link.clock.at(since, run.as_deref()) {
            headers.insert(DECIDED, decided.to_string().as_str());
        }
        if let Some(run) = run {
            headers.insert(TAKEN_BY, run.as_str());
        }
        let stored = match self.link.store(&subject, headers.clone(), payload.clone()).await {
            // The stream is gone: made again, where that is ours to do. What was in it is offered anew.
            Err(AskError::NobodyThere(_)) if self.settings.creates => {
                self.ensure_stream().await?;
                tracing::warn!(
                    stream = self.stream,
                    "nobody was there for what is sent: the stream is looked after"
                );
                self.link.store(&subject, headers, payload).await
            }
            stored => stored,
        };
        match stored {
            Ok(stored) if stored.duplicate => Ok(Published::AlreadyThere),
            Ok(_) => Ok(Published::New),
            Err(error) if error.is(WRONG_LAST_SEQUENCE) => Ok(Published::AlreadyThere),
            Err(error) => Err(error.port("queue")),
        }
    }

    /// Since when the consumer that is there now counts deliveries, by the server's clock, in nanoseconds. One
    /// that was deleted and made again counts from 1, whatever was handed out before. `None` where nobody can
    /// tell.
    async fn counting_since(&self) -> Option<i128> {
        let name = format!("CONSUMER.INFO.{}.{}", self.stream, self.consumer);
        match self.link.api::<Info>(&name, &json!({})).await {
            Ok(info) => Some(info.created.unix_timestamp_nanos()),
            Err(error) => {
                tracing::debug!(%error, "the queue's consumer can't be looked at; items count as copies");
                None
            }
        }
    }

    /// One pull of this queue's consumer.
    async fn pull(&self, max: usize, wait: Duration) -> Result<Vec<Taken>, AskError> {
        let proving = self.gives_once.load(Ordering::Relaxed);
        pull::pull(&self.link, (&self.stream, &self.consumer), max, wait, proving).await
    }

    /// What was taken, as deliveries. Where the pull does not prove that the consumer was there when an item
    /// was stored, the consumer is looked at: after the item came, since another may have made it again
    /// between two pulls; and only for items that are to be begun once, and would be now.
    async fn deliveries(self: &Arc<Self>, taken: Vec<Taken>) -> PortResult<Vec<Delivery>> {
        let mut given = Vec::new();
        for Taken { message, served_since } in taken {
            match unescape(message.subject.rsplit('.').next().unwrap_or_default()) {
                Some(key) => {
                    let (delivery, once) = self.delivery(key, message)?;
                    let unproved = once.filter(|stored| {
                        delivery.delivered == 1 && served_since.is_none_or(|since| *stored < since)
                    });
                    if once.is_some() {
                        self.gives_once.store(true, Ordering::Relaxed);
                    }
                    given.push((delivery, unproved));
                }
                None => self.drop_foreign(&message).await,
            }
        }
        if given.iter().any(|(_, unproved)| unproved.is_some()) {
            let since = self.counting_since().await;
            for (delivery, unproved) in &mut given {
                if unproved.is_some_and(|stored| since.is_none_or(|since| stored < since)) {
                    delivery.delivered = delivery.delivered.saturating_add(1);
                }
            }
        }
        Ok(given.into_iter().map(|(delivery, _)| delivery).collect())
    }

    /// Whether no other copy of an item can have been handed out: the server was there all the time since it
    /// was stored, and it was stored soon after it was decided on. Of two copies in time the server has
    /// dropped the second; one that was held up on its way, or was put there by hand, is late.
    fn is_first(&self, headers: Option<&HeaderMap>, stored: i128) -> bool {
        let Some(headers) = headers else { return false };
        let same_run = match (headers.get(TAKEN_BY), self.link.lone_server_run()) {
            (Some(then), Some(now)) => then.as_str() == now,
            (None, Some(_)) => false,
            (_, None) => true,
        };
        same_run && is_fresh(headers, stored)
    }

    /// How long an item has been stored that was at `stored`, by the server's clock.
    fn waited_since(&self, stored: i128) -> Duration {
        let run = self.link.lone_server_run();
        let Some(now) = self.link.clock.at(Instant::now(), run.as_deref()) else {
            return Duration::MAX;
        };
        let nanos = u64::try_from(now.saturating_sub(stored).max(0)).unwrap_or(u64::MAX);
        Duration::from_nanos(nanos)
    }

    /// Removes an item whose key nobody here can have written: it would come again for ever.
    async fn drop_foreign(&self, message: &Message) {
        let (subject, bytes) = (&message.subject, message.payload.len());
        tracing::warn!(%subject, bytes, "somebody else's item was on the queue: its key can't be read; removing it");
        let Some(reply) = &message.reply else { return };
        if let Err(error) = self.link.ask(reply, None, Bytes::from_static(b"+ACK")).await {
            tracing::debug!(%error, "it will come again");
        }
    }

    /// A message as a delivery; with when it was stored, in nanoseconds, where it is to be begun once.
    fn delivery(
        self: &Arc<Self>,
        key: String,
        message: Message,
    ) -> PortResult<(Delivery, Option<i128>)> {
        let context = self.link.jetstream.clone();
        let message = jetstream::Message { message, context };
        let odd = |why: &str| PortError::Damaged {
            what: "queue",
            place: message.subject.to_string(),
            why: why.to_owned(),
        };
        let info = message.info().map_err(|_| odd("the item came without its place"))?;
        let reply =
            message.reply.as_ref().ok_or_else(|| odd("the item came without an address"))?;
        let stored = info.published.unix_timestamp_nanos();
        let headers = message.headers.as_ref();
        let is_first = self.is_first(headers, stored);
        let is_once = headers.is_some_and(|headers| headers.get(NATS_MESSAGE_ID).is_some());
        let counted = u32::try_from(info.delivered).unwrap_or(u32::MAX);
        let delivery = Delivery {
            key,
            payload: message.payload.clone(),
            delivered: if is_first { counted } else { counted.saturating_add(1) },
            waited: self.waited_since(stored),
            handle: Box::new(ItemLease {
                queue: Arc::clone(self),
                reply: reply.to_string(),
                sequence: info.stream_sequence,
            }),
        };
        Ok((delivery, is_once.then_some(stored)))
    }
}

/// Whether an item that was stored at `stored` was decided on just before, by the same clock.
fn is_fresh(headers: &HeaderMap, stored: i128) -> bool {
    let decided = headers.get(DECIDED).and_then(|decided| decided.as_str().parse::<i128>().ok());
    let fresh = FRESH.as_nanos();
    decided.is_some_and(|decided| stored.abs_diff(decided) <= fresh)
}

#[async_trait]
impl Queue for JetStreamQueue {
    async fn publish(&self, key: &str, payload: Bytes) -> PortResult<Published> {
        self.0.publish(key, payload, None).await
    }

    async fn publish_once(&self, key: &str, payload: Bytes, once: Once) -> PortResult<Published> {
        clock::refresh(&self.0.link, &self.0.stream).await;
        self.0.publish(key, payload, Some(once)).await
    }

    async fn pull(&self, max: usize, wait: Duration) -> PortResult<Vec<Delivery>> {
        if max == 0 {
            return Ok(Vec::new());
        }
        if !self.0.has_consumer.load(Ordering::Relaxed) {
            self.0.ensure_consumer().await?;
        }
        let taken = match self.0.pull(max, wait).await {
            // The consumer is gone, and the stream may be: made again, where that is ours to do.
            Err(AskError::NobodyThere(_)) => {
                self.0.ensure_stream().await?;
                self.0.ensure_consumer().await?;
                self.0.pull(max, wait).await
            }
            taken => taken,
        };
        self.0.deliveries(taken.map_err(|error| error.port("queue"))?).await
    }

    async fn take_up(&self, address: &str) -> PortResult<Option<Delivery>> {
        let Some(message) = passed::message(&self.0.link, &self.0.stream, address).await? else {
            return Ok(None);
        };
        let mut taken = self.0.deliveries(vec![Taken { message, served_since: None }]).await?;
        Ok(taken.pop().map(|delivery| Delivery { waited: Duration::MAX, ..delivery }))
    }

    async fn depth(&self) -> PortResult<u64> {
        // The consumer's own count lags behind. Every item has a subject of its own, and the server
        // counts subjects even where it is asked to list none.
        #[derive(Deserialize)]
        struct Counted {
            #[serde(default)]
            total: u64,
        }
        let filter = format!("{}.*", self.0.base);
        let question = json!({ "subjects_filter": filter, "offset": BEYOND_ALL });
        let name = format!("STREAM.INFO.{}", self.0.stream);
        let counted: Result<Counted, _> = self.0.link.api(&name, &question).await;
        counted.map(|counted| counted.total).map_err(|error| error.port("queue"))
    }
}

/// One delivery's address for words on it. Every word is answered by the server: an executor that
/// believes its lease renewed must be right.
struct ItemLease {
    queue: Arc<Shared>,
    reply: String,
    /// Where the item is in the stream.
    sequence: u64,
}

impl fmt::Debug for ItemLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ItemLease").field(&self.reply).finish()
    }
}

impl ItemLease {
    async fn say(&self, word: Bytes) -> PortResult<()> {
        let said = self.queue.link.ask(&self.reply, None, word).await;
        said.map(drop).map_err(|error| error.port("queue"))
    }

    /// Waits until the item is out of the stream, so that its key is free again. A cluster answers
    /// an acknowledgement before that.
    async fn gone(&self) -> Result<(), AskError> {
        let (link, deadline) = (&self.queue.link, Instant::now() + self.queue.link.timeout);
        let name = format!("STREAM.MSG.GET.{}", self.queue.stream);
        let question = json!({ "seq": self.sequence });
        loop {
            match link.api::<Value>(&name, &question).await {
                Err(error) if error.is(MESSAGE_NOT_FOUND) => return Ok(()),
                Err(error) => return Err(error),
                Ok(_) if Instant::now() >= deadline => {
                    return Err(AskError::TimedOut(link.timeout));
                }
                Ok(_) => sleep(SETTLES_IN).await,
            }
        }
    }
}

#[async_trait]
impl DeliveryHandle for ItemLease {
    async fn ack(&self) -> PortResult<()> {
        self.say(Bytes::from_static(b"+ACK")).await?;
        if self.queue.link.is_clustered() {
            return self.gone().await.map_err(|error| error.port("queue"));
        }
        Ok(())
    }

    async fn progress(&self) -> PortResult<()> {
        self.say(Bytes::from_static(b"+WPI")).await
    }

    async fn nak(&self, delay: Duration) -> PortResult<()> {
        let nanoseconds = u64::try_from(delay.min(LONGEST_SPAN).as_nanos()).unwrap_or(u64::MAX);
        self.say(format!("-NAK {}", json!({ "delay": nanoseconds })).into()).await
    }

    fn address(&self) -> Option<String> {
        Some(self.reply.clone())
    }
}
