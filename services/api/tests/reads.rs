//! What the API shows of a story, in Airflow's shapes.

mod support;

use std::time::Duration;

use axum::http::StatusCode;
use dagbok_events::{
    BundlePublished, Fact, LogRef, LostWhy, MapIndex, Micros, PoolName, PoolSet, RuledOut,
    RunFailed, Scope, Timestamp, TryLost, encode_any,
};
use dagbok_protocol::{Presence, names::presence_key};
use dagbok_runtime::Clock;
use serde_json::{Value, json};
use support::{
    SOON, World, each,
    story::{FIRST, Story, digest, executor, key, nth, spec, task},
};

/// A chain of which `a` succeeds, `b` fails, is tried again and fails, and `c` is ruled out.
async fn told() -> World {
    let world = World::new().await;
    let story = &world.story;
    story.registered(spec("chain", &["a", "b", "c"]), 1).await;
    story.expected("chain", FIRST.plus(Micros::from_secs(86_400))).await;
    story.joined("exec-1").await;
    let run = key("chain", "one");
    story.created(&run).await;
    story.queued(&run, "a", 1).await;
    story.started(&run, "a", 1, "exec-1").await;
    let log = LogRef { digest: digest("log"), size: 3, lines: 1, dropped: 0, usage: None };
    let facts = vec![
        Story::pushed("a", 1, "return_value", Some(r#"{"rows": 3}"#)),
        Story::success("a", 1, Some(log)),
        Story::queueing("b", 1),
    ];
    story.in_run(&run, facts).await;
    story.started(&run, "b", 1, "exec-1").await;
    story.in_run(&run, vec![Story::failure("b", 1, Some(FIRST))]).await;
    story.queued(&run, "b", 2).await;
    story.started(&run, "b", 2, "exec-1").await;
    let failed = Fact::RunFailed(RunFailed { failed: vec![task("c")] });
    let facts =
        vec![Story::failure("b", 2, None), Story::ruled_out("c", RuledOut::UpstreamFailed), failed];
    story.in_run(&run, facts).await;
    world.settled().await;
    world
}

#[tokio::test]
async fn dags_are_listed_filtered_and_paged() {
    let world = told().await;
    for id in ["b_dag", "a_dag"] {
        let mut dag = spec(id, &["x"]);
        dag.tags = vec![id.to_owned()];
        world.story.registered(dag, 1).await;
    }
    world.settled().await;
    for (query, want) in [
        ("", vec!["a_dag", "b_dag", "chain"]),
        ("?order_by=-dag_id&limit=2", vec!["chain", "b_dag"]),
        ("?limit=1&offset=1", vec!["b_dag"]),
        ("?tags=a_dag&tags=nightly", vec!["a_dag", "chain"]),
        ("?tags=a_dag&tags=nightly&tags_match_mode=all", vec![]),
        ("?dag_id_pattern=_dag", vec!["a_dag", "b_dag"]),
        ("?dag_id_pattern=chai%25", vec!["chain"]),
        ("?paused=true", vec![]),
        ("?last_dag_run_state=failed", vec!["chain"]),
    ] {
        let list = world.ok(&format!("/api/v2/dags{query}")).await;
        assert_eq!(each(&list, "dags", "dag_id"), want, "{query}");
    }
    assert_eq!(world.ok("/api/v2/dags?limit=1").await["total_entries"], 3);

    let dag = world.ok("/api/v2/dags/chain").await;
    assert_eq!(dag["timetable_summary"], "@daily");
    assert_eq!(dag["next_dagrun_run_after"], "2026-01-02T00:00:00Z");
    assert_eq!(dag["owners"], json!(["ada", "grace"]));
    assert_eq!(dag["tags"][0]["name"], "nightly");
    assert_eq!(dag["dagbok"]["runs"], json!({ "failed": 1 }));
    assert_eq!(dag["dagbok"]["last_run"]["dag_run_id"], "one");
    let details = world.ok("/api/v2/dags/chain/details").await;
    assert_eq!(details["dag_run_timeout"], "PT1.5S");
    assert_eq!(details["params"], json!({ "depth": 3 }));
    assert_eq!(details["latest_dag_version"]["version_number"], 1);
    let versions = world.ok("/api/v2/dags/chain/dagVersions").await;
    assert_eq!(versions["total_entries"], 1);
}

#[tokio::test]
async fn tasks_have_airflows_fields() {
    let world = told().await;
    let tasks = world.ok("/api/v2/dags/chain/tasks").await;
    assert_eq!(each(&tasks, "tasks", "task_id"), ["a", "b", "c"]);
    let down = world.ok("/api/v2/dags/chain/tasks?order_by=-task_id").await;
    assert_eq!(each(&down, "tasks", "task_id"), ["c", "b", "a"]);
    let task = world.ok("/api/v2/dags/chain/tasks/b").await;
    assert_eq!(task["downstream_task_ids"], json!(["c"]));
    assert_eq!(task["dagbok"]["upstream_task_ids"], json!(["a"]));
    let want = json!({ "__type": "TimeDelta", "days": 1, "seconds": 3661, "microseconds": 0 });
    assert_eq!(task["retry_delay"], want);
    assert_eq!(task["trigger_rule"], "all_success");
    assert_eq!(world.get("/api/v2/dags/chain/tasks/nope").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_run_says_how_it_came_about_and_ended() {
    let world = told().await;
    let run = world.ok("/api/v2/dags/chain/dagRuns/one").await;
    for (field, want) in [
        ("state", json!("failed")),
        ("run_type", json!("manual")),
        ("triggered_by", json!("rest_api")),
        ("triggering_user_name", json!("ada")),
        ("note", json!("by hand")),
        ("conf", json!({ "depth": 4 })),
        ("logical_date", json!("2026-01-01T00:00:00Z")),
    ] {
        assert_eq!(run[field], want, "{field}");
    }
    let counts = json!({ "success": 1, "failed": 1, "upstream_failed": 1 });
    assert_eq!(run["dagbok"]["counts"], counts);
    // What failed itself; the fact names the leaf that took it over.
    assert_eq!(run["dagbok"]["failed_tasks"], json!(["b"]));
    assert_eq!(run["dagbok"]["ended"], "tasks");
    assert_eq!(run["dagbok"]["dagrun_timeout"], 1.5);
    assert_eq!(run["dag_versions"][0]["version_number"], 1);
}

#[tokio::test]
async fn a_try_that_was_lost_uses_up_none_that_are_allowed() {
    let world = told().await;
    let run = key("chain", "lossy");
    world.story.created(&run).await;
    for number in 1..=3 {
        world.story.queued(&run, "a", number).await;
        world.story.started(&run, "a", number, "exec-1").await;
        if number < 3 {
            let lost = TryLost {
                task_id: task("a"),
                map_index: MapIndex::UNMAPPED,
                try_number: nth(number),
                leg: dagbok_events::Leg::FIRST,
                executor: None,
                why: LostWhy::ExecutorGone,
                retry_at: Some(FIRST),
                usage: None,
                log: None,
            };
            world.story.in_run(&run, vec![Fact::TryLost(Box::new(lost))]).await;
        }
    }
    world.settled().await;
    let path = "/api/v2/dags/chain/dagRuns/lossy/taskInstances/a";
    let numbers = |task: &Value| (task["try_number"].as_u64(), task["max_tries"].as_u64());
    let (status, none) = world.get(&format!("{path}/7")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(none["detail"], "the task `a` has no copy 7 in this run: it has none");
    // One retry, and one for each of the two that were lost.
    assert_eq!(numbers(&world.ok(path).await), (Some(3), Some(3)));
    assert_eq!(numbers(&world.ok(&format!("{path}/tries/1")).await), (Some(1), Some(1)));
    assert_eq!(numbers(&world.ok(&format!("{path}/tries/2")).await), (Some(2), Some(2)));
}

#[tokio::test]
async fn runs_are_listed_over_dags_in_any_order() {
    let world = told().await;
    world.story.registered(spec("fan", &["x"]), 1).await;
    for id in ["two", "three"] {
        world.story.created(&key("fan", id)).await;
    }
    world.settled().await;
    for (path, want) in [
        ("fan/dagRuns", vec!["two", "three"]),
        ("fan/dagRuns?order_by=-id", vec!["three", "two"]),
        ("~/dagRuns", vec!["one", "two", "three"]),
        ("~/dagRuns?order_by=-id&limit=1&offset=1", vec!["two"]),
        ("~/dagRuns?order_by=run_id", vec!["one", "three", "two"]),
        ("~/dagRuns?state=running&order_by=-start_date", vec!["three", "two"]),
        ("~/dagRuns?state=running&state=failed", vec!["one", "two", "three"]),
        ("~/dagRuns?run_id_pattern=t", vec!["two", "three"]),
        // What is not over ends now, as in Airflow.
        ("~/dagRuns?end_date_gte=2020-01-01T00:00:00Z", vec!["one", "two", "three"]),
        ("~/dagRuns?end_date_gte=2999-01-01T00:00:00Z", vec![]),
        ("~/dagRuns?end_date_lt=2026-01-01T00:00:00Z", vec![]),
        ("~/dagRuns?run_after_lt=2026-01-01T00:00:00+00:00", vec![]),
    ] {
        let list = world.ok(&format!("/api/v2/dags/{path}")).await;
        assert_eq!(each(&list, "dag_runs", "dag_run_id"), want, "{path}");
    }
    assert_eq!(world.ok("/api/v2/dags/~/dagRuns?limit=1").await["total_entries"], 3);
    assert_eq!(world.get("/api/v2/dags/nope/dagRuns").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn task_instances_show_their_newest_try_and_all_others() {
    let world = told().await;
    let base = "/api/v2/dags/chain/dagRuns/one/taskInstances";
    let list = world.ok(base).await;
    assert_eq!(each(&list, "task_instances", "task_id"), ["a", "b", "c"]);
    assert_eq!(each(&list, "task_instances", "state"), ["success", "failed", "upstream_failed"]);
    assert_eq!(
        each(&world.ok(&format!("{base}?state=failed")).await, "task_instances", "task_id"),
        ["b"]
    );
    assert_eq!(
        each(&world.ok(&format!("{base}?try_number=0")).await, "task_instances", "task_id"),
        ["c"]
    );

    let a = world.ok(&format!("{base}/a")).await;
    assert_eq!(a["duration"], 2.5);
    assert_eq!((a["hostname"].as_str(), a["pid"].as_u64()), (Some("box"), Some(42)));
    assert_eq!(a["executor"], "exec-1");
    assert_eq!(a["dagbok"]["usage"]["max_rss_bytes"], 1 << 20);
    assert_eq!(a["dagbok"]["log"]["lines"], 1);
    assert_eq!(
        world.ok(&format!("{base}/a/-1")).await["id"],
        a["id"],
        "the id is the try's for ever"
    );

    let b = world.ok(&format!("{base}/b")).await;
    assert_eq!((b["try_number"].as_u64(), b["max_tries"].as_u64()), (Some(2), Some(1)));
    assert_eq!(b["dagbok"]["failure"]["exception"], "ZeroDivisionError");
    let tries = world.ok(&format!("{base}/b/tries")).await;
    assert_eq!(each(&tries, "task_instances", "state"), ["failed", "failed"]);
    let first = world.ok(&format!("{base}/b/tries/1")).await;
    assert_eq!(first["dagbok"]["retry_at"], "2026-01-01T00:00:00Z");

    for missing in ["nope", "b/7", "b/tries/3", "b/tries/0"] {
        assert_eq!(
            world.get(&format!("{base}/{missing}")).await.0,
            StatusCode::NOT_FOUND,
            "{missing}"
        );
    }
    let anywhere = world.ok("/api/v2/dags/~/dagRuns/~/taskInstances?state=success").await;
    assert_eq!(each(&anywhere, "task_instances", "task_id"), ["a"]);
}

#[tokio::test]
async fn tasks_without_a_state_are_shown_with_null() {
    let world = told().await;
    let run = key("chain", "two");
    world.story.created(&run).await;
    world.story.queued(&run, "a", 1).await;
    world.settled().await;
    let list = world.ok("/api/v2/dags/chain/dagRuns/two/taskInstances").await;
    assert_eq!(each(&list, "task_instances", "state"), ["queued", "null", "null"]);
    assert_eq!(list["task_instances"][1]["try_number"], 0);
    let run = world.ok("/api/v2/dags/chain/dagRuns/two").await;
    assert_eq!(run["dagbok"]["counts"], json!({ "queued": 1, "none": 2 }));
}

#[tokio::test]
async fn xcoms_are_found_and_forgotten_with_a_new_try() {
    let world = told().await;
    let base = "/api/v2/dags/chain/dagRuns/one/taskInstances/a/xcomEntries";
    assert_eq!(each(&world.ok(base).await, "xcom_entries", "key"), ["return_value"]);
    assert_eq!(world.ok(&format!("{base}/return_value")).await["value"], json!({ "rows": 3 }));
    let text = world.ok(&format!("{base}/return_value?stringify=true")).await;
    assert_eq!(text["value"], json!(r#"{"rows":3}"#));
    assert_eq!(world.get(&format!("{base}/nope")).await.0, StatusCode::NOT_FOUND);

    let run = key("chain", "two");
    world.story.created(&run).await;
    world.story.queued(&run, "a", 1).await;
    world
        .story
        .in_run(
            &run,
            vec![Story::pushed("a", 1, "k", Some("1")), Story::failure("a", 1, Some(FIRST))],
        )
        .await;
    world.story.queued(&run, "a", 2).await;
    world.settled().await;
    let path = "/api/v2/dags/chain/dagRuns/two/taskInstances/a/xcomEntries";
    assert_eq!(world.ok(path).await["total_entries"], 0);
}

#[tokio::test]
async fn import_errors_come_and_go() {
    let world = told().await;
    world.story.import_failed("broken.py").await;
    world.settled().await;
    let list = world.ok("/api/v2/importErrors").await;
    assert_eq!(each(&list, "import_errors", "filename"), ["broken.py"]);
    assert_eq!(list["import_errors"][0]["dagbok"]["line"], 3);
    let id = list["import_errors"][0]["import_error_id"].as_u64().unwrap();
    assert_eq!(world.ok(&format!("/api/v2/importErrors/{id}")).await["filename"], "broken.py");
    let recovered = dagbok_events::DagImportRecovered { removed: false };
    let scope = Scope::File("broken.py".to_owned());
    world.story.tell(scope, vec![Fact::DagImportRecovered(recovered)]).await;
    world.settled().await;
    assert_eq!(world.ok("/api/v2/importErrors").await["total_entries"], 0);
}

#[tokio::test]
async fn pools_count_what_is_held() {
    let world = told().await;
    let empty = world.ok("/api/v2/pools/default_pool").await;
    assert_eq!((empty["slots"].as_i64(), empty["open_slots"].as_i64()), (Some(128), Some(128)));
    let run = key("chain", "two");
    world.story.created(&run).await;
    world.story.queued(&run, "a", 1).await;
    world.story.queued(&run, "b", 1).await;
    world.story.started(&run, "a", 1, "exec-1").await;
    let pool = PoolName::new("gpu").unwrap();
    world
        .story
        .tell(
            Scope::Namespace,
            vec![Fact::PoolSet(PoolSet {
                pool,
                slots: 2,
                description: None,
                include_deferred: false,
            })],
        )
        .await;
    world.settled().await;
    let pools = world.ok("/api/v2/pools").await;
    assert_eq!(each(&pools, "pools", "name"), ["default_pool", "gpu"]);
    let held = &pools["pools"][0];
    for (field, want) in
        [("running_slots", 1), ("queued_slots", 1), ("occupied_slots", 2), ("open_slots", 126)]
    {
        assert_eq!(held[field], want, "{field}");
    }
    assert_eq!(world.get("/api/v2/pools/nope").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn executors_are_silent_until_they_show_themselves() {
    let world = told().await;
    let list = world.ok("/api/v2/dagbok/executors").await;
    assert_eq!(each(&list, "executors", "status"), ["silent"]);
    let presence = Presence {
        executor: executor("exec-1"),
        hostname: "box".to_owned(),
        slots: 8,
        queues: vec![],
        version: "0.1.0".to_owned(),
        python: String::new(),
        resources: dagbok_events::Resources::default(),
        isolation: String::new(),
        name: None,
        protocol: None,
        part_of: None,
        cordoned: false,
        stays: false,
        draining: false,
        beat: 1,
        lease_ms: None,
        at: Timestamp(1),
        holds: vec![],
    };
    let name = presence_key(&presence.executor);
    world.ports.state.put(&name, encode_any(&presence).into(), None).await.unwrap();
    let list = world.ok("/api/v2/dagbok/executors").await;
    assert_eq!(each(&list, "executors", "status"), ["alive"]);
    assert_eq!(world.ok("/api/v2/monitor/health").await["dagbok"]["executors"], 1);
}

#[tokio::test]
async fn health_and_version_answer_at_once() {
    let world = told().await;
    let health = world.ok("/api/v2/monitor/health").await;
    assert_eq!(health["metadatabase"]["status"], "healthy");
    assert_eq!(health["scheduler"]["status"], "unhealthy", "nobody holds the lease");
    assert_eq!(health["scheduler"]["latest_scheduler_heartbeat"], json!(null));
    let last = world.story.last().0;
    let want = json!({ "applied": last, "last": last, "rebuilding": false, "rebuilt_because": null, "failed": null });
    assert_eq!(health["dagbok"]["projection"], want);
    assert_eq!(world.ok("/api/v2/version").await["version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn a_scheduler_that_renews_its_lease_is_seen_to_live() {
    let world = World::new().await;
    let started = Clock::system().now();
    let renewed = async {
        loop {
            let (lease, holder) = (dagbok_protocol::names::SCHEDULER_LEASE, "me".into());
            world.ports.state.put(lease, holder, None).await.unwrap();
            let scheduler = world.ok("/api/v2/monitor/health").await["scheduler"].clone();
            assert_eq!(scheduler["status"], "healthy");
            let at = scheduler["latest_scheduler_heartbeat"].clone();
            if let Some(at) = serde_json::from_value::<Option<Timestamp>>(at).unwrap() {
                return at;
            }
            // The watch begins beside the first answers.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let seen = tokio::time::timeout(SOON, renewed).await.expect("it is seen in time");
    assert!(seen >= started && seen <= Clock::system().now(), "{seen}");
}

#[tokio::test]
async fn new_runs_get_the_published_bundle() {
    let world = told().await;
    let before = world.ok("/api/v2/dags/chain").await["bundle_version"].clone();
    let bundle = digest("new code");
    let fact = Fact::BundlePublished(BundlePublished { bundle: bundle.clone(), folder: None });
    world.story.tell(Scope::Namespace, vec![fact]).await;
    world.settled().await;
    let after = world.ok("/api/v2/dags/chain").await["bundle_version"].clone();
    assert_eq!(
        (before, after),
        (Value::from(digest("bundle").as_str()), Value::from(bundle.as_str()))
    );
}
