//! A second opinion on the log: every record is checked against what the records before it say, by rules
//! written down once more, slowly and without an index.
mod promises;
mod run;

use std::collections::{BTreeMap, BTreeSet};

use dagbok_domain::{namespace::Namespace, run::Run};
use dagbok_events::{
    Actor, CommandId, DagId, DagSpec, ExecutorId, Fact, PoolName, Record, RefusedWhy, RunExpected,
    RunId, RunKey, RunType, Scope, Timestamp,
};
use dagbok_protocol::{Command, CommandBody, Report, ReportBody, limits};
pub use run::{RunModel, Stage, Stand, TaskModel};

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
    /// The promise that stands.
    expected: Option<RunExpected>,
}

/// The second opinion.
#[derive(Clone, Debug)]
pub struct Audit {
    dags: BTreeMap<DagId, DagModel>,
    runs: BTreeMap<RunKey, RunModel>,
    pools: BTreeMap<PoolName, u32>,
    parallelism: u32,
    last_at: Timestamp,
    /// Commands that may be answered by one record only, with its sequence.
    answered: BTreeMap<CommandId, u64>,
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
            pools: BTreeMap::from([(pool, limits::DEFAULT_POOL_SLOTS)]),
            parallelism: limits::PARALLELISM,
            last_at: Timestamp(i64::MIN),
            answered: BTreeMap::new(),
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

    /// Every run there ever was.
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
        let made = |run: &&RunModel| run.made_by.as_ref() == Some(command);
        self.runs.values().find(made).map(|run| &run.run_id)
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
        for fact in &record.facts {
            self.note(kind_of(fact));
            match &record.scope {
                Scope::Namespace => self.shared(fact),
                Scope::Dag(dag_id) => self.dag(dag_id, fact)?,
                Scope::Run(key) => self.run(key, record, fact)?,
                Scope::File(_) | Scope::Executor(_) => {}
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
            CommandBody::Report(report) => self.check_report(record, report),
            _ => Ok(()),
        }
    }

    /// A report is believed where it is about a try in flight and its sender's, and kept otherwise.
    fn check_report(&mut self, record: &Record, report: &Report) -> Finding {
        let refused = match &record.facts[..] {
            [Fact::ReportRefused(fact)] => Some(fact.why),
            _ => None,
        };
        if refused.is_none() && record.facts.iter().any(|f| matches!(f, Fact::ReportRefused(_))) {
            return Err("a refused report has consequences".to_owned());
        }
        let should = self.why_stale(report);
        if let Some(why) = should {
            self.note(&format!("refused {why:?}"));
        }
        if refused == should {
            Ok(())
        } else {
            Err(format!("a report of {} is refused as {refused:?}, not {should:?}", report.key))
        }
    }

    /// Why a report that comes now is to be refused.
    pub fn why_stale(&self, report: &Report) -> Option<RefusedWhy> {
        let key = RunKey { dag_id: report.key.dag_id.clone(), run_id: report.key.run_id.clone() };
        let Some(run) = self.runs.get(&key) else { return Some(RefusedWhy::NoSuchRun) };
        if run.stage == Stage::Over {
            return Some(RefusedWhy::RunOver);
        }
        run.why_stale(&report.key, &report.executor)
    }

    /// Whether a fresh report says nothing new.
    pub fn is_known(&self, report: &Report) -> bool {
        let key = RunKey { dag_id: report.key.dag_id.clone(), run_id: report.key.run_id.clone() };
        let started = matches!(report.body, ReportBody::Started { .. });
        started && self.runs.get(&key).is_some_and(|run| run.is_running(&report.key.task_id))
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
            Fact::LimitsSet(f) => self.parallelism = f.parallelism,
            Fact::ClockWentBack(f) => {
                self.runs.values_mut().for_each(|run| run.clock_back(f.to));
            }
            _ => {}
        }
    }

    fn dag(&mut self, dag_id: &DagId, fact: &Fact) -> Finding {
        if let Fact::DagRegistered(f) = fact {
            let dag = self.dags.entry(dag_id.clone()).or_insert_with(|| DagModel {
                versions: BTreeMap::new(),
                current: 0,
                paused: f.paused.unwrap_or(false),
                gone: false,
                dates: BTreeSet::new(),
                expected: None,
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
            Fact::DagDisappeared(_) => dag.gone = true,
            Fact::DagPaused(_) => dag.paused = true,
            Fact::DagUnpaused(_) => dag.paused = false,
            _ => {}
        }
        Ok(())
    }

    fn run(&mut self, key: &RunKey, record: &Record, fact: &Fact) -> Finding {
        if matches!(fact, Fact::ReportRefused(_)) {
            return Ok(());
        }
        if let Fact::RunExpected(f) = fact {
            self.promise(&key.dag_id, f);
        }
        let Some(dag) = self.dags.get_mut(&key.dag_id) else {
            return Err(format!("DAG {} is not known", key.dag_id));
        };
        if let Fact::RunCreated(f) = fact {
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
            let made_by = record.cause.as_ref().map(|cause| cause.command.clone());
            let spec = &dag.versions[&f.version];
            self.runs.insert(key.clone(), RunModel::new(key.run_id.clone(), spec.clone(), made_by));
            return Ok(());
        }
        let Some(run) = self.runs.get_mut(key) else {
            return Err("there is no such run".to_owned());
        };
        let paused = dag.paused;
        match fact {
            Fact::RunExpected(_) | Fact::RunMissed(_) => return Ok(()),
            Fact::RunStarted(_) | Fact::TaskQueued(_) if paused => {
                return Err("the DAG is paused".to_owned());
            }
            _ => {}
        }
        // Whose word a try's end rests on must be who runs it.
        if let Actor::Executor(sender) = &record.by
            && let Some(holder) = run.holder_of(fact)
            && holder != sender
        {
            return Err(format!("{sender} speaks for {holder}"));
        }
        run.fold(record.decided_at(), fact)
    }

    /// Nothing that is forced may be left for another record.
    fn check_consequences(&self, record: &Record) -> Finding {
        let Scope::Run(key) = &record.scope else { return Ok(()) };
        match self.runs.get(key) {
            Some(run) => run.check_consequences(),
            None => Ok(()),
        }
    }

    fn check_limits(&self, record: &Record) -> Finding {
        let Scope::Run(key) = &record.scope else { return Ok(()) };
        let queues = |pool: &PoolName| {
            let of_pool = |fact: &Fact| matches!(fact, Fact::TaskQueued(f) if f.pool == *pool);
            record.facts.iter().any(of_pool)
        };
        let running = |run: &&RunModel| matches!(run.stage, Stage::Running(_));
        if record.facts.iter().any(|fact| matches!(fact, Fact::RunStarted(_))) {
            let of_dag = self.runs.range(first_of(&key.dag_id)..);
            let of_dag = of_dag.take_while(|(it, _)| it.dag_id == key.dag_id).map(|(_, run)| run);
            let count = of_dag.filter(running).count();
            let dag = &self.dags[&key.dag_id];
            let most = dag.versions[&dag.current].max_active_runs as usize;
            if most > 0 && count > most {
                return Err(format!("{count} runs are running, {most} may"));
            }
        }
        if !record.facts.iter().any(|fact| matches!(fact, Fact::TaskQueued(_))) {
            return Ok(());
        }
        for (pool, slots) in &self.pools {
            let used: u64 = self.runs.values().map(|run| run.slots_used(pool)).sum();
            if queues(pool) && used > u64::from(*slots) {
                return Err(format!("pool {pool} has {slots} slots and {used} are used"));
            }
        }
        let in_flight: usize = self.runs.values().map(RunModel::in_flight).sum();
        if in_flight > self.parallelism as usize {
            return Err(format!("{in_flight} tries are in flight, {} may", self.parallelism));
        }
        let of_dag = self.runs.iter().filter(|(it, _)| it.dag_id == key.dag_id);
        let in_flight: usize = of_dag.map(|(_, run)| run.in_flight()).sum();
        let dag = &self.dags[&key.dag_id];
        let most = dag.versions[&dag.current].max_active_tasks as usize;
        if in_flight > most {
            return Err(format!("{in_flight} tries of the DAG are in flight, {most} may"));
        }
        Ok(())
    }

    /// Whether the fold of the log says what the audit says.
    pub fn agrees_with(&self, namespace: &Namespace) -> Finding {
        let active: BTreeSet<&RunKey> = self.active().map(|(key, _)| key).collect();
        let folded: BTreeSet<&RunKey> = namespace.active_runs().map(Run::key).collect();
        if active != folded {
            return Err(format!("active are {active:?}, and folded {folded:?}"));
        }
        for run in namespace.active_runs() {
            self.runs[run.key()]
                .agrees_with(run)
                .map_err(|finding| format!("{}: {finding}", run.key()))?;
        }
        let in_flight: usize = self.runs.values().map(RunModel::in_flight).sum();
        if namespace.in_flight() as usize != in_flight {
            return Err(format!(
                "{in_flight} tries are in flight, folded {}",
                namespace.in_flight()
            ));
        }
        for pool in self.pools.keys() {
            let used: u64 = self.runs.values().map(|run| run.slots_used(pool)).sum();
            let folded = namespace.pool_use(pool.as_str()).map_or(0, |(used, _)| u64::from(used));
            if used != folded {
                return Err(format!("pool {pool} has {used} used, folded {folded}"));
            }
        }
        Ok(())
    }

    /// Who runs something, as far as the log knows.
    pub fn holders(&self) -> BTreeSet<&ExecutorId> {
        self.active().flat_map(|(_, run)| run.holders()).collect()
    }
}

fn first_of(dag_id: &DagId) -> RunKey {
    // No run id sorts before this one.
    let run_id = RunId::new("+").expect("a run id");
    RunKey { dag_id: dag_id.clone(), run_id }
}

/// A record on a line.
fn brief(seq: u64, record: &Record) -> String {
    let cause = record.cause.as_ref().map_or("", |cause| cause.command.as_str());
    format!("{seq} {} {:?} {cause} {:?} {:?}\n", record.at, record.by, record.scope, record.facts)
}

/// A fact's name.
const fn kind_of(fact: &Fact) -> &'static str {
    match fact {
        Fact::DagRegistered(_) => "DagRegistered",
        Fact::BundlePublished(_) => "BundlePublished",
        Fact::DagImportFailed(_) => "DagImportFailed",
        Fact::DagImportRecovered(_) => "DagImportRecovered",
        Fact::DagDisappeared(_) => "DagDisappeared",
        Fact::DagPaused(_) => "DagPaused",
        Fact::DagUnpaused(_) => "DagUnpaused",
        Fact::RunExpected(_) => "RunExpected",
        Fact::RunMissed(_) => "RunMissed",
        Fact::RunCreated(_) => "RunCreated",
        Fact::RunStarted(_) => "RunStarted",
        Fact::RunSucceeded(_) => "RunSucceeded",
        Fact::RunFailed(_) => "RunFailed",
        Fact::RunTimedOut(_) => "RunTimedOut",
        Fact::RunCancelled(_) => "RunCancelled",
        Fact::RunCleared(_) => "RunCleared",
        Fact::RunDeleted(_) => "RunDeleted",
        Fact::TaskExpanded(_) => "TaskExpanded",
        Fact::TaskCleared(_) => "TaskCleared",
        Fact::TryRescheduled(_) => "TryRescheduled",
        Fact::TaskQueued(_) => "TaskQueued",
        Fact::TaskRuledOut(_) => "TaskRuledOut",
        Fact::TryStarted(_) => "TryStarted",
        Fact::TrySucceeded(_) => "TrySucceeded",
        Fact::TryFailed(_) => "TryFailed",
        Fact::TrySkipped(_) => "TrySkipped",
        Fact::TryLost(_) => "TryLost",
        Fact::TryCancelled(_) => "TryCancelled",
        Fact::TryReturned(_) => "TryReturned",
        Fact::XComPushed(_) => "XComPushed",
        Fact::ReportRefused(_) => "ReportRefused",
        Fact::PoolSet(_) => "PoolSet",
        Fact::LimitsSet(_) => "LimitsSet",
        Fact::ExecutorJoined(_) => "ExecutorJoined",
        Fact::ExecutorLeft(_) => "ExecutorLeft",
        Fact::ClockWentBack(_) => "ClockWentBack",
        Fact::ForeignEntrySkipped(_) => "ForeignEntrySkipped",
    }
}
