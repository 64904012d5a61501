//! What a task asks about runs and tasks of any DAG, in the words of Airflow's task runner, asked of the API.
mod assets;

use std::{collections::BTreeSet, fmt::Write as _};

use dagbok_events::{Timestamp, TryKey};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::ask::{ApiClient, Unanswered};

/// Entries that are asked for at once; fewer where they are large.
const PAGE: usize = 250;
/// Runs or tasks that one question may be about.
const MOST: usize = 10_000;
/// Tasks of a run that are asked for one by one.
const BY_NAME: usize = 20;

/// An answer: a body, or an error with its code.
type Reply = Result<Value, (&'static str, String)>;

/// Which runs, and what of them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Runs {
    dag_id: String,
    run_id: Option<String>,
    run_ids: Option<Vec<String>>,
    logical_date: Option<Timestamp>,
    logical_dates: Option<Vec<Timestamp>>,
    /// The first logical date that is wanted, and the last.
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    state: Option<String>,
    states: Option<Vec<String>>,
    run_type: Option<String>,
    task_id: Option<String>,
    task_ids: Option<Vec<String>>,
    task_group_id: Option<String>,
    map_index: Option<i32>,
}

#[derive(Debug, Deserialize)]
struct Trigger {
    dag_id: String,
    run_id: Option<String>,
    #[serde(default)]
    logical_date: Option<Timestamp>,
    #[serde(default)]
    conf: Option<Value>,
    #[serde(default)]
    reset_dag_run: bool,
    #[serde(default)]
    note: Option<String>,
    #[serde(default)]
    partition_key: Option<String>,
}

/// Answers a request of this kind; `None` where it is none about the past.
pub(crate) async fn answer(
    api: &mut ApiClient,
    key: &TryKey,
    date: Option<Timestamp>,
    kind: &str,
    body: &Map<String, Value>,
) -> Option<Reply> {
    let asked = match kind {
        "TriggerDagRun" => return Some(of(body, async |asked| trigger(api, asked).await).await),
        "GetAssetEventByAsset" | "GetAssetEventByAssetAlias" => {
            let api = &*api;
            return Some(of(body, async |asked| assets::events(api, &asked).await).await);
        }
        "GetAssetByName" | "GetAssetByUri" => {
            let found = of(body, async |asked| assets::one(api, &asked).await).await;
            let named = |(code, why)| {
                if code == "NOT_FOUND" { ("ASSET_NOT_FOUND", why) } else { (code, why) }
            };
            return Some(found.map_err(named));
        }
        "GetAssetsByAlias" => {
            return Some(of(body, async |asked| assets::of_alias(api, &asked).await).await);
        }
        "GetPrevSuccessfulDagRun" => {
            let asked = Runs {
                dag_id: key.dag_id.to_string(),
                logical_date: date,
                state: Some("success".to_owned()),
                ..Runs::default()
            };
            return Some(previous_success(api, asked).await.map_err(told));
        }
        "GetDagRun" | "GetDagRunState" | "GetDRCount" | "GetPreviousDagRun" | "GetPreviousTI"
        | "GetTICount" | "GetTaskStates" | "GetDag" | "GetDagTasks" | "FindDagRuns"
        | "GetTaskInstances" => kind,
        _ => return None,
    };
    let api = &*api;
    Some(of(body, async |runs: Runs| about(api, asked, runs).await).await)
}

async fn about(api: &ApiClient, asked: &str, runs: Runs) -> Result<Value, Unanswered> {
    match asked {
        "GetDagRun" => one_run(api, &runs).await.map(|run| typed("DagRunResult", run)),
        "GetDagRunState" => {
            let state = one_run(api, &runs).await?["state"].clone();
            Ok(json!({"type": "DagRunStateResult", "state": state}))
        }
        "GetDRCount" => Ok(json!({"type": "DRCount", "count": count_runs(api, &runs).await?})),
        "GetPreviousDagRun" => {
            let found = previous(api, &runs).await?.as_ref().map(run_of);
            Ok(json!({"type": "PreviousDagRunResult", "dag_run": found}))
        }
        "GetPreviousTI" => {
            let found = previous_task(api, &runs).await?;
            Ok(json!({"type": "PreviousTIResult", "task_instance": found}))
        }
        "GetTICount" => {
            let count = tasks(api, &runs).await?.len();
            Ok(json!({"type": "TICount", "count": count}))
        }
        "GetTaskStates" => {
            let states = states_of(&tasks(api, &runs).await?);
            Ok(json!({"type": "TaskStatesResult", "task_states": states}))
        }
        "GetDag" => {
            let path = format!("/api/v2/dags/{}", part(&runs.dag_id));
            api.get(path).await.map(|dag| typed("DagResult", dag))
        }
        "GetDagTasks" => {
            let path = format!("/api/v2/dags/{}/tasks", part(&runs.dag_id));
            let found = api.get(path).await?;
            let all = found["tasks"].as_array().into_iter().flatten();
            let ids: Vec<_> = all.map(|task| task["task_id"].clone()).collect();
            Ok(json!({"type": "DagTasksResult", "task_ids": ids}))
        }
        "FindDagRuns" => {
            let found: Vec<_> = find(api, &runs).await?.iter().map(run_of).collect();
            Ok(json!({"type": "DagRunsResult", "dag_runs": found}))
        }
        _ => {
            let found: Vec<_> = tasks(api, &runs).await?.iter().map(task_of).collect();
            Ok(json!({"type": "TaskInstancesResult", "task_instances": found}))
        }
    }
}

async fn of<T: DeserializeOwned>(
    body: &Map<String, Value>,
    answer: impl AsyncFnOnce(T) -> Result<Value, Unanswered>,
) -> Reply {
    let fields = Value::Object(body.clone());
    let asked = serde_json::from_value(fields)
        .map_err(|error| ("GENERIC_ERROR", format!("the request is not understood: {error}")))?;
    answer(asked).await.map_err(told)
}

fn told((status, why): Unanswered) -> (&'static str, String) {
    let code = match status {
        404 => "NOT_FOUND",
        409 => "DAGRUN_ALREADY_EXISTS",
        _ => "GENERIC_ERROR",
    };
    (code, why)
}

fn typed(kind: &str, mut body: Value) -> Value {
    body["type"] = kind.into();
    body
}

/// A part of a path or a query, escaped.
fn part(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => write!(escaped, "%{byte:02X}").expect("writing to a string does not fail"),
        }
    }
    escaped
}

fn runs_path(dag_id: &str) -> String {
    format!("/api/v2/dags/{}/dagRuns", part(dag_id))
}

fn run_path(dag_id: &str, run_id: &str) -> String {
    format!("{}/{}", runs_path(dag_id), part(run_id))
}

fn add(query: &mut String, name: &str, value: &str) {
    write!(query, "&{name}={}", part(value)).expect("writing to a string does not fail");
}

impl Runs {
    fn wanted_states(&self) -> Vec<&str> {
        let several = self.states.iter().flatten().map(String::as_str);
        self.state.as_deref().into_iter().chain(several).collect()
    }

    fn wanted_ids(&self) -> Option<Vec<&str>> {
        if self.run_id.is_none() && self.run_ids.is_none() {
            return None;
        }
        let several = self.run_ids.iter().flatten().map(String::as_str);
        Some(self.run_id.as_deref().into_iter().chain(several).collect())
    }

    /// Stretches of logical dates: each date alone, or all.
    fn stretches(&self) -> Vec<(Option<Timestamp>, Option<Timestamp>)> {
        match &self.logical_dates {
            Some(dates) => dates.iter().map(|date| (Some(*date), Some(*date))).collect(),
            None if self.logical_date.is_some() => vec![(self.logical_date, self.logical_date)],
            None => vec![(self.from, self.to)],
        }
    }

    fn query(&self, (from, to): (Option<Timestamp>, Option<Timestamp>)) -> String {
        let mut query = String::new();
        for state in self.wanted_states() {
            add(&mut query, "state", state);
        }
        if let Some(run_type) = &self.run_type {
            add(&mut query, "run_type", run_type);
        }
        for (name, date) in [("logical_date_gte", from), ("logical_date_lte", to)] {
            if let Some(date) = date {
                add(&mut query, name, &date.to_string());
            }
        }
        query
    }

    /// Whether a run, asked for by its id, is one of those wanted.
    fn wants(&self, run: &Value) -> bool {
        let states = self.wanted_states();
        let text = |name: &str| run[name].as_str();
        let date = Timestamp::deserialize(&run["logical_date"]).ok();
        (states.is_empty() || text("state").is_some_and(|state| states.contains(&state)))
            && self.run_type.as_deref().is_none_or(|wanted| text("run_type") == Some(wanted))
            && self.stretches().iter().any(|(from, to)| {
                from.is_none_or(|from| date.is_some_and(|date| from <= date))
                    && to.is_none_or(|to| date.is_some_and(|date| date <= to))
            })
    }
}

async fn one_run(api: &ApiClient, runs: &Runs) -> Result<Value, Unanswered> {
    let run_id = runs.run_id.as_deref().unwrap_or_default();
    api.get(run_path(&runs.dag_id, run_id)).await.map(|run| run_of(&run))
}

/// All entries of a list, in pages. A DAG that is not there has none.
async fn entries(api: &ApiClient, path: &str, name: &str) -> Result<Vec<Value>, Unanswered> {
    entries_up_to(api, path, name, MOST + 1).await
}

/// The first entries of a list, in pages.
async fn entries_up_to(
    api: &ApiClient,
    path: &str,
    name: &str,
    most: usize,
) -> Result<Vec<Value>, Unanswered> {
    let (mut all, mut limit) = (Vec::new(), PAGE);
    while all.len() < most {
        let asked = limit.min(most - all.len());
        let target = format!("{path}&limit={asked}&offset={}", all.len());
        let mut page = match api.find(target).await {
            Ok(Some(page)) => page,
            Ok(None) => return Ok(all),
            // An answer is a record large at most, and entries have confs and notes.
            Err((413, _)) if limit > 1 => {
                limit /= 2;
                continue;
            }
            Err(error) => return Err(error),
        };
        let Value::Array(found) = page[name].take() else { return Ok(all) };
        let last = found.len() < asked;
        all.extend(found);
        if all.len() > MOST {
            return Err((413, format!("more than {MOST} {name} are asked for at once")));
        }
        if last {
            break;
        }
    }
    Ok(all)
}

/// The runs that are wanted, by their logical dates.
async fn find(api: &ApiClient, runs: &Runs) -> Result<Vec<Value>, Unanswered> {
    let mut all = Vec::new();
    if let Some(ids) = runs.wanted_ids() {
        for id in ids {
            let found = api.find(run_path(&runs.dag_id, id)).await?;
            all.extend(found.filter(|run| runs.wants(run)));
        }
        return Ok(all);
    }
    for stretch in runs.stretches() {
        let query = runs.query(stretch);
        let path = format!("{}?order_by=logical_date{query}", runs_path(&runs.dag_id));
        all.extend(entries(api, &path, "dag_runs").await?);
    }
    Ok(all)
}

async fn count_runs(api: &ApiClient, runs: &Runs) -> Result<usize, Unanswered> {
    if runs.wanted_ids().is_some() || runs.logical_dates.is_some() {
        return find(api, runs).await.map(|found| found.len());
    }
    let query = runs.query((runs.from, runs.to));
    let found = api.find(format!("{}?limit=1{query}", runs_path(&runs.dag_id))).await?;
    let total = found.and_then(|page| page["total_entries"].as_u64()).unwrap_or(0);
    Ok(usize::try_from(total).unwrap_or(usize::MAX))
}

/// The run of the next earlier logical date, in the state where one is wanted.
async fn previous(api: &ApiClient, runs: &Runs) -> Result<Option<Value>, Unanswered> {
    let Some(date) = runs.logical_date else { return Ok(None) };
    let mut query = String::new();
    for state in runs.wanted_states() {
        add(&mut query, "state", state);
    }
    add(&mut query, "logical_date_lt", &date.to_string());
    let path = format!("{}?order_by=-logical_date&limit=1{query}", runs_path(&runs.dag_id));
    let found = api.find(path).await?;
    Ok(found.and_then(|mut page| page["dag_runs"].get_mut(0).map(Value::take)))
}

async fn previous_success(api: &ApiClient, runs: Runs) -> Result<Value, Unanswered> {
    let found = previous(api, &runs).await?.unwrap_or_default();
    let mut result = json!({"type": "PrevSuccessfulDagRunResult"});
    // The logical date is what the older era's context has, too.
    for name in
        ["data_interval_start", "data_interval_end", "start_date", "end_date", "logical_date"]
    {
        result[name] = found[name].clone();
    }
    Ok(result)
}

/// The task of the newest earlier run, in the state where one is wanted.
async fn previous_task(api: &ApiClient, runs: &Runs) -> Result<Option<Value>, Unanswered> {
    const LOOKED_AT: usize = 100;
    let Some(date) = runs.logical_date else { return Ok(None) };
    let mut query = format!("?order_by=-logical_date&limit={LOOKED_AT}");
    add(&mut query, "logical_date_lt", &date.to_string());
    let found = api.find(format!("{}{query}", runs_path(&runs.dag_id))).await?;
    let task = part(runs.task_id.as_deref().unwrap_or_default());
    let copy = runs.map_index.filter(|index| *index >= 0);
    let copy = copy.map_or_else(String::new, |index| format!("/{index}"));
    for run in found.iter().flat_map(|page| page["dag_runs"].as_array().into_iter().flatten()) {
        let run_id = run["dag_run_id"].as_str().unwrap_or_default();
        let path = format!("{}/taskInstances/{task}{copy}", run_path(&runs.dag_id, run_id));
        let Some(found) = api.find(path).await? else { continue };
        if runs.state.as_deref().is_none_or(|state| found["state"] == state) {
            return Ok(Some(task_of(&found)));
        }
    }
    Ok(None)
}

/// Tasks of the runs that are wanted; a state here is a task's.
async fn tasks(api: &ApiClient, runs: &Runs) -> Result<Vec<Value>, Unanswered> {
    let mut query = "?".to_owned();
    for state in runs.wanted_states() {
        add(&mut query, "state", state);
    }
    if let Some(map_index) = runs.map_index {
        add(&mut query, "map_index", &map_index.to_string());
    }
    if let Some(group) = &runs.task_group_id {
        add(&mut query, "task_group_id", group);
    }
    let dated = runs.logical_date.is_some() || runs.logical_dates.is_some();
    let ids: Vec<String> = match runs.wanted_ids() {
        Some(ids) => ids.into_iter().map(part).collect(),
        None if dated => {
            let all = Runs {
                dag_id: runs.dag_id.clone(),
                logical_date: runs.logical_date,
                logical_dates: runs.logical_dates.clone(),
                ..Runs::default()
            };
            let found = find(api, &all).await?;
            found.iter().filter_map(|run| run["dag_run_id"].as_str()).map(part).collect()
        }
        None => vec!["~".to_owned()],
    };
    let wanted: BTreeSet<&str> =
        runs.task_id.iter().chain(runs.task_ids.iter().flatten()).map(String::as_str).collect();
    // A few are asked for by name: their run may have very many others.
    let by_name: Vec<String> = match wanted.len() {
        1..=BY_NAME => wanted.iter().map(|id| format!("&task_id={}", part(id))).collect(),
        _ => vec![String::new()],
    };
    let mut all = Vec::new();
    for id in ids {
        let path = format!("{}/{id}/taskInstances{query}", runs_path(&runs.dag_id));
        for name in &by_name {
            let found = entries(api, &format!("{path}{name}"), "task_instances").await?;
            all.extend(found.into_iter().filter(|task| {
                wanted.is_empty() || task["task_id"].as_str().is_some_and(|id| wanted.contains(id))
            }));
        }
    }
    Ok(all)
}

fn states_of(tasks: &[Value]) -> Value {
    let mut states = json!({});
    for task in tasks {
        let (run, id) = (task["dag_run_id"].as_str(), task["task_id"].as_str());
        let (run, id) = (run.unwrap_or_default(), id.unwrap_or_default());
        let name = match task["map_index"].as_i64() {
            Some(index) if index >= 0 => format!("{id}_{index}"),
            _ => id.to_owned(),
        };
        states[run][name] = task["state"].clone();
    }
    states
}

/// A run in the words of the frames.
fn run_of(run: &Value) -> Value {
    let mut said = json!({
        "run_id": run["dag_run_id"], "clear_number": 0, "consumed_asset_events": [],
        "conf_json": run["conf"].is_object().then(|| run["conf"].to_string()),
    });
    for name in [
        "dag_id",
        "logical_date",
        "data_interval_start",
        "data_interval_end",
        "run_after",
        "start_date",
        "end_date",
        "run_type",
        "state",
        "triggering_user_name",
        "note",
        "partition_key",
        "partition_date",
    ] {
        said[name] = run[name].clone();
    }
    said
}

/// A task instance in the words of the frames.
fn task_of(task: &Value) -> Value {
    let mut said = json!({ "run_id": task["dag_run_id"] });
    for name in [
        "task_id",
        "dag_id",
        "logical_date",
        "start_date",
        "end_date",
        "state",
        "try_number",
        "map_index",
        "duration",
        "operator",
    ] {
        said[name] = task[name].clone();
    }
    said
}

/// Makes a run of another DAG, or has one that is there run again.
async fn trigger(api: &mut ApiClient, asked: Trigger) -> Result<Value, Unanswered> {
    let Trigger { dag_id, run_id, logical_date, conf, reset_dag_run, note, partition_key } = asked;
    let body = json!({
        "dag_run_id": run_id, "logical_date": logical_date.map(|date| date.to_string()),
        "conf": conf.unwrap_or_else(|| json!({})), "note": note,
        "partition_key": partition_key,
    });
    let made = api.post(runs_path(&dag_id), &body).await;
    let run_id = match (made, run_id) {
        // Where the rows are behind, the run itself is not shown yet.
        (Ok(_), Some(run_id)) => run_id,
        (Ok(run), None) => {
            let shown = run["dag_run_id"].as_str().or(run["detail"]["dag_run_id"].as_str());
            shown.unwrap_or_default().to_owned()
        }
        (Err((409, _)), Some(run_id)) if reset_dag_run => {
            let path = format!("{}/clear", run_path(&dag_id, &run_id));
            api.post(path, &json!({"dry_run": false})).await?;
            run_id
        }
        (Err(error), _) => return Err(error),
    };
    Ok(json!({"type": "OKResponse", "ok": true, "dag_id": dag_id, "run_id": run_id}))
}
