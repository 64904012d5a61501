//! The records of runs of one task, as the scheduler writes them, for histories of a length that nobody plays.
use dagbok_events::{
    Actor, DagId, Digest, ExecutorId, Fact, Leg, MapIndex, PoolName, QueueName, Record, RunCreated,
    RunFailed, RunId, RunKey, RunStarted, RunSucceeded, RunType, Scope, TaskId, TaskQueued,
    Timestamp, TryNumber, TryStarted, TrySucceeded, Usage,
};

use crate::{script::digest, shapes::Shape};

/// A record of the scheduler's.
pub(crate) fn record(at: i64, scope: Scope, facts: Vec<Fact>) -> Record {
    Record {
        at: Timestamp(at),
        clock: None,
        scope,
        by: Actor::Scheduler,
        reason: None,
        cause: None,
        trace: None,
        facts,
    }
}

/// The DAG of that number comes to be.
pub(crate) fn registered(n: u64, at: i64) -> anyhow::Result<Record> {
    let fact = dagbok_events::DagRegistered {
        version: 1,
        spec_digest: Digest::new("a".repeat(64))?,
        bundle: digest(),
        spec: Shape::Apart.dag(&format!("dag_{n}"), 1, 16),
        paused: Some(false),
    };
    let scope = Scope::Dag(DagId::new(format!("dag_{n}"))?);
    Ok(record(at, scope, vec![Fact::DagRegistered(Box::new(fact))]))
}

/// As the scheduler names its runs: of those it remembers next to nothing once they are over.
fn named(n: u64, dags: u64, logical_date: Timestamp) -> anyhow::Result<(RunType, RunKey)> {
    let by_hand = n.is_multiple_of(1_000);
    let (run_type, kind) =
        if by_hand { (RunType::Manual, "manual") } else { (RunType::Scheduled, "scheduled") };
    let date = logical_date.to_string().replace('Z', "+00:00");
    let dag_id = DagId::new(format!("dag_{}", n % dags))?;
    Ok((run_type, RunKey { dag_id, run_id: RunId::new(format!("{kind}__{date}"))? }))
}

/// The `n`th run, of one of so many DAGs, made at `at`: one record up to its task's start, and one for its end
/// up to 100 s later, where it is to end.
pub(crate) fn run(n: u64, dags: u64, at: i64, ends: bool) -> anyhow::Result<Vec<Record>> {
    let logical_date = Timestamp(at - 3_600_000_000);
    let (run_type, key) = named(n, dags, logical_date)?;
    let (task_id, map_index, try_number) =
        (TaskId::new("task_00000")?, MapIndex::UNMAPPED, TryNumber::FIRST);
    let created = RunCreated {
        run_type,
        logical_date: Some(logical_date),
        data_interval: None,
        run_after: Timestamp(at),
        version: 1,
        bundle: digest(),
        conf: None,
        note: None,
        asset_events: Vec::new(),
        asset_events_left_out: 0,
        backfill_id: None,
        partition: None,
    };
    let queued = TaskQueued {
        task_id: task_id.clone(),
        map_index,
        try_number,
        leg: Leg::FIRST,
        pool: PoolName::new("default_pool")?,
        pool_slots: 1,
        queue: QueueName::new("default")?,
    };
    let started = TryStarted {
        task_id: task_id.clone(),
        map_index,
        try_number,
        leg: Leg::FIRST,
        executor: ExecutorId::new("executor-1")?,
        hostname: "a.host.example".to_owned(),
        pid: 4_242,
        started_at: Timestamp(at),
        inputs: std::collections::BTreeMap::new(),
    };
    let facts = vec![
        Fact::RunCreated(Box::new(created)),
        Fact::RunStarted(RunStarted {}),
        Fact::TaskQueued(queued),
        Fact::TryStarted(Box::new(started)),
    ];
    let mut records = vec![record(at, Scope::Run(key.clone()), facts)];
    if !ends {
        return Ok(records);
    }
    let took = i64::try_from(n * 7_919 % 100_000)? * 1_000;
    let ended_at = Timestamp(at + took);
    let succeeded = TrySucceeded {
        task_id,
        map_index,
        try_number,
        leg: Leg::FIRST,
        ended_at,
        usage: Usage::default(),
        log: None,
        skips: vec![],
    };
    let end = if n.is_multiple_of(500) {
        Fact::RunFailed(RunFailed { failed: vec![] })
    } else {
        Fact::RunSucceeded(RunSucceeded {})
    };
    let facts = vec![Fact::TrySucceeded(Box::new(succeeded)), end];
    records.push(record(at + took, Scope::Run(key), facts));
    Ok(records)
}
