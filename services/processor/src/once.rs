//! Reads one file and no more: for `dags show FILE` and `dags test FILE`.
use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use dagbok_events::{Actor, Digest};
use dagbok_inbox::{Ask, AskError, Inbox};
use dagbok_protocol::{Answer, CommandBody, DagFile};
use dagbok_runlog::{PortError, Ports};
use dagbok_runtime::{Clock, Shutdown};
use futures::{StreamExt as _, stream};
use thiserror::Error;

use crate::{
    ParsedFile, ProcessorSettings, Python,
    bundle::pack,
    candidate::{Kind, kind_of},
    foretell::Last,
    parser::Parsers,
    service::blocking,
    snapshot::Snapshot,
};

/// Why a file could not be read and told of.
#[derive(Debug, Error)]
pub enum OnceError {
    /// The folder can't be read, or is too large to publish.
    #[error("the DAG folder `{folder}` can't be used: {why}")]
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
    within: Duration,
) -> ParsedFile {
    parse_by(&Parsers::new(python.clone()), folder, file, within).await
}

async fn parse_by(parsers: &Parsers, folder: &Path, file: &str, within: Duration) -> ParsedFile {
    let parse = async |last: &Last| {
        let parsed = parsers.parse(folder, file, last, within, &Shutdown::new()).await;
        parsed.expect("nobody gives it up")
    };
    let parsed = parse(&Last::new()).await;
    // As if there had been no run yet.
    let last: Last = parsed.to_foretell().map(|dag_id| (dag_id.clone(), None)).collect();
    if last.is_empty() { parsed } else { parse(&last).await }
}

/// The modules of a zip that are read for DAGs, by their names in it; why there are none where it can't be read.
pub fn modules_in(zip: &Path) -> Result<Vec<String>, String> {
    let content = std::fs::read(zip).map_err(|error| error.to_string())?;
    match kind_of(&zip.to_string_lossy(), &content) {
        Kind::Zip(modules) => Ok(modules.to_vec()),
        Kind::BrokenZip(error) => Err(error.to_string()),
        Kind::DagFile | Kind::NoZip(_) | Kind::Other => Ok(Vec::new()),
    }
}

/// Finds the file of `folder` that defines `dag_id`, parsing one file after another until it is found;
/// those that mention the id come first. `None` where none does.
pub async fn find_once(
    settings: &ProcessorSettings,
    dag_id: &str,
    clock: &Clock,
) -> Result<Option<ParsedFile>, OnceError> {
    let snapshot = Arc::new(take(settings, clock).await?);
    let (folder, id, taken) = (settings.folder.clone(), dag_id.to_owned(), Arc::clone(&snapshot));
    let files = blocking(move || {
        let mut files: Vec<(bool, String)> = taken
            .dag_files()
            .map(|name| {
                let text = std::fs::read(folder.join(&name)).unwrap_or_default();
                let mentions = text.windows(id.len().max(1)).any(|at| at == id.as_bytes());
                (!mentions, name)
            })
            .collect();
        files.sort();
        files
    });
    let parsers = Parsers::new(settings.python.clone());
    let files = files.await.into_iter().map(|(_, file)| file);
    let mut readings = std::pin::pin!(readings(&parsers, settings, &snapshot, files));
    while let Some(parsed) = readings.next().await {
        if parsed.dags.iter().any(|dag| dag.spec.dag_id.as_str() == dag_id) {
            return Ok(Some(parsed));
        }
    }
    Ok(None)
}

/// Reads every DAG file of the folder, in the order of their names.
pub async fn parse_all(
    settings: &ProcessorSettings,
    clock: &Clock,
) -> Result<Vec<ParsedFile>, OnceError> {
    let snapshot = take(settings, clock).await?;
    let parsers = Parsers::new(settings.python.clone());
    // In the order of names, those in zips among them.
    let files: BTreeSet<String> = snapshot.dag_files().collect();
    Ok(readings(&parsers, settings, &snapshot, files.into_iter()).collect().await)
}

/// Reads files, several at once, and gives them in the order that they came in.
fn readings<'a>(
    parsers: &'a Parsers,
    settings: &'a ProcessorSettings,
    snapshot: &'a Snapshot,
    files: impl Iterator<Item = String> + 'a,
) -> impl stream::Stream<Item = ParsedFile> + 'a {
    let each = files.map(move |file| async move {
        if let Some(error) = snapshot.trouble_of(&file) {
            return ParsedFile::of_zip(&file, error);
        }
        parse_by(parsers, &settings.folder, &file, settings.parse_timeout).await
    });
    stream::iter(each).buffered(settings.parsers.max(1))
}

/// Publishes the folder, and tells the scheduler what was read from one file of it; returns its answer.
pub async fn tell_once(
    ports: &Ports,
    settings: &ProcessorSettings,
    parsed: ParsedFile,
    clock: &Clock,
) -> Result<Answer, OnceError> {
    let snapshot = take(settings, clock).await?;
    let packed = blocking(move || pack(&snapshot)).await;
    let packed = packed.map_err(|error| trouble(settings, &error))?;
    let digest = ports.blobs.put(packed.bytes.into()).await?;
    let bundle = Digest::new(digest).map_err(|error| trouble(settings, &error))?;
    let ParsedFile { file, dags, errors, .. } = parsed;
    let paused_at_creation = settings.paused_at_creation;
    let read = DagFile { file, bundle, dags, errors, paused_at_creation };
    let inbox = Inbox::open(ports, clock.clone()).await?;
    let ask = Ask::new(Actor::Processor, CommandBody::DagFileRead(Box::new(read)));
    Ok(inbox.ask(ask, settings.answer_within).await?)
}

/// The folder as it is.
async fn take(settings: &ProcessorSettings, clock: &Clock) -> Result<Snapshot, OnceError> {
    let (folder, syntax, now) = (settings.folder.clone(), settings.ignore_syntax, clock.now());
    let taken = blocking(move || Snapshot::take(&folder, syntax, &Snapshot::default(), now)).await;
    taken.map_err(|error| trouble(settings, &error))
}

fn trouble(settings: &ProcessorSettings, why: &dyn std::fmt::Display) -> OnceError {
    OnceError::Folder { folder: settings.folder.display().to_string(), why: why.to_string() }
}
