//! How people and browsers read a record: one JSON object, each fact with its name as `type`.
use serde_json::{Map, Value, json};

use crate::{Actor, DagId, ExecutorId, Record, RunId, RunKey, Scope};

/// One entry of the log as JSON: `seq`, `at`, `clock`, `scope`, `dag_id`, `run_id`, `by`, `reason`, `cause`,
/// `trace` and `facts`, a list of objects whose `type` is the fact's name.
pub fn entry_json(seq: u64, record: &Record) -> Value {
    let mut entry = Map::new();
    entry.insert("seq".into(), json!(seq));
    entry.insert("at".into(), json!(record.at));
    if let Some(clock) = record.clock {
        entry.insert("clock".into(), json!(clock));
    }
    let (kind, ids) = match &record.scope {
        Scope::Namespace => ("namespace", vec![]),
        Scope::File(path) => ("file", vec![("file", path.clone())]),
        Scope::Dag(dag_id) => ("dag", vec![("dag_id", dag_id.to_string())]),
        Scope::Run(run) => {
            ("run", vec![("dag_id", run.dag_id.to_string()), ("run_id", run.run_id.to_string())])
        }
        Scope::Executor(id) => ("executor", vec![("executor", id.to_string())]),
    };
    entry.insert("scope".into(), json!(kind));
    for (name, id) in ids {
        entry.insert(name.into(), json!(id));
    }
    entry.insert("by".into(), json!(actor_text(&record.by)));
    for (name, value) in [
        ("reason", json!(record.reason)),
        ("cause", json!(record.cause.as_ref().map(|cause| cause.command.as_str()))),
        ("trace", json!(record.trace.as_ref().map(|trace| &trace.traceparent))),
    ] {
        if !value.is_null() {
            entry.insert(name.into(), value);
        }
    }
    entry.insert("facts".into(), record.facts.iter().map(fact_json).collect());
    Value::Object(entry)
}

/// The sequence and the record that [`entry_json`] made a JSON object of; `None` where it is not one, or has facts
/// that a newer version wrote. A trace's state and a cause's key are not in it.
pub fn entry_of_json(entry: &Value) -> Option<(u64, Record)> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    let dag_id = || DagId::new(text("dag_id")?).ok();
    let scope = match text("scope")? {
        "namespace" => Scope::Namespace,
        "file" => Scope::File(text("file")?.to_owned()),
        "dag" => Scope::Dag(dag_id()?),
        "run" => {
            Scope::Run(RunKey { dag_id: dag_id()?, run_id: RunId::new(text("run_id")?).ok()? })
        }
        "executor" => Scope::Executor(ExecutorId::new(text("executor")?).ok()?),
        _ => return None,
    };
    let facts = entry.get("facts")?.as_array()?.iter().map(fact_of_json);
    let record = Record {
        at: serde_json::from_value(entry.get("at")?.clone()).ok()?,
        clock: entry.get("clock").and_then(|at| serde_json::from_value(at.clone()).ok()),
        scope,
        by: actor_of_text(text("by")?)?,
        reason: text("reason").map(str::to_owned),
        cause: None,
        trace: None,
        facts: facts.collect::<Option<_>>()?,
    };
    Some((entry.get("seq")?.as_u64()?, record))
}

fn fact_of_json(fact: &Value) -> Option<crate::Fact> {
    let mut fields = fact.as_object()?.clone();
    let Some(Value::String(name)) = fields.remove("type") else { return None };
    let outer = Map::from_iter([(name, Value::Object(fields))]);
    serde_json::from_value(Value::Object(outer)).ok()
}

fn actor_of_text(text: &str) -> Option<Actor> {
    let (kind, name) = text.split_once(':').unwrap_or((text, ""));
    Some(match kind {
        "scheduler" => Actor::Scheduler,
        "schedule" => Actor::Schedule,
        "processor" => Actor::Processor,
        "executor" => Actor::Executor(ExecutorId::new(name).ok()?),
        "user" => Actor::User(name.to_owned()),
        "token" => Actor::Token(name.to_owned()),
        _ => return None,
    })
}

fn actor_text(actor: &Actor) -> String {
    match actor {
        Actor::Scheduler => "scheduler".to_owned(),
        Actor::Schedule => "schedule".to_owned(),
        Actor::Processor => "processor".to_owned(),
        Actor::Executor(id) => format!("executor:{id}"),
        Actor::User(name) => format!("user:{name}"),
        Actor::Token(name) => format!("token:{name}"),
    }
}

fn fact_json(fact: &crate::Fact) -> Value {
    let value = serde_json::to_value(fact).expect("facts have text keys only");
    let Value::Object(outer) = value else { return value };
    let mut object = Map::new();
    for (name, body) in outer {
        object.insert("type".into(), Value::String(name));
        if let Value::Object(fields) = body {
            object.extend(fields);
        }
    }
    Value::Object(object)
}
