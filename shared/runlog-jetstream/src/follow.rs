//! Following the log: a reader of its own on the server, asked for the next messages before the last
//! ones are used up, and every sequence checked. A stream without a leader for a moment, as while a
//! cluster elects one, is waited for; a broken connection ends the stream with an error, so that whoever
//! follows always knows what it has seen.
use std::{sync::Arc, time::Duration};

use async_nats::jetstream::{
    self,
    consumer::{AckPolicy, DeliverPolicy, Info, IntoConsumerConfig as _, PullConsumer, pull},
};
use dagbok_runlog::{Entry, PortError, PortResult, RunLog as _, Seq};
use futures::{
    StreamExt as _,
    stream::{BoxStream, ReadyChunks},
};
use serde_json::json;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval_at, sleep},
};
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    error::AskError,
    limits::{FOLLOW_BATCH, FOLLOW_BYTES, FOLLOW_CHUNK, FOLLOW_EXPIRES, HEARTBEAT, READER_LINGERS},
    link::{API, Link},
    log::JetStreamLog,
};

/// How often is looked whether a stream has a leader again.
const LEADER_LOOK: Duration = Duration::from_millis(100);
/// How often is looked whether the log is whole.
const WHOLE_LOOK: Duration = Duration::from_secs(5);
/// Batches that wait for a follower that is busy.
const BATCHES_AHEAD: usize = 2;

/// Entries after `after`, for ever.
pub(crate) fn follow(log: JetStreamLog, after: Seq) -> BoxStream<'static, PortResult<Vec<Entry>>> {
    let (batches, receiver) = mpsc::channel(BATCHES_AHEAD);
    tokio::spawn(async move {
        if let Err(error) = run(&log, after, &batches).await {
            // Nobody may be left to hear it.
            let _ = batches.send(Err(error)).await;
        }
    });
    ReceiverStream::new(receiver).boxed()
}

async fn run(
    log: &JetStreamLog,
    after: Seq,
    batches: &mpsc::Sender<PortResult<Vec<Entry>>>,
) -> PortResult<()> {
    // A stream that was lost is found out here, and not by waiting for ever.
    log.last().await?;
    let mut due = Seq(after.0.saturating_add(1));
    log.check_base(due)?;
    let mut reader = open_at(log, due).await.map_err(|error| error.port("log"))?;
    let mut look = interval_at(Instant::now() + WHOLE_LOOK, WHOLE_LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let outcome = loop {
        let chunk = tokio::select! {
            biased;
            () = batches.closed() => break Ok(()),
            // What is purged of what was read already leaves no gap in what comes.
            _ = look.tick() => match log.last().await {
                Err(error @ PortError::Damaged { .. }) => break Err(error),
                _ => continue,
            },
            chunk = reader.next() => chunk,
        };
        let entries = match chunk {
            Ok(messages) => entries(log, messages, &mut due),
            // A stream without a leader for a moment: what is due is asked for again.
            Err(AskError::NobodyThere(_)) => {
                reader.close().await;
                reader = reopen_at(log, due).await.map_err(|error| error.port("log"))?;
                continue;
            }
            Err(error) => break Err(error.port("log")),
        };
        match entries {
            // Whoever follows from beyond the end is sent what comes before as well.
            Ok(entries) if entries.is_empty() => {}
            Ok(entries) => {
                if batches.send(Ok(entries)).await.is_err() {
                    break Ok(());
                }
            }
            Err(error) => break Err(error),
        }
    };
    reader.close().await;
    outcome
}

async fn open_at(log: &JetStreamLog, due: Seq) -> Result<Reader, AskError> {
    let start = DeliverPolicy::ByStartSequence { start_sequence: due.0 };
    Reader::open(&log.link, &log.stream, start, String::new()).await
}

/// Opens as soon as somebody leads the stream; gives up after the timeout.
async fn reopen_at(log: &JetStreamLog, due: Seq) -> Result<Reader, AskError> {
    let deadline = Instant::now() + log.link.timeout;
    loop {
        sleep(LEADER_LOOK).await;
        match open_at(log, due).await {
            Err(AskError::NobodyThere(_) | AskError::TimedOut(_)) if Instant::now() < deadline => {}
            opened => return opened,
        }
    }
}

fn entries(
    log: &JetStreamLog,
    messages: Vec<jetstream::Message>,
    due: &mut Seq,
) -> PortResult<Vec<Entry>> {
    let mut entries = Vec::with_capacity(messages.len());
    let first = *due;
    for message in messages {
        let info = message.info().map_err(|error| PortError::unavailable("log", error))?;
        let seq = Seq(info.stream_sequence);
        if seq < first {
            continue;
        }
        if seq != *due {
            return Err(out_of_order(log, *due, seq, info.consumer_sequence));
        }
        let subject = log.subject_of(&message.subject);
        let (message, _) = message.split();
        entries.push(Entry { seq, subject, payload: message.payload });
        *due = seq.plus(1);
    }
    if let Some(entry) = entries.last() {
        log.saw(entry.seq);
    }
    Ok(entries)
}

/// The first message of a reader begins where the stream does: a gap there is the stream's own. Any
/// other is a message lost on the way, which following again brings.
fn out_of_order(log: &JetStreamLog, due: Seq, seq: Seq, nth: u64) -> PortError {
    if nth == 1 {
        log.gap(due, seq)
    } else {
        PortError::unavailable("log", format!("entry {seq} came where {due} was due; follow again"))
    }
}

/// A reader on the server that keeps nothing and acknowledges nothing.
pub(crate) struct Reader {
    link: Arc<Link>,
    messages: ReadyChunks<pull::Stream>,
    epoch: u64,
    delete: String,
}

impl Reader {
    /// A reader of `stream`, from `start` on, of the subjects that `filter` matches (all where it is
    /// empty). In force when this returns.
    pub(crate) async fn open(
        link: &Arc<Link>,
        stream: &str,
        start: DeliverPolicy,
        filter: String,
    ) -> Result<Self, AskError> {
        let epoch = link.ready().await?;
        let opening = async {
            let consumer = make(link, stream, start, filter).await?;
            let delete = format!("{API}CONSUMER.DELETE.{stream}.{}", consumer.cached_info().name);
            let messages = consumer
                .stream()
                .max_messages_per_batch(FOLLOW_BATCH)
                .max_bytes_per_batch(FOLLOW_BYTES)
                .expires(FOLLOW_EXPIRES)
                .heartbeat(HEARTBEAT)
                .messages()
                .await
                .map_err(|error| AskError::Other(error.to_string()))?;
            Ok((messages.ready_chunks(FOLLOW_CHUNK), delete))
        };
        let (messages, delete) = tokio::select! {
            biased;
            opened = opening => opened?,
            () = link.status.lost(epoch) => return Err(AskError::Lost),
        };
        Ok(Self { link: Arc::clone(link), messages, epoch, delete })
    }

    /// The messages that have come, at least one.
    pub(crate) async fn next(&mut self) -> Result<Vec<jetstream::Message>, AskError> {
        let chunk = tokio::select! {
            biased;
            () = self.link.status.lost(self.epoch) => return Err(AskError::Lost),
            chunk = self.messages.next() => chunk.ok_or(AskError::Lost)?,
        };
        let failed = |error: pull::MessagesError| match error.kind() {
            pull::MessagesErrorKind::NoResponders => AskError::NobodyThere("the log".to_owned()),
            _ => AskError::Other(error.to_string()),
        };
        chunk.into_iter().map(|message| message.map_err(failed)).collect()
    }

    /// Lets the server forget the reader; it would by itself after a while.
    pub(crate) async fn close(self) {
        let Self { link, messages, delete, .. } = self;
        drop(messages);
        if link.is_connected() {
            let _ = link.tell(delete, None, json!({}).to_string().into()).await;
        }
    }
}

/// A consumer for one reader, in the server's memory: it lives no longer than the connection.
pub(crate) async fn make(
    link: &Link,
    stream: &str,
    start: DeliverPolicy,
    filter: String,
) -> Result<PullConsumer, AskError> {
    // The client's own inboxes are unlike all others, and so is the end of their names.
    let inbox = link.client.new_inbox();
    let name = inbox.rsplit('.').next().unwrap_or(&inbox).to_owned();
    let asked = match filter.as_str() {
        "" => format!("CONSUMER.CREATE.{stream}.{name}"),
        filter => format!("CONSUMER.CREATE.{stream}.{name}.{filter}"),
    };
    let config = pull::Config {
        name: Some(name),
        deliver_policy: start,
        ack_policy: AckPolicy::None,
        filter_subject: filter,
        inactive_threshold: READER_LINGERS,
        memory_storage: true,
        num_replicas: 1,
        ..pull::Config::default()
    };
    let question =
        json!({ "stream_name": stream, "config": config.clone().into_consumer_config() });
    let info: Info = link.api(&asked, &question).await?;
    Ok(PullConsumer::new(config, info, link.jetstream.clone()))
}
