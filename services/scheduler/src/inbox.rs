//! The inbox, pulled ahead of the loop so that the next batch is there when the last one is durable.
use std::time::Duration;

use dagbok_events::decode_packed;
use dagbok_inbox::INBOX_LEASE;
use dagbok_protocol::{Command, names};
use dagbok_runlog::{DeliveryHandle, PortError, Ports, QueueSettings};
use dagbok_runtime::{Backoff, Shutdown};
use tokio::sync::mpsc;

/// Commands taken at once.
const AT_ONCE: usize = 256;

/// A command and the way to say that it is done with.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) command: Command,
    pub(crate) handle: Box<dyn DeliveryHandle>,
}

/// Starts pulling; ends with the term.
pub(crate) async fn open(
    ports: &Ports,
    term: &Shutdown,
) -> Result<mpsc::Receiver<Received>, PortError> {
    let queue = ports.queues.open(names::INBOX, QueueSettings { lease: INBOX_LEASE }).await?;
    let (sender, receiver) = mpsc::channel(AT_ONCE * 2);
    let ended = term.clone();
    term.spawn(async move {
        let mut backoff = Backoff::default();
        loop {
            let pulled = tokio::select! {
                () = ended.started() => return,
                () = sender.closed() => return,
                pulled = queue.pull(AT_ONCE, Duration::from_secs(5)) => pulled,
            };
            match pulled {
                Ok(deliveries) => {
                    backoff.reset();
                    for delivery in deliveries {
                        match decode_packed::<Command>(&delivery.payload) {
                            Ok(command) => {
                                let taken = Received { command, handle: delivery.handle };
                                if sender.send(taken).await.is_err() {
                                    return;
                                }
                            }
                            Err(error) => refuse(&delivery.key, &error, &*delivery.handle).await,
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the inbox can't be pulled");
                    backoff.pause().await;
                }
            }
        }
    });
    Ok(receiver)
}

/// What is no command can't be answered; it is said, and taken off, so that it does not come for ever.
async fn refuse(key: &str, error: &dagbok_events::DecodeError, handle: &dyn DeliveryHandle) {
    tracing::error!(key, %error, "a message of the inbox is no command; it is dropped");
    if let Err(error) = handle.ack().await {
        tracing::warn!(%error, "it will come again");
    }
}
