//! Keys of rows: the table's byte, then the ids with a zero byte after each, which no id contains; then
//! numbers, big-endian, so that the store's order is theirs.
use dagbok_events::{DagId, DagVersion, ExecutorId, MapIndex, PoolName, RunKey, TaskId, TryNumber};

use super::rows::{
    BundleRow, DagRow, DagRunOrderRow, ExecutorRow, ImportErrorRow, LimitsRow, LoadRow, PastTryRow,
    PoolRow, RefusedRow, Row, RunInputRow, RunOrderRow, RunRow, SeqsRow, TaskRow, VersionRow,
    XComRow,
};

/// A row's key.
pub(crate) type Key = Vec<u8>;

/// A task of a run, one copy of it.
pub(crate) type Instance<'a> = (&'a RunKey, &'a TaskId, MapIndex);

fn begin<R: Row>(capacity: usize) -> Key {
    let mut key = Vec::with_capacity(capacity + 2);
    key.push(R::TABLE);
    key
}

fn push_id(key: &mut Key, id: &str) {
    key.extend_from_slice(id.as_bytes());
    key.push(0);
}

fn of_run<R: Row>(run: &RunKey) -> Key {
    let mut key = begin::<R>(run.dag_id.as_str().len() + run.run_id.as_str().len() + 16);
    push_id(&mut key, run.dag_id.as_str());
    push_id(&mut key, run.run_id.as_str());
    key
}

fn of_instance<R: Row>((run, task_id, map_index): Instance<'_>) -> Key {
    let mut key = of_run::<R>(run);
    push_id(&mut key, task_id.as_str());
    key.extend_from_slice(&map_order(map_index));
    key
}

/// −1 sorts before 0.
fn map_order(map_index: MapIndex) -> [u8; 4] {
    map_index.0.wrapping_sub(i32::MIN).to_be_bytes()
}

/// Every row of a table.
pub(crate) fn table<R: Row>() -> Key {
    vec![R::TABLE]
}

/// Every row of a table that belongs to a DAG.
pub(crate) fn within_dag<R: Row>(dag_id: &DagId) -> Key {
    let mut key = begin::<R>(dag_id.as_str().len());
    push_id(&mut key, dag_id.as_str());
    key
}

/// Every row of a table that belongs to a run.
pub(crate) fn within_run<R: Row>(run: &RunKey) -> Key {
    of_run::<R>(run)
}

/// Every row of a table that belongs to a task of a run, all its copies.
pub(crate) fn within_task<R: Row>(run: &RunKey, task_id: &TaskId) -> Key {
    let mut key = of_run::<R>(run);
    push_id(&mut key, task_id.as_str());
    key
}

/// Every row of a table that belongs to one copy of a task.
pub(crate) fn within_instance<R: Row>(instance: Instance<'_>) -> Key {
    of_instance::<R>(instance)
}

pub(crate) fn dag(dag_id: &DagId) -> Key {
    within_dag::<DagRow>(dag_id)
}

pub(crate) fn version(dag_id: &DagId, version: DagVersion) -> Key {
    let mut key = within_dag::<VersionRow>(dag_id);
    key.extend_from_slice(&version.to_be_bytes());
    key
}

pub(crate) fn import_error(file: &str) -> Key {
    let mut key = begin::<ImportErrorRow>(file.len());
    key.extend_from_slice(file.as_bytes());
    key
}

pub(crate) fn run(run: &RunKey) -> Key {
    of_run::<RunRow>(run)
}

pub(crate) fn run_input(run: &RunKey) -> Key {
    of_run::<RunInputRow>(run)
}

pub(crate) fn run_order(seq: u64) -> Key {
    let mut key = begin::<RunOrderRow>(8);
    key.extend_from_slice(&seq.to_be_bytes());
    key
}

pub(crate) fn dag_run_order(dag_id: &DagId, seq: u64) -> Key {
    let mut key = within_dag::<DagRunOrderRow>(dag_id);
    key.extend_from_slice(&seq.to_be_bytes());
    key
}

pub(crate) fn seqs(run: &RunKey, first: u64) -> Key {
    let mut key = of_run::<SeqsRow>(run);
    key.extend_from_slice(&first.to_be_bytes());
    key
}

pub(crate) fn task(instance: Instance<'_>) -> Key {
    of_instance::<TaskRow>(instance)
}

pub(crate) fn past_try(instance: Instance<'_>, number: TryNumber) -> Key {
    let mut key = of_instance::<PastTryRow>(instance);
    key.extend_from_slice(&number.get().to_be_bytes());
    key
}

pub(crate) fn xcom(instance: Instance<'_>, name: &str) -> Key {
    let mut key = of_instance::<XComRow>(instance);
    key.extend_from_slice(name.as_bytes());
    key
}

pub(crate) fn refused(run: &RunKey, seq: u64, place: u32) -> Key {
    let mut key = of_run::<RefusedRow>(run);
    key.extend_from_slice(&seq.to_be_bytes());
    key.extend_from_slice(&place.to_be_bytes());
    key
}

pub(crate) fn executor(id: &ExecutorId) -> Key {
    let mut key = begin::<ExecutorRow>(id.as_str().len());
    key.extend_from_slice(id.as_str().as_bytes());
    key
}

pub(crate) fn load(id: &ExecutorId) -> Key {
    let mut key = begin::<LoadRow>(id.as_str().len());
    key.extend_from_slice(id.as_str().as_bytes());
    key
}

pub(crate) fn pool(pool: &PoolName) -> Key {
    let mut key = begin::<PoolRow>(pool.as_str().len());
    key.extend_from_slice(pool.as_str().as_bytes());
    key
}

pub(crate) fn limits() -> Key {
    table::<LimitsRow>()
}

pub(crate) fn bundle() -> Key {
    table::<BundleRow>()
}
