//! Blobs on a stream: a head under the digest, and pieces beside it where the bytes are too many for
//! one message. Nothing is ever overwritten, so two writers of the same bytes can't harm each other;
//! the head is written last, so what has a head is whole. Who puts bytes that are there writes another
//! head after the first, which says when, and no piece again.
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::SystemTime,
};

use async_nats::HeaderMap;
use async_trait::async_trait;
use bytes::Bytes;
use dagbok_runlog::{BlobInfo, Blobs, PortError, PortResult, digest_of};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{error::AskError, limits::PIECE, link::Link, names::Names, pieces::Pieces, read};

/// On the head: how many pieces there are; none where the head holds the bytes.
const PIECES: &str = "Dagbok-Pieces";

/// A namespace's blobs.
pub(crate) struct JetStreamBlobs {
    link: Arc<Link>,
    stream: String,
    root: String,
}

impl fmt::Debug for JetStreamBlobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStreamBlobs").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl JetStreamBlobs {
    pub(crate) fn new(link: Arc<Link>, names: &Names) -> Self {
        let root = format!("{}blobs.", names.root());
        Self { link, stream: names.stream("blobs"), root }
    }

    fn pieces(&self) -> Pieces<'_> {
        Pieces { link: &self.link, what: "blobs", stream: &self.stream }
    }

    /// Subjects of heads that match a digest or `*`, from the `offset`th on, with how many messages each has.
    async fn subjects(&self, digest: &str, offset: usize) -> PortResult<BTreeMap<String, u64>> {
        #[derive(Deserialize)]
        struct Info {
            state: State,
        }
        #[derive(Deserialize)]
        struct State {
            #[serde(default)]
            subjects: Option<BTreeMap<String, u64>>,
        }
        let filter = format!("{}{digest}", self.root);
        let question = json!({ "subjects_filter": filter, "offset": offset });
        let info: Result<Info, AskError> =
            self.link.api(&format!("STREAM.INFO.{}", self.stream), &question).await;
        let info = info.map_err(|error| error.port("blobs"))?;
        Ok(info.state.subjects.unwrap_or_default())
    }

    /// All digests. The server tells so many at a time.
    async fn digests(&self) -> PortResult<BTreeSet<String>> {
        let mut digests = BTreeSet::new();
        let mut offset = 0;
        loop {
            let subjects = self.subjects("*", offset).await?;
            if subjects.is_empty() {
                return Ok(digests);
            }
            offset += subjects.len();
            let named = subjects.keys().filter_map(|subject| subject.strip_prefix(&self.root));
            digests.extend(named.map(ToOwned::to_owned));
        }
    }

    /// Writes another head, which says that the bytes were put now.
    async fn renew(&self, head: &str, headers: HeaderMap, payload: Bytes) -> PortResult<()> {
        let stored = self.link.store(head, headers, payload).await;
        stored.map(drop).map_err(|error| error.port("blobs"))
    }

    /// Whether so many pieces are there.
    async fn has_pieces(&self, digest: &str, count: usize) -> PortResult<bool> {
        if count == 0 {
            return Ok(true);
        }
        let there = self.subjects(&format!("{digest}.*"), 0).await?;
        let piece = |number| format!("{}{digest}.{number}", self.root);
        Ok((0..count).all(|number| there.contains_key(&piece(number))))
    }

    fn damaged(&self, digest: &str, why: String) -> PortError {
        PortError::Damaged { what: "blobs", place: format!("{}:{digest}", self.stream), why }
    }
}

/// Whether `digest` can stand in a subject; what can't has never been stored.
fn is_digest(digest: &str) -> bool {
    digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[async_trait]
impl Blobs for JetStreamBlobs {
    async fn put(&self, bytes: Bytes) -> PortResult<String> {
        let digest = digest_of(&bytes);
        let head = format!("{}{digest}", self.root);
        let (count, payload) = if bytes.len() <= PIECE {
            (0, bytes.clone())
        } else {
            (Pieces::count(&bytes), Bytes::new())
        };
        let mut headers = HeaderMap::new();
        headers.insert(PIECES, count.to_string().as_str());
        let is_there = self.has(&digest).await?;
        if is_there {
            // First, so that no deletion begins from here on that could take a piece away after it was seen.
            self.renew(&head, headers.clone(), payload.clone()).await?;
            if self.has_pieces(&digest, count).await? {
                return Ok(digest);
            }
        }
        if count > 0 {
            self.pieces().store(&head, &bytes).await?;
        }
        if is_there {
            self.renew(&head, headers, payload).await?;
        } else {
            self.pieces().store_once(head, headers, payload).await?;
        }
        Ok(digest)
    }

    async fn get(&self, digest: &str) -> PortResult<Option<Bytes>> {
        if !is_digest(digest) {
            return Ok(None);
        }
        let subject = format!("{}{digest}", self.root);
        let head = read::last_of(&self.link, &self.stream, &subject).await;
        let Some(head) = head.map_err(|error| error.port("blobs"))? else { return Ok(None) };
        let count = head.header(PIECES).and_then(|count| count.parse::<usize>().ok());
        let bytes = match count {
            Some(0) => head.payload,
            Some(count) => {
                let missing = |piece| format!("piece {piece} of {count} is missing");
                let whole = self.pieces().load(&subject, count).await?;
                whole.map_err(|piece| self.damaged(digest, missing(piece)))?
            }
            None => return Err(self.damaged(digest, "the head does not count its pieces".into())),
        };
        let actual = digest_of(&bytes);
        if actual != digest {
            return Err(self.damaged(digest, format!("the bytes have the digest {actual}")));
        }
        Ok(Some(bytes))
    }

    async fn has(&self, digest: &str) -> PortResult<bool> {
        Ok(is_digest(digest) && !self.subjects(digest, 0).await?.is_empty())
    }

    async fn list(&self, after: Option<&str>, most: usize) -> PortResult<Vec<BlobInfo>> {
        let mut page = Vec::new();
        let digests = self.digests().await?;
        for digest in digests.iter().filter(|it| after.is_none_or(|after| it.as_str() > after)) {
            let subject = format!("{}{digest}", self.root);
            let head = read::last_of(&self.link, &self.stream, &subject).await;
            // Deleted meanwhile.
            let Some(head) = head.map_err(|error| error.port("blobs"))? else { continue };
            let pieces = head.header(PIECES).and_then(|count| count.parse::<u64>().ok());
            let bytes = head.payload.len() as u64 + pieces.unwrap_or(0) * PIECE as u64;
            page.push(BlobInfo { digest: digest.clone(), bytes, modified: head.kept_at });
            if page.len() == most.max(1) {
                break;
            }
        }
        Ok(page)
    }

    /// Between the look at the head and the purge a put of the same bytes may come, though only of bytes that
    /// nobody has put for as long as the caller says.
    async fn delete(&self, digest: &str, put_since: SystemTime) -> PortResult<bool> {
        if !is_digest(digest) {
            return Ok(false);
        }
        let subject = format!("{}{digest}", self.root);
        let head = read::last_of(&self.link, &self.stream, &subject).await;
        let head = head.map_err(|error| error.port("blobs"))?;
        if head.is_none_or(|head| head.kept_at >= put_since) {
            return Ok(false);
        }
        // The head first: what has none is not there.
        for filter in [subject.clone(), format!("{subject}.*")] {
            let purge = format!("STREAM.PURGE.{}", self.stream);
            let purged: Result<Value, AskError> =
                self.link.api(&purge, &json!({ "filter": filter })).await;
            purged.map_err(|error| error.port("blobs"))?;
        }
        Ok(true)
    }
}
