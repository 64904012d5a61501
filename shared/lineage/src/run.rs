//! What is kept of a run, for as long as its events may need it.
use std::collections::BTreeMap;

use dagbok_events::{
    DagId, DagVersion, Interval, MapIndex, Payload, RunCreated, RunType, TaskId, Timestamp,
    TryNumber,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{event::Names, facets::Named};

/// Events of assets that a run came by and names, at most.
const MADE_BY: usize = 100;

/// Which try of which copy.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) task_id: TaskId,
    pub(crate) map_index: MapIndex,
    pub(crate) try_number: TryNumber,
}

/// A try that has begun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Copy {
    pub(crate) try_number: TryNumber,
    pub(crate) queued: Option<Timestamp>,
    pub(crate) started: Timestamp,
    /// Whether it waits in a trigger's care.
    pub(crate) deferred: bool,
    /// What its operator says that it read and wrote, in JSON.
    pub(crate) told: Option<String>,
}

/// A task of another DAG that a run came by, through an asset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Maker {
    dag_id: DagId,
    task_id: TaskId,
    uri: String,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) kind: RunType,
    pub(crate) logical: Option<Timestamp>,
    pub(crate) interval: Option<Interval>,
    pub(crate) due: Timestamp,
    pub(crate) version: DagVersion,
    pub(crate) bundle: String,
    /// How often it was cleared after it was over.
    pub(crate) round: u32,
    pub(crate) begun: Option<Timestamp>,
    /// Teardowns are yet to run; whether somebody asked for that.
    pub(crate) ending: Option<bool>,
    /// What led to it, by its conf: the parent and the root of all.
    pub(crate) led_by: Option<(Named, Named)>,
    pub(crate) made_by: Vec<Maker>,
    /// Tries that have begun, and when those that have not were queued.
    pub(crate) copies: BTreeMap<(TaskId, MapIndex), Copy>,
    pub(crate) queued: BTreeMap<(TaskId, MapIndex), Timestamp>,
    /// How each task ended, the last of its copies, and how long that took in seconds.
    pub(crate) states: BTreeMap<TaskId, (String, f64)>,
}

impl Run {
    pub(crate) fn new(created: &RunCreated) -> Self {
        let conf = match &created.conf {
            Some(Payload::Inline(text)) => Some(text.as_str()),
            // What is that large is not read for the sake of an id.
            Some(Payload::Blob { .. }) | None => None,
        };
        let maker = |event: &dagbok_events::AssetEvent| {
            let source = event.source.as_ref()?;
            Some(Maker {
                dag_id: source.dag_id.clone(),
                task_id: source.task_id.clone(),
                uri: crate::facets::without_login(&event.asset.uri),
            })
        };
        Self {
            kind: created.run_type,
            logical: created.logical_date,
            interval: created.data_interval,
            due: created.run_after,
            version: created.version,
            bundle: created.bundle.to_string(),
            round: 0,
            begun: None,
            ending: None,
            led_by: conf.and_then(led_by),
            made_by: created.asset_events.iter().filter_map(maker).take(MADE_BY).collect(),
            copies: BTreeMap::new(),
            queued: BTreeMap::new(),
            states: BTreeMap::new(),
        }
    }

    /// The date that ids are made of.
    pub(crate) fn date(&self) -> Timestamp {
        self.logical.unwrap_or(self.due)
    }

    /// What is left of a run that is over: it may be cleared.
    pub(crate) fn over(mut self) -> Self {
        (self.begun, self.ending) = (None, None);
        self.copies.clear();
        self.queued.clear();
        self.states.clear();
        self
    }

    /// `jobDependencies`, of a run that came by assets.
    pub(crate) fn dependencies(&self, names: &Names) -> Option<Value> {
        let mut jobs = BTreeMap::<String, Vec<Value>>::new();
        for maker in &self.made_by {
            let job = jobs.entry(format!("{}.{}", maker.dag_id, maker.task_id)).or_default();
            job.push(json!({ "asset_uri": maker.uri }));
        }
        let upstream = jobs.into_iter().map(|(name, events)| {
            json!({
                "job": { "namespace": names.namespace, "name": name },
                "dependency_type": "IMPLICIT_ASSET_DEPENDENCY",
                "airflow": { "asset_events": events },
            })
        });
        let body = json!({ "upstream": upstream.collect::<Vec<_>>() });
        let facet = names.facet("JobDependenciesRunFacet", "1-0-1", body);
        (!self.made_by.is_empty()).then_some(facet)
    }
}

/// What a run's conf says of what led to it, as Airflow's provider reads it: all three of a parent, or nothing.
fn led_by(conf: &str) -> Option<(Named, Named)> {
    let conf: Value = serde_json::from_str(conf).ok()?;
    let said = conf.get("openlineage")?;
    let named = |run: &str, namespace: &str, job: &str| {
        let text = |key: &str| said.get(key)?.as_str().map(str::to_owned);
        let named = Named { run_id: text(run)?, namespace: text(namespace)?, job: text(job)? };
        let whole = !named.namespace.is_empty() && !named.job.is_empty();
        (is_uuid(&named.run_id) && whole).then_some(named)
    };
    let parent = named("parentRunId", "parentJobNamespace", "parentJobName")?;
    let root = named("rootParentRunId", "rootParentJobNamespace", "rootParentJobName");
    let root = root.unwrap_or_else(|| parent.clone());
    Some((parent, root))
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
