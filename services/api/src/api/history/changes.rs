//! What people changed of a run's history.
use axum::{Json, extract::State};

use super::super::{
    errors::ApiError,
    extract::{InPath, run_key},
    state::ApiState,
    view::{actor_name, word},
};
use crate::{
    model::rows::TaskChangeRow,
    shapes::{Detail, RunChange, RunChangeCollection, TaskChange, TaskWasCount},
};

/// What people changed of a run's history, oldest first: who, why, and what was before.
#[utoipa::path(get, path = "/api/v2/dagbok/runs/{dag_id}/{dag_run_id}/changes", tag = "Dagbok",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path)),
    responses((status = 200, body = RunChangeCollection), (status = 404, body = Detail)
))]
pub(crate) async fn changes(
    State(state): State<ApiState>,
    InPath((dag, run)): InPath<(String, String)>,
) -> Result<Json<RunChangeCollection>, ApiError> {
    let key = run_key(&dag, &run)?;
    let rows = state.read(move |store| {
        let known = store.run(&key)?.is_some();
        let none = || ApiError::no_run(key.dag_id.as_str(), key.run_id.as_str());
        if known { Ok(store.changes(&key)?) } else { Err(none()) }
    });
    let changes: Vec<RunChange> = rows
        .await?
        .into_iter()
        .map(|row| RunChange {
            seq: row.seq,
            timestamp: row.at.into(),
            by: actor_name(&row.by),
            reason: row.reason,
            run: row.run,
            was: row.was,
            version: row.version.map(|(to, _)| to),
            version_was: row.version.map(|(_, from)| from),
            note: row.note,
            note_was: row.note_was,
            tasks: row.tasks.into_iter().map(task_change).collect(),
            more: row.more,
        })
        .collect();
    Ok(Json(RunChangeCollection { total_entries: changes.len(), changes }))
}

fn task_change(row: TaskChangeRow) -> TaskChange {
    let was = row.was.iter();
    TaskChange {
        task_id: row.task_id.to_string(),
        map_index: row.map_index.0,
        further: row.further,
        change: row.change,
        was: was.map(|it| TaskWasCount { state: word(&it.state), count: it.count }).collect(),
        note: row.note,
        note_was: row.note_was,
    }
}
