//! Variables, as Airflow's API has them.
use std::collections::BTreeSet;

use axum::{Json, extract::State, http::StatusCode};
use dagbok_events::VariableKey;
use dagbok_protocol::{SecretChange, SecretIs};
use dagbok_secrets::{Entry, Ring};
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;
use zeroize::Zeroizing;

use super::{
    body::{self, InSecretBody, UpdateMask},
    bulk::{self, Action, Kind},
    masked, open,
    open::{NewVariable, set_variable},
};
use crate::{
    api::{
        errors::ApiError,
        extract::{Caller, InPath, InQuery},
        page::{Page, matches, orders, sort},
        state::ApiState,
        view::{actor_name, when},
    },
    model::rows::VariableRow,
    shapes::{
        BulkResponse, Detail, SecretExtra, VariableAction, VariableBody, VariableBulk,
        VariableCollection, VariablePatch, VariableResponse,
    },
};

fn missing(key: &str) -> ApiError {
    ApiError::NotFound(format!("The Variable with key: `{key}` was not found"))
}

fn key_of(raw: &str, at: &[&str]) -> Result<VariableKey, ApiError> {
    VariableKey::new(raw).map_err(|error| ApiError::invalid("value_error", at, error))
}

/// A row as it is shown; `value` is what it holds, or why nobody knows.
fn shown(row: &VariableRow, value: Result<&str, String>) -> VariableResponse {
    let (value, masked, problem) = match value {
        Ok(value) => {
            let (value, masked) = masked::variable(row.key.as_str(), value);
            (Some(value), masked, None)
        }
        Err(why) => (None, true, Some(why)),
    };
    VariableResponse {
        key: row.key.to_string(),
        value,
        description: row.description.clone(),
        is_encrypted: true,
        team_name: None,
        dagbok: SecretExtra {
            set_at: when(Some(row.set_at)),
            set_by: actor_name(&row.set_by),
            masked,
            problem,
        },
    }
}

fn opened(ring: &Result<Ring, String>, row: &VariableRow) -> Result<Zeroizing<String>, String> {
    let ring = ring.as_ref().map_err(Clone::clone)?;
    let value = ring.open(Entry::Variable(&row.key), &row.sealed);
    value.map(Zeroizing::new).map_err(|error| error.to_string())
}

/// Which variables are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct VariableQuery {
    /// Entries of the page.
    limit: Option<usize>,
    /// Entries before it.
    offset: Option<usize>,
    /// Those whose key has this in it; `%`, `_` and `|` as in Airflow.
    variable_key_pattern: Option<String>,
    /// Those whose key begins so.
    variable_key_prefix_pattern: Option<String>,
    /// `key`, `description`; by key where not said.
    order_by: Vec<String>,
}

/// Every variable that is on the log; what the environment and the tasks' secrets backends have is not among them.
#[utoipa::path(get, path = "/api/v2/variables", tag = "Variable", params(VariableQuery), responses(
    (status = 200, body = VariableCollection), (status = 400, body = Detail), (status = 422, body = Detail)
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    InQuery(query): InQuery<VariableQuery>,
) -> Result<Json<VariableCollection>, ApiError> {
    let orders = orders(&query.order_by, &["id", "key", "description", "is_encrypted"])?;
    let page = Page::new(query.limit, query.offset);
    let (ring, mut rows) = open::read_with_ring(&state, |store| Ok(store.variables()?)).await?;
    let ring = ring.map_err(|error| error.to_string());
    let pattern = query.variable_key_pattern.as_deref();
    rows.retain(|row| pattern.is_none_or(|pattern| matches(pattern, row.key.as_str())));
    let prefix = query.variable_key_prefix_pattern.as_deref().unwrap_or_default();
    rows.retain(|row| row.key.as_str().starts_with(prefix));
    sort(&mut rows, &orders, |row, field| match field {
        "description" => row.description.as_deref().unwrap_or_default().into(),
        _ => row.key.as_str().into(),
    });
    let (rows, total_entries) = page.cut(rows);
    let variables = rows.iter().map(|row| {
        let value = opened(&ring, row);
        shown(row, value.as_ref().map(|value| value.as_str()).map_err(Clone::clone))
    });
    Ok(Json(VariableCollection { variables: variables.collect(), total_entries }))
}

async fn one(state: &ApiState, key: &str) -> Result<VariableResponse, ApiError> {
    let known = VariableKey::new(key).map_err(|_| missing(key))?;
    let (row, value) = open::variable(state, known).await?.ok_or_else(|| missing(key))?;
    Ok(shown(&row, Ok(&value)))
}

/// One variable.
#[utoipa::path(get, path = "/api/v2/variables/{variable_key}", tag = "Variable",
    params(("variable_key" = String, Path)), responses(
    (status = 200, body = VariableResponse), (status = 404, body = Detail), (status = 409, body = Detail)
))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    InPath(key): InPath<String>,
) -> Result<Json<VariableResponse>, ApiError> {
    one(&state, &key).await.map(Json)
}

/// Makes a variable.
#[utoipa::path(post, path = "/api/v2/variables", tag = "Variable", request_body = VariableBody, responses(
    (status = 201, body = VariableResponse), (status = 202, body = Detail), (status = 409, body = Detail),
    (status = 413, body = Detail), (status = 422, body = Detail), (status = 503, body = Detail),
    (status = 504, body = Detail)
))]
pub(crate) async fn post(
    State(state): State<ApiState>,
    caller: Caller,
    InSecretBody(body): InSecretBody<VariableBody>,
) -> Result<(StatusCode, Json<VariableResponse>), ApiError> {
    check(&body, &["body"])?;
    let key = body.key.clone();
    put(&state, caller, body, Some(SecretIs::Missing)).await?;
    Ok((StatusCode::CREATED, Json(one(&state, &key).await?)))
}

/// Changes a variable.
#[utoipa::path(patch, path = "/api/v2/variables/{variable_key}", tag = "Variable",
    params(("variable_key" = String, Path), UpdateMask), request_body = VariablePatch, responses(
    (status = 200, body = VariableResponse), (status = 202, body = Detail), (status = 400, body = Detail),
    (status = 404, body = Detail), (status = 409, body = Detail), (status = 413, body = Detail),
    (status = 422, body = Detail), (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn patch(
    State(state): State<ApiState>,
    InPath(key): InPath<String>,
    InQuery(mask): InQuery<UpdateMask>,
    caller: Caller,
    InSecretBody(patch): InSecretBody<VariablePatch>,
) -> Result<Json<VariableResponse>, ApiError> {
    if patch.key.as_ref().is_some_and(|told| *told != key) {
        let why = "Invalid body, key from request body doesn't match uri parameter";
        return Err(ApiError::BadRequest(why.to_owned()));
    }
    change(&state, caller, &key, patch, &mask.update_mask).await?;
    one(&state, &key).await.map(Json)
}

async fn change(
    state: &ApiState,
    caller: Caller,
    key: &str,
    patch: VariablePatch,
    mask: &[String],
) -> Result<(), ApiError> {
    let counts = |field: &str| body::counts(mask, field);
    let sent = open::as_json(&("patch", key, &patch, mask));
    let known = VariableKey::new(key).map_err(|_| missing(key))?;
    let (row, before) = open::variable(state, known.clone()).await?.ok_or_else(|| missing(key))?;
    let value = match patch.value.filter(|_| counts("value")) {
        Some(value) => unmasked(key, &text_of(value), &before)?,
        None => before,
    };
    let description = patch.description.filter(|_| counts("description"));
    let only = Some(SecretIs::Value(row.sealed.id));
    set_variable(state, caller, NewVariable { key: known, value: &value, description, only, sent })
        .await
}

/// Deletes a variable.
#[utoipa::path(delete, path = "/api/v2/variables/{variable_key}", tag = "Variable",
    params(("variable_key" = String, Path)), responses((status = 204), (status = 202, body = Detail),
    (status = 404, body = Detail), (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn delete(
    State(state): State<ApiState>,
    InPath(key): InPath<String>,
    caller: Caller,
) -> Result<StatusCode, ApiError> {
    remove(&state, caller, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove(state: &ApiState, caller: Caller, key: &str) -> Result<(), ApiError> {
    let known = VariableKey::new(key).map_err(|_| missing(key))?;
    open::change(state, caller, SecretChange::DeleteVariable { key: known }).await
}

/// Makes, changes and deletes variables.
#[utoipa::path(patch, path = "/api/v2/variables", tag = "Variable", request_body = VariableBulk, responses(
    (status = 200, body = BulkResponse), (status = 202, body = Detail), (status = 400, body = Detail),
    (status = 409, body = Detail), (status = 413, body = Detail), (status = 422, body = Detail),
    (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn bulk(
    State(state): State<ApiState>,
    caller: Caller,
    InSecretBody(VariableBulk { actions }): InSecretBody<VariableBulk>,
) -> Result<Json<BulkResponse>, ApiError> {
    let actions = actions.into_iter().map(|action| match action {
        VariableAction::Create { entities, action_on_existence } => {
            Action::Create(entities, action_on_existence)
        }
        VariableAction::Update { entities, update_mask, action_on_non_existence } => {
            Action::Update(entities, update_mask, action_on_non_existence)
        }
        VariableAction::Delete { entities, action_on_non_existence } => {
            Action::Delete(entities, action_on_non_existence)
        }
    });
    bulk::bulk::<Variables>(&state, &caller, actions.collect()).await.map(Json)
}

fn check(body: &VariableBody, at: &[&str]) -> Result<(), ApiError> {
    if body.team_name.is_some() {
        let place = [at, &["team_name"]].concat();
        let why = "team_name cannot be set: there are no teams";
        return Err(ApiError::invalid("value_error", &place, why));
    }
    key_of(&body.key, &[at, &["key"]].concat()).map(drop)
}

async fn put(
    state: &ApiState,
    caller: Caller,
    body: VariableBody,
    only: Option<SecretIs>,
) -> Result<(), ApiError> {
    let key = key_of(&body.key, &["body", "key"])?;
    let sent = open::as_json(&("put", &body));
    let value = text_of(body.value);
    let description = Some(body.description);
    set_variable(state, caller, NewVariable { key, value: &value, description, only, sent }).await
}

/// A value as it was sent, with what was masked in it.
fn unmasked(key: &str, sent: &str, before: &str) -> Result<Zeroizing<String>, ApiError> {
    let value = masked::unmasked_variable(key, sent, before).map(Zeroizing::new);
    value.map_err(|why| ApiError::invalid("value_error", &["body", "value"], why))
}

/// A value as it is kept: what is no text as JSON, over lines, as Airflow writes it.
fn text_of(value: Value) -> Zeroizing<String> {
    Zeroizing::new(match value {
        Value::String(text) => text,
        value => serde_json::to_string_pretty(&value).expect("JSON has a form in JSON"),
    })
}

/// Variables, for what is done with several.
enum Variables {}

impl Kind for Variables {
    type Body = VariableBody;
    const MANY: &str = "variables with these variable keys";

    fn name(body: &VariableBody) -> &str {
        &body.key
    }

    fn check(body: &VariableBody, at: &[&str]) -> Result<(), ApiError> {
        check(body, at)
    }

    async fn there(state: &ApiState) -> Result<BTreeSet<String>, ApiError> {
        let rows = state.read(|store| Ok(store.variables()?)).await?;
        Ok(rows.into_iter().map(|row| row.key.to_string()).collect())
    }

    async fn put(state: &ApiState, caller: Caller, mut body: VariableBody) -> Result<(), ApiError> {
        let value = text_of(body.value);
        body.value = Value::String(value.to_string());
        if !value.contains(masked::MASK) {
            return put(state, caller, body, None).await;
        }
        bulk::again_where_changed(|| put_kept(state, caller.clone(), body.clone(), &value)).await
    }

    async fn change(
        state: &ApiState,
        caller: Caller,
        body: VariableBody,
        mask: &[String],
    ) -> Result<(), ApiError> {
        let VariableBody { key, value, description, team_name: _ } = body;
        let (value, description) = (Some(value), Some(description));
        let patch = VariablePatch { key: None, value, description, team_name: None };
        change(state, caller, &key, patch, mask).await
    }

    async fn delete(state: &ApiState, caller: Caller, name: &str) -> Result<(), ApiError> {
        remove(state, caller, name).await
    }
}

/// Sets a variable of whose value some is masked: what is masked stays as it is.
async fn put_kept(
    state: &ApiState,
    caller: Caller,
    mut body: VariableBody,
    value: &str,
) -> Result<(), ApiError> {
    let mut only = None;
    if let Ok(key) = VariableKey::new(body.key.as_str())
        && let Some((row, before)) = open::variable(state, key).await?
    {
        let value = unmasked(&body.key, value, &before)?;
        body.value = Value::String(value.to_string());
        only = Some(SecretIs::Value(row.sealed.id));
    }
    put(state, caller, body, only).await
}
