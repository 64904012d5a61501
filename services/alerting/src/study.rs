//! What is asked of the rules: answered apart from the loop that tells people, by the log and a policy. There is no sender
//! here, and no secret of the configuration.
use std::sync::Arc;

use dagbok_alerts::{
    Backtest, Policy, Refusal, Reply, Studied, Study, Watch, calls_of, on_call, reach_of_all,
    replayed,
};
use dagbok_events::{Record, Timestamp, decode};
use dagbok_runlog::{PortError, ReadLimit, RunLog, Seq};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::load_tried;

/// The text of a configuration that is tried, in bytes.
const TEXT_BYTES: usize = 256 << 10;

/// Whoever answers, one at a time where the log is gone through.
#[derive(Clone, Debug)]
pub(crate) struct Studies {
    run_log: Arc<dyn RunLog>,
    namespace: String,
    room: Arc<Semaphore>,
}

impl Studies {
    pub(crate) fn new(run_log: Arc<dyn RunLog>, namespace: &str) -> Self {
        Self { run_log, namespace: namespace.to_owned(), room: Arc::new(Semaphore::new(1)) }
    }

    /// Answers what the fold and the policy say at once; otherwise the way to the answer.
    pub(crate) fn begin(
        &self,
        study: Study,
        configuration: Option<&str>,
        in_force: &Policy,
        watch: &Watch,
        now: Timestamp,
    ) -> Result<Begun, Refusal> {
        let policy = match configuration {
            None => in_force.clone(),
            Some(text) if text.len() > TEXT_BYTES => {
                let why = format!("a configuration has {TEXT_BYTES} bytes at most");
                return Err(Refusal::Invalid(why));
            }
            Some(text) => load_tried(text).map_err(|error| Refusal::Invalid(error.to_string()))?,
        };
        let (namespace, seen) = (self.namespace.as_str(), watch.last_seq());
        match study {
            Study::OnCall { at } => {
                let at = at.unwrap_or(now);
                let schedules = on_call(&policy, at);
                Ok(Begun::Said(Studied::OnCall { at, schedules }))
            }
            Study::Reach => {
                Ok(Begun::Said(Studied::Reach(reach_of_all(watch, &policy, namespace, now))))
            }
            Study::Explain { event } if event == 0 || event > seen => {
                Err(Refusal::NotFound(format!("there is no record {event} on the log")))
            }
            Study::Explain { .. } | Study::Backtest { .. } => {
                let room = Arc::clone(&self.room).try_acquire_owned().map_err(|_| {
                    let why = "the log is gone through for somebody else: ask again";
                    Refusal::Conflict(why.to_owned())
                })?;
                let last = if let Study::Explain { event } = study { event } else { seen };
                let (run_log, namespace) = (Arc::clone(&self.run_log), self.namespace.clone());
                let walk = Walk { run_log, namespace, policy, study, last, now, room };
                Ok(Begun::Walk(Box::new(walk)))
            }
        }
    }
}

/// What is known at once, or takes its time.
pub(crate) enum Begun {
    /// The answer.
    Said(Studied),
    /// The log is to be gone through.
    Walk(Box<Walk>),
}

/// The log, gone through again up to a record.
pub(crate) struct Walk {
    run_log: Arc<dyn RunLog>,
    namespace: String,
    policy: Policy,
    study: Study,
    last: u64,
    now: Timestamp,
    room: OwnedSemaphorePermit,
}

/// The rules on the way through.
enum Rules {
    Explain { watch: Box<Watch>, found: Option<Box<Record>> },
    Backtest(Box<Backtest>),
}

impl Rules {
    fn take(&mut self, seq: u64, last: u64, record: Record) {
        match self {
            Self::Explain { watch, found } => {
                watch.evolve(seq, &record);
                if seq == last {
                    *found = Some(Box::new(record));
                }
            }
            Self::Backtest(again) => again.take(seq, &record),
        }
    }
}

impl Walk {
    /// Goes through the log, and says what that comes to.
    pub(crate) async fn answer(self) -> Reply {
        match self.walk().await {
            Ok(Ok(studied)) => Reply::Studied(Box::new(studied)),
            Ok(Err(refusal)) => Reply::Refused(refusal),
            Err(error) => {
                Reply::Refused(Refusal::Conflict(format!("the log can't be read: {error}")))
            }
        }
    }

    async fn walk(self) -> Result<Result<Studied, Refusal>, PortError> {
        let Self { run_log, namespace, policy, study, last, now, room } = self;
        let mut rules = if let Study::Backtest { since } = study {
            Rules::Backtest(Box::new(Backtest::new(policy.clone(), &namespace, since)))
        } else {
            let mut watch = Box::<Watch>::default();
            watch.heed(&policy.thresholds);
            Rules::Explain { watch, found: None }
        };
        let (mut records, mut unread) = (0, 0);
        let mut after = Seq(run_log.base().await?.first.0 - 1);
        while after.0 < last {
            let entries = run_log.read(after, ReadLimit::default()).await?;
            let Some(newest) = entries.last() else { break };
            after = newest.seq;
            // It reckons for long: others of this process go on meanwhile.
            let walked = tokio::task::spawn_blocking(move || {
                let (mut read, mut odd) = (0, 0);
                for entry in entries.iter().take_while(|entry| entry.seq.0 <= last) {
                    read += 1;
                    match decode(&entry.payload) {
                        Ok(record) => rules.take(entry.seq.0, last, record),
                        Err(_) => odd += 1,
                    }
                }
                (rules, read, odd)
            });
            let (back, read, odd): (Rules, u64, u64) = walked.await.expect("the rules are total");
            rules = back;
            (records, unread) = (records + read, unread + odd);
        }
        drop(room);
        Ok(match (rules, study) {
            (Rules::Backtest(mut again), Study::Backtest { since }) => {
                again.pass(now);
                let counts = (records, unread);
                Ok(Studied::Backtested(replayed(&again, (since, now), counts)))
            }
            (Rules::Explain { watch, found: Some(record) }, _) => {
                Ok(Studied::Explained(calls_of(&watch, &policy, &namespace, last, &record)))
            }
            _ => Err(Refusal::NotFound(format!("record {last} can't be read here"))),
        })
    }
}
