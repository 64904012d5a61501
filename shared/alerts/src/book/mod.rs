//! Which alerts there are and who was told, as a fold of the alert log.
mod calendars;
mod conditions;
mod evolve;
mod heartbeat;
mod held;
mod machine;
mod pace;
mod refresh;
mod room;
mod unsent;
mod wordless;

use std::collections::{BTreeMap, BTreeSet};

pub use calendars::Calendar;
use dagbok_events::{DecodeError, RunKey, Timestamp, decode_packed};
pub(crate) use heartbeat::SIGNS;
pub use heartbeat::{Heartbeat, Signs};
pub(crate) use machine::Machine;
pub(crate) use pace::Pace;
use serde::{Deserialize, Serialize};
pub(crate) use wordless::Wordless;

use crate::{
    AlertRecord, AlertScope, By, Gathered, Labels, Matcher, Purpose, ResolvedWhy, Rule,
    SuppressedWhy, limits, matches_all, touched::Touched,
};

/// How an alert stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AlertState {
    /// Nobody has it in hand.
    Firing,
    /// Somebody has.
    Acknowledged {
        /// Who.
        by: By,
        /// Since when.
        at: Timestamp,
        /// In whose words.
        note: Option<String>,
    },
    /// It is over.
    Resolved {
        /// Why.
        why: ResolvedWhy,
        /// Who said so.
        by: By,
        /// Since when.
        at: Timestamp,
        /// In whose words.
        note: Option<String>,
    },
}

/// Where a chain stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chase {
    /// How often the chain was begun, from zero.
    pub turn: u32,
    /// Place in it, from zero.
    pub step: u32,
    /// When that step was begun.
    pub at: Timestamp,
}

/// One attempt of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Counts from one.
    pub number: u32,
    /// When it was decided.
    pub at: Timestamp,
    /// When its outcome was recorded; `None` while none is.
    pub ended_at: Option<Timestamp>,
    /// The provider's status.
    pub status: Option<u16>,
    /// What went wrong.
    pub why: Option<String>,
    /// How long the provider took, in milliseconds.
    pub took_ms: Option<u64>,
}

/// How a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeliveryState {
    /// An attempt is under way, or was when whoever made it died.
    Sending,
    /// It is tried again then.
    Waiting {
        /// When.
        until: Timestamp,
    },
    /// The provider took it.
    Accepted,
    /// It is given up.
    Rejected,
    /// Its receiver had too much lately: it is told with others.
    Withheld,
    /// It was told with another.
    Gathered,
}

impl DeliveryState {
    /// Whether nothing is to come of it any more.
    pub(crate) const fn is_done(self) -> bool {
        matches!(self, Self::Accepted | Self::Rejected | Self::Gathered)
    }
}

/// One message to one receiver, with all attempts at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// What is said.
    pub purpose: Purpose,
    /// To whom.
    pub receiver: String,
    /// By which route.
    pub route: String,
    /// How often the chain had been begun before.
    pub turn: u32,
    /// Place in the chain.
    pub step: u32,
    /// In whose place.
    pub instead_of: Option<String>,
    /// Whom that reaches, where the chain names people.
    pub person: Option<String>,
    /// SHA-256 of what was sent last.
    pub text_digest: String,
    /// What it tells besides.
    pub gathers: Option<Gathered>,
    /// How it stands.
    pub state: DeliveryState,
    /// By which message it was told, where it was told with another; `None` too where a newer one of the same alert is
    /// withheld in its place.
    pub told_with: Option<ToldWith>,
    /// How often it was attempted.
    pub count: u32,
    /// When it was first attempted.
    pub first_at: Timestamp,
    /// What the provider calls it.
    pub provider_id: Option<String>,
    /// The attempts, oldest first: the newest of them.
    pub attempts: Vec<Attempt>,
}

/// Another message, which tells this one too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldWith {
    /// Number of the alert whose message that is.
    pub id: u64,
    /// Its name.
    pub message: String,
    /// Whether the provider took it.
    pub is_taken: bool,
}

impl Delivery {
    /// Whether its receiver took it, by itself or with another.
    pub fn is_heard(&self) -> bool {
        match self.state {
            DeliveryState::Accepted => true,
            DeliveryState::Gathered => self.told_with.as_ref().is_some_and(|with| with.is_taken),
            DeliveryState::Sending
            | DeliveryState::Waiting { .. }
            | DeliveryState::Rejected
            | DeliveryState::Withheld => false,
        }
    }
}

/// Why an alert is not told by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Why.
    pub why: SuppressedWhy,
    /// The alert that it is told with, or that it follows from.
    pub by: Option<u64>,
    /// The silence.
    pub silence: Option<u64>,
}

/// What is told with an alert.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follows {
    /// How many alerts.
    pub count: u32,
    /// What the first of them say.
    pub first: Vec<String>,
}

/// An alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Its number.
    pub id: u64,
    /// By which rule.
    pub rule: Rule,
    /// Whose trouble it is.
    pub scope: AlertScope,
    /// Which incident of that.
    pub generation: u32,
    /// What providers know it by.
    pub dedup_key: String,
    /// What routes and silences match.
    pub labels: Labels,
    /// One line for people.
    pub summary: String,
    /// What else is known.
    pub details: Vec<(String, String)>,
    /// The sequences that justify it: the first and the newest.
    pub causes: Vec<u64>,
    /// The newest of them.
    pub last_cause: u64,
    /// How often it happened.
    pub count: u32,
    /// Runs that it is or was about, newest last.
    pub runs: Vec<RunKey>,
    /// When it went wrong.
    pub since: Timestamp,
    /// When the alert was opened.
    pub opened_at: Timestamp,
    /// When it last happened.
    pub last_at: Timestamp,
    /// How it stands.
    pub state: AlertState,
    /// Where its chain stands; `None` before anybody was told.
    pub chase: Option<Chase>,
    /// It happened once more since somebody was told.
    pub is_news: bool,
    /// The one receiver of a test.
    pub only: Option<String>,
    /// By which sequence it is so no more.
    pub resolved_by: Option<u64>,
    /// Why it is not told by itself, where it is not.
    pub held: Option<Held>,
    /// What is told with it.
    pub follows: Follows,
    /// Receivers that took word of it by messages that are not at hand any more.
    pub(crate) heard: BTreeSet<String>,
    /// What receivers call the first message that they took about it, where they said so.
    pub threads: BTreeMap<String, String>,
    /// Of receivers that forget: how often each was told that it still is so, and when it was told last.
    pub(crate) refreshed: BTreeMap<String, (u32, Timestamp)>,
    /// What was sent about it, by the delivery's name: the newest of it.
    pub deliveries: BTreeMap<String, Delivery>,
}

impl Alert {
    /// Whether it is not over.
    pub const fn is_open(&self) -> bool {
        !matches!(self.state, AlertState::Resolved { .. })
    }

    /// Whether nobody has it in hand and it is not over.
    pub const fn is_firing(&self) -> bool {
        matches!(self.state, AlertState::Firing)
    }

    /// Receivers that took word of it, and are to be told of its end.
    pub fn told(&self) -> BTreeSet<&str> {
        let accepted =
            |it: &&Delivery| it.purpose == Purpose::Trigger && it.state == DeliveryState::Accepted;
        let found = self.deliveries.values().filter(accepted).map(|it| it.receiver.as_str());
        found.chain(self.heard.iter().map(String::as_str)).collect()
    }

    /// Whether anything about it may still have to be sent.
    fn is_settled(&self) -> bool {
        let done = |it: &Delivery| it.state.is_done() || it.purpose == Purpose::Refresh;
        !self.is_open() && self.deliveries.values().all(done)
    }
}

/// What is not told for a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Silence {
    /// Which alerts.
    pub matchers: Vec<Matcher>,
    /// Until when.
    pub until: Timestamp,
    /// By whom.
    pub by: By,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// A configuration, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refused {
    pub(crate) digest: String,
    pub(crate) why: String,
    pub(crate) at: Timestamp,
    /// Somebody said that it is over.
    pub(crate) is_closed: bool,
}

/// A receiver that does not take what it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failing {
    pub(crate) since: Timestamp,
    pub(crate) why: String,
    /// Whether it refuses who asks: a key that is wrong, or holds no more.
    pub(crate) is_refused: bool,
    /// Somebody said then that it is over: messages that were begun before say nothing new.
    pub(crate) closed_at: Option<Timestamp>,
}

/// The incidents of one rule and scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Incidents {
    pub(crate) count: u32,
    /// Somebody said of the newest that it is over: up to which cause, and when. What is wrong by that cause opens
    /// nothing; where the rules found that it was over, it is wrong again when they find it wrong.
    pub(crate) closed: Option<(u64, Timestamp)>,
}

/// The fold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Book {
    pub(crate) last_seq: u64,
    pub(crate) last_at: Timestamp,
    pub(crate) began: Option<(Timestamp, String)>,
    pub(crate) alerts: BTreeMap<u64, Alert>,
    pub(crate) opened: u64,
    /// The newest alert of each rule and scope.
    pub(crate) newest: BTreeMap<(Rule, AlertScope), u64>,
    /// The incidents of each rule and scope.
    pub(crate) incidents: BTreeMap<(Rule, AlertScope), Incidents>,
    pub(crate) open: BTreeSet<u64>,
    /// Alerts about which something may have to be sent.
    pub(crate) unsettled: BTreeSet<u64>,
    pub(crate) silences: BTreeMap<u64, Silence>,
    pub(crate) silenced: u64,
    pub(crate) configuration: Option<String>,
    pub(crate) refused: Option<Refused>,
    /// Receivers that don't take what they are sent.
    pub(crate) failing: BTreeMap<String, Failing>,
    /// Receivers whose own words can't be used.
    pub(crate) wordless: BTreeMap<String, Wordless>,
    /// What receivers had lately, and what they have still to be told.
    pub(crate) paces: BTreeMap<String, Pace>,
    /// What alerts hold others, by number.
    pub(crate) holds: BTreeMap<u64, BTreeSet<u64>>,
    /// When the newest incidents of each rule and scope began, where there were several.
    pub(crate) began_at: BTreeMap<(Rule, AlertScope), Vec<Timestamp>>,
    pub(crate) heartbeats: BTreeMap<String, Heartbeat>,
    /// The same, by when each is missing.
    pub(crate) missing: BTreeSet<(Timestamp, String)>,
    pub(crate) signs: Signs,
    /// What is known of calendars that are had by their addresses, by their schedules.
    pub(crate) calendars: BTreeMap<String, Calendar>,
    /// What is known of the machine.
    pub(crate) machine: Machine,
    /// Messages that were begun and that nobody took yet, by when they were begun.
    pub(crate) unsent: BTreeSet<(Timestamp, u64, String)>,
    /// Somebody said then that nothing is wrong with them.
    pub(crate) unsent_closed: Option<Timestamp>,
    /// How many alerts there may be until old ones are let go.
    room: usize,
    #[serde(skip)]
    pub(crate) touched: Touched<u64>,
    #[serde(skip)]
    pub(crate) touched_keys: Touched<(Rule, AlertScope)>,
}

impl Book {
    /// The last sequence of the alert log that was folded.
    pub const fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// The time of the last record.
    pub const fn last_at(&self) -> Timestamp {
        self.last_at
    }

    /// Whether alerting has begun here.
    pub const fn has_begun(&self) -> bool {
        self.began.is_some()
    }

    /// The namespace, once alerting has begun.
    pub fn namespace(&self) -> &str {
        self.began.as_ref().map_or("", |(_, namespace)| namespace)
    }

    /// The digest of the configuration in force, where one was taken.
    pub fn configuration(&self) -> Option<&str> {
        self.configuration.as_deref()
    }

    /// The configuration that was refused last, where it was not mended since: its digest and why.
    pub fn refused(&self) -> Option<(&str, &str)> {
        self.refused.as_ref().map(|it| (it.digest.as_str(), it.why.as_str()))
    }

    /// An alert by its number.
    pub fn alert(&self, id: u64) -> Option<&Alert> {
        self.alerts.get(&id)
    }

    /// All alerts at hand, newest first.
    pub fn alerts(&self) -> impl DoubleEndedIterator<Item = &Alert> {
        self.alerts.values().rev()
    }

    /// Alerts that are not over, oldest first.
    pub fn open(&self) -> impl Iterator<Item = &Alert> {
        self.open.iter().filter_map(|id| self.alerts.get(id))
    }

    /// Silences by their numbers.
    pub fn silences(&self) -> impl Iterator<Item = (u64, &Silence)> {
        self.silences.iter().map(|(number, silence)| (*number, silence))
    }

    /// The first silence that keeps these labels from being told at `now`.
    pub fn silenced_by(&self, labels: &Labels, now: Timestamp) -> Option<u64> {
        let holds =
            |it: &&Silence| it.since <= now && now < it.until && matches_all(&it.matchers, labels);
        self.silences.iter().find(|(_, it)| holds(it)).map(|(number, _)| *number)
    }

    /// Heartbeats that are expected, by name.
    pub fn heartbeats(&self) -> impl Iterator<Item = (&String, &Heartbeat)> {
        self.heartbeats.iter()
    }

    /// Signs of life that were sent.
    pub fn signs(&self) -> &Signs {
        &self.signs
    }

    /// The alert that providers know by this key, of those at hand.
    pub fn by_key(&self, dedup_key: &str) -> Option<&Alert> {
        self.alerts.values().rev().find(|alert| alert.dedup_key == dedup_key)
    }

    /// Takes an entry of the alert log in as it was stored. One that can't be read is passed over: what it says is
    /// not known, and telling people goes on.
    pub fn take_entry(&mut self, seq: u64, payload: &[u8]) -> Result<(), DecodeError> {
        match decode_packed::<AlertRecord>(payload) {
            Ok(record) => {
                self.evolve(seq, &record);
                Ok(())
            }
            Err(error) => {
                self.last_seq = seq;
                Err(error)
            }
        }
    }

    /// Lets the oldest alerts go that are over, beyond what is kept at hand. Now and then, so that it costs little.
    pub(crate) fn forget_old(&mut self) {
        if self.alerts.len() <= self.room.max(limits::KEPT + limits::KEPT / 8) {
            return;
        }
        let (alerts, last_at) = (&self.alerts, self.last_at);
        self.unsettled.retain(|id| {
            alerts.get(id).is_some_and(|alert| match &alert.state {
                AlertState::Resolved { at, .. } => last_at.since(*at) < limits::GIVE_UP,
                AlertState::Firing | AlertState::Acknowledged { .. } => true,
            })
        });
        let surplus = self.alerts.len() - limits::KEPT;
        let old = self.alerts.keys().filter(|id| !self.unsettled.contains(id)).copied();
        for id in old.take(surplus).collect::<Vec<_>>() {
            self.alerts.remove(&id);
        }
        self.unsent.retain(|(_, id, _)| self.alerts.contains_key(id));
        for pace in self.paces.values_mut() {
            pace.withheld.retain(|(id, _)| self.alerts.contains_key(id));
        }
        self.room = self.alerts.len() + limits::KEPT / 8;
    }
}
