//! Who holds the name of a folder: a processor all of whose folders were given names keeps it in the keyed state that it
//! has each of them, for whoever else reads DAG files of the namespace.
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use dagbok_runlog::{KeyedState, PortResult};
use dagbok_runtime::Shutdown;
use serde::{Deserialize, Serialize};

/// How often it is renewed, and how long it holds without: a processor that is put elsewhere, or mended, is away for
/// less.
const KEPT: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(24));
/// The pause before the state is told again that did not take it.
const PAUSE: Duration = Duration::from_secs(3);
/// Before the name of a folder.
const PREFIX: &str = "processor/folder/";

/// Where the folder is that has a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// The machine.
    pub(crate) host: String,
    /// The folder's path there.
    pub(crate) place: String,
}

/// By the names of folders.
pub(crate) type Holders = BTreeMap<String, Holder>;

/// All that there are. Who is not known by more than the name is somebody else.
pub(crate) async fn load(state: &dyn KeyedState) -> PortResult<Holders> {
    let all = state.list(PREFIX).await?.into_iter().filter_map(|(key, kept)| {
        let holder = serde_json::from_slice(&kept.value).unwrap_or_default();
        Some((key.strip_prefix(PREFIX)?.to_owned(), holder))
    });
    Ok(all.collect())
}

/// Keeps these until `shutdown` starts.
pub(crate) fn keep(state: Arc<dyn KeyedState>, holders: Holders, shutdown: &Shutdown) {
    let ended = shutdown.clone();
    shutdown.spawn(async move {
        loop {
            let mut pause = KEPT.0;
            for (folder, holder) in &holders {
                let key = format!("{PREFIX}{folder}");
                let value = serde_json::to_vec(holder).expect("two texts are JSON");
                if let Err(error) = state.put(&key, Bytes::from(value), Some(KEPT.1)).await {
                    tracing::debug!(folder, %error, "it can't be kept that this processor has the folder");
                    pause = PAUSE;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = ended.started() => break,
            }
        }
    });
}

/// Lets go of a name that the folder here had before.
pub(crate) async fn let_go(state: &dyn KeyedState, folder: &str) -> PortResult<()> {
    state.delete(&format!("{PREFIX}{folder}")).await
}
