//! Lists of a run of many copies: whatever page is asked for is what filtering all of them gives.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod support;

use dagbok_events::{Expand, Fact, MapIndex, RuledOut, TaskCleared, TaskExpanded, TaskRuledOut};
use serde_json::Value;
use support::{
    World,
    story::{Story, key, spec, task},
};

const COPIES: u32 = 3_000;
const RUN: &str = "/api/v2/dags/wide/dagRuns/r1";

fn copy_of(mut fact: Fact, copy: i32) -> Fact {
    match &mut fact {
        Fact::TaskQueued(f) => f.map_index = MapIndex(copy),
        Fact::TrySucceeded(f) => f.map_index = MapIndex(copy),
        Fact::TryFailed(f) => f.map_index = MapIndex(copy),
        Fact::XComPushed(f) => f.map_index = MapIndex(copy),
        other => panic!("{other:?}"),
    }
    fact
}

/// Of the copies of `m`: the first 2,000 tried, each seventh failed, 2,000 to 2,499 skipped, the rest with none.
async fn told() -> World {
    let world = World::new().await;
    let mut dag = spec("wide", &["a", "m", "z"]);
    (dag.tasks[1].is_mapped, dag.tasks[1].expand) =
        (true, Some(Expand::Literal { length: COPIES }));
    world.story.registered(dag, 1).await;
    let run = key("wide", "r1");
    world.story.created(&run).await;
    // What stood for all copies was ruled out once, and cleared.
    let clear =
        TaskCleared { task_id: task("m"), map_index: MapIndex::UNMAPPED, further: 0, was: vec![] };
    let before = vec![Story::ruled_out("m", RuledOut::Skipped), Fact::TaskCleared(clear)];
    world.story.in_run(&run, before).await;
    let expanded = TaskExpanded { task_id: task("m"), length: COPIES };
    world.story.in_run(&run, vec![Fact::TaskExpanded(expanded)]).await;
    for some in (0..2_000).collect::<Vec<i32>>().chunks(250) {
        let facts = some.iter().flat_map(|copy| {
            let end = match copy % 7 {
                0 => Story::failure("m", 1, None),
                _ => Story::success("m", 1, None),
            };
            let value = Story::pushed("m", 1, "return_value", Some("1"));
            [Story::queueing("m", 1), value, end].map(|fact| copy_of(fact, *copy))
        });
        world.story.in_run(&run, facts.collect()).await;
    }
    let skipped = TaskRuledOut {
        task_id: task("m"),
        map_index: MapIndex(2_000),
        why: RuledOut::Skipped,
        further: 499,
        message: Some("a reason".to_owned()),
    };
    world.story.in_run(&run, vec![Fact::TaskRuledOut(skipped)]).await;
    world.settled().await;
    world
}

fn copies(found: &Value) -> Vec<i64> {
    let all = found["task_instances"].as_array().unwrap();
    all.iter().map(|one| one["map_index"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn pages_of_copies_are_those_of_all() {
    let world = told().await;
    let mapped = format!("{RUN}/taskInstances/m/listMapped");
    let state = |copy: i64| match copy {
        0..2_000 if copy % 7 == 0 => "failed",
        0..2_000 => "success",
        2_000..2_500 => "skipped",
        _ => "none",
    };
    let all: Vec<i64> = (0..i64::from(COPIES)).collect();
    for (query, wanted) in [
        ("", all.clone()),
        ("&order_by=map_index", all.clone()),
        ("&order_by=-map_index", all.iter().rev().copied().collect()),
        ("&state=failed", all.iter().copied().filter(|at| state(*at) == "failed").collect()),
        (
            "&state=failed&state=skipped&order_by=task_id&order_by=-map_index",
            all.iter()
                .rev()
                .copied()
                .filter(|at| ["failed", "skipped"].contains(&state(*at)))
                .collect(),
        ),
        ("&state=none", (2_500..3_000).collect()),
        ("&state=running", vec![]),
        ("&map_index=2999&map_index=7&map_index=3000", vec![7, 2_999]),
        ("&state=failed&map_index=7&map_index=8", vec![7]),
        // Rows decide about these.
        (
            "&try_number=1&state=failed",
            all.iter().copied().filter(|at| state(*at) == "failed").collect(),
        ),
        ("&try_number=0", (2_000..3_000).collect()),
        ("&order_by=-try_number", all.clone()),
    ] {
        for (offset, limit) in
            [(0, 50), (1_020, 10), (wanted.len().saturating_sub(3), 50), (5_000, 5)]
        {
            let path = format!("{mapped}?limit={limit}&offset={offset}{query}");
            let found = world.ok(&path).await;
            assert_eq!(found["total_entries"], wanted.len(), "{path}");
            let page: Vec<i64> = wanted.iter().copied().skip(offset).take(limit).collect();
            assert_eq!(copies(&found), page, "{path}");
            for one in found["task_instances"].as_array().unwrap() {
                let is = one["state"].as_str().unwrap_or("none");
                assert_eq!(is, state(one["map_index"].as_i64().unwrap()), "{path}");
            }
        }
    }
}

#[tokio::test]
async fn copies_stand_among_the_tasks_of_their_run() {
    let world = told().await;
    let path = format!("{RUN}/taskInstances");
    let total = u64::from(COPIES) + 2;
    let found = world.ok(&format!("{path}?limit=3&offset=0")).await;
    assert_eq!((&found["total_entries"], copies(&found)), (&total.into(), vec![-1, 0, 1]));
    let found = world.ok(&format!("{path}?limit=3&offset=2999")).await;
    assert_eq!(copies(&found), [2_998, 2_999, -1]);
    let found = world.ok(&format!("{path}?limit=2&order_by=-task_id")).await;
    assert_eq!(copies(&found), [-1, 0]);
    assert_eq!(found["task_instances"][0]["task_id"], "z");
    let across =
        world.ok("/api/v2/dags/~/dagRuns/~/taskInstances?state=skipped&limit=2&offset=1").await;
    assert_eq!((&across["total_entries"], copies(&across)), (&500.into(), vec![2_001, 2_002]));
    assert_eq!(across["task_instances"][0]["dagbok"]["message"], "a reason");
    let down =
        world.ok("/api/v2/dags/~/dagRuns/~/taskInstances?order_by=-id&limit=2&offset=1").await;
    assert_eq!(copies(&down), [2_999, 2_998]);
    let run = world.ok(RUN).await;
    assert_eq!(run["dagbok"]["tasks"], total);
    let one = world.ok(&format!("{path}/m/2700")).await;
    assert_eq!((&one["map_index"], &one["state"]), (&2_700.into(), &Value::Null));
    let (status, _) = world.get(&format!("{path}/m/3000")).await;
    assert_eq!(status, 404);
    let (status, _) = world.get(&format!("{path}/a/0")).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn values_of_copies_come_in_pages() {
    let world = told().await;
    let path = format!("{RUN}/taskInstances/m/xcomEntries");
    let entries = |found: &Value| -> Vec<i64> {
        let all = found["xcom_entries"].as_array().unwrap();
        all.iter().map(|one| one["map_index"].as_i64().unwrap()).collect()
    };
    let found = world.ok(&format!("{path}?limit=2&offset=1500&order_by=map_index")).await;
    assert_eq!((&found["total_entries"], entries(&found)), (&2_000.into(), vec![1_500, 1_501]));
    let found = world.ok(&format!("{path}?map_index=7")).await;
    assert_eq!((&found["total_entries"], entries(&found)), (&1.into(), vec![7]));
    let value = world.ok(&format!("{path}/return_value?map_index=7")).await;
    assert_eq!(value["value"], 1);
}
