//! Zygotes: Python processes with everything imported that a try needs, which fork one child for each
//! try. A base zygote has the runtime alone; from it one is forked for each DAG file, with the file loaded.
mod apart;
pub(crate) mod base;
mod control;
mod fork;
mod load;
mod message;
mod pool;

use control::Zygote;
pub(crate) use pool::Pool;
