//! What is known of one DAG file: what its last reading depended on, and when to read it again.
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use dagbok_events::{DagId, encode_any};
use tokio::time::Instant;

use crate::{
    parser::Parse,
    snapshot::{Hash, Snapshot, hash_bytes},
};

/// The pauses before what failed is tried again though nothing changed: a package may have been
/// installed, a busy machine may be idle.
const PAUSES: (Duration, Duration) = (Duration::from_mins(1), Duration::from_mins(15));

/// The files that a reading depends on, and their content; `None` for one that is not in the folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Inputs(BTreeMap<String, Option<Hash>>);

impl Inputs {
    pub(super) fn new(file: &str, imports: &[String], snapshot: &Snapshot) -> Self {
        let names = imports.iter().map(String::as_str).chain([file]);
        Self(names.map(|name| (name.to_owned(), snapshot.hash_of(name))).collect())
    }

    /// Whether `snapshot` has the same content, and the folder still is as it says.
    pub(super) fn are_current(&self, snapshot: &Snapshot) -> bool {
        self.are_of(snapshot)
            && self.0.iter().all(|(name, hash)| hash.is_none() || snapshot.is_current(name))
    }

    fn are_of(&self, snapshot: &Snapshot) -> bool {
        self.0.iter().all(|(name, hash)| snapshot.hash_of(name) == *hash)
    }
}

/// One file.
#[derive(Debug, Default)]
pub(super) struct FileState {
    /// Whether it is being read now.
    pub(super) parsing: bool,
    last: Option<Last>,
    /// Its DAGs at its last reading that was none of an error.
    dag_ids: BTreeSet<DagId>,
}

#[derive(Debug)]
struct Last {
    inputs: Inputs,
    /// What was told, with what it depended on.
    told: Hash,
    failed: Option<Failed>,
}

#[derive(Debug)]
struct Failed {
    /// The folder's code then: another module may be what was missing.
    code: Hash,
    retry_at: Instant,
    pause: Duration,
}

impl FileState {
    /// Whether its meaning may differ from what was read last.
    pub(super) fn needs_parsing(&self, name: &str, snapshot: &Snapshot, now: Instant) -> bool {
        let present = snapshot.files.get(name).is_some_and(|facts| facts.present);
        if self.parsing || !present {
            return false;
        }
        self.last.as_ref().is_none_or(|last| {
            let again = |failed: &Failed| failed.code != snapshot.code || failed.retry_at <= now;
            !last.inputs.are_of(snapshot) || last.failed.as_ref().is_some_and(again)
        })
    }

    /// When to try again though nothing changed.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.last.as_ref()?.failed.as_ref().map(|failed| failed.retry_at)
    }

    pub(super) fn has_failed(&self) -> bool {
        self.last.as_ref().is_some_and(|last| last.failed.is_some())
    }

    /// The DAGs that it holds, as far as is known.
    pub(super) fn dag_ids(&self) -> &BTreeSet<DagId> {
        &self.dag_ids
    }

    /// Has it read and told of again.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    /// Takes a reading over; whether it says anything new.
    pub(super) fn take(&mut self, inputs: Inputs, code: Hash, read: &Parse) -> bool {
        let parsed = &read.parsed;
        let told = hash_bytes(&encode_any(&(&inputs.0, &parsed.dags, &parsed.errors)));
        let before = self.last.take();
        let news = before.as_ref().is_none_or(|last| last.told != told);
        let failed = (read.transient || !parsed.errors.is_empty()).then(|| {
            let pause = before
                .filter(|last| last.inputs == inputs)
                .and_then(|last| last.failed)
                .map_or(PAUSES.0, |failed| (failed.pause * 2).min(PAUSES.1));
            Failed { code, retry_at: Instant::now() + pause, pause }
        });
        if parsed.errors.is_empty() {
            self.dag_ids = parsed.dags.iter().map(|dag| dag.spec.dag_id.clone()).collect();
        } else {
            self.dag_ids.extend(parsed.dags.iter().map(|dag| dag.spec.dag_id.clone()));
        }
        self.last = Some(Last { inputs, told, failed });
        news
    }
}
