//! What a try says while it runs of what it keeps, and of how far it has come.
use std::collections::BTreeMap;

use dagbok_events::{CheckpointFiles, CheckpointKept, Fact, TryKey, TryProgressed};
use dagbok_protocol::{
    limits::{CHECKPOINT_PIECES, CHECKPOINT_VALUES_BYTES, PROGRESS_TEXT_BYTES},
    text,
};

use super::accept::Accepted;
use crate::run::Run;

/// All of it, in ten-thousandths.
const ALL: u16 = 10_000;

/// Whether what a try says that it keeps is within the limits, together with what is kept: it goes with the next try's work
/// item, and an executor may be anybody's.
pub(super) fn fits(
    run: &Run,
    key: &TryKey,
    files: Option<&CheckpointFiles>,
    values: &BTreeMap<String, Option<String>>,
) -> Result<(), String> {
    let pieces = files.map_or(0, |files| files.pieces.len());
    if pieces > CHECKPOINT_PIECES {
        return Err(format!(
            "the checkpoint of {key} has {pieces} pieces, and the limit is {CHECKPOINT_PIECES}"
        ));
    }
    let kept = run.checkpoint_of(&key.task_id, key.map_index);
    let stand = kept.into_iter().flat_map(|kept| &kept.values);
    let stand = stand.filter(|(name, _)| !values.contains_key(*name));
    let stand: usize = stand.map(|(name, value)| name.len() + value.len()).sum();
    let come = values.iter().filter_map(|(name, value)| Some(name.len() + value.as_ref()?.len()));
    let bytes = stand + come.sum::<usize>();
    if bytes > CHECKPOINT_VALUES_BYTES {
        return Err(format!(
            "the values of the checkpoint of {key} come to {bytes} bytes, and the limit is {CHECKPOINT_VALUES_BYTES}"
        ));
    }
    Ok(())
}

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
