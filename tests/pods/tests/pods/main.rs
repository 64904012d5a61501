//! The executor of pods against a double of the API server.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]
#![expect(clippy::needless_pass_by_value, reason = "JSON is written where it is used")]
mod faults;
mod life;
mod makers;
mod rig;
mod server;
mod speed;
mod told;
