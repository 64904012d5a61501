//! OpenLineage's run events as a pure fold of the log: same facts, same events, under the ids that Airflow's provider
//! gives. What is sent twice is one event.
//!
//! [`Lineage`] takes records and says [`Event`]s. No clock and no I/O: who sends them, and where, is a service's
//! business.
mod airflow;
mod datasets;
mod event;
mod facets;
mod fold;
mod ids;
mod run;
mod say;
mod specs;
mod told;
mod tries;

pub use datasets::{Dataset, dataset_of};
pub use event::{Event, EventType, Names};
pub use fold::Lineage;
pub use ids::{run_uuid, try_uuid};

/// Raise it with any change of what [`Lineage`] keeps: what an older one kept is then left alone.
pub const VERSION: u32 = 2;
