//! Why a task that waits is not queued: a question to who decides, since the rows do not know.
use axum::{Json, extract::State};
use dagbok_inbox::Ask;
use dagbok_protocol::{Answer, CommandBody, Obstacle};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    api::{
        errors::ApiError,
        extract::{Caller, InPath, InQuery, map_index, run_key, task_id},
        state::ApiState,
    },
    shapes::{DateTime, Detail, TaskObstacle},
};

/// Which copy.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CopyQuery {
    /// Of a mapped task, from 0 on; -1 of one that is not.
    #[serde(default = "unmapped")]
    map_index: i32,
}

const fn unmapped() -> i32 {
    -1
}

/// Says what keeps a task from being queued: the first thing in its way, by the scheduler's own state.
#[utoipa::path(get,
    path = "/api/v2/dagbok/runs/{dag_id}/{dag_run_id}/tasks/{task_id}/obstacle", tag = "Dagbok",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path), ("task_id" = String, Path), CopyQuery),
    responses(
    (status = 200, body = TaskObstacle), (status = 404, body = Detail), (status = 409, body = Detail),
    (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn obstacle(
    State(state): State<ApiState>,
    InPath((dag, run, task)): InPath<(String, String, String)>,
    InQuery(query): InQuery<CopyQuery>,
    caller: Caller,
) -> Result<Json<TaskObstacle>, ApiError> {
    let (run, task_id) = (run_key(&dag, &run)?, task_id(&task)?);
    let map_index = map_index(Some(query.map_index));
    let (dag_id, run_id) = (run.dag_id, run.run_id);
    let body = CommandBody::WhyWaits { dag_id, run_id, task_id, map_index };
    let Caller { by, trace, .. } = caller;
    let ask = Ask { by, reason: None, trace, body };
    match state.inbox.ask(ask, state.patience.answer).await? {
        Answer::Waits { obstacle } => Ok(Json(shown(obstacle))),
        Answer::Refused(refusal) => Err(refusal.into()),
        other => Err(ApiError::bug(&format!("a question was answered with {other:?}"))),
    }
}

fn shown(obstacle: Option<Obstacle>) -> TaskObstacle {
    let (kind, message, due) = match obstacle {
        None => (None, "nothing keeps it: it does not wait, or is queued next".to_owned(), None),
        Some(Obstacle::RunQueued) => {
            (Some("run_queued"), "its run waits for its turn (max_active_runs)".to_owned(), None)
        }
        Some(Obstacle::Upstream) => {
            (Some("upstream"), "its upstream tasks are not done".to_owned(), None)
        }
        Some(Obstacle::NotDue { due }) => {
            (Some("not_due"), format!("it is to go on at {due}"), Some(DateTime(due)))
        }
        Some(Obstacle::DependsOnPast { logical_date }) => {
            let why = format!(
                "in the run before, of {logical_date}, its task or one that it looks at has not succeeded (depends_on_past)"
            );
            (Some("depends_on_past"), why, None)
        }
        Some(Obstacle::Paused) => (Some("paused"), "its DAG is paused".to_owned(), None),
        Some(Obstacle::MaxActiveTasks { most }) => {
            let why = format!("{most} tries of its DAG run or are queued (max_active_tasks)");
            (Some("max_active_tasks"), why, None)
        }
        Some(Obstacle::MaxActiveTisPerDag { most }) => {
            let why =
                format!("{most} tries of the task run or are queued (max_active_tis_per_dag)");
            (Some("max_active_tis_per_dag"), why, None)
        }
        Some(Obstacle::MaxActiveTisPerDagRun { most }) => {
            let why = format!(
                "{most} tries of it run or are queued in its run (max_active_tis_per_dagrun)"
            );
            (Some("max_active_tis_per_dagrun"), why, None)
        }
        Some(Obstacle::NoPool { pool }) => {
            let why = format!("there is no pool {pool}; `dagbok pools set` makes one");
            (Some("no_pool"), why, None)
        }
        Some(Obstacle::PoolTooSmall { pool, needs, slots }) => {
            let why =
                format!("it needs {needs} slots of the pool {pool}, which has {slots} in all");
            (Some("pool_too_small"), why, None)
        }
        Some(Obstacle::Pool { pool, needs, free }) => {
            let why = format!("it needs {needs} slots of the pool {pool}, and {free} are free");
            (Some("pool"), why, None)
        }
        Some(Obstacle::Parallelism { most }) => {
            let why = format!("{most} tries run or are queued in all (parallelism)");
            (Some("parallelism"), why, None)
        }
    };
    TaskObstacle { kind: kind.map(str::to_owned), message, due }
}
