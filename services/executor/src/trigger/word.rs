//! What is said to a Python process that runs triggers, and what it says.
use dagbok_protocol::{TriggerEnd, WorkItem};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::held::TriggerNo;
use crate::attempt::wire::{self, Stamp};

#[derive(Serialize)]
#[serde(tag = "type")]
enum Body<'a> {
    RunTrigger(RunTrigger<'a>),
    CancelTrigger { number: TriggerNo },
}

#[derive(Serialize)]
struct RunTrigger<'a> {
    number: TriggerNo,
    classpath: &'a str,
    /// A JSON object in text.
    kwargs: &'a str,
    /// The DAG's file in the bundle.
    file: &'a str,
    dag_id: &'a str,
    run_id: &'a str,
    task_id: &'a str,
    map_index: i32,
    try_number: u16,
    logical_date: Option<Stamp>,
    /// Whether it goes on after an event.
    watches: bool,
}

/// Run this.
pub(super) fn run_trigger(number: TriggerNo, item: &WorkItem, kwargs: &str) -> Vec<u8> {
    let classpath = item.trigger.as_ref().map_or("", |trigger| trigger.class_path.as_str());
    let body = RunTrigger {
        number,
        classpath,
        kwargs,
        file: &item.file,
        dag_id: item.key.dag_id.as_str(),
        run_id: item.key.run_id.as_str(),
        task_id: item.key.task_id.as_str(),
        map_index: item.key.map_index.0,
        try_number: item.key.try_number.get(),
        logical_date: item.run.logical_date.map(Stamp),
        watches: item.watches,
    };
    wire::encode(&(0, Body::RunTrigger(body), ()))
}

/// Run that no more.
pub(super) fn cancel_trigger(number: TriggerNo) -> Vec<u8> {
    wire::encode(&(0, Body::CancelTrigger { number }, ()))
}

/// What a process says of its triggers.
#[derive(Debug)]
pub(super) enum Word {
    /// It is alive: its loop goes round.
    Beat,
    /// One fired.
    Fired(Fired),
    /// One came to nothing.
    Failed(Failed),
    /// One wrote a line.
    Line(Line),
    /// One keeps the others waiting.
    Blocks(Blocks),
    /// Never to be shown.
    Mask(Vec<String>),
    /// One asks about other runs.
    Asks {
        /// To be answered with it.
        id: i64,
        /// Which.
        number: TriggerNo,
        /// What.
        kind: String,
        /// The rest of the question.
        body: Map<String, Value>,
    },
}

#[derive(Debug, Deserialize)]
pub(super) struct Fired {
    pub(super) number: TriggerNo,
    /// JSON in text.
    pub(super) event: String,
    #[serde(default)]
    pub(super) ends: Option<TriggerEnd>,
    /// JSON by name.
    #[serde(default)]
    pub(super) xcoms: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Failed {
    pub(super) number: TriggerNo,
    pub(super) why: dagbok_events::TriggerFailedWhy,
    pub(super) traceback: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Line {
    pub(super) number: TriggerNo,
    pub(super) line: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Blocks {
    /// Which; none where nobody can tell.
    pub(super) number: Option<TriggerNo>,
    pub(super) seconds: f64,
    /// Where it stands.
    pub(super) stack: String,
}

#[derive(Deserialize)]
struct Mask {
    forms: Vec<String>,
}

/// Of which trigger something is said, as far as that can be seen.
pub(super) fn trigger_named(body: &Map<String, Value>) -> Option<TriggerNo> {
    body.get("number").or_else(|| body.get("trigger_number"))?.as_u64()
}

/// What is said, by its name; `?` where that can't be seen.
pub(super) fn kind_named(body: &Map<String, Value>) -> String {
    body.get("type").and_then(Value::as_str).unwrap_or("?").to_owned()
}

impl Word {
    /// That a trigger fails because of what was said of it; `None` of a line of its log, which it can do without.
    pub(super) fn unusable(kind: &str, number: TriggerNo, traceback: String) -> Option<Self> {
        if kind == "TriggerLine" {
            return None;
        }
        let why = dagbok_events::TriggerFailedWhy::Raised;
        Some(Self::Failed(Failed { number, why, traceback }))
    }

    /// Reads one; `None` of what is not understood.
    pub(super) fn read(id: i64, mut body: Map<String, Value>) -> Option<Self> {
        let kind = body.remove("type")?.as_str()?.to_owned();
        let known = |body: Map<String, Value>| Value::Object(body);
        match kind.as_str() {
            "Beat" => Some(Self::Beat),
            "TriggerFired" => serde_json::from_value(known(body)).ok().map(Self::Fired),
            "TriggerFailed" => serde_json::from_value(known(body)).ok().map(Self::Failed),
            "TriggerLine" => serde_json::from_value(known(body)).ok().map(Self::Line),
            "TriggerBlocks" => serde_json::from_value(known(body)).ok().map(Self::Blocks),
            "MaskSecret" => {
                serde_json::from_value::<Mask>(known(body)).ok().map(|mask| Self::Mask(mask.forms))
            }
            _ => {
                let number = body.remove("trigger_number")?.as_u64()?;
                Some(Self::Asks { id, number, kind, body })
            }
        }
    }
}
