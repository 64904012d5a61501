//! What facts about assets change, and what DAGs and runs say of them.
use std::collections::BTreeSet;

use dagbok_events::{
    AssetCondition, AssetKey, AssetRef, AssetSource, AssetUpdated, DagId, DagSpec,
    QueuedAssetsDropped, RunCreated, RunKey, TaskId, Timestamp,
};

use dagbok_protocol::limits::ASSET_EVENTS_PER_RUN;
use dagbok_rows::key::Parts as _;

use super::Context;
use crate::model::{
    Overlay, StoreError, keys,
    rows::{
        AssetAliasRow, AssetCountRow, AssetEventOfRow, AssetEventRow, AssetIdRow, AssetRow, DagRow,
        QueuedAssetRow, QueuedForRow, RunAssetsRow, RunRow, VersionRow, event_id,
    },
};

/// What a DAG does with an asset.
enum Does {
    Waits,
    Brings(TaskId),
    Reads(TaskId),
}

/// The assets that a DAG names, and what it does with each.
fn named(spec: &DagSpec) -> Vec<(&AssetRef, Does)> {
    let waits = spec
        .asset_condition
        .iter()
        .flat_map(AssetCondition::named)
        .map(|asset| (asset, Does::Waits));
    let tasks = spec.tasks.iter().flat_map(|task| {
        let brings = task.outlets.iter().map(|it| (it, Does::Brings(task.task_id.clone())));
        brings.chain(task.inlets.iter().map(|it| (it, Does::Reads(task.task_id.clone()))))
    });
    waits.chain(tasks).collect()
}

/// The row of an asset, made where there is none.
fn row<'a>(
    rows: &'a mut Overlay<'_>,
    asset: &AssetKey,
    at: Timestamp,
) -> Result<&'a mut Option<AssetRow>, StoreError> {
    if rows.peek::<AssetRow>(keys::asset(asset))?.is_none() {
        let count = rows.edit::<AssetCountRow>(keys::asset_count())?.get_or_insert_default();
        count.assets += 1;
        let id = count.assets;
        rows.put(keys::asset_id(id), Some(AssetIdRow { asset: asset.clone() }));
        let new = AssetRow {
            asset: asset.clone(),
            id,
            group: "asset".to_owned(),
            extra: None,
            created_at: at,
            updated_at: at,
            scheduled: BTreeSet::new(),
            producing: BTreeSet::new(),
            consuming: BTreeSet::new(),
            aliases: BTreeSet::new(),
            last_event: None,
        };
        rows.put(keys::asset(asset), Some(new));
    }
    rows.edit::<AssetRow>(keys::asset(asset))
}

/// The row of an alias, made where there is none.
fn alias(rows: &mut Overlay<'_>, name: &str) -> Result<(), StoreError> {
    if rows.peek::<AssetAliasRow>(keys::asset_alias(name))?.is_some() {
        return Ok(());
    }
    let count = rows.edit::<AssetCountRow>(keys::asset_count())?.get_or_insert_default();
    count.aliases += 1;
    let row = AssetAliasRow { name: name.to_owned(), id: count.aliases };
    rows.put(keys::asset_alias(name), Some(row));
    Ok(())
}

/// Notes what a DAG does with its assets, and forgets what it did by the version before.
pub(super) fn registered(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    spec: &DagSpec,
) -> Result<(), StoreError> {
    keep_named(rows, spec)?;
    left(rows, &spec.dag_id)?;
    for (asset, does) in named(spec) {
        if let AssetRef::Alias { name } = asset {
            alias(rows, name)?;
        }
        let AssetRef::Asset { name, uri, group, extra } = asset else { continue };
        let key = AssetKey { name: name.clone(), uri: uri.clone() };
        let Some(row) = row(rows, &key, context.at)? else { continue };
        row.group.clone_from(group);
        row.extra.clone_from(extra);
        row.updated_at = context.at;
        let dag_id = spec.dag_id.clone();
        match does {
            Does::Waits => row.scheduled.insert(dag_id),
            Does::Brings(task_id) => row.producing.insert((dag_id, task_id)),
            Does::Reads(task_id) => row.consuming.insert((dag_id, task_id)),
        };
    }
    Ok(())
}

/// Of what a DAG waited with a new condition keeps what it names, as the scheduler has it.
fn keep_named(rows: &mut Overlay<'_>, spec: &DagSpec) -> Result<(), StoreError> {
    let Some(version) = rows.peek::<DagRow>(keys::dag(&spec.dag_id))?.map(|row| row.version) else {
        return Ok(());
    };
    let old = rows.peek::<VersionRow>(keys::version(&spec.dag_id, version))?;
    if old.is_none_or(|old| old.spec.asset_condition == spec.asset_condition) {
        return Ok(());
    }
    let meant: Vec<&AssetRef> =
        spec.asset_condition.iter().flat_map(AssetCondition::named).collect();
    let stays = |asset: &AssetKey| meant.iter().any(|it| it.means(asset, []));
    for key in
        rows.keys_within::<QueuedAssetRow>(&keys::within_dag::<QueuedAssetRow>(&spec.dag_id))?
    {
        let row = rows.peek::<QueuedAssetRow>(key.clone())?;
        let Some(mut row) = row.cloned() else { continue };
        if !stays(&row.asset) {
            unqueue(rows, &spec.dag_id, &row.asset);
        } else if row.by_alias {
            row.by_alias = false;
            rows.put(key, Some(row));
        }
    }
    Ok(())
}

/// Forgets what a DAG does with assets, as its version of now has it.
pub(super) fn left(rows: &mut Overlay<'_>, dag_id: &DagId) -> Result<(), StoreError> {
    let Some(version) = rows.peek::<DagRow>(keys::dag(dag_id))?.map(|row| row.version) else {
        return Ok(());
    };
    let Some(old) = rows.peek::<VersionRow>(keys::version(dag_id, version))? else {
        return Ok(());
    };
    let named = named(&old.spec);
    let assets: Vec<AssetKey> = named.iter().filter_map(|(asset, _)| asset.key()).collect();
    for asset in assets {
        if let Some(row) = rows.edit::<AssetRow>(keys::asset(&asset))? {
            row.scheduled.remove(dag_id);
            row.producing.retain(|(other, _)| other != dag_id);
            row.consuming.retain(|(other, _)| other != dag_id);
        }
    }
    Ok(())
}

/// An event, by its place among those of its record.
pub(super) fn updated(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    nth: u32,
    fact: &AssetUpdated,
) -> Result<(), StoreError> {
    let AssetUpdated { asset, task_id, map_index, extra, aliases, queued_for, .. } = fact;
    let refused = fact
        .partitioned_for
        .iter()
        .filter_map(|told| Some((told.dag_id.clone(), told.refused.clone()?)));
    let id = event_id(context.seq, nth);
    let source = match (context.run(), task_id) {
        (Some(run), Some(task_id)) => {
            let interval = rows.peek::<RunRow>(keys::run(run))?.and_then(|row| row.data_interval);
            Some(AssetSource {
                dag_id: run.dag_id.clone(),
                run_id: run.run_id.clone(),
                task_id: task_id.clone(),
                map_index: *map_index,
                data_interval: interval,
            })
        }
        _ => None,
    };
    let mut number = 0;
    if let Some(row) = row(rows, asset, context.at)? {
        number = row.id;
        row.last_event = Some((id, context.at));
        let left = ASSET_EVENTS_PER_RUN.saturating_sub(row.aliases.len());
        row.aliases.extend(aliases.iter().take(left).cloned());
    }
    for name in aliases {
        alias(rows, name)?;
    }
    let count = rows.edit::<AssetCountRow>(keys::asset_count())?.get_or_insert_default();
    count.events += 1;
    let of_dag = source.as_ref().map(|source| keys::events_of_dag(&source.dag_id));
    let of = [keys::events_of_all(), keys::events_of_asset(number)].into_iter().chain(of_dag);
    for prefix in of {
        rows.put(prefix.signed(context.at.0).number(id), Some(AssetEventOfRow {}));
    }
    let event = AssetEventRow {
        id,
        asset: asset.clone(),
        at: context.at,
        extra: extra.clone(),
        aliases: aliases.clone(),
        source,
        partition_key: fact.partition.as_ref().map(|it| it.key.clone()),
        refused: refused.collect(),
        runs: Vec::new(),
    };
    rows.put(keys::asset_event(id), Some(event));
    for dag_id in queued_for {
        queue(rows, dag_id, asset, (id, context.at), !aliases.is_empty())?;
    }
    Ok(())
}

/// An asset waits in a DAG. As the scheduler has it, no more wait than a run takes events: the oldest that came by an
/// alias goes.
fn queue(
    rows: &mut Overlay<'_>,
    dag_id: &DagId,
    asset: &AssetKey,
    (event, since): (u64, Timestamp),
    by_alias: bool,
) -> Result<(), StoreError> {
    let queued = rows.edit::<QueuedAssetRow>(keys::queued_asset(dag_id, asset))?;
    if let Some(row) = queued {
        row.by_alias |= by_alias;
        return Ok(());
    }
    *queued = Some(QueuedAssetRow { asset: asset.clone(), since, event, by_alias });
    rows.put(keys::queued_for(asset, dag_id), Some(QueuedForRow {}));
    let mut waiting: Vec<QueuedAssetRow> = Vec::new();
    for key in rows.keys_within::<QueuedAssetRow>(&keys::within_dag::<QueuedAssetRow>(dag_id))? {
        waiting.extend(rows.peek::<QueuedAssetRow>(key)?.cloned());
    }
    if waiting.len() > ASSET_EVENTS_PER_RUN {
        let oldest = waiting.iter().filter(|row| row.by_alias).min_by_key(|row| row.event);
        if let Some(oldest) = oldest {
            unqueue(rows, dag_id, &oldest.asset);
        }
    }
    Ok(())
}

/// An asset waits in a DAG no more.
fn unqueue(rows: &mut Overlay<'_>, dag_id: &DagId, asset: &AssetKey) {
    rows.put::<QueuedAssetRow>(keys::queued_asset(dag_id, asset), None);
    rows.put::<QueuedForRow>(keys::queued_for(asset, dag_id), None);
}

/// None waits in a DAG any more.
fn unqueue_all(rows: &mut Overlay<'_>, dag_id: &DagId) -> Result<(), StoreError> {
    for key in rows.keys_within::<QueuedAssetRow>(&keys::within_dag::<QueuedAssetRow>(dag_id))? {
        if let Some(asset) = rows.peek::<QueuedAssetRow>(key)?.map(|row| row.asset.clone()) {
            unqueue(rows, dag_id, &asset);
        }
    }
    Ok(())
}

/// The run that assets made: their events know it, and none waits any more.
pub(super) fn consumed(
    rows: &mut Overlay<'_>,
    run: &RunKey,
    fact: &RunCreated,
) -> Result<(), StoreError> {
    if fact.partition.is_none() {
        unqueue_all(rows, &run.dag_id)?;
    }
    let events = fact.asset_events.iter().map(|event| event_id(event.seq, event.nth));
    let events: BTreeSet<u64> = events.collect();
    for id in &events {
        if let Some(event) = rows.edit::<AssetEventRow>(keys::asset_event(*id))? {
            event.runs.push(run.clone());
        }
    }
    let events = events.into_iter().collect();
    let row = RunAssetsRow { events, left_out: fact.asset_events_left_out };
    rows.put(keys::run_assets(run), Some(row));
    Ok(())
}

pub(super) fn dropped(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    fact: &QueuedAssetsDropped,
) -> Result<(), StoreError> {
    let Some(dag_id) = context.dag() else { return Ok(()) };
    if fact.assets.is_empty() {
        return unqueue_all(rows, dag_id);
    }
    for asset in &fact.assets {
        unqueue(rows, dag_id, asset);
    }
    Ok(())
}
