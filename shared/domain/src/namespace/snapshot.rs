//! The fold as bytes, so that a restart need not begin at the first record: in parts, of which most stay the
//! same from one snapshot to the next. A snapshot of another version is refused, and the log is folded from
//! the start: nothing depends on having one.
use std::{collections::BTreeMap, sync::Arc};

use dagbok_events::{
    BackfillId, CommandId, ConnId, DagId, DagSpec, DagVersion, Digest, ExecutorName, Interval,
    LimitsSet, PoolSet, QueueName, RunExpected, RunId, TaskId, Timestamp, VariableKey, decode_any,
    encode_any, escape_token,
};
use dagbok_protocol::{Ahead, Cordon, Lapses};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    Dag, Executor, FileState, Namespace, Pool, RunNo, Seen,
    assets::Waiting,
    backfill::{Backfill, SavedBackfill},
    callbacks::{Callback, CallbackKey, Callbacks},
    consecutive::Newest,
    dates::Dates,
    kept::Kept,
    partitions::Partitions,
    past::{Deleted, Forgotten, Past},
    previous::Ended,
    queued::SavedExecutor,
    retired::Retired,
    turns::Turns,
    with_head,
};
use crate::{
    graph::Version,
    run::{Phase, Run, SavedRun},
    timetable::Foretold,
};

/// Rises with every change of what follows, or of what the fold remembers.
pub const SNAPSHOT_VERSION: u32 = 33;

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

/// The state at one record, to be encoded at leisure: it shares all that is large with the fold it was taken
/// of, which goes on.
#[derive(Clone, Debug)]
pub struct Frozen {
    shared: SavedShared,
    dags: BTreeMap<DagId, Arc<Dag>>,
    runs: BTreeMap<RunNo, Arc<Run>>,
}

/// One part of a snapshot.
#[derive(Debug)]
pub struct Part<'a> {
    /// What it is kept under, unique in its snapshot.
    pub name: String,
    /// Whether it is what the snapshot before had under this name.
    pub unchanged: bool,
    content: Content<'a>,
}

#[derive(Debug)]
enum Content<'a> {
    Shared(&'a SavedShared),
    Dag(&'a Dag),
    Version(&'a Version),
    Run(RunNo, &'a Run),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct SavedShared {
    version: u32,
    last_seq: u64,
    last_at: i64,
    clock: i64,
    limits: LimitsSet,
    pools: Vec<PoolSet>,
    variables: BTreeMap<VariableKey, String>,
    connections: BTreeMap<ConnId, String>,
    retired: Retired,
    turns: Turns,
    /// Up to when what waited for a time stood with what waited for none.
    ripe_until: Option<Timestamp>,
    bundles: BTreeMap<String, Digest>,
    files: BTreeMap<String, FileState>,
    told: BTreeMap<String, CommandId>,
    next_number: RunNo,
    backfills: BTreeMap<BackfillId, DagId>,
    last_backfill: BackfillId,
    executors: Vec<SavedExecutor>,
    cordons: BTreeMap<ExecutorName, Cordon>,
    /// Since when what is queued could have been begun, by queue.
    queued_since: BTreeMap<QueueName, Timestamp>,
    forgotten: BTreeMap<DagId, Forgotten>,
    lapses: Lapses,
    seen: Vec<(CommandId, Seen)>,
    callbacks: Vec<(CallbackKey, Callback)>,
}

#[derive(Serialize, Deserialize)]
struct SavedVersion {
    dag_id: DagId,
    number: DagVersion,
    digest: Digest,
    spec: DagSpec,
}

#[derive(Serialize, Deserialize)]
struct SavedDag {
    dag_id: DagId,
    current: DagVersion,
    bundle: Digest,
    file: String,
    paused: bool,
    gone: bool,
    expected: Option<RunExpected>,
    ahead: Ahead,
    waiting: Waiting,
    #[serde(default)]
    partitions: Partitions,
    last_interval: Option<Interval>,
    foretold: Option<Foretold>,
    unpaused_at: Option<Timestamp>,
    full_until: Option<Timestamp>,
    past: Past,
    kept: Kept,
    deleted: Deleted,
    dates: Dates,
    named_dates: BTreeMap<Timestamp, RunId>,
    backfill: Option<SavedBackfill>,
    ended: BTreeMap<Timestamp, Ended>,
    since: BTreeMap<TaskId, DagVersion>,
    newest: Newest,
    pause_due: bool,
}

#[derive(Serialize, Deserialize)]
struct SavedPlace {
    number: RunNo,
    run: SavedRun,
}

/// All parts in one: what a small installation keeps, and tests.
#[derive(Serialize, Deserialize)]
struct Whole {
    version: u32,
    #[serde(default)]
    parts: Vec<(String, serde_bytes::ByteBuf)>,
}

impl Frozen {
    /// The sequence of the last record folded in.
    pub const fn last_seq(&self) -> u64 {
        self.shared.last_seq
    }

    /// All of it in one piece, as [`Namespace::from_snapshot`] reads it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let part = |part: Part<'_>| (part.name.clone(), serde_bytes::ByteBuf::from(part.encode()));
        let parts = self.parts(None).map(part).collect();
        encode_any(&Whole { version: SNAPSHOT_VERSION, parts })
    }

    /// Every part, each compared with what the snapshot before had under its name.
    pub fn parts<'a>(&'a self, before: Option<&'a Self>) -> impl Iterator<Item = Part<'a>> + 'a {
        let shared = Part {
            name: "shared".to_owned(),
            unchanged: false,
            content: Content::Shared(&self.shared),
        };
        let dags = self.dags.iter().flat_map(move |(dag_id, dag)| {
            let old = before.and_then(|it| it.dags.get(dag_id));
            let unchanged = old.is_some_and(|old| Arc::ptr_eq(old, dag));
            let own = Part {
                name: format!("dag/{}", escape_token(dag_id.as_str())),
                unchanged,
                content: Content::Dag(dag),
            };
            let versions = dag.versions().map(move |version| {
                let known = old.and_then(|old| old.version(version.number));
                Part {
                    name: format!("version/{}/{}", escape_token(dag_id.as_str()), version.number),
                    unchanged: known.is_some_and(|known| Arc::ptr_eq(known, version)),
                    content: Content::Version(version),
                }
            });
            std::iter::once(own).chain(versions)
        });
        let runs = self.runs.iter().map(move |(number, run)| {
            let old = before.and_then(|it| it.runs.get(number));
            Part {
                name: format!("run/{number}"),
                unchanged: old.is_some_and(|old| Arc::ptr_eq(old, run)),
                content: Content::Run(*number, run),
            }
        });
        std::iter::once(shared).chain(dags).chain(runs)
    }
}

impl Part<'_> {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        match &self.content {
            Content::Shared(shared) => encode_any(shared),
            Content::Dag(dag) => encode_any(&save_dag(dag)),
            Content::Version(version) => encode_any(&SavedVersion {
                dag_id: version.spec.dag_id.clone(),
                number: version.number,
                digest: version.digest.clone(),
                spec: version.spec.clone(),
            }),
            Content::Run(number, run) => {
                encode_any(&SavedPlace { number: *number, run: run.save() })
            }
        }
    }
}

impl Namespace {
    /// The state as it is now, to be encoded in parts.
    pub fn freeze(&self) -> Frozen {
        let seen =
            self.seen_order.iter().filter_map(|id| Some((id.clone(), self.seen(id)?.clone())));
        let executors = self.executors.iter().map(|(id, it)| it.saved(id));
        let shared = SavedShared {
            version: SNAPSHOT_VERSION,
            last_seq: self.last_seq,
            last_at: self.last_at.0,
            clock: self.clock.0,
            limits: self.limits,
            pools: self.pools.values().filter_map(|pool| pool.set.clone()).collect(),
            variables: self.variables.clone(),
            connections: self.connections.clone(),
            retired: self.retired.clone(),
            turns: self.saved_turns(),
            ripe_until: self.index.ripe_until,
            bundles: self.bundles.clone(),
            files: self.files.clone(),
            told: self.told.clone(),
            next_number: self.next_number,
            backfills: self.backfills.clone(),
            last_backfill: self.last_backfill,
            executors: executors.collect(),
            cordons: self.cordons.clone(),
            queued_since: self.queued.saved(),
            forgotten: self.forgotten.clone(),
            lapses: self.lapses.clone(),
            seen: seen.collect(),
            callbacks: self.callbacks.saved(),
        };
        Frozen { shared, dags: self.dags.clone(), runs: self.runs.clone() }
    }

    /// The turns, without those that are as if they were not there.
    fn saved_turns(&self) -> Turns {
        self.turns.saved(|pool, dag_id| self.index.lanes.has_work(dag_id, pool))
    }

    /// The whole fold in one piece.
    pub fn to_snapshot(&self) -> Vec<u8> {
        self.freeze().to_bytes()
    }

    /// The fold that [`Namespace::to_snapshot`] wrote.
    pub fn from_snapshot(bytes: &[u8]) -> Result<Self, BadSnapshot> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let head: Head = read("head", bytes)?;
        if head.version != SNAPSHOT_VERSION {
            return Err(BadSnapshot::OtherVersion { found: head.version });
        }
        let whole: Whole = read("whole", bytes)?;
        Self::from_parts(whole.parts.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())))
    }

    /// The fold of which these are all parts, by name, in any order.
    pub fn from_parts<'a>(
        parts: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Self, BadSnapshot> {
        let (mut shared, mut dags, mut runs) = (None, Vec::new(), Vec::new());
        let mut versions: BTreeMap<DagId, Vec<Arc<Version>>> = BTreeMap::new();
        for (name, bytes) in parts {
            match name.split('/').next() {
                Some("shared") => shared = Some(read::<SavedShared>(name, bytes)?),
                Some("dag") => dags.push(read::<SavedDag>(name, bytes)?),
                Some("version") => {
                    let it: SavedVersion = read(name, bytes)?;
                    let version = Arc::new(Version::new(it.number, it.digest, it.spec));
                    versions.entry(it.dag_id).or_default().push(version);
                }
                Some("run") => runs.push(read::<SavedPlace>(name, bytes)?),
                _ => return Err(BadSnapshot::Unreadable(format!("there is no part `{name}`"))),
            }
        }
        let missing = || BadSnapshot::Unreadable("its part `shared` is missing".to_owned());
        let shared = shared.ok_or_else(missing)?;
        let (ripe_until, queued_since) = (shared.ripe_until, shared.queued_since.clone());
        let mut it = Self::restore_shared(shared)?;
        for saved in dags {
            let known = versions.remove(&saved.dag_id).unwrap_or_default();
            it.restore_dag(saved, &known)?;
        }
        runs.sort_unstable_by_key(|place| place.number);
        for place in runs {
            it.restore_run(place)?;
        }
        let names: Vec<DagId> = it.dags.keys().cloned().collect();
        for dag_id in &names {
            it.index_dag(dag_id);
        }
        it.restore_room(queued_since);
        let running: Vec<RunNo> = it.runs.keys().copied().collect();
        for number in running {
            it.look_back(number);
        }
        if let Some(until) = ripe_until {
            it.ripen(until);
        }
        it.turns.frozen = false;
        Ok(it)
    }

    fn restore_shared(saved: SavedShared) -> Result<Self, BadSnapshot> {
        if saved.version != SNAPSHOT_VERSION {
            return Err(BadSnapshot::OtherVersion { found: saved.version });
        }
        let mut it = Self::new();
        it.last_seq = saved.last_seq;
        it.last_at = Timestamp(saved.last_at);
        it.clock = Timestamp(saved.clock);
        it.limits = saved.limits;
        it.pools = saved
            .pools
            .into_iter()
            .map(|set| (set.pool.clone(), Pool { set: Some(set), used: 0, deferred: 0 }))
            .collect();
        (it.variables, it.connections) = (saved.variables, saved.connections);
        it.retired = saved.retired;
        it.turns = saved.turns;
        it.turns.frozen = true;
        it.bundles = saved.bundles;
        it.files = saved.files;
        it.told = saved.told;
        it.next_number = saved.next_number;
        (it.backfills, it.last_backfill) = (saved.backfills, saved.last_backfill);
        (it.forgotten, it.lapses) = (saved.forgotten, saved.lapses);
        it.callbacks = Callbacks::restore(saved.callbacks);
        let executors = saved.executors.into_iter();
        it.executors = executors.map(|one| Executor::restored(one, &saved.cordons)).collect();
        it.cordons = saved.cordons;
        for (id, seen) in saved.seen {
            it.seen_order.push_back(id.clone());
            it.seen.insert(with_head(&id), seen);
        }
        Ok(it)
    }

    fn restore_dag(
        &mut self,
        saved: SavedDag,
        versions: &[Arc<Version>],
    ) -> Result<(), BadSnapshot> {
        let current = versions.iter().find(|version| version.number == saved.current);
        let missing =
            || BadSnapshot::Unreadable(format!("{}: its version is missing", saved.dag_id));
        let mut dag =
            Dag::new(Arc::clone(current.ok_or_else(missing)?), saved.bundle, saved.paused);
        // Those that no run uses are dropped when the runs are there: none was saved.
        let older = versions.iter().filter(|version| version.number != saved.current);
        dag.older = older.map(|version| (version.number, Arc::clone(version))).collect();
        dag.file = saved.file;
        dag.gone = saved.gone;
        dag.expected = saved.expected;
        dag.ahead = saved.ahead;
        dag.waiting = saved.waiting;
        dag.partitions = saved.partitions;
        dag.last_interval = saved.last_interval;
        if let Some(foretold) = &saved.foretold {
            Arc::make_mut(&mut dag.current).foretell(foretold);
        }
        dag.unpaused_at = saved.unpaused_at;
        dag.full_until = saved.full_until;
        dag.past = saved.past;
        dag.kept = saved.kept;
        dag.deleted = saved.deleted;
        dag.dates = saved.dates;
        dag.named_dates = saved.named_dates;
        dag.backfill = saved.backfill.map(Backfill::restore);
        dag.ended = saved.ended;
        dag.since = saved.since;
        (dag.newest, dag.pause_due) = (saved.newest, saved.pause_due);
        if !dag.gone {
            self.by_file.entry(dag.file.clone()).or_default().insert(saved.dag_id.clone());
        }
        for version in dag.versions() {
            version.capped().for_each(|it| self.index.lanes.watch(&saved.dag_id, it, 0));
        }
        self.dags.insert(saved.dag_id, Arc::new(dag));
        Ok(())
    }

    fn restore_run(&mut self, place: SavedPlace) -> Result<(), BadSnapshot> {
        let SavedPlace { number, run: saved } = place;
        let key = saved.key.clone();
        let odd = |what: &str| BadSnapshot::Unreadable(format!("run {key}: {what}"));
        let dag = self.dags.get_mut(&key.dag_id).ok_or_else(|| odd("its DAG is missing"))?;
        let dag = Arc::make_mut(dag);
        let version = dag.version(saved.version).ok_or_else(|| odd("its version is missing"))?;
        let mut run = Run::restore(saved, Arc::clone(version))
            .ok_or_else(|| odd("it has other tasks than its version"))?;
        dag.active.insert(number);
        dag.use_version(run.version());
        if let Some(date) = run.meta().logical_date {
            dag.by_date.insert(date, number);
        }
        let part = run.part();
        if run.phase() == Phase::Queued && part.is_none() {
            dag.queued.insert((run.meta().run_after, number));
        } else if part.is_none() {
            dag.running += 1;
        }
        dag.keep_part(number, None, part);
        for no in run.in_flight() {
            let state = &run.instance(no).state;
            let Some(hold) = state.hold() else { continue };
            if let Some((at, queue)) = state.queued_since() {
                self.queued.restore(&queue, (at, number, no));
            }
            self.pools.entry(hold.pool.clone()).or_default().used += u64::from(hold.slots);
            self.in_flight += 1;
            dag.in_flight += 1;
            let task_id = &run.spec(no).task_id;
            self.index.lanes.count(&key.dag_id, task_id, true, &mut self.turns);
            if let Some(executor) = state.executor() {
                self.executors.entry(executor.clone()).or_default().holds.insert((number, no));
            }
        }
        for (no, instance) in run.instances() {
            let waits = instance.state.due().map(|due| (due, number, no));
            self.index.retries.extend(waits);
            let Some((hold, until)) = instance.state.parked() else { continue };
            self.pools.entry(hold.pool).or_default().deferred += u64::from(hold.slots);
            self.index.triggers.extend(until.map(|until| (until, number, no)));
        }
        self.index.put_run(number, &mut run, &mut self.turns);
        self.numbers.insert(key, number);
        self.runs.insert(number, Arc::new(run));
        Ok(())
    }
}

fn read<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, BadSnapshot> {
    decode_any(bytes).map_err(|error| BadSnapshot::Unreadable(format!("{name}: {error}")))
}

fn save_dag(dag: &Dag) -> SavedDag {
    SavedDag {
        dag_id: dag.current.spec.dag_id.clone(),
        current: dag.current.number,
        bundle: dag.bundle.clone(),
        file: dag.file.clone(),
        paused: dag.paused,
        gone: dag.gone,
        expected: dag.expected.clone(),
        ahead: dag.ahead.clone(),
        waiting: dag.waiting.clone(),
        partitions: dag.partitions.clone(),
        last_interval: dag.last_interval,
        foretold: dag.current.foretold().cloned(),
        unpaused_at: dag.unpaused_at,
        full_until: dag.full_until,
        past: dag.past.clone(),
        kept: dag.kept.clone(),
        deleted: dag.deleted.clone(),
        dates: dag.dates.clone(),
        named_dates: dag.named_dates.clone(),
        backfill: dag.backfill.as_ref().map(Backfill::save),
        ended: dag.ended.clone(),
        since: dag.since.clone(),
        newest: dag.newest.clone(),
        pause_due: dag.pause_due,
    }
}
