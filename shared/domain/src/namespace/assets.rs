//! DAGs that are scheduled on assets: what each waits with, when that is enough, and what its run is made of. Which
//! DAGs an event is for is decided when it happens, and stands in its fact.
use std::collections::{BTreeSet, VecDeque};

use dagbok_events::{
    AssetCondition, AssetEvent, AssetKey, AssetRef, AssetSource, AssetUpdated, DagId, Fact,
    Interval, PartitionMapper, PartitionedFor, Record, RunCreated, Scope, Timestamp,
};
use dagbok_protocol::{
    limits::{
        ASSET_EVENTS_BYTES, ASSET_EVENTS_PER_RUN, PARTITION_KEYS_PER_EVENT, PARTITIONS_PENDING,
    },
    text,
};
use serde::{Deserialize, Serialize};

use super::{Dag, Namespace};
use crate::partition;

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
    /// In the order of their first events; as many as its condition names, and of those that aliases brought as
    /// many as there are places left of [`ASSET_EVENTS_PER_RUN`].
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
            if self.queued.len() > ASSET_EVENTS_PER_RUN
                && let Some(oldest) = self.queued.iter().position(|it| !it.aliases.is_empty())
            {
                self.queued.remove(oldest);
            }
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
                self.queued.iter().any(|it| of.means(&it.asset, &it.aliases))
            }
            AssetCondition::All { of } => of.iter().all(|part| self.meets(part)),
            AssetCondition::Any { of } => of.iter().any(|part| self.meets(part)),
        }
    }

    /// What a condition names and that has not come; of several that one is enough of, all.
    pub(super) fn missing<'a>(&self, condition: &'a AssetCondition) -> Vec<&'a AssetRef> {
        match condition {
            _ if self.meets(condition) => Vec::new(),
            AssetCondition::One { of } => vec![of],
            AssetCondition::All { of } | AssetCondition::Any { of } => {
                of.iter().flat_map(|part| self.missing(part)).collect()
            }
        }
    }

    /// What a run made now would begin with: as in Airflow the events up to the one that completed what it waits for.
    /// Where it waited for room since, what came then is the next run's.
    pub(super) fn run(&self) -> Option<ByAssets> {
        let at = self.queued.iter().map(|queued| queued.since).max()?;
        let taken = || self.events.iter().filter(|event| event.at <= at);
        let span = |event: &AssetEvent| {
            let known = event.source.as_ref().and_then(|source| source.data_interval);
            known.unwrap_or(Interval { start: event.at, end: event.at })
        };
        let data_interval = Interval {
            start: taken().map(|event| span(event).start).min().unwrap_or(at),
            end: taken().map(|event| span(event).end).max().unwrap_or(at),
        };
        let events = taken().cloned().collect();
        Some(ByAssets { at, data_interval, events, left_out: self.left_out })
    }

    /// A run took what was there up to its date, and what it names; nothing waits for it any more.
    pub(super) fn consume(&mut self, run: &RunCreated) {
        let named: BTreeSet<(u64, u32)> =
            run.asset_events.iter().map(|event| (event.seq, event.nth)).collect();
        let left = |event: &AssetEvent| {
            event.at > run.run_after && !named.contains(&(event.seq, event.nth))
        };
        self.queued.clear();
        self.events.retain(left);
        self.left_out = 0;
    }

    /// Lets assets wait again for their next event; all of them where none is named.
    pub(super) fn drop(&mut self, assets: &[AssetKey]) {
        self.queued.retain(|it| !assets.is_empty() && !assets.contains(&it.asset));
    }

    /// Keeps what a new condition names; what aliases brought waits for their next events.
    pub(super) fn keep_named(&mut self, condition: Option<&AssetCondition>) {
        let meant: Vec<&AssetRef> = condition.into_iter().flat_map(AssetCondition::named).collect();
        let stays = |asset: &AssetKey| meant.iter().any(|it| it.means(asset, []));
        self.queued.retain(|it| stays(&it.asset));
        self.events.retain(|it| stays(&it.asset));
        for queued in &mut self.queued {
            queued.aliases.clear();
        }
        if self.events.is_empty() {
            self.left_out = 0;
        }
    }

    /// The assets that wait, and since when.
    pub(super) fn queued(&self) -> impl Iterator<Item = (&AssetKey, Timestamp)> {
        self.queued.iter().map(|queued| (&queued.asset, queued.since))
    }
}

impl Namespace {
    /// The event of an asset as a fact, with the DAGs that it is for. `room`: what keys of partitions may still take in
    /// its record, in bytes.
    pub(super) fn asset_updated(&self, mut event: AssetUpdated, room: &mut usize) -> Fact {
        for dag_id in self.index.assets.waiting_for(&event.asset, &event.aliases) {
            let Some(dag) = self.dags.get(dag_id) else { continue };
            if dag.is_partitioned() {
                // As in Airflow one that is paused misses it.
                if !dag.paused {
                    event.partitioned_for.push(partitioned_for(dag_id, dag, &event, room));
                }
                continue;
            }
            if event.partition.is_some() {
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
            AssetRef::Asset { .. } | AssetRef::Alias { .. } => return outlet.key(),
            AssetRef::Name { name } => (Some(name), None),
            AssetRef::Uri { uri } => (None, Some(uri)),
        };
        let text = name.or(uri)?;
        let known = self.index.assets.first(name.map(String::as_str), uri.map(String::as_str));
        Some(known.cloned().unwrap_or_else(|| AssetKey { name: text.clone(), uri: text.clone() }))
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
                partition: f.partition.clone(),
            };
            let counts = f.queued_for.iter().map(|dag_id| (dag_id, true));
            for (dag_id, counts) in counts.chain(f.kept_for.iter().map(|dag_id| (dag_id, false))) {
                if let Some(dag) = self.dags.get_mut(dag_id).map(std::sync::Arc::make_mut) {
                    dag.waiting.take(&event, counts);
                    self.index_dag(dag_id);
                }
            }
            for told in &f.partitioned_for {
                if let Some(dag) = self.dags.get_mut(&told.dag_id).map(std::sync::Arc::make_mut) {
                    let version = std::sync::Arc::clone(&dag.current);
                    dag.partitions.take(&event, told, &version.spec);
                    self.index_dag(&told.dag_id);
                }
            }
        }
    }
}

/// What an event means for a DAG that is scheduled on partitions.
fn partitioned_for(
    dag_id: &DagId,
    dag: &Dag,
    event: &AssetUpdated,
    room: &mut usize,
) -> PartitionedFor {
    let told = |keys, date, refused| {
        let dag_id = dag_id.clone();
        PartitionedFor { dag_id, keys, date, refused }
    };
    let refused = |why: String| told(Vec::new(), None, Some(text::cut(&why, REFUSED_BYTES)));
    let Some(partition) = &event.partition else {
        return refused(NO_KEY.to_owned());
    };
    let Some(rule) = partition::rule_for(&dag.current.spec.schedule, &event.asset) else {
        return refused("the DAG is not scheduled on partitions".to_owned());
    };
    let keys = match partition::to_downstream(&rule.mapper, &partition.key) {
        Ok(keys) => keys,
        Err(why) => return refused(why),
    };
    if let Some(fault) = keys.iter().find_map(|key| partition::key_fault(key)) {
        return refused(format!("the key `{}` maps to one that is none: {fault}", partition.key));
    }
    let own = rule.max_downstream_keys.map(|most| most as usize);
    let most = own.unwrap_or(PARTITION_KEYS_PER_EVENT).min(PARTITIONS_PENDING);
    if keys.len() > most {
        let made = keys.len();
        return refused(format!(
            "the key `{}` makes {made} keys; at most {most} are taken (`max_downstream_keys`)",
            partition.key
        ));
    }
    let bytes: usize = keys.iter().map(String::len).sum();
    let Some(left) = room.checked_sub(bytes) else {
        return refused(format!("its {} keys are more than one record has room for", keys.len()));
    };
    *room = left;
    let date = partition.date.filter(|_| rule.mapper == PartitionMapper::Identity);
    told(keys, date, None)
}

/// Why an event counts for nothing that has no partition, where partitions are waited for.
const NO_KEY: &str = "the event has no partition key, and the DAG is scheduled on partitions: give the run one, or let the \
                      task say it with `add_partitions`";
/// A reason above this is cut, in bytes.
const REFUSED_BYTES: usize = 512;
