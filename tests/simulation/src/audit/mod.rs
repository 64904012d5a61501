//! A second opinion on the log: every record is checked against what the records before it say, by rules
//! written down once more, slowly and without an index.
mod agreement;
mod assets;
mod backfills;
mod clearing;
mod forgetting;
mod hands;
mod kept;
mod latest;
mod limits;
mod mapping;
mod marking;
mod names;
mod past;
mod promises;
mod reports;
mod run;
mod scopes;
mod target;
mod task;
mod tries;
mod why;

use std::collections::{BTreeMap, BTreeSet};

pub use agreement::fold_all;
use backfills::BackfillModel;
use dagbok_events::{
    Actor, AssetKey, CommandId, DagId, DagSpec, ExecutorId, Fact, LimitsSet, Micros, PoolName,
    QueueName, Record, RunCreated, RunExpected, RunId, RunKey, RunType, Scope, Timestamp,
};
use dagbok_protocol::{Command, CommandBody, OnRunning, limits as sizes};
use forgetting::Floor;
use names::{brief, kind_of};
use run::Told;
pub use run::{RunModel, Stage};
pub use task::{CopyModel, Execution, Stand, TaskModel};

/// What is wrong with a record, in words.
pub type Finding = Result<(), String>;

/// What is known of a DAG.
#[derive(Clone, Debug)]
struct DagModel {
    versions: BTreeMap<u32, DagSpec>,
    current: u32,
    paused: bool,
    gone: bool,
    dates: BTreeSet<Timestamp>,
    /// Dates that a run had which is deleted.
    freed: BTreeSet<Timestamp>,
    /// The promise that stands.
    expected: Option<RunExpected>,
    /// Assets that were brought up to date since its last run by assets.
    fresh: BTreeSet<AssetKey>,
}

/// The second opinion.
#[derive(Clone, Debug)]
pub struct Audit {
    dags: BTreeMap<DagId, DagModel>,
    runs: BTreeMap<RunKey, RunModel>,
    /// Runs there were, and which are not there again.
    deleted: BTreeSet<RunKey>,
    /// The highest number of a try that a deleted run of this id had.
    tried: BTreeMap<RunKey, u16>,
    /// DAGs that were forgotten.
    floors: BTreeMap<DagId, Floor>,
    /// Runs that are over, with the record since which they are and when that was decided.
    over: BTreeMap<RunKey, (u64, Timestamp)>,
    /// Records by which values of runs are forgotten, when each was decided, and before when those runs were over.
    lapses: Vec<(u64, Timestamp, Timestamp)>,
    /// The runs that commands made, whatever became of them.
    made: BTreeMap<CommandId, RunId>,
    /// Every backfill there was.
    backfills: BTreeMap<u64, BackfillModel>,
    pools: BTreeMap<PoolName, u32>,
    /// Who is there to run tries, with how many at once and from which queues.
    executors: BTreeMap<ExecutorId, (u32, Vec<QueueName>)>,
    parallelism: u32,
    queued_timeout: Micros,
    max_losses: u16,
    last_at: Timestamp,
    /// Commands that may be answered by one record only, with its sequence.
    answered: BTreeMap<CommandId, u64>,
    /// The records that offered the tries that reports are of, where that is known.
    offers: BTreeMap<CommandId, u64>,
    /// All that was taken in, for whoever must find out.
    history: Vec<Record>,
    /// How often each kind of thing was seen: what never was seen was not tested.
    pub seen: BTreeMap<String, u64>,
}

impl Default for Audit {
    fn default() -> Self {
        Self::new()
    }
}

impl Audit {
    /// Nothing was seen yet.
    pub fn new() -> Self {
        let pool = PoolName::new("default_pool").expect("a pool name");
        Self {
            dags: BTreeMap::new(),
            runs: BTreeMap::new(),
            deleted: BTreeSet::new(),
            tried: BTreeMap::new(),
            floors: BTreeMap::new(),
            over: BTreeMap::new(),
            lapses: Vec::new(),
            made: BTreeMap::new(),
            backfills: BTreeMap::new(),
            pools: BTreeMap::from([(pool, sizes::DEFAULT_POOL_SLOTS)]),
            executors: BTreeMap::new(),
            parallelism: sizes::PARALLELISM,
            queued_timeout: LimitsSet::TASK_QUEUED_TIMEOUT,
            max_losses: sizes::MAX_LOSSES,
            last_at: Timestamp(i64::MIN),
            answered: BTreeMap::new(),
            offers: BTreeMap::new(),
            history: Vec::new(),
            seen: BTreeMap::new(),
        }
    }

    /// Every record taken in.
    pub fn history(&self) -> &[Record] {
        &self.history
    }

    /// Runs that are not over.
    pub fn active(&self) -> impl Iterator<Item = (&RunKey, &RunModel)> {
        self.runs.iter().filter(|(_, run)| run.stage != Stage::Over)
    }

    /// Runs that are over.
    pub fn over(&self) -> impl Iterator<Item = (&RunKey, &RunModel)> {
        self.runs.iter().filter(|(_, run)| run.stage == Stage::Over)
    }

    /// Runs that were deleted.
    pub fn deleted(&self) -> impl Iterator<Item = &RunKey> {
        self.deleted.iter()
    }

    /// Logical dates of a DAG's runs.
    pub fn dates(&self, dag_id: &DagId) -> impl Iterator<Item = Timestamp> {
        self.dags.get(dag_id).into_iter().flat_map(|dag| dag.dates.iter().copied())
    }

    /// Logical dates of a DAG's runs that were deleted.
    pub fn freed(&self, dag_id: &DagId) -> impl Iterator<Item = Timestamp> {
        self.dags.get(dag_id).into_iter().flat_map(|dag| dag.freed.iter().copied())
    }

    /// Every run there is.
    pub fn runs(&self) -> impl Iterator<Item = (&RunKey, &RunModel)> {
        self.runs.iter()
    }

    /// DAGs that are paused and in their files.
    pub fn paused(&self) -> impl Iterator<Item = &DagId> {
        self.dags.iter().filter(|(_, dag)| dag.paused && !dag.gone).map(|(id, _)| id)
    }

    /// Whether tries in flight and pools are limited to this.
    pub fn has_limits(&self, parallelism: u32, pools: &[(&str, u32)]) -> bool {
        let slots = |name: &str| self.pools.iter().find(|(pool, _)| pool.as_str() == name);
        self.parallelism == parallelism
            && pools.iter().all(|(name, size)| slots(name).is_some_and(|(_, slots)| slots == size))
    }

    /// The record that answered a command.
    pub fn answer_to(&self, command: &CommandId) -> Option<u64> {
        self.answered.get(command).copied()
    }

    /// The run that a command made.
    pub fn run_made_by(&self, command: &CommandId) -> Option<&RunId> {
        self.made.get(command)
    }

    /// Takes the record at `seq` in; `command` is the one that it answers.
    pub fn check(&mut self, seq: u64, record: &Record, command: Option<&Command>) -> Finding {
        let checked = self.check_record(seq, record, command);
        self.history.push(record.clone());
        checked.map_err(|finding| {
            let told = (1..).zip(&self.history).filter(|(_, it)| it.scope == record.scope);
            let told = told.map(|(seq, it)| brief(seq, it));
            format!("record {seq}: {finding}\n{}", told.collect::<String>())
        })
    }

    /// Takes an entry in that is no record: it stands for nothing, and those behind it keep their places.
    pub fn pass_over(&mut self) {
        self.history.push(Record {
            at: Timestamp(0),
            clock: None,
            scope: Scope::Namespace,
            by: Actor::Scheduler,
            reason: None,
            cause: None,
            trace: None,
            facts: Vec::new(),
        });
    }

    /// Whether a run that was over goes on by a record behind this one.
    pub fn goes_on_after(&self, seq: u64) -> bool {
        let rest = &self.history[usize::try_from(seq).expect("small")..];
        let mut facts = rest.iter().flat_map(|record| &record.facts);
        facts.any(|fact| matches!(fact, Fact::RunCleared(_)))
    }

    fn check_record(&mut self, seq: u64, record: &Record, command: Option<&Command>) -> Finding {
        if record.at < self.last_at {
            return Err(format!("time goes back from {}", self.last_at));
        }
        if record.clock.is_some_and(|clock| clock >= record.at || record.at != self.last_at) {
            return Err("the stamp is neither the clock's nor that of the record before".to_owned());
        }
        self.last_at = record.at;
        if record.facts.is_empty() {
            return Err("a decision without a fact".to_owned());
        }
        self.check_answer(seq, record, command)?;
        self.check_clear(record, command)?;
        if let Scope::Run(key) = &record.scope
            && let Some(run) = self.runs.get_mut(key)
        {
            run.moves = record.facts.iter().any(|fact| matches!(fact, Fact::RunVersionChanged(_)));
            run.by_hand = command.is_some_and(|command| match &command.body {
                CommandBody::MarkTasks(_) => true,
                CommandBody::ClearTasks(ask) => ask.running != OnRunning::Leave,
                _ => false,
            });
        }
        for fact in &record.facts {
            self.note(kind_of(fact));
            if let Fact::AssetUpdated(f) = fact {
                self.asset_updated(f)?;
                continue;
            }
            if self.backfill(record, fact)? {
                continue;
            }
            match &record.scope {
                Scope::Namespace => {
                    if let Fact::HistoryForgotten(f) = fact {
                        self.forget_history(seq, *f, record.decided_at())?;
                    }
                    self.shared(fact);
                }
                Scope::Dag(dag_id) => self.dag(dag_id, fact)?,
                Scope::Run(key) if matches!(fact, Fact::RunDeleted(_)) => {
                    self.delete(key, record, command)?;
                }
                Scope::Run(key) => self.run(seq, key, record, fact)?,
                Scope::Executor(id) => self.executor(id, fact),
                Scope::File(_) => {}
            }
        }
        self.check_consequences(record)?;
        self.check_limits(record)
    }

    fn check_answer(&mut self, seq: u64, record: &Record, command: Option<&Command>) -> Finding {
        let Some(cause) = &record.cause else { return Ok(()) };
        let Some(command) = command else { return Err("it answers what nobody asked".to_owned()) };
        if cause.command != command.id || record.by != command.by {
            return Err("it answers for somebody else".to_owned());
        }
        // A file and an executor's leave are decided by what there is, in several records.
        let in_parts =
            matches!(command.body, CommandBody::DagFileRead(_) | CommandBody::DagFileGone { .. })
                || matches!(command.body, CommandBody::ExecutorLeft { .. });
        if !in_parts && let Some(first) = self.answered.insert(cause.command.clone(), seq) {
            return Err(format!("the command was decided by record {first} already"));
        }
        match &command.body {
            CommandBody::Report(report) => self.check_report(record, command, report),
            _ => Ok(()),
        }
    }

    /// Notes that something worth testing came about.
    pub(crate) fn note(&mut self, what: &str) {
        match self.seen.get_mut(what) {
            Some(times) => *times += 1,
            None => drop(self.seen.insert(what.to_owned(), 1)),
        }
    }

    fn shared(&mut self, fact: &Fact) {
        match fact {
            Fact::PoolSet(f) => {
                self.pools.insert(f.pool.clone(), f.slots);
            }
            Fact::PoolDeleted(f) => {
                self.pools.remove(&f.pool);
            }
            Fact::LimitsSet(f) => {
                (self.parallelism, self.max_losses) = (f.parallelism, f.max_losses);
                self.queued_timeout = f.task_queued_timeout;
            }
            Fact::ClockWentBack(f) => {
                self.runs.values_mut().for_each(|run| run.clock_back(f.to));
            }
            _ => {}
        }
    }

    fn dag(&mut self, dag_id: &DagId, fact: &Fact) -> Finding {
        match fact {
            Fact::DagForgotten(_) => return self.forget_dag(dag_id),
            Fact::DagVersionsForgotten(f) => return self.forget_versions(dag_id, f.below),
            _ => {}
        }
        if let Fact::DagRegistered(f) = fact {
            let floor = self.floors.get(dag_id).copied().unwrap_or_default();
            if floor.version > 0 && !self.dags.contains_key(dag_id) {
                self.note("a forgotten DAG is back");
            }
            let dag = self.dags.entry(dag_id.clone()).or_insert_with(|| DagModel {
                versions: BTreeMap::new(),
                current: floor.version,
                paused: f.paused.unwrap_or(false),
                gone: false,
                dates: BTreeSet::new(),
                freed: BTreeSet::new(),
                expected: None,
                fresh: BTreeSet::new(),
            });
            if f.version != dag.current + 1 {
                return Err(format!("version {} follows {}", f.version, dag.current));
            }
            (dag.current, dag.gone) = (f.version, false);
            dag.versions.insert(f.version, f.spec.clone());
            return Ok(());
        }
        let Some(dag) = self.dags.get_mut(dag_id) else {
            return Err(format!("DAG {dag_id} is not known"));
        };
        match fact {
            Fact::RunExpected(f) => self.promise(dag_id, f),
            Fact::QueuedAssetsDropped(f) => {
                dag.fresh.retain(|asset| !f.assets.is_empty() && !f.assets.contains(asset));
            }
            Fact::DagDisappeared(_) => dag.gone = true,
            Fact::DagPaused(f) => {
                dag.paused = true;
                let of_dag = |run_id: &RunId| {
                    self.runs.iter().find(|(key, _)| key.dag_id == *dag_id && key.run_id == *run_id)
                };
                let failed = |run: &RunModel| run.stage == Stage::Over && !run.succeeded;
                let named = f.failed_runs.iter().map(of_dag);
                if !named.flatten().all(|(_, run)| failed(run)) {
                    return Err(format!("it is paused for runs that have not failed: {f:?}"));
                }
                if !f.failed_runs.is_empty() {
                    self.note("paused by failed runs");
                }
            }
            Fact::DagUnpaused(_) => dag.paused = false,
            _ => {}
        }
        Ok(())
    }

    fn run(&mut self, seq: u64, key: &RunKey, record: &Record, fact: &Fact) -> Finding {
        if matches!(fact, Fact::ReportRefused(_)) {
            return Ok(());
        }
        if let Fact::RunExpected(f) = fact {
            self.promise(&key.dag_id, f);
        }
        if let Fact::RunCreated(f) = fact {
            self.over.remove(key);
            self.backfill_makes(key, f)?;
            return self.create(key, record, f);
        }
        match fact {
            Fact::RunBackfilled(f) => return self.backfill_takes(key, f),
            Fact::RunVersionChanged(f) => return self.change_version(key, f),
            Fact::RunCleared(f) => {
                let moves = |fact: &Fact| matches!(fact, Fact::RunVersionChanged(_));
                self.says_what_lapsed(key, *f, record.facts.iter().any(moves))?;
                self.leave_backfill(key);
            }
            _ => {}
        }
        if fact.ends_run() {
            self.over.entry(key.clone()).or_insert((seq, record.decided_at()));
        }
        self.goes_by_the_past(key, fact)?;
        let Some(dag) = self.dags.get(&key.dag_id) else {
            return Err(format!("DAG {} is not known", key.dag_id));
        };
        let Some(run) = self.runs.get_mut(key) else {
            return Err("there is no such run".to_owned());
        };
        let paused = dag.paused;
        match fact {
            Fact::RunExpected(_) | Fact::RunMissed(_) => return Ok(()),
            Fact::RunStarted(_) | Fact::TaskQueued(_) if paused => {
                return Err("the DAG is paused".to_owned());
            }
            Fact::RunStarted(_) if run.is_ahead_of(record.decided_at()) => {
                return Err("it begins before the date that somebody gave it".to_owned());
            }
            _ => {}
        }
        // Whose word a try's end rests on must be who runs it; others may be cancelled by what it says.
        if let Actor::Executor(sender) = &record.by
            && !matches!(fact, Fact::TryCancelled(_))
            && let Some(holder) = run.holder_of(fact)
            && holder != sender
        {
            return Err(format!("{sender} speaks for {holder}"));
        }
        let (at, max_losses) = (record.decided_at(), self.max_losses);
        let queued_timeout = self.queued_timeout;
        run.fold(Told { seq, at, max_losses, queued_timeout }, fact)
    }

    fn create(&mut self, key: &RunKey, record: &Record, f: &RunCreated) -> Finding {
        let Some(dag) = self.dags.get_mut(&key.dag_id) else {
            return Err(format!("DAG {} is not known", key.dag_id));
        };
        if self.runs.contains_key(key) {
            return Err("the run was there before".to_owned());
        }
        if f.logical_date.is_some_and(|date| !dag.dates.insert(date)) {
            return Err("the logical date is taken".to_owned());
        }
        let scheduled = f.run_type == RunType::Scheduled;
        if scheduled && (dag.paused || dag.gone || f.run_after > record.decided_at()) {
            return Err("the schedule may not make it now".to_owned());
        }
        if f.run_type == RunType::AssetTriggered {
            dag.may_run_by_assets()?;
            self.seen.entry("a run by assets".to_owned()).and_modify(|n| *n += 1).or_insert(1);
        }
        let freed = f.logical_date.is_some_and(|date| dag.freed.remove(&date));
        let floor = self.floors.get(&key.dag_id).copied().unwrap_or_default();
        let tries = self.tried.get(key).copied().unwrap_or(0).max(floor.tries);
        let mut run = RunModel::new(key.run_id.clone(), dag.versions[&f.version].clone(), f, tries);
        let is_ahead = f.run_type == RunType::Manual && f.run_after > record.decided_at();
        run.given = f.logical_date.filter(|_| is_ahead);
        self.runs.insert(key.clone(), run);
        if let Some(cause) = &record.cause {
            self.made.insert(cause.command.clone(), key.run_id.clone());
        }
        if freed {
            self.note("a deleted run's date taken again");
        }
        if self.deleted.remove(key) {
            self.note("a deleted run's id taken again");
        }
        Ok(())
    }

    /// Nothing that is forced may be left for another record.
    fn check_consequences(&self, record: &Record) -> Finding {
        let Scope::Run(key) = &record.scope else { return Ok(()) };
        match self.runs.get(key) {
            Some(run) => run.check_consequences(),
            None => Ok(()),
        }
    }
}
