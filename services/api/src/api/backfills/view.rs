//! A backfill as it is shown.
use dagbok_events::{Actor, Payload, ReprocessBehavior};
use dagbok_protocol::BackfillRuns;
use serde_json::value::RawValue;

use crate::{
    api::{
        errors::ApiError,
        view::{actor_name, display_name, when, word},
    },
    model::{
        Store,
        rows::{BackfillRow, DagRow, RunState},
    },
    shapes::{BackfillExtra, BackfillResponse, ReprocessBehavior as Shown},
};

/// A backfill, without when its end is expected.
pub(super) fn shown(store: &Store, row: &BackfillRow) -> Result<BackfillResponse, ApiError> {
    let dag = store.dag(&row.dag_id)?;
    let version = match &dag {
        Some(dag) => store.version_shared(&row.dag_id, dag.version)?,
        None => None,
    };
    let conf = match &row.conf {
        Some(Payload::Inline(text)) => RawValue::from_string(text.clone()).ok(),
        Some(Payload::Blob { .. }) | None => None,
    };
    Ok(BackfillResponse {
        id: row.backfill_id.0,
        dag_id: row.dag_id.to_string(),
        from_date: row.from_date.into(),
        to_date: row.to_date.into(),
        dag_run_conf: conf,
        is_paused: row.paused.is_some(),
        reprocess_behavior: match row.reprocess_behavior {
            ReprocessBehavior::None => Shown::None,
            ReprocessBehavior::Failed => Shown::Failed,
            ReprocessBehavior::Completed => Shown::Completed,
        },
        max_active_runs: row.max_active_runs,
        created_at: row.created_at.into(),
        completed_at: row.end.as_ref().map(|end| end.at.into()),
        updated_at: row.updated_at.into(),
        dag_display_name: version
            .map_or_else(|| row.dag_id.to_string(), |version| display_name(&version.spec)),
        dagbok: extra(row, dag.as_ref()),
    })
}

fn extra(row: &BackfillRow, dag: Option<&DagRow>) -> BackfillExtra {
    let by_person = |by: &Actor| matches!(by, Actor::User(_) | Actor::Token(_));
    let (pause, end) = (row.paused.as_ref(), row.end.as_ref());
    let skipped = row.skipped.iter().map(|(why, count)| (word(why), *count)).collect();
    let state = match end {
        Some(end) if end.cancelled => "cancelled",
        Some(_) => "completed",
        None if pause.is_some() => "paused",
        None => "running",
    };
    let left = if end.is_some() { 0 } else { row.total.saturating_sub(row.seen_to()) };
    BackfillExtra {
        state: state.to_owned(),
        message: message(row, dag, left),
        run_backwards: row.run_backwards,
        total: row.total,
        done: row.count(RunState::Success),
        failed: row.count(RunState::Failed),
        running: row.count(RunState::Running),
        queued: row.count(RunState::Queued),
        skipped,
        left,
        next_logical_date: when(next(row).filter(|_| left > 0)),
        expected: None,
        created_by: actor_name(&row.created_by),
        reason: row.reason.clone(),
        paused_by: pause.map(|pause| actor_name(&pause.by)),
        pause_reason: pause.and_then(|pause| pause.reason.clone()),
        ended_by: end.filter(|end| by_person(&end.by)).map(|end| actor_name(&end.by)),
        end_reason: end.and_then(|end| end.reason.clone()),
        created_seq: row.created_seq,
    }
}

/// The date whose turn it is.
fn next(row: &BackfillRow) -> Option<dagbok_events::Timestamp> {
    let (runs, place) = (BackfillRuns::new(&row.runs), row.seen_to());
    let place =
        if row.run_backwards { runs.count().checked_sub(place)?.checked_sub(1)? } else { place };
    runs.get(place).map(|run| run.start)
}

/// How it stands and what keeps it.
fn message(row: &BackfillRow, dag: Option<&DagRow>, left: u32) -> String {
    let running = row.count(RunState::Running);
    let by = |by: &Actor, reason: Option<&String>| {
        let why = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("{}{why}", actor_name(by))
    };
    let goes_on =
        if running == 1 { "1 run goes on".to_owned() } else { format!("{running} runs go on") };
    if let Some(end) = &row.end {
        return match (end.cancelled, running) {
            (true, 0) => format!("cancelled by {}", by(&end.by, end.reason.as_ref())),
            (true, _) => {
                format!("cancelled by {}; {goes_on} to the end", by(&end.by, end.reason.as_ref()))
            }
            (false, _) => match row.count(RunState::Failed) {
                0 => "all its dates were seen to".to_owned(),
                1 => "all its dates were seen to; 1 run failed".to_owned(),
                failed => format!("all its dates were seen to; {failed} runs failed"),
            },
        };
    }
    let active = running + row.count(RunState::Queued);
    if let Some(pause) = &row.paused {
        let since = pause.at;
        let by = by(&pause.by, pause.reason.as_ref());
        return format!("paused since {since} by {by}; {goes_on}");
    }
    match dag {
        None => "its DAG is forgotten".to_owned(),
        Some(dag) if dag.disappeared_at.is_some() => {
            format!("no file defines its DAG any more: it goes on once one does; {goes_on}")
        }
        Some(dag) if dag.paused => {
            format!("its DAG is paused, and it waits: `dagbok dags unpause {}`", dag.dag_id)
        }
        Some(_) if left > 0 && active >= row.max_active_runs => format!(
            "{active} of its runs are active, as many as may be (its max_active_runs); {left} dates are left"
        ),
        Some(_) => format!("{goes_on}; {left} dates are left"),
    }
}
