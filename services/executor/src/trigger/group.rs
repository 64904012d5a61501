//! The triggers that run in one process together.
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use dagbok_events::Digest;
use dagbok_protocol::WorkItem;
use dagbok_zipped::splits;

use super::{held::TriggerNo, process::Process};
use crate::ExecutorSettings;

/// Which process.
pub(super) type GroupNo = u64;

/// A process is given up for stuck when nothing was heard of it for this long.
pub(super) const SILENCE: Duration = Duration::from_secs(30);
/// One that has nothing to do ends after this.
pub(super) const IDLE: Duration = Duration::from_mins(1);

/// Whose code a process has: none but our own, or a bundle's; and whether Airflow's own triggers run in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Code {
    pub(super) bundle: Option<Digest>,
    /// The zip in it that the DAG's file lies in: its modules come before all others, and another zip has its own.
    pub(super) zip: Option<String>,
    pub(super) in_airflow: bool,
}

/// Classes that are ours, whatever the bundle: they share a process.
const OWN: [&str; 3] = ["airflow.triggers.", "airflow.providers.standard.triggers.", "dagbok."];

/// What of code a trigger needs.
pub(super) fn code_of(item: &WorkItem, settings: &ExecutorSettings) -> Code {
    let path = item.trigger.as_ref().map_or("", |trigger| trigger.class_path.as_str());
    let is_own = OWN.iter().any(|own| path.starts_with(own));
    let in_airflow = settings.airflow.as_ref().is_some_and(|airflow| airflow.takes(item));
    let zip = splits(&item.file).last().filter(|_| !is_own).map(|(zip, _)| zip.to_owned());
    Code { bundle: (!is_own).then(|| item.bundle.clone()), zip, in_airflow }
}

/// One process and what runs in it.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) code: Code,
    pub(super) process: Process,
    pub(super) members: BTreeSet<TriggerNo>,
    /// Whether the triggers in it outlived a process: no further ones come to it.
    pub(super) after_death: bool,
    /// When it was heard last.
    pub(super) heard: Instant,
    /// Since when it has nothing to do.
    pub(super) idle_since: Option<Instant>,
}

impl Group {
    pub(super) fn new(code: Code, process: Process, after_death: bool) -> Self {
        let (members, heard) = (BTreeSet::new(), Instant::now());
        Self { code, process, members, after_death, heard, idle_since: Some(heard) }
    }

    /// Whether nothing was heard of it for too long.
    pub(super) fn is_stuck(&self) -> bool {
        self.heard.elapsed() > SILENCE
    }

    /// Whether it had nothing to do for long enough.
    pub(super) fn is_idle(&self) -> bool {
        self.members.is_empty() && self.idle_since.is_some_and(|since| since.elapsed() > IDLE)
    }
}
