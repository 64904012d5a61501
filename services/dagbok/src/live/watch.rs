//! Follows one run on the log: tells of each change and each line of its tasks, in the order in which
//! they become known, until the run is over and its lines are all told.
use std::collections::BTreeMap;

use dagbok_events::{Fact, Leg, LogRef, Record, RunKey, Scope, TaskId, TryKey, TryNumber};
use dagbok_executor::LogLine;
use dagbok_projection::decode_or_nothing;
use dagbok_protocol::names::DAG_CALLBACK;
use dagbok_runlog::{Ports, Seq};
use futures::StreamExt as _;
use tokio::sync::mpsc::{self, UnboundedSender};

use super::{
    lines::{self, Follower},
    run_view::{Change, RunView, TaskCopy},
};
use crate::{codes::Code, failure::Failure};

/// Something to tell.
#[derive(Debug)]
pub(crate) enum News {
    /// A change of the run or of a task, with the instant of its record.
    Change(dagbok_events::Timestamp, Change),
    /// A line of a try.
    Line(TryKey, LogLine),
}

type Followers = BTreeMap<TryKey, Follower>;

/// Follows `run` from the record after `after` on until it is over; with the callback of the DAG that such an end calls
/// for, where `calls` says so of it. `view` is how it is, also where this is given up before.
pub(crate) async fn watch(
    ports: &Ports,
    run: &RunKey,
    after: Seq,
    calls: impl Fn(&str) -> bool,
    view: &mut RunView,
    mut tell: impl FnMut(&RunView, News),
) -> Result<(), Failure> {
    let mut entries = ports.log.follow(after);
    let (line_in, mut line_out) = mpsc::unbounded_channel();
    let mut followers = Followers::new();
    while !view.is_told(&calls) {
        tokio::select! {
            biased;
            Some((key, line)) = line_out.recv() => tell(view, News::Line(key, line)),
            batch = entries.next() => {
                let batch = batch.ok_or_else(|| Failure::new(Code::Bug, "the log's stream ended"))?;
                let batch = batch.map_err(|error| Failure::of_service(&error))?;
                for entry in batch {
                    let record = decode_or_nothing(&entry.payload).map_err(|error| Failure::from_error(Code::LogNewer, &error))?;
                    if record.scope == Scope::Run(run.clone()) {
                        for (at, change) in take(ports, run, &record, view, &mut followers, &line_in).await {
                            // Lines of a try come before the word of its end.
                            while let Ok((key, line)) = line_out.try_recv() {
                                tell(view, News::Line(key, line));
                            }
                            tell(view, News::Change(at, change));
                        }
                    }
                }
            }
        }
    }
    for follower in followers.values() {
        follower.stop();
    }
    drop(line_in);
    while let Ok((key, line)) = line_out.try_recv() {
        tell(view, News::Line(key, line));
    }
    Ok(())
}

/// Folds a record in, begins to follow tries that began, and takes the rest of those that ended.
async fn take(
    ports: &Ports,
    run: &RunKey,
    record: &Record,
    view: &mut RunView,
    followers: &mut Followers,
    line_in: &UnboundedSender<(TryKey, LogLine)>,
) -> Vec<(dagbok_events::Timestamp, Change)> {
    let mut changes = Vec::new();
    for fact in &record.facts {
        if let Fact::TryStarted(start) = fact {
            let key = key_of(run, &start.task_id, start.map_index, (start.try_number, start.leg));
            let follower = Follower::start(
                ports.clone(),
                start.executor.clone(),
                key.clone(),
                line_in.clone(),
            );
            followers.insert(key, follower);
        }
        if let Fact::DagCallbackStarted(start) = fact {
            let Some(key) = callback_key(run, start.number, start.attempt) else { continue };
            let (executor, lines) = (start.executor.clone(), line_in.clone());
            let follower = Follower::start(ports.clone(), executor, key.clone(), lines);
            followers.insert(key, follower);
        }
        if let Some((key, log)) = end_of(run, fact) {
            let (seen, all) = match followers.remove(&key) {
                Some(follower) => follower.end().await,
                None => (0, false),
            };
            if let (false, Some(log)) = (all, log) {
                lines::rest(ports, &key, log, seen, line_in).await;
            }
        }
        match view.apply(record.decided_at(), fact) {
            Change::Quiet => {}
            change => changes.push((record.decided_at(), change)),
        }
        if let Fact::TryDeferred(f) = fact
            && let Some(ask) = &f.ask
        {
            let copy = TaskCopy::of(&f.task_id, f.map_index);
            changes.push((record.decided_at(), Change::Asked(copy, ask.clone())));
        }
    }
    changes
}

fn key_of(
    run: &RunKey,
    task: &TaskId,
    map_index: dagbok_events::MapIndex,
    (try_number, leg): (TryNumber, Leg),
) -> TryKey {
    TryKey {
        dag_id: run.dag_id.clone(),
        run_id: run.run_id.clone(),
        task_id: task.clone(),
        map_index,
        try_number,
        leg,
    }
}

/// What a call of a DAG's callback is known by.
fn callback_key(run: &RunKey, number: u16, attempt: Leg) -> Option<TryKey> {
    let task = TaskId::new(DAG_CALLBACK).expect("a constant within the rules");
    let number = TryNumber::new(number)?;
    Some(key_of(run, &task, dagbok_events::MapIndex::UNMAPPED, (number, attempt)))
}

/// The try that a fact ended, and its log.
fn end_of<'a>(run: &RunKey, fact: &'a Fact) -> Option<(TryKey, Option<&'a LogRef>)> {
    Some(match fact {
        Fact::TrySucceeded(f) => {
            (key_of(run, &f.task_id, f.map_index, (f.try_number, f.leg)), f.log.as_ref())
        }
        Fact::TryFailed(f) => {
            (key_of(run, &f.task_id, f.map_index, (f.try_number, f.leg)), f.log.as_ref())
        }
        Fact::TrySkipped(f) => {
            (key_of(run, &f.task_id, f.map_index, (f.try_number, f.leg)), f.log.as_ref())
        }
        Fact::TryDeferred(f) => {
            (key_of(run, &f.task_id, f.map_index, (f.try_number, f.leg)), f.log.as_ref())
        }
        Fact::TryRescheduled(f) => {
            (key_of(run, &f.task_id, f.map_index, (f.try_number, f.leg)), f.log.as_ref())
        }
        Fact::DagCallbackSucceeded(f) => (callback_key(run, f.number, f.attempt)?, f.log.as_ref()),
        Fact::DagCallbackFailed(f) => (callback_key(run, f.number, f.attempt)?, f.log.as_ref()),
        Fact::DagCallbackLost(f) => (callback_key(run, f.number, f.attempt)?, f.log.as_ref()),
        Fact::TryLost(f) => (key_of(run, &f.task_id, f.map_index, (f.try_number, f.leg)), None),
        Fact::TryCancelled(f) => {
            (key_of(run, &f.task_id, f.map_index, (f.try_number, f.leg)), None)
        }
        _ => return None,
    })
}
