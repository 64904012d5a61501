//! Items that are passed on since there is no room for them here. An item that is delivered again counts as one that
//! may have begun with whoever had it before, and costs the try its number; so who passes one on unbegun notes which
//! delivery that was. Whoever has it next finds by it that nobody can have begun it: the note is of the delivery
//! right before its own.
use std::{sync::Arc, time::Duration};

use dagbok_protocol::{WorkItem, names};

use crate::{held::Held, shared::Shared};

/// How long an item that is passed on for the first time rests; twice as long each further time, up to `MOST`.
const FIRST: Duration = Duration::from_millis(500);
const MOST: Duration = Duration::from_mins(1);
/// For so long such an item may lie in its queue until it counts as one that may have begun.
const NOTED_FOR: Duration = Duration::from_hours(24);

/// Hands an item on, later each time. Without room everywhere it goes round, at most once a minute. `unbegun` says that
/// nobody can have begun it, neither here nor before.
pub(super) async fn pass_on(shared: &Shared, held: &Held, delivered: u32, unbegun: bool) {
    if shared.settings.fencing && unbegun {
        let note = delivered.to_string().into_bytes().into();
        let key = names::passed_key(&held.key);
        if let Err(error) = shared.ports.state.put(&key, note, Some(NOTED_FOR)).await {
            tracing::warn!(key = %held.key, %error, "who takes this try up next will think that it may have begun");
        }
    }
    if let Err(error) = held.handle().nak(rest(delivered)).await {
        tracing::warn!(key = %held.key, %error, "an item without room comes back only after its lease");
    }
}

/// Whether the delivery before this one was passed on unbegun.
pub(super) async fn on(shared: &Shared, item: &WorkItem, delivered: u32) -> bool {
    if !shared.settings.fencing {
        // A queue in this process has nobody else who could have begun it.
        return true;
    }
    let note = shared.ports.state.get(&names::passed_key(&item.key)).await;
    let Ok(Some(note)) = note else { return false };
    let passed = std::str::from_utf8(&note.value).ok().and_then(|text| text.parse::<u32>().ok());
    passed.and_then(|passed| passed.checked_add(1)) == Some(delivered)
}

/// It begins: the note says nothing any more.
pub(super) fn forget(shared: &Arc<Shared>, item: &WorkItem, passed: bool) {
    if passed && shared.settings.fencing {
        let (shared, key) = (Arc::clone(shared), names::passed_key(&item.key));
        // It goes by itself where this fails.
        tokio::spawn(async move { drop(shared.ports.state.delete(&key).await) });
    }
}

fn rest(delivered: u32) -> Duration {
    let doubled = delivered.saturating_sub(1).min(16);
    (FIRST * 2_u32.pow(doubled)).min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_goes_round_ever_more_slowly() {
        let rests: Vec<u128> = (1..=4).map(|n| rest(n).as_millis()).collect();
        assert_eq!(rests, [500, 1_000, 2_000, 4_000]);
        assert_eq!((rest(8), rest(u32::MAX)), (MOST, MOST));
    }
}
