//! What is asked of the rules: answered apart from the loop that tells people, by the log and a policy. There is no sender
//! here, and no secret of the configuration.
use std::sync::Arc;

use dagbok_alerts::{
    Backtest, Labels, Policy, Refusal, Reply, Studied, Study, Watch, calls_of, labels_behind,
    on_call, reach, replayed, review,
};
use dagbok_events::{Record, Timestamp, decode, encode_any};
use dagbok_runlog::{PortError, ReadLimit, RunLog, Seq, limits::MAX_PAYLOAD};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::load_tried;

/// The text of a configuration that is tried, in bytes.
const TEXT_BYTES: usize = 256 << 10;

/// Questions that are answered at once: what is short is not held up by what goes through the log.
const AT_ONCE: usize = 2;
/// DAGs of one answer.
const DAGS: usize = 5_000;

/// Whoever answers. What goes through the log is answered one at a time.
#[derive(Clone, Debug)]
pub(crate) struct Studies {
    run_log: Arc<dyn RunLog>,
    namespace: String,
    walks: Arc<Semaphore>,
    others: Arc<Semaphore>,
}

impl Studies {
    pub(crate) fn new(run_log: Arc<dyn RunLog>, namespace: &str) -> Self {
        let room = |places| Arc::new(Semaphore::new(places));
        let (walks, others) = (room(1), room(AT_ONCE));
        Self { run_log, namespace: namespace.to_owned(), walks, others }
    }

    /// Takes a place, and copies of what the answer needs: nothing is reckoned here, where people are told.
    pub(crate) fn begin(
        &self,
        study: Study,
        configuration: Option<String>,
        in_force: &Policy,
        watch: &Watch,
        now: Timestamp,
    ) -> Result<Asked, Refusal> {
        if configuration.as_ref().is_some_and(|text| text.len() > TEXT_BYTES) {
            let why = format!("a configuration has {TEXT_BYTES} bytes at most");
            return Err(Refusal::Invalid(why));
        }
        let seen = watch.last_seq();
        let (room, last) = match &study {
            Study::Explain { event } if *event == 0 || *event > seen => {
                return Err(Refusal::NotFound(format!("there is no record {event} on the log")));
            }
            Study::Explain { event } => (&self.walks, *event),
            Study::Backtest { .. } => (&self.walks, seen),
            Study::OnCall { .. } | Study::Reach { .. } => (&self.others, seen),
        };
        let room = Arc::clone(room).try_acquire_owned().map_err(|_| {
            Refusal::Conflict("the rules are asked by somebody else: ask again".to_owned())
        })?;
        let by = configuration.map_or_else(|| By::Policy(Box::new(in_force.clone())), By::Text);
        let labels = match &study {
            Study::Reach { after } => labels_behind(watch, after.as_ref()),
            _ => Vec::new(),
        };
        let (run_log, namespace) = (Arc::clone(&self.run_log), self.namespace.clone());
        Ok(Asked { run_log, namespace, by, study, labels, last, now, room })
    }
}

/// By what the rules are asked.
enum By {
    Policy(Box<Policy>),
    /// The text of a configuration that is tried.
    Text(String),
}

/// A question, with all that its answer needs.
pub(crate) struct Asked {
    run_log: Arc<dyn RunLog>,
    namespace: String,
    by: By,
    study: Study,
    labels: Vec<Labels>,
    last: u64,
    now: Timestamp,
    room: OwnedSemaphorePermit,
}

impl Asked {
    /// Says what the rules come to.
    pub(crate) async fn answer(self) -> Reply {
        let Self { run_log, namespace, by, study, labels, last, now, room } = self;
        // What is in force is at hand; what is tried is read first, on a thread for such work.
        let policy = apart(move || match by {
            By::Policy(policy) => Ok(*policy),
            By::Text(text) => load_tried(&text, now).map_err(|error| error.to_string()),
        });
        let policy = match policy.await {
            Ok(policy) => policy,
            Err(why) => return Reply::Refused(Refusal::Invalid(why)),
        };
        let studied = match study {
            Study::OnCall { at } => {
                let at = at.unwrap_or(now);
                apart(move || Studied::OnCall { at, schedules: on_call(&policy, at) }).await
            }
            Study::Reach { .. } => {
                apart(move || {
                    let goes_on = labels.len() > DAGS;
                    let first = labels.into_iter().take(DAGS);
                    let dags = first.map(|labels| reach(&policy, &namespace, labels, now));
                    let dags = dags.collect();
                    let receivers = policy.receivers.keys().cloned().collect();
                    let warnings = review(&policy, now);
                    Studied::Reach { dags, goes_on, receivers, warnings }
                })
                .await
            }
            Study::Explain { .. } | Study::Backtest { .. } => {
                let walk = Walk { run_log, namespace, policy, study, last, now };
                match walk.walk().await {
                    Ok(Ok(studied)) => studied,
                    Ok(Err(refusal)) => return Reply::Refused(refusal),
                    Err(error) => {
                        let why = format!("the log can't be read: {error}");
                        return Reply::Refused(Refusal::Conflict(why));
                    }
                }
            }
        };
        let reply = apart(move || fitting(studied)).await;
        drop(room);
        reply
    }
}

/// Work that reckons for long, on a thread for it: others of this process go on meanwhile.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("the rules are total")
}

/// An answer that fits into one message.
fn fitting(mut studied: Studied) -> Reply {
    loop {
        let reply = Reply::Studied(Box::new(studied.clone()));
        let bytes = encode_any(&reply).len();
        if bytes <= MAX_PAYLOAD {
            return reply;
        }
        if !studied.shorten() {
            let why = format!("the answer has {bytes} bytes, and {MAX_PAYLOAD} fit");
            return Reply::Refused(Refusal::Conflict(why));
        }
    }
}

/// The log, gone through again up to a record.
struct Walk {
    run_log: Arc<dyn RunLog>,
    namespace: String,
    policy: Policy,
    study: Study,
    last: u64,
    now: Timestamp,
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
    async fn walk(self) -> Result<Result<Studied, Refusal>, PortError> {
        let Self { run_log, namespace, policy, study, last, now } = self;
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
            let walked = apart(move || {
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
            let (back, read, odd): (Rules, u64, u64) = walked.await;
            rules = back;
            (records, unread) = (records + read, unread + odd);
        }
        let said = apart(move || match (rules, study) {
            (Rules::Backtest(mut again), Study::Backtest { since }) => {
                again.pass(now);
                let counts = (records, unread);
                Ok(Studied::Backtested(replayed(&again, (since, now), counts)))
            }
            (Rules::Explain { watch, found: Some(record) }, _) => {
                Ok(Studied::Explained(calls_of(&watch, &policy, &namespace, last, &record)))
            }
            _ => Err(Refusal::NotFound(format!("record {last} can't be read here"))),
        });
        Ok(said.await)
    }
}

#[cfg(test)]
mod tests {
    use dagbok_alerts::{Reach, Replayed, WouldHaveBeen};

    use super::*;

    /// Letters that nothing of can be packed away.
    fn noise(seed: u32, length: usize) -> String {
        let next = |n: &u32| Some(n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        let numbers = std::iter::successors(Some(seed), next).skip(1).take(length);
        numbers.filter_map(|n| char::from_digit(n >> 28, 16)).collect()
    }

    #[test]
    fn an_answer_that_is_too_large_is_shortened_and_says_so() {
        let alert = WouldHaveBeen {
            rule: "run_failed".to_owned(),
            scope: "dag:etl".to_owned(),
            labels: std::collections::BTreeMap::new(),
            summary: "x".repeat(1_000),
            opened_at: Timestamp(0),
            resolved_at: None,
            route: "platform".to_owned(),
            told: std::collections::BTreeMap::new(),
        };
        let alerts =
            (0..3_000).map(|n: u32| WouldHaveBeen { summary: noise(n, 2_000), ..alert.clone() });
        let found = Replayed {
            since: Timestamp(0),
            until: Timestamp(1),
            records: 1,
            unread: 0,
            left_out: 2,
            alerts: alerts.collect(),
        };
        let reply = fitting(Studied::Backtested(found));
        assert!(encode_any(&reply).len() <= MAX_PAYLOAD);
        let Reply::Studied(studied) = reply else { panic!("{reply:?}") };
        let Studied::Backtested(found) = *studied else { panic!("{studied:?}") };
        assert!(!found.alerts.is_empty());
        assert_eq!(found.left_out, 2 + 3_000 - found.alerts.len() as u64);
    }

    #[test]
    fn dags_beyond_one_answer_are_asked_for_next() {
        let reach = |n: u32| Reach {
            dag_id: format!("dag_{n:05}"),
            owner: Some(noise(n, 2_000)),
            route: None,
            receivers: Vec::new(),
        };
        let dags = (0..4_000).map(reach).collect();
        let Reply::Studied(studied) = fitting(Studied::Reach {
            dags,
            goes_on: false,
            receivers: Vec::new(),
            warnings: Vec::new(),
        }) else {
            panic!("it is refused");
        };
        let Studied::Reach { dags, goes_on, .. } = *studied else { panic!("{studied:?}") };
        assert!(goes_on && !dags.is_empty() && dags.len() < 4_000);
        assert_eq!(dags[0].dag_id, "dag_00000");
    }
}
