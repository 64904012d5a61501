//! Watches over a try's process, from its start to what is to be reported of it.
use std::{fmt, path::Path, pin::Pin, sync::Arc};

use dagbok_events::{LostWhy, OutOfMemoryBy, Usage};
use tokio::sync::{mpsc, oneshot};

use super::{
    conclude::Used,
    exit::{Exit, Patience, ProcessWatch},
    run::{Around, Running},
    said::Said,
    settle::End,
    verdict::{self, Verdict},
};
use crate::{
    Stretch, begun,
    bundle::BundleFolder,
    held::{Control, Kill},
    keep::{Ended, Keeps},
    phase::{Phase, PhaseTeller},
    place::Started,
    reports::Unreportable,
    usage::{Bound, Watched},
};

/// A try's process whose end is known before it is gone: nothing of it is left to run.
pub(crate) struct Leaving(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Leaving {
    /// Watches it, and ends it where it does not end, until it is gone.
    pub(crate) async fn gone(self) {
        self.0.await;
    }
}

impl fmt::Debug for Leaving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Leaving")
    }
}

impl Running<'_> {
    pub(super) async fn supervise(
        &self,
        folder: &BundleFolder,
        process: Started,
        around: Around,
        words: mpsc::UnboundedReceiver<Control>,
    ) -> End {
        let Self { shared, item, .. } = self;
        let Started { process, pid, stream, startup, pump, exited } = process;
        shared.holds.forked(self.held, pid);
        let watched = self.watch(pid, &around);
        self.tell_start();
        let phase = PhaseTeller::new(if self.must_ask() { Phase::Waiting } else { Phase::Running });
        let watch = ProcessWatch {
            process: Arc::clone(&process),
            exited,
            words,
            log: Arc::clone(&self.log),
            phase: phase.clone(),
            patience: self.patience(),
        };
        let server = self.server(stream, startup, &phase, Some(Arc::clone(&around.keeps)));
        let started = self.announce(pid, &phase);
        let mut exit = Box::pin(watch.run());
        let mut heard = Box::pin(async {
            tokio::join!(server.serve(), pump.run(phase.reader(), shared.store.clone()))
        });
        let (mut exited, (said, early)) = tokio::select! {
            biased;
            exited = &mut exit => (Some(exited), heard.await),
            heard = &mut heard => (None, heard),
        };
        if exited.is_none() && said.used.is_none() {
            // Something of it may still run.
            exited = Some((&mut exit).await);
        }
        if self.must_ask()
            && let Some(Exit { kill: Some(Kill::Refused(_)), .. }) = &exited
        {
            // None of the task's code has run: there is nothing to keep, and nobody to tell.
            return End::Silent;
        }
        self.look_after(folder).await;
        let verdict = self.judge(&said, exited.as_ref(), folder, &watched);
        // Before its end.
        if started.await.is_ok_and(|sent| sent.is_err()) {
            tracing::error!(key = %item.key, "the start of a try can't be reported");
        }
        self.say(&verdict, exited.as_ref());
        Self::keep(&around.keeps, &verdict).await;
        self.call_what_is_left(folder, &verdict, &said, &around).await;
        let counted = exited.as_ref().map_or(said.used, usage);
        let counted = counted.map(|used| seen_at_least(used, watched.resident()));
        let used = Used { counted, series: watched.series() };
        let leaving = exited.is_none().then(|| {
            Leaving(Box::pin(async move {
                exit.await;
                // Its place to work in, its group and its number are its own until then.
                drop((process, around, watched));
            }))
        });
        match self.conclude(verdict, said, early, used).await {
            End::Report { body, last_word, .. } => End::Report { body, last_word, leaving },
            other => other,
        }
    }

    fn patience(&self) -> Patience {
        let settings = &self.shared.settings;
        let limit = self.item.execution_timeout;
        let timeout = limit.map(|limit| limit.to_std() + settings.timeout_grace);
        Patience { timeout, grace: settings.kill_grace, overtime: settings.overtime }
    }

    /// What its end means. Where it is not gone yet, its own last word says that.
    fn judge(
        &self,
        said: &Said,
        exited: Option<&Exit>,
        folder: &Path,
        watched: &Watched,
    ) -> Verdict {
        let Self { shared, item, .. } = self;
        let Some(exit) = exited else {
            return verdict::judge(said, &Exit::default(), folder, None, || None);
        };
        if let Some(how) = exit.orphaned {
            self.place.orphaned(item, how);
        }
        let own = watched.killed_at_limit();
        if own.is_some() {
            // The same kill counts above too, and explains nobody else's death.
            shared.oom.claim();
        }
        verdict::judge(said, exit, folder, own, || {
            let limit = shared.oom.limit();
            shared.oom.claim().then(|| watched.killed(OutOfMemoryBy::Machine, limit))
        })
    }

    /// Calls, or says that nobody called to the end, the callbacks that its process did not.
    async fn call_what_is_left(
        &self,
        folder: &BundleFolder,
        verdict: &Verdict,
        said: &Said,
        around: &Around,
    ) {
        if let Some(callback) = &said.calling {
            let message = "the process that called it ended before its end, or was ended since it took too long";
            self.tell_callback(callback, message).await;
        }
        if let (Verdict::Failed(failure), None, None) =
            (verdict, &said.ending, &self.item.dag_callback)
        {
            self.call_back(folder, failure, &around.bounds).await;
        }
    }

    /// Looks at what it uses from now on.
    fn watch(&self, pid: u32, around: &Around) -> Watched {
        let Around { limits, group, .. } = around;
        let over = group.is_none().then(|| Arc::clone(self.held));
        let bound = Bound { limits: *limits, group: group.clone(), over };
        self.shared.meters.watch(&self.item.key, pid, self.shared.clock.now(), bound)
    }

    /// Says in the log where the bundle was changed meanwhile: what writes past Python is not told otherwise.
    async fn look_after(&self, folder: &BundleFolder) {
        if let Ok(Some(what)) = self.shared.bundles.check(&self.item.bundle, folder).await {
            let text = format!(
                "while this try ran, {what} in the copy of the DAG folder that tries read; it is put back. \
                 Nothing may write there: use a temporary folder, or a path outside the DAG folder"
            );
            self.log.system("error", text);
        }
    }

    /// Reports the start, and hears whether the try is ours; until then a redelivery waits.
    fn announce(
        &self,
        pid: u32,
        phase: &PhaseTeller,
    ) -> oneshot::Receiver<Result<(), Unreportable>> {
        let (held, phase) = (Arc::clone(self.held), phase.clone());
        begun::report_marked(self.shared, self.item.key.clone(), self.started(pid), move |answer| {
            match answer {
                Ok(()) => phase.reach(Phase::Running),
                Err(refusal) => held.tell(Control::Kill(Kill::Refused(refusal.message))),
            }
        })
    }

    fn tell_start(&self) {
        let stats = &self.shared.settings.stats;
        stats.tell(Stretch::PullToStart, self.pulled.at.elapsed());
        stats.tell(
            Stretch::QueueToStart,
            self.shared.clock.now().since(self.item.queued_at).to_std(),
        );
    }

    /// Keeps what the task left for its next try, before the end is reported that makes one.
    async fn keep(keeps: &Keeps, verdict: &Verdict) {
        let how = match verdict {
            Verdict::Succeeded | Verdict::Skipped(_) => Ended::Done,
            Verdict::Rescheduled(_) | Verdict::Deferred(_) => Ended::GoesOn,
            // By the log it is over already: nothing that it says counts any more.
            Verdict::Lost(LostWhy::Ordered) => Ended::ByLog,
            Verdict::Failed(_) | Verdict::Lost(_) => Ended::Badly,
        };
        keeps.end(how).await;
    }

    /// Says in the log how it ended, where its own lines may not.
    fn say(&self, verdict: &Verdict, exit: Option<&Exit>) {
        let exited = exit.and_then(|exit| exit.exited.as_ref());
        if let Some(left) = exited.map(|exited| exited.leftovers).filter(|left| *left > 0) {
            self.log.system(
                "warning",
                format!("{left} processes that the task left behind were killed"),
            );
        }
        match verdict {
            Verdict::Failed(failure) if failure.exception.is_none() => {
                self.log.system("error", failure.message.clone());
            }
            Verdict::Lost(LostWhy::ParentDied) => {
                let text = "the process that forked this try and others of its file was ended, by one of \
                            them or from outside: they are run again, each apart from the others";
                self.log.system("error", text);
            }
            // What was done to it was said when it was done.
            Verdict::Lost(LostWhy::NotHeld) => {
                self.log.system("error", "the try's process is gone, nobody can tell how");
            }
            Verdict::Lost(LostWhy::Fenced) if exit.is_some_and(|exit| exit.kill.is_none()) => {
                let text = "ended because nothing was heard of the executor for most of its lease";
                self.log.system("warning", text);
            }
            _ => {}
        }
    }
}

/// What the kernel counted; `None` where nobody could tell any more.
fn usage(exit: &Exit) -> Option<Usage> {
    exit.exited.as_ref().map(|exited| Usage {
        max_rss_bytes: exited.max_rss_bytes,
        user_us: exited.user_us,
        system_us: exited.system_us,
    })
}

/// With the memory that was seen of all its processes together, where that is more: the kernel has the largest of them.
fn seen_at_least(used: Usage, seen: u64) -> Usage {
    Usage { max_rss_bytes: used.max_rss_bytes.max(seen), ..used }
}
