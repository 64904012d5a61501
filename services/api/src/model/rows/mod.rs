//! The rows of the read model: what the fold keeps of the log, in the words of Airflow's API.
//!
//! A row is what one question needs. Rows are rebuilt from the log whenever [`VERSION`] rises, so they
//! may change freely; they are stored as MessagePack with
//! named fields, those without a value left out.
mod asset;
mod backfill;
mod dag;
mod hitl;
mod run;
mod secret;
mod shared;
mod task;

pub(crate) use asset::event_id;
pub use asset::{
    AssetAliasRow, AssetCountRow, AssetEventOfRow, AssetEventRow, AssetIdRow, AssetRow,
    QueuedAssetRow, QueuedForRow, RunAssetsRow,
};
pub use backfill::{BackfillEnd, BackfillOfDagRow, BackfillPauseRow, BackfillRow};
pub use dag::{DagRow, ImportErrorRow, LastRun, MissedRow, PauseRow, VersionRow};
pub use hitl::{HitlOpenRow, HitlRow};
pub use run::{
    EarlierVersion, GoneRow, Lapsed, LapsesRow, RefusedRow, RunChangeRow, RunEnd, RunGivenRow,
    RunHavingRow, RunIndexRow, RunInputRow, RunOrderRow, RunRow, RunState, SeqsRow, Stretch,
    TaskChangeRow, TotalsRow,
};
pub use secret::{ConnectionRow, VariableRow};
pub use shared::{
    BundleRow, CordonRow, ExecutorOrderRow, ExecutorRow, LimitsRow, LoadRow, PoolRow,
};
pub use task::{
    FailedCallback, Handed, PastTryRow, Progress, STRIP, StripRow, TaskInstanceState, TaskRow,
    TryEnd, TryRow, XComRow,
};

/// The version of the rows and of the rules that make them: raise it with any change of either, and
/// every read model is rebuilt at its next start.
pub const VERSION: u32 = 24;

dagbok_rows::tables! {
    /// Every table of the read model.
    pub struct Tables {
        dags: DagRow = b'd', versions: VersionRow = b'v', import_errors: ImportErrorRow = b'e',
        runs: RunRow = b'r', inputs: RunInputRow = b'n', run_order: RunOrderRow = b'o',
        run_index: RunIndexRow = b'q', run_having: RunHavingRow = b'w', totals: TotalsRow = b'a',
        seqs: SeqsRow = b'i', tasks: TaskRow = b't', strips: StripRow = b's',
        past_tries: PastTryRow = b'y', xcoms: XComRow = b'x', refused: RefusedRow = b'f',
        executors: ExecutorRow = b'c', pools: PoolRow = b'l', limits: LimitsRow = b'g',
        bundles: BundleRow = b'b', loads: LoadRow = b'k', executor_order: ExecutorOrderRow = b'z',
        assets: AssetRow = b'A', asset_ids: AssetIdRow = b'I', asset_count: AssetCountRow = b'N',
        asset_events: AssetEventRow = b'E', queued_assets: QueuedAssetRow = b'Q',
        run_assets: RunAssetsRow = b'R', run_changes: RunChangeRow = b'H',
        asset_aliases: AssetAliasRow = b'L', events_of: AssetEventOfRow = b'F',
        queued_for: QueuedForRow = b'W',
        variables: VariableRow = b'V', connections: ConnectionRow = b'C',
        backfills: BackfillRow = b'B', backfills_of_dag: BackfillOfDagRow = b'D',
        cordons: CordonRow = b'u', hitl: HitlRow = b'h', hitl_open: HitlOpenRow = b'j',
        run_given: RunGivenRow = b'G', lapses: LapsesRow = b'Z',
    }
}
