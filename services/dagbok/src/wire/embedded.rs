//! The embedded log in the installation's folder.
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use dagbok_archive::{Archive, Whole};
use dagbok_config::Config;
use dagbok_runlog::{
    Ports, RunLog,
    memory::{MemoryQueues, MemorySignals, MemorySnapshots, MemoryState},
};
use dagbok_runlog_embedded::{OpenError, OpenReport, Options, ReadOnly};

use super::objects::{self, Owner};
use crate::{codes::Code, failure::Failure};

/// Where the records of the log in `home` go that are not kept at hand.
pub(crate) fn archive(home: &Path, config: &Config) -> Archive {
    let dir = config.retention.archive.clone().unwrap_or_else(|| home.join("archive"));
    Archive::new(&dir)
}

/// Opens the log in `home` as its one writer; what it was trimmed of is read from its archive, and big things lie where
/// the configuration says, a place that is taken over where that `takes_over`.
pub(crate) async fn open(
    home: &Path,
    config: &Config,
    takes_over: bool,
) -> Result<(Ports, OpenReport), Failure> {
    // What no log could mend is said before one is opened.
    objects::objects(config)?;
    let claims = objects::claim_in(home);
    let (archive, home) = (archive(home, config), home.to_owned());
    let opened = tokio::task::spawn_blocking(move || {
        let opened = dagbok_runlog_embedded::open(&home, Options::default())?;
        dagbok_processor::mark_home(&home);
        Ok(opened)
    });
    let opened = opened.await.map_err(|panic| Failure::new(Code::Bug, panic))?;
    let (mut ports, report) = opened.map_err(|error| open_failure(&error))?;
    ports.log = Arc::new(Whole::new(ports.log, archive));
    objects::beside(&mut ports, config, (Owner::Claims { takes_over }, claims), false).await?;
    Ok((ports, report))
}

/// Where the log of alerts lies.
fn alerts(home: &Path) -> PathBuf {
    home.join("alerts")
}

/// Opens the log of alerts in `home` as its one writer.
pub(crate) async fn alert_log(home: &Path) -> Result<Arc<dyn RunLog>, Failure> {
    let dir = alerts(home);
    let opened = tokio::task::spawn_blocking(move || {
        dagbok_runlog_embedded::open_log(&dir, Options::default())
    });
    let opened = opened.await.map_err(|panic| Failure::new(Code::Bug, panic))?;
    Ok(opened.map_err(|error| open_failure(&error))?.0)
}

/// The log of alerts in `home`, to be read; `None` where there is none.
pub(crate) async fn alert_log_read_only(home: &Path) -> Option<Arc<dyn RunLog>> {
    look_into(&alerts(home)).await.ok().map(|read| read.log)
}

/// Opens the log in `home` to be read, whoever writes it; what would write is refused or goes nowhere.
pub(crate) async fn read_only(home: &Path, config: &Config) -> Result<Ports, Failure> {
    let read = look_into(home).await?;
    let mut ports = Ports {
        log: Arc::new(Whole::new(read.log, archive(home, config))),
        queues: Arc::new(MemoryQueues::default()),
        state: Arc::new(MemoryState::default()),
        blobs: read.blobs,
        signals: Arc::new(MemorySignals::default()),
        snapshots: Arc::new(MemorySnapshots::default()),
    };
    objects::beside(&mut ports, config, (Owner::Reads, objects::claim_in(home)), false).await?;
    Ok(ports)
}

/// The log in `home` as it is, without what it was trimmed of, to be read, whoever writes it.
pub(crate) async fn log_read_only(home: &Path) -> Result<Arc<dyn RunLog>, Failure> {
    Ok(look_into(home).await?.log)
}

async fn look_into(home: &Path) -> Result<ReadOnly, Failure> {
    let home = home.to_owned();
    let opened = tokio::task::spawn_blocking(move || dagbok_runlog_embedded::open_read_only(&home));
    let opened = opened.await.map_err(|panic| Failure::new(Code::Bug, panic))?;
    Ok(opened.map_err(|error| open_failure(&error))?.0)
}

/// What a person is told of a log that can't be opened.
pub(crate) fn open_failure(error: &OpenError) -> Failure {
    let code = match error {
        OpenError::Locked { .. } => Code::HomeInUse,
        OpenError::Missing { .. } => Code::NoLog,
        OpenError::Newer { .. } => Code::LogNewer,
        OpenError::Damaged { .. } => Code::LogDamaged,
        OpenError::Io { .. } => Code::HomeUnusable,
    };
    Failure::from_error(code, error)
}
