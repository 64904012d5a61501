//! How long to wait before a delivery is tried again.
use dagbok_events::Micros;
use sha2::{Digest as _, Sha256};

use crate::limits::{FIRST_WAIT, LONGEST_RETRY_AFTER, LONGEST_WAIT};

/// The wait after `attempt` (from one) of a delivery failed: doubling, and apart from others' by up to a quarter,
/// which follows from the delivery's name, so that the same history waits the same. What the receiver asked for
/// is waited for at least.
pub fn wait_before(message: &str, attempt: u32, retry_after: Option<Micros>) -> Micros {
    let doubled = 1_i64.checked_shl(attempt.saturating_sub(1).min(30)).unwrap_or(i64::MAX);
    let wait = FIRST_WAIT.0.saturating_mul(doubled).min(LONGEST_WAIT.0);
    let drawn = Sha256::digest(format!("{message}\0{attempt}").as_bytes());
    let share = i64::from(u16::from_be_bytes([drawn[0], drawn[1]]));
    let apart = wait / 4 * share / i64::from(u16::MAX);
    let asked = retry_after.unwrap_or_default().0.clamp(0, LONGEST_RETRY_AFTER.0);
    Micros((wait + apart).max(asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_honour_what_the_receiver_asks() {
        let waits: Vec<i64> = (1..12).map(|n| wait_before("m", n, None).0 / 1_000_000).collect();
        assert!(waits.windows(2).all(|pair| pair[0] <= pair[1] + pair[0] / 4), "{waits:?}");
        assert!(waits[0] <= 1 && (300..=375).contains(&waits[10]), "{waits:?}");
        assert_eq!(wait_before("m", 1, None), wait_before("m", 1, None));
        assert_ne!(wait_before("m", 4, None), wait_before("n", 4, None));
        assert_eq!(wait_before("m", 1, Some(Micros::from_secs(90))), Micros::from_secs(90));
        assert_eq!(wait_before("m", 1, Some(Micros::from_secs(9_000))), LONGEST_RETRY_AFTER);
        assert!(wait_before("m", 1, Some(Micros(-5))).0 >= FIRST_WAIT.0);
    }
}
