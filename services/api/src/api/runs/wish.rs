//! Which runs a list is to have, and in which order.
use dagbok_events::{Actor, RunType};
use serde::Deserialize;
use utoipa::IntoParams;

use super::super::{
    errors::ApiError,
    page::{Between, SortKey, matches},
    view::word,
};
use crate::{
    model::rows::{RunRow, RunState},
    shapes::seconds,
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
    /// Those in any of these states.
    #[param(value_type = Vec<String>)]
    state: Vec<RunState>,
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
    pub(super) order_by: Vec<String>,
}

pub(super) const ORDERS: &[&str] = &[
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
    run_after: Between,
    logical_date: Between,
    start_date: Between,
    end_date: Between,
}

impl Wish {
    pub(super) fn new(query: RunQuery) -> Result<Self, ApiError> {
        let q = &query;
        let run_after = Between::read(
            "run_after",
            [&q.run_after_gte, &q.run_after_gt, &q.run_after_lte, &q.run_after_lt],
        )?;
        let logical_date = Between::read(
            "logical_date",
            [&q.logical_date_gte, &q.logical_date_gt, &q.logical_date_lte, &q.logical_date_lt],
        )?;
        let start_date = Between::read(
            "start_date",
            [&q.start_date_gte, &q.start_date_gt, &q.start_date_lte, &q.start_date_lt],
        )?;
        let end_date = Between::read(
            "end_date",
            [&q.end_date_gte, &q.end_date_gt, &q.end_date_lte, &q.end_date_lt],
        )?;
        Ok(Self { query, run_after, logical_date, start_date, end_date })
    }

    pub(super) fn wants(&self, run: &RunRow) -> bool {
        let Self { query, run_after, logical_date, start_date, end_date } = self;
        let fits = |pattern: &Option<String>, text: &str| {
            pattern.as_deref().is_none_or(|pattern| matches(pattern, text))
        };
        let user = match &run.created_by {
            Actor::User(name) | Actor::Token(name) => name.as_str(),
            _ => "",
        };
        (query.state.is_empty() || query.state.contains(&run.state))
            && (query.run_type.is_empty() || query.run_type.contains(&run.run_type))
            && (query.dag_version.is_empty() || query.dag_version.contains(&run.version))
            && fits(&query.run_id_pattern, run.run_id.as_str())
            && fits(&query.dag_id_pattern, run.dag_id.as_str())
            && fits(&query.triggering_user_name_pattern, user)
            && run_after.has(Some(run.run_after))
            && logical_date.has(run.logical_date)
            && start_date.has(run.start_date)
            && end_date.has(run.end_date)
    }

    /// Whether nothing is left out, so that a page can be had without reading all.
    pub(super) fn wants_all(&self) -> bool {
        let RunQuery { limit: _, offset: _, order_by: _, state, run_type, dag_version, .. } =
            &self.query;
        let open = [self.run_after, self.logical_date, self.start_date, self.end_date];
        state.is_empty()
            && run_type.is_empty()
            && dag_version.is_empty()
            && self.query.run_id_pattern.is_none()
            && self.query.dag_id_pattern.is_none()
            && self.query.triggering_user_name_pattern.is_none()
            && open.iter().all(|between| between.has(None))
    }
}

pub(super) fn sort_key(run: &RunRow, field: &'static str) -> SortKey {
    match field {
        "dag_id" => run.dag_id.as_str().into(),
        "run_id" | "dag_run_id" => run.run_id.as_str().into(),
        "state" => run.state.word().into(),
        "run_type" => word(&run.run_type).as_str().into(),
        "logical_date" => run.logical_date.into(),
        "run_after" => Some(run.run_after).into(),
        "queued_at" => Some(run.queued_at).into(),
        "start_date" => run.start_date.into(),
        "end_date" => run.end_date.into(),
        "duration" => seconds(run.start_date, run.end_date).into(),
        "updated_at" => Some(run.updated_at).into(),
        #[expect(clippy::cast_precision_loss, reason = "sequences stay far below 2^53")]
        _ => SortKey::Number(run.created_seq as f64),
    }
}
