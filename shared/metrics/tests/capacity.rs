//! Who has room for what waits: what a scaler is told.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests panic where a value is not what it must be"
)]
use std::collections::BTreeMap;

use dagbok_events::{
    Actor, ExecutorId, Fact, Leg, MapIndex, PoolName, QueueName, Record, RunKey, Scope, TaskId,
    TaskQueued, Timestamp, TryNumber, TryStarted,
};
use dagbok_metrics::Ledger;

fn run() -> Scope {
    Scope::Run(RunKey { dag_id: "etl".parse().unwrap(), run_id: "r1".parse().unwrap() })
}

fn of(scope: Scope, at: f64, fact: Fact) -> Record {
    #[expect(clippy::cast_possible_truncation, reason = "whole microseconds")]
    let at = Timestamp((at * 1e6) as i64);
    let (by, facts) = (Actor::Scheduler, vec![fact]);
    Record { at, clock: None, scope, by, reason: None, cause: None, trace: None, facts }
}

fn queued(task: &str) -> Fact {
    Fact::TaskQueued(TaskQueued {
        task_id: TaskId::new(task).unwrap(),
        map_index: MapIndex::UNMAPPED,
        try_number: TryNumber::FIRST,
        leg: Leg::FIRST,
        pool: PoolName::new("default_pool").unwrap(),
        pool_slots: 1,
        queue: QueueName::new("gpu").unwrap(),
    })
}

fn started(task: &str) -> Fact {
    Fact::TryStarted(Box::new(TryStarted {
        task_id: TaskId::new(task).unwrap(),
        map_index: MapIndex::UNMAPPED,
        try_number: TryNumber::FIRST,
        leg: Leg::FIRST,
        executor: ExecutorId::new("e").unwrap(),
        hostname: "h".into(),
        pid: 1,
        started_at: Timestamp(3_000_000),
        inputs: BTreeMap::new(),
    }))
}

fn folded(records: &[Record]) -> Ledger {
    let mut ledger = Ledger::new(true);
    for (seq, record) in (1..).zip(records) {
        ledger.take(seq, record);
    }
    ledger
}

#[test]
fn a_cordoned_executor_is_no_room_and_what_runs_is_counted_by_its_labels() {
    let told = |fact: serde_json::Value| serde_json::from_value::<Fact>(fact).unwrap();
    let joined = told(serde_json::json!({ "ExecutorJoined": {
        "hostname": "box", "slots": 8, "queues": ["gpu"], "version": "0", "python": "",
        "resources": { "labels": { "region": "eu" } }, "isolation": "", "name": "node-1",
    } }));
    let mut records = vec![
        of(Scope::Executor(ExecutorId::new("e").unwrap()), 1.0, joined),
        of(run(), 2.0, queued("a")),
        of(run(), 2.0, queued("b")),
        of(run(), 3.0, started("a")),
    ];
    let depth = |records: &[Record]| folded(records).state().queues()["gpu"].clone();
    let open = depth(&records);
    assert_eq!((open.queued, open.running, open.executors, open.slots), (1, 1, 1, 8));
    assert_eq!((open.wanted[""].slots, open.wanted[""].running), (1, 1));
    assert!(open.cordoned.is_empty());
    let cordon = told(serde_json::json!({ "ExecutorCordoned": { "name": "node-1" } }));
    records.push(of(Scope::Namespace, 4.0, cordon));
    let cordoned = depth(&records);
    assert_eq!((cordoned.executors, cordoned.slots), (0, 0));
    assert_eq!(cordoned.cordoned["region=eu"], 7, "in one of its slots a try runs");
    assert_eq!(folded(&records).state().executors(), (1, 1));
    let again = told(serde_json::json!({ "ExecutorUncordoned": { "name": "node-1" } }));
    records.push(of(Scope::Namespace, 5.0, again));
    assert_eq!(depth(&records).slots, 8);
}
