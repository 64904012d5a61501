//! Which shapes of the events no golden log has.
use std::collections::BTreeSet;

use dagbok_events::Fact;
use serde_json::{Map, Value};

use crate::raw::{Visit, may_lack, target, variants, walk};

macro_rules! facts {
    ($($name:ident),* $(,)?) => {
        /// The name of every fact.
        pub const FACTS: &[&str] = &[$(stringify!($name)),*];

        /// The name of a fact. A new one does not compile until it is listed here, and is then asked for.
        pub const fn name_of(fact: &Fact) -> &'static str {
            match fact {
                $(Fact::$name(_) => stringify!($name)),*
            }
        }
    };
}

facts! {
    DagRegistered, BundlePublished, DagImportFailed, DagImportRecovered, DagDisappeared, DagPaused,
    DagUnpaused, RunExpected, RunMissed, RunCreated, RunStarted, RunSucceeded, RunFailed, RunTimedOut,
    RunCancelled, RunCleared, RunDeleted, TaskExpanded, TaskCleared, TaskQueued, TaskRuledOut, TryStarted,
    TrySucceeded, TryFailed, TrySkipped, TryLost, TryCancelled, TryReturned, TryRescheduled, XComPushed, TryNamed,
    ReportRefused, PoolSet, PoolDeleted, LimitsSet, ExecutorJoined, ExecutorLeft,
    ExecutorCordoned, ExecutorUncordoned, ExecutorFull,
    ClockWentBack,
    ForeignEntrySkipped, DagForgotten, DagVersionsForgotten, HistoryForgotten, AssetUpdated, QueuedAssetsDropped,
    TaskMarked, RunMarked, RunNoted,
    BackfillCreated, BackfillPaused, BackfillUnpaused, BackfillCancelled, BackfillCompleted, BackfillSkipped,
    RunBackfilled, RunVersionChanged, TaskNoted, ScheduleForetold,
    VariableSet, VariableDeleted, ConnectionSet, ConnectionDeleted, SecretsRewrapped,
    TryDeferred, TriggerFired, TriggerFailed,
    DagCallbackOrdered, DagCallbackStarted, DagCallbackSucceeded, DagCallbackFailed, DagCallbackLost,
    DagCallbackUnbegun, TaskCallbackFailed, HitlAnswered, CheckpointKept, CheckpointDropped, TryProgressed,
    LineageTold,
}

/// Shapes that our encoder never writes: a field at its default is left out.
const NEVER_WRITTEN: &[&str] = &["TriggerRule::all_success", "RunImmediately::IfNear"];

/// The shapes that records had.
#[derive(Clone, Debug, Default)]
pub struct Seen(BTreeSet<String>);

impl Seen {
    /// Notes every shape in a record's tree.
    pub fn note(&mut self, schema: &Value, mut tree: Value) {
        walk(schema, &mut tree, self);
    }

    /// What was asked for and not seen, sorted.
    pub fn missing(&self, schema: &Value) -> Vec<String> {
        asked_for(schema).difference(&self.0).cloned().collect()
    }
}

impl Visit for Seen {
    fn object(
        &mut self,
        place: &str,
        schema: &Map<String, Value>,
        object: &mut Map<String, Value>,
    ) {
        for (name, _) in properties(schema) {
            let how = if object.contains_key(name) { "present" } else { "missing" };
            self.0.insert(format!("{place}.{name} {how}"));
        }
    }

    fn variant(&mut self, place: &str, word: &str) {
        self.0.insert(format!("{place}::{word}"));
    }
}

fn properties(schema: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

/// Every word and variant, every field present, and every field that may be missing, missing.
fn asked_for(schema: &Value) -> BTreeSet<String> {
    let mut asked = BTreeSet::new();
    ask("Record", schema, &mut asked);
    for (name, schema) in schema["$defs"].as_object().into_iter().flatten() {
        ask(name, schema, &mut asked);
    }
    for shape in NEVER_WRITTEN {
        asked.remove(*shape);
    }
    asked
}

fn ask(place: &str, schema: &Value, asked: &mut BTreeSet<String>) {
    for variant in variants(schema) {
        let place = format!("{place}::{}", variant.word);
        if let Some(body) = variant.body.filter(|body| target(body).is_none()) {
            ask(&place, body, asked);
        }
        asked.insert(place);
    }
    let Some(fields) = schema.as_object() else { return };
    for (name, _) in properties(fields) {
        asked.insert(format!("{place}.{name} present"));
        if may_lack(fields, name) {
            asked.insert(format!("{place}.{name} missing"));
        }
    }
}
