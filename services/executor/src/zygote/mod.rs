//! Zygotes: Python processes with everything imported that a try needs, which fork one child for each
//! try. A base zygote has the runtime alone; from it one is forked for each DAG file, with the file loaded.
mod apart;
mod base;
mod control;
mod load;
mod message;
mod pool;

pub(crate) use base::Base;
pub(crate) use control::{Launch, Zygote};
pub(crate) use message::Exited;
pub(crate) use pool::{Place, PlaceError, Pool};
