//! Bodies that may hold secrets: what is wrong with one is told without what was sent.
use axum::extract::{FromRequest, Request};
use serde::{Deserialize, de::DeserializeOwned};
use utoipa::IntoParams;

use crate::api::{
    errors::{ApiError, Problem},
    extract::InBody,
};

/// A body of JSON.
pub(crate) struct InSecretBody<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for InSecretBody<T> {
    type Rejection = ApiError;
    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        match InBody::<T>::from_request(request, state).await {
            Ok(InBody(body)) => Ok(Self(body)),
            Err(ApiError::Invalid(problems)) => {
                Err(ApiError::Invalid(problems.into_iter().map(hushed).collect()))
            }
            Err(error) => Err(error),
        }
    }
}

/// Says where alone: the library's words show what stood there. Names of fields that there are not it says in quotes
/// of its own kind.
fn hushed(problem: Problem) -> Problem {
    let unknown = problem.msg.starts_with("unknown field") || problem.msg.starts_with("missing");
    if unknown {
        return problem;
    }
    let msg = "what stands here is not what belongs here (it is not repeated: it may be a secret); \
               /openapi.json says what does";
    Problem { msg: msg.to_owned(), ..problem }
}

/// Which fields of a body count.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct UpdateMask {
    /// Names of fields; all that are there where none is named.
    pub(super) update_mask: Vec<String>,
}

/// Whether a field counts.
pub(super) fn counts(mask: &[String], field: &str) -> bool {
    mask.is_empty() || mask.iter().any(|name| name.trim() == field)
}
