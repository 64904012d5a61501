//! The log as a stream: lines of JSON, or server-sent events that resume where they broke off.
use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use dagbok_events::{DagId, Record, RunId, RunKey, Scope, entry_json};
use dagbok_projection::Skipped;
use dagbok_runlog::{Entry, PortError, PortResult, ReadLimit, RunLog, Seq};
use futures::{Stream, StreamExt as _, stream, stream::BoxStream};
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use super::{
    errors::ApiError,
    extract::{InQuery, accepts, flag},
    state::ApiState,
};
use crate::{model::rows::Stretch, shapes::Detail};

/// Which records are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventQuery {
    /// The first sequence that is wanted; 1 where not said.
    from: Option<u64>,
    /// The last sequence that is wanted; what comes later is not looked at, and not followed.
    to: Option<u64>,
    /// Records about this DAG and its runs.
    dag_id: Option<String>,
    /// Records about this run; needs `dag_id`.
    run_id: Option<String>,
    /// Whether to go on with what comes; always so for server-sent events.
    #[serde(deserialize_with = "flag")]
    follow: Option<bool>,
    /// At most this many records.
    limit: Option<u64>,
}

/// Which records pass.
#[derive(Clone, Debug)]
enum Filter {
    All,
    Dag(DagId),
    Run(RunKey),
}

impl Filter {
    fn of(query: &EventQuery) -> Result<Self, ApiError> {
        let bad = |field: &str, error: &dyn std::fmt::Display| {
            ApiError::invalid("value_error", &["query", field], error)
        };
        match (&query.dag_id, &query.run_id) {
            (None, None) => Ok(Self::All),
            (None, Some(_)) => Err(bad("run_id", &"a run is named by its DAG too: give `dag_id`")),
            (Some(dag_id), run_id) => {
                let dag_id = DagId::new(dag_id.as_str()).map_err(|error| bad("dag_id", &error))?;
                let Some(run_id) = run_id else { return Ok(Self::Dag(dag_id)) };
                let run_id = RunId::new(run_id.as_str()).map_err(|error| bad("run_id", &error))?;
                Ok(Self::Run(RunKey { dag_id, run_id }))
            }
        }
    }

    fn passes(&self, record: &Record) -> bool {
        match (self, &record.scope) {
            (Self::All, _) => true,
            (Self::Dag(dag_id), Scope::Dag(of)) => of == dag_id,
            (Self::Dag(dag_id), Scope::Run(run)) => run.dag_id == *dag_id,
            (Self::Run(key), Scope::Run(run)) => run == key,
            (Self::Dag(_) | Self::Run(_), _) => false,
        }
    }
}

/// The log, from a sequence on. Lines of JSON; server-sent events with `Accept: text/event-stream`,
/// whose ids are sequences, so that `Last-Event-ID` resumes.
#[utoipa::path(get, path = "/api/v2/dagbok/events", tag = "Dagbok", params(
        EventQuery, ("Last-Event-ID" = Option<u64>, Header, description = "The last sequence that was seen.")
    ),
    responses((status = 200, content((String = "application/x-ndjson"), (String = "text/event-stream"))),
    (status = 422, body = Detail), (status = 503, body = Detail)
))]
pub(crate) async fn events(
    State(state): State<ApiState>,
    InQuery(query): InQuery<EventQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let filter = Filter::of(&query)?;
    let after = match headers.get("last-event-id") {
        Some(id) => {
            let id = id.to_str().ok().and_then(|id| id.trim().parse().ok());
            let msg = "must be the id of an event: a sequence";
            id.ok_or_else(|| ApiError::invalid("int_parsing", &["header", "last-event-id"], msg))?
        }
        None => query.from.unwrap_or(1).saturating_sub(1),
    };
    // No log is that long, and what follows may be counted on from here.
    let after = after.min(i64::MAX.cast_unsigned());
    // A limit counts what passes, and may have all of a long log read for the little that does: `to` bounds that.
    let sse = accepts(&headers, "text/event-stream");
    let follows = sse || query.follow.unwrap_or(false);
    let entries = entries(&state, &filter, Seq(after), (query.to.map(Seq), follows)).await?;
    let limit = usize::try_from(query.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    let shutdown = state.shutdown.clone();
    let lines = shown(state.ports.log.clone(), entries, filter)
        .take(limit)
        .take_until(async move { shutdown.started().await });
    Ok(if sse { as_events(lines, &state) } else { as_lines(lines, &state, follows) })
}

/// What is sent: a record, or the reason why there are no more.
enum EventLine {
    Record(u64, Value),
    Broken(String),
}

fn shown(
    log: Arc<dyn RunLog>,
    entries: BoxStream<'static, PortResult<Vec<Entry>>>,
    filter: Filter,
) -> impl Stream<Item = EventLine> {
    let begin = (entries, Skipped::default(), log, filter);
    let lines = stream::unfold(begin, async |(mut entries, mut skipped, log, filter)| {
        let lines = match entries.next().await? {
            Ok(batch) => lines_of(batch, &mut skipped, &*log, &filter).await,
            Err(error) => vec![EventLine::Broken(error.to_string())],
        };
        Some((stream::iter(lines), (entries, skipped, log, filter)))
    });
    // Nothing comes after a break.
    lines.flatten().scan(false, |broken, line| {
        let past = *broken;
        *broken = matches!(line, EventLine::Broken(_));
        futures::future::ready((!past).then_some(line))
    })
}

/// A batch as it is shown, up to what can't be read. What a record behind it has passed over is shown as a
/// record without facts.
async fn lines_of(
    batch: Vec<Entry>,
    skipped: &mut Skipped,
    log: &dyn RunLog,
    filter: &Filter,
) -> Vec<EventLine> {
    let mut lines = Vec::with_capacity(batch.len());
    for Entry { seq, payload, .. } in batch {
        let decoded = match skipped.decode(seq, &payload) {
            Err(_) => match skipped.search(log, seq).await {
                Ok(()) => skipped.decode(seq, &payload),
                Err(error) => {
                    lines.push(EventLine::Broken(error.to_string()));
                    return lines;
                }
            },
            decoded => decoded,
        };
        match decoded {
            Ok(record) if filter.passes(&record) => {
                lines.push(EventLine::Record(seq.0, entry_json(seq.0, &record)));
            }
            Ok(_) => {}
            Err(error) => {
                lines.push(EventLine::Broken(format!("entry {seq} of the log: {error}")));
                return lines;
            }
        }
    }
    lines
}

fn as_events(lines: impl Stream<Item = EventLine> + Send + 'static, state: &ApiState) -> Response {
    let events = lines.map(|line| {
        Ok::<_, Infallible>(match line {
            EventLine::Record(seq, value) => {
                Event::default().id(seq.to_string()).event("record").data(value.to_string())
            }
            EventLine::Broken(why) => Event::default().event("error").data(why),
        })
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(state.patience.heartbeat)).into_response()
}

fn as_lines(
    lines: impl Stream<Item = EventLine> + Send + 'static,
    state: &ApiState,
    follows: bool,
) -> Response {
    let lines = lines.map(|line| match line {
        EventLine::Record(_, value) => Ok(format!("{value}\n")),
        // The body ends without its end: a reader must not take a part for the whole.
        EventLine::Broken(why) => Err(std::io::Error::other(why)),
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    if follows {
        let body = Body::from_stream(with_beats(lines, state.patience.heartbeat));
        return (kind, body).into_response();
    }
    let mut response = (kind, Body::from_stream(lines)).into_response();
    response.extensions_mut().insert(Ends);
    response
}

/// Marks an answer that is a stream and comes to its end by itself: what is packed of it need not be sent at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends;

/// The lines, and a blank one after a while without: tells a dead connection from a quiet log.
fn with_beats<E>(
    lines: impl Stream<Item = Result<String, E>> + Send + 'static,
    every: Duration,
) -> impl Stream<Item = Result<String, E>> + Send {
    stream::unfold(Box::pin(lines), move |mut lines| async move {
        match tokio::time::timeout(every, lines.next()).await {
            Ok(line) => line.map(|line| (line, lines)),
            Err(_) => Some((Ok("\n".to_owned()), lines)),
        }
    })
}

/// The entries after `after` that may pass: a run's by its index, the others by reading all.
async fn entries(
    state: &ApiState,
    filter: &Filter,
    after: Seq,
    (to, follows): (Option<Seq>, bool),
) -> Result<BoxStream<'static, PortResult<Vec<Entry>>>, ApiError> {
    let log = std::sync::Arc::clone(&state.ports.log);
    let last = log.last().await?;
    let last = to.map_or(last, |to| to.min(last));
    let (past, upto) = match filter {
        Filter::Run(run) => {
            let (stretches, upto) = stretches(state, run.clone(), after, last).await?;
            (by_stretches(state, stretches), upto.max(after))
        }
        Filter::All | Filter::Dag(_) => (stream::empty().boxed(), after),
    };
    let past = past.chain(up_to(state, upto, last));
    if !follows || to.is_some() {
        return Ok(past.boxed());
    }
    // The log is followed only once what is there has been sent.
    let rest = stream::once(async move { log.follow(last.max(upto)) }).flatten();
    Ok(past.chain(rest).boxed())
}

/// Where a run's records are after `after` up to `last`, and up to where that is known.
async fn stretches(
    state: &ApiState,
    run: RunKey,
    after: Seq,
    last: Seq,
) -> Result<(VecDeque<Stretch>, Seq), ApiError> {
    let upto = state.model.progress().now().applied;
    let found = state.read(move |store| match store.run(&run)? {
        Some(row) => Ok(store.seqs(&row)?),
        None => Ok(Vec::new()),
    });
    let wanted = found.await?.into_iter().filter_map(|Stretch(first, count)| {
        let end = (first + u64::from(count)).min(upto.min(last).0 + 1);
        let first = first.max(after.0.saturating_add(1));
        let count = u32::try_from(end.checked_sub(first)?).ok()?;
        (count > 0).then_some(Stretch(first, count))
    });
    Ok((wanted.collect(), upto))
}

fn by_stretches(
    state: &ApiState,
    stretches: VecDeque<Stretch>,
) -> BoxStream<'static, PortResult<Vec<Entry>>> {
    let log = std::sync::Arc::clone(&state.ports.log);
    stream::try_unfold(stretches, move |mut left| {
        let log = std::sync::Arc::clone(&log);
        async move {
            let Some(Stretch(first, count)) = left.pop_front() else { return Ok(None) };
            let limit = ReadLimit { entries: count as usize, ..ReadLimit::default() };
            let entries = log.read(Seq(first - 1), limit).await?;
            let read = u32::try_from(entries.len()).unwrap_or(count).min(count);
            if read == 0 {
                return Err(PortError::unavailable(
                    "log",
                    format!("entry {first} is not there any more"),
                ));
            }
            if read < count {
                left.push_front(Stretch(first + u64::from(read), count - read));
            }
            Ok(Some((entries, left)))
        }
    })
    .boxed()
}

/// Everything after `after` up to `last`.
fn up_to(state: &ApiState, after: Seq, last: Seq) -> BoxStream<'static, PortResult<Vec<Entry>>> {
    let log = std::sync::Arc::clone(&state.ports.log);
    stream::try_unfold(after, move |seen| {
        let log = std::sync::Arc::clone(&log);
        async move {
            if seen >= last {
                return Ok(None);
            }
            let mut entries = log.read(seen, ReadLimit::default()).await?;
            entries.retain(|entry| entry.seq <= last);
            let Some(seen) = entries.last().map(|entry| entry.seq) else { return Ok(None) };
            Ok(Some((entries, seen)))
        }
    })
    .boxed()
}
