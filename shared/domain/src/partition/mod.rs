//! What keys of partitions become: Airflow's partition mappers as pure functions of a key, and the keys that one made
//! of others needs.
//!
//! Where Airflow would raise, these say why in words: the event then counts for no partition, and its fact says so.
//! Absent on purpose: mappers written in Python, which are refused when their file is read.
mod strptime;
mod times;
mod window;

use dagbok_events::{
    AssetKey, PartitionMapper, PartitionRule, PartitionWindow, Schedule, Timestamp, Timetable,
    WaitPolicy,
};
use dagbok_protocol::limits::PARTITION_KEY_CHARS;

pub(crate) use times::key_of_tick;
use times::{Decoded, Temporal};

/// Mappers within mappers that are followed: a file can't nest them deeper than its parser lets it.
const DEPTH: usize = 16;

/// The keys that a key becomes; each once, in order.
pub fn to_downstream(mapper: &PartitionMapper, key: &str) -> Result<Vec<String>, String> {
    downstream(mapper, key, DEPTH)
}

fn downstream(mapper: &PartitionMapper, key: &str, depth: usize) -> Result<Vec<String>, String> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(format!("mappers are nested more than {DEPTH} deep"));
    };
    match mapper {
        PartitionMapper::Identity => Ok(vec![key.to_owned()]),
        PartitionMapper::StartOf { .. } => {
            let temporal = Temporal::of(mapper).expect("it is one")?;
            Ok(vec![temporal.to_downstream(key)?])
        }
        PartitionMapper::Product { mappers, delimiter } => {
            product(mappers, delimiter, key, depth).map(|key| vec![key])
        }
        PartitionMapper::Chain { mappers } => chain(mappers, key, depth),
        PartitionMapper::AllowedKey { allowed_keys } => {
            if allowed_keys.iter().any(|allowed| allowed == key) {
                Ok(vec![key.to_owned()])
            } else {
                Err(format!("the key `{key}` is none of the allowed ones: {}", named(allowed_keys)))
            }
        }
        PartitionMapper::FixedKey { downstream_key } => Ok(vec![downstream_key.clone()]),
        PartitionMapper::Rollup { upstream, .. } => downstream(upstream, key, depth),
        PartitionMapper::FanOut { upstream, window, downstream: below } => {
            let coarse = one(downstream(upstream, key, depth)?)?;
            let items = window::items(window, &decode(upstream, &coarse)?)?;
            let keys = items.iter().map(|item| written(below, item)).collect::<Result<_, _>>()?;
            Ok(each_once(keys))
        }
    }
}

fn product(
    mappers: &[PartitionMapper],
    delimiter: &str,
    key: &str,
    depth: usize,
) -> Result<String, String> {
    let parts = parts_of(key, delimiter);
    if parts.len() != mappers.len() {
        let (wanted, has) = (mappers.len(), parts.len());
        return Err(format!(
            "the key `{key}` has {has} parts by `{delimiter}`, {wanted} are mapped"
        ));
    }
    let mapped = mappers.iter().zip(parts).map(|(it, part)| one(downstream(it, part, depth)?));
    Ok(mapped.collect::<Result<Vec<_>, _>>()?.join(delimiter))
}

fn chain(mappers: &[PartitionMapper], key: &str, depth: usize) -> Result<Vec<String>, String> {
    let mut keys = vec![key.to_owned()];
    for mapper in mappers {
        let mut next = Vec::new();
        for key in &keys {
            next.extend(downstream(mapper, key, depth)?);
            if next.len() > MOST_MAPPED {
                return Err(format!("the key `{key}` becomes more than {MOST_MAPPED} keys"));
            }
        }
        keys = next;
    }
    Ok(each_once(keys))
}

/// Keys on the way through a chain, whatever its limit is.
const MOST_MAPPED: usize = 100_000;

fn one(keys: Vec<String>) -> Result<String, String> {
    let count = keys.len();
    let [key] = <[String; 1]>::try_from(keys)
        .map_err(|_| format!("a mapper within another must make one key, and made {count}"))?;
    Ok(key)
}

fn each_once(mut keys: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    keys.retain(|key| seen.insert(key.clone()));
    keys
}

fn parts_of<'a>(key: &'a str, delimiter: &str) -> Vec<&'a str> {
    if delimiter.is_empty() { vec![key] } else { key.split(delimiter).collect() }
}

fn named(keys: &[String]) -> String {
    let mut text = keys.iter().take(10).cloned().collect::<Vec<_>>().join(", ");
    if keys.len() > 10 {
        text.push_str(", …");
    }
    text
}

/// What a mapper's own key stands for, as its window counts.
fn decode(mapper: &PartitionMapper, key: &str) -> Result<Decoded, String> {
    match Temporal::of(mapper) {
        Some(temporal) => temporal?.decode(key),
        None => Ok(Decoded::Text(key.to_owned())),
    }
}

/// An item of a window as a key of the mapper below.
fn written(mapper: &PartitionMapper, item: &Decoded) -> Result<String, String> {
    match Temporal::of(mapper) {
        Some(temporal) => temporal?.written(item),
        None => Ok(item.to_string()),
    }
}

/// An item of a window as a key from upstream.
fn encode(mapper: &PartitionMapper, item: &Decoded) -> Result<String, String> {
    match Temporal::of(mapper) {
        Some(temporal) => temporal?.encode(item),
        None => Ok(item.to_string()),
    }
}

/// The upstream keys that one key is made of, sorted, with when they are enough; nothing where one event is.
pub fn to_upstream(
    mapper: &PartitionMapper,
    downstream_key: &str,
) -> Option<Result<(Vec<String>, WaitPolicy), String>> {
    let PartitionMapper::Rollup { upstream, window, wait } = mapper else { return None };
    let keys = || {
        let items = window::items(window, &decode(upstream, downstream_key)?)?;
        let keys = items.iter().map(|item| encode(upstream, item)).collect::<Result<Vec<_>, _>>();
        let mut keys = keys?;
        keys.sort_unstable();
        keys.dedup();
        Ok((keys, *wait))
    };
    Some(keys())
}

/// Whether so many of the keys that one is made of are enough.
pub const fn is_enough(wait: WaitPolicy, there: usize, expected: usize) -> bool {
    match wait {
        WaitPolicy::All => there >= expected,
        WaitPolicy::MinimumCount { n } if n > 0 => there >= n.unsigned_abs() as usize,
        WaitPolicy::MinimumCount { n } => {
            there >= expected.saturating_sub(n.unsigned_abs() as usize)
        }
    }
}

/// Whether so many keys can never be enough.
pub const fn is_never(wait: WaitPolicy, expected: usize) -> bool {
    matches!(wait, WaitPolicy::MinimumCount { n } if n > 0 && n.unsigned_abs() as usize > expected)
}

/// When a partition begins, by its key; nothing where that tells of no time.
pub fn date_of(mapper: &PartitionMapper, key: &str) -> Result<Option<Timestamp>, String> {
    match mapper {
        PartitionMapper::Identity
        | PartitionMapper::AllowedKey { .. }
        | PartitionMapper::FixedKey { .. } => Ok(None),
        PartitionMapper::StartOf { .. } => {
            Temporal::of(mapper).expect("it is one")?.date_of(key).map(Some)
        }
        PartitionMapper::Rollup { upstream, .. } => date_of(upstream, key),
        PartitionMapper::FanOut { downstream, .. } => date_of(downstream, key),
        PartitionMapper::Chain { mappers } => {
            mappers.last().map_or(Ok(None), |last| date_of(last, key))
        }
        PartitionMapper::Product { mappers, delimiter } => {
            let parts = parts_of(key, delimiter);
            if parts.len() != mappers.len() {
                return Ok(None);
            }
            let dates = mappers.iter().zip(parts).map(|(it, part)| date_of(it, part));
            let dates: Vec<Timestamp> =
                dates.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
            // As in Airflow: with two times nobody knows which.
            Ok(<[Timestamp; 1]>::try_from(dates).ok().map(|[date]| date))
        }
    }
}

/// The rule by which a DAG takes an asset's partitions, where it is scheduled on such.
pub fn rule_for<'a>(schedule: &'a Schedule, asset: &AssetKey) -> Option<&'a PartitionRule> {
    let Timetable::PartitionedAsset { default, rules } = &schedule.timetable else { return None };
    // Of two for the same asset the later one holds, as in a mapping of Python.
    let own = rules.iter().rev().find(|rule| rule.asset.means(asset, []));
    Some(own.map_or(default, |own| &own.rule))
}

/// When a partition begins that somebody triggers a run for, by the DAG's schedule.
pub fn date_of_trigger(schedule: &Schedule, key: &str) -> Result<Option<Timestamp>, String> {
    match &schedule.timetable {
        Timetable::CronPartition { key_format, .. } => {
            times::tick_of_key(key, key_format, &schedule.timezone).map(Some)
        }
        Timetable::PartitionedAsset { default, rules } => {
            let mut dates = std::collections::BTreeSet::new();
            for rule in rules.iter().map(|it| &it.rule).chain([default]) {
                dates.extend(date_of(&rule.mapper, key)?);
            }
            Ok((dates.len() == 1).then(|| dates.pop_first()).flatten())
        }
        _ => Ok(None),
    }
}

/// What is wrong with a key, whatever it stands for.
pub fn key_fault(key: &str) -> Option<String> {
    if key.trim().is_empty() {
        return Some("partition_key must not be empty or whitespace-only".to_owned());
    }
    let chars = key.chars().count();
    (chars > PARTITION_KEY_CHARS).then(|| {
        format!("partition_key has {chars} characters, at most {PARTITION_KEY_CHARS} are taken")
    })
}

/// What is wrong with a rule, found when its file is read.
pub fn rule_fault(rule: &PartitionRule) -> Option<String> {
    mapper_fault(&rule.mapper, DEPTH)
}

fn mapper_fault(mapper: &PartitionMapper, depth: usize) -> Option<String> {
    let Some(depth) = depth.checked_sub(1) else {
        return Some(format!("partition mappers are nested more than {DEPTH} deep"));
    };
    match mapper {
        PartitionMapper::Identity
        | PartitionMapper::AllowedKey { .. }
        | PartitionMapper::FixedKey { .. } => None,
        PartitionMapper::StartOf { .. } => Temporal::of(mapper)?.err(),
        PartitionMapper::Product { mappers, .. } | PartitionMapper::Chain { mappers } => {
            mappers.iter().find_map(|it| mapper_fault(it, depth))
        }
        PartitionMapper::Rollup { upstream, window, .. } => {
            mapper_fault(upstream, depth).or_else(|| window_fault(upstream, window))
        }
        PartitionMapper::FanOut { upstream, downstream, .. } => {
            mapper_fault(upstream, depth).or_else(|| mapper_fault(downstream, depth))
        }
    }
}

fn window_fault(upstream: &PartitionMapper, window: &PartitionWindow) -> Option<String> {
    let by_time = matches!(upstream, PartitionMapper::StartOf { .. });
    let wants_time = matches!(window, PartitionWindow::Of { .. });
    (by_time != wants_time).then(|| {
        "a window of a period goes with a mapper to a period, one of segments with another"
            .to_owned()
    })
}

#[cfg(test)]
mod tests;
