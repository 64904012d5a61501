//! Watches a try's process until it is gone, and ends it where it must end.
use std::{sync::Arc, time::Duration};

use nix::sys::signal::{Signal, killpg};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};

use super::phase::{Phase, PhaseTeller};
use crate::{
    held::{Control, Kill},
    log::LiveLog,
    zygote::{Exited, Zygote},
};

/// How long after SIGKILL the zygote may take to say that the process is gone.
const KILL_WAIT: Duration = Duration::from_secs(10);
/// How long a word to the zygote may take to go out.
const SEND_WAIT: Duration = Duration::from_secs(1);

/// How a try's process ended, and what we did to it.
#[derive(Debug, Default)]
pub(crate) struct Exit {
    /// What the kernel said; `None` where the zygote went away before it could tell.
    pub(crate) exited: Option<Exited>,
    /// Why it was to end, where it was told to.
    pub(crate) kill: Option<Kill>,
    /// Whether its time was up, and its own process did not see to that.
    pub(crate) timed_out: bool,
    /// Whether we sent SIGKILL.
    pub(crate) killed: bool,
    /// Whose end was the process that forked it, where that went away before it could tell.
    pub(crate) orphaned: Option<Orphaned>,
}

/// What is known of the end of the process that had forked a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Orphaned {
    /// It had other tries too: who ended it can't be told.
    WithOthers,
    /// It had this one alone, as it has for a file's first try too.
    Alone,
    /// It had been started for this one.
    Apart,
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
enum Step {
    /// It may run.
    Run,
    /// It has said its last word and may end by itself.
    End,
    /// SIGTERM was sent.
    Terminated,
    /// SIGKILL was sent.
    Killed,
    /// The zygote was killed as well.
    GivenUp,
}

/// A try's process under watch.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Who forked it.
    pub(crate) zygote: Arc<Zygote>,
    /// Its name there.
    pub(crate) run_key: String,
    /// Its process, leader of its group.
    pub(crate) pid: u32,
    /// Tells its end.
    pub(crate) exited: oneshot::Receiver<Exited>,
    /// Tells what is wanted.
    pub(crate) words: mpsc::UnboundedReceiver<Control>,
    /// For what we do to it.
    pub(crate) log: Arc<LiveLog>,
    /// Its phases.
    pub(crate) phase: PhaseTeller,
    /// Whether who forked it was started for it alone.
    pub(crate) apart: bool,
    /// How patient to be.
    pub(crate) patience: Patience,
}

impl Watch {
    /// Returns when the process is gone, for certain or for all we can do.
    pub(crate) async fn run(mut self) -> Exit {
        let (mut exit, mut step, mut deadline) = (Exit::default(), Step::Run, None);
        let mut phases = self.phase.reader();
        loop {
            tokio::select! {
                biased;
                exited = &mut self.exited => {
                    if let Ok(exited) = exited {
                        exit.exited = Some(exited);
                    } else {
                        self.kill_group();
                        exit.orphaned = Some(match self.zygote.went_with() {
                            _ if self.apart => Orphaned::Apart,
                            0 | 1 => Orphaned::Alone,
                            _ => Orphaned::WithOthers,
                        });
                    }
                    break;
                }
                Some(word) = self.words.recv() => {
                    if let Some(next) = self.obey(word, &mut exit, step).await {
                        (step, deadline) = next;
                    }
                }
                phase = phases.next() => match (phase, step) {
                    (Phase::Running, Step::Run) => {
                        deadline = self.patience.timeout.and_then(|limit| Instant::now().checked_add(limit));
                    }
                    (Phase::Said, Step::Run) => {
                        (step, deadline) = (Step::End, Some(Instant::now() + self.patience.overtime));
                    }
                    _ => {}
                },
                () = at(deadline) => {
                    if step == Step::GivenUp {
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
        step: Step,
    ) -> Option<(Step, Option<Instant>)> {
        match word {
            Control::Freeze => self.signal(Signal::SIGSTOP).await,
            Control::Thaw => self.signal(Signal::SIGCONT).await,
            Control::Kill(why) => {
                let hard = matches!(why, Kill::Fenced | Kill::Refused(_) | Kill::Garbled(_));
                self.log.system("warning", told(&why));
                // An order counts most: nothing more is to be said of the try.
                if exit.kill.is_none() || matches!(why, Kill::Order(_) | Kill::Refused(_)) {
                    exit.kill = Some(why);
                }
                if hard && step != Step::Killed && step != Step::GivenUp {
                    return Some(self.kill(exit).await);
                }
                if matches!(step, Step::Run | Step::End) {
                    return Some(self.terminate().await);
                }
            }
        }
        None
    }

    async fn escalate(&self, step: Step, exit: &mut Exit) -> (Step, Option<Instant>) {
        match step {
            Step::Run => {
                exit.timed_out = true;
                self.log.system(
                    "error",
                    "execution_timeout is over and the task did not stop: sending SIGTERM",
                );
                self.terminate().await
            }
            Step::End => {
                let seconds = self.patience.overtime.as_secs();
                self.log.system(
                    "warning",
                    format!(
                        "the process did not end within {seconds} s of its task: sending SIGTERM"
                    ),
                );
                self.terminate().await
            }
            Step::Terminated => {
                self.log.system("warning", "the process did not end by SIGTERM: sending SIGKILL");
                self.kill(exit).await
            }
            Step::Killed | Step::GivenUp => {
                self.kill_group();
                self.zygote.destroy();
                (Step::GivenUp, Some(Instant::now() + SEND_WAIT))
            }
        }
    }

    async fn terminate(&self) -> (Step, Option<Instant>) {
        self.signal(Signal::SIGTERM).await;
        // Where it was stopped it could not hear that.
        self.signal(Signal::SIGCONT).await;
        (Step::Terminated, Some(Instant::now() + self.patience.grace))
    }

    async fn kill(&self, exit: &mut Exit) -> (Step, Option<Instant>) {
        exit.killed = true;
        self.signal(Signal::SIGKILL).await;
        (Step::Killed, Some(Instant::now() + KILL_WAIT))
    }

    /// By the zygote, which knows whether the process is still there: a pid alone may be another's by now.
    async fn signal(&self, signal: Signal) {
        drop(timeout(SEND_WAIT, self.zygote.kill(&self.run_key, signal)).await);
    }

    /// By ourselves, where the zygote can't.
    fn kill_group(&self) {
        if let Ok(pid) = i32::try_from(self.pid) {
            // Gone already is as good.
            let _ = killpg(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
        }
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
        Kill::Garbled(why) => format!("ended because its result could not be told any more: {why}"),
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
