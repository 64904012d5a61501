//! The folder's bundle: packed and stored when the folder changed, told of when its files were.
use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use dagbok_events::Digest;
use dagbok_runlog::{PortError, Ports};
use dagbok_runtime::Shutdown;

use crate::{
    bundle::{BundleError, pack},
    service::blocking,
    snapshot::{Hash, Snapshot},
};

/// The pause before a store that failed is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// The bundle of the folder as it was walked last.
#[derive(Debug, Default)]
pub(super) struct Bundle {
    /// Of which content it is.
    of: Option<Hash>,
    digest: Option<Digest>,
    /// Why the folder can't be published.
    trouble: Option<String>,
    published: Option<Digest>,
}

impl Bundle {
    /// Whether it is of the snapshot's content, or known to be impossible.
    pub(super) fn is_of(&self, snapshot: &Snapshot) -> bool {
        self.of == Some(snapshot.hash)
    }

    /// Where it lies.
    pub(super) fn digest(&self) -> Option<Digest> {
        self.digest.clone()
    }

    /// Why there is none of the folder as it is.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// What the scheduler was not told of.
    pub(super) fn unpublished(&self) -> Option<Digest> {
        let digest = self.digest.clone().filter(|_| self.trouble.is_none());
        digest.filter(|digest| self.published.as_ref() != Some(digest))
    }

    pub(super) fn published(&mut self, digest: Digest) {
        self.published = Some(digest);
    }

    /// Packs and stores the snapshot where it is new; false where the folder is changing meanwhile.
    pub(super) async fn renew(
        &mut self,
        ports: &Ports,
        snapshot: &Arc<Snapshot>,
        shutdown: &Shutdown,
    ) -> bool {
        if self.is_of(snapshot) {
            return true;
        }
        let taken = Arc::clone(snapshot);
        let packed = match blocking(move || pack(&taken)).await {
            Ok(packed) => {
                self.trouble = None;
                packed
            }
            Err(BundleError::Changed(file)) => {
                tracing::debug!(file, "the DAG folder is being changed");
                return false;
            }
            Err(error) => {
                tracing::error!(%error, "the DAG folder can't be published");
                self.trouble = Some(error.to_string());
                // The word that goes out about each file must name a bundle; DAGs keep their own.
                let empty = pack(&Snapshot::default());
                empty.expect("an archive of nothing is within every limit")
            }
        };
        let stored = tokio::select! {
            digest = store(ports, packed.into()) => digest,
            () = shutdown.started() => return false,
        };
        match stored {
            Ok(digest) => self.digest = Some(digest),
            Err(why) => self.trouble = Some(why),
        }
        self.of = Some(snapshot.hash);
        self.digest.is_some()
    }
}

/// Stores the bundle, as often as that takes; an error where it can never be.
async fn store(ports: &Ports, packed: Bytes) -> Result<Digest, String> {
    loop {
        match ports.blobs.put(packed.clone()).await {
            Ok(digest) => return Digest::new(digest).map_err(|error| error.to_string()),
            Err(PortError::Refused { why, .. }) => {
                return Err(format!("the bundle is refused: {why}"));
            }
            Err(error) => {
                tracing::warn!(%error, "the bundle can't be stored; trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
