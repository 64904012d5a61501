//! The run log on a stream.
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_nats::jetstream::stream::Config;
use async_trait::async_trait;
use dagbok_runlog::{
    AppendError, Base, Chain, Draft, Entry, LogMark, PortError, PortResult, ReadBudget, ReadLimit,
    RunLog, Seq,
    limits::{MAX_PAYLOAD, check_payload, check_subject},
};
use futures::{future::BoxFuture, stream::BoxStream};
use parking_lot::RwLock;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    append::Writer,
    base::Trimmed,
    error::{AskError, MESSAGE_NOT_FOUND, STREAM_NOT_FOUND},
    follow,
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
    identity: Arc<Identity>,
}

/// By what a stream that was lost or made anew is told from the one that was there before.
#[derive(Debug, Default)]
struct Identity {
    /// The highest place that was ever seen here.
    highest: AtomicU64,
    created: std::sync::OnceLock<String>,
    /// Where the log begins, as was found out last.
    trimmed: RwLock<Option<Trimmed>>,
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
        Self { link, stream, root, writer, identity: Arc::default() }
    }

    /// A draft's subject, of a message's.
    pub(crate) fn subject_of(&self, subject: &str) -> String {
        subject.strip_prefix(&self.root).unwrap_or(subject).to_owned()
    }

    /// Remembers that an entry was there.
    pub(crate) fn saw(&self, seq: Seq) {
        self.identity.highest.fetch_max(seq.0, Ordering::Relaxed);
    }

    fn damaged(&self, why: String) -> PortError {
        PortError::Damaged { what: "log", place: self.stream.clone(), why }
    }

    /// The error for an entry that is not where it must be.
    pub(crate) fn gap(&self, due: Seq, found: Seq) -> PortError {
        self.damaged(format!("entry {due} is missing, the next one is {found}"))
    }

    pub(crate) fn trimmed(&self) -> Option<Trimmed> {
        *self.identity.trimmed.read()
    }

    /// Remembers where the log begins; never an earlier place than before.
    pub(crate) fn set_trimmed(&self, trimmed: Trimmed) {
        let mut known = self.identity.trimmed.write();
        if known.is_none_or(|known| known.base.first < trimmed.base.first) {
            *known = Some(trimmed);
        }
    }

    /// The last entry's place; damage where the stream has gone back, or is another one.
    async fn look(&self) -> PortResult<Seq> {
        #[derive(Deserialize)]
        struct Info {
            created: String,
            config: Config,
            state: State,
        }
        #[derive(Deserialize)]
        struct State {
            last_seq: u64,
        }
        let highest = self.identity.highest.load(Ordering::Relaxed);
        let info: Result<Info, AskError> =
            self.link.api(&format!("STREAM.INFO.{}", self.stream), &json!({})).await;
        let Info { created, config, state: State { last_seq } } = match info {
            Ok(info) => info,
            Err(error) if error.is(STREAM_NOT_FOUND) => {
                return Err(self.damaged(format!("the stream is not there any more; {ADVICE}")));
            }
            Err(error) => return Err(error.port("log")),
        };
        if last_seq < highest {
            let why = format!("the last entry is {last_seq}, but {highest} was there; {ADVICE}");
            return Err(self.damaged(why));
        }
        let first = self.identity.created.get_or_init(|| created.clone());
        if *first != created {
            let why = format!("it was made at {created}, not at {first} as before; {ADVICE}");
            return Err(self.damaged(why));
        }
        match Trimmed::of(&config) {
            Ok(Some(trimmed)) => self.set_trimmed(trimmed),
            Ok(None) => {}
            Err(why) => return Err(self.damaged(why)),
        }
        self.saw(Seq(last_seq));
        Ok(Seq(last_seq))
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

/// What to do about a lost stream.
const ADVICE: &str = "restore the stream from a backup, or start a new namespace";

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
