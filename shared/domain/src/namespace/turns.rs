//! Whose turn it is: DAGs that have work of the same weight for a pool are served by turns, each in proportion to
//! the slots that it took.
//!
//! Each DAG has a number for each pool, its turn: the lower, the sooner. A try moves it on by its slots. A DAG that
//! has nothing which could go keeps no claim to what it did not take: once it has something again, it stands no
//! further ahead than where the last one stood that was served (start-time fair queueing, which needs no rounds as
//! deficit round robin does, and comes to the same: while a DAG waits, each other one is served its share at most
//! once more). Pools take turns in the same way, where all of them together have to share.
use std::collections::BTreeMap;

use dagbok_events::{DagId, PoolName};
use serde::{Deserialize, Serialize};

/// The turns of all pools.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Turns {
    /// Where the pool stood that was served last.
    clock: u64,
    pools: BTreeMap<PoolName, PoolTurns>,
    /// While a fold is made of a snapshot nobody's claim changes.
    #[serde(skip)]
    pub(super) frozen: bool,
}

/// The turns of one pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct PoolTurns {
    /// Where the DAG stood that was served last.
    clock: u64,
    /// The pool's own turn among all.
    turn: u64,
    dags: BTreeMap<DagId, u64>,
}

/// What so many slots move a turn on by.
pub(super) fn cost(slots: u32) -> u64 {
    u64::from(slots.max(1))
}

impl Turns {
    /// A DAG's turn in a pool; `anew`: it had nothing there until now that could go.
    pub(super) fn of(&mut self, pool: &PoolName, dag_id: &DagId, anew: bool) -> u64 {
        let Some(turns) = self.pools.get_mut(pool) else { return 0 };
        let turn = turns.dags.get(dag_id).copied().unwrap_or(0);
        if !anew || self.frozen || turn >= turns.clock {
            return turn;
        }
        turns.dags.insert(dag_id.clone(), turns.clock);
        turns.clock
    }

    /// A DAG's turn as it stands.
    pub(super) fn peek(&self, pool: &PoolName, dag_id: &DagId) -> u64 {
        self.pools.get(pool).and_then(|turns| turns.dags.get(dag_id)).copied().unwrap_or(0)
    }

    /// A pool's turn among all.
    pub(super) fn of_pool(&self, pool: &PoolName) -> u64 {
        self.pools.get(pool).map_or(0, |turns| turns.turn).max(self.clock.saturating_sub(AHEAD))
    }

    /// A DAG took so many slots of a pool.
    pub(super) fn serve(&mut self, pool: &PoolName, dag_id: &DagId, slots: u32) {
        let least = self.clock.saturating_sub(AHEAD);
        let turns = self.pools.entry(pool.clone()).or_default();
        let start = turns.turn.max(least);
        self.clock = self.clock.max(start);
        turns.turn = start.saturating_add(cost(slots));
        let turn = turns.dags.entry(dag_id.clone()).or_default();
        turns.clock = turns.clock.max(*turn);
        *turn = turn.saturating_add(cost(slots));
    }

    /// What has to be kept; `waits`: whether a DAG has something in a pool that could go. One that has nothing
    /// and stands before the clock is as one that was never served.
    pub(super) fn saved(&self, waits: impl Fn(&PoolName, &DagId) -> bool) -> Self {
        let mut saved = self.clone();
        for (pool, turns) in &mut saved.pools {
            let clock = turns.clock;
            turns.dags.retain(|dag_id, turn| *turn > clock || waits(pool, dag_id));
        }
        saved
    }

    /// Forgets a DAG.
    pub(super) fn forget(&mut self, dag_id: &DagId) {
        for turns in self.pools.values_mut() {
            turns.dags.remove(dag_id);
        }
    }
}

/// How far a pool's turn may stand before that of the one served last: a pool that was full for long keeps no
/// larger claim.
const AHEAD: u64 = 64;
