//! When a task is tried again: the user's retries, and the system's own for tries that were lost.
use dagbok_events::{DagId, Failure, FailureKind, LostWhy, Micros, TaskSpec, Timestamp, TryKey};

use crate::backoff;

/// The longest wait before a lost try is made up for.
const LOSS_WAIT_CAP: Micros = Micros::from_secs(60);
/// Losses of one task that count against nobody; more are no accident.
const UNCOUNTED: u16 = 100;
/// Over this time the tries come back that a neighbour took along.
const SPREAD: Micros = Micros::from_secs(2);

/// What is known of an instance whose try just failed.
#[derive(Clone, Copy, Debug)]
pub struct Failed<'a> {
    /// Its task.
    pub spec: &'a TaskSpec,
    /// Whose task that is.
    pub dag_id: &'a DagId,
    /// What its run stands for.
    pub logical_date: Option<Timestamp>,
    /// Failures before this one.
    pub failures: u16,
    /// Losses before it.
    pub losses: u16,
}

/// When the next try is due after a failure at `at`, if there is one.
pub fn after_failure(
    it: Failed<'_>,
    failure: &Failure,
    max_losses: u16,
    at: Timestamp,
) -> Option<Timestamp> {
    if is_loss(failure) {
        return after_loss(it.losses, max_losses, at);
    }
    let number = u32::from(it.failures) + 1;
    let by_spec = || backoff::wait(it.spec, it.dag_id, it.logical_date, number);
    let wait = || failure.retry_delay.unwrap_or_else(by_spec);
    (failure.retryable && it.failures < it.spec.retries).then(|| at.plus(wait()))
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
        LostWhy::ParentDied | LostWhy::MayHaveBegun | LostWhy::QueuedTooLong => false,
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
