//! Errors in Airflow's shape: a status and `detail`, which is a text, an object, or a list of what is
//! wrong with the request.
use std::fmt::Display;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use dagbok_inbox::AskError;
use dagbok_protocol::{Refusal, RefusalCode};
use dagbok_runlog::PortError;
use serde::Serialize;
use serde_json::{Value, json};

use crate::model::StoreError;

/// One thing that is wrong with a request.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Problem {
    /// What kind it is, for programs.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// Where: `path`, `query`, `header` or `body`, then names.
    pub(crate) loc: Vec<String>,
    /// What, for people.
    pub(crate) msg: String,
}

impl Problem {
    pub(crate) fn new(kind: &'static str, loc: &[&str], msg: impl Display) -> Self {
        Self { kind, loc: loc.iter().map(|&part| part.to_owned()).collect(), msg: msg.to_string() }
    }
}

/// Why a request was not done.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// 400.
    BadRequest(String),
    /// 403.
    Forbidden(String),
    /// 404.
    NotFound(String),
    /// 409; with an object as Airflow has it for what exists already.
    Conflict(Value),
    /// A value is sealed by a master key that has been exchanged.
    KeyRetired(String),
    /// A variable or a connection is another than the one that was read.
    SecretChanged(String),
    /// 413.
    TooLarge(String),
    /// 415.
    WrongType(String),
    /// 422.
    Invalid(Vec<Problem>),
    /// 503: asking again may help.
    Unavailable(String),
    /// 504: it may yet be done.
    Silent(Value),
    /// 202: it is done, and can't be shown yet.
    Accepted(Value),
    /// 500; what went wrong is in the service's log.
    Internal,
}

impl ApiError {
    /// A bug: said in the log, not to the caller.
    pub(crate) fn bug(error: &dyn Display) -> Self {
        tracing::error!(%error, "a request could not be answered");
        Self::Internal
    }

    /// One thing wrong with the request.
    pub(crate) fn invalid(kind: &'static str, loc: &[&str], msg: impl Display) -> Self {
        Self::Invalid(vec![Problem::new(kind, loc, msg)])
    }

    pub(crate) fn no_dag(dag_id: &str) -> Self {
        Self::NotFound(format!("no DAG has the id `{dag_id}`"))
    }

    pub(crate) fn no_run(dag_id: &str, run_id: &str) -> Self {
        Self::NotFound(format!("the DAG `{dag_id}` has no run `{run_id}`"))
    }

    /// Its status and what it says, as one object.
    pub(crate) fn told(self) -> Value {
        let (status, detail) = self.parts();
        json!({ "status": status.as_u16(), "detail": detail })
    }

    /// The status, and what is said.
    pub(crate) fn parts(self) -> (StatusCode, Value) {
        match self {
            Self::BadRequest(text) => (StatusCode::BAD_REQUEST, Value::String(text)),
            Self::Forbidden(text) => (StatusCode::FORBIDDEN, Value::String(text)),
            Self::NotFound(text) => (StatusCode::NOT_FOUND, Value::String(text)),
            Self::Conflict(detail) => (StatusCode::CONFLICT, detail),
            Self::KeyRetired(text) | Self::SecretChanged(text) => {
                (StatusCode::CONFLICT, Value::String(text))
            }
            Self::TooLarge(text) => (StatusCode::PAYLOAD_TOO_LARGE, Value::String(text)),
            Self::WrongType(text) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, Value::String(text)),
            Self::Invalid(problems) => (StatusCode::UNPROCESSABLE_ENTITY, json!(problems)),
            Self::Unavailable(text) => (StatusCode::SERVICE_UNAVAILABLE, Value::String(text)),
            Self::Silent(detail) => (StatusCode::GATEWAY_TIMEOUT, detail),
            Self::Accepted(detail) => (StatusCode::ACCEPTED, detail),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                Value::String(
                    "something broke while answering; the service's log says what".to_owned(),
                ),
            ),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let retry = matches!(self, Self::Unavailable(_));
        let (status, detail) = self.parts();
        let mut response = (status, Json(json!({ "detail": detail }))).into_response();
        if retry {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::bug(&error)
    }
}

impl From<PortError> for ApiError {
    fn from(error: PortError) -> Self {
        match error {
            PortError::Unavailable { .. } => Self::Unavailable(error.to_string()),
            PortError::Damaged { .. } | PortError::Trimmed { .. } => Self::bug(&error),
            PortError::Refused { .. } => Self::TooLarge(error.to_string()),
        }
    }
}

impl From<AskError> for ApiError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::NotSent(source) => match source {
                PortError::Refused { .. } => Self::TooLarge(source.to_string()),
                PortError::Unavailable { .. }
                | PortError::Damaged { .. }
                | PortError::Trimmed { .. } => Self::Unavailable(format!(
                    "the command was not taken, and won't be done: {source}"
                )),
            },
            AskError::Silent { ref id, within } => Self::Silent(json!({
                "reason": "no_answer",
                "command_id": id.as_str(),
                "waited_seconds": within.as_secs_f64(),
                "message": format!(
                    "{error}; look whether it was done before asking again, and see that a scheduler runs"
                ),
            })),
            AskError::Garbled(source) => Self::bug(&source),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let Refusal { code, message } = refusal;
        match code {
            RefusalCode::DagNotFound
            | RefusalCode::NotAsked
            | RefusalCode::RunNotFound
            | RefusalCode::TaskNotFound
            | RefusalCode::BackfillNotFound
            | RefusalCode::SecretNotFound
            | RefusalCode::ExecutorNotFound
            | RefusalCode::PoolNotFound => Self::NotFound(message),
            RefusalCode::RunAlreadyExists
            | RefusalCode::LogicalDateTaken
            | RefusalCode::SecretAlreadyExists
            | RefusalCode::PoolAlreadyExists => Self::Conflict(json!({
                "reason": "Unique constraint violation",
                "statement": "hidden",
                "orig_error": "hidden",
                "code": code,
                "message": message,
            })),
            RefusalCode::SecretKeyRetired => Self::KeyRetired(message),
            RefusalCode::SecretChanged => Self::SecretChanged(message),
            RefusalCode::NotAssigned => Self::Forbidden(message),
            RefusalCode::RunOver
            | RefusalCode::AlreadyAnswered
            | RefusalCode::RunActive
            | RefusalCode::TaskRunning
            | RefusalCode::BackfillOver
            | RefusalCode::BackfillActive
            | RefusalCode::DagInUse
            | RefusalCode::ProtocolTooFar
            | RefusalCode::StaleReport => Self::Conflict(Value::String(message)),
            RefusalCode::Invalid => Self::invalid("value_error", &["body"], message),
        }
    }
}
