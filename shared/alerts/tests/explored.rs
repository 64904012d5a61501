//! Every order of what can happen to one DAG's alerts, up to a depth: no state is forbidden, and none is a dead end.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
mod world;

use std::collections::BTreeSet;

use dagbok_alerts::AlertState;
use dagbok_events::encode_any;
use sha2::{Digest as _, Sha256};
use world::{Step, World};

/// How many steps one history has.
const DEPTH: usize = 6;

fn steps() -> Vec<Step> {
    vec![
        Step::Create(0, 0),
        Step::Fail(0, 0),
        Step::Succeed(0, 0),
        Step::Answer(0, 0),
        Step::Answer(0, 1),
        Step::Answer(0, 3),
        Step::Acknowledge(0),
        Step::Resolve(0),
        Step::Wait(301),
        Step::Crash,
    ]
}

/// What of a world the next steps depend on.
fn state(world: &World) -> Vec<u8> {
    let mut bytes = encode_any(&world.book);
    bytes.extend(encode_any(&world.watch));
    bytes.extend(encode_any(&world.now));
    bytes.extend(format!("{:?}{:?}", world.under_way, world.sending).into_bytes());
    Sha256::digest(bytes).to_vec()
}

/// Whoever is not told, and has not said that it is theirs, is told of it still.
fn is_no_dead_end(world: &World, path: &[Step]) {
    let due = world.agenda.next_due(&world.watch, &world.book, &world.policy);
    for alert in world.book.open() {
        let is_firing = matches!(alert.state, AlertState::Firing);
        let has_more = due.is_some() || !world.under_way.is_empty();
        assert!(!is_firing || has_more, "nothing is to come of {} after {path:?}", alert.summary);
        assert!(
            !is_firing || alert.held.is_some() || !alert.deliveries.is_empty(),
            "nobody was told of {} after {path:?}",
            alert.summary
        );
    }
    for alert in world.book.alerts().filter(|alert| !alert.is_open()) {
        let told = alert.told();
        let knows = |receiver: &str| {
            let mut all = alert.deliveries.values();
            all.any(|it| it.receiver == receiver && it.purpose.word() == "resolve")
        };
        assert!(told.iter().all(|it| knows(it)), "an end is not told after {path:?}");
    }
}

#[test]
fn every_order_of_events_up_to_a_depth_keeps_the_promises_and_none_is_a_dead_end() {
    let steps = steps();
    let mut seen: BTreeSet<Vec<u8>> = BTreeSet::new();
    let mut paths: Vec<Vec<Step>> = vec![Vec::new()];
    for _ in 0..DEPTH {
        let mut further = Vec::new();
        for path in &paths {
            for step in &steps {
                let mut world = World::new();
                for before in path {
                    world.take_unchecked(before);
                }
                // What always holds is held in there.
                world.take_unchecked(step);
                world.check();
                let mut path = path.clone();
                path.push(step.clone());
                is_no_dead_end(&world, &path);
                if seen.insert(state(&world)) {
                    further.push(path);
                }
            }
        }
        paths = further;
    }
    assert!(seen.len() > 500, "{} states", seen.len());
}
