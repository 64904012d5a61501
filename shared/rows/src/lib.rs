//! Rows and checkpoints: what every projection of the log is kept in.
//!
//! A projection names its tables with [`tables!`] and says by [`Fold`] what each record changes in them.
//! Everything else is here: rows in hand over rows on disk ([`Overlay`]), one write for a batch's rows and
//! the checkpoint ([`Store`]), keys whose order is that of what they stand for ([`key`]), and the life of
//! the whole ([`Kept`]): opened, caught up, followed, and built anew where it is missing, damaged, made by
//! other rules or from another log.
//!
//! Rows are written to sled, and settle in an LSM tree, which nobody outside of this crate needs to know. They may
//! be lost at any time: the log is the truth. There is deliberately nothing in here about what any row means.
mod cold;
mod hot;
mod kept;
pub mod key;
mod levels;
mod merge;
mod open;
mod overlay;
mod store;

pub use kept::{Fold, Kept, KeptError};
pub use key::Key;
pub use overlay::{Has, Overlay, Table, TableSet, assert_apart};
pub use store::{KeyChange, OpenError, Opened, RowKey, Store, StoreError, pack, unpack};

/// Something that is kept under a key of its own table.
pub trait Row:
    serde::Serialize + serde::de::DeserializeOwned + Clone + PartialEq + Send + 'static
{
    /// The first byte of its keys, unique among the tables of a projection. `m` is the checkpoint's.
    const TABLE: u8;
}
