//! What people changed of a run's history, as the rows have it: who, why, and what was before.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod support;

use axum::http::StatusCode;
use dagbok_events::{
    Actor, Fact, MapIndex, RuledOut, RunCancelled, RunCleared, RunDeleted, RunFailed, RunMark,
    RunMarked, RunNoted, RunSucceeded, RunWas, Scope, TaskCleared, TaskMark, TaskMarked, TaskWas,
    TasksWere,
};
use serde_json::{Value, json};
use support::{
    World,
    story::{Story, key, spec, task},
};

const RUN: &str = "/api/v2/dags/chain/dagRuns/r1";
const CHANGES: &str = "/api/v2/dagbok/runs/chain/r1/changes";

/// A run whose first task failed and whose second was ruled out by it.
async fn failed() -> World {
    let world = World::new().await;
    world.story.registered(spec("chain", &["a", "b"]), 1).await;
    world.story.joined("exec-1").await;
    let run = key("chain", "r1");
    world.story.created(&run).await;
    world.story.queued(&run, "a", 1).await;
    world.story.started(&run, "a", 1, "exec-1").await;
    let ruled_out = Story::ruled_out("b", RuledOut::UpstreamFailed);
    let end = Fact::RunFailed(RunFailed { failed: vec![task("a")] });
    world.story.in_run(&run, vec![Story::failure("a", 1, None), ruled_out, end]).await;
    world
}

async fn by_ada(world: &World, reason: Option<&str>, facts: Vec<Fact>) {
    let ada = Actor::User("ada".to_owned());
    world.story.tell_as(ada, reason, Scope::Run(key("chain", "r1")), facts).await;
    world.settled().await;
}

fn were(state: TaskWas, count: u32) -> Vec<TasksWere> {
    vec![TasksWere { state, count }]
}

fn marked(id: &str, state: TaskMark, was: TaskWas) -> Fact {
    let map_index = MapIndex::UNMAPPED;
    Fact::TaskMarked(TaskMarked {
        task_id: task(id),
        map_index,
        further: 0,
        state,
        was: were(was, 1),
    })
}

fn cleared(id: &str, was: TaskWas) -> Fact {
    let map_index = MapIndex::UNMAPPED;
    Fact::TaskCleared(TaskCleared { task_id: task(id), map_index, further: 0, was: were(was, 1) })
}

fn run_marked(state: RunMark, was: RunWas) -> Fact {
    Fact::RunMarked(RunMarked { state, was, teardowns_left: false })
}

async fn changes(world: &World) -> Vec<Value> {
    world.ok(CHANGES).await["changes"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_mark_is_told_with_who_and_why_and_what_was_before() {
    let world = failed().await;
    assert_eq!(changes(&world).await, Vec::<Value>::new(), "what the rules did nobody changed");
    let facts = vec![
        Fact::RunCleared(RunCleared { was: Some(RunWas::Failed) }),
        marked("a", TaskMark::Success, TaskWas::Failed),
        cleared("b", TaskWas::UpstreamFailed),
    ];
    by_ada(&world, Some("mended by hand"), facts).await;
    let [change] = &changes(&world).await[..] else { panic!("one change") };
    assert_eq!(change["by"], "ada");
    assert_eq!(change["reason"], "mended by hand");
    assert_eq!((&change["run"], &change["was"]), (&json!("cleared"), &json!("failed")));
    let task = |id: &str, what: &str, was: &str| {
        let was = json!([{ "state": was, "count": 1 }]);
        json!({ "task_id": id, "map_index": -1, "further": 0, "change": what, "was": was })
    };
    let tasks = json!([task("a", "success", "failed"), task("b", "cleared", "upstream_failed")]);
    assert_eq!(change["tasks"], tasks);
    let of_a = world.ok(&format!("{RUN}/taskInstances/a")).await;
    assert_eq!(of_a["state"], "success");
    assert_eq!(of_a["try_number"], 1, "its try stays as it was");
    assert_eq!(world.ok(&format!("{RUN}/taskInstances/b")).await["state"], Value::Null);
    assert_eq!(world.ok(RUN).await["state"], "queued");
}

#[tokio::test]
async fn a_run_that_is_over_is_called_otherwise_and_stays_over_since_when_it_was() {
    let world = failed().await;
    world.settled().await;
    let before = world.ok(RUN).await;
    by_ada(&world, Some("it was well"), vec![run_marked(RunMark::Success, RunWas::Failed)]).await;
    let after = world.ok(RUN).await;
    assert_eq!((&after["state"], &after["dagbok"]["ended"]), (&json!("success"), &json!("marked")));
    assert_eq!(after["end_date"], before["end_date"]);
    assert_eq!(after["dagbok"]["ended_by"], "ada");
    assert_eq!(after["dagbok"]["counts"], before["dagbok"]["counts"], "its tasks stay");
    let [change] = &changes(&world).await[..] else { panic!("one change") };
    assert_eq!((&change["run"], &change["was"]), (&json!("success"), &json!("failed")));
    let listed = world.ok("/api/v2/dags/chain/dagRuns?state=success").await;
    assert_eq!(listed["total_entries"], 1, "lists find it by its state of now");
}

#[tokio::test]
async fn a_run_that_is_over_anew_in_one_record_was_never_queued() {
    let world = failed().await;
    world.settled().await;
    let before = world.ok(RUN).await;
    let facts = vec![
        Fact::RunCleared(RunCleared { was: Some(RunWas::Failed) }),
        marked("a", TaskMark::Success, TaskWas::Failed),
        marked("b", TaskMark::Success, TaskWas::UpstreamFailed),
        Fact::RunSucceeded(RunSucceeded {}),
    ];
    by_ada(&world, None, facts).await;
    let after = world.ok(RUN).await;
    assert_eq!(after["state"], "success");
    assert_eq!(after["start_date"], before["start_date"]);
}

#[tokio::test]
async fn notes_follow_each_other_and_the_conf_stays() {
    let world = failed().await;
    let noted = |note: Option<&str>, was: Option<&str>| {
        let (note, was) = (note.map(str::to_owned), was.map(str::to_owned));
        vec![Fact::RunNoted(RunNoted { note, was })]
    };
    by_ada(&world, None, noted(Some("odd"), Some("by hand"))).await;
    let run = world.ok(RUN).await;
    assert_eq!((&run["note"], &run["conf"]), (&json!("odd"), &json!({ "depth": 4 })));
    by_ada(&world, None, noted(None, Some("odd"))).await;
    let run = world.ok(RUN).await;
    assert_eq!((&run["note"], &run["conf"]), (&Value::Null, &json!({ "depth": 4 })));
    let told: Vec<Value> =
        changes(&world).await.iter().map(|it| json!([it["note"], it["note_was"]])).collect();
    assert_eq!(told, [json!(["odd", "by hand"]), json!([null, "odd"])]);
}

#[tokio::test]
async fn a_change_of_many_tasks_names_the_first_and_counts_the_rest() {
    let world = failed().await;
    let facts = (0..130).map(|_| cleared("b", TaskWas::UpstreamFailed)).collect();
    by_ada(&world, None, facts).await;
    let [change] = &changes(&world).await[..] else { panic!("one change") };
    assert_eq!((change["tasks"].as_array().unwrap().len(), &change["more"]), (100, &json!(30)));
}

#[tokio::test]
async fn changes_go_with_their_run() {
    let world = failed().await;
    let (was, teardowns_left) = (Some(RunWas::Running), false);
    let cancelled = Fact::RunCancelled(RunCancelled { teardowns_left, was });
    by_ada(&world, Some("too late"), vec![cancelled]).await;
    let [change] = &changes(&world).await[..] else { panic!("one change") };
    assert_eq!((&change["run"], &change["was"]), (&json!("cancelled"), &json!("running")));
    by_ada(&world, None, vec![Fact::RunDeleted(RunDeleted { logical_date: None, tries: 1 })]).await;
    assert_eq!(world.get(CHANGES).await.0, StatusCode::NOT_FOUND);
    world.story.created(&key("chain", "r1")).await;
    world.settled().await;
    assert_eq!(changes(&world).await, Vec::<Value>::new());
}
