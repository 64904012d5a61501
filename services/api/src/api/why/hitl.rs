//! What is said of tasks that wait for people, of partitions that wait for others, and of runs to come.
use dagbok_events::{AssetRef, DagId, Timestamp};
use dagbok_protocol::{PartitionAsset, PartitionWaits, Reason};

use super::text::{joined, new};
use crate::shapes::{
    PendingPartition, PendingPartitionAsset, PendingPartitionCollection, WhyReason,
};

/// Partitions that a sentence names.
const NAMED: usize = 10;

/// Who is asked what, until when.
pub(super) fn reason(it: &Reason) -> WhyReason {
    let Reason::Hitl { subject, options, assigned, more, until, has_defaults } = it else {
        unreachable!("only asked of what waits for people");
    };
    let whom = if assigned.is_empty() { "somebody".to_owned() } else { joined(assigned, *more) };
    let ends = match (until, has_defaults) {
        (None, _) => String::new(),
        (Some(at), true) => format!("; the defaults count from {at} on"),
        (Some(at), false) => format!("; it fails at {at}"),
    };
    let options = options.join(", ");
    let message = format!("it waits for an answer of {whom}: {subject} ({options}){ends}");
    WhyReason { until: until.map(Into::into), ..new("hitl", message) }
}

/// When the next run is due.
pub(super) fn reason_of_next(logical_date: Timestamp, due: Timestamp) -> WhyReason {
    let of = if logical_date == due { String::new() } else { format!(", of {logical_date}") };
    let message = format!("its next run is due at {due}{of}");
    WhyReason { until: Some(due.into()), ..new("next_run", message) }
}

/// Which assets are to come.
pub(super) fn reason_of_assets(assets: Vec<String>, more: u32, there: u32) -> WhyReason {
    let so_far = if there > 0 { format!(" ({there} are)") } else { String::new() };
    let names = joined(&assets, more);
    let message = format!("assets are to be brought up to date{so_far}: {names}");
    WhyReason { assets, more, ..new("assets", message) }
}

/// Which partitions wait for what.
pub(super) fn reason_of_partitions(
    waiting: &[PartitionWaits],
    more: u32,
    dropped: (u64, u64),
) -> WhyReason {
    let lost = lost(dropped);
    if waiting.is_empty() {
        let message = format!("no partition of its assets waits for anything{lost}");
        return new("partitions", message);
    }
    let said: Vec<String> = waiting.iter().take(NAMED).map(of_partition).collect();
    let unnamed = u32::try_from(waiting.len().saturating_sub(NAMED)).unwrap_or(u32::MAX);
    let names = joined(&said, more.saturating_add(unnamed));
    let message = format!("partitions wait for the rest of what they need: {names}{lost}");
    WhyReason { more, ..new("partitions", message) }
}

/// What was let go, loudly: whoever waits for it waits in vain.
fn lost((partitions, events): (u64, u64)) -> String {
    let waited = match partitions {
        0 => String::new(),
        count => format!("; {count} were let go, since too many waited"),
    };
    let took = match events {
        0 => String::new(),
        count => format!(
            "; {count} of their events were let go, since there were too many or they took too much: their runs have \
             been made, or will be, without those"
        ),
    };
    waited + &took
}

fn of_partition(waits: &PartitionWaits) -> String {
    let open = waits.assets.iter().filter(|it| !it.enough).map(|it| {
        let name = name_of(&it.asset);
        match (&it.fault, it.is_rollup) {
            (Some(fault), _) => format!("{name}: {fault}"),
            (None, true) => {
                let first = it.missing.first().map_or("", String::as_str);
                format!("{name}: {} of {}, not {first} yet", it.came_count, it.needed_count)
            }
            (None, false) => name.to_owned(),
        }
    });
    let open: Vec<String> = open.collect();
    format!("{} ({})", waits.partition_key, open.join("; "))
}

fn name_of(asset: &AssetRef) -> &str {
    match asset {
        AssetRef::Asset { name, .. } | AssetRef::Alias { name } | AssetRef::Name { name } => name,
        AssetRef::Uri { uri } => uri,
    }
}

/// The same as a list.
pub(super) fn pending(dag_id: &DagId, reasons: Vec<Reason>) -> PendingPartitionCollection {
    let found = reasons.into_iter().find_map(|reason| match reason {
        Reason::Partitions { waiting, more, dropped, events_dropped } => {
            Some((waiting, more, dropped, events_dropped))
        }
        _ => None,
    });
    let (waiting, more, dropped, events_dropped) = found.unwrap_or_default();
    let total = waiting.len().saturating_add(more as usize);
    let shown = waiting.into_iter().map(|it| {
        let enough = it.assets.iter().filter(|asset| asset.enough).count();
        PendingPartition {
            dag_id: dag_id.to_string(),
            partition_key: it.partition_key,
            created_at: it.since.into(),
            updated_at: it.last_at.into(),
            total_received: u32::try_from(enough).unwrap_or(u32::MAX),
            total_required: u32::try_from(it.assets.len()).unwrap_or(u32::MAX),
            assets: it.assets.into_iter().map(asset_of).collect(),
        }
    });
    let partitioned_dag_runs = shown.collect();
    PendingPartitionCollection { partitioned_dag_runs, total, dropped, events_dropped }
}

fn asset_of(it: PartitionAsset) -> PendingPartitionAsset {
    let asset_uri = match &it.asset {
        AssetRef::Asset { uri, .. } | AssetRef::Uri { uri } => Some(uri.clone()),
        AssetRef::Alias { .. } | AssetRef::Name { .. } => None,
    };
    PendingPartitionAsset {
        asset_name: name_of(&it.asset).to_owned(),
        asset_uri,
        received: it.enough,
        received_count: it.came_count,
        required_count: it.needed_count,
        received_keys: it.came,
        missing_keys: it.missing,
        is_rollup: it.is_rollup,
        fault: it.fault,
    }
}
