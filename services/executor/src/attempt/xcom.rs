//! What tasks hand on: read from the keyed state, pushed as reports, and a try's own at once.
use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use dagbok_events::{DagId, Digest, MapIndex, Payload, RunId, TaskId, TryKey};
use dagbok_inbox::whole;
use dagbok_protocol::{
    Asked, ReturnedBy, StoredXCom, XComValue,
    limits::{INLINE_PAYLOAD_BYTES, PAYLOAD_BYTES},
    names, xcom_forgotten,
};
use dagbok_runlog::{KeyedState, PortError};
use dagbok_runtime::Backoff;
use serde_json::Value;

use crate::{elements::Elements, store::Store};

/// The key of what a task returned.
pub(crate) const RETURN_VALUE: &str = "return_value";

/// Bytes of values that one answer brings, but for a value that is larger by itself.
const ANSWER_BYTES: u64 = 4 << 20;

/// Values of copies that are asked for one by one; for more all of them are listed.
const FEW: usize = 16;

/// Whose value is asked for. Ids that no task can have are no error: nothing has been pushed there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    dag_id: DagId,
    run_id: RunId,
    task_id: TaskId,
    map_index: MapIndex,
}

impl Address {
    /// From a request's fields; `None` where they can't be ids.
    pub(crate) fn new(
        dag_id: &str,
        run_id: &str,
        task_id: &str,
        map_index: Option<i32>,
    ) -> Option<Self> {
        Some(Self {
            dag_id: DagId::new(dag_id).ok()?,
            run_id: RunId::new(run_id).ok()?,
            task_id: TaskId::new(task_id).ok()?,
            map_index: map_index.map_or(MapIndex::UNMAPPED, MapIndex),
        })
    }

    /// Whether that is in the run of this try.
    pub(crate) fn is_of_run(&self, key: &TryKey) -> bool {
        (&self.dag_id, &self.run_id) == (&key.dag_id, &key.run_id)
    }

    /// What the API is asked for it.
    pub(crate) fn asked(&self, key: String, prior: bool) -> Asked {
        let Self { dag_id, run_id, task_id, map_index } = self.clone();
        Asked::XCom { dag_id, run_id, task_id, map_index, key, prior }
    }

    /// What the API is asked for what copies of the task handed on, from the one after `after` on.
    pub(crate) fn asked_of_copies(&self, key: String, after: MapIndex) -> Asked {
        let Self { dag_id, run_id, task_id, .. } = self.clone();
        Asked::XComs { dag_id, run_id, task_id, key, after }
    }

    /// Whether that is the task of this try.
    pub(crate) fn is_own(&self, key: &TryKey) -> bool {
        (&self.dag_id, &self.run_id, &self.task_id, self.map_index)
            == (&key.dag_id, &key.run_id, &key.task_id, key.map_index)
    }
}

/// What one try pushed, over what others did.
#[derive(Debug)]
pub(crate) struct XComs {
    state: Arc<dyn KeyedState>,
    store: Store,
    own: BTreeMap<String, Option<Value>>,
    /// A mapped task that was counted last, and its key: which copies returned something, where that is written,
    /// else what they had handed on, in order of the copies.
    counted: Option<(Address, String, Counted)>,
}

/// What is known of what a mapped task's copies handed on.
#[derive(Debug)]
enum Counted {
    Written(ReturnedBy),
    Listed(Vec<Payload>),
}

/// Why a value can't be handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoValue {
    /// It is forgotten: asking again is of no use.
    Forgotten(String),
    /// Anything else.
    Other(String),
}

impl NoValue {
    /// By the API's answer to a question.
    pub(crate) fn answered((status, why): (u16, String)) -> Self {
        if status == 410 { Self::Forgotten(why) } else { Self::Other(why) }
    }
}

impl From<String> for NoValue {
    fn from(why: String) -> Self {
        Self::Other(why)
    }
}

impl From<NoValue> for (&'static str, String) {
    fn from(no: NoValue) -> Self {
        match no {
            NoValue::Forgotten(why) => ("XCOM_FORGOTTEN", why),
            NoValue::Other(why) => ("GENERIC_ERROR", why),
        }
    }
}

impl XComs {
    /// Nothing pushed yet.
    pub(crate) fn new(state: Arc<dyn KeyedState>, store: Store) -> Self {
        Self { state, store, own: BTreeMap::new(), counted: None }
    }

    /// A value's form in a report: inline where small, beside the log where large; an error above the limit.
    pub(crate) async fn pack(
        &self,
        key: &str,
        value: Option<&Value>,
        length: Option<u32>,
    ) -> Result<XComValue, String> {
        let key = key.to_owned();
        let Some(value) = value else { return Ok(XComValue { key, value: None, length: None }) };
        let text = value.to_string();
        let size = text.len();
        if size > PAYLOAD_BYTES {
            return Err(format!(
                "the XCom `{key}` has {size} bytes of JSON; the limit is {PAYLOAD_BYTES}"
            ));
        }
        if size <= INLINE_PAYLOAD_BYTES {
            return Ok(XComValue { key, value: Some(Payload::Inline(text)), length });
        }
        let digest = self.store.put(Bytes::from(text)).await;
        let digest = digest.map_err(|why| format!("the XCom `{key}` can't be stored: {why}"))?;
        let digest = Digest::new(digest).expect("a blob store answers with a digest");
        Ok(XComValue { key, value: Some(Payload::Blob { digest, size: size as u64 }), length })
    }

    /// Where large values lie.
    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }

    /// The try can read its own value from now on.
    pub(crate) fn remember(&mut self, key: String, value: Option<Value>) {
        self.own.insert(key, value);
    }

    /// A value, which can be JSON's null; `None` where there is none. Waits for as long as the broker is away.
    pub(crate) async fn get(
        &self,
        from: &Address,
        key: &str,
        own: bool,
    ) -> Result<Option<Value>, NoValue> {
        if own && let Some(value) = self.own.get(key) {
            return Ok(value.clone());
        }
        match self.stored(from, from.map_index, key).await? {
            Some(payload) => Ok(Some(self.unpack(key, payload).await?)),
            None => Ok(None),
        }
    }

    /// A value's elements, where it has some; `None` where there is no such value.
    pub(crate) async fn elements(
        &self,
        from: &Address,
        key: &str,
    ) -> Result<Option<Arc<Elements>>, NoValue> {
        let Some(payload) = self.stored(from, from.map_index, key).await? else { return Ok(None) };
        let found = match payload {
            Payload::Inline(text) => Elements::of(Bytes::from(text)).map(Arc::new),
            Payload::Blob { digest, .. } => self.store.elements(digest.as_str()).await,
        };
        found.map(Some).map_err(|why| format!("the XCom `{key}` can't be read: {why}").into())
    }

    async fn stored(
        &self,
        of: &Address,
        map_index: MapIndex,
        key: &str,
    ) -> Result<Option<Payload>, NoValue> {
        let place = names::xcom_key(&of.dag_id, &of.run_id, &of.task_id, map_index, key);
        let found = self.look_up(&place).await?;
        found.map(|found| payload(of.task_id.as_str(), key, &found)).transpose()
    }

    async fn look_up(&self, place: &str) -> Result<Option<Bytes>, String> {
        let mut patience = Patience::default();
        loop {
            match whole::get(&*self.state, place).await {
                Ok(found) => return Ok(found.map(|found| found.value)),
                Err(error) => patience.wait(error).await?,
            }
        }
    }

    async fn unpack(&self, key: &str, payload: Payload) -> Result<Value, String> {
        let text = match payload {
            Payload::Inline(text) => Bytes::from(text),
            Payload::Blob { digest, .. } => self.store.get(digest.as_str()).await?,
        };
        serde_json::from_slice(&text)
            .map_err(|error| format!("the XCom `{key}` is no JSON: {error}"))
    }

    /// How many copies of a mapped task have handed on a value; they are what is read from then on.
    pub(crate) async fn count_copies(
        &mut self,
        from: Option<Address>,
        key: &str,
    ) -> Result<usize, NoValue> {
        let Some(from) = from else { return Ok(0) };
        if key == RETURN_VALUE {
            let place = names::returned_by_key(&from.dag_id, &from.run_id, &from.task_id);
            let written = self.look_up(&place).await?;
            let written = written.and_then(|text| serde_json::from_slice::<ReturnedBy>(&text).ok());
            if let Some(written) = written {
                let count = written.len();
                self.counted = Some((from, key.to_owned(), Counted::Written(written)));
                return Ok(count);
            }
        }
        let listed = self.list_copies(&from, key).await?;
        let count = listed.len();
        self.counted = Some((from, key.to_owned(), Counted::Listed(listed)));
        Ok(count)
    }

    /// Whether copies of the task that handed on a value were counted, and are what is read.
    pub(crate) fn has_counted(&self, from: &Address, key: &str) -> bool {
        self.counted.as_ref().is_some_and(|(of, named, _)| of == from && named == key)
    }

    /// What copies of a task of another run have handed on, as who knows all runs says: that is read from now on.
    pub(crate) fn count_elsewhere(
        &mut self,
        from: Address,
        key: &str,
        values: Vec<Payload>,
    ) -> usize {
        let count = values.len();
        self.counted = Some((from, key.to_owned(), Counted::Listed(values)));
        count
    }

    async fn list_copies(&self, from: &Address, key: &str) -> Result<Vec<Payload>, NoValue> {
        let prefix = names::xcom_task_prefix(&from.dag_id, &from.run_id, &from.task_id);
        let mut patience = Patience::default();
        let listed = loop {
            match whole::list(&*self.state, &prefix).await {
                Ok(listed) => break listed,
                Err(error) => patience.wait(error).await?,
            }
        };
        let mut found = Vec::new();
        for (place, value) in listed {
            let Some(map_index) = names::map_index_of(&place, &prefix, key) else { continue };
            if !map_index.is_unmapped() {
                found.push((map_index, payload(from.task_id.as_str(), key, &value.value)?));
            }
        }
        found.sort_by_key(|(map_index, _)| *map_index);
        Ok(found.into_iter().map(|(_, payload)| payload).collect())
    }

    /// Those of their values that are wanted, until they are enough for an answer; none where there are no more.
    pub(crate) async fn some_copies(
        &mut self,
        from: Option<Address>,
        key: &str,
        wanted: std::ops::Range<usize>,
    ) -> Result<Vec<Value>, NoValue> {
        let Some(from) = from else { return Ok(Vec::new()) };
        if !self.has_counted(&from, key) {
            self.count_copies(Some(from.clone()), key).await?;
        }
        if let Some((_, _, Counted::Written(written))) = &self.counted {
            let wanted = wanted.start..wanted.end.min(written.len());
            if wanted.len() <= FEW {
                let copies: Vec<MapIndex> = wanted.filter_map(|nth| written.nth(nth)).collect();
                return self.values_of(&from, key, &copies).await;
            }
            let listed = self.list_copies(&from, key).await?;
            self.counted = Some((from, key.to_owned(), Counted::Listed(listed)));
        }
        let Some((_, _, Counted::Listed(listed))) = &self.counted else { return Ok(Vec::new()) };
        let (mut values, mut bytes) = (Vec::new(), 0);
        let most = wanted.end.saturating_sub(wanted.start);
        for payload in listed.iter().skip(wanted.start).take(most) {
            bytes += size_of_payload(payload);
            if !values.is_empty() && bytes > ANSWER_BYTES {
                break;
            }
            values.push(self.unpack(key, payload.clone()).await?);
        }
        Ok(values)
    }

    /// The values of these copies, until they are enough for an answer. What is gone since it was counted ends it.
    async fn values_of(
        &self,
        from: &Address,
        key: &str,
        copies: &[MapIndex],
    ) -> Result<Vec<Value>, NoValue> {
        let (mut values, mut bytes) = (Vec::new(), 0);
        for map_index in copies {
            let Some(payload) = self.stored(from, *map_index, key).await? else { break };
            bytes += size_of_payload(&payload);
            if !values.is_empty() && bytes > ANSWER_BYTES {
                break;
            }
            values.push(self.unpack(key, payload).await?);
        }
        Ok(values)
    }
}

const fn size_of_payload(payload: &Payload) -> u64 {
    match payload {
        Payload::Inline(text) => text.len() as u64,
        Payload::Blob { size, .. } => *size,
    }
}

/// Waits for as long as the broker is away.
#[derive(Debug, Default)]
struct Patience(Backoff);

impl Patience {
    async fn wait(&mut self, error: PortError) -> Result<(), String> {
        if !matches!(error, PortError::Unavailable { .. }) {
            return Err(error.to_string());
        }
        if self.0.is_worth_telling() {
            tracing::warn!(%error, "an XCom can't be read; trying again");
        }
        self.0.pause().await;
        Ok(())
    }
}

fn payload(task_id: &str, key: &str, stored: &[u8]) -> Result<Payload, NoValue> {
    let stored: StoredXCom = serde_json::from_slice(stored)
        .map_err(|error| format!("the XCom `{key}` is stored wrongly: {error}"))?;
    stored
        .value()
        .map_err(|kept_until| NoValue::Forgotten(xcom_forgotten(task_id, key, kept_until)))
}

#[cfg(test)]
mod tests {
    use dagbok_runlog::memory;

    use super::*;

    fn xcoms() -> XComs {
        let ports = memory::ports();
        XComs::new(Arc::clone(&ports.state), Store::new(Arc::clone(&ports.blobs)))
    }

    #[tokio::test]
    async fn a_value_has_so_many_bytes_of_json() {
        let xcoms = xcoms();
        let of = |bytes: usize| Value::String("x".repeat(bytes - 2));
        for (bytes, inline) in [(INLINE_PAYLOAD_BYTES, true), (INLINE_PAYLOAD_BYTES + 1, false)] {
            let packed = xcoms.pack("k", Some(&of(bytes)), None).await.unwrap();
            assert_eq!(matches!(packed.value, Some(Payload::Inline(_))), inline);
        }
        let packed = xcoms.pack("k", Some(&of(PAYLOAD_BYTES)), None).await.unwrap();
        let Some(Payload::Blob { size, .. }) = packed.value else { panic!("{packed:?}") };
        assert_eq!(size, PAYLOAD_BYTES as u64);
        let why = xcoms.pack("k", Some(&of(PAYLOAD_BYTES + 1)), None).await.unwrap_err();
        assert_eq!(why, "the XCom `k` has 67108865 bytes of JSON; the limit is 67108864");
    }

    /// Never nothing: the task would go on with it.
    #[tokio::test]
    async fn what_is_forgotten_is_an_error_that_says_until_when_it_was_kept() {
        let xcoms = xcoms();
        let from = Address::new("d", "r", "t", None).unwrap();
        let place = names::xcom_key(&from.dag_id, &from.run_id, &from.task_id, from.map_index, "k");
        let gone =
            StoredXCom::Forgotten { kept_until: dagbok_events::Timestamp(1_700_000_000_000_000) };
        let text = Bytes::from(serde_json::to_vec(&gone).unwrap());
        xcoms.state.put(&place, text, None).await.unwrap();
        xcoms.state.put(names::PROTOCOL, "2".into(), None).await.unwrap();
        let said =
            "the XCom `k` of task `t` was kept until 2023-11-14T22:13:20Z, by retention.xcoms";
        let forgotten =
            |no: NoValue| matches!(no, NoValue::Forgotten(why) if why.starts_with(said));
        assert!(forgotten(xcoms.get(&from, "k", false).await.unwrap_err()));
        assert!(forgotten(xcoms.elements(&from, "k").await.unwrap_err()));
        assert_eq!(xcoms.get(&from, "other", false).await, Ok(None), "that never was");
        // What was written before there was anything to forget reads as it did.
        let place = names::xcom_key(&from.dag_id, &from.run_id, &from.task_id, from.map_index, "v");
        let text = serde_json::to_vec(&Payload::Inline("7".to_owned())).unwrap();
        xcoms.state.put(&place, text.into(), None).await.unwrap();
        assert_eq!(xcoms.get(&from, "v", false).await, Ok(Some(Value::from(7))));
    }
}
