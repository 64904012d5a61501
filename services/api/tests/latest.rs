//! The task instances with the latest dates, out of more than anybody sorts in hand: what sorting all of them
//! gives, whatever the clocks of executors say.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod support;

use std::cmp::Reverse;

use dagbok_api::model::lists::TASKS_IN_HAND;
use dagbok_events::{
    Actor, DagRegistered, Fact, Leg, MapIndex, Micros, Record, RunStarted, RunSucceeded, Scope,
    Timestamp, TryStarted, TrySucceeded, Usage, encode, subject_of,
};
use dagbok_runlog::{Draft, Seq};
use serde_json::Value;
use support::{
    SOON, World,
    liars::Dice,
    story::{FIRST, Story, dag, digest, executor, key, nth, spec, task},
};

const RUNS: i64 = 700;
/// Tasks of a run that goes on, more than are looked at one by one elsewhere.
const WIDE: usize = 1_200;

/// A run of so many tasks that goes on: one began early, and one at the end.
fn wide() -> Vec<(Timestamp, Scope, Vec<Fact>)> {
    let ids: Vec<String> = (0..WIDE).map(|n| format!("w{n:04}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let registered = DagRegistered {
        version: 1,
        spec_digest: digest("wide"),
        bundle: digest("bundle"),
        spec: spec("wide", &ids),
        paused: Some(false),
    };
    let run = Scope::Run(key("wide", "on"));
    let begin = vec![Story::creation(None), Fact::RunStarted(RunStarted {})];
    let queued = ids.iter().map(|id| Story::queueing(id, 1)).collect();
    let end = FIRST.plus(Micros(RUNS * 2_000_000 + 123_456));
    vec![
        (FIRST, Scope::Dag(dag("wide")), vec![Fact::DagRegistered(Box::new(registered))]),
        (FIRST, run.clone(), begin),
        (FIRST, run.clone(), queued),
        (FIRST, run.clone(), vec![started(ids[0], FIRST)]),
        (end, run, vec![started(ids[1], end)]),
    ]
}

fn started(id: &str, at: Timestamp) -> Fact {
    Fact::TryStarted(Box::new(TryStarted {
        task_id: task(id),
        map_index: MapIndex::UNMAPPED,
        try_number: nth(1),
        leg: Leg::FIRST,
        executor: executor("exec-1"),
        hostname: "box".to_owned(),
        pid: 42,
        started_at: at,
        inputs: std::collections::BTreeMap::new(),
    }))
}

/// Runs that begin two seconds after each other and last up to a minute, of two tasks; in every fifth one the
/// executor's clock is ahead, and some go on for ever. One goes on that has very many tasks.
fn told(dice: &mut Dice) -> Vec<(Timestamp, Scope, Vec<Fact>)> {
    let registered = DagRegistered {
        version: 1,
        spec_digest: digest("chain"),
        bundle: digest("bundle"),
        spec: spec("chain", &["a", "b"]),
        paused: Some(false),
    };
    let of_dag = Scope::Dag(dag("chain"));
    let mut told = vec![(FIRST, of_dag, vec![Fact::DagRegistered(Box::new(registered))])];
    for n in 0..RUNS {
        let run = Scope::Run(key("chain", &format!("run_{n:04}")));
        let mut drawn = |most: u64| i64::try_from(dice.below(most * 1_000_000)).unwrap();
        let begin = FIRST.plus(Micros(n * 2_000_000));
        let ahead = if n % 5 == 0 { drawn(40) } else { 0 };
        let (first, second) = (drawn(20), 20_000_000 + drawn(40));
        let mut facts = vec![Story::creation(None), Fact::RunStarted(RunStarted {})];
        facts.extend([Story::queueing("a", 1), Story::queueing("b", 1)]);
        told.push((begin, run.clone(), facts));
        for (id, at) in [("a", first), ("b", second)] {
            let succeeded = TrySucceeded {
                task_id: task(id),
                map_index: MapIndex::UNMAPPED,
                try_number: nth(1),
                leg: Leg::FIRST,
                ended_at: begin.plus(Micros(at + ahead + 1)),
                usage: Usage::default(),
                log: None,
                skips: vec![],
            };
            let mut facts = vec![started(id, begin.plus(Micros(at + ahead)))];
            if n % 90 != 4 {
                facts.push(Fact::TrySucceeded(Box::new(succeeded)));
                facts.extend((id == "b").then_some(Fact::RunSucceeded(RunSucceeded {})));
            }
            told.push((begin.plus(Micros(at + 2)), run.clone(), facts));
        }
    }
    told.extend(wide());
    told.sort_by_key(|(at, _, _)| *at);
    told
}

async fn world() -> World {
    let world = World::new().await;
    let draft = |(n, (at, scope, facts)): (i64, (Timestamp, Scope, Vec<Fact>))| {
        let record = Record {
            at,
            // A clock that is a minute behind now and then.
            clock: (n % 7 == 3).then(|| at.plus(Micros::from_secs(-60))),
            scope,
            by: Actor::Scheduler,
            reason: None,
            cause: None,
            trace: None,
            facts,
        };
        Draft { subject: subject_of(&record.scope), payload: encode(&record).into() }
    };
    let drafts: Vec<_> = (0..).zip(told(&mut Dice::new(11))).map(draft).collect();
    let last = Seq(drafts.len() as u64);
    world.ports.log.append(Seq::ZERO, drafts).await.unwrap();
    assert!(world.model.progress().wait_for(last, SOON).await);
    world
}

fn instances(answer: &Value) -> Vec<Value> {
    answer["task_instances"].as_array().unwrap().clone()
}

/// When, and which.
fn told_of(one: &Value, field: &str) -> (String, String) {
    let text = |field: &str| one[field].as_str().unwrap_or_default().to_owned();
    (text(field), format!("{} {}", text("dag_run_id"), text("task_id")))
}

#[tokio::test]
async fn the_latest_of_many_are_what_sorting_all_of_them_gives() {
    let world = world().await;
    let path = "/api/v2/dags/~/dagRuns/~/taskInstances";
    let mut all = Vec::new();
    while all.len() < usize::try_from(RUNS * 2).unwrap() + WIDE {
        let page = world.ok(&format!("{path}?limit=100&offset={}", all.len())).await;
        all.extend(instances(&page));
    }
    assert!(all.len() > TASKS_IN_HAND, "nothing is sorted in hand");
    for (field, filter) in [
        ("start_date", ""),
        ("end_date", ""),
        ("queued_when", ""),
        ("start_date", "&state=success"),
        ("end_date", "&task_id=b"),
    ] {
        let wanted = |one: &&Value| match filter {
            "&state=success" => one["state"] == "success",
            "&task_id=b" => one["task_id"] == "b",
            _ => true,
        };
        let mut sorted: Vec<_> = all.iter().filter(wanted).map(|it| told_of(it, field)).collect();
        // Those with nothing come last.
        sorted.sort_by_key(|(at, _)| Reverse(at.clone()));
        for offset in [0, 7, 60] {
            let query = format!("{path}?order_by=-{field}&limit=20&offset={offset}{filter}");
            let answer = world.ok(&query).await;
            assert_eq!(answer["dagbok"]["complete"], true, "{query}");
            let page: Vec<_> = instances(&answer).iter().map(|it| told_of(it, field)).collect();
            let dates = |of: &[(String, String)]| -> Vec<String> {
                of.iter().map(|(at, _)| at.clone()).collect()
            };
            assert_eq!(dates(&page), dates(&sorted[offset..offset + 20]), "{query}");
            if field != "queued_when" {
                assert_eq!(page, sorted[offset..offset + 20], "{query}");
            }
            let total = answer["total_entries"].as_u64().unwrap();
            assert!(total <= sorted.len() as u64, "{query}: {total}");
            if !filter.contains("task_id") {
                assert_eq!(total, sorted.len() as u64, "{query}: counts know");
            }
        }
    }
}
