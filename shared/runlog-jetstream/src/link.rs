//! One connection to NATS, as the ports use it: every question has a time limit, fails at once when
//! the connection breaks, and is not even sent while there is none. The client would keep what is
//! sent meanwhile and deliver it on reconnecting, long after its sender gave up on it.
use std::{sync::Arc, time::Duration};

use async_nats::{
    Client, HeaderMap, Message, Request, RequestErrorKind, Subscriber, connection::State, jetstream,
};
use bytes::Bytes;
use dagbok_runlog::limits::MAX_PAYLOAD;
use futures::{StreamExt as _, future::BoxFuture};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::{
    clock::ServerClock,
    error::{AskError, ConnectError, ID_IN_FLIGHT, LinkFailure, SUBJECT_IN_FLIGHT},
    limits::{HEADER_ROOM, LONGEST_SPAN, LOOK_AGAIN, SETTLES_IN},
    settings::ConnectSettings,
    status::Status,
};

/// What comes before every question to JetStream.
pub(crate) const API: &str = "$JS.API.";

/// One connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) client: Client,
    pub(crate) status: Arc<Status>,
    pub(crate) timeout: Duration,
    /// JetStream as the client sees it; its publishes are sent in the order of their calls.
    pub(crate) jetstream: jetstream::Context,
    /// What is known of the server's clock.
    pub(crate) clock: ServerClock,
}

/// JetStream's word that a message is stored.
#[derive(Debug, Deserialize)]
pub(crate) struct Stored {
    pub(crate) seq: u64,
    /// Whether it was there already, by its id.
    #[serde(default)]
    pub(crate) duplicate: bool,
}

impl Link {
    pub(crate) async fn open(settings: &ConnectSettings) -> Result<Arc<Self>, ConnectError> {
        let addresses = settings.addresses()?;
        let status = Arc::new(Status::new());
        let told = Arc::clone(&status);
        let options = settings.options(&addresses)?.event_callback(move |event| {
            told.note(&event);
            std::future::ready(())
        });
        let unreachable = |failure: LinkFailure, detail: String| ConnectError::Unreachable {
            urls: settings.shown_urls(),
            failure,
            detail,
        };
        // The client tries every address once; a server that takes the connection and then says
        // nothing must not hold this up for ever.
        let patience = settings.timeout * u32::try_from(addresses.len()).unwrap_or(1);
        let client = match timeout(patience, options.connect(addresses)).await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => {
                return Err(unreachable(LinkFailure::of_connect(&error), error.to_string()));
            }
            Err(_) => return Err(unreachable(LinkFailure::TimedOut, "no greeting".to_owned())),
        };
        let jetstream = jetstream::ContextBuilder::new()
            .timeout(settings.timeout)
            .ack_timeout(settings.timeout)
            .build(client.clone());
        Ok(Arc::new(Self {
            client,
            status,
            timeout: settings.timeout,
            jetstream,
            clock: ServerClock::default(),
        }))
    }

    pub(crate) fn server_version(&self) -> String {
        self.client.server_info().version
    }

    /// A name for this run of the server, new whenever it starts; `None` in a cluster, whose members
    /// keep one another's memory.
    pub(crate) fn lone_server_run(&self) -> Option<String> {
        let info = self.client.server_info();
        info.cluster.is_none_or(|name| name.is_empty()).then_some(info.server_id)
    }

    /// Whether the server is one of several.
    pub(crate) fn is_clustered(&self) -> bool {
        self.lone_server_run().is_none()
    }

    pub(crate) fn check_payload_limit(&self) -> Result<(), ConnectError> {
        let (actual, needed) = (self.client.max_payload(), MAX_PAYLOAD + HEADER_ROOM);
        if actual < needed { Err(ConnectError::PayloadLimit { actual, needed }) } else { Ok(()) }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Waits for a connection, no longer than the timeout; returns its epoch.
    pub(crate) async fn ready(&self) -> Result<u64, AskError> {
        self.ready_by(Instant::now() + self.timeout).await
    }

    async fn ready_by(&self, deadline: Instant) -> Result<u64, AskError> {
        loop {
            let epoch = self.status.now().epoch;
            if self.is_connected() {
                return Ok(epoch);
            }
            if Instant::now() >= deadline {
                let since = self.status.now().since;
                return Err(AskError::NotConnected(since.elapsed()));
            }
            // Events may be lost in a flood of them, so the client is looked at as well.
            let look = (Instant::now() + LOOK_AGAIN).min(deadline);
            let _ = timeout_at(look, self.status.changed()).await;
        }
    }

    /// Asks `subject`, and waits for one answer no longer than the timeout.
    pub(crate) async fn ask(
        &self,
        subject: &str,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<Message, AskError> {
        self.ask_within(subject, headers, payload, self.timeout).await
    }

    /// Asks `subject`, and waits for one answer no longer than `within`.
    pub(crate) async fn ask_within(
        &self,
        subject: &str,
        headers: Option<HeaderMap>,
        payload: Bytes,
        within: Duration,
    ) -> Result<Message, AskError> {
        let deadline = Instant::now() + within.min(LONGEST_SPAN);
        let epoch = self.ready_by(deadline).await?;
        let mut request = Request::new().payload(payload).timeout(None);
        if let Some(headers) = headers {
            request = request.headers(headers);
        }
        let denials = self.status.denials();
        let answer = self.client.send_request(subject.to_owned(), request);
        tokio::select! {
            biased;
            answer = answer => answer.map_err(|error| match error.kind() {
                RequestErrorKind::NoResponders => AskError::NobodyThere(subject.to_owned()),
                RequestErrorKind::TimedOut => AskError::TimedOut(within),
                _ => AskError::Other(error.to_string()),
            }),
            () = self.status.lost(epoch) => Err(AskError::Lost),
            said = denials.of(subject) => Err(AskError::Denied(said)),
            () = tokio::time::sleep_until(deadline) => Err(AskError::TimedOut(within)),
        }
    }

    /// Asks JetStream's API, `name` without what comes before.
    pub(crate) async fn api<T: DeserializeOwned>(
        &self,
        name: &str,
        question: &impl Serialize,
    ) -> Result<T, AskError> {
        let payload = serde_json::to_vec(question).map_err(|e| AskError::Other(e.to_string()))?;
        let answer = self.ask(&format!("{API}{name}"), None, payload.into()).await?;
        read_answer(&answer)
    }

    /// Stores a message, and waits until it is; returns where.
    pub(crate) async fn store(
        &self,
        subject: &str,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<Stored, AskError> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let headers = (!headers.is_empty()).then(|| headers.clone());
            let answer = self.ask(subject, headers, payload.clone()).await?;
            match read_answer::<Stored>(&answer) {
                // Who was first is not known yet, so neither is what to say of the second.
                Err(error)
                    if (error.is(SUBJECT_IN_FLIGHT) || error.is(ID_IN_FLIGHT))
                        && Instant::now() < deadline =>
                {
                    sleep(SETTLES_IN).await;
                }
                stored => return stored,
            }
        }
    }

    /// Says something without waiting for an answer; fails while there is no connection.
    pub(crate) async fn tell(
        &self,
        subject: String,
        reply: Option<String>,
        payload: Bytes,
    ) -> Result<(), AskError> {
        self.ready().await?;
        let telling = async {
            match reply {
                Some(reply) => self.client.publish_with_reply(subject, reply, payload).await,
                None => self.client.publish(subject, payload).await,
            }
        };
        match timeout(self.timeout, telling).await {
            Ok(told) => told.map_err(|error| AskError::Other(error.to_string())),
            Err(_) => Err(AskError::TimedOut(self.timeout)),
        }
    }

    /// Listens to `subject`; the server may not know of it yet when this returns.
    pub(crate) async fn listen(&self, subject: String) -> Result<Subscriber, AskError> {
        self.ready().await?;
        match timeout(self.timeout, self.client.subscribe(subject)).await {
            Ok(subscriber) => subscriber.map_err(|error| AskError::Other(error.to_string())),
            Err(_) => Err(AskError::TimedOut(self.timeout)),
        }
    }

    /// Asks `subject` what has many answers.
    pub(crate) async fn ask_many(
        &self,
        subject: String,
        payload: Bytes,
    ) -> Result<Answers<'_>, AskError> {
        let epoch = self.ready().await?;
        let inbox = self.client.new_inbox();
        let denials = self.status.denials();
        let answers = self.listen(inbox.clone()).await?;
        self.tell(subject.clone(), Some(inbox), payload).await?;
        let ended = async move {
            tokio::select! {
                biased;
                () = self.status.lost(epoch) => AskError::Lost,
                said = denials.of(&subject) => AskError::Denied(said),
            }
        };
        Ok(Answers { answers, ended: Box::pin(ended) })
    }

    /// Goes to the server and back: what was sent before is in force after.
    pub(crate) async fn round_trip(&self) -> Result<(), AskError> {
        // Nobody listens to a fresh inbox, and the server says so at once.
        match self.ask(&self.client.new_inbox(), None, Bytes::new()).await {
            Err(AskError::NobodyThere(_)) | Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The answers to one question, as they come. Dropped, the server is told not to send more.
pub(crate) struct Answers<'a> {
    answers: Subscriber,
    /// What keeps more from coming.
    ended: BoxFuture<'a, AskError>,
}

impl Answers<'_> {
    /// The next answer; waits for it no longer than `within`.
    pub(crate) async fn next(&mut self, within: Duration) -> Result<Message, AskError> {
        tokio::select! {
            biased;
            answer = self.answers.next() => answer.ok_or(AskError::Lost),
            error = &mut self.ended => Err(error),
            () = sleep(within) => Err(AskError::TimedOut(within)),
        }
    }
}

/// What JetStream answers: an error, or what was asked for.
#[derive(Deserialize)]
#[serde(untagged)]
enum Reply<T> {
    Error { error: ApiError },
    Value(T),
}

#[derive(Deserialize)]
struct ApiError {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// Reads JetStream's answer, an error too.
pub(crate) fn read_answer<T: DeserializeOwned>(answer: &Message) -> Result<T, AskError> {
    match serde_json::from_slice::<Reply<T>>(&answer.payload) {
        Ok(Reply::Value(value)) => Ok(value),
        Ok(Reply::Error { error: ApiError { err_code, description } }) => {
            Err(AskError::Said { err_code, description })
        }
        Err(error) => Err(AskError::Other(format!("JetStream's answer can't be read: {error}"))),
    }
}
