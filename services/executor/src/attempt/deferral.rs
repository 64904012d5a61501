//! A try that defers itself: what it says of its trigger, kept within the limits.
use dagbok_events::{Digest, HitlAsk, Payload, Timestamp, TriggerCall};
use dagbok_protocol::limits::{HITL_ASK_BYTES, INLINE_PAYLOAD_BYTES, TRIGGER_BYTES};
use serde::Deserialize;

use super::said::Deferred;
use crate::store::Store;

/// In the words of Airflow's task runner; arguments are JSON in text.
#[derive(Debug, Deserialize)]
pub(crate) struct DeferTask {
    classpath: String,
    trigger_kwargs: String,
    next_method: String,
    #[serde(default)]
    next_kwargs: Option<String>,
    #[serde(default)]
    timeout_at: Option<Timestamp>,
    /// Where it waits for a person: what is asked, in the words of the fact.
    #[serde(default)]
    ask: Option<HitlAsk>,
}

/// What is reported of it; the error is for the author of the task.
pub(super) async fn deferred(asked: DeferTask, store: &Store) -> Result<Deferred, String> {
    let DeferTask { classpath, trigger_kwargs, next_method, next_kwargs, timeout_at, ask } = asked;
    let ask = ask.map(checked).transpose()?.map(Box::new);
    let kwargs = pack(store, "the trigger's arguments", trigger_kwargs).await?;
    let next_kwargs = match next_kwargs {
        Some(text) => Some(pack(store, "the arguments of the next method", text).await?),
        None => None,
    };
    let trigger = TriggerCall { class_path: classpath, kwargs };
    Ok(Deferred { trigger, next_method, next_kwargs, timeout_at, ask })
}

/// What is asked, where it is a question that fits into a fact.
fn checked(ask: HitlAsk) -> Result<HitlAsk, String> {
    let size = serde_json::to_vec(&ask).map_or(usize::MAX, |text| text.len());
    if size > HITL_ASK_BYTES {
        return Err(format!(
            "what is asked has {size} bytes of JSON; the limit is {HITL_ASK_BYTES}: put long texts where people can \
             read them, and a link in the body"
        ));
    }
    if ask.options.is_empty() {
        return Err("what is asked has no options to choose from".to_owned());
    }
    Ok(ask)
}

/// JSON in text as a fact holds it: beside the log where it is long.
pub(crate) async fn pack(store: &Store, what: &str, text: String) -> Result<Payload, String> {
    let size = text.len();
    if size > TRIGGER_BYTES {
        return Err(format!(
            "{what} have {size} bytes of JSON; the limit is {TRIGGER_BYTES}: hand on a path or an id instead"
        ));
    }
    if size <= INLINE_PAYLOAD_BYTES {
        return Ok(Payload::Inline(text));
    }
    let digest = store.put(text.into_bytes().into()).await?;
    let digest = Digest::new(digest).expect("a blob store answers with a digest");
    Ok(Payload::Blob { digest, size: size as u64 })
}

/// The text again.
pub(crate) async fn unpack(store: &Store, payload: &Payload) -> Result<String, String> {
    let bytes = match payload {
        Payload::Inline(text) => return Ok(text.clone()),
        Payload::Blob { digest, .. } => store.get(digest.as_str()).await?,
    };
    String::from_utf8(bytes.into()).map_err(|error| format!("it is no text: {error}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dagbok_runlog::memory;

    use super::*;

    fn store() -> Store {
        Store::new(Arc::clone(&memory::ports().blobs))
    }

    #[tokio::test]
    async fn what_a_trigger_is_given_has_so_many_bytes() {
        let store = store();
        let text = "x".repeat(TRIGGER_BYTES);
        let packed = pack(&store, "the trigger's arguments", text.clone()).await.unwrap();
        assert_eq!(unpack(&store, &packed).await.unwrap(), text);
        let why = pack(&store, "the trigger's arguments", text + "x").await.unwrap_err();
        assert!(why.contains("have 262145 bytes of JSON; the limit is 262144"), "{why}");
    }

    #[test]
    fn what_is_asked_has_so_many_bytes() {
        let of = |subject: usize| HitlAsk {
            subject: "x".repeat(subject),
            body: None,
            options: vec!["Approve".to_owned()],
            defaults: None,
            multiple: false,
            params: None,
            assigned_users: vec![],
        };
        let around = serde_json::to_vec(&of(0)).unwrap().len();
        assert!(checked(of(HITL_ASK_BYTES - around)).is_ok());
        let why = checked(of(HITL_ASK_BYTES - around + 1)).unwrap_err();
        assert!(why.contains("has 65537 bytes of JSON; the limit is 65536"), "{why}");
    }
}
