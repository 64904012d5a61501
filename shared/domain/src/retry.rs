//! When a task is tried again: the user's retries, and the system's own for tries that were lost.
use dagbok_events::{Failure, FailureKind, LostWhy, Micros, TaskSpec, Timestamp, TryKey};

/// The longest wait that a backoff reaches where the task sets no limit of its own.
const BACKOFF_CAP: Micros = Micros::from_secs(24 * 3600);
/// The longest wait before a lost try is made up for.
const LOSS_WAIT_CAP: Micros = Micros::from_secs(60);
/// Losses of one task that count against nobody; more are no accident.
const UNCOUNTED: u16 = 100;
/// Over this time the tries come back that a neighbour took along.
const SPREAD: Micros = Micros::from_secs(2);

/// When the next try is due after a failure, if there is one.
///
/// `failures` and `losses` count what happened before this one.
pub fn after_failure(
    spec: &TaskSpec,
    failure: &Failure,
    failures: u16,
    losses: u16,
    max_losses: u16,
    at: Timestamp,
) -> Option<Timestamp> {
    if is_loss(failure) {
        return after_loss(losses, max_losses, at);
    }
    (failure.retryable && failures < spec.retries).then(|| at.plus(delay(spec, failures)))
}

/// Whether a failure is Dagbok's own, so that it counts as a loss. A signal from outside may be the
/// system's fault too, but it may also be the task's: it uses up retries, or the task would never fail.
pub fn is_loss(failure: &Failure) -> bool {
    matches!(failure.kind, FailureKind::CouldNotStart | FailureKind::Executor)
}

/// When the next try is due after a loss, if the limit of losses is not reached: the first at once,
/// the next ones with growing waits.
pub fn after_loss(losses: u16, max_losses: u16, at: Timestamp) -> Option<Timestamp> {
    let wait = match losses {
        0 => Micros(0),
        n => Micros::from_secs(1_i64 << (n - 1).min(6)).min(LOSS_WAIT_CAP),
    };
    (losses < max_losses).then(|| at.plus(wait))
}

/// Whether a loss counts against the task. One that a neighbour brought about, or that stands for a try of
/// which nobody knows that it began, does not.
pub fn counts(why: LostWhy) -> bool {
    match why {
        LostWhy::ExecutorGone
        | LostWhy::NotHeld
        | LostWhy::Fenced
        | LostWhy::Drained
        | LostWhy::Ordered => true,
        LostWhy::ParentDied | LostWhy::MayHaveBegun => false,
    }
}

/// When the next try is due after a loss that does not count, if there may be one: `uncounted` such losses
/// came before. Tries that were lost together don't come back together.
pub fn after_uncounted(
    why: LostWhy,
    uncounted: u16,
    key: &TryKey,
    at: Timestamp,
) -> Option<Timestamp> {
    let wait = match why {
        LostWhy::ParentDied => spread(key),
        _ => Micros(0),
    };
    (uncounted < UNCOUNTED).then(|| at.plus(wait))
}

/// A wait below [`SPREAD`] that is each try's own.
fn spread(key: &TryKey) -> Micros {
    // FNV-1a: the same everywhere and for ever.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in key.to_string().bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let range = SPREAD.0.unsigned_abs();
    Micros(i64::try_from((hash >> 16) % range).expect("less than a wait"))
}

/// The wait before the retry that follows failure number `failures + 1`.
fn delay(spec: &TaskSpec, failures: u16) -> Micros {
    if spec.retry_backoff_milli == 0 {
        return spec.retry_delay;
    }
    let cap = spec.max_retry_delay.unwrap_or(BACKOFF_CAP).min(BACKOFF_CAP);
    let factor = u128::from(spec.retry_backoff_milli);
    let mut wait = u128::try_from(spec.retry_delay.0).unwrap_or(0);
    let limit = u128::try_from(cap.0).unwrap_or(0);
    for _ in 0..failures {
        wait = wait * factor / 1_000;
        if wait >= limit {
            break;
        }
    }
    Micros(i64::try_from(wait.min(limit)).unwrap_or(i64::MAX))
}
