//! Cold storage of a log's oldest entries: files that are written once, compressed, each with the
//! [chain](dagbok_runlog::Chain)'s value before and after its entries. What a log was
//! [trimmed](dagbok_runlog::RunLog::trim) of can be read here, and proved to be what the log held.
//!
//! [`Archive`] is the folder, [`Whole`] a log together with its archive: whoever reads that never notices
//! where one ends and the other begins.
//!
//! ```text
//! <dir>/00000000000000000001-00000000000000016384.arc
//! ```
//!
//! A file is a head, the prints of the subjects in it (so that looking for one run skips most files), and
//! the entries as one zstd frame with a checksum. Files may be moved to other media; reading what they hold
//! then names the file that is missing.
mod error;
mod file;
mod folder;
mod proof;
mod whole;

pub use error::ArchiveError;
pub use folder::{Archive, Span};
pub use proof::Proof;
pub use whole::Whole;
