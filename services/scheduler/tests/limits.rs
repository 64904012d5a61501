//! What is too long for a message or a record: it is packed, or refused with what to do, and the term goes on.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod common;

use common::{World, dag_id, spec, task};
use dagbok_events::{Expand, Fact, MapIndex, RunId, TaskMark};
use dagbok_protocol::{
    Answer, ClearTasks, CommandBody, MarkTasks, TaskCopy,
    limits::{COPIES_PER_TASK, RECORD_BYTES},
};
use dagbok_runlog::memory;
use dagbok_scheduler::SchedulerSettings;

const COPIES: u32 = 60_000;
const TASKS: usize = 9;

fn run_id() -> RunId {
    RunId::new("r1").unwrap()
}

async fn cancel(world: &World) {
    let cancel = CommandBody::CancelRun { dag_id: dag_id(), run_id: run_id() };
    assert!(matches!(world.ask(cancel).await, Answer::Accepted { .. }));
}

#[tokio::test]
async fn a_preview_of_copies_that_are_scattered_arrives_whole() {
    let world = World::new(memory::ports()).await;
    let mut dag = spec(&[&[]], 0);
    let expand = Some(Expand::Literal { length: COPIES });
    (dag.tasks[0].is_mapped, dag.tasks[0].expand) = (true, expand);
    let (_shutdown, _running) = world.scheduler(world.ports.clone(), SchedulerSettings::default());
    world.register(dag).await;
    world.trigger("r1").await;
    let made = |facts: &[Fact]| {
        let made = |fact: &&Fact| matches!(fact, Fact::TaskQueued(_));
        facts.iter().filter(made).count() == 16
    };
    world.until("copies are made", made).await;
    cancel(&world).await;
    let third = (0..COPIES).step_by(3).map(|at| MapIndex(i32::try_from(at).unwrap()));
    let copies: Vec<TaskCopy> =
        third.map(|map_index| TaskCopy { task_id: task(0), map_index }).collect();
    let wanted = copies.len();
    let clear = ClearTasks { copies, dry_run: true, ..ClearTasks::of(dag_id(), run_id()) };
    let answer = world.ask(CommandBody::ClearTasks(clear)).await;
    let bytes = dagbok_events::encode_any(&answer).len();
    assert!(bytes > RECORD_BYTES, "{bytes} bytes would have fitted as they are");
    let Answer::WouldClear { tasks, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(tasks.len(), wanted);
}

/// Half of all copies, by a seed: nobody can say it in much fewer bytes than one a copy.
fn half(seed: u64) -> Vec<MapIndex> {
    let mut state = seed;
    let mut coin = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 63 == 1
    };
    let most = i32::try_from(COPIES_PER_TASK).unwrap();
    (0..most).filter(|_| coin()).map(MapIndex).collect()
}

#[tokio::test]
async fn a_change_that_fits_into_no_record_is_refused_and_the_rest_goes_on() {
    let world = World::new(memory::ports()).await;
    let none: &[u32] = &[];
    let mut dag = spec(&[none; TASKS], 0);
    for task in &mut dag.tasks {
        task.is_mapped = true;
        task.expand = Some(Expand::Literal { length: COPIES_PER_TASK });
    }
    let (_shutdown, running) = world.scheduler(world.ports.clone(), SchedulerSettings::default());
    world.register(dag).await;
    world.trigger("r1").await;
    world.until("it runs", |facts| facts.iter().any(|it| matches!(it, Fact::TaskQueued(_)))).await;
    cancel(&world).await;
    for at in 0..TASKS {
        let copies = half(at as u64).into_iter();
        let copies = copies.map(|map_index| TaskCopy { task_id: task(at), map_index }).collect();
        let mark = MarkTasks {
            dag_id: dag_id(),
            run_id: run_id(),
            task_ids: Vec::new(),
            copies,
            state: TaskMark::Failed,
            upstream: false,
            downstream: false,
            dry_run: false,
        };
        let answer = world.ask(CommandBody::MarkTasks(mark)).await;
        assert!(matches!(answer, Answer::Accepted { .. }), "{answer:?}");
    }
    let before = world.records().await.len();
    let clear = ClearTasks { only_failed: true, ..ClearTasks::of(dag_id(), run_id()) };
    let preview = ClearTasks { dry_run: true, ..clear.clone() };
    for (ask, said) in [(preview, "the answer has"), (clear, "does not fit into one record")] {
        let Answer::Refused(refusal) = world.ask(CommandBody::ClearTasks(ask)).await else {
            panic!("it fits")
        };
        assert!(refusal.message.contains(said), "{}", refusal.message);
    }
    assert_eq!(world.records().await.len(), before, "nothing was done");
    assert!(matches!(world.trigger("r2").await, Answer::Accepted { .. }));
    assert!(!running.is_finished());
}
