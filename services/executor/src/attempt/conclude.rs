//! Makes the terminal report: the log stored, the traceback within its limit.
use std::{sync::Arc, time::Duration};

use dagbok_events::{Digest, Failure, FailureKind, Fault, LogRef, LostWhy, Usage, encode_any};
use dagbok_protocol::{ReportBody, UsageSeries, limits::INLINE_TRACEBACK_BYTES};

use tokio::time::timeout;

use super::{
    run::Running,
    said::Said,
    settle::End,
    verdict::{Verdict, failure},
};
use crate::log::Early;

/// How long is waited for the words of whoever ends the executor's process.
const PARTING: Duration = Duration::from_secs(2);

/// What a try used.
#[derive(Debug, Default)]
pub(super) struct Used {
    /// What the kernel counted; `None` where nobody could tell any more.
    pub(super) counted: Option<Usage>,
    /// What was seen over its time; `None` where there was no look.
    pub(super) series: Option<UsageSeries>,
}

impl Running<'_> {
    /// The terminal report, with the log stored.
    pub(super) async fn conclude(
        &self,
        verdict: Verdict,
        said: Said,
        early: Option<Early>,
        used: Used,
    ) -> End {
        let verdict = self.masked(self.in_their_words(verdict).await);
        if let (Verdict::Failed(failure), None) = (&verdict, &said.error) {
            self.tell_failure(failure);
        }
        self.log.finish();
        let Said { xcoms, at: last_word, skips, outlets, .. } = said;
        let log = self.log_ref(early, used.series).await;
        let usage = used.counted;
        let known = usage.unwrap_or_default();
        let body = match verdict {
            Verdict::Succeeded => {
                ReportBody::Succeeded { xcoms, usage: known, log, skips, outlets }
            }
            Verdict::Skipped(message) => ReportBody::Skipped { message, xcoms, usage: known, log },
            Verdict::Failed(failure) => {
                let failure = self.shorten(*failure).await;
                ReportBody::Failed { failure, xcoms, usage: known, log }
            }
            Verdict::Rescheduled(due) => ReportBody::Rescheduled { due, xcoms, usage: known, log },
            Verdict::Deferred(deferred) => {
                let super::said::Deferred { trigger, next_method, next_kwargs, timeout_at, ask } =
                    *deferred;
                let usage = known;
                ReportBody::Deferred {
                    trigger,
                    next_method,
                    next_kwargs,
                    timeout_at,
                    ask,
                    xcoms,
                    usage,
                    log,
                }
            }
            Verdict::Lost(why) => ReportBody::Lost { why, usage, log },
        };
        End::Report { body: Box::new(body), last_word, leaving: None }
    }

    /// Whoever ends the process that this executor is, a node that is emptied or a pod with more priority, can say why.
    async fn in_their_words(&self, verdict: Verdict) -> Verdict {
        let is_ended = matches!(verdict, Verdict::Lost(LostWhy::Drained));
        if !is_ended || self.shared.settings.claim.is_none() {
            return verdict;
        }
        let mut parting = self.shared.parting.subscribe();
        let said = parting.wait_for(Option::is_some);
        let Ok(Ok(why)) = timeout(PARTING, said).await else { return verdict };
        let why = why.clone().unwrap_or_default();
        self.log.system("error", why.clone());
        Verdict::Failed(Box::new(failure(FailureKind::Executor, Fault::System, why)))
    }

    /// The verdict without the secrets that the executor knows of.
    fn masked(&self, verdict: Verdict) -> Verdict {
        let masks = self.log.masks();
        match verdict {
            Verdict::Failed(mut failure) => {
                failure.message = masks.text(failure.message);
                failure.traceback = failure.traceback.map(|text| masks.text(text));
                Verdict::Failed(failure)
            }
            Verdict::Skipped(message) => Verdict::Skipped(masks.text(message)),
            Verdict::Succeeded
            | Verdict::Rescheduled(_)
            | Verdict::Deferred(_)
            | Verdict::Lost(_) => verdict,
        }
    }

    /// A failure that the task's own process could not log, with its traceback.
    fn tell_failure(&self, failure: &Failure) {
        if let Some(traceback) = &failure.traceback {
            for line in traceback.lines() {
                self.log.system("error", line);
            }
        }
        if failure.exception.is_some() {
            self.log.system("error", failure.message.clone());
        }
    }

    async fn log_ref(&self, early: Option<Early>, used: Option<UsageSeries>) -> Option<LogRef> {
        let extent = self.log.extent();
        // What it used stands with its log, though there be no line.
        if extent.bytes == 0 && used.is_none() {
            return None;
        }
        let (lines, dropped) = self.log.counts();
        let stored = match early {
            Some(early) if early.bytes == extent.bytes => early.stored.await.ok(),
            _ => None,
        };
        let stored = match stored {
            Some(stored) => stored,
            None => self.store_whole().await,
        };
        let usage = match used {
            Some(series) => self.store_usage(&series).await,
            None => None,
        };
        match stored {
            Ok(digest) => {
                let digest = Digest::new(digest).expect("a blob store answers with a digest");
                Some(LogRef { digest, size: extent.bytes, lines, dropped, usage })
            }
            Err(why) => {
                tracing::error!(key = %self.item.key, why, "a try's log can't be kept");
                None
            }
        }
    }

    async fn store_usage(&self, series: &UsageSeries) -> Option<Digest> {
        match self.shared.store.put(encode_any(series).into()).await {
            Ok(digest) => Digest::new(digest).ok(),
            Err(why) => {
                tracing::error!(key = %self.item.key, why, "what a try used can't be kept");
                None
            }
        }
    }

    async fn store_whole(&self) -> Result<String, String> {
        let log = Arc::clone(&self.log);
        let read = tokio::task::spawn_blocking(move || log.whole())
            .await
            .expect("reading a log does not panic");
        let whole =
            read.map_err(|error| format!("it can't be read back from the disk: {error}"))?;
        self.shared.store.put(whole).await
    }

    /// A traceback that is too long for a record is kept whole beside it.
    async fn shorten(&self, mut failure: Failure) -> Failure {
        let Some(whole) = failure.traceback.take_if(|text| text.len() > INLINE_TRACEBACK_BYTES)
        else {
            return failure;
        };
        // The end says most: where it was raised.
        let from = whole.ceil_char_boundary(whole.len() - INLINE_TRACEBACK_BYTES + 64);
        let short = format!("… {from} bytes left out\n{}", &whole[from..]);
        let stored = self.shared.store.put(whole.into_bytes().into()).await;
        failure.traceback = Some(short);
        failure.traceback_blob = stored.ok().and_then(|digest| Digest::new(digest).ok());
        failure
    }
}
