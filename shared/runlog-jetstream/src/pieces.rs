//! Bytes that are too many for one message, as numbered pieces: `<base>.0`, `<base>.1` and so on.
use async_nats::{HeaderMap, header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE};
use bytes::{Bytes, BytesMut};
use dagbok_runlog::{PortResult, Seq};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    error::WRONG_LAST_SEQUENCE,
    limits::{PIECE, PIECES_IN_FLIGHT},
    link::Link,
    read,
};

/// One stream of pieces.
#[derive(Clone, Copy)]
pub(crate) struct Pieces<'a> {
    pub(crate) link: &'a Link,
    /// Which primitive, for errors.
    pub(crate) what: &'static str,
    pub(crate) stream: &'a str,
}

impl Pieces<'_> {
    /// How many pieces `bytes` have.
    pub(crate) fn count(bytes: &Bytes) -> usize {
        bytes.len().div_ceil(PIECE)
    }

    /// Stores every piece that is not there yet.
    pub(crate) async fn store(self, base: &str, bytes: &Bytes) -> PortResult<()> {
        stream::iter(0..Self::count(bytes))
            .map(|number| {
                let end = bytes.len().min((number + 1) * PIECE);
                let piece = bytes.slice(number * PIECE..end);
                self.store_once(format!("{base}.{number}"), HeaderMap::new(), piece)
            })
            .buffer_unordered(PIECES_IN_FLIGHT)
            .try_collect()
            .await
    }

    /// Stores one message unless its subject has one already.
    pub(crate) async fn store_once(
        self,
        subject: String,
        mut headers: HeaderMap,
        bytes: Bytes,
    ) -> PortResult<()> {
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
        match self.link.store(&subject, headers, bytes).await {
            Ok(_) => Ok(()),
            Err(error) if error.is(WRONG_LAST_SEQUENCE) => Ok(()),
            Err(error) => Err(error.port(self.what)),
        }
    }

    /// The pieces in order, put together; the number of one that is missing where one is. They may
    /// lie in any order: uploads overlap, and are taken up again.
    pub(crate) async fn load(self, base: &str, count: usize) -> PortResult<Result<Bytes, usize>> {
        let filter = format!("{base}.*");
        let mut pieces: Vec<Option<Bytes>> = vec![None; count];
        let (mut from, mut missing) = (Seq(1), count);
        while missing > 0 {
            let found = read::matching(self.link, self.stream, from, &filter, missing).await;
            let found = found.map_err(|error| error.port(self.what))?;
            let Some(last) = found.last() else { break };
            from = last.seq.plus(1);
            for stored in found {
                let number =
                    stored.subject.rsplit('.').next().and_then(|n| n.parse::<usize>().ok());
                if let Some(slot) = number.and_then(|number| pieces.get_mut(number))
                    && slot.is_none()
                {
                    *slot = Some(stored.payload);
                    missing -= 1;
                }
            }
        }
        let mut whole = BytesMut::with_capacity(pieces.iter().flatten().map(Bytes::len).sum());
        for (number, piece) in pieces.into_iter().enumerate() {
            let Some(piece) = piece else { return Ok(Err(number)) };
            whole.extend_from_slice(&piece);
        }
        Ok(Ok(whole.freeze()))
    }
}
