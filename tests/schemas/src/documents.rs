//! Every document of `schemas/`.
use dagbok_events::{DagSpec, Record};
use dagbok_protocol::{
    Answer, ApiQuestion, ApiReply, Command, Order, Presence, TryLogQuery, TryLogSlice,
    TryUsageAnswer, TryUsageQuery, UsageSeries, WorkItem,
};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};

fn schema<T: JsonSchema>(title: &str, description: &str) -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut value = generator.into_root_schema_for::<T>().to_value();
    value["title"] = json!(title);
    value["description"] = json!(description);
    value
}

/// Name and content of every file.
pub fn documents() -> Vec<(&'static str, Value)> {
    vec![
        ("events.json", events()),
        ("dag-spec.json", dag_spec()),
        ("executor-protocol.json", executor_protocol()),
        ("openapi.json", openapi()),
        ("configuration.json", configuration()),
        ("alert-events.json", alert_events()),
        ("alerting.json", alerting()),
    ]
}

/// Name and text of every page for people.
pub fn pages() -> Vec<(&'static str, String)> {
    let statsd = dagbok_metrics::airflow::statsd_reference();
    vec![("metrics.md", dagbok_metrics::reference()), ("statsd.md", statsd)]
}

fn events() -> Value {
    schema::<Record>(
        "Dagbok record",
        "One entry of the run log. Stored as MessagePack with named fields, where times are integers \
         (microseconds since the Unix epoch); records above 32 KiB as one Zstandard frame of that. \
         Variants and optional fields are added; nothing is renamed, retyped or removed.",
    )
}

fn dag_spec() -> Value {
    schema::<DagSpec>("Dagbok DAG", "A DAG as the parser prints it and as DagRegistered keeps it.")
}

fn openapi() -> Value {
    serde_json::from_str(&dagbok_api::openapi()).expect("the generator writes JSON")
}

fn configuration() -> Value {
    schema::<dagbok_config::Config>(
        "Dagbok configuration",
        "dagbok.toml, and DAGBOK__SECTION__KEY in the environment.",
    )
}

fn alert_events() -> Value {
    schema::<dagbok_alerts::AlertRecord>(
        "Dagbok alert record",
        "One entry of the alert log. Stored as a record of the run log is. Variants and optional fields are added; \
         nothing is renamed, retyped or removed.",
    )
}

fn alerting() -> Value {
    let mut value = dagbok_alerting::schema();
    value["title"] = json!("Dagbok alerting");
    value["description"] = json!("alerting.toml: who is told of what goes wrong.");
    value
}

/// An AsyncAPI 3 document of all that an executor says and hears.
fn executor_protocol() -> Value {
    let mut schemas = executor_schemas();
    let mut document = json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Dagbok executor protocol",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0" },
            "description": "What a program must speak to run tries. Payloads are MessagePack with named \
                fields. Subjects stand after `dagbok.<namespace>.`; tokens are percent-escaped."
        },
        "defaultContentType": "application/msgpack",
        "channels": {
            "work": channel("work.{queue}.{key}", "Work items; pulled, renewed, acknowledged after the last report.", "WorkItem"),
            "inbox": channel("inbox.{id}", "Commands and reports.", "Command"),
            "answers": channel("signals.answers.{id}", "What became of a command.", "Answer"),
            "orders": channel("signals.orders.{executor}", "Orders to one executor.", "Order"),
            "logs": channel("signals.logs.{executor}", "Requests for a running try's log.", "TryLogQuery"),
            "usage": channel("signals.usage.{executor}", "Requests for what a running try uses.", "TryUsageQuery"),
            "questions": channel("signals.questions", "Requests to whoever serves the API, for a task that asks.", "ApiQuestion"),
            "presence": channel("state.presence/{executor}", "A key of the keyed state, put every quarter of a lease.", "Presence")
        },
        "operations": {
            "takeWork": operation("receive", "work"),
            "report": operation("send", "inbox"),
            "hearAnswer": operation("receive", "answers"),
            "hearOrder": operation("receive", "orders"),
            "serveLog": operation("receive", "logs"),
            "ask": operation("send", "questions"),
            "keepPresence": operation("send", "presence")
        }
    });
    rewrite_refs(&mut schemas);
    let messages: serde_json::Map<String, Value> = MESSAGES
        .iter()
        .map(|name| {
            let payload = json!({ "$ref": format!("#/components/schemas/{name}") });
            ((*name).to_owned(), json!({ "name": name, "payload": payload }))
        })
        .collect();
    document["components"] = json!({ "schemas": schemas, "messages": messages });
    document
}

/// What stands on the wire by itself.
const MESSAGES: [&str; 12] = [
    "WorkItem",
    "Command",
    "Answer",
    "Order",
    "Presence",
    "TryLogQuery",
    "TryLogSlice",
    "TryUsageQuery",
    "TryUsageAnswer",
    "UsageSeries",
    "ApiQuestion",
    "ApiReply",
];

/// The schemas of the messages, of a log's lines, and of all that they are made of.
fn executor_schemas() -> serde_json::Map<String, Value> {
    let mut schemas = serde_json::Map::new();
    let mut add = |name: &str, mut root: Value| {
        // Definitions are shared by all messages: lifted out, once each.
        if let Some(Value::Object(defs)) =
            root.as_object_mut().and_then(|root| root.remove("$defs"))
        {
            schemas.extend(defs);
        }
        if let Some(root) = root.as_object_mut() {
            root.remove("$schema");
        }
        schemas.insert(name.to_owned(), root);
    };
    add("WorkItem", schema::<WorkItem>("WorkItem", "One try to run."));
    add("Command", schema::<Command>("Command", "To the scheduler's inbox; reports are commands."));
    add("Answer", schema::<Answer>("Answer", "What became of a command."));
    add("Order", schema::<Order>("Order", "To one executor."));
    add(
        "Presence",
        schema::<Presence>("Presence", "That an executor is there, and what it holds."),
    );
    add("TryLogQuery", schema::<TryLogQuery>("TryLogQuery", "Asks for a running try's log."));
    add("TryLogSlice", schema::<TryLogSlice>("TryLogSlice", "A slice of it."));
    add("TryUsageQuery", schema::<TryUsageQuery>("TryUsageQuery", "Asks what a running try uses."));
    add("TryUsageAnswer", schema::<TryUsageAnswer>("TryUsageAnswer", "The answer to that."));
    add(
        "UsageSeries",
        schema::<UsageSeries>(
            "UsageSeries",
            "What a try used over its time: the blob that its log's reference names.",
        ),
    );
    add("ApiQuestion", schema::<ApiQuestion>("ApiQuestion", "What a task asks about other runs."));
    add("ApiReply", schema::<ApiReply>("ApiReply", "The API's answer to that."));
    add("LogLine", schema::<dagbok_executor::LogLine>("LogLine", "One line of a try's log."));
    schemas
}

fn channel(address: &str, description: &str, message: &str) -> Value {
    json!({
        "address": address,
        "description": description,
        "messages": { message: { "$ref": format!("#/components/messages/{message}") } }
    })
}

fn operation(action: &str, channel: &str) -> Value {
    json!({ "action": action, "channel": { "$ref": format!("#/channels/{channel}") } })
}

fn rewrite_refs(schemas: &mut serde_json::Map<String, Value>) {
    for value in schemas.values_mut() {
        rewrite(value);
    }
}

fn rewrite(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(name) = text.strip_prefix("#/$defs/") {
                *text = format!("#/components/schemas/{name}");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(rewrite),
        Value::Object(fields) => fields.values_mut().for_each(rewrite),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
