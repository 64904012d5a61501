//! Runs that go for their age or number, by hand.
use axum::{Json, extract::State};
use dagbok_events::{DagId, Timestamp};

use super::{
    errors::ApiError,
    extract::{Caller, InBody, dag_id},
    state::ApiState,
};
use crate::{
    model::Store,
    retention::{COUNTED, Forgetting, Lapsing, Plan, Rules, Telling},
    shapes::{Detail, Forgotten, ForgottenOfRuns, Prune, Pruned, PrunedDag, Unnamed},
};

/// Runs that one request lets go.
const AT_ONCE: usize = 10_000;

/// Says which runs go by the rules that are given, or by those that the installation has where none is, and
/// lets them go unless it is only asked. One request does so many at most; `more` says whether to ask again.
#[utoipa::path(post, path = "/api/v2/dagbok/prune", tag = "Dagbok", request_body = Prune, responses(
    (status = 200, body = Pruned), (status = 400, body = Detail), (status = 404, body = Detail),
    (status = 422, body = Detail), (status = 503, body = Detail)
))]
pub(crate) async fn prune(
    State(state): State<ApiState>,
    caller: Caller,
    InBody(body): InBody<Prune>,
) -> Result<Json<Pruned>, ApiError> {
    let dag = body.dag_id.as_deref().map(dag_id).transpose()?;
    let rules = rules_of(&body, state.rules)?;
    let most = if body.dry_run { COUNTED } else { AT_ONCE };
    let (now, of, dry_run) = (state.clock.now(), dag.clone(), body.dry_run);
    let read = state.read(move |store| {
        let plan = plan_of(store, rules, (now, of.clone(), most))?;
        // What is of runs that go is not told of apart: where more of them go than now, it comes after them.
        let forgetting = if dry_run || plan.runs.len() < most {
            let of = (now, of.as_ref(), plan.runs.as_slice());
            Forgetting::plan(store, rules, of, Telling::All)?
        } else {
            Forgetting::default()
        };
        Ok((plan, forgetting))
    });
    let (plan, forgetting) = read.await?;
    let counted = plan.dags.iter().map(|(dag_id, going)| PrunedDag {
        dag_id: dag_id.to_string(),
        runs: going.runs,
        bytes: going.bytes,
        first_end_date: going.ended.map(|(first, _)| first.into()),
        last_end_date: going.ended.map(|(_, last)| last.into()),
    });
    let mut pruned = Pruned {
        dry_run: body.dry_run,
        runs: plan.count(),
        bytes: plan.dags.values().map(|going| going.bytes).sum(),
        dags: counted.collect(),
        more: plan.runs.len() == most,
        forgotten: Forgotten {
            dags: forgetting.dags.iter().map(ToString::to_string).collect(),
            versions: forgetting.versions.iter().map(|old| old.count).sum(),
            executors: forgetting.executors,
            reports: forgetting.reports,
            backfills: forgetting.backfills,
            logs: lapsing(forgetting.logs),
            xcoms: lapsing(forgetting.xcoms),
        },
        unnamed: None,
    };
    if body.dry_run {
        if let Some(unnamed_for) = rules.blobs {
            let found = state.keeper().unnamed(unnamed_for).await;
            pruned.unnamed =
                found.map(|it| Unnamed { of: it.blobs, blobs: it.unnamed, bytes: it.bytes });
        }
    } else {
        pruned.runs = state.keeper().delete(plan.runs, &caller.by, "prune").await;
        state.keeper().forget(forgetting, &caller.by, "prune").await;
        state.went.notify_one();
    }
    Ok(Json(pruned))
}

const fn lapsing(it: Lapsing) -> ForgottenOfRuns {
    ForgottenOfRuns { runs: it.runs, bytes: it.bytes, more: it.more }
}

fn plan_of(
    store: &Store,
    rules: Rules,
    (now, dag, most): (Timestamp, Option<DagId>, usize),
) -> Result<Plan, ApiError> {
    if let Some(dag_id) = &dag
        && store.dag(dag_id)?.is_none()
    {
        return Err(ApiError::no_dag(dag_id.as_str()));
    }
    Ok(Plan::make(store, rules, (now, dag.as_ref(), most))?)
}

fn rules_of(body: &Prune, ours: Rules) -> Result<Rules, ApiError> {
    if body.older_than_seconds.is_none() && body.keep_runs.is_none() {
        return Ok(ours);
    }
    let age = body.older_than_seconds.map(std::time::Duration::try_from_secs_f64).transpose();
    let age = age.map_err(|error| {
        ApiError::invalid("value_error", &["body", "older_than_seconds"], error)
    })?;
    Ok(Rules { runs: age, runs_per_dag: body.keep_runs, ..Rules::default() })
}
