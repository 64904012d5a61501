//! What was observed of the machine, of what the broker may hold and of alerting itself: numbers that are on no log of runs.
use std::collections::BTreeMap;

use dagbok_events::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Book,
    room::{Filling, Room, Seen},
};
use crate::{
    AlertFact, AlertScope, BlobsObserved, Condition, DiskObserved, Rule, Severity, StoreObserved,
    limits::{DISK_LOW, STORE_GONE, STORES},
};

impl From<&DiskObserved> for Seen {
    fn from(it: &DiskObserved) -> Self {
        Self { total: it.total, free: it.free, low: it.low_percent }
    }
}

impl From<&StoreObserved> for Seen {
    fn from(it: &StoreObserved) -> Self {
        Self { total: it.most, free: it.most.saturating_sub(it.used), low: DISK_LOW }
    }
}

/// The newest of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    host: String,
    folder: String,
    disk: Room,
    /// What the broker may hold, by the store's name.
    stores: BTreeMap<String, Room>,
    /// Since when alerting is behind, and by how many records.
    behind: Option<(Timestamp, u64)>,
    /// Somebody said that this is well, until it has caught up.
    behind_closed: bool,
    /// The object store that does not do what it is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blobs: Option<BlobsAway>,
}

/// An object store that does not do what it is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct BlobsAway {
    since: Timestamp,
    place: String,
    why: String,
    /// Somebody said that this is well, until it answers again.
    is_closed: bool,
}

/// Whether a rule is about what is observed of all.
pub(super) const fn is_observed(rule: Rule) -> bool {
    matches!(rule, Rule::DiskFilling | Rule::ProjectionBehind | Rule::BlobsAway)
}

impl Book {
    /// Whether what is free of a disk is to be noted at `now`: where it changed by a part of a hundred, or seldom.
    pub fn disk_is_news(&self, now: Timestamp, seen: &DiskObserved) -> bool {
        let Machine { host, folder, disk, .. } = &self.machine;
        *host != seen.host || *folder != seen.folder || disk.is_news(now, seen.into())
    }

    /// The same of what is left in a store.
    pub fn store_is_news(&self, now: Timestamp, seen: &StoreObserved) -> bool {
        let stores = &self.machine.stores;
        stores.get(&seen.store).map_or(stores.len() < STORES, |it| it.is_news(now, seen.into()))
    }

    /// Whether alerting counts as behind the run log.
    pub fn is_behind(&self) -> bool {
        self.machine.behind.is_some()
    }

    /// Whether how the object store answers is to be noted: where that is otherwise than it was.
    pub fn blobs_are_news(&self, seen: &BlobsObserved) -> bool {
        match (&self.machine.blobs, &seen.refused) {
            (None, refused) => refused.is_some(),
            (Some(_), None) => true,
            (Some(known), Some(why)) => known.place != seen.place || known.why != *why,
        }
    }

    /// The stores of which something is known.
    pub(super) fn stores(&self) -> impl Iterator<Item = AlertScope> {
        self.machine.stores.keys().cloned().map(AlertScope::Store)
    }

    /// Takes in what was observed.
    pub(super) fn observed(&mut self, at: Timestamp, fact: &AlertFact) {
        match fact {
            AlertFact::DiskObserved(it) => self.disk_observed(at, it),
            AlertFact::ProjectionObserved(it) => self.projection_observed(at, it.behind),
            AlertFact::StoreObserved(it) => self.store_observed(at, it),
            AlertFact::BlobsObserved(it) => self.blobs_observed(at, it),
            _ => {}
        }
    }

    fn disk_observed(&mut self, at: Timestamp, it: &DiskObserved) {
        let machine = &mut self.machine;
        if machine.host != it.host || machine.folder != it.folder {
            machine.host.clone_from(&it.host);
            machine.folder.clone_from(&it.folder);
            machine.disk.begin_anew();
            self.touched_keys.note(|| (Rule::DiskFilling, AlertScope::Namespace));
        }
        if machine.disk.take(at, it.into()) {
            self.touched_keys.note(|| (Rule::DiskFilling, AlertScope::Namespace));
        }
    }

    fn store_observed(&mut self, at: Timestamp, it: &StoreObserved) {
        let stores = &mut self.machine.stores;
        let key = |name: &String| (Rule::DiskFilling, AlertScope::Store(name.clone()));
        let is_gone = |name: &String, room: &Room| {
            *name != it.store && room.seen().is_none_or(|seen| at.since(seen) >= STORE_GONE)
        };
        for (name, _) in stores.iter().filter(|(name, room)| is_gone(name, room)) {
            self.touched_keys.note(|| key(name));
        }
        stores.retain(|name, room| !is_gone(name, room));
        if !stores.contains_key(&it.store) && stores.len() >= STORES {
            return;
        }
        let room = stores.entry(it.store.clone()).or_default();
        if room.take(at, it.into()) {
            self.touched_keys.note(|| key(&it.store));
        }
    }

    fn projection_observed(&mut self, at: Timestamp, behind: u64) {
        let since = self.machine.behind.map_or(at, |(since, _)| since);
        self.machine.behind = (behind > 0).then_some((since, behind));
        self.machine.behind_closed &= behind > 0;
        self.touched_keys.note(|| (Rule::ProjectionBehind, AlertScope::Namespace));
    }

    fn blobs_observed(&mut self, at: Timestamp, it: &BlobsObserved) {
        let known = self.machine.blobs.take().filter(|known| known.place == it.place);
        self.machine.blobs = it.refused.clone().map(|why| BlobsAway {
            since: known.as_ref().map_or(at, |known| known.since),
            place: it.place.clone(),
            why,
            is_closed: known.is_some_and(|known| known.is_closed),
        });
        self.touched_keys.note(|| (Rule::BlobsAway, AlertScope::Namespace));
    }

    pub(super) fn machine_is_well(&mut self, rule: Rule) {
        match rule {
            Rule::DiskFilling => self.machine.disk.closed = true,
            Rule::BlobsAway => {
                if let Some(blobs) = &mut self.machine.blobs {
                    blobs.is_closed = true;
                }
            }
            _ => self.machine.behind_closed = true,
        }
    }

    pub(super) fn store_is_well(&mut self, name: &str) {
        if let Some(room) = self.machine.stores.get_mut(name) {
            room.closed = true;
        }
    }

    pub(super) fn machine_clock_back(&mut self, to: Timestamp) {
        let machine = &mut self.machine;
        machine.disk.clock_back(to);
        machine.stores.values_mut().for_each(|room| room.clock_back(to));
        machine.behind = machine.behind.map(|(at, behind)| (at.min(to), behind));
        if let Some(blobs) = &mut machine.blobs {
            blobs.since = blobs.since.min(to);
        }
    }

    /// What is wrong with it, by [`Condition`]s of `own` making.
    pub(super) fn wrong_with_machine(
        &self,
        rule: Rule,
        own: impl Fn(Severity, Timestamp, String, Vec<(String, String)>) -> Condition,
    ) -> Option<Condition> {
        let machine = &self.machine;
        if rule == Rule::ProjectionBehind {
            let (since, behind) = machine.behind.filter(|_| !machine.behind_closed)?;
            let summary = format!(
                "alerting is behind the run log by {behind} records, so what goes wrong is told late"
            );
            return Some(own(Severity::Critical, since, summary, Vec::new()));
        }
        let Filling { severity, seen, changed, left, when } = machine.disk.wrong()?;
        let summary =
            format!("the disk of {} on {} has {left} free{when}", machine.folder, machine.host);
        let details = vec![("free".to_owned(), left)];
        // One that got worse wakes somebody.
        Some(Condition { due: Some(changed), ..own(severity, seen, summary, details) })
    }

    /// What is wrong with the object store.
    pub(super) fn wrong_with_blobs(
        &self,
        own: impl Fn(Severity, Timestamp, String, Vec<(String, String)>) -> Condition,
    ) -> Option<Condition> {
        let BlobsAway { since, place, why, .. } =
            self.machine.blobs.as_ref().filter(|it| !it.is_closed)?;
        let summary = format!(
            "the object store does not do what it is asked: {why}; logs and values at {place} can't be read, and what is large stays near"
        );
        let details = vec![("error".to_owned(), why.clone()), ("place".to_owned(), place.clone())];
        Some(own(Severity::Critical, *since, summary, details))
    }

    /// What is wrong with a store of the broker.
    pub(super) fn wrong_with_store(
        &self,
        name: &str,
        own: impl Fn(Severity, Timestamp, String, Vec<(String, String)>) -> Condition,
    ) -> Option<Condition> {
        let Filling { severity, seen, changed, left, when } =
            self.machine.stores.get(name)?.wrong()?;
        let summary = format!(
            "{name} has {left} left{when}: once it is full the broker refuses every record"
        );
        let details = vec![("free".to_owned(), left)];
        let mut condition =
            Condition { due: Some(changed), ..own(severity, seen, summary, details) };
        condition.labels.insert("store".to_owned(), name.to_owned());
        Some(condition)
    }
}
