//! A place for each environment of a DAG folder: those that were known at the start, and those that bundles ask for later,
//! as one does that was made before the folder's environment was changed, or after this executor's start.
use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

use dagbok_events::Digest;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::task::spawn_blocking;

use super::Place;
use crate::settings::{Environment, FindEnvironment, lock_in};

/// Bundles that are remembered with the lock of each, at most.
const BUNDLES: usize = 256;

/// Starts a place in an environment.
pub(crate) type Begin =
    Box<dyn Fn(Environment) -> BoxFuture<'static, Result<Arc<dyn Place>, String>> + Send + Sync>;

/// All of them.
pub(crate) struct Environments {
    find: FindEnvironment,
    begin: Begin,
    /// By the digests of their locks.
    places: Mutex<BTreeMap<String, Arc<dyn Place>>>,
    /// The digest of the lock in each bundle, where it has one.
    locks: Mutex<BTreeMap<Digest, Option<String>>>,
    /// One is found and begun at a time.
    turn: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Environments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environments").field("places", &self.places).finish_non_exhaustive()
    }
}

impl Environments {
    /// With the places that have begun.
    pub(crate) fn new(
        find: FindEnvironment,
        begin: Begin,
        places: BTreeMap<String, Arc<dyn Place>>,
    ) -> Self {
        let (places, locks) = (Mutex::new(places), Mutex::default());
        Self { find, begin, places, locks, turn: tokio::sync::Mutex::default() }
    }

    /// The place of a bundle that lies in `folder`; `None` where it asks for none of its own.
    pub(crate) async fn of(
        &self,
        bundle: &Digest,
        folder: &Path,
    ) -> Result<Option<Arc<dyn Place>>, String> {
        let known = self.locks.lock().get(bundle).cloned();
        let lock = if let Some(lock) = known { lock } else { self.look(bundle, folder).await? };
        let Some(lock) = lock else { return Ok(None) };
        if let Some(place) = self.begun(&lock) {
            return Ok(Some(place));
        }
        let _turn = self.turn.lock().await;
        if let Some(place) = self.begun(&lock) {
            return Ok(Some(place));
        }
        let environment = (self.find)(folder.to_owned()).await?;
        tracing::info!(%bundle, python = %environment.python.display(), "a bundle's environment is begun");
        let place = (self.begin)(environment).await?;
        self.places.lock().insert(lock, Arc::clone(&place));
        Ok(Some(place))
    }

    /// The place of a bundle that was asked for before.
    pub(crate) fn known(&self, bundle: &Digest) -> Option<Arc<dyn Place>> {
        let lock = self.locks.lock().get(bundle).cloned()??;
        self.begun(&lock)
    }

    /// Those that have begun.
    pub(crate) fn all(&self) -> Vec<Arc<dyn Place>> {
        self.places.lock().values().cloned().collect()
    }

    fn begun(&self, lock: &str) -> Option<Arc<dyn Place>> {
        self.places.lock().get(lock).cloned()
    }

    async fn look(&self, bundle: &Digest, folder: &Path) -> Result<Option<String>, String> {
        let path = folder.to_owned();
        let looked = spawn_blocking(move || lock_in(&path)).await;
        let lock = looked.expect("reading a file does not panic");
        let lock =
            lock.map_err(|error| format!("the lock of its DAG folder can't be read: {error}"))?;
        let mut locks = self.locks.lock();
        if locks.len() >= BUNDLES {
            locks.pop_first();
        }
        locks.insert(bundle.clone(), lock.clone());
        Ok(lock)
    }
}
