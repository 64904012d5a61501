//! Connections, as Airflow's API has them.
use std::collections::BTreeSet;

use axum::{Json, extract::State, http::StatusCode};
use dagbok_events::ConnId;
use dagbok_protocol::{SecretChange, SecretIs};
use dagbok_secrets::{ConnectionFields, Entry, Ring};
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use super::{
    body::{self, InSecretBody, UpdateMask},
    bulk::{self, Action, Kind},
    masked, open,
    open::{NewConnection, set_connection},
};
use crate::{
    api::{
        errors::{ApiError, Problem},
        extract::{Caller, InPath, InQuery},
        page::{Page, SortKey, matches, orders, sort},
        state::ApiState,
        view::{actor_name, when},
    },
    model::rows::ConnectionRow,
    shapes::{
        BulkResponse, ConnectionAction, ConnectionBody, ConnectionBulk, ConnectionCollection,
        ConnectionPatch, ConnectionResponse, Detail, SecretExtra,
    },
};

/// What Airflow's API takes for an id, in characters.
const ID_CHARS: usize = 200;

fn missing(conn_id: &str) -> ApiError {
    ApiError::NotFound(format!("The Connection with connection_id: `{conn_id}` was not found"))
}

/// A row as it is shown; `fields` is what it holds, or why nobody knows.
fn shown(row: &ConnectionRow, fields: Result<ConnectionFields, String>) -> ConnectionResponse {
    let (fields, problem) = match fields {
        Ok(fields) => (fields, None),
        Err(why) => (ConnectionFields::default(), Some(why)),
    };
    let ConnectionFields { host, login, password, schema, port, extra } = fields;
    let masked = password.is_some() || extra.is_some() || problem.is_some();
    ConnectionResponse {
        connection_id: row.conn_id.to_string(),
        conn_type: row.conn_type.clone(),
        description: row.description.clone(),
        host,
        login,
        schema,
        port,
        password: password.map(|_| masked::MASK.to_owned()),
        extra: extra.map(|text| masked::extra(&text)),
        team_name: None,
        dagbok: SecretExtra {
            set_at: when(Some(row.set_at)),
            set_by: actor_name(&row.set_by),
            masked,
            problem,
        },
    }
}

fn opened(ring: &Result<Ring, String>, row: &ConnectionRow) -> Result<ConnectionFields, String> {
    let ring = ring.as_ref().map_err(Clone::clone)?;
    ring.open(Entry::Connection(&row.conn_id), &row.sealed).map_err(|error| error.to_string())
}

/// Which connections are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ConnectionQuery {
    /// Entries of the page.
    limit: Option<usize>,
    /// Entries before it.
    offset: Option<usize>,
    /// Those whose id has this in it; `%`, `_` and `|` as in Airflow.
    connection_id_pattern: Option<String>,
    /// Those whose id begins so.
    connection_id_prefix_pattern: Option<String>,
    /// `connection_id`, `conn_type`, `description`, `host`, `port`; by id where not said.
    order_by: Vec<String>,
}

/// Every connection that is on the log; what the environment and the tasks' secrets backends have is not among them.
#[utoipa::path(get, path = "/api/v2/connections", tag = "Connection", params(ConnectionQuery), responses(
    (status = 200, body = ConnectionCollection), (status = 400, body = Detail), (status = 422, body = Detail)
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    InQuery(query): InQuery<ConnectionQuery>,
) -> Result<Json<ConnectionCollection>, ApiError> {
    let known = ["id", "conn_id", "connection_id", "conn_type", "description", "host", "port"];
    let orders = orders(&query.order_by, &known)?;
    let page = Page::new(query.limit, query.offset);
    let (ring, mut rows) = open::read_with_ring(&state, |store| Ok(store.connections()?)).await?;
    let ring = ring.map_err(|error| error.to_string());
    let pattern = query.connection_id_pattern.as_deref();
    rows.retain(|row| pattern.is_none_or(|pattern| matches(pattern, row.conn_id.as_str())));
    let prefix = query.connection_id_prefix_pattern.as_deref().unwrap_or_default();
    rows.retain(|row| row.conn_id.as_str().starts_with(prefix));
    let mut found: Vec<_> = rows.iter().map(|row| shown(row, opened(&ring, row))).collect();
    sort(&mut found, &orders, |one, field| match field {
        "conn_type" => one.conn_type.as_str().into(),
        "description" => one.description.as_deref().unwrap_or_default().into(),
        "host" => one.host.as_deref().unwrap_or_default().into(),
        #[expect(clippy::cast_precision_loss, reason = "ports are small")]
        "port" => one.port.map_or(SortKey::Nothing, |port| SortKey::Number(port as f64)),
        _ => one.connection_id.as_str().into(),
    });
    let (connections, total_entries) = page.cut(found);
    Ok(Json(ConnectionCollection { connections, total_entries }))
}

async fn one(state: &ApiState, conn_id: &str) -> Result<ConnectionResponse, ApiError> {
    let known = ConnId::new(conn_id).map_err(|_| missing(conn_id))?;
    let (row, fields) = open::connection(state, known).await?.ok_or_else(|| missing(conn_id))?;
    Ok(shown(&row, Ok(fields)))
}

/// One connection.
#[utoipa::path(get, path = "/api/v2/connections/{connection_id}", tag = "Connection",
    params(("connection_id" = String, Path)), responses(
    (status = 200, body = ConnectionResponse), (status = 404, body = Detail), (status = 409, body = Detail)
))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    InPath(conn_id): InPath<String>,
) -> Result<Json<ConnectionResponse>, ApiError> {
    one(&state, &conn_id).await.map(Json)
}

/// Makes a connection.
#[utoipa::path(post, path = "/api/v2/connections", tag = "Connection", request_body = ConnectionBody, responses(
    (status = 201, body = ConnectionResponse), (status = 202, body = Detail), (status = 409, body = Detail),
    (status = 413, body = Detail), (status = 422, body = Detail), (status = 503, body = Detail),
    (status = 504, body = Detail)
))]
pub(crate) async fn post(
    State(state): State<ApiState>,
    caller: Caller,
    InSecretBody(body): InSecretBody<ConnectionBody>,
) -> Result<(StatusCode, Json<ConnectionResponse>), ApiError> {
    let conn_id = body.connection_id.clone();
    put(&state, caller, body, Some(SecretIs::Missing)).await?;
    Ok((StatusCode::CREATED, Json(one(&state, &conn_id).await?)))
}

/// Changes a connection.
#[utoipa::path(patch, path = "/api/v2/connections/{connection_id}", tag = "Connection",
    params(("connection_id" = String, Path), UpdateMask), request_body = ConnectionPatch, responses(
    (status = 200, body = ConnectionResponse), (status = 202, body = Detail), (status = 400, body = Detail),
    (status = 404, body = Detail), (status = 409, body = Detail), (status = 413, body = Detail),
    (status = 422, body = Detail), (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn patch(
    State(state): State<ApiState>,
    InPath(conn_id): InPath<String>,
    InQuery(mask): InQuery<UpdateMask>,
    caller: Caller,
    InSecretBody(patch): InSecretBody<ConnectionPatch>,
) -> Result<Json<ConnectionResponse>, ApiError> {
    if patch.connection_id.as_ref().is_some_and(|told| *told != conn_id) {
        let why = "The connection_id in the request body does not match the URL parameter";
        return Err(ApiError::BadRequest(why.to_owned()));
    }
    change(&state, caller, &conn_id, patch, &mask.update_mask).await?;
    one(&state, &conn_id).await.map(Json)
}

async fn change(
    state: &ApiState,
    caller: Caller,
    conn_id: &str,
    patch: ConnectionPatch,
    mask: &[String],
) -> Result<(), ApiError> {
    let counts = |field: &str| body::counts(mask, field);
    let sent = open::as_json(&("patch", conn_id, &patch, mask));
    let known = ConnId::new(conn_id).map_err(|_| missing(conn_id))?;
    let (row, before) =
        open::connection(state, known.clone()).await?.ok_or_else(|| missing(conn_id))?;
    let field = |name: &str, sent: Option<Option<String>>, before: Option<String>| {
        sent.filter(|_| counts(name)).unwrap_or(before)
    };
    let extra = patch.extra.filter(|_| counts("extra"));
    let extra = match extra {
        Some(sent) => sent.map(|sent| masked::unmasked(&sent, before.extra.as_deref())),
        None => before.extra,
    };
    let extra = checked_extra(extra, &["body", "extra"])?;
    let password = patch.password.filter(|_| counts("password"));
    let password = match password {
        Some(sent) => masked::kept(sent, before.password),
        None => before.password,
    };
    let fields = ConnectionFields {
        host: field("host", patch.host, before.host),
        login: field("login", patch.login, before.login),
        schema: field("schema", patch.schema, before.schema),
        port: patch.port.filter(|_| counts("port")).unwrap_or(before.port),
        password,
        extra,
    };
    let conn_type = patch.conn_type.filter(|_| counts("conn_type")).unwrap_or(row.conn_type);
    let description =
        patch.description.filter(|_| counts("description")).unwrap_or(row.description);
    let only = Some(SecretIs::Value(row.sealed.id));
    let new = NewConnection { conn_id: known, conn_type, description, fields, only, sent };
    set_connection(state, caller, new).await
}

/// Deletes a connection.
#[utoipa::path(delete, path = "/api/v2/connections/{connection_id}", tag = "Connection",
    params(("connection_id" = String, Path)), responses((status = 204), (status = 202, body = Detail),
    (status = 404, body = Detail), (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn delete(
    State(state): State<ApiState>,
    InPath(conn_id): InPath<String>,
    caller: Caller,
) -> Result<StatusCode, ApiError> {
    remove(&state, caller, &conn_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove(state: &ApiState, caller: Caller, conn_id: &str) -> Result<(), ApiError> {
    let known = ConnId::new(conn_id).map_err(|_| missing(conn_id))?;
    open::change(state, caller, SecretChange::DeleteConnection { conn_id: known }).await
}

/// Makes, changes and deletes connections.
#[utoipa::path(patch, path = "/api/v2/connections", tag = "Connection", request_body = ConnectionBulk, responses(
    (status = 200, body = BulkResponse), (status = 202, body = Detail), (status = 400, body = Detail),
    (status = 409, body = Detail), (status = 413, body = Detail), (status = 422, body = Detail),
    (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn bulk(
    State(state): State<ApiState>,
    caller: Caller,
    InSecretBody(ConnectionBulk { actions }): InSecretBody<ConnectionBulk>,
) -> Result<Json<BulkResponse>, ApiError> {
    let actions = actions.into_iter().map(|action| match action {
        ConnectionAction::Create { entities, action_on_existence } => {
            Action::Create(entities, action_on_existence)
        }
        ConnectionAction::Update { entities, update_mask, action_on_non_existence } => {
            Action::Update(entities, update_mask, action_on_non_existence)
        }
        ConnectionAction::Delete { entities, action_on_non_existence } => {
            Action::Delete(entities, action_on_non_existence)
        }
    });
    bulk::bulk::<Connections>(&state, &caller, actions.collect()).await.map(Json)
}

/// All that is wrong with a whole description; `at` is where it stands.
fn check(body: &ConnectionBody, at: &[&str]) -> Result<ConnId, ApiError> {
    let place = |field: &'static str| [at, &[field]].concat();
    let mut problems = Vec::new();
    let id = body.connection_id.as_str();
    let plain = |c: char| c.is_alphanumeric() || "_.-".contains(c);
    let conn_id = ConnId::new(id).ok();
    if conn_id.is_none() || id.chars().count() > ID_CHARS || !id.chars().all(plain) {
        let why = format!("a connection's id is 1 to {ID_CHARS} letters, digits, `_`, `.` and `-`");
        problems.push(Problem::new("string_pattern_mismatch", &place("connection_id"), why));
    }
    if body.team_name.is_some() {
        let why = "team_name cannot be set: there are no teams";
        problems.push(Problem::new("value_error", &place("team_name"), why));
    }
    if let Err(ApiError::Invalid(more)) = checked_extra(body.extra.clone(), &place("extra")) {
        problems.extend(more);
    }
    match conn_id {
        Some(conn_id) if problems.is_empty() => Ok(conn_id),
        _ => Err(ApiError::Invalid(problems)),
    }
}

/// An extra is an object; an empty text is an empty one, as in Airflow.
fn checked_extra(extra: Option<String>, at: &[&str]) -> Result<Option<String>, ApiError> {
    match extra {
        None => Ok(None),
        Some(text) if text.is_empty() => Ok(Some("{}".to_owned())),
        Some(text) if matches!(serde_json::from_str(&text), Ok(Value::Object(_))) => Ok(Some(text)),
        Some(_) => {
            let why = "the extra must be a JSON object, as text, such as {\"region\": \"eu\"}";
            Err(ApiError::invalid("value_error", at, why))
        }
    }
}

async fn put(
    state: &ApiState,
    caller: Caller,
    body: ConnectionBody,
    only: Option<SecretIs>,
) -> Result<(), ApiError> {
    let conn_id = check(&body, &["body"])?;
    let sent = open::as_json(&("put", &body));
    let ConnectionBody { conn_type, description, host, login, schema, port, password, .. } = body;
    let extra = checked_extra(body.extra, &["body", "extra"])?;
    let fields = ConnectionFields { host, login, password, schema, port, extra };
    let new = NewConnection { conn_id, conn_type, description, fields, only, sent };
    set_connection(state, caller, new).await
}

/// Connections, for what is done with several.
enum Connections {}

impl Kind for Connections {
    type Body = ConnectionBody;
    const MANY: &str = "connections with these connection_ids";

    fn name(body: &ConnectionBody) -> &str {
        &body.connection_id
    }

    fn check(body: &ConnectionBody, at: &[&str]) -> Result<(), ApiError> {
        check(body, at).map(drop)
    }

    async fn there(state: &ApiState) -> Result<BTreeSet<String>, ApiError> {
        let rows = state.read(|store| Ok(store.connections()?)).await?;
        Ok(rows.into_iter().map(|row| row.conn_id.to_string()).collect())
    }

    async fn put(state: &ApiState, caller: Caller, body: ConnectionBody) -> Result<(), ApiError> {
        let is_masked =
            |text: &Option<String>| text.as_ref().is_some_and(|text| text.contains(masked::MASK));
        if !is_masked(&body.password) && !is_masked(&body.extra) {
            return put(state, caller, body, None).await;
        }
        bulk::again_where_changed(|| put_kept(state, caller.clone(), body.clone())).await
    }

    async fn change(
        state: &ApiState,
        caller: Caller,
        body: ConnectionBody,
        mask: &[String],
    ) -> Result<(), ApiError> {
        let ConnectionBody { connection_id, conn_type, description, host, login, .. } = body;
        let patch = ConnectionPatch {
            connection_id: None,
            conn_type: Some(conn_type),
            description: Some(description),
            host: Some(host),
            login: Some(login),
            schema: Some(body.schema),
            port: Some(body.port),
            password: Some(body.password),
            extra: Some(body.extra),
            team_name: None,
        };
        change(state, caller, &connection_id, patch, mask).await
    }

    async fn delete(state: &ApiState, caller: Caller, name: &str) -> Result<(), ApiError> {
        remove(state, caller, name).await
    }
}

/// Sets a connection of which some is masked: what is masked stays as it is.
async fn put_kept(
    state: &ApiState,
    caller: Caller,
    mut body: ConnectionBody,
) -> Result<(), ApiError> {
    let mut only = None;
    if let Ok(conn_id) = ConnId::new(body.connection_id.as_str())
        && let Some((row, before)) = open::connection(state, conn_id).await?
    {
        body.password = masked::kept(body.password, before.password);
        body.extra = body.extra.map(|sent| masked::unmasked(&sent, before.extra.as_deref()));
        only = Some(SecretIs::Value(row.sealed.id));
    }
    put(state, caller, body, only).await
}
