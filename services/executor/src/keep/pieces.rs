//! An archive in pieces: cut while it is packed and joined while it is unpacked, so that no more than a few of them
//! are in memory, however large the directory.
use std::{
    io::{self, Read, Write},
    path::Path,
};

use bytes::{Buf as _, Bytes, BytesMut};
use dagbok_events::{CheckpointFiles, Digest};
use dagbok_protocol::limits::CHECKPOINT_PIECE_BYTES;
use tokio::{sync::mpsc, task::spawn_blocking};

use super::archive;
use crate::store::Store;

/// Puts a directory beside the log. Who is dropped midway leaves pieces that nothing names.
pub(super) async fn pack(store: &Store, folder: &Path) -> Result<CheckpointFiles, String> {
    let (to, mut pieces) = mpsc::channel(1);
    let folder = folder.to_owned();
    let packing = spawn_blocking(move || archive::pack(&folder, Cutter::new(to)));
    let mut digests = Vec::new();
    while let Some(piece) = pieces.recv().await {
        let digest = store.put(piece).await?;
        digests.push(Digest::new(digest).expect("a blob store answers with a digest"));
    }
    let (files, bytes) = packing.await.expect("packing does not panic")?;
    Ok(CheckpointFiles { pieces: digests, files, bytes })
}

/// Makes the directory, which belongs to `owner`, as it was packed; a whole one or none. Its `turn` is over once nothing
/// is written any more, also where whoever waits for it is dropped midway.
pub(super) async fn unpack<Turn: Send + 'static>(
    store: &Store,
    files: &CheckpointFiles,
    (folder, owner): (&Path, (u32, u32)),
    turn: Turn,
) -> Result<Turn, String> {
    let (to, pieces) = mpsc::channel(1);
    let (folder, wanted) = (folder.to_owned(), (files.files, files.bytes));
    let is_empty = files.pieces.is_empty();
    let unpacking = spawn_blocking(move || {
        let joined = (!is_empty).then(|| Joiner { pieces, piece: Bytes::new() });
        archive::unpack(joined, &folder, wanted, owner).map(|()| turn)
    });
    let mut lost = None;
    for digest in &files.pieces {
        match store.get(digest.as_str()).await {
            Ok(piece) => {
                if to.send(piece).await.is_err() {
                    break;
                }
            }
            Err(why) => {
                lost = Some(why);
                break;
            }
        }
    }
    drop(to);
    let unpacked = unpacking.await.expect("unpacking does not panic");
    lost.map_or(unpacked, Err)
}

/// Cuts what is written to it.
#[derive(Debug)]
pub(super) struct Cutter {
    to: mpsc::Sender<Bytes>,
    piece: BytesMut,
}

impl Cutter {
    pub(super) fn new(to: mpsc::Sender<Bytes>) -> Self {
        Self { to, piece: BytesMut::new() }
    }

    /// Hands over what is left.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.hand_over()
    }

    fn hand_over(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = self.piece.split().freeze();
        self.to.blocking_send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Cutter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let some = bytes.len().min(CHECKPOINT_PIECE_BYTES - self.piece.len());
        self.piece.extend_from_slice(&bytes[..some]);
        if self.piece.len() == CHECKPOINT_PIECE_BYTES {
            self.hand_over()?;
        }
        Ok(some)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads pieces as one.
#[derive(Debug)]
struct Joiner {
    pieces: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Read for Joiner {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let some = into.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut into[..some]);
        Ok(some)
    }
}
