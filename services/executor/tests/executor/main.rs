//! The executor against the real Python runtime, with the scheduler played by the test.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
mod copies;
mod ends;
mod environments;
mod faults;
mod fencing;
mod harm;
mod keeps;
mod left;
mod life;
mod lineage;
mod parting;
mod rig;
mod speed;
mod standing;
