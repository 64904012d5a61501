//! What the broker may hold is told of before it is full: each store by itself, and each until there is room.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
mod world;

use dagbok_alerts::{
    Alert, AlertFact, AlertRecord, AlertScope, AlertState, AskBody, By, DiskObserved, Rule,
    StoreObserved,
    limits::{STORE_GONE, STORES},
};
use dagbok_events::Micros;
use world::{
    World,
    acts::{MINUTE, wait},
};

/// A store is looked at: of 1,000 MiB so many are left.
fn look(world: &mut World, store: &str, left: u64) {
    let (used, most) = ((1_000 - left) << 20, 1_000 << 20);
    let seen = StoreObserved { store: store.to_owned(), used, most };
    if !world.book.store_is_news(world.now, &seen) {
        return;
    }
    let (at, facts) = (world.now, vec![AlertFact::StoreObserved(seen)]);
    let seen = world.watch.last_seq();
    world.append(&AlertRecord { at, by: By::Rules, reason: None, seen, facts });
    world.settle();
}

fn open_of<'a>(world: &'a World, store: &str) -> Option<&'a Alert> {
    let scope = AlertScope::Store(store.to_owned());
    world.book.open().find(|it| it.rule == Rule::DiskFilling && it.scope == scope)
}

#[test]
fn each_store_is_told_of_before_it_is_full_and_until_there_is_room() {
    let mut world = World::new();
    look(&mut world, "n1", 900);
    look(&mut world, "n2", 900);
    wait(&mut world, Micros(40 * MINUTE.0));
    look(&mut world, "n1", 600);
    look(&mut world, "n2", 900);
    let alert = open_of(&world, "n1").unwrap();
    assert_eq!(alert.labels["severity"], "warning");
    assert_eq!(alert.labels["store"], "n1");
    assert!(alert.summary.starts_with("n1 has 600 of 1000 MiB left, and full in 80 minutes"));
    assert!(open_of(&world, "n2").is_none(), "the other has room");
    // That one has it in hand says nothing of the other.
    let id = alert.id;
    world.ask(AskBody::Acknowledge { id });
    wait(&mut world, Micros(5 * MINUTE.0));
    look(&mut world, "n2", 49);
    assert_eq!(open_of(&world, "n2").unwrap().labels["severity"], "critical");
    assert!(matches!(open_of(&world, "n1").unwrap().state, AlertState::Acknowledged { .. }));
    wait(&mut world, Micros(5 * MINUTE.0));
    look(&mut world, "n2", 900);
    assert!(open_of(&world, "n2").is_none());
}

#[test]
fn what_comes_to_be_little_is_noted_at_once() {
    let mut world = World::new();
    look(&mut world, "n1", 900);
    wait(&mut world, Micros::from_secs(10));
    look(&mut world, "n1", 600);
    assert!(open_of(&world, "n1").is_none(), "that much is noted each five minutes");
    look(&mut world, "n1", 40);
    assert_eq!(open_of(&world, "n1").unwrap().labels["severity"], "critical");
}

#[test]
fn a_store_and_the_disk_of_the_folder_are_two_things() {
    let mut world = World::new();
    look(&mut world, "n1", 10);
    let disk = DiskObserved {
        host: "one".to_owned(),
        folder: "/data".to_owned(),
        free: 900 << 20,
        total: 1_000 << 20,
        low_percent: 5,
    };
    let (at, facts) = (world.now, vec![AlertFact::DiskObserved(disk)]);
    world.append(&AlertRecord { at, by: By::Rules, reason: None, seen: 0, facts });
    world.settle();
    assert!(open_of(&world, "n1").is_some());
    let rules = world.book.open().map(|it| (it.rule, it.scope.to_string())).collect::<Vec<_>>();
    assert_eq!(rules, [(Rule::DiskFilling, "store:n1".to_owned())]);
}

#[test]
fn what_somebody_closed_is_opened_only_where_it_is_worse() {
    let mut world = World::new();
    look(&mut world, "n1", 900);
    wait(&mut world, Micros(40 * MINUTE.0));
    look(&mut world, "n1", 600);
    let id = open_of(&world, "n1").unwrap().id;
    world.ask(AskBody::Resolve { id });
    world.settle();
    assert!(open_of(&world, "n1").is_none());
    wait(&mut world, Micros(5 * MINUTE.0));
    look(&mut world, "n1", 550);
    assert!(open_of(&world, "n1").is_none(), "that was known");
    wait(&mut world, Micros(5 * MINUTE.0));
    look(&mut world, "n1", 30);
    assert_eq!(open_of(&world, "n1").unwrap().labels["severity"], "critical");
}

#[test]
fn a_store_that_is_seen_no_more_is_forgotten_and_there_is_a_most_of_them() {
    let mut world = World::new();
    look(&mut world, "gone", 10);
    assert!(open_of(&world, "gone").is_some());
    wait(&mut world, Micros(STORE_GONE.0 - 1));
    look(&mut world, "n1", 900);
    assert!(open_of(&world, "gone").is_some());
    wait(&mut world, MINUTE);
    look(&mut world, "n2", 900);
    assert!(open_of(&world, "gone").is_none());
    for n in 0..STORES * 2 {
        look(&mut world, &format!("more_{n:03}"), 10);
    }
    let open = world.book.open().filter(|it| it.rule == Rule::DiskFilling).count();
    assert!((STORES - 2..=STORES).contains(&open), "{open}");
}
