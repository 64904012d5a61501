//! Values that tasks handed on.
use axum::{Json, extract::State};
use dagbok_events::Payload;
use dagbok_protocol::xcom_forgotten;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use utoipa::IntoParams;

use super::{
    errors::ApiError,
    extract::{InPath, InQuery, flag, map_index, run_key, task_id},
    json::compact,
    page::{Page, SortKey, matches, orders, sort},
    runs::json_blob,
    state::ApiState,
    tasks::instance,
    view::{InstanceView, display_name},
};
use crate::{
    model::rows::XComRow,
    shapes::{Detail, ListExtra, XComCollection, XComEntry, XComValue},
};

fn entry(of: &InstanceView, row: &XComRow) -> XComEntry {
    let dag_id = of.run.dag_id.to_string();
    XComEntry {
        key: row.key.clone(),
        timestamp: row.at.into(),
        logical_date: of.run.logical_date.map(Into::into),
        map_index: of.map_index(),
        task_id: of.task_id().to_owned(),
        run_id: of.run.run_id.to_string(),
        dag_display_name: of
            .version
            .as_ref()
            .map_or_else(|| dag_id.clone(), |row| display_name(&row.spec)),
        dag_id,
        task_display_name: of.task_id().to_owned(),
        run_after: of.run.run_after.into(),
    }
}

/// Copies of a task whose values are looked at, beyond those that the page needs.
const COPIES_LOOKED_AT: usize = 10_000;

/// Which values are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct XComQuery {
    /// Entries of the page.
    limit: Option<usize>,
    /// Entries before it.
    offset: Option<usize>,
    /// The one of this name.
    xcom_key: Option<String>,
    /// Those whose name has this in it; `%`, `_` and `|` as in Airflow.
    xcom_key_pattern: Option<String>,
    /// Those of this copy; all where not said.
    map_index: Option<i32>,
    /// `key`, `map_index`, `timestamp`.
    order_by: Vec<String>,
}

/// What a task of a run has handed on, without the values.
#[utoipa::path(get, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries",
    tag = "XCom",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path), ("task_id" = String, Path), XComQuery),
    responses((status = 200, body = XComCollection), (status = 400, body = Detail), (status = 404, body = Detail),
    (status = 422, body = Detail)
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    InPath((dag, run, task)): InPath<(String, String, String)>,
    InQuery(query): InQuery<XComQuery>,
) -> Result<Json<XComCollection>, ApiError> {
    let orders = orders(&query.order_by, &["key", "map_index", "timestamp"])?;
    let page = Page::new(query.limit, query.offset);
    let found = state.read(move |store| {
        let key = run_key(&dag, &run)?;
        let id = task_id(&task)?;
        let one = instance(store, &key, &task, None)?;
        let pattern = query.xcom_key_pattern.as_deref();
        let wants = |name: &str| {
            query.xcom_key.as_ref().is_none_or(|wanted| wanted == name)
                && pattern.is_none_or(|pattern| matches(pattern, name))
        };
        // In the order in which the copies are read nothing is sorted, and no more of them is looked at.
        let by_copy = orders.iter().all(|order| order.field == "map_index" && !order.down);
        let (mut all, mut looked, mut complete, mut kept_until) = (Vec::new(), 0, true, None);
        for row in store.each_copy(&key, &id) {
            let row = row?;
            if query.map_index.is_some_and(|map| map != row.map_index.0) {
                continue;
            }
            if looked >= COPIES_LOOKED_AT && (!by_copy || all.len() >= page.offset + page.limit) {
                complete = false;
                break;
            }
            looked += 1;
            if let Some(until) = one.run.xcoms_kept_until(&row) {
                let had = row.xcoms.iter().any(|handed| wants(handed.name()));
                kept_until = kept_until.max(had.then_some(until));
                continue;
            }
            let map_index = row.map_index;
            let one = InstanceView { map_index, ..one.clone() };
            let found = store.handed_on((&key, &id, map_index), row.xcoms)?;
            all.extend(found.iter().filter(|row| wants(&row.key)).map(|row| entry(&one, row)));
        }
        sort(&mut all, &orders, |entry, field| match field {
            "map_index" => SortKey::Number(f64::from(entry.map_index)),
            "timestamp" => Some(entry.timestamp.0).into(),
            _ => entry.key.as_str().into(),
        });
        let (xcom_entries, total_entries) = page.cut(all);
        let is_whole = complete || by_copy;
        let dagbok = ListExtra { total_is_exact: complete, complete: is_whole };
        let kept_until = kept_until.map(Into::into);
        Ok(XComCollection { xcom_entries, total_entries, kept_until, dagbok })
    });
    found.await.map(Json)
}

/// How a value is wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ValueQuery {
    /// Which copy of the task; −1 where not said.
    map_index: Option<i32>,
    /// Has no effect: values are JSON.
    #[serde(rename = "deserialize")]
    #[serde(deserialize_with = "flag")]
    _deserialize: Option<bool>,
    /// The value's JSON as text.
    #[serde(deserialize_with = "flag")]
    stringify: Option<bool>,
}

/// One value.
#[utoipa::path(get,
    path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries/{xcom_key}",
    tag = "XCom",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path), ("task_id" = String, Path),
        ("xcom_key" = String, Path), ValueQuery),
    responses((status = 200, body = XComValue), (status = 404, body = Detail), (status = 422, body = Detail)
))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    InPath((dag, run, task, name)): InPath<(String, String, String, String)>,
    InQuery(query): InQuery<ValueQuery>,
) -> Result<Json<XComValue>, ApiError> {
    let map = map_index(query.map_index);
    let read = state.read(move |store| {
        let key = run_key(&dag, &run)?;
        let one = instance(store, &key, &task, Some(map))?;
        let id = task_id(&task)?;
        if let Some(until) = store.xcom_kept_until(&one.run, (&id, map), &name)? {
            return Err(ApiError::NotFound(xcom_forgotten(&task, &name, until)));
        }
        let row = store.xcom(&key, &id, map, &name)?;
        let row = row.ok_or_else(|| {
            ApiError::NotFound(format!(
                "the task `{task}` has handed on nothing named `{name}` in this run"
            ))
        })?;
        Ok((entry(&one, &row), row.value))
    });
    let (entry, value) = read.await?;
    let value = match value {
        Payload::Inline(text) => {
            RawValue::from_string(text).map_err(|error| ApiError::bug(&error))?
        }
        Payload::Blob { digest, .. } => json_blob(&state, &digest).await?.ok_or_else(|| {
            ApiError::NotFound(format!("the value is gone: the blob {digest} is missing"))
        })?,
    };
    let value = if query.stringify.unwrap_or(false) {
        to_raw_value(&compact(value.get())).map_err(|error| ApiError::bug(&error))?
    } else {
        value
    };
    Ok(Json(XComValue { entry, value }))
}
