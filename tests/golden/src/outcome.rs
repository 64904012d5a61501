//! What the folds made of a log, as JSON that people can compare.
use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use dagbok_api::model::{
    Store,
    rows::{TaskInstanceState, VERSION},
};
use dagbok_domain::namespace::{DEFAULT_POOL, Namespace, SNAPSHOT_VERSION};
use dagbok_events::{ExecutorId, Fact, Record, RunKey, Scope};
use dagbok_runlog::digest_of;
use serde_json::{Map, Value, json};

use crate::replay::Replayed;

/// The outcome of both folds.
pub fn of(replayed: &Replayed) -> Result<Value> {
    let Replayed { name: _, records, namespace, store } = replayed;
    let mut outcome =
        json!({ "scheduler": scheduler(namespace, records)?, "read_model": read_model(store)? });
    prune(&mut outcome);
    Ok(outcome)
}

/// Leaves out what is empty: whether a row keeps nothing as null or not at all is the row's business.
fn prune(value: &mut Value) {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(prune);
            fields.retain(|_, value| !is_empty(value));
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn scheduler(namespace: &Namespace, records: &[Record]) -> Result<Value> {
    let mut dags = Map::new();
    for (dag_id, dag) in namespace.dags() {
        let summary = json!({
            "version": dag.current().number,
            "paused": dag.is_paused(),
            "gone": dag.is_gone(),
            "expected": dag.expected(),
        });
        dags.insert(dag_id.to_string(), summary);
    }
    let mut active = Map::new();
    for run in namespace.active_runs() {
        let name = |no| run.spec(no).task_id.to_string();
        let tasks: Result<Map<String, Value>, serde_json::Error> = run
            .instances()
            .map(|(no, it)| Ok((name(no), state_of(serde_json::to_value(&it.state)?))))
            .collect();
        active.insert(run.key().to_string(), json!({ "phase": run.phase(), "tasks": tasks? }));
    }
    let pools = pools(records).into_iter().filter_map(|pool| {
        let (used, slots) = namespace.pool_use(&pool)?;
        Some((pool, json!({ "used": used, "slots": slots })))
    });
    let offered =
        namespace.queued_tries().into_iter().filter_map(|queued| namespace.work_item(queued));
    let ended = runs(records)
        .into_iter()
        .filter_map(|run| Some((run.to_string(), namespace.ending(&run)?)));
    let ended: Map<String, Value> = ended
        .map(|(run, ending)| Ok((run, serde_json::to_value(ending)?)))
        .collect::<Result<_>>()?;
    Ok(json!({
        "last_seq": namespace.last_seq(),
        "in_flight": namespace.in_flight(),
        "dags": dags,
        "active_runs": active,
        "ended_runs": ended,
        "pools": pools.collect::<Map<_, _>>(),
        "executors": namespace.executors().map(ExecutorId::to_string).collect::<Vec<_>>(),
        "offered": offered.map(|item| item.key.to_string()).collect::<Vec<_>>(),
        "snapshot": { "version": SNAPSHOT_VERSION, "sha256": digest_of(&namespace.to_snapshot()) },
    }))
}

fn pools(records: &[Record]) -> BTreeSet<String> {
    let facts = records.iter().flat_map(|record| &record.facts);
    let named = facts.filter_map(|fact| match fact {
        Fact::PoolSet(set) => Some(set.pool.to_string()),
        Fact::TaskQueued(queued) => Some(queued.pool.to_string()),
        _ => None,
    });
    named.chain([DEFAULT_POOL.to_owned()]).collect()
}

fn runs(records: &[Record]) -> BTreeSet<RunKey> {
    let scopes = records.iter().map(|record| &record.scope);
    scopes
        .filter_map(|scope| if let Scope::Run(run) = scope { Some(run.clone()) } else { None })
        .collect()
}

fn read_model(store: &Store) -> Result<Value> {
    let mut dags = Map::new();
    for mut dag in store.dags()? {
        let counted = std::mem::take(&mut dag.totals);
        let mut row = serde_json::to_value(&dag)?;
        row["runs"] = json!(counted.runs_by_state());
        let tasks = counted
            .tasks
            .iter()
            .map(|(state, n)| (state.map_or("none", TaskInstanceState::word), n));
        row["tasks"] = json!(tasks.collect::<BTreeMap<_, _>>());
        let mut versions = Vec::new();
        for number in 1..=dag.version {
            versions.extend(store.version(&dag.dag_id, number)?.map(|_| number));
        }
        row["versions"] = json!(versions);
        dags.insert(dag.dag_id.to_string(), row);
    }
    let mut runs = Map::new();
    for run in store.runs(None)? {
        let key = RunKey { dag_id: run.dag_id.clone(), run_id: run.run_id.clone() };
        let mut tasks = Vec::new();
        for task in store.tasks(&key)? {
            let mut row = serde_json::to_value(&task)?;
            row["tries"] = json!(store.tries(&key, &task.task_id, task.map_index)?);
            row["xcoms"] = json!(store.xcoms(&key, &task.task_id, task.map_index)?);
            tasks.push(row);
        }
        let mut row = serde_json::to_value(&run)?;
        row["seqs"] = json!(store.seqs(&run)?);
        row["refused"] = json!(store.refused(&key)?);
        row["changes"] = json!(store.changes(&key)?);
        row["tasks"] = Value::Array(tasks);
        runs.insert(key.to_string(), row);
    }
    let mut backfills = Map::new();
    for id in store.backfill_ids(None)? {
        backfills.insert(id.to_string(), serde_json::to_value(store.backfill(id)?)?);
    }
    let mut outcome = json!({
        "dags": dags,
        "runs": runs,
        "import_errors": store.import_errors()?,
        "executors": executors(store)?,
        "pools": store.pools()?,
        "limits": store.limits()?,
        "bundle": store.bundle("")?,
        "rows": { "version": VERSION, "sha256": store.fingerprint()? },
    });
    if !backfills.is_empty() {
        outcome["backfills"] = Value::Object(backfills);
    }
    Ok(outcome)
}

/// A task's state as the files have it: the token of what is in flight stood there as the try's number.
fn state_of(mut state: Value) -> Value {
    let parts = state.as_object_mut().into_iter().flat_map(|state| state.values_mut());
    for part in parts.filter_map(Value::as_object_mut) {
        if let Some(Value::Object(token)) = part.remove("token") {
            let first = token.get("leg") == Some(&json!(0));
            part.extend(token.into_iter().filter(|(name, _)| name != "leg" || !first));
        }
    }
    state
}

/// Every executor there ever was, by name.
fn executors(store: &Store) -> Result<Vec<Value>> {
    let (mut rows, _) = store.executors(true, 0, usize::MAX)?;
    rows.sort_by(|a, b| a.executor.cmp(&b.executor));
    rows.into_iter().map(|row| Ok(serde_json::to_value(row)?)).collect()
}
