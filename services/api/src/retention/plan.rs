//! Which runs go, by the rules.
use std::{collections::BTreeMap, time::Duration};

use dagbok_events::{DagId, LogRef, Payload, RunKey, Timestamp};

use crate::model::{
    Store, StoreError,
    lists::{Range, RunAsk, RunBy, RunField, RunOrder, Scope},
    rows::{RunRow, RunState, TryRow},
};

/// Runs that are counted of those that go, and what they take.
pub(crate) const COUNTED: usize = 1_000_000;
/// Rows of runs that are held at once where many are looked at.
const IN_HAND: usize = 1_000;

/// How long things are kept, and how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// A run goes this long after its end; `None` keeps all.
    pub runs: Option<Duration>,
    /// Of a DAG's finished runs so many stay, those that ended last; `None` keeps all.
    pub runs_per_dag: Option<u64>,
    /// A DAG that no file defines and that has no run left goes this long after it vanished.
    pub dags: Option<Duration>,
    /// A version that no run has goes this long after it was registered.
    pub versions: Option<Duration>,
    /// An executor goes this long after it left.
    pub executors: Option<Duration>,
    /// A report that was refused goes after this long, whatever becomes of its run.
    pub reports: Option<Duration>,
    /// A backfill goes this long after it was over.
    pub backfills: Option<Duration>,
    /// What tries wrote goes this long after the end of their run; `None` keeps it for as long as the run.
    pub logs: Option<Duration>,
    /// What tasks handed on goes this long after the end of their run; `None` keeps it for as long as the run.
    pub xcoms: Option<Duration>,
    /// A blob that nothing names goes this long after it was put; `None` keeps all. Nobody may put one and take
    /// longer to say what for, an executor without its broker included.
    pub blobs: Option<Duration>,
}

/// A run that is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Going {
    /// Which.
    pub run: RunKey,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
}

/// What goes of one DAG.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GoingOfDag {
    /// Runs.
    pub runs: u64,
    /// Bytes of logs, values and conf that are kept beside the log for them.
    pub bytes: u64,
    /// When the first and the last of them ended.
    pub ended: Option<(Timestamp, Timestamp)>,
}

/// What is to go, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The runs, as many as were asked for.
    pub runs: Vec<Going>,
    /// All of them counted, and what they take.
    pub dags: BTreeMap<DagId, GoingOfDag>,
}

impl Plan {
    /// What goes by `rules` at `now`, of one DAG or of all; `most` runs at most.
    pub fn make(
        store: &Store,
        rules: Rules,
        (now, dag, most): (Timestamp, Option<&DagId>, usize),
    ) -> Result<Self, StoreError> {
        let mut plan = Self::default();
        let scope = dag.map_or(Scope::All, |dag_id| Scope::Dags(vec![dag_id.clone()]));
        if let Some(age) = rules.runs {
            let micros = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
            let before = now.0.saturating_sub(micros);
            plan.take(store, &oldest(scope, Some(before), most))?;
        }
        if let Some(keep) = rules.runs_per_dag {
            for row in store.dags()?.iter().filter(|row| dag.is_none_or(|dag| *dag == row.dag_id)) {
                let over = row.totals.runs_by_state();
                let over: u64 =
                    over.iter().filter(|(state, _)| state.is_over()).map(|it| it.1).sum();
                let gone = plan.dags.get(&row.dag_id).map_or(0, |going| going.runs);
                // Those that go for their age are the oldest too.
                let excess = usize::try_from(over.saturating_sub(keep)).unwrap_or(usize::MAX);
                let room = most.saturating_sub(plan.runs.len());
                let gone = usize::try_from(gone).unwrap_or(usize::MAX);
                let ask = oldest(Scope::Dags(vec![row.dag_id.clone()]), None, excess);
                let ask = RunAsk { skip: gone, take: excess.saturating_sub(gone).min(room), ..ask };
                if ask.take > 0 {
                    plan.take(store, &ask)?;
                }
            }
        }
        Ok(plan)
    }

    /// Finished runs of a DAG, `most` at most, the oldest first. Nothing of what they hold is read.
    pub(crate) fn oldest_of(
        store: &Store,
        dag: &DagId,
        most: usize,
    ) -> Result<Vec<Going>, StoreError> {
        let ask = oldest(Scope::Dags(vec![dag.clone()]), None, most);
        let page = store.list_runs(&ask, None)?.page;
        Ok(page.iter().map(|row| Going { run: row.key(), ended_at: row.end_date }).collect())
    }

    /// Runs, over all DAGs.
    pub fn count(&self) -> u64 {
        self.dags.values().map(|going| going.runs).sum()
    }

    fn take(&mut self, store: &Store, ask: &RunAsk) -> Result<(), StoreError> {
        for row in store.list_runs(ask, None)?.page {
            let going = self.dags.entry(row.dag_id.clone()).or_default();
            going.runs += 1;
            going.bytes += bytes_of(store, &row)?;
            if let Some(at) = row.end_date {
                let (first, last) = going.ended.unwrap_or((at, at));
                going.ended = Some((first.min(at), last.max(at)));
            }
            self.runs.push(Going { run: row.key(), ended_at: row.end_date });
        }
        Ok(())
    }
}

/// Finished runs, those that ended first before all.
pub(super) fn oldest(scope: Scope, before: Option<i64>, take: usize) -> RunAsk {
    let range = |to| Range { field: RunField::EndDate, from: i64::MIN, to, nothing: false };
    RunAsk {
        states: vec![RunState::Success, RunState::Failed],
        ranges: before.map(range).into_iter().collect(),
        orders: vec![RunOrder { by: RunBy::Field(RunField::EndDate), down: false }],
        take,
        ..RunAsk::all(scope)
    }
}

/// Goes through finished runs that ended from `from` on and before `before`, those that ended first before all, until
/// `look` says that it has seen enough. Some at a time, so that few rows are held however many there are.
pub(super) fn each_over(
    store: &Store,
    (from, before): (i64, i64),
    mut look: impl FnMut(RunRow) -> Result<Seen, StoreError>,
) -> Result<(), StoreError> {
    // Of those that ended at the same time as the last one, so many were looked at.
    let (mut from, mut skip) = (from, 0);
    loop {
        let mut ask = oldest(Scope::All, Some(before.saturating_sub(1)), IN_HAND);
        ask.skip = skip;
        ask.ranges.iter_mut().for_each(|range| range.from = from);
        let page = store.list_runs(&ask, None)?.page;
        let is_last = page.len() < IN_HAND;
        for run in page {
            let ended = run.end_date.map_or(from, |at| at.0);
            skip = if ended == from { skip + 1 } else { 1 };
            from = ended;
            if look(run)? == Seen::Enough {
                return Ok(());
            }
        }
        if is_last {
            return Ok(());
        }
    }
}

/// Whether another run is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    More,
    Enough,
}

/// What is kept beside the log for a run, in bytes.
fn bytes_of(store: &Store, run: &RunRow) -> Result<u64, StoreError> {
    let input = store.run_input(&run.key())?.and_then(|input| input.conf);
    let conf = input.as_ref().map_or(0, size_of);
    Ok(conf + log_bytes(store, run)? + xcom_bytes(store, run)?)
}

/// What its tries wrote, but for what is forgotten already.
pub(super) fn log_bytes(store: &Store, run: &RunRow) -> Result<u64, StoreError> {
    let key = run.key();
    let of = |attempt: &TryRow| match run.log_kept_until(attempt) {
        Some(_) => 0,
        None => logs_of(attempt).map(|log| log.size).sum::<u64>(),
    };
    let mut bytes = 0;
    for task in store.each_task(&key) {
        bytes += task?.attempt.as_ref().map_or(0, of);
    }
    Ok(bytes + store.past_tries_of_run(&key)?.iter().map(|past| of(&past.0)).sum::<u64>())
}

/// The large values that its tasks handed on, but for what is forgotten already.
pub(super) fn xcom_bytes(store: &Store, run: &RunRow) -> Result<u64, StoreError> {
    let (key, mut bytes) = (run.key(), 0);
    for task in store.each_task(&key) {
        let task = task?;
        if run.xcoms_kept_until(&task).is_some() {
            continue;
        }
        let instance = (&key, &task.task_id, task.map_index);
        for xcom in store.handed_on(instance, task.xcoms)? {
            bytes += size_of(&xcom.value);
        }
    }
    Ok(bytes)
}

/// Every log that a try has.
pub(super) fn logs_of(row: &TryRow) -> impl Iterator<Item = &LogRef> {
    row.log.iter().chain(&row.left).chain(&row.legs)
}

fn size_of(payload: &Payload) -> u64 {
    match payload {
        Payload::Inline(_) => 0,
        Payload::Blob { size, .. } => *size,
    }
}
