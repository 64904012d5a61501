//! Whether an executor may take work: somebody may have cordoned it, or the scheduler may speak another version.
//!
//! Both lie in the keyed state, written by the scheduler from facts.
use dagbok_events::{Actor, ExecutorName, Timestamp, decode_any};
use dagbok_protocol::{Cordon, PROTOCOL, names, understands};
use dagbok_runlog::{KeyedState, PortError};
use serde::Deserialize;

/// What is said of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The cordon, where there is one. Of one that can't be read whole it has record 0 where not even that can be.
    pub cordon: Option<Cordon>,
    /// Why the scheduler that is there has no executor of this version, for people; `None` where it has.
    pub refused: Option<String>,
    /// Whether all of it is there. Where not, a cordon that is missing lifts none: the state was lost, and is filled again.
    pub is_whole: bool,
}

/// Reads what is said of the executor of a name; [`PortError`] where the state does not answer.
pub async fn said_of(state: &dyn KeyedState, name: &ExecutorName) -> Result<Said, PortError> {
    let key = names::cordon_key(name);
    let (cordon, spoken) = tokio::try_join!(state.get(&key), state.get(names::PROTOCOL))?;
    let is_whole = spoken.is_some();
    let spoken = spoken.and_then(|it| std::str::from_utf8(&it.value).ok()?.parse().ok());
    let refused = spoken.and_then(|spoken| understands(Some(PROTOCOL), Some(spoken)).err());
    Ok(Said { cordon: cordon.map(|it| read(&key, &it.value)), refused, is_whole })
}

/// As much of a cordon as must be read of one that a newer scheduler wrote.
#[derive(Default, Deserialize)]
struct Least {
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    drain: bool,
    #[serde(default)]
    limit_ms: Option<u64>,
}

/// Whatever lies where a cordon is said is one: who can't read who said so still must not work against it. Where not even
/// its record can be read it has 0, and nobody leaves by it.
fn read(key: &str, value: &[u8]) -> Cordon {
    decode_any(value).unwrap_or_else(|error| {
        tracing::warn!(key, %error, "what says that this executor is cordoned can't be read whole: it holds");
        let least: Least = decode_any(value).unwrap_or_default();
        Cordon {
            seq: least.seq,
            drain: least.drain && least.seq > 0,
            limit_ms: least.limit_ms,
            by: Actor::Scheduler,
            reason: None,
            at: Timestamp(0),
        }
    })
}
