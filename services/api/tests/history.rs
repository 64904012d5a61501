//! What people changed of a run's history, as the rows have it: who, why, and what was before.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod support;

use axum::http::StatusCode;
use dagbok_events::{
    Actor, Expand, Fact, MapIndex, RuledOut, RunCancelled, RunCleared, RunDeleted, RunFailed,
    RunMark, RunMarked, RunNoted, RunSucceeded, RunVersionChanged, RunWas, Scope, TaskCleared,
    TaskExpanded, TaskGone, TaskMark, TaskMarked, TaskNoted, TaskWas, TasksWere,
};
use serde_json::{Value, json};
use support::{
    World,
    story::{Story, digest, key, spec, task},
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
        Fact::RunCleared(RunCleared {
            was: Some(RunWas::Failed),
            ended: false,
            xcoms_kept_until: None,
        }),
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
        Fact::RunCleared(RunCleared {
            was: Some(RunWas::Failed),
            ended: false,
            xcoms_kept_until: None,
        }),
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
    by_ada(
        &world,
        None,
        vec![Fact::RunDeleted(RunDeleted { logical_date: None, tries: 1, ends: 0 })],
    )
    .await;
    assert_eq!(world.get(CHANGES).await.0, StatusCode::NOT_FOUND);
    world.story.created(&key("chain", "r1")).await;
    world.settled().await;
    assert_eq!(changes(&world).await, Vec::<Value>::new());
}

/// That a run goes on with another version.
fn version(to: u32, added: &[&str], removed: &[(&str, i32, u32)]) -> Vec<Fact> {
    let gone = |(id, first, further): &(&str, i32, u32)| TaskGone {
        task_id: task(id),
        map_index: MapIndex(*first),
        further: *further,
        was: were(TaskWas::Success, further + 1),
    };
    let fact = RunVersionChanged {
        version: to,
        bundle: digest(&format!("code {to}")),
        was: to - 1,
        bundle_was: digest("code"),
        added: added.iter().map(|id| task(id)).collect(),
        removed: removed.iter().map(gone).collect(),
        ends: 1,
    };
    let cleared = Fact::RunCleared(RunCleared {
        was: Some(RunWas::Failed),
        ended: false,
        xcoms_kept_until: None,
    });
    vec![Fact::RunVersionChanged(Box::new(fact)), cleared]
}

async fn over(world: &World) {
    by_ada(world, None, vec![Fact::RunFailed(RunFailed { failed: vec![] })]).await;
}

/// The tasks of the run as lists have them: which, in which state, of which version.
async fn instances(world: &World, query: &str) -> Vec<(String, i64, Value, u64)> {
    let found = world.ok(&format!("{RUN}/taskInstances{query}")).await;
    let all = found["task_instances"].as_array().unwrap().clone();
    assert_eq!(found["total_entries"], all.len(), "{found}");
    let one = |it: &Value| {
        let version = it["dag_version"]["version_number"].as_u64().unwrap();
        let task_id = it["task_id"].as_str().unwrap().to_owned();
        (task_id, it["map_index"].as_i64().unwrap(), it["state"].clone(), version)
    };
    all.iter().map(one).collect()
}

fn row(id: &str, map_index: i64, state: Value, version: u64) -> (String, i64, Value, u64) {
    (id.to_owned(), map_index, state, version)
}

#[tokio::test]
async fn a_run_that_goes_on_with_another_version_shows_what_is_gone_last() {
    let world = failed().await;
    world.story.registered(spec("chain", &["a", "x"]), 2).await;
    let mut facts = version(2, &["x"], &[("b", -1, 0)]);
    facts.push(cleared("a", TaskWas::Failed));
    by_ada(&world, Some("mended"), facts).await;
    let (none, gone) = (Value::Null, json!("removed"));
    let all = vec![
        row("a", -1, none.clone(), 2),
        row("x", -1, none.clone(), 2),
        row("b", -1, gone.clone(), 1),
    ];
    assert_eq!(instances(&world, "").await, all);
    assert_eq!(instances(&world, "?state=removed").await, all[2..]);
    assert_eq!(
        instances(&world, "?order_by=task_id").await,
        [&all[..1], &all[2..], &all[1..2]].concat()
    );
    let run = world.ok(RUN).await;
    assert_eq!(run["dagbok"]["tasks"], 3);
    assert_eq!(run["dagbok"]["counts"], json!({ "none": 2, "removed": 1 }));
    assert_eq!(run["bundle_version"], digest("code 2").to_string());
    assert_eq!(run["dag_versions"][0]["version_number"], 2);
    let of_b = world.ok(&format!("{RUN}/taskInstances/b")).await;
    assert_eq!(of_b["operator"], "PythonOperator", "as the last version had it that had it");
    let tries = world.ok(&format!("{RUN}/taskInstances/a/tries")).await;
    assert_eq!(tries["task_instances"][0]["dag_version"]["version_number"], 1);
    let [change] = &changes(&world).await[..] else { panic!("one change") };
    assert_eq!((&change["version_was"], &change["version"]), (&json!(1), &json!(2)));
    let said = change["tasks"].as_array().unwrap().iter();
    let said: Vec<_> = said.map(|it| json!([it["task_id"], it["change"]])).collect();
    assert_eq!(said, [json!(["b", "removed"]), json!(["x", "added"]), json!(["a", "cleared"])]);
    // What is there again waits as one that was cleared, with the tries that it had.
    over(&world).await;
    world.story.registered(spec("chain", &["a", "b"]), 3).await;
    by_ada(&world, None, version(3, &["b"], &[("x", -1, 0)])).await;
    let all = [row("a", -1, none.clone(), 3), row("b", -1, none, 3), row("x", -1, gone, 2)];
    assert_eq!(instances(&world, "").await, all);
    assert_eq!(world.ok(RUN).await["dagbok"]["tasks"], 3);
}

#[tokio::test]
async fn copies_that_are_gone_stay_until_there_are_others_of_their_index() {
    let world = failed().await;
    let mapped = |mapped: bool| {
        let mut spec = spec("chain", &["a", "b"]);
        spec.tasks[1].expand = mapped.then_some(Expand::Literal { length: 3 });
        spec
    };
    world.story.registered(mapped(true), 2).await;
    by_ada(&world, None, version(2, &["b"], &[("b", -1, 0)])).await;
    let expanded = |length| Fact::TaskExpanded(TaskExpanded { task_id: task("b"), length });
    assert_eq!(
        world.ok(RUN).await["dagbok"]["tasks"],
        2,
        "what waits has the place of what is gone"
    );
    let ruled_out = |map: i32, further| {
        let Fact::TaskRuledOut(fact) = Story::ruled_out("b", RuledOut::Skipped) else { panic!() };
        let map_index = MapIndex(map);
        Fact::TaskRuledOut(dagbok_events::TaskRuledOut { map_index, further, ..fact })
    };
    by_ada(&world, None, vec![expanded(3), ruled_out(0, 2)]).await;
    let (gone, skipped) = (json!("removed"), json!("skipped"));
    let copy = |at: i64, state: &Value, version| row("b", at, state.clone(), version);
    let a = row("a", -1, json!("failed"), 2);
    let all =
        [a, copy(0, &skipped, 2), copy(1, &skipped, 2), copy(2, &skipped, 2), copy(-1, &gone, 1)];
    assert_eq!(instances(&world, "").await, all);
    assert_eq!(world.ok(RUN).await["dagbok"]["counts"]["removed"], 1);
    over(&world).await;
    world.story.registered(mapped(false), 3).await;
    by_ada(&world, None, version(3, &["b"], &[("b", 0, 2)])).await;
    let a = row("a", -1, json!("failed"), 3);
    let all =
        [a, copy(-1, &Value::Null, 3), copy(0, &gone, 2), copy(1, &gone, 2), copy(2, &gone, 2)];
    assert_eq!(instances(&world, "").await, all);
    over(&world).await;
    world.story.registered(mapped(true), 4).await;
    let mut facts = version(4, &["b"], &[("b", -1, 0)]);
    facts.push(expanded(2));
    by_ada(&world, None, facts).await;
    let a = row("a", -1, json!("failed"), 4);
    let none = Value::Null;
    let all = [a, copy(0, &none, 4), copy(1, &none, 4), copy(-1, &gone, 3), copy(2, &gone, 2)];
    assert_eq!(instances(&world, "").await, all);
    let run = world.ok(RUN).await;
    assert_eq!(run["dagbok"]["counts"], json!({ "failed": 1, "none": 2, "removed": 2 }));
    assert_eq!(run["dagbok"]["tasks"], 5);
}

#[tokio::test]
async fn after_several_versions_what_is_gone_stands_in_order_and_what_is_back_is_not_removed() {
    let world = failed().await;
    let with_b = |expand: Option<Expand>, to| {
        let mut spec = spec("chain", &["a", "b"]);
        spec.tasks[1].expand = expand;
        world.story.registered(spec, to)
    };
    let mapped = || Some(Expand::Product { of: vec![] });
    let without = |to| world.story.registered(spec("chain", &["a"]), to);
    let then = |to, added: &[&str], removed: &[(&str, i32, u32)], more: Vec<Fact>| {
        by_ada(&world, None, [version(to, added, removed), more].concat())
    };
    let expanded = |length| vec![Fact::TaskExpanded(TaskExpanded { task_id: task("b"), length })];
    let (gone, none) = (json!("removed"), Value::Null);
    let b = |at: i64, state: &Value, version| row("b", at, state.clone(), version);
    let a = |version| row("a", -1, json!("failed"), version);

    // While it waits for copies it has the place of the one without an index that is gone, and is not removed.
    with_b(mapped(), 2).await;
    then(2, &["b"], &[("b", -1, 0)], vec![]).await;
    assert_eq!(instances(&world, "").await, [a(2), b(-1, &none, 2)]);
    by_ada(&world, None, vec![Story::ruled_out("b", RuledOut::UpstreamFailed)]).await;
    by_ada(&world, None, vec![cleared("b", TaskWas::UpstreamFailed)]).await;
    by_ada(&world, None, expanded(3)).await;
    let all = [a(2), b(0, &none, 2), b(1, &none, 2), b(2, &none, 2), b(-1, &gone, 1)];
    assert_eq!(instances(&world, "").await, all);
    let single = world.ok(&format!("{RUN}/taskInstances/b/-1")).await;
    assert_eq!(single["dagbok"]["message"], "version 2 of the DAG does not have it");
    // It goes with three copies, is back with two, and goes with those: in order of their indexes.
    over(&world).await;
    without(3).await;
    then(3, &[], &[("b", 0, 2)], vec![]).await;
    over(&world).await;
    with_b(mapped(), 4).await;
    then(4, &["b"], &[], expanded(2)).await;
    over(&world).await;
    without(5).await;
    then(5, &[], &[("b", 0, 1)], vec![]).await;
    let all = [a(5), b(-1, &gone, 1), b(0, &gone, 4), b(1, &gone, 4), b(2, &gone, 2)];
    assert_eq!(instances(&world, "").await, all);
    assert_eq!(instances(&world, "?order_by=map_index").await[1..], all[1..]);
    // All of them are back, whichever version had them.
    over(&world).await;
    with_b(mapped(), 6).await;
    then(6, &["b"], &[], expanded(3)).await;
    let all = [a(6), b(0, &none, 6), b(1, &none, 6), b(2, &none, 6), b(-1, &gone, 1)];
    assert_eq!(instances(&world, "").await, all);
    // A fact that names fewer copies takes none back, as by the rules.
    by_ada(&world, None, expanded(1)).await;
    assert_eq!(instances(&world, "").await, all);
    assert_eq!(world.ok(RUN).await["dagbok"]["tasks"], 5);
}

#[tokio::test]
async fn what_waited_for_copies_in_the_place_of_what_is_gone_keeps_its_end() {
    let world = failed().await;
    let mut mapped = spec("chain", &["a", "b"]);
    mapped.tasks[1].expand = Some(Expand::Product { of: vec![] });
    world.story.registered(mapped, 2).await;
    by_ada(&world, None, version(2, &["b"], &[("b", -1, 0)])).await;
    by_ada(&world, None, vec![Story::ruled_out("b", RuledOut::Skipped)]).await;
    over(&world).await;
    // Without copies it is the same task for the rules.
    world.story.registered(spec("chain", &["a", "b"]), 3).await;
    by_ada(&world, None, version(3, &[], &[])).await;
    let all = [row("a", -1, json!("failed"), 3), row("b", -1, json!("skipped"), 3)];
    assert_eq!(instances(&world, "").await, all);
}

#[tokio::test]
async fn notes_on_tasks_stay_with_them_and_are_told() {
    let world = failed().await;
    let noted = |id: &str, note: Option<&str>, was: Option<&str>| {
        let (note, was) = (note.map(str::to_owned), was.map(str::to_owned));
        let map_index = MapIndex::UNMAPPED;
        Fact::TaskNoted(TaskNoted { task_id: task(id), map_index, note, was })
    };
    by_ada(&world, None, vec![noted("a", Some("odd"), None)]).await;
    let of_a = world.ok(&format!("{RUN}/taskInstances/a")).await;
    assert_eq!((&of_a["note"], &of_a["state"]), (&json!("odd"), &json!("failed")));
    by_ada(&world, None, vec![noted("a", None, Some("odd"))]).await;
    let of_a = world.ok(&format!("{RUN}/taskInstances/a")).await;
    assert_eq!((&of_a["note"], &of_a["try_number"]), (&Value::Null, &json!(1)));
    let last = changes(&world).await.pop().unwrap();
    let said = &last["tasks"][0];
    assert_eq!((&said["change"], &said["note_was"]), (&json!("noted"), &json!("odd")));
}
