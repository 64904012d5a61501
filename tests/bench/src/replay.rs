//! Folding a whole log.
use std::{
    hint::black_box,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use dagbok_domain::namespace::Namespace;
use dagbok_events::decode;
use dagbok_projection::{Read, ReadAhead};
use dagbok_runlog::{ReadLimit, Seq};
use dagbok_runlog_embedded::open_read_only;
use serde_json::{Value, json};

/// Times opening, reading, decoding and folding from the first record on, without a snapshot, as a scheduler does it;
/// and what reading and decoding alone take of that.
pub(crate) async fn measure(home: &Path) -> anyhow::Result<Value> {
    let start = Instant::now();
    let (ports, _) = open_read_only(home)?;
    let opened = start.elapsed().as_secs_f64();
    let mut namespace = Namespace::new();
    let mut ahead = ReadAhead::start(Arc::clone(&ports.log), Seq::ZERO);
    while let Some(batch) = ahead.next().await? {
        for Read { seq, record, .. } in batch {
            namespace.evolve(seq.0, &record?);
        }
    }
    let took = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let (mut decoded, mut seen) = (Duration::ZERO, Seq::ZERO);
    loop {
        let entries = ports.log.read(seen, ReadLimit::default()).await?;
        let Some(last) = entries.last() else { break };
        seen = last.seq;
        let began = Instant::now();
        for entry in &entries {
            drop(black_box(decode(&entry.payload)?));
        }
        decoded += began.elapsed();
    }
    let read = start.elapsed().saturating_sub(decoded).as_secs_f64();
    let decoded = decoded.as_secs_f64();
    Ok(json!({
        "records": namespace.last_seq(), "open_s": opened, "s": took, "read_s": read, "decode_s": decoded,
    }))
}
