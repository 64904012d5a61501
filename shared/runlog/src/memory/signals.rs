//! Signals in memory.
use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, Stream, StreamExt as _};
use parking_lot::Mutex;
use tokio::{
    sync::oneshot,
    time::{Duration, sleep_until, timeout_at},
};

use super::after;
use crate::{
    PortResult, RequestError, Responder, Signal, Signals,
    limits::{SIGNAL_BACKLOG, check_pattern, check_payload, check_subject},
    subject_matches,
};

/// Signals between the handles of one process.
#[derive(Clone, Debug, Default)]
pub struct MemorySignals {
    pub(super) listeners: Arc<Mutex<Vec<Arc<Listener>>>>,
}

#[derive(Debug)]
pub(super) struct Listener {
    pattern: String,
    inbox: Mutex<Inbox>,
}

#[derive(Debug, Default)]
struct Inbox {
    signals: VecDeque<Signal>,
    waker: Option<Waker>,
}

impl Listener {
    fn hear(&self, signal: Signal) {
        let mut inbox = self.inbox.lock();
        if inbox.signals.len() == SIGNAL_BACKLOG {
            inbox.signals.pop_front();
        }
        inbox.signals.push_back(signal);
        if let Some(waker) = inbox.waker.take() {
            waker.wake();
        }
    }
}

impl MemorySignals {
    /// Says it to every listener that it concerns; returns how many there are.
    fn say(&self, subject: &str, payload: &Bytes, answer: Option<&Replier>) -> usize {
        let listeners = self.listeners.lock();
        let concerned = listeners.iter().filter(|l| subject_matches(&l.pattern, subject));
        concerned
            .map(|listener| {
                let responder = answer.map(|answer| Box::new(answer.clone()) as Box<dyn Responder>);
                let (subject, payload) = (subject.to_owned(), payload.clone());
                listener.hear(Signal { subject, payload, responder });
            })
            .count()
    }
}

#[async_trait]
impl Signals for MemorySignals {
    async fn publish(&self, subject: &str, payload: Bytes) -> PortResult<()> {
        check_subject("signals", subject)?;
        check_payload("signals", subject, payload.len())?;
        self.say(subject, &payload, None);
        Ok(())
    }

    async fn subscribe(&self, subject: &str) -> PortResult<BoxStream<'static, Signal>> {
        check_pattern("signals", subject)?;
        let listener = Listener { pattern: subject.to_owned(), inbox: Mutex::default() };
        let listener = Arc::new(listener);
        self.listeners.lock().push(Arc::clone(&listener));
        Ok(Subscription { signals: self.clone(), listener }.boxed())
    }

    async fn request(
        &self,
        subject: &str,
        payload: Bytes,
        within: Duration,
    ) -> Result<Bytes, RequestError> {
        check_subject("signals", subject)?;
        check_payload("signals", subject, payload.len())?;
        let deadline = after(within);
        let (sender, answer) = oneshot::channel();
        let heard = self.say(subject, &payload, Some(&Replier(Arc::new(Mutex::new(Some(sender))))));
        let subject = subject.to_owned();
        if heard == 0 {
            return Err(RequestError::NoResponder { subject });
        }
        match timeout_at(deadline, answer).await {
            Ok(Ok(payload)) => Ok(payload),
            // Every listener let go of the question: as with a broker, only time tells the asker.
            Ok(Err(_)) => {
                sleep_until(deadline).await;
                Err(RequestError::TimedOut { subject, within })
            }
            Err(_) => Err(RequestError::TimedOut { subject, within }),
        }
    }
}

/// Where the first answer goes; later ones are dropped.
#[derive(Clone, Debug)]
struct Replier(Arc<Mutex<Option<oneshot::Sender<Bytes>>>>);

#[async_trait]
impl Responder for Replier {
    async fn respond(&self, payload: Bytes) -> PortResult<()> {
        check_payload("signals", "answer", payload.len())?;
        if let Some(sender) = self.0.lock().take() {
            // The asker may be gone.
            let _ = sender.send(payload);
        }
        Ok(())
    }
}

/// A listener's stream; dropping it ends the subscription.
struct Subscription {
    signals: MemorySignals,
    listener: Arc<Listener>,
}

impl Stream for Subscription {
    type Item = Signal;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Signal>> {
        let mut inbox = self.listener.inbox.lock();
        if let Some(signal) = inbox.signals.pop_front() {
            return Poll::Ready(Some(signal));
        }
        inbox.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.signals.listeners.lock().retain(|listener| !Arc::ptr_eq(listener, &self.listener));
    }
}
