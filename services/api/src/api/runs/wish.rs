//! Which runs a list is to have, and in which order.
use dagbok_events::{Actor, DagId, Payload, RunKey, RunType, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::IntoParams;

use super::super::{
    errors::ApiError,
    extract::flag,
    page::{Order, Page, instants, matches, orders},
};
use crate::model::{
    Store, StoreError,
    lists::{Given, Keep, Listed, Range, RunAsk, RunBy, RunField, RunOrder, Scope},
    rows::{RunEnd, RunOrderRow, RunRow, RunState},
};

/// Which runs are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct RunQuery {
    /// Entries of the page.
    pub(super) limit: Option<usize>,
    /// Entries before it.
    pub(super) offset: Option<usize>,
    /// Those in any of these states. `failed` has those that somebody cancelled too, as in Airflow, `cancelled` has them
    /// alone.
    #[param(value_type = Vec<String>)]
    state: Vec<AskedState>,
    /// Whether those that somebody cancelled are meant, or only others.
    #[serde(deserialize_with = "flag")]
    cancelled: Option<bool>,
    /// Those that came about in any of these ways.
    #[param(value_type = Vec<String>)]
    run_type: Vec<RunType>,
    /// Those of any of these versions of the DAG.
    dag_version: Vec<u32>,
    /// Those whose id has this in it; `%`, `_` and `|` as in Airflow.
    run_id_pattern: Option<String>,
    /// Those of DAGs whose id has this in it.
    dag_id_pattern: Option<String>,
    /// Those triggered by somebody whose name has this in it.
    triggering_user_name_pattern: Option<String>,
    /// Those of partitions whose key has this in it.
    partition_key_pattern: Option<String>,
    /// Those of partitions whose key begins with this, as it is.
    partition_key_prefix_pattern: Option<String>,
    partition_date_gte: Option<String>,
    partition_date_gt: Option<String>,
    partition_date_lte: Option<String>,
    partition_date_lt: Option<String>,
    /// Those that were given all of these: `lr=0.001`. A value is JSON, or the text that it stands for.
    conf: Vec<String>,
    run_after_gte: Option<String>,
    run_after_gt: Option<String>,
    run_after_lte: Option<String>,
    run_after_lt: Option<String>,
    logical_date_gte: Option<String>,
    logical_date_gt: Option<String>,
    logical_date_lte: Option<String>,
    logical_date_lt: Option<String>,
    start_date_gte: Option<String>,
    start_date_gt: Option<String>,
    start_date_lte: Option<String>,
    start_date_lt: Option<String>,
    end_date_gte: Option<String>,
    end_date_gt: Option<String>,
    end_date_lte: Option<String>,
    end_date_lt: Option<String>,
    /// `id` (the order of making, also where not said), `dag_id`, `run_id`, `state`, `run_type`,
    /// `logical_date`, `run_after`, `start_date`, `end_date`, `duration`, `updated_at`.
    order_by: Vec<String>,
}

/// A state as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AskedState {
    Queued,
    Running,
    Success,
    Failed,
    Cancelled,
}

impl AskedState {
    /// The state that it is, or a part of.
    const fn state(self) -> RunState {
        match self {
            Self::Queued => RunState::Queued,
            Self::Running => RunState::Running,
            Self::Success => RunState::Success,
            Self::Failed | Self::Cancelled => RunState::Failed,
        }
    }
}

const ORDERS: &[&str] = &[
    "id",
    "dag_id",
    "run_id",
    "dag_run_id",
    "state",
    "run_type",
    "logical_date",
    "run_after",
    "queued_at",
    "start_date",
    "end_date",
    "duration",
    "updated_at",
];

/// The query, checked.
pub(super) struct Wish {
    query: RunQuery,
    /// Params by name, with what they are to be.
    given: Vec<(String, Value)>,
    orders: Vec<RunOrder>,
    ranges: Vec<Range>,
    /// Between which instants partitions begin, in microseconds.
    partition_dates: Option<(i64, i64)>,
}

impl Wish {
    pub(super) fn new(query: RunQuery, now: Timestamp) -> Result<Self, ApiError> {
        let q = &query;
        let between = [
            (
                RunField::RunAfter,
                "run_after",
                [&q.run_after_gte, &q.run_after_gt, &q.run_after_lte, &q.run_after_lt],
            ),
            (
                RunField::LogicalDate,
                "logical_date",
                [&q.logical_date_gte, &q.logical_date_gt, &q.logical_date_lte, &q.logical_date_lt],
            ),
            (
                RunField::StartDate,
                "start_date",
                [&q.start_date_gte, &q.start_date_gt, &q.start_date_lte, &q.start_date_lt],
            ),
            (
                RunField::EndDate,
                "end_date",
                [&q.end_date_gte, &q.end_date_gt, &q.end_date_lte, &q.end_date_lt],
            ),
        ];
        let mut ranges = Vec::new();
        for (field, name, ends) in between {
            if let Some((from, to)) = instants(name, ends)? {
                // What has not begun, or is not over, begins or ends now, as in Airflow.
                let never = matches!(field, RunField::StartDate | RunField::EndDate);
                let nothing = never && from <= now.0 && now.0 <= to;
                ranges.push(Range { field, from, to, nothing });
            }
        }
        let ends = [
            &q.partition_date_gte,
            &q.partition_date_gt,
            &q.partition_date_lte,
            &q.partition_date_lt,
        ];
        let partition_dates = instants("partition_date", ends)?;
        let orders = orders(&query.order_by, ORDERS)?.iter().map(order).collect();
        let given = all_given(&query.conf)?;
        Ok(Self { query, given, orders, ranges, partition_dates })
    }

    /// The page of runs that are wanted.
    pub(super) fn list(
        &self,
        store: &Store,
        dag: Option<DagId>,
        page: Page,
    ) -> Result<Listed<RunRow>, StoreError> {
        let mut ask = RunAsk {
            scope: dag.map_or(Scope::All, |dag| Scope::Dags(vec![dag])),
            states: self.query.state.iter().map(|it| it.state()).collect(),
            types: self.query.run_type.clone(),
            ranges: self.ranges.clone(),
            given: self.given.iter().filter_map(|(name, value)| Given::of(name, value)).collect(),
            orders: self.orders.clone(),
            skip: page.offset,
            take: page.limit,
        };
        let mut named = self.query.dag_id_pattern.as_deref();
        if let (Some(pattern), Scope::All) = (named, &ask.scope) {
            let mut dags = store.dag_ids()?;
            dags.retain(|dag| matches(pattern, dag.as_str()));
            // The runs of few are read side by side; those of many are picked out of all.
            if dags.len() <= SIDE_BY_SIDE {
                (ask.scope, named) = (Scope::Dags(dags), None);
            }
        }
        let fits = |pattern: Option<&str>, text: &str| {
            pattern.is_none_or(|pattern| matches(pattern, text))
        };
        let RunQuery { dag_version, run_id_pattern, triggering_user_name_pattern: by, .. } =
            &self.query;
        let by_name = |names: &RunOrderRow| {
            fits(run_id_pattern.as_deref(), names.run_id.as_str())
                && fits(named, names.dag_id.as_str())
        };
        let by_row = |run: &RunRow| {
            let user = match &run.created_by {
                Actor::User(name) | Actor::Token(name) => name.as_str(),
                _ => "",
            };
            (dag_version.is_empty() || dag_version.contains(&run.version))
                && self.is_asked_end(run)
                && fits(by.as_deref(), user)
                && self.is_of_partition(run)
                && (self.given.is_empty() || self.is_given(store, run))
        };
        let all = dag_version.is_empty()
            && !self.tells_cancelled()
            && run_id_pattern.is_none()
            && named.is_none()
            && by.is_none()
            && !self.asks_for_partitions()
            && self.given.is_empty();
        store.list_runs(&ask, (!all).then_some(Keep { named: &by_name, row: &by_row }))
    }
}

impl Wish {
    /// Whether what was cancelled is told from what failed.
    fn tells_cancelled(&self) -> bool {
        let states = &self.query.state;
        let both = states.contains(&AskedState::Failed);
        self.query.cancelled.is_some() || (states.contains(&AskedState::Cancelled) && !both)
    }

    fn is_asked_end(&self, run: &RunRow) -> bool {
        let is_cancelled = run.state == RunState::Failed && run.end == Some(RunEnd::Cancelled);
        let states = &self.query.state;
        let by_state = is_cancelled
            || run.state != RunState::Failed
            || states.is_empty()
            || states.contains(&AskedState::Failed);
        by_state && self.query.cancelled.is_none_or(|wanted| wanted == is_cancelled)
    }

    fn asks_for_partitions(&self) -> bool {
        let q = &self.query;
        q.partition_key_pattern.is_some()
            || q.partition_key_prefix_pattern.is_some()
            || self.partition_dates.is_some()
    }

    /// Whether a run is of a partition that is asked for; one of none is of no such.
    fn is_of_partition(&self, run: &RunRow) -> bool {
        if !self.asks_for_partitions() {
            return true;
        }
        let Some(partition) = &run.partition else { return false };
        let q = &self.query;
        let within = |(from, to): (i64, i64)| {
            partition.date.is_some_and(|date| from <= date.0 && date.0 <= to)
        };
        let begins = |prefix: &String| partition.key.starts_with(prefix.as_str());
        q.partition_key_pattern.as_ref().is_none_or(|it| matches(it, &partition.key))
            && q.partition_key_prefix_pattern.as_ref().is_none_or(begins)
            && self.partition_dates.is_none_or(within)
    }

    /// Whether a run was given what is asked for. One whose conf lies beside the log, or can't be read, was not.
    fn is_given(&self, store: &Store, run: &RunRow) -> bool {
        let Ok(Some(Payload::Inline(text))) =
            store.run_input(&run.key()).map(|input| input.and_then(|input| input.conf))
        else {
            return false;
        };
        let conf = serde_json::from_str::<Map<String, Value>>(&text).unwrap_or_default();
        let is = |value: &Value, wanted: &Value| match (value, wanted) {
            // Whoever types `1` may mean the text.
            (Value::String(text), wanted) => {
                *text == wanted.as_str().map_or_else(|| wanted.to_string(), str::to_owned)
            }
            (Value::Number(number), Value::Number(wanted)) => number.as_f64() == wanted.as_f64(),
            (value, wanted) => value == wanted,
        };
        self.given
            .iter()
            .all(|(name, wanted)| conf.get(name).is_some_and(|value| is(value, wanted)))
    }
}

/// Params of one question, at most: each is counted.
const PARAMS: usize = 16;

/// Params and what they are to be, each once.
fn all_given(texts: &[String]) -> Result<Vec<(String, Value)>, ApiError> {
    let mut all = Vec::new();
    for text in texts {
        let one = given(text)?;
        if all.contains(&one) {
            continue;
        }
        if all.len() == PARAMS {
            let why = format!("at most {PARAMS} params can be asked for at once");
            return Err(ApiError::invalid("value_error", &["query", "conf"], why));
        }
        all.push(one);
    }
    Ok(all)
}

/// A param's name and what it is to be.
fn given(text: &str) -> Result<(String, Value), ApiError> {
    let (name, value) =
        text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
            let why = format!("`{text}` names no param and value: write `lr=0.001`");
            ApiError::invalid("value_error", &["query", "conf"], why)
        })?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((name.to_owned(), value))
}

/// DAGs whose runs are read side by side.
const SIDE_BY_SIDE: usize = 64;

fn order(wish: &Order) -> RunOrder {
    let by = match wish.field {
        "dag_id" => RunBy::Dag,
        "state" => RunBy::State,
        "run_type" => RunBy::Type,
        "run_id" | "dag_run_id" => RunBy::Field(RunField::RunId),
        "logical_date" => RunBy::Field(RunField::LogicalDate),
        "run_after" => RunBy::Field(RunField::RunAfter),
        "start_date" => RunBy::Field(RunField::StartDate),
        "end_date" => RunBy::Field(RunField::EndDate),
        "duration" => RunBy::Field(RunField::Duration),
        "updated_at" => RunBy::Field(RunField::UpdatedAt),
        // A run is queued when it is made.
        _ => RunBy::Field(RunField::Id),
    };
    RunOrder { by, down: wish.down }
}

/// The runs of a DAG with a logical date between these, earliest first, up to `most`; and how many there are.
pub(in crate::api) fn dated_runs(
    store: &Store,
    dag_id: &DagId,
    (from, to): (Option<Timestamp>, Option<Timestamp>),
    now: Timestamp,
    most: usize,
) -> Result<(Vec<RunKey>, usize), ApiError> {
    let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let query = RunQuery {
        logical_date_gte: text(Some(from.unwrap_or(Timestamp(-62_135_596_800_000_000)))),
        logical_date_lte: text(to),
        order_by: vec!["logical_date".to_owned()],
        ..RunQuery::default()
    };
    let wish = Wish::new(query, now)?;
    let (mut found, mut total) = (Vec::new(), 0);
    while found.len() < most {
        let page = Page::new(Some(most - found.len()), Some(found.len()));
        let listed = wish.list(store, Some(dag_id.clone()), page)?;
        total = listed.total;
        if listed.page.is_empty() {
            break;
        }
        found.extend(listed.page.iter().map(RunRow::key));
    }
    Ok((found, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn params_are_asked_for_once_each_and_no_more_than_a_few() {
        let texts =
            |count: usize| -> Vec<String> { (0..count).map(|n| format!("p{n}=1")).collect() };
        let twice = [texts(PARAMS), texts(PARAMS)].concat();
        assert_eq!(all_given(&twice).expect("they are few").len(), PARAMS);
        assert!(matches!(all_given(&texts(PARAMS + 1)), Err(ApiError::Invalid(_))));
        assert!(matches!(all_given(&["=1".to_owned()]), Err(ApiError::Invalid(_))));
    }
}
