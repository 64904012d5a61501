//! Decisions that the rules call for by themselves.
use dagbok_events::{
    Actor, DagId, Fact, MapIndex, Record, RunCreated, RunId, RunKey, RunStarted, RunSucceeded,
    RunTimedOut, RunType, Scope, TaskQueued, Timestamp, Timetable, TraceContext,
};

use crate::{
    graph::{Ix, Version},
    namespace::{Namespace, Proposal, RunNo, own, schedule},
    run::{Phase, Run},
};

impl Namespace {
    /// Decides on a proposal; empty where it no longer holds.
    pub fn carry_out(&self, now: Timestamp, proposal: &Proposal) -> Option<Record> {
        self.carry_out_by(now, proposal).map(|record| self.stamp(record))
    }

    fn carry_out_by(&self, at: Timestamp, proposal: &Proposal) -> Option<Record> {
        match proposal {
            Proposal::CreateScheduled(dag_id) => self.create_scheduled(at, dag_id),
            Proposal::StartRun(number) => {
                let run = self.runs.get(number)?;
                let dag = self.dags.get(&run.key().dag_id)?;
                let may =
                    run.phase() == Phase::Queued && dag.may_start() && run.meta().run_after <= at;
                may.then(|| of_run(at, run, start_facts(run.version())))
            }
            Proposal::TimeOutRun(number) => {
                let run = self.runs.get(number).filter(|run| run.timed_out(at))?;
                let mut facts = vec![Fact::RunTimedOut(RunTimedOut {})];
                facts.extend(run.after_end());
                Some(of_run(at, run, facts))
            }
            Proposal::QueueTasks(number, tasks) => self.queue(at, *number, tasks),
        }
    }

    fn queue(&self, at: Timestamp, number: RunNo, tasks: &[Ix]) -> Option<Record> {
        let run = self.runs.get(&number)?;
        let queued = self.fitting(number, tasks, at).into_iter().filter_map(|ix| {
            let spec = run.version().task(ix);
            Some(Fact::TaskQueued(TaskQueued {
                task_id: spec.task_id.clone(),
                map_index: MapIndex::UNMAPPED,
                try_number: run.may_queue(ix, at)?,
                pool: spec.pool.clone(),
                pool_slots: spec.pool_slots,
                queue: spec.queue.clone(),
            }))
        });
        let facts: Vec<Fact> = queued.collect();
        (!facts.is_empty()).then(|| of_run(at, run, facts))
    }

    /// Makes the promised run, or the one that takes its place where the DAG does not catch up.
    fn create_scheduled(&self, at: Timestamp, dag_id: &DagId) -> Option<Record> {
        let dag = self.dags.get(dag_id)?;
        if !self.may_create(dag_id) || dag.due().is_none_or(|due| due > at) {
            return None;
        }
        let version = &dag.current;
        let planned = schedule::to_make(dag, at)?;
        let until = Some(planned.logical_date);
        let missed = schedule::missed(dag, until, at, schedule::why_missed(dag));
        let promise = Fact::RunExpected(schedule::after(version, &planned, at));
        let logical_date = match version.spec.schedule.timetable {
            Timetable::Continuous => dag.free_date(planned.logical_date),
            _ => planned.logical_date,
        };
        let run_id = run_id_for(RunType::Scheduled, logical_date);
        let key = RunKey { dag_id: dag_id.clone(), run_id };
        if self.knows_run(&key) || dag.dates.contains(&logical_date) {
            // Somebody made the run of that date by hand.
            let facts = missed.into_iter().chain([promise]).collect();
            return Some(own(at, Actor::Scheduler, Scope::Dag(dag_id.clone()), None, facts));
        }
        let created = Fact::RunCreated(Box::new(RunCreated {
            run_type: RunType::Scheduled,
            logical_date: Some(logical_date),
            data_interval: Some(planned.data_interval),
            run_after: planned.run_after,
            version: version.number,
            bundle: dag.bundle.clone(),
            conf: None,
            note: None,
        }));
        let start = if dag.may_start() { start_facts(version) } else { Vec::new() };
        let facts = [created].into_iter().chain(missed).chain(start).chain([promise]).collect();
        Some(own(at, Actor::Schedule, Scope::Run(key), None, facts))
    }
}

/// A run's start, and its end with it where it has no task.
pub(super) fn start_facts(version: &Version) -> Vec<Fact> {
    let mut facts = vec![Fact::RunStarted(RunStarted {})];
    if version.is_empty() {
        facts.push(Fact::RunSucceeded(RunSucceeded {}));
    }
    facts
}

/// Airflow's way of naming runs: the type, two underscores, and the date in ISO 8601 with its offset.
pub(super) fn run_id_for(run_type: RunType, date: Timestamp) -> RunId {
    let kind = match run_type {
        RunType::Manual => "manual",
        RunType::Scheduled => "scheduled",
        RunType::Backfill => "backfill",
        RunType::AssetTriggered => "asset_triggered",
    };
    let text = date.to_string();
    let text = text.strip_suffix('Z').unwrap_or(&text);
    RunId::new(format!("{kind}__{text}+00:00")).expect("a date in ASCII is within the rules")
}

fn of_run(at: Timestamp, run: &Run, facts: Vec<Fact>) -> Record {
    let trace = run
        .meta()
        .traceparent
        .clone()
        .map(|traceparent| TraceContext { traceparent, tracestate: None });
    own(at, Actor::Scheduler, Scope::Run(run.key().clone()), trace, facts)
}
