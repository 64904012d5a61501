//! What a trigger rule makes of a task's direct upstreams: a total function of a few counts.
use dagbok_events::{RuledOut, TaskSpec, TriggerRule};

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
    /// How many are no part of this run by their dates: they are waited for, and never come.
    pub absent: u32,
    /// How many of all are setups.
    pub setups: u32,
    /// How many setups succeeded.
    pub setups_succeeded: u32,
    /// How many setups were skipped.
    pub setups_skipped: u32,
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

    /// Takes in one more upstream, as far as it has come.
    pub fn add(&mut self, is_setup: bool, done: Option<Done>) {
        self.total += 1;
        self.setups += u32::from(is_setup);
        match done {
            Some(done) if is_setup => self.count_setups(done, 1),
            Some(done) => self.count(done, 1),
            None => {}
        }
    }

    /// Takes one upstream out that is not done.
    pub fn take_out(&mut self, is_setup: bool) {
        self.total -= 1;
        self.setups -= u32::from(is_setup);
    }

    /// All that a judgement can depend on, whatever other upstreams there are: where this stays, so does it.
    pub const fn face(self) -> [bool; 9] {
        [
            self.done() == self.total,
            self.done() + self.absent == self.total,
            self.absent > 0,
            self.success > 0,
            self.failed > 0,
            self.failed + self.upstream_failed > 0,
            self.skipped > 0,
            self.skipped == self.total,
            self.setups_succeeded > 0 || self.setups_skipped == self.setups,
        ]
    }

    /// The same of setups.
    pub fn count_setups(&mut self, done: Done, more: u32) {
        self.count(done, more);
        self.setup_place(done, |place| *place += more);
    }

    /// The same of one setup.
    pub fn uncount_setup(&mut self, done: Done) {
        self.uncount(done);
        self.setup_place(done, |place| *place -= 1);
    }

    fn setup_place(&mut self, done: Done, change: impl FnOnce(&mut u32)) {
        match done {
            Done::Success => change(&mut self.setups_succeeded),
            Done::RuledOut(RuledOut::Skipped) => change(&mut self.setups_skipped),
            Done::Failed
            | Done::RuledOut(RuledOut::UpstreamFailed | RuledOut::Removed | RuledOut::OutOfDates) =>
                {}
        }
    }

    fn place(&mut self, done: Done) -> &mut u32 {
        match done {
            Done::Success => &mut self.success,
            Done::Failed => &mut self.failed,
            Done::RuledOut(RuledOut::UpstreamFailed) => &mut self.upstream_failed,
            Done::RuledOut(RuledOut::Skipped) => &mut self.skipped,
            Done::RuledOut(RuledOut::Removed) => &mut self.removed,
            Done::RuledOut(RuledOut::OutOfDates) => &mut self.absent,
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

/// Judges one task by its direct upstreams, and by its scope: a task waits for setups further above, which must
/// succeed whatever its rule says; a teardown waits until all between its setups and itself is done.
#[must_use]
pub fn judge_in_scope(task: &TaskSpec, up: Tally, scope: Tally) -> Standing {
    use RuledOut::{Skipped, UpstreamFailed};
    let by_rule = judge(task.trigger_rule, up);
    if up.total == 0 || scope.total == 0 || task.trigger_rule == TriggerRule::Always {
        return by_rule;
    }
    let met = if task.is_teardown {
        scope.done() + scope.absent == scope.total
    } else if scope.failed + scope.upstream_failed > 0 {
        return Standing::Never(UpstreamFailed);
    } else if scope.skipped > 0 {
        return Standing::Never(Skipped);
    } else {
        scope.success + scope.removed + scope.absent == scope.total
    };
    if by_rule == Standing::Ready && !met { Standing::Wait } else { by_rule }
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
        // Where nothing failed and the rest was removed, nothing can succeed any more.
        TriggerRule::NoneFailedMinOneSuccess => none_failed(broken, up.skipped == up.total)
            .or((all_done && up.success == 0).then_some(UpstreamFailed)),
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
        TriggerRule::AllDoneSetupSuccess if !all_done || up.setups == 0 => None,
        TriggerRule::AllDoneSetupSuccess if up.setups_skipped == up.setups => Some(Skipped),
        TriggerRule::AllDoneSetupSuccess => (up.setups_succeeded == 0).then_some(UpstreamFailed),
        TriggerRule::AllDone | TriggerRule::Always => None,
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
    if ready {
        return Standing::Ready;
    }
    // It would wait for ever for what is no part of the run: Airflow fails such a run as deadlocked.
    let deadlocked = up.absent > 0 && up.done() + up.absent == up.total;
    if deadlocked { Standing::Never(UpstreamFailed) } else { Standing::Wait }
}

fn none_failed(broken: u32, skip: bool) -> Option<RuledOut> {
    match (broken > 0, skip) {
        (true, _) => Some(RuledOut::UpstreamFailed),
        (false, true) => Some(RuledOut::Skipped),
        (false, false) => None,
    }
}
