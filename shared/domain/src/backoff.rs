//! How long a task waits before it is tried again, to the second as Airflow has it: growing waits are spread by
//! a hash of the try's name, so that tasks that failed together do not come back together.
use dagbok_events::{DagId, Micros, TaskSpec, Timestamp};
use sha1::{Digest as _, Sha1};

/// The longest wait of a backoff, as Airflow's `core.max_task_retry_delay` is by default: a day.
const LONGEST_S: u64 = 24 * 3_600;

/// The wait after failure `number`, counted from 1, of a task in the run of `logical_date`.
///
/// Without a backoff it is the task's `retry_delay`. With one, `retry_delay` times the multiplier to the power of
/// the failures before, in whole seconds and at least one, plus less than as much again by the hash; never more
/// than `max_retry_delay`, nor than a day.
pub fn wait(
    spec: &TaskSpec,
    dag_id: &DagId,
    logical_date: Option<Timestamp>,
    number: u32,
) -> Micros {
    // A multiplier of one is none, as in Airflow.
    if matches!(spec.retry_backoff_milli, 0 | 1_000) {
        return spec.retry_delay;
    }
    let least = grown(spec, number);
    let seconds = if least < LONGEST_S {
        (least + hash(spec, dag_id, logical_date, number, least)).min(LONGEST_S)
    } else {
        LONGEST_S
    };
    let wait = Micros::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    spec.max_retry_delay.filter(|most| most.0 > 0).map_or(wait, |most| wait.min(most))
}

/// The wait before it is spread, in seconds, at least one.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "Airflow reckons in floats, too; the cast holds at both ends"
)]
fn grown(spec: &TaskSpec, number: u32) -> u64 {
    let delay = spec.retry_delay.0 as f64 / 1e6;
    let multiplier = f64::from(spec.retry_backoff_milli) / 1e3;
    let before = f64::from(number.saturating_sub(1));
    ((delay * multiplier.powf(before)).ceil() as u64).max(1)
}

/// A number below `below` that is the try's own.
fn hash(
    spec: &TaskSpec,
    dag_id: &DagId,
    logical_date: Option<Timestamp>,
    number: u32,
    below: u64,
) -> u64 {
    let date = logical_date.map_or_else(|| "None".to_owned(), python_text);
    let name = format!("{dag_id}#{}#{date}#{number}", spec.task_id);
    let digest = Sha1::digest(name.as_bytes());
    // The digest as a number, modulo `below`, which is less than a day of seconds: nothing overflows.
    digest.iter().fold(0, |rest, byte| (rest * 256 + u64::from(*byte)) % below)
}

/// An instant as Python writes one in UTC.
fn python_text(at: Timestamp) -> String {
    let digits = if at.0.rem_euclid(1_000_000) == 0 { "" } else { "%.6f" };
    at.to_jiff().strftime(&format!("%Y-%m-%d %H:%M:%S{digits}+00:00")).to_string()
}
