//! The fold as it was: why something waited then, by the same rules that decide now.
//!
//! Nothing is kept for it but the log. What was folded for an answer stays for the next one, so that a question about
//! the same time costs what lies between.
use std::sync::Arc;

use dagbok_domain::namespace::{Namespace, Outcome};
use dagbok_events::Timestamp;
use dagbok_projection::Skipped;
use dagbok_protocol::{Refusal, Why, WhyAsk};
use dagbok_runlog::{Ports, ReadLimit, Seq};
use dagbok_runtime::Clock;
use tokio::sync::Mutex;

use crate::{SchedulerError, cold, snapshot};

/// Folds that are kept at once.
const KEPT: usize = 8;
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
        let newest = snapshot::newest(&self.ports, true).await?.map(Arc::new);
        let starts = kept.iter().chain(newest.iter()).filter(|it| it.last_stamp() <= until);
        let start = starts.max_by_key(|it| it.last_seq()).cloned();
        let mut fold = start.map_or_else(Namespace::new, |it| it.as_ref().clone());
        self.fold_until(&mut fold, until, &mut kept).await?;
        let fold = Arc::new(fold);
        keep(&mut kept, &fold);
        let decided = fold.why(at.unwrap_or_else(|| self.clock.now()), ask);
        Ok(match decided.outcome {
            Outcome::Waits(why) => Ok(*why),
            Outcome::Refused(refusal) => Err(refusal),
            other => unreachable!("a question is answered or refused: {other:?}"),
        })
    }

    /// Folds in what was recorded up to `until`.
    async fn fold_until(
        &self,
        fold: &mut Namespace,
        until: Timestamp,
        kept: &mut Vec<Arc<Namespace>>,
    ) -> Result<(), SchedulerError> {
        let mut skipped = Skipped::default();
        let log = &self.ports.log;
        let mut keep_at = fold.last_seq() + KEEP_EVERY;
        loop {
            let entries = log.read(Seq(fold.last_seq()), ReadLimit::default()).await?;
            if entries.is_empty() {
                return Ok(());
            }
            for entry in entries {
                let mut record = skipped.decode(entry.seq, &entry.payload);
                if record.is_err() {
                    skipped.search(&**log, entry.seq).await?;
                    record = skipped.decode(entry.seq, &entry.payload);
                }
                let record =
                    record.map_err(|source| SchedulerError::Record { seq: entry.seq, source })?;
                if record.at > until {
                    return Ok(());
                }
                if let Some(key) = fold.needs(&record) {
                    cold::revive(&self.ports, fold, &key, Seq(entry.seq.0 - 1)).await?;
                }
                fold.evolve(entry.seq.0, &record);
            }
            if fold.last_seq() >= keep_at {
                keep(kept, &Arc::new(fold.clone()));
                keep_at = fold.last_seq() + KEEP_EVERY;
            }
            // Others that run here must not wait for a long log.
            tokio::task::yield_now().await;
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
