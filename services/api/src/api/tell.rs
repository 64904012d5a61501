//! Commands to the scheduler, and the wait until what they did can be read.
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};

use dagbok_events::{Actor, CommandId, RunId, encode_any};
use dagbok_inbox::Ask;
use dagbok_protocol::{Answer, ClearedTask, CommandBody, VersionChange};
use dagbok_runlog::{Seq, digest_of};
use serde_json::json;

use super::{errors::ApiError, extract::Caller, state::ApiState};

/// The header that says by which record it was done.
const SEQ_HEADER: HeaderName = HeaderName::from_static("dagbok-seq");

tokio::task_local! {
    /// The last record that a request made.
    static DONE: Arc<AtomicU64>;
}

/// Says in the answer's head by which record what was asked for was done, where one was made.
pub(crate) async fn with_seq(request: Request, next: Next) -> Response {
    let done = Arc::<AtomicU64>::default();
    let mut response = DONE.scope(Arc::clone(&done), next.run(request)).await;
    let seq = done.load(Ordering::Relaxed);
    if seq > 0 {
        response.headers_mut().insert(SEQ_HEADER, HeaderValue::from(seq));
    }
    response
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Told {
    /// The record that did it, where one did.
    pub(crate) seq: Option<u64>,
    /// The run that was made, where one was.
    pub(crate) run_id: Option<RunId>,
    /// What would be cleared or marked, where that was asked.
    pub(crate) cleared: Option<WouldChange>,
}

/// What a command would change of a run.
#[derive(Debug, Default)]
pub(crate) struct WouldChange {
    /// Whether the run would go on.
    pub(crate) goes_on: bool,
    /// Which tasks of it.
    pub(crate) tasks: Vec<ClearedTask>,
    /// The version that it would go on with, where that is another.
    pub(crate) version: Option<Box<VersionChange>>,
}

/// The id of what somebody asks for under a key of their own: the same again is the same command, and done once.
fn command_of(key: &str, by: &Actor, body: &CommandBody) -> CommandId {
    let whole = match body {
        // It is sealed anew each time; the key tells what is in it.
        CommandBody::ChangeSecret(change) if change.is_sealed() => encode_any(&(key, by)),
        _ => encode_any(&(key, by, body)),
    };
    CommandId::new(format!("key-{}", digest_of(&whole))).expect("68 letters and digits")
}

/// Sends a command and returns once its record can be read. It goes on when the caller goes away.
pub(crate) fn tell(
    state: &ApiState,
    caller: Caller,
    reason: Option<String>,
    body: CommandBody,
) -> impl Future<Output = Result<Told, ApiError>> + Send + use<> {
    let state = state.clone();
    async move {
        let Caller { by, trace, key } = caller;
        let id = key.map(|key| command_of(&key, &by, &body));
        let ask = Ask { by, reason, trace, body };
        let answer = match id {
            Some(id) => state.inbox.ask_as(id, ask, state.patience.answer).await?,
            None => state.inbox.ask(ask, state.patience.answer).await?,
        };
        match answer {
            Answer::Unchanged
            | Answer::Waits(_)
            | Answer::WouldMake(_)
            | Answer::LastScheduled(_)
            | Answer::WouldBackfill(_) => Ok(Told { seq: None, run_id: None, cleared: None }),
            Answer::WouldClear { run_goes_on: goes_on, tasks, version } => {
                let cleared = Some(WouldChange { goes_on, tasks, version });
                Ok(Told { seq: None, run_id: None, cleared })
            }
            Answer::WouldMark { run_goes_on: goes_on, tasks, cleared: _ } => {
                let cleared = Some(WouldChange { goes_on, tasks, version: None });
                Ok(Told { seq: None, run_id: None, cleared })
            }
            Answer::Refused(refusal) => Err(refusal.into()),
            Answer::Accepted { seq, run_id } => {
                // What is asked by other ways than HTTP has no head to say it in.
                let _ = DONE.try_with(|done| done.store(seq, Ordering::Relaxed));
                if state.model.progress().wait_for(Seq(seq), state.patience.model).await {
                    return Ok(Told { seq: Some(seq), run_id, cleared: None });
                }
                Err(ApiError::Accepted(json!({
                    "reason": "accepted",
                    "seq": seq,
                    "dag_run_id": run_id,
                    "message": format!(
                        "it is done, as record {seq}; the read model is behind and will show it shortly"
                    ),
                })))
            }
        }
    }
}
