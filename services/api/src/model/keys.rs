//! Keys of rows: the table's byte, then the ids with a zero byte after each, which no id contains; then
//! numbers, big-endian, so that the store's order is theirs.
use dagbok_events::{
    AssetKey, BackfillId, ConnId, DagId, DagVersion, ExecutorId, ExecutorName, MapIndex, PoolName,
    RunId, RunKey, TaskId, TryNumber, VariableKey,
};

pub(crate) use dagbok_rows::{Key, key::table};
use dagbok_rows::{Row, key::Parts as _};

use super::rows::{
    AssetAliasRow, AssetCountRow, AssetEventOfRow, AssetEventRow, AssetIdRow, AssetRow,
    BackfillOfDagRow, BackfillRow, BundleRow, ConnectionRow, CordonRow, DagRow, ExecutorOrderRow,
    ExecutorRow, HitlOpenRow, HitlRow, ImportErrorRow, LapsesRow, LimitsRow, LoadRow, PastTryRow,
    PoolRow, QueuedAssetRow, QueuedForRow, RefusedRow, RunAssetsRow, RunChangeRow, RunGivenRow,
    RunHavingRow, RunInputRow, RunOrderRow, RunRow, SeqsRow, StripRow, TaskRow, TotalsRow,
    VariableRow, VersionRow, XComRow,
};

/// A task of a run, one copy of it.
pub(crate) type Instance<'a> = (&'a RunKey, &'a TaskId, MapIndex);

fn of_run<R: Row>(run: &RunKey) -> Key {
    table::<R>().text(run.dag_id.as_str()).text(run.run_id.as_str())
}

fn of_instance<R: Row>((run, task_id, map_index): Instance<'_>) -> Key {
    of_run::<R>(run).text(task_id.as_str()).number32(map_order(map_index))
}

/// −1 sorts before 0.
fn map_order(map_index: MapIndex) -> u32 {
    map_index.0.wrapping_sub(i32::MIN).cast_unsigned()
}

/// Every row of a table that belongs to a DAG.
pub(crate) fn within_dag<R: Row>(dag_id: &DagId) -> Key {
    table::<R>().text(dag_id.as_str())
}

/// Every row of a table that belongs to a run.
pub(crate) fn within_run<R: Row>(run: &RunKey) -> Key {
    of_run::<R>(run)
}

/// Every row of a table that belongs to a task of a run, all its copies.
pub(crate) fn within_task<R: Row>(run: &RunKey, task_id: &TaskId) -> Key {
    of_run::<R>(run).text(task_id.as_str())
}

/// Every row of a table that belongs to one copy of a task.
pub(crate) fn within_instance<R: Row>(instance: Instance<'_>) -> Key {
    of_instance::<R>(instance)
}

pub(crate) fn dag(dag_id: &DagId) -> Key {
    within_dag::<DagRow>(dag_id)
}

pub(crate) fn version(dag_id: &DagId, version: DagVersion) -> Key {
    within_dag::<VersionRow>(dag_id).number32(version)
}

pub(crate) fn import_error(file: &str) -> Key {
    table::<ImportErrorRow>().rest(file.as_bytes())
}

/// Of a text that may hold anything, without the byte that parts of keys end with.
fn without_zero(text: &str) -> String {
    text.replace('\0', " ")
}

pub(crate) fn asset(asset: &AssetKey) -> Key {
    table::<AssetRow>().text(&without_zero(&asset.uri)).text(&without_zero(&asset.name))
}

pub(crate) fn asset_id(id: u32) -> Key {
    table::<AssetIdRow>().number32(id)
}

pub(crate) fn asset_count() -> Key {
    table::<AssetCountRow>()
}

pub(crate) fn asset_event(id: u64) -> Key {
    table::<AssetEventRow>().number(id)
}

/// The events of all assets; in the order of time, as in those of one.
pub(crate) fn events_of_all() -> Key {
    table::<AssetEventOfRow>().byte(2)
}

/// The events of an asset by its number.
pub(crate) fn events_of_asset(id: u32) -> Key {
    table::<AssetEventOfRow>().byte(0).number32(id)
}

/// The events that a DAG's tasks made.
pub(crate) fn events_of_dag(dag_id: &DagId) -> Key {
    table::<AssetEventOfRow>().byte(1).text(dag_id.as_str())
}

pub(crate) fn asset_alias(name: &str) -> Key {
    table::<AssetAliasRow>().rest(name.as_bytes())
}

/// The DAGs that an asset waits in.
pub(crate) fn within_queued_for(asset: &AssetKey) -> Key {
    let key = table::<QueuedForRow>().text(&without_zero(&asset.uri));
    key.text(&without_zero(&asset.name))
}

pub(crate) fn queued_for(asset: &AssetKey, dag_id: &DagId) -> Key {
    within_queued_for(asset).rest(dag_id.as_str().as_bytes())
}

pub(crate) fn queued_asset(dag_id: &DagId, asset: &AssetKey) -> Key {
    let key = within_dag::<QueuedAssetRow>(dag_id).text(&without_zero(&asset.uri));
    key.text(&without_zero(&asset.name))
}

pub(crate) fn run_assets(run: &RunKey) -> Key {
    of_run::<RunAssetsRow>(run)
}

pub(crate) fn backfill(id: BackfillId) -> Key {
    table::<BackfillRow>().number(id.0)
}

pub(crate) fn backfill_of_dag(dag_id: &DagId, id: BackfillId) -> Key {
    within_dag::<BackfillOfDagRow>(dag_id).number(id.0)
}

pub(crate) fn run(run: &RunKey) -> Key {
    of_run::<RunRow>(run)
}

pub(crate) fn run_input(run: &RunKey) -> Key {
    of_run::<RunInputRow>(run)
}

pub(crate) fn run_order(seq: u64) -> Key {
    table::<RunOrderRow>().number(seq)
}

/// A run that has a task in a state, by that state's place among all; over one DAG or all.
pub(crate) fn run_having(dag: Option<&DagId>, state: u8, seq: u64) -> Key {
    runs_having(dag, state).number(seq)
}

/// The runs that have a task in a state, in the order of making.
pub(crate) fn runs_having(dag: Option<&DagId>, state: u8) -> Key {
    let key = table::<RunHavingRow>();
    let key = match dag {
        None => key.byte(0),
        Some(dag_id) => key.byte(1).text(dag_id.as_str()),
    };
    key.byte(state)
}

/// The runs that were given a value by a name.
pub(crate) fn runs_given(name: &str, value: &str) -> Key {
    table::<RunGivenRow>().text(&without_zero(name)).text(&without_zero(value))
}

pub(crate) fn totals() -> Key {
    table::<TotalsRow>()
}

pub(crate) fn seqs(run: &RunKey, first: u64) -> Key {
    of_run::<SeqsRow>(run).number(first)
}

pub(crate) fn task(instance: Instance<'_>) -> Key {
    of_instance::<TaskRow>(instance)
}

/// The states of copies of a task, by which strip of them.
pub(crate) fn strip(run: &RunKey, task_id: &TaskId, strip: u32) -> Key {
    within_task::<StripRow>(run, task_id).number32(strip)
}

pub(crate) fn past_try(instance: Instance<'_>, number: TryNumber) -> Key {
    of_instance::<PastTryRow>(instance).rest(&number.get().to_be_bytes())
}

pub(crate) fn xcom(instance: Instance<'_>, name: &str) -> Key {
    of_instance::<XComRow>(instance).rest(name.as_bytes())
}

pub(crate) fn hitl(instance: Instance<'_>, number: TryNumber) -> Key {
    of_instance::<HitlRow>(instance).number32(u32::from(number.get()))
}

pub(crate) fn hitl_open(instance: Instance<'_>) -> Key {
    of_instance::<HitlOpenRow>(instance)
}

pub(crate) fn refused(run: &RunKey, seq: u64, place: u32) -> Key {
    of_run::<RefusedRow>(run).number(seq).number32(place)
}

pub(crate) fn run_change(run: &RunKey, seq: u64) -> Key {
    of_run::<RunChangeRow>(run).number(seq)
}

pub(crate) fn executor(id: &ExecutorId) -> Key {
    table::<ExecutorRow>().rest(id.as_str().as_bytes())
}

pub(crate) fn cordon(name: &ExecutorName) -> Key {
    table::<CordonRow>().rest(name.as_str().as_bytes())
}

/// Executors in the order of coming: those that are there, or those that have left.
pub(crate) fn executors_in_order(left: bool) -> Key {
    table::<ExecutorOrderRow>().byte(u8::from(left))
}

/// An executor's place among those.
pub(crate) fn executor_order(row: &ExecutorRow) -> Key {
    let key = executors_in_order(row.left_at.is_some()).signed(row.joined_at.0);
    key.rest(row.executor.as_str().as_bytes())
}

pub(crate) fn load(id: &ExecutorId) -> Key {
    table::<LoadRow>().rest(id.as_str().as_bytes())
}

pub(crate) fn pool(pool: &PoolName) -> Key {
    table::<PoolRow>().rest(pool.as_str().as_bytes())
}

pub(crate) fn variable(key: &VariableKey) -> Key {
    table::<VariableRow>().rest(key.as_str().as_bytes())
}

pub(crate) fn connection(conn_id: &ConnId) -> Key {
    table::<ConnectionRow>().rest(conn_id.as_str().as_bytes())
}

pub(crate) fn limits() -> Key {
    table::<LimitsRow>()
}

pub(crate) fn lapses() -> Key {
    table::<LapsesRow>()
}

/// The run that a row's key names after its table.
pub(crate) fn run_in(key: &[u8]) -> Option<RunKey> {
    let mut parts = key.get(1..)?.split(|byte| *byte == 0);
    let mut text = || std::str::from_utf8(parts.next()?).ok().map(str::to_owned);
    Some(RunKey { dag_id: DagId::new(text()?).ok()?, run_id: RunId::new(text()?).ok()? })
}

/// Of a DAG folder, by its name if it has one.
pub(crate) fn bundle(folder: Option<&str>) -> Key {
    table::<BundleRow>().rest(folder.unwrap_or_default().as_bytes())
}
