//! Runs.
use std::collections::BTreeMap;

use dagbok_events::{Actor, Interval, Payload, RunType, Timestamp};
use serde_json::value::RawValue;

use super::{display_name, version_info, when, word};
use crate::{
    model::rows::{RunEnd, RunInputRow, RunRow, VersionRow},
    shapes::{RunExtra, RunResponse, seconds},
};

/// An actor's name for people, as events have it.
pub(crate) fn actor_name(actor: &Actor) -> String {
    match actor {
        Actor::User(name) | Actor::Token(name) => name.clone(),
        Actor::Executor(id) => id.to_string(),
        Actor::Scheduler => "scheduler".to_owned(),
        Actor::Schedule => "schedule".to_owned(),
        Actor::Processor => "processor".to_owned(),
    }
}

const fn triggered_by(run: &RunRow) -> &'static str {
    if run.backfill_id.is_some() {
        return "backfill";
    }
    match (run.run_type, &run.created_by) {
        (RunType::Backfill, _) => "backfill",
        (RunType::AssetTriggered, _) => "asset",
        (RunType::Scheduled, _) | (RunType::Manual, Actor::Schedule | Actor::Scheduler) => {
            "timetable"
        }
        (RunType::Manual, _) => "rest_api",
    }
}

/// A run, with the input that is shown: `conf` is an object where it is at hand.
pub(crate) fn run_response(
    run: &RunRow,
    version: Option<&VersionRow>,
    conf: Option<Box<RawValue>>,
    note: Option<String>,
) -> RunResponse {
    let end = |pick: fn(Interval) -> Timestamp| when(run.data_interval.map(pick));
    let user = matches!(run.created_by, Actor::User(_) | Actor::Token(_));
    RunResponse {
        dag_run_id: run.run_id.to_string(),
        dag_id: run.dag_id.to_string(),
        logical_date: when(run.logical_date),
        queued_at: Some(run.queued_at.into()),
        start_date: when(run.start_date),
        end_date: when(run.end_date),
        duration: seconds(run.start_date, run.end_date),
        data_interval_start: end(|interval| interval.start),
        data_interval_end: end(|interval| interval.end),
        run_after: run.run_after.into(),
        last_scheduling_decision: Some(run.updated_at.into()),
        run_type: word(&run.run_type),
        state: run.state.word().to_owned(),
        triggered_by: Some(triggered_by(run).to_owned()),
        triggering_user_name: user.then(|| actor_name(&run.created_by)),
        conf,
        note,
        dag_versions: version.map(|row| version_info(run.version, row)).into_iter().collect(),
        bundle_version: Some(run.bundle.to_string()),
        dag_display_name: version
            .map_or_else(|| run.dag_id.to_string(), |row| display_name(&row.spec)),
        partition_key: run.partition.as_ref().map(|it| it.key.clone()),
        partition_date: run.partition.as_ref().and_then(|it| it.date).map(Into::into),
        dagbok: run_extra(run, version),
    }
}

fn run_extra(run: &RunRow, version: Option<&VersionRow>) -> RunExtra {
    let mut counts: BTreeMap<String, u32> =
        run.counts.iter().map(|(state, count)| (state.word().to_owned(), *count)).collect();
    let stateless = run.stateless();
    if stateless > 0 {
        *counts.entry("none".to_owned()).or_default() += stateless;
    }
    RunExtra {
        tasks: run.tasks,
        counts,
        ended: run.end.map(|end: RunEnd| word(&end)),
        ended_by: run.ended_by.as_ref().map(actor_name),
        reason: run.end_reason.clone(),
        dagrun_timeout: version
            .and_then(|row| row.spec.dagrun_timeout)
            .map(|limit| limit.to_std().as_secs_f64()),
        failed_tasks: failed_tasks(run),
        refused_reports: run.refused,
        backfill_id: run.backfill_id.map(|id| id.0),
        created_seq: run.created_seq,
        last_seq: run.last_seq,
    }
}

/// The names of tasks that failed; of a mapped one its name once.
fn failed_tasks(run: &RunRow) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (task_id, _) in &run.failed {
        if !names.iter().any(|name| name == task_id.as_str()) {
            names.push(task_id.to_string());
        }
    }
    names
}

/// The conf and note that can be shown without asking the blobs.
pub(crate) fn inline_input(input: Option<RunInputRow>) -> (Option<Box<RawValue>>, Option<String>) {
    let Some(RunInputRow { conf, note }) = input else { return (None, None) };
    let conf = match conf {
        Some(Payload::Inline(text)) => RawValue::from_string(text).ok(),
        Some(Payload::Blob { .. }) | None => None,
    };
    (conf, note)
}
