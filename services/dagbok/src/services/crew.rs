//! Services of one process, and the order in which they end: who takes work first, who answers last.
use std::{future::Future, sync::Arc, time::Duration};

use dagbok_runtime::{Shutdown, StopSignals};
use tokio::{sync::Notify, task::JoinSet, time::timeout};

use crate::{
    codes::Code,
    exit::Exit,
    failure::{Failure, Outcome},
};

/// When a service ends, among the others of its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Takes work: the processor and the executor. The executor's last reports need who decides.
    Takes,
    /// Decides: the scheduler.
    Decides,
    /// Tells: alerting, which hears of what the others' end brings.
    Tells,
    /// Answers: the API and the metrics, so that the end can be watched.
    Answers,
}

impl Stage {
    const ALL: [Self; 4] = [Self::Takes, Self::Decides, Self::Tells, Self::Answers];
}

type Ended = (&'static str, Result<(), Failure>);

/// The services of this process.
#[derive(Debug)]
pub(crate) struct Crew {
    stages: [(Shutdown, JoinSet<Ended>); 4],
    patience: Duration,
    /// A service that may end by itself did.
    left: Arc<Notify>,
    /// Heard from before the first service runs: whoever saw one answer may ask them all to end.
    signals: Option<std::io::Result<StopSignals>>,
}

impl Crew {
    /// Nobody yet. Each stage is given `patience` to end.
    pub(crate) fn new(patience: Duration) -> Self {
        let stages = Stage::ALL.map(|_| (Shutdown::new(), JoinSet::new()));
        Self { stages, patience, left: Arc::default(), signals: Some(StopSignals::listen()) }
    }

    /// What asks a stage's services to end.
    pub(crate) fn shutdown(&self, stage: Stage) -> Shutdown {
        self.stages[stage as usize].0.clone()
    }

    /// Runs a service until its stage's end; its ending before that ends them all.
    pub(crate) fn add<E>(
        &mut self,
        stage: Stage,
        name: &'static str,
        service: impl Future<Output = Result<(), E>> + Send + 'static,
    ) where
        E: std::error::Error + Send + 'static,
    {
        self.stages[stage as usize].1.spawn(async move {
            let ended = service
                .await
                .map_err(|error| Failure::of_service(&error).or_next("see the log lines above"));
            (name, ended)
        });
    }

    /// The same of a service that may end by itself, well: then the process ends as by a signal.
    pub(crate) fn add_leaving<E>(
        &mut self,
        stage: Stage,
        name: &'static str,
        service: impl Future<Output = Result<(), E>> + Send + 'static,
    ) where
        E: std::error::Error + Send + 'static,
    {
        let (left, others) = (Arc::clone(&self.left), self.shutdown(stage));
        self.add(stage, name, async move {
            let ended = service.await;
            if ended.is_ok() {
                left.notify_one();
                others.started().await;
            }
            ended
        });
    }

    /// Runs until SIGTERM, SIGINT or a service's end, then ends all in order. A second signal ends
    /// them at once.
    pub(crate) async fn run(mut self) -> Outcome {
        let signals = self.signals.take().unwrap_or_else(StopSignals::listen);
        let mut signals =
            signals.map_err(|error| Failure::from_error(Code::ServiceFailed, &error))?;
        let left = Arc::clone(&self.left);
        let failed = tokio::select! {
            signal = signals.next() => {
                tracing::info!(signal, "ending in order; a second signal ends at once");
                None
            }
            () = left.notified() => {
                tracing::info!("a service left by itself, as it was asked to; ending in order");
                None
            }
            failed = self.first_end() => Some(failed),
        };
        let orderly = tokio::select! {
            orderly = self.end() => orderly,
            signal = signals.next() => {
                tracing::warn!(signal, "ending at once");
                false
            }
        };
        match failed {
            Some(failure) => Err(failure),
            None if orderly => Ok(Exit::Ok),
            None => Ok(Exit::Interrupted),
        }
    }

    /// Ends all in order, without waiting for a signal.
    pub(crate) async fn end(&mut self) -> bool {
        let mut orderly = true;
        for (shutdown, services) in &mut self.stages {
            shutdown.start();
            let all = async {
                while let Some(ended) = services.join_next().await {
                    if let Some(failure) = of(ended).1 {
                        tracing::error!(%failure, "a service did not end well");
                    }
                }
            };
            if timeout(self.patience, all).await.is_err() {
                tracing::error!(within = ?self.patience, "services did not end in time and are given up");
                services.abort_all();
                orderly = false;
            }
        }
        orderly
    }

    /// The first service that ends by itself.
    pub(crate) async fn first_end(&mut self) -> Failure {
        let [takes, decides, tells, answers] = &mut self.stages;
        let ended = tokio::select! {
            Some(ended) = takes.1.join_next() => ended,
            Some(ended) = decides.1.join_next() => ended,
            Some(ended) = tells.1.join_next() => ended,
            Some(ended) = answers.1.join_next() => ended,
            else => return std::future::pending().await,
        };
        let (name, failure) = of(ended);
        let failure =
            failure.unwrap_or_else(|| Failure::new(Code::Bug, format!("the {name} ended unasked")));
        tracing::error!(service = name, %failure, "a service ended; ending the others");
        failure
    }
}

/// Who ended, and why where it was no good end. A panic is a bug.
fn of(ended: Result<Ended, tokio::task::JoinError>) -> (&'static str, Option<Failure>) {
    match ended {
        Ok((name, ended)) => (name, ended.err()),
        Err(panic) => {
            let failure = Failure::new(Code::Bug, format!("a service broke down: {panic}"));
            (
                "service",
                Some(failure.next("start it again: it goes on from its log; and report this")),
            )
        }
    }
}
