//! What the scheduler is told: a file read, a file gone, the folder's code.
use dagbok_events::file_in;
use dagbok_protocol::{Answer, CommandBody, DagFile};

use super::Service;
use crate::{ParsedFile, known, tell::Told};

impl Service {
    /// Tells of known files that are not there any more, where the whole folder could be read.
    pub(super) async fn tell_of_gone(&mut self) {
        if !self.snapshot.problems.is_empty() || !self.bundle.stands_for(&self.snapshot) {
            return;
        }
        let gone: Vec<_> =
            self.one.known.iter().filter(|name| !self.files.contains_key(*name)).cloned().collect();
        for file in gone {
            self.tell_gone(file).await;
        }
    }

    pub(super) async fn tell_read(&mut self, mut parsed: ParsedFile) {
        let Some(bundle) = self.bundle.digest() else { return };
        let path = parsed.file.clone();
        let file = self.file(&path);
        parsed.go_by(&file);
        for error in &parsed.errors {
            let (exception, why, line) = (&error.exception, &error.message, error.line);
            tracing::warn!(file, line, exception, error = why, "a DAG file can't be read");
        }
        let paused_at_creation = self.settings.paused_at_creation;
        let body = |parsed: ParsedFile| {
            let ParsedFile { file, dags, errors, .. } = parsed;
            let bundle = bundle.clone();
            CommandBody::DagFileRead(Box::new(DagFile {
                file,
                bundle,
                dags,
                errors,
                paused_at_creation,
            }))
        };
        let teller = &self.common.teller;
        let mut told = teller.tell(&file, body(parsed)).await;
        if let Told::TooLarge(why) = told {
            let message = format!(
                "the file's DAGs are too large together ({why}); spread them over several files"
            );
            let failed = ParsedFile::failed(&file, "FileTooLarge", message, String::new());
            told = teller.tell(&file, body(failed)).await;
        }
        if log_answer(&file, &told)
            && self.one.known.insert(path)
            && let Err(error) = known::remember(&self.common.ports, &file).await
        {
            tracing::warn!(file, %error, "that the file was read could not be kept");
        }
    }

    /// What a file goes by in the facts, by its path in the folder.
    fn file(&self, path: &str) -> String {
        file_in(self.one.name.as_deref(), path)
    }

    async fn tell_gone(&mut self, path: String) {
        let file = self.file(&path);
        let body = CommandBody::DagFileGone { file: file.clone() };
        let told = self.common.teller.tell(&file, body).await;
        if !log_answer(&file, &told) {
            return;
        }
        self.one.known.remove(&path);
        let lost = self.leaving.remove(&path);
        self.let_go(&lost);
        if let Err(error) = known::forget(&self.common.ports, &file).await {
            // It is told of again at the next start, which changes nothing.
            tracing::warn!(file, %error, "that the file is gone could not be kept");
        }
    }

    /// Tells of the folder's code once every file that changed with it has been told of.
    pub(super) async fn publish_when_quiet(&mut self) {
        if self.agenda.is_busy() || !self.bundle.stands_for(&self.snapshot) {
            return;
        }
        let Some(bundle) = self.bundle.unpublished() else { return };
        let folder = self.one.name.clone();
        let body = CommandBody::PublishBundle { bundle: bundle.clone(), folder };
        let told = self.common.teller.tell("the bundle", body).await;
        if log_answer("the bundle", &told) {
            self.bundle.published(bundle);
        }
    }
}

/// Whether the scheduler has it now.
pub(super) fn log_answer(what: &str, told: &Told) -> bool {
    match told {
        Told::Answered(Answer::Accepted { seq, .. }) => {
            tracing::info!(what, seq, "told the scheduler");
        }
        Told::Answered(
            Answer::Unchanged
            | Answer::WouldClear { .. }
            | Answer::WouldMark { .. }
            | Answer::Waits(_)
            | Answer::WouldMake(_)
            | Answer::LastScheduled(_)
            | Answer::WouldBackfill(_),
        ) => {
            tracing::debug!(what, "the scheduler knew");
        }
        Told::Answered(Answer::Refused(refusal)) => {
            tracing::warn!(what, %refusal, "the scheduler refused what was read");
        }
        Told::TooLarge(why) => {
            tracing::error!(what, why, "the scheduler can't be told");
            return false;
        }
        Told::Stopped => return false,
    }
    true
}
