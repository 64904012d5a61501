//! The fold as bytes, so that a restart need not begin at the first record. A snapshot of another
//! version is refused, and the log is folded from the start: nothing depends on having one.
use std::{collections::BTreeMap, sync::Arc};

use dagbok_events::{
    CommandId, DagId, DagSpec, DagVersion, Digest, ExecutorId, Interval, Payload, PoolName,
    RunExpected, RunId, RunKey, Timestamp, decode_any, encode_any,
};
use serde::{Deserialize, Serialize};

use super::{Dag, Executor, FileState, Limits, Namespace, Pool, RunNo, Seen};
use crate::{
    graph::Version,
    run::{Ending, Phase, Run, RunMeta, SavedTask, XComKey},
};

/// Rises with every change of what follows, or of what the fold remembers.
pub const SNAPSHOT_VERSION: u32 = 2;

/// Why a snapshot can't be used. Not an error of the installation: fold the log instead.
#[derive(Debug, thiserror::Error)]
pub enum BadSnapshot {
    /// From another build.
    #[error("the snapshot has version {found}, this build reads {SNAPSHOT_VERSION}")]
    OtherVersion {
        /// Its version.
        found: u32,
    },
    /// Not a snapshot.
    #[error("the snapshot can't be read: {0}")]
    Unreadable(String),
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    version: u32,
    #[serde(default)]
    body: Option<Saved>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    last_seq: u64,
    last_at: i64,
    parallelism: u32,
    max_losses: u16,
    pools: Vec<(PoolName, u32)>,
    bundle: Option<Digest>,
    files: BTreeMap<String, FileState>,
    told: BTreeMap<String, CommandId>,
    dags: Vec<(DagId, SavedDag)>,
    runs: Vec<(RunNo, SavedRun)>,
    next_number: RunNo,
    executors: Vec<ExecutorId>,
    seen: Vec<(CommandId, Seen)>,
}

#[derive(Serialize, Deserialize)]
struct SavedVersion {
    number: DagVersion,
    digest: Digest,
    spec: DagSpec,
}

#[derive(Serialize, Deserialize)]
struct SavedDag {
    current: SavedVersion,
    older: Vec<SavedVersion>,
    bundle: Digest,
    file: String,
    paused: bool,
    gone: bool,
    expected: Option<RunExpected>,
    last_interval: Option<Interval>,
    unpaused_at: Option<Timestamp>,
    full_until: Option<Timestamp>,
    past: Vec<(RunId, Ending)>,
    dates: Vec<Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct SavedRun {
    key: RunKey,
    meta: RunMeta,
    version: DagVersion,
    phase: Phase,
    tasks: Vec<SavedTask>,
    xcoms: Vec<(XComKey, Payload)>,
}

impl Namespace {
    /// The whole fold in bytes, each digest of it told by `dagbok_runlog::digest_of`.
    pub fn to_snapshot(&self) -> Vec<u8> {
        encode_any(&Envelope { version: SNAPSHOT_VERSION, body: Some(self.save()) })
    }

    /// The fold that [`Namespace::to_snapshot`] wrote.
    pub fn from_snapshot(bytes: &[u8]) -> Result<Self, BadSnapshot> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let unreadable =
            |error: dagbok_events::DecodeError| BadSnapshot::Unreadable(error.to_string());
        let head: Head = decode_any(bytes).map_err(unreadable)?;
        if head.version != SNAPSHOT_VERSION {
            return Err(BadSnapshot::OtherVersion { found: head.version });
        }
        let envelope: Envelope = decode_any(bytes).map_err(unreadable)?;
        let body =
            envelope.body.ok_or_else(|| BadSnapshot::Unreadable("it is empty".to_owned()))?;
        Self::restore(body)
    }

    fn save(&self) -> Saved {
        let run = |run: &Run| SavedRun {
            key: run.key().clone(),
            meta: run.meta().clone(),
            version: run.version().number,
            phase: run.phase(),
            tasks: run.save_tasks(),
            xcoms: run.xcoms().iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        };
        let seen =
            self.seen_order.iter().filter_map(|id| Some((id.clone(), self.seen.get(id)?.clone())));
        Saved {
            last_seq: self.last_seq,
            last_at: self.last_at.0,
            parallelism: self.limits.parallelism,
            max_losses: self.limits.max_losses,
            pools: self.pools.iter().map(|(name, pool)| (name.clone(), pool.slots)).collect(),
            bundle: self.bundle.clone(),
            files: self.files.clone(),
            told: self.told.clone(),
            dags: self.dags.iter().map(|(id, dag)| (id.clone(), save_dag(dag))).collect(),
            runs: self.runs.iter().map(|(number, it)| (*number, run(it))).collect(),
            next_number: self.next_number,
            executors: self.executors.keys().cloned().collect(),
            seen: seen.collect(),
        }
    }

    fn restore(saved: Saved) -> Result<Self, BadSnapshot> {
        let mut it = Self::new();
        it.last_seq = saved.last_seq;
        it.last_at = Timestamp(saved.last_at);
        it.limits = Limits { parallelism: saved.parallelism, max_losses: saved.max_losses };
        it.pools =
            saved.pools.into_iter().map(|(name, slots)| (name, Pool { slots, used: 0 })).collect();
        it.bundle = saved.bundle;
        it.files = saved.files;
        it.told = saved.told;
        it.next_number = saved.next_number;
        for id in saved.executors {
            it.executors.insert(id, Executor::default());
        }
        for (id, seen) in saved.seen {
            it.seen_order.push_back(id.clone());
            it.seen.insert(id, seen);
        }
        for (dag_id, dag) in saved.dags {
            let dag = restore_dag(dag);
            if let Some(due) = dag.due() {
                it.expected.insert((due, dag_id.clone()));
            }
            it.dags.insert(dag_id, dag);
        }
        for (number, run) in saved.runs {
            it.restore_run(number, run)?;
        }
        Ok(it)
    }

    fn restore_run(&mut self, number: RunNo, saved: SavedRun) -> Result<(), BadSnapshot> {
        let odd = |what: &str| BadSnapshot::Unreadable(format!("run {}: {what}", saved.key));
        let dag = self.dags.get_mut(&saved.key.dag_id).ok_or_else(|| odd("its DAG is missing"))?;
        let version = dag.version(saved.version).ok_or_else(|| odd("its version is missing"))?;
        if version.len() != saved.tasks.len() {
            return Err(odd("it has other tasks than its version"));
        }
        let mut run = Run::new(saved.key.clone(), saved.meta, Arc::clone(version));
        run.load(saved.phase, saved.tasks, saved.xcoms);
        dag.active.insert(number);
        if saved.phase == Phase::Queued {
            self.queued.insert(number);
        } else {
            dag.running += 1;
        }
        for ix in run.in_flight() {
            let state = &run.task(ix).state;
            let Some(hold) = state.hold() else { continue };
            self.pools.entry(hold.pool.clone()).or_default().used += u64::from(hold.slots);
            self.in_flight += 1;
            dag.in_flight += 1;
            if let Some(executor) = state.executor() {
                self.executors.entry(executor.clone()).or_default().holds.insert((number, ix));
            }
        }
        self.numbers.insert(saved.key, number);
        self.runs.insert(number, run);
        self.index(number);
        Ok(())
    }
}

fn save_version(version: &Version) -> SavedVersion {
    let (number, digest) = (version.number, version.digest.clone());
    SavedVersion { number, digest, spec: version.spec.clone() }
}

fn restore_version(saved: SavedVersion) -> Arc<Version> {
    Arc::new(Version::new(saved.number, saved.digest, saved.spec))
}

fn save_dag(dag: &Dag) -> SavedDag {
    SavedDag {
        current: save_version(&dag.current),
        older: dag.older.values().map(|version| save_version(version)).collect(),
        bundle: dag.bundle.clone(),
        file: dag.file.clone(),
        paused: dag.paused,
        gone: dag.gone,
        expected: dag.expected.clone(),
        last_interval: dag.last_interval,
        unpaused_at: dag.unpaused_at,
        full_until: dag.full_until,
        past: dag.past.iter().map(|(id, ending)| (id.clone(), *ending)).collect(),
        dates: dag.dates.iter().copied().collect(),
    }
}

fn restore_dag(saved: SavedDag) -> Dag {
    let mut dag = Dag::new(restore_version(saved.current), saved.bundle, saved.paused);
    dag.older =
        saved.older.into_iter().map(|version| (version.number, restore_version(version))).collect();
    dag.file = saved.file;
    dag.gone = saved.gone;
    dag.expected = saved.expected;
    dag.last_interval = saved.last_interval;
    dag.unpaused_at = saved.unpaused_at;
    dag.full_until = saved.full_until;
    dag.past = saved.past.into_iter().collect();
    dag.dates = saved.dates.into_iter().collect();
    dag
}
