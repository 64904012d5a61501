//! History is never refused: whatever it holds, it can be folded, asked about, saved and decided upon.
use dagbok_domain::{namespace::Namespace, run::Run};
use dagbok_events::{
    Fact, LostWhy, MapIndex, Record, Scope, Timestamp, TryKey, TryNumber, decode, encode,
    entry_json, subject_of,
};
use dagbok_protocol::CommandBody;
use proptest::prelude::*;

use super::{arbitrary, support::*};

fn fold(records: &[Record]) -> Namespace {
    let mut namespace = Namespace::new();
    for (seq, record) in (1..).zip(records) {
        namespace.evolve(seq, record);
    }
    namespace
}

/// Slots and tries in flight are what the active runs hold, to the last one.
fn counts_hold(namespace: &Namespace) -> Result<(), TestCaseError> {
    for pool in ["default_pool", "gpu"] {
        let holds = namespace.active_runs().flat_map(Run::instances);
        let holds = holds.filter_map(|(_, task)| task.state.hold());
        let used: u64 =
            holds.filter(|hold| hold.pool.as_str() == pool).map(|hold| u64::from(hold.slots)).sum();
        let (counted, _) = namespace.pool_use(pool).unwrap_or_default();
        prop_assert_eq!(u64::from(counted), used.min(u64::from(u32::MAX)), "slots of {}", pool);
    }
    let in_flight: usize = namespace.active_runs().map(Run::in_flight_count).sum();
    prop_assert_eq!(namespace.in_flight() as usize, in_flight);
    for executor in namespace.executors() {
        let running = namespace.active_runs().flat_map(Run::instances);
        let running = running.filter(|(_, task)| task.state.executor() == Some(executor)).count();
        prop_assert_eq!(namespace.held_by(executor).len(), running);
    }
    Ok(())
}

/// Asks everything that the scheduler ever asks.
fn ask_all(world: &mut World, now: Timestamp) -> Result<(), TestCaseError> {
    world.now = now;
    for proposal in world.namespace.plan(now) {
        let record = world.namespace.carry_out(now, &proposal);
        if let Some(record) = record {
            let mut after = world.namespace.clone();
            after.evolve(after.last_seq() + 1, &record);
            counts_hold(&after)?;
        }
    }
    if let Some(due) = world.namespace.next_due(now) {
        prop_assert!(due > now);
    }
    for queued in world.namespace.queued_tries() {
        prop_assert!(world.namespace.work_item(queued).is_some());
    }
    for name in ["e0", "e1"] {
        world.namespace.executor_gone(now, &executor(name));
    }
    let file = file_of(&dag("d0").task("t0", &[]).daily("2024-01-01"));
    let mut bodies = vec![
        CommandBody::TriggerRun(ask("d0")),
        CommandBody::PauseDag { dag_id: dag_id("d0") },
        CommandBody::UnpauseDag { dag_id: dag_id("d0") },
        CommandBody::DagFileRead(Box::new(file)),
        CommandBody::DagFileGone { file: "d0.py".to_owned() },
        CommandBody::CancelRun { dag_id: dag_id("d0"), run_id: run_key("d0", "r0").run_id },
        CommandBody::ExecutorFull { executor: executor("e0"), full: true },
        CommandBody::ExecutorLeft { executor: executor("e0") },
    ];
    for (task, n) in [("t0", 1), ("t1", 1), ("t0", u16::MAX)] {
        let key = TryKey {
            dag_id: dag_id("d0"),
            run_id: run_key("d0", "r0").run_id,
            task_id: task_id(task),
            map_index: MapIndex::UNMAPPED,
            try_number: TryNumber::new(n).expect("from one"),
            leg: dagbok_events::Leg::FIRST,
        };
        world.namespace.give_up(now, &key, LostWhy::NotHeld);
        let text = format!("d0/r0/{task}/{n}");
        for body in [started(), succeeded(Vec::new()), dagbok_protocol::ReportBody::Returned] {
            bodies.push(CommandBody::Report(Box::new(report("e0", &text, now, body))));
        }
    }
    for body in bodies {
        let command = world.command(body);
        let decision = world.namespace.decide(now, &command);
        let mut after = world.namespace.clone();
        for record in &decision.records {
            after.evolve(after.last_seq() + 1, record);
        }
        counts_hold(&after)?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_history_can_be_folded_and_asked_about(records in arbitrary::history(), late in any::<bool>()) {
        let mut world = World::new();
        world.namespace = fold(&records);
        counts_hold(&world.namespace)?;
        ask_all(&mut world, at("2024-01-01T00:00:10Z"))?;
        if late {
            ask_all(&mut world, Timestamp(i64::MAX))?;
            ask_all(&mut world, Timestamp(i64::MIN))?;
        }
        // A snapshot of odd history may be refused, in which case the log is folded; it never panics.
        if let Ok(restored) = Namespace::from_snapshot(&world.namespace.to_snapshot()) {
            counts_hold(&restored)?;
        }
    }

    #[test]
    fn any_record_comes_back_as_it_was_stored(record in arbitrary::record()) {
        let bytes = encode(&record);
        prop_assert_eq!(decode(&bytes).expect("ours"), record.clone());
        prop_assert!(decode(&bytes[..bytes.len() - 1]).is_err());
        prop_assert_eq!(&entry_json(7, &record)["seq"], &serde_json::json!(7));
        prop_assert!(subject_of(&record.scope).starts_with("log."));
    }

    #[test]
    fn any_bytes_are_a_record_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(decode(&bytes));
        drop(Namespace::from_snapshot(&bytes));
    }
}

/// The log of a lively day.
fn lively() -> World {
    let spec = dag("d0").add("t0", &[], |task| (task.retries, task.retry_delay) = (2, secs(0)));
    let spec = spec.task("t1", &["t0"]).task("t2", &["t0"]).task("t3", &["t1", "t2"]);
    let spec = spec.daily("2024-01-01").with(|dag| dag.dagrun_timeout = Some(HOUR));
    let mut world = World::with([spec.clone(), dag("d1").task("t0", &[])]);
    for run in ["r0", "r1"] {
        world.trigger_as("d0", run);
        world.trigger_as("d1", run);
    }
    world.settle();
    world.start("e0", "d0/r0/t0/1");
    world.fail("e0", "d0/r0/t0/1");
    world.settle();
    world.start("e1", "d0/r0/t0/2");
    world.gone("e1");
    world.settle();
    world.succeed("e0", "d0/r0/t0/3");
    world.pause("d0");
    world.unpause("d0");
    world.settle();
    world.fail("e0", "d0/r0/t1/1");
    world.read(&spec.add("t4", &[], |_| {}));
    world.cancel("d1", "r0");
    world.pass(DAY);
    world.succeed("e0", "d1/r1/t0/1");
    world
}

#[test]
fn tasks_that_wait_for_each_other_are_ruled_out_once() {
    let spec = dag("d").task("c", &[]).task("a", &["c"]).task("b", &["a"]);
    let mut world = World::with([spec]);
    world.trigger_as("d", "r1");
    world.settle();
    // No file is registered with such an edge; a log may have one all the same.
    for record in &mut world.log {
        for fact in &mut record.facts {
            if let Fact::DagRegistered(f) = fact {
                f.spec.tasks[1].upstream.push(2);
            }
        }
    }
    world.namespace = fold(&world.log);
    world.fail("e1", "d/r1/c/1");
    let facts = &world.log.last().expect("the failure").facts;
    let ruled_out = facts.iter().filter(|fact| matches!(fact, Fact::TaskRuledOut(_))).count();
    assert_eq!((ruled_out, world.is_active("d", "r1")), (2, false));
}

#[test]
fn a_log_out_of_order_twice_over_or_with_holes_is_folded_all_the_same() {
    let log = lively().log;
    assert!(log.len() > 20);
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut roll = |sides: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % sides as u64).expect("small")
    };
    for _ in 0..2_000 {
        let mut odd: Vec<Record> = Vec::new();
        for _ in 0..log.len() * 2 {
            let mut record = log[roll(log.len())].clone();
            match roll(6) {
                0 => record.facts.reverse(),
                1 => {
                    let fact: Fact = log[roll(log.len())].facts[0].clone();
                    record.facts.push(fact);
                }
                2 => drop(record.facts.pop()),
                3 => record.scope = Scope::Run(run_key("d0", "r0")),
                _ => {}
            }
            odd.push(record);
        }
        let namespace = fold(&odd);
        counts_hold(&namespace).expect("counts follow the runs");
        let now = at("2024-01-02T00:00:00Z");
        for proposal in namespace.plan(now) {
            namespace.carry_out(now, &proposal);
        }
        assert!(namespace.next_due(now).is_none_or(|due| due > now));
    }
}

#[test]
fn a_log_folded_again_or_from_any_snapshot_on_gives_the_same_state() {
    let world = lively();
    let whole = fold(&world.log);
    assert_eq!(whole.to_snapshot(), world.namespace.to_snapshot());
    for cut in 0..=world.log.len() {
        let part = fold(&world.log[..cut]);
        let mut restored = Namespace::from_snapshot(&part.to_snapshot()).expect("ours");
        assert_eq!(restored.to_snapshot(), part.to_snapshot(), "at {cut}");
        for (seq, record) in (1..).zip(&world.log).skip(cut) {
            restored.evolve(seq, record);
        }
        assert_eq!(restored.to_snapshot(), whole.to_snapshot(), "from {cut} on");
    }
}
