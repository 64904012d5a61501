//! The figures of an installation as a pure fold of its log: same facts, same numbers.
//!
//! [`INSTRUMENTS`] is the table of all that is counted and shown, from which the reference page is made. [`Ledger`] folds
//! records into those that the log tells of, and writes them in Prometheus' text format. No clock and no I/O: a gauge
//! that grows while nothing happens is shown as the time since when, for whoever reads it to subtract.
pub mod airflow;
mod alerting;
mod ledger;
mod note;
mod open;
mod pages;
mod reference;
mod sample;
mod spans;
mod state;
mod table;
mod tallies;
mod text;

pub use alerting::AlertLedger;
pub use ledger::{Ledger, VERSION};
pub use note::{Note, Trace, Way};
pub use open::{OPEN_METRICS, TEXT, open_metrics, wants_open_metrics};
pub use pages::Pages;
pub use reference::reference;
pub use sample::{Kept, Series, parse};
pub use spans::{Link, Span, Spans};
pub use state::{Depth, PoolUse, State, Wanted, label_text};
pub use table::{Group, INSTRUMENTS, Instrument, Kind, Source, find};
pub use tallies::{Exemplar, Histogram, Recent, Tallies};
pub use text::{Detail, escape};
