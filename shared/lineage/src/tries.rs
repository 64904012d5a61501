//! Which events follow from facts of tries.
use dagbok_events::{
    AssetUpdated, Fact, Failure, MapIndex, Record, RuledOut, RunKey, TaskId, TaskMark, Timestamp,
    TryStarted,
};

use crate::{
    event::{Event, EventType, Names},
    facets::seconds,
    fold::Lineage,
    run::{Copy, Run, Token},
};

/// How a try ended.
pub(crate) struct End<'a> {
    pub(crate) token: Token,
    pub(crate) at: Timestamp,
    pub(crate) event_type: EventType,
    pub(crate) state: &'static str,
    pub(crate) failure: Option<&'a Failure>,
    /// Why, where no failure says it.
    pub(crate) why: Option<&'static str>,
}

fn end_of(fact: &Fact, at: Timestamp) -> Option<End<'_>> {
    macro_rules! end {
        ($f:expr, $at:expr, $kind:ident, $state:expr, $why:expr) => {{
            let (task_id, map_index, try_number) =
                ($f.task_id.clone(), $f.map_index, $f.try_number);
            let token = Token { task_id, map_index, try_number };
            let event_type = EventType::$kind;
            End { token, at: $at, event_type, state: $state, failure: None, why: $why }
        }};
    }
    Some(match fact {
        Fact::TrySucceeded(f) => end!(f, f.ended_at, Complete, "success", None),
        Fact::TrySkipped(f) => end!(f, f.ended_at, Complete, "skipped", None),
        Fact::TryFailed(f) => {
            let state = if f.retry_at.is_some() { "up_for_retry" } else { "failed" };
            End { failure: Some(&f.failure), ..end!(f, f.ended_at, Fail, state, None) }
        }
        Fact::TryLost(f) => {
            let state = if f.retry_at.is_some() { "up_for_retry" } else { "failed" };
            end!(f, at, Fail, state, Some("its executor was lost"))
        }
        Fact::TryCancelled(f) if f.skipped => end!(f, at, Abort, "skipped", None),
        Fact::TryCancelled(f) => end!(f, at, Abort, "failed", None),
        _ => return None,
    })
}

impl Run {
    /// How a task stands at the end, and how long it took.
    fn stands(&mut self, task: &TaskId, state: &str, took: f64) {
        self.states.insert(task.clone(), (state.to_owned(), took));
    }

    /// A try begins, or goes on: then whether it waited in a trigger's care.
    fn started(&mut self, f: &TryStarted) -> Option<EventType> {
        let at = (f.task_id.clone(), f.map_index);
        let queued = self.queued.remove(&at);
        if let Some(copy) = self.copies.get_mut(&at)
            && copy.try_number == f.try_number
        {
            return std::mem::take(&mut copy.deferred).then_some(EventType::Running);
        }
        let (try_number, started) = (f.try_number, f.started_at);
        self.copies.insert(at, Copy { try_number, queued, started, deferred: false, told: None });
        Some(EventType::Start)
    }
}

impl Lineage {
    pub(crate) fn of_try(
        &mut self,
        names: &Names,
        key: &RunKey,
        record: &Record,
        fact: &Fact,
        say: &mut Vec<Event>,
    ) {
        let at = record.decided_at();
        if let Some(end) = end_of(fact, at) {
            let of_it = |fact| updated(fact, &end.token.task_id, end.token.map_index);
            let updates: Vec<_> = record.facts.iter().filter_map(of_it).collect();
            return self.try_ended(names, key, &end, &updates, say);
        }
        if let Fact::TryStarted(_) = fact {
            self.begin(names, key, at, say);
        }
        let Some(run) = self.runs.get_mut(key) else { return };
        match fact {
            Fact::TaskQueued(f) => {
                run.queued.insert((f.task_id.clone(), f.map_index), at);
            }
            Fact::TryReturned(f) => {
                run.queued.remove(&(f.task_id.clone(), f.map_index));
            }
            Fact::TryStarted(f) => {
                let (task_id, map_index) = (f.task_id.clone(), f.map_index);
                let token = Token { task_id, map_index, try_number: f.try_number };
                if let Some(event_type) = run.started(f) {
                    say.extend(self.try_event(names, key, &token, (event_type, f.started_at)));
                }
            }
            Fact::TryDeferred(f) => {
                if let Some(copy) = run.copies.get_mut(&(f.task_id.clone(), f.map_index)) {
                    copy.deferred = true;
                }
            }
            Fact::LineageTold(f) => {
                let copy = run.copies.get_mut(&(f.task_id.clone(), f.map_index));
                if let Some(copy) = copy.filter(|copy| copy.try_number == f.try_number) {
                    copy.told = Some(f.lineage.clone());
                }
            }
            Fact::TaskRuledOut(f) => {
                let state = match f.why {
                    RuledOut::Skipped => "skipped",
                    RuledOut::UpstreamFailed => "upstream_failed",
                    RuledOut::Removed | RuledOut::OutOfDates => "removed",
                };
                run.stands(&f.task_id, state, 0.0);
            }
            Fact::TaskMarked(f) => {
                let state = match f.state {
                    TaskMark::Success => "success",
                    TaskMark::Failed => "failed",
                    TaskMark::Skipped => "skipped",
                };
                run.stands(&f.task_id, state, 0.0);
            }
            Fact::TaskCleared(f) => {
                run.states.remove(&f.task_id);
            }
            _ => {}
        }
    }

    /// Tells how a try ended, if it began; one that could not be started fails all the same.
    pub(crate) fn try_ended(
        &mut self,
        names: &Names,
        key: &RunKey,
        end: &End<'_>,
        updates: &[&AssetUpdated],
        say: &mut Vec<Event>,
    ) {
        let Some(run) = self.runs.get_mut(key) else { return };
        let at = (end.token.task_id.clone(), end.token.map_index);
        run.queued.remove(&at);
        let begun = run.copies.remove(&at);
        let copy = match (begun, end.failure) {
            (Some(copy), _) => copy,
            (None, Some(_)) => Copy {
                try_number: end.token.try_number,
                queued: None,
                started: end.at,
                deferred: false,
                told: None,
            },
            (None, None) => return run.stands(&end.token.task_id, end.state, 0.0),
        };
        let ended = end.at.max(copy.started);
        run.stands(&end.token.task_id, end.state, seconds(copy.started, ended));
        say.extend(self.try_end_event(names, key, &copy, (end, ended), updates));
    }
}

fn updated<'a>(fact: &'a Fact, task: &TaskId, index: MapIndex) -> Option<&'a AssetUpdated> {
    match fact {
        Fact::AssetUpdated(f) if f.task_id.as_ref() == Some(task) && f.map_index == index => {
            Some(f)
        }
        _ => None,
    }
}
