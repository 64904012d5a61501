//! Offers queued tries again: all of them when a term begins, and later those that wait for long, in case
//! their work item was lost. What is on its queue, or in an executor's hands, is not taken twice; and since
//! a try may have ended with its report still on the way, whoever takes it up asks before it begins.
use std::{collections::BTreeSet, time::Duration};

use dagbok_domain::namespace::Namespace;
use dagbok_events::TryKey;
use dagbok_inbox::INBOX_LEASE;
use dagbok_protocol::WorkItem;
use tokio::time::Instant;

/// How closely the inbox is watched until the first offer.
const WATCH_EVERY: Duration = Duration::from_millis(50);

/// When to offer again.
#[derive(Debug)]
pub(crate) struct Offers {
    /// Until the term's first offer: a report of a try that the log has as queued may still lie in the
    /// inbox, or in the hands of a leader that died. By then that can't be so any more.
    first_by: Option<Instant>,
    again_at: Instant,
    every: Duration,
    /// Tries that were queued at the last look.
    waiting: BTreeSet<TryKey>,
}

impl Offers {
    /// At a term's begin; what waits for longer than `every` is offered again.
    pub(crate) fn new(every: Duration) -> Self {
        let first_by = Some(Instant::now() + INBOX_LEASE + Duration::from_millis(500));
        let (again_at, waiting) = (Instant::now() + every, BTreeSet::new());
        Self { first_by, again_at, every, waiting }
    }

    /// Whether what lay in the inbox when the term began was decided, or can't be there any more.
    pub(crate) const fn is_heard(&self) -> bool {
        self.first_by.is_none()
    }

    /// How long the loop may sleep at most.
    pub(crate) fn patience(&self) -> Duration {
        let left = self.again_at.saturating_duration_since(Instant::now());
        if self.first_by.is_some() { WATCH_EVERY } else { left }
    }

    /// What is to be offered again now.
    pub(crate) async fn due(
        &mut self,
        namespace: &Namespace,
        inbox_is_empty: impl AsyncFnOnce() -> bool,
    ) -> Vec<WorkItem> {
        if let Some(by) = self.first_by {
            if by > Instant::now() && !inbox_is_empty().await {
                return Vec::new();
            }
            self.first_by = None;
            return items(namespace).collect();
        }
        if self.again_at > Instant::now() {
            return Vec::new();
        }
        self.again_at = Instant::now() + self.every;
        let now: Vec<WorkItem> = items(namespace).collect();
        let last =
            std::mem::replace(&mut self.waiting, now.iter().map(|item| item.key.clone()).collect());
        now.into_iter().filter(|item| last.contains(&item.key)).collect()
    }
}

fn items(namespace: &Namespace) -> impl Iterator<Item = WorkItem> {
    let tries = namespace.queued_tries().into_iter().chain(namespace.deferred_tries());
    let tries = tries.filter_map(|it| namespace.work_item(it));
    let others = namespace.offered_callbacks().into_iter().chain(namespace.watch_items());
    tries.chain(others).map(|item| WorkItem { ask: true, ..item })
}
