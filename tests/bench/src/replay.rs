//! Folding a whole log.
use std::{path::Path, time::Instant};

use dagbok_domain::namespace::Namespace;
use dagbok_events::decode;
use dagbok_runlog::{ReadLimit, Seq};
use dagbok_runlog_embedded::open_read_only;
use serde_json::{Value, json};

/// Times opening, reading, decoding and folding from the first record on, without a snapshot.
pub(crate) async fn measure(home: &Path) -> anyhow::Result<Value> {
    let start = Instant::now();
    let (ports, _) = open_read_only(home)?;
    let opened = start.elapsed().as_secs_f64();
    let mut namespace = Namespace::new();
    loop {
        let entries = ports.log.read(Seq(namespace.last_seq()), ReadLimit::default()).await?;
        if entries.is_empty() {
            break;
        }
        for entry in entries {
            namespace.evolve(entry.seq.0, &decode(&entry.payload)?);
        }
    }
    let took = start.elapsed().as_secs_f64();
    Ok(json!({ "records": namespace.last_seq(), "open_s": opened, "s": took }))
}
