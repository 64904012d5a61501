//! The lines of tries in flight, asked for from the executor that holds them.
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use dagbok_events::{ExecutorId, LogRef, TryKey, decode_any, encode_any};
use dagbok_executor::LogLine;
use dagbok_protocol::{TryLogQuery, TryLogSlice, names};
use dagbok_runlog::Ports;
use tokio::{sync::mpsc::UnboundedSender, task::JoinHandle, time::timeout};

/// Bytes asked for at once.
const SLICE: u32 = 256 << 10;
/// How long the executor waits for a line before it answers with none.
const WAIT_MS: u32 = 5_000;
/// How long the last lines of a try that is over are waited for, before they are read from its log.
const LAST_LINES: Duration = Duration::from_millis(200);
/// How long its answer may take.
const WITHIN: Duration = Duration::from_secs(10);

/// Somebody who follows a try.
#[derive(Debug)]
pub(crate) struct Follower {
    task: JoinHandle<bool>,
    /// Up to which byte of the log lines were handed on.
    seen: Arc<AtomicU64>,
}

impl Follower {
    /// Begins to hand on the lines of a try, until it is over.
    pub(crate) fn start(
        ports: Ports,
        executor: ExecutorId,
        key: TryKey,
        lines: UnboundedSender<(TryKey, LogLine)>,
    ) -> Self {
        let seen = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(follow(ports, executor, key, lines, Arc::clone(&seen)));
        Self { task, seen }
    }

    /// Ends with the try: up to where lines were handed on, and whether those were all.
    pub(crate) async fn end(mut self) -> (u64, bool) {
        let ended = timeout(LAST_LINES, &mut self.task).await;
        self.task.abort();
        let all = matches!(ended, Ok(Ok(true)));
        (self.seen.load(Ordering::SeqCst), all)
    }

    /// Ends at once.
    pub(crate) fn stop(&self) {
        self.task.abort();
    }
}

/// Whether all lines were handed on.
async fn follow(
    ports: Ports,
    executor: ExecutorId,
    key: TryKey,
    lines: UnboundedSender<(TryKey, LogLine)>,
    seen: Arc<AtomicU64>,
) -> bool {
    let subject = names::log_subject(&executor);
    loop {
        let offset = seen.load(Ordering::SeqCst);
        let query = TryLogQuery { key: key.clone(), offset, max: SLICE, wait_ms: WAIT_MS };
        let answer = ports.signals.request(&subject, encode_any(&query).into(), WITHIN).await;
        // Gone or silent: the rest is in the blob that the try's end names.
        let Ok(answer) = answer else { return false };
        let Ok(slice) = decode_any::<TryLogSlice>(&answer) else { return false };
        hand_on(&key, slice.lines.as_bytes(), &lines);
        seen.store(slice.next_offset, Ordering::SeqCst);
        if slice.complete {
            return true;
        }
    }
}

/// Hands on what of a try's kept log was not seen while it ran.
pub(crate) async fn rest(
    ports: &Ports,
    key: &TryKey,
    log: &LogRef,
    from: u64,
    lines: &UnboundedSender<(TryKey, LogLine)>,
) {
    if let Ok(Some(bytes)) = ports.blobs.get(log.digest.as_str()).await {
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
        hand_on(key, &bytes[from..], lines);
    }
}

fn hand_on(key: &TryKey, text: &[u8], lines: &UnboundedSender<(TryKey, LogLine)>) {
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        // Nobody listening any more is the end of the watching, not a fault.
        if let Ok(line) = serde_json::from_slice(line) {
            let _ = lines.send((key.clone(), line));
        }
    }
}
