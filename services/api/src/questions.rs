//! Answers what tasks ask about other runs: over signals, from the same rows and by the same routes as over HTTP.
use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Method, Request, Uri, header},
};
use dagbok_events::{Actor, MapIndex, Payload, RunKey, TaskId, decode_any, encode_any};
use dagbok_protocol::{
    ApiQuestion, ApiReply, Asked, CopiesHandedOn, limits::RECORD_BYTES, names, xcom_forgotten,
};
use dagbok_runlog::{Seq, Signal};
use dagbok_runtime::{Backoff, Shutdown};
use futures::{StreamExt as _, stream::BoxStream};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

use crate::{
    api::{ApiState, Asker, router, secrets::tasks as secrets},
    model::{
        Store, StoreError,
        lists::{Range, RunAsk, RunBy, RunField, RunOrder, Scope},
        rows::RunRow,
    },
};

/// Questions that are looked into at once; others wait.
const AT_ONCE: usize = 64;
/// The largest answer, in bytes: it is a signal, with some room for its frame.
const REPLY_BYTES: usize = RECORD_BYTES - (4 << 10);
/// Bytes of values of copies after which an answer has no more: escaped, and with one more, they still fit.
const COPIES_BYTES: usize = REPLY_BYTES / 4;
/// What a value takes beside its text, at most: its digest and the words around it.
const PAYLOAD_FRAME: usize = 160;
/// Copies that one answer looks at.
const COPIES_LOOKED_AT: usize = 10_000;
/// Earlier runs that are looked at for a value.
const RUNS_LOOKED_AT: usize = 1_000;

/// Answers until `shutdown` starts; what `heard` has, where somebody listened before, is answered first.
pub(crate) async fn answer(
    state: ApiState,
    mut heard: Option<BoxStream<'static, Signal>>,
    shutdown: Shutdown,
) {
    let (app, room) = (router(state.clone()), Arc::new(Semaphore::new(AT_ONCE)));
    let mut backoff = Backoff::default();
    loop {
        let listening = match heard.take() {
            Some(heard) => Ok(heard),
            None => state.ports.signals.subscribe(names::QUESTIONS).await,
        };
        match listening {
            Ok(mut asked) => {
                backoff.reset();
                loop {
                    let signal = tokio::select! {
                        signal = asked.next() => signal,
                        () = shutdown.started() => return,
                    };
                    let Some(signal) = signal else { break };
                    let (state, app, room) = (state.clone(), app.clone(), Arc::clone(&room));
                    tokio::spawn(async move {
                        let _place = room.acquire_owned().await;
                        respond(&state, app, signal).await;
                    });
                }
            }
            Err(error) => {
                if backoff.is_worth_telling() {
                    tracing::warn!(%error, "questions of tasks can't be heard; trying again");
                }
            }
        }
        if !backoff.pause_unless(&shutdown).await {
            return;
        }
    }
}

async fn respond(state: &ApiState, app: Router, signal: Signal) {
    let Some(responder) = signal.responder else { return };
    let reply = match decode_any::<ApiQuestion>(&signal.payload) {
        Ok(question) => reply_to(state, app, question).await,
        Err(error) => failed(400, &format!("the question can't be read: {error}")),
    };
    if let Err(error) = responder.respond(encode_any(&reply).into()).await {
        tracing::debug!(%error, "whoever asked for a task is gone");
    }
}

async fn reply_to(state: &ApiState, app: Router, question: ApiQuestion) -> ApiReply {
    let ApiQuestion { seen, by, asked } = question;
    if !state.model.progress().wait_for(Seq(seen), state.patience.model).await {
        return failed(503, "the read model is behind the task that asks; ask again shortly");
    }
    match asked {
        Asked::Rest { target, body, key } => {
            // What streams has no end of its own, and would keep its place for ever.
            let answered = rest(app, by, &target, body, key);
            let answered = tokio::time::timeout(state.patience.request, answered).await;
            answered.unwrap_or_else(|_| failed(504, "the answer took too long"))
        }
        Asked::SecretsKey { make } => sealed(secrets::public_key(state, make).await),
        Asked::Secret(question) => sealed(secrets::answer(state, by, &question).await),
        Asked::XCom { dag_id, run_id, task_id, map_index, key, prior } => {
            let run = RunKey { dag_id, run_id };
            let found = state
                .read(move |store| Ok(handed_on(store, &run, &task_id, map_index, &key, prior)?));
            match found.await {
                Ok(Some(Ok(body))) => ApiReply { status: 200, body },
                Ok(Some(Err(forgotten))) => failed(410, &forgotten),
                Ok(None) => failed(404, "nothing of that name was handed on"),
                Err(error) => failed(503, &format!("{error:?}")),
            }
        }
        Asked::XComs { dag_id, run_id, task_id, key, after } => {
            let run = RunKey { dag_id, run_id };
            let found =
                state.read(move |store| Ok(copies_handed_on(store, &run, &task_id, &key, after)?));
            match found.await {
                Ok(Ok(found)) => {
                    let body = serde_json::to_string(&found).expect("it has text keys only");
                    ApiReply { status: 200, body: Payload::Inline(body) }
                }
                Ok(Err(forgotten)) => failed(410, &forgotten),
                Err(error) => failed(503, &format!("{error:?}")),
            }
        }
    }
}

/// Whether tasks may ask for it: all that is only read, and runs that they trigger or clear.
fn is_open(method: &Method, path: &str) -> bool {
    let end = path.rsplit('/').next();
    method == Method::GET
        && !["/api/v2/variables", "/api/v2/connections"].iter().any(|part| path.starts_with(part))
        || path.starts_with("/api/v2/") && matches!(end, Some("dagRuns" | "clear"))
}

async fn rest(
    app: Router,
    by: String,
    target: &str,
    body: Option<String>,
    key: Option<String>,
) -> ApiReply {
    let method = if body.is_some() { Method::POST } else { Method::GET };
    // As the router reads it: what names a host, or is no path, is nobody's.
    let uri = target.parse::<Uri>().ok().filter(|uri| uri.authority().is_none());
    if !uri.is_some_and(|uri| is_open(&method, uri.path())) {
        return failed(403, &format!("no task may ask for {method} {target}"));
    }
    let mut request = Request::builder().method(method).uri(target);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let request = request.header(header::CONTENT_TYPE, "application/json");
    let request = request.extension(Asker(Actor::Token(by)));
    let Ok(request) = request.body(body.map_or_else(Body::empty, Body::from)) else {
        return failed(400, &format!("`{target}` is no path"));
    };
    let response = app.oneshot(request).await.unwrap_or_else(|never| match never {});
    let status = response.status().as_u16();
    match to_bytes(response.into_body(), REPLY_BYTES).await {
        Ok(bytes) => {
            let body = Payload::Inline(String::from_utf8_lossy(&bytes).into_owned());
            ApiReply { status, body }
        }
        Err(_) => failed(413, "the answer is too large: ask for fewer at once"),
    }
}

/// A value, or what is said of one that is forgotten.
type Handed = Result<Payload, String>;

/// The value of a task of this run; of the newest run before it that has one, where that is asked for too.
fn handed_on(
    store: &Store,
    run: &RunKey,
    task: &TaskId,
    map: MapIndex,
    name: &str,
    prior: bool,
) -> Result<Option<Handed>, StoreError> {
    let row = store.run(run)?;
    if let Some(row) = &row
        && let Some(handed) = handed_on_in(store, row, (task, map), name)?
    {
        return Ok(Some(handed));
    }
    let date = row.and_then(|row| row.logical_date);
    let Some(date) = date.filter(|_| prior) else { return Ok(None) };
    let before = Range {
        field: RunField::LogicalDate,
        from: i64::MIN,
        to: date.0.saturating_sub(1),
        nothing: false,
    };
    let ask = RunAsk {
        ranges: vec![before],
        orders: vec![RunOrder { by: RunBy::Field(RunField::LogicalDate), down: true }],
        take: RUNS_LOOKED_AT,
        ..RunAsk::all(Scope::Dags(vec![run.dag_id.clone()]))
    };
    for row in store.list_runs(&ask, None)?.page {
        if let Some(handed) = handed_on_in(store, &row, (task, map), name)? {
            return Ok(Some(handed));
        }
    }
    Ok(None)
}

fn handed_on_in(
    store: &Store,
    run: &RunRow,
    (task, map): (&TaskId, MapIndex),
    name: &str,
) -> Result<Option<Handed>, StoreError> {
    if let Some(until) = store.xcom_kept_until(run, (task, map), name)? {
        return Ok(Some(Err(xcom_forgotten(task.as_str(), name, until))));
    }
    let found = store.xcom(&run.key(), task, map, name)?;
    Ok(found.map(|row| Ok(row.value)))
}

/// What copies of a mapped task handed on under a name, from the one after `after` on, as much as one answer holds; or
/// what is said of it where that is forgotten.
fn copies_handed_on(
    store: &Store,
    run: &RunKey,
    task: &TaskId,
    name: &str,
    after: MapIndex,
) -> Result<Result<CopiesHandedOn, String>, StoreError> {
    let mut found = CopiesHandedOn { values: Vec::new(), more_after: None };
    let Some(row) = store.run(run)? else { return Ok(Ok(found)) };
    let (mut bytes, mut looked) = (0, 0);
    // The first copy is 0: a task that has none handed nothing on as one of them.
    let first = MapIndex(after.0.saturating_add(1).max(0));
    for copy in store.each_copy_from((run, task, first)) {
        let copy = copy?;
        let map = copy.map_index;
        if bytes > COPIES_BYTES || looked >= COPIES_LOOKED_AT {
            found.more_after = Some(MapIndex(map.0 - 1));
            break;
        }
        looked += 1;
        if !copy.xcoms.iter().any(|handed| handed.name() == name) {
            continue;
        }
        if let Some(until) = row.xcoms_kept_until(&copy) {
            return Ok(Err(xcom_forgotten(task.as_str(), name, until)));
        }
        if let Some(one) = store.xcom(run, task, map, name)? {
            bytes += match &one.value {
                Payload::Inline(text) => text.len() + PAYLOAD_FRAME,
                Payload::Blob { .. } => PAYLOAD_FRAME,
            };
            found.values.push(one.value);
        }
    }
    Ok(Ok(found))
}

/// An answer about variables and connections.
fn sealed((status, body): (u16, serde_json::Value)) -> ApiReply {
    ApiReply { status, body: Payload::Inline(body.to_string()) }
}

fn failed(status: u16, detail: &str) -> ApiReply {
    let body = serde_json::json!({ "detail": detail }).to_string();
    ApiReply { status, body: Payload::Inline(body) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_may_read_and_trigger_and_clear_and_no_more() {
        let run = "/api/v2/dags/d/dagRuns/r";
        for open in ["/api/v2/dags/d/dagRuns", &format!("{run}/clear")] {
            assert!(is_open(&Method::POST, open), "{open}");
        }
        assert!(is_open(&Method::GET, run));
        let mark = "/api/v2/dagbok/runs/d/r/mark";
        for shut in ["/api/v2/variables/a", "/api/v2/connections"] {
            assert!(!is_open(&Method::GET, shut), "{shut}");
        }
        for shut in [mark, "/api/v2/pools", "/api/v2/dagbok/prune", "/elsewhere/dagRuns"] {
            assert!(!is_open(&Method::POST, shut), "{shut}");
        }
        assert!(!is_open(&Method::DELETE, run));
    }
}
