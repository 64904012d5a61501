//! People: trigger, pause, cancel, set limits, and ask again where nobody answers.
use dagbok_events::{Actor, DagId, RunId, RunKey, Timestamp};
use dagbok_protocol::{Answer, Command, CommandBody, TriggerRun};

use crate::{
    dags::{POOLS, dag_id, pool},
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
    /// Triggers not answered yet, and when they are sent again.
    asked: Vec<(i64, Command)>,
    /// Triggers that were accepted, with the run that was promised.
    pub(crate) promised: Vec<(Command, Option<RunId>)>,
    triggered: u64,
}

impl People {
    pub(crate) const fn new(now: i64, dags: usize) -> Self {
        Self { wake: now, dags, asked: Vec::new(), promised: Vec::new(), triggered: 0 }
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
        let paused: Vec<DagId> = world.audit.paused().cloned().collect();
        for dag_id in paused {
            say(world, CommandBody::UnpauseDag { dag_id });
        }
        self.wake = world.now + SECOND;
    }

    /// Whether everybody had an answer.
    pub(crate) const fn is_content(&self) -> bool {
        self.asked.is_empty()
    }

    fn hear(&mut self, world: &mut World) {
        for (at, command) in std::mem::take(&mut self.asked) {
            match world.answer_to(&command.id) {
                Some(Answer::Accepted { run_id, .. }) => self.promised.push((command, run_id)),
                Some(Answer::Unchanged | Answer::WouldClear { .. } | Answer::Refused(_)) => {}
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
        match world.rng.below(20) {
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
                let slots = u32::try_from(world.rng.below(slots as usize + 2)).expect("small");
                say(world, CommandBody::SetPool { pool: pool(name), slots });
            }
            16 => {
                let parallelism = u32::try_from(world.rng.below(8)).expect("small");
                let max_losses = u16::try_from(world.rng.below(6)).expect("small");
                say(world, CommandBody::SetLimits { parallelism, max_losses });
            }
            _ => {}
        }
    }

    fn trigger(&mut self, world: &mut World, dag_id: DagId) {
        self.triggered += 1;
        let chosen = world.rng.chance(300);
        let run_id = chosen.then(|| {
            // Now and then the same id twice.
            let n = self.triggered - u64::from(world.rng.chance(100));
            RunId::new(format!("by-hand-{n}")).expect("an id")
        });
        let dated = world.rng.chance(300);
        let logical_date = dated
            .then(|| Timestamp(world.now / SECOND * SECOND - world.rng.between(0, 9) * SECOND));
        let conf = world.rng.chance(100).then(|| "{}".to_owned());
        let ask = TriggerRun { dag_id, run_id, logical_date, conf, note: None };
        let by = Actor::User("ada".to_owned());
        let command = world.command(by, CommandBody::TriggerRun(ask), true);
        world.send(&command);
        self.asked.push((world.now + 3 * SECOND, command));
    }
}

fn say(world: &mut World, body: CommandBody) {
    let command = world.command(Actor::User("ada".to_owned()), body, false);
    world.send(&command);
}

/// Takes every limit back to where all can run.
fn make_room(world: &mut World) {
    for (name, slots) in POOLS {
        say(world, CommandBody::SetPool { pool: pool(name), slots });
    }
    say(world, CommandBody::SetLimits { parallelism: PARALLELISM, max_losses: 10 });
}
