//! Answers when timetables that are written in Python had runs, which backfills are made of.
use std::{path::PathBuf, sync::Arc, time::Duration};

use dagbok_events::{ExpectedRuns, decode_any, encode_any};
use dagbok_protocol::{DatesAnswer, DatesQuestion, names};
use dagbok_runlog::{Signal, Signals};
use dagbok_runtime::{Backoff, Shutdown};
use dagbok_zipped::splits;
use futures::StreamExt as _;
use tokio::sync::Semaphore;

use crate::parser::Parsers;

/// Files that are read for this at once, beside those that changed.
const AT_ONCE: usize = 2;

/// Where files lie, and how they are read.
#[derive(Clone)]
pub(crate) struct Dates {
    pub(crate) parsers: Parsers,
    pub(crate) folder: PathBuf,
    pub(crate) within: Duration,
}

impl Dates {
    /// Answers until `shutdown` starts.
    pub(crate) fn serve(self, signals: Arc<dyn Signals>, shutdown: &Shutdown) {
        let stop = shutdown.clone();
        shutdown.spawn(async move {
            let (room, mut backoff) = (Arc::new(Semaphore::new(AT_ONCE)), Backoff::default());
            loop {
                match signals.subscribe(names::DATES).await {
                    Ok(mut asked) => {
                        backoff.reset();
                        loop {
                            let signal = tokio::select! {
                                signal = asked.next() => signal,
                                () = stop.started() => return,
                            };
                            let Some(signal) = signal else { break };
                            let (it, room, stop) = (self.clone(), Arc::clone(&room), stop.clone());
                            tokio::spawn(async move {
                                let _place = room.acquire_owned().await;
                                it.respond(signal, &stop).await;
                            });
                        }
                    }
                    Err(error) => {
                        if backoff.is_worth_telling() {
                            tracing::warn!(%error, "questions about timetables can't be heard; trying again");
                        }
                    }
                }
                if !backoff.pause_unless(&stop).await {
                    return;
                }
            }
        });
    }

    async fn respond(&self, signal: Signal, stop: &Shutdown) {
        let Some(responder) = signal.responder else { return };
        let answer = match decode_any::<DatesQuestion>(&signal.payload) {
            // Another processor may have it.
            Ok(asked) if !self.has(&asked.file) => return,
            Ok(asked) => match self.answer(&asked, stop).await {
                Some(answer) => answer,
                None => return,
            },
            Err(error) => DatesAnswer::Failed(format!("the question can't be read: {error}")),
        };
        if let Err(error) = responder.respond(encode_any(&answer).into()).await {
            tracing::debug!(%error, "whoever asked for dates is gone");
        }
    }

    /// Whether a file of the folder is meant, and nothing beside it.
    fn has(&self, file: &str) -> bool {
        let plain = file.split('/').all(|part| !matches!(part, "" | "." | ".."));
        let mut zips = splits(file).map(|(zip, _)| zip);
        plain && (self.folder.join(file).is_file() || zips.any(|it| self.folder.join(it).is_file()))
    }

    async fn answer(&self, asked: &DatesQuestion, stop: &Shutdown) -> Option<DatesAnswer> {
        let parsed = self.parsers.parse_between(&self.folder, asked, self.within, stop).await?;
        let dag = parsed.dags.iter().find(|dag| dag.spec.dag_id == asked.dag_id);
        let (dag_id, file) = (&asked.dag_id, &asked.file);
        if let Some(answer) = dag.and_then(|dag| dag.foretold.as_deref()) {
            let runs = answer.runs.iter().map(|runs| ExpectedRuns {
                first: runs.first,
                step: runs.step,
                count: runs.count,
            });
            return Some(DatesAnswer::Runs(runs.collect()));
        }
        let named = format!("`{dag_id}`");
        let why = parsed.errors.iter().find(|error| error.message.contains(&named));
        let why = why.or(parsed.errors.first()).map(|error| error.message.clone());
        let why =
            why.unwrap_or_else(|| format!("{file} has no DAG {dag_id} with such a timetable"));
        Some(DatesAnswer::Failed(format!(
            "the timetable of {dag_id} can't say when it had runs: {why}"
        )))
    }
}
