//! The rows of the read model: what the fold keeps of the log, in the words of Airflow's API.
//!
//! A row is what one question needs. Rows are rebuilt from the log whenever [`VERSION`] rises, so they
//! may change freely; they are stored as MessagePack with
//! named fields, those without a value left out.
mod dag;
mod run;
mod shared;
mod task;

pub use dag::{DagRow, ImportErrorRow, MissedRow, VersionRow};
pub use run::{
    DagRunOrderRow, RefusedRow, RunEnd, RunInputRow, RunOrderRow, RunRow, RunState, SeqsRow,
    Stretch,
};
use serde::{Serialize, de::DeserializeOwned};
pub use shared::{BundleRow, ExecutorRow, LimitsRow, LoadRow, PoolRow};
pub use task::{Handed, PastTryRow, TaskRow, TaskState, TryEnd, TryRow, XComRow};

/// The version of the rows and of the rules that make them: raise it with any change of either, and
/// every read model is rebuilt at its next start.
pub const VERSION: u32 = 3;

/// Something that is kept under a key of its own table.
pub(crate) trait Row: Serialize + DeserializeOwned + Clone + PartialEq {
    /// The first byte of its keys, unique among rows.
    const TABLE: u8;
}

macro_rules! tables {
    ($($row:ident = $byte:literal),* $(,)?) => {
        $(impl Row for $row { const TABLE: u8 = $byte; })*
    };
}

tables! {
    DagRow = b'd', VersionRow = b'v', ImportErrorRow = b'e', RunRow = b'r', RunInputRow = b'n',
    RunOrderRow = b'o', DagRunOrderRow = b'p', SeqsRow = b'i', TaskRow = b't', PastTryRow = b'y',
    XComRow = b'x', RefusedRow = b'f', ExecutorRow = b'c', PoolRow = b'l', LimitsRow = b'g',
    BundleRow = b'b', LoadRow = b'k',
}
