//! DAGs that are scheduled on assets: whom an event is for, when a run follows, and what it is made of.
use dagbok_events::{
    AssetCondition, AssetKey, AssetRef, DagSpec, Fact, RunCreated, RunType, Timetable,
};
use dagbok_protocol::{
    AssetUpdate, CommandBody, OutletEvent, RefusalCode, ReportBody,
    limits::{
        ASSET_EVENTS_PER_RUN, ASSET_EVENTS_PER_TRY, ASSET_EVENTS_PER_TRY_BYTES, ASSET_EXTRA_BYTES,
        ASSETS_PER_TRY,
    },
};

use super::support::*;

fn key(name: &str) -> AssetKey {
    AssetKey { name: name.to_owned(), uri: format!("s3://{name}") }
}

fn asset(name: &str) -> AssetRef {
    let AssetKey { name, uri } = key(name);
    AssetRef::Asset { name, uri, group: "asset".to_owned(), extra: None }
}

fn one(of: AssetRef) -> AssetCondition {
    AssetCondition::One { of }
}

fn all(names: &[&str]) -> AssetCondition {
    AssetCondition::All { of: names.iter().map(|name| one(asset(name))).collect() }
}

fn waiting(name: &str, condition: AssetCondition) -> DagSpec {
    dag(name).with(|dag| (dag.era, dag.asset_condition) = (3, Some(condition))).task("take", &[])
}

fn update(world: &mut World, name: &str) -> Sent {
    world.send(CommandBody::UpdateAsset(AssetUpdate {
        asset: key(name),
        extra: None,
        partition_key: None,
    }))
}

fn runs(world: &World) -> Vec<&RunCreated> {
    let facts = world.log.iter().flat_map(|record| &record.facts);
    let made = facts.filter_map(|fact| match fact {
        Fact::RunCreated(f) if f.run_type == RunType::AssetTriggered => Some(&**f),
        _ => None,
    });
    made.collect()
}

fn names(run: &RunCreated) -> Vec<&str> {
    run.asset_events.iter().map(|event| event.asset.name.as_str()).collect()
}

fn succeed_with(world: &mut World, key: &str, outlets: Vec<OutletEvent>) -> Sent {
    let (xcoms, usage) = (vec![], dagbok_events::Usage::default());
    world.report(
        "e1",
        key,
        ReportBody::Succeeded { xcoms, usage, log: None, skips: vec![], outlets },
    )
}

fn outlet(name: &str) -> OutletEvent {
    OutletEvent {
        asset: asset(name),
        extra: Some(r#"{"rows":3}"#.to_owned()),
        aliases: vec![],
        partition_key: None,
    }
}

#[test]
fn a_run_is_made_once_all_assets_are_up_to_date_and_not_again_before_they_are() {
    let mut world = World::with([waiting("taker", all(&["a", "b"]))]);
    update(&mut world, "a").is(["AssetUpdated s3://a for taker; kept for "]);
    update(&mut world, "a");
    assert_eq!(world.settle(), [] as [&str; 0]);
    update(&mut world, "b");
    assert_eq!(
        world.settle(),
        ["RunCreated AssetTriggered never", "RunStarted", "TaskQueued take 1"]
    );
    assert_eq!(names(runs(&world)[0]), ["a", "a", "b"]);
    update(&mut world, "b");
    assert_eq!(world.settle(), [] as [&str; 0]);
    update(&mut world, "c").is(["AssetUpdated s3://c for ; kept for "]);
    world.pass(secs(60));
    update(&mut world, "a");
    world.settle();
    assert_eq!(names(runs(&world)[1]), ["b", "a"]);
    let ids: Vec<_> = world.namespace.active_runs().map(|run| run.key().run_id.clone()).collect();
    assert_eq!(ids[0].as_str(), "asset_triggered__2024-01-01T00:00:00+00:00");
}

/// What a try that says this of assets adds to the log of them.
fn updated_by(outlets: Vec<OutletEvent>) -> Vec<dagbok_events::AssetUpdated> {
    let mut world = World::with([dag("maker").task("make", &[])]);
    world.trigger_as("maker", "r1");
    world.settle();
    let sent = succeed_with(&mut world, "maker/r1/make/1", outlets);
    let facts = sent.records.into_iter().flat_map(|record| record.facts);
    let updated = facts.filter_map(|fact| match fact {
        Fact::AssetUpdated(it) => Some(*it),
        _ => None,
    });
    updated.collect()
}

#[test]
fn an_extra_above_the_limit_is_left_out_and_that_is_said() {
    for (bytes, kept) in [(ASSET_EXTRA_BYTES, true), (ASSET_EXTRA_BYTES + 1, false)] {
        let extra = format!("{{\"x\":\"{}\"}}", "a".repeat(bytes - 8));
        assert_eq!(extra.len(), bytes);
        let told = updated_by(vec![OutletEvent { extra: Some(extra), ..outlet("a") }]);
        assert_eq!(told[0].extra.is_some(), kept);
        assert_eq!(told[0].extra_left_out, if kept { 0 } else { bytes as u64 });
    }
}

#[test]
fn events_of_assets_above_the_limit_are_left_out_and_that_is_said() {
    let many = |count: usize| (0..count).map(|n| outlet(&format!("a{n}"))).collect::<Vec<_>>();
    for (more, count) in [(0, ASSET_EVENTS_PER_TRY), (3, ASSET_EVENTS_PER_TRY + 3)] {
        let told = updated_by(many(count));
        assert_eq!(told.len(), ASSET_EVENTS_PER_TRY);
        assert_eq!(told.last().map(|it| it.more_left_out), Some(more));
        assert!(told.iter().rev().skip(1).all(|it| it.more_left_out == 0));
    }
    // So many assets are kept whatever they take, and no more where that is too much.
    let extra = Some(format!("{{\"x\":\"{}\"}}", "a".repeat(ASSET_EXTRA_BYTES - 8)));
    let large = |it: OutletEvent| OutletEvent { extra: extra.clone(), ..it };
    const { assert!(ASSETS_PER_TRY * ASSET_EXTRA_BYTES > ASSET_EVENTS_PER_TRY_BYTES) };
    for (more, count) in [(0, ASSETS_PER_TRY), (1, ASSETS_PER_TRY + 1)] {
        let told = updated_by(many(count).into_iter().map(large).collect());
        let last = told.last().map(|it| it.more_left_out);
        assert_eq!((told.len(), last), (ASSETS_PER_TRY, Some(more)));
    }
}

#[test]
fn any_asset_or_a_mix_is_enough_where_the_condition_says_so() {
    let mix = AssetCondition::Any { of: vec![all(&["a", "b"]), one(asset("c"))] };
    let mut world = World::with([waiting("taker", mix)]);
    update(&mut world, "a");
    world.settle();
    assert!(runs(&world).is_empty());
    update(&mut world, "c");
    world.settle();
    assert_eq!(names(runs(&world)[0]), ["a", "c"]);
    update(&mut world, "b");
    world.settle();
    assert_eq!(runs(&world).len(), 1, "what was consumed counts no more");
}

#[test]
fn a_task_brings_its_outlets_up_to_date_with_its_success_alone() {
    let maker =
        dag("maker").add("make", &[], |task| (task.retries, task.outlets) = (0, vec![asset("a")]));
    let mut world = World::with([maker, waiting("taker", one(asset("a")))]);
    world.trigger_as("maker", "r1");
    world.settle();
    world.fail("e1", "maker/r1/make/1").is(["TryFailed make 1 retry never", "RunFailed make"]);
    assert_eq!(world.settle(), [] as [&str; 0]);
    world.trigger_as("maker", "r2");
    world.settle();
    succeed_with(&mut world, "maker/r2/make/1", vec![outlet("a")]).is([
        "TrySucceeded make 1",
        "AssetUpdated s3://a for taker; kept for ",
        "RunSucceeded",
    ]);
    world.settle();
    let run = runs(&world)[0].clone();
    let event = &run.asset_events[0];
    let source = event.source.as_ref().expect("a task did it");
    assert_eq!((source.run_id.as_str(), source.task_id.as_str()), ("r2", "make"));
    assert_eq!(event.extra.as_deref(), Some(r#"{"rows":3}"#));
    // A late word of the same try changes nothing.
    let late = succeed_with(&mut world, "maker/r2/make/1", vec![outlet("a")]);
    assert!(!brief_all(&late.records).iter().any(|fact| fact.starts_with("AssetUpdated")));
    let item = world.namespace.queued_tries();
    let item = world.namespace.work_item(item[0]).expect("it is offered");
    assert_eq!(item.run.asset_events, run.asset_events);
}

#[test]
fn names_uris_and_aliases_stand_for_assets() {
    let by = |of: AssetRef| one(of);
    let mut world = World::with([
        waiting("named", by(AssetRef::Name { name: "a".to_owned() })),
        waiting("placed", by(AssetRef::Uri { uri: "s3://a".to_owned() })),
        waiting("aliased", by(AssetRef::Alias { name: "any".to_owned() })),
        dag("maker").task("make", &[]),
    ]);
    update(&mut world, "a").is(["AssetUpdated s3://a for named,placed; kept for "]);
    world.trigger_as("maker", "r1");
    world.settle();
    let aliased = OutletEvent { aliases: vec!["any".to_owned()], ..outlet("b") };
    let known = OutletEvent { asset: AssetRef::Name { name: "a".to_owned() }, ..outlet("a") };
    let facts = succeed_with(&mut world, "maker/r1/make/1", vec![aliased, known]);
    let facts = brief_all(&facts.records);
    assert_eq!(facts[1], "AssetUpdated s3://b for aliased; kept for ");
    // Nobody names an asset of that name and another uri.
    assert_eq!(facts[2], "AssetUpdated a for named; kept for ");
}

#[test]
fn a_paused_dag_keeps_events_for_its_next_run_and_none_follows_from_them() {
    let mut world = World::with([waiting("taker", one(asset("a")))]);
    world.pause("taker");
    update(&mut world, "a").is(["AssetUpdated s3://a for ; kept for taker"]);
    world.unpause("taker");
    assert_eq!(world.settle(), [] as [&str; 0]);
    update(&mut world, "a");
    world.settle();
    assert_eq!(names(runs(&world)[0]), ["a", "a"]);
}

#[test]
fn a_dag_at_its_limit_waits_with_its_assets() {
    let spec = waiting("taker", one(asset("a"))).with(|dag| dag.max_active_runs = 1);
    let mut world = World::with([spec]);
    update(&mut world, "a");
    world.settle();
    for _ in 0..3 {
        world.pass(secs(60));
        update(&mut world, "a");
        world.settle();
    }
    assert_eq!(runs(&world).len(), 1);
    let run = world.namespace.active_runs().next().expect("one").key().clone();
    world.succeed("e1", &format!("{run}/take/1"));
    world.settle();
    // As in Airflow: what came while it waited for room is the next run's, and that comes with the next event.
    assert_eq!(names(runs(&world)[1]), ["a"]);
    let run = world.namespace.active_runs().next().expect("one").key().clone();
    world.succeed("e1", &format!("{run}/take/1"));
    world.settle();
    assert_eq!(runs(&world).len(), 2);
    world.pass(secs(60));
    update(&mut world, "a");
    world.settle();
    assert_eq!(names(runs(&world)[2]), ["a", "a", "a"], "one run for all of them");
}

#[test]
fn what_waits_can_be_dropped() {
    let mut world = World::with([waiting("taker", all(&["a", "b"]))]);
    update(&mut world, "a");
    let dropped =
        |assets: Vec<AssetKey>| CommandBody::DropQueuedAssets { dag_id: dag_id("taker"), assets };
    world.send(dropped(vec![key("b")])).unchanged();
    world.send(dropped(vec![key("a")])).is(["QueuedAssetsDropped 1"]);
    world.send(dropped(vec![])).unchanged();
    update(&mut world, "b");
    assert_eq!(world.settle(), [] as [&str; 0]);
    let none = CommandBody::DropQueuedAssets { dag_id: dag_id("none"), assets: vec![] };
    world.send(none).refused(RefusalCode::DagNotFound, []);
}

#[test]
fn the_older_era_has_a_date_and_the_interval_of_what_was_brought_up_to_date() {
    let older = waiting("taker", one(asset("a"))).with(|dag| dag.era = 2);
    let maker = dag("maker").daily("2024-01-01").task("make", &[]);
    let mut world = World::with([older, maker]);
    world.go_to("2024-01-02");
    let run = "maker/scheduled__2024-01-01T00:00:00+00:00/make/1";
    succeed_with(&mut world, run, vec![outlet("a")]);
    world.settle();
    let run = runs(&world)[0];
    let interval = run.data_interval.expect("of the run before");
    assert_eq!((interval.start, interval.end), (at("2024-01-01"), at("2024-01-02")));
    assert_eq!(run.logical_date, Some(at("2024-01-02")));
    let made = world.namespace.active_runs().last().expect("it waits").key().run_id.to_string();
    assert_eq!(made, "dataset_triggered__2024-01-02T00:00:00+00:00");
}

#[test]
fn a_schedule_may_go_by_time_too() {
    let spec = waiting("taker", one(asset("a")))
        .timetable(Timetable::CronTrigger { expression: "0 * * * *".to_owned() })
        .with(|dag| dag.start_date = Some(at("2024-01-01T01:00")));
    let mut world = World::with([spec]);
    update(&mut world, "a");
    assert_eq!(world.settle()[0], "RunCreated AssetTriggered never");
    let made = "RunCreated Scheduled 2024-01-01T01:00:00Z".to_owned();
    assert!(world.go_to("2024-01-01T01:00").contains(&made));
}

#[test]
fn a_new_condition_keeps_what_it_names_of_what_came_before() {
    let mut world = World::with([waiting("taker", all(&["a", "b"]))]);
    update(&mut world, "a");
    let queued = |world: &World| -> Vec<String> {
        let dag = world.namespace.dag(&dag_id("taker")).expect("known");
        dag.queued_assets().map(|(asset, _)| asset.name.clone()).collect()
    };
    world.read(&waiting("taker", all(&["a", "c"])));
    assert_eq!(queued(&world), ["a"]);
    world.read(&waiting("taker", all(&["c", "d"])));
    assert_eq!(queued(&world), [] as [&str; 0]);
    update(&mut world, "c");
    update(&mut world, "d");
    world.settle();
    assert_eq!(names(runs(&world)[0]), ["c", "d"]);
    world.read(&waiting("taker", all(&["a", "b"])));
    update(&mut world, "b");
    world.settle();
    assert_eq!(
        runs(&world).len(),
        1,
        "what came before the run, and under another condition, is gone"
    );
}

#[test]
fn an_alias_brings_no_more_than_there_are_places() {
    let alias = AssetRef::Alias { name: "any".to_owned() };
    let both = AssetCondition::All { of: vec![one(alias), one(asset("b"))] };
    let maker = dag("maker").task("make", &[]);
    let mut world = World::with([waiting("taker", both), maker]);
    for n in 0..ASSET_EVENTS_PER_RUN + 5 {
        let run = format!("r{n}");
        world.trigger_as("maker", &run);
        world.settle();
        let brought = OutletEvent { aliases: vec!["any".to_owned()], ..outlet(&format!("u{n}")) };
        succeed_with(&mut world, &format!("maker/{run}/make/1"), vec![brought]);
    }
    let dag = world.namespace.dag(&dag_id("taker")).expect("known");
    assert_eq!(dag.queued_assets().count(), ASSET_EVENTS_PER_RUN);
    update(&mut world, "b");
    world.settle();
    assert_eq!(runs(&world).len(), 1);
}

#[test]
fn too_many_events_are_counted_and_too_large_ones_refused() {
    let mut world = World::with([waiting("taker", all(&["a", "b"]))]);
    for _ in 0..ASSET_EVENTS_PER_RUN + 5 {
        update(&mut world, "a");
    }
    update(&mut world, "b");
    world.settle();
    let run = runs(&world)[0];
    assert_eq!((run.asset_events.len(), run.asset_events_left_out), (ASSET_EVENTS_PER_RUN, 6));
    for extra in ["[1]".to_owned(), format!("{{\"a\":\"{}\"}}", "x".repeat(ASSET_EXTRA_BYTES))] {
        let ask = AssetUpdate { asset: key("a"), extra: Some(extra), partition_key: None };
        world.send(CommandBody::UpdateAsset(ask)).refused(RefusalCode::Invalid, []);
    }
    let ask = dagbok_protocol::TriggerRun {
        run_id: Some(dagbok_events::RunId::new("dataset_triggered__x").expect("an id")),
        ..ask("taker")
    };
    world.send(CommandBody::TriggerRun(ask)).refused(RefusalCode::Invalid, []);
}
