//! Big things on an object store: S3 and what speaks as it does, Google Cloud Storage, Azure, or a folder that
//! several machines share.
//!
//! [`Objects`] keeps blobs there by the SHA-256 of their bytes, as the log's own blobs are kept; [`Tiers`] puts the
//! two together: what is large goes to the object store at once, what is small once it is no longer new, and whoever
//! reads finds it in either. [`Title`] sees that the place is this installation's. [`Place`] is what a configuration says of the store, [`connection`] what one of Airflow's
//! connections does.
//!
//! ```text
//! <url>/<namespace>/owner          which log these blobs are of, and which copy of it put them
//! <url>/<namespace>/ab/abcdef…     a blob: the name is its SHA-256
//! ```
//!
//! Absent on purpose: anything that knows what a blob is of, and rules of the store's own that let objects go by age;
//! what goes is decided by what the log names.
pub mod connection;
mod fault;
mod list;
mod look;
mod moving;
pub mod owner;
mod place;
mod placeless;
mod store;
mod tiers;
mod title;

pub use look::Looked;
pub use place::{OpenError, Place};
pub use placeless::Placeless;
pub use store::Objects;
pub use tiers::{TierSettings, Tiers};
pub use title::{Part, Standing, Title, refuse_placeless};
