//! The executor of pods against a double of the API server.
mod faults;
mod life;
mod makers;
mod rig;
mod server;
mod speed;
mod told;
