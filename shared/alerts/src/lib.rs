//! The rules of alerting. Pure functions over two logs, the runs' and the alerts' own, and the time: no I/O,
//! no clock, no chance.
//!
//! [`Watch`] folds the run log into what is wrong; [`Book`] folds the alert log into which alerts there are and
//! who was told. [`Agenda`] says what is called for, as records of the alert log; [`decide`] answers people and
//! providers. Nothing here can send: that is for whoever holds the receivers, once a record is durable.
mod backoff;
mod backtest;
mod book;
mod decide;
mod duty;
mod expiry;
mod fact;
mod key;
mod label;
pub mod limits;
mod lives;
mod mute;
mod oncall;
mod plan;
mod policy;
mod review;
mod study;
mod subject;
mod text;
mod thresholds;
mod touched;
mod watch;
mod words;

pub use backoff::wait_before;
pub use backtest::{Backtest, Explained, WouldBe, explain};
pub use book::{
    Alert, AlertState, Attempt, Book, Calendar, Delivery, DeliveryState, Follows, Heartbeat, Held,
    Signs, Silence, ToldWith,
};
pub use decide::{
    Answered, Ask, AskBody, Decided, Outcome, Refusal, Reply, decide, outcome, sign_answered,
};
pub use duty::{DUTY, Duty, DutyReceiver, DutyRoute, DutySchedule, DutyStep, DutyTurn};
pub use fact::{
    AlertAcknowledged, AlertEscalated, AlertFact, AlertOpened, AlertRecord, AlertRecurred,
    AlertReleased, AlertResolved, AlertSilenced, AlertSuppressed, AlertUnsilenced, AlertingBegan,
    AlertingClockWentBack, By, ConfigurationRefused, ConfigurationTaken, EscalatedWhy, Gathered,
    NotificationAccepted, NotificationAttempted, NotificationFailed, NotificationRejected,
    NotificationWithheld, Purpose, ResolvedWhy, SuppressedWhy,
};
pub use key::{AlertScope, Rule, Severity, dedup_key};
pub use label::{BadMatcher, Labels, Matcher, matches_all};
pub use lives::{
    BlobsObserved, CalendarRefused, CalendarTaken, DiskObserved, HeartbeatForgotten,
    HeartbeatReceived, ProjectionObserved, SignOfLife, SignOfLifeAccepted, SignOfLifeFailed,
    StoreObserved,
};
pub use mute::MuteTime;
pub use oncall::{Contact, Crew, Person, Rotation, Schedule, Shift};
pub use plan::Agenda;
pub use policy::{
    Chain, Grouping, Inhibition, Limit, Policy, PolicyError, ReceiverRules, Route, Routed, Step,
};
pub use review::review;
pub use study::{
    OnCallNow, Reach, RecordCalls, Replayed, RuleOf, Studied, Study, WouldHaveBeen, WrongBy,
    calls_of, labels_behind, on_call, reach, replayed,
};
pub use subject::subject_of;
pub use text::{Message, RUNBOOK, Status, Telling, render};
pub use thresholds::Thresholds;
pub use watch::{Condition, Watch, labels_of_spec};
pub use words::{BadWords, Words};

/// The signal on which alerting is asked for something: an [`Ask`], answered by a [`Reply`].
pub const ASK: &str = "alerts.ask";
