//! What was observed of the machine and of alerting itself: numbers that are on no log of runs.
use dagbok_events::{Micros, Timestamp};
use serde::{Deserialize, Serialize};

use super::Book;
use crate::{
    AlertScope, Condition, DiskObserved, Rule, Severity,
    limits::{DISK_AHEAD, DISK_EVERY, DISK_LEAST, DISK_LOW, DISK_NOTES, DISK_SPAN},
};

/// The newest of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    #[serde(default)]
    host: String,
    folder: String,
    total: u64,
    /// What was free of the disk, the oldest first.
    free: Vec<(Timestamp, u64)>,
    /// When it came to be as bad as it is.
    changed: Timestamp,
    /// Somebody said that the disk is well as it is.
    disk_closed: bool,
    /// Since when alerting is behind, and by how many records.
    behind: Option<(Timestamp, u64)>,
    /// Somebody said that this is well, until it has caught up.
    #[serde(default)]
    behind_closed: bool,
}

impl Machine {
    /// In what time the disk is full, by what became of it from the oldest note to the newest.
    fn full_in(&self) -> Option<Micros> {
        let ((first_at, first), (last_at, last)) = (*self.free.first()?, *self.free.last()?);
        let span = last_at.since(first_at);
        let taken = i128::from(first.checked_sub(last)?);
        if span < DISK_SPAN || taken == 0 {
            return None;
        }
        let left = i128::from(last) * i128::from(span.0) / taken;
        Some(Micros(i64::try_from(left).unwrap_or(i64::MAX)))
    }

    /// Whether it is about to be full: at once, or by what became of it.
    fn filling(&self) -> Option<(Severity, Option<Micros>)> {
        let (_, free) = *self.free.last()?;
        let full_in = self.full_in().filter(|it| *it <= DISK_AHEAD);
        if u128::from(free) * 100 < u128::from(self.total) * u128::from(DISK_LOW) {
            return Some((Severity::Critical, full_in));
        }
        full_in.map(|it| (Severity::Warning, Some(it)))
    }
}

impl Book {
    /// Whether what is free of a disk is to be noted at `now`: where it changed by a part of a hundred, or seldom.
    pub fn disk_is_news(&self, now: Timestamp, seen: &DiskObserved) -> bool {
        let Machine { host, folder, total, free, .. } = &self.machine;
        let Some((at, before)) = free.last() else { return true };
        let since = now.since(*at);
        let is_other = *host != seen.host || *folder != seen.folder || *total != seen.total;
        let has_changed = before.abs_diff(seen.free) >= seen.total / 100;
        is_other || since >= DISK_LEAST || (has_changed && since >= DISK_EVERY)
    }

    /// Whether alerting counts as behind the run log.
    pub fn is_behind(&self) -> bool {
        self.machine.behind.is_some()
    }

    pub(super) fn disk_observed(&mut self, at: Timestamp, it: &DiskObserved) {
        let was = self.machine.filling().map(|(severity, _)| severity);
        let machine = &mut self.machine;
        if machine.host != it.host || machine.folder != it.folder || machine.total != it.total {
            machine.free.clear();
        }
        machine.host.clone_from(&it.host);
        (machine.folder, machine.total) = (it.folder.clone(), it.total);
        if machine.free.len() >= DISK_NOTES {
            machine.free.remove(0);
        }
        machine.free.push((at, it.free));
        let is = machine.filling().map(|(severity, _)| severity);
        let is_worse = is.is_some() && (was.is_none() || is == Some(Severity::Critical));
        if was != is {
            // That it is well was said of what it was, and one that got better wakes nobody.
            machine.disk_closed &= is.is_some() && !is_worse;
            machine.changed = if is_worse { at } else { machine.changed };
            self.touched_keys.note(|| (Rule::DiskFilling, AlertScope::Namespace));
        }
    }

    pub(super) fn projection_observed(&mut self, at: Timestamp, behind: u64) {
        let since = self.machine.behind.map_or(at, |(since, _)| since);
        self.machine.behind = (behind > 0).then_some((since, behind));
        self.machine.behind_closed &= behind > 0;
        self.touched_keys.note(|| (Rule::ProjectionBehind, AlertScope::Namespace));
    }

    pub(super) fn machine_is_well(&mut self, rule: Rule) {
        match rule {
            Rule::DiskFilling => self.machine.disk_closed = true,
            _ => self.machine.behind_closed = true,
        }
    }

    pub(super) fn machine_clock_back(&mut self, to: Timestamp) {
        let machine = &mut self.machine;
        // How fast it fills can't be told over a clock that was set.
        let last = machine.free.pop();
        machine.free.clear();
        machine.free.extend(last.map(|(at, free)| (at.min(to), free)));
        machine.changed = machine.changed.min(to);
        machine.behind = machine.behind.map(|(at, behind)| (at.min(to), behind));
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
        let (severity, full_in) = machine.filling().filter(|_| !machine.disk_closed)?;
        let (at, free) = *machine.free.last()?;
        let (free, total) = (free >> 20, machine.total >> 20);
        let when = full_in.map_or_else(String::new, |it| {
            format!(", and full in {} minutes as it goes on", it.0 / 60_000_000)
        });
        let summary = format!(
            "the disk of {} on {} has {free} of {total} MiB free{when}",
            machine.folder, machine.host
        );
        let details = vec![("free".to_owned(), format!("{free} MiB of {total} MiB"))];
        // One that got worse wakes somebody.
        Some(Condition { due: Some(machine.changed), ..own(severity, at, summary, details) })
    }
}
