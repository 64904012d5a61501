//! Watchers of assets: which run, and what their events do.
use dagbok_events::{
    AssetCondition, AssetKey, AssetRef, AssetWatcher, DagSpec, Fact, Payload, RefusedWhy,
    TriggerCall, TriggerFailedWhy,
};
use dagbok_protocol::{RefusalCode, ReportBody};

use super::support::{DagExt as _, World, dag};

const KEY: &str = "etl/__watch__1/__watcher__[0]/1";

fn watched(name: &str) -> DagSpec {
    let (asset, kwargs) = ("flag".to_owned(), Payload::Inline("{}".to_owned()));
    let key = AssetKey { name: asset.clone(), uri: asset.clone() };
    let of =
        AssetRef::Asset { name: asset.clone(), uri: asset, group: "asset".to_owned(), extra: None };
    let mut spec = dag(name).task("a", &[]);
    spec.asset_condition = Some(AssetCondition::One { of });
    let trigger = TriggerCall { class_path: "a.B".to_owned(), kwargs };
    spec.watchers = vec![AssetWatcher { name: "w".to_owned(), asset: key, trigger }];
    spec
}

fn running(world: &World) -> Vec<String> {
    world.namespace.watch_items().iter().map(|item| item.key.to_string()).collect()
}

fn fired(payload: &str) -> ReportBody {
    let event = Payload::Inline(payload.to_owned());
    ReportBody::TriggerFired { event, ends: None, xcoms: Vec::new(), log: None }
}

#[test]
fn an_event_of_a_watcher_makes_a_run_again_and_again() {
    let mut world = World::with([watched("etl")]);
    assert_eq!(running(&world), [KEY]);
    let item = &world.namespace.watch_items()[0];
    assert!(item.watches && item.trigger.is_some());
    world.report("t1", KEY, ReportBody::TriggerHeld).unchanged();
    for _ in 0..2 {
        world.report("t1", KEY, fired(r#"{"path": "x"}"#));
        let told = world.settle();
        assert!(told.iter().any(|fact| fact.starts_with("RunCreated AssetTriggered")), "{told:?}");
    }
    let extras = world.log.iter().flat_map(|record| &record.facts).filter_map(|fact| match fact {
        Fact::AssetUpdated(f) => f.extra.clone(),
        _ => None,
    });
    let said = r#"{"from_trigger": true, "payload": {"path": "x"}}"#;
    assert_eq!(extras.collect::<Vec<_>>(), [said, said]);
    let large = format!("{:?}", "x".repeat(9_000));
    world.report("t1", KEY, fired(&large));
    let last = world.log.last().expect("a record");
    let Fact::AssetUpdated(f) = &last.facts[0] else { panic!("{last:?}") };
    assert!(f.extra.as_ref().is_some_and(|extra| extra.contains("payload_bytes")));
}

#[test]
fn one_that_several_dags_have_runs_once_and_for_as_long_as_one_of_them_is_on() {
    let mut world = World::with([watched("etl"), watched("two")]);
    assert_eq!(running(&world), [KEY]);
    world.pause("etl");
    assert_eq!(running(&world), ["two/__watch__1/__watcher__[0]/1"]);
    let refused = format!("ReportRefused __watcher__ 1 TriggerHeld: {:?}", RefusedWhy::NotInFlight);
    let held = world.report("t1", KEY, ReportBody::TriggerHeld);
    held.refused(RefusalCode::StaleReport, [refused.as_str()]);
    world.pause("two");
    assert_eq!(running(&world), [] as [&str; 0]);
    world.unpause("etl");
    assert_eq!(running(&world), [KEY]);
    let mut other = watched("etl");
    other.description = Some("another version".to_owned());
    world.read(&other);
    assert_eq!(running(&world), ["etl/__watch__2/__watcher__[0]/1"]);
}

#[test]
fn one_that_fails_is_told_of_and_goes_on() {
    let mut world = World::with([watched("etl")]);
    let (why, traceback) = (TriggerFailedWhy::Raised, "no".to_owned());
    let failed = world.report("t1", KEY, ReportBody::TriggerFailed { why, traceback, log: None });
    assert_eq!(failed.records.len(), 1);
    assert_eq!(running(&world), [KEY]);
    assert_eq!(world.settle(), [] as [&str; 0]);
}
