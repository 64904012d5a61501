//! Watches a try's process until it is gone, and ends it where it must end.
use std::{sync::Arc, time::Duration};

use nix::sys::signal::Signal;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

use super::verdict::memory_text;
use crate::{
    held::{Control, Kill},
    log::LiveLog,
    phase::{Phase, PhaseTeller},
    place::{Exited, Orphaned, Process},
};

/// How long after SIGKILL the place may take to say that the process is gone.
const KILL_WAIT: Duration = Duration::from_secs(10);
/// How long it may take once it was given up.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// How a try's process ended, and what we did to it.
#[derive(Debug, Default)]
pub(crate) struct Exit {
    /// What the kernel said; `None` where nobody could tell any more.
    pub(crate) exited: Option<Exited>,
    /// Why it was to end, where it was told to.
    pub(crate) kill: Option<Kill>,
    /// Whether its time was up, and its own process did not see to that.
    pub(crate) timed_out: bool,
    /// Whether we sent SIGKILL.
    pub(crate) killed: bool,
    /// What is known of whoever should have told its end, where nobody did.
    pub(crate) orphaned: Option<Orphaned>,
}

/// How patient to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// From the start to SIGTERM.
    pub(crate) timeout: Option<Duration>,
    /// From SIGTERM to SIGKILL.
    pub(crate) grace: Duration,
    /// From the last word to SIGTERM.
    pub(crate) overtime: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escalation {
    /// It may run.
    Run,
    /// It has said its last word and may end by itself.
    End,
    /// SIGTERM was sent.
    Terminated,
    /// SIGKILL was sent.
    Killed,
    /// Its place was told that it does not end.
    GivenUp,
}

/// A try's process under watch.
#[derive(Debug)]
pub(crate) struct ProcessWatch {
    /// What is watched.
    pub(crate) process: Arc<dyn Process>,
    /// Tells its end.
    pub(crate) exited: oneshot::Receiver<Exited>,
    /// Tells what is wanted.
    pub(crate) words: mpsc::UnboundedReceiver<Control>,
    /// For what we do to it.
    pub(crate) log: Arc<LiveLog>,
    /// Its phases.
    pub(crate) phase: PhaseTeller,
    /// How patient to be.
    pub(crate) patience: Patience,
}

impl ProcessWatch {
    /// Returns when the process is gone, for certain or for all we can do.
    pub(crate) async fn run(mut self) -> Exit {
        let (mut exit, mut step, mut deadline) = (Exit::default(), Escalation::Run, None);
        let mut phases = self.phase.reader();
        loop {
            tokio::select! {
                biased;
                exited = &mut self.exited => {
                    if let Ok(exited) = exited {
                        exit.exited = Some(exited);
                    } else {
                        exit.orphaned = Some(self.process.lost());
                    }
                    break;
                }
                Some(word) = self.words.recv() => {
                    if let Some(next) = self.obey(word, &mut exit, step).await {
                        (step, deadline) = next;
                    }
                }
                phase = phases.next() => match (phase, step) {
                    (Phase::Running, Escalation::Run) => {
                        deadline = self.patience.timeout.and_then(|limit| Instant::now().checked_add(limit));
                    }
                    (Phase::Said, Escalation::Run) => {
                        (step, deadline) = (Escalation::End, Some(Instant::now() + self.patience.overtime));
                    }
                    _ => {}
                },
                () = at(deadline) => {
                    if step == Escalation::GivenUp {
                        break;
                    }
                    (step, deadline) = self.escalate(step, &mut exit).await;
                }
            }
        }
        self.phase.reach(Phase::Exited);
        exit
    }

    async fn obey(
        &self,
        word: Control,
        exit: &mut Exit,
        step: Escalation,
    ) -> Option<(Escalation, Option<Instant>)> {
        match word {
            Control::Freeze => self.process.signal(Signal::SIGSTOP).await,
            Control::Thaw => self.process.signal(Signal::SIGCONT).await,
            Control::Kill(why) => {
                let hard = matches!(
                    why,
                    Kill::Fenced | Kill::Refused(_) | Kill::Garbled(_) | Kill::OutOfMemory(_)
                );
                self.log.system("warning", told(&why));
                // An order counts most: nothing more is to be said of the try.
                if exit.kill.is_none() || matches!(why, Kill::Order(_) | Kill::Refused(_)) {
                    exit.kill = Some(why);
                }
                if hard && step != Escalation::Killed && step != Escalation::GivenUp {
                    return Some(self.kill(exit).await);
                }
                if matches!(step, Escalation::Run | Escalation::End) {
                    return Some(self.terminate().await);
                }
            }
        }
        None
    }

    async fn escalate(&self, step: Escalation, exit: &mut Exit) -> (Escalation, Option<Instant>) {
        match step {
            Escalation::Run => {
                exit.timed_out = true;
                self.log.system(
                    "error",
                    "execution_timeout is over and the task did not stop: sending SIGTERM",
                );
                self.terminate().await
            }
            Escalation::End => {
                let seconds = self.patience.overtime.as_secs();
                self.log.system(
                    "warning",
                    format!(
                        "the process did not end within {seconds} s of its task: sending SIGTERM"
                    ),
                );
                self.terminate().await
            }
            Escalation::Terminated => {
                self.log.system("warning", "the process did not end by SIGTERM: sending SIGKILL");
                self.kill(exit).await
            }
            Escalation::Killed | Escalation::GivenUp => {
                self.process.give_up();
                (Escalation::GivenUp, Some(Instant::now() + LAST_WAIT))
            }
        }
    }

    async fn terminate(&self) -> (Escalation, Option<Instant>) {
        self.process.signal(Signal::SIGTERM).await;
        // Where it was stopped it could not hear that.
        self.process.signal(Signal::SIGCONT).await;
        (Escalation::Terminated, Some(Instant::now() + self.patience.grace))
    }

    async fn kill(&self, exit: &mut Exit) -> (Escalation, Option<Instant>) {
        exit.killed = true;
        self.process.signal(Signal::SIGKILL).await;
        (Escalation::Killed, Some(Instant::now() + KILL_WAIT))
    }
}

fn told(why: &Kill) -> String {
    match why {
        Kill::Order(why) => format!("ended by the scheduler's order: {why}"),
        Kill::Refused(why) => format!("ended because the scheduler refused its start: {why}"),
        Kill::Fenced => {
            "ended because the executor could not renew its lease: the try may be given to another"
                .to_owned()
        }
        Kill::Drained => "ended because the executor is being stopped".to_owned(),
        Kill::OutOfMemory(why) => memory_text(why),
        Kill::Garbled(why) => format!("ended because its result could not be told any more: {why}"),
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
