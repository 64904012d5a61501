//! The calls of DAGs' callbacks.
use axum::{Json, extract::State};

use super::{
    errors::ApiError,
    extract::{InPath, run_key},
    state::ApiState,
    view::dag_callback,
};
use crate::shapes::{DagCallbackCollection, Detail};

/// The calls of a DAG's callbacks for a run: one for each of its ends that called for one. What one wrote is the log of
/// the task `__dag_callback__`, its number that of the try.
#[utoipa::path(get, path = "/api/v2/dagbok/callbacks/{dag_id}/{dag_run_id}", tag = "Dagbok",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path)),
    responses((status = 200, body = DagCallbackCollection), (status = 404, body = Detail),
    (status = 422, body = Detail)
))]
pub(crate) async fn of_run(
    State(state): State<ApiState>,
    InPath((dag, run)): InPath<(String, String)>,
) -> Result<Json<DagCallbackCollection>, ApiError> {
    let found = state.read(move |store| {
        let key = run_key(&dag, &run)?;
        let of = store.run(&key)?.ok_or_else(|| ApiError::no_run(&dag, &run))?;
        let rows = store.dag_callbacks(&key)?;
        Ok::<_, ApiError>(rows.iter().filter_map(|row| dag_callback(&of, &row.0)).collect())
    });
    Ok(Json(DagCallbackCollection { callbacks: found.await? }))
}
