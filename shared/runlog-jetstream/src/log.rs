//! The run log on a stream.
use std::{fmt, sync::Arc};

use async_trait::async_trait;
use dagbok_runlog::{
    AppendError, Base, Chain, Draft, Entry, LogMark, PortError, PortResult, ReadBudget, ReadLimit,
    RunLog, Seq,
    limits::{MAX_PAYLOAD, check_payload, check_subject},
};
use futures::{future::BoxFuture, stream::BoxStream};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    append::Writer,
    base::Trimmed,
    error::MESSAGE_NOT_FOUND,
    follow,
    identity::Identity,
    limits::{LOOK_AGAIN, READ_AHEAD},
    link::Link,
    names::Names,
    read::{self, Stored},
};

/// One namespace's log.
#[derive(Clone)]
pub(crate) struct JetStreamLog {
    pub(crate) link: Arc<Link>,
    pub(crate) stream: String,
    /// What comes before a draft's subject.
    root: String,
    writer: Arc<Writer>,
    pub(crate) identity: Arc<Identity>,
}

impl fmt::Debug for JetStreamLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStreamLog").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl JetStreamLog {
    pub(crate) fn new(link: Arc<Link>, names: &Names) -> Self {
        Self::of(link, names, "log")
    }

    /// A log on the namespace's stream `part`.
    pub(crate) fn of(link: Arc<Link>, names: &Names, part: &str) -> Self {
        let (stream, root) = (names.stream(part), names.root());
        let writer = Arc::new(Writer::new(Arc::clone(&link), stream.clone(), root.clone()));
        let identity = Arc::new(Identity::of(&stream));
        Self { link, stream, root, writer, identity }
    }

    /// A draft's subject, of a message's.
    pub(crate) fn subject_of(&self, subject: &str) -> String {
        subject.strip_prefix(&self.root).unwrap_or(subject).to_owned()
    }

    /// The last entry's place; damage where the stream has gone back, lost entries, or is another one.
    pub(crate) async fn look(&self) -> PortResult<Seq> {
        self.identity.look(&self.link).await
    }

    /// Remembers that an entry was there.
    pub(crate) fn saw(&self, seq: Seq) {
        self.identity.saw(seq);
    }

    pub(crate) fn trimmed(&self) -> Option<Trimmed> {
        self.identity.trimmed()
    }

    /// The error for an entry that is not where it must be.
    pub(crate) fn gap(&self, due: Seq, found: Seq) -> PortError {
        self.identity.damaged(format!("entry {due} is missing, the next one is {found}"))
    }

    /// Whether the stream's leader has an entry of a subject from `from` to `until`; a replica may not yet.
    async fn has_more(&self, from: Seq, filter: &str, until: Seq) -> PortResult<bool> {
        #[derive(Deserialize)]
        struct Next {
            message: Place,
        }
        #[derive(Deserialize)]
        struct Place {
            seq: u64,
        }
        if !self.link.is_clustered() {
            return Ok(false);
        }
        let question = json!({ "seq": from.0, "next_by_subj": filter });
        let name = format!("STREAM.MSG.GET.{}", self.stream);
        match self.link.api::<Next>(&name, &question).await {
            Ok(next) => Ok(next.message.seq <= until.0),
            Err(error) if error.is(MESSAGE_NOT_FOUND) => Ok(false),
            Err(error) => Err(error.port("log")),
        }
    }

    /// Takes found messages over; whether the budget had room for all.
    fn take(&self, found: Vec<Stored>, taken: &mut Taken) -> PortResult<bool> {
        for stored in found {
            if stored.seq != taken.due {
                return Err(self.gap(taken.due, stored.seq));
            }
            if !taken.budget.takes(stored.payload.len()) {
                return Ok(false);
            }
            taken.bytes += stored.payload.len();
            let subject = self.subject_of(&stored.subject);
            taken.entries.push(Entry { seq: taken.due, subject, payload: stored.payload });
            taken.due = taken.due.plus(1);
        }
        self.saw(Seq(taken.due.0 - 1));
        Ok(true)
    }
}

/// What a read has so far.
struct Taken {
    entries: Vec<Entry>,
    budget: ReadBudget,
    bytes: usize,
    due: Seq,
}

#[async_trait]
impl RunLog for JetStreamLog {
    // Not `async`: what the caller knew is noted when it asks, not when the future is first polled.
    fn append<'a, 'f>(
        &'a self,
        expected: Seq,
        drafts: Vec<Draft>,
    ) -> BoxFuture<'f, Result<Seq, AppendError>>
    where
        'a: 'f,
    {
        let asked = self.writer.asked();
        Box::pin(async move {
            for draft in &drafts {
                check_subject("log", &draft.subject)?;
                check_payload("log", &draft.subject, draft.payload.len())?;
            }
            if drafts.is_empty() {
                return Ok(expected);
            }
            // Nothing more is built on a history that is not whole.
            self.identity.check_whole()?;
            let last = self.writer.append(asked, expected, &drafts).await?;
            self.saw(last);
            Ok(last)
        })
    }

    async fn read(&self, after: Seq, limit: ReadLimit) -> PortResult<Vec<Entry>> {
        let Some(due) = after.0.checked_add(1) else { return Ok(Vec::new()) };
        self.check_base(Seq(due))?;
        let (entries, budget) = (Vec::new(), ReadBudget::new(limit));
        let mut taken = Taken { entries, budget, bytes: 0, due: Seq(due) };
        let deadline = Instant::now() + self.link.timeout;
        loop {
            let entries = limit.entries.max(1).saturating_sub(taken.entries.len());
            if entries == 0 {
                return Ok(taken.entries);
            }
            // The server counts subjects and headers too, so it is asked for some more.
            let bytes = limit.bytes.saturating_sub(taken.bytes).saturating_add(READ_AHEAD);
            let found = read::batch(&self.link, &self.stream, taken.due, entries, bytes).await;
            let found = found.map_err(|error| error.port("log"))?;
            if !found.messages.is_empty() {
                let ended = found.pending == 0;
                let taken_over = self.take(found.messages, &mut taken);
                if taken_over.is_err() && taken.entries.is_empty() {
                    // Trimmed by somebody else, perhaps.
                    self.look().await?;
                    self.check_base(Seq(due))?;
                }
                if !taken_over? || ended {
                    return Ok(taken.entries);
                }
                continue;
            }
            // A replica may not have the latest yet; the stream's leader does.
            if !taken.entries.is_empty() || self.look().await? <= after {
                return Ok(taken.entries);
            }
            if Instant::now() >= deadline {
                return Err(PortError::unavailable("log", "the replicas are behind their leader"));
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// By the server's index of subjects: what it costs grows with what is found, not with the log.
    async fn read_subject(&self, subject: &str, until: Seq) -> PortResult<Vec<Entry>> {
        check_subject("log", subject)?;
        let filter = format!("{}{subject}", self.root);
        let (mut from, mut found) = (self.known_base().first, Vec::new());
        let deadline = Instant::now() + self.link.timeout;
        while from <= until {
            let batch = read::matching(&self.link, &self.stream, from, &filter, usize::MAX).await;
            let batch = batch.map_err(|error| error.port("log"))?;
            let Some(last) = batch.last().map(|stored| stored.seq) else {
                if !self.has_more(from, &filter, until).await? {
                    break;
                }
                if Instant::now() >= deadline {
                    let why = "the replicas are behind their leader";
                    return Err(PortError::unavailable("log", why));
                }
                sleep(LOOK_AGAIN).await;
                continue;
            };
            from = last.plus(1);
            found.extend(batch.into_iter().filter(|stored| stored.seq <= until).map(|stored| {
                let subject = self.subject_of(&stored.subject);
                Entry { seq: stored.seq, subject, payload: stored.payload }
            }));
        }
        Ok(found)
    }

    async fn last(&self) -> PortResult<Seq> {
        self.look().await
    }

    fn follow(&self, after: Seq) -> BoxStream<'static, PortResult<Vec<Entry>>> {
        follow::follow(self.clone(), after)
    }

    async fn base(&self) -> PortResult<Base> {
        self.look().await?;
        Ok(self.known_base())
    }

    async fn mark(&self) -> PortResult<Option<LogMark>> {
        self.find_mark().await
    }

    async fn trim(&self, below: Seq, chain: Chain) -> PortResult<Base> {
        self.trim_below(below, chain).await
    }

    fn max_payload(&self) -> usize {
        MAX_PAYLOAD
    }
}
