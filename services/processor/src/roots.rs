//! Where the folders lie that were read on this machine, and what each went by: that a folder is the same is seen by its
//! place, as two folders may have files of the same names. Losing it costs that a folder which was given another name is
//! not known again; else its files are looked at.
use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use dagbok_runlog::{PortResult, Ports};

/// In the keyed state, before the machine; where that begins empty with each start, among the snapshots, which last.
const PREFIX: &str = "processor/folders/";
/// The same as a snapshot's name.
const SNAPSHOT: &str = "processor-folders";
/// How long it is kept of a machine on which no processor starts any more.
const KEPT: Duration = Duration::from_hours(30 * 24);

/// What each folder goes by, by its path; nothing for no name.
pub(crate) type Roots = BTreeMap<String, Option<String>>;

/// What was kept.
pub(crate) async fn load(ports: &Ports, resumes: bool, host: &str) -> PortResult<Roots> {
    let kept = if resumes {
        ports.snapshots.get(SNAPSHOT).await?
    } else {
        ports.state.get(&key(host)).await?.map(|kept| kept.value)
    };
    Ok(kept.and_then(|kept| serde_json::from_slice(&kept).ok()).unwrap_or_default())
}

/// Keeps it.
pub(crate) async fn keep(
    ports: &Ports,
    roots: &Roots,
    resumes: bool,
    host: &str,
) -> PortResult<()> {
    let bytes = Bytes::from(serde_json::to_vec(roots).expect("paths and names are JSON"));
    if resumes {
        ports.snapshots.put(SNAPSHOT, bytes).await
    } else {
        ports.state.put(&key(host), bytes, Some(KEPT)).await.map(drop)
    }
}

fn key(host: &str) -> String {
    format!("{PREFIX}{host}")
}
