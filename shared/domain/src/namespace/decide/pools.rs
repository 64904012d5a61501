//! Pools made, changed and deleted.
use dagbok_events::{Fact, PoolDeleted, PoolName, PoolSet, Scope, Timestamp};
use dagbok_protocol::{Command, PoolChange, PoolIs, RefusalCode, limits::DESCRIPTION_BYTES};

use crate::namespace::{
    Decision, Namespace, accepted, answering, pool::DEFAULT_POOL, refuse, unchanged,
};

impl Namespace {
    /// Makes a pool, or changes what is said of it.
    pub(super) fn set_pool(&self, at: Timestamp, command: &Command, ask: &PoolChange) -> Decision {
        let name = &ask.pool;
        let standing = self.pools.get(name).and_then(|pool| pool.set.as_ref());
        match (ask.only, standing) {
            (Some(PoolIs::Missing), Some(_)) => {
                let why =
                    format!("there is a pool `{name}` already; change it, or choose another name");
                return refuse(RefusalCode::PoolAlreadyExists, why);
            }
            (Some(PoolIs::There), None) => return no_pool(name),
            _ => {}
        }
        if standing.is_none() && name.as_str().contains('/') {
            let why = format!(
                "a pool's name can't have a `/`, which parts addresses: `{name}`; choose another"
            );
            return refuse(RefusalCode::Invalid, why);
        }
        let Some(slots) = ask.slots.or_else(|| standing.map(|set| set.slots)) else {
            let why = format!("there is no pool `{name}` yet: say how many slots it is to have");
            return refuse(RefusalCode::Invalid, why);
        };
        let description = match &ask.description {
            None => standing.and_then(|set| set.description.clone()),
            Some(text) if text.len() > DESCRIPTION_BYTES => {
                let bytes = text.len();
                let why = format!(
                    "the description has {bytes} bytes, at most {DESCRIPTION_BYTES} are kept"
                );
                return refuse(RefusalCode::Invalid, why);
            }
            Some(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        };
        let counts = ask.include_deferred.or_else(|| standing.map(|set| set.include_deferred));
        let include_deferred = counts.unwrap_or(false);
        let set = PoolSet { pool: name.clone(), slots, description, include_deferred };
        if standing == Some(&set) {
            return unchanged();
        }
        accepted(vec![answering(command, at, Scope::Namespace, vec![Fact::PoolSet(set)])])
    }

    /// Deletes a pool. Tries that hold its slots go on; tasks that want some wait until there is one again.
    pub(super) fn delete_pool(
        &self,
        at: Timestamp,
        command: &Command,
        pool: &PoolName,
    ) -> Decision {
        if pool.as_str() == DEFAULT_POOL {
            let why = format!("{DEFAULT_POOL} can't be deleted: tasks that name no pool use it");
            return refuse(RefusalCode::Invalid, why);
        }
        if self.pools.get(pool).is_none_or(|pool| pool.set.is_none()) {
            return no_pool(pool);
        }
        let facts = vec![Fact::PoolDeleted(PoolDeleted { pool: pool.clone() })];
        accepted(vec![answering(command, at, Scope::Namespace, facts)])
    }
}

fn no_pool(pool: &PoolName) -> Decision {
    let why = format!("there is no pool `{pool}`; `dagbok pools list` names those there are");
    refuse(RefusalCode::PoolNotFound, why)
}
