//! Makes a backup of an installation's folder, whether or not a process writes it.
//!
//! Blobs are copied before the log and after it: what a record names was put before the record, and what is swept
//! meanwhile was there before. The log of alerts comes before the run log, which it names records of. What was
//! copied is opened and held against its archive before it is called a backup.
use std::path::{Path, PathBuf};

use dagbok_archive::Archive;
use dagbok_runlog_embedded::{ReadOnly, open_read_only};
use dagbok_runtime::Clock;
use serde_json::json;

use super::{
    copies::{self, Copied, flush},
    manifest::{BlobSet, FORMAT, LogSpan, Manifest, NAME, digest_of_names},
};
use crate::{
    codes::Code,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::bytes_text,
    services::own_key_file,
    wire,
};

/// What is left to whoever asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    /// The keys too.
    pub(super) keys: bool,
    /// The archive is elsewhere, and not missed.
    pub(super) without_archive: bool,
}

/// What is copied from where.
pub(super) struct Work {
    pub(super) home: PathBuf,
    pub(super) to: PathBuf,
    pub(super) archive: PathBuf,
    /// The file of master keys, where keys are wanted.
    pub(super) keys: Option<PathBuf>,
    pub(super) without_archive: bool,
    /// Whether the logs lie there; else they are on NATS.
    pub(super) has_log: bool,
    /// The last record of the log that the server's backup has, where the log is on NATS and that says it.
    pub(super) last: Option<u64>,
}

impl Work {
    pub(super) fn of(
        context: &Context,
        to: &Path,
        choice: Choice,
        has_log: bool,
    ) -> Result<Self, Failure> {
        let home = context.home()?;
        let keys = own_key_file(&context.config, &home);
        Ok(Self {
            archive: wire::archive(&home, &context.config).dir().to_path_buf(),
            to: std::path::absolute(to).unwrap_or_else(|_| to.to_owned()),
            keys: choice.keys.then_some(keys),
            without_archive: choice.without_archive,
            home,
            has_log,
            last: None,
        })
    }
}

/// Makes it, and says what it has. Ends with 9 where something was lost before, and so is not in it.
pub(super) async fn run(context: &Context, folder: &Path, choice: Choice) -> Outcome {
    let work = Work::of(context, folder, choice, true)?;
    let (home, key) = (work.home.clone(), own_key_file(&context.config, &work.home));
    let (manifest, digest) = made(work).await?;
    let is_whole = manifest.blobs.damaged.is_empty();
    let ends = if is_whole { Exit::Ok } else { Exit::Log };
    let out = context.out;
    if out.is_json() {
        out.document(&json!({ "folder": folder.display().to_string(), "manifest": digest,
            "log": manifest.log, "alerts": manifest.alerts, "blobs": manifest.blobs,
            "files": manifest.files.len(), "bytes": bytes_of(&manifest), "keys": manifest.keys,
            "without_archive": manifest.without_archive }));
        return Ok(ends);
    }
    if let Some(log) = &manifest.log {
        out.line(&format!("records {} to {} of {}", log.first, log.last, home.display()));
    }
    for line in lines(&manifest, &digest, folder) {
        out.line(&line);
    }
    if manifest.keys.is_empty() && key.exists() {
        out.line(&format!(
            "{} is not in it: keep a copy apart, for without it no connection and no variable can be read (or --with-keys)",
            key.display()
        ));
    }
    if let Some(far) = wire::objects(&context.config)? {
        out.line(&format!(
            "big things that are in {} stay there and are not in it: keep older versions of its objects, or a copy",
            far.place()
        ));
    }
    let links = home.join(copies::LINKS_KEY);
    if manifest.keys.is_empty() && links.exists() {
        out.line(&format!(
            "{} is not in it either: without it the links in messages that were sent can't be used",
            links.display()
        ));
    }
    Ok(ends)
}

/// What it has, for people.
pub(super) fn lines(manifest: &Manifest, digest: &str, folder: &Path) -> Vec<String> {
    let mut lines = vec![format!(
        "{} files and {} blobs, {}, in {}; manifest {}",
        manifest.files.len(),
        manifest.blobs.count,
        bytes_text(bytes_of(manifest)),
        folder.display(),
        &digest[..16]
    )];
    if let Some(last) = manifest.archived_elsewhere() {
        lines.push(format!(
            "records 1 to {last} are in the archive, which was left out: keep it as well"
        ));
    }
    if !manifest.blobs.damaged.is_empty() {
        lines.push(format!(
            "{} blobs were damaged before and are not in it: {}",
            manifest.blobs.damaged.len(),
            manifest.blobs.damaged.join(", ")
        ));
    }
    lines
}

/// Bytes of all that a backup has.
pub(super) fn bytes_of(manifest: &Manifest) -> u64 {
    manifest.blobs.bytes + manifest.files.iter().map(|file| file.bytes).sum::<u64>()
}

/// Makes it: the manifest, and the manifest's digest. What could not be made whole is taken away again.
pub(super) async fn made(work: Work) -> Result<(Manifest, String), Failure> {
    let to = work.to.clone();
    let work = blocking(move || {
        copies::refuse_inside(&work)?;
        copies::empty(&work)?;
        Ok(work)
    })
    .await?;
    let filled = fill(work).await;
    if filled.is_err() {
        blocking(move || {
            copies::discard(&to);
            Ok(())
        })
        .await?;
    }
    filled
}

async fn fill(work: Work) -> Result<(Manifest, String), Failure> {
    let begun = Clock::system().now();
    let (work, copied) = blocking(move || copies::all(&work).map(|copied| (work, copied))).await?;
    let (mut log, mut alerts) = (None, None);
    if work.has_log {
        let read = opened(&work.to).await?;
        let span = span(&read).await?;
        prove(&work, &read, span.first).await?;
        log = Some(span);
        let beside = work.to.join("alerts");
        if beside.is_dir() {
            alerts = Some(self::span(&opened(&beside).await?).await?);
        }
    }
    let Copied { blobs, files, keys } = copied;
    let manifest = Manifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: begun,
        home: work.home.display().to_string(),
        log,
        alerts,
        blobs: BlobSet {
            count: blobs.digests.len() as u64,
            bytes: blobs.bytes,
            names: digest_of_names(blobs.digests.iter().map(String::as_str)),
            damaged: blobs.damaged.into_iter().collect(),
        },
        keys,
        without_archive: work.without_archive,
        files,
    };
    let text =
        serde_json::to_string_pretty(&manifest).map_err(|error| Failure::new(Code::Bug, error))?;
    let digest = dagbok_runlog::digest_of(text.as_bytes());
    blocking(move || write(&work.to, &text)).await?;
    Ok((manifest, digest))
}

/// The manifest, once all that it names is there for good.
fn write(to: &Path, text: &str) -> Result<(), Failure> {
    let written = flush(to).and_then(|()| {
        let draft = to.join(copies::DRAFT);
        std::fs::write(&draft, text)?;
        std::fs::File::open(&draft)?.sync_all()?;
        std::fs::rename(&draft, to.join(NAME))?;
        std::fs::File::open(to)?.sync_all()
    });
    written.map_err(|error| {
        Failure::new(Code::HomeUnusable, format!("{NAME} can't be written: {error}"))
    })
}

/// Runs what blocks on the disk.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|panic| Failure::new(Code::Bug, panic))?
}

/// A copied log, opened as a reader does, so that what can't be opened is found now.
pub(super) async fn opened(folder: &Path) -> Result<ReadOnly, Failure> {
    let dir = folder.to_owned();
    let opened = tokio::task::spawn_blocking(move || open_read_only(&dir)).await;
    let opened = opened.map_err(|panic| Failure::new(Code::Bug, panic))?;
    opened.map(|(read, _)| read).map_err(|error| Failure::from_error(Code::LogDamaged, &error))
}

/// A log by its own word.
pub(super) async fn span(read: &ReadOnly) -> Result<LogSpan, Failure> {
    let failed = |error| Failure::from_error(Code::LogDamaged, &error);
    Ok(LogSpan {
        mark: read.log.mark().await.map_err(failed)?.map(|mark| mark.0.to_string()),
        first: read.log.base().await.map_err(failed)?.first.0,
        last: read.log.last().await.map_err(failed)?.0,
    })
}

/// Holds the copy of the log against the copy of the archive: what could not be put back is no backup.
async fn prove(work: &Work, read: &ReadOnly, first: u64) -> Result<(), Failure> {
    let copy = work.to.join("archive");
    if work.without_archive || (first <= 1 && !copy.is_dir()) {
        return Ok(());
    }
    let proof = Archive::new(&copy).prove_against(&*read.log).await;
    let proof = proof.map_err(|error| Failure::from_error(Code::LogDamaged, &error))?;
    let Some(fault) = proof.fault else { return Ok(()) };
    // The copy is about to go: what is to be mended is what it was made of.
    let shown = |path: &Path| path.display().to_string();
    let why = fault.to_string().replace(&shown(&copy), &shown(&work.archive));
    let why = format!(
        "the log begins with record {first}, and its archive {} does not hold what was before it: {why}",
        work.archive.display()
    );
    Err(Failure::new(Code::LogDamaged, why).next(
        "name the archive with `retention.archive`, or put its files back; where it is kept elsewhere: --without-archive",
    ))
}
