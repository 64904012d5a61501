//! What a trigger rule makes of a task's direct upstreams: a total function of a few counts.
use dagbok_events::{RuledOut, TriggerRule};

use crate::run::Done;

/// How a task's direct upstreams stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many upstreams there are.
    pub total: u32,
    /// How many succeeded.
    pub success: u32,
    /// How many failed.
    pub failed: u32,
    /// How many were ruled out by a failure.
    pub upstream_failed: u32,
    /// How many were skipped.
    pub skipped: u32,
    /// How many are no longer in the DAG.
    pub removed: u32,
}

impl Tally {
    /// Counts so many more upstreams that are done.
    pub fn count(&mut self, done: Done, more: u32) {
        *self.place(done) += more;
    }

    /// Takes one upstream back that was counted as done.
    pub fn uncount(&mut self, done: Done) {
        *self.place(done) -= 1;
    }

    fn place(&mut self, done: Done) -> &mut u32 {
        match done {
            Done::Success => &mut self.success,
            Done::Failed => &mut self.failed,
            Done::RuledOut(RuledOut::UpstreamFailed) => &mut self.upstream_failed,
            Done::RuledOut(RuledOut::Skipped) => &mut self.skipped,
            Done::RuledOut(RuledOut::Removed) => &mut self.removed,
        }
    }

    const fn done(self) -> u32 {
        self.success + self.failed + self.upstream_failed + self.skipped + self.removed
    }
}

/// What the upstreams let the task do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Not yet.
    Wait,
    /// It may run.
    Ready,
    /// It never will.
    Never(RuledOut),
}

/// Judges one task. With no upstream every rule is met.
#[must_use]
pub fn judge(rule: TriggerRule, up: Tally) -> Standing {
    use RuledOut::{Skipped, UpstreamFailed};
    if up.total == 0 || rule == TriggerRule::Always {
        return Standing::Ready;
    }
    let broken = up.failed + up.upstream_failed;
    let all_done = up.done() == up.total;
    let never = match rule {
        TriggerRule::AllSuccess => none_failed(broken, up.skipped > 0),
        TriggerRule::NoneFailed => none_failed(broken, false),
        TriggerRule::NoneFailedMinOneSuccess => none_failed(broken, up.skipped == up.total),
        TriggerRule::AllFailed => (up.success + up.skipped > 0).then_some(Skipped),
        TriggerRule::AllSkipped => (up.success + broken > 0).then_some(Skipped),
        TriggerRule::NoneSkipped => (up.skipped > 0).then_some(Skipped),
        TriggerRule::OneSuccess => (all_done && up.success == 0)
            .then_some(if up.skipped == up.total { Skipped } else { UpstreamFailed }),
        TriggerRule::OneFailed => (all_done && broken == 0).then_some(Skipped),
        TriggerRule::OneDone => (all_done && up.success + up.failed == 0).then_some(Skipped),
        // A skipped upstream is none that is done, as this rule of Airflow's goes.
        TriggerRule::AllDoneMinOneSuccess if up.skipped > 0 => Some(Skipped),
        TriggerRule::AllDoneMinOneSuccess => {
            (all_done && up.success == 0).then_some(UpstreamFailed)
        }
        TriggerRule::AllDone | TriggerRule::AllDoneSetupSuccess | TriggerRule::Always => None,
    };
    if let Some(why) = never {
        return Standing::Never(why);
    }
    let ready = match rule {
        TriggerRule::OneSuccess => up.success > 0,
        TriggerRule::OneFailed => broken > 0,
        TriggerRule::OneDone => up.success + up.failed > 0,
        TriggerRule::AllSuccess
        | TriggerRule::AllFailed
        | TriggerRule::AllDone
        | TriggerRule::AllDoneMinOneSuccess
        | TriggerRule::AllDoneSetupSuccess
        | TriggerRule::AllSkipped
        | TriggerRule::NoneFailed
        | TriggerRule::NoneFailedMinOneSuccess
        | TriggerRule::NoneSkipped
        | TriggerRule::Always => all_done,
    };
    if ready { Standing::Ready } else { Standing::Wait }
}

fn none_failed(broken: u32, skip: bool) -> Option<RuledOut> {
    match (broken > 0, skip) {
        (true, _) => Some(RuledOut::UpstreamFailed),
        (false, true) => Some(RuledOut::Skipped),
        (false, false) => None,
    }
}
