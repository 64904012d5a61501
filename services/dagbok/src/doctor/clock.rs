//! The clock: compared with the broker's where one is asked, and otherwise with what can't be later than
//! now. Schedules follow it, and the times of tries are each machine's own.
use std::time::SystemTime;

use dagbok_events::{Micros, Timestamp};
use dagbok_runlog_jetstream::Connection;
use dagbok_runtime::Clock;

use super::Finding;

/// Before this there was no Dagbok, so that a clock that says so is wrong.
const FIRST_DAY: Timestamp = Timestamp(1_767_225_600_000_000);
/// A difference above this is told.
const TOLERATED: Micros = Micros::from_secs(1);
/// A difference above this must be mended: it is the shortest lease, and runs come that much too soon or
/// too late.
const TOO_MUCH: Micros = Micros::from_secs(5);
/// Looks at the server's clock, of which the quickest counts.
const LOOKS: usize = 5;
/// What to do.
const SET_IT: &str = "let chrony or systemd-timesyncd set it (`timedatectl set-ntp true`)";

/// What to do where only the log speaks against this clock.
const SET_IT_OR_WAIT: &str = "let chrony or systemd-timesyncd set it (`timedatectl set-ntp true`); where it is right, the scheduler's was ahead when it wrote that: runs and retries go by this clock, records keep that stamp until it gets there, and `dagbok dags reschedule --all` promises runs anew";

/// This machine's clock by itself; `newest` is when the home's log was written last.
pub(super) fn alone(newest: Option<Timestamp>) -> Finding {
    let binary = std::env::current_exe().and_then(std::fs::metadata).and_then(|it| it.modified());
    judge(Clock::system().now(), binary.ok().and_then(instant), newest)
}

fn judge(now: Timestamp, binary: Option<Timestamp>, newest: Option<Timestamp>) -> Finding {
    const CHECK: &str = "clock";
    let past = [
        ("Dagbok's first day", Some(FIRST_DAY)),
        ("the file of this binary", binary),
        ("the log's last record", newest),
    ];
    let known = past.into_iter().filter_map(|(what, at)| Some((what, at?)));
    let latest = known.max_by_key(|(_, at)| *at);
    let (what, at) = latest.unwrap_or(("Dagbok's first day", FIRST_DAY));
    let behind = at.since(now);
    let message = format!("it says {now}, and {what} is of {at}");
    let next = if newest == Some(at) { SET_IT_OR_WAIT } else { SET_IT };
    if behind > TOO_MUCH {
        return Finding::error(CHECK, message, next);
    }
    if behind > TOLERATED {
        return Finding::warning(CHECK, message, next);
    }
    let message = format!("{now}: later than {what}, and compared with no other clock");
    Finding::ok(CHECK, message)
}

fn instant(at: SystemTime) -> Option<Timestamp> {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_micros()).ok().map(Timestamp)
}

/// This machine's clock and the server's.
pub(super) async fn against(connection: &Connection) -> Finding {
    let clock = Clock::system();
    let mut best: Option<Skew> = None;
    for _ in 0..LOOKS {
        let before = clock.now();
        let theirs = match connection.server_time().await {
            Ok(theirs) => theirs,
            Err(error) => return Finding::warning(CHECK, error.to_string(), "check the server"),
        };
        let after = clock.now();
        let Ok(theirs) = theirs.parse::<jiff::Timestamp>() else {
            let message = format!("the server's time can't be read: `{theirs}`");
            return Finding::warning(CHECK, message, "compare it by hand with `date -u`");
        };
        let skew = Skew::of(before, theirs.into(), after);
        if best.is_none_or(|best| skew.within.0 < best.within.0) {
            best = Some(skew);
        }
    }
    best.expect("it was looked at least once").finding()
}

/// The name of the check that compares two clocks.
const CHECK: &str = "skew";

/// How far a server's clock is from ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Skew {
    /// Theirs less ours.
    by: Micros,
    /// What the answer's way can have added or taken, at most.
    within: Micros,
}

impl Skew {
    /// Of an answer that was asked for at `before`, had at `after`, and given at `theirs` in between.
    const fn of(before: Timestamp, theirs: Timestamp, after: Timestamp) -> Self {
        let half = (after.0 - before.0).unsigned_abs().cast_signed() / 2;
        Self { by: Micros(theirs.0 - i64::midpoint(before.0, after.0)), within: Micros(half) }
    }

    /// What the clocks differ by at least, whatever the way took.
    const fn at_least(self) -> Micros {
        let by = self.by.0.saturating_abs().saturating_sub(self.within.0);
        Micros(if by < 0 { 0 } else { by })
    }

    fn finding(self) -> Finding {
        let at_least = self.at_least();
        if at_least <= TOLERATED {
            let at_most = Micros(self.by.0.saturating_abs().saturating_add(self.within.0));
            let message =
                format!("this machine's clock is within {:.1?} of the server's", at_most.to_std());
            return Finding::ok(CHECK, message);
        }
        let way = if self.by.0 > 0 { "behind" } else { "ahead of" };
        let message =
            format!("this machine's clock is {:.1?} {way} the server's", at_least.to_std());
        let next = format!("find out which is wrong (`date -u`, `timedatectl`); there, {SET_IT}");
        if at_least > TOO_MUCH {
            Finding::error(CHECK, message, next)
        } else {
            Finding::warning(CHECK, message, next)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    const NOON: Timestamp = Timestamp(1_800_000_000_000_000);

    fn at(seconds: f64) -> Timestamp {
        #[expect(clippy::cast_possible_truncation, reason = "small")]
        let micros = (seconds * 1_000_000.0) as i64;
        NOON.plus(Micros(micros))
    }

    fn said(before: f64, theirs: f64, after: f64) -> (Status, String) {
        let finding = Skew::of(at(before), at(theirs), at(after)).finding();
        assert_eq!(finding.status == Status::Ok, finding.next.is_none());
        (finding.status, finding.message)
    }

    #[test]
    fn clocks_are_compared_less_what_the_way_took() {
        assert_eq!(
            said(0.0, 0.5, 0.2),
            (Status::Ok, "this machine's clock is within 500.0ms of the server's".to_owned())
        );
        // Two seconds to and fro can hide a second either way.
        assert_eq!(said(0.0, 2.9, 2.0).0, Status::Ok);
        assert_eq!(
            said(0.0, 3.0, 0.2),
            (Status::Warning, "this machine's clock is 2.8s behind the server's".to_owned())
        );
        assert_eq!(
            said(0.0, -60.0, 0.0),
            (Status::Error, "this machine's clock is 60.0s ahead of the server's".to_owned())
        );
        // A clock that is set back between asking and having the answer breaks nothing.
        assert_eq!(said(10.0, 5.0, 0.0).0, Status::Ok);
    }

    #[test]
    fn a_clock_alone_is_held_to_what_has_been() {
        let one = judge(NOON, Some(at(-9.0)), Some(at(-3.0)));
        assert_eq!(one.status, Status::Ok);
        assert!(one.message.contains("later than the log's last record"), "{}", one.message);
        assert!(one.message.contains("compared with no other clock"), "{}", one.message);
        assert_eq!(judge(NOON, None, Some(at(0.9))).status, Status::Ok);
        assert_eq!(judge(NOON, None, Some(at(2.0))).status, Status::Warning);
        let late = judge(NOON, Some(at(-9.0)), Some(at(3600.0)));
        assert_eq!(late.status, Status::Error);
        assert!(late.message.contains("the log's last record is of"), "{}", late.message);
        assert!(judge(Timestamp(0), None, None).message.contains("Dagbok's first day"));
    }
}
