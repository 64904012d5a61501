//! Backfills as the rows have them: how far they have come, what becomes of their runs, when they are forgotten.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod support;

use std::time::Duration;

use axum::http::StatusCode;
use dagbok_api::retention::{Forgetting, Rules, Telling};
use dagbok_events::{
    Actor, BackfillCancelled, BackfillCompleted, BackfillCreated, BackfillId, BackfillPaused,
    BackfillSkipped, BackfillUnpaused, DagForgotten, ExpectedRuns, Fact, HistoryForgotten,
    Interval, Micros, ReprocessBehavior, RunBackfilled, RunCleared, RunCreated, RunDeleted,
    RunFailed, RunKey, RunStarted, RunSucceeded, RunType, Scope, SkippedWhy, Timestamp,
};
use serde_json::{Value, json};
use support::{
    World,
    story::{FIRST, dag, digest, key, spec},
};

const DAY: i64 = 86_400_000_000;

fn day(n: i64) -> Interval {
    let at = |n: i64| FIRST.plus(Micros(DAY * n));
    Interval { start: at(n), end: at(n + 1) }
}

fn ada() -> Actor {
    Actor::User("ada".to_owned())
}

async fn about_dag(world: &World, reason: Option<&str>, fact: Fact) {
    world.story.tell_as(ada(), reason, Scope::Dag(dag("chain")), vec![fact]).await;
}

async fn begin(world: &World, id: u64, run_backwards: bool) {
    let created = BackfillCreated {
        backfill_id: BackfillId(id),
        from_date: day(0).start,
        to_date: day(4).start,
        runs: vec![ExpectedRuns { first: day(0), step: Micros(DAY), count: 5 }],
        run_backwards,
        reprocess_behavior: ReprocessBehavior::Completed,
        max_active_runs: 2,
        conf: None,
    };
    about_dag(world, Some("new column"), Fact::BackfillCreated(Box::new(created))).await;
}

fn run(n: i64) -> RunKey {
    key("chain", &format!("backfill__{}", day(n).start))
}

async fn make(world: &World, id: u64, n: i64) {
    let created = RunCreated {
        run_type: RunType::Backfill,
        logical_date: Some(day(n).start),
        data_interval: Some(day(n)),
        run_after: day(n).end,
        version: 1,
        bundle: digest("bundle"),
        conf: None,
        note: None,
        asset_events: Vec::new(),
        asset_events_left_out: 0,
        backfill_id: Some(BackfillId(id)),
        partition: None,
    };
    let facts = vec![Fact::RunCreated(Box::new(created)), Fact::RunStarted(RunStarted {})];
    world.story.tell_as(ada(), None, Scope::Run(run(n)), facts).await;
}

async fn end(world: &World, n: i64, well: bool) {
    let fact = if well {
        Fact::RunSucceeded(RunSucceeded {})
    } else {
        Fact::RunFailed(RunFailed { failed: vec![] })
    };
    world.story.tell(Scope::Run(run(n)), vec![fact]).await;
}

async fn shown(world: &World, id: u64) -> Value {
    world.settled().await;
    world.ok(&format!("/api/v2/backfills/{id}")).await
}

fn counts(of: &Value) -> [u64; 5] {
    ["done", "failed", "running", "queued", "left"].map(|it| of["dagbok"][it].as_u64().unwrap())
}

async fn begun() -> World {
    let world = World::new().await;
    world.story.registered(spec("chain", &["a"]), 1).await;
    begin(&world, 1, false).await;
    make(&world, 1, 0).await;
    make(&world, 1, 1).await;
    world
}

#[tokio::test]
async fn it_says_how_far_it_has_come_and_what_keeps_it() {
    let world = begun().await;
    let it = shown(&world, 1).await;
    assert_eq!(counts(&it), [0, 0, 2, 0, 3]);
    assert_eq!(
        (&it["id"], &it["is_paused"], &it["completed_at"]),
        (&json!(1), &json!(false), &json!(null))
    );
    assert_eq!(it["dagbok"]["next_logical_date"], json!(day(2).start.to_string()));
    assert_eq!(
        (&it["dagbok"]["reason"], &it["dagbok"]["created_by"]),
        (&json!("new column"), &json!("ada"))
    );
    assert!(it["dagbok"]["message"].as_str().unwrap().contains("as many as may be"));
    end(&world, 0, true).await;
    end(&world, 1, false).await;
    let backfill_id = BackfillId(1);
    about_dag(&world, Some("noon"), Fact::BackfillPaused(BackfillPaused { backfill_id })).await;
    let it = shown(&world, 1).await;
    assert_eq!((counts(&it), &it["dagbok"]["state"]), ([1, 1, 0, 0, 3], &json!("paused")));
    assert_eq!(
        (&it["dagbok"]["paused_by"], &it["dagbok"]["pause_reason"]),
        (&json!("ada"), &json!("noon"))
    );
    assert_eq!(it["dagbok"]["expected"], json!(null), "nobody knows how long a pause takes");
    about_dag(&world, None, Fact::BackfillUnpaused(BackfillUnpaused { backfill_id })).await;
    let skipped = BackfillSkipped {
        backfill_id,
        first: day(2).start,
        last: day(3).start,
        count: 2,
        why: SkippedWhy::AlreadyExists,
    };
    about_dag(&world, None, Fact::BackfillSkipped(skipped)).await;
    let it = shown(&world, 1).await;
    assert_eq!(
        (counts(&it), &it["dagbok"]["skipped"]),
        ([1, 1, 0, 0, 1], &json!({"already_exists": 2}))
    );
    let expected = &it["dagbok"]["expected"];
    assert_eq!(expected["of"], json!(2), "after two runs of its own: {expected}");
    make(&world, 1, 4).await;
    end(&world, 4, true).await;
    about_dag(&world, None, Fact::BackfillCompleted(BackfillCompleted { backfill_id })).await;
    let it = shown(&world, 1).await;
    assert_eq!((counts(&it), &it["dagbok"]["state"]), ([2, 1, 0, 0, 0], &json!("completed")));
    assert_ne!(it["completed_at"], json!(null));
    assert_eq!(world.get("/api/v2/backfills/9").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_run_that_goes_to_another_one_or_is_deleted_stays_counted_as_it_stood() {
    let world = begun().await;
    end(&world, 0, false).await;
    end(&world, 1, true).await;
    about_dag(
        &world,
        None,
        Fact::BackfillCancelled(BackfillCancelled { backfill_id: BackfillId(1) }),
    )
    .await;
    begin(&world, 2, true).await;
    let taken = RunBackfilled { backfill_id: BackfillId(2), conf: None };
    let facts = vec![Fact::RunBackfilled(taken), Fact::RunCleared(RunCleared::default())];
    world.story.tell_as(ada(), None, Scope::Run(run(0)), facts).await;
    assert_eq!(counts(&shown(&world, 1).await), [1, 1, 0, 0, 0]);
    let second = shown(&world, 2).await;
    assert_eq!(counts(&second), [0, 0, 0, 1, 4]);
    world.story.tell(Scope::Run(run(0)), vec![Fact::RunStarted(RunStarted {})]).await;
    end(&world, 0, true).await;
    let gone = RunDeleted { logical_date: Some(day(0).start), tries: 0, ends: 0 };
    world.story.tell(Scope::Run(run(0)), vec![Fact::RunDeleted(gone)]).await;
    assert_eq!(counts(&shown(&world, 1).await), [1, 1, 0, 0, 0]);
    assert_eq!(counts(&shown(&world, 2).await), [1, 0, 0, 0, 4]);
    // One of a backfill that is over is anybody's once it is cleared.
    world
        .story
        .tell_as(ada(), None, Scope::Run(run(1)), vec![Fact::RunCleared(RunCleared::default())])
        .await;
    assert_eq!(counts(&shown(&world, 1).await), [1, 1, 0, 0, 0]);
    let path = format!("/api/v2/dags/chain/dagRuns/{}", run(1).run_id);
    assert_eq!(world.ok(&path).await["dagbok"]["backfill_id"], json!(null));
    let all = world.ok("/api/v2/backfills?dag_id=chain&order_by=-id&limit=1").await;
    assert_eq!((&all["total_entries"], &all["backfills"][0]["id"]), (&json!(2), &json!(2)));
}

#[tokio::test]
async fn one_that_is_over_goes_by_its_age_and_all_with_their_dag() {
    let world = begun().await;
    let backfill_id = BackfillId(1);
    about_dag(&world, None, Fact::BackfillCancelled(BackfillCancelled { backfill_id })).await;
    begin(&world, 2, false).await;
    world.settled().await;
    let rules = Rules { backfills: Some(Duration::from_mins(1)), ..Rules::default() };
    let plan = |now: Timestamp| {
        Forgetting::plan(&world.model.store(), rules, (now, None, &[]), Telling::All).unwrap()
    };
    assert_eq!(plan(FIRST.plus(Micros::from_secs(30))).backfills, 0);
    assert_eq!(plan(FIRST.plus(Micros::from_secs(600))).backfills, 1, "one goes on");
    let before = HistoryForgotten {
        backfills_over_before: Some(FIRST.plus(Micros::from_secs(540))),
        ..HistoryForgotten::default()
    };
    world.story.tell(Scope::Namespace, vec![Fact::HistoryForgotten(before)]).await;
    world.settled().await;
    assert_eq!(world.get("/api/v2/backfills/1").await.0, StatusCode::NOT_FOUND);
    assert_eq!(world.ok("/api/v2/backfills?dag_id=chain").await["total_entries"], json!(1));
    for n in [0, 1] {
        end(&world, n, true).await;
        let gone = RunDeleted { logical_date: Some(day(n).start), tries: 0, ends: 0 };
        world.story.tell(Scope::Run(run(n)), vec![Fact::RunDeleted(gone)]).await;
    }
    world.story.tell(Scope::Dag(dag("chain")), vec![Fact::DagForgotten(DagForgotten {})]).await;
    world.settled().await;
    assert_eq!(world.ok("/api/v2/backfills").await["total_entries"], json!(0));
}
