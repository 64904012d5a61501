//! Watching keyed state: a reader of what comes from now on, every delivery counted, so that a change
//! lost on the way ends the watch instead of being missed. The stream holds one message for each key,
//! so what is overwritten before it is read is not told; the last change always is.
use std::collections::BTreeSet;

use async_nats::jetstream::consumer::DeliverPolicy;
use dagbok_runlog::{Change, PortError, PortResult, limits::WATCH_BACKLOG};
use futures::{StreamExt as _, stream::BoxStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::{error::AskError, follow::Reader, names::prefix_filter, state::JetStreamState};

/// Keys that a watch remembers as gone at most: beyond, a key may be told gone twice.
const GONE_REMEMBERED: usize = 4_096;

struct StateWatch {
    state: JetStreamState,
    prefix: String,
    reader: Reader,
    /// The number that the next delivery must have.
    due: u64,
    /// Keys told gone. The mark of a deleted key leaves a mark of its own when it runs out.
    gone: BTreeSet<String>,
}

/// Changes of keys that begin with `prefix`; in force when this returns.
pub(crate) async fn watch(
    state: JetStreamState,
    prefix: String,
) -> Result<BoxStream<'static, PortResult<Change>>, AskError> {
    let filter = format!("{}{}", state.root, prefix_filter(&prefix));
    let reader = Reader::open(&state.link, &state.stream, DeliverPolicy::New, filter).await?;
    let mut watch = StateWatch { state, prefix, reader, due: 1, gone: BTreeSet::new() };
    // One place more than the backlog, for the error that ends it.
    let (changes, receiver) = mpsc::channel(WATCH_BACKLOG + 1);
    tokio::spawn(async move {
        let ended = watch.run(&changes).await;
        watch.reader.close().await;
        if let Err(error) = ended {
            let _ = changes.send(Err(error)).await;
        }
    });
    Ok(ReceiverStream::new(receiver).boxed())
}

impl StateWatch {
    /// Tells changes until nobody listens any more.
    async fn run(&mut self, changes: &mpsc::Sender<PortResult<Change>>) -> PortResult<()> {
        loop {
            let news = tokio::select! {
                biased;
                () = changes.closed() => return Ok(()),
                news = self.next() => news?,
            };
            for change in news {
                if changes.capacity() <= 1 {
                    let why = format!(
                        "the watcher fell more than {WATCH_BACKLOG} changes behind; watch again"
                    );
                    return Err(PortError::unavailable("state", why));
                }
                if changes.send(Ok(change)).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    async fn next(&mut self) -> PortResult<Vec<Change>> {
        let messages = self.reader.next().await.map_err(|error| error.port("state"))?;
        let mut changes = Vec::with_capacity(messages.len());
        for message in messages {
            let nth = message.info().map_err(|error| PortError::unavailable("state", error))?;
            let nth = nth.consumer_sequence;
            if nth != self.due {
                let why = format!("change {nth} came where {} was due; watch again", self.due);
                return Err(PortError::unavailable("state", why));
            }
            self.due += 1;
            let change = self.state.change(message).map_err(|error| error.port("state"))?;
            changes.extend(change.filter(|change| self.is_news(change)));
        }
        Ok(changes)
    }

    fn is_news(&mut self, change: &Change) -> bool {
        match change {
            Change::Put { key, .. } => {
                self.gone.remove(key);
                key.starts_with(&self.prefix)
            }
            Change::Gone { key } => {
                if self.gone.len() >= GONE_REMEMBERED {
                    self.gone.clear();
                }
                key.starts_with(&self.prefix) && self.gone.insert(key.clone())
            }
        }
    }
}
