//! The runs that look back at one, and what of that a record moved: what they wait for of it is judged anew.
use std::{collections::BTreeSet, sync::Arc};

use dagbok_events::{DagId, Fact, Record, RuledOut};

use super::{Namespace, RunNo};
use crate::{
    graph::{Ix, Version},
    run::{Change, Run},
};

/// What of a run a record moved, for those that look back at it.
pub(super) struct Moved {
    version: Arc<Version>,
    lookers: Vec<RunNo>,
    /// The tasks of which something changed; none where nobody looks.
    nodes: BTreeSet<Ix>,
    /// Whether the run has other tasks from the record on.
    is_other: bool,
}

impl Namespace {
    /// What of a run a record moved, by the changes that came of it.
    pub(super) fn moved_by(
        &self,
        number: RunNo,
        record: &Record,
        changes: &[Change],
    ) -> Option<Moved> {
        let run = self.runs.get(&number)?;
        let date = run.meta().logical_date;
        let dag_id = &run.key().dag_id;
        let lookers = date.map_or_else(Vec::new, |date| self.looking_back_at(dag_id, date));
        let looked_at =
            if lookers.is_empty() { BTreeSet::new() } else { nodes_of(run, record, changes) };
        let is_other = record.facts.iter().any(has_other_tasks);
        Some(Moved { version: Arc::clone(run.version()), lookers, nodes: looked_at, is_other })
    }

    /// What those that look back at a run wait for is judged anew.
    pub(super) fn look_back_by(
        &mut self,
        number: RunNo,
        dag_id: &DagId,
        moved: &Moved,
        is_over: bool,
    ) {
        let Moved { version, lookers, nodes, is_other } = moved;
        if *is_other {
            self.look_back(number);
        }
        // Of a run that is over less is known than of one that goes on, and another may count as the one before.
        if *is_other || is_over {
            for looker in lookers {
                self.look_back(*looker);
            }
        } else {
            let nodes: Vec<Ix> = nodes.iter().copied().collect();
            self.look_back_at(version, &nodes, lookers);
        }
        if *is_other {
            self.look_back_further(dag_id);
        }
    }
}

/// The tasks that changes were of, and those that have more copies: these are no change of any that they had.
fn nodes_of(run: &Run, record: &Record, changes: &[Change]) -> BTreeSet<Ix> {
    let moved = changes.iter().map(|it| run.instance(it.no).node);
    let grown = record.facts.iter().filter_map(|fact| match fact {
        Fact::TaskExpanded(f) => run.version().find(&f.task_id),
        _ => None,
    });
    moved.chain(grown).collect()
}

/// Whether a run has other tasks from a fact on.
fn has_other_tasks(fact: &Fact) -> bool {
    match fact {
        Fact::RunVersionChanged(_) => true,
        Fact::TaskRuledOut(f) => f.why == RuledOut::OutOfDates,
        _ => false,
    }
}
