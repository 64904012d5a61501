//! What a person who asks is told of the store: whether it answers, and whether it may be written.
use std::time::Duration;

use dagbok_runlog::{Blobs as _, PortError, PortResult};
use futures::TryStreamExt as _;
use object_store::{ObjectStoreExt as _, PutPayload};
use tokio::time::Instant;

use crate::Objects;

/// What is put and read back.
const WRITTEN: &[u8] = b"doctor";

/// What a look at the store came to.
#[derive(Clone, Copy, Debug)]
pub struct Looked {
    /// How long the answer took.
    pub took: Duration,
    /// Whether an object was put, read back and deleted.
    pub wrote: bool,
}

impl Objects {
    /// Asks for the first name below the place; and where told to, puts a small object, reads it and deletes it.
    pub async fn look(&self, writes: bool) -> PortResult<Looked> {
        let begun = Instant::now();
        let first = self.store.list(Some(&self.root)).try_next().await;
        first.map_err(|error| self.failed("list", &error))?;
        // Names may be listed by who may read nothing.
        self.has(&"0".repeat(64)).await?;
        let took = begun.elapsed();
        if writes {
            let path = self.root.clone().join("doctor");
            let put = self.store.put(&path, PutPayload::from_static(WRITTEN)).await;
            put.map_err(|error| self.failed("write to", &error))?;
            let read = async { self.store.get(&path).await?.bytes().await };
            let read = read.await.map_err(|error| self.failed("read from", &error))?;
            if read != WRITTEN {
                let why = format!(
                    "{} gave back {} other bytes than were put there",
                    self.place(),
                    read.len()
                );
                return Err(PortError::unavailable("blobs", why));
            }
            let gone = self.store.delete(&path).await;
            gone.map_err(|error| self.failed("delete from", &error))?;
        }
        Ok(Looked { took, wrote: writes })
    }
}
