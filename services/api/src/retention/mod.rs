//! What is kept, and for how long. Runs that are over and too old, or too many, go by a fact each, as
//! `dagbok runs delete` writes it; then what nothing needs any more is forgotten, and blobs that no row names are
//! swept away.
//!
//! It lives beside the read model, whose indexes say at once what is oldest and what is still named.
mod bloom;
mod forget;
mod keeper;
mod lost;
mod plan;
mod sweep;

pub use forget::{Forgetting, Lapsing, OldVersions, Telling};
pub use keeper::{Keeper, Retention};
pub use lost::lost;
pub(crate) use plan::COUNTED;
pub use plan::{Going, GoingOfDag, Plan, Rules};
pub use sweep::{Sweep, Swept, sweep};
