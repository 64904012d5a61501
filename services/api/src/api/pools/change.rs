//! Pools made, changed and deleted, one at a time.
use axum::{Json, extract::State, http::StatusCode};
use dagbok_events::{PoolName, PoolSet};
use dagbok_protocol::{CommandBody, PoolChange, PoolIs};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{DEFAULT, one};
use crate::{
    api::{
        errors::{ApiError, Problem},
        extract::{Caller, InBody, InPath, InQuery},
        state::ApiState,
        tell::tell,
    },
    shapes::{Detail, PoolBody, PoolPatch, PoolResponse},
};

/// Airflow's words for what the default pool does not take.
const ONLY_SLOTS: &str = "Only slots and included_deferred can be modified on Default Pool";

/// Makes a pool.
#[utoipa::path(post, path = "/api/v2/pools", tag = "Pool", request_body = PoolBody,
    responses((status = 201, body = PoolResponse), (status = 202, body = Detail), (status = 409, body = Detail),
    (status = 422, body = Detail), (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn post(
    State(state): State<ApiState>,
    caller: Caller,
    InBody(body): InBody<PoolBody>,
) -> Result<(StatusCode, Json<PoolResponse>), ApiError> {
    let name = body.name.clone();
    let change = PoolChange { only: Some(PoolIs::Missing), ..wanted(body, &["body"])? };
    tell(&state, caller, None, CommandBody::SetPool(change)).await?;
    let made = state.read(move |store| one(store, &name)).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// Which fields of the body count.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct PoolMask {
    /// `slots`, `description`, `include_deferred`; all of them where none is named.
    update_mask: Vec<String>,
}

/// Changes a pool.
#[utoipa::path(patch, path = "/api/v2/pools/{pool_name}", tag = "Pool",
    params(("pool_name" = String, Path), PoolMask), request_body = PoolPatch,
    responses((status = 200, body = PoolResponse), (status = 202, body = Detail), (status = 400, body = Detail),
    (status = 404, body = Detail), (status = 422, body = Detail), (status = 503, body = Detail),
    (status = 504, body = Detail)
))]
pub(crate) async fn patch(
    State(state): State<ApiState>,
    InPath(name): InPath<String>,
    InQuery(mask): InQuery<PoolMask>,
    caller: Caller,
    InBody(patch): InBody<PoolPatch>,
) -> Result<Json<PoolResponse>, ApiError> {
    if patch.pool.as_ref().is_some_and(|told| *told != name) {
        let why = "Invalid body, pool name from request body doesn't match uri parameter";
        return Err(ApiError::BadRequest(why.to_owned()));
    }
    let pool = PoolName::new(name.as_str())
        .map_err(|error| ApiError::invalid("value_error", &["path", "pool_name"], error))?;
    let change = changed(pool, patch, &mask.update_mask)?;
    tell(&state, caller, None, CommandBody::SetPool(change)).await?;
    state.read(move |store| one(store, &name)).await.map(Json)
}

/// Deletes a pool: tries that hold its slots go on, and tasks that want some wait until there is one again.
#[utoipa::path(delete, path = "/api/v2/pools/{pool_name}", tag = "Pool", params(("pool_name" = String, Path)),
    responses((status = 204), (status = 202, body = Detail), (status = 400, body = Detail),
    (status = 404, body = Detail), (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn delete(
    State(state): State<ApiState>,
    InPath(name): InPath<String>,
    caller: Caller,
) -> Result<StatusCode, ApiError> {
    remove(&state, &name, caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Has a pool be gone.
pub(super) async fn remove(state: &ApiState, name: &str, caller: Caller) -> Result<(), ApiError> {
    if name == DEFAULT {
        return Err(ApiError::BadRequest("Default Pool can't be deleted".to_owned()));
    }
    let missing = || ApiError::NotFound(format!("The Pool with name: `{name}` was not found"));
    let pool = PoolName::new(name).map_err(|_| missing())?;
    tell(state, caller, None, CommandBody::DeletePool { pool }).await.map(drop)
}

/// What a whole description of a pool asks for, or all that is wrong with it; `at` is where it stands.
pub(super) fn wanted(body: PoolBody, at: &[&str]) -> Result<PoolChange, ApiError> {
    let PoolBody { name, slots, description, include_deferred, team_name } = body;
    let place = |field: &'static str| [at, &[field]].concat();
    let mut problems = Vec::new();
    if name.contains('/') {
        let why = format!("a pool's name can't have a `/`, which parts addresses: `{name}`");
        problems.push(Problem::new("value_error", &place("name"), why));
    }
    let pool = PoolName::new(name);
    if let Err(error) = &pool {
        problems.push(Problem::new("value_error", &place("name"), error));
    }
    problems.extend(bad_slots(slots, &place("slots")));
    problems.extend(team_name.map(|_| no_teams(&place("team_name"))));
    let (Ok(pool), Some(slots), []) = (pool, slots_of(slots), &problems[..]) else {
        return Err(ApiError::Invalid(problems));
    };
    Ok(PoolChange { pool, slots: Some(slots), description, include_deferred, only: None })
}

fn changed(pool: PoolName, patch: PoolPatch, mask: &[String]) -> Result<PoolChange, ApiError> {
    let known = ["slots", "description", "include_deferred", "pool", "name", "team_name"];
    if let Some(unknown) = mask.iter().find(|field| !known.contains(&field.trim())) {
        let why =
            format!("`{unknown}` can't be changed; slots, description and include_deferred can");
        return Err(ApiError::BadRequest(why));
    }
    let counts = |field: &str| mask.is_empty() || mask.iter().any(|name| name.trim() == field);
    let slots = patch.slots.filter(|_| counts("slots"));
    let description = patch.description.filter(|_| counts("description"));
    let include_deferred = patch.include_deferred.filter(|_| counts("include_deferred"));
    if pool.as_str() == DEFAULT && description.is_some() {
        return Err(ApiError::BadRequest(ONLY_SLOTS.to_owned()));
    }
    let at = ["body", "slots"];
    let bad = slots.and_then(|slots| bad_slots(slots, &at));
    let team = patch.team_name.map(|_| no_teams(&["body", "team_name"]));
    let problems: Vec<Problem> = bad.into_iter().chain(team).collect();
    if !problems.is_empty() {
        return Err(ApiError::Invalid(problems));
    }
    Ok(PoolChange {
        pool,
        slots: slots.and_then(slots_of),
        description,
        include_deferred,
        only: Some(PoolIs::There),
    })
}

fn bad_slots(slots: i64, at: &[&str]) -> Option<Problem> {
    let most = PoolSet::UNLIMITED - 1;
    let msg = format!("slots must be -1, for no limit, or 0 to {most}, and not {slots}");
    slots_of(slots).is_none().then(|| Problem::new("greater_than_equal", at, msg))
}

fn no_teams(at: &[&str]) -> Problem {
    Problem::new("value_error", at, "team_name cannot be set: there are no teams")
}

/// A number of slots as the log has it.
fn slots_of(slots: i64) -> Option<u32> {
    match slots {
        -1 => Some(PoolSet::UNLIMITED),
        slots => u32::try_from(slots).ok().filter(|slots| *slots != PoolSet::UNLIMITED),
    }
}
