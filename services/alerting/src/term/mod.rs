//! One term of leading: the loop that folds, decides, appends, and only then sends.
mod blobs;
pub(crate) mod calendars;
mod desk;
mod duty;
mod feed;
mod fold;
mod key;
mod machine;
mod post;

use std::{sync::Arc, time::Duration};

use dagbok_alerts::{ASK, AlertFact, Ask, AskBody, Refusal, Reply, decide, outcome, sign_answered};
use dagbok_events::{Timestamp, decode_any, encode_any};
use dagbok_leading::Steady;
use dagbok_runlog::{AppendError, Responder};
use dagbok_runtime::{Clock, Hangups, Shutdown};
use futures::StreamExt as _;
use tokio::sync::mpsc;

use crate::{
    AlertingError, Parts, Settings,
    config::Reloader,
    keys::{self, Opened},
    receivers::Senders,
    study::Studies,
    term::{
        calendars::Calendars,
        desk::Desk,
        feed::Feed,
        machine::Looker,
        post::{Came, Outcome, Post},
    },
};

/// The loop looks at the clock at least this often, in case somebody set it.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// And not more often than this for time's sake.
const SHORTEST_SLEEP: Duration = Duration::from_millis(5);
/// How long deliveries under way are waited for at an orderly end.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Why a term ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TermEnd {
    /// The service is to end.
    Asked,
    /// Somebody else may lead.
    LeaseLost,
    /// Somebody else wrote: the fold is behind.
    Outdated,
}

/// One term.
#[derive(Debug)]
pub(crate) struct Term {
    parts: Parts,
    settings: Settings,
    clock: Clock,
    end: Shutdown,
}

/// A question, with the way to answer it.
type Question = (Ask, Box<dyn Responder>);

/// What woke the loop.
enum Wake {
    Asked,
    Entries(Vec<dagbok_projection::Decoded>),
    FeedEnded,
    Question(Question),
    Came(Came),
    Look,
    Hangup,
    Time,
}

impl Term {
    pub(crate) fn new(parts: Parts, settings: Settings, clock: Clock, end: Shutdown) -> Self {
        Self { parts, settings, clock, end }
    }

    /// Leads until the term ends.
    pub(crate) async fn lead(&self) -> Result<TermEnd, AlertingError> {
        let book = fold::book(&self.parts).await?;
        let start = fold::watch(&self.parts).await?;
        let known = self.parts.run_log.last().await?;
        let mut feed = Feed::start(&self.parts, &start, &self.end);
        let mut questions = self.listen().await?;
        let signals = &*self.parts.signals;
        let duty = duty::Answering::start(signals, self.clock.clone(), &self.end).await?;
        let good = fold::last_configuration(&self.parts).await;
        let reloader = Reloader::new(self.settings.config.clone(), good);
        let senders = Senders::new(self.clock.clone()).map_err(AlertingError::Http)?;
        let (post, mut outcomes) = Post::new(Arc::new(senders));
        if let Some(stores) = &self.parts.stores {
            post.watch(Arc::clone(stores), &self.end);
        }
        if let Some(blobs) = &self.parts.blobs {
            post.watch_blobs(Arc::clone(blobs), &self.end);
        }
        let links = key::links(&self.parts, self.settings.links_key.as_deref()).await;
        let studies = Studies::new(Arc::clone(&self.parts.run_log), &self.settings.namespace);
        let mut desk = Desk::new(book, start, reloader, post, links, &self.settings, studies);
        desk.calendars = Calendars::kept(&self.parts).await;
        let mut steady = Steady::new(self.clock.now(), None);
        let now = self.now(&mut desk, &mut steady);
        desk.begin(now);
        desk.look_first(now).await;
        desk.heed();
        if let Some(end) = self.commit(&mut desk).await? {
            return Ok(end);
        }
        let mut look = tokio::time::interval(self.settings.look);
        let mut hangups = Hangups::listen();
        let mut looker = Looker::new(self.settings.disk.clone());
        loop {
            // What is wrong is known only once the whole log is.
            let is_ready = desk.watch.last_seq() >= known.0;
            let now = self.now(&mut desk, &mut steady);
            if is_ready {
                self.observe(&mut desk, &mut looker, now).await;
                desk.settle(now);
            }
            if let Some(end) = self.commit(&mut desk).await? {
                return Ok(end);
            }
            self.snapshot(&mut desk).await;
            duty.know(&desk.policy, desk.is_watched);
            desk.calendars.keep(&self.parts).await;
            if let Some(text) = desk.new_configuration() {
                fold::store_configuration(&self.parts, text).await;
            }
            let due = desk.next_due().filter(|_| is_ready);
            let sleep = due.map_or(LONGEST_SLEEP, |due| due.since(now).to_std());
            let sleep = sleep.clamp(SHORTEST_SLEEP, LONGEST_SLEEP);
            let wake = tokio::select! {
                biased;
                () = self.end.started() => Wake::Asked,
                Some(came) = outcomes.recv() => Wake::Came(came),
                Some(question) = questions.recv() => Wake::Question(question),
                entries = feed.next() => entries.map_or(Wake::FeedEnded, Wake::Entries),
                _ = look.tick() => Wake::Look,
                () = hangups.next() => Wake::Hangup,
                () = tokio::time::sleep(sleep) => Wake::Time,
            };
            match wake {
                Wake::Asked => return self.finish(desk, outcomes).await,
                Wake::FeedEnded => return Err(AlertingError::Follow(feed.why().await)),
                other => self.take(&mut desk, &mut steady, other),
            }
        }
    }

    /// Notes what is to be known of the machine, and of how far this is.
    async fn observe(&self, desk: &mut Desk, looker: &mut Looker, now: Timestamp) {
        if !looker.is_due(now) {
            return;
        }
        let folded = desk.watch.last_seq();
        // A log that can't be asked is told of by whoever needs it.
        let last = self.parts.run_log.last().await.map_or(folded, |last| last.0);
        for fact in looker.look(&desk.book, desk.policy.disk_low, now, (folded, last)) {
            desk.note(now, fact);
        }
    }

    /// Takes in what came.
    fn take(&self, desk: &mut Desk, steady: &mut Steady, wake: Wake) {
        match wake {
            Wake::Entries(entries) => desk.take_in(&entries),
            Wake::Question(question) => {
                let now = self.now(desk, steady);
                decide_on(desk, now, question);
            }
            Wake::Came(came) => {
                let now = self.now(desk, steady);
                record(desk, now, came);
            }
            Wake::Look => {
                let now = self.now(desk, steady);
                desk.look_at_configuration(now);
                desk.look_at_calendars(now);
            }
            Wake::Hangup => {
                let now = self.now(desk, steady);
                desk.look_again_at_configuration(now);
            }
            Wake::Asked | Wake::FeedEnded | Wake::Time => {}
        }
    }

    /// The time of the next record: never earlier than the one before, unless the clock went back, which is
    /// recorded first. A clock that jumped ahead is not believed until it went on evenly.
    fn now(&self, desk: &mut Desk, steady: &mut Steady) -> Timestamp {
        let now = steady.time(self.clock.now());
        desk.look_at_clock(now);
        now.max(desk.book.last_at())
    }

    /// Has questions handed on, so that the loop takes them in its turn.
    async fn listen(&self) -> Result<mpsc::Receiver<Question>, AlertingError> {
        let mut signals = self.parts.signals.subscribe(ASK).await?;
        let (out, questions) = mpsc::channel(64);
        let end = self.end.clone();
        self.end.spawn(async move {
            loop {
                let signal = tokio::select! {
                    () = end.started() => return,
                    signal = signals.next() => signal,
                };
                let Some(signal) = signal else { return };
                let Some(responder) = signal.responder else { continue };
                match decode_any::<Ask>(&signal.payload) {
                    Ok(ask) => {
                        if out.send((ask, responder)).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => tracing::warn!(%error, "a question can't be read"),
                }
            }
        });
        Ok(questions)
    }

    /// Makes durable what was decided; only then it is sent and answered.
    async fn commit(&self, desk: &mut Desk) -> Result<Option<TermEnd>, AlertingError> {
        let Some((expected, drafts)) = desk.drafts() else {
            desk.release();
            return Ok(None);
        };
        match self.parts.alert_log.append(expected, drafts).await {
            Ok(_) => {
                desk.release();
                Ok(None)
            }
            Err(AppendError::Conflict { .. }) => {
                desk.refuse_all(&Refusal::Conflict(
                    "another alerting service leads; ask again".to_owned(),
                ));
                Ok(Some(TermEnd::Outdated))
            }
            Err(error) => Err(AlertingError::Append(error)),
        }
    }

    async fn snapshot(&self, desk: &mut Desk) {
        let seq = desk.watch.last_seq();
        if seq.saturating_sub(desk.snapshot_at) >= self.settings.snapshot_every {
            desk.snapshot_at = seq;
            fold::store(&self.parts, &desk.watch).await;
        }
        let seq = desk.book.last_seq();
        if seq.saturating_sub(desk.checkpoint_at) >= self.settings.snapshot_every {
            desk.checkpoint_at = seq;
            fold::store_book(&self.parts, &desk.book).await;
        }
    }

    /// Waits for what is under way, so that an orderly end sends nothing twice.
    async fn finish(
        &self,
        mut desk: Desk,
        mut outcomes: mpsc::Receiver<Came>,
    ) -> Result<TermEnd, AlertingError> {
        let until = tokio::time::Instant::now() + LAST_WORDS;
        while !desk.sending.is_empty() {
            match tokio::time::timeout_at(until, outcomes.recv()).await {
                Ok(Some(came)) => {
                    let now = self.clock.now().max(desk.book.last_at());
                    record(&mut desk, now, came);
                }
                Ok(None) | Err(_) => break,
            }
        }
        if let Some(end) = self.commit(&mut desk).await? {
            return Ok(end);
        }
        fold::store(&self.parts, &desk.watch).await;
        fold::store_book(&self.parts, &desk.book).await;
        Ok(TermEnd::Asked)
    }
}

fn decide_on(desk: &mut Desk, now: Timestamp, (ask, responder): Question) {
    let seen = desk.watch.last_seq();
    let opened = keys::open(desk.links(), desk.ways(), &desk.book, now, ask);
    let ask = match opened {
        Ok(Opened::Ask(ask)) => ask,
        Ok(Opened::About(id)) => {
            let seq = desk.book.last_seq();
            return desk.answer_later(responder, Reply::Done { id, seq });
        }
        Ok(Opened::Nothing) => {
            let seq = desk.book.last_seq();
            return desk.answer_later(responder, Reply::Done { id: 0, seq });
        }
        Err(refusal) => return answer(responder, Reply::Refused(refusal)),
    };
    if let AskBody::Study { study, configuration } = ask.body {
        return match desk.studies.begin(study, configuration, &desk.policy, &desk.watch, now) {
            Ok(asked) => answer_with(responder, asked.answer()),
            Err(refusal) => answer(responder, Reply::Refused(refusal)),
        };
    }
    match decide(&desk.book, &desk.policy, now, seen, &ask) {
        Ok(decided) => {
            let seq = desk.stage(decided.record);
            desk.answer_later(responder, Reply::Done { id: decided.id, seq });
        }
        Err(refusal) => answer(responder, Reply::Refused(refusal)),
    }
}

/// Records what came of whatever was sent.
fn record(desk: &mut Desk, now: Timestamp, came: Came) {
    match came {
        Came::Message(came) => record_message(desk, now, &came),
        Came::Calendar(fetched) => desk.fetched(now, fetched),
        Came::Configuration(looked) => {
            let (reloader, looked) = *looked;
            desk.looked(now, reloader, looked);
            // One that was asked for meanwhile.
            desk.look_if_asked(now);
        }
        Came::Stores(seen) => {
            for it in seen {
                if desk.book.store_is_news(now, &it) {
                    desk.note(now, AlertFact::StoreObserved(it));
                }
            }
        }
        Came::Blobs(it) => {
            if desk.book.blobs_are_news(&it) {
                desk.note(now, AlertFact::BlobsObserved(it));
            }
        }
        Came::Sign { number, answered } => {
            let fact = sign_answered(&desk.book, number, &answered);
            if let Some(fact) = fact {
                desk.note(now, fact);
            }
        }
    }
}

fn record_message(desk: &mut Desk, now: Timestamp, came: &Outcome) {
    desk.sending.remove(&came.message);
    let seen = desk.watch.last_seq();
    let Outcome { id, message, attempt, took_ms, answered } = came;
    let (id, attempt, took_ms) = (*id, *attempt, *took_ms);
    let came = dagbok_alerts::Outcome { id, message, attempt, took_ms, answered };
    let record = outcome(&desk.book, &desk.policy, now, seen, &came);
    if let Some(record) = record {
        desk.stage(record);
    }
}

/// Answers; whoever asked may be gone.
fn answer(responder: Box<dyn Responder>, reply: Reply) {
    answer_with(responder, std::future::ready(reply));
}

/// The same, once it is known.
fn answer_with(responder: Box<dyn Responder>, reply: impl Future<Output = Reply> + Send + 'static) {
    tokio::spawn(async move {
        let reply = reply.await;
        let Err(error) = responder.respond(encode_any(&reply).into()).await else { return };
        tracing::debug!(%error, "an answer was not taken");
        // Whoever is there still would wait for it in vain.
        let refused = Refusal::Conflict(format!("the answer can't be sent: {error}"));
        if let Err(error) = responder.respond(encode_any(&Reply::Refused(refused)).into()).await {
            tracing::debug!(%error, "nobody was there to be answered");
        }
    });
}
