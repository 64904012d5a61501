//! Pools: how many slots there are, and how many tries hold.
use dagbok_events::{PoolName, PoolSet};
use dagbok_protocol::limits;

/// The pool that tasks use unless they name another.
pub const DEFAULT_POOL: &str = "default_pool";

/// A pool of slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pool {
    /// What it was set to; `None` where there is no such pool, though tries may still hold slots of it.
    pub(super) set: Option<PoolSet>,
    pub(super) used: u64,
    /// Slots of tries that wait for a trigger: they count where the pool says so.
    pub(super) deferred: u64,
}

impl Pool {
    /// The pool that is there from the beginning, with its name.
    pub(super) fn default_pool() -> (PoolName, Self) {
        let pool = PoolName::new(DEFAULT_POOL).expect("a constant within the rules");
        let slots = limits::DEFAULT_POOL_SLOTS;
        let set = PoolSet { pool: pool.clone(), slots, description: None, include_deferred: false };
        (pool, Self { set: Some(set), used: 0, deferred: 0 })
    }

    /// Slots that nobody holds; `None` where there is no such pool.
    pub(super) fn free(&self) -> Option<u64> {
        let set = self.set.as_ref()?;
        let (slots, parked) = (set.slots, if set.include_deferred { self.deferred } else { 0 });
        let most = if slots == PoolSet::UNLIMITED { u64::MAX } else { u64::from(slots) };
        Some(most.saturating_sub(self.used).saturating_sub(parked))
    }

    /// How many slots there are; 0 where there is no such pool.
    pub(super) fn slots(&self) -> u32 {
        self.set.as_ref().map_or(0, |set| set.slots)
    }
}
