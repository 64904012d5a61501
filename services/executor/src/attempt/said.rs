//! What a task's process said of its end.
use dagbok_events::{HitlAsk, Payload, TaskId, Timestamp, TriggerCall, Usage};
use dagbok_protocol::{OutletEvent, XComValue};

use crate::raised::Raised;

/// A try's end in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It succeeded.
    Succeeded,
    /// It failed; whether it will be retried is the scheduler's business.
    Failed,
    /// Its code said to skip.
    Skipped,
    /// It is to go on later, no sooner than this.
    Rescheduled(Timestamp),
    /// It waits for a trigger.
    Deferred(Box<Deferred>),
}

/// What a try waits for, and how it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deferred {
    /// The trigger.
    pub(crate) trigger: TriggerCall,
    /// What is called afterwards.
    pub(crate) next_method: String,
    /// With what, besides the event.
    pub(crate) next_kwargs: Option<Payload>,
    /// By when it must have fired.
    pub(crate) timeout_at: Option<Timestamp>,
    /// Where it waits for a person: what is asked.
    pub(crate) ask: Option<Box<HitlAsk>>,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// How it ended, where it said so.
    pub(crate) ending: Option<Ending>,
    /// When that was heard.
    pub(crate) at: Option<std::time::Instant>,
    /// What its process had used by then, where nothing of it was left to run.
    pub(crate) used: Option<Usage>,
    /// Why it failed, where it said so.
    pub(crate) error: Option<Raised>,
    /// Values that no report has carried yet.
    pub(crate) xcoms: Vec<XComValue>,
    /// Tasks that it decided against.
    pub(crate) skips: Vec<TaskId>,
    /// The callback of its task that it calls: at its end, one that was not over.
    pub(crate) calling: Option<String>,
    /// Assets that it brought up to date.
    pub(crate) outlets: Vec<OutletEvent>,
    /// Whether it has said what it read and wrote: the first word counts.
    pub(crate) lineage: bool,
}
