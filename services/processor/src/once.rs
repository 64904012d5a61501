//! Reads one file and no more: for `dags show FILE` and `dags test FILE`.
use std::path::Path;

use dagbok_events::Actor;
use dagbok_inbox::{Ask, AskError, Inbox};
use dagbok_protocol::{Answer, CommandBody, DagFile};
use dagbok_runlog::{PortError, Ports};
use dagbok_runtime::Clock;
use thiserror::Error;

use crate::{
    ParsedFile, ProcessorSettings, Python,
    bundle::{BundleError, pack},
    parser::parse,
    service::blocking,
    snapshot::Snapshot,
};

/// Why a file could not be read and told of.
#[derive(Debug, Error)]
pub enum OnceError {
    /// The folder can't be read, or is too large.
    #[error("the DAG folder `{folder}` can't be published: {why}")]
    Folder {
        /// Which.
        folder: String,
        /// What was found.
        why: String,
    },
    /// The log's ports failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The scheduler did not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
}

/// Parses `file` (a path in `folder`, `/` between its parts) in a process of its own. Errors in the file
/// are in what it returns.
pub async fn parse_once(
    python: &Python,
    folder: &Path,
    file: &str,
    within: std::time::Duration,
) -> ParsedFile {
    parse(python, folder, file, within).await.parsed
}

/// Parses `file`, publishes its folder, and tells the scheduler; returns what was read, and the answer
/// where there was anything to tell.
pub async fn read_once(
    ports: &Ports,
    settings: &ProcessorSettings,
    file: &str,
    clock: &Clock,
) -> Result<(ParsedFile, Option<Answer>), OnceError> {
    let trouble =
        |why: String| OnceError::Folder { folder: settings.folder.display().to_string(), why };
    let parsed = parse_once(&settings.python, &settings.folder, file, settings.parse_timeout).await;
    if parsed.dags.is_empty() {
        return Ok((parsed, None));
    }
    let (folder, syntax, now) = (settings.folder.clone(), settings.ignore_syntax, clock.now());
    let packed = blocking(move || {
        let snapshot = Snapshot::take(&folder, syntax, &Snapshot::default(), now)
            .map_err(|error| error.to_string())?;
        pack(&snapshot).map_err(|error: BundleError| error.to_string())
    });
    let digest = ports.blobs.put(packed.await.map_err(trouble)?.into()).await?;
    let bundle = dagbok_events::Digest::new(digest).map_err(|error| trouble(error.to_string()))?;
    let read = DagFile {
        file: parsed.file.clone(),
        bundle,
        dags: parsed.dags.clone(),
        errors: parsed.errors.clone(),
        paused_at_creation: settings.paused_at_creation,
    };
    let inbox = Inbox::open(ports, clock.clone()).await?;
    let ask = Ask::new(Actor::Processor, CommandBody::DagFileRead(Box::new(read)));
    let answer = inbox.ask(ask, settings.parse_timeout).await?;
    Ok((parsed, Some(answer)))
}
