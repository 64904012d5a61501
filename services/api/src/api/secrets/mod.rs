//! Variables and connections. Rows have them sealed; the API has the master key, and opens what it is asked for.
//!
//! What goes out over HTTP is masked where a telling name says that it is a secret; a connection's password and what its
//! extra has never go out. Whoever may read the key file gets what is sealed (`entries`), and opens it alone.
mod body;
mod bulk;
pub(crate) mod connections;
mod entries;
mod masked;
mod open;
mod rotate;
pub(crate) mod tasks;
pub(crate) mod variables;

pub(crate) use entries::{__path_entries, entries};
pub(crate) use rotate::{__path_rotate, rotate};
