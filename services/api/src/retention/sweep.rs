//! Blobs that no row names any more. Rows are marked in a [`Bloom`] set, then every blob that is not in it,
//! and that nobody has put for a while, is deleted: a blob is put before the fact that names it is written.
use std::{
    collections::HashSet,
    time::{SystemTime, UNIX_EPOCH},
};

use dagbok_events::{Digest, LogRef, Payload};
use dagbok_rows::{Row, key::table};
use dagbok_runlog::{Blobs, PortError};
use thiserror::Error;

use super::{bloom::Bloom, plan::logs_of};
use crate::model::{
    Store, StoreError, keys,
    rows::{
        BundleRow, DagRow, Handed, Lapsed, LapsesRow, PastTryRow, RefusedRow, RunInputRow, RunRow,
        TaskRow, TryRow, XComRow,
    },
};

/// Blobs looked at in one piece.
const PAGE: usize = 10_000;
/// Blobs that can't be deleted after which the others are not tried: it is the store then.
const FAILURES: u64 = 8;

/// What a sweep came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Blobs that were there.
    pub blobs: u64,
    /// Those of them that nothing names, and that nobody has put for a while.
    pub unnamed: u64,
    /// What these take, in bytes.
    pub bytes: u64,
    /// Those that could not be deleted: they are left for the next sweep.
    pub failed: u64,
}

/// What is done with what nothing names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// It is counted.
    Count,
    /// It is deleted, and counted.
    Delete,
}

/// A sweep was broken off; what it has deleted is gone.
#[derive(Debug, Error)]
pub enum SweepError {
    /// The rows can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The blobs can't be listed or deleted.
    #[error(transparent)]
    Port(#[from] PortError),
    /// A bug.
    #[error("the rows could not be marked: {0}")]
    Panicked(String),
}

/// Counts the blobs that nothing in `store` names and that were put before `put_since`, and deletes them where
/// asked to; some that can't be deleted keep no other. `store` must hold all that the log held when this was called.
pub async fn sweep(
    store: &Store,
    blobs: &dyn Blobs,
    put_since: SystemTime,
    what: Sweep,
) -> Result<Swept, SweepError> {
    let mut swept = Swept::default();
    let mut after: Option<String> = None;
    loop {
        let page = blobs.list(after.as_deref(), PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.digest.clone());
        swept.blobs += page.len() as u64;
    }
    if swept.blobs == 0 {
        return Ok(swept);
    }
    let (rows, count) = (store.clone(), swept.blobs);
    let salt = put_since.duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs());
    let marked = tokio::task::spawn_blocking(move || mark(&rows, Bloom::new(count, salt))).await;
    let named = marked.map_err(|panic| SweepError::Panicked(panic.to_string()))??;
    let mut after: Option<String> = None;
    loop {
        let page = blobs.list(after.as_deref(), PAGE).await?;
        let Some(last) = page.last() else { return Ok(swept) };
        after = Some(last.digest.clone());
        for blob in page.iter().filter(|blob| blob.modified < put_since) {
            if named.may_have(&blob.digest) {
                continue;
            }
            let goes = match what {
                Sweep::Count => Ok(true),
                Sweep::Delete => blobs.delete(&blob.digest, put_since).await,
            };
            match goes {
                Ok(true) => {
                    swept.unnamed += 1;
                    swept.bytes += blob.bytes;
                }
                Ok(false) => {}
                Err(error) => {
                    swept.failed += 1;
                    if swept.failed == FAILURES {
                        return Err(error.into());
                    }
                    tracing::warn!(%error, blob = blob.digest, "a blob that nothing names stays for now");
                }
            }
        }
    }
}

/// Marks every digest in the rows.
fn mark(store: &Store, mut named: Bloom) -> Result<Bloom, StoreError> {
    each_named(store, &mut |name| match name {
        Named::Blob(digest) | Named::Perhaps(digest) => named.add(digest),
    })?;
    Ok(named)
}

/// What a row names.
#[derive(Clone, Copy, Debug)]
pub(super) enum Named<'a> {
    /// A blob.
    Blob(&'a str),
    /// Something that a try saw or that a refused report said, which may be one.
    Perhaps(&'a str),
}

/// The code that rows name: of runs, of versions that are kept, and of the version that new runs get.
pub(super) fn bundles(store: &Store) -> Result<HashSet<Digest>, StoreError> {
    let mut bundles = HashSet::new();
    each::<RunRow>(store, |run| {
        bundles.insert(run.bundle);
    })?;
    each::<BundleRow>(store, |row| {
        bundles.insert(row.bundle);
    })?;
    for dag in store.scan::<DagRow>(&table::<DagRow>()) {
        let (_, dag) = dag?;
        // Whether or not a run has it yet.
        let current = store.version(&dag.dag_id, dag.version)?;
        bundles.extend(current.map(|version| version.bundle));
    }
    Ok(bundles)
}

/// Goes through every digest in the rows, some of them more than once. Tables whose rows move to another as tries come
/// and go are read before that one, so that none is missed on its way.
pub(super) fn each_named(
    store: &Store,
    name: &mut impl FnMut(Named<'_>),
) -> Result<(), StoreError> {
    for bundle in &bundles(store)? {
        name(Named::Blob(bundle.as_str()));
    }
    each::<RunInputRow>(store, |row| row.conf.iter().for_each(|conf| payload(name, conf)))?;
    let mut of = Runs::of(store)?;
    of.each::<TaskRow>(|run, row| {
        row.attempt.iter().for_each(|attempt| logs(name, run, attempt));
        let kept = row.checkpoint.iter().filter_map(|kept| kept.files.as_ref());
        for piece in kept.flat_map(|files| &files.pieces) {
            name(Named::Blob(piece.as_str()));
        }
        if run.is_some_and(|run| run.xcoms_kept_until(&row).is_some()) {
            return;
        }
        for handed in &row.xcoms {
            if let Handed::Small(xcom) = handed {
                payload(name, &xcom.value);
            }
        }
    })?;
    of.each::<PastTryRow>(|run, row| logs(name, run, &row.0))?;
    of.each::<XComRow>(|run, row| {
        // Of a run that went on nobody looks whose value it is: it goes with the run, or once that is over for long again.
        if !run.and_then(|run| run.xcoms_lapsed).is_some_and(Lapsed::is_whole) {
            payload(name, &row.value);
        }
    })?;
    of.each::<RefusedRow>(|run, row| {
        if run.and_then(|run| run.refused_log_kept_until(&row)).is_none() {
            row.log.iter().for_each(|log| refused_log(name, log));
        }
    })
}

/// Goes through rows of runs, each with its run where something of runs is forgotten: only then it is looked up, once
/// for all rows of it, which follow each other.
struct Runs<'a> {
    store: &'a Store,
    /// By what facts; nothing where nothing was forgotten yet.
    lapses: Option<LapsesRow>,
    run: Option<RunRow>,
}

impl<'a> Runs<'a> {
    fn of(store: &'a Store) -> Result<Self, StoreError> {
        let lapses = store.lapses()?;
        let forgets = !(lapses.logs.is_empty() && lapses.xcoms.is_empty());
        Ok(Self { store, lapses: forgets.then_some(lapses), run: None })
    }

    fn each<R: Row>(&mut self, mut look: impl FnMut(Option<&RunRow>, R)) -> Result<(), StoreError> {
        for found in self.store.scan::<R>(&table::<R>()) {
            let (key, row) = found?;
            if let Some(lapses) = &self.lapses {
                let of = keys::run_in(&key);
                if self.run.as_ref().map(RunRow::key) != of {
                    let run = of.map(|of| self.store.run_by(&of, lapses)).transpose()?;
                    self.run = run.flatten();
                }
            }
            look(self.run.as_ref(), row);
        }
        Ok(())
    }
}

fn each<R: Row>(store: &Store, mut look: impl FnMut(R)) -> Result<(), StoreError> {
    store.scan::<R>(&table::<R>()).try_for_each(|found| found.map(|(_, row)| look(row)))
}

fn payload(name: &mut impl FnMut(Named<'_>), payload: &Payload) {
    if let Payload::Blob { digest, .. } = payload {
        name(Named::Blob(digest.as_str()));
    }
}

fn log_and_usage(name: &mut impl FnMut(Named<'_>), log: &LogRef) {
    name(Named::Blob(log.digest.as_str()));
    log.usage.iter().for_each(|usage| name(Named::Blob(usage.as_str())));
}

/// Nobody looked at what a refused report names: whoever sent it may have put nothing there.
fn refused_log(name: &mut impl FnMut(Named<'_>), log: &LogRef) {
    name(Named::Perhaps(log.digest.as_str()));
    log.usage.iter().for_each(|usage| name(Named::Perhaps(usage.as_str())));
}

fn logs(name: &mut impl FnMut(Named<'_>), run: Option<&RunRow>, row: &TryRow) {
    if run.and_then(|run| run.log_kept_until(row)).is_none() {
        logs_of(row).for_each(|log| log_and_usage(name, log));
    }
    // What a try saw is named by digests, some of which are blobs'.
    row.inputs.values().for_each(|digest| name(Named::Perhaps(digest)));
}
