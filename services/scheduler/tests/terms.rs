//! Leading, standing by, taking over, and two at once.
mod common;

use std::time::Duration;

use common::{Player, World, assert_each_try_ended_once, runs_ended, spec};
use dagbok_events::{Fact, RunId};
use dagbok_protocol::{Answer, CommandBody, names::SCHEDULER_LEASE};
use dagbok_runlog::{Ports, memory};
use dagbok_scheduler::SchedulerSettings;
use futures::StreamExt as _;

const LEASE: Duration = Duration::from_secs(30);

#[tokio::test(start_paused = true)]
async fn a_triggered_run_ends_and_its_values_are_there_before_their_readers() {
    let world = World::new(memory::ports()).await;
    let (shutdown, scheduler) = world.scheduler(world.ports.clone(), SchedulerSettings::default());
    world.register(spec(&[&[], &[0]], 0)).await;
    let player = Player::new(&world, "e1", LEASE).await;
    let answer = world.trigger("r1").await;
    let Answer::Accepted { seq, run_id } = answer else { panic!("{answer:?}") };
    assert_eq!((seq > 0, run_id.unwrap().as_str()), (true, "r1"));

    let (first, _) = player.take().await;
    assert!(matches!(player.start(&first.key).await, Answer::Accepted { .. }));
    assert!(matches!(player.succeed(&first.key, "\"hello\"").await, Answer::Accepted { .. }));
    let (second, _) = player.take().await;
    let place = dagbok_protocol::names::xcom_key(
        &first.key.dag_id,
        &first.key.run_id,
        &first.key.task_id,
        first.key.map_index,
        "return_value",
    );
    let value = world.ports.state.get(&place).await.unwrap().expect("the value was put first");
    assert_eq!(value.value, r#"{"Inline":"\"hello\""}"#.as_bytes());
    assert!(matches!(player.succeed(&second.key, "2").await, Answer::Accepted { .. }));
    world.until("the run's end", |facts| runs_ended(facts) == 1).await;
    shutdown.start();
    scheduler.await.unwrap().unwrap();
    assert_each_try_ended_once(&world.records().await);
}

#[tokio::test(start_paused = true)]
async fn a_standby_takes_over_from_one_that_vanishes() {
    let world = World::new(memory::ports()).await;
    let settings = SchedulerSettings::default();
    let (_first_end, first) = world.scheduler(world.ports.clone(), settings.clone());
    world.register(spec(&[&[], &[0], &[1]], 0)).await;
    let (second_end, second) = world.scheduler(world.ports.clone(), settings);
    let player = Player::new(&world, "e1", LEASE).await;
    world.trigger("r1").await;
    let (item, _) = player.take().await;
    player.start(&item.key).await;

    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let since = tokio::time::Instant::now();
    player.succeed(&item.key, "1").await;
    let (next, delivery) = player.take().await;
    assert_eq!(next.key.task_id, common::task(1));
    assert!(since.elapsed() < Duration::from_secs(10), "took over after {:?}", since.elapsed());
    player.start(&next.key).await;
    player.succeed(&next.key, "1").await;
    delivery.handle.ack().await.unwrap();
    tokio::spawn(player.play());
    world.until("the run's end", |facts| runs_ended(facts) == 1).await;
    second_end.start();
    second.await.unwrap().unwrap();
    assert_each_try_ended_once(&world.records().await);
}

#[tokio::test(start_paused = true)]
async fn two_that_both_lead_do_no_harm() {
    let world = World::new(memory::ports()).await;
    let settings = SchedulerSettings { ignore_lease: true, ..SchedulerSettings::default() };
    let (_end_one, _one) = world.scheduler(world.ports.clone(), settings.clone());
    let (_end_two, _two) = world.scheduler(world.ports.clone(), settings);
    world.register(spec(&[&[], &[0], &[0], &[1, 2]], 0)).await;
    for name in ["e1", "e2", "e3"] {
        tokio::spawn(Player::new(&world, name, LEASE).await.play());
    }
    for number in 0..20 {
        let answer = world.trigger(&format!("run-{}", "x".repeat(number + 1))).await;
        assert!(matches!(answer, Answer::Accepted { .. }), "{answer:?}");
    }
    world.until("all runs' ends", |facts| runs_ended(facts) == 20).await;
    let records = world.records().await;
    assert_each_try_ended_once(&records);
    let succeeded = records.iter().flat_map(|record| &record.facts);
    assert_eq!(succeeded.filter(|fact| matches!(fact, Fact::RunSucceeded(_))).count(), 20);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_behind_refuses_nothing_and_calls_nothing_unchanged() {
    let world = World::new(memory::ports()).await;
    // On the same log, with an inbox of its own: nobody else does its work.
    let log = std::sync::Arc::clone(&world.ports.log);
    let other = World::new(Ports { log, ..memory::ports() }).await;
    let settings = SchedulerSettings { ignore_lease: true, ..SchedulerSettings::default() };
    let (_end_one, _one) = world.scheduler(world.ports.clone(), settings.clone());
    let (_end_two, _two) = other.scheduler(other.ports.clone(), settings);
    let pause = || CommandBody::PauseDag { dag_id: common::dag_id() };
    let unpause = || CommandBody::UnpauseDag { dag_id: common::dag_id() };
    assert!(matches!(other.ask(pause()).await, Answer::Refused(_)), "there is no DAG yet");
    world.register(spec(&[&[]], 0)).await;
    for number in 0..5 {
        let run = format!("run-{}", "x".repeat(number + 1));
        assert!(matches!(world.trigger(&run).await, Answer::Accepted { .. }));
        let (dag_id, run_id) = (common::dag_id(), RunId::new(run).unwrap());
        let ended = other.ask(CommandBody::CancelRun { dag_id, run_id }).await;
        assert!(matches!(ended, Answer::Accepted { .. }), "{number}: {ended:?}");
        assert!(matches!(world.ask(pause()).await, Answer::Accepted { .. }));
        let unpaused = other.ask(unpause()).await;
        assert!(matches!(unpaused, Answer::Accepted { .. }), "{number}: {unpaused:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_begins_at_the_snapshot_and_ends_where_the_log_does() {
    let world = World::new(memory::ports()).await;
    let (shutdown, scheduler) = world.scheduler(world.ports.clone(), SchedulerSettings::default());
    world.register(spec(&[&[]], 0)).await;
    tokio::spawn(Player::new(&world, "e1", LEASE).await.play());
    world.trigger("r1").await;
    world.until("the run's end", |facts| runs_ended(facts) == 1).await;
    shutdown.start();
    scheduler.await.unwrap().unwrap();
    let stored = world.ports.snapshots.get("scheduler").await.unwrap().expect("stored at the end");
    let from_snapshot = dagbok_scheduler::load(&world.ports, false).await.unwrap().namespace;
    world.ports.snapshots.put("scheduler", "garbled".into()).await.unwrap();
    let from_start = dagbok_scheduler::load(&world.ports, false).await.unwrap().namespace;
    assert_eq!(from_snapshot.to_snapshot(), from_start.to_snapshot());
    assert!(String::from_utf8_lossy(&stored).contains("position"), "it says where it stands");

    // The same run again is refused by whoever leads next, which can only know it from the log.
    let (_end, _next) = world.scheduler(world.ports.clone(), SchedulerSettings::default());
    assert!(matches!(world.trigger("r1").await, Answer::Refused(_)));
}

/// What is in the lease's place must keep nobody from leading: garbage, and a lease of one who is gone that
/// does not run out.
#[tokio::test(start_paused = true)]
async fn a_lease_that_nobody_keeps_is_replaced() {
    let nobody = "0190a0b0-c0d0-7000-8000-000000000001";
    for left in ["\u{1}garbage", "", nobody] {
        let world = World::new(memory::ports()).await;
        let left = bytes::Bytes::from(left);
        world.ports.state.put(SCHEDULER_LEASE, left, None).await.unwrap();
        let settings = SchedulerSettings::default();
        let patience = settings.leader_lease * 4;
        let since = tokio::time::Instant::now();
        let (end, scheduler) = world.scheduler(world.ports.clone(), settings);
        world.register(spec(&[&[]], 0)).await;
        assert!(since.elapsed() < patience, "it led after {:?}", since.elapsed());
        end.start();
        scheduler.await.unwrap().unwrap();
    }
}

/// A leader whose lease is overwritten or deleted goes on, or another does.
#[tokio::test(start_paused = true)]
async fn a_lease_lost_to_garbage_is_taken_again() {
    let world = World::new(memory::ports()).await;
    let (end, scheduler) = world.scheduler(world.ports.clone(), SchedulerSettings::default());
    world.register(spec(&[&[]], 0)).await;
    for round in 0..3 {
        let garbage = bytes::Bytes::from_static(b"\xff\xfe");
        world.ports.state.put(SCHEDULER_LEASE, garbage, None).await.unwrap();
        let since = tokio::time::Instant::now();
        world.trigger(&format!("r{round}")).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        world.trigger(&format!("later{round}")).await;
        assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
        let held = world.ports.state.get(SCHEDULER_LEASE).await.unwrap().expect("somebody leads");
        assert_eq!(held.value.len(), 36, "{held:?}");
    }
    end.start();
    scheduler.await.unwrap().unwrap();
}

/// Whoever was to take them away died before.
#[tokio::test(start_paused = true)]
async fn values_of_runs_that_are_over_go_when_the_next_one_leads() {
    let world = World::new(memory::ports()).await;
    let mut changes = world.ports.state.watch("xcom/").await.unwrap();
    let place = "xcom/etl/r1/a/-1/return_value";
    world.ports.state.put(place, "1".into(), None).await.unwrap();
    changes.next().await.unwrap().unwrap();
    let (_shutdown, _scheduler) =
        world.scheduler(world.ports.clone(), SchedulerSettings::default());
    changes.next().await.unwrap().unwrap();
    assert!(world.ports.state.get(place).await.unwrap().is_none());
}
