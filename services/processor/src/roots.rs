//! Where the folders lay that go by what the processor gave them: that a folder is the same is seen by its place, as
//! two folders may have files of the same names. Losing it costs no more than that: then their files are looked at.
use std::collections::BTreeMap;

use bytes::Bytes;
use dagbok_runlog::{PortResult, Ports};

/// In the keyed state; where that begins empty with each start, among the snapshots, which last.
const KEY: &str = "processor/folders";
/// The same as a snapshot's name.
const SNAPSHOT: &str = "processor-folders";

/// What each folder goes by, by its path; nothing for no name.
pub(crate) type Roots = BTreeMap<String, Option<String>>;

/// What was kept.
pub(crate) async fn load(ports: &Ports, resumes: bool) -> PortResult<Roots> {
    let kept = if resumes {
        ports.snapshots.get(SNAPSHOT).await?
    } else {
        ports.state.get(KEY).await?.map(|kept| kept.value)
    };
    Ok(kept.and_then(|kept| serde_json::from_slice(&kept).ok()).unwrap_or_default())
}

/// Keeps it.
pub(crate) async fn keep(ports: &Ports, roots: &Roots, resumes: bool) -> PortResult<()> {
    let bytes = Bytes::from(serde_json::to_vec(roots).expect("paths and names are JSON"));
    if resumes {
        ports.snapshots.put(SNAPSHOT, bytes).await
    } else {
        ports.state.put(KEY, bytes, None).await.map(drop)
    }
}
