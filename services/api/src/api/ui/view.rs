//! Which view, by the page's path or by a stream's query, and its snapshot.
use dagbok_events::{DagId, MapIndex, RunKey, TaskId};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;

use super::{
    super::{errors::ApiError, extract, state::ApiState},
    dag, dags, executors, expected, home, patch, pools, run, task,
};

/// What a tab looks at.
#[derive(Clone, Debug)]
pub(super) enum View {
    Home,
    Expected,
    Pools,
    Executors(executors::ExecutorsQuery),
    Dags(dags::DagsQuery),
    Dag(DagId, dag::DagQuery),
    Run(RunKey),
    Task(RunKey, TaskId, MapIndex),
}

/// What of a view stands in a query.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ViewQuery {
    /// `home`, `expected`, `pools`, `executors`, `dags`, `dag`, `run` or `task`.
    pub(super) view: Option<String>,
    /// Of a DAG, a run or a task.
    pub(super) dag_id: Option<String>,
    /// Of a run or a task.
    pub(super) run_id: Option<String>,
    /// Of a task.
    pub(super) task_id: Option<String>,
    /// Which copy of it.
    pub(super) map_index: Option<i32>,
    /// Which DAGs the list has.
    pub(super) q: Option<String>,
    /// How many it has.
    pub(super) limit: Option<usize>,
    /// How many come before them.
    pub(super) offset: Option<usize>,
    /// Which page of the list, from 1, as the page's own address says it.
    pub(super) page: Option<usize>,
    /// How many columns a grid has.
    pub(super) runs: Option<usize>,
    /// The sequence of the snapshot that is at hand.
    pub(super) seq: Option<u64>,
    /// The `mark` of the snapshot that is at hand: with the same `seq` and mark nothing is sent twice.
    pub(super) mark: Option<String>,
}

impl View {
    /// By a query.
    pub(super) fn of_query(query: &ViewQuery) -> Result<Self, ApiError> {
        let text = |field: &'static str, value: &Option<String>| {
            let missing = || ApiError::invalid("missing", &["query", field], "Field required");
            value.clone().ok_or_else(missing)
        };
        let run =
            || extract::run_key(&text("dag_id", &query.dag_id)?, &text("run_id", &query.run_id)?);
        Ok(match query.view.as_deref() {
            Some("home") => Self::Home,
            Some("expected") => Self::Expected,
            Some("pools") => Self::Pools,
            Some("executors") => {
                Self::Executors(executors::ExecutorsQuery { offset: query.offset })
            }
            Some("dags") => Self::Dags(dags::DagsQuery {
                q: query.q.clone(),
                limit: query.limit,
                offset: query.offset,
            }),
            Some("dag") => Self::Dag(
                extract::dag_id(&text("dag_id", &query.dag_id)?)?,
                dag::DagQuery { runs: query.runs },
            ),
            Some("run") => Self::Run(run()?),
            Some("task") => {
                let task = extract::task_id(&text("task_id", &query.task_id)?)?;
                Self::Task(run()?, task, extract::map_index(query.map_index))
            }
            _ => {
                let why = "must be `home`, `expected`, `pools`, `executors`, `dags`, `dag`, `run` or `task`";
                return Err(ApiError::invalid("enum", &["query", "view"], why));
            }
        })
    }

    /// By a page's path, in Airflow's form; `None` of a page that begins without a snapshot.
    pub(super) fn of_path(path: &str, query: &ViewQuery) -> Option<Self> {
        let parts: Vec<String> =
            path.split('/').filter(|part| !part.is_empty()).map(decoded).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let run = |dag: &str, run: &str| {
            Some(RunKey { dag_id: extract::named(dag)?, run_id: extract::named(run)? })
        };
        match parts.as_slice() {
            [] => Some(Self::Home),
            ["expected"] => Some(Self::Expected),
            ["pools"] => Some(Self::Pools),
            ["executors"] => Some(Self::Executors(executors::ExecutorsQuery {
                offset: query.page.map(executors::before_page),
            })),
            ["dags"] => Some(Self::Dags(dags::DagsQuery {
                q: query.q.clone(),
                limit: None,
                offset: query.page.map(dags::before_page),
            })),
            ["dags", dag, "runs", id, "tasks", task, rest @ ..] => {
                let map = match rest {
                    ["mapped", index, ..] => index.parse().ok().map(MapIndex),
                    _ => None,
                };
                let task = extract::named(task)?;
                Some(Self::Task(run(dag, id)?, task, map.unwrap_or(MapIndex::UNMAPPED)))
            }
            ["dags", dag, "runs", id, ..] => Some(Self::Run(run(dag, id)?)),
            ["dags", dag, ..] => {
                Some(Self::Dag(extract::named(dag)?, dag::DagQuery { runs: query.runs }))
            }
            _ => None,
        }
    }

    /// Its name and what it is of: the browser knows by it what a snapshot in the page is of.
    pub(super) fn name(&self) -> Value {
        match self {
            Self::Home => json!(["home"]),
            Self::Expected => json!(["expected"]),
            Self::Pools => json!(["pools"]),
            Self::Executors(query) => json!(["executors", query.offset.unwrap_or(0)]),
            Self::Dags(query) => {
                json!(["dags", query.q.as_deref().unwrap_or_default(), query.offset.unwrap_or(0)])
            }
            Self::Dag(dag, query) => json!(["dag", dag.as_str(), query.runs.unwrap_or(0)]),
            Self::Run(run) => json!(["run", run.dag_id.as_str(), run.run_id.as_str()]),
            Self::Task(run, task, map) => {
                json!(["task", run.dag_id.as_str(), run.run_id.as_str(), task.as_str(), map.0])
            }
        }
    }

    /// Its snapshot.
    pub(super) async fn snapshot(&self, state: &ApiState) -> Result<Value, ApiError> {
        let made = match self.clone() {
            Self::Home => serde_json::to_value(home::snapshot(state).await?),
            Self::Expected => serde_json::to_value(expected::snapshot(state).await?),
            Self::Pools => serde_json::to_value(pools::snapshot(state).await?),
            Self::Executors(query) => {
                serde_json::to_value(executors::snapshot(state, &query).await?)
            }
            Self::Dags(query) => serde_json::to_value(dags::snapshot(state, query).await?),
            Self::Dag(id, query) => serde_json::to_value(dag::snapshot(state, id, query).await?),
            Self::Run(key) => serde_json::to_value(run::snapshot(state, key).await?),
            Self::Task(key, id, map) => {
                serde_json::to_value(task::snapshot(state, key, id, map).await?)
            }
        };
        let mut made = made.map_err(|error| ApiError::bug(&error))?;
        let mark = patch::mark(&made);
        if let Some(members) = made.as_object_mut() {
            members.insert("mark".to_owned(), mark.into());
        }
        Ok(made)
    }

    /// The run that all of it is about, where it is about one: nothing else changes it.
    pub(super) const fn run(&self) -> Option<&RunKey> {
        match self {
            Self::Run(key) | Self::Task(key, ..) => Some(key),
            Self::Home
            | Self::Expected
            | Self::Pools
            | Self::Executors(_)
            | Self::Dags(_)
            | Self::Dag(..) => None,
        }
    }
}

/// A part of a path as it was before it was escaped; what is no escape stays.
pub(super) fn decoded(part: &str) -> String {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escape = if byte == b'%' { after.get(..2) } else { None };
        let code = escape.and_then(|code| str::from_utf8(code).ok());
        if let Some(code) = code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            bytes.push(code);
            rest = &after[2..];
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn airflows_paths_name_views() {
        let named = |path: &str| {
            View::of_path(path, &ViewQuery::default()).map(|view| view.name().to_string())
        };
        for (path, name) in [
            ("/", Some(r#"["home"]"#)),
            ("/dags", Some(r#"["dags","",0]"#)),
            ("/dags/etl", Some(r#"["dag","etl",0]"#)),
            ("/dags/etl/runs", Some(r#"["dag","etl",0]"#)),
            (
                "/dags/etl/runs/scheduled__2026-01-01T00%3A00%3A00%2B00%3A00",
                Some(r#"["run","etl","scheduled__2026-01-01T00:00:00+00:00"]"#),
            ),
            ("/dags/etl/runs/r/tasks/t", Some(r#"["task","etl","r","t",-1]"#)),
            ("/dags/etl/runs/r/tasks/t/mapped/3", Some(r#"["task","etl","r","t",3]"#)),
            ("/dags/%252E%252E/runs/%252E", Some(r#"["run","..","."]"#)),
            ("/alerts", None),
        ] {
            assert_eq!(named(path).as_deref(), name, "{path}");
        }
        assert_eq!(decoded("100%"), "100%");
    }

    #[test]
    fn a_page_of_the_list_is_what_its_address_names() {
        let named = |page: usize| {
            let query =
                ViewQuery { q: Some("etl".to_owned()), page: Some(page), ..ViewQuery::default() };
            View::of_path("/dags", &query).map(|view| view.name())
        };
        assert_eq!(named(1), Some(json!(["dags", "etl", 0])));
        assert_eq!(named(3), Some(json!(["dags", "etl", 100])));
        assert_eq!(named(0), named(1));
        assert_eq!(named(usize::MAX), Some(json!(["dags", "etl", usize::MAX])));
        let query = ViewQuery { page: Some(3), ..ViewQuery::default() };
        let named = View::of_path("/executors", &query).map(|view| view.name());
        assert_eq!(named, Some(json!(["executors", 400])));
    }
}
