//! What is told with another, what follows from another, and what somebody silenced.
use std::collections::{BTreeMap, BTreeSet};

use dagbok_events::Timestamp;

use super::chase;
use crate::{
    Alert, AlertFact, AlertReleased, AlertSuppressed, Book, Held, Inhibition, Labels, Policy, Rule,
    SuppressedWhy, matches_all,
};

/// Alerts that are told by themselves, by what groups them, and root causes, by what they have in common with what
/// follows from them.
#[derive(Clone, Debug, Default)]
pub(super) struct Holds {
    groups: BTreeMap<String, BTreeSet<u64>>,
    group_of: BTreeMap<u64, String>,
    roots: BTreeMap<(usize, Vec<String>), BTreeSet<u64>>,
    roots_of: BTreeMap<u64, Vec<(usize, Vec<String>)>>,
    inhibitions: Vec<Inhibition>,
}

impl Holds {
    /// Takes in all that is told already.
    pub(super) fn new(book: &Book, policy: &Policy) -> Self {
        let mut inhibitions = Inhibition::known().to_vec();
        inhibitions.extend(policy.inhibitions.iter().cloned());
        let mut holds = Self { inhibitions, ..Self::default() };
        for alert in book.open() {
            holds.root(alert);
            if alert.is_firing() && alert.held.is_none() && alert.chase.is_some() {
                holds.join(policy, alert);
            }
        }
        holds
    }

    /// Notes a root cause; true where it was none before.
    pub(super) fn root(&mut self, alert: &Alert) -> bool {
        // One that a silence kept back holds what follows from it only once that is over, and is new then.
        let is_root = alert.is_open() && is_heard(alert);
        if !is_root {
            for key in self.roots_of.remove(&alert.id).unwrap_or_default() {
                if let Some(ids) = self.roots.get_mut(&key) {
                    ids.remove(&alert.id);
                }
            }
            return false;
        }
        if self.roots_of.contains_key(&alert.id) {
            return false;
        }
        let found = self.inhibitions.iter().enumerate();
        let found = found.filter(|(_, it)| matches_all(&it.source, &alert.labels));
        let keys: Vec<_> = found.map(|(n, it)| (n, values(&it.equal, &alert.labels))).collect();
        for key in &keys {
            self.roots.entry(key.clone()).or_default().insert(alert.id);
        }
        let is_new = !keys.is_empty();
        if is_new {
            self.roots_of.insert(alert.id, keys);
        }
        is_new
    }

    fn join(&mut self, policy: &Policy, alert: &Alert) {
        if self.group_of.contains_key(&alert.id) {
            return;
        }
        let Some((key, _)) = group(policy, alert) else { return };
        self.groups.entry(key.clone()).or_default().insert(alert.id);
        self.group_of.insert(alert.id, key);
    }

    fn leave(&mut self, id: u64) {
        let Some(key) = self.group_of.remove(&id) else { return };
        if let Some(ids) = self.groups.get_mut(&key) {
            ids.remove(&id);
            if ids.is_empty() {
                self.groups.remove(&key);
            }
        }
    }

    /// What holds an alert, or does so no more; nothing where that is as it was.
    pub(super) fn facts(
        &mut self,
        book: &Book,
        policy: &Policy,
        alert: &Alert,
        now: Timestamp,
    ) -> Vec<AlertFact> {
        if !alert.is_firing() || alert.rule == Rule::Test {
            self.leave(alert.id);
            return Vec::new();
        }
        let wanted = self.wanted(book, policy, alert, now);
        let is = alert.held.map(|held| (held.why, held.by, held.silence));
        match wanted {
            Some(_) => self.leave(alert.id),
            None => self.join(policy, alert),
        }
        if wanted == is {
            return Vec::new();
        }
        let id = alert.id;
        vec![match wanted {
            Some((why, by, silence)) => {
                AlertFact::AlertSuppressed(AlertSuppressed { id, why, by, silence })
            }
            None => AlertFact::AlertReleased(AlertReleased { id }),
        }]
    }

    fn wanted(
        &self,
        book: &Book,
        policy: &Policy,
        alert: &Alert,
        now: Timestamp,
    ) -> Option<(SuppressedWhy, Option<u64>, Option<u64>)> {
        if let Some(silence) = book.silenced_by(&alert.labels, now) {
            return Some((SuppressedWhy::Silenced, None, Some(silence)));
        }
        if chase::route_of(policy, alert).is_some_and(|routed| policy.is_mute(&routed, now)) {
            return Some((SuppressedWhy::Muted, None, None));
        }
        // Who holds it goes on to, while that stands.
        let holder = |held: &Held| held.by.and_then(|by| book.alert(by));
        let holds_on = |held: &Held| holder(held).is_some_and(|by| is_kept(held.why, by));
        if let Some(held) = alert.held.filter(holds_on) {
            return Some((held.why, held.by, None));
        }
        if let Some(root) = self.root_of(book, alert) {
            return Some((SuppressedWhy::Inhibited, Some(root), None));
        }
        if alert.chase.is_some() {
            return None;
        }
        let (key, after) = group(policy, alert)?;
        let told = self.groups.get(&key)?;
        let mut others = told.iter().filter(|id| **id != alert.id);
        let lead = *others.clone().next()?;
        (others.nth(after.saturating_sub(1) as usize).is_some()).then_some((
            SuppressedWhy::Grouped,
            Some(lead),
            None,
        ))
    }

    fn is_target(&self, book: &Book, id: u64) -> bool {
        let labels = book.alert(id).map(|alert| &alert.labels);
        let mut all = self.inhibitions.iter();
        labels.is_some_and(|labels| all.any(|it| matches_all(&it.target, labels)))
    }

    fn root_of(&self, book: &Book, alert: &Alert) -> Option<u64> {
        let targets = self.inhibitions.iter().enumerate();
        let mut targets = targets.filter(|(_, it)| matches_all(&it.target, &alert.labels));
        targets.find_map(|(n, it)| {
            let ids = self.roots.get(&(n, values(&it.equal, &alert.labels)))?;
            let told = |id: &&u64| {
                // What may follow from another itself holds only what came later: none hold each other.
                (**id < alert.id || (**id > alert.id && !self.is_target(book, **id)))
                    && book.alert(**id).is_some_and(|root| root.is_open() && is_heard(root))
            };
            ids.iter().find(told).copied()
        })
    }
}

/// Whether somebody hears of an alert: by itself, or by the message that it is told with.
fn is_heard(alert: &Alert) -> bool {
    alert.held.is_none_or(|held| held.why == SuppressedWhy::Grouped)
}

/// Whether an alert goes on to hold another. One that follows from a root cause by now has no message that others could
/// be told with, and that root cause may be among them: each would keep the other from being told.
fn is_kept(why: SuppressedWhy, holder: &Alert) -> bool {
    let by = holder.held.map(|held| held.why);
    let is_silent = matches!(by, Some(SuppressedWhy::Silenced | SuppressedWhy::Muted));
    holder.is_open() && !is_silent && (why != SuppressedWhy::Grouped || is_heard(holder))
}

fn values(names: &[String], labels: &Labels) -> Vec<String> {
    names.iter().map(|name| labels.get(name).cloned().unwrap_or_default()).collect()
}

/// What groups an alert, and how many of that are told by themselves.
fn group(policy: &Policy, alert: &Alert) -> Option<(String, u32)> {
    let routed = chase::route_of(policy, alert)?;
    let owner = alert.labels.get("owner").map_or("", String::as_str);
    let by = values(&routed.grouping.by, &alert.labels).join("\u{0}");
    Some((format!("{}\u{0}{owner}\u{0}{by}", routed.route), routed.grouping.after.max(1)))
}
