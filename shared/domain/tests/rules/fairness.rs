//! Who is served when all can't be: weights first, then turns; what is full holds nobody else back; and no slot is
//! idle that something waiting could have.
use std::collections::BTreeMap;

use dagbok_domain::{
    namespace::Namespace,
    run::{Phase, Run},
};
use dagbok_events::{DagSpec, Expand, Fact, MapIndex, PoolName, PoolSet, Scope, TaskSpec};
use dagbok_protocol::Reason;
use proptest::prelude::*;

use super::support::*;

fn pool(name: &str) -> PoolName {
    PoolName::new(name).expect("a pool")
}

/// A DAG of so many tasks that wait for nothing.
fn wide(name: &str, tasks: usize, change: impl Fn(&mut TaskSpec)) -> DagSpec {
    let open = dag(name).with(|dag| dag.max_active_tasks = 10_000);
    (0..tasks).fold(open, |dag, n| dag.add(&format!("t{n}"), &[], &change))
}

/// How many tries of each DAG are in flight.
fn served(world: &World) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for run in world.namespace.active_runs().filter(|run| run.in_flight_count() > 0) {
        *found.entry(run.key().dag_id.to_string()).or_default() += run.in_flight_count();
    }
    found
}

#[test]
fn a_pool_that_is_all_but_full_starves_no_other() {
    // apache/airflow#45636: 1,000 urgent tasks for one slot, 100 others for a pool that is free.
    let urgent =
        wide("urgent", 1_000, |task| (task.pool, task.priority_weight) = (pool("first"), 2));
    let calm = wide("calm", 100, |task| (task.pool, task.priority_weight) = (pool("second"), 1));
    let mut world = World::with([urgent, calm]);
    world.set_pool("first", 19);
    world.trigger_as("urgent", "r1");
    world.settle();
    world.set_pool("first", 20);
    world.set_pool("second", 20);
    world.trigger_as("calm", "r1");
    world.settle();
    assert_eq!(world.namespace.pool_use("first"), Some((20, 20)));
    assert_eq!(
        world.namespace.pool_use("second"),
        Some((20, 20)),
        "at once, and not when the first is done"
    );
}

#[test]
fn a_dag_at_its_limit_starves_no_other() {
    // apache/airflow#21473 and #19622.
    let narrow = wide("narrow", 500, |task| task.priority_weight = 9);
    let mut world =
        World::with([narrow.with(|dag| dag.max_active_tasks = 1), wide("other", 50, |_| {})]);
    world.trigger_as("narrow", "r1");
    world.trigger_as("other", "r1");
    world.settle();
    assert_eq!(
        served(&world),
        BTreeMap::from([("narrow".to_owned(), 1), ("other".to_owned(), 50)])
    );
}

#[test]
fn dags_of_the_same_weight_take_turns() {
    let mut world =
        World::with([wide("a", 80, |_| {}), wide("b", 80, |_| {}), wide("c", 80, |_| {})]);
    world.set_pool("default_pool", 6);
    for dag in ["a", "b", "c"] {
        world.trigger_as(dag, "r1");
    }
    let mut begun = BTreeMap::new();
    for step in 0..60 {
        let from = world.log.len();
        world.settle();
        for record in &world.log[from..] {
            let Scope::Run(key) = &record.scope else { continue };
            let queued = |fact: &&Fact| matches!(fact, Fact::TaskQueued(_));
            *begun.entry(key.dag_id.to_string()).or_insert(0) +=
                record.facts.iter().filter(queued).count();
        }
        let (least, most) =
            (begun.values().min().expect("some"), begun.values().max().expect("some"));
        assert!(begun.len() == 3 && most - least <= 1, "{begun:?} at {step}");
        for _ in 0..=(step % 3) {
            let key = world.offered().first().expect("one is in flight").clone();
            world.succeed("e1", &key);
        }
    }
}

#[test]
fn who_comes_late_neither_waits_for_all_nor_makes_all_wait() {
    let mut world = World::with([wide("early", 200, |_| {}), wide("late", 200, |_| {})]);
    world.set_pool("default_pool", 1);
    world.trigger_as("early", "r1");
    let mut order = Vec::new();
    for n in 0..60 {
        if n == 30 {
            world.trigger_as("late", "r1");
        }
        world.settle();
        let [key] = &world.offered()[..] else { panic!("one at a time") };
        order.push(key.split('/').next().expect("a DAG").to_owned());
        world.succeed("e1", key);
    }
    let late = order[31..].iter().filter(|dag| *dag == "late").count();
    assert!((14..=15).contains(&late), "{order:?}");
}

#[test]
fn slots_count_and_not_tasks() {
    let big = wide("big", 100, |task| task.pool_slots = 3);
    let mut world = World::with([big, wide("small", 300, |_| {})]);
    world.set_pool("default_pool", 60);
    world.trigger_as("big", "r1");
    world.trigger_as("small", "r1");
    world.settle();
    let served = served(&world);
    assert!((9..=11).contains(&served["big"]), "{served:?}");
    assert!((27..=33).contains(&served["small"]), "{served:?}");
}

#[test]
fn pools_take_turns_where_all_share() {
    let of = |name: &'static str| wide(name, 100, move |task| task.pool = pool(name));
    let mut world = World::with([of("a"), of("b")]);
    world.set_pool("a", 100);
    world.set_pool("b", 100);
    world.set_limits(10, 10);
    world.trigger_as("a", "r1");
    world.trigger_as("b", "r1");
    world.settle();
    assert_eq!(served(&world), BTreeMap::from([("a".to_owned(), 5), ("b".to_owned(), 5)]));
}

#[test]
fn a_tasks_own_limits_hold_over_all_runs_and_in_each() {
    let spec = dag("etl")
        .add("over_all", &[], |task| task.max_active_tis_per_dag = Some(3))
        .add("in_each", &[], |task| {
            task.max_active_tis_per_dagrun = Some(2);
            task.expand = Some(Expand::Literal { length: 5 });
            task.is_mapped = true;
        })
        .with(|dag| (dag.max_active_tasks, dag.max_active_runs) = (100, 100));
    let mut world = World::with([spec]);
    for n in 0..5 {
        world.trigger_as("etl", &format!("r{n}"));
    }
    world.settle();
    let count =
        |world: &World, of: &str| world.offered().iter().filter(|key| key.contains(of)).count();
    assert_eq!((count(&world, "/over_all/"), count(&world, "/in_each")), (3, 10));
    world.succeed("e1", "etl/r0/over_all/1");
    world.succeed("e1", "etl/r3/in_each[0]/1");
    assert_eq!(world.settle(), ["TaskQueued in_each 1", "TaskQueued over_all 1"]);
    let why = |world: &World, task, map| world.why("etl", Some("r4"), Some(task), map).is.reasons;
    let reasons = why(&world, "over_all", MapIndex::UNMAPPED);
    let [Reason::MaxActiveTisPerDag { most: 3, holders }] = &reasons[..] else {
        panic!("{reasons:?}")
    };
    assert_eq!((holders.named.len(), holders.more), (3, 0));
    let reasons = why(&world, "in_each", MapIndex(4));
    let [Reason::MaxActiveTisPerDagRun { most: 2, holders }] = &reasons[..] else {
        panic!("{reasons:?}")
    };
    assert!(holders.named.iter().all(|it| it.run_id.as_str() == "r4"), "{holders:?}");
}

#[test]
fn each_run_keeps_to_the_limit_of_its_own_version() {
    let spec =
        |most| dag("etl").add("t", &[], move |task| task.max_active_tis_per_dag = Some(most));
    let mut world = World::with([spec(1)]);
    world.set_pool("default_pool", 0);
    world.trigger_as("etl", "old");
    world.settle();
    world.read(&spec(2));
    world.trigger_as("etl", "new1");
    world.trigger_as("etl", "new2");
    world.settle();
    world.set_pool("default_pool", 9);
    assert_eq!(world.settle(), ["TaskQueued t 1", "TaskQueued t 1"]);
    world.succeed("e1", "etl/old/t/1");
    assert_eq!(world.settle(), ["TaskQueued t 1"]);
    // Taken up again, the old one comes after the others.
    world.clear("etl", "old", false);
    world.succeed("e1", "etl/new1/t/1");
    assert_eq!(world.settle(), ["RunStarted"]);
    world.succeed("e1", "etl/new2/t/1");
    assert_eq!(world.settle(), ["TaskQueued t 2"]);
}

#[test]
fn tries_of_a_version_without_a_limit_count_against_one_that_has_it() {
    let mut world = World::with([dag("etl").add("t", &[], |_| ())]);
    world.trigger_as("etl", "old1");
    world.trigger_as("etl", "old2");
    world.settle();
    let offered = world.offered().len();
    world.read(&dag("etl").add("t", &[], |task| task.max_active_tis_per_dag = Some(2)));
    world.trigger_as("etl", "new");
    assert_eq!((offered, world.settle()), (2, Vec::<String>::new()));
    // A snapshot knows of them as well.
    let bytes = world.namespace.to_snapshot();
    world.namespace = Namespace::from_snapshot(&bytes).expect("ours");
    world.succeed("e1", "etl/old1/t/1");
    assert_eq!(world.settle(), ["TaskQueued t 1"]);
}

/// A task that nothing keeps from being queued, though the rules call for nothing.
fn idle(world: &World) -> Option<String> {
    let namespace = &world.namespace;
    let waiting =
        namespace.active_runs().filter(|run| matches!(run.phase(), Phase::Running { .. }));
    let mut waiting = waiting.flat_map(|run| run.instances().map(move |(no, it)| (run, no, it)));
    let found = waiting.find(|(run, no, it)| {
        let key = run.key();
        let task = run.spec(*no).task_id.as_str();
        let (dag, run_id) = (key.dag_id.as_str(), Some(key.run_id.as_str()));
        let why = || world.why(dag, run_id, Some(task), it.map_index).is.reasons;
        run.may_queue(*no, world.now).is_some() && why() == [Reason::Next]
    });
    found.map(|(run, no, _)| format!("{} {}", run.key(), run.spec(no).task_id))
}

/// What is over a limit.
fn over(world: &World, specs: &[DagSpec]) -> Option<String> {
    for name in ["default_pool", "gpu"] {
        let (used, slots) = world.namespace.pool_use(name).unwrap_or_default();
        if used > slots {
            return Some(format!("{name} has {slots} slots, {used} are used"));
        }
    }
    for spec in specs {
        let runs = || world.namespace.active_runs().filter(|run| run.key().dag_id == spec.dag_id);
        let flies = |run: &Run, ix: usize| {
            let of_task = run.in_flight().filter(|no| run.instance(*no).node as usize == ix);
            u32::try_from(of_task.count()).expect("few")
        };
        for (ix, task) in spec.tasks.iter().enumerate() {
            let each: Vec<u32> = runs().map(|run| flies(run, ix)).collect();
            let (all, one) = (each.iter().sum::<u32>(), each.iter().copied().max().unwrap_or(0));
            if task.max_active_tis_per_dag.is_some_and(|most| all > most)
                || task.max_active_tis_per_dagrun.is_some_and(|most| one > most)
            {
                return Some(format!(
                    "{} of {}: {all} in all, {one} in a run",
                    task.task_id, spec.dag_id
                ));
            }
        }
    }
    None
}

#[derive(Clone, Debug)]
enum Act {
    Trigger(usize),
    End(usize, bool),
    Pool(bool, u32),
    Delete,
    Limit(u32),
    Pause(usize),
    Unpause(usize),
    Pass(i64),
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0..4_usize).prop_map(Act::Trigger),
        8 => (any::<usize>(), any::<bool>()).prop_map(|(n, good)| Act::End(n, good)),
        1 => (any::<bool>(), 0..6_u32).prop_map(|(gpu, slots)| Act::Pool(gpu, slots)),
        1 => Just(Act::Pool(true, PoolSet::UNLIMITED)),
        1 => Just(Act::Delete),
        1 => (1..12_u32).prop_map(Act::Limit),
        1 => (0..4_usize).prop_map(Act::Pause),
        2 => (0..4_usize).prop_map(Act::Unpause),
        2 => (0..8_i64).prop_map(Act::Pass),
        1 => Just(Act::Restart),
    ];
    prop::collection::vec(act, 1..80)
}

fn some_dag(n: usize) -> impl Strategy<Value = DagSpec> {
    let cap = || prop_oneof![3 => Just(None), 1 => (1..3_u32).prop_map(Some)];
    let task = (any::<bool>(), 1..3_u32, 0..3_i32, cap(), cap(), 0..2_u16, 0..4_u32);
    let tasks = prop::collection::vec(task, 1..6);
    (tasks, 1..5_u32, 1..4_u32).prop_map(move |(tasks, at_once, runs)| {
        let mut spec = dag(&format!("d{n}"));
        (spec.max_active_tasks, spec.max_active_runs) = (at_once, runs);
        for (ix, (gpu, slots, weight, per_dag, per_run, retries, length)) in
            tasks.into_iter().enumerate()
        {
            spec = spec.add(&format!("t{ix}"), &[], |task| {
                task.pool = pool(if gpu { "gpu" } else { "default_pool" });
                (task.pool_slots, task.priority_weight) = (slots, weight);
                (task.max_active_tis_per_dag, task.max_active_tis_per_dagrun) = (per_dag, per_run);
                (task.retries, task.retry_delay) = (retries, secs(3));
                task.expand = (length > 1).then_some(Expand::Literal { length });
                task.is_mapped = length > 1;
            });
        }
        spec
    })
}

fn some_dags() -> impl Strategy<Value = Vec<DagSpec>> {
    (some_dag(0), some_dag(1), some_dag(2), some_dag(3)).prop_map(|(a, b, c, d)| vec![a, b, c, d])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_slot_is_idle_that_something_could_have(specs in some_dags(), acts in acts()) {
        let mut world = World::new();
        for spec in &specs {
            world.read(spec);
        }
        world.set_pool("default_pool", 3);
        world.set_pool("gpu", 2);
        let mut shrunk = false;
        for act in acts {
            match act {
                Act::Trigger(n) => drop(world.trigger(&format!("d{n}"))),
                Act::End(n, good) => {
                    let offered = world.offered();
                    if let Some(key) = offered.get(n % offered.len().max(1)) {
                        if good { world.succeed("e1", key) } else { world.fail("e1", key) };
                    }
                }
                Act::Pool(gpu, slots) => {
                    shrunk = true;
                    world.set_pool(if gpu { "gpu" } else { "default_pool" }, slots);
                }
                Act::Delete => {
                    shrunk = true;
                    world.delete_pool("gpu");
                }
                Act::Limit(most) => drop(world.set_limits(most, 10)),
                Act::Pause(n) => drop(world.pause(&format!("d{n}"))),
                Act::Unpause(n) => drop(world.unpause(&format!("d{n}"))),
                Act::Pass(n) => world.now = world.now.plus(secs(n)),
                Act::Restart => {
                    let bytes = world.namespace.to_snapshot();
                    let again = Namespace::from_snapshot(&bytes).expect("ours");
                    prop_assert_eq!(again.plan(world.now), world.namespace.plan(world.now));
                    prop_assert!(again.to_snapshot() == bytes, "made anew, the state differs");
                    world.namespace = again;
                }
            }
            world.settle();
            prop_assert_eq!(idle(&world), None);
            if !shrunk {
                prop_assert_eq!(over(&world, &specs), None);
            }
        }
    }

    /// Of DAGs that go on waiting none gets far ahead of another.
    #[test]
    fn while_a_dag_waits_no_other_gets_more_than_its_share(
        slots in prop::collection::vec(1..4_u32, 2..5), size in 4..9_u32, ends in prop::collection::vec(any::<usize>(), 60..120)
    ) {
        let specs: Vec<DagSpec> = slots.iter().enumerate()
            .map(|(n, slots)| wide(&format!("d{n}"), 150, |task| task.pool_slots = *slots))
            .collect();
        let mut world = World::new();
        for spec in &specs {
            world.read(spec);
        }
        world.set_pool("default_pool", size);
        for n in 0..slots.len() {
            world.trigger_as(&format!("d{n}"), "r1");
        }
        let mut taken = vec![0_u32; slots.len()];
        let mut from = 0;
        for end in std::iter::once(None).chain(ends.into_iter().map(Some)) {
            if let Some(end) = end {
                let offered = world.offered();
                world.succeed("e1", &offered[end % offered.len()]);
                from = world.log.len();
            }
            world.settle();
            for record in &world.log[from..] {
                let Scope::Run(key) = &record.scope else { continue };
                let n: usize = key.dag_id.as_str()[1..].parse().expect("a number");
                let queued = record.facts.iter().filter(|fact| matches!(fact, Fact::TaskQueued(_))).count();
                let got = u32::try_from(queued).expect("few") * slots[n];
                taken[n] += got;
            }
        }
        // What needs more slots at once is passed by what needs fewer, so only those alike are compared.
        for (n, one) in slots.iter().enumerate() {
            for (m, _) in slots.iter().enumerate().filter(|(_, other)| *other == one) {
                prop_assert!(taken[n].abs_diff(taken[m]) <= *one, "{taken:?} of {slots:?}");
            }
        }
    }
}

/// A DAG waits with a task of one slot while others are served before it, and then with one of two slots, too: its turn
/// stays where it stood, with or without a restart.
#[test]
fn what_comes_beside_what_waits_takes_no_turn_from_it() {
    let told = |restarts: bool| {
        let of = |weight: i32, slots: u32| {
            move |task: &mut TaskSpec| {
                task.pool = pool("p");
                (task.priority_weight, task.pool_slots) = (weight, slots);
            }
        };
        let patient = dag("patient").add("small", &[], of(1, 1)).task("gate", &[]).add(
            "large",
            &["gate"],
            of(1, 2),
        );
        let fresh = dag("fresh").add("small", &[], of(1, 1));
        let mut world = World::with([wide("urgent", 6, of(5, 1)), patient, fresh]);
        world.set_pool("p", 1);
        world.trigger_as("urgent", "r1");
        world.settle();
        world.trigger_as("patient", "r1");
        world.settle();
        for n in 0..5 {
            world.succeed("e1", &format!("urgent/r1/t{n}/1"));
            world.settle();
        }
        world.succeed("e1", "patient/r1/gate/1");
        world.settle();
        world.trigger_as("fresh", "r1");
        world.settle();
        if restarts {
            let bytes = world.namespace.to_snapshot();
            world.namespace = Namespace::from_snapshot(&bytes).expect("ours");
        }
        world.succeed("e1", "urgent/r1/t5/1");
        world.settle();
        served(&world)
    };
    assert_eq!(told(false), BTreeMap::from([("patient".to_owned(), 1)]));
    assert_eq!(told(true), told(false));
}
