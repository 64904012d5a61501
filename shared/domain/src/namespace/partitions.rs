//! DAGs that are scheduled on partitions of assets: what each of their own partitions has, when that is enough, and
//! what its run is made of. Which partitions an event counts for is decided when it happens, and stands in its fact.
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dagbok_events::{
    AssetCondition, AssetEvent, AssetKey, AssetRef, DagSpec, Partition, PartitionedFor, RunCreated,
    Schedule, Timestamp,
};
use dagbok_protocol::{
    PartitionAsset, PartitionWaits,
    limits::{
        ASSET_EVENTS_BYTES, ASSET_EVENTS_PER_RUN, PARTITION_EVENTS_BYTES, PARTITION_EVENTS_KEPT,
        PARTITION_KNOWN_BYTES, PARTITIONS_PENDING,
    },
};
use serde::{Deserialize, Serialize};

use crate::partition;

/// What a text that is known of a partition takes beside itself, in bytes.
const KNOWN_BYTES: usize = 64;
/// Keys that an answer names of what one asset has, and of what is missing.
const NAMED: usize = 10;

/// An asset of which events count for a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Arrived {
    asset: AssetKey,
    aliases: BTreeSet<String>,
    /// Of a partition that is made of others: which of those came, of those that it needs.
    keys: BTreeSet<String>,
}

/// A partition that waits for its run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pending {
    key: String,
    /// When the first event came that counts for it.
    since: Timestamp,
    /// When the last one did.
    at: Timestamp,
    /// When it begins, by events whose keys tell of no time; none where they disagree.
    date: Option<Timestamp>,
    there: Vec<Arrived>,
    /// What its run will consume, oldest first.
    events: VecDeque<AssetEvent>,
    /// What these take, in bytes.
    bytes: usize,
    /// What its key and what is there take, in bytes; that stays when events go.
    known: usize,
    /// How many were left out since there were too many.
    left_out: u32,
}

/// What a run for a partition begins with.
pub(super) struct ByPartition {
    pub(super) at: Timestamp,
    pub(super) partition: Partition,
    pub(super) events: Vec<AssetEvent>,
    pub(super) left_out: u32,
}

/// The partitions of a DAG that wait for their runs: bounded, those that wait longest go first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Partitions {
    /// By their numbers, which are in the order of their first events.
    pending: BTreeMap<u64, Pending>,
    numbers: BTreeMap<String, u64>,
    /// Those that have what they need.
    ready: BTreeSet<u64>,
    next: u64,
    /// Those that have events.
    holding: BTreeSet<u64>,
    /// Events over all of them, and what these take in bytes.
    events: usize,
    bytes: usize,
    /// What is known of them all besides, in bytes.
    known: usize,
    /// How many were let go since too many waited, or what is known of them took too much.
    dropped: u64,
    /// How many of their events were let go since there were too many, or they took too much.
    events_dropped: u64,
}

/// What an event takes, in bytes: of its texts all, of the rest about what it is.
fn size(event: &AssetEvent) -> usize {
    let said = event.extra.as_ref().map_or(0, String::len);
    let aliases: usize = event.aliases.iter().map(String::len).sum();
    let source = event.source.as_ref().map_or(0, |it| {
        it.dag_id.as_str().len() + it.run_id.as_str().len() + it.task_id.as_str().len()
    });
    let named = event.asset.uri.len() + event.asset.name.len() + source;
    said + named + aliases + event.partition.as_ref().map_or(0, |it| it.key.len()) + 768
}

impl Pending {
    fn new(key: &str, event: &AssetEvent, date: Option<Timestamp>) -> Self {
        Self {
            key: key.to_owned(),
            since: event.at,
            at: event.at,
            date,
            there: Vec::new(),
            events: VecDeque::new(),
            bytes: 0,
            known: key.len() + KNOWN_BYTES,
            left_out: 0,
        }
    }

    /// Takes an event in.
    fn take(&mut self, event: &AssetEvent, schedule: &Schedule) {
        self.at = event.at;
        let known = self.there.iter().position(|it| it.asset == event.asset);
        let place = known.unwrap_or_else(|| {
            let (aliases, keys) = (BTreeSet::new(), BTreeSet::new());
            self.known += event.asset.uri.len() + event.asset.name.len() + KNOWN_BYTES;
            self.there.push(Arrived { asset: event.asset.clone(), aliases, keys });
            self.there.len() - 1
        });
        let there = &mut self.there[place];
        for alias in &event.aliases {
            if there.aliases.insert(alias.clone()) {
                self.known += alias.len() + KNOWN_BYTES;
            }
        }
        let came = event.partition.as_ref().map(|partition| &partition.key);
        if let Some(Ok((needed, _))) = needed(schedule, &event.asset, &self.key)
            && let Some(came) = came.filter(|came| needed.binary_search(came).is_ok())
            && there.keys.insert(came.clone())
        {
            self.known += came.len() + KNOWN_BYTES;
        }
        self.bytes += size(event);
        self.events.push_back(event.clone());
        while self.events.len() > ASSET_EVENTS_PER_RUN || self.bytes > ASSET_EVENTS_BYTES {
            if !self.let_go() {
                break;
            }
        }
    }

    /// Lets its oldest event go: its run will say how many it has not.
    fn let_go(&mut self) -> bool {
        let Some(oldest) = self.events.pop_front() else { return false };
        self.bytes = self.bytes.saturating_sub(size(&oldest));
        self.left_out = self.left_out.saturating_add(1);
        true
    }

    /// Whether it has what the DAG waits for.
    fn is_enough(&self, schedule: &Schedule, condition: &AssetCondition) -> bool {
        match condition {
            AssetCondition::One { of } => self.has(schedule, of),
            AssetCondition::All { of } => of.iter().all(|part| self.is_enough(schedule, part)),
            AssetCondition::Any { of } => of.iter().any(|part| self.is_enough(schedule, part)),
        }
    }

    fn has(&self, schedule: &Schedule, of: &AssetRef) -> bool {
        let meant = self.there.iter().filter(|it| of.means(&it.asset, &it.aliases));
        meant.into_iter().any(|it| match needed(schedule, &it.asset, &self.key) {
            None => true,
            Some(Ok((needed, wait))) => partition::is_enough(wait, it.keys.len(), needed.len()),
            Some(Err(_)) => false,
        })
    }

    /// When it begins: by its key where that tells of a time, and otherwise as its events say.
    fn date(&self, schedule: &Schedule) -> Option<Timestamp> {
        let mut dates = BTreeSet::new();
        for arrived in &self.there {
            let rule = partition::rule_for(schedule, &arrived.asset)?;
            dates.extend(partition::date_of(&rule.mapper, &self.key).ok()?);
        }
        match dates.len() {
            0 => self.date,
            1 => dates.pop_first(),
            _ => None,
        }
    }

    fn waits(&self, spec: &DagSpec) -> PartitionWaits {
        let condition = spec.asset_condition.iter().flat_map(AssetCondition::named);
        let asset = |of: &AssetRef| {
            let there = self.there.iter().find(|it| of.means(&it.asset, &it.aliases));
            let key = there.map(|it| it.asset.clone()).or_else(|| of.key());
            let needed = key.as_ref().and_then(|key| needed(&spec.schedule, key, &self.key));
            let whole = PartitionAsset::of(of.clone(), there.is_some());
            match needed {
                None => whole,
                Some(Err(why)) => PartitionAsset { enough: false, fault: Some(why), ..whole },
                Some(Ok((needed, wait))) => {
                    let none = BTreeSet::new();
                    let came = there.map_or(&none, |it| &it.keys);
                    let missing = needed.iter().filter(|key| !came.contains(*key));
                    PartitionAsset {
                        enough: partition::is_enough(wait, came.len(), needed.len()),
                        came: came.iter().take(NAMED).cloned().collect(),
                        missing: missing.take(NAMED).cloned().collect(),
                        came_count: count(came.len()),
                        needed_count: count(needed.len()),
                        is_rollup: true,
                        fault: partition::is_never(wait, needed.len()).then(|| {
                            format!(
                                "its wait policy asks for more than the {} keys of its window",
                                needed.len()
                            )
                        }),
                        ..whole
                    }
                }
            }
        };
        PartitionWaits {
            partition_key: self.key.clone(),
            since: self.since,
            last_at: self.at,
            assets: condition.map(asset).collect(),
        }
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

type Needed = Result<(Vec<String>, dagbok_events::WaitPolicy), String>;

/// The keys of an asset that a partition needs; nothing where one event is enough.
fn needed(schedule: &Schedule, asset: &AssetKey, key: &str) -> Option<Needed> {
    let rule = partition::rule_for(schedule, asset)?;
    partition::to_upstream(&rule.mapper, key)
}

impl Partitions {
    /// Takes in an event, for the keys that its fact names.
    pub(super) fn take(&mut self, event: &AssetEvent, told: &PartitionedFor, spec: &DagSpec) {
        for key in &told.keys {
            let number = self.numbers.get(key).copied().unwrap_or_else(|| {
                self.next += 1;
                self.numbers.insert(key.clone(), self.next);
                self.next
            });
            let is_new = !self.pending.contains_key(&number);
            let fresh = || Pending::new(key, event, told.date);
            let pending = self.pending.entry(number).or_insert_with(fresh);
            match (pending.date, told.date) {
                // Those that disagree leave it open.
                (Some(known), Some(date)) if known != date => pending.date = None,
                (None, Some(date)) => pending.date = Some(date),
                _ => {}
            }
            let before = (pending.events.len(), pending.bytes, pending.left_out);
            let known = if is_new { 0 } else { pending.known };
            pending.take(event, &spec.schedule);
            self.known = self.known - known + pending.known;
            self.events = self.events - before.0 + pending.events.len();
            self.bytes = self.bytes - before.1 + pending.bytes;
            self.events_dropped += u64::from(pending.left_out - before.2);
            if !pending.events.is_empty() {
                self.holding.insert(number);
            }
            let condition = spec.asset_condition.as_ref();
            if condition.is_some_and(|it| pending.is_enough(&spec.schedule, it)) {
                self.ready.insert(number);
            }
            // One event may count for a thousand keys, and each of them has all that is said with it.
            self.prune();
        }
    }

    /// Keeps it within its bounds. What is to be made is never let go before what still waits.
    fn prune(&mut self) {
        while self.pending.len() > PARTITIONS_PENDING || self.known > PARTITION_KNOWN_BYTES {
            let waits = self.pending.keys().find(|number| !self.ready.contains(*number));
            let Some(number) = waits.or_else(|| self.pending.keys().next()).copied() else { break };
            self.remove(number);
            self.dropped = self.dropped.saturating_add(1);
        }
        while self.events > PARTITION_EVENTS_KEPT || self.bytes > PARTITION_EVENTS_BYTES {
            let waits = self.holding.iter().find(|number| !self.ready.contains(*number));
            let Some(number) = waits.or_else(|| self.holding.first()).copied() else { break };
            let Some(oldest) = self.pending.get_mut(&number) else { break };
            let before = oldest.bytes;
            if oldest.let_go() {
                self.events = self.events.saturating_sub(1);
                self.bytes = self.bytes.saturating_sub(before - oldest.bytes);
                self.events_dropped = self.events_dropped.saturating_add(1);
            }
            if oldest.events.is_empty() {
                self.holding.remove(&number);
            }
        }
    }

    fn remove(&mut self, number: u64) {
        self.ready.remove(&number);
        let Some(pending) = self.pending.remove(&number) else { return };
        self.numbers.remove(&pending.key);
        self.holding.remove(&number);
        self.events = self.events.saturating_sub(pending.events.len());
        self.bytes = self.bytes.saturating_sub(pending.bytes);
        self.known = self.known.saturating_sub(pending.known);
    }

    /// How many have what they need.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// The run of the first of those.
    pub(super) fn run(&self, spec: &DagSpec) -> Option<ByPartition> {
        let pending = self.pending.get(self.ready.first()?)?;
        let date = pending.date(&spec.schedule);
        Some(ByPartition {
            at: pending.at,
            partition: Partition { key: pending.key.clone(), date },
            events: pending.events.iter().cloned().collect(),
            left_out: pending.left_out,
        })
    }

    /// A run was made for one.
    pub(super) fn consume(&mut self, run: &RunCreated) {
        let number = run.partition.as_ref().and_then(|it| self.numbers.get(&it.key)).copied();
        if let Some(number) = number {
            self.remove(number);
        }
    }

    /// The DAG means something else from now on. By another mapping nothing that came counts any more, as in Airflow; by
    /// another condition what is there is weighed anew.
    pub(super) fn renew(&mut self, old: &DagSpec, new: &DagSpec) {
        if old.schedule.timetable != new.schedule.timetable {
            let (next, dropped, events_dropped) = (self.next, self.dropped, self.events_dropped);
            *self = Self { next, dropped, events_dropped, ..Self::default() };
            return;
        }
        if old.asset_condition == new.asset_condition {
            return;
        }
        let Some(condition) = &new.asset_condition else { return };
        let enough = |it: &Pending| it.is_enough(&new.schedule, condition);
        let ready = self.pending.iter().filter(|(_, it)| enough(it)).map(|(number, _)| *number);
        self.ready = ready.collect();
    }

    /// Lets all of them go, or those that only these assets brought.
    pub(super) fn drop(&mut self, assets: &[AssetKey]) {
        let of = |it: &Pending| it.there.iter().all(|arrived| assets.contains(&arrived.asset));
        let gone: Vec<u64> = self
            .pending
            .iter()
            .filter(|(_, it)| assets.is_empty() || of(it))
            .map(|(number, _)| *number)
            .collect();
        for number in gone {
            self.remove(number);
        }
    }

    /// Whether any waits.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Those that wait, in the order of their first events, and how many were let go.
    pub(super) fn waits<'a>(
        &'a self,
        spec: &'a DagSpec,
    ) -> impl ExactSizeIterator<Item = PartitionWaits> + 'a {
        self.pending.values().map(|pending| pending.waits(spec))
    }

    /// How many were let go since too many waited, or what is known of them took too much.
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// How many events of those that wait, or waited, were let go since there were too many or they took too much.
    pub(super) const fn events_dropped(&self) -> u64 {
        self.events_dropped
    }
}

#[cfg(test)]
mod tests {
    use dagbok_events::{AssetEvent, PartitionMapper, PartitionRule, Timetable};

    use super::*;

    fn spec() -> DagSpec {
        let mapper = PartitionMapper::Identity;
        let default = PartitionRule { mapper, max_downstream_keys: None };
        let timetable = Timetable::PartitionedAsset { default, rules: Vec::new() };
        let two = ["a", "b"].map(|name| AssetCondition::One {
            of: AssetRef::Asset {
                name: name.to_owned(),
                uri: name.to_owned(),
                group: "asset".to_owned(),
                extra: None,
            },
        });
        let mut spec: DagSpec = serde_json::from_value(serde_json::json!({
            "dag_id": "taker", "schedule": {"timetable": "Manual", "timezone": "UTC"}, "catchup": false,
            "max_active_runs": 1, "max_active_tasks": 1, "tasks": [], "source": {"file": "a.py"},
        }))
        .unwrap();
        spec.schedule.timetable = timetable;
        spec.asset_condition = Some(AssetCondition::All { of: two.to_vec() });
        spec
    }

    /// An event by so many aliases of 200 bytes each.
    fn event(seq: u64, aliases: usize) -> AssetEvent {
        let asset = AssetKey { name: "a".to_owned(), uri: "a".to_owned() };
        let names = (0..aliases).map(|n| format!("{seq}-{n:0>197}")).collect();
        AssetEvent {
            seq,
            nth: 0,
            at: Timestamp(i64::try_from(seq).unwrap()),
            asset,
            aliases: names,
            extra: None,
            source: None,
            partition: None,
        }
    }

    fn weighed(partitions: &Partitions) -> usize {
        let text = |it: &Pending| it.known;
        partitions.pending.values().map(text).sum()
    }

    #[test]
    fn what_stays_known_when_events_go_is_kept_within_bytes_too() {
        let (spec, mut partitions) = (spec(), Partitions::default());
        let told = |keys: std::ops::Range<usize>| PartitionedFor {
            dag_id: spec.dag_id.clone(),
            keys: keys.map(|n| format!("k{n}")).collect(),
            date: None,
            refused: None,
        };
        // One event for a thousand keys, with more aliases than these may keep together.
        let each = 5 * (200 + KNOWN_BYTES);
        partitions.take(&event(1, 5), &told(0..1_000), &spec);
        assert_eq!(partitions.dropped(), 0);
        let mut seq = 1;
        while partitions.known + each * 1_000 <= PARTITION_KNOWN_BYTES {
            seq += 1;
            partitions.take(&event(seq, 5), &told(0..1_000), &spec);
            assert_eq!(partitions.known, weighed(&partitions));
        }
        assert_eq!((partitions.dropped(), partitions.pending.len()), (0, 1_000), "the edge itself");
        partitions.take(&event(seq + 1, 5), &told(0..1_000), &spec);
        assert!(partitions.known <= PARTITION_KNOWN_BYTES, "{}", partitions.known);
        assert_eq!(partitions.known, weighed(&partitions));
        assert!(partitions.dropped() > 0);
        // A single one that is too large by itself is let go, and nothing is left behind.
        let mut alone = Partitions::default();
        alone.take(&event(1, PARTITION_KNOWN_BYTES / 200), &told(0..1), &spec);
        assert_eq!((alone.known, alone.events, alone.bytes, alone.ready()), (0, 0, 0, 0));
        assert!(alone.is_empty());
    }
}
