//! The web UI's side of the API: a snapshot for each view, what changes of it, and the page that they are drawn on.
//! The page comes with the first view's snapshot in it, so that a browser draws before it asks.
//!
//! What is asked for is done by the other routes: nothing here changes anything.
mod changes;
mod code;
mod dag;
mod dags;
mod executors;
mod expected;
mod failure;
mod home;
mod log;
mod old;
mod pages;
mod past;
mod patch;
mod pools;
mod question;
mod run;
mod states;
mod stream;
mod task;
mod told;
mod view;

pub(crate) use changes::{__path_changes, changes};
pub(crate) use code::{__path_code, code};
pub(crate) use dag::{__path_dag, dag};
pub(crate) use dags::{__path_dags, dags};
pub(crate) use executors::{__path_executors, executors};
pub(crate) use expected::{__path_expected, expected};
pub(crate) use home::{__path_home, home};
pub(crate) use log::{__path_log, log};
pub(crate) use pages::routes;
pub(crate) use past::{__path_past, past};
pub(crate) use pools::{__path_pools, pools};
pub(crate) use run::{__path_run, run};
pub(crate) use stream::{__path_stream, stream};
pub(crate) use task::{__path_task, task};
