//! Figures that no service sees alone: hand-offs are a fold of the log, open slots are the executor's.
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use dagbok_api::model::ReadModel;
use dagbok_events::{Fact, MapIndex, RunKey, Scope, TaskId, Timestamp, TryNumber, decode};
use dagbok_executor::{ExecutorStats, Stretch};
use dagbok_runlog::RunLog;
use dagbok_runtime::Shutdown;
use dagbok_telemetry::metrics;
use futures::StreamExt as _;

/// How often gauges that nobody pushes are read.
const EVERY: Duration = Duration::from_secs(5);
/// Runs that are followed; above it new ones are not, which costs a figure only.
const REMEMBERED: usize = 10_000;

/// What is known of a run that has not ended.
#[derive(Debug, Default)]
struct Run {
    /// When its last try ended.
    ended: Option<Timestamp>,
    /// First tries that were queued since, with the end that let them.
    handed: BTreeMap<(TaskId, MapIndex), Timestamp>,
}

type Runs = BTreeMap<RunKey, Run>;

/// Times hand-offs from the end of the log on. A first try was handed its work by the end that came last
/// in its run before it was queued; a retry waited for its delay, and was handed nothing.
pub(crate) async fn follow_log(log: Arc<dyn RunLog>, shutdown: Shutdown) {
    let mut runs = Runs::new();
    while !shutdown.is_started() {
        let Ok(last) = log.last().await else {
            tokio::time::sleep(EVERY).await;
            continue;
        };
        let mut entries = log.follow(last);
        loop {
            let batch = tokio::select! {
                batch = entries.next() => batch,
                () = shutdown.started() => return,
            };
            // An error ends the stream: follow again from what is the end by then.
            let Some(Ok(batch)) = batch else { break };
            for entry in batch.iter().filter(|entry| entry.subject.starts_with("log.run.")) {
                if let Ok(record) = decode(&entry.payload)
                    && let Scope::Run(run) = &record.scope
                {
                    fold(&mut runs, run, &record.facts);
                }
            }
        }
    }
}

fn fold(runs: &mut Runs, key: &RunKey, facts: &[Fact]) {
    for fact in facts {
        match fact {
            Fact::TrySucceeded(end) => ended(runs, key, end.ended_at),
            Fact::TrySkipped(end) => ended(runs, key, end.ended_at),
            Fact::TryFailed(end) => ended(runs, key, end.ended_at),
            Fact::TaskQueued(queued) if queued.try_number == TryNumber::FIRST => {
                if let Some(run) = runs.get_mut(key)
                    && let Some(at) = run.ended
                {
                    run.handed.insert((queued.task_id.clone(), queued.map_index), at);
                }
            }
            Fact::TryStarted(start) => {
                let of = (start.task_id.clone(), start.map_index);
                if let Some(at) = runs.get_mut(key).and_then(|run| run.handed.remove(&of)) {
                    metrics().hand_off(start.started_at.since(at).to_std());
                }
            }
            end if end.ends_run() => {
                runs.remove(key);
            }
            _ => {}
        }
    }
}

fn ended(runs: &mut Runs, key: &RunKey, at: Timestamp) {
    if runs.len() < REMEMBERED || runs.contains_key(key) {
        runs.entry(key.clone()).or_default().ended = Some(at);
    }
}

/// Shows how far a read model is behind its log.
pub(crate) fn follow_model(model: &ReadModel, shutdown: &Shutdown) {
    let (progress, stop) = (model.progress().clone(), shutdown.clone());
    shutdown.spawn(async move {
        while !stop.is_started() {
            metrics().set_projection_lag(progress.now().lag());
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.started() => {}
            }
        }
    });
}

/// Shows an executor's slots and waits.
pub(crate) fn follow_executor(stats: &Arc<ExecutorStats>, slots: u32, shutdown: &Shutdown) {
    stats.on_stretch(|stretch, took| {
        if stretch == Stretch::QueueToStart {
            metrics().queue_wait(took);
        }
    });
    let (stats, stop) = (Arc::clone(stats), shutdown.clone());
    shutdown.spawn(async move {
        while !stop.is_started() {
            metrics().set_slots(stats.open_slots.load(Ordering::Relaxed), u64::from(slots));
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.started() => {}
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use dagbok_events::{
        ExecutorId, PoolName, QueueName, RunId, TaskQueued, TryStarted, TrySucceeded, Usage,
    };

    use super::*;

    fn task(name: &str) -> TaskId {
        TaskId::new(name).unwrap()
    }

    fn succeeded(name: &str, at: i64) -> Fact {
        Fact::TrySucceeded(Box::new(TrySucceeded {
            task_id: task(name),
            map_index: MapIndex::UNMAPPED,
            try_number: TryNumber::FIRST,
            leg: dagbok_events::Leg::FIRST,
            ended_at: Timestamp(at),
            usage: Usage::default(),
            log: None,
            skips: vec![],
        }))
    }

    fn queued(name: &str) -> Fact {
        Fact::TaskQueued(TaskQueued {
            task_id: task(name),
            map_index: MapIndex::UNMAPPED,
            try_number: TryNumber::FIRST,
            leg: dagbok_events::Leg::FIRST,
            pool: PoolName::new("default_pool").unwrap(),
            pool_slots: 1,
            queue: QueueName::new("default").unwrap(),
        })
    }

    fn started(name: &str, at: i64) -> Fact {
        Fact::TryStarted(Box::new(TryStarted {
            task_id: task(name),
            map_index: MapIndex::UNMAPPED,
            try_number: TryNumber::FIRST,
            leg: dagbok_events::Leg::FIRST,
            executor: ExecutorId::new("e").unwrap(),
            hostname: "h".into(),
            pid: 1,
            started_at: Timestamp(at),
            inputs: BTreeMap::new(),
        }))
    }

    #[test]
    fn a_hand_off_is_from_the_last_end_to_the_start_of_what_was_queued_for_it() {
        let run = RunKey { dag_id: "d".parse().unwrap(), run_id: RunId::new("r").unwrap() };
        let mut runs = Runs::new();
        // A first task is handed nothing by nobody.
        fold(&mut runs, &run, &[queued("a")]);
        fold(&mut runs, &run, &[started("a", 500)]);
        fold(&mut runs, &run, &[succeeded("a", 1_000)]);
        fold(&mut runs, &run, &[queued("b")]);
        fold(&mut runs, &run, &[started("b", 5_000)]);
        fold(&mut runs, &run, &[Fact::RunSucceeded(dagbok_events::RunSucceeded {})]);
        assert!(runs.is_empty());
        let shown = metrics().render(|_| true);
        assert!(shown.contains("dagbok_hand_off_seconds_count 1"), "{shown}");
        assert!(shown.contains("dagbok_hand_off_seconds_sum 0.004"), "{shown}");
    }
}
