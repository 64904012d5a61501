//! The read model: a fold of the log into rows that answer the API's questions at once.
//!
//! It decides nothing, may be deleted at any time, and is rebuilt when it is missing, damaged, made by
//! other rules or from another log. While it is rebuilt, readers see how far it is.
mod fold;
pub(crate) mod keys;
mod lapsed;
pub mod lists;
mod read;
pub mod rows;
mod versions;

use dagbok_events::Record;
use dagbok_rows::{Fold, Kept, KeptError};
pub use dagbok_rows::{OpenError, StoreError};
pub(crate) use fold::of_dag;
pub use versions::Store;

/// The read model as its readers hold it. Cheap to clone.
pub type ReadModel = Kept<Rows>;

/// The read model could not be had.
pub type ModelError = KeptError;

/// Rows in hand while a batch is folded.
type Overlay<'a> = dagbok_rows::Overlay<'a, rows::Tables>;

/// The rules by which the rows are made.
#[derive(Debug)]
pub struct Rows;

impl Fold for Rows {
    const NAME: &'static str = "the read model";
    const VERSION: u32 = rows::VERSION;
    type Tables = rows::Tables;
    type View = Store;

    fn fold(rows: &mut Overlay<'_>, seq: u64, record: &Record) -> Result<(), StoreError> {
        fold::fold(rows, seq, record)
    }
}
