//! What the scheduler writes down of copies of mapped tasks for those who look at all of them.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod common;

use std::time::Duration;

use common::{PATIENCE, Player, World, dag_id, runs_ended, spec, task};
use dagbok_events::{Expand, Fact, MapIndex, RunId};
use dagbok_protocol::{ClearTasks, CommandBody, ReturnedBy, TaskCopy, names};
use dagbok_runlog::memory;
use dagbok_scheduler::SchedulerSettings;

/// What is written of the copies of `t1`, once it `is_so`.
async fn written(world: &World, is_so: impl Fn(Option<&ReturnedBy>) -> bool) {
    let place = names::returned_by_key(&dag_id(), &RunId::new("r1").unwrap(), &task(1));
    let look = async {
        loop {
            let found = world.ports.state.get(&place).await.unwrap();
            let found = found.map(|found| serde_json::from_slice(&found.value).unwrap());
            if is_so(found.as_ref()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("it is written in time");
}

/// Plays the next tries to their success, each with a value.
async fn play(player: &Player, tries: usize) {
    for _ in 0..tries {
        let (item, delivery) = player.take().await;
        player.succeed(&item.key, "1").await;
        delivery.handle.ack().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn copies_are_counted_once_the_last_is_over_and_anew_where_one_is_cleared() {
    let world = World::new(memory::ports()).await;
    let mut dag = spec(&[&[], &[0], &[1]], 0);
    (dag.tasks[1].is_mapped, dag.tasks[1].expand) = (true, Some(Expand::Literal { length: 3 }));
    let (shutdown, first) = world.scheduler(world.ports.clone(), SchedulerSettings::default());
    world.register(dag).await;
    let player = Player::new(&world, "e1", Duration::from_mins(5)).await;
    world.trigger("r1").await;
    play(&player, 3).await;
    written(&world, |found| found.is_none()).await;
    play(&player, 1).await;
    let all = ReturnedBy::of((0..3).map(MapIndex));
    written(&world, |found| found == Some(&all)).await;

    // One that runs again is not counted, and counts again once it is over.
    let copies = vec![TaskCopy { task_id: task(1), map_index: MapIndex(1) }];
    let (dag_id, run_id) = (dag_id(), RunId::new("r1").unwrap());
    let clear = ClearTasks { copies, ..ClearTasks::of(dag_id.clone(), run_id) };
    world.ask(CommandBody::ClearTasks(clear)).await;
    written(&world, |found| found.is_none()).await;
    let mut gather = None;
    for _ in 0..2 {
        let (item, delivery) = player.take().await;
        if item.key.task_id == task(2) {
            gather = Some((item, delivery));
        } else {
            assert_eq!(item.key.map_index, MapIndex(1));
            player.succeed(&item.key, "2").await;
            delivery.handle.ack().await.unwrap();
        }
    }
    written(&world, |found| found == Some(&all)).await;

    // The next scheduler writes it again where it is lost, and takes it away with the run.
    shutdown.start();
    first.await.unwrap().unwrap();
    let place = names::returned_by_key(&dag_id, &RunId::new("r1").unwrap(), &task(1));
    world.ports.state.delete(&place).await.unwrap();
    let (_shutdown, _second) = world.scheduler(world.ports.clone(), SchedulerSettings::default());
    written(&world, |found| found == Some(&all)).await;
    let (item, delivery) = gather.expect("the task that gathers was offered");
    player.succeed(&item.key, "3").await;
    delivery.handle.ack().await.unwrap();
    world.until("the end", |facts| runs_ended(facts) == 1).await;
    written(&world, |found| found.is_none()).await;
    let left = async {
        while !world.ports.state.list(names::XCOM_PREFIX).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, left).await.expect("all values go with the run");
    let cleared = |fact: &&Fact| matches!(fact, Fact::TaskCleared(_));
    assert_eq!(world.facts().await.iter().filter(cleared).count(), 1);
}
