//! The object store as blobs: the suite on every kind of store, what goes wrong, and the two places as one.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod conformance;
mod faults;
mod ownership;
mod servers;
mod two_places;
