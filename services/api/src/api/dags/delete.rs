//! A DAG that no file has any more goes, with all its runs.
use axum::{extract::State, http::StatusCode};
use dagbok_protocol::CommandBody;
use serde_json::json;

use super::super::{
    errors::ApiError,
    extract::{Caller, InPath, dag_id},
    state::ApiState,
    tell::tell,
};
use crate::{retention::Plan, shapes::Detail};

/// Runs that one request lets go; whoever deletes a DAG with more asks again.
const AT_ONCE: usize = 2_000;
/// Why, on the records of its runs.
const WHY: &str = "its DAG is deleted";

/// Lets a DAG be gone, with its runs and versions. One that a file still defines, or that has a run which is not over,
/// stays (409). Where it has very many runs some go with each request: 202 says how many are left.
#[utoipa::path(delete, path = "/api/v2/dags/{dag_id}", tag = "DAG", params(("dag_id" = String, Path)), responses(
    (status = 204), (status = 202, body = Detail), (status = 400, body = Detail), (status = 404, body = Detail),
    (status = 409, body = Detail), (status = 422, body = Detail), (status = 503, body = Detail),
    (status = 504, body = Detail)
))]
pub(crate) async fn delete(
    State(state): State<ApiState>,
    InPath(raw): InPath<String>,
    caller: Caller,
) -> Result<StatusCode, ApiError> {
    let dag_id = dag_id(&raw)?;
    let of = dag_id.clone();
    let read = state.read(move |store| {
        let row = store.dag(&of)?.ok_or_else(|| ApiError::no_dag(of.as_str()))?;
        if row.disappeared_at.is_none() {
            let why = format!(
                "the DAG {of} is in {}; take it out of that file first: it would be there again at once",
                row.file
            );
            return Err(ApiError::Conflict(json!(why)));
        }
        let by_state = row.totals.runs_by_state();
        let all: u64 = by_state.values().sum();
        let open: u64 =
            by_state.iter().filter(|(state, _)| !state.is_over()).map(|(_, count)| count).sum();
        if open > 0 {
            let why = format!(
                "the DAG {of} has {open} runs that are not over; cancel them first, or wait for them"
            );
            return Err(ApiError::Conflict(json!(why)));
        }
        Ok((Plan::oldest_of(store, &of, AT_ONCE)?, all))
    });
    let (runs, all) = read.await?;
    if !runs.is_empty() {
        let gone = state.keeper().delete(runs, &caller.by, WHY).await;
        state.went.notify_one();
        let left = all.saturating_sub(gone);
        if gone == 0 {
            let why =
                format!("none of the {all} runs of the DAG {dag_id} went: no scheduler did it");
            return Err(ApiError::Unavailable(why));
        }
        if left > 0 {
            return Err(ApiError::Accepted(json!({
                "reason": "accepted",
                "runs_left": left,
                "message": format!("{gone} runs of the DAG {dag_id} went, and {left} are left: ask again"),
            })));
        }
    }
    tell(&state, caller, None, CommandBody::ForgetDag { dag_id }).await?;
    Ok(StatusCode::NO_CONTENT)
}
