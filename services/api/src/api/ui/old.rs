//! Paths that Airflow 2 had, and some that it has by another name: they lead to where the same thing is shown here. What
//! a link in a mail or a note of years ago names is found as long as it is there.
use std::fmt::Write as _;

use axum::{
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use dagbok_events::{DagId, Timestamp};
use serde::Deserialize;

use super::super::{errors::ApiError, extract, runs::dated_runs, state::ApiState};

/// The paths, without a slash at their end; those of one DAG are `/dags/{dag}/…`.
pub(super) const PATHS: [&str; 41] = [
    "/audit_log",
    "/calendar",
    "/cluster_activity",
    "/code",
    "/connection/list",
    "/dag_details",
    "/dag_stats",
    "/dagrun/list",
    "/datasets",
    "/duration",
    "/gantt",
    "/graph",
    "/grid",
    "/job/list",
    "/jobs",
    "/landing_times",
    "/log",
    "/log/list",
    "/plugin",
    "/plugins",
    "/pool/list",
    "/provider",
    "/providers",
    "/rendered-templates",
    "/rendered_templates",
    "/required_actions",
    "/settings",
    "/slamiss/list",
    "/task",
    "/taskinstance/list",
    "/taskreschedule/list",
    "/task_stats",
    "/tree",
    "/tries",
    "/variable/list",
    "/version",
    "/why",
    "/xcom",
    "/xcom/list",
    "/xcoms",
    "/admin",
];

/// What their queries name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Named {
    dag_id: Option<String>,
    dag_run_id: Option<String>,
    run_id: Option<String>,
    /// The logical date, as Airflow 2 called it; and as Airflow 3 does.
    execution_date: Option<String>,
    logical_date: Option<String>,
    task_id: Option<String>,
    map_index: Option<i32>,
    try_number: Option<u32>,
    tab: Option<String>,
}

/// Leads to where the same thing is shown.
pub(super) async fn moved(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, ApiError> {
    // A request's body is not shared between threads, its address is.
    let uri = request.uri().clone();
    let named: Named =
        serde_html_form::from_str(uri.query().unwrap_or_default()).unwrap_or_default();
    let to = place(&state, uri.path().trim_matches('/'), named).await?;
    Ok(redirect(uri.path(), &to))
}

/// Where a path within a DAG leads that Airflow 2 had: `/dags/{dag}/grid?dag_run_id=…`; `None` of one that is as it was.
pub(super) async fn within_dag(
    state: &ApiState,
    path: &str,
    query: &str,
) -> Result<Option<Response>, ApiError> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (dag, view) = match parts.as_slice() {
        ["dags", dag] => (*dag, "grid"),
        ["dags", dag, view] => (*dag, *view),
        _ => return Ok(None),
    };
    let named: Named = serde_html_form::from_str(query).unwrap_or_default();
    let names_run =
        named.dag_run_id.is_some() || named.execution_date.is_some() || named.run_id.is_some();
    let is_gone = ["grid", "tree", "duration", "gantt", "landing_times", "audit_log", "tries"]
        .contains(&view);
    // `code?run_id=` and the like are our own.
    if !(view == "grid" || is_gone || (view == "graph" && names_run))
        || (parts.len() == 2 && !names_run)
    {
        return Ok(None);
    }
    let named = Named { dag_id: Some(super::view::decoded(dag)), ..named };
    let to = place(state, view, named).await?;
    Ok(Some(redirect(path, &to)))
}

/// The place here of a view there, without a slash before it.
async fn place(state: &ApiState, view: &str, named: Named) -> Result<String, ApiError> {
    let list = match view {
        "dagrun/list" | "slamiss/list" => Some("dag_runs"),
        "taskinstance/list" | "taskreschedule/list" => Some("task_instances"),
        "datasets" => Some("assets"),
        "pool/list" => Some("pools"),
        "variable/list" => Some("variables"),
        "connection/list" => Some("connections"),
        "job/list" | "jobs" => Some("executors"),
        "log/list" => Some("audit"),
        "cluster_activity" | "plugin" | "plugins" | "provider" | "providers" | "settings"
        | "version" | "admin" => Some("health"),
        "required_actions" => Some(""),
        _ => None,
    };
    if let Some(list) = list {
        return Ok(list.to_owned());
    }
    let Some(dag) = named.dag_id.clone() else {
        return Ok(if view.starts_with("xcom") { "dag_runs" } else { "dags" }.to_owned());
    };
    let mut to = format!("dags/{}", segment(&dag));
    let Some(run) = run_of(state, &dag, &named).await? else {
        let tab = match view {
            "graph" | "calendar" | "code" => view,
            "duration" | "landing_times" | "tries" => "trends",
            "dag_details" => "details",
            "audit_log" => "events",
            "why" => "why",
            _ => "",
        };
        return Ok(if tab.is_empty() { to } else { format!("{to}/{tab}") });
    };
    to = format!("{to}/runs/{}", segment(&run));
    let Some(task) = named.task_id else {
        let show = if view == "graph" { "?show=graph" } else { "" };
        return Ok(format!("{to}{show}"));
    };
    to = format!("{to}/tasks/{}", segment(&task));
    if let Some(index) = named.map_index.filter(|index| *index >= 0) {
        to = format!("{to}/mapped/{index}");
    }
    let tab = match (view, named.tab.as_deref()) {
        ("why", _) => "why",
        ("rendered-templates" | "rendered_templates", _) => "rendered",
        ("xcom", _) | (_, Some("xcom")) => "xcom",
        ("log", _) | (_, Some("logs")) => "log",
        ("task", _) | (_, Some("details")) => "details",
        _ => return Ok(to),
    };
    let number = named.try_number.map_or_else(String::new, |number| format!("&try={number}"));
    Ok(format!("{to}?tab={tab}{number}"))
}

/// The run that is named, by its id or by its logical date.
async fn run_of(state: &ApiState, dag: &str, named: &Named) -> Result<Option<String>, ApiError> {
    if let Some(run) = named.dag_run_id.clone().or_else(|| named.run_id.clone()) {
        return Ok(Some(run));
    }
    let date = named.execution_date.as_deref().or(named.logical_date.as_deref());
    let date = date.and_then(|text| extract::instant(text).ok());
    let (Some(date), Ok(id)) = (date, dag.parse::<DagId>()) else { return Ok(None) };
    let now: Timestamp = state.clock.now();
    let found = state.read(move |store| dated_runs(store, &id, (Some(date), Some(date)), now, 1));
    Ok(found.await?.0.first().map(|key| key.run_id.to_string()))
}

/// A way from `path` that holds behind whatever prefix a proxy has put before it.
fn redirect(path: &str, to: &str) -> Response {
    let to = format!("{}{to}", dagbok_ui::base_of(path));
    (StatusCode::FOUND, [(header::LOCATION, to), (header::CACHE_CONTROL, "no-store".to_owned())])
        .into_response()
}

/// A part of a path, whatever is in it; the two that browsers take for ways stand escaped twice.
fn segment(text: &str) -> String {
    if text == "." || text == ".." {
        return text.replace('.', "%252E");
    }
    let mut made = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                made.push(char::from(byte));
            }
            // A text takes all that is written to it.
            _ => drop(write!(made, "%{byte:02X}")),
        }
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_not_lead_elsewhere() {
        for (name, part) in [
            ("a b", "a%20b"),
            ("//evil", "%2F%2Fevil"),
            ("..", "%252E%252E"),
            ("a\r\nb", "a%0D%0Ab"),
        ] {
            assert_eq!(segment(name), part);
        }
    }
}
