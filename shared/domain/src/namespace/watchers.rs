//! Watchers of assets: triggers that run for as long as a DAG that is scheduled on the asset is there and not paused.
//! Which those are follows from the DAGs as they are; nothing else is kept of them.
use std::collections::BTreeSet;

use dagbok_events::{
    AssetWatcher, DagId, Leg, MapIndex, PoolName, QueueName, RunId, RunType, TaskId, TryKey,
    TryNumber,
};
use dagbok_protocol::{RunContext, WorkItem, names::WATCH};

use super::{DEFAULT_POOL, Dag, Namespace};

/// What stands in place of a task's id in a watcher's key.
const WATCHER: &str = "__watcher__";

impl Namespace {
    /// The watchers that are to run, each once though several DAGs have it: that of the first of them does.
    fn watchers(&self) -> Vec<(&DagId, &Dag, u32, &AssetWatcher)> {
        let mut seen: BTreeSet<(&str, &str, &str, String)> = BTreeSet::new();
        let mut found = Vec::new();
        for dag_id in &self.index.watching {
            let Some(dag) = self.dags.get(dag_id).filter(|dag| !dag.paused && !dag.gone) else {
                continue;
            };
            for (place, watcher) in (0_u32..).zip(&dag.current.spec.watchers) {
                let (asset, trigger) = (&watcher.asset, &watcher.trigger);
                let kwargs = format!("{:?}", trigger.kwargs);
                if seen.insert((&asset.name, &asset.uri, &trigger.class_path, kwargs)) {
                    found.push((dag_id, dag.as_ref(), place, watcher));
                }
            }
        }
        found
    }

    /// What triggerers are given to run for assets.
    pub fn watch_items(&self) -> Vec<WorkItem> {
        let items = self.watchers().into_iter();
        items
            .map(|(dag_id, dag, place, watcher)| self.item_of(dag_id, dag, place, watcher))
            .collect()
    }

    /// Whose trigger this is; `None` where it is not to run any more.
    pub(super) fn watcher_named(&self, key: &TryKey) -> Option<&AssetWatcher> {
        let wanted = |(dag_id, dag, place, _): &(&DagId, &Dag, u32, &AssetWatcher)| {
            key_of(dag_id, dag, *place) == *key
        };
        self.watchers().into_iter().find(wanted).map(|(.., watcher)| watcher)
    }

    fn item_of(&self, dag_id: &DagId, dag: &Dag, place: u32, watcher: &AssetWatcher) -> WorkItem {
        WorkItem {
            key: key_of(dag_id, dag, place),
            queued_seq: self.last_seq,
            queued_at: self.last_at,
            bundle: dag.bundle.clone(),
            file: dag.current.spec.source.file.clone(),
            pool: PoolName::new(DEFAULT_POOL).expect("it is a name"),
            queue: QueueName::new("default").expect("it is a name"),
            max_tries: 0,
            will_retry: false,
            first_started_at: None,
            execution_timeout: None,
            next_interval: None,
            ask_after: None,
            run: RunContext {
                run_type: RunType::AssetTriggered,
                logical_date: None,
                data_interval: None,
                run_after: self.last_at,
                start_date: None,
                conf: None,
                triggered_by: None,
                note: None,
                asset_events: Vec::new(),
            },
            traceparent: None,
            resume: None,
            trigger: Some(watcher.trigger.clone()),
            watches: true,
            dag_callback: None,
            ask: false,
        }
    }
}

/// Another for each version of the DAG: its code may be another.
fn key_of(dag_id: &DagId, dag: &Dag, place: u32) -> TryKey {
    TryKey {
        dag_id: dag_id.clone(),
        run_id: RunId::new(format!("{WATCH}{}", dag.current.number)).expect("it is a name"),
        task_id: TaskId::new(WATCHER).expect("it is a name"),
        map_index: MapIndex(i32::try_from(place).unwrap_or(i32::MAX)),
        try_number: TryNumber::FIRST,
        leg: Leg::FIRST,
    }
}
