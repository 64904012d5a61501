//! The log folded afresh, for who asks what it says: up to a record, or over time. Nothing of what is shown at `/metrics` is
//! used: that is what is compared with it.
//!
//! A fold is minutes of work where the log is long, and anybody who may read can ask for one: they come one after the
//! other, on a thread of their own, and each ends once nobody waits for it.
use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

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
use tokio::{runtime::Handle, sync::Semaphore};

/// Times that a history has at most.
const POINTS: u32 = 10_000;
/// Values that a history has at most, over all series.
const VALUES: usize = 500_000;

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

/// What both answer from.
#[derive(Clone)]
struct Asked {
    log: Arc<dyn RunLog>,
    clock: Clock,
    /// Whose turn it is.
    turn: Arc<Semaphore>,
}

/// Why there is no answer, as the API says it.
#[derive(Debug)]
struct Refused(StatusCode, String);

impl Refused {
    fn unavailable(error: &dyn fmt::Display) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "detail": self.1 }))).into_response()
    }
}

/// Adds both.
pub(crate) fn with_refolds(router: Router, log: Arc<dyn RunLog>, clock: Clock) -> Router {
    let both = Router::new()
        .route("/metrics/folded", get(folded))
        .route("/metrics/history", get(history))
        .with_state(Asked { log, clock, turn: Arc::new(Semaphore::new(1)) });
    router.merge(both)
}

/// Whether somebody waits for an answer: set when what it is part of is dropped.
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The log's records in order, for as long as somebody waits for what is made of them.
struct Reader {
    log: Arc<dyn RunLog>,
    is_gone: Arc<AtomicBool>,
    on: Handle,
}

impl Reader {
    /// Up to where the log is. Blocks.
    fn last(&self) -> Result<u64, Refused> {
        let last = self.on.block_on(self.log.last());
        Ok(last.map_err(|error| Refused::unavailable(&error))?.0)
    }

    /// Hands every record up to `last` to `take`. Blocks: for threads that may.
    fn each(
        &self,
        last: u64,
        mut take: impl FnMut(u64, &Record) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        let base =
            self.on.block_on(self.log.base()).map_err(|error| Refused::unavailable(&error))?;
        let mut seen = Seq(base.first.0.saturating_sub(1));
        loop {
            if self.is_gone.load(Ordering::Relaxed) {
                return Err(Refused::unavailable(&"nobody waits for it any more"));
            }
            let entries = self.on.block_on(self.log.read(seen, ReadLimit::default()));
            let entries = entries.map_err(|error| Refused::unavailable(&error))?;
            if entries.is_empty() {
                return Ok(());
            }
            for entry in entries {
                if entry.seq.0 > last {
                    return Ok(());
                }
                seen = entry.seq;
                let record = decode_or_nothing(&entry.payload);
                let record = record.map_err(|error| Refused::unavailable(&error))?;
                take(entry.seq.0, &record)?;
            }
        }
    }
}

/// Has `fold` done on a thread that may block, once it is its turn.
async fn in_turn<T: Send + 'static>(
    asked: &Asked,
    fold: impl FnOnce(&Reader) -> Result<T, Refused> + Send + 'static,
) -> Result<Json<T>, Refused> {
    let turn = Arc::clone(&asked.turn).acquire_owned().await;
    let turn = turn.map_err(|error| Refused::unavailable(&error))?;
    let gone = Gone(Arc::default());
    let (log, is_gone, on) = (Arc::clone(&asked.log), Arc::clone(&gone.0), Handle::current());
    let reader = Reader { log, is_gone, on };
    let task = tokio::task::spawn_blocking(move || {
        let answer = fold(&reader);
        drop(turn);
        answer
    });
    task.await.map_err(|error| Refused::unavailable(&error))?.map(Json)
}

async fn folded(
    State(asked): State<Asked>,
    Query(ask): Query<FoldedAsk>,
) -> Result<Json<Folded>, Refused> {
    let fold = move |reader: &Reader| {
        let (mut ledger, mut before) = (Ledger::new(ask.by_task), None);
        let since = ask.since.map(Timestamp::from);
        reader.each(ask.seq, |seq, record| {
            if before.is_none() && since.is_some_and(|since| record.at >= since) {
                before = Some(ledger.text(Detail::All));
            }
            ledger.take(seq, record);
            Ok(())
        })?;
        let page = ledger.text(Detail::All);
        let before = before.or_else(|| since.map(|_| page.clone()));
        Ok(Folded { page, before })
    };
    in_turn(&asked, fold).await
}

/// One instrument over time.
struct History {
    of: &'static Instrument,
    ledger: Ledger,
    since: Option<Timestamp>,
    now: Timestamp,
    points: u32,
    /// When it is looked at next, and how long after that again; known with the first record.
    next: Option<(Timestamp, Micros)>,
    looks: u32,
    values: usize,
    series: BTreeMap<String, Points>,
}

impl History {
    fn new(of: &'static Instrument, since: Option<Timestamp>, now: Timestamp, points: u32) -> Self {
        let ledger = Ledger::new(of.source == Source::TaskFold);
        let (points, series) = (points.clamp(1, POINTS), BTreeMap::new());
        Self { of, ledger, since, now, points, next: None, looks: 0, values: 0, series }
    }

    fn take(&mut self, seq: u64, record: &Record) -> Result<(), Refused> {
        let (mut next, step) = self.next.unwrap_or_else(|| {
            // Before the first record there was nothing.
            let from = self.since.map_or(record.at, |since| since.max(record.at));
            let step = self.now.since(from).0 / i64::from(self.points);
            (from, Micros(step.max(1_000_000)))
        });
        // What it was at each time that has gone by since the record before.
        while next < record.at && self.looks < self.points {
            self.look(next)?;
            self.looks += 1;
            next = next.plus(step);
        }
        self.next = Some((next, step));
        self.ledger.take(seq, record);
        Ok(())
    }

    fn look(&mut self, at: Timestamp) -> Result<(), Refused> {
        for line in self.ledger.lines(self.of).lines().filter(|line| !line.starts_with('#')) {
            if let Some((series, value)) = line.rsplit_once(' ')
                && let Ok(value) = value.parse()
            {
                self.series.entry(series.to_owned()).or_default().push((at, value));
                self.values += 1;
            }
        }
        if self.values <= VALUES {
            return Ok(());
        }
        let detail = format!(
            "it would be more than {VALUES} values in {} series: ask for fewer points, or for less time",
            self.series.len()
        );
        Err(Refused(StatusCode::BAD_REQUEST, detail))
    }

    fn end(mut self) -> Result<BTreeMap<String, Points>, Refused> {
        self.look(self.now)?;
        Ok(self.series)
    }
}

async fn history(
    State(asked): State<Asked>,
    Query(ask): Query<HistoryAsk>,
) -> Result<Json<BTreeMap<String, Points>>, Refused> {
    let Some(of) =
        find(&ask.name).filter(|it| matches!(it.source, Source::Fold | Source::TaskFold))
    else {
        let detail = "no fold of the log is called so".to_owned();
        return Err(Refused(StatusCode::NOT_FOUND, detail));
    };
    let mut history =
        History::new(of, ask.since.map(Timestamp::from), asked.clock.now(), ask.points);
    let fold = move |reader: &Reader| {
        // On a busy log there is always more.
        let last = reader.last()?;
        reader.each(last, |seq, record| history.take(seq, record))?;
        history.end()
    };
    in_turn(&asked, fold).await
}

#[cfg(test)]
mod tests {
    use dagbok_events::{Actor, Scope};

    use super::*;

    fn record(at: i64) -> Record {
        let (at, scope, by) = (Timestamp(at), Scope::Namespace, Actor::Scheduler);
        Record { at, clock: None, scope, by, reason: None, cause: None, trace: None, facts: vec![] }
    }

    fn of_records(since: Option<i64>, points: u32, at: &[i64]) -> Points {
        let of = find("dagbok_log_records_total").unwrap();
        let now = Timestamp(1_000_000_000_000);
        let mut history = History::new(of, since.map(Timestamp), now, points);
        for (seq, at) in (1..).zip(at) {
            history.take(seq, &record(*at)).unwrap();
        }
        history.end().unwrap().remove("dagbok_log_records_total").unwrap()
    }

    #[test]
    fn a_history_is_looked_at_in_even_steps() {
        let shown = of_records(None, 2, &[0, 600_000_000_000]);
        let (half, now) = (Timestamp(500_000_000_000), Timestamp(1_000_000_000_000));
        assert_eq!(shown, [(Timestamp(0), 1.0), (half, 1.0), (now, 2.0)]);
    }

    #[test]
    fn no_question_makes_more_looks_than_are_allowed() {
        let most = POINTS as usize + 1;
        // Since before there was anything; and records by a clock that was years ahead.
        assert!(of_records(Some(i64::MIN / 2), u32::MAX, &[0, 999_000_000_000]).len() <= most);
        assert!(of_records(None, u32::MAX, &[0, i64::MAX / 2]).len() <= most);
        assert_eq!(of_records(Some(i64::MAX / 2), 5, &[0]).len(), 1);
    }

    #[test]
    fn a_history_of_too_many_series_is_refused() {
        let of = find("dagbok_task_failures_total").unwrap();
        let mut history = History::new(of, None, Timestamp(10_000_000_000_000), POINTS);
        // Its series are there from the start on, each at zero.
        let series = history.ledger.lines(of).lines().filter(|it| !it.starts_with('#')).count();
        history.values = VALUES - series * 2;
        history.take(1, &record(0)).unwrap();
        let refused = history.take(2, &record(9_000_000_000_000)).unwrap_err();
        assert_eq!(refused.0, StatusCode::BAD_REQUEST);
    }
}
