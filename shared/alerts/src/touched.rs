//! What changed in a fold since somebody looked at it: so that looking costs what changed, not what there is.
use std::collections::BTreeSet;

/// What is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Changed<T> {
    /// Everything.
    All,
    /// These.
    These(BTreeSet<T>),
}

/// Notes what changed, once somebody asked for it: a fold that nobody asks notes nothing, and so grows by nothing.
#[derive(Clone, Debug)]
pub(crate) struct Touched<T>(Option<Changed<T>>);

impl<T> Default for Touched<T> {
    fn default() -> Self {
        Self(None)
    }
}

/// What was looked at is no part of what was folded.
impl<T> PartialEq for Touched<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T: Ord> Touched<T> {
    /// Notes that one changed.
    pub(crate) fn note(&mut self, what: impl FnOnce() -> T) {
        if let Some(Changed::These(some)) = &mut self.0 {
            some.insert(what());
        }
    }

    /// Notes that any may have changed.
    pub(crate) fn note_all(&mut self) {
        if let Some(changed) = &mut self.0 {
            *changed = Changed::All;
        }
    }

    /// What changed since this was asked before.
    pub(crate) fn drain(&mut self) -> Changed<T> {
        let nothing = Changed::These(BTreeSet::new());
        self.0.replace(nothing).unwrap_or(Changed::All)
    }

    /// Whether anything did.
    pub(crate) fn is_any(&self) -> bool {
        match &self.0 {
            None | Some(Changed::All) => true,
            Some(Changed::These(some)) => !some.is_empty(),
        }
    }
}
