//! What is asked for goes to the scheduler, and its word comes back in Airflow's shape.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod support;

use std::sync::Arc;

use axum::http::StatusCode;
use dagbok_events::{
    Actor, DagPaused, Fact, PoolDeleted, PoolSet, RunCancelled, RunId, RunMark, RunMarked,
    RunNoted, RunStarted, RunWas, Scope, decode_any, encode_any,
};
use dagbok_protocol::{Answer, Command, CommandBody, PoolIs, Refusal, RefusalCode, names::INBOX};
use dagbok_runlog::QueueSettings;
use serde_json::{Value, json};
use support::{
    SOON, World,
    story::{Story, key, spec},
};

/// A scheduler that does as it is told, in the order that it is told.
async fn schedule(world: &Arc<World>) {
    let inbox = world.ports.queues.open(INBOX, QueueSettings { lease: SOON }).await.unwrap();
    let world = Arc::clone(world);
    tokio::spawn(async move {
        loop {
            for item in inbox.pull(8, SOON).await.unwrap() {
                let command: Command = decode_any(&item.payload).unwrap();
                let answer = decided(&world, &command).await;
                item.handle.ack().await.unwrap();
                if let Some(subject) = command.reply_to {
                    world
                        .ports
                        .signals
                        .publish(&subject, encode_any(&answer).into())
                        .await
                        .unwrap();
                }
            }
        }
    });
}

async fn decided(world: &World, command: &Command) -> Answer {
    let refuse =
        |code, message: &str| Answer::Refused(Refusal { code, message: message.to_owned() });
    let (scope, facts, run_id) = match &command.body {
        CommandBody::TriggerRun(trigger) => match trigger.run_id.as_ref().map(RunId::as_str) {
            Some("taken") => {
                return refuse(RefusalCode::RunAlreadyExists, "the run `taken` exists");
            }
            _ if trigger.dag_id.as_str() != "chain" => {
                return refuse(RefusalCode::DagNotFound, "no such DAG");
            }
            asked => {
                let run = key("chain", asked.unwrap_or("made"));
                let facts =
                    vec![Story::creation(trigger.conf.as_deref()), Fact::RunStarted(RunStarted {})];
                (Scope::Run(run.clone()), facts, Some(run.run_id))
            }
        },
        CommandBody::CancelRun { run_id, .. } if run_id.as_str() == "over" => {
            return refuse(RefusalCode::RunOver, "the run is over");
        }
        CommandBody::MarkRun { run_id, .. } if run_id.as_str() == "over" => {
            return refuse(RefusalCode::RunNotFound, "there is no run `over`");
        }
        // As the rules have it of a run that goes on.
        CommandBody::CancelRun { dag_id, run_id }
        | CommandBody::MarkRun { dag_id, run_id, state: RunMark::Failed } => {
            let run = key(dag_id.as_str(), run_id.as_str());
            (Scope::Run(run), vec![Fact::RunCancelled(RunCancelled::default())], None)
        }
        CommandBody::MarkRun { dag_id, run_id, state } => {
            let run = key(dag_id.as_str(), run_id.as_str());
            let marked = RunMarked { state: *state, was: RunWas::Failed, teardowns_left: false };
            (Scope::Run(run), vec![Fact::RunMarked(marked)], None)
        }
        CommandBody::NoteRun { dag_id, run_id, note } => {
            let run = key(dag_id.as_str(), run_id.as_str());
            let noted = RunNoted { note: note.clone(), was: None };
            (Scope::Run(run), vec![Fact::RunNoted(noted)], None)
        }
        CommandBody::PauseDag { dag_id } => {
            (Scope::Dag(dag_id.clone()), vec![Fact::DagPaused(DagPaused::default())], None)
        }
        CommandBody::UnpauseDag { .. } => return Answer::Unchanged,
        CommandBody::SetPool(ask)
            if ask.only == Some(PoolIs::Missing) && ask.pool.as_str() == "taken" =>
        {
            return refuse(RefusalCode::PoolAlreadyExists, "there is a pool `taken` already");
        }
        CommandBody::SetPool(ask) if ask.pool.as_str() == "nope" => {
            return refuse(RefusalCode::PoolNotFound, "there is no pool `nope`");
        }
        CommandBody::SetPool(ask) => {
            let set = PoolSet {
                pool: ask.pool.clone(),
                slots: ask.slots.unwrap_or(7),
                description: ask.description.clone().filter(|text| !text.is_empty()),
                include_deferred: ask.include_deferred.unwrap_or(false),
            };
            (Scope::Namespace, vec![Fact::PoolSet(set)], None)
        }
        CommandBody::DeletePool { pool } => {
            let gone = PoolDeleted { pool: pool.clone() };
            (Scope::Namespace, vec![Fact::PoolDeleted(gone)], None)
        }
        other => panic!("not asked for here: {other:?}"),
    };
    let seq =
        world.story.tell_as(command.by.clone(), command.reason.as_deref(), scope, facts).await;
    Answer::Accepted { seq: seq.0, run_id }
}

async fn scheduled() -> Arc<World> {
    let world = Arc::new(World::new().await);
    world.story.registered(spec("chain", &["a"]), 1).await;
    world.settled().await;
    schedule(&world).await;
    world
}

const RUNS: &str = "/api/v2/dags/chain/dagRuns";

#[tokio::test]
async fn a_trigger_answers_with_the_run_that_it_made() {
    let world = scheduled().await;
    let body = json!({ "dag_run_id": "r1", "logical_date": null, "conf": { "depth": 9 }, "note": "hello" });
    let (status, run) = world.body("POST", RUNS, &body).await;
    assert_eq!(status, StatusCode::OK, "{run}");
    assert_eq!((run["dag_run_id"].as_str(), run["state"].as_str()), (Some("r1"), Some("running")));
    assert_eq!(run["conf"], json!({ "depth": 9 }));
    assert_eq!(run["triggering_user_name"], "ada");
    let (_, run) =
        world.body("POST", RUNS, &json!({ "logical_date": "2026-01-01T02:00:00+02:00" })).await;
    assert_eq!(run["dag_run_id"], "made");
}

fn places(answer: &Value) -> Vec<String> {
    let problems = answer["detail"].as_array().expect("a list of what is wrong");
    let place = |problem: &Value| {
        let parts =
            problem["loc"].as_array().unwrap().iter().map(|part| part.as_str().unwrap().to_owned());
        parts.collect::<Vec<_>>().join(".")
    };
    problems.iter().map(place).collect()
}

#[tokio::test]
async fn a_trigger_that_breaks_a_rule_is_422() {
    let world = scheduled().await;
    for (body, want) in [
        (json!({}), "body"),
        (json!({ "logical_date": null, "run_idd": "typo" }), "body.run_idd"),
        (json!({ "logical_date": "2026-01-01T00:00:00" }), "body.logical_date"),
        (json!({ "logical_date": "yesterday" }), "body.logical_date"),
        (json!({ "logical_date": null, "dag_run_id": "no blanks" }), "body.dag_run_id"),
        (json!({ "logical_date": null, "conf": [1] }), "body.conf"),
        (json!({ "logical_date": null, "note": "n".repeat(5_000) }), "body.note"),
        (json!({ "logical_date": null, "run_after": "2026-01-01T00:00:00Z" }), "body.run_after"),
    ] {
        let (status, answer) = world.body("POST", RUNS, &body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}: {answer}");
        assert_eq!(places(&answer), [want], "{body}");
    }
    assert_eq!(world.ok(RUNS).await["total_entries"], 0, "nothing was made");
}

#[tokio::test]
async fn refusals_have_airflows_statuses() {
    let world = scheduled().await;
    let trigger = json!({ "logical_date": null, "dag_run_id": "taken" });
    let (status, answer) = world.body("POST", RUNS, &trigger).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(answer["detail"]["reason"], "Unique constraint violation");
    assert_eq!(answer["detail"]["message"], "the run `taken` exists");
    let (status, answer) = world.body("POST", "/api/v2/dags/nope/dagRuns", &trigger_of("x")).await;
    assert_eq!((status, &answer["detail"]), (StatusCode::NOT_FOUND, &json!("no such DAG")));
    let (status, _) = world.body("POST", "/api/v2/dagbok/runs/chain/over/cancel", &json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let (status, _) =
        world.body("PATCH", &format!("{RUNS}/over"), &json!({ "state": "failed" })).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _) = world.body("POST", "/api/v2/dags/bad%20id/dagRuns", &trigger_of("x")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

fn trigger_of(run_id: &str) -> Value {
    json!({ "logical_date": null, "dag_run_id": run_id })
}

#[tokio::test]
async fn a_run_is_ended_with_a_reason() {
    let world = scheduled().await;
    world.body("POST", RUNS, &trigger_of("r1")).await;
    let path = "/api/v2/dagbok/runs/chain/r1/cancel";
    let (status, run) = world.body("POST", path, &json!({ "reason": "wrong data" })).await;
    assert_eq!((status, run["state"].as_str()), (StatusCode::OK, Some("failed")), "{run}");
    assert_eq!(run["dagbok"]["ended"], "cancelled");
    assert_eq!(
        (run["dagbok"]["ended_by"].as_str(), run["dagbok"]["reason"].as_str()),
        (Some("ada"), Some("wrong data"))
    );

    world.body("POST", RUNS, &trigger_of("r2")).await;
    let (status, run) =
        world.body("PATCH", &format!("{RUNS}/r2"), &json!({ "state": "failed" })).await;
    assert_eq!((status, run["state"].as_str()), (StatusCode::OK, Some("failed")));
    assert_eq!(run["dagbok"]["ended"], "cancelled", "what is not over is cancelled");
    let body = json!({ "state": "success", "note": "it was well" });
    let (status, run) = world.body("PATCH", &format!("{RUNS}/r2"), &body).await;
    assert_eq!((status, run["state"].as_str()), (StatusCode::OK, Some("success")), "{run}");
    assert_eq!(
        (run["note"].as_str(), &run["dagbok"]["ended"]),
        (Some("it was well"), &json!("marked"))
    );
    let (_, run) = world.body("PATCH", &format!("{RUNS}/r2"), &json!({ "note": null })).await;
    assert_eq!((&run["note"], run["state"].as_str()), (&Value::Null, Some("success")));
    let mark = json!({ "state": "failed", "reason": "it was not" });
    let (status, run) = world.body("POST", "/api/v2/dagbok/runs/chain/r2/mark", &mark).await;
    assert_eq!((status, run["state"].as_str()), (StatusCode::OK, Some("failed")), "{run}");
    assert_eq!(run["dagbok"]["reason"], "it was not");
    for (body, want) in [
        (json!({ "state": "sideways" }), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({ "stat": "failed" }), StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        assert_eq!(world.body("PATCH", &format!("{RUNS}/r2"), &body).await.0, want, "{body}");
    }
}

#[tokio::test]
async fn a_dag_is_paused() {
    let world = scheduled().await;
    let (status, dag) =
        world.body("PATCH", "/api/v2/dags/chain", &json!({ "is_paused": true })).await;
    assert_eq!((status, dag["is_paused"].as_bool()), (StatusCode::OK, Some(true)));
    let (status, _) =
        world.body("PATCH", "/api/v2/dags/chain", &json!({ "is_paused": false })).await;
    assert_eq!(status, StatusCode::OK, "what is so already is no error");
    let masked = "/api/v2/dags/chain?update_mask=description";
    assert_eq!(
        world.body("PATCH", masked, &json!({ "is_paused": true })).await.0,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn silence_is_504_and_names_the_command() {
    let world = World::new().await;
    world.story.registered(spec("chain", &["a"]), 1).await;
    world.settled().await;
    let (status, answer) = world.body("POST", RUNS, &trigger_of("r1")).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
    let inbox = world.ports.queues.open(INBOX, QueueSettings { lease: SOON }).await.unwrap();
    let kept = inbox.pull(1, SOON).await.unwrap();
    assert_eq!(
        answer["detail"]["command_id"], kept[0].key,
        "the command is kept under the id that is named"
    );
    let command: Command = decode_any(&kept[0].payload).unwrap();
    assert_eq!(command.by, Actor::User("ada".to_owned()));
}

#[tokio::test]
async fn waiting_ends_with_the_run() {
    let world = scheduled().await;
    world.body("POST", RUNS, &trigger_of("r1")).await;
    let wait = "/api/v2/dagbok/runs/chain/r1/wait";
    let early = world.ok(&format!("{wait}?timeout=0.05")).await;
    assert_eq!(
        (early["finished"].as_bool(), early["dag_run"]["state"].as_str()),
        (Some(false), Some("running"))
    );
    let waits = {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.ok(&format!("{wait}?timeout=20")).await })
    };
    let lines = {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            support::lines_of(world.get_with(&format!("{RUNS}/r1/wait?interval=20"), &[]).await)
                .await
        })
    };
    tokio::task::yield_now().await;
    world.body("POST", "/api/v2/dagbok/runs/chain/r1/cancel", &json!({})).await;
    assert_eq!(waits.await.unwrap()["finished"], true);
    assert_eq!(lines.await.unwrap().last().unwrap()["state"], "failed");
    assert_eq!(world.get("/api/v2/dagbok/runs/chain/nope/wait").await.0, StatusCode::NOT_FOUND);
    assert_eq!(world.get(&format!("{wait}?timeout=-1")).await.0, StatusCode::UNPROCESSABLE_ENTITY);
}

/// Sends a body as it is written.
async fn sent(world: &World, method: &str, path: &str, body: &str) -> (StatusCode, String) {
    let request = axum::http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(axum::body::Body::from(body.to_owned()))
        .unwrap();
    let response = world.send(request).await;
    (response.status(), support::text_of(response).await)
}

#[tokio::test]
async fn ids_of_runs_that_nobody_triggers_are_reserved() {
    let world = scheduled().await;
    for taken in ["scheduled__2026-01-01T00:00:00+00:00", "backfill__x", "asset_triggered__x"] {
        let body = json!({ "dag_run_id": taken, "logical_date": null });
        let (status, answer) = world.body("POST", RUNS, &body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
        assert_eq!(places(&answer), ["body.dag_run_id"]);
    }
    let body = json!({ "dag_run_id": "my_scheduled__x", "logical_date": null });
    assert_eq!(world.body("POST", RUNS, &body).await.0, StatusCode::OK);
}

#[tokio::test]
async fn numbers_longer_than_ours_stay_as_they_were_written() {
    let world = scheduled().await;
    let wei = "1000000000000000000001";
    let body = format!(
        r#"{{ "dag_run_id": "big", "logical_date": null, "conf": {{ "wei": {wei} , "a b": [1.50] }} }}"#
    );
    let (status, run) = sent(&world, "POST", RUNS, &body).await;
    assert_eq!(status, StatusCode::OK, "{run}");
    assert!(run.contains(&format!(r#""conf":{{"wei":{wei},"a b":[1.50]}}"#)), "{run}");
    let stored = world.model.store().run_input(&key("chain", "big")).unwrap().unwrap().conf;
    let conf = format!(r#"{{"wei":{wei},"a b":[1.50]}}"#);
    assert_eq!(stored, Some(dagbok_events::Payload::Inline(conf)));
}

#[tokio::test]
async fn a_conf_that_breaks_the_dags_params_makes_no_run() {
    let world = scheduled().await;
    for conf in [json!({ "depth": "deep" }), json!({ "depth": 10 })] {
        let body = json!({ "dag_run_id": "never", "logical_date": null, "conf": conf });
        let (status, answer) = world.body("POST", RUNS, &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        let why = answer["detail"].as_str().unwrap();
        assert!(why.starts_with("Invalid input for param depth: "), "{why}");
    }
    let (status, _) = world.get(&format!("{RUNS}/never")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);

    let needy = dagbok_events::DagSpec {
        required_params: vec!["must".to_owned()],
        ..spec("chain", &["a"])
    };
    world.story.registered(needy, 2).await;
    world.settled().await;
    let (status, answer) = world.body("POST", RUNS, &json!({ "logical_date": null })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    assert!(answer["detail"].as_str().unwrap().contains("must"), "{answer}");
}

#[tokio::test]
async fn an_array_is_no_object() {
    let world = scheduled().await;
    let (dag, made) = ("/api/v2/dags/chain", r#"["x", null, null, null, null, {}, null, null]"#);
    for (method, path, body) in [
        ("PATCH", dag, "[true]"),
        ("POST", RUNS, made),
        ("POST", RUNS, r#"{ "logical_date": null, "conf": [1] }"#),
        ("PATCH", "/api/v2/pools/default_pool", "[3]"),
    ] {
        let (status, answer) = sent(&world, method, path, body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{method} {path} {body}: {answer}");
    }
}

#[tokio::test]
async fn truths_are_told_in_airflows_words() {
    let world = scheduled().await;
    for (word, want) in [("True", 0), ("1", 0), ("yes", 0), ("False", 1), ("0", 1), ("OFF", 1)] {
        let list = world.ok(&format!("/api/v2/dags?paused={word}")).await;
        assert_eq!(list["total_entries"], want, "{word}");
    }
    let (status, _) = world.get("/api/v2/dags?paused=maybe").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn numbers_beyond_measure_break_nothing() {
    let world = scheduled().await;
    world.body("POST", RUNS, &json!({ "dag_run_id": "r1", "logical_date": null })).await;
    let shutdown = world.shutdown.clone();
    tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        shutdown.start();
    });
    let lines = world.get_with(&format!("{RUNS}/r1/wait?interval=1e19"), &[]).await;
    assert_eq!(lines.status(), StatusCode::OK);
    assert!(support::text_of(lines).await.starts_with(r#"{"state":"running"}"#));
    let most = u64::MAX;
    for path in [
        format!("{RUNS}?offset={most}&limit={most}"),
        format!("/api/v2/dagbok/events?from={most}&dag_id=chain&run_id=r1"),
        "/api/v2/dagbok/runs/chain/r1/wait?timeout=1e19".to_string(),
    ] {
        let answer = world.get_with(&path, &[("last-event-id", &most.to_string())]).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        support::text_of(answer).await;
    }
}

const POOLS: &str = "/api/v2/pools";

#[tokio::test]
async fn pools_are_made_changed_and_deleted_as_in_airflow() {
    let world = scheduled().await;
    let body =
        json!({ "name": "gpu", "slots": 3, "description": "models", "include_deferred": true });
    let (status, made) = world.body("POST", POOLS, &body).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    for (field, want) in [
        ("name", json!("gpu")),
        ("slots", json!(3)),
        ("open_slots", json!(3)),
        ("description", json!("models")),
        ("include_deferred", json!(true)),
        ("team_name", json!(null)),
    ] {
        assert_eq!(made[field], want, "{field}");
    }
    let path = format!("{POOLS}/gpu");
    let (status, changed) =
        world.body("PATCH", &path, &json!({ "pool": "gpu", "slots": -1 })).await;
    assert_eq!(status, StatusCode::OK, "{changed}");
    assert_eq!((&changed["slots"], &changed["open_slots"]), (&json!(-1), &json!(-1)));
    let masked = format!("{path}?update_mask=description");
    let (_, changed) =
        world.body("PATCH", &masked, &json!({ "slots": 4, "description": null })).await;
    assert_eq!(
        (&changed["slots"], &changed["description"]),
        (&json!(7), &json!(null)),
        "as it was"
    );
    let (status, _) = sent(&world, "DELETE", &path, "").await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(world.get(&path).await.0, StatusCode::NOT_FOUND);
    assert_eq!(world.ok(POOLS).await["total_entries"], 1);
}

#[tokio::test]
async fn pools_that_break_a_rule_are_refused() {
    let world = scheduled().await;
    for (body, want) in [
        (json!({ "name": "gpu", "slots": -2 }), "body.slots"),
        (json!({ "name": "gpu", "slots": 4_294_967_295_u32 }), "body.slots"),
        (json!({ "name": "a/b", "slots": 1 }), "body.name"),
        (json!({ "name": "", "slots": 1 }), "body.name"),
        (json!({ "name": "gpu", "slots": 1, "team_name": "x" }), "body.team_name"),
        (json!({ "name": "gpu", "slots": 1, "pool_slots": 1 }), "body.pool_slots"),
        (json!({ "name": "gpu" }), "body"),
    ] {
        let (status, answer) = world.body("POST", POOLS, &body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}: {answer}");
        assert_eq!(places(&answer), [want], "{body}");
    }
    let taken = json!({ "name": "taken", "slots": 1 });
    assert_eq!(world.body("POST", POOLS, &taken).await.0, StatusCode::CONFLICT);
    for (method, path, body, want) in [
        ("DELETE", "default_pool", "", StatusCode::BAD_REQUEST),
        ("PATCH", "nope", r#"{"slots": 1}"#, StatusCode::NOT_FOUND),
        ("PATCH", "gpu", r#"{"pool": "other", "slots": 1}"#, StatusCode::BAD_REQUEST),
        ("PATCH", "gpu", r#"{"slots": -3}"#, StatusCode::UNPROCESSABLE_ENTITY),
        ("PATCH", "default_pool", r#"{"description": "x"}"#, StatusCode::BAD_REQUEST),
        ("PATCH", "gpu?update_mask=colour", r#"{"slots": 1}"#, StatusCode::BAD_REQUEST),
    ] {
        let (status, answer) = sent(&world, method, &format!("{POOLS}/{path}"), body).await;
        assert_eq!(status, want, "{method} {path}: {answer}");
    }
}

#[tokio::test]
async fn several_pools_are_seen_to_at_once() {
    let world = scheduled().await;
    let pools = json!([{ "name": "a", "slots": 1 }, { "name": "b", "slots": 2 }]);
    let create = |on: &str| json!({ "actions": [{ "action": "create", "entities": pools, "action_on_existence": on }] });
    let (status, done) = world.body("PATCH", POOLS, &create("fail")).await;
    assert_eq!(status, StatusCode::OK, "{done}");
    assert_eq!(done["create"], json!({ "success": ["a", "b"], "errors": [] }));
    assert_eq!(done["delete"], json!(null));
    let (_, done) = world.body("PATCH", POOLS, &create("fail")).await;
    assert_eq!(done["create"]["errors"][0]["status_code"], 409, "{done}");
    let (_, done) = world.body("PATCH", POOLS, &create("skip")).await;
    assert_eq!(done["create"], json!({ "success": [], "errors": [] }));
    let actions = json!({ "actions": [
        { "action": "update", "entities": [{ "name": "a", "slots": 5 }], "update_mask": ["slots"] },
        { "action": "update", "entities": [{ "name": "c", "slots": 5 }] },
        { "action": "delete", "entities": ["b", "c", "default_pool"], "action_on_non_existence": "skip" },
    ] });
    let (_, done) = world.body("PATCH", POOLS, &actions).await;
    assert_eq!(done["update"]["success"], json!(["a"]), "{done}");
    assert_eq!(done["update"]["errors"][0]["status_code"], 404, "{done}");
    assert_eq!(done["delete"]["success"], json!(["b"]), "{done}");
    assert_eq!(done["delete"]["errors"][0]["status_code"], 400, "{done}");
    assert_eq!(world.ok(&format!("{POOLS}/a")).await["slots"], 5);
    let wrong =
        json!({ "actions": [{ "action": "create", "entities": [{ "name": "d", "slots": -9 }] }] });
    let (status, answer) = world.body("PATCH", POOLS, &wrong).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(places(&answer), ["body.actions.0.entities.0.slots"]);
}
