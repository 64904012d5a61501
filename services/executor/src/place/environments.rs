//! A place for each environment of a DAG folder: those that were known at the start, and those that bundles ask for later,
//! as one does that was made before the folder's environment was changed, or after this executor's start.
use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

use dagbok_events::Digest;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::{sync::OnceCell, task::spawn_blocking};

use super::Place;
use crate::settings::{Environment, FindEnvironment, lock_in};

/// Bundles that are remembered with the lock of each, at most.
const BUNDLES: usize = 256;

/// Starts a place in an environment.
pub(crate) type Begin =
    Box<dyn Fn(Environment) -> BoxFuture<'static, Result<Arc<dyn Place>, String>> + Send + Sync>;

/// A place, once it has begun.
type Cell = Arc<OnceCell<Arc<dyn Place>>>;

/// All of them.
pub(crate) struct Environments {
    find: FindEnvironment,
    begin: Begin,
    /// By the digests of their locks.
    places: Mutex<BTreeMap<String, Cell>>,
    /// The digest of the lock in each bundle, where it has one.
    locks: Mutex<BTreeMap<Digest, Option<String>>>,
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
        known: BTreeMap<String, Arc<dyn Place>>,
    ) -> Self {
        let cell = |place| Arc::new(OnceCell::new_with(Some(place)));
        let places = known.into_iter().map(|(lock, place)| (lock, cell(place))).collect();
        Self { find, begin, places: Mutex::new(places), locks: Mutex::default() }
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
        let cell = Arc::clone(self.places.lock().entry(lock).or_default());
        // Others ask for it meanwhile, and for others: one that hangs as it begins is in no other's way.
        let begun = cell.get_or_try_init(async || {
            let environment = (self.find)(folder.to_owned()).await?;
            let python = environment.python.display();
            tracing::info!(%bundle, %python, "a bundle's environment is begun");
            (self.begin)(environment).await
        });
        begun.await.cloned().map(Some)
    }

    /// The place of a bundle that was asked for before.
    pub(crate) fn known(&self, bundle: &Digest) -> Option<Arc<dyn Place>> {
        let lock = self.locks.lock().get(bundle).cloned()??;
        self.places.lock().get(&lock)?.get().cloned()
    }

    /// Those that have begun.
    pub(crate) fn all(&self) -> Vec<Arc<dyn Place>> {
        self.places.lock().values().filter_map(|cell| cell.get().cloned()).collect()
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
