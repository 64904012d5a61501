//! Every document of `schemas/`.
use dagbok_events::{DagSpec, Record};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};

use crate::{executor_protocol::executor_protocol, limits};

pub(crate) fn schema<T: JsonSchema>(title: &str, description: &str) -> Value {
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
    vec![
        ("limits.md", limits::page()),
        ("metrics.md", dagbok_metrics::reference()),
        ("statsd.md", statsd),
    ]
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
