//! What a fact changed of a run, for whoever keeps count over all runs.
use dagbok_events::{ExecutorId, QueueName, Timestamp};

use super::{Hold, InstanceNo, Parked};

/// What a fact changed for whoever keeps count over all runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Slots taken from now on.
    pub taken: Option<Hold>,
    /// Slots free again.
    pub freed: Option<Hold>,
    /// A try that went from one executor's hands to another's, or to nobody's.
    pub handed: Option<Handed>,
    /// The time that the instance waited for until now.
    pub waited: Option<Timestamp>,
    /// The time that it waits for from now on.
    pub waits: Option<Timestamp>,
    /// Since when it is queued from now on, and where.
    pub queued: Option<(Timestamp, QueueName)>,
    /// Since when it was queued until now, and where.
    pub was_queued: Option<(Timestamp, QueueName)>,
    /// What a wait for a trigger takes up from now on, and until when it lasts.
    pub parked: Option<Parked>,
    /// The same of one that is over.
    pub unparked: Option<Parked>,
    /// Which instance moved.
    pub no: InstanceNo,
}

/// Who held an instance's try, and who holds one now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    /// Whose try.
    pub instance: InstanceNo,
    /// Who held it.
    pub from: Option<ExecutorId>,
    /// Who holds it now.
    pub to: Option<ExecutorId>,
}
