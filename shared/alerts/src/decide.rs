//! What people and providers say, and what follows from it.
use dagbok_events::{Micros, Timestamp};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    Alert, AlertAcknowledged, AlertFact, AlertOpened, AlertRecord, AlertScope, AlertSilenced,
    AlertUnsilenced, Book, By, Delivery, HeartbeatForgotten, HeartbeatReceived, Labels, Matcher,
    NotificationAccepted, NotificationFailed, NotificationRejected, Policy, Purpose, ResolvedWhy,
    Rule, Severity, SignOfLifeAccepted, SignOfLifeFailed, Studied, Study, dedup_key, limits,
    matches_all,
    plan::{Place, first, gathering, has, resolved},
    wait_before,
};

/// What somebody asks of alerting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Who.
    pub by: By,
    /// Why, in their words.
    #[serde(default)]
    pub reason: Option<String>,
    /// What.
    pub body: AskBody,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AskBody {
    /// Somebody takes it in hand.
    Acknowledge {
        /// Number of the alert.
        id: u64,
    },
    /// It is over.
    Resolve {
        /// Number of the alert.
        id: u64,
    },
    /// Some alerts are not to be told for a time.
    Silence {
        /// Which.
        matchers: Vec<String>,
        /// Until when.
        until: Timestamp,
    },
    /// A silence is to end.
    Unsilence {
        /// Its number.
        silence: u64,
    },
    /// Something outside lives, and says so again after a time.
    Heartbeat {
        /// Its name.
        name: String,
        /// After what time.
        period: Micros,
        /// How much later it may.
        grace: Micros,
        /// Who is told where it does not.
        owner: Option<String>,
    },
    /// A heartbeat is not expected any more.
    ForgetHeartbeat {
        /// Its name.
        name: String,
    },
    /// What the link in a message says: opened by who holds the key that signed it, and only then decided.
    Link {
        /// The signed part of its address.
        token: String,
        /// Whether to acknowledge; otherwise only which alert it is about is asked.
        acknowledge: bool,
    },
    /// What PagerDuty says of an incident: opened by who holds the key that signed it, and only then decided.
    PagerDuty {
        /// The header with the signatures.
        signature: String,
        /// The body as it came.
        body: String,
    },
    /// Something is asked of the rules, and nothing done.
    Study {
        /// What.
        study: Study,
        /// By which configuration, as the text of its file; by the one in force where there is none.
        configuration: Option<String>,
    },
    /// A receiver is to be told something by the real way.
    Test {
        /// Its name.
        receiver: String,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// It was done.
    Done {
        /// Number of the alert or the silence.
        id: u64,
        /// The alert log's sequence that says so.
        seq: u64,
    },
    /// What the rules say.
    Studied(Box<Studied>),
    /// A rule forbids it.
    Refused(Refusal),
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum Refusal {
    /// There is no such alert, silence or receiver.
    #[error("{0}")]
    NotFound(String),
    /// It is as it was asked to be, or can't be any more.
    #[error("{0}")]
    Conflict(String),
    /// What was asked breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// Its signature is nobody's who may ask.
    #[error("{0}")]
    Forged(String),
    /// Its time is over.
    #[error("{0}")]
    Expired(String),
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// To be recorded.
    pub record: AlertRecord,
    /// The number to answer with.
    pub id: u64,
}

/// What came of an attempt, in the sender's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// The provider took it.
    Accepted {
        /// Its status.
        status: Option<u16>,
        /// What it calls it.
        provider_id: Option<String>,
    },
    /// It did not, and asking again may help.
    Failed {
        /// Its status.
        status: Option<u16>,
        /// What went wrong.
        why: String,
        /// How long it wants to be left alone.
        retry_after: Option<Micros>,
    },
    /// It will not.
    Rejected {
        /// Its status.
        status: Option<u16>,
        /// What went wrong.
        why: String,
    },
}

/// Decides what somebody asks. `seen` is the run log's last sequence that is known.
pub fn decide(
    book: &Book,
    policy: &Policy,
    now: Timestamp,
    seen: u64,
    ask: &Ask,
) -> Result<Decided, Refusal> {
    if ask.reason.as_ref().is_some_and(|reason| reason.len() > limits::NOTE_BYTES) {
        let why = format!("a note may have up to {} bytes", limits::NOTE_BYTES);
        return Err(Refusal::Invalid(why));
    }
    let (id, facts) = match &ask.body {
        AskBody::Acknowledge { id } => {
            let alert = open_alert(book, *id)?;
            if !alert.is_firing() {
                return Err(Refusal::Conflict(format!("alert {id} is acknowledged already")));
            }
            (*id, vec![AlertFact::AlertAcknowledged(AlertAcknowledged { id: *id })])
        }
        AskBody::Resolve { id } => {
            (*id, vec![resolved(open_alert(book, *id)?, ResolvedWhy::ByHand, None)])
        }
        AskBody::Silence { matchers, until } => silence(book, now, ask, matchers, *until)?,
        AskBody::Unsilence { silence } => {
            let found = book.silences.get(silence);
            let found =
                found.ok_or_else(|| Refusal::NotFound(format!("there is no silence {silence}")))?;
            if found.until <= now {
                return Err(Refusal::Conflict(format!("silence {silence} is over already")));
            }
            (*silence, vec![AlertFact::AlertUnsilenced(AlertUnsilenced { silence: *silence })])
        }
        AskBody::Heartbeat { name, period, grace, owner } => {
            let (period, grace) = (*period, *grace);
            let owner = owner.clone();
            heartbeat(book, HeartbeatReceived { name: name.clone(), period, grace, owner })?
        }
        AskBody::ForgetHeartbeat { name } => {
            if !book.heartbeats.contains_key(name) {
                return Err(Refusal::NotFound(format!("no heartbeat `{name}` is expected")));
            }
            let name = name.clone();
            (0, vec![AlertFact::HeartbeatForgotten(HeartbeatForgotten { name })])
        }
        AskBody::Link { .. } | AskBody::PagerDuty { .. } => {
            return Err(Refusal::Forged("nobody here can tell who signed it".to_owned()));
        }
        AskBody::Study { .. } => {
            return Err(Refusal::Invalid("nothing is to be decided about it".to_owned()));
        }
        AskBody::Test { receiver } => test(book, policy, now, receiver)?,
    };
    let (by, reason) = (ask.by.clone(), ask.reason.clone());
    Ok(Decided { record: AlertRecord { at: now, by, reason, seen, facts }, id })
}

fn open_alert(book: &Book, id: u64) -> Result<&Alert, Refusal> {
    let found = book.alert(id);
    let found = found.ok_or_else(|| Refusal::NotFound(format!("there is no alert {id}")))?;
    let over = || Refusal::Conflict(format!("alert {id} is over already"));
    if found.is_open() { Ok(found) } else { Err(over()) }
}

fn silence(
    book: &Book,
    now: Timestamp,
    ask: &Ask,
    matchers: &[String],
    until: Timestamp,
) -> Result<(u64, Vec<AlertFact>), Refusal> {
    if ask.reason.as_ref().is_none_or(|reason| reason.trim().is_empty()) {
        return Err(Refusal::Invalid("a silence needs a reason".to_owned()));
    }
    if matchers.is_empty() {
        return Err(Refusal::Invalid(
            "a silence needs a matcher, such as `dag=\"etl\"`".to_owned(),
        ));
    }
    if matchers.len() > limits::MATCHERS {
        let why = format!("a silence has {} matchers at most", limits::MATCHERS);
        return Err(Refusal::Invalid(why));
    }
    let read: Result<Vec<Matcher>, _> = matchers.iter().map(|text| text.parse()).collect();
    let read = read.map_err(|error| Refusal::Invalid(error.to_string()))?;
    // As Alertmanager has it: such a one would silence all that has no such label.
    if matches_all(&read, &Labels::new()) {
        let why = "a silence needs a matcher that asks for a value, such as `dag=\"etl\"`";
        return Err(Refusal::Invalid(why.to_owned()));
    }
    if book.silences.values().filter(|it| it.until > now).count() >= limits::SILENCES {
        let why = format!("{} silences hold already: end some", limits::SILENCES);
        return Err(Refusal::Conflict(why));
    }
    if until <= now {
        return Err(Refusal::Invalid("a silence ends in the future".to_owned()));
    }
    if until.since(now) > limits::LONGEST_SILENCE {
        let days = limits::LONGEST_SILENCE.0 / 86_400_000_000;
        return Err(Refusal::Invalid(format!("a silence lasts {days} days at most")));
    }
    let silence = book.silenced + 1;
    let matchers = matchers.to_vec();
    Ok((silence, vec![AlertFact::AlertSilenced(AlertSilenced { silence, matchers, until })]))
}

fn heartbeat(book: &Book, received: HeartbeatReceived) -> Result<(u64, Vec<AlertFact>), Refusal> {
    let invalid = |what: String| Err(Refusal::Invalid(what));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let name = &received.name;
    if name.is_empty() || name.len() > limits::HEARTBEAT_NAME || !name.chars().all(plain) {
        let most = limits::HEARTBEAT_NAME;
        return invalid(format!(
            "a heartbeat's name has 1 to {most} letters, digits, `_`, `-` and `.`"
        ));
    }
    let within = |it: Micros, least| least <= it && it <= limits::LONGEST_PERIOD;
    if !within(received.period, Micros::from_secs(1)) || !within(received.grace, Micros(0)) {
        return invalid("a period is from a second to 400 days, a grace from nothing".to_owned());
    }
    if received.owner.as_ref().is_some_and(|owner| owner.len() > limits::HEARTBEAT_NAME) {
        return invalid(format!("an owner has up to {} bytes", limits::HEARTBEAT_NAME));
    }
    if !book.heartbeats.contains_key(name) && book.heartbeats.len() >= limits::HEARTBEATS {
        let most = limits::HEARTBEATS;
        return Err(Refusal::Conflict(format!("{most} heartbeats are expected: forget some")));
    }
    Ok((0, vec![AlertFact::HeartbeatReceived(received)]))
}

fn test(
    book: &Book,
    policy: &Policy,
    now: Timestamp,
    receiver: &str,
) -> Result<(u64, Vec<AlertFact>), Refusal> {
    if !policy.receivers.contains_key(receiver) {
        let known: Vec<&str> = policy.receivers.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(Refusal::NotFound(format!(
            "no receiver is called `{receiver}`; there are: {known}"
        )));
    }
    let scope = AlertScope::Receiver(receiver.to_owned());
    let key = (Rule::Test, scope.clone());
    let newest = book.newest.get(&key).and_then(|id| book.alert(*id));
    if let Some(open) = newest.filter(|alert| alert.is_open()) {
        let id = open.id;
        return Err(Refusal::Conflict(format!("a test of `{receiver}` is under way: alert {id}")));
    }
    let generation = book.incidents.get(&key).map_or(0, |it| it.count) + 1;
    let namespace = book.namespace();
    let labels = [
        ("rule", Rule::Test.word()),
        ("severity", Severity::Info.word()),
        ("namespace", namespace),
        ("receiver", receiver),
    ];
    let id = book.opened + 1;
    let opened = AlertOpened {
        id,
        rule: Rule::Test,
        dedup_key: dedup_key(namespace, Rule::Test, &scope, generation),
        scope,
        generation,
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        summary: format!("this is a test of the receiver {receiver}; nothing is wrong"),
        details: Vec::new(),
        causes: Vec::new(),
        since: now,
        run: None,
        trace: None,
        only: Some(receiver.to_owned()),
    };
    Ok((id, vec![AlertFact::AlertOpened(Box::new(opened))]))
}

/// What came of one attempt of a delivery.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// Number of the alert.
    pub id: u64,
    /// Which delivery.
    pub message: &'a str,
    /// Which attempt of it.
    pub attempt: u32,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// What the provider said.
    pub answered: &'a Answered,
}

/// Records what came of an attempt, and has the fallback told where it is called for. `None` where the book knows
/// no such attempt.
pub fn outcome(
    book: &Book,
    policy: &Policy,
    now: Timestamp,
    seen: u64,
    came: &Outcome<'_>,
) -> Option<AlertRecord> {
    let alert = book.alert(came.id)?;
    let delivery = alert.deliveries.get(came.message)?;
    let (fact, fails) = fact_of(came, delivery.first_at, now);
    let mut facts = vec![fact];
    // A retry is mail to whom the task's author names, and is no matter for anybody else.
    let wanted = fails
        && delivery.purpose == Purpose::Trigger
        && alert.only.is_none()
        && alert.rule != Rule::TaskRetried;
    let rules = policy.receivers.get(&delivery.receiver);
    let to = rules.filter(|_| wanted).and_then(|rules| rules.fallback.as_deref());
    if let Some(to) = to.filter(|to| policy.receivers.contains_key(*to)) {
        facts.extend(instead(policy, alert, (came.message, delivery), to));
    }
    let by = By::Receiver(delivery.receiver.clone());
    Some(AlertRecord { at: now, by, reason: None, seen, facts })
}

/// What the fallback is told in the place of a receiver that failed. Where it has a message already, it has another of
/// what that one told besides.
fn instead(
    policy: &Policy,
    alert: &Alert,
    (message, delivery): (&str, &Delivery),
    to: &str,
) -> Option<AlertFact> {
    let (turn, step) = (delivery.turn, delivery.step);
    let gathers = delivery.gathers.clone();
    let has_one = has(alert, Purpose::Trigger, to, Some((turn, step)));
    let has_all = alert
        .deliveries
        .values()
        .any(|it| it.receiver == to && (it.turn, it.step) == (turn, step) && it.gathers == gathers);
    if has_one && (gathers.is_none() || has_all) {
        return None;
    }
    let instead_of = Some(delivery.receiver.as_str());
    let person = delivery.person.as_deref();
    let place = Place { turn, step, route: &delivery.route, instead_of, person };
    match (first(policy, alert, Purpose::Trigger, to, &place), has_one) {
        (AlertFact::NotificationAttempted(mut it), true) => {
            it.message = format!("{message}/{to}");
            Some(gathering(policy, alert, AlertFact::NotificationAttempted(it), gathers))
        }
        (fact, _) => Some(gathering(policy, alert, fact, gathers)),
    }
}

/// Records what came of a sign of life, where that is news.
pub fn sign_answered(book: &Book, number: u64, answered: &Answered) -> Option<AlertFact> {
    match answered {
        Answered::Accepted { .. } if book.signs.lost == 0 => None,
        Answered::Accepted { .. } => {
            Some(AlertFact::SignOfLifeAccepted(SignOfLifeAccepted { number }))
        }
        Answered::Failed { status, why, .. } | Answered::Rejected { status, why } => {
            let (status, why) = (*status, why.clone());
            Some(AlertFact::SignOfLifeFailed(SignOfLifeFailed { number, status, why }))
        }
    }
}

/// An outcome as a fact, and whether somebody else is to be told in that receiver's place.
fn fact_of(came: &Outcome<'_>, first_at: Timestamp, now: Timestamp) -> (AlertFact, bool) {
    let Outcome { id, attempt, took_ms, .. } = *came;
    let message = came.message.to_owned();
    let rejected = |message, status, why| {
        AlertFact::NotificationRejected(NotificationRejected {
            id,
            message,
            attempt,
            status,
            why,
            took_ms,
        })
    };
    match came.answered {
        Answered::Accepted { status, provider_id } => {
            let (status, provider_id) = (*status, provider_id.clone());
            let taken = NotificationAccepted { id, message, attempt, status, provider_id, took_ms };
            (AlertFact::NotificationAccepted(taken), false)
        }
        Answered::Failed { status, why, retry_after } => {
            let retry_at = now.plus(wait_before(&message, attempt, *retry_after));
            if retry_at.since(first_at) > limits::GIVE_UP {
                let why = format!("given up after {attempt} attempts: {why}");
                return (rejected(message, *status, why), true);
            }
            let (status, why) = (*status, why.clone());
            let failed =
                NotificationFailed { id, message, attempt, status, why, retry_at, took_ms };
            (AlertFact::NotificationFailed(failed), attempt >= limits::FALLBACK_AFTER)
        }
        Answered::Rejected { status, why } => (rejected(message, *status, why.clone()), true),
    }
}
