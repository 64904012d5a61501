//! Answers when timetables that are written in Python had runs, which backfills are made of.
use std::{path::PathBuf, sync::Arc, time::Duration};

use dagbok_events::{ExpectedRuns, decode_any, encode_any, folder_of, path_in_folder};
use dagbok_protocol::{DatesAnswer, DatesQuestion, names};
use dagbok_runlog::{Signal, Signals};
use dagbok_runtime::{Backoff, Shutdown};
use futures::StreamExt as _;
use tokio::sync::Semaphore;

use crate::{folders::holds, parser::Parsers};

/// Files that are read for this at once, beside those that changed.
const AT_ONCE: usize = 2;

/// Where files lie, and how they are read.
#[derive(Clone)]
pub(crate) struct Dates {
    pub(crate) places: Arc<[Place]>,
    pub(crate) within: Duration,
}

/// A folder, and who reads its files.
pub(crate) struct Place {
    /// What it goes by in the facts.
    pub(crate) name: Option<String>,
    pub(crate) folder: PathBuf,
    pub(crate) parsers: Parsers,
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
            Ok(asked) => match self.place_of(&asked.file) {
                Some(place) => match self.answer(place, &asked, stop).await {
                    Some(answer) => answer,
                    None => return,
                },
                // Another processor may have it.
                None => return,
            },
            Err(error) => DatesAnswer::Failed(format!("the question can't be read: {error}")),
        };
        if let Err(error) = responder.respond(encode_any(&answer).into()).await {
            tracing::debug!(%error, "whoever asked for dates is gone");
        }
    }

    /// The folder that a file is meant of, which has it.
    fn place_of(&self, file: &str) -> Option<&Place> {
        let place = self.places.iter().find(|place| place.name.as_deref() == folder_of(file))?;
        holds(&place.folder, path_in_folder(file)).then_some(place)
    }

    async fn answer(
        &self,
        place: &Place,
        asked: &DatesQuestion,
        stop: &Shutdown,
    ) -> Option<DatesAnswer> {
        let file = path_in_folder(&asked.file).to_owned();
        let inside = DatesQuestion { file, ..asked.clone() };
        let Place { parsers, folder, .. } = place;
        let parsed = parsers.parse_between(folder, &inside, self.within, stop).await?;
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
