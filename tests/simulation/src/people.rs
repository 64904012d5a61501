//! People: trigger, pause, cancel, clear, delete, set limits, and ask again where nobody answers.
use dagbok_events::{
    Actor, AssetKey, AssetRef, BackfillId, DagId, ExpectedRuns, Interval, MapIndex, Micros,
    PoolSet, ReprocessBehavior, RunId, RunKey, RunMark, TaskId, TaskMark, Timestamp,
};
use dagbok_protocol::{
    Answer, AssetUpdate, ClearTasks, Command, CommandBody, CreateBackfill, MarkTasks, NoteTask,
    OnRunning, PoolChange, TaskCopy, TriggerRun,
};

use crate::{
    audit::{RunModel, Stage},
    dags::{POOLS, dag_id, pool, some_asset},
    prng::Prng,
    world::{SECOND, World},
};

/// Tries in flight at once when all is well.
const PARALLELISM: u32 = 16;

/// Everybody who is no program.
#[derive(Debug)]
pub(crate) struct People {
    /// When somebody next wants something.
    pub(crate) wake: i64,
    dags: usize,
    /// What was asked for and not answered yet, and when they are sent again.
    asked: Vec<(i64, Command)>,
    /// Triggers that were accepted, with the run that was promised.
    pub(crate) promised: Vec<(Command, Option<RunId>)>,
    triggered: u64,
    /// How often they still want something of runs that are over, once nothing goes wrong any more.
    afterthoughts: u32,
}

impl People {
    pub(crate) fn new(now: i64, dags: usize) -> Self {
        let (asked, promised, triggered, afterthoughts) = (Vec::new(), Vec::new(), 0, 5);
        Self { wake: now, dags, asked, promised, triggered, afterthoughts }
    }

    pub(crate) fn step(&mut self, world: &mut World) {
        self.hear(world);
        if world.chaos {
            self.want(world);
            self.wake = world.now + world.rng.between(SECOND / 20, SECOND);
            return;
        }
        // In the end they want everything to run, whatever word of theirs still comes late.
        if !world.audit.has_limits(PARALLELISM, &POOLS) {
            make_room(world);
        }
        if self.afterthoughts > 0 && world.rng.chance(200) {
            self.afterthoughts -= 1;
            match world.rng.below(3) {
                0 => self.delete(world),
                _ => self.clear(world),
            }
        }
        self.free(world);
        let paused: Vec<DagId> = world.audit.paused().cloned().collect();
        for dag_id in paused {
            say(world, CommandBody::UnpauseDag { dag_id });
        }
        let paused: Vec<u64> = world.audit.paused_backfills().collect();
        for id in paused {
            say(world, CommandBody::UnpauseBackfill { backfill_id: BackfillId(id) });
        }
        self.wake = world.now + SECOND;
    }

    /// Sees to runs that wait for one before them that failed, or has no turn itself: as a rule by saying that what
    /// they wait for is done.
    fn free(&mut self, world: &mut World) {
        if !self.asked.is_empty() {
            return;
        }
        let keeping = world.audit.keeping_others();
        if let Some((RunKey { dag_id, run_id }, task_ids)) = world.rng.pick(&keeping).cloned() {
            world.note("freed those that wait for the run before");
            let ask = MarkTasks {
                dag_id,
                run_id,
                task_ids,
                copies: Vec::new(),
                state: TaskMark::Success,
                upstream: false,
                downstream: false,
                dry_run: false,
            };
            self.ask(world, CommandBody::MarkTasks(ask));
        } else if world.rng.chance(20) {
            // Where nobody can say what they wait for.
            let waiting = world.audit.waiting_for_others();
            if let Some(key) = world.rng.pick(&waiting) {
                say(world, cancel(key));
            }
        }
    }

    /// Whether everybody had an answer.
    pub(crate) const fn is_content(&self) -> bool {
        self.asked.is_empty() && self.afterthoughts == 0
    }

    fn hear(&mut self, world: &mut World) {
        for (at, command) in std::mem::take(&mut self.asked) {
            match world.answer_to(&command.id) {
                Some(Answer::Accepted { run_id, .. }) => {
                    if matches!(command.body, CommandBody::TriggerRun(_)) {
                        self.promised.push((command, run_id));
                    }
                }
                Some(
                    Answer::Unchanged
                    | Answer::WouldClear { .. }
                    | Answer::WouldMark { .. }
                    | Answer::Waits(_)
                    | Answer::WouldMake(_)
                    | Answer::LastScheduled(_)
                    | Answer::WouldBackfill(_)
                    | Answer::Refused(_),
                ) => {}
                None if at <= world.now => {
                    world.note("asked again");
                    world.send(&command);
                    self.asked.push((world.now + 3 * SECOND, command));
                }
                None => self.asked.push((at, command)),
            }
        }
    }

    fn want(&mut self, world: &mut World) {
        let dag_id = dag_id(world.rng.below(self.dags));
        match world.rng.below(29) {
            0..=8 => self.trigger(world, dag_id),
            9 | 10 => {
                let active: Vec<RunKey> =
                    world.audit.active().map(|(key, _)| key.clone()).collect();
                if let Some(RunKey { dag_id, run_id }) = world.rng.pick(&active).cloned() {
                    say(world, CommandBody::CancelRun { dag_id, run_id });
                }
            }
            11 => say(world, CommandBody::PauseDag { dag_id }),
            12..=14 => say(world, CommandBody::UnpauseDag { dag_id }),
            15 => {
                let (name, slots) = POOLS[world.rng.below(POOLS.len())];
                let slots = match world.rng.below(slots as usize + 3) {
                    0 => PoolSet::UNLIMITED,
                    n => u32::try_from(n - 1).expect("small"),
                };
                say(world, CommandBody::SetPool(PoolChange::sized(pool(name), slots)));
            }
            16 => {
                let parallelism = u32::try_from(world.rng.below(8)).expect("small");
                let max_losses = u16::try_from(world.rng.below(6)).expect("small");
                let failed_runs = u32::try_from(world.rng.below(4)).expect("small");
                let wait = world.rng.between(0, 60);
                say(
                    world,
                    CommandBody::SetLimits {
                        parallelism,
                        max_losses,
                        max_consecutive_failed_dag_runs: Some(failed_runs),
                        task_queued_timeout: Some(Micros::from_secs(wait)),
                    },
                );
            }
            17 if world.rng.chance(700) => self.mark(world),
            17..=19 => self.clear(world),
            22 => self.replace(world),
            24 => {
                let (name, _) = POOLS[world.rng.below(POOLS.len())];
                say(world, CommandBody::DeletePool { pool: pool(name) });
            }
            23 => self.mislead(world, &dag_id),
            25 if world.rng.chance(500) => {
                say(world, CommandBody::DropQueuedAssets { dag_id, assets: vec![] });
            }
            25 => {
                if let AssetRef::Asset { name, uri, .. } = some_asset(&mut world.rng) {
                    let asset = AssetKey { name, uri };
                    say(
                        world,
                        CommandBody::UpdateAsset(AssetUpdate {
                            asset,
                            extra: None,
                            partition_key: None,
                        }),
                    );
                }
            }
            26..=28 => self.backfill(world, dag_id),
            20 | 21 => self.delete(world),
            _ => {}
        }
    }

    /// Clears tasks of a run: most often of one that is over.
    fn clear(&mut self, world: &mut World) {
        let over = world.rng.chance(700);
        let Some(key) = some_run(world, over) else { return };
        let tasks = world.audit.runs().find(|(it, _)| **it == key);
        let tasks = tasks.map_or(0, |(_, run)| run.tasks.len());
        let some = if world.rng.chance(400) { 1 + world.rng.below(2) } else { 0 };
        // Now and then one that is not there.
        let most = tasks + usize::from(world.rng.chance(50));
        let task_id = |n: usize| TaskId::new(format!("t{n}")).expect("an id");
        let single = world.rng.chance(100);
        let some = if single { 0 } else { some };
        let task_ids = (0..some).map(|_| task_id(world.rng.below(most))).collect();
        let copy = |world: &mut World| {
            let task_id = task_id(world.rng.below(most));
            let map_index = i32::try_from(world.rng.below(4)).expect("few") - 1;
            TaskCopy { task_id, map_index: MapIndex(map_index) }
        };
        let copies = if single && most > 0 { vec![copy(world)] } else { Vec::new() };
        let ask = ClearTasks {
            task_ids,
            copies,
            only_failed: world.rng.chance(400),
            only_running: world.rng.chance(50),
            upstream: world.rng.chance(150),
            downstream: world.rng.chance(250),
            running: match world.rng.below(3) {
                0 => OnRunning::Leave,
                1 => OnRunning::Refuse,
                _ => OnRunning::Restart,
            },
            dry_run: world.rng.chance(200),
            on_latest_version: world.rng.chance(400),
            ..ClearTasks::of(key.dag_id, key.run_id)
        };
        self.ask(world, CommandBody::ClearTasks(ask));
    }

    /// Says how tasks ended, or a run, or writes another note on it.
    fn mark(&mut self, world: &mut World) {
        let over = world.rng.chance(500);
        let Some(key) = some_run(world, over) else { return };
        let (dag_id, run_id) = (key.dag_id.clone(), key.run_id.clone());
        match world.rng.below(10) {
            0 => {
                let note = world.rng.chance(700).then(|| "seen".to_owned());
                return self.ask(world, CommandBody::NoteRun { dag_id, run_id, note });
            }
            1 | 2 => {
                let well = world.rng.chance(500);
                let state = if well { RunMark::Success } else { RunMark::Failed };
                return self.ask(world, CommandBody::MarkRun { dag_id, run_id, state });
            }
            _ => {}
        }
        let tasks = world.audit.runs().find(|(it, _)| **it == key);
        let tasks = tasks.map_or(0, |(_, run)| run.tasks.len());
        if tasks == 0 {
            return;
        }
        let task_id = TaskId::new(format!("t{}", world.rng.below(tasks))).expect("an id");
        if world.rng.chance(100) {
            let note = world.rng.chance(700).then(|| "seen".to_owned());
            let map_index = None;
            let ask = NoteTask { dag_id, run_id, task_id, map_index, note };
            return self.ask(world, CommandBody::NoteTask(ask));
        }
        let single = world.rng.chance(150);
        let map_index = MapIndex(i32::try_from(world.rng.below(4)).expect("few") - 1);
        let copy = TaskCopy { task_id: task_id.clone(), map_index };
        let ask = MarkTasks {
            dag_id,
            run_id,
            task_ids: if single { Vec::new() } else { vec![task_id] },
            copies: if single { vec![copy] } else { Vec::new() },
            state: match world.rng.below(3) {
                0 => TaskMark::Success,
                1 => TaskMark::Failed,
                _ => TaskMark::Skipped,
            },
            upstream: world.rng.chance(150),
            downstream: world.rng.chance(250),
            dry_run: world.rng.chance(150),
        };
        self.ask(world, CommandBody::MarkTasks(ask));
    }

    /// Deletes a run that is over, as a rule.
    fn delete(&mut self, world: &mut World) {
        let over = world.rng.chance(900);
        if let Some(RunKey { dag_id, run_id }) = some_run(world, over) {
            self.ask(world, CommandBody::DeleteRun { dag_id, run_id });
        }
    }

    /// Begins a run anew under the same name: ends it, deletes it, and triggers it again.
    fn replace(&mut self, world: &mut World) {
        let active: Vec<RunKey> = world.audit.active().map(|(key, _)| key.clone()).collect();
        let Some(key) = world.rng.pick(&active).cloned() else { return };
        if world.rng.chance(300) {
            return self.revive(world);
        }
        let run_id = Some(key.run_id.clone());
        let ask = TriggerRun { run_id, ..trigger_of(&key.dag_id) };
        self.one_by_one(world, vec![cancel(&key), delete(&key), CommandBody::TriggerRun(ask)]);
    }

    /// Ends a run before it starts, and clears first a task of it and then the others, which never had copies.
    fn revive(&mut self, world: &mut World) {
        let waits = |run: &RunModel| run.stage == Stage::Queued && run.tasks.len() > 1;
        let queued = world.audit.active().filter(|(_, run)| waits(run));
        let queued: Vec<(RunKey, usize)> =
            queued.map(|(key, run)| (key.clone(), run.tasks.len())).collect();
        let Some((key, tasks)) = world.rng.pick(&queued).cloned() else { return };
        let first = world.rng.below(tasks);
        let clear = |tasks: Vec<usize>| {
            let id = |n: usize| TaskId::new(format!("t{n}")).expect("an id");
            CommandBody::ClearTasks(ClearTasks {
                task_ids: tasks.into_iter().map(id).collect(),
                ..ClearTasks::of(key.dag_id.clone(), key.run_id.clone())
            })
        };
        let others = (0..tasks).filter(|n| *n != first).collect();
        self.one_by_one(world, vec![cancel(&key), clear(vec![first]), clear(others)]);
    }

    /// Names a run without a date after the date of another, is rid of it again, and asks for that date.
    fn mislead(&mut self, world: &mut World, dag_id: &DagId) {
        let dates: Vec<Timestamp> = world.audit.dates(dag_id).collect();
        let Some(date) = world.rng.pick(&dates).copied() else { return };
        let key = RunKey { dag_id: dag_id.clone(), run_id: named_after(date) };
        let run_id = Some(key.run_id.clone());
        let ask = TriggerRun { run_id, ..trigger_of(dag_id) };
        let then = TriggerRun { logical_date: Some(date), ..trigger_of(dag_id) };
        let begin = CommandBody::TriggerRun(ask);
        let again = CommandBody::TriggerRun(then);
        self.one_by_one(world, vec![begin, cancel(&key), delete(&key), again]);
    }

    /// Asks for one thing after the other; nobody waits for the answers.
    fn one_by_one(&mut self, world: &mut World, bodies: Vec<CommandBody>) {
        let mut at = world.now;
        for body in bodies {
            let command = world.command(Actor::User("ada".to_owned()), body, true);
            self.asked.push((at, command));
            at += world.rng.between(SECOND / 10, SECOND);
        }
    }

    /// Asks, and will ask again until there is an answer.
    fn ask(&mut self, world: &mut World, body: CommandBody) {
        let command = world.command(Actor::User("ada".to_owned()), body, true);
        world.send(&command);
        self.asked.push((world.now + 3 * SECOND, command));
    }

    fn trigger(&mut self, world: &mut World, dag_id: DagId) {
        self.triggered += 1;
        let mut run_id = world.rng.chance(300).then(|| {
            // Now and then the same id twice.
            let n = self.triggered - u64::from(world.rng.chance(100));
            RunId::new(format!("by-hand-{n}")).expect("an id")
        });
        let mut logical_date = world
            .rng
            .chance(300)
            .then(|| Timestamp(world.now / SECOND * SECOND - world.rng.between(-4, 9) * SECOND));
        match world.rng.below(12) {
            // In the place of a run that was deleted.
            0 | 1 => {
                let deleted = world.audit.deleted().filter(|key| key.dag_id == dag_id);
                let deleted: Vec<RunId> = deleted.map(|key| key.run_id.clone()).collect();
                run_id = world.rng.pick(&deleted).cloned().or(run_id);
            }
            2 => {
                let freed: Vec<Timestamp> = world.audit.freed(&dag_id).collect();
                logical_date = world.rng.pick(&freed).copied().or(logical_date);
            }
            // Of a date that another has, or that only one is named after.
            3 => {
                let dates: Vec<Timestamp> = world.audit.dates(&dag_id).collect();
                logical_date = world.rng.pick(&dates).copied().or(logical_date);
            }
            // Named after the date of another run, and without one, as far as that goes.
            4 => {
                let dates: Vec<Timestamp> = world.audit.dates(&dag_id).collect();
                if let Some(date) = world.rng.pick(&dates) {
                    (run_id, logical_date) = (Some(named_after(*date)), None);
                }
            }
            _ => {}
        }
        let conf = world.rng.chance(100).then(|| "{}".to_owned());
        let (note, partition_key) = (None, None);
        let ask = TriggerRun { dag_id, run_id, logical_date, conf, note, partition_key };
        self.ask(world, CommandBody::TriggerRun(ask));
    }
}

impl People {
    /// Makes a backfill, stops one, lets it go on, or ends it.
    fn backfill(&mut self, world: &mut World, dag_id: DagId) {
        let going: Vec<u64> = world.audit.backfills().map(|(id, _)| id).collect();
        let last = world.rng.pick(&going).copied();
        // Now and then one that there is not, or that is over.
        let some = last.filter(|_| world.rng.chance(900));
        let backfill_id = BackfillId(some.unwrap_or_else(|| world.rng.below(4) as u64));
        match world.rng.below(8) {
            0 | 1 => return self.ask(world, CommandBody::PauseBackfill { backfill_id }),
            2 => return self.ask(world, CommandBody::UnpauseBackfill { backfill_id }),
            3 => return self.ask(world, CommandBody::CancelBackfill { backfill_id }),
            _ => {}
        }
        let from_date = Timestamp(world.now - world.rng.between(0, 120) * SECOND);
        let to_date = from_date.plus(Micros::from_secs(world.rng.between(-1, 90)));
        let ask = CreateBackfill {
            dag_id,
            from_date,
            to_date,
            run_backwards: world.rng.chance(300),
            reprocess_behavior: match world.rng.below(3) {
                0 => ReprocessBehavior::None,
                1 => ReprocessBehavior::Failed,
                _ => ReprocessBehavior::Completed,
            },
            max_active_runs: u32::try_from(1 + world.rng.below(3)).expect("small"),
            conf: world.rng.chance(200).then(|| "{}".to_owned()),
            runs: world.rng.chance(500).then(|| some_dates(&mut world.rng, from_date)),
            dry_run: world.rng.chance(150),
        };
        self.ask(world, CommandBody::CreateBackfill(Box::new(ask)));
    }
}

/// What a timetable that is written in Python answers, or somebody in its name.
fn some_dates(rng: &mut Prng, from: Timestamp) -> Vec<ExpectedRuns> {
    let step = Micros::from_secs(rng.between(1, 20));
    let first = Interval { start: from.plus(Micros(-step.0)), end: from };
    let count = u32::try_from(rng.below(6)).expect("small");
    vec![ExpectedRuns { first, step, count }]
}

fn trigger_of(dag_id: &DagId) -> TriggerRun {
    let (run_id, logical_date, conf, note) = (None, None, None, None);
    let partition_key = None;
    TriggerRun { dag_id: dag_id.clone(), run_id, logical_date, conf, note, partition_key }
}

fn cancel(key: &RunKey) -> CommandBody {
    CommandBody::CancelRun { dag_id: key.dag_id.clone(), run_id: key.run_id.clone() }
}

fn delete(key: &RunKey) -> CommandBody {
    CommandBody::DeleteRun { dag_id: key.dag_id.clone(), run_id: key.run_id.clone() }
}

/// The id of a run that Airflow names after this date.
fn named_after(date: Timestamp) -> RunId {
    let date = date.to_string();
    RunId::new(format!("manual__{}+00:00", date.trim_end_matches('Z'))).expect("an id")
}

/// A run that is over or one that is not; sometimes one that was deleted.
fn some_run(world: &mut World, over: bool) -> Option<RunKey> {
    let runs: Vec<RunKey> = match world.rng.below(20) {
        0 => world.audit.deleted().cloned().collect(),
        _ if over => world.audit.over().map(|(key, _)| key.clone()).collect(),
        _ => world.audit.active().map(|(key, _)| key.clone()).collect(),
    };
    world.rng.pick(&runs).cloned()
}

fn say(world: &mut World, body: CommandBody) {
    let command = world.command(Actor::User("ada".to_owned()), body, false);
    world.send(&command);
}

/// Takes every limit back to where all can run.
fn make_room(world: &mut World) {
    for (name, slots) in POOLS {
        say(world, CommandBody::SetPool(PoolChange::sized(pool(name), slots)));
    }
    say(
        world,
        CommandBody::SetLimits {
            parallelism: PARALLELISM,
            max_losses: 10,
            max_consecutive_failed_dag_runs: None,
            task_queued_timeout: None,
        },
    );
}
