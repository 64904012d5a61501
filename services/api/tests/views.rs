//! What views are sent that has to be right at the edges: what is held, what was cut, what is large, what is looked for.

mod support;

use dagbok_events::{
    Fact, Leg, MapIndex, Payload, PoolName, PoolSet, RunFailed, RunStarted, Scope, TriggerCall,
    TryDeferred, Usage,
};
use serde_json::{Value, json};
use support::{
    World, each,
    story::{FIRST, Story, key, nth, spec, task},
};

const UI: &str = "/api/v2/dagbok/ui";

fn deferral(id: &str) -> Fact {
    Fact::TryDeferred(Box::new(TryDeferred {
        task_id: task(id),
        map_index: MapIndex::UNMAPPED,
        try_number: nth(1),
        leg: Leg::FIRST,
        ended_at: FIRST,
        trigger: TriggerCall {
            class_path: "triggers.Wait".to_owned(),
            kwargs: Payload::Inline("{}".to_owned()),
        },
        next_method: "go_on".to_owned(),
        next_kwargs: None,
        timeout_at: None,
        ask: None,
        usage: Usage::default(),
        log: None,
    }))
}

#[tokio::test]
async fn what_waits_for_a_trigger_holds_slots_only_of_a_pool_that_says_so() {
    let world = World::new().await;
    world.story.registered(spec("chain", &["a"]), 1).await;
    world.story.joined("exec-1").await;
    let run = key("chain", "one");
    world.story.created(&run).await;
    world.story.queued(&run, "a", 1).await;
    world.story.started(&run, "a", 1, "exec-1").await;
    world.story.in_run(&run, vec![deferral("a")]).await;
    for include_deferred in [false, true] {
        let pool = PoolName::new("default_pool").unwrap();
        let set = PoolSet { pool, slots: 4, description: None, include_deferred };
        world.story.tell(Scope::Namespace, vec![Fact::PoolSet(set)]).await;
        world.settled().await;
        let all = world.ok(&format!("{UI}/pools")).await;
        let pool = &all["pools"][0];
        let open = 4 - i64::from(include_deferred);
        assert_eq!(pool["deferred"], json!(1));
        assert_eq!(
            (&pool["holder_count"], &pool["open"]),
            (&json!(usize::from(include_deferred)), &json!(open)),
            "who holds slots is who is counted: {pool}"
        );
    }
}

/// More rows than are looked through.
const MANY: usize = 20_004;

#[tokio::test]
async fn what_is_cut_is_said_to_be_and_nothing_begun_is_said_not_to_have() {
    let world = World::new().await;
    let names: Vec<String> = (0..MANY).map(|n| format!("t{n:05}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut big = spec("big", &names);
    big.tasks.iter_mut().for_each(|task| task.upstream.clear());
    world.story.registered(big, 1).await;
    let run = key("big", "one");
    world.story.created(&run).await;
    for part in names.chunks(5_001) {
        let facts = part.iter().map(|name| Story::queueing(name, 1)).collect();
        world.story.in_run(&run, facts).await;
    }
    world.settled().await;
    let all = world.ok(&format!("{UI}/pools")).await;
    let pool = &all["pools"][0];
    assert_eq!((&all["complete"], &pool["queued"]), (&json!(false), &json!(MANY)));
    assert_eq!(pool["to_come_count"], json!(0), "all have begun, those that were not read too");
    assert!(pool["holder_count"].as_u64().unwrap() < MANY as u64);

    let dag = world.ok(&format!("{UI}/dags/big")).await;
    let cells = |dag: &Value| dag["columns"]["one"]["cells"].as_str().unwrap().to_owned();
    assert_eq!(cells(&dag), "21".repeat(MANY));
    world.story.joined("exec-1").await;
    world.story.started(&run, "t00001", 1, "exec-1").await;
    world.settled().await;
    let dag = world.ok(&format!("{UI}/dags/big")).await;
    assert_eq!(&cells(&dag)[..6], "213121", "what is kept of a column is not kept too long");
}

#[tokio::test]
async fn runs_are_found_by_what_they_were_given() {
    let world = World::new().await;
    world.story.registered(spec("chain", &["a"]), 1).await;
    let given = [
        ("half", r#"{"lr": 0.5, "loss": "bpr"}"#),
        ("whole", r#"{ "lr" : 1.0, "loss": "1" }"#),
        ("none", "{}"),
    ];
    for (id, conf) in given {
        let facts = vec![Story::creation(Some(conf)), Fact::RunStarted(RunStarted {})];
        world.story.in_run(&key("chain", id), facts).await;
    }
    let failed = Fact::RunFailed(RunFailed { failed: Vec::new() });
    world.story.in_run(&key("chain", "whole"), vec![failed]).await;
    world.settled().await;
    for (query, found) in [
        ("conf=lr%3D0.5", vec!["half"]),
        ("conf=lr%3D1", vec!["whole"]),
        ("conf=loss%3D1", vec!["whole"]),
        ("conf=loss%3Dbpr&conf=lr%3D0.50", vec!["half"]),
        ("conf=loss%3Dbpr&conf=lr%3D1", vec![]),
        ("conf=lr%3D1&state=failed&dag_id_pattern=ch%25", vec!["whole"]),
        ("conf=lr%3D1&state=running", vec![]),
    ] {
        let runs = world.ok(&format!("/api/v2/dags/~/dagRuns?{query}")).await;
        assert_eq!(each(&runs, "dag_runs", "dag_run_id"), found, "{query}");
        assert_eq!(runs["total_entries"], json!(found.len()));
    }
    let (status, _) = world.get("/api/v2/dags/~/dagRuns?conf=lr").await;
    assert_eq!(status, 422, "a param without a value is no question");
}

#[tokio::test]
async fn a_file_that_is_not_kept_is_said_not_to_be() {
    let world = World::new().await;
    world.story.registered(spec("chain", &["a"]), 1).await;
    world.story.registered(spec("chain", &["a", "b"]), 2).await;
    world.settled().await;
    let code = world.ok(&format!("{UI}/dags/chain/code")).await;
    assert_eq!((&code["version"], &code["file"]), (&json!(2), &json!("chain.py")));
    assert_eq!(code["content"], Value::Null, "no archive was published");
    assert_eq!(code["versions"].as_array().unwrap().len(), 2);
    let older = world.ok(&format!("{UI}/dags/chain/code?version=1")).await;
    assert_eq!(older["version"], json!(1));
    let other = world.ok(&format!("{UI}/dags/chain/code?file=lib/other.py&text=false")).await;
    assert_eq!((&other["file"], &other["line"]), (&json!("lib/other.py"), &json!(0)));
    for (path, status) in [
        ("dagSources/chain", 404),
        ("dagSources/chain?version_number=9", 404),
        ("dagbok/ui/dags/chain/code?version=9", 404),
        ("dagbok/ui/dags/chain/code?run_id=none", 404),
        ("dagbok/ui/dags/chain/code?file=keys.env", 422),
    ] {
        assert_eq!(world.get(&format!("/api/v2/{path}")).await.0, status, "{path}");
    }
}

#[tokio::test]
async fn executors_come_in_pages_and_none_is_out_of_reach() {
    let world = World::new().await;
    for n in 0..205 {
        world.story.joined(&format!("exec-{n:03}")).await;
    }
    world.settled().await;
    let page = async |query: &str| {
        let page = world.ok(&format!("{UI}/executors{query}")).await;
        (each(&page, "executors", "executor").len(), page["offset"].clone(), page["total"].clone())
    };
    assert_eq!(page("").await, (200, json!(0), json!(205)));
    assert_eq!(page("?offset=200").await, (5, json!(200), json!(205)));
    assert_eq!(page("?offset=400").await, (0, json!(400), json!(205)));
}
