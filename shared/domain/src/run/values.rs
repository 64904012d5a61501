//! What a run's copies handed on: which names, and the record that has each value. Kept flat, since a run may
//! have a hundred thousand of them.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::InstanceNo;
use crate::graph::Ix;

/// The key of what a task returned.
const RETURN_VALUE: &str = "return_value";

/// A name's place among those that the run has seen.
type NameNo = u32;

/// By instance and name, the record that holds the value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Values {
    names: Vec<String>,
    kept: BTreeMap<(InstanceNo, NameNo), u64>,
    /// By task, how many of its copies have returned something.
    returned: BTreeMap<Ix, u32>,
}

impl Values {
    /// A copy of `node` handed on a value under a name, in this record; `None` where it took one back.
    pub(super) fn push(&mut self, (node, no): (Ix, InstanceNo), name: &str, seq: Option<u64>) {
        let known = self.names.iter().position(|known| known == name);
        let place = match (known, seq) {
            (Some(place), _) => place,
            (None, None) => return,
            (None, Some(_)) => {
                self.names.push(name.to_owned());
                self.names.len() - 1
            }
        };
        let key = (no, NameNo::try_from(place).expect("names come from records in memory"));
        let before = match seq {
            Some(seq) => self.kept.insert(key, seq),
            None => self.kept.remove(&key),
        };
        if name == RETURN_VALUE {
            self.count(node, seq.is_some(), before.is_some());
        }
    }

    /// A copy of `node` has handed on nothing any more.
    pub(super) fn forget(&mut self, node: Ix, no: InstanceNo) {
        let keys: Vec<_> = self.keys_of(no).collect();
        for key in keys {
            self.kept.remove(&key);
            if self.names[key.1 as usize] == RETURN_VALUE {
                self.count(node, false, true);
            }
        }
    }

    fn count(&mut self, node: Ix, is: bool, was: bool) {
        if is == was {
            return;
        }
        let count = self.returned.entry(node).or_default();
        *count = if is { *count + 1 } else { count.saturating_sub(1) };
        if *count == 0 {
            self.returned.remove(&node);
        }
    }

    fn keys_of(&self, no: InstanceNo) -> impl Iterator<Item = (InstanceNo, NameNo)> {
        self.kept.range((no, 0)..=(no, NameNo::MAX)).map(|(key, _)| *key)
    }

    /// The names of what one copy handed on.
    pub(super) fn names_of(&self, no: InstanceNo) -> impl Iterator<Item = &str> {
        self.keys_of(no).map(|(_, name)| self.names[name as usize].as_str())
    }

    /// The same, each with the record that has it.
    pub(super) fn of(&self, no: InstanceNo) -> impl Iterator<Item = (&str, u64)> {
        let kept = self.kept.range((no, 0)..=(no, NameNo::MAX));
        kept.map(|((_, name), seq)| (self.names[*name as usize].as_str(), *seq))
    }

    /// Whose, under which name, and in which record.
    pub(super) fn iter(&self) -> impl Iterator<Item = (InstanceNo, &str, u64)> {
        self.kept.iter().map(|((no, name), seq)| (*no, self.names[*name as usize].as_str(), *seq))
    }

    /// How many copies of a task have returned something.
    pub(super) fn returned(&self, node: Ix) -> u32 {
        self.returned.get(&node).copied().unwrap_or(0)
    }

    /// Of these copies, those that have returned something, in order.
    pub(super) fn returned_by(
        &self,
        copies: std::ops::Range<InstanceNo>,
    ) -> impl Iterator<Item = InstanceNo> {
        let name = self.names.iter().position(|name| name == RETURN_VALUE);
        let kept = self.kept.range((copies.start, 0)..(copies.end, 0));
        kept.filter(move |((_, at), _)| Some(*at as usize) == name).map(|((no, _), _)| *no)
    }

    /// A copy has another number from now on.
    pub(super) fn renumber(&mut self, old: InstanceNo, new: InstanceNo) {
        let keys: Vec<_> = self.keys_of(old).collect();
        for key in keys {
            if let Some(seq) = self.kept.remove(&key) {
                self.kept.insert((new, key.1), seq);
            }
        }
    }
}
