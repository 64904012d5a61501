//! Blobs on a stream: a head under the digest, and pieces beside it where the bytes are too many for
//! one message. Nothing is ever overwritten, so two writers of the same bytes can't harm each other;
//! the head is written last, so what has a head is whole.
use std::{fmt, sync::Arc};

use async_nats::HeaderMap;
use async_trait::async_trait;
use bytes::Bytes;
use dagbok_runlog::{Blobs, PortError, PortResult, digest_of};
use serde::Deserialize;
use serde_json::json;

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
        if self.has(&digest).await? {
            return Ok(digest);
        }
        let head = format!("{}{digest}", self.root);
        let mut headers = HeaderMap::new();
        if bytes.len() <= PIECE {
            headers.insert(PIECES, "0");
            self.pieces().store_once(head, headers, bytes).await?;
            return Ok(digest);
        }
        self.pieces().store(&head, &bytes).await?;
        headers.insert(PIECES, Pieces::count(&bytes).to_string().as_str());
        self.pieces().store_once(head, headers, Bytes::new()).await?;
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
        #[derive(Deserialize)]
        struct Info {
            state: State,
        }
        #[derive(Deserialize)]
        struct State {
            #[serde(default)]
            subjects: Option<std::collections::BTreeMap<String, u64>>,
        }
        if !is_digest(digest) {
            return Ok(false);
        }
        let question = json!({ "subjects_filter": format!("{}{digest}", self.root) });
        let info: Result<Info, AskError> =
            self.link.api(&format!("STREAM.INFO.{}", self.stream), &question).await;
        let info = info.map_err(|error| error.port("blobs"))?;
        Ok(info.state.subjects.is_some_and(|subjects| !subjects.is_empty()))
    }
}
