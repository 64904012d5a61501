//! The fold as it was: why something waited then, by the same rules that decide now.
//!
//! Nothing is kept for it but the log. What was folded for an answer stays for the next one, so that a question about
//! the same time costs what lies between.
use std::sync::Arc;

use dagbok_domain::namespace::{Namespace, Outcome};
use dagbok_events::{Micros, Record, Scope, Timestamp};
use dagbok_projection::{Read, ReadAhead, Skipped};
use dagbok_protocol::{Refusal, Why, WhyAsk};
use dagbok_runlog::{Ports, Seq};
use dagbok_runtime::Clock;
use tokio::sync::Mutex;

use crate::{SchedulerError, cold, snapshot};

/// Folds that are kept at once.
const KEPT: usize = 8;
/// Times that it is asked what keeps something, for the changes of that; as often again for records about it.
const ASKED: u64 = 1_000;
/// Changes that are told of at most.
const CHANGES: usize = 100;
/// Records between two folds that are kept on the way to an answer.
const KEEP_EVERY: u64 = 100_000;

/// Answers by the log.
#[derive(Debug)]
pub struct Past {
    ports: Ports,
    clock: Clock,
    /// Folds as of some entries, the one that was used last at the end.
    kept: Mutex<Vec<Arc<Namespace>>>,
}

impl Past {
    /// Reads nothing yet.
    pub fn new(ports: Ports, clock: Clock) -> Self {
        Self { ports, clock, kept: Mutex::default() }
    }

    /// All that kept something from going on at `at`, by the records up to then; now, by all of them, where no time
    /// is named.
    pub async fn why(
        &self,
        at: Option<Timestamp>,
        ask: &WhyAsk,
    ) -> Result<Result<Why, Refusal>, SchedulerError> {
        // One at a time: the next one finds what this one folded.
        let mut kept = self.kept.lock().await;
        let until = at.unwrap_or(Timestamp(i64::MAX));
        let fold = Arc::new(self.as_of(until, &mut kept).await?);
        keep(&mut kept, &fold);
        let decided = fold.why(at.unwrap_or_else(|| self.clock.now()), ask);
        Ok(match decided.outcome {
            Outcome::Waits(why) => Ok(*why),
            Outcome::Refused(refusal) => Err(refusal),
            other => unreachable!("a question is answered or refused: {other:?}"),
        })
    }

    /// How what keeps something changed from `since` to `until`, each time as it was first seen: asked after every
    /// record about it, and of others as often as [`ASKED`] allows over that time.
    pub async fn changes(
        &self,
        (since, until): (Timestamp, Timestamp),
        ask: &WhyAsk,
    ) -> Result<Changes, SchedulerError> {
        let mut kept = self.kept.lock().await;
        let before = Timestamp(since.0.saturating_sub(1));
        let mut fold = self.as_of(before, &mut kept).await?;
        keep(&mut kept, &Arc::new(fold.clone()));
        let mut seen = Seen::new(ask, since, until);
        let mut skipped = Skipped::default();
        let mut ahead = ReadAhead::start(Arc::clone(&self.ports.log), Seq(fold.last_seq()));
        while let Some(batch) = ahead.next().await? {
            for read in batch {
                let seq = read.seq;
                let record = self.record_of(&mut skipped, read).await?;
                if record.at > until || seen.is_done() {
                    return Ok(seen.found);
                }
                if let Some(key) = fold.needs(&record) {
                    cold::revive(&self.ports, &mut fold, &key, Seq(seq.0 - 1)).await?;
                }
                fold.evolve(seq.0, &record);
                seen.look(&fold, &record);
            }
            tokio::task::yield_now().await;
        }
        Ok(seen.found)
    }

    /// The fold of what was recorded up to `until`.
    async fn as_of(
        &self,
        until: Timestamp,
        kept: &mut Vec<Arc<Namespace>>,
    ) -> Result<Namespace, SchedulerError> {
        let newest = snapshot::newest(&self.ports, true).await?.map(Arc::new);
        let starts = kept.iter().chain(newest.iter()).filter(|it| it.last_stamp() <= until);
        let start = starts.max_by_key(|it| it.last_seq()).cloned();
        let mut fold = start.map_or_else(Namespace::new, |it| it.as_ref().clone());
        self.fold_until(&mut fold, until, kept).await?;
        Ok(fold)
    }

    async fn record_of(&self, skipped: &mut Skipped, read: Read) -> Result<Record, SchedulerError> {
        let seq = read.seq;
        let record = skipped.record_of(&*self.ports.log, read).await?;
        record.map_err(|source| SchedulerError::Record { seq, source })
    }

    /// Folds in what was recorded up to `until`.
    async fn fold_until(
        &self,
        fold: &mut Namespace,
        until: Timestamp,
        kept: &mut Vec<Arc<Namespace>>,
    ) -> Result<(), SchedulerError> {
        let mut skipped = Skipped::default();
        let mut keep_at = fold.last_seq() + KEEP_EVERY;
        let mut ahead = ReadAhead::start(Arc::clone(&self.ports.log), Seq(fold.last_seq()));
        while let Some(batch) = ahead.next().await? {
            for read in batch {
                let seq = read.seq;
                let record = self.record_of(&mut skipped, read).await?;
                if record.at > until {
                    return Ok(());
                }
                if let Some(key) = fold.needs(&record) {
                    cold::revive(&self.ports, fold, &key, Seq(seq.0 - 1)).await?;
                }
                fold.evolve(seq.0, &record);
            }
            if fold.last_seq() >= keep_at {
                keep(kept, &Arc::new(fold.clone()));
                keep_at = fold.last_seq() + KEEP_EVERY;
            }
            // Others that run here must not wait for a long log.
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

/// How what keeps something changed.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Each time it did, in order, with all that kept it from then on.
    pub changes: Vec<Why>,
    /// Whether all records were looked at after which it may have changed.
    pub whole: bool,
}

/// What was seen so far.
struct Seen<'a> {
    ask: &'a WhyAsk,
    found: Changes,
    /// Records about others are looked at no closer to each other than this, once many were.
    apart: Micros,
    last: Timestamp,
    asked: u64,
    over: bool,
}

impl<'a> Seen<'a> {
    fn new(ask: &'a WhyAsk, since: Timestamp, until: Timestamp) -> Self {
        let span = until.since(since).0.max(0) / i64::try_from(ASKED).unwrap_or(i64::MAX);
        let found = Changes { changes: Vec::new(), whole: true };
        let apart = Micros(span);
        Self { ask, found, apart, last: since, asked: 0, over: false }
    }

    fn is_done(&self) -> bool {
        self.over || self.found.changes.len() == CHANGES || self.asked == 2 * ASKED
    }

    fn look(&mut self, fold: &Namespace, record: &Record) {
        let own = match &record.scope {
            Scope::Run(key) => {
                key.dag_id == self.ask.dag_id && Some(&key.run_id) == self.ask.run_id.as_ref()
            }
            Scope::Dag(dag_id) => *dag_id == self.ask.dag_id,
            Scope::Namespace => true,
            Scope::File(_) | Scope::Executor(_) => false,
        };
        let many = self.asked >= ASKED / 4;
        if !own && many && record.at.since(self.last) < self.apart {
            self.found.whole = false;
            return;
        }
        (self.last, self.asked) = (record.at, self.asked + 1);
        let Outcome::Waits(why) = fold.why(record.at, self.ask).outcome else { return };
        let kind = |why: &Why| {
            let reasons = why.is.reasons.iter().map(std::mem::discriminant);
            (why.is.stands, reasons.collect::<Vec<_>>())
        };
        self.over = why.is.stands.is_over();
        if self.found.changes.last().is_none_or(|last| kind(last) != kind(&why)) {
            self.found.changes.push(*why);
        }
        if self.is_done() && !self.over {
            self.found.whole = false;
        }
    }
}

fn keep(kept: &mut Vec<Arc<Namespace>>, fold: &Arc<Namespace>) {
    kept.retain(|it| it.last_seq() != fold.last_seq());
    kept.push(Arc::clone(fold));
    if kept.len() > KEPT {
        kept.remove(0);
    }
}
