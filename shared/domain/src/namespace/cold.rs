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
    /// The versions of its DAG that it ran, in the order in which it did; those that the fold does not have.
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
    /// What the run's own records have, in the log's order: enough where the fold has the versions that it ran.
    pub fn of_run(
        key: &RunKey,
        records: impl IntoIterator<Item = (u64, Record)>,
    ) -> Result<Self, NotRevived> {
        let mut own: Vec<(u64, Record)> = Vec::new();
        for (seq, record) in records {
            if record.facts.iter().any(|fact| matches!(fact, Fact::RunCreated(_))) {
                own.clear();
            }
            own.push((seq, record));
        }
        let cold = Self { key: key.clone(), versions: Vec::new(), records: own };
        let is_whole = cold.ran().next().is_some();
        if is_whole { Ok(cold) } else { Err(NotRevived::NoCreation(key.clone())) }
    }

    /// The versions that it ran by its records, each with the sequence of the record that says so.
    fn ran(&self) -> impl Iterator<Item = (u64, DagVersion)> {
        self.records.iter().flat_map(|(seq, record)| {
            record.facts.iter().filter_map(|fact| match fact {
                Fact::RunCreated(f) => Some((*seq, f.version)),
                Fact::RunVersionChanged(f) => Some((*seq, f.version)),
                _ => None,
            })
        })
    }

    /// Picks what is needed out of records in the log's order; others than the run's and its DAG's are
    /// passed over.
    pub fn pick<'a>(
        key: &RunKey,
        records: impl IntoIterator<Item = (u64, &'a Record)>,
    ) -> Result<Self, NotRevived> {
        let (mut registered, mut own) = (Vec::new(), Vec::new());
        for (seq, record) in records {
            match &record.scope {
                Scope::Run(run) if run == key => own.push((seq, record.clone())),
                Scope::Dag(dag_id) if *dag_id == key.dag_id => {
                    registered.extend(record.facts.iter().filter_map(|fact| match fact {
                        Fact::DagRegistered(f) => Some((seq, f)),
                        _ => None,
                    }));
                }
                _ => {}
            }
        }
        let cold = Self::of_run(key, own)?;
        let version_at = |(at, version): (u64, DagVersion)| {
            let found = registered.iter().rfind(|(seq, f)| *seq < at && f.version == version);
            let found = found.map(|(_, f)| f.as_ref().clone());
            found.ok_or_else(|| NotRevived::NoVersion { key: key.clone(), version })
        };
        let versions: Vec<DagRegistered> = cold.ran().map(version_at).collect::<Result<_, _>>()?;
        Ok(Self { versions, ..cold })
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
        let mut run = run.ok_or_else(|| NotRevived::NoCreation(cold.key.clone()))?;
        if !matches!(run.phase(), Phase::Over(_)) {
            return Err(NotRevived::NotOver(cold.key.clone()));
        }
        run.lapse_by(&self.lapses);
        self.forget_revived(&cold.key);
        if self.revived.len() >= REVIVED_AT_ONCE {
            self.revived.pop_front();
        }
        self.revived.push_back(Arc::new(run));
        Ok(())
    }

    /// Whether the fold has every version that a run ran, so that no record of its DAG is needed to revive it.
    pub fn has_versions_of(&self, cold: &ColdRun) -> bool {
        let Some(dag) = self.dags.get(&cold.key.dag_id) else { return false };
        cold.ran().all(|(_, version)| dag.version(version).is_some())
    }

    /// A number is of one version for good: a DAG that was forgotten goes on from its last.
    fn version_of(&self, cold: &ColdRun, number: DagVersion) -> Option<Arc<Version>> {
        let known = self.dags.get(&cold.key.dag_id).and_then(|dag| dag.version(number));
        let Some(f) = cold.versions.iter().find(|f| f.version == number) else {
            return known.map(Arc::clone);
        };
        Some(match known.filter(|version| version.digest == f.spec_digest) {
            Some(version) => Arc::clone(version),
            None => Arc::new(Version::new(f.version, f.spec_digest.clone(), f.spec.clone())),
        })
    }

    /// A run that is over and was taken up.
    pub fn revived_run(&self, key: &RunKey) -> Option<&Run> {
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
