//! Spans of runs and tries, folded from the log: each is said once it is over, with ids that follow from what it is of.
mod under_way;

use std::collections::{BTreeMap, VecDeque};

use dagbok_events::{
    Actor, Fact, Failure, Leg, MapIndex, Record, RunCreated, RunKey, RunMark, Scope, TaskId,
    Timestamp, TryKey, TryNumber,
};
use dagbok_protocol::trace::{RunTrace, run_span, try_span};
use serde::{Deserialize, Serialize};

/// Runs that are over and are yet known: to be linked to, or to go on.
const KNOWN: usize = 10_000;
/// Copies of tasks of all of those together.
const KNOWN_COPIES: usize = 50_000;
/// Copies of one run; of a larger one only the run itself is known.
const COPIES_OF_ONE: usize = 10_000;

/// A span of another trace, or of this one.
pub type Link = ([u8; 16], [u8; 8]);

/// A stretch of time that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its trace.
    pub trace_id: [u8; 16],
    /// Its own id.
    pub span_id: [u8; 8],
    /// What it is part of.
    pub parent: Option<[u8; 8]>,
    /// For people.
    pub name: String,
    /// When it began.
    pub start: Timestamp,
    /// When it was over.
    pub end: Timestamp,
    /// What it is of.
    pub attributes: Vec<(&'static str, String)>,
    /// Why it failed, where it did.
    pub error: Option<String>,
    /// What led to it.
    pub links: Vec<Link>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Run {
    trace_id: [u8; 16],
    parent: Option<[u8; 8]>,
    is_sampled: bool,
    /// When it was due: part of what its ids follow from.
    due: Timestamp,
    round: u32,
    begun: Timestamp,
    /// Whether it is said to be under way.
    is_said: bool,
    by: String,
    /// As what it ends once its teardowns have run: whether it was cancelled, or took too long.
    ending: Option<bool>,
    links: Vec<Link>,
    copies: BTreeMap<TaskId, BTreeMap<MapIndex, Copy>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Copy {
    queued: Option<Timestamp>,
    started: Option<Timestamp>,
    /// Which try and leg it is and when it began, until it is over or said to be under way.
    begun: Option<((TryNumber, Leg), Timestamp)>,
    deferred: Option<Timestamp>,
    executor: String,
    host: String,
    /// The leg before this one, or the last one of the try before.
    before: Option<[u8; 8]>,
}

/// A run that is over: what others may link to, and what it goes on from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Over {
    /// Which end it was: another is known by it once the run has ended again.
    number: u64,
    trace_id: [u8; 16],
    parent: Option<[u8; 8]>,
    is_sampled: bool,
    due: Timestamp,
    round: u32,
    by: String,
    /// The last leg of each copy.
    last: BTreeMap<TaskId, BTreeMap<MapIndex, [u8; 8]>>,
}

/// The fold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spans {
    runs: BTreeMap<RunKey, Run>,
    over: BTreeMap<RunKey, Over>,
    order: VecDeque<(u64, RunKey)>,
    /// Runs that ended, and copies of those that are known.
    ends: u64,
    copies: usize,
}

type Token = (TaskId, MapIndex, TryNumber, Leg);

/// How a leg ended: by whom it is, when, as what, and why where it failed.
struct End {
    token: Token,
    at: Timestamp,
    result: &'static str,
    error: Option<String>,
}

fn end_of(fact: &Fact, at: Timestamp) -> Option<End> {
    macro_rules! end {
        ($f:expr, $at:expr, $result:expr, $error:expr) => {{
            let token = ($f.task_id.clone(), $f.map_index, $f.try_number, $f.leg);
            End { token, at: $at, result: $result, error: $error }
        }};
    }
    let said = |failure: &Failure| Some(failure.message.clone());
    Some(match fact {
        Fact::TrySucceeded(f) => end!(f, f.ended_at, "success", None),
        Fact::TrySkipped(f) => end!(f, f.ended_at, "skip", None),
        Fact::TryRescheduled(f) => end!(f, f.ended_at, "success", None),
        Fact::TryDeferred(f) => end!(f, f.ended_at, "success", None),
        Fact::TryFailed(f) => end!(f, f.ended_at, "failure", said(&f.failure)),
        Fact::TryLost(f) => end!(f, at, "error", Some("its executor was lost".to_owned())),
        Fact::TryCancelled(f) => end!(f, at, "cancellation", Some("its run was ended".to_owned())),
        Fact::TryReturned(f) => end!(f, at, "cancellation", None),
        _ => return None,
    })
}

impl Run {
    fn attributes(key: &RunKey) -> Vec<(&'static str, String)> {
        vec![
            ("cicd.pipeline.name", key.dag_id.to_string()),
            ("cicd.pipeline.run.id", key.run_id.to_string()),
            ("dagbok.dag_id", key.dag_id.to_string()),
            ("dagbok.run_id", key.run_id.to_string()),
        ]
    }

    fn span_id(&self, key: &RunKey) -> [u8; 8] {
        run_span(key, self.due, self.round)
    }

    fn copy(&mut self, task: &TaskId, map_index: MapIndex) -> &mut Copy {
        self.copies.entry(task.clone()).or_default().entry(map_index).or_default()
    }

    fn attributes_of_try(
        key: &RunKey,
        (task_id, map_index, try_number, _): &Token,
    ) -> Vec<(&'static str, String)> {
        let mut attributes = Self::attributes(key);
        attributes.push(("cicd.pipeline.task.name", task_id.to_string()));
        attributes.push(("dagbok.task_id", task_id.to_string()));
        attributes.push(("dagbok.try_number", try_number.to_string()));
        if !map_index.is_unmapped() {
            attributes.push(("dagbok.map_index", map_index.0.to_string()));
        }
        attributes
    }

    fn key_of_try(key: &RunKey, token: &Token) -> TryKey {
        let (task_id, map_index, try_number, leg) = token.clone();
        let (dag_id, run_id) = (key.dag_id.clone(), key.run_id.clone());
        TryKey { dag_id, run_id, task_id, map_index, try_number, leg }
    }

    fn span_of_try(key: &RunKey, due: Timestamp, token: &Token) -> [u8; 8] {
        try_span("try", &Self::key_of_try(key, token), due)
    }

    fn of_try(&self, key: &RunKey, what: &str, token: &Token) -> Span {
        let attributes = Self::attributes_of_try(key, token);
        let task_id = &token.0;
        let name = if what == "try" { task_id.to_string() } else { format!("{what} {task_id}") };
        Span {
            trace_id: self.trace_id,
            span_id: try_span(what, &Self::key_of_try(key, token), self.due),
            parent: Some(self.span_id(key)),
            name,
            start: Timestamp(0),
            end: Timestamp(0),
            attributes,
            error: None,
            links: Vec::new(),
        }
    }
}

impl Spans {
    /// Takes a record in, and says which spans are over with it.
    pub fn take(&mut self, record: &Record, say: &mut Vec<Span>) {
        let Scope::Run(key) = &record.scope else { return };
        let at = record.decided_at();
        for fact in &record.facts {
            self.fact(key, at, record, fact, say);
        }
    }

    fn fact(
        &mut self,
        key: &RunKey,
        at: Timestamp,
        record: &Record,
        fact: &Fact,
        say: &mut Vec<Span>,
    ) {
        match fact {
            Fact::RunCreated(created) => self.created(key, at, record, created),
            Fact::RunCleared(_) => self.goes_on(key, at),
            Fact::RunDeleted(_) => {
                self.runs.remove(key);
                self.forget(key);
            }
            Fact::RunTimedOut(it) if it.teardowns_left => self.ending(key, false),
            Fact::RunCancelled(it) if it.teardowns_left => self.ending(key, true),
            Fact::RunSucceeded(_) => self.ended(key, at, "success", None, say),
            Fact::RunFailed(_) => self.ended(key, at, "failure", Some("a task failed"), say),
            Fact::RunTimedOut(_) => self.ended(key, at, "timeout", Some("it took too long"), say),
            Fact::RunCancelled(_) => {
                self.ended(key, at, "cancellation", Some("it was cancelled"), say);
            }
            Fact::RunMarked(it) if !it.teardowns_left && it.state == RunMark::Failed => {
                self.ended(key, at, "failure", Some("it was marked as failed"), say);
            }
            Fact::RunMarked(it) if !it.teardowns_left => self.ended(key, at, "success", None, say),
            fact => self.of_try(key, at, fact, say),
        }
    }

    fn of_try(&mut self, key: &RunKey, at: Timestamp, fact: &Fact, say: &mut Vec<Span>) {
        let Some(run) = self.runs.get_mut(key) else { return };
        let is_sampled = run.is_sampled;
        let mut spans = Vec::new();
        match fact {
            Fact::TaskQueued(f) => {
                let copy = run.copy(&f.task_id, f.map_index);
                (copy.queued, copy.started, copy.deferred) = (Some(at), None, None);
                copy.begun = None;
            }
            Fact::TryStarted(f) => {
                let copy = run.copy(&f.task_id, f.map_index);
                (copy.executor, copy.host) = (f.executor.to_string(), f.hostname.clone());
                copy.started = Some(f.started_at);
                copy.begun = Some(((f.try_number, f.leg), f.started_at));
                if let Some(queued) = copy.queued {
                    let token = (f.task_id.clone(), f.map_index, f.try_number, f.leg);
                    let mut span = run.of_try(key, "queued", &token);
                    (span.start, span.end) = (queued, f.started_at.max(queued));
                    spans.push(span);
                }
            }
            Fact::TriggerFired(f) => {
                let token = (f.task_id.clone(), f.map_index, f.try_number, f.leg);
                spans.extend(waited(run, key, &token, f.fired_at, None));
            }
            Fact::HitlAnswered(f) => {
                let token = (f.task_id.clone(), f.map_index, f.try_number, f.leg);
                spans.extend(waited(run, key, &token, f.at, None));
            }
            Fact::TriggerFailed(f) => {
                let token = (f.task_id.clone(), f.map_index, f.try_number, f.leg);
                let why = Some("its trigger came to nothing".to_owned());
                spans.extend(waited(run, key, &token, at, why));
            }
            fact => {
                if let Some(end) = end_of(fact, at) {
                    let is_deferred = matches!(fact, Fact::TryDeferred(_));
                    spans.extend(leg_ended(run, key, end, is_deferred));
                }
            }
        }
        if is_sampled {
            say.append(&mut spans);
        }
    }

    fn created(&mut self, key: &RunKey, at: Timestamp, record: &Record, created: &RunCreated) {
        let traceparent = record.trace.as_ref().map(|trace| trace.traceparent.as_str());
        let of = RunTrace::of(key, created.run_after, traceparent);
        let sources = created.asset_events.iter().filter_map(|event| event.source.as_ref());
        let links = sources.filter_map(|source| {
            let key = RunKey { dag_id: source.dag_id.clone(), run_id: source.run_id.clone() };
            self.last_of(&key, &source.task_id, source.map_index)
        });
        let run = Run {
            trace_id: of.trace_id,
            parent: of.parent,
            is_sampled: of.flags & 1 == 1,
            due: created.run_after,
            round: 0,
            begun: at,
            is_said: false,
            by: who(&record.by),
            ending: None,
            links: links.collect(),
            copies: BTreeMap::new(),
        };
        self.forget(key);
        self.runs.insert(key.clone(), run);
    }

    /// What a run that a task of another one led to is linked to: the task's last leg, or its run.
    fn last_of(&self, key: &RunKey, task: &TaskId, map_index: MapIndex) -> Option<Link> {
        if let Some(run) = self.runs.get(key) {
            let copy = run.copies.get(task).and_then(|it| it.get(&map_index));
            let last = copy.and_then(|copy| copy.before);
            return Some((run.trace_id, last.unwrap_or_else(|| run.span_id(key))));
        }
        let run = self.over.get(key)?;
        let last = run.last.get(task).and_then(|it| it.get(&map_index)).copied();
        Some((run.trace_id, last.unwrap_or_else(|| run_span(key, run.due, run.round))))
    }

    /// A run that was over goes on, in its trace, as another span that names the one before. One that was about to end
    /// goes on as if nothing had been.
    fn goes_on(&mut self, key: &RunKey, at: Timestamp) {
        if let Some(run) = self.runs.get_mut(key) {
            run.ending = None;
        }
        let Some(over) = self.forget(key) else { return };
        let before = run_span(key, over.due, over.round);
        let mut copies = BTreeMap::<_, BTreeMap<_, _>>::new();
        for (task, last) in over.last {
            let of = |(index, span)| (index, Copy { before: Some(span), ..Copy::default() });
            copies.insert(task, last.into_iter().map(of).collect());
        }
        let run = Run {
            trace_id: over.trace_id,
            parent: over.parent,
            is_sampled: over.is_sampled,
            due: over.due,
            round: over.round + 1,
            begun: at,
            is_said: false,
            by: over.by,
            ending: None,
            links: vec![(over.trace_id, before)],
            copies,
        };
        self.runs.insert(key.clone(), run);
    }

    fn ending(&mut self, key: &RunKey, cancelled: bool) {
        if let Some(run) = self.runs.get_mut(key) {
            run.ending = Some(cancelled);
        }
    }

    /// Of a run that is over only ids are kept: there are many.
    fn keep(&mut self, key: &RunKey, run: Run) {
        let (mut last, mut count) = (BTreeMap::<_, BTreeMap<_, _>>::new(), 0);
        for (task, copies) in run.copies {
            let ids: BTreeMap<_, _> = copies
                .into_iter()
                .filter_map(|(index, copy)| Some((index, copy.before?)))
                .collect();
            count += ids.len();
            if !ids.is_empty() {
                last.insert(task, ids);
            }
        }
        if count > COPIES_OF_ONE {
            (last, count) = (BTreeMap::new(), 0);
        }
        self.copies += count;
        self.ends += 1;
        let Run { trace_id, parent, is_sampled, due, round, by, .. } = run;
        let number = self.ends;
        let over = Over { number, trace_id, parent, is_sampled, due, round, by, last };
        self.over.insert(key.clone(), over);
        self.order.push_back((number, key.clone()));
        while self.order.len() > KNOWN || self.copies > KNOWN_COPIES {
            let Some((number, oldest)) = self.order.pop_front() else { return };
            // It may have ended once more since.
            if self.over.get(&oldest).is_some_and(|over| over.number == number) {
                self.forget(&oldest);
            }
        }
    }

    fn forget(&mut self, key: &RunKey) -> Option<Over> {
        let over = self.over.remove(key)?;
        self.copies -= over.last.values().map(BTreeMap::len).sum::<usize>().min(self.copies);
        Some(over)
    }

    fn ended(
        &mut self,
        key: &RunKey,
        at: Timestamp,
        result: &'static str,
        error: Option<&str>,
        say: &mut Vec<Span>,
    ) {
        let Some(mut run) = self.runs.remove(key) else { return };
        let (result, error) = match run.ending {
            Some(true) if result == "failure" => ("cancellation", Some("it was cancelled")),
            Some(false) if result == "failure" => ("timeout", Some("it took too long")),
            _ => (result, error),
        };
        let mut attributes = Run::attributes(key);
        attributes.push(("cicd.pipeline.result", result.to_owned()));
        attributes.push(("dagbok.triggered_by", run.by.clone()));
        if run.is_sampled {
            say.push(Span {
                trace_id: run.trace_id,
                span_id: run.span_id(key),
                parent: run.parent,
                name: format!("run {}", key.dag_id),
                start: run.begun,
                end: at.max(run.begun),
                attributes,
                error: error.map(str::to_owned),
                links: std::mem::take(&mut run.links),
            });
        }
        self.keep(key, run);
    }
}

fn who(by: &Actor) -> String {
    match by {
        Actor::Scheduler => "scheduler".to_owned(),
        Actor::Schedule => "schedule".to_owned(),
        Actor::Processor => "processor".to_owned(),
        Actor::Executor(id) => id.to_string(),
        Actor::User(name) | Actor::Token(name) => name.clone(),
    }
}

/// The wait for a trigger is over.
fn waited(
    run: &mut Run,
    key: &RunKey,
    token: &Token,
    at: Timestamp,
    error: Option<String>,
) -> Option<Span> {
    let from = run.copy(&token.0, token.1).deferred.take()?;
    let mut span = run.of_try(key, "deferred", token);
    (span.start, span.end, span.error) = (from, at.max(from), error);
    Some(span)
}

fn leg_ended(run: &mut Run, key: &RunKey, end: End, is_deferred: bool) -> Option<Span> {
    let End { token, at, result, error } = end;
    let mut span = run.of_try(key, "try", &token);
    let trace_id = run.trace_id;
    let copy = run.copy(&token.0, token.1);
    copy.deferred = is_deferred.then_some(at);
    copy.begun = None;
    // What was never begun took no time.
    let started = copy.started.take()?;
    span.links.extend(copy.before.replace(span.span_id).map(|before| (trace_id, before)));
    span.attributes.push(("dagbok.executor", copy.executor.clone()));
    span.attributes.push(("host.name", copy.host.clone()));
    span.attributes.push(("cicd.pipeline.task.run.result", result.to_owned()));
    (span.start, span.end, span.error) = (started, at.max(started), error);
    Some(span)
}
