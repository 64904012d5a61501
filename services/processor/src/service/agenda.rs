//! Which files are to be read and when, kept by what changed of each: a folder of thousands is not looked
//! through whenever one of them was read.
use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::file_state::{FileState, Why};
use crate::snapshot::Snapshot;

/// The files by what is next for each.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    /// To be read now, as something changed.
    changed: BTreeSet<String>,
    /// To be tried again now.
    retries: BTreeSet<String>,
    /// Being read.
    reading: BTreeMap<String, Why>,
    /// When something falls due for a file that waits.
    due: BTreeSet<(Instant, String)>,
    due_of: BTreeMap<String, Instant>,
    /// Those whose last reading failed.
    failed: BTreeSet<String>,
}

impl Agenda {
    /// Takes a file's state over, as it is now.
    pub(super) fn note(
        &mut self,
        name: &str,
        state: &FileState,
        snapshot: &Snapshot,
        now: Instant,
    ) {
        self.forget(name);
        if state.has_failed() {
            self.failed.insert(name.to_owned());
        }
        if let Some(why) = state.reading() {
            self.reading.insert(name.to_owned(), why);
            return;
        }
        match state.due(name, snapshot, now) {
            Some(Why::Changed) => drop(self.changed.insert(name.to_owned())),
            Some(Why::Retry) => drop(self.retries.insert(name.to_owned())),
            None => {
                let times = [state.retry_at(), state.rests_until(snapshot.hash_of(name))];
                let next = times.into_iter().flatten().filter(|at| *at > now).min();
                if let Some(at) = next {
                    self.due.insert((at, name.to_owned()));
                    self.due_of.insert(name.to_owned(), at);
                }
            }
        }
    }

    /// Nothing is to be done for this file.
    pub(super) fn forget(&mut self, name: &str) {
        self.changed.remove(name);
        self.retries.remove(name);
        self.reading.remove(name);
        self.failed.remove(name);
        if let Some(at) = self.due_of.remove(name) {
            self.due.remove(&(at, name.to_owned()));
        }
    }

    /// Takes over what has fallen due.
    pub(super) fn advance(
        &mut self,
        files: &BTreeMap<String, FileState>,
        snapshot: &Snapshot,
        now: Instant,
    ) {
        while let Some((at, name)) = self.due.first().cloned() {
            if at > now {
                return;
            }
            match files.get(&name) {
                Some(state) => self.note(&name, state, snapshot, now),
                None => self.forget(&name),
            }
        }
    }

    /// What is to be read now, at most so much; what changed comes first, and of what is only tried again one
    /// at a time, so that files that take their whole timeout are in nobody's way.
    pub(super) fn startable(&self, room: usize) -> Vec<(String, Why)> {
        let retries = usize::from(!self.is_trying_again());
        let changed = self.changed.iter().map(|name| (name.clone(), Why::Changed));
        let again = self.retries.iter().take(retries).map(|name| (name.clone(), Why::Retry));
        changed.chain(again).take(room).collect()
    }

    /// Whether a file waits to be read because something changed.
    pub(super) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Whether a file that changed is being read, or waits for it.
    pub(super) fn is_busy(&self) -> bool {
        self.has_changed() || self.reading.values().any(|why| *why == Why::Changed)
    }

    fn is_trying_again(&self) -> bool {
        self.reading.values().any(|why| *why == Why::Retry)
    }

    /// The file that is only tried again, while one is.
    pub(super) fn tried_again(&self) -> Option<String> {
        self.reading.iter().find(|(_, why)| **why == Why::Retry).map(|(name, _)| name.clone())
    }

    /// When the next file falls due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// How many files failed when they were read last.
    pub(super) fn failures(&self) -> usize {
        self.failed.len()
    }
}
