//! From what happened to values by Airflow's names.
use std::collections::BTreeMap;

use dagbok_events::{FailureKind, Micros, QueueName, RunKey, RunType};

use super::{RUN_DURATION_ALIAS, What};
use crate::{Note, State, Way, note};

/// The class that stands for all executors.
const EXECUTOR: &str = "DagbokExecutor";

/// One value, with its tags.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Airflow's name.
    pub name: &'static str,
    /// Its kind.
    pub what: What,
    /// How many, how much; of a timer milliseconds.
    pub value: f64,
    /// Names and values of its tags.
    pub tags: Vec<(&'static str, String)>,
}

/// Tasks of a pool that wait for room: all of them, and those for which the pool has none.
pub type Waiting = BTreeMap<String, (u32, u32)>;

type Tags = Vec<(&'static str, String)>;

#[expect(clippy::cast_precision_loss, reason = "milliseconds for people")]
fn ms(took: Micros) -> f64 {
    took.0.max(0) as f64 / 1_000.0
}

#[expect(clippy::cast_precision_loss, reason = "counts far below what a double has")]
const fn number(count: u64) -> f64 {
    count as f64
}

fn one(name: &'static str, tags: Tags) -> Sample {
    Sample { name, what: What::Counter, value: 1.0, tags }
}

fn time(name: &'static str, took: Option<Micros>, tags: &Tags) -> Option<Sample> {
    took.map(|took| Sample { name, what: What::Timer, value: ms(took), tags: tags.clone() })
}

fn of_run(run: &RunKey) -> Tags {
    vec![("dag_id", run.dag_id.to_string()), ("run_id", run.run_id.to_string())]
}

fn of_task(way: &Way<'_>) -> Tags {
    let mut tags = of_run(way.run);
    tags.push(("task_id", way.task.to_string()));
    tags.extend(way.queue.map(|queue| ("queue", QueueName::to_string(queue))));
    tags
}

/// What a note adds.
pub fn of_note(note: &Note<'_>) -> Vec<Sample> {
    match note {
        Note::RunCreated { run, run_type: RunType::AssetTriggered, .. } => {
            vec![one("asset.triggered_dagruns", of_run(run))]
        }
        Note::RunStarted { run, delay, .. } => {
            time("dagrun.schedule_delay", *delay, &of_run(run)).into_iter().collect()
        }
        Note::FirstTry { run, delay, queued, .. } => {
            let tags = of_run(run);
            let scheduled = time("dagrun.first_task_scheduling_delay", *delay, &tags);
            let started = time("dagrun.first_task_start_delay", Some(*queued), &tags);
            scheduled.into_iter().chain(started).collect()
        }
        Note::RunEnded { run, state, took, .. } => {
            let tags = of_run(run);
            let is_success = *state == "success";
            let name =
                if is_success { "dagrun.duration.success" } else { "dagrun.duration.failed" };
            let by_name = time(name, *took, &tags);
            by_name.into_iter().chain(time(RUN_DURATION_ALIAS, *took, &tags)).collect()
        }
        Note::Queued { of, decided, is_first } => queued(of, *decided, *is_first),
        Note::Started { of, queued, .. } => {
            let tags = of_task(of);
            let mut samples = vec![one("ti.start", tags.clone())];
            samples.extend(time("task.queued_duration", *queued, &tags));
            samples
        }
        Note::Ended { .. } => ended(note),
        Note::RuledOut { of, why: "removed", count } => {
            let mut sample = one("task_removed_from_dag", of_task(of));
            sample.value = number(*count);
            vec![sample]
        }
        Note::Trigger { outcome, blocked } => {
            let name = if *outcome == "fired" { "triggers.succeeded" } else { "triggers.failed" };
            let mut samples = vec![one(name, vec![])];
            if *blocked {
                samples.push(one("triggers.blocked_main_thread", vec![]));
            }
            samples
        }
        Note::Callback { outcome: "failed", dag } => {
            let tags = dag.iter().map(|dag| ("dag_id", dag.to_string())).collect();
            vec![one("dag.callback_exceptions", tags)]
        }
        Note::AssetUpdated => vec![one("asset.updates", vec![])],
        Note::ImportFailed { file, timeout } => {
            let tags = vec![("file_path", (*file).to_owned())];
            let mut samples = vec![one("dag_file_refresh_error", tags.clone())];
            if *timeout {
                samples.push(one("dag_processing.processor_timeouts", tags.clone()));
                samples.push(one("dag_file_processor_timeouts", tags));
            }
            samples
        }
        _ => vec![],
    }
}

fn queued(of: &Way<'_>, decided: Option<Micros>, is_first: bool) -> Vec<Sample> {
    let mut tags = of_task(of);
    let mut samples: Vec<_> = time("task.scheduled_duration", decided, &tags).into_iter().collect();
    if let (Some(operator), true) = (of.operator, is_first) {
        tags.push(("task_type", operator.to_owned()));
        samples.push(one("task_instance_created", tags));
    }
    samples
}

fn ended(note: &Note<'_>) -> Vec<Sample> {
    let Note::Ended { of, state, task_state, took, failure, .. } = note else { return vec![] };
    // What is offered again as it was has not ended for Airflow.
    let Some(task_state) = task_state else { return vec![] };
    let tags = of_task(of);
    let with = |name: &'static str, value: &str| {
        let mut tags = tags.clone();
        tags.push((name, value.to_owned()));
        tags
    };
    let mut samples = vec![one("ti.finish", with("state", task_state))];
    samples.extend(time("task.duration", *took, &tags));
    let (whole, by_operator) = match *state {
        "success" => ("ti_successes", "operator_successes"),
        "failed" | "up_for_retry" | "lost" => ("ti_failures", "operator_failures"),
        _ => return samples,
    };
    samples.push(one(whole, tags.clone()));
    if let Some(operator) = of.operator {
        samples.push(one(by_operator, with("operator_name", operator)));
    }
    if *state == "lost" {
        samples.push(one("task_instances_without_heartbeats_killed", tags.clone()));
        samples.push(one("scheduler.orphaned_tasks.cleared", tags.clone()));
    }
    let killed = [FailureKind::Signal, FailureKind::OutOfMemory];
    if failure.is_some_and(|failure| killed.contains(&failure.kind)) {
        let (kind, _) = note::failure(failure.expect("it is there"));
        samples.push(one("scheduler.tasks.killed_externally", with("kind", kind)));
    }
    samples
}

/// All gauges, as they stand.
pub fn gauges(state: &State, waiting: &Waiting) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut say = |name: &'static str, value: f64, tags: Tags| {
        samples.push(Sample { name, what: What::Gauge, value, tags });
    };
    let (active, paused, _) = state.dags();
    say("dagbag_size", number(active + paused), vec![]);
    say("dag_processing.import_errors", number(state.import_errors()), vec![]);
    say("scheduler.dagruns.running", number(state.running_dags()), vec![]);
    let starving: u32 = waiting.values().map(|(_, starving)| starving).sum();
    let ready: u32 = waiting.values().map(|(ready, _)| ready).sum();
    say("scheduler.tasks.starving", f64::from(starving), vec![]);
    say("scheduler.tasks.executable", f64::from(ready - starving), vec![]);
    let depths = state.queues();
    let queued = depths.values().map(|depth| depth.queued).sum();
    let running = depths.values().map(|depth| depth.running).sum::<u64>();
    let open = state.executors().1.saturating_sub(running);
    let class = || vec![("executor_class_name", EXECUTOR.to_owned())];
    say("executor.open_slots", number(open), class());
    say("executor.queued_tasks", number(queued), class());
    say("executor.running_tasks", number(running), class());
    let deferred = state.tasks().into_iter().find(|(word, _)| *word == "deferred");
    let everywhere = vec![("hostname", "all".to_owned())];
    say("triggers.running", number(deferred.map_or(0, |(_, count)| count)), everywhere);
    for (pool, uses) in state.pools() {
        let tags = || vec![("pool_name", pool.to_owned())];
        let (ready, starving) = waiting.get(pool).copied().unwrap_or_default();
        // Of a pool without a limit Airflow says `inf`, which is no number of StatsD's.
        if let Some(open) = uses.open {
            say("pool.open_slots", f64::from(i32::try_from(open).unwrap_or(i32::MIN)), tags());
        }
        say("pool.queued_slots", number(uses.queued), tags());
        say("pool.running_slots", number(uses.running), tags());
        say("pool.deferred_slots", number(uses.deferred), tags());
        say("pool.scheduled_slots", f64::from(ready), tags());
        say("pool.starving_tasks", f64::from(starving), tags());
    }
    for ((name, queue, dag, task), count) in state.by_task() {
        let tags = vec![
            ("queue", queue.to_string()),
            ("dag_id", dag.to_string()),
            ("task_id", task.to_string()),
        ];
        say(name, number(count), tags);
    }
    samples
}

#[cfg(test)]
mod tests {
    use dagbok_events::{
        Actor, ExecutorId, Fact, Leg, LostWhy, MapIndex, PoolName, PoolSet, Record, Scope, TaskId,
        TaskQueued, Timestamp, TryCancelled, TryLost, TryNumber, TryReturned,
    };

    use super::*;

    /// Airflow 3.3's `TaskInstanceState`, but for those that no try ends in.
    const STATES: [&str; 6] =
        ["success", "failed", "skipped", "up_for_retry", "up_for_reschedule", "deferred"];

    fn task() -> TaskId {
        TaskId::new("t").unwrap()
    }

    fn queued(pool: &str, pool_slots: u32) -> Fact {
        Fact::TaskQueued(TaskQueued {
            task_id: task(),
            map_index: MapIndex::UNMAPPED,
            try_number: TryNumber::FIRST,
            leg: Leg::FIRST,
            pool: PoolName::new(pool).unwrap(),
            pool_slots,
            queue: QueueName::new("default").unwrap(),
        })
    }

    fn take(state: &mut State, scope: Scope, fact: Fact) -> Vec<Sample> {
        let (at, by, facts) = (Timestamp(1), Actor::Scheduler, vec![fact]);
        let record =
            Record { at, clock: None, scope, by, reason: None, cause: None, trace: None, facts };
        let mut samples = vec![];
        state.take(&record, &mut |note| samples.extend(of_note(note)));
        samples
    }

    fn run() -> Scope {
        Scope::Run(RunKey { dag_id: "d".parse().unwrap(), run_id: "r".parse().unwrap() })
    }

    #[test]
    fn a_pool_that_is_too_full_is_below_zero_and_one_without_a_limit_says_nothing() {
        let mut state = State::default();
        for (pool, slots) in [("full", 1), ("free", PoolSet::UNLIMITED)] {
            let pool = PoolName::new(pool).unwrap();
            let set = PoolSet { pool, slots, include_deferred: false, description: None };
            take(&mut state, Scope::Namespace, Fact::PoolSet(set));
        }
        take(&mut state, run(), queued("full", 3));
        let open: Vec<_> = gauges(&state, &Waiting::new())
            .into_iter()
            .filter(|sample| sample.name == "pool.open_slots")
            .map(|sample| (sample.tags[0].1.clone(), sample.value))
            .collect();
        assert_eq!(open, [("default_pool".to_owned(), 128.0), ("full".to_owned(), -2.0)]);
    }

    #[test]
    fn a_try_ends_in_a_state_that_airflow_has_or_in_none() {
        let (map_index, try_number, leg) = (MapIndex::UNMAPPED, TryNumber::FIRST, Leg::FIRST);
        let lost = |retry_at: Option<i64>| {
            Fact::TryLost(Box::new(TryLost {
                task_id: task(),
                map_index,
                try_number,
                leg,
                executor: None,
                why: LostWhy::ExecutorGone,
                retry_at: retry_at.map(Timestamp),
                usage: None,
                log: None,
            }))
        };
        let cancelled = |skipped| {
            let (task_id, executor) = (task(), None);
            Fact::TryCancelled(TryCancelled {
                task_id,
                map_index,
                try_number,
                leg,
                executor,
                skipped,
            })
        };
        let executor = ExecutorId::new("e").unwrap();
        let returned = Fact::TryReturned(TryReturned {
            task_id: task(),
            map_index,
            try_number,
            leg,
            executor,
        });
        for (fact, expected) in [
            (lost(Some(5)), Some("up_for_retry")),
            (lost(None), Some("failed")),
            (cancelled(false), Some("failed")),
            (cancelled(true), Some("skipped")),
            (returned, None),
        ] {
            let mut state = State::default();
            take(&mut state, run(), queued("default_pool", 1));
            let samples = take(&mut state, run(), fact);
            let finish = samples.iter().find(|sample| sample.name == "ti.finish");
            let tag = |sample: &Sample| {
                let state = sample.tags.iter().find(|(name, _)| *name == "state");
                state.map(|(_, state)| state.clone())
            };
            let word = finish.and_then(tag);
            assert_eq!(word.as_deref(), expected);
            assert!(word.is_none_or(|word| STATES.contains(&word.as_str())));
        }
    }
}
