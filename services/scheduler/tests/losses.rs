//! Executors that go silent, and reports that come too late.
mod common;

use std::time::Duration;

use common::{Player, World, assert_each_try_ended_once, runs_ended, spec};
use dagbok_events::{Fact, LostWhy, RefusedWhy};
use dagbok_protocol::{Answer, RefusalCode};
use dagbok_runlog::memory;
use dagbok_scheduler::SchedulerSettings;

const LEASE: Duration = Duration::from_secs(5);

fn settings() -> SchedulerSettings {
    SchedulerSettings { executor_lease: LEASE, ..SchedulerSettings::default() }
}

#[tokio::test(start_paused = true)]
async fn a_silent_executor_loses_its_try_within_a_lease_and_five_seconds() {
    let world = World::new(memory::ports()).await;
    let (_end, _scheduler) = world.scheduler(world.ports.clone(), settings());
    world.register(spec(&[&[]], 0)).await;
    world.trigger("r1").await;
    let (dead, alive) =
        (Player::new(&world, "dead", LEASE).await, Player::new(&world, "alive", LEASE).await);
    let (first, delivery) = dead.take().await;
    dead.start(&first.key).await;
    // It shows itself once and never again.
    let once = dead.stay(std::slice::from_ref(&first.key), Duration::from_hours(1));
    assert!(tokio::time::timeout(Duration::from_millis(10), once).await.is_err());
    drop(delivery);
    let since = tokio::time::Instant::now();
    let (second, _) = loop {
        let (item, delivery) = alive.take().await;
        if item.key.try_number > first.key.try_number {
            break (item, delivery);
        }
        // The old item comes again when its lease ends; asking shows that it must not be run.
        assert!(matches!(alive.start(&item.key).await, Answer::Refused(_)));
        delivery.handle.ack().await.unwrap();
    };
    assert!(since.elapsed() <= LEASE + Duration::from_secs(5), "{:?}", since.elapsed());
    // No retries were left to the user; the loss used up none.
    alive.start(&second.key).await;
    alive.succeed(&second.key, "1").await;
    world.until("the run's end", |facts| runs_ended(facts) == 1).await;

    let late = dead.succeed(&first.key, "1").await;
    assert!(
        matches!(&late, Answer::Refused(why) if why.code == RefusalCode::StaleReport),
        "{late:?}"
    );
    let facts = world.facts().await;
    assert!(
        facts
            .iter()
            .any(|fact| matches!(fact, Fact::TryLost(lost) if lost.why == LostWhy::ExecutorGone))
    );
    assert!(
        facts.iter().any(
            |fact| matches!(fact, Fact::ReportRefused(kept) if kept.why == RefusedWhy::RunOver)
        )
    );
    assert_each_try_ended_once(&world.records().await);
}

#[tokio::test(start_paused = true)]
async fn an_executors_own_lease_counts_and_is_looked_at_as_often_as_it_needs() {
    let world = World::new(memory::ports()).await;
    let (_end, _scheduler) = world.scheduler(world.ports.clone(), SchedulerSettings::default());
    world.register(spec(&[&[]], 0)).await;
    world.trigger("r1").await;
    let dead = Player::new(&world, "dead", LEASE).await;
    let (first, _delivery) = dead.take().await;
    dead.start(&first.key).await;
    let beats = dead.stay(std::slice::from_ref(&first.key), LEASE / 4);
    assert!(tokio::time::timeout(LEASE * 3 + Duration::from_millis(1_300), beats).await.is_err());
    let since = tokio::time::Instant::now();
    world
        .until("the loss", |facts| facts.iter().any(|fact| matches!(fact, Fact::TryLost(_))))
        .await;
    let took = since.elapsed();
    assert!(took >= LEASE / 4 * 3 && took <= LEASE + Duration::from_millis(1_500), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_present_executor_keeps_its_try_however_long_it_takes() {
    let world = World::new(memory::ports()).await;
    let (_end, _scheduler) = world.scheduler(world.ports.clone(), settings());
    world.register(spec(&[&[]], 0)).await;
    world.trigger("r1").await;
    let player = Player::new(&world, "slow", LEASE).await;
    let (item, _delivery) = player.take().await;
    player.start(&item.key).await;
    let staying = player.stay(std::slice::from_ref(&item.key), LEASE / 4);
    assert!(tokio::time::timeout(LEASE * 20, staying).await.is_err());
    assert!(matches!(player.succeed(&item.key, "1").await, Answer::Accepted { .. }));
    let facts = world.facts().await;
    assert!(!facts.iter().any(|fact| matches!(fact, Fact::TryLost(_))));
}

#[tokio::test(start_paused = true)]
async fn a_present_executor_that_does_not_hold_its_try_loses_it() {
    let world = World::new(memory::ports()).await;
    let (_end, _scheduler) = world.scheduler(world.ports.clone(), settings());
    world.register(spec(&[&[]], 0)).await;
    world.trigger("r1").await;
    let player = Player::new(&world, "odd", LEASE).await;
    let (item, _delivery) = player.take().await;
    player.start(&item.key).await;
    let staying = player.stay(&[], LEASE / 4);
    let lost = world.until("the loss", |facts| {
        facts.iter().any(|fact| matches!(fact, Fact::TryLost(lost) if lost.why == LostWhy::NotHeld))
    });
    tokio::select! {
        () = staying => {}
        () = lost => {}
    }
}
