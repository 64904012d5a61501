//! Assets brought up to date by tasks and by others, and the runs that this makes.
use dagbok_events::{
    Actor, AssetKey, AssetUpdated, DagId, Fact, MapIndex, Micros, Partition, QueuedAssetsDropped,
    Record, RunCreated, RunKey, RunType, Scope, TaskId, Timestamp,
};
use dagbok_protocol::{
    AssetUpdate, Command, OutletEvent, RefusalCode,
    limits::{
        ASSET_EVENTS_PER_TRY, ASSET_EVENTS_PER_TRY_BYTES, ASSET_EXTRA_BYTES, ASSETS_PER_TRY,
        PARTITION_KEYS_BYTES,
    },
};

use super::{own::first_facts, runs::no_dag};
use crate::{
    namespace::{
        Dag, Decision, Namespace, accepted, answering, own, refuse, run_id::run_id_by_assets,
        unchanged,
    },
    partition::key_fault,
};

/// About what an asset's event takes in its record, in bytes; what keys of partitions take is counted elsewhere.
fn weight(fact: &Fact) -> usize {
    let Fact::AssetUpdated(it) = fact else { return 0 };
    let ids = it.queued_for.iter().chain(&it.kept_for).map(|id| id.as_str().len() + 4);
    let told = it
        .partitioned_for
        .iter()
        .map(|told| told.dag_id.as_str().len() + told.refused.as_ref().map_or(0, String::len) + 32);
    let text = it.asset.name.len() + it.asset.uri.len() + it.extra.as_ref().map_or(0, String::len);
    let own = it.task_id.as_ref().map_or(0, |id| id.as_str().len())
        + it.partition.as_ref().map_or(0, |it| it.key.len())
        + it.aliases.iter().map(String::len).sum::<usize>();
    64 + text + own + ids.sum::<usize>() + told.sum::<usize>()
}

/// How many bytes an extra has that is more than is kept.
fn too_long(extra: Option<&str>) -> u64 {
    let bytes = extra.map_or(0, str::len);
    if bytes > ASSET_EXTRA_BYTES { bytes as u64 } else { 0 }
}

impl Namespace {
    /// What a task's success says of assets.
    pub(super) fn outlet_facts(
        &self,
        (task_id, map_index): (&TaskId, MapIndex),
        own: Option<&Partition>,
        outlets: &[OutletEvent],
    ) -> Vec<Fact> {
        let mut room = PARTITION_KEYS_BYTES;
        let event = |outlet: &OutletEvent| {
            let said = outlet.partition_key.as_ref().filter(|key| key_fault(key).is_none());
            // The run's date is that of its own key.
            let said = said.filter(|key| own.is_none_or(|own| own.key != **key));
            let said = said.map(|key| Partition { key: key.clone(), date: None });
            let event = AssetUpdated {
                asset: self.asset_of(&outlet.asset)?,
                task_id: Some(task_id.clone()),
                map_index,
                extra: outlet.extra.clone().filter(|extra| extra.len() <= ASSET_EXTRA_BYTES),
                aliases: outlet.aliases.clone(),
                queued_for: Vec::new(),
                kept_for: Vec::new(),
                partition: said.or_else(|| own.cloned()),
                partitioned_for: Vec::new(),
                extra_left_out: too_long(outlet.extra.as_deref()),
                more_left_out: 0,
            };
            Some(self.asset_updated(event, &mut room))
        };
        let made = outlets.iter().filter_map(event).take(ASSET_EVENTS_PER_TRY);
        let mut bytes = 0;
        let fits = |(nth, fact): &(usize, Fact)| {
            bytes += weight(fact);
            *nth < ASSETS_PER_TRY || bytes <= ASSET_EVENTS_PER_TRY_BYTES
        };
        let mut told: Vec<Fact> = made.enumerate().take_while(fits).map(|(_, fact)| fact).collect();
        let known = outlets.iter().filter(|outlet| self.asset_of(&outlet.asset).is_some());
        let more = known.count() - told.len();
        if let Some(Fact::AssetUpdated(last)) = told.last_mut() {
            last.more_left_out = u32::try_from(more).unwrap_or(u32::MAX);
        }
        told
    }

    /// Somebody outside says that an asset is up to date.
    pub(super) fn update_asset(
        &self,
        at: Timestamp,
        command: &Command,
        ask: &AssetUpdate,
    ) -> Decision {
        if let Some(extra) = &ask.extra {
            if extra.len() > ASSET_EXTRA_BYTES {
                let why = format!(
                    "the extra has {} bytes of JSON, at most {ASSET_EXTRA_BYTES} are taken",
                    extra.len()
                );
                return refuse(RefusalCode::Invalid, why);
            }
            let read = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(extra);
            if read.is_err() {
                return refuse(RefusalCode::Invalid, "the extra must be a JSON object".to_owned());
            }
        }
        if let Some(fault) = ask.partition_key.as_deref().and_then(key_fault) {
            return refuse(RefusalCode::Invalid, fault);
        }
        let partition = ask.partition_key.clone().map(|key| Partition { key, date: None });
        let event = AssetUpdated {
            asset: ask.asset.clone(),
            task_id: None,
            map_index: MapIndex::UNMAPPED,
            extra: ask.extra.clone(),
            aliases: Vec::new(),
            queued_for: Vec::new(),
            kept_for: Vec::new(),
            partition,
            partitioned_for: Vec::new(),
            extra_left_out: 0,
            more_left_out: 0,
        };
        let fact = self.asset_updated(event, &mut { PARTITION_KEYS_BYTES });
        accepted(vec![answering(command, at, Scope::Namespace, vec![fact])])
    }

    /// Lets a DAG wait for assets again.
    pub(super) fn drop_queued_assets(
        &self,
        at: Timestamp,
        command: &Command,
        dag_id: &DagId,
        assets: &[AssetKey],
    ) -> Decision {
        let Some(dag) = self.dags.get(dag_id) else { return no_dag(dag_id) };
        let meant = |asset: &AssetKey| assets.is_empty() || assets.contains(asset);
        if !dag.queued_assets().any(|(asset, _)| meant(asset)) && dag.partitions.is_empty() {
            return unchanged();
        }
        let fact = QueuedAssetsDropped { assets: assets.to_vec() };
        let facts = vec![Fact::QueuedAssetsDropped(fact)];
        accepted(vec![answering(command, at, Scope::Dag(dag_id.clone()), facts)])
    }

    /// Makes the run that a DAG's assets call for.
    pub(super) fn create_by_assets(&self, at: Timestamp, dag_id: &DagId) -> Option<Record> {
        let dag = self.dags.get(dag_id).filter(|dag| dag.is_ready_by_assets())?;
        if dag.is_partitioned() {
            return self.create_by_partition(at, dag_id, dag);
        }
        let run = dag.waiting.run()?;
        let (version, older) = (&dag.current, dag.current.spec.era < 3);
        // Its id and its date must be its own: two may be called for in one microsecond.
        let key_at = |date: Timestamp| RunKey {
            dag_id: dag_id.clone(),
            run_id: run_id_by_assets(version.spec.era, date),
        };
        let is_free = |date: &Timestamp| {
            let taken = older && dag.dates.contains(*date);
            !taken && !self.knows_run(&key_at(*date))
        };
        let date = (0..1_000_000).map(|n| run.at.plus(Micros(n))).find(is_free)?;
        let key = key_at(date);
        let created = RunCreated {
            run_type: RunType::AssetTriggered,
            // Files of the older era read `ds` and its kin in every run, so such a run has a date.
            logical_date: older.then_some(date),
            data_interval: older.then_some(run.data_interval),
            run_after: run.at.min(at),
            version: version.number,
            bundle: dag.bundle.clone(),
            conf: None,
            note: None,
            asset_events: run.events,
            asset_events_left_out: run.left_out,
            backfill_id: None,
            partition: None,
        };
        let starts = dag.may_start() && dag.queued.is_empty();
        let start = if starts { first_facts(&key, at, dag, &created) } else { Vec::new() };
        let facts = [Fact::RunCreated(Box::new(created))].into_iter().chain(start).collect();
        Some(own(at, Actor::Schedule, Scope::Run(key), None, facts))
    }

    /// Makes the run of the first partition that has what it needs. It has no logical date, whatever the era.
    fn create_by_partition(&self, at: Timestamp, dag_id: &DagId, dag: &Dag) -> Option<Record> {
        let run = dag.partitions.run(&dag.current.spec)?;
        let key_at =
            |date: Timestamp| RunKey { dag_id: dag_id.clone(), run_id: run_id_by_assets(3, date) };
        let is_free = |date: &Timestamp| !self.knows_run(&key_at(*date));
        let date = (0..1_000_000).map(|n| run.at.plus(Micros(n))).find(is_free)?;
        let key = key_at(date);
        let created = RunCreated {
            run_type: RunType::AssetTriggered,
            logical_date: None,
            data_interval: None,
            run_after: run.at.min(at),
            version: dag.current.number,
            bundle: dag.bundle.clone(),
            conf: None,
            note: None,
            asset_events: run.events,
            asset_events_left_out: run.left_out,
            backfill_id: None,
            partition: Some(run.partition),
        };
        let starts = dag.may_start() && dag.queued.is_empty();
        let start = if starts { first_facts(&key, at, dag, &created) } else { Vec::new() };
        let facts = [Fact::RunCreated(Box::new(created))].into_iter().chain(start).collect();
        Some(own(at, Actor::Schedule, Scope::Run(key), None, facts))
    }
}
