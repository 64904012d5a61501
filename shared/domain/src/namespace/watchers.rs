//! Watchers of assets: triggers that run for as long as a DAG that is scheduled on the asset is there and not paused.
//! Which those are follows from the DAGs as they are; nothing else is kept of them.
use std::collections::{BTreeMap, BTreeSet};

use dagbok_events::{
    AssetWatcher, DagId, DagVersion, Digest, Leg, MapIndex, Payload, PoolName, QueueName, RunId,
    RunType, TaskId, TryKey, TryNumber, folder_of, hex, path_in_folder,
};
use dagbok_protocol::{RunContext, WorkItem, names::WATCH};
use sha1::{Digest as _, Sha1};

use super::{DEFAULT_POOL, Dag, Namespace};

impl Namespace {
    /// The watchers that are to run, each once though several DAGs have it: that of the first of them does.
    fn watchers(&self) -> BTreeMap<&TryKey, Watching<'_>> {
        let mut found = BTreeMap::new();
        for (dag_id, watched) in &self.index.watching {
            let Some(dag) = self.dags.get(dag_id).filter(|dag| !dag.paused && !dag.gone) else {
                continue;
            };
            for (key, watcher) in watched.keys.iter().zip(&dag.current.spec.watchers) {
                found.entry(key).or_insert(Watching { dag_id, dag, watcher });
            }
        }
        found
    }

    /// The keys of the watchers that are to run.
    pub fn watcher_keys(&self) -> BTreeSet<TryKey> {
        self.watchers().into_keys().cloned().collect()
    }

    /// Whether a DAG has watchers, be it paused or not.
    pub fn has_watchers(&self, dag_id: &DagId) -> bool {
        self.index.watching.contains_key(dag_id)
    }

    /// What triggerers are given to run for assets.
    pub fn watch_items(&self) -> Vec<WorkItem> {
        let watchers = self.watchers().into_iter();
        watchers.map(|(key, watching)| self.watch_item(key.clone(), &watching)).collect()
    }

    /// Whose trigger this is, and of which DAG; `None` where it is not to run any more.
    pub(super) fn watcher_named(&self, key: &TryKey) -> Option<(&DagId, &AssetWatcher)> {
        self.watchers().remove(key).map(|found| (found.dag_id, found.watcher))
    }

    fn watch_item(&self, key: TryKey, of: &Watching<'_>) -> WorkItem {
        let Watching { dag, watcher, .. } = of;
        WorkItem {
            key,
            queued_seq: self.last_seq,
            queued_at: self.last_at,
            bundle: dag.bundle.clone(),
            file: path_in_folder(&dag.current.spec.source.file).to_owned(),
            folder: folder_of(&dag.current.spec.source.file).map(str::to_owned),
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
                partition: None,
            },
            traceparent: None,
            resume: None,
            trigger: Some(watcher.trigger.clone()),
            watches: true,
            dag_callback: None,
            resources: dagbok_events::Resources::default(),
            limits: dagbok_events::Limits::default(),
            run_as_user: None,
            pod_override: None,
            checkpoint: None,
            lineage: false,
            ask: false,
        }
    }
}

/// The keys of a DAG's watchers, in its order, and what they were made of.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    version: DagVersion,
    bundle: Digest,
    keys: Vec<TryKey>,
}

impl Watched {
    pub(super) fn new(dag: &Dag) -> Self {
        let watchers = dag.current.spec.watchers.iter();
        let keys = watchers.map(|watcher| key_of(watcher, &dag.bundle)).collect();
        Self { version: dag.current.number, bundle: dag.bundle.clone(), keys }
    }

    /// Whether they are still these.
    pub(super) fn is_of(&self, dag: &Dag) -> bool {
        self.version == dag.current.number && self.bundle == dag.bundle
    }
}

/// A watcher, and the DAG that it runs for.
struct Watching<'a> {
    dag_id: &'a DagId,
    dag: &'a Dag,
    watcher: &'a AssetWatcher,
}

/// The same for all DAGs that have it, and another where its code may be another.
fn key_of(watcher: &AssetWatcher, bundle: &Digest) -> TryKey {
    let AssetWatcher { asset, trigger, .. } = watcher;
    let kwargs = match &trigger.kwargs {
        Payload::Inline(text) => text,
        Payload::Blob { digest, .. } => digest.as_str(),
    };
    let parts = [&asset.name, &asset.uri, &trigger.class_path, kwargs, bundle.as_str()];
    let digest = hex(&Sha1::digest(parts.join("\0").as_bytes()));
    TryKey {
        dag_id: DagId::new(WATCH).expect("it is a name"),
        run_id: RunId::new(WATCH).expect("it is a name"),
        task_id: TaskId::new(digest).expect("it is made of letters and digits"),
        map_index: MapIndex::UNMAPPED,
        try_number: TryNumber::FIRST,
        leg: Leg::FIRST,
    }
}
