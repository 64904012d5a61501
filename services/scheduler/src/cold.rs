//! What the fold keeps no more: runs that are over, and the values that tasks handed on. Both are read from
//! the log.
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use dagbok_domain::{
    namespace::{ColdRun, Namespace},
    run::Run,
};
use dagbok_events::{
    Fact, MapIndex, Record, RunKey, Scope, TaskId, decode, encode_any, subject_of,
};
use dagbok_projection::decode_or_nothing;
use dagbok_protocol::{StoredXCom, names};
use dagbok_runlog::{Entry, Ports, ReadLimit, Seq};

use crate::{
    SchedulerError,
    effects::ValueChange,
    stage::{returned_by, stored_text, value_text},
};

/// Revives a run that is over, by its records up to `before`; whether it could be.
pub(crate) async fn revive(
    ports: &Ports,
    namespace: &mut Namespace,
    key: &RunKey,
    before: Seq,
) -> Result<bool, SchedulerError> {
    let of_run = records_of(ports, &Scope::Run(key.clone()), before).await?;
    let own = ColdRun::of_run(key, of_run.iter().map(|(seq, record)| (seq.0, record.clone())));
    let revived = match own {
        // Nearly always: a run of the version of today. What a DAG's schedule did stands among its records too.
        Ok(cold) if namespace.has_versions_of(&cold) => namespace.revive(&cold),
        Ok(_) => {
            let of_dag = records_of(ports, &Scope::Dag(key.dag_id.clone()), before).await?;
            let all = of_dag.iter().chain(&of_run).map(|(seq, record)| (seq.0, record));
            ColdRun::pick(key, all).and_then(|cold| namespace.revive(&cold))
        }
        Err(error) => Err(error),
    };
    if let Err(error) = &revived {
        tracing::warn!(run = %key, %error, "a run that is over can't be taken up again");
    }
    Ok(revived.is_ok())
}

async fn records_of(
    ports: &Ports,
    scope: &Scope,
    before: Seq,
) -> Result<Vec<(Seq, Record)>, SchedulerError> {
    let entries = ports.log.read_subject(&subject_of(scope), before).await?;
    let decoded = entries.into_iter().map(|entry| {
        // All of this is folded: what is no record was passed over there too.
        let record = decode_or_nothing(&entry.payload)
            .map_err(|source| SchedulerError::Record { seq: entry.seq, source })?;
        Ok((entry.seq, record))
    });
    decoded.collect()
}

/// Where executors read that they take nothing new, as the log has it: what lies there otherwise is of a scheduler that
/// died in between.
pub(crate) async fn said_to_executors(
    ports: &Ports,
    namespace: &Namespace,
) -> Result<Vec<(String, ValueChange)>, SchedulerError> {
    let standing: BTreeMap<String, Bytes> = namespace
        .cordons()
        .map(|(name, cordon)| (names::cordon_key(name), encode_any(cordon).into()))
        .collect();
    let there = ports.state.list(names::CORDON_PREFIX).await?;
    let stale = there.into_iter().map(|(key, _)| key).filter(|key| !standing.contains_key(key));
    let mut found: Vec<_> = stale.map(|key| (key, ValueChange::Remove)).collect();
    found.extend(standing.into_iter().map(|(key, text)| (key, ValueChange::Put(text))));
    Ok(found)
}

/// The values that a run's tasks handed on, with the places where tasks look for them; and of mapped tasks that are
/// done, which copies returned something.
pub(crate) async fn values(
    ports: &Ports,
    namespace: &Namespace,
    key: &RunKey,
) -> Result<Vec<(String, ValueChange)>, SchedulerError> {
    let mut wanted: Vec<Wanted<'_>> = namespace.xcoms(key).collect();
    wanted.sort_unstable_by_key(|(.., seq)| *seq);
    let mut found = Vec::new();
    let mut entries: VecDeque<Entry> = VecDeque::new();
    for (place, &(task_id, map, name, seq)) in wanted.iter().enumerate() {
        if let Some(kept_until) = namespace.kept_until(key, seq) {
            let place = names::xcom_key(&key.dag_id, &key.run_id, task_id, map, name);
            let text = stored_text(&StoredXCom::Forgotten { kept_until });
            found.push((place, ValueChange::Put(text)));
            continue;
        }
        while entries.front().is_some_and(|entry| entry.seq < Seq(seq)) {
            entries.pop_front();
        }
        if entries.is_empty() {
            // Records of a run that has many values mostly follow each other: they are read together.
            let last = wanted[place..].iter().take(READ_AT_ONCE).map(|(.., other)| *other - seq);
            let near = last.take_while(|away| *away < READ_AT_ONCE as u64).last().unwrap_or(0);
            let most = usize::try_from(near).unwrap_or(0) + 1;
            let limit = ReadLimit { entries: most, ..ReadLimit::default() };
            entries = ports.log.read(Seq(seq - 1), limit).await?.into();
        }
        let Some(entry) = entries.front().filter(|entry| entry.seq == Seq(seq)) else { continue };
        let value = value(entry, (task_id, map, name))?;
        let place = names::xcom_key(&key.dag_id, &key.run_id, task_id, map, name);
        found.extend(value.map(|value| (place, ValueChange::Put(value))));
    }
    let tasks = namespace.expanded_tasks(key);
    let written = tasks.filter_map(|task_id| returned_by(namespace, key, task_id));
    found.extend(written.map(|(place, text)| (place, ValueChange::Put(text))));
    Ok(found)
}

/// A value: whose, under which name, and the record that has it.
type Wanted<'a> = (&'a TaskId, MapIndex, &'a str, u64);

/// Records that are read at once, where more of them hold values.
const READ_AT_ONCE: usize = 256;

/// Places of values of runs that are not active any more: to be taken away.
pub(crate) async fn values_left(
    ports: &Ports,
    namespace: &Namespace,
) -> Result<Vec<(String, ValueChange)>, SchedulerError> {
    let active = namespace.active_runs().map(Run::key);
    let active: BTreeSet<String> =
        active.map(|key| names::xcom_prefix(&key.dag_id, &key.run_id)).collect();
    let stored = ports.state.list(names::XCOM_PREFIX).await?;
    let places = stored.into_iter().map(|(place, _)| place);
    let left = places.filter(|it| !active.contains(run_part(it)));
    Ok(left.map(|place| (place, ValueChange::RemoveInTime)).collect())
}

/// What a value's place begins with, up to its run: the third slash.
fn run_part(place: &str) -> &str {
    let end = place.match_indices('/').nth(2).map_or(place.len(), |(at, _)| at + 1);
    &place[..end]
}

/// A value as the record that holds it has it: the last of that name there.
fn value(
    entry: &Entry,
    (task_id, map, name): (&TaskId, MapIndex, &str),
) -> Result<Option<Bytes>, SchedulerError> {
    let record = decode(&entry.payload)
        .map_err(|source| SchedulerError::Record { seq: entry.seq, source })?;
    Ok(record.facts.iter().rev().find_map(|fact| match fact {
        Fact::XComPushed(f)
            if (&f.task_id, f.map_index, f.key.as_str()) == (task_id, map, name) =>
        {
            f.value.as_ref().map(value_text)
        }
        _ => None,
    }))
}
