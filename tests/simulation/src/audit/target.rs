//! What a fact of a try is about.
use dagbok_events::{Fact, MapIndex, TaskId};

use super::task::Execution;

/// Whose try a fact is about, which copy's, and which execution; of others nothing.
pub(super) const fn target(fact: &Fact) -> Option<(&TaskId, MapIndex, Execution)> {
    let (task_id, map_index, n, leg) = match fact {
        Fact::TaskQueued(f) => (&f.task_id, f.map_index, f.try_number, f.leg),
        Fact::TryStarted(f) => (&f.task_id, f.map_index, f.try_number, f.leg),
        Fact::TrySucceeded(f) => (&f.task_id, f.map_index, f.try_number, f.leg),
        Fact::TryFailed(f) => (&f.task_id, f.map_index, f.try_number, f.leg),
        Fact::TrySkipped(f) => (&f.task_id, f.map_index, f.try_number, f.leg),
        Fact::TryRescheduled(f) => (&f.task_id, f.map_index, f.try_number, f.leg),
        Fact::TryDeferred(f) => (&f.task_id, f.map_index, f.try_number, f.leg),
        Fact::TriggerFired(f) => (&f.task_id, f.map_index, f.try_number, f.leg),
        Fact::TriggerFailed(f) => (&f.task_id, f.map_index, f.try_number, f.leg),
        Fact::HitlAnswered(f) => (&f.task_id, f.map_index, f.try_number, f.leg),
        Fact::TryReturned(f) => (&f.task_id, f.map_index, f.try_number, f.leg),
        Fact::TryLost(f) => (&f.task_id, f.map_index, f.try_number, f.leg),
        Fact::TryCancelled(f) => (&f.task_id, f.map_index, f.try_number, f.leg),
        Fact::TryNamed(f) => (&f.task_id, f.map_index, f.try_number, f.leg),
        Fact::XComPushed(f) => (&f.task_id, f.map_index, f.try_number, f.leg),
        _ => return None,
    };
    Some((task_id, map_index, (n.get(), leg.0)))
}
