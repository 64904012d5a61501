//! One try, from the work item to its terminal report.
pub(crate) mod ask;
mod asked;
mod callback;
mod conclude;
pub(crate) mod deferral;
mod exit;
mod null;
mod passed;
pub(crate) mod past;
mod run;
mod said;
mod serve;
mod settle;
pub(crate) mod startup;
mod supervise;
mod verdict;
pub(crate) mod wire;
pub(crate) mod xcom;

pub(crate) use settle::{hand_back, take};
