//! The state of a term: both folds, what is decided and not durable yet, and what is to be sent once it is.
use std::collections::BTreeSet;

use dagbok_alerts::{
    Agenda, AlertFact, AlertRecord, AlertingBegan, AlertingClockWentBack, Book, By,
    CalendarRefused, CalendarTaken, ConfigurationRefused, ConfigurationTaken, Message, Policy,
    Purpose, Refusal, Reply, SignOfLife, Telling, Watch, limits::CLOCK_BACK, render, subject_of,
};
use dagbok_events::{Timestamp, encode_packed};
use dagbok_projection::Decoded;
use dagbok_runlog::{Draft, Responder, Seq};

use crate::{
    Settings,
    config::{Looked, Reloader, Ways},
    keys::Links,
    study::Studies,
    term::{
        answer,
        calendars::{Calendars, Fetched},
        post::{self, Post},
    },
};

/// Records longer than this are compressed, in bytes.
const COMPRESS_ABOVE: usize = 32 << 10;
/// Rounds of planning in one go: a rule that never comes to rest must not keep the loop.
const ROUNDS: usize = 64;

/// A message that goes out once its attempt is durable.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) receiver: String,
    pub(crate) name: String,
    pub(crate) attempt: u32,
    /// What the receiver calls its first message about the alert.
    pub(crate) thread: Option<String>,
    pub(crate) message: Message,
}

pub(crate) struct Desk {
    pub(crate) book: Book,
    pub(crate) watch: Watch,
    pub(crate) policy: Policy,
    /// Whether there is somebody outside who hears signs of life.
    pub(crate) is_watched: bool,
    /// Deliveries that this process has under way.
    pub(crate) sending: BTreeSet<String>,
    pub(crate) snapshot_at: u64,
    pub(crate) checkpoint_at: u64,
    namespace: String,
    /// Who looks at the configuration; `None` while a look is under way.
    reloader: Option<Reloader>,
    /// The next look reads it whether it changed or not.
    looks_again: bool,
    post: Post,
    staged: Vec<AlertRecord>,
    out: Vec<Sending>,
    /// A sign of life that goes out once it is durable.
    sign: Option<SignOfLife>,
    /// The machine's own.
    own_links: Links,
    /// By the key that the configuration names.
    said_links: Option<Links>,
    answers: Vec<(Box<dyn Responder>, Reply)>,
    agenda: Agenda,
    pub(crate) studies: Studies,
    pub(crate) calendars: Calendars,
    /// A configuration came into force that is not kept yet.
    is_new_configuration: bool,
}

impl Desk {
    pub(crate) fn new(
        book: Book,
        watch: Watch,
        reloader: Reloader,
        post: Post,
        links: Links,
        settings: &Settings,
        studies: Studies,
    ) -> Self {
        let (snapshot_at, checkpoint_at) = (watch.last_seq(), book.last_seq());
        Self {
            book,
            watch,
            policy: Policy::default(),
            sending: BTreeSet::new(),
            snapshot_at,
            checkpoint_at,
            namespace: settings.namespace.clone(),
            reloader: Some(reloader),
            looks_again: false,
            post,
            staged: Vec::new(),
            out: Vec::new(),
            sign: None,
            own_links: links,
            said_links: None,
            answers: Vec::new(),
            agenda: Agenda::default(),
            studies,
            is_watched: false,
            calendars: Calendars::default(),
            is_new_configuration: false,
        }
    }

    /// Notes that alerting is here, and takes the configuration.
    pub(crate) fn begin(&mut self, now: Timestamp) {
        if !self.book.has_begun() {
            let namespace = self.namespace.clone();
            self.note(now, AlertFact::AlertingBegan(AlertingBegan { namespace }));
        }
    }

    /// Where no configuration is in force, what was said before the start holds no more.
    pub(crate) fn heed(&mut self) {
        self.watch.heed(&self.policy.thresholds);
    }

    /// Looks at the configuration, and takes it before anything else is done: at the begin of a term.
    pub(crate) async fn look_first(&mut self, now: Timestamp) {
        if let Some(reloader) = self.reloader.take() {
            let (reloader, looked) = post::look(reloader, now).await;
            self.looked(now, reloader, looked);
        }
    }

    /// Has the configuration looked at, unless that is under way.
    pub(crate) fn look_at_configuration(&mut self, now: Timestamp) {
        let Some(mut reloader) = self.reloader.take() else { return };
        if std::mem::take(&mut self.looks_again) {
            reloader.forget();
        }
        self.post.look(reloader, now);
    }

    /// Looks again where that was asked for while a look was under way.
    pub(crate) fn look_if_asked(&mut self, now: Timestamp) {
        if self.looks_again {
            self.look_at_configuration(now);
        }
    }

    /// Takes a configuration that changed; one that can't be read leaves the last good one in force.
    pub(crate) fn looked(&mut self, now: Timestamp, reloader: Reloader, looked: Looked) {
        self.reloader = Some(reloader);
        match looked {
            Looked::Same => {}
            Looked::Good { digest, policy, ways } => {
                let receivers = ways.receivers.keys().cloned().collect();
                let schedules = policy.crew.schedules.iter();
                let troubled = schedules.filter(|(_, it)| it.trouble.is_some()).map(|it| it.0);
                let named: BTreeSet<&String> = ways.calendars.keys().chain(troubled).collect();
                let calendars = named.into_iter().cloned().collect();
                let files = self.of_files(&policy, &ways);
                self.put_in_force(*policy, ways);
                self.is_new_configuration = true;
                if self.book.configuration() != Some(&digest) || self.book.refused().is_some() {
                    let taken = ConfigurationTaken { digest, receivers, calendars };
                    self.note(now, AlertFact::ConfigurationTaken(taken));
                    tracing::info!("the alerting configuration is in force");
                }
                for fact in files {
                    self.note(now, fact);
                }
            }
            Looked::Bad { digest, why, instead } => {
                if let Some((policy, ways)) = instead.map(|it| *it) {
                    self.put_in_force(policy, ways);
                }
                if self.book.refused() != Some((&digest, &why)) {
                    tracing::error!(%why, "the alerting configuration can't be read; the last good one stays");
                    let refused = ConfigurationRefused { digest, why };
                    self.note(now, AlertFact::ConfigurationRefused(refused));
                }
            }
        }
    }

    /// What is to be said of calendars that are files: whom they name and nobody knows, and that this is over.
    fn of_files(&self, policy: &Policy, ways: &Ways) -> Vec<AlertFact> {
        let schedules = policy.crew.schedules.iter();
        let files = schedules.filter(|(name, _)| !ways.calendars.contains_key(*name));
        let said = files.filter_map(|(name, it)| {
            let known = self.book.calendar(name).and_then(|it| it.refused.as_ref());
            let (schedule, shifts) = (name.clone(), u32::try_from(it.calendar.len()));
            match (&it.trouble, known) {
                (Some(why), known) if known.is_none_or(|(_, said)| said != why) => {
                    Some(AlertFact::CalendarRefused(CalendarRefused { schedule, why: why.clone() }))
                }
                (None, Some(_)) => {
                    let (digest, shifts) = (String::new(), shifts.unwrap_or(u32::MAX));
                    Some(AlertFact::CalendarTaken(CalendarTaken { schedule, digest, shifts }))
                }
                _ => None,
            }
        });
        said.collect()
    }

    /// Asks for calendars whose time it is.
    pub(crate) fn look_at_calendars(&mut self, now: Timestamp) {
        for asking in self.calendars.due(now) {
            self.post.fetch(asking, now);
        }
    }

    /// Takes in what came of asking for a calendar.
    pub(crate) fn fetched(&mut self, now: Timestamp, fetched: Fetched) {
        let schedule = fetched.schedule.clone();
        let Some(said) = self.calendars.came(now, fetched, &self.policy) else { return };
        self.calendars.fill(&mut self.policy);
        let known = self.book.calendar(&schedule);
        match said {
            Ok(read) => {
                self.agenda.look_again();
                let is_known = known.is_some_and(|it| {
                    let said = it.refused.as_ref().map(|(_, why)| why);
                    it.digest.as_ref() == Some(&read.digest) && said == read.strangers.as_ref()
                });
                if !is_known {
                    let shifts = u32::try_from(read.shifts).unwrap_or(u32::MAX);
                    let (schedule, of) = (schedule.clone(), schedule);
                    let taken = CalendarTaken { schedule, digest: read.digest, shifts };
                    self.note(now, AlertFact::CalendarTaken(taken));
                    if let Some(why) = read.strangers {
                        tracing::warn!(schedule = %of, %why, "a calendar names somebody whom nobody knows");
                        let refused = CalendarRefused { schedule: of, why };
                        self.note(now, AlertFact::CalendarRefused(refused));
                    }
                }
            }
            Err(why) => {
                if known.and_then(|it| it.refused.as_ref()).is_none() {
                    tracing::warn!(%schedule, %why, "a calendar can't be read; what was read last holds");
                    let refused = CalendarRefused { schedule, why };
                    self.note(now, AlertFact::CalendarRefused(refused));
                }
            }
        }
    }

    /// What makes and opens links.
    pub(crate) fn links(&self) -> &Links {
        self.said_links.as_ref().unwrap_or(&self.own_links)
    }

    fn put_in_force(&mut self, policy: Policy, ways: Ways) {
        self.watch.heed(&policy.thresholds);
        self.said_links = ways.links.as_ref().map(|key| Links::new(key.reveal().as_bytes()));
        self.policy = policy;
        self.is_watched = ways.switch.is_some();
        self.calendars.take(&ways.calendars);
        self.calendars.fill(&mut self.policy);
        self.post.take(ways);
        self.agenda.look_again();
    }

    /// Reads the configuration anew whether it changed or not: a secret that it names may have.
    pub(crate) fn look_again_at_configuration(&mut self, now: Timestamp) {
        tracing::info!("SIGHUP: the alerting configuration is read again");
        self.looks_again = true;
        self.look_at_configuration(now);
    }

    /// The configuration in force, once after each change.
    pub(crate) fn new_configuration(&mut self) -> Option<String> {
        let is_new = std::mem::take(&mut self.is_new_configuration);
        self.reloader.as_ref().and_then(Reloader::good).filter(|_| is_new).map(str::to_owned)
    }

    pub(crate) fn note(&mut self, at: Timestamp, fact: AlertFact) {
        let seen = self.watch.last_seq();
        let facts = vec![fact];
        self.stage(AlertRecord { at, by: By::Rules, reason: None, seen, facts });
    }

    pub(crate) fn take_in(&mut self, entries: &[Decoded]) {
        for entry in entries {
            self.watch.evolve(entry.seq.0, &entry.record);
        }
    }

    /// Decides all that is called for at `now`.
    pub(crate) fn settle(&mut self, now: Timestamp) {
        if self.next_due().is_none_or(|due| due > now) {
            return;
        }
        for _ in 0..ROUNDS {
            let (watch, book) = (&mut self.watch, &mut self.book);
            let records = self.agenda.plan(watch, book, &self.policy, now, &self.sending);
            if records.is_empty() {
                break;
            }
            for record in records {
                self.stage(record);
            }
        }
    }

    /// Notes where the clock shows much less than at the last record: what waits would wait for as long otherwise.
    pub(crate) fn look_at_clock(&mut self, now: Timestamp) {
        let from = self.book.last_at();
        if self.book.has_begun() && from.since(now) > CLOCK_BACK {
            tracing::warn!(%from, to = %now, "the clock went back: what waits is due by the clock as it is");
            self.note(now, AlertFact::ClockWentBack(AlertingClockWentBack { from, to: now }));
        }
    }

    /// Takes a decision in, ahead of the log; returns where it will stand.
    pub(crate) fn stage(&mut self, record: AlertRecord) -> u64 {
        let seq = self.book.last_seq() + 1;
        self.book.evolve(seq, &record);
        for fact in &record.facts {
            if let AlertFact::SignOfLife(sign) = fact {
                self.sign = Some(sign.clone());
            }
            let AlertFact::NotificationAttempted(it) = fact else { continue };
            let Some(alert) = self.book.alert(it.id) else { continue };
            self.sending.insert(it.message.clone());
            let thread = alert.threads.get(&it.receiver).cloned();
            let mut message = render(alert, &Telling::from(&**it), &self.policy);
            let base = self.policy.external_url.as_deref();
            if let Some(base) = base.filter(|_| it.purpose == Purpose::Trigger) {
                let link = self.links().address(base, it.id, &it.receiver, record.at);
                message.acknowledge = Some(link);
            }
            self.out.push(Sending {
                receiver: it.receiver.clone(),
                name: it.message.clone(),
                attempt: it.attempt,
                thread,
                message,
            });
        }
        self.staged.push(record);
        seq
    }

    pub(crate) fn answer_later(&mut self, responder: Box<dyn Responder>, reply: Reply) {
        self.answers.push((responder, reply));
    }

    /// What is to be appended, and after which entry; `None` where nothing was decided.
    pub(crate) fn drafts(&mut self) -> Option<(Seq, Vec<Draft>)> {
        if self.staged.is_empty() {
            return None;
        }
        let staged = std::mem::take(&mut self.staged);
        let expected = Seq(self.book.last_seq() - staged.len() as u64);
        let draft = |record: &AlertRecord| Draft {
            subject: subject_of(record),
            payload: encode_packed(record, COMPRESS_ABOVE).into(),
        };
        Some((expected, staged.iter().map(draft).collect()))
    }

    /// It is durable: sends and answers.
    pub(crate) fn release(&mut self) {
        for sending in self.out.drain(..) {
            self.post.send(sending);
        }
        if let Some(sign) = self.sign.take() {
            self.post.sign(sign.number, sign.trouble);
        }
        for (responder, reply) in self.answers.drain(..) {
            answer(responder, reply);
        }
    }

    /// It is not, and never will be.
    pub(crate) fn refuse_all(&mut self, refusal: &Refusal) {
        for (responder, _) in self.answers.drain(..) {
            answer(responder, Reply::Refused(refusal.clone()));
        }
    }

    /// When time alone calls for something.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.agenda.next_due(&self.watch, &self.book, &self.policy)
    }

    /// How everybody is told.
    pub(crate) fn ways(&self) -> &Ways {
        self.post.ways()
    }
}
