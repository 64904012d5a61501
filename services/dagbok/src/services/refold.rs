//! The log folded afresh, for who asks what it says: up to a record, or over time. Nothing of what is shown at `/metrics` is
//! used: that is what is compared with it.
use std::{collections::BTreeMap, fmt, sync::Arc};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use dagbok_events::{Micros, Record, Timestamp};
use dagbok_metrics::{Detail, Instrument, Ledger, Source, find};
use dagbok_projection::decode_or_nothing;
use dagbok_runlog::{ReadLimit, RunLog, Seq};
use dagbok_runtime::Clock;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Values of one series over time.
pub(crate) type Points = Vec<(Timestamp, f64)>;

/// What `/metrics/folded` answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Folded {
    /// The figures as they are up to the record that was asked for, in Prometheus' text format.
    pub(crate) page: String,
    /// As they were before the first record that is not older than was asked for.
    pub(crate) before: Option<String>,
}

#[derive(Debug, Deserialize)]
struct FoldedAsk {
    seq: u64,
    by_task: bool,
    since: Option<jiff::Timestamp>,
}

#[derive(Debug, Deserialize)]
struct HistoryAsk {
    name: String,
    since: Option<jiff::Timestamp>,
    points: u32,
}

type Log = Arc<dyn RunLog>;

/// Why there is no answer, as the API says it.
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "detail": self.1 }))).into_response()
    }
}

/// Adds both.
pub(crate) fn with_refolds(router: Router, log: Log, clock: Clock) -> Router {
    let both = Router::new()
        .route("/metrics/folded", get(folded))
        .route("/metrics/history", get(history))
        .with_state((log, clock));
    router.merge(both)
}

/// Hands every record up to `last` to `take`, in order.
async fn each(
    log: &dyn RunLog,
    last: Option<u64>,
    mut take: impl FnMut(u64, &Record),
) -> Result<(), Refused> {
    let failed =
        |error: &dyn fmt::Display| Refused(StatusCode::SERVICE_UNAVAILABLE, error.to_string());
    let first = log.base().await.map_err(|error| failed(&error))?.first.0;
    let mut seen = Seq(first.saturating_sub(1));
    loop {
        let entries = log.read(seen, ReadLimit::default()).await.map_err(|error| failed(&error))?;
        if entries.is_empty() {
            return Ok(());
        }
        for entry in entries {
            if last.is_some_and(|last| entry.seq.0 > last) {
                return Ok(());
            }
            seen = entry.seq;
            let record = decode_or_nothing(&entry.payload).map_err(|error| failed(&error))?;
            take(entry.seq.0, &record);
        }
    }
}

async fn folded(
    State((log, _)): State<(Log, Clock)>,
    Query(ask): Query<FoldedAsk>,
) -> Result<Json<Folded>, Refused> {
    let (mut ledger, mut before) = (Ledger::new(ask.by_task), None);
    let since = ask.since.map(Timestamp::from);
    each(&*log, Some(ask.seq), |seq, record| {
        if before.is_none() && since.is_some_and(|since| record.at >= since) {
            before = Some(ledger.text(Detail::All));
        }
        ledger.take(seq, record);
    })
    .await?;
    let page = ledger.text(Detail::All);
    let before = before.or_else(|| since.map(|_| page.clone()));
    Ok(Json(Folded { page, before }))
}

fn sample(ledger: &Ledger, of: &Instrument, at: Timestamp, into: &mut BTreeMap<String, Points>) {
    for line in ledger.lines(of).lines().filter(|line| !line.starts_with('#')) {
        if let Some((series, value)) = line.rsplit_once(' ')
            && let Ok(value) = value.parse()
        {
            into.entry(series.to_owned()).or_default().push((at, value));
        }
    }
}

async fn history(
    State((log, clock)): State<(Log, Clock)>,
    Query(ask): Query<HistoryAsk>,
) -> Result<Json<BTreeMap<String, Points>>, Refused> {
    let Some(of) =
        find(&ask.name).filter(|it| matches!(it.source, Source::Fold | Source::TaskFold))
    else {
        let detail = "no fold of the log is called so".to_owned();
        return Err(Refused(StatusCode::NOT_FOUND, detail));
    };
    let now = clock.now();
    let mut ledger = Ledger::new(of.source == Source::TaskFold);
    let (mut series, mut next, mut step) = (BTreeMap::new(), ask.since.map(Timestamp::from), None);
    each(&*log, None, |seq, record| {
        let from = *next.get_or_insert(record.at);
        let step = *step.get_or_insert_with(|| {
            Micros((now.since(from).0 / i64::from(ask.points.max(1))).max(1_000_000))
        });
        // What it was at each time that has gone by since the record before.
        while let Some(at) = next.filter(|at| *at < record.at) {
            sample(&ledger, of, at, &mut series);
            next = Some(at.plus(step));
        }
        ledger.take(seq, record);
    })
    .await?;
    sample(&ledger, of, now, &mut series);
    Ok(Json(series))
}
