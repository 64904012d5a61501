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
/// After so long without a change it is said that nothing did, up to which record, and what time alone changes.
const BEAT: Duration = Duration::from_secs(5);

/// The patches of a view, as server-sent events: `snapshot` with the whole of it where what the caller has is not
/// known to be the same, then `patch` with `seq`, `as_of` and a JSON merge patch (RFC 7396). Ids are sequences.
#[utoipa::path(get, path = "/api/v2/dagbok/ui/stream", tag = "UI", params(
        ViewQuery, ("Last-Event-ID" = Option<u64>, Header, description = "The sequence of what is at hand.")
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
    let resumed = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.trim().parse().ok());
    let at_hand: Option<u64> = resumed.or(query.seq);
    let mut live = Live::new(state.clone(), view);
    let first = live.view.snapshot(&state).await?;
    let is_known = at_hand.is_some() && at_hand == first["seq"].as_u64();
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

fn event(kind: &str, snapshot: &Value, data: &Value) -> Event {
    let id = snapshot["seq"].as_u64().unwrap_or(0).to_string();
    Event::default().event(kind).id(id).data(data.to_string())
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
}

impl Live {
    fn new(state: ApiState, view: View) -> Self {
        let standing = state.model.progress().subscribe();
        let alerts = state.alerts.get().map(crate::alerts::Alerts::subscribe);
        Self { state, view, sent: Value::Null, standing, alerts, rest: Instant::now() }
    }

    /// The next patch; `None` once there can be none any more.
    async fn next(&mut self) -> Option<Event> {
        loop {
            tokio::time::sleep_until(self.rest).await;
            let quiet = self.change().await?;
            if !quiet && !self.concerns().await {
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
                if members.is_empty() && !quiet {
                    continue;
                }
            }
            let data = json!({ "seq": seq, "as_of": as_of, "patch": change });
            let event = event("patch", &new, &data);
            self.sent = new;
            return Some(event);
        }
    }

    /// Waits for a record; true where none came.
    async fn change(&mut self) -> Option<bool> {
        let alerts = async {
            match &mut self.alerts {
                Some(alerts) => alerts.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = self.standing.changed() => changed.ok().map(|()| false),
            changed = alerts => changed.ok().map(|()| false),
            () = tokio::time::sleep(BEAT) => Some(true),
        }
    }

    /// Whether what changed can be seen: a run's view by the run's last record.
    async fn concerns(&self) -> bool {
        let Some(key) = self.view.run().cloned() else { return true };
        let alerts =
            self.alerts.as_ref().is_some_and(|alerts| alerts.has_changed().unwrap_or(false));
        let seen = self.sent["seq"].as_u64().unwrap_or(0);
        let last =
            self.state.read(move |store| Ok(store.run(&key)?.map_or(u64::MAX, |run| run.last_seq)));
        alerts || last.await.map_or(true, |last| last > seen)
    }
}
