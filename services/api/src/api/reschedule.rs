//! Promises made anew by the clock and the schedule as they are.
use std::collections::BTreeMap;

use axum::{Json, extract::State};
use dagbok_events::DagId;
use dagbok_protocol::CommandBody;

use super::{
    errors::ApiError,
    extract::{Caller, InPath, dag_id},
    state::ApiState,
    tell::tell,
};
use crate::{
    model::Store,
    shapes::{Detail, Rescheduled, RescheduledDag},
};

/// Airflow's word for every DAG.
const ALL: &str = "~";

fn promises(store: &Store) -> Result<BTreeMap<DagId, RescheduledDag>, ApiError> {
    let rows = store.dags()?.into_iter().filter(|row| row.disappeared_at.is_none());
    let promise = |row: crate::model::rows::DagRow| {
        let dag = RescheduledDag {
            dag_id: row.dag_id.to_string(),
            next_dagrun_run_after: row.expected.and_then(|run| run.due).map(|at| at.to_string()),
        };
        (row.dag_id, dag)
    };
    Ok(rows.map(promise).collect())
}

/// Makes the promise of a DAG's next run anew, by the clock and the schedule as they are: what a clock that was
/// wrong had promised is mended. `~` stands for every DAG. A promise that is due stays.
#[utoipa::path(post, path = "/api/v2/dags/{dag_id}/reschedule", tag = "DAG", params(("dag_id" = String, Path)),
    responses(
    (status = 200, body = Rescheduled), (status = 404, body = Detail),
    (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn reschedule(
    State(state): State<ApiState>,
    InPath(raw): InPath<String>,
    caller: Caller,
) -> Result<Json<Rescheduled>, ApiError> {
    let dag_id = if raw == ALL { None } else { Some(dag_id(&raw)?) };
    let before = state.read(promises).await?;
    tell(&state, caller, None, CommandBody::RenewPromises { dag_id }).await?;
    let after = state.read(promises).await?;
    let changed = after.into_iter().filter(|(id, dag)| before.get(id) != Some(dag));
    Ok(Json(Rescheduled { dags: changed.map(|(_, dag)| dag).collect() }))
}
