//! What changes of a view, while a tab looks at it: the snapshot is made anew when a record may have changed it, and
//! what differs is sent. Whoever comes back says which snapshot it has, and gets nothing twice.
use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    http::HeaderMap,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use dagbok_projection::Standing;
use dagbok_runlog::Seq;
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};

use super::{
    super::{errors::ApiError, extract::InQuery, state::ApiState},
    patch,
    view::{View, ViewQuery},
};
use crate::shapes::Detail;

/// Patches of one stream follow each other no faster than this.
const APART: Duration = Duration::from_millis(100);
/// A share of the time is left to others: a snapshot that takes long is made less often.
const SHARE: u32 = 4;
/// So long after the last patch it is said up to which record nothing changed, and what time alone changes.
const BEAT: Duration = Duration::from_secs(5);

/// The patches of a view, as server-sent events: `snapshot` with the whole of it where what the caller has is not
/// known to be the same, then `patch` with `seq`, `as_of` and a JSON merge patch (RFC 7396). Ids are a snapshot's `seq` and
/// `mark`.
#[utoipa::path(get, path = "/api/v2/dagbok/ui/stream", tag = "UI", params(
        ViewQuery, ("Last-Event-ID" = Option<String>, Header, description = "The id of what is at hand.")
    ),
    responses((status = 200, content((String = "text/event-stream"))), (status = 404, body = Detail),
    (status = 422, body = Detail), (status = 503, body = Detail)
))]
pub(crate) async fn stream(
    State(state): State<ApiState>,
    InQuery(query): InQuery<ViewQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let view = View::of_query(&query)?;
    let resumed = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let queried = query.seq.zip(query.mark.as_ref()).map(|(seq, mark)| id_of(seq, mark));
    let at_hand = resumed.map(str::to_owned).or(queried);
    let mut live = Live::new(state.clone(), view);
    let first = live.view.snapshot(&state).await?;
    // Of the same sequence is not enough: what alerts say, and who is there, is in no record of this log.
    let is_known = at_hand.is_some_and(|at_hand| at_hand == id(&first));
    let hello = (!is_known).then(|| event("snapshot", &first, &first));
    live.sent = first;
    let patches = stream::unfold(live, async |mut live| Some((live.next().await?, live)));
    let shutdown = state.shutdown.clone();
    let events = stream::iter(hello)
        .chain(patches)
        .map(Ok::<_, Infallible>)
        .take_until(async move { shutdown.started().await });
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::new().interval(state.patience.heartbeat))
        .into_response())
}

fn id_of(seq: u64, mark: &str) -> String {
    format!("{seq}-{mark}")
}

fn id(snapshot: &Value) -> String {
    id_of(snapshot["seq"].as_u64().unwrap_or(0), snapshot["mark"].as_str().unwrap_or_default())
}

fn event(kind: &str, snapshot: &Value, data: &Value) -> Event {
    Event::default().event(kind).id(id(snapshot)).data(data.to_string())
}

/// Why a view is looked at again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The log has a record more.
    Record,
    /// The log of alerts has.
    Alert,
    /// Nothing was said for a while.
    Beat,
}

struct Live {
    state: ApiState,
    view: View,
    /// What the other side has.
    sent: Value,
    standing: watch::Receiver<Standing>,
    alerts: Option<watch::Receiver<Option<Seq>>>,
    /// Not before this.
    rest: Instant,
    /// When the other side heard of something last.
    told: Instant,
}

impl Live {
    fn new(state: ApiState, view: View) -> Self {
        let standing = state.model.progress().subscribe();
        let alerts = state.alerts.get().map(crate::alerts::Alerts::subscribe);
        let now = Instant::now();
        Self { state, view, sent: Value::Null, standing, alerts, rest: now, told: now }
    }

    /// The next patch; `None` once there can be none any more.
    async fn next(&mut self) -> Option<Event> {
        loop {
            tokio::time::sleep_until(self.rest).await;
            let cause = self.cause().await?;
            if cause == Cause::Record && !self.concerns().await {
                continue;
            }
            let began = Instant::now();
            // The run was deleted, or the rows are made anew: the tab asks again, and is told.
            let new = self.view.snapshot(&self.state).await.ok()?;
            self.rest = Instant::now() + APART.max(began.elapsed() * SHARE);
            let mut change = patch::between(&self.sent, &new).unwrap_or_else(|| json!({}));
            let (seq, as_of) = (new["seq"].clone(), new["as_of"].clone());
            if let Some(members) = change.as_object_mut() {
                members.remove("seq");
                members.remove("as_of");
                if members.is_empty() && cause != Cause::Beat {
                    continue;
                }
            }
            let data = json!({ "seq": seq, "as_of": as_of, "patch": change });
            let event = event("patch", &new, &data);
            self.sent = new;
            self.told = Instant::now();
            return Some(event);
        }
    }

    /// Waits until there is one. The beat comes first: a log that never rests must not keep it away.
    async fn cause(&mut self) -> Option<Cause> {
        let alerts = async {
            match &mut self.alerts {
                Some(alerts) => alerts.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(self.told + BEAT) => Some(Cause::Beat),
            changed = alerts => changed.ok().map(|()| Cause::Alert),
            changed = self.standing.changed() => changed.ok().map(|()| Cause::Record),
        }
    }

    /// Whether a record can be seen in the view: in a run's by the run's last record.
    async fn concerns(&self) -> bool {
        let Some(key) = self.view.run().cloned() else { return true };
        let seen = self.sent["seq"].as_u64().unwrap_or(0);
        let last =
            self.state.read(move |store| Ok(store.run(&key)?.map_or(u64::MAX, |run| run.last_seq)));
        last.await.map_or(true, |last| last > seen)
    }
}
