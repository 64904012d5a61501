//! Lists of task instances over many runs: the runs that have a task in the states that are asked for, and
//! only those, are read.
use dagbok_events::DagId;
use dagbok_rows::StoreError;

use super::{
    super::{
        Store, keys,
        rows::{DagRow, RunRow, TaskInstanceState},
    },
    merge::{Hit, Merge, Stream},
};

/// A task's state in counts and indexes; `None` for a task that has none yet.
pub type State = Option<TaskInstanceState>;

fn place(state: State) -> u8 {
    let none = u8::try_from(TaskInstanceState::ALL.len()).unwrap_or(u8::MAX);
    state.map_or(none, |state| state as u8)
}

impl Store {
    /// How many tasks there are in any of these states, over one DAG's runs or all.
    pub fn count_tasks(&self, dag: Option<&DagId>, states: &[State]) -> Result<usize, StoreError> {
        let totals = match dag {
            Some(dag_id) => self.dag(dag_id)?.map(|dag: DagRow| dag.totals).unwrap_or_default(),
            None => self.totals()?,
        };
        let count: u64 = states.iter().filter_map(|state| totals.tasks.get(state)).sum();
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// Runs that have a task in any of these states, in the order of making.
    pub fn runs_having(
        &self,
        dag: Option<&DagId>,
        states: &[State],
        down: bool,
    ) -> impl Iterator<Item = Result<RunRow, StoreError>> {
        let stream = |state: &State| {
            let prefix = keys::runs_having(dag, place(*state));
            let length = prefix.len();
            let hits = self.keys(&prefix).map(move |key| Hit::read(&key?, length));
            let hits: Stream = if down {
                let keys = self.keys(&prefix).rev();
                Box::new(keys.map(move |key| Hit::read(&key?, length)))
            } else {
                Box::new(hits)
            };
            hits
        };
        let merged = Merge::new(states.iter().map(stream).collect(), down);
        let mut last = None;
        merged.filter_map(move |hit| {
            let read = |hit: Hit| {
                if last.replace(hit.seq) == Some(hit.seq) {
                    return Ok(None);
                }
                self.run_at(hit.seq)
            };
            hit.and_then(read).transpose()
        })
    }
}
