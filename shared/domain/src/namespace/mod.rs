//! A namespace: every DAG and run that share pools and limits, the consistency boundary, and so the
//! whole state of its one scheduler.
//!
//! [`Namespace::decide`] answers commands, [`Namespace::plan`] proposes what the rules call for by
//! themselves and [`Namespace::carry_out`] decides on a proposal, checking it again;
//! [`Namespace::evolve`] alone changes anything. Capacity is a fold of the log, never a counter that
//! could leak.
mod asset_index;
mod assets;
mod backfill;
mod callbacks;
mod cold;
mod consecutive;
mod cordons;
mod dag;
mod dates;
mod decide;
mod deferred;
mod evolve;
mod evolve_shared;
mod horizon;
mod index;
mod kept;
mod lanes;
mod lookers;
mod over;
mod partitions;
mod past;
mod pick;
mod plan;
mod pool;
mod previous;
mod queued;
mod retired;
mod room;
mod run_id;
mod schedule;
mod snapshot;
mod turns;
mod views;
mod watchers;
mod went_back;
mod why;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem::Discriminant,
    sync::Arc,
};

pub use backfill::Backfill;
use callbacks::Callbacks;
pub use cold::{ColdRun, NotRevived};
pub use dag::Dag;
use dagbok_events::{
    Actor, BackfillId, Cause, CommandId, ConnId, DagId, ExecutorId, ExecutorName, Fact, LimitsSet,
    Micros, PoolName, QueueName, Record, RunId, RunKey, Scope, Timestamp, TraceContext,
    VariableKey,
};
use dagbok_protocol::{
    BackfillPlan, ClearedTask, ComingRuns, Command, Cordon, Lapses, LastScheduled, Refusal,
    RefusalCode, VersionChange, Why, limits,
};
pub use decide::spec_fault;
use index::Index;
use past::Forgotten;
pub use plan::Proposal;
pub use pool::DEFAULT_POOL;
use pool::Pool;
use queued::Queued;
use retired::Retired;
pub use snapshot::{BadSnapshot, Frozen, Part, SNAPSHOT_VERSION};
use turns::Turns;
pub use views::{QueuedTry, WaitingForRoom};

use crate::{
    head::head,
    run::{Ending, InstanceNo, Run},
};

/// A run's place in the order of creation.
pub type RunNo = u64;

/// What became of a command, before anything is appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// To be appended in this order; the last one's sequence is the answer's.
    pub records: Vec<Record>,
    /// What to tell whoever asked.
    pub outcome: Outcome,
}

/// What to tell whoever asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is decided as asked.
    Accepted {
        /// The run that was made.
        run_id: Option<RunId>,
    },
    /// It was decided before, by the record with this sequence.
    Seen {
        /// That record.
        seq: u64,
        /// The run that was made then.
        run_id: Option<RunId>,
    },
    /// It is so already.
    Unchanged,
    /// Nothing was decided, as asked: these tasks would be cleared.
    WouldClear {
        /// Whether the run is over, and would be queued again.
        run_goes_on: bool,
        /// The tasks, in the DAG's order.
        tasks: Vec<ClearedTask>,
        /// The version that the run would go on with, where that is another.
        version: Option<Box<VersionChange>>,
    },
    /// Nothing was decided, as asked: these tasks would be marked.
    WouldMark {
        /// Whether the run is over, and would be judged anew.
        run_goes_on: bool,
        /// What would be marked, in the DAG's order.
        tasks: Vec<ClearedTask>,
        /// What would be judged anew with it.
        cleared: Vec<ClearedTask>,
    },
    /// Nothing was decided, as asked: all this keeps what was asked about from going on.
    Waits(Box<Why>),
    /// Nothing was decided, as asked: the DAG would make these runs.
    WouldMake(ComingRuns),
    /// Nothing was decided, as asked: a backfill would do this.
    WouldBackfill(BackfillPlan),
    /// Nothing was decided, as asked: over these data intervals the last scheduled runs went.
    LastScheduled(Vec<LastScheduled>),
    /// Nothing is decided yet: that run is over and forgotten. Once it is [revived](Namespace::revive), the
    /// command can be decided.
    Needs(RunKey),
    /// No.
    Refused(Refusal),
}

/// What is remembered of a command that was decided.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Seen {
    seq: u64,
    run_id: Option<RunId>,
    /// It was a report that was kept as refused.
    refused: bool,
}

/// What is remembered of a file of the folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct FileState {
    /// The error that stands: line, exception, message.
    error: Option<(Option<u32>, String, String)>,
}

/// What is remembered of an executor that joined, or that a try names, and has not left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Executor {
    holds: BTreeSet<(RunNo, InstanceNo)>,
    /// Whether it said that it has no place for another.
    full: bool,
    /// Whose part it is, by name.
    part_of: Option<ExecutorName>,
    /// How many tries it can hold; 0 of one that did not join.
    slots: u32,
    /// Which queues it pulls from.
    queues: Vec<QueueName>,
    /// What its tries can use together.
    resources: dagbok_events::Resources,
    /// What it is called over its lives; none of one that did not join.
    name: Option<ExecutorName>,
    /// Whether it is to take nothing new.
    cordoned: bool,
    /// When a try of it was over last, or it came.
    freed_at: Timestamp,
}

/// Everything one scheduler decides over. See the module.
#[derive(Clone, Debug)]
pub struct Namespace {
    last_seq: u64,
    last_at: Timestamp,
    /// The latest that the scheduler's clock showed, since it last went back.
    clock: Timestamp,
    limits: LimitsSet,
    pools: BTreeMap<PoolName, Pool>,
    /// The variables that there are, each with the id of its value.
    variables: BTreeMap<VariableKey, String>,
    /// The connections, likewise.
    connections: BTreeMap<ConnId, String>,
    retired: Retired,
    turns: Turns,
    in_flight: u32,
    /// What was published last of each DAG folder; without a name, of the one that has none.
    bundles: BTreeMap<String, dagbok_events::Digest>,
    files: BTreeMap<String, FileState>,
    /// The command that last said something new of each file.
    told: BTreeMap<String, CommandId>,
    dags: BTreeMap<DagId, Arc<Dag>>,
    forgotten: BTreeMap<DagId, Forgotten>,
    /// By what runs that are over have no values of their tasks any more.
    lapses: Lapses,
    /// The DAGs that each file defines, gone ones left out.
    by_file: BTreeMap<String, BTreeSet<DagId>>,
    runs: BTreeMap<RunNo, Arc<Run>>,
    numbers: BTreeMap<RunKey, RunNo>,
    next_number: RunNo,
    /// Backfills that are not over, each with its DAG.
    backfills: BTreeMap<BackfillId, DagId>,
    /// The one that was made last.
    last_backfill: BackfillId,
    executors: BTreeMap<ExecutorId, Executor>,
    /// Who takes nothing new, by what they are called over their lives.
    cordons: BTreeMap<ExecutorName, Cordon>,
    /// Runs that are over and were taken up again, newest last, for a command about them.
    revived: VecDeque<Arc<Run>>,
    /// Callbacks of DAGs that are called for.
    callbacks: Callbacks,
    index: Index,
    /// What fits into no record, by its run and its kind; no part of the fold.
    aside: Vec<(RunNo, Discriminant<Proposal>)>,
    /// Queued tries, by queue, and since when somebody could have begun them.
    queued: Queued,
    /// By their ids, with the heads of these.
    seen: BTreeMap<(u128, CommandId), Seen>,
    seen_order: VecDeque<CommandId>,
}

impl Default for Namespace {
    fn default() -> Self {
        Self::new()
    }
}

impl Namespace {
    /// Nothing has happened yet: one default pool, the default limits.
    pub fn new() -> Self {
        Self {
            last_seq: 0,
            last_at: Timestamp(i64::MIN),
            clock: Timestamp(i64::MIN),
            limits: LimitsSet {
                parallelism: limits::PARALLELISM,
                max_losses: limits::MAX_LOSSES,
                max_consecutive_failed_dag_runs: 0,
                task_queued_timeout: LimitsSet::TASK_QUEUED_TIMEOUT,
            },
            pools: BTreeMap::from([Pool::default_pool()]),
            variables: BTreeMap::new(),
            connections: BTreeMap::new(),
            retired: Retired::default(),
            turns: Turns::default(),
            in_flight: 0,
            bundles: BTreeMap::new(),
            files: BTreeMap::new(),
            told: BTreeMap::new(),
            dags: BTreeMap::new(),
            forgotten: BTreeMap::new(),
            lapses: Lapses::default(),
            by_file: BTreeMap::new(),
            runs: BTreeMap::new(),
            numbers: BTreeMap::new(),
            next_number: 0,
            backfills: BTreeMap::new(),
            last_backfill: BackfillId(0),
            executors: BTreeMap::new(),
            cordons: BTreeMap::new(),
            revived: VecDeque::new(),
            callbacks: Callbacks::default(),
            index: Index::default(),
            aside: Vec::new(),
            queued: Queued::default(),
            seen: BTreeMap::new(),
            seen_order: VecDeque::new(),
        }
    }

    /// The sequence of the last record folded in.
    pub const fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// The stamp of the last record folded in.
    pub const fn last_stamp(&self) -> Timestamp {
        self.last_at
    }

    /// A record decided by the clock as it is, stamped: no stamp lies before the one of the record before.
    fn stamped(&self, mut record: Record) -> Record {
        self.stamp(&mut record);
        record
    }

    fn stamp(&self, record: &mut Record) {
        if record.at < self.last_at {
            record.clock = Some(record.at);
            record.at = self.last_at;
        }
    }

    /// How far the last record's stamp lies ahead of the clock; zero where it does not.
    pub fn stamp_ahead(&self, now: Timestamp) -> Micros {
        if self.last_at > now { self.last_at.since(now) } else { Micros(0) }
    }

    /// The latest that the scheduler's clock showed since it last went back; `None` before the first record.
    pub fn last_clock(&self) -> Option<Timestamp> {
        (self.clock > Timestamp(i64::MIN)).then_some(self.clock)
    }

    /// Whether the clock lies so far behind what it showed before that this must be dealt with.
    fn clock_went_back(&self, now: Timestamp) -> bool {
        now.plus(Micros(limits::CLOCK_BACK_US)) < self.clock
    }

    /// What is remembered of a command that was decided.
    fn seen(&self, id: &CommandId) -> Option<&Seen> {
        self.seen.get(&with_head(id))
    }

    fn run(&self, key: &RunKey) -> Option<&Run> {
        self.runs.get(self.numbers.get(key)?).map(Arc::as_ref)
    }
}

fn with_head(id: &CommandId) -> (u128, CommandId) {
    (head(id.as_str()), id.clone())
}

/// A record that answers a command.
fn answering(command: &Command, at: Timestamp, scope: Scope, facts: Vec<Fact>) -> Record {
    Record {
        at,
        clock: None,
        scope,
        by: command.by.clone(),
        reason: command.reason.clone(),
        cause: Some(Cause { command: command.id.clone(), sent_at: Some(command.sent_at) }),
        trace: command.trace.clone(),
        facts,
    }
}

/// A record of the scheduler's own.
fn own(
    at: Timestamp,
    by: Actor,
    scope: Scope,
    trace: Option<TraceContext>,
    facts: Vec<Fact>,
) -> Record {
    Record { at, clock: None, scope, by, reason: None, cause: None, trace, facts }
}

fn refuse(code: RefusalCode, message: String) -> Decision {
    Decision { records: Vec::new(), outcome: Outcome::Refused(Refusal { code, message }) }
}

fn unchanged() -> Decision {
    Decision { records: Vec::new(), outcome: Outcome::Unchanged }
}

fn accepted(records: Vec<Record>) -> Decision {
    Decision { records, outcome: Outcome::Accepted { run_id: None } }
}

const fn ending_word(ending: Ending) -> &'static str {
    match ending {
        Ending::Success => "success",
        Ending::Failed => "failed",
    }
}
