//! What is too long for a message or a record: it is packed, or refused with what to do, and the term goes on.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod common;

use common::{World, dag_id, digest, spec, task};
use dagbok_events::{DagSpec, Expand, Fact, MapIndex, RunId, TaskId};
use dagbok_protocol::{
    Answer, ClearTasks, CommandBody, DagFile, RegisteredDag, TaskCopy, limits::RECORD_BYTES,
};
use dagbok_runlog::memory;
use dagbok_scheduler::SchedulerSettings;

const COPIES: u32 = 60_000;
const TASKS: usize = 5_000;

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

/// Ids that nothing compresses much, other ones for another seed.
fn unlike(seed: u64) -> Vec<TaskId> {
    let mut state = seed;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from_digit(u32::try_from(state >> 33).unwrap() % 36, 36).unwrap()
    };
    (0..TASKS)
        .map(|_| TaskId::new((0..200).map(|_| letter()).collect::<String>()).unwrap())
        .collect()
}

fn dag_of(seed: u64) -> DagSpec {
    let upstream: Vec<&[u32]> = vec![&[]; TASKS];
    let mut dag = spec(&upstream, 0);
    for (task, task_id) in dag.tasks.iter_mut().zip(unlike(seed)) {
        task.task_id = task_id;
    }
    dag
}

#[tokio::test]
async fn a_change_that_fits_into_no_record_is_refused_and_the_rest_goes_on() {
    let world = World::new(memory::ports()).await;
    let (_shutdown, running) = world.scheduler(world.ports.clone(), SchedulerSettings::default());
    world.register(dag_of(1)).await;
    world.trigger("r1").await;
    world.until("it runs", |facts| facts.iter().any(|it| matches!(it, Fact::TaskQueued(_)))).await;
    cancel(&world).await;
    let file = DagFile {
        file: "pipeline.py".into(),
        bundle: digest('c'),
        dags: vec![RegisteredDag { spec_digest: digest('d'), spec: dag_of(2), foretold: None }],
        errors: vec![],
        paused_at_creation: false,
    };
    let answer = world.ask(CommandBody::DagFileRead(Box::new(file))).await;
    assert!(matches!(answer, Answer::Accepted { .. }), "{answer:?}");
    let clear = ClearTasks { on_latest_version: true, ..ClearTasks::of(dag_id(), run_id()) };
    let before = world.records().await.len();
    let answer = world.ask(CommandBody::ClearTasks(clear)).await;
    let Answer::Refused(refusal) = answer else { panic!("it fits: {answer:?}") };
    assert!(refusal.message.contains("does not fit into one record"), "{}", refusal.message);
    assert_eq!(world.records().await.len(), before, "nothing was done");
    assert!(matches!(world.trigger("r2").await, Answer::Accepted { .. }));
    assert!(!running.is_finished());
}
