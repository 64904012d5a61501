//! What the log has of variables and connections, sealed: for the command line, which opens it where it may read the
//! key file. Who may see a secret is so said by that file's owner and mode, and no HTTP answer has one.
use axum::{Json, extract::State};

use crate::{
    api::{errors::ApiError, state::ApiState},
    shapes::{SealedEntries, SealedEntry},
};

/// Every variable and every connection, encrypted.
#[utoipa::path(get, path = "/api/v2/dagbok/secrets", tag = "Dagbok", responses((status = 200, body = SealedEntries)))]
pub(crate) async fn entries(
    State(state): State<ApiState>,
) -> Result<Json<SealedEntries>, ApiError> {
    let read = state.read(|store| Ok((store.variables()?, store.connections()?)));
    let (variables, connections) = read.await?;
    let variables = variables.into_iter().map(|row| SealedEntry {
        name: row.key.to_string(),
        conn_type: None,
        description: row.description,
        sealed: row.sealed,
    });
    let connections = connections.into_iter().map(|row| SealedEntry {
        name: row.conn_id.to_string(),
        conn_type: Some(row.conn_type),
        description: row.description,
        sealed: row.sealed,
    });
    Ok(Json(SealedEntries { variables: variables.collect(), connections: connections.collect() }))
}
