//! Runs that are over. The fold keeps of them no more than that they were; when a command or a record is
//! about one, it says so, and whoever folds reads the run's own records from the log and revives it.
use std::sync::Arc;

use dagbok_events::{DagRegistered, DagVersion, Fact, Record, RunKey, Scope};

use super::{Namespace, evolve::meta_of};
use crate::{
    graph::Version,
    run::{Phase, Run},
};

/// Revived runs kept at once: each may be needed by the command that is decided next, and no longer.
const REVIVED_AT_ONCE: usize = 16;

/// What is needed to take up a run again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColdRun {
    /// Which run.
    pub key: RunKey,
    /// The versions of its DAG that it ran, in the order in which it did.
    pub versions: Vec<DagRegistered>,
    /// Its records since it was last created, with their sequences, in order.
    pub records: Vec<(u64, Record)>,
}

/// Why a run can't be taken up again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRevived {
    /// Its creation is not among the records.
    #[error("the log no longer holds how run {0} was created")]
    NoCreation(RunKey),
    /// The version of its DAG is not among the records.
    #[error("the log no longer holds version {version} of the DAG of run {key}")]
    NoVersion {
        /// Which run.
        key: RunKey,
        /// The version that it ran.
        version: u32,
    },
    /// By its records it is not over.
    #[error("by its records, run {0} is not over")]
    NotOver(RunKey),
}

impl ColdRun {
    /// Picks what is needed out of records in the log's order; others than the run's and its DAG's are
    /// passed over.
    pub fn pick<'a>(
        key: &RunKey,
        records: impl IntoIterator<Item = (u64, &'a Record)>,
    ) -> Result<Self, NotRevived> {
        let (mut versions, mut own) = (Vec::new(), Vec::new());
        for (seq, record) in records {
            match &record.scope {
                Scope::Run(run) if run == key => {
                    if record.facts.iter().any(|fact| matches!(fact, Fact::RunCreated(_))) {
                        own.clear();
                    }
                    own.push((seq, record.clone()));
                }
                Scope::Dag(dag_id) if *dag_id == key.dag_id => {
                    versions.extend(record.facts.iter().filter_map(|fact| match fact {
                        Fact::DagRegistered(f) => Some((seq, f)),
                        _ => None,
                    }));
                }
                _ => {}
            }
        }
        let named = own.iter().flat_map(|(seq, record)| {
            record.facts.iter().filter_map(|fact| match fact {
                Fact::RunCreated(f) => Some((*seq, f.version)),
                Fact::RunVersionChanged(f) => Some((*seq, f.version)),
                _ => None,
            })
        });
        let registered = |(at, version): (u64, DagVersion)| {
            let found = versions.iter().rfind(|(seq, f)| *seq < at && f.version == version);
            let found = found.map(|(_, f)| f.as_ref().clone());
            found.ok_or_else(|| NotRevived::NoVersion { key: key.clone(), version })
        };
        let versions: Vec<DagRegistered> = named.map(registered).collect::<Result<_, _>>()?;
        if versions.is_empty() {
            return Err(NotRevived::NoCreation(key.clone()));
        }
        Ok(Self { key: key.clone(), versions, records: own })
    }
}

impl Namespace {
    /// The run that must be revived before this record can be folded in.
    pub fn needs(&self, record: &Record) -> Option<RunKey> {
        let Scope::Run(key) = &record.scope else { return None };
        let goes_on = record.facts.iter().any(|fact| matches!(fact, Fact::RunCleared(_)));
        let known = self.numbers.contains_key(key) || self.revived_run(key).is_some();
        (goes_on && !known).then(|| key.clone())
    }

    /// Takes up a run that is over, so that a command or a record about it can be seen to. Changes nothing
    /// of what the log says.
    pub fn revive(&mut self, cold: &ColdRun) -> Result<(), NotRevived> {
        let dag = self.dags.get(&cold.key.dag_id);
        let (tries, ends) = dag.map_or((0, 0), |dag| dag.deleted.numbers(&cold.key.run_id));
        let mut run: Option<Run> = None;
        for (seq, record) in &cold.records {
            for fact in &record.facts {
                if let Fact::RunCreated(f) = fact {
                    let meta = meta_of(record, f);
                    let version = self.version_of(cold, f.version);
                    let version = version.ok_or_else(|| no_version(cold, f.version))?;
                    run =
                        Some(Run::new(cold.key.clone(), meta, version).numbered_from(tries, ends));
                } else if let (Fact::RunVersionChanged(f), Some(run)) = (fact, &mut run) {
                    let version = self.version_of(cold, f.version);
                    let version = version.ok_or_else(|| no_version(cold, f.version))?;
                    if matches!(run.phase(), Phase::Over(_)) {
                        run.change_version(&version, f);
                    }
                } else if let Some(run) = &mut run {
                    run.evolve(*seq, record.decided_at(), fact);
                }
            }
        }
        let run = run.ok_or_else(|| NotRevived::NoCreation(cold.key.clone()))?;
        if !matches!(run.phase(), Phase::Over(_)) {
            return Err(NotRevived::NotOver(cold.key.clone()));
        }
        self.forget_revived(&cold.key);
        if self.revived.len() >= REVIVED_AT_ONCE {
            self.revived.pop_front();
        }
        self.revived.push_back(Arc::new(run));
        Ok(())
    }

    fn version_of(&self, cold: &ColdRun, number: DagVersion) -> Option<Arc<Version>> {
        let f = cold.versions.iter().find(|f| f.version == number)?;
        let known = self.dags.get(&cold.key.dag_id).and_then(|dag| dag.version(number));
        Some(match known.filter(|version| version.digest == f.spec_digest) {
            Some(version) => Arc::clone(version),
            None => Arc::new(Version::new(f.version, f.spec_digest.clone(), f.spec.clone())),
        })
    }

    pub(super) fn revived_run(&self, key: &RunKey) -> Option<&Run> {
        self.revived.iter().find(|run| run.key() == key).map(Arc::as_ref)
    }

    pub(super) fn forget_revived(&mut self, key: &RunKey) -> Option<Arc<Run>> {
        let at = self.revived.iter().position(|run| run.key() == key)?;
        self.revived.remove(at)
    }
}

fn no_version(cold: &ColdRun, version: DagVersion) -> NotRevived {
    NotRevived::NoVersion { key: cold.key.clone(), version }
}
