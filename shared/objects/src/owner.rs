//! Whose a place is. Two that let blobs go which their logs do not name must never share one, and a log's mark does not
//! tell copies of it apart: a backup that was put back elsewhere has the mark of what it is a copy of. So whoever claims
//! a place draws an id; the object `owner` there has the mark and the id, and so has the [`Claim`], which the
//! installation keeps where no backup comes.
use std::{fmt, io, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use dagbok_runlog::{KeyedState, PortError, PortResult, StateError};
use object_store::{Error, ObjectStoreExt as _, PutMode, PutPayload};
use serde::{Deserialize, Serialize};

use crate::{Objects, fault};

/// The object that says whose a place is.
pub(crate) const OWNER: &str = "owner";
/// What a claim that can't be read is called.
const WHAT: &str = "state";

/// Who put the blobs of a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The mark of the log that they are of.
    pub log: String,
    /// Drawn when the place was claimed.
    pub id: String,
}

/// What an installation knows of the place that it claimed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The store and the path in it.
    pub place: String,
    /// Whose it is.
    #[serde(flatten)]
    pub owner: Owner,
    /// Whether `owner` lies there. Until then nothing else of this installation does.
    pub is_made: bool,
}

/// Where an installation keeps its claim: with what lives as long as it does, and in no backup.
#[async_trait]
pub trait Claims: Send + Sync + fmt::Debug {
    /// The claim, where there is one.
    async fn read(&self) -> PortResult<Option<Claim>>;
    /// Keeps a claim where there is none, and says whether it did.
    async fn create(&self, claim: &Claim) -> PortResult<bool>;
    /// Keeps this claim, whichever was there; or none.
    async fn put(&self, claim: Option<&Claim>) -> PortResult<()>;
}

fn written(claim: &Claim) -> Bytes {
    serde_json::to_vec(claim).expect("a claim has a form").into()
}

fn read(text: &[u8], place: &str) -> PortResult<Claim> {
    serde_json::from_slice(text).map_err(|_| PortError::Damaged {
        what: WHAT,
        place: place.to_owned(),
        why: "it does not say where big things lie; start the scheduler once with --take-over-blobs (DBK0039)".to_owned(),
    })
}

/// In the keyed state, under a key: of an installation on a broker.
#[derive(Clone, Debug)]
pub struct InState(pub Arc<dyn KeyedState>, pub &'static str);

#[async_trait]
impl Claims for InState {
    async fn read(&self) -> PortResult<Option<Claim>> {
        let found = self.0.get(self.1).await?;
        found.map(|found| read(&found.value, self.1)).transpose()
    }

    async fn create(&self, claim: &Claim) -> PortResult<bool> {
        match self.0.create(self.1, written(claim), None).await {
            Ok(_) => Ok(true),
            Err(StateError::Conflict { .. }) => Ok(false),
            Err(StateError::Port(error)) => Err(error),
        }
    }

    async fn put(&self, claim: Option<&Claim>) -> PortResult<()> {
        match claim {
            Some(claim) => self.0.put(self.1, written(claim), None).await.map(drop),
            None => self.0.delete(self.1).await,
        }
    }
}

/// In a file of the installation's folder, which one process writes.
#[derive(Clone, Debug)]
pub struct InFile(pub PathBuf);

impl InFile {
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(PathBuf) -> io::Result<T> + Send + 'static,
    ) -> PortResult<T> {
        let path = self.0.clone();
        let failed =
            |error: String| PortError::unavailable(WHAT, format!("{}: {error}", self.0.display()));
        let done = tokio::task::spawn_blocking(move || work(path)).await;
        done.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
    }
}

#[async_trait]
impl Claims for InFile {
    async fn read(&self) -> PortResult<Option<Claim>> {
        let found = self.on_disk(|path| match std::fs::read(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        });
        let place = self.0.display().to_string();
        found.await?.map(|text| read(&text, &place)).transpose()
    }

    async fn create(&self, claim: &Claim) -> PortResult<bool> {
        if self.read().await?.is_some() {
            return Ok(false);
        }
        self.put(Some(claim)).await?;
        Ok(true)
    }

    async fn put(&self, claim: Option<&Claim>) -> PortResult<()> {
        let text = claim.map(written);
        self.on_disk(move |path| {
            match text {
                Some(text) => {
                    let draft = path.with_extension("part");
                    std::fs::write(&draft, text)?;
                    std::fs::File::open(&draft)?.sync_all()?;
                    std::fs::rename(&draft, &path)?;
                }
                None => match std::fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                },
            }
            std::fs::File::open(path.parent().unwrap_or(&path))?.sync_all()
        })
        .await
    }
}

impl Objects {
    /// Whose the place is; `None` where it is nobody's.
    pub async fn owner(&self) -> PortResult<Option<Owner>> {
        let found = match self.store.get(&self.root.clone().join(OWNER)).await {
            Ok(found) => found.bytes().await,
            Err(error) if fault::is_missing(&error) => return Ok(None),
            Err(error) => Err(error),
        };
        let found = found.map_err(|error| self.failed("read from", &error))?;
        let other = || {
            let log = String::from_utf8_lossy(&found[..found.len().min(80)]).into_owned();
            Owner { log, id: String::new() }
        };
        Ok(Some(serde_json::from_slice(&found).unwrap_or_else(|_| other())))
    }

    /// Makes the place `owner`'s where it is nobody's or, where that is wanted, whoever's it is; and says whose it is
    /// then. Looked at before and after: not every store keeps its word that it creates what is not there.
    pub(crate) async fn own(&self, owner: &Owner, takes_over: bool) -> PortResult<Option<Owner>> {
        let path = self.root.clone().join(OWNER);
        let text = serde_json::to_vec(owner).expect("an owner has a form");
        let payload = || PutPayload::from(text.clone());
        if !takes_over && let Some(found) = self.owner().await? {
            return Ok(Some(found));
        }
        let created = if takes_over {
            None
        } else {
            Some(self.store.put_opts(&path, payload(), PutMode::Create.into()).await)
        };
        match created {
            Some(Ok(_) | Err(Error::AlreadyExists { .. } | Error::Precondition { .. })) => {}
            // A store that has no such put, or a share that has no hard links: nobody's it was a moment ago, and is
            // looked at again.
            None
            | Some(Err(
                Error::NotImplemented { .. } | Error::NotSupported { .. } | Error::Generic { .. },
            )) => {
                let put = self.store.put(&path, payload()).await;
                put.map_err(|error| self.failed("write to", &error))?;
            }
            Some(Err(error)) => return Err(self.failed("write to", &error)),
        }
        self.owner().await
    }
}
