//! The second opinion on what is forgotten: only what nothing has any more, and never the numbers that were used.
use dagbok_domain::namespace::Outcome;
use dagbok_events::{DagId, DagVersion, HistoryForgotten, RunCleared, RunKey, Timestamp};
use dagbok_protocol::{CommandBody, RefusalCode};

use super::{Audit, Finding, run::Stage};

/// What must not be used again of a DAG that was forgotten.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Floor {
    /// Its last version.
    pub(super) version: DagVersion,
    /// The highest number that a try of a run of it had.
    pub(super) tries: u16,
}

impl Audit {
    /// DAGs that there are.
    pub fn dag_ids(&self) -> impl Iterator<Item = &DagId> {
        self.dags.keys()
    }

    /// Whether no file defines a DAG any more.
    pub fn is_gone(&self, dag_id: &DagId) -> bool {
        self.dags.get(dag_id).is_some_and(|dag| dag.gone)
    }

    /// Whether a DAG has a run, over or not.
    pub fn has_runs(&self, dag_id: &DagId) -> bool {
        self.runs.keys().any(|key| key.dag_id == *dag_id)
    }

    pub(super) fn forget_dag(&mut self, dag_id: &DagId) -> Finding {
        if self.has_runs(dag_id) || !self.is_gone(dag_id) {
            return Err(format!("DAG {dag_id} is forgotten, and in use"));
        }
        let Some(dag) = self.dags.remove(dag_id) else { return Ok(()) };
        let of_it = self.tried.iter().filter(|(key, _)| key.dag_id == *dag_id);
        let tries = of_it.map(|(_, tries)| *tries).max().unwrap_or(0);
        let before = self.floors.get(dag_id).copied().unwrap_or_default();
        let floor = Floor { version: dag.current, tries: tries.max(before.tries) };
        self.floors.insert(dag_id.clone(), floor);
        Ok(())
    }

    pub(super) fn forget_versions(&mut self, dag_id: &DagId, below: DagVersion) -> Finding {
        let mut of_it = self.runs.iter().filter(|(key, run)| {
            key.dag_id == *dag_id && run.stage != Stage::Over && run.version < below
        });
        if let Some((key, run)) = of_it.next_back() {
            return Err(format!("version {} is forgotten, and {key} has it", run.version));
        }
        match self.dags.get_mut(dag_id) {
            Some(dag) if below <= dag.current => dag.versions.retain(|number, _| *number >= below),
            _ => return Err(format!("version {below} of {dag_id} is yet to come")),
        }
        Ok(())
    }

    /// A run that goes on says until when its values were kept that are forgotten: those of runs that were over before
    /// a fact, and before the time that it names; for as long as one of those facts says, to the minute.
    pub(super) fn says_what_lapsed(&mut self, key: &RunKey, f: RunCleared, moves: bool) -> Finding {
        let Some((over, ended)) = self.over.remove(key) else {
            return match f.xcoms_kept_until {
                None => Ok(()),
                Some(until) => {
                    Err(format!("its values were kept until {until:?}, and it was not over"))
                }
            };
        };
        let about: Vec<i64> = self
            .lapses
            .iter()
            .filter(|lapse| over < lapse.0 && ended < lapse.2)
            .map(|(_, at, before)| at.since(*before).0)
            .collect();
        if !about.is_empty() {
            self.note("a run goes on without values");
            if moves {
                self.note("a run goes on without values, with another version");
            }
        }
        let is_right = match f.xcoms_kept_until {
            None => about.is_empty(),
            Some(until) => {
                let age = until.since(ended).0;
                about.iter().any(|one| (one - age).abs() < 60_000_000)
            }
        };
        if is_right {
            return Ok(());
        }
        Err(format!("values of ages {about:?} are forgotten, and it says {:?}", f.xcoms_kept_until))
    }

    pub(super) fn forget_history(
        &mut self,
        seq: u64,
        what: HistoryForgotten,
        at: Timestamp,
    ) -> Finding {
        self.lapses.extend(what.xcoms_of_runs_over_before.map(|before| (seq, at, before)));
        let times = [
            what.executors_left_before,
            what.reports_refused_before,
            what.backfills_over_before,
            what.logs_of_runs_over_before,
            what.xcoms_of_runs_over_before,
        ];
        if times.iter().flatten().any(|time| *time > at) || times == [None; 5] {
            return Err(format!("{what:?} at {at}"));
        }
        Ok(())
    }

    /// What is to be said to who asks that something is forgotten, by the state as it is.
    pub(super) fn is_right_of_forgetting(&self, body: &CommandBody, outcome: &Outcome) -> bool {
        let refused = match outcome {
            Outcome::Refused(refusal) => Some(refusal.code),
            _ => None,
        };
        let should = match body {
            CommandBody::ForgetDag { dag_id } if !self.dags.contains_key(dag_id) => {
                Some(RefusalCode::DagNotFound)
            }
            CommandBody::ForgetDag { dag_id } => {
                let in_use = self.has_runs(dag_id) || !self.is_gone(dag_id);
                in_use.then_some(RefusalCode::DagInUse)
            }
            _ => return true,
        };
        refused == should
    }
}
