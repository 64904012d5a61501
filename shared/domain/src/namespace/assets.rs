//! DAGs that are scheduled on assets: what each waits with, when that is enough, and what its run is made of. Which
//! DAGs an event is for is decided when it happens, and stands in its fact.
use std::collections::{BTreeSet, VecDeque};

use dagbok_events::{
    AssetCondition, AssetEvent, AssetKey, AssetRef, AssetSource, AssetUpdated, DagSpec, Fact,
    Interval, Record, Scope, Timestamp,
};
use dagbok_protocol::limits::{ASSET_EVENTS_BYTES, ASSET_EVENTS_PER_RUN};
use serde::{Deserialize, Serialize};

use super::Namespace;

/// An asset that was brought up to date since the last run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Queued {
    /// Which.
    asset: AssetKey,
    /// When that was first.
    since: Timestamp,
    /// By which aliases.
    aliases: BTreeSet<String>,
}

/// What a DAG waits with for its next run by assets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Waiting {
    /// In the order of their first events; as many as its condition names.
    queued: Vec<Queued>,
    /// What its next run will consume, oldest first.
    events: VecDeque<AssetEvent>,
    /// How many were left out since there were too many.
    left_out: u32,
}

/// What a run by assets begins with.
pub(super) struct ByAssets {
    /// When the last of its assets was first brought up to date.
    pub(super) at: Timestamp,
    /// The data that the runs covered which brought them up to date.
    pub(super) data_interval: Interval,
    pub(super) events: Vec<AssetEvent>,
    pub(super) left_out: u32,
}

impl Waiting {
    /// Takes an event in; `counts`: it lets the DAG come nearer to its run, as it does not while it is paused.
    fn take(&mut self, event: &AssetEvent, counts: bool) {
        if counts {
            let known = self.queued.iter().position(|queued| queued.asset == event.asset);
            let place = known.unwrap_or_else(|| {
                let (asset, since) = (event.asset.clone(), event.at);
                self.queued.push(Queued { asset, since, aliases: BTreeSet::new() });
                self.queued.len() - 1
            });
            self.queued[place].aliases.extend(event.aliases.iter().cloned());
        }
        self.events.push_back(event.clone());
        let size = |event: &AssetEvent| event.extra.as_ref().map_or(0, String::len) + 512;
        let mut bytes: usize = self.events.iter().map(size).sum();
        while self.events.len() > ASSET_EVENTS_PER_RUN || bytes > ASSET_EVENTS_BYTES {
            let Some(oldest) = self.events.pop_front() else { break };
            bytes -= size(&oldest);
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    /// Whether what a DAG waits for has come.
    pub(super) fn is_enough(&self, condition: &AssetCondition) -> bool {
        !self.queued.is_empty() && self.meets(condition)
    }

    fn meets(&self, condition: &AssetCondition) -> bool {
        match condition {
            AssetCondition::One { of } => {
                self.queued.iter().any(|it| is_meant(of, &it.asset, &it.aliases))
            }
            AssetCondition::All { of } => of.iter().all(|part| self.meets(part)),
            AssetCondition::Any { of } => of.iter().any(|part| self.meets(part)),
        }
    }

    /// What a run made now would begin with.
    pub(super) fn run(&self) -> Option<ByAssets> {
        let at = self.queued.iter().map(|queued| queued.since).max()?;
        let span = |event: &AssetEvent| {
            let known = event.source.as_ref().and_then(|source| source.data_interval);
            known.unwrap_or(Interval { start: event.at, end: event.at })
        };
        let data_interval = Interval {
            start: self.events.iter().map(|event| span(event).start).min().unwrap_or(at),
            end: self.events.iter().map(|event| span(event).end).max().unwrap_or(at),
        };
        let events = self.events.iter().cloned().collect();
        Some(ByAssets { at, data_interval, events, left_out: self.left_out })
    }

    /// Lets assets wait again for their next event; all of them where none is named.
    pub(super) fn drop(&mut self, assets: &[AssetKey]) {
        self.queued.retain(|it| !assets.is_empty() && !assets.contains(&it.asset));
    }

    /// The assets that wait, and since when.
    pub(super) fn queued(&self) -> impl Iterator<Item = (&AssetKey, Timestamp)> {
        self.queued.iter().map(|queued| (&queued.asset, queued.since))
    }
}

/// Whether an asset, under these aliases, is the one that is meant.
fn is_meant<'a>(
    meant: &AssetRef,
    asset: &AssetKey,
    aliases: impl IntoIterator<Item = &'a String>,
) -> bool {
    match meant {
        AssetRef::Asset { name, uri, .. } => (name, uri) == (&asset.name, &asset.uri),
        AssetRef::Name { name } => *name == asset.name,
        AssetRef::Uri { uri } => *uri == asset.uri,
        AssetRef::Alias { name } => aliases.into_iter().any(|alias| alias == name),
    }
}

/// Every asset, or what stands for one, that a condition names.
pub(super) fn named(condition: &AssetCondition) -> Vec<&AssetRef> {
    match condition {
        AssetCondition::One { of } => vec![of],
        AssetCondition::All { of } | AssetCondition::Any { of } => {
            of.iter().flat_map(named).collect()
        }
    }
}

impl Namespace {
    /// The event of an asset as a fact, with the DAGs that it is for.
    pub(super) fn asset_updated(&self, mut event: AssetUpdated) -> Fact {
        for dag_id in &self.index.by_assets {
            let Some(dag) = self.dags.get(dag_id) else { continue };
            let Some(condition) = &dag.current.spec.asset_condition else { continue };
            let meant = named(condition);
            if !meant.into_iter().any(|it| is_meant(it, &event.asset, &event.aliases)) {
                continue;
            }
            let told = if dag.paused { &mut event.kept_for } else { &mut event.queued_for };
            told.push(dag_id.clone());
        }
        Fact::AssetUpdated(Box::new(event))
    }

    /// The asset that an outlet means: what refers to one by its name or uri alone means the one that some DAG
    /// names so, and otherwise one of that name and uri.
    pub(super) fn asset_of(&self, outlet: &AssetRef) -> Option<AssetKey> {
        let (name, uri) = match outlet {
            AssetRef::Asset { name, uri, .. } => {
                return Some(AssetKey { name: name.clone(), uri: uri.clone() });
            }
            AssetRef::Alias { .. } => return None,
            AssetRef::Name { name } => (Some(name), None),
            AssetRef::Uri { uri } => (None, Some(uri)),
        };
        let mut known = self.dags.values().flat_map(|dag| assets_of(&dag.current.spec));
        let found = known.find(|asset| {
            name.is_none_or(|name| *name == asset.name) && uri.is_none_or(|uri| *uri == asset.uri)
        });
        found.or_else(|| {
            let text = name.or(uri)?.clone();
            Some(AssetKey { name: text.clone(), uri: text })
        })
    }

    /// Folds in the events of a record, for the DAGs that they name.
    pub(super) fn evolve_assets(&mut self, seq: u64, record: &Record) {
        let updates = record.facts.iter().filter_map(|fact| match fact {
            Fact::AssetUpdated(f) => Some(f),
            _ => None,
        });
        for (nth, f) in (0..).zip(updates) {
            let source = match (&record.scope, &f.task_id) {
                (Scope::Run(key), Some(task_id)) => Some(AssetSource {
                    dag_id: key.dag_id.clone(),
                    run_id: key.run_id.clone(),
                    task_id: task_id.clone(),
                    map_index: f.map_index,
                    data_interval: self.run(key).and_then(|run| run.meta().data_interval),
                }),
                _ => None,
            };
            let event = AssetEvent {
                seq,
                nth,
                asset: f.asset.clone(),
                at: record.decided_at(),
                extra: f.extra.clone(),
                aliases: f.aliases.clone(),
                source,
            };
            let counts = f.queued_for.iter().map(|dag_id| (dag_id, true));
            for (dag_id, counts) in counts.chain(f.kept_for.iter().map(|dag_id| (dag_id, false))) {
                if let Some(dag) = self.dags.get_mut(dag_id).map(std::sync::Arc::make_mut) {
                    dag.waiting.take(&event, counts);
                    self.index_dag(dag_id);
                }
            }
        }
    }

    /// A way through assets on which a DAG of this meaning comes back to itself, if there is one: DAGs and assets
    /// in turn.
    pub(super) fn asset_cycle(&self, spec: &DagSpec) -> Option<Vec<String>> {
        let (mut seen, mut ways) = (BTreeSet::new(), VecDeque::from([vec![(spec, None)]]));
        while let Some(way) = ways.pop_front() {
            let (last, _) = way[way.len() - 1];
            for asset in outlets_of(last) {
                let others = self.dags.iter().filter(|(id, dag)| **id != spec.dag_id && !dag.gone);
                let others = others.map(|(_, dag)| &dag.current.spec);
                for next in std::iter::once(spec).chain(others) {
                    let mut waits = next.asset_condition.iter().flat_map(named);
                    if !waits.any(|it| is_meant(it, &asset, [])) {
                        continue;
                    }
                    let mut on = way.clone();
                    on.push((next, Some(asset.uri.clone())));
                    if next.dag_id == spec.dag_id {
                        return Some(told(&on));
                    }
                    if seen.insert(next.dag_id.clone()) {
                        ways.push_back(on);
                    }
                }
            }
        }
        None
    }
}

fn told(way: &[(&DagSpec, Option<String>)]) -> Vec<String> {
    let part = |(spec, asset): &(&DagSpec, Option<String>)| {
        asset.iter().cloned().chain([spec.dag_id.to_string()]).collect::<Vec<_>>()
    };
    way.iter().flat_map(part).collect()
}

/// The assets that a DAG's tasks bring up to date, as far as the file says.
fn outlets_of(spec: &DagSpec) -> BTreeSet<AssetKey> {
    let outlets = spec.tasks.iter().flat_map(|task| &task.outlets);
    outlets.filter_map(key_of).collect()
}

/// The assets that a DAG names.
fn assets_of(spec: &DagSpec) -> Vec<AssetKey> {
    let waits = spec.asset_condition.iter().flat_map(named);
    let tasks = spec.tasks.iter().flat_map(|task| task.outlets.iter().chain(&task.inlets));
    waits.chain(tasks).filter_map(key_of).collect()
}

fn key_of(asset: &AssetRef) -> Option<AssetKey> {
    match asset {
        AssetRef::Asset { name, uri, .. } => {
            Some(AssetKey { name: name.clone(), uri: uri.clone() })
        }
        AssetRef::Alias { .. } | AssetRef::Name { .. } | AssetRef::Uri { .. } => None,
    }
}
