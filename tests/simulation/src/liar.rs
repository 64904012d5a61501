//! Somebody who reports tries that are not theirs, in their own name or another's.
use dagbok_events::{
    Actor, ExecutorId, Leg, LogRef, LostWhy, MapIndex, RunId, RunKey, TaskId, Timestamp, TryKey,
    TryNumber,
};
use dagbok_protocol::{CommandBody, Report, ReportBody};

use crate::{
    dags::digest,
    world::{SECOND, World},
};

/// The liar.
#[derive(Debug)]
pub(crate) struct Liar {
    /// When it next lies.
    pub(crate) wake: i64,
}

impl Liar {
    pub(crate) fn step(&mut self, world: &mut World) {
        self.wake =
            if world.chaos { world.now + world.rng.between(SECOND / 10, SECOND) } else { i64::MAX };
        if !world.trouble(400) {
            return;
        }
        let Some(key) = some_try(world) else { return };
        let holders: Vec<ExecutorId> = world.audit.holders().into_iter().cloned().collect();
        let own = ExecutorId::new("liar").expect("an id");
        let executor = match world.rng.pick(&holders) {
            Some(holder) if world.rng.chance(200) => holder.clone(),
            _ => own,
        };
        let (xcoms, usage) = (Vec::new(), dagbok_events::Usage::default());
        let body = match world.rng.below(6) {
            0 => ReportBody::Started {
                hostname: "nowhere".to_owned(),
                pid: 0,
                inputs: std::collections::BTreeMap::new(),
                again: false,
            },
            1 => ReportBody::Succeeded { xcoms, usage, log: None, skips: vec![], outlets: vec![] },
            2 => ReportBody::Returned,
            3 => {
                let due = Timestamp(world.now);
                ReportBody::Rescheduled { due, xcoms, usage, log: None }
            }
            4 => ReportBody::Left {
                log: LogRef { digest: digest(1), size: 1, lines: 1, dropped: 0, usage: None },
            },
            _ => {
                let whys = [LostWhy::NotHeld, LostWhy::ParentDied, LostWhy::MayHaveBegun];
                let why = *world.rng.pick(&whys).expect("three");
                ReportBody::Lost { why, usage: None, log: None }
            }
        };
        let at = Timestamp(world.now);
        let by = Actor::Executor(executor.clone());
        let report = Box::new(Report { key, executor, at, body });
        let command = world.command(by, CommandBody::Report(report), false);
        world.send(&command);
    }
}

/// A try of a run there is, was, or never was: of any copy, any try and any leg; often the leg before one that
/// is in flight.
fn some_try(world: &mut World) -> Option<TryKey> {
    if world.rng.chance(300) {
        let all: Vec<TryKey> = world
            .audit
            .active()
            .flat_map(|(key, run)| run.tries(key))
            .map(|(key, _)| key)
            .filter(|key| !key.leg.is_first())
            .collect();
        if let Some(key) = world.rng.pick(&all).cloned() {
            return Some(TryKey { leg: Leg(key.leg.0 - 1), ..key });
        }
    }
    let runs: Vec<_> =
        world.audit.runs().map(|(key, run)| (key.clone(), run.tasks.len())).collect();
    let (mut run, tasks) = world.rng.pick(&runs)?.clone();
    if world.rng.chance(50) {
        run.run_id = RunId::new("never-was").expect("an id");
    } else if world.rng.chance(100) {
        let deleted: Vec<RunKey> = world.audit.deleted().cloned().collect();
        run = world.rng.pick(&deleted).cloned().unwrap_or(run);
    }
    let task = world.rng.below(tasks + 1);
    let copy = i32::try_from(world.rng.below(7)).expect("small");
    let map_index = if world.rng.chance(300) { MapIndex(copy) } else { MapIndex::UNMAPPED };
    let n = u16::try_from(1 + world.rng.below(3)).expect("small");
    let leg = if world.rng.chance(300) { world.rng.below(4) } else { 0 };
    Some(TryKey {
        dag_id: run.dag_id,
        run_id: run.run_id,
        task_id: TaskId::new(format!("t{task}")).expect("an id"),
        map_index,
        try_number: TryNumber::new(n).expect("from one"),
        leg: Leg(u32::try_from(leg).expect("small")),
    })
}
