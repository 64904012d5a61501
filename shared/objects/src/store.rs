//! Blobs on an object store, each an object that is named by its digest.
use std::{
    fmt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use dagbok_runlog::{BlobInfo, Blobs, Digester, PortError, PortResult, digest_of};
use futures::{StreamExt as _, TryStreamExt as _, stream::FuturesUnordered};
use object_store::{
    Error, GetResult, GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt as _, path::Path,
};

use crate::fault;

/// A blob of more goes in parts of so many bytes. S3 takes none below 5 MiB but the last.
const PART: usize = 8 << 20;
/// Parts of one blob that are on their way at once.
const PARTS_AT_ONCE: usize = 4;
/// What is longer is no blob of ours: the longest is a bundle.
pub(crate) const LONGEST: u64 = 1 << 30;
/// Stores say when an object was put in whole seconds.
const COARSE: Duration = Duration::from_secs(1);
/// A look at an object's age and its removal take no longer: what is put in between goes with it.
const REMOVAL: Duration = Duration::from_secs(2);
/// How long one request may take, where nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long a place is taken for what it was at the last look. A folder is looked at each time: a share that is not
/// mounted shows the folder below it.
const TRUSTED: Duration = Duration::from_mins(1);

/// Blobs below one path of an object store. Cheap to clone.
#[derive(Clone)]
pub struct Objects {
    pub(crate) store: Arc<dyn ObjectStore>,
    /// The same store, by a client that sends nothing twice: a removal that is sent again may come after a put.
    once: Arc<dyn ObjectStore>,
    pub(crate) root: Path,
    /// The store and the path in it, for people.
    place: Arc<str>,
    timeout: Duration,
    /// Whether lists come in the order of names.
    pub(crate) lists_in_order: bool,
    /// Where the root lies on a file system.
    pub(crate) on_disk: Option<Arc<PathBuf>>,
}

/// A put that was not done.
#[derive(Debug)]
pub(crate) struct PutFault {
    pub(crate) error: PortError,
    /// Whether the store only asked for fewer requests, which it may mean of this one object.
    pub(crate) is_busy: bool,
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Objects {
    /// Over a store, below `root`; `place` is what people are told it is.
    pub fn new(store: Arc<dyn ObjectStore>, root: Path, place: &str) -> Self {
        Self {
            once: Arc::clone(&store),
            store,
            root,
            place: place.into(),
            timeout: TIMEOUT,
            lists_in_order: false,
            on_disk: None,
        }
    }

    /// Over HTTP: `once` is a client of the same store that sends nothing twice, `timeout` how long a request may take.
    pub(crate) fn over_http(mut self, once: Arc<dyn ObjectStore>, timeout: Duration) -> Self {
        (self.once, self.timeout, self.lists_in_order) = (once, timeout, true);
        self
    }

    /// On a file system, below the folder `dir`.
    pub(crate) fn in_folder(mut self, dir: PathBuf) -> Self {
        self.on_disk = Some(Arc::new(dir));
        self
    }

    /// How long the place is taken for what it was at the last look.
    pub(crate) fn trusted_for(&self) -> Duration {
        if self.on_disk.is_some() { Duration::ZERO } else { TRUSTED }
    }

    /// The store and the path in it, for people.
    pub fn place(&self) -> &str {
        &self.place
    }

    pub(crate) fn failed(&self, action: &str, error: &Error) -> PortError {
        fault::port(&self.place, action, error)
    }

    fn path(&self, digest: &str) -> Path {
        self.root.clone().join(&digest[..2]).join(digest)
    }

    /// How long the blob is that lies there; `None` where there is none.
    pub(crate) async fn head(&self, digest: &str) -> PortResult<Option<ObjectMeta>> {
        self.head_by(&self.store, digest).await
    }

    async fn head_by(
        &self,
        store: &Arc<dyn ObjectStore>,
        digest: &str,
    ) -> PortResult<Option<ObjectMeta>> {
        if !is_digest(digest) {
            return Ok(None);
        }
        match store.head(&self.path(digest)).await {
            Ok(meta) => Ok(Some(meta)),
            Err(error) if fault::is_missing(&error) => Ok(None),
            // Of a bucket that is missing the answer is the same, and has no words either: a list has.
            Err(error) if fault::is_mute(&error) => {
                let listed = self.store.list(Some(&self.root)).try_next().await;
                listed.map(|_| None).map_err(|error| self.failed("look into", &error))
            }
            Err(error) => Err(self.failed("look into", &error)),
        }
    }

    /// Puts a blob in parts; what broke off leaves nothing that could be read.
    async fn put_parts(&self, path: &Path, bytes: &Bytes) -> Result<(), Error> {
        let mut upload = self.store.put_multipart(path).await?;
        let sent = async {
            let mut sending = FuturesUnordered::new();
            for from in (0..bytes.len()).step_by(PART) {
                if sending.len() == PARTS_AT_ONCE {
                    sending.try_next().await?;
                }
                let part = bytes.slice(from..bytes.len().min(from + PART));
                sending.push(upload.put_part(part.into()));
            }
            while sending.try_next().await?.is_some() {}
            Ok::<(), Error>(())
        };
        let sent = match sent.await {
            Ok(()) => upload.complete().await.map(drop),
            Err(error) => Err(error),
        };
        if sent.is_err() {
            // The store may be gone; its parts go by the bucket's own rule for what was never completed.
            let _ = upload.abort().await;
        }
        sent
    }

    /// Puts a blob, unconditionally: the same bytes again make the object young, and heal one that was damaged.
    pub(crate) async fn put_blob(&self, bytes: Bytes) -> Result<String, PutFault> {
        let other = |error| PutFault { error, is_busy: false };
        if bytes.len() as u64 > LONGEST {
            let why = format!("a blob of {} bytes: the longest has {LONGEST}", bytes.len());
            return Err(other(PortError::Refused { what: "blobs", why }));
        }
        let hashed = bytes.clone();
        let digest = tokio::task::spawn_blocking(move || digest_of(&hashed)).await;
        let digest = digest.map_err(|error| other(PortError::unavailable("blobs", error)))?;
        let path = self.path(&digest);
        let put = if bytes.len() <= PART {
            self.store.put(&path, bytes.into()).await.map(drop)
        } else {
            self.put_parts(&path, &bytes).await
        };
        match put {
            Ok(()) => Ok(digest),
            Err(error) => Err(PutFault {
                is_busy: fault::is_busy(&error),
                error: self.failed("write to", &error),
            }),
        }
    }

    async fn read(&self, digest: &str, found: GetResult) -> PortResult<Bytes> {
        let damaged = |why: String| PortError::Damaged {
            what: "blobs",
            place: format!("{}/{}/{digest}", self.place, &digest[..2]),
            why: format!("{why}; put the object back from a backup or an older version of it"),
        };
        let size = found.meta.size;
        if size > LONGEST {
            return Err(damaged(format!("it has {size} bytes, and no blob is that long")));
        }
        // Each piece has come in time, or the client had given up: this is for a store that sends next to nothing.
        let within = self.timeout * (1 + u32::try_from(size >> 20).unwrap_or(u32::MAX));
        let Ok(read) = tokio::time::timeout(within, read_all(found, size)).await else {
            let why = format!(
                "can't read from {}: of {size} bytes not all came in {within:?}: see the network",
                self.place
            );
            return Err(PortError::unavailable("blobs", why));
        };
        let (bytes, actual) = read.map_err(|error| self.failed("read from", &error))?;
        if actual == digest {
            return Ok(bytes);
        }
        Err(damaged(format!("its {} bytes have the digest {actual}", bytes.len())))
    }
}

/// All of an object, and the digest that it has.
async fn read_all(found: GetResult, size: u64) -> Result<(Bytes, String), Error> {
    if matches!(found.payload, GetResultPayload::File(..)) {
        let bytes = found.bytes().await?;
        let hashed = bytes.clone();
        let digest = tokio::task::spawn_blocking(move || digest_of(&hashed)).await;
        return Ok((bytes, digest.map_err(|source| Error::JoinError { source })?));
    }
    let (mut pieces, mut digester) = (found.into_stream(), Digester::default());
    let mut bytes = BytesMut::with_capacity(usize::try_from(size).unwrap_or_default());
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        digester.update(&piece);
        bytes.extend_from_slice(&piece);
    }
    Ok((bytes.freeze(), digester.finish()))
}

#[async_trait]
impl Blobs for Objects {
    async fn put(&self, bytes: Bytes) -> PortResult<String> {
        self.put_blob(bytes).await.map_err(|fault| fault.error)
    }

    async fn get(&self, digest: &str) -> PortResult<Option<Bytes>> {
        if !is_digest(digest) {
            return Ok(None);
        }
        match self.store.get(&self.path(digest)).await {
            Ok(found) => self.read(digest, found).await.map(Some),
            Err(error) if fault::is_missing(&error) => Ok(None),
            Err(error) => Err(self.failed("read from", &error)),
        }
    }

    async fn has(&self, digest: &str) -> PortResult<bool> {
        Ok(self.head(digest).await?.is_some())
    }

    async fn list(&self, after: Option<&str>, most: usize) -> PortResult<Vec<BlobInfo>> {
        self.page(after, most.max(1)).await
    }

    /// Between the look and the removal a put of the same bytes may come, though only of bytes that nobody has put for
    /// as long as the caller says. So both are over soon, and the removal is sent once.
    async fn delete(&self, digest: &str, put_since: SystemTime) -> PortResult<bool> {
        let removal = async {
            let Some(meta) = self.head_by(&self.once, digest).await? else { return Ok(false) };
            let modified: SystemTime = meta.last_modified.into();
            if modified + COARSE > put_since {
                return Ok(false);
            }
            match self.once.delete(&meta.location).await {
                Ok(()) => Ok(true),
                Err(error) if fault::is_missing(&error) => Ok(false),
                Err(error) => Err(self.failed("delete from", &error)),
            }
        };
        tokio::time::timeout(REMOVAL, removal).await.unwrap_or_else(|_| {
            let why = format!(
                "can't delete from {}: it took longer than {REMOVAL:?}, in which the same bytes may be put again",
                self.place
            );
            Err(PortError::unavailable("blobs", why))
        })
    }
}

pub(crate) fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
