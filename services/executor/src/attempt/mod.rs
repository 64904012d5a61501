//! One try, from the work item to its terminal report.
mod ask;
mod conclude;
mod exit;
mod inlets;
mod null;
mod past;
mod run;
mod said;
mod serve;
mod settle;
mod startup;
mod verdict;
mod wire;
mod xcom;

pub(crate) use settle::{hand_back, take};
