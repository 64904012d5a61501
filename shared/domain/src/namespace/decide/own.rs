//! Decisions that the rules call for by themselves.
use std::sync::Arc;

use dagbok_events::{
    Actor, DagId, Fact, Record, RunCreated, RunKey, RunTimedOut, RunType, Scope, TaskQueued,
    Timestamp, Timetable, TraceContext,
};

use crate::{
    namespace::{
        Dag, Namespace, Proposal, RunNo, evolve::meta_of, own, run_id::run_id_for, schedule,
    },
    run::{EndedBy, InstanceNo, Phase, Run},
};

impl Namespace {
    /// Decides on a proposal; empty where it no longer holds.
    pub fn carry_out(&self, now: Timestamp, proposal: &Proposal) -> Option<Record> {
        self.carry_out_by(now, proposal).map(|record| self.stamped(record))
    }

    fn carry_out_by(&self, at: Timestamp, proposal: &Proposal) -> Option<Record> {
        match proposal {
            Proposal::RenewPromise(dag_id) => self.renewed_promise(at, dag_id),
            Proposal::ClockBack => self.clock_back_record(at),
            Proposal::CreateScheduled(dag_id) => self.create_scheduled(at, dag_id),
            Proposal::CreateByAssets(dag_id) => self.create_by_assets(at, dag_id),
            Proposal::StepBackfill(dag_id) => self.step_backfill(at, dag_id),
            Proposal::EndLeftRun(number) => self.end_left_run(at, *number),
            Proposal::StartRun(number) => {
                let run = self.runs.get(number)?;
                let dag = self.dags.get(&run.key().dag_id)?;
                let may = match run.meta().backfill_id {
                    Some(_) => dag.may_start_backfilled(*number),
                    None => dag.may_start() && run.meta().run_after <= at,
                };
                let may = may && run.phase() == Phase::Queued;
                may.then(|| of_run(at, run, run.start_facts()))
            }
            Proposal::TimeOutRun(number) => {
                let run = self.runs.get(number).filter(|run| run.timed_out(at))?;
                let (teardowns_left, then) = run.after_end(EndedBy::Timeout);
                let mut facts = vec![Fact::RunTimedOut(RunTimedOut { teardowns_left })];
                facts.extend(then);
                Some(of_run(at, run, facts))
            }
            Proposal::ExpandTasks(number) => {
                let run = self.runs.get(number).filter(|run| !run.timed_out(at))?;
                let running = run.phase().is_under_way();
                (running && run.has_to_expand()).then(|| of_run(at, run, run.expand_facts(at)))
            }
            Proposal::PauseDag(dag_id) => self.pause_after_failures(at, dag_id),
            Proposal::GiveUpQueued(number, tries) => self.give_up_queued(at, *number, tries),
            Proposal::TimeOutTriggers(number, tries) => self.time_out_triggers(at, *number, tries),
            Proposal::SettleRun(number) => {
                let run = self.runs.get(number)?;
                let facts = run.after_change();
                (!facts.is_empty()).then(|| of_run(at, run, facts))
            }
            Proposal::OrderCallback(run, number) => self.order_callback(at, run, *number),
            Proposal::TellUnbegun(run, number) => self.tell_unbegun(at, run, *number),
            Proposal::QueueTasks(number, tasks) => self.queue(at, *number, tasks),
        }
    }

    fn queue(&self, at: Timestamp, number: RunNo, tasks: &[InstanceNo]) -> Option<Record> {
        let run = self.runs.get(&number)?;
        let queued = self.fitting(number, tasks, at).into_iter().filter_map(|no| {
            let spec = run.spec(no);
            let token = run.may_queue(no, at)?;
            Some(Fact::TaskQueued(TaskQueued {
                task_id: spec.task_id.clone(),
                map_index: run.instance(no).map_index,
                try_number: token.try_number,
                leg: token.leg,
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
        let next = schedule::after(dag, &planned, at);
        let missed = missed.or_else(|| schedule::skipped(dag, &planned, &next, at));
        let promise = Fact::RunExpected(next);
        let logical_date = match version.spec.schedule.timetable {
            Timetable::Continuous => dag.dates.first_free(planned.logical_date),
            _ => planned.logical_date,
        };
        let run_id = run_id_for(RunType::Scheduled, logical_date);
        let key = RunKey { dag_id: dag_id.clone(), run_id };
        let made = self.knows_run(&key);
        if made || dag.dates.contains(logical_date) {
            // Somebody made the run of that date by hand.
            let taken = || schedule::made_by_hand(logical_date);
            let taken = (!made).then(taken);
            let facts = missed.into_iter().chain(taken).chain([promise]).collect();
            return Some(own(at, Actor::Scheduler, Scope::Dag(dag_id.clone()), None, facts));
        }
        let partition = version.schedule.as_ref().and_then(|it| it.partition_at(logical_date));
        // A format that can't write a tick is refused when its file is read.
        let partition = partition.and_then(Result::ok);
        let dated = partition.is_none();
        let created = RunCreated {
            run_type: RunType::Scheduled,
            logical_date: dated.then_some(logical_date),
            data_interval: dated.then_some(planned.data_interval),
            run_after: planned.run_after,
            version: version.number,
            bundle: dag.bundle.clone(),
            conf: None,
            note: None,
            asset_events: Vec::new(),
            asset_events_left_out: 0,
            backfill_id: None,
            partition,
        };
        let start = if dag.may_start() { first_facts(&key, at, dag, &created) } else { Vec::new() };
        let created = Fact::RunCreated(Box::new(created));
        let facts = [created].into_iter().chain(missed).chain(start).chain([promise]).collect();
        Some(own(at, Actor::Schedule, Scope::Run(key), None, facts))
    }
}

/// What a run begins with that is created just now.
pub(super) fn first_facts(key: &RunKey, at: Timestamp, dag: &Dag, f: &RunCreated) -> Vec<Fact> {
    let record = own(at, Actor::Scheduler, Scope::Run(key.clone()), None, Vec::new());
    Run::new(key.clone(), meta_of(&record, f), Arc::clone(&dag.current)).start_facts()
}

pub(in crate::namespace) fn of_run(at: Timestamp, run: &Run, facts: Vec<Fact>) -> Record {
    let trace = run
        .meta()
        .traceparent
        .clone()
        .map(|traceparent| TraceContext { traceparent, tracestate: None });
    own(at, Actor::Scheduler, Scope::Run(run.key().clone()), trace, facts)
}
