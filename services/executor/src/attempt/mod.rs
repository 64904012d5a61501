//! One try, from the work item to its terminal report.
mod conclude;
mod exit;
mod launch;
mod null;
mod phase;
mod run;
mod said;
mod serve;
mod settle;
mod startup;
mod verdict;
mod wire;
mod xcom;

#[cfg(test)]
pub(crate) use phase::PhaseTeller;
pub(crate) use phase::{Phase, PhaseReader};
pub(crate) use settle::{hand_back, take};
