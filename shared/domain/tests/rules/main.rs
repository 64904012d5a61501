//! The rules, seen from outside: what was given, what is asked, what follows.
mod support;

mod arbitrary;
mod cancel;
mod clear;
mod clock;
mod executors;
mod files;
mod forget;
mod legs;
mod limits;
mod mapped;
mod obstacles;
mod pause;
mod proposals;
mod reports;
mod retries;
mod schedule;
mod shapes;
mod snapshot;
mod totality;
mod trigger;
mod trigger_rules;
mod versions;
