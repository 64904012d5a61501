//! How far a try has come, as its code says. Each word that is told is a fact, and a try may run for days and say
//! something each second: so what changes little, or is soon followed by another word, is passed over. The last word is
//! always told, at the latest at the try's end.
use std::{sync::Arc, time::Duration};

use dagbok_events::TryKey;
use dagbok_protocol::{ReportBody, limits::PROGRESS_TEXT_BYTES, text};
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::reports::Reporter;

/// The shortest time between two words where much changed.
const SOON: Duration = Duration::from_secs(10);
/// And where little did.
const LATE: Duration = Duration::from_mins(1);
/// What counts as much, in ten-thousandths.
const MUCH: u16 = 100;

/// A word: how much is done, in ten-thousandths, and what is said of it.
type Word = (u16, String);

/// One try's.
#[derive(Debug)]
pub(super) struct Progress {
    key: TryKey,
    reporter: Reporter,
    known: Mutex<Known>,
    changed: Notify,
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    said: Option<Word>,
    told: Option<(Word, Instant)>,
    /// Whether somebody sees to it that it is told.
    is_seen_to: bool,
    is_over: bool,
}

impl Known {
    /// When the last word is to be told; `None` where it was.
    fn due(&self) -> Option<Instant> {
        let said = self.said.as_ref().filter(|_| !self.is_over)?;
        let Some((told, at)) = &self.told else { return Some(Instant::now()) };
        if told == said {
            return None;
        }
        Some(*at + if told.0.abs_diff(said.0) >= MUCH { SOON } else { LATE })
    }
}

impl Progress {
    pub(super) fn new(key: TryKey, reporter: Reporter) -> Self {
        let (known, changed) = (Mutex::default(), Notify::new());
        Self { key, reporter, known, changed, turn: tokio::sync::Mutex::default() }
    }

    /// Takes a word in. Nobody waits for its being told.
    pub(super) fn say(self: &Arc<Self>, fraction: f64, said: &str) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it goes from 0 to 1"
        )]
        let done = (fraction * 10_000.0).round() as u16;
        let mut known = self.known.lock();
        known.said = Some((done, text::cut(said, PROGRESS_TEXT_BYTES)));
        if !std::mem::replace(&mut known.is_seen_to, true) {
            drop(tokio::spawn(Arc::clone(self).see_to()));
        }
        drop(known);
        self.changed.notify_one();
    }

    async fn see_to(self: Arc<Self>) {
        loop {
            let due = {
                let mut known = self.known.lock();
                let due = known.due();
                known.is_seen_to = due.is_some();
                due
            };
            let Some(due) = due else { return };
            tokio::select! {
                () = sleep_until(due) => {
                    let _turn = self.turn.lock().await;
                    self.tell().await;
                }
                // It may be due earlier now, or no more.
                () = self.changed.notified() => {}
            }
        }
    }

    /// Tells the last word, where it was not.
    async fn tell(&self) {
        let word = {
            let known = self.known.lock();
            let told = known.told.as_ref().map(|(told, _)| told);
            known.said.clone().filter(|said| told != Some(said) && !known.is_over)
        };
        let Some((done, text)) = word else { return };
        let body = ReportBody::Progress { done, text: text.clone() };
        if let Err(error) = self.reporter.report(&self.key, body).send().await {
            tracing::warn!(key = %self.key, %error, "how far a try has come can't be told");
        }
        self.known.lock().told = Some(((done, text), Instant::now()));
    }

    /// The try is over: its last word is told, where it is to be.
    pub(super) async fn end(&self, tells: bool) {
        let _turn = self.turn.lock().await;
        if tells {
            self.tell().await;
        }
        self.known.lock().is_over = true;
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests;
