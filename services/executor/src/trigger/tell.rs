//! What is said of triggers, and asked for them: to the scheduler, to the API.
use std::sync::Arc;

use dagbok_events::{LogRef, TriggerFailedWhy, TryKey};
use dagbok_protocol::{ReportBody, WorkItem, XComValue, limits::INLINE_TRACEBACK_BYTES};
use serde_json::{Map, Value, json};

use super::{Shared, group::code_of, held::Held};
use crate::attempt::{ask::ApiClient, deferral, past, wire};

/// Whether a try still waits for its trigger, as the scheduler says.
pub(super) async fn is_waited_for(shared: &Shared, key: &TryKey) -> bool {
    let report = shared.reporter.report(key, ReportBody::TriggerHeld);
    let answer = match report.send_asking().await {
        Ok(waiting) => report.answer(waiting).await.is_ok(),
        Err(_) => true,
    };
    report.forget();
    answer
}

/// A trigger's arguments, and where its bundle lies.
pub(super) async fn make_ready(
    shared: &Shared,
    item: &WorkItem,
) -> Result<(String, Option<String>), String> {
    let trigger = item.trigger.as_ref().ok_or("it names no trigger")?;
    let kwargs = deferral::unpack(&shared.store, &trigger.kwargs).await?;
    let folder = match code_of(item, &shared.settings).bundle {
        None => None,
        Some(digest) => {
            let folder = shared.bundles.folder(&digest).await.map_err(|error| error.to_string())?;
            Some(folder.to_string_lossy().into_owned())
        }
    };
    Ok((kwargs, folder))
}

pub(super) async fn pack_all(
    shared: &Shared,
    xcoms: Map<String, Value>,
) -> Result<Vec<XComValue>, String> {
    let mut values = Vec::new();
    for (key, value) in xcoms {
        let text = value.to_string();
        let value = Some(deferral::pack(&shared.store, "an XCom of the trigger", text).await?);
        values.push(XComValue { key, value, length: None });
    }
    Ok(values)
}

pub(super) async fn tell_failure(shared: &Shared, held: Held, log: Option<LogRef>, why: String) {
    let body =
        ReportBody::TriggerFailed { why: TriggerFailedWhy::Raised, traceback: tail(&why), log };
    tell(shared, held, body).await;
}

/// Until it is in the inbox; only then the item is done with.
pub(super) async fn tell(shared: &Shared, held: Held, body: ReportBody) {
    if let Err(error) = shared.reporter.report(&held.item.key, body).send().await {
        tracing::error!(key = %held.item.key, %error, "what became of a trigger breaks a limit");
        let traceback = error.to_string();
        let why = TriggerFailedWhy::Raised;
        let body = ReportBody::TriggerFailed { why, traceback, log: None };
        drop(shared.reporter.report(&held.item.key, body).send().await);
    }
    if let Err(error) = held.handle.ack().await {
        // It comes again, and is found to be over then.
        tracing::debug!(%error, "a trigger is not acknowledged");
    }
}

pub(super) fn acknowledge(held: Held) {
    tokio::spawn(async move {
        if let Err(error) = held.handle.ack().await {
            tracing::debug!(%error, "a trigger is not acknowledged");
        }
    });
}

/// Answers what a trigger asks about other runs.
pub(super) async fn answer(
    shared: &Shared,
    item: &WorkItem,
    id: i64,
    kind: &str,
    body: &Map<String, Value>,
) -> Vec<u8> {
    let (signals, store) = (Arc::clone(&shared.ports.signals), shared.store.clone());
    let mut api = ApiClient::new(signals, store, item.queued_seq, item.key.clone());
    let date = item.run.logical_date;
    let found = match past::answer(&mut api, &item.key, date, kind, body).await {
        Some(found) => found,
        None => Err(("GENERIC_ERROR", format!("`{kind}` is not for triggers"))),
    };
    match found {
        Ok(body) => wire::encode(&(id, body, ())),
        Err((error, why)) => {
            let detail =
                json!({"type": "ErrorResponse", "error": error, "detail": {"message": why}});
            wire::encode(&(id, (), detail))
        }
    }
}

/// The end of a traceback says most: where it was raised.
pub(super) fn tail(whole: &str) -> String {
    if whole.len() <= INLINE_TRACEBACK_BYTES {
        return whole.to_owned();
    }
    let from = whole.ceil_char_boundary(whole.len() - INLINE_TRACEBACK_BYTES + 64);
    format!("… {from} bytes left out\n{}", &whole[from..])
}
