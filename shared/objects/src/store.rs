//! Blobs on an object store, each an object that is named by its digest.
use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use dagbok_runlog::{BlobInfo, Blobs, Digester, PortError, PortResult, digest_of};
use futures::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, FuturesUnordered},
};
use object_store::{
    Error, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload, path::Path,
};

use crate::fault;

/// A blob of more goes in parts of so many bytes. S3 takes none below 5 MiB but the last.
const PART: usize = 8 << 20;
/// Parts of one blob that are on their way at once.
const PARTS_AT_ONCE: usize = 4;
/// What is longer is no blob of ours: the longest is a bundle.
const LONGEST: u64 = 1 << 30;
/// Folders that are listed at once.
const LISTED_AT_ONCE: usize = 16;
/// Stores say when an object was put in whole seconds.
const COARSE: Duration = Duration::from_secs(1);
/// What names the log that the blobs are of.
const OWNER: &str = "owner";

/// Blobs below one path of an object store. Cheap to clone.
#[derive(Clone)]
pub struct Objects {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) root: Path,
    /// The store and the path in it, for people.
    place: Arc<str>,
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Objects {
    /// Over a store, below `root`; `place` is what people are told it is.
    pub fn new(store: Arc<dyn ObjectStore>, root: Path, place: &str) -> Self {
        Self { store, root, place: place.into() }
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
        if !is_digest(digest) {
            return Ok(None);
        }
        match self.store.head(&self.path(digest)).await {
            Ok(meta) => Ok(Some(meta)),
            Err(error) if fault::is_missing(&error) => Ok(None),
            Err(error) => Err(self.failed("look into", &error)),
        }
    }

    /// Makes the place `owner`'s, the log's that the blobs are of; refuses where it is another's: whoever lets blobs
    /// go that its log does not name would let go of theirs.
    pub async fn claim(&self, owner: &str) -> PortResult<()> {
        let path = self.root.clone().join(OWNER);
        let payload = || PutPayload::from(owner.to_owned());
        match self.store.put_opts(&path, payload(), PutMode::Create.into()).await {
            Ok(_) => return Ok(()),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {}
            Err(Error::NotImplemented { .. } | Error::NotSupported { .. }) => {
                // Between the look and the put another may come: a store that can't tell is no worse than that.
                let is_there = self.store.head(&path).await;
                if is_there.is_err_and(|error| fault::is_missing(&error)) {
                    let put = self.store.put(&path, payload()).await;
                    put.map_err(|error| self.failed("write to", &error))?;
                }
            }
            Err(error) => return Err(self.failed("write to", &error)),
        }
        let found = self.store.get(&path).await;
        let found = found.map_err(|error| self.failed("read from", &error))?.bytes().await;
        let found = found.map_err(|error| self.failed("read from", &error))?;
        if found == owner {
            return Ok(());
        }
        let why = format!(
            "to share {}: it holds those of another log ({}); give each installation a path of its own in `blobs.url`",
            self.place,
            String::from_utf8_lossy(&found[..found.len().min(80)])
        );
        Err(PortError::Refused { what: "blobs", why })
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

    /// The blobs of one folder after `after`, in order.
    async fn folder(&self, folder: u8, after: Option<&str>) -> PortResult<Vec<BlobInfo>> {
        let folder = format!("{folder:02x}");
        let path = self.root.clone().join(folder.as_str());
        let offset =
            after.filter(|after| after.starts_with(&folder)).map(|it| path.clone().join(it));
        let found = match offset {
            Some(offset) => self.store.list_with_offset(Some(&path), &offset),
            None => self.store.list(Some(&path)),
        };
        let found: Result<Vec<ObjectMeta>, Error> = found.try_collect().await;
        let found = match found {
            Ok(found) => found,
            Err(error) if fault::is_missing(&error) => return Ok(Vec::new()),
            Err(error) => return Err(self.failed("list", &error)),
        };
        let blobs = found.into_iter().filter_map(|meta| {
            let digest = meta.location.filename().filter(|it| is_digest(it))?.to_owned();
            let is_later = after.is_none_or(|after| digest.as_str() > after);
            let modified = meta.last_modified.into();
            is_later.then_some(BlobInfo { digest, bytes: meta.size, modified })
        });
        let mut blobs: Vec<BlobInfo> = blobs.collect();
        blobs.sort_unstable_by(|a, b| a.digest.cmp(&b.digest));
        Ok(blobs)
    }

    async fn read(&self, digest: &str, found: object_store::GetResult) -> PortResult<Bytes> {
        let damaged = |why: String| PortError::Damaged {
            what: "blobs",
            place: format!("{}/{}/{digest}", self.place, &digest[..2]),
            why: format!("{why}; put the object back from a backup or an older version of it"),
        };
        let size = found.meta.size;
        if size > LONGEST {
            return Err(damaged(format!("it has {size} bytes, and no blob is that long")));
        }
        let (mut pieces, mut digester) = (found.into_stream(), Digester::default());
        let mut bytes = BytesMut::with_capacity(usize::try_from(size).unwrap_or_default());
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| self.failed("read from", &error))?;
            digester.update(&piece);
            bytes.extend_from_slice(&piece);
        }
        let actual = digester.finish();
        if actual == digest {
            return Ok(bytes.freeze());
        }
        Err(damaged(format!("its {} bytes have the digest {actual}", bytes.len())))
    }
}

#[async_trait]
impl Blobs for Objects {
    /// Unconditionally: the same bytes again make the object young, and heal one that was damaged.
    async fn put(&self, bytes: Bytes) -> PortResult<String> {
        let hashed = bytes.clone();
        let digest = tokio::task::spawn_blocking(move || digest_of(&hashed)).await;
        let digest = digest.map_err(|error| PortError::unavailable("blobs", error))?;
        let path = self.path(&digest);
        let put = if bytes.len() <= PART {
            self.store.put(&path, bytes.into()).await.map(drop)
        } else {
            self.put_parts(&path, &bytes).await
        };
        put.map_err(|error| self.failed("write to", &error))?;
        Ok(digest)
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

    /// One folder of digests after another, several asked for at once; not every store lists in order.
    async fn list(&self, after: Option<&str>, most: usize) -> PortResult<Vec<BlobInfo>> {
        let most = most.max(1);
        let first = after.and_then(|after| u8::from_str_radix(after.get(..2)?, 16).ok());
        let folders = stream::iter(first.unwrap_or(0)..=u8::MAX);
        let mut folders =
            folders.map(|folder| self.folder(folder, after)).buffered(LISTED_AT_ONCE).boxed();
        let mut page = Vec::new();
        while let Some(folder) = folders.try_next().await? {
            page.extend(folder);
            if page.len() >= most {
                page.truncate(most);
                break;
            }
        }
        Ok(page)
    }

    /// Between the look and the removal a put of the same bytes may come, though only of bytes that nobody has put for
    /// as long as the caller says.
    async fn delete(&self, digest: &str, put_since: SystemTime) -> PortResult<bool> {
        let Some(meta) = self.head(digest).await? else { return Ok(false) };
        let modified: SystemTime = meta.last_modified.into();
        if modified + COARSE > put_since {
            return Ok(false);
        }
        match self.store.delete(&meta.location).await {
            Ok(()) => Ok(true),
            Err(error) if fault::is_missing(&error) => Ok(false),
            Err(error) => Err(self.failed("delete from", &error)),
        }
    }
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
