//! Snapshots that can't be used are refused with the reason, and never half taken over.
use dagbok_domain::namespace::{BadSnapshot, Namespace, Outcome, SNAPSHOT_VERSION};

use super::support::*;

#[test]
fn a_snapshot_of_another_version_is_refused() {
    #[derive(serde::Serialize)]
    struct Head {
        version: u32,
        body: &'static str,
    }
    let other = Head { version: SNAPSHOT_VERSION + 1, body: "of another shape" };
    let refused = Namespace::from_snapshot(&dagbok_events::encode_any(&other));
    assert!(
        matches!(refused, Err(BadSnapshot::OtherVersion { found }) if found == SNAPSHOT_VERSION + 1)
    );
}

#[test]
fn a_damaged_snapshot_is_refused_and_never_panics() {
    let mut world = World::with([dag("etl").daily("2024-01-01").task("a", &[]).task("b", &["a"])]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.start("e1", "etl/r1/a/1");
    let bytes = world.namespace.to_snapshot();
    for end in 0..bytes.len() {
        assert!(Namespace::from_snapshot(&bytes[..end]).is_err(), "cut at {end}");
    }
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x15;
        if let Ok(namespace) = Namespace::from_snapshot(&damaged) {
            namespace.plan(world.now);
            namespace.next_due(world.now);
        }
    }
    assert!(Namespace::from_snapshot(&[]).is_err());
}

#[test]
fn a_restart_from_a_snapshot_goes_on_as_if_nothing_had_been() {
    let spec =
        dag("etl").add("a", &[], |task| task.retries = 1).task("b", &["a"]).task("c", &["a"]);
    let mut world = World::with([spec, dag("daily").daily("2024-01-01").task("x", &[])]);
    world.set_pool("default_pool", 7);
    world.set_limits(9, 3);
    world.trigger_as("etl", "r1");
    world.settle();
    world.start("e1", "etl/r1/a/1");
    world.fail("e1", "etl/r1/a/1");
    world.trigger_as("etl", "r2");
    world.settle();
    world.start("e2", "etl/r2/a/1");
    let live = world.namespace.clone();
    world.namespace = Namespace::from_snapshot(&live.to_snapshot()).expect("ours");
    assert_eq!(world.namespace.to_snapshot(), live.to_snapshot());
    for hours in [0, 1, 24, 48] {
        let now = world.now.plus(secs(hours * 3_600));
        assert_eq!(world.namespace.plan(now), live.plan(now));
        assert_eq!(world.namespace.next_due(now), live.next_due(now));
    }
    assert_eq!(world.namespace.pool_use("default_pool"), live.pool_use("default_pool"));
    assert_eq!(world.namespace.held_by(&executor("e2")), live.held_by(&executor("e2")));
    assert_eq!(world.namespace.in_flight(), 1);
}

#[test]
fn so_many_commands_are_remembered_and_the_oldest_forgotten() {
    use dagbok_protocol::{CommandBody, PoolChange, limits::COMMANDS_REMEMBERED};
    let mut world = World::new();
    let pool = dagbok_events::PoolName::new("p").expect("a pool");
    let first = world.command(CommandBody::SetPool(PoolChange::sized(pool.clone(), 1)));
    world.deliver(&first);
    for n in 0..COMMANDS_REMEMBERED {
        let slots = u32::try_from(n).expect("few") + 2;
        let command = world.command(CommandBody::SetPool(PoolChange::sized(pool.clone(), slots)));
        let [record] = &world.namespace.decide(world.now, &command).records[..] else { panic!() };
        world.namespace.evolve(world.namespace.last_seq() + 1, record);
        if n + 2 == COMMANDS_REMEMBERED {
            let again = world.namespace.decide(world.now, &first).outcome;
            assert!(matches!(again, Outcome::Seen { seq: 1, .. }));
        }
    }
    assert_eq!(world.namespace.decide(world.now, &first).records.len(), 1, "forgotten");
    let again = Namespace::from_snapshot(&world.namespace.to_snapshot()).expect("ours");
    assert_eq!(again.to_snapshot(), world.namespace.to_snapshot());
}
