//! Bodies that may hold secrets: what is wrong with one is told without what was sent.
use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;

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
