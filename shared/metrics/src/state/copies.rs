//! Copies of tasks: offered, begun, over.
use dagbok_events::{
    Fact, Failure, Leg, MapIndex, RefusedWhy, RuledOut, RunKey, TaskId, TaskQueued, Timestamp,
    TriggerFailedWhy, TryNumber, TryStarted, Usage,
};

use super::{Copy, Run, Stands, State};
use crate::{Note, Way};

type Say<'s> = &'s mut dyn FnMut(&Note<'_>);

/// How a leg of a try ended.
struct End<'a> {
    task: &'a TaskId,
    map_index: MapIndex,
    state: &'static str,
    /// The task's state in Airflow's words; `None` where it is offered again as it was.
    task_state: Option<&'static str>,
    /// How its copy stands from now on; `None` where it is done or waits to be queued.
    then: Option<Stands>,
    at: Option<Timestamp>,
    usage: Option<Usage>,
    failure: Option<&'a Failure>,
}

impl<'a> End<'a> {
    const fn new(task: &'a TaskId, map_index: MapIndex, state: &'static str) -> Self {
        let task_state = Some(state);
        Self {
            task,
            map_index,
            state,
            task_state,
            then: None,
            at: None,
            usage: None,
            failure: None,
        }
    }

    const fn used(mut self, at: Timestamp, usage: Usage) -> Self {
        (self.at, self.usage) = (Some(at), Some(usage));
        self
    }

    const fn then(mut self, stands: Stands) -> Self {
        self.then = Some(stands);
        self
    }
}

/// The end that a fact tells of, where it tells of one.
fn end_of(fact: &Fact) -> Option<End<'_>> {
    Some(match fact {
        Fact::TrySucceeded(f) => {
            End::new(&f.task_id, f.map_index, "success").used(f.ended_at, f.usage)
        }
        Fact::TrySkipped(f) => {
            End::new(&f.task_id, f.map_index, "skipped").used(f.ended_at, f.usage)
        }
        Fact::TryFailed(f) => {
            let state = if f.retry_at.is_some() { "up_for_retry" } else { "failed" };
            let mut end = End::new(&f.task_id, f.map_index, state).used(f.ended_at, f.usage);
            end.then = f.retry_at.map(|_| Stands::UpForRetry);
            end.failure = Some(&f.failure);
            end
        }
        Fact::TryRescheduled(f) => End::new(&f.task_id, f.map_index, "up_for_reschedule")
            .used(f.ended_at, f.usage)
            .then(Stands::UpForReschedule),
        Fact::TryDeferred(f) => End::new(&f.task_id, f.map_index, "deferred")
            .used(f.ended_at, f.usage)
            .then(Stands::Deferred),
        Fact::TryLost(f) => {
            let mut end = End::new(&f.task_id, f.map_index, "lost");
            end.task_state = Some(if f.retry_at.is_some() { "up_for_retry" } else { "failed" });
            end.then = f.retry_at.map(|_| Stands::UpForRetry);
            end.usage = f.usage;
            end
        }
        Fact::TryCancelled(f) => {
            let mut end = End::new(&f.task_id, f.map_index, "cancelled");
            end.task_state = Some(if f.skipped { "skipped" } else { "failed" });
            end
        }
        Fact::TryReturned(f) => {
            let mut end = End::new(&f.task_id, f.map_index, "returned");
            end.task_state = None;
            end
        }
        _ => return None,
    })
}

impl State {
    pub(super) fn of_copy(&mut self, at: Timestamp, run: &RunKey, fact: &Fact, say: Say<'_>) {
        if let Some(end) = end_of(fact) {
            self.try_ended(at, run, &end, say);
            return;
        }
        match fact {
            Fact::TaskQueued(queued) => self.queued(at, run, queued, say),
            Fact::TryStarted(started) => self.try_started(at, run, started, say),
            Fact::TriggerFired(fired) => {
                if !fired.ends_task {
                    self.drop_copies(run, &fired.task_id, fired.map_index, 0);
                }
                say(&Note::Trigger { outcome: "fired", blocked: false });
            }
            Fact::HitlAnswered(answered) => {
                self.drop_copies(run, &answered.task_id, answered.map_index, 0);
            }
            Fact::TriggerFailed(failed) => {
                self.drop_copies(run, &failed.task_id, failed.map_index, 0);
                let blocked = failed.why == TriggerFailedWhy::Blocked;
                say(&Note::Trigger { outcome: "failed", blocked });
            }
            Fact::TaskRuledOut(out) => {
                self.drop_copies(run, &out.task_id, out.map_index, out.further);
                let why = match out.why {
                    RuledOut::Skipped => "skipped",
                    RuledOut::UpstreamFailed => "upstream_failed",
                    RuledOut::Removed | RuledOut::OutOfDates => "removed",
                };
                let of = self.way(run, &out.task_id);
                say(&Note::RuledOut { of, why, count: u64::from(out.further) + 1 });
            }
            Fact::TaskMarked(it) => self.drop_copies(run, &it.task_id, it.map_index, it.further),
            Fact::TaskCleared(it) => {
                self.drop_copies(run, &it.task_id, it.map_index, it.further);
                say(&Note::Cleared { count: u64::from(it.further) + 1 });
            }
            Fact::ReportRefused(refused) => say(&Note::Refused { why: refused_why(refused.why) }),
            Fact::DagCallbackSucceeded(_) => {
                say(&Note::Callback { outcome: "success", dag: Some(&run.dag_id) });
            }
            Fact::DagCallbackFailed(_) => {
                say(&Note::Callback { outcome: "failed", dag: Some(&run.dag_id) });
            }
            Fact::DagCallbackLost(_) => {
                say(&Note::Callback { outcome: "lost", dag: Some(&run.dag_id) });
            }
            Fact::TaskCallbackFailed(_) => {
                say(&Note::Callback { outcome: "task_failed", dag: Some(&run.dag_id) });
            }
            _ => {}
        }
    }

    fn way<'a>(&'a self, run: &'a RunKey, task: &'a TaskId) -> Way<'a> {
        let operators = self.dags.get(&run.dag_id).map(|dag| &dag.operators);
        let operator = operators.and_then(|it| it.get(task)).map(String::as_str);
        let trace = self.runs.get(run).and_then(|run| run.trace);
        Way { run, task, operator, queue: None, trace }
    }

    fn queued(&mut self, at: Timestamp, key: &RunKey, queued: &TaskQueued, say: Say<'_>) {
        let is_first = queued.try_number == TryNumber::FIRST && queued.leg == Leg::FIRST;
        self.queues.insert(queued.queue.clone());
        let run = self.runs.entry(key.clone()).or_insert_with(|| Run::new(at));
        let handed_at = run.ended_at.filter(|_| is_first);
        let copy = Copy {
            stands: Stands::Queued,
            queued_at: at,
            started_at: None,
            handed_at,
            pool: queued.pool.clone(),
            slots: queued.pool_slots,
            queue: queued.queue.clone(),
            executor: None,
        };
        run.copies.entry(queued.task_id.clone()).or_default().insert(queued.map_index, copy);
        let way = Way { queue: Some(&queued.queue), ..self.way(key, &queued.task_id) };
        let decided = handed_at.map(|end| at.since(end));
        say(&Note::Queued { of: way, decided, is_first });
    }

    fn try_started(&mut self, _: Timestamp, key: &RunKey, started: &TryStarted, say: Say<'_>) {
        let at = started.started_at;
        let Some(run) = self.runs.get_mut(key) else { return };
        if !run.begun {
            run.begun = true;
            let delay = run.due.map(|due| at.since(due));
            let (queued, trace) = (at.since(run.created_at), run.trace);
            say(&Note::FirstTry { run: key, delay, queued, trace });
        }
        let copy =
            run.copies.get_mut(&started.task_id).and_then(|it| it.get_mut(&started.map_index));
        let (mut queued, mut handed, mut queue) = (None, None, None);
        if let Some(copy) = copy {
            (copy.stands, copy.started_at) = (Stands::Running, Some(at));
            copy.executor = Some(started.executor.clone());
            queued = Some(at.since(copy.queued_at));
            handed = copy.handed_at.map(|end| at.since(end));
            queue = Some(copy.queue.clone());
        }
        let way = Way { queue: queue.as_ref(), ..self.way(key, &started.task_id) };
        say(&Note::Started { of: way, queued, handed });
    }

    fn try_ended(&mut self, decided: Timestamp, key: &RunKey, end: &End<'_>, say: Say<'_>) {
        let at = end.at.unwrap_or(decided);
        let (mut started, mut queue) = (None, None);
        if let Some(run) = self.runs.get_mut(key) {
            // What hands work on is an end that a successor may have waited for.
            if matches!(end.state, "success" | "skipped" | "failed") {
                run.ended_at = Some(at);
            }
            if let Some(copies) = run.copies.get_mut(end.task)
                && let Some(copy) = copies.get_mut(&end.map_index)
            {
                (started, queue) = (copy.started_at, Some(copy.queue.clone()));
                match end.then {
                    Some(stands) => (copy.stands, copy.started_at) = (stands, None),
                    None => drop(copies.remove(&end.map_index)),
                }
                if copies.is_empty() {
                    run.copies.remove(end.task);
                }
            }
        }
        let way = Way { queue: queue.as_ref(), ..self.way(key, end.task) };
        let took = started.map(|start| at.since(start));
        let (state, usage, failure) = (end.state, end.usage, end.failure);
        let task_state = end.task_state;
        say(&Note::Ended { of: way, state, task_state, took, usage, failure });
    }

    fn drop_copies(&mut self, run: &RunKey, task: &TaskId, first: MapIndex, further: u32) {
        let Some(run) = self.runs.get_mut(run) else { return };
        let Some(copies) = run.copies.get_mut(task) else { return };
        let last = i64::from(first.0) + i64::from(further);
        copies.retain(|index, _| *index < first || i64::from(index.0) > last);
        if copies.is_empty() {
            run.copies.remove(task);
        }
    }
}

const fn refused_why(why: RefusedWhy) -> &'static str {
    match why {
        RefusedWhy::NoSuchRun => "no_such_run",
        RefusedWhy::NoSuchTask => "no_such_task",
        RefusedWhy::NotInFlight => "not_in_flight",
        RefusedWhy::HeldByAnother => "held_by_another",
        RefusedWhy::RunOver => "run_over",
        RefusedWhy::InFlight => "in_flight",
    }
}
