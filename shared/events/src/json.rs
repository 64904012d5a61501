//! How people and browsers read a record: one JSON object, each fact with its name as `type`.
use serde_json::{Map, Value, json};

use crate::{Actor, Record, Scope};

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
