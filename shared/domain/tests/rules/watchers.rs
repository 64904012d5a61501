//! Watchers of assets: which run, and what their events do.
use dagbok_events::{
    AssetCondition, AssetKey, AssetRef, AssetWatcher, DagSpec, Fact, Payload, RefusedWhy, Scope,
    TriggerCall, TriggerFailedWhy,
};
use dagbok_protocol::{RefusalCode, ReportBody};

use dagbok_domain::namespace::Outcome;

use super::support::{DagExt as _, World, brief_all, dag};

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

/// Of the only one that runs.
fn key(world: &World) -> String {
    let found = running(world);
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

fn fired(payload: &str) -> ReportBody {
    let event = Payload::Inline(payload.to_owned());
    ReportBody::TriggerFired { event, ends: None, xcoms: Vec::new(), log: None }
}

#[test]
fn an_event_of_a_watcher_makes_a_run_again_and_again() {
    let mut world = World::with([watched("etl")]);
    let key = key(&world);
    let item = &world.namespace.watch_items()[0];
    assert!(item.watches && item.trigger.is_some());
    world.report("t1", &key, ReportBody::TriggerHeld).unchanged();
    for _ in 0..2 {
        world.report("t1", &key, fired(r#"{"path": "x"}"#));
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
    world.report("t1", &key, fired(&large));
    let last = world.log.last().expect("a record");
    let Fact::AssetUpdated(f) = &last.facts[0] else { panic!("{last:?}") };
    assert!(f.extra.as_ref().is_some_and(|extra| extra.contains("payload_bytes")));
}

#[test]
fn one_that_several_dags_have_runs_once_and_for_as_long_as_one_of_them_is_on() {
    let mut world = World::with([watched("two")]);
    let first = key(&world);
    world.read(&watched("etl"));
    assert_eq!(key(&world), first, "another DAG changes nothing of it");
    world.pause("etl");
    assert_eq!(key(&world), first);
    world.pause("two");
    assert_eq!(running(&world), [] as [&str; 0]);
    let held = world.report("t1", &first, ReportBody::TriggerHeld);
    assert!(matches!(&held.outcome, Outcome::Refused(it) if it.code == RefusalCode::StaleReport));
    let event = world.report("t1", &first, fired("1"));
    let why = RefusedWhy::NotInFlight;
    assert!(brief_all(&event.records)[0].ends_with(&format!("TriggerFired: {why:?}")));
    world.unpause("etl");
    assert_eq!(key(&world), first);
    let mut other = watched("etl");
    other.watchers[0].trigger.kwargs = Payload::Inline(r#"{"n": 1}"#.to_owned());
    world.read(&other);
    assert_ne!(key(&world), first);
}

#[test]
fn one_that_fails_is_told_of_and_goes_on() {
    let mut world = World::with([watched("etl")]);
    let key = key(&world);
    let (why, traceback) = (TriggerFailedWhy::Raised, "no".to_owned());
    let failed = world.report("t1", &key, ReportBody::TriggerFailed { why, traceback, log: None });
    assert_eq!(failed.records.len(), 1);
    let Scope::Run(run) = &failed.records[0].scope else { panic!("{failed:?}") };
    assert_eq!(run.to_string(), "etl/__watch__");
    assert_eq!(running(&world), [key]);
    assert_eq!(world.settle(), [] as [&str; 0]);
}
