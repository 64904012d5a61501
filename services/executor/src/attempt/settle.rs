//! Takes a delivery up, and sees to it that its end is known before its item is gone.
use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use dagbok_events::{FailureKind, Fault, LostWhy, Usage, decode_any};
use dagbok_protocol::{ReportBody, WorkItem};
use dagbok_runlog::{Delivery, PortError};
use dagbok_runtime::Backoff;
use tokio::sync::OwnedSemaphorePermit;

use super::{null, passed, run::Running, supervise::Leaving, verdict::failure};
use crate::{
    ExecutorStats, Stretch, begun,
    held::Held,
    room::Part,
    shared::{Shared, since_boot},
};

/// How soon an item that can't be read here may come to another executor, perhaps a newer one.
const UNREADABLE_DELAY: Duration = Duration::from_secs(30);

/// How a try came here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pulled {
    /// When.
    pub(crate) at: Instant,
    /// Whether somebody else may have it as well: then the scheduler is asked first.
    pub(crate) must_ask: bool,
    /// Whether it was somebody else's before, and may have begun there.
    pub(crate) again: bool,
    /// Whether it comes from who had no room for it, and had not begun it.
    pub(crate) passed: bool,
}

/// What is still to be done when a try is over.
#[derive(Debug)]
pub(crate) enum End {
    /// Say this; then the item is done with.
    Report {
        /// What.
        body: Box<ReportBody>,
        /// When the task's process said how it ended, where it did.
        last_word: Option<Instant>,
        /// The process, where it is not gone yet: what the try takes up is not free before it is.
        leaving: Option<Leaving>,
    },
    /// Say nothing; the item is done with.
    Silent,
    /// The item is for somebody else.
    Nak,
    /// The same, and nothing of it has begun here: there is no room for it.
    Passed,
}

impl End {
    /// An end that no process had a word in.
    pub(crate) fn report(body: ReportBody) -> Self {
        Self::Report { body: Box::new(body), last_word: None, leaving: None }
    }
}

/// What a try takes up of its executor.
type Room = (Option<OwnedSemaphorePermit>, Option<Part>);

/// Hands an item back for which there is no slot: by a report, since one that is delivered again would count
/// as one that may have begun here.
pub(crate) async fn hand_back(shared: Arc<Shared>, delivery: Delivery) {
    let handed = match decode_any::<WorkItem>(&delivery.payload) {
        Ok(item) => shared.reporter.report(&item.key, ReportBody::Returned).send().await.is_ok(),
        Err(_) => false,
    };
    let done = if handed {
        delivery.handle.ack().await
    } else {
        delivery.handle.nak(UNREADABLE_DELAY).await
    };
    if let Err(error) = done {
        tracing::warn!(key = delivery.key, %error, "an item without a slot comes back only after its lease");
    }
}

/// Runs what was delivered, to the very end.
pub(crate) async fn take(shared: Arc<Shared>, delivery: Delivery, slot: OwnedSemaphorePermit) {
    let item: WorkItem = match decode_any(&delivery.payload) {
        Ok(item) => item,
        Err(error) => {
            tracing::error!(key = delivery.key, %error, "a work item can't be read here and is handed back");
            drop(delivery.handle.nak(UNREADABLE_DELAY).await);
            return;
        }
    };
    let (pulled_at, delivered, waited) = (since_boot(), delivery.delivered, delivery.waited);
    let Some((held, words)) = shared.holds.take(&item.key, delivery.handle) else {
        tracing::debug!(key = %item.key, "delivered again while in hand");
        return;
    };
    ExecutorStats::count(&shared.settings.stats.pulled);
    let stale = shared.settings.fencing && shared.fence.lock().is_stale(pulled_at);
    let offered_again = item.ask || delivered > 1;
    // Where the queue lives in this process, what it forgot with its last life is known by marks on the disk.
    let passed = delivered > 1 && passed::on(&shared, &item, delivered).await;
    let again = shared.settings.fencing && (item.ask || delivered > 1 && !passed);
    // What has waited for so long may be given up by now.
    let late = item.ask_after.is_some_and(|after| waited >= after.to_std());
    // Meanwhile it may be over by the log: its pod may have waited for long.
    let claimed = shared.settings.claim.is_some();
    let must_ask = offered_again || stale || late || claimed;
    let pulled = Pulled { at: Instant::now(), must_ask, again, passed };
    let mut room = (Some(slot), None);
    let end = match &shared.place {
        // A pull was under way as that was said.
        _ if shared.standing.is_cordoned() => End::Passed,
        None => null::run(&shared, &item).await,
        Some(place) => {
            let log = shared.logs.begin(&item.key);
            let running = Running {
                shared: &shared,
                item: &item,
                held: &held,
                pulled: &pulled,
                log: Arc::clone(&log),
                place: &**place,
                part: parking_lot::Mutex::default(),
                slot: parking_lot::Mutex::new(room.0.take()),
                waited: AtomicBool::new(false),
            };
            let end = running.run(words).await;
            room = (running.slot.into_inner(), running.part.into_inner());
            shared.logs.end(&item.key, &log);
            end
        }
    };
    if matches!(end, End::Passed) {
        drop(room);
        shared.tell_slots();
        // Who had it before may have begun it: of that nobody here knows better.
        let unbegun = !pulled.again;
        passed::pass_on(&shared, &held, delivered, unbegun).await;
    } else {
        settle(&shared, &held, end, room).await;
    }
    shared.holds.release(&item.key);
    shared.tell_slots();
}

async fn settle(shared: &Arc<Shared>, held: &Held, end: End, room: Room) {
    match end {
        End::Nak | End::Passed => {
            drop(held.handle().nak(Duration::ZERO).await);
            return;
        }
        End::Silent => ExecutorStats::count(&shared.settings.stats.dropped),
        End::Report { body, last_word, leaving } => {
            count(&shared.settings.stats, &body);
            let told = async {
                report(shared, held, *body).await;
                shared.logs.told(&held.key);
                if let Some(last_word) = last_word {
                    shared.settings.stats.tell(Stretch::HandOff, last_word.elapsed());
                }
            };
            let gone = async {
                if let Some(leaving) = leaving {
                    leaving.gone().await;
                }
            };
            tokio::join!(told, gone);
        }
    }
    // The slot is free before the item is gone: the next one need not wait for that.
    drop(room);
    shared.tell_slots();
    acknowledge(held).await;
}

/// Until it is in the inbox. A report that the inbox won't ever take is replaced by one that says so.
async fn report(shared: &Arc<Shared>, held: &Held, body: ReportBody) {
    let reporter = &shared.reporter;
    // The mark of one that was forked goes with the answer to its start.
    let sent = if held.was_forked() || !shared.begun.is_marked(&held.key) {
        reporter.report(&held.key, body).send().await
    } else {
        let told = begun::report_marked(shared, held.key.clone(), body, drop);
        told.await.expect("it is told before the answer is awaited")
    };
    let Err(error) = sent else { return };
    tracing::error!(key = %held.key, %error, "a terminal report breaks a limit");
    let failure = failure(FailureKind::Executor, Fault::System, error.to_string());
    let body = ReportBody::Failed { failure, xcoms: vec![], usage: Usage::default(), log: None };
    if let Err(error) = reporter.report(&held.key, body).send().await {
        tracing::error!(key = %held.key, %error, "a try's end can't be reported");
    }
}

async fn acknowledge(held: &Held) {
    let mut backoff = Backoff::default();
    loop {
        match held.handle().ack().await {
            Ok(()) => return,
            Err(error @ PortError::Unavailable { .. }) => {
                if backoff.is_worth_telling() {
                    tracing::warn!(key = %held.key, %error, "a work item is not acknowledged yet");
                }
            }
            // It comes again, and is refused then: its report is safe.
            Err(error) => {
                tracing::warn!(key = %held.key, %error, "a work item can't be acknowledged");
                return;
            }
        }
        backoff.pause().await;
    }
}

fn count(stats: &ExecutorStats, body: &ReportBody) {
    match body {
        ReportBody::Succeeded { .. } => ExecutorStats::count(&stats.succeeded),
        ReportBody::Failed { .. } => ExecutorStats::count(&stats.failed),
        ReportBody::Skipped { .. } => ExecutorStats::count(&stats.skipped),
        ReportBody::Lost { why: LostWhy::Ordered, .. } => ExecutorStats::count(&stats.dropped),
        ReportBody::Lost { .. } => ExecutorStats::count(&stats.lost),
        ReportBody::Returned
        | ReportBody::Rescheduled { .. }
        | ReportBody::Deferred { .. }
        | ReportBody::TriggerHeld
        | ReportBody::TriggerFired { .. }
        | ReportBody::TriggerFailed { .. }
        | ReportBody::Started { .. }
        | ReportBody::XCom(_)
        | ReportBody::Named { .. }
        | ReportBody::CallbackFailed { .. }
        | ReportBody::Checkpoint { .. }
        | ReportBody::Progress { .. }
        | ReportBody::Lineage { .. }
        | ReportBody::Left { .. } => {}
    }
}
