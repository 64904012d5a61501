//! Appending: records that name the sequence they follow, sent ahead of their acknowledgements.
//!
//! What is sent ahead is a chain. Each record names the sequence that it expects to be last, and the
//! id of the record before it while that one's fate is open. The sequence alone would not do: where
//! somebody else's record took the first one's place, the second one's sequence would be right
//! again, and what was decided after the first would land without it.
//!
//! In a cluster there is no chain: replicas of nats-server 2.15.1 that find another last id than the
//! expected one take it for damage, and stop the stream for good. There each record waits for the one
//! before it, and appends take turns.
//!
//! Silence means maybe. What of ours is in the log is then read back by id, and the rest sent again.
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_nats::{
    header::NATS_MESSAGE_ID,
    jetstream::{
        context::{PublishAckFuture, PublishError, PublishErrorKind},
        message::PublishMessage,
    },
};
use dagbok_runlog::{AppendError, Draft, PortError, Seq, limits::MAX_PAYLOAD};
use tokio::{
    task::coop::unconstrained,
    time::{Instant, sleep},
};

use crate::{
    error::{AskError, sequence_in},
    limits::{APPENDS_IN_FLIGHT, LOOK_AGAIN},
    link::Link,
    read,
};

/// Writes one log for one process.
pub(crate) struct Writer {
    link: Arc<Link>,
    stream: String,
    root: String,
    /// This writer's own name: its records' ids are that and a count.
    name: String,
    next: AtomicU64,
    pipeline: Mutex<Pipeline>,
    /// Held by the one append that is on its way, in a cluster.
    turn: tokio::sync::Mutex<()>,
}

/// What later appends must know of earlier ones.
#[derive(Debug, Default)]
struct Pipeline {
    /// The newest record whose append has not returned: where it is to land, and its number.
    open: Option<(Seq, u64)>,
    /// How many appends have failed.
    failures: u64,
    /// Where the one that failed last was to land: after the first place, up to the second.
    void: (Seq, Seq),
}

/// When an append was asked for: what failed after that, its caller did not know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    failures: u64,
}

/// One append on its way.
struct Batch<'a> {
    writer: &'a Writer,
    expected: Seq,
    drafts: &'a [Draft],
    first: u64,
    /// The number of the record at `expected`, where its own append was still on its way.
    follows: Option<u64>,
    /// How many from the front are known to be in the log.
    landed: usize,
    succeeded: bool,
}

/// Why a batch was not sent to its end.
enum Halt {
    /// JetStream named another last record.
    Refused { actual: Option<Seq> },
    /// No answer, or none that settles it.
    Unsettled(AskError),
    /// It breaks a limit of the server's.
    Limit(String),
}

/// What a look at the log says of a batch.
enum Found {
    /// All of it is there.
    All,
    /// The rest can be sent.
    Rest,
    /// The record that it follows is not there yet.
    NotYet,
    /// Somebody else's record is in its place.
    Foreign,
}

impl Writer {
    pub(crate) fn new(link: Arc<Link>, stream: String, root: String) -> Self {
        let inbox = link.client.new_inbox();
        let name = inbox.rsplit('.').next().unwrap_or(&inbox).to_owned();
        let (next, pipeline, turn) =
            (AtomicU64::new(0), Mutex::default(), tokio::sync::Mutex::default());
        Self { link, stream, root, name, next, pipeline, turn }
    }

    fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.name)
    }

    /// To be taken when an append is asked for, before it begins.
    pub(crate) fn asked(&self) -> Asked {
        Asked { failures: self.pipeline().failures }
    }

    /// Appends `drafts` (one at least) after `expected`.
    pub(crate) async fn append(
        &self,
        asked: Asked,
        expected: Seq,
        drafts: &[Draft],
    ) -> Result<Seq, AppendError> {
        if expected.0.checked_add(drafts.len() as u64).is_none() {
            return Err(AppendError::Conflict { expected, actual: None });
        }
        let first = self.next.fetch_add(drafts.len() as u64, Ordering::Relaxed);
        let (follows, landed, succeeded) = (None, 0, false);
        let mut batch = Batch { writer: self, expected, drafts, first, follows, landed, succeeded };
        let clustered = self.link.is_clustered();
        let _turn = if clustered { Some(unconstrained(self.turn.lock()).await) } else { None };
        if self.is_void(asked, expected) {
            return Err(AppendError::Conflict { expected, actual: None });
        }
        let sent = batch.run().await;
        batch.succeeded = sent.is_ok();
        sent
    }

    /// Whether an append was asked for by who still believed in records that have failed since. Their
    /// place may be somebody else's by now, and the sequence be right again by chance.
    fn is_void(&self, asked: Asked, expected: Seq) -> bool {
        let pipeline = self.pipeline();
        let (after, end) = pipeline.void;
        pipeline.failures != asked.failures && after < expected && expected <= end
    }

    fn halt(&self, error: &PublishError) -> Halt {
        use std::error::Error as _;
        let said = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        match error.kind() {
            PublishErrorKind::WrongLastSequence => {
                Halt::Refused { actual: sequence_in(&said).map(Seq) }
            }
            PublishErrorKind::WrongLastMessageId => Halt::Refused { actual: None },
            PublishErrorKind::MaxPayloadExceeded => Halt::Limit(said),
            PublishErrorKind::TimedOut => Halt::Unsettled(AskError::TimedOut(self.link.timeout)),
            PublishErrorKind::StreamNotFound => {
                Halt::Unsettled(AskError::NobodyThere(self.stream.clone()))
            }
            _ => Halt::Unsettled(AskError::Other(said)),
        }
    }

    /// For whoever looks or changes it; never held while waiting.
    fn pipeline(&self) -> MutexGuard<'_, Pipeline> {
        self.pipeline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batch<'_> {
    fn end(&self) -> Seq {
        self.expected.plus(self.drafts.len() as u64)
    }

    /// Sends, and sends again, until it is known what became of it.
    async fn run(&mut self) -> Result<Seq, AppendError> {
        let (mut in_doubt, mut before) = (false, 0);
        let mut deadline = Instant::now() + self.writer.link.timeout * 2;
        loop {
            // Appends that wait side by side are sent in the order in which they began: the runtime
            // must not make one yield before it has sent.
            let halt = match unconstrained(self.push(in_doubt)).await {
                Ok(()) => return Ok(self.end()),
                Err(Halt::Limit(why)) => return Err(PortError::Refused { what: "log", why }.into()),
                // After silence a refusal may only mean that the first try was heard after all.
                Err(Halt::Refused { actual }) if !in_doubt => {
                    return Err(AppendError::Conflict { expected: self.expected, actual });
                }
                Err(halt) => halt,
            };
            if self.landed > before {
                (before, deadline) = (self.landed, Instant::now() + self.writer.link.timeout * 2);
            }
            if let Halt::Unsettled(error) = &halt
                && (!error.is_maybe() || Instant::now() >= deadline)
            {
                return Err(PortError::unavailable("log", error).into());
            }
            in_doubt = true;
            match self.look(deadline).await? {
                Found::All => return Ok(self.end()),
                Found::Rest if self.landed > before || matches!(halt, Halt::Unsettled(_)) => {}
                Found::Rest | Found::NotYet | Found::Foreign => {
                    return Err(AppendError::Conflict { expected: self.expected, actual: None });
                }
            }
        }
    }

    /// Sends what is not known to have landed; every acknowledgement counts towards `landed`.
    async fn push(&mut self, again: bool) -> Result<(), Halt> {
        let link = Arc::clone(&self.writer.link);
        let epoch = link.ready().await.map_err(Halt::Unsettled)?;
        let subject = format!("{}{}", self.writer.root, self.drafts[self.landed].subject);
        let denials = link.status.denials();
        tokio::select! {
            biased;
            sent = self.send_all(again) => sent,
            () = link.status.lost(epoch) => Err(Halt::Unsettled(AskError::Lost)),
            said = denials.of(&subject) => Err(Halt::Unsettled(AskError::Denied(said))),
        }
    }

    async fn send_all(&mut self, again: bool) -> Result<(), Halt> {
        let mut waiting: VecDeque<PublishAckFuture> = VecDeque::new();
        let clustered = self.writer.link.is_clustered();
        let in_flight = if clustered { 1 } else { APPENDS_IN_FLIGHT };
        let start = self.landed;
        for place in start..self.drafts.len() {
            if waiting.len() == in_flight
                && let Some(oldest) = waiting.pop_front()
            {
                self.settle(oldest).await?;
            }
            let previous = self.announce(place, !again && place == 0);
            // Sent again, the first was looked up to follow the right record. The server may not
            // know that one's id any more: it forgets them when it starts anew.
            let chained = if clustered || (place == start && again) { None } else { previous };
            let message = self.message(place, chained);
            let subject = format!("{}{}", self.writer.root, self.drafts[place].subject);
            let sent = self.writer.link.jetstream.send_publish(subject, message).await;
            waiting.push_back(sent.map_err(|error| self.writer.halt(&error))?);
        }
        for oldest in waiting {
            self.settle(oldest).await?;
        }
        Ok(())
    }

    /// Says that the record at `place` is on its way; returns the number of the one it must follow,
    /// where that one's fate is open.
    fn announce(&mut self, place: usize, first: bool) -> Option<u64> {
        let before = self.expected.plus(place as u64);
        let number = self.first + place as u64;
        let mut pipeline = self.writer.pipeline();
        if first {
            let previous = pipeline.open.filter(|(seq, _)| *seq == before);
            self.follows = previous.map(|(_, number)| number);
        }
        pipeline.open = Some((before.plus(1), number));
        if place == 0 { self.follows } else { Some(number - 1) }
    }

    fn message(&self, place: usize, follows: Option<u64>) -> PublishMessage {
        let message = PublishMessage::build()
            .payload(self.drafts[place].payload.clone())
            .message_id(self.writer.id(self.first + place as u64))
            .expected_last_sequence(self.expected.plus(place as u64).0);
        match follows {
            Some(number) => message.expected_last_message_id(self.writer.id(number)),
            None => message,
        }
    }

    /// Waits for the acknowledgement of the record after those that have landed.
    async fn settle(&mut self, ack: PublishAckFuture) -> Result<(), Halt> {
        let ack = ack.await.map_err(|error| self.writer.halt(&error))?;
        let due = self.expected.plus(self.landed as u64 + 1);
        if ack.sequence != due.0 {
            let why = format!("a record was stored at {}, not at {due}", ack.sequence);
            return Err(Halt::Unsettled(AskError::Other(why)));
        }
        self.landed += 1;
        Ok(())
    }

    /// Finds out what an unanswered push has done; tries until `deadline`. After it, a record that is
    /// still not there will not come: whoever sent it has given up.
    async fn look(&mut self, deadline: Instant) -> Result<Found, PortError> {
        loop {
            let late = Instant::now() >= deadline;
            match self.read_back().await {
                // The record that this follows is being sent again too.
                Ok(Found::NotYet) if !late => {}
                Ok(found) => return Ok(found),
                Err(error) if late => return Err(error.port("log")),
                // A restarted server answers before its streams are there.
                Err(_) => {}
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Compares what is in the log with what was sent, by id.
    async fn read_back(&mut self) -> Result<Found, AskError> {
        let (link, stream) = (&self.writer.link, &self.writer.stream);
        if let (0, Some(number)) = (self.landed, self.follows) {
            let found = read::batch(link, stream, self.expected, 1, 1).await?.messages;
            let Some(before) = found.first() else { return Ok(Found::NotYet) };
            if before.header(NATS_MESSAGE_ID.as_ref()) != Some(&*self.writer.id(number)) {
                return Ok(Found::Foreign);
            }
        }
        while self.landed < self.drafts.len() {
            let from = self.expected.plus(self.landed as u64 + 1);
            let wanted = self.drafts.len() - self.landed;
            let found = read::batch(link, stream, from, wanted, MAX_PAYLOAD).await?.messages;
            if found.is_empty() {
                return Ok(Found::Rest);
            }
            for stored in found {
                let due = self.expected.plus(self.landed as u64 + 1);
                let id = self.writer.id(self.first + self.landed as u64);
                if stored.seq != due || stored.header(NATS_MESSAGE_ID.as_ref()) != Some(&*id) {
                    return Ok(Found::Foreign);
                }
                self.landed += 1;
            }
        }
        Ok(Found::All)
    }
}

impl Drop for Batch<'_> {
    /// Whatever came of it, nothing is to follow a record whose append has ended by its id.
    fn drop(&mut self) {
        let mine = self.first..self.first + self.drafts.len() as u64;
        let mut pipeline = self.writer.pipeline();
        if pipeline.open.is_some_and(|(_, number)| mine.contains(&number)) {
            pipeline.open = None;
        }
        if !self.succeeded {
            pipeline.failures += 1;
            pipeline.void = (self.expected, self.end());
        }
    }
}
