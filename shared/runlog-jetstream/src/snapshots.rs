//! Snapshots on a stream: two places for the pieces of each name, used in turn, and a head that says
//! which holds the newest. What a writer that died has left is cleared by the next, and a reader that
//! finds a place overwritten under it looks again.
use std::{fmt, sync::Arc};

use async_nats::HeaderMap;
use async_trait::async_trait;
use bytes::Bytes;
use dagbok_runlog::{PortError, PortResult, Snapshots, digest_of};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{link::Link, names::Names, pieces::Pieces, read};

/// How often a reader looks again while writers overtake it.
const READ_TRIES: usize = 4;

/// A namespace's snapshots.
pub(crate) struct JetStreamSnapshots {
    link: Arc<Link>,
    stream: String,
    root: String,
}

/// Where the newest snapshot of a name is.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    place: Place,
    pieces: usize,
    digest: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Place {
    Left,
    Right,
}

impl Place {
    const fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

impl fmt::Debug for JetStreamSnapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStreamSnapshots").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl JetStreamSnapshots {
    pub(crate) fn new(link: Arc<Link>, names: &Names) -> Self {
        let root = format!("{}snapshots.", names.root());
        Self { link, stream: names.stream("snapshots"), root }
    }

    fn pieces(&self) -> Pieces<'_> {
        Pieces { link: &self.link, what: "snapshots", stream: &self.stream }
    }

    fn base(&self, name: &str, place: Place) -> String {
        let place = match place {
            Place::Left => "left",
            Place::Right => "right",
        };
        format!("{}{name}.{place}", self.root)
    }

    async fn head(&self, name: &str) -> PortResult<Option<Head>> {
        let found = read::last_of(&self.link, &self.stream, &format!("{}{name}", self.root)).await;
        let found = found.map_err(|error| error.port("snapshots"))?;
        // A head that can't be read is as good as none: the snapshot is folded anew.
        Ok(found.and_then(|stored| serde_json::from_slice(&stored.payload).ok()))
    }

    async fn clear(&self, base: &str) -> PortResult<()> {
        let question = json!({ "filter": format!("{base}.*") });
        let purged: Result<Value, _> =
            self.link.api(&format!("STREAM.PURGE.{}", self.stream), &question).await;
        purged.map(drop).map_err(|error| error.port("snapshots"))
    }
}

/// Refuses what can't stand in a subject.
fn check_name(name: &str) -> PortResult<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.is_empty() && name.len() <= 255 && name.bytes().all(plain) {
        return Ok(());
    }
    let why = format!("the name `{name}`: it has 1 to 255 letters, digits, `_` or `-`");
    Err(PortError::Refused { what: "snapshots", why })
}

#[async_trait]
impl Snapshots for JetStreamSnapshots {
    async fn put(&self, name: &str, bytes: Bytes) -> PortResult<()> {
        check_name(name)?;
        let place = self.head(name).await?.map_or(Place::Left, |head| head.place.other());
        let base = self.base(name, place);
        self.clear(&base).await?;
        self.pieces().store(&base, &bytes).await?;
        let head = Head { place, pieces: Pieces::count(&bytes), digest: digest_of(&bytes) };
        let head = serde_json::to_vec(&head).expect("a head has nothing that JSON can't hold");
        let subject = format!("{}{name}", self.root);
        let stored = self.link.store(&subject, HeaderMap::new(), head.into()).await;
        stored.map_err(|error| error.port("snapshots"))?;
        // The old one is not needed any more; a reader that is in the middle of it looks again.
        self.clear(&self.base(name, place.other())).await
    }

    async fn get(&self, name: &str) -> PortResult<Option<Bytes>> {
        check_name(name)?;
        for _ in 0..READ_TRIES {
            let Some(head) = self.head(name).await? else { return Ok(None) };
            let found = self.pieces().load(&self.base(name, head.place), head.pieces).await?;
            if let Ok(bytes) = found
                && digest_of(&bytes) == head.digest
            {
                return Ok(Some(bytes));
            }
        }
        // Losing a snapshot costs time only, so a damaged one is no error.
        tracing::warn!(name, "the snapshot is not whole; it will be folded from the log again");
        Ok(None)
    }
}
