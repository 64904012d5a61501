//! DAGs that are scheduled on partitions of assets: whom an event counts for, when a partition has its run.
use dagbok_domain::namespace::Namespace;
use dagbok_events::{
    AssetCondition, AssetKey, AssetPartitionRule, AssetRef, DagSpec, Fact, PartitionMapper,
    PartitionRule, PartitionWindow, Period, RunCreated, RunType, Timetable, WaitPolicy,
};
use dagbok_protocol::{
    AssetUpdate, CommandBody, Reason, RefusalCode, TriggerRun,
    limits::{ASSET_EXTRA_BYTES, PARTITION_EVENTS_BYTES, PARTITIONS_PENDING},
};
use proptest::prelude::*;

use super::support::*;

fn key(name: &str) -> AssetKey {
    AssetKey { name: name.to_owned(), uri: format!("s3://{name}") }
}

fn asset(name: &str) -> AssetRef {
    let AssetKey { name, uri } = key(name);
    AssetRef::Asset { name, uri, group: "asset".to_owned(), extra: None }
}

fn all(names: &[&str]) -> AssetCondition {
    let one = |name: &&str| AssetCondition::One { of: asset(name) };
    AssetCondition::All { of: names.iter().map(one).collect() }
}

fn start_of(period: Period, output: &str) -> PartitionMapper {
    PartitionMapper::StartOf {
        period,
        timezone: "UTC".to_owned(),
        input_format: "%Y-%m-%dT%H:%M:%S".to_owned(),
        output_format: output.to_owned(),
    }
}

fn rollup(of: &[&str], wait: WaitPolicy) -> PartitionMapper {
    let segments = of.iter().map(|it| (*it).to_owned()).collect();
    PartitionMapper::Rollup {
        upstream: Box::new(PartitionMapper::FixedKey { downstream_key: "all".to_owned() }),
        window: PartitionWindow::Segments { segments },
        wait,
    }
}

fn taker(names: &[&str], default: PartitionMapper, rules: Vec<AssetPartitionRule>) -> DagSpec {
    let default = PartitionRule { mapper: default, max_downstream_keys: None };
    dag("taker")
        .with(|dag| {
            (dag.era, dag.asset_condition) = (3, Some(all(names)));
            dag.schedule.timetable = Timetable::PartitionedAsset { default, rules };
        })
        .task("take", &[])
}

fn update(world: &mut World, name: &str, partition: Option<&str>) -> Sent {
    let partition_key = partition.map(str::to_owned);
    let sent = world.send(CommandBody::UpdateAsset(AssetUpdate {
        asset: key(name),
        extra: None,
        partition_key,
    }));
    world.settle();
    sent
}

fn runs(world: &World) -> Vec<&RunCreated> {
    let facts = world.log.iter().flat_map(|record| &record.facts);
    let made = facts.filter_map(|fact| match fact {
        Fact::RunCreated(f) if f.run_type == RunType::AssetTriggered => Some(&**f),
        _ => None,
    });
    made.collect()
}

fn keys(world: &World) -> Vec<String> {
    runs(world).iter().map(|run| run.partition.as_ref().expect("one").key.clone()).collect()
}

fn refusals(world: &World) -> Vec<String> {
    let facts = world.log.iter().flat_map(|record| &record.facts);
    let told = facts.filter_map(|fact| match fact {
        Fact::AssetUpdated(f) => Some(f.partitioned_for.iter().filter_map(|it| it.refused.clone())),
        _ => None,
    });
    told.flatten().collect()
}

#[test]
fn a_partition_has_its_run_once_all_its_assets_have_come() {
    let hour = start_of(Period::Hour, "%Y-%m-%dT%H");
    let mut world = World::with([taker(&["a", "b"], hour, vec![])]);
    update(&mut world, "a", Some("2024-01-01T03:15:00"));
    update(&mut world, "b", Some("2024-01-01T04:00:00"));
    assert_eq!(keys(&world), [] as [&str; 0], "each hour has one of them");
    update(&mut world, "b", Some("2024-01-01T03:30:00"));
    assert_eq!(keys(&world), ["2024-01-01T03"]);
    let run = runs(&world)[0];
    assert_eq!((run.logical_date, run.data_interval), (None, None));
    let date = run.partition.as_ref().expect("one").date.expect("of a time");
    assert_eq!(date, at("2024-01-01T03:00:00Z"));
    let came: Vec<&str> = run.asset_events.iter().map(|event| event.asset.name.as_str()).collect();
    assert_eq!(came, ["a", "b"]);
    update(&mut world, "a", Some("2024-01-01T04:59:59"));
    assert_eq!(keys(&world), ["2024-01-01T03", "2024-01-01T04"]);
}

#[test]
fn a_rollup_waits_for_the_keys_of_its_window_and_says_which_are_missing() {
    let mapper = rollup(&["apac", "eu", "us"], WaitPolicy::All);
    let mut world = World::with([taker(&["a"], mapper, vec![])]);
    for region in ["us", "eu", "us", "mars"] {
        update(&mut world, "a", Some(region));
    }
    assert_eq!(keys(&world), [] as [&str; 0]);
    let told = world.why("taker", None, None, dagbok_events::MapIndex::UNMAPPED).is.reasons;
    let Some(Reason::Partitions { waiting, more: 0, dropped: 0, events_dropped: 0 }) = told.first()
    else {
        panic!("{told:?}");
    };
    let asset = &waiting[0].assets[0];
    assert_eq!(
        (asset.came_count, asset.needed_count, &*asset.missing),
        (2, 3, &["apac".to_owned()][..])
    );
    update(&mut world, "a", Some("apac"));
    assert_eq!(keys(&world), ["all"]);
    assert_eq!(runs(&world)[0].asset_events.len(), 5);
    let early = rollup(&["apac", "eu", "us"], WaitPolicy::MinimumCount { n: 2 });
    let mut world = World::with([taker(&["a"], early, vec![])]);
    update(&mut world, "a", Some("us"));
    update(&mut world, "a", Some("apac"));
    assert_eq!(keys(&world), ["all"]);
}

#[test]
fn one_event_fans_out_to_a_run_for_each_key_and_no_more_than_it_may() {
    let mapper = PartitionMapper::FanOut {
        upstream: Box::new(start_of(Period::Week, "%Y-%m-%d (W%V)")),
        window: PartitionWindow::Of { period: Period::Week, backward: false },
        downstream: Box::new(start_of(Period::Day, "%Y-%m-%d")),
    };
    let mut world = World::with([taker(&["a"], mapper.clone(), vec![])]);
    update(&mut world, "a", Some("2024-03-13T00:00:00"));
    let wanted: Vec<String> = (11..18).map(|day| format!("2024-03-{day}")).collect();
    assert_eq!(keys(&world), wanted);
    let rule = PartitionRule { mapper, max_downstream_keys: Some(6) };
    let rules = vec![AssetPartitionRule { asset: asset("a"), rule }];
    let mut world = World::with([taker(&["a"], PartitionMapper::Identity, rules)]);
    update(&mut world, "a", Some("2024-03-13T00:00:00"));
    assert_eq!(keys(&world), [] as [&str; 0]);
    let told = refusals(&world);
    assert!(told[0].contains("makes 7 keys; at most 6"), "{told:?}");
}

#[test]
fn what_counts_for_nothing_says_why() {
    let day = start_of(Period::Day, "%Y-%m-%d");
    let mut world = World::with([taker(&["a"], day, vec![])]);
    update(&mut world, "a", None);
    update(&mut world, "a", Some("yesterday"));
    assert_eq!(keys(&world), [] as [&str; 0]);
    let told = refusals(&world);
    assert!(told[0].contains("no partition key"), "{told:?}");
    assert!(told[1].contains("`yesterday` does not match"), "{told:?}");
    let odd = AssetUpdate { asset: key("a"), extra: None, partition_key: Some(" ".to_owned()) };
    world.send(CommandBody::UpdateAsset(odd)).refused(RefusalCode::Invalid, []);
    world.pause("taker");
    update(&mut world, "a", Some("2024-01-01T00:00:00"));
    world.unpause("taker");
    world.settle();
    assert_eq!(keys(&world), [] as [&str; 0], "as in Airflow a paused DAG misses it");
}

#[test]
fn another_mapping_lets_go_of_what_came_by_the_one_before() {
    let spec = taker(&["a", "b"], PartitionMapper::Identity, vec![]);
    let mut world = World::with([spec.clone()]);
    update(&mut world, "a", Some("us"));
    let other = spec.clone().with(|dag| dag.description = Some("another".to_owned()));
    world.read(&other);
    update(&mut world, "b", Some("us"));
    assert_eq!(keys(&world), ["us"], "another text is the same mapping");
    update(&mut world, "a", Some("eu"));
    let fixed = PartitionMapper::FixedKey { downstream_key: "eu".to_owned() };
    world.read(&taker(&["a", "b"], fixed, vec![]));
    update(&mut world, "b", Some("eu"));
    assert_eq!(keys(&world), ["us"]);
    update(&mut world, "a", Some("whatever"));
    assert_eq!(keys(&world), ["us", "eu"]);
}

#[test]
fn too_many_that_wait_let_the_oldest_go() {
    let mut world = World::with([taker(&["a", "b"], PartitionMapper::Identity, vec![])]);
    for n in 0..PARTITIONS_PENDING + 3 {
        let partition_key = Some(format!("k{n}"));
        let body = AssetUpdate { asset: key("a"), extra: None, partition_key };
        world.send(CommandBody::UpdateAsset(body));
    }
    // Of `k2` nothing is left: it begins again, and the next oldest goes for it.
    update(&mut world, "b", Some("k2"));
    assert_eq!(keys(&world), [] as [&str; 0]);
    update(&mut world, "b", Some("k4"));
    assert_eq!(keys(&world), ["k4"]);
}

#[test]
fn what_events_say_is_kept_within_bytes_and_what_goes_is_counted_in_why_and_in_the_run() {
    let mut world = World::with([taker(&["a", "b"], PartitionMapper::Identity, vec![])]);
    let extra = format!(r#"{{"said": "{}"}}"#, "x".repeat(ASSET_EXTRA_BYTES - 100));
    let sent = PARTITION_EVENTS_BYTES / ASSET_EXTRA_BYTES + 100;
    for n in 0..sent {
        let partition_key = Some(format!("k{}", n % 200));
        let extra = Some(extra.clone());
        let body = AssetUpdate { asset: key("a"), extra, partition_key };
        assert!(!world.send(CommandBody::UpdateAsset(body)).records.is_empty());
    }
    let told = world.why("taker", None, None, dagbok_events::MapIndex::UNMAPPED).is.reasons;
    let Some(Reason::Partitions { dropped: 0, events_dropped, .. }) = told.first() else {
        panic!("{told:?}");
    };
    let went = *events_dropped;
    assert!((50..200).contains(&went), "{went}");
    // The oldest went: those of the first key.
    update(&mut world, "b", Some("k0"));
    update(&mut world, "b", Some("k199"));
    let of: Vec<(usize, u32)> =
        runs(&world).iter().map(|it| (it.asset_events.len(), it.asset_events_left_out)).collect();
    let [first, last] = of.as_slice() else { panic!("{of:?}") };
    assert!(first.1 > 0, "{first:?}");
    assert_eq!(last.1, 0);
    assert_eq!(first.0 + first.1 as usize, last.0 + 1, "{first:?} {last:?}");
}

#[test]
fn a_run_by_hand_says_its_partition_where_the_dag_has_some() {
    let mut world = World::with([
        taker(&["a"], start_of(Period::Day, "%Y-%m-%d"), vec![]),
        dag("plain").task("t", &[]),
        dag("free")
            .with(|dag| dag.schedule.timetable = Timetable::PartitionedAtRuntime)
            .task("t", &[]),
    ]);
    let asked = |dag: &str, key: &str| {
        CommandBody::TriggerRun(TriggerRun { partition_key: Some(key.to_owned()), ..ask(dag) })
    };
    world.send(asked("plain", "us")).refused(RefusalCode::Invalid, []);
    world.send(asked("taker", "today")).refused(RefusalCode::Invalid, []);
    let run_id = world.send(asked("taker", "2024-01-02")).run_id();
    let run = world.namespace.active_run(&run_key("taker", run_id.as_str())).expect("there");
    let partition = run.meta().partition.clone().expect("one");
    assert_eq!((&*partition.key, partition.date), ("2024-01-02", Some(at("2024-01-02T00:00:00Z"))));
    world.send(asked("free", "us"));
}

#[test]
fn a_schedule_of_partitions_makes_a_run_for_each_tick_without_a_date() {
    let timetable = Timetable::CronPartition {
        expression: "0 * * * *".to_owned(),
        run_offset: -1,
        key_format: "%Y-%m-%dT%H".to_owned(),
        run_immediately: dagbok_events::RunImmediately::default(),
    };
    let spec = dag("hourly")
        .with(|dag| {
            (dag.era, dag.catchup, dag.start_date) = (3, true, Some(at("2024-01-01T00:00:00Z")));
            (dag.schedule.timetable, dag.schedule.timezone) = (timetable, "Asia/Taipei".to_owned());
        })
        .task("t", &[]);
    let mut world = World::new();
    world.go_to("2024-01-01T02:30:00Z");
    world.read(&spec);
    world.settle();
    world.go_to("2024-01-01T03:00:01Z");
    let facts = world.log.iter().flat_map(|record| &record.facts);
    let made = facts.filter_map(|fact| match fact {
        Fact::RunCreated(f) => Some((f.logical_date, f.run_after, f.partition.clone()?)),
        _ => None,
    });
    let made: Vec<_> = made.collect();
    assert_eq!(made[0].0, None);
    let first: Vec<_> = made.iter().map(|(_, after, it)| (*after, it.key.as_str())).collect();
    let after = |hour| at(&format!("2024-01-01T0{hour}:00:00Z"));
    let wanted =
        [(after(0), "2024-01-01T07"), (after(1), "2024-01-01T08"), (after(2), "2024-01-01T09")];
    assert_eq!(first[..3], wanted);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the order: each key of which both came has a run, none has two, and a snapshot in between changes nothing.
    #[test]
    fn the_same_keys_in_any_order_make_the_same_runs(
        events in Just((0..6_u8).flat_map(|key| [(key, "a"), (key, "b")]).collect::<Vec<_>>()).prop_shuffle(),
        left_out in 0..12_usize,
        saved_at in 0..12_usize,
    ) {
        let mut world = World::with([taker(&["a", "b"], PartitionMapper::Identity, vec![])]);
        let left = events[left_out];
        for (n, (partition, name)) in events.iter().copied().enumerate() {
            if n == saved_at {
                let bytes = world.namespace.freeze().to_bytes();
                world.namespace = Namespace::from_snapshot(&bytes).expect("of this build");
            }
            if n != left_out {
                update(&mut world, name, Some(&format!("k{partition}")));
            }
        }
        let mut made = keys(&world);
        made.sort_unstable();
        let wanted: Vec<String> =
            (0..6_u8).filter(|key| *key != left.0).map(|key| format!("k{key}")).collect();
        prop_assert_eq!(made, wanted);
        for run in runs(&world) {
            prop_assert_eq!(run.asset_events.len(), 2);
        }
    }
}
