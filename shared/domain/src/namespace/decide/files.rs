//! What the processor read: DAGs registered, changed, gone, and files that can't be read.
use std::collections::{BTreeMap, BTreeSet};

use dagbok_events::{
    BundlePublished, DagDisappeared, DagId, DagImportFailed, DagImportRecovered, DagRegistered,
    DagSpec, Digest, Expand, Fact, MissedWhy, Record, RunExpected, Scope, TaskSpec, Timestamp,
    Timetable, folder_of,
};
use dagbok_protocol::{
    Command, DagFile, ImportError, RegisteredDag, limits,
    limits::{CONSECUTIVE_FAILED_RUNS, COPIES_PER_TASK, PARTITION_RUN_OFFSET},
    names::DAG_CALLBACK,
    text, too_large,
};

use crate::{
    graph::{Version, sources_of},
    namespace::{Dag, Decision, Namespace, accepted, answering, schedule, unchanged},
    partition,
    timetable::{self, Foretold},
};

/// Airflow's name for a DAG id that is there already.
const DUPLICATE_DAG: &str = "AirflowDagDuplicatedIdException";

impl Namespace {
    pub(super) fn file_read(&self, at: Timestamp, command: &Command, file: &DagFile) -> Decision {
        let mut errors = file.errors.clone();
        let mut records = Vec::new();
        let mut named = BTreeSet::new();
        for dag in &file.dags {
            let first = named.insert(&dag.spec.dag_id);
            match self.admit(&file.file, dag, first) {
                Ok(()) => records.extend(self.register(at, command, file, dag)),
                Err(error) => errors.push(error),
            }
        }
        // Where the file could not be read whole, what it does not name may be in the rest.
        if file.errors.is_empty() {
            let keep = |dag_id: &DagId| named.contains(dag_id);
            records.extend(self.disappear(at, command, &file.file, false, keep));
        }
        records.extend(self.errors_of(at, command, &file.file, together(&errors).as_ref()));
        records.extend(self.bundle_of_recovered(at, command, file, errors.is_empty()));
        if records.is_empty() { unchanged() } else { accepted(records) }
    }

    pub(super) fn file_gone(&self, at: Timestamp, command: &Command, file: &str) -> Decision {
        let mut records = self.disappear(at, command, file, true, |_| false);
        if self.files.contains_key(file) {
            let facts = vec![Fact::DagImportRecovered(DagImportRecovered { removed: true })];
            records.push(answering(command, at, Scope::File(file.to_owned()), facts));
        }
        if records.is_empty() { unchanged() } else { accepted(records) }
    }

    pub(super) fn publish_bundle(
        &self,
        at: Timestamp,
        command: &Command,
        bundle: &Digest,
        folder: Option<&str>,
    ) -> Decision {
        if self.bundle_of(folder) == Some(bundle) {
            return unchanged();
        }
        let (bundle, folder) = (bundle.clone(), folder.map(str::to_owned));
        let facts = vec![Fact::BundlePublished(BundlePublished { bundle, folder })];
        accepted(vec![answering(command, at, Scope::Namespace, facts)])
    }

    /// DAGs of a file that could not be read kept the code they had: they get that of now. A bundle that is
    /// yet to be published does that for itself.
    fn bundle_of_recovered(
        &self,
        at: Timestamp,
        command: &Command,
        file: &DagFile,
        well: bool,
    ) -> Option<Record> {
        let recovers = well && self.files.contains_key(&file.file);
        let folder = folder_of(&file.file);
        if !recovers || self.bundle_of(folder) != Some(&file.bundle) {
            return None;
        }
        let (bundle, folder) = (file.bundle.clone(), folder.map(str::to_owned));
        let facts = vec![Fact::BundlePublished(BundlePublished { bundle, folder })];
        Some(answering(command, at, Scope::Namespace, facts))
    }

    /// The bundle of a folder that was published last.
    fn bundle_of(&self, folder: Option<&str>) -> Option<&Digest> {
        self.bundles.get(folder.unwrap_or_default())
    }

    fn register(
        &self,
        at: Timestamp,
        command: &Command,
        file: &DagFile,
        read: &RegisteredDag,
    ) -> Option<Record> {
        let known = self.dags.get(&read.spec.dag_id);
        let same = known.filter(|dag| {
            !dag.gone && dag.current.digest == read.spec_digest && dag.file == file.file
        });
        if let Some(dag) = same {
            return foretell(at, command, dag, read);
        }
        let last = known.map(|dag| dag.current.number);
        let last = last.or_else(|| Some(self.forgotten.get(&read.spec.dag_id)?.version));
        let number = last.unwrap_or(0).saturating_add(1);
        let mut spec = read.spec.clone();
        spec.source.file.clone_from(&file.file);
        let mut version = Version::new(number, read.spec_digest.clone(), spec);
        if let Some(foretold) = foretold_of(known.map(|dag| &*dag.current), &version, read) {
            version.foretell(&foretold);
        }
        let (paused, promises) = match known {
            None => {
                let paused =
                    version.spec.is_paused_upon_creation.unwrap_or(file.paused_at_creation);
                let promise = schedule::changed_promise(&version, None, None, at);
                (Some(paused), promise.into_iter().collect())
            }
            Some(dag) if read.foretold.is_some() => {
                (None, foretold_promises(dag, &version, at, why_changed(dag)))
            }
            Some(dag) => (None, promises(dag, &version, at)),
        };
        let mut facts = vec![Fact::DagRegistered(Box::new(DagRegistered {
            version: number,
            spec_digest: read.spec_digest.clone(),
            bundle: file.bundle.clone(),
            spec: version.spec,
            paused,
        }))];
        facts.extend(answered(read));
        facts.extend(promises);
        Some(answering(command, at, Scope::Dag(read.spec.dag_id.clone()), facts))
    }

    /// Whether a DAG may be had from this file; `first`: it is the first of its name there.
    fn admit(&self, file: &str, read: &RegisteredDag, first: bool) -> Result<(), ImportError> {
        let spec = &read.spec;
        let other = self.dags.get(&spec.dag_id).filter(|dag| !dag.gone && dag.file != file);
        let why = match other {
            Some(dag) => {
                format!("it is defined in {} already; give one of the two another id", dag.file)
            }
            None if !first => {
                "the file defines it twice; give one of the two another id".to_owned()
            }
            None => return spec_fault(spec).map_or(Ok(()), Err),
        };
        Err(fault(spec, DUPLICATE_DAG, &why))
    }

    /// The DAGs that a file defines now: as many steps as there are, however many others there may be.
    fn dags_of(&self, file: &str) -> impl Iterator<Item = (&DagId, &Dag)> {
        self.by_file
            .get(file)
            .into_iter()
            .flatten()
            .filter_map(|dag_id| self.dags.get_key_value(dag_id))
            .map(|(dag_id, dag)| (dag_id, &**dag))
    }

    fn disappear(
        &self,
        at: Timestamp,
        command: &Command,
        file: &str,
        file_gone: bool,
        keep: impl Fn(&DagId) -> bool,
    ) -> Vec<Record> {
        let gone = self.dags_of(file).filter(|(id, _)| !keep(id));
        gone.map(|(dag_id, dag)| {
            let mut facts =
                vec![Fact::DagDisappeared(DagDisappeared { file: file.to_owned(), file_gone })];
            if dag.expected.is_some() {
                facts.extend(schedule::missed(dag, None, at, why_changed(dag)));
                facts.push(Fact::RunExpected(RunExpected {
                    logical_date: None,
                    data_interval: None,
                    due: None,
                    grace: dagbok_events::Micros(0),
                    owner: dag.current.spec.owner.clone(),
                    further: Vec::new(),
                    keeps: false,
                }));
            }
            answering(command, at, Scope::Dag(dag_id.clone()), facts)
        })
        .collect()
    }

    fn errors_of(
        &self,
        at: Timestamp,
        command: &Command,
        file: &str,
        error: Option<&ImportError>,
    ) -> Option<Record> {
        let standing = self.files.get(file).and_then(|state| state.error.clone());
        let fact = match (error, standing) {
            (None, None) => return None,
            (None, Some(_)) => Fact::DagImportRecovered(DagImportRecovered { removed: false }),
            (Some(error), standing) => {
                let message = text::cut(&error.message, limits::MESSAGE_BYTES);
                let new = (error.line, error.exception.clone(), message.clone());
                if standing.as_ref() == Some(&new) {
                    return None;
                }
                let keeps = self.dags_of(file);
                Fact::DagImportFailed(Box::new(DagImportFailed {
                    line: error.line,
                    exception: error.exception.clone(),
                    message,
                    traceback: text::cut_start(&error.traceback, limits::INLINE_TRACEBACK_BYTES),
                    keeps: keeps.map(|(id, _)| id.clone()).collect(),
                }))
            }
        };
        Some(answering(command, at, Scope::File(file.to_owned()), vec![fact]))
    }
}

/// What a DAG's timetable answered, where nothing else of the DAG is new.
fn foretell(at: Timestamp, command: &Command, dag: &Dag, read: &RegisteredDag) -> Option<Record> {
    let foretold = foretold_of(Some(&dag.current), &dag.current, read)?;
    if read.foretold.is_none() || dag.current.foretold() == Some(&foretold) {
        return None;
    }
    let mut version = Version::clone(&dag.current);
    version.foretell(&foretold);
    let promises = foretold_promises(dag, &version, at, schedule::why_missed(dag));
    let facts = answered(read).into_iter().chain(promises).collect();
    Some(answering(command, at, Scope::Dag(read.spec.dag_id.clone()), facts))
}

fn answered(read: &RegisteredDag) -> Option<Fact> {
    read.foretold.clone().map(Fact::ScheduleForetold)
}

/// What a version goes by whose timetable is written in Python: what it answered now, and before.
fn foretold_of(
    before: Option<&Version>,
    version: &Version,
    read: &RegisteredDag,
) -> Option<Foretold> {
    version.foretold()?;
    let same = before.filter(|old| schedule::same_schedule(&old.spec, &version.spec));
    let old = same.and_then(Version::foretold).cloned().unwrap_or_default();
    Some(read.foretold.as_ref().map_or_else(|| old.clone(), |answer| old.renewed(answer)))
}

/// What follows from what a timetable answered. A paused DAG's promise stands: its timetable may answer by the time
/// at which it is asked, and would move the promise on each time.
fn foretold_promises(dag: &Dag, version: &Version, at: Timestamp, why: MissedWhy) -> Vec<Fact> {
    let same = schedule::same_schedule(&dag.current.spec, &version.spec);
    if dag.paused && dag.expected.is_some() && same {
        return promises(dag, version, at);
    }
    schedule::renewed(dag, version, at, why)
}

/// What becomes of the promise when a DAG is registered anew: it stands where the schedule is the same.
fn promises(dag: &Dag, version: &Version, at: Timestamp) -> Vec<Fact> {
    match &dag.expected {
        Some(standing) if schedule::same_schedule(&dag.current.spec, &version.spec) => {
            let owner = version.spec.owner.clone();
            let changed = standing.owner != owner;
            let promise =
                || Fact::RunExpected(RunExpected { owner, keeps: true, ..standing.clone() });
            changed.then(promise).into_iter().collect()
        }
        _ => schedule::renewed(dag, version, at, why_changed(dag)),
    }
}

/// Why promised runs won't happen where the DAG goes away or changes.
const fn why_changed(dag: &Dag) -> MissedWhy {
    if dag.paused { MissedWhy::Paused } else { MissedWhy::ScheduleChanged }
}

/// Why the rules can't follow a DAG, whatever others there are: a schedule that is none, a limit that is broken.
/// What a scheduler would say of it, for whoever has none at hand.
pub fn spec_fault(spec: &DagSpec) -> Option<ImportError> {
    fault_of(spec).map(|(exception, why)| fault(spec, exception, &why))
}

fn fault(spec: &DagSpec, exception: &str, why: &str) -> ImportError {
    let line = (spec.source.line > 0).then_some(spec.source.line);
    let (exception, message) = (exception.to_owned(), format!("DAG {}: {why}", spec.dag_id));
    ImportError { line, exception, message, traceback: String::new() }
}

/// What the processor can't see, or says and may be wrong about.
fn fault_of(spec: &DagSpec) -> Option<(&'static str, String)> {
    if let Some(why) = too_large(spec) {
        return Some(("LimitExceeded", why));
    }
    let mut names = BTreeSet::new();
    for (ix, task) in (0_u32..).zip(&spec.tasks) {
        let task_id = &task.task_id;
        if !names.insert(task_id) {
            let why = format!("two tasks have the id {task_id}; give one of them another");
            return Some(("DuplicateTaskIdFound", why));
        }
        if task_id.as_str() == DAG_CALLBACK {
            let why =
                format!("a task can't have the id {task_id}, which stands for the DAG's callbacks");
            return Some(("ValueError", why));
        }
        // The stored order puts upstreams first, so an edge that does not point back closes a cycle.
        if task.upstream.iter().any(|up| *up >= ix) {
            let why = format!("task {task_id} is downstream of itself; take one of the edges out");
            return Some(("AirflowDagCycleException", why));
        }
    }
    if let Some(task) = spec.tasks.iter().find(|task| task.pool_slots == 0) {
        let why = format!("task {} has pool_slots=0; a task takes at least one slot", task.task_id);
        return Some(("ValueError", why));
    }
    if let Some(fault) = mapping_fault(spec) {
        return Some(fault);
    }
    if spec.max_active_tasks == 0 && !spec.tasks.is_empty() {
        let why =
            "max_active_tasks is 0, so no task could ever run; set it to 1 or more".to_owned();
        return Some(("LimitExceeded", why));
    }
    if spec.max_consecutive_failed_dag_runs > CONSECUTIVE_FAILED_RUNS {
        let most = CONSECUTIVE_FAILED_RUNS;
        let why = format!(
            "max_consecutive_failed_dag_runs is {}; at most {most} runs are remembered",
            spec.max_consecutive_failed_dag_runs
        );
        return Some(("LimitExceeded", why));
    }
    if let Some(why) = partition_fault(spec) {
        return Some(("ValueError", why));
    }
    match timetable::compile(&spec.schedule) {
        Err(error) => Some(("BadSchedule", error.to_string())),
        Ok(schedule) if schedule.is_never() => {
            let text = spec.schedule.text.as_deref().unwrap_or("it");
            let why = format!(
                "its schedule never makes a run: no date matches `{text}`; correct it, or write schedule=None"
            );
            Some(("BadSchedule", why))
        }
        Ok(_) => None,
    }
}

/// What is wrong with how its partitions are made.
fn partition_fault(spec: &DagSpec) -> Option<String> {
    match &spec.schedule.timetable {
        Timetable::PartitionedAsset { default, rules } => {
            let rules = rules.iter().map(|it| &it.rule).chain([default]);
            rules.into_iter().find_map(partition::rule_fault)
        }
        Timetable::CronPartition { run_offset, .. } => {
            if run_offset.unsigned_abs() > PARTITION_RUN_OFFSET {
                return Some(format!(
                    "run_offset is {run_offset}; a partition lies at most {PARTITION_RUN_OFFSET} ticks from its run"
                ));
            }
            let schedule = timetable::compile(&spec.schedule).ok()?;
            let made = schedule
                .partition_at(Timestamp(0))?
                .and_then(|partition| partition::key_fault(&partition.key).map_or(Ok(()), Err));
            made.err().map(|why| format!("key_format: {why}"))
        }
        _ => None,
    }
}

/// What is wrong with what tasks are mapped over.
fn mapping_fault(spec: &DagSpec) -> Option<(&'static str, String)> {
    let mut groups: BTreeMap<&str, &TaskSpec> = BTreeMap::new();
    for (ix, task) in (0_u32..).zip(&spec.tasks) {
        let task_id = &task.task_id;
        match &task.expand {
            Some(Expand::Literal { length }) if *length > COPIES_PER_TASK => {
                let why = format!(
                    "task {task_id} is mapped over {length} elements; at most {COPIES_PER_TASK} are taken: \
                     let each copy work on several of them"
                );
                return Some(("LimitExceeded", why));
            }
            Some(Expand::Product { of }) => {
                let mut sources = Vec::new();
                sources_of(of, &mut sources);
                if sources.is_empty() || sources.iter().any(|source| *source >= ix) {
                    let why = format!(
                        "task {task_id} is mapped over what does not come before it; take the edge out"
                    );
                    return Some(("AirflowDagCycleException", why));
                }
            }
            Some(Expand::Literal { .. }) | None => {}
        }
        if let Some(group) = &task.mapped_group {
            let first = *groups.entry(group).or_insert(task);
            if task.expand.is_none() || first.expand != task.expand {
                let why = format!("tasks of the mapped group {group} are mapped differently");
                return Some(("AirflowException", why));
            }
        }
    }
    None
}

/// A file's errors as the one that its fact has room for: each is told, the first one's place stands.
fn together(errors: &[ImportError]) -> Option<ImportError> {
    let (first, others) = errors.split_first()?;
    if others.is_empty() {
        return Some(first.clone());
    }
    let told = |error: &ImportError| {
        let line = error.line.map(|line| format!("line {line}: ")).unwrap_or_default();
        format!("{line}{}: {}", error.exception, error.message)
    };
    let messages: Vec<_> = errors.iter().map(told).collect();
    let message = format!("{} errors: {}", errors.len(), messages.join("; "));
    let whole = message.len() <= limits::MESSAGE_BYTES;
    let traceback = if whole && errors.iter().all(|error| error.traceback.is_empty()) {
        String::new()
    } else {
        let both = |(error, told): (&ImportError, _)| format!("{told}\n{}", error.traceback);
        errors.iter().zip(messages).map(both).collect::<Vec<_>>().join("\n")
    };
    Some(ImportError { message, traceback, ..first.clone() })
}
