//! Published limits that no other file of these tests is about, each at its edge: what is just within is taken, what is
//! just beyond is not, and that is said.
use dagbok_events::{
    Actor, AssetCondition, AssetKey, AssetRef, DagSpec, ExecutorCordoned, ExecutorName, Fact,
    HitlAsk, MapIndex, Micros, PartitionMapper, PartitionRule, PartitionWindow, Payload, PoolName,
    Record, RunCreated, RunId, RunType, Scope, Timestamp, Timetable, TriggerCall, Usage,
};
use dagbok_protocol::{
    AnswerHitl, AssetUpdate, CommandBody, CordonExecutor, PoolChange, Reason, RefusalCode,
    ReportBody, TriggerRun,
    limits::{
        ASSET_EVENTS_BYTES, ASSET_EXTRA_BYTES, CONSECUTIVE_FAILED_RUNS, CORDONS,
        DEFAULT_POOL_SLOTS, DESCRIPTION_BYTES, HITL_ANSWER_BYTES, MAX_LOSSES, PARALLELISM,
        PARTITION_EVENTS_KEPT, PARTITION_KEY_CHARS, PARTITION_KEYS_BYTES, PARTITION_KEYS_PER_EVENT,
        PARTITION_RUN_OFFSET, PAST_RUNS, SPEC_PACKED_BYTES,
    },
};

use super::support::*;

fn key(name: &str) -> AssetKey {
    AssetKey { name: name.to_owned(), uri: format!("s3://{name}") }
}

fn waits_for(names: &[&str]) -> AssetCondition {
    let one = |name: &&str| {
        let AssetKey { name, uri } = key(name);
        let of = AssetRef::Asset { name, uri, group: "asset".to_owned(), extra: None };
        AssetCondition::One { of }
    };
    AssetCondition::All { of: names.iter().map(one).collect() }
}

fn by_partition(names: &[&str], mapper: PartitionMapper) -> DagSpec {
    let default = PartitionRule { mapper, max_downstream_keys: None };
    dag("taker")
        .with(|dag| {
            (dag.era, dag.asset_condition) = (3, Some(waits_for(names)));
            dag.schedule.timetable = Timetable::PartitionedAsset { default, rules: vec![] };
        })
        .task("take", &[])
}

fn update(world: &mut World, name: &str, partition: Option<String>, extra: Option<String>) -> Sent {
    let body = AssetUpdate { asset: key(name), extra, partition_key: partition };
    world.send(CommandBody::UpdateAsset(body))
}

/// Runs that events made.
fn made(world: &World) -> Vec<&RunCreated> {
    let facts = world.log.iter().flat_map(|record| &record.facts);
    let made = facts.filter_map(|fact| match fact {
        Fact::RunCreated(f) if f.run_type == RunType::AssetTriggered => Some(&**f),
        _ => None,
    });
    made.collect()
}

#[test]
fn a_partition_key_has_so_many_characters() {
    let mut world = World::with([by_partition(&["a"], PartitionMapper::Identity)]);
    let of = |chars: usize| Some("é".repeat(chars));
    assert!(!update(&mut world, "a", of(PARTITION_KEY_CHARS), None).records.is_empty());
    update(&mut world, "a", of(PARTITION_KEY_CHARS + 1), None).refused(RefusalCode::Invalid, []);
}

#[test]
fn one_event_counts_for_so_many_partitions() {
    for (beyond, runs) in [(0, PARTITION_KEYS_PER_EVENT), (1, 0)] {
        let segments = (0..PARTITION_KEYS_PER_EVENT + beyond).map(|n| format!("k{n}")).collect();
        let mapper = PartitionMapper::FanOut {
            upstream: Box::new(PartitionMapper::Identity),
            window: PartitionWindow::Segments { segments },
            downstream: Box::new(PartitionMapper::Identity),
        };
        let mut world = World::with([by_partition(&["a"], mapper)]);
        update(&mut world, "a", Some("all".to_owned()), None);
        world.settle();
        assert_eq!(made(&world).len(), runs);
    }
}

#[test]
fn partitions_that_wait_keep_so_many_events() {
    let mut world = World::with([by_partition(&["a", "b"], PartitionMapper::Identity)]);
    let dropped = |world: &World| {
        let reasons = world.why("taker", None, None, MapIndex::UNMAPPED).is.reasons;
        match reasons.first() {
            Some(Reason::Partitions { events_dropped, .. }) => *events_dropped,
            other => panic!("{other:?}"),
        }
    };
    // Each partition keeps fewer than a run does.
    let partitions = PARTITION_EVENTS_KEPT / 100;
    for n in 0..PARTITION_EVENTS_KEPT {
        update(&mut world, "a", Some(format!("k{}", n % partitions)), None);
    }
    assert_eq!(dropped(&world), 0);
    update(&mut world, "a", Some("k0".to_owned()), None);
    assert_eq!(dropped(&world), 1);
}

#[test]
fn a_partition_lies_so_many_ticks_from_its_run() {
    let of = |run_offset: i32| {
        let mut spec = dag("d").daily("2024-01-01").task("a", &[]);
        spec.schedule.timetable = Timetable::CronPartition {
            expression: "0 * * * *".to_owned(),
            run_offset,
            key_format: "%Y-%m-%d".to_owned(),
            run_immediately: dagbok_events::RunImmediately::IfNear,
        };
        dagbok_domain::namespace::spec_fault(&spec).is_none()
    };
    let most = i32::try_from(PARTITION_RUN_OFFSET).expect("small");
    assert_eq!([most, most + 1, -most, -most - 1].map(of), [true, false, true, false]);
}

#[test]
fn the_events_that_make_a_run_take_so_many_bytes() {
    let spec = dag("taker")
        .with(|dag| (dag.era, dag.asset_condition) = (3, Some(waits_for(&["a", "b"]))))
        .task("take", &[]);
    let mut world = World::with([spec]);
    let extra = format!("{{\"x\":\"{}\"}}", "y".repeat(ASSET_EXTRA_BYTES - 8));
    let sent = ASSET_EVENTS_BYTES / ASSET_EXTRA_BYTES + 3;
    for _ in 0..sent {
        update(&mut world, "a", None, Some(extra.clone()));
    }
    update(&mut world, "b", None, None);
    world.settle();
    let runs = made(&world);
    let (kept, left_out) = (&runs[0].asset_events, runs[0].asset_events_left_out);
    assert_eq!(kept.len() + left_out as usize, sent + 1);
    let bytes: usize = kept.iter().filter_map(|event| event.extra.as_ref()).map(String::len).sum();
    assert!(bytes <= ASSET_EVENTS_BYTES && left_out > 0, "{bytes} bytes, {left_out} left out");
    assert!(bytes + 2 * ASSET_EXTRA_BYTES > ASSET_EVENTS_BYTES, "no more than that is left out");
}

#[test]
fn so_many_names_are_cordoned_at_a_time() {
    let mut world = World::new();
    world.join("e1");
    let name = |n: usize| ExecutorName::new(format!("x{n}")).expect("a name");
    let cordoned =
        |n| Fact::ExecutorCordoned(ExecutorCordoned { name: name(n), drain: false, limit: None });
    let all = Record {
        at: world.now,
        clock: None,
        scope: Scope::Namespace,
        by: Actor::Scheduler,
        reason: None,
        cause: None,
        trace: None,
        facts: (0..CORDONS).map(cordoned).collect(),
    };
    world.append(&all);
    let ask = || CordonExecutor { executor: "e1".to_owned(), drain: false, limit: None };
    world.send(CommandBody::CordonExecutor(ask())).refused(RefusalCode::Invalid, []);
    world.send(CommandBody::UncordonExecutor { executor: "x7".to_owned() });
    world.send(CommandBody::CordonExecutor(ask())).is(["ExecutorCordoned localhost false"]);
}

#[test]
fn a_description_has_so_many_bytes() {
    let mut world = World::new();
    let mut set = |bytes: usize| {
        let pool = PoolName::new("gpu").expect("a pool");
        let mut change = PoolChange::sized(pool, 4);
        change.description = Some("x".repeat(bytes));
        world.send(CommandBody::SetPool(change))
    };
    set(DESCRIPTION_BYTES).is(["PoolSet gpu 4"]);
    set(DESCRIPTION_BYTES + 1).refused(RefusalCode::Invalid, []);
}

#[test]
fn an_answer_to_a_task_has_so_many_bytes() {
    let ask = HitlAsk {
        subject: "Ship it?".to_owned(),
        body: None,
        options: vec!["Approve".to_owned()],
        defaults: None,
        multiple: false,
        params: Some(r#"{"x":""}"#.to_owned()),
        assigned_users: vec![],
    };
    let mut world = World::with([dag("etl").task("ask", &[])]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.start("e1", "etl/r1/ask/1");
    let kwargs = Payload::Inline("{}".to_owned());
    let body = ReportBody::Deferred {
        trigger: TriggerCall { class_path: "any.Trigger".to_owned(), kwargs },
        next_method: "execute_complete".to_owned(),
        next_kwargs: None,
        timeout_at: None,
        ask: Some(Box::new(ask)),
        xcoms: Vec::new(),
        usage: Usage::default(),
        log: None,
    };
    world.report("e1", "etl/r1/ask/1", body);
    let mut answer = |bytes: usize| {
        let input = format!("{{\"x\":\"{}\"}}", "y".repeat(bytes - 8));
        assert_eq!(input.len(), bytes);
        world.send(CommandBody::AnswerHitl(Box::new(AnswerHitl {
            dag_id: dag_id("etl"),
            run_id: RunId::new("r1").expect("an id"),
            task_id: task_id("ask"),
            map_index: MapIndex::UNMAPPED,
            chosen_options: vec!["Approve".to_owned()],
            params_input: Some(input),
        })))
    };
    answer(HITL_ANSWER_BYTES + 1).refused(RefusalCode::Invalid, []);
    assert!(!answer(HITL_ANSWER_BYTES).records.is_empty());
}

#[test]
fn so_many_failed_runs_in_a_row_are_remembered() {
    let of = |most| {
        let spec = dag("d").task("a", &[]).with(|dag| dag.max_consecutive_failed_dag_runs = most);
        dagbok_domain::namespace::spec_fault(&spec).is_none()
    };
    assert!(of(CONSECUTIVE_FAILED_RUNS) && !of(CONSECUTIVE_FAILED_RUNS + 1));
    let mut world = World::new();
    let mut set = |most| {
        world.send(CommandBody::SetLimits {
            parallelism: 16,
            max_losses: 10,
            max_consecutive_failed_dag_runs: Some(most),
            task_queued_timeout: None,
        })
    };
    set(CONSECUTIVE_FAILED_RUNS + 1).refused(RefusalCode::Invalid, []);
    assert!(!set(CONSECUTIVE_FAILED_RUNS).records.is_empty());
}

/// Runs are made from the newest date down, so that none has one before it to wait for.
#[test]
fn of_so_many_runs_the_past_is_remembered() {
    let spec = dag("etl").add("a", &[], |task| {
        (task.retries, task.depends_on_past) = (0, true);
    });
    let mut world = World::with([spec.with(|dag| dag.max_active_runs = 4)]);
    let begin = world.now.plus(secs(-86_400));
    let date = |n: usize| begin.plus(secs(10 * i64::try_from(n).expect("small")));
    let trigger = |world: &mut World, run: &str, at: Timestamp| {
        let run_id = Some(RunId::new(run).expect("a run id"));
        world.send(CommandBody::TriggerRun(TriggerRun {
            run_id,
            logical_date: Some(at),
            ..ask("etl")
        }));
        world.settle();
    };
    for n in (0..=PAST_RUNS).rev() {
        let run = format!("r{n}");
        trigger(&mut world, &run, date(n));
        world.start("e1", &format!("etl/{run}/a/1"));
        world.fail("e1", &format!("etl/{run}/a/1"));
        world.settle();
    }
    // The oldest is forgotten; what comes right after it waits for nothing.
    trigger(&mut world, "after-oldest", date(0).plus(Micros(1)));
    trigger(&mut world, "after-next", date(1).plus(Micros(1)));
    let offered = world.offered();
    assert_eq!(offered, ["etl/after-oldest/a/1"], "the next one is remembered");
}

#[test]
fn a_dag_takes_so_many_bytes_compressed() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut letter = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        char::from(33 + u8::try_from(seed % 90).expect("small"))
    };
    let noise: String = std::iter::repeat_with(&mut letter).take(2 * SPEC_PACKED_BYTES).collect();
    let of = |chars: usize| {
        let spec = dag("d").task("a", &[]);
        spec.with(|dag| dag.doc_md = Some(noise[..chars].to_owned()))
    };
    let packed = |chars: usize| dagbok_events::encode_packed(&of(chars), 0).len();
    let (mut fits, mut too_many) = (0, noise.len());
    assert!(packed(too_many) > SPEC_PACKED_BYTES);
    while too_many - fits > 1 {
        let middle = usize::midpoint(fits, too_many);
        if packed(middle) <= SPEC_PACKED_BYTES {
            fits = middle;
        } else {
            too_many = middle;
        }
    }
    let mut world = World::new();
    world.read(&of(fits)).is(["DagRegistered d v1"]);
    let refused = dagbok_domain::namespace::spec_fault(&of(too_many));
    assert!(format!("{refused:?}").contains("bytes compressed"), "{refused:?}");
}

/// A fact that names so many keys would be a record that fits nowhere.
#[test]
fn the_keys_that_one_record_names_have_so_many_bytes() {
    for (beyond, is_taken) in [(0, true), (1, false)] {
        let each = PARTITION_KEYS_BYTES / PARTITION_KEYS_PER_EVENT;
        let more = PARTITION_KEYS_BYTES % PARTITION_KEYS_PER_EVENT + beyond;
        let segment = |n: usize| {
            let bytes = each + usize::from(n < more);
            // Two bytes a character, since a key has fewer characters than these have bytes.
            let (odd, pairs) = (bytes % 2, (bytes - 6) / 2);
            format!("{n:06}{}{}", "x".repeat(odd), "é".repeat(pairs))
        };
        let segments: Vec<String> = (0..PARTITION_KEYS_PER_EVENT).map(segment).collect();
        let bytes: usize = segments.iter().map(String::len).sum();
        assert_eq!(bytes, PARTITION_KEYS_BYTES + beyond);
        let mapper = PartitionMapper::FanOut {
            upstream: Box::new(PartitionMapper::Identity),
            window: PartitionWindow::Segments { segments },
            downstream: Box::new(PartitionMapper::Identity),
        };
        let mut world = World::with([by_partition(&["a"], mapper)]);
        let sent = update(&mut world, "a", Some("all".to_owned()), None);
        let Fact::AssetUpdated(f) = &sent.records[0].facts[0] else { panic!("{:?}", sent.records) };
        let told = &f.partitioned_for[0];
        assert_eq!(
            (told.keys.len() == PARTITION_KEYS_PER_EVENT, told.refused.is_none()),
            (is_taken, is_taken)
        );
        if let Some(why) = &told.refused {
            assert!(why.contains("more than one record has room for"), "{why}");
        }
    }
}

/// As many tasks that wait for nothing, and how many of them are queued.
fn queued_of(tasks: u32, pool: Option<&str>) -> usize {
    let mut spec = dag("etl").with(|dag| dag.max_active_tasks = u32::MAX);
    for n in 0..tasks {
        spec = spec.add(&format!("t{n}"), &[], |task| {
            if let Some(pool) = pool {
                task.pool = PoolName::new(pool).expect("a name");
            }
        });
    }
    let mut world = World::new();
    if let Some(pool) = pool {
        world.set_pool(pool, u32::MAX);
    }
    world.read(&spec);
    world.trigger_as("etl", "r1");
    world.settle().iter().filter(|it| it.starts_with("TaskQueued")).count()
}

#[test]
fn a_pool_that_nobody_set_has_so_many_slots() {
    assert_eq!(queued_of(DEFAULT_POOL_SLOTS, None), DEFAULT_POOL_SLOTS as usize);
    assert_eq!(queued_of(DEFAULT_POOL_SLOTS + 1, None), DEFAULT_POOL_SLOTS as usize);
}

#[test]
fn so_many_tasks_run_at_once_where_nobody_says_otherwise() {
    assert_eq!(queued_of(PARALLELISM + 1, Some("wide")), PARALLELISM as usize);
}

#[test]
fn a_task_is_made_up_for_so_many_losses_where_nobody_says_otherwise() {
    let mut world = World::with([dag("etl").task("a", &[])]);
    world.join("e1");
    world.trigger_as("etl", "r1");
    world.settle();
    for n in 1..=MAX_LOSSES + 1 {
        world.start("e1", &format!("etl/r1/a/{n}"));
        let lost = world.gone("e1");
        let ends = lost[0].ends_with("retry never");
        assert_eq!(ends, n > MAX_LOSSES, "{lost:?}");
        world.pass(secs(3_600));
        world.join("e1");
    }
}
