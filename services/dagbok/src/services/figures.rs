//! Figures that no service sees alone: hand-offs are a fold of the log, open slots are the executor's.
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use dagbok_events::{Fact, MapIndex, RunKey, Scope, TaskId, Timestamp, TryNumber, decode};
use dagbok_executor::{ExecutorStats, Stretch};
use dagbok_runlog::RunLog;
use dagbok_runtime::Shutdown;
use dagbok_telemetry::metrics;
use futures::StreamExt as _;

/// How often gauges that nobody pushes are read.
const EVERY: Duration = Duration::from_secs(5);
/// Tries whose start is waited for; above it the oldest runs' are forgotten, which costs a figure only.
const REMEMBERED: usize = 100_000;

type Waiting = (TaskId, MapIndex, TryNumber);

/// Times hand-offs from the end of the log on: what queued a try in the record of another's end was
/// handed its work by it.
pub(crate) async fn follow_log(log: Arc<dyn RunLog>, shutdown: Shutdown) {
    let mut handed: BTreeMap<(RunKey, Waiting), Timestamp> = BTreeMap::new();
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
                    fold(&mut handed, run, &record.facts);
                }
            }
        }
    }
}

fn fold(handed: &mut BTreeMap<(RunKey, Waiting), Timestamp>, run: &RunKey, facts: &[Fact]) {
    let ended = facts.iter().filter_map(|fact| match fact {
        Fact::TrySucceeded(end) => Some(end.ended_at),
        Fact::TrySkipped(end) => Some(end.ended_at),
        Fact::TryFailed(end) => Some(end.ended_at),
        _ => None,
    });
    let ended = ended.max();
    for fact in facts {
        match fact {
            Fact::TaskQueued(queued) => {
                if let Some(ended) = ended
                    && handed.len() < REMEMBERED
                {
                    let waiting = (queued.task_id.clone(), queued.map_index, queued.try_number);
                    handed.insert((run.clone(), waiting), ended);
                }
            }
            Fact::TryStarted(start) => {
                let waiting = (start.task_id.clone(), start.map_index, start.try_number);
                if let Some(ended) = handed.remove(&(run.clone(), waiting)) {
                    metrics().hand_off(start.started_at.since(ended).to_std());
                }
            }
            Fact::RunSucceeded(_)
            | Fact::RunFailed(_)
            | Fact::RunTimedOut(_)
            | Fact::RunCancelled(_) => {
                handed.retain(|(of, _), _| of != run);
            }
            _ => {}
        }
    }
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
            ended_at: Timestamp(at),
            usage: Usage::default(),
            log: None,
        }))
    }

    fn queued(name: &str) -> Fact {
        Fact::TaskQueued(TaskQueued {
            task_id: task(name),
            map_index: MapIndex::UNMAPPED,
            try_number: TryNumber::FIRST,
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
            executor: ExecutorId::new("e").unwrap(),
            hostname: "h".into(),
            pid: 1,
            started_at: Timestamp(at),
            inputs: BTreeMap::new(),
        }))
    }

    #[test]
    fn a_hand_off_is_from_the_end_that_queued_a_try_to_its_start() {
        let run = RunKey { dag_id: "d".parse().unwrap(), run_id: RunId::new("r").unwrap() };
        let mut handed = BTreeMap::new();
        // A first task is handed nothing by nobody.
        fold(&mut handed, &run, &[queued("a")]);
        fold(&mut handed, &run, &[started("a", 500)]);
        assert!(handed.is_empty());
        fold(&mut handed, &run, &[succeeded("a", 1_000), queued("b")]);
        assert_eq!(handed.len(), 1);
        fold(&mut handed, &run, &[started("b", 5_000)]);
        assert!(handed.is_empty());
        let shown = metrics().render();
        assert!(shown.contains("dagbok_hand_off_seconds_count 1"), "{shown}");
        assert!(shown.contains("dagbok_hand_off_seconds_sum 0.004"), "{shown}");
    }
}
