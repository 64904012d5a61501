//! The rules of what is kept, carried out from time to time.
use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use dagbok_events::{Actor, Timestamp};
use dagbok_inbox::{Ask, AskError, Inbox};
use dagbok_protocol::{Answer, CommandBody};
use dagbok_runlog::{Blobs, PortError, RunLog};
use dagbok_runtime::{Clock, Shutdown};
use futures::{StreamExt as _, stream};
use tokio::sync::Notify;

use super::{Forgetting, Going, Plan, Rules, Sweep, Swept, Telling, sweep, sweep::bundles};
use crate::model::{ReadModel, StoreError};

/// Runs that are looked up in one piece.
const AT_ONCE: usize = 5_000;
/// Commands that are on their way at once.
const IN_FLIGHT: usize = 64;
/// How long the scheduler may take to answer.
const ANSWER: Duration = Duration::from_secs(30);
/// Blobs are swept at least so often, whether or not anything went.
const SWEEP_EVERY: Duration = Duration::from_hours(24);
/// Looks between two sweeps where something went: each reads all rows and lists all blobs.
const LOOKS_APART: u32 = 6;

/// How what is kept is looked after.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Which runs go.
    pub rules: Rules,
    /// How often is looked.
    pub every: Duration,
}

/// Carries out the rules.
#[derive(Clone, Debug)]
pub struct Keeper {
    pub(crate) model: ReadModel,
    pub(crate) log: Arc<dyn RunLog>,
    pub(crate) inbox: Inbox,
    pub(crate) blobs: Arc<dyn Blobs>,
    pub(crate) clock: Clock,
    /// Told where runs went by hand.
    pub(crate) went: Arc<Notify>,
}

impl Keeper {
    /// Looks from time to time, until the shutdown starts. Blobs move beside that: a slow store delays no run's going.
    pub async fn run(self, retention: Retention, shutdown: Shutdown) {
        tokio::join!(self.settle_on(retention.every, &shutdown), self.keep(retention, &shutdown));
    }

    async fn settle_on(&self, every: Duration, shutdown: &Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.started() => return,
                () = tokio::time::sleep(every) => {}
            }
            tokio::select! {
                () = shutdown.started() => return,
                () = self.settle() => {}
            }
        }
    }

    async fn keep(&self, retention: Retention, shutdown: &Shutdown) {
        let mut swept_at = None::<Timestamp>;
        // Whether something went since the last sweep.
        let mut unswept = false;
        loop {
            let by_hand = tokio::select! {
                () = shutdown.started() => return,
                () = self.went.notified() => true,
                () = tokio::time::sleep(retention.every) => false,
            };
            // Rows that are behind would name what is gone, and miss what is new.
            if !self.model.progress().now().caught_up {
                continue;
            }
            let gone = tokio::select! {
                () = shutdown.started() => return,
                gone = self.prune(retention.rules) => gone,
            };
            let gone = gone.unwrap_or_else(|error| {
                tracing::error!(%error, "what is to go can't be told");
                0
            });
            if gone > 0 {
                tracing::info!(runs = gone, "runs went by the rules of what is kept");
            }
            let lapsed = tokio::select! {
                () = shutdown.started() => return,
                lapsed = self.forget_old(retention.rules) => lapsed,
            };
            unswept = unswept || gone > 0 || lapsed;
            let now = self.clock.now();
            let apart = if unswept { retention.every * LOOKS_APART } else { SWEEP_EVERY };
            let is_due = swept_at.is_none_or(|at| now.since(at).to_std() >= apart.min(SWEEP_EVERY));
            if let Some(unnamed_for) = retention.rules.blobs
                && (by_hand || is_due)
            {
                tokio::select! {
                    () = shutdown.started() => return,
                    swept = self.sweep(unnamed_for) => {
                        if let Some(swept) = swept {
                            // What could not be deleted is tried again soon.
                            (swept_at, unswept) = (Some(now), swept.failed > 0);
                        }
                    }
                }
            }
        }
    }

    /// Has blobs that are no longer new moved to where they lie for long; but for code, which work items name: executors
    /// that others wrote know one place alone.
    async fn settle(&self) {
        // Rows that are behind do not name what is new.
        if !self.model.progress().now().caught_up {
            return;
        }
        let store = self.model.store();
        let named = tokio::task::spawn_blocking(move || bundles(&store));
        let code: HashSet<String> = match named.await {
            Ok(Ok(bundles)) => bundles.iter().map(|it| it.as_str().to_owned()).collect(),
            Ok(Err(error)) => {
                tracing::error!(%error, "which blobs stay near can't be told: none moves");
                return;
            }
            Err(panic) => {
                tracing::error!(%panic, "which blobs stay near can't be told: none moves");
                return;
            }
        };
        let now = u64::try_from(self.clock.now().0).unwrap_or(0);
        match self.blobs.settle(UNIX_EPOCH + Duration::from_micros(now), &code).await {
            Ok(moved) if moved.blobs > 0 => {
                tracing::info!(
                    blobs = moved.blobs,
                    bytes = moved.bytes,
                    "blobs moved to the object store"
                );
            }
            Ok(_) => {}
            Err(error @ PortError::Refused { .. }) => {
                tracing::error!(%error, code = "DBK0039", "blobs stay near until that is mended");
            }
            Err(error) => tracing::warn!(%error, "blobs stay near for now"),
        }
    }

    /// Whether the rows hold all that the log holds now. Once caught up they may have stopped since.
    async fn rows_are_whole(&self) -> bool {
        match self.log.last().await {
            Ok(last) => self.model.progress().wait_for(last, ANSWER).await,
            Err(_) => false,
        }
    }

    /// What went, where blobs were looked through; rows that are behind do not name what is new.
    pub(crate) async fn sweep(&self, unnamed_for: Duration) -> Option<Swept> {
        let swept = self.look_through(unnamed_for, Sweep::Delete).await;
        if let Some(swept) = swept
            && swept.unnamed > 0
        {
            tracing::info!(
                deleted = swept.unnamed,
                of = swept.blobs,
                bytes = swept.bytes,
                "blobs that nothing names were deleted"
            );
        }
        swept
    }

    /// What a sweep would delete now; `None` where that can't be told, which the service's log says.
    pub(crate) async fn unnamed(&self, unnamed_for: Duration) -> Option<Swept> {
        self.look_through(unnamed_for, Sweep::Count).await
    }

    async fn look_through(&self, unnamed_for: Duration, what: Sweep) -> Option<Swept> {
        let now = u64::try_from(self.clock.now().0).unwrap_or(0);
        let put_since = (UNIX_EPOCH + Duration::from_micros(now)).checked_sub(unnamed_for)?;
        if !self.rows_are_whole().await {
            tracing::warn!("the read model is behind the log: no blob is deleted until it is not");
            return None;
        }
        match sweep(&self.model.store(), &*self.blobs, put_since, what).await {
            Ok(swept) => Some(swept),
            Err(error) => {
                tracing::error!(%error, "blobs that nothing names can't be looked for");
                // What was looked through is not looked through again at once.
                matches!(what, Sweep::Delete).then(|| Swept { failed: 1, ..Swept::default() })
            }
        }
    }

    /// Has forgotten what the rules let go beside runs; whether logs or values of runs are among it.
    async fn forget_old(&self, rules: Rules) -> bool {
        let (store, now) = (self.model.store(), self.clock.now());
        let plan = tokio::task::spawn_blocking(move || {
            Forgetting::plan(&store, rules, (now, None, &[]), Telling::Whether)
        });
        match plan.await {
            Ok(Ok(plan)) => {
                let lapses = plan.logs.runs + plan.xcoms.runs > 0;
                let forgot = self.forget(plan, &Actor::Scheduler, "by the rules of what is kept");
                return forgot.await && lapses;
            }
            Ok(Err(error)) => tracing::error!(%error, "what is to be forgotten can't be told"),
            Err(panic) => tracing::error!(%panic, "what is to be forgotten can't be told"),
        }
        false
    }

    /// Asks the scheduler to forget, and waits until the rows have; what is in use again stays. Whether it forgot any.
    pub(crate) async fn forget(&self, plan: Forgetting, by: &Actor, why: &str) -> bool {
        let Forgetting { executors, reports, backfills, .. } = plan;
        let (dags, versions) = (plan.dags.len(), plan.versions.len());
        let (logs, xcoms) = (plan.logs.runs > 0, plan.xcoms.runs > 0);
        let mut last = 0;
        for body in plan.commands() {
            let ask = Ask { by: by.clone(), reason: Some(why.to_owned()), trace: None, body };
            match self.inbox.ask(ask, ANSWER).await {
                Ok(Answer::Accepted { seq, .. }) => last = last.max(seq),
                Ok(Answer::Refused(refusal)) => tracing::info!(?refusal, "it is not forgotten"),
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "what is to be forgotten stays for now");
                    break;
                }
            }
        }
        if last > 0 {
            self.model.progress().wait_for(dagbok_runlog::Seq(last), ANSWER).await;
            tracing::info!(
                dags,
                versions,
                executors,
                reports,
                backfills,
                logs,
                xcoms,
                "what is old was forgotten"
            );
        }
        last > 0
    }

    /// Lets all runs go that go by the rules, and returns how many went.
    async fn prune(&self, rules: Rules) -> Result<u64, StoreError> {
        let mut gone = 0;
        loop {
            let (store, now) = (self.model.store(), self.clock.now());
            let made = tokio::task::spawn_blocking(move || {
                Plan::make(&store, rules, (now, None, AT_ONCE))
            });
            let Ok(plan) = made.await else { return Ok(gone) };
            let plan = plan?;
            let found = plan.runs.len();
            let went =
                self.delete(plan.runs, &Actor::Scheduler, "by the rules of what is kept").await;
            gone += went;
            // Nothing went of them: who decides is away, or knows better. Later, then.
            if found < AT_ONCE || went == 0 {
                return Ok(gone);
            }
        }
    }

    /// Asks the scheduler to let runs go; returns how many went, once the rows say so too. One that is not
    /// over any more stays.
    pub(crate) async fn delete(&self, runs: Vec<Going>, by: &Actor, why: &str) -> u64 {
        let asked = stream::iter(runs).map(|Going { run, .. }| {
            let body =
                CommandBody::DeleteRun { dag_id: run.dag_id.clone(), run_id: run.run_id.clone() };
            let ask = Ask { by: by.clone(), reason: Some(why.to_owned()), trace: None, body };
            async move { (run, self.inbox.ask(ask, ANSWER).await) }
        });
        let mut asked = asked.buffer_unordered(IN_FLIGHT);
        let (mut gone, mut last, mut silent) = (0, 0, 0);
        while let Some((run, answer)) = asked.next().await {
            match answer {
                Ok(Answer::Accepted { seq, .. }) => {
                    gone += 1;
                    last = last.max(seq);
                }
                Ok(Answer::Refused(refusal)) => tracing::info!(%run, ?refusal, "the run stays"),
                Ok(_) => {}
                Err(error @ (AskError::Silent { .. } | AskError::NotSent(_))) => {
                    tracing::warn!(%run, %error, "the run stays for now");
                    silent += 1;
                    if silent == IN_FLIGHT {
                        break;
                    }
                }
                Err(error) => tracing::warn!(%run, %error, "whether the run went is not known"),
            }
        }
        self.model.progress().wait_for(dagbok_runlog::Seq(last), ANSWER).await;
        gone
    }
}

#[cfg(test)]
mod tests {
    use dagbok_runlog::{Draft, Seq, memory};

    use super::*;

    /// What the log names and the rows have not seen would be deleted.
    #[tokio::test(start_paused = true)]
    async fn no_blob_is_deleted_by_rows_that_are_behind() {
        let (ports, clock) = (memory::ports(), Clock::system());
        let keeper = Keeper {
            model: ReadModel::open(None).unwrap(),
            log: Arc::clone(&ports.log),
            inbox: Inbox::open(&ports, clock.clone()).await.unwrap(),
            blobs: Arc::clone(&ports.blobs),
            clock,
            went: Arc::default(),
        };
        let digest = ports.blobs.put("a log".into()).await.unwrap();
        let draft = Draft { subject: "log.case".to_owned(), payload: "unread".into() };
        ports.log.append(Seq::ZERO, vec![draft]).await.unwrap();
        assert_eq!(keeper.sweep(Duration::ZERO).await, None);
        assert!(ports.blobs.has(&digest).await.unwrap());
    }
}
