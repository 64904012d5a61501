//! One seed from beginning to end.
use std::collections::BTreeMap;

use dagbok_domain::namespace::Namespace;
use dagbok_events::{Record, Timestamp};

use crate::{
    audit::{RunModel, TaskModel, fold_all},
    executor::Executor,
    keeper::Keeper,
    liar::Liar,
    people::People,
    processor::Processor,
    scheduler::Scheduler,
    world::{LEASE, SECOND, World},
};

/// What a simulation leaves behind.
#[derive(Debug)]
pub struct Ended {
    /// The log, as it is stored.
    pub log: Vec<Vec<u8>>,
    /// How often each thing worth testing came about.
    pub seen: BTreeMap<String, u64>,
}

struct Cast {
    schedulers: Vec<Scheduler>,
    executors: Vec<Executor>,
    processor: Processor,
    people: People,
    liar: Liar,
    keeper: Keeper,
}

/// Plays one seed. Panics where something does not hold.
pub fn simulate(seed: u64) -> Ended {
    let mut world = World::new(seed);
    let dags = 1 + world.rng.below(3);
    let mut cast = Cast {
        processor: Processor::new(&mut world, dags),
        people: People::new(world.now, dags),
        schedulers: (0..=world.rng.below(2)).map(|_| Scheduler::new(&mut world)).collect(),
        executors: (0..=world.rng.below(3)).map(|n| Executor::new(&mut world, n)).collect(),
        liar: Liar { wake: world.now + SECOND },
        keeper: Keeper::new(&mut world),
    };
    let calm_at = world.now + world.rng.between(10, 40) * SECOND;
    while world.now < calm_at {
        cast.turn(&mut world);
    }
    world.chaos = false;
    // In the end the lease does what it is for: two that append at once hold each other up.
    cast.schedulers.truncate(1);
    // By then every clock is right, and was looked at.
    let right_at = world.now + 60 * SECOND;
    while world.now < right_at {
        cast.turn(&mut world);
    }
    world.audit.promises_hold(Timestamp(world.now)).unwrap_or_else(|finding| panic!("{finding}"));
    cast.processor.settle(&mut world);
    let give_up_at = world.now + 3_600 * SECOND;
    while !cast.is_over(&world) {
        assert!(world.now < give_up_at, "after an hour this still runs: {}", left(&world));
        cast.turn(&mut world);
    }
    check_end(&cast, &world);
    Ended { log: world.log, seen: world.audit.seen }
}

impl Cast {
    /// Moves the clock to whoever is next, and lets them act.
    fn turn(&mut self, world: &mut World) {
        let wakes = [self.processor.wake, self.people.wake, self.liar.wake, self.keeper.wake];
        let wakes = wakes.into_iter().chain(self.schedulers.iter().map(|it| it.wake));
        let next = wakes.chain(self.executors.iter().map(|it| it.wake)).min().expect("some");
        world.now = world.now.max(next);
        let (commands, work) = (world.inbox.depth(), world.work.depth());
        if self.processor.wake <= world.now {
            self.processor.step(world);
        }
        if self.people.wake <= world.now {
            self.people.step(world);
        }
        if self.liar.wake <= world.now {
            self.liar.step(world);
        }
        if self.keeper.wake <= world.now {
            self.keeper.step(world);
        }
        let now = world.now;
        for executor in self.executors.iter_mut().filter(|it| it.wake <= now) {
            executor.step(world);
        }
        for scheduler in self.schedulers.iter_mut().filter(|it| it.wake <= now) {
            scheduler.step(world);
        }
        // Who listens sees at once that something came; who is frozen or down does not.
        if world.inbox.depth() > commands {
            let soon = world.inbox.next_at().unwrap_or(i64::MAX).max(world.now + 100);
            for scheduler in self.schedulers.iter_mut().filter(|it| it.listens()) {
                scheduler.wake = scheduler.wake.min(soon);
            }
        }
        if world.work.depth() > work {
            let soon = world.work.next_at().unwrap_or(i64::MAX).max(world.now + 100);
            for executor in self.executors.iter_mut().filter(|it| it.listens(now)) {
                executor.wake = executor.wake.min(soon);
            }
        }
    }

    fn is_over(&self, world: &World) -> bool {
        world.inbox.depth() == 0
            && self.people.is_content()
            && self.processor.is_content()
            && self.keeper.is_content()
            && world.audit.active().next().is_none()
            && world.audit.backfills_that_go_on() == 0
            && self.schedulers.iter().any(|it| is_idle(it, world))
    }
}

fn is_idle(scheduler: &Scheduler, world: &World) -> bool {
    scheduler.fold().is_some_and(|fold| fold.last_seq() == world.log.len() as u64)
}

fn left(world: &World) -> String {
    let task = |task: &TaskModel| {
        let stands: Vec<_> = task.copies.iter().map(|copy| &copy.stand).collect();
        format!("{} {stands:?}", task.spec.task_id)
    };
    let run = |run: &RunModel| run.tasks.iter().map(task).collect::<Vec<_>>().join(", ");
    let runs = world.audit.active().take(5);
    let runs: Vec<String> =
        runs.map(|(key, it)| format!("{key} {:?}: {}", it.stage, run(it))).collect();
    let (commands, work) = (world.inbox.depth(), world.work.depth());
    format!("{commands} commands, {work} items of work, among others\n{}", runs.join("\n"))
}

/// After which record a fold from the snapshot in the middle is another than the whole, and in which of its parts.
fn where_they_part(history: &[Record]) -> String {
    let mut whole = Namespace::new();
    fold_all(&mut whole, history, history.len() / 2);
    let mut resumed = Namespace::from_snapshot(&whole.to_snapshot()).expect("ours");
    for upto in history.len() / 2..history.len() {
        fold_all(&mut whole, history, upto + 1);
        fold_all(&mut resumed, history, upto + 1);
        let (one, other) = (whole.freeze(), resumed.freeze());
        let parts = one.parts(None).zip(other.parts(None));
        let apart = parts.filter(|(one, other)| one.encode() != other.encode());
        let names: Vec<String> = apart.map(|(one, _)| one.name).collect();
        if !names.is_empty() || one.to_bytes() != other.to_bytes() {
            let (one, other) = (format!("{one:#?}"), format!("{other:#?}"));
            let lines = one.lines().zip(other.lines()).find(|(one, other)| one != other);
            return format!("after record {}, {names:?}, {lines:?}: {:?}", upto + 1, history[upto]);
        }
    }
    "nowhere".to_owned()
}

/// What must hold once everything came to rest.
fn check_end(cast: &Cast, world: &World) {
    for (command, run_id) in &cast.people.promised {
        let made = world.audit.run_made_by(&command.id);
        assert_eq!(made, run_id.as_ref(), "an accepted trigger is lost: {command:?}");
    }
    let (history, mut whole) = (world.audit.history(), Namespace::new());
    fold_all(&mut whole, history, history.len() / 2);
    let snapshot = whole.to_snapshot();
    fold_all(&mut whole, history, history.len());
    let mut resumed = Namespace::from_snapshot(&snapshot).expect("ours");
    fold_all(&mut resumed, history, history.len());
    let bytes = whole.to_snapshot();
    assert!(
        resumed.to_snapshot() == bytes,
        "a fold from a snapshot is another than the whole: {}",
        where_they_part(history)
    );
    for fold in cast.schedulers.iter().filter_map(Scheduler::fold) {
        if fold.last_seq() == world.log.len() as u64 {
            assert!(fold.to_snapshot() == bytes, "a scheduler's fold is another than the log's");
        }
    }
    world.storage.holds(&world.log).unwrap_or_else(|finding| panic!("{finding}"));
    for from_snapshot in [false, true] {
        let loaded = world.storage.load(from_snapshot).expect("all of it can be read").namespace;
        assert!(
            loaded.to_snapshot() == bytes,
            "archive, log and snapshot ({from_snapshot}) fold otherwise"
        );
    }
    world.audit.agrees_with(&whole).unwrap_or_else(|finding| panic!("{finding}"));
    world.audit.agrees_when_revived(&whole).unwrap_or_else(|finding| panic!("{finding}"));
    assert_eq!(whole.in_flight(), 0);
    let long_after = Timestamp(world.now + 100 * LEASE);
    assert_eq!(whole.plan(long_after), [], "at rest the rules call for nothing");
}
