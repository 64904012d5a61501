//! Traces of runs, as a fold of the log: a span for each run, within the trace of whoever triggered it,
//! and one inside for each try. Times are the facts' own. Runs that began before this process did are
//! left out: their beginning is in the log, and was exported by who ran then.
use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use dagbok_events::{
    Fact, Leg, MapIndex, Record, RunKey, RunMark, Scope, TaskId, Timestamp, TryNumber, TryStarted,
    decode,
};
use dagbok_runlog::{RunLog, Seq};
use dagbok_runtime::Shutdown;
use dagbok_telemetry::{Attribute, Recorded, traces_are_exported};
use futures::StreamExt as _;

/// The pause before a log that failed is asked again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the end may take to come by, once the end is asked for.
const LAST: Duration = Duration::from_secs(2);
/// Runs that are followed; above it new ones are not.
const REMEMBERED: usize = 10_000;

#[derive(Debug)]
struct Run {
    span: Recorded,
    tries: BTreeMap<(TaskId, MapIndex, (TryNumber, Leg)), Recorded>,
}

type Runs = BTreeMap<RunKey, Run>;

/// Exports spans until the end is asked for and what is in the log by then is exported too. Waits for the
/// end without doing anything where nothing is exported.
///
/// Where it begins is settled when this returns, so that a run made right after is seen, however late the
/// exporter itself gets its turn.
pub(crate) async fn export_runs(
    log: Arc<dyn RunLog>,
    shutdown: Shutdown,
) -> impl Future<Output = Result<(), Infallible>> {
    let from = if traces_are_exported() { log.last().await.ok() } else { None };
    export(log, shutdown, from)
}

async fn export(
    log: Arc<dyn RunLog>,
    shutdown: Shutdown,
    mut after: Option<Seq>,
) -> Result<(), Infallible> {
    if !traces_are_exported() {
        shutdown.started().await;
        return Ok(());
    }
    let mut runs = Runs::new();
    while !shutdown.is_started() {
        if after.is_none() {
            after = log.last().await.ok();
        }
        tokio::select! {
            () = follow_if_known(&*log, &mut runs, after.as_mut()) => tokio::time::sleep(PAUSE).await,
            () = shutdown.started() => {}
        }
    }
    if let (Some(mut seen), Ok(last)) = (after, log.last().await) {
        // What does not come in time is not exported; the log has it.
        let _ = tokio::time::timeout(LAST, follow(&*log, &mut runs, &mut seen, Some(last))).await;
    }
    Ok(())
}

/// Follows from where is known; a log that did not say where it ends is asked again after the pause.
async fn follow_if_known(log: &dyn RunLog, runs: &mut Runs, seen: Option<&mut Seq>) {
    if let Some(seen) = seen {
        follow(log, runs, seen, None).await;
    }
}

/// Folds entries in until the stream breaks, or `last` is seen.
async fn follow(log: &dyn RunLog, runs: &mut Runs, seen: &mut Seq, last: Option<Seq>) {
    let mut entries = log.follow(*seen);
    while last.is_none_or(|last| *seen < last) {
        let Some(Ok(batch)) = entries.next().await else { return };
        for entry in batch {
            *seen = entry.seq;
            if entry.subject.starts_with("log.run.")
                && let Ok(record) = decode(&entry.payload)
                && let Scope::Run(key) = &record.scope
            {
                fold(runs, key, &record);
            }
        }
    }
}

fn fold(runs: &mut Runs, key: &RunKey, record: &Record) {
    for fact in &record.facts {
        match fact {
            Fact::RunCreated(_) if runs.len() < REMEMBERED => {
                let attributes = run_attributes(key);
                let name = format!("run {}", key.dag_id);
                if let Some(span) =
                    Recorded::begin(name, record.decided_at(), record.trace.as_ref(), attributes)
                {
                    runs.insert(key.clone(), Run { span, tries: BTreeMap::new() });
                }
            }
            Fact::TryStarted(f) => began(runs, key, f),
            Fact::TrySucceeded(f) => {
                end(runs, key, (&f.task_id, f.map_index, (f.try_number, f.leg)), f.ended_at, None);
            }
            Fact::TryDeferred(f) => {
                end(runs, key, (&f.task_id, f.map_index, (f.try_number, f.leg)), f.ended_at, None);
            }
            Fact::TryRescheduled(f) => {
                end(runs, key, (&f.task_id, f.map_index, (f.try_number, f.leg)), f.ended_at, None);
            }
            Fact::TrySkipped(f) => {
                end(runs, key, (&f.task_id, f.map_index, (f.try_number, f.leg)), f.ended_at, None);
            }
            Fact::TryFailed(f) => {
                let why = Some(f.failure.message.clone());
                end(runs, key, (&f.task_id, f.map_index, (f.try_number, f.leg)), f.ended_at, why);
            }
            Fact::TryLost(f) => {
                let why = Some("its executor was lost".to_owned());
                end(
                    runs,
                    key,
                    (&f.task_id, f.map_index, (f.try_number, f.leg)),
                    record.decided_at(),
                    why,
                );
            }
            Fact::TryCancelled(f) => {
                let why = Some("its run was ended".to_owned());
                end(
                    runs,
                    key,
                    (&f.task_id, f.map_index, (f.try_number, f.leg)),
                    record.decided_at(),
                    why,
                );
            }
            Fact::RunSucceeded(_) => over(runs, key, record.decided_at(), None),
            Fact::RunFailed(_) => {
                over(runs, key, record.decided_at(), Some("a task failed".to_owned()));
            }
            Fact::RunTimedOut(f) if !f.teardowns_left => {
                over(runs, key, record.decided_at(), Some("it took too long".to_owned()));
            }
            Fact::RunCancelled(f) if !f.teardowns_left => {
                over(runs, key, record.decided_at(), Some("it was cancelled".to_owned()));
            }
            Fact::RunMarked(f) if !f.teardowns_left => {
                let failed = f.state == RunMark::Failed;
                let why = failed.then(|| "it was marked as failed".to_owned());
                over(runs, key, record.decided_at(), why);
            }
            _ => {}
        }
    }
}

fn began(runs: &mut Runs, key: &RunKey, started: &TryStarted) {
    let Some(run) = runs.get_mut(key) else { return };
    let mut attributes = run_attributes(key);
    attributes.push(("dagbok.task_id", started.task_id.to_string()));
    attributes.push(("dagbok.try_number", started.try_number.to_string()));
    attributes.push(("dagbok.executor", started.executor.to_string()));
    attributes.push(("host.name", started.hostname.clone()));
    let span = run.span.inside(started.task_id.to_string(), started.started_at, attributes);
    if let Some(span) = span {
        let execution = (started.try_number, started.leg);
        run.tries.insert((started.task_id.clone(), started.map_index, execution), span);
    }
}

fn run_attributes(key: &RunKey) -> Vec<Attribute> {
    vec![("dagbok.dag_id", key.dag_id.to_string()), ("dagbok.run_id", key.run_id.to_string())]
}

fn end(
    runs: &mut Runs,
    key: &RunKey,
    (task, map_index, number): (&TaskId, MapIndex, (TryNumber, Leg)),
    at: Timestamp,
    error: Option<String>,
) {
    let found =
        runs.get_mut(key).and_then(|run| run.tries.remove(&(task.clone(), map_index, number)));
    if let Some(span) = found {
        span.end(at, error);
    }
}

fn over(runs: &mut Runs, key: &RunKey, at: Timestamp, error: Option<String>) {
    if let Some(run) = runs.remove(key) {
        for span in run.tries.into_values() {
            span.end(at, error.clone());
        }
        run.span.end(at, error);
    }
}
