//! Items that are passed on since there is no room for them where they came. An item that is delivered again counts as one that
//! may have begun with whoever had it before, and costs the try its number; so who passes one on unbegun notes which
//! delivery that was. Whoever has it next finds by it that nobody can have begun it: the note is of the delivery
//! right before its own.
use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use dagbok_events::TryKey;
use dagbok_protocol::names;
use dagbok_runlog::{DeliveryHandle, KeyedState};

/// How long an item that is passed on rests at first, and at most.
const FIRST: Duration = Duration::from_millis(500);
const MOST: Duration = Duration::from_mins(1);
/// After so many deliveries it rests twice as long: one executor of many has room, and which one pulls next is chance.
const DOUBLES_AFTER: u32 = 4;
/// For so long such an item may lie in its queue until it counts as one that may have begun.
const NOTED_FOR: Duration = Duration::from_hours(24);

/// Notes that a delivery of a try's item was not begun, nor any before it.
pub async fn note(state: &dyn KeyedState, key: &TryKey, delivered: u32) {
    let note = delivered.to_string().into_bytes().into();
    if let Err(error) = state.put(&names::passed_key(key), note, Some(NOTED_FOR)).await {
        tracing::warn!(%key, %error, "who takes this try up next will think that it may have begun");
    }
}

/// Hands an item on, later and later. Without room everywhere it goes round, in the end about once a minute.
pub async fn hand_on(key: &TryKey, handle: &dyn DeliveryHandle, delivered: u32) {
    let rest = rest(delivered, RandomState::new().hash_one(delivered));
    if let Err(error) = handle.nak(rest).await {
        tracing::warn!(%key, %error, "an item without room comes back only after its lease");
    }
}

/// Whether the delivery before this one was passed on unbegun.
pub async fn was_passed_on(state: &dyn KeyedState, key: &TryKey, delivered: u32) -> bool {
    let Ok(Some(note)) = state.get(&names::passed_key(key)).await else { return false };
    let passed = std::str::from_utf8(&note.value).ok().and_then(|text| text.parse::<u32>().ok());
    passed.and_then(|passed| passed.checked_add(1)) == Some(delivered)
}

/// Between half of it and the whole, as `chance` has it: executors ask for work at a beat of their own, and an item that
/// came back on that beat would come to the same one each time.
fn rest(delivered: u32, chance: u64) -> Duration {
    let doubled = (delivered.saturating_sub(1) / DOUBLES_AFTER).min(16);
    let whole = (FIRST * 2_u32.pow(doubled)).min(MOST);
    let (half, part) = (whole / 2, u32::from(u8::try_from(chance % 256).unwrap_or(u8::MAX)));
    half + half * part / u32::from(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_goes_round_ever_more_slowly() {
        let rests: Vec<u128> = (1..=13).step_by(4).map(|n| rest(n, 255).as_millis()).collect();
        assert_eq!(rests, [500, 1_000, 2_000, 4_000]);
        assert_eq!((rest(40, 255), rest(u32::MAX, 255)), (MOST, MOST));
    }

    #[test]
    fn ten_others_may_have_it_first_within_a_few_seconds() {
        let sum: Duration = (1..=10).map(|n| rest(n, u64::MAX)).sum();
        assert!(sum <= Duration::from_secs(10), "{sum:?}");
    }

    #[test]
    fn it_comes_back_on_nobody_s_beat() {
        let mut rests: Vec<Duration> = (0..256).map(|chance| rest(1, chance)).collect();
        rests.sort_unstable();
        rests.dedup();
        assert_eq!((rests.len(), rests[0], rests[255]), (256, FIRST / 2, FIRST));
    }
}
