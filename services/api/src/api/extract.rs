//! What is taken from a request, with Airflow's answer where it can't be.
use std::{error::Error, fmt, marker::PhantomData, net::SocketAddr, str::FromStr};

use axum::{
    Json, RequestPartsExt as _,
    extract::{
        ConnectInfo, FromRequest, FromRequestParts, Path, Request,
        rejection::{BytesRejection, JsonRejection, PathRejection},
    },
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use dagbok_events::{Actor, DagId, MapIndex, RunKey, TaskId, Timestamp, TraceContext, TryNumber};
use dagbok_protocol::text;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_path_to_error::Segment;

use super::errors::{ApiError, Problem};

/// The header that names the person who asks; believed from this machine only.
pub(crate) const USER_HEADER: &str = "x-dagbok-user";
/// The longest name that is believed, in bytes.
const USER_BYTES: usize = 128;
/// The header that is the same when a request is sent again.
const KEY_HEADER: &str = "idempotency-key";
/// The longest one, in bytes.
const KEY_BYTES: usize = 255;
/// How many parts of a place within a body are told.
const PLACE_PARTS: usize = 4;
/// What is told of each, and of what is wrong there, in bytes.
const PLACE_BYTES: usize = 200;

/// Why a body can't be read, with the place.
type PathError = serde_path_to_error::Error<serde_json::Error>;

/// Parts of the path.
#[derive(Debug)]
pub(crate) struct InPath<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send + 'static> FromRequestParts<S> for InPath<T> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        match parts.extract::<Path<T>>().await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => {
                Err(ApiError::invalid("path_error", &["path"], error.body_text()))
            }
            Err(error) => Err(ApiError::bug(&error.body_text())),
        }
    }
}

/// The query; what is not known in it is an error, so that a filter is never left out in silence.
#[derive(Debug)]
pub(crate) struct InQuery<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for InQuery<T> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        let source = serde_html_form::Deserializer::from_bytes(query.as_bytes());
        serde_path_to_error::deserialize(source).map(Self).map_err(|error| {
            let place = error.path().to_string();
            let place = place.split(['[', '.']).next().unwrap_or_default().to_owned();
            let loc: &[&str] =
                if place.is_empty() || place == "?" { &["query"] } else { &["query", &place] };
            ApiError::invalid("query_error", loc, error.into_inner())
        })
    }
}

/// A truth in the words that Airflow's API takes for one, whatever their case.
fn truth(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Some(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// Reads a truth in a query, for `#[serde(deserialize_with)]`.
pub(crate) fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<Option<bool>, D::Error> {
    let text = String::deserialize(from)?;
    let unknown = || D::Error::custom(format!("`{text}` is neither `true` nor `false`"));
    truth(&text).map(Some).ok_or_else(unknown)
}

/// A body of JSON.
#[derive(Debug)]
pub(crate) struct InBody<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for InBody<T> {
    type Rejection = ApiError;
    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        match Json::<Object<T>>::from_request(request, state).await {
            Ok(Json(Object(value))) => Ok(Self(value)),
            Err(JsonRejection::MissingJsonContentType(_)) => Err(ApiError::WrongType(
                "send JSON, with `Content-Type: application/json`".to_owned(),
            )),
            Err(JsonRejection::BytesRejection(error)) => Err(no_bytes(&error)),
            Err(JsonRejection::JsonSyntaxError(error)) => Err(misread("json_invalid", &error)),
            Err(error) => Err(misread("body_error", &error)),
        }
    }
}

/// What is read from an object only: serde takes an array for one whose fields are in order.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        from.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

/// A body that is too long, or that broke off.
fn no_bytes(error: &BytesRejection) -> ApiError {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let most = super::BODY_BYTES;
        ApiError::TooLarge(format!("the body is too long: it may have up to {most} bytes"))
    } else {
        ApiError::BadRequest("the body broke off before its end; send it again".to_owned())
    }
}

/// What is wrong with a body and where, without the library's words. Both may hold what was sent, so both
/// are cut.
fn misread(kind: &'static str, error: &(dyn Error + 'static)) -> ApiError {
    let mut cause = Some(error);
    let found = loop {
        let Some(error) = cause else {
            return ApiError::invalid(kind, &["body"], cut(&error.to_string()));
        };
        match error.downcast_ref::<PathError>() {
            Some(found) => break found,
            None => cause = error.source(),
        }
    };
    let mut parts = found.path().iter().filter_map(|part| match part {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(cut(key)),
        Segment::Enum { variant } => Some(cut(variant)),
        Segment::Unknown => None,
    });
    let mut loc = vec!["body".to_owned()];
    loc.extend(parts.by_ref().take(PLACE_PARTS));
    loc.extend(parts.next().map(|_| "…".to_owned()));
    ApiError::Invalid(vec![Problem { kind, loc, msg: cut(&found.inner().to_string()) }])
}

/// What was sent, in an answer: not much of it.
fn cut(sent: &str) -> String {
    text::cut(sent, PLACE_BYTES)
}

/// Who asks, and in which trace.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) by: Actor,
    pub(crate) trace: Option<TraceContext>,
    /// What the same request bears when it is sent again, so that it is done once.
    pub(crate) key: Option<String>,
}

/// Who asks, where that is known otherwise than by HTTP: an extension of the request.
#[derive(Clone, Debug)]
pub(crate) struct Asker(pub(crate) Actor);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let local = peer.is_some_and(|ConnectInfo(peer)| peer.ip().to_canonical().is_loopback());
        let name = if local { user_named(&parts.headers)? } else { None };
        let by = match parts.extensions.get::<Asker>() {
            Some(Asker(actor)) => actor.clone(),
            None => Actor::User(name.unwrap_or_else(|| "anonymous".to_owned())),
        };
        let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let trace = text("traceparent").filter(|parent| is_traceparent(parent)).map(|parent| {
            TraceContext {
                traceparent: parent.to_owned(),
                tracestate: text("tracestate")
                    .filter(|state| state.len() <= 512)
                    .map(str::to_owned),
            }
        });
        let key = idempotency_key(&parts.headers)?;
        Ok(Self { by, trace, key })
    }
}

fn user_named(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(USER_HEADER) else { return Ok(None) };
    let name =
        value.to_str().ok().map(str::trim).filter(|name| (1..=USER_BYTES).contains(&name.len()));
    let rule = format!("a user's name is 1 to {USER_BYTES} visible ASCII characters");
    name.map(|name| Some(name.to_owned()))
        .ok_or_else(|| ApiError::invalid("value_error", &["header", USER_HEADER], rule))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(KEY_HEADER) else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=KEY_BYTES).contains(&key.len()));
    let rule = format!("a key is 1 to {KEY_BYTES} visible ASCII characters");
    key.map(|key| Some(key.to_owned()))
        .ok_or_else(|| ApiError::invalid("value_error", &["header", KEY_HEADER], rule))
}

/// `00-<32 hex>-<16 hex>-<2 hex>`, or a later version that begins so.
fn is_traceparent(text: &str) -> bool {
    let lengths = [2, 32, 16, 2];
    let parts: Vec<&str> = text.splitn(5, '-').collect();
    parts.len() >= 4
        && text.len() <= 128
        && lengths.iter().zip(&parts).all(|(&length, part)| {
            part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
}

/// A name from the path. Browsers and most clients take `.` and `..` there for ways, escaped too: those two come
/// escaped twice. No new name is one of them, but old logs may have them.
pub(crate) fn named<T: FromStr + TryFrom<String>>(raw: &str) -> Option<T> {
    match raw {
        "%2E" => T::try_from(".".to_owned()).ok(),
        "%2E%2E" => T::try_from("..".to_owned()).ok(),
        name => name.parse().ok(),
    }
}

/// A DAG's id from the path; one that breaks the rules is of no DAG.
pub(crate) fn dag_id(raw: &str) -> Result<DagId, ApiError> {
    named(raw).ok_or_else(|| ApiError::no_dag(raw))
}

/// A run from the path; one that breaks the rules does not exist.
pub(crate) fn run_key(dag: &str, run: &str) -> Result<RunKey, ApiError> {
    let run_id = named(run).ok_or_else(|| ApiError::no_run(dag, run))?;
    Ok(RunKey { dag_id: dag_id(dag)?, run_id })
}

/// A task from the path; one that breaks the rules does not exist.
pub(crate) fn task_id(raw: &str) -> Result<TaskId, ApiError> {
    named(raw).ok_or_else(|| no_task(raw))
}

/// There is no such task.
pub(crate) fn no_task(task_id: &str) -> ApiError {
    ApiError::NotFound(format!("there is no task `{task_id}`"))
}

/// A try's number from the path.
pub(crate) fn try_number(raw: u16, task_id: &str) -> Result<TryNumber, ApiError> {
    TryNumber::new(raw).ok_or_else(|| no_try(task_id, raw))
}

/// There is no such try.
pub(crate) fn no_try(task_id: &str, number: u16) -> ApiError {
    ApiError::NotFound(format!("the task `{task_id}` has no try {number} in this run"))
}

/// A map index, −1 where none was given.
pub(crate) fn map_index(raw: Option<i32>) -> MapIndex {
    raw.map_or(MapIndex::UNMAPPED, MapIndex)
}

/// An instant with an offset. A blank where a plus must have been, which forms turn into one, is one.
pub(crate) fn instant(text: &str) -> Result<Timestamp, String> {
    let parse = |text: &str| text.parse::<jiff::Timestamp>().map(Timestamp::from);
    parse(text).or_else(|error| {
        let mended = text
            .rfind(' ')
            .filter(|at| *at > 10)
            .map(|at| format!("{}+{}", &text[..at], &text[at + 1..]));
        mended.and_then(|text| parse(&text).ok()).ok_or_else(|| {
            format!("`{text}` is no instant with an offset, such as 2026-01-31T02:00:00Z: {error}")
        })
    })
}

/// Which DAG a list is about: `None` for `~`, all of them.
pub(crate) fn any_dag(raw: &str) -> Result<Option<DagId>, ApiError> {
    if raw == "~" { Ok(None) } else { dag_id(raw).map(Some) }
}

/// Whether the request asks for this kind of answer by name.
pub(crate) fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|one| one.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case(kind)))
}
