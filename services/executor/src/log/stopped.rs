//! The logs of tries in flight in an installation that is stopped, or was killed: read from the disk, where
//! no executor can be asked.
use std::{
    io,
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
    sync::Arc,
};

use dagbok_events::{ExecutorId, TryKey, decode_any, encode_any, unescape_token};
use dagbok_protocol::{TryLogQuery, TryLogSlice, names};
use dagbok_runlog::{PortResult, Signal, Signals};
use futures::StreamExt as _;

use super::{
    live::{LINE_ROOM, open, whole_lines},
    registry::{MOST, path_of},
};

/// Answers queries for logs in the executors' place, from what they wrote into their `home`, for as long as
/// it is polled. Fails where nothing can be listened for.
pub async fn answer_for_executors(home: &Path, signals: Arc<dyn Signals>) -> PortResult<()> {
    let folder = home.join(LOGS);
    let mut queries = signals.subscribe(&names::every_log_subject()).await?;
    while let Some(signal) = queries.next().await {
        answer(&folder, signal).await;
    }
    Ok(())
}

/// The folder in an executor's home that holds the logs.
pub(crate) const LOGS: &str = "logs";

async fn answer(folder: &Path, signal: Signal) {
    let executor = signal.subject.rsplit('.').next().and_then(unescape_token);
    let executor = executor.and_then(|id| ExecutorId::new(id).ok());
    let (Some(responder), Some(executor)) = (signal.responder, executor) else { return };
    let Ok(query) = decode_any::<TryLogQuery>(&signal.payload) else { return };
    let folder = folder.join(executor.as_str());
    let slice = tokio::task::spawn_blocking(move || slice(&folder, &query)).await;
    if let Ok(slice) = slice {
        // Who asked may be gone.
        drop(responder.respond(encode_any(&slice).into()).await);
    }
}

/// A stretch of what is on the disk; what is not there, or can't be read, is empty.
fn slice(folder: &Path, query: &TryLogQuery) -> TryLogSlice {
    let most = usize::try_from(query.max).unwrap_or(MOST).min(MOST);
    let (lines, complete) = read(folder, &query.key, query.offset, most).unwrap_or_else(|error| {
        if error.kind() != io::ErrorKind::NotFound {
            tracing::warn!(key = %query.key, %error, "a try's log can't be read from the disk");
        }
        (Vec::new(), true)
    });
    let next_offset = query.offset + lines.len() as u64;
    let lines = String::from_utf8_lossy(&lines).into_owned();
    TryLogSlice { next_offset, lines, complete }
}

fn read(folder: &Path, key: &TryKey, offset: u64, most: usize) -> io::Result<(Vec<u8>, bool)> {
    let mut file = open(&path_of(folder, key))?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(most.max(LINE_ROOM) as u64).read_to_end(&mut bytes)?;
    let read_all = offset + bytes.len() as u64 >= len;
    let whole = whole_lines(&bytes, most);
    // The rest of a line that a kill tore is left out.
    let complete = whole.is_empty() || (read_all && !bytes[whole.len()..].contains(&b'\n'));
    Ok((whole.to_vec(), complete))
}
