//! What a try says while it runs of what it keeps, and of how far it has come.
use std::collections::BTreeMap;

use dagbok_events::{CheckpointFiles, CheckpointKept, Fact, TryProgressed};
use dagbok_protocol::{limits::PROGRESS_TEXT_BYTES, text};

use super::accept::Accepted;

/// All of it, in ten-thousandths.
const ALL: u16 = 10_000;

impl Accepted<'_> {
    /// That its task keeps this for the next try.
    pub(super) fn checkpoint_kept(
        &self,
        files: Option<&CheckpointFiles>,
        values: &BTreeMap<String, Option<String>>,
    ) -> Fact {
        let key = &self.report.key;
        Fact::CheckpointKept(Box::new(CheckpointKept {
            task_id: key.task_id.clone(),
            map_index: key.map_index,
            try_number: key.try_number,
            leg: key.leg,
            files: files.cloned(),
            values: values.clone(),
        }))
    }

    /// How far it has come.
    pub(super) fn progressed(&self, done: u16, said: &str) -> Fact {
        let key = &self.report.key;
        Fact::TryProgressed(Box::new(TryProgressed {
            task_id: key.task_id.clone(),
            map_index: key.map_index,
            try_number: key.try_number,
            leg: key.leg,
            done: done.min(ALL),
            text: text::cut(said, PROGRESS_TEXT_BYTES),
            said_at: self.report.at,
        }))
    }
}
