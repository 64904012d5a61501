//! Whoever keeps the log small: lets runs go that are too many, archives and trims what is old, and dies over
//! it. Beside it somebody who reads the log from behind, and somebody who puts rubbish onto it, until
//! `doctor` has that passed over.
use std::{collections::BTreeMap, time::Duration};

use dagbok_events::{
    Actor, DagId, Digest, Fact, ForeignEntrySkipped, HistoryForgotten, Record, RunKey, Scope,
    Timestamp,
};
use dagbok_protocol::CommandBody;
use dagbok_runlog::digest_of;

use crate::{
    storage::Break,
    world::{SECOND, World},
};

/// Runs that go at once.
const AT_ONCE: usize = 3;

/// See the module.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// When it next looks.
    pub(crate) wake: i64,
    /// Of a DAG's runs that are over, so many stay.
    keep_runs: usize,
    /// Records of the last so many microseconds stay in the log.
    keep_log: i64,
    /// Entries of one file of the archive.
    batch: usize,
    /// Up to where the reader has read.
    read_to: u64,
    /// Entries that are no records, and not passed over yet.
    foreign: Vec<ForeignEntrySkipped>,
}

/// Asks that things are forgotten: DAGs that vanished and have no run left, and now and then whatever there is.
fn forget(world: &mut World) {
    let all: Vec<DagId> = world.audit.dag_ids().cloned().collect();
    let over = |it: &&DagId| world.audit.is_gone(it) && !world.audit.has_runs(it);
    let mut bodies: Vec<CommandBody> =
        all.iter().filter(over).map(|it| CommandBody::ForgetDag { dag_id: it.clone() }).collect();
    let Some(dag_id) = world.rng.pick(&all).cloned() else { return };
    let ago = |world: &mut World| {
        let off = world.rng.between(-SECOND, 60 * SECOND);
        world.rng.chance(700).then(|| Timestamp(world.now - off))
    };
    match world.rng.below(12) {
        0 => bodies.push(CommandBody::ForgetDag { dag_id }),
        1 | 2 => {
            let below = u32::try_from(world.rng.below(5)).expect("small");
            bodies.push(CommandBody::ForgetVersions { dag_id, below });
        }
        3 => bodies.push(CommandBody::ForgetHistory(HistoryForgotten {
            executors_left_before: ago(world),
            reports_refused_before: ago(world),
            backfills_over_before: ago(world),
            logs_of_runs_over_before: ago(world),
            xcoms_of_runs_over_before: ago(world),
        })),
        _ => {}
    }
    for body in bodies {
        let command = world.command(Actor::Scheduler, body, false);
        world.send(&command);
    }
}

impl Keeper {
    pub(crate) fn new(world: &mut World) -> Self {
        let batch = usize::try_from(world.rng.between(5, 60)).expect("small");
        Self {
            wake: world.now + SECOND,
            keep_runs: world.rng.below(30),
            keep_log: world.rng.between(SECOND, 20 * SECOND),
            batch,
            read_to: 0,
            foreign: Vec::new(),
        }
    }

    pub(crate) fn step(&mut self, world: &mut World) {
        self.wake = world.now + world.rng.between(SECOND / 2, 4 * SECOND);
        if world.chaos {
            self.prune(world);
            forget(world);
        }
        self.archive(world);
        self.read_on(world);
        if world.trouble(40) {
            self.intrude(world);
        }
        if !world.chaos || world.rng.chance(300) {
            self.repair(world);
        }
        if world.rng.chance(100) {
            world.storage.holds(&world.log).unwrap_or_else(|finding| panic!("{finding}"));
        }
    }

    /// Whether nothing of somebody else's is in anybody's way.
    pub(crate) const fn is_content(&self) -> bool {
        self.foreign.is_empty()
    }

    /// Asks that runs go that are over and too many, as the rules of what is kept do.
    fn prune(&self, world: &mut World) {
        let mut over: BTreeMap<&DagId, Vec<&RunKey>> = BTreeMap::new();
        for (key, _) in world.audit.over() {
            over.entry(&key.dag_id).or_default().push(key);
        }
        let mut goes: Vec<RunKey> = Vec::new();
        for (dag_id, runs) in over {
            let (keep, most) = if world.audit.is_gone(dag_id) {
                (0, usize::MAX)
            } else {
                (self.keep_runs, AT_ONCE)
            };
            let excess = runs.len().saturating_sub(keep).min(most);
            goes.extend(runs.into_iter().take(excess).cloned());
        }
        for RunKey { dag_id, run_id } in goes {
            world.note("run pruned");
            let body = CommandBody::DeleteRun { dag_id, run_id };
            let mut command = world.command(Actor::Scheduler, body, false);
            command.reason = Some("by the rules of what is kept".to_owned());
            world.send(&command);
        }
    }

    fn archive(&self, world: &mut World) {
        let dies = match world.rng.below(6) {
            0 if world.chaos => Some(Break::BeforeTrim),
            1 if world.chaos => Some(Break::AfterTrim),
            2 if world.chaos => {
                world.storage.half_a_file();
                None
            }
            _ => None,
        };
        let keep = Duration::from_micros(self.keep_log.unsigned_abs());
        match world.storage.archive_old((Timestamp(world.now), keep), self.batch, dies) {
            Some(0) => {}
            Some(_) => world.note("log trimmed"),
            None => world.note(&format!("archivist died {:?}", dies.expect("it died"))),
        }
    }

    /// Reads on as a read model does: it may be far behind, and begins anew where its rows are lost.
    fn read_on(&mut self, world: &mut World) {
        if world.rng.chance(100) {
            self.read_to = 0;
        }
        if world.storage.base().first.0 > self.read_to + 1 {
            world.note("read from the archive");
        }
        for entry in world.storage.read(self.read_to, 100) {
            assert_eq!(entry.seq.0, self.read_to + 1, "a reader sees one entry after the other");
            let stored = &world.log[usize::try_from(self.read_to).expect("small")];
            assert!(stored[..] == entry.payload[..], "entry {} reads otherwise", entry.seq);
            self.read_to += 1;
        }
    }

    fn intrude(&mut self, world: &mut World) {
        let payload = vec![0xc1; world.rng.below(40)];
        let digest = Digest::new(digest_of(&payload)).expect("a digest");
        let (seq, bytes) = (world.log.len() as u64 + 1, payload.len() as u64);
        let subject = "log.rubbish".to_owned();
        world.intrude(payload);
        self.foreign.push(ForeignEntrySkipped { seq, subject, digest, bytes });
        world.note("rubbish put on the log");
    }

    /// As `dagbok doctor --repair`: a record for each says that it is passed over.
    fn repair(&mut self, world: &mut World) {
        for entry in std::mem::take(&mut self.foreign) {
            let latest = world.audit.history().iter().map(|record| record.at).max();
            let record = Record {
                at: latest.unwrap_or(Timestamp(0)).max(Timestamp(world.now)),
                clock: None,
                scope: Scope::Namespace,
                by: Actor::User("doctor".to_owned()),
                reason: Some("somebody else put it on the log".to_owned()),
                cause: None,
                trace: None,
                facts: vec![Fact::ForeignEntrySkipped(Box::new(entry))],
            };
            let end = world.log.len();
            world.append(end, &[record]).expect("it knows the end");
        }
    }
}
