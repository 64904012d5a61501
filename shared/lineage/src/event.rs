//! A run event of OpenLineage, ready to be sent.
use dagbok_events::Timestamp;
use serde_json::{Map, Value, json};

use crate::facets::Touched;

/// What is said of every event of an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The namespace of its jobs.
    pub namespace: String,
    /// Which Dagbok it is, as `0.1.0`.
    pub version: String,
}

impl Names {
    /// Who made a facet or an event, as a URI.
    pub(crate) fn producer(&self) -> String {
        format!("urn:dagbok:{}", self.version)
    }

    /// A facet by its schema's name and version, as `ParentRunFacet` and `1-2-0`.
    pub(crate) fn facet(&self, name: &str, version: &str, body: Value) -> Value {
        self.with_schema(
            &format!("https://openlineage.io/spec/facets/{version}/{name}.json#/$defs/{name}"),
            body,
        )
    }

    /// A facet that has no schema of its own: `RunFacet`, `JobFacet`, `DatasetFacet`.
    pub(crate) fn own_facet(&self, kind: &str, body: Value) -> Value {
        self.with_schema(&format!("{SPEC}{kind}"), body)
    }

    fn with_schema(&self, schema: &str, body: Value) -> Value {
        let mut facet = Map::new();
        facet.insert("_producer".to_owned(), self.producer().into());
        facet.insert("_schemaURL".to_owned(), schema.into());
        if let Value::Object(body) = body {
            facet.extend(body.into_iter().filter(|(_, value)| !value.is_null()));
        }
        Value::Object(facet)
    }
}

const SPEC: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/";

/// What has become of a run or a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// It began.
    Start,
    /// It goes on after a wait.
    Running,
    /// It ended, and did what it was to do, or had nothing to do.
    Complete,
    /// It ended badly.
    Fail,
    /// It was ended.
    Abort,
}

impl EventType {
    /// As it stands in the event.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Start => "START",
            Self::Running => "RUNNING",
            Self::Complete => "COMPLETE",
            Self::Fail => "FAIL",
            Self::Abort => "ABORT",
        }
    }
}

/// One run event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What has become of it.
    pub event_type: EventType,
    /// When.
    pub at: Timestamp,
    /// Of which run or try, as a UUID.
    pub run_id: String,
    /// Of which job: `dag` or `dag.task`.
    pub job: String,
    /// The whole of it, in JSON.
    pub json: String,
}

/// Facets by their names.
pub(crate) type Facets = Map<String, Value>;

/// What an event is made of.
pub(crate) struct Parts {
    pub(crate) event_type: EventType,
    pub(crate) at: Timestamp,
    pub(crate) run_id: String,
    pub(crate) run: Facets,
    pub(crate) job: String,
    pub(crate) job_facets: Facets,
    pub(crate) inputs: Vec<Touched>,
    pub(crate) outputs: Vec<Touched>,
}

impl Parts {
    pub(crate) fn event(self, names: &Names) -> Event {
        let Self { event_type, at, run_id, run, job, job_facets, inputs, outputs } = self;
        let datasets = |all: Vec<Touched>, here: &str| -> Vec<Value> {
            let one = |it: Touched| {
                let Touched { dataset, facets, here: said } = it;
                let mut body = json!({ "namespace": dataset.namespace, "name": dataset.name, "facets": facets });
                if !said.is_empty() {
                    body[here] = Value::Object(said);
                }
                body
            };
            all.into_iter().map(one).collect()
        };
        let body = json!({
            "eventTime": at,
            "eventType": event_type.word(),
            "producer": names.producer(),
            "schemaURL": format!("{SPEC}RunEvent"),
            "run": { "runId": run_id, "facets": run },
            "job": { "namespace": names.namespace, "name": job, "facets": job_facets },
            "inputs": datasets(inputs, "inputFacets"),
            "outputs": datasets(outputs, "outputFacets"),
        });
        Event { event_type, at, run_id, job, json: body.to_string() }
    }
}
