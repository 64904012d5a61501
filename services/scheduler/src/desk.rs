//! The state of a term: the fold, and the ways out.
use std::collections::BTreeSet;

use dagbok_domain::namespace::Namespace;
use dagbok_events::{Record, Scope, subject_of};
use dagbok_leading::Steady;
use tokio::{sync::mpsc, time::Instant};

use crate::{effects::Effects, inbox::Received, presence::PresenceWatch, stage::Stage};

/// What a term has in hand.
pub(crate) struct Desk {
    pub(crate) namespace: Namespace,
    pub(crate) out: mpsc::Sender<Effects>,
    pub(crate) watch: PresenceWatch,
    pub(crate) snapshot_at: u64,
    /// Commands about runs that ended in the batch in which they came: the log has to say so first.
    pub(crate) later: Vec<Received>,
    pub(crate) steady: Steady,
    /// A backfill waits for a run that is over, and of which this batch says something: plan again once it is in the log.
    pub(crate) again: bool,
    /// Whether what was said before this term began was heard: what began meanwhile is known as begun.
    pub(crate) heard: bool,
    /// When what waits for room is counted again.
    pub(crate) count_at: Instant,
    /// Where records were too long, in this term: it is said once.
    too_long: BTreeSet<Scope>,
}

impl Desk {
    /// At the begin of a term.
    pub(crate) fn new(
        namespace: Namespace,
        snapshot_at: u64,
        out: mpsc::Sender<Effects>,
        steady: Steady,
    ) -> Self {
        Self {
            namespace,
            out,
            watch: PresenceWatch::default(),
            snapshot_at,
            later: Vec::new(),
            steady,
            again: false,
            heard: false,
            count_at: Instant::now(),
            too_long: BTreeSet::new(),
        }
    }

    /// Puts a record that nobody asked for on the stage; whether it fits. Where it does not, all else goes on without it:
    /// a term that ended for it would meet it again.
    pub(crate) fn put(&mut self, stage: &mut Stage, record: &Record) -> bool {
        let Err(error) = stage.record(&mut self.namespace, record) else { return true };
        if self.too_long.insert(record.scope.clone()) {
            let about = subject_of(&record.scope);
            tracing::error!(
                about,
                %error,
                "what the rules call for here can't be recorded, and does not happen: mark a part of the run's tasks"
            );
        }
        false
    }
}
