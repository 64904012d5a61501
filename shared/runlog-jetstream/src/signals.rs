//! Signals on core NATS: nothing is stored, and who does not listen does not hear. They live below a
//! subject of their own, so that none can land in a stream.
use std::{fmt, sync::Arc, time::Duration};

use async_nats::Message;
use async_trait::async_trait;
use bytes::Bytes;
use dagbok_runlog::{
    PortResult, RequestError, Responder, Signal, Signals,
    limits::{SIGNAL_BACKLOG, check_pattern, check_payload, check_subject},
};
use futures::{StreamExt as _, stream::BoxStream};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

use crate::{error::AskError, link::Link, names::Names};

/// A namespace's signals.
pub(crate) struct NatsSignals {
    link: Arc<Link>,
    root: String,
}

impl fmt::Debug for NatsSignals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsSignals").field("root", &self.root).finish_non_exhaustive()
    }
}

impl NatsSignals {
    pub(crate) fn new(link: Arc<Link>, names: &Names) -> Self {
        Self { link, root: format!("{}signals.", names.root()) }
    }
}

#[async_trait]
impl Signals for NatsSignals {
    async fn publish(&self, subject: &str, payload: Bytes) -> PortResult<()> {
        check_subject("signals", subject)?;
        check_payload("signals", subject, payload.len())?;
        let told = self.link.tell(format!("{}{subject}", self.root), None, payload).await;
        told.map_err(|error| error.port("signals"))
    }

    async fn subscribe(&self, subject: &str) -> PortResult<BoxStream<'static, Signal>> {
        check_pattern("signals", subject)?;
        let failed = |error: AskError| error.port("signals");
        let subscription = self.link.listen(format!("{}{subject}", self.root)).await;
        let mut subscription = subscription.map_err(failed)?;
        // The client would drop the newest for a slow listener; the channel drops the oldest.
        let (sender, receiver) = broadcast::channel::<Arc<Message>>(SIGNAL_BACKLOG);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = sender.closed() => break,
                    message = subscription.next() => {
                        let Some(message) = message else { break };
                        if sender.send(Arc::new(message)).is_err() {
                            break;
                        }
                    }
                }
            }
        });
        self.link.round_trip().await.map_err(failed)?;
        let (link, root) = (Arc::clone(&self.link), self.root.clone());
        let signals = BroadcastStream::new(receiver).filter_map(move |message| {
            let signal = message.ok().map(|message| signal(&link, &root, &message));
            std::future::ready(signal)
        });
        Ok(signals.boxed())
    }

    async fn request(
        &self,
        subject: &str,
        payload: Bytes,
        within: Duration,
    ) -> Result<Bytes, RequestError> {
        check_subject("signals", subject)?;
        check_payload("signals", subject, payload.len())?;
        let asked = format!("{}{subject}", self.root);
        let subject = subject.to_owned();
        match self.link.ask_within(&asked, None, payload, within).await {
            Ok(answer) => Ok(answer.payload),
            Err(AskError::NobodyThere(_)) => Err(RequestError::NoResponder { subject }),
            Err(AskError::TimedOut(_)) => Err(RequestError::TimedOut { subject, within }),
            Err(error) => Err(RequestError::Port(error.port("signals"))),
        }
    }
}

fn signal(link: &Arc<Link>, root: &str, message: &Message) -> Signal {
    let subject = message.subject.strip_prefix(root).unwrap_or(&message.subject).to_owned();
    let responder = message.reply.as_ref().map(|reply| {
        let (link, reply) = (Arc::clone(link), reply.to_string());
        Box::new(Replier { link, reply }) as Box<dyn Responder>
    });
    Signal { subject, payload: message.payload.clone(), responder }
}

/// Where an answer goes.
struct Replier {
    link: Arc<Link>,
    reply: String,
}

impl fmt::Debug for Replier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Replier").field(&self.reply).finish()
    }
}

#[async_trait]
impl Responder for Replier {
    async fn respond(&self, payload: Bytes) -> PortResult<()> {
        check_payload("signals", "answer", payload.len())?;
        let told = self.link.tell(self.reply.clone(), None, payload).await;
        told.map_err(|error| error.port("signals"))
    }
}
