//! Thirty days of history: folded again by whoever comes back, and gone through again by a backtest, they send nothing.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
mod world;

use std::collections::BTreeMap;

use dagbok_alerts::{AlertFact, Backtest, Rule};
use dagbok_events::{Fact, Micros, RunFailed, RunSucceeded, Scope, Timestamp};
use world::{HOUR, World, created, key};

const NIGHTS: u8 = 30;

/// A run of a DAG that ends after some time, well or not.
fn night(world: &mut World, dag: u8, run: u8, is_well: bool) {
    let scope = || Scope::Run(key(dag, run));
    world.log(scope(), Fact::RunCreated(Box::new(created(world.now))));
    world.settle();
    world.now = world.now.plus(Micros(HOUR.0 / 2));
    world.log(
        scope(),
        if is_well {
            Fact::RunSucceeded(RunSucceeded {})
        } else {
            Fact::RunFailed(RunFailed { failed: vec![] })
        },
    );
    world.settle();
}

/// Lets time go by as the service does: at each moment at which something is due.
fn goes_by(world: &mut World, until: Timestamp) {
    while let Some(due) = world.agenda.next_due(&world.watch, &world.book, &world.policy)
        && due <= until
    {
        world.now = world.now.max(due);
        world.settle();
    }
    world.now = until;
    world.settle();
}

/// Three DAGs, night by night: one is always well, one fails each second night, one for three nights at the end.
fn lived() -> World {
    let mut world = World::new();
    world.takes = true;
    for run in 0..NIGHTS {
        let morning = world.now.plus(Micros(24 * HOUR.0));
        night(&mut world, 0, run, true);
        night(&mut world, 1, run, run % 2 == 0);
        night(&mut world, 2, run, run < NIGHTS - 3);
        goes_by(&mut world, morning);
    }
    world
}

fn sent(world: &World) -> usize {
    let facts = world.alert_log.iter().flat_map(|record| &record.facts);
    facts.filter(|fact| matches!(fact, AlertFact::NotificationAttempted(_))).count()
}

#[test]
fn thirty_days_that_are_folded_again_send_nothing() {
    let mut world = lived();
    let (records, told) = (world.alert_log.len(), sent(&world));
    assert!(told > 20, "{told} messages");
    world.crash();
    world.settle();
    assert_eq!((world.alert_log.len(), sent(&world)), (records, told), "all of it was told");
    assert!(world.under_way.is_empty());
    // And it still tells of what comes.
    night(&mut world, 0, NIGHTS, false);
    let about = |fact: &AlertFact| match fact {
        AlertFact::NotificationAttempted(it) => {
            world.book.alert(it.id).is_some_and(|alert| alert.scope.to_string() == "dag:dag_0")
        }
        _ => false,
    };
    assert!(world.alert_log[records..].iter().flat_map(|record| &record.facts).any(about));
}

#[test]
fn thirty_days_that_are_backtested_come_to_what_was_told_and_add_nothing() {
    let world = lived();
    let (records, reached) = (world.alert_log.len(), world.reached.clone());
    let first = world.run_log.first().unwrap().at;
    let mut backtest = Backtest::new(world::policy(), "default", first);
    for (seq, record) in (1..).zip(&world.run_log) {
        backtest.take(seq, record);
    }
    backtest.pass(world.now);
    let (found, left_out) = backtest.found();
    let mut by_rule: BTreeMap<(Rule, String), u32> = BTreeMap::new();
    let mut opened_at = Vec::new();
    for it in found {
        *by_rule.entry((it.rule, it.scope.to_string())).or_default() += 1;
        opened_at.push(it.opened_at);
    }
    assert_eq!(left_out, 0);
    let as_it_was: Vec<Timestamp> = world.book.alerts().rev().map(|it| it.opened_at).collect();
    assert_eq!(opened_at, as_it_was, "each alert that there was, and when");
    let failed = |dag: &str| (Rule::RunFailed, format!("dag:{dag}"));
    assert_eq!(by_rule.get(&failed("dag_1")), Some(&15));
    assert_eq!(by_rule.get(&failed("dag_2")), Some(&1), "three nights are one incident");
    assert_eq!(by_rule.get(&failed("dag_0")), None);
    // There is no sender in it: what was sent is what was sent as it happened.
    assert_eq!((world.alert_log.len(), &world.reached), (records, &reached));
}
