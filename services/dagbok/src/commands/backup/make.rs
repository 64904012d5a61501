//! Makes a backup of an installation's folder, whether or not a process writes it.
//!
//! Blobs are copied before the log and after it: what a record names was put before the record, and what is swept
//! meanwhile was there before. The log of alerts comes before the run log, which it names records of.
use std::{
    fs, io,
    path::{Path, PathBuf},
};

use dagbok_config::FILE_NAME;
use dagbok_runlog_embedded::{CopiedBlobs, copy_blobs, copy_file, copy_log, open_read_only};
use dagbok_runtime::Clock;
use serde_json::json;

use super::manifest::{BlobSet, FORMAT, Listed, LogSpan, Manifest, NAME, digest_of_names};
use crate::{
    codes::Code,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::bytes_text,
    services::own_key_file,
    wire,
};

/// Files beside the logs that no log holds, and no record's place is in: how it is configured, and what was got
/// from elsewhere.
const BESIDE: [&str; 4] = [
    FILE_NAME,
    "alerting.toml",
    "snapshots/alerting-configuration",
    "snapshots/alerting-calendars",
];
/// Signs the links in messages.
const LINKS_KEY: &str = "links.key";
/// What the master keys are called in a backup, wherever they lay.
const SECRETS_KEY: &str = "secrets.key";

/// What is copied from where.
pub(super) struct Work {
    pub(super) home: PathBuf,
    pub(super) to: PathBuf,
    pub(super) archive: PathBuf,
    /// The file of master keys, where keys are wanted.
    pub(super) keys: Option<PathBuf>,
    /// Whether the logs lie there; else they are on NATS.
    pub(super) has_log: bool,
}

impl Work {
    pub(super) fn of(
        context: &Context,
        to: &Path,
        with_keys: bool,
        has_log: bool,
    ) -> Result<Self, Failure> {
        let home = context.home()?;
        let keys = own_key_file(&context.config, &home);
        Ok(Self {
            archive: wire::archive(&home, &context.config).dir().to_path_buf(),
            to: std::path::absolute(to).unwrap_or_else(|_| to.to_owned()),
            keys: with_keys.then_some(keys),
            home,
            has_log,
        })
    }
}

/// Makes it, and says what it has.
pub(super) async fn run(context: &Context, folder: &Path, with_keys: bool) -> Outcome {
    let work = Work::of(context, folder, with_keys, true)?;
    let (home, keys) = (work.home.clone(), own_key_file(&context.config, &work.home));
    let (manifest, digest) = made(work).await?;
    let out = context.out;
    if out.is_json() {
        out.document(&json!({ "folder": folder.display().to_string(), "manifest": digest,
            "log": manifest.log, "alerts": manifest.alerts, "blobs": manifest.blobs,
            "files": manifest.files.len(), "bytes": bytes_of(&manifest), "keys": manifest.keys }));
        return Ok(Exit::Ok);
    }
    if let Some(log) = &manifest.log {
        out.line(&format!("records {} to {} of {}", log.first, log.last, home.display()));
    }
    for line in lines(&manifest, &digest, folder) {
        out.line(&line);
    }
    if manifest.keys.is_empty() && keys.exists() {
        out.line(&format!(
            "{} is not in it: keep a copy apart, for without it no connection and no variable can be read (or --with-keys)",
            keys.display()
        ));
    }
    Ok(Exit::Ok)
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

/// Makes it: the manifest, and the manifest's digest.
pub(super) async fn made(work: Work) -> Result<(Manifest, String), Failure> {
    let (to, begun) = (work.to.clone(), Clock::system().now());
    let copied = tokio::task::spawn_blocking(move || copy(&work).map(|found| (found, work))).await;
    let ((blobs, files, keys), work) = copied.map_err(|panic| Failure::new(Code::Bug, panic))??;
    let (log, alerts) = if work.has_log {
        let alerts = to.join("alerts");
        let alerts = if alerts.is_dir() { Some(span(&alerts).await?) } else { None };
        (Some(span(&to).await?), alerts)
    } else {
        (None, None)
    };
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
            damaged: blobs.damaged,
        },
        keys,
        files,
    };
    let text =
        serde_json::to_string_pretty(&manifest).map_err(|error| Failure::new(Code::Bug, error))?;
    let digest = dagbok_runlog::digest_of(text.as_bytes());
    let written = tokio::task::spawn_blocking(move || {
        let draft = to.join("manifest.part");
        fs::write(&draft, text)?;
        fs::File::open(&draft)?.sync_all()?;
        fs::rename(&draft, to.join(NAME))?;
        fs::File::open(&to)?.sync_all()
    });
    let written = written.await.map_err(|panic| Failure::new(Code::Bug, panic))?;
    written.map_err(|error| {
        Failure::new(Code::HomeUnusable, format!("{NAME} can't be written: {error}"))
    })?;
    Ok((manifest, digest))
}

/// A copied log by its own word: it is opened as a reader does, so that what can't be opened is found now.
async fn span(folder: &Path) -> Result<LogSpan, Failure> {
    let dir = folder.to_owned();
    let opened = tokio::task::spawn_blocking(move || open_read_only(&dir)).await;
    let opened = opened.map_err(|panic| Failure::new(Code::Bug, panic))?;
    let (read, _) = opened.map_err(|error| Failure::from_error(Code::LogDamaged, &error))?;
    let failed = |error| Failure::from_error(Code::LogDamaged, &error);
    Ok(LogSpan {
        mark: read.log.mark().await.map_err(failed)?.map(|mark| mark.0.to_string()),
        first: read.log.base().await.map_err(failed)?.first.0,
        last: read.log.last().await.map_err(failed)?.0,
    })
}

type Copied = (CopiedBlobs, Vec<Listed>, Vec<String>);

/// Copies everything. Blocks on the disk.
fn copy(work: &Work) -> Result<Copied, Failure> {
    let Work { home, to, .. } = work;
    empty(to)?;
    let log_failed = |error| wire::open_failure(&error);
    let mut blobs = CopiedBlobs::default();
    if work.has_log {
        copy_blobs(home, to).map_err(log_failed)?;
        if home.join("alerts").join("log").is_dir() {
            copy_log(&home.join("alerts"), &to.join("alerts")).map_err(log_failed)?;
        }
        let last = copy_log(home, to).map_err(log_failed)?;
        copy_archive(&work.archive, &to.join("archive"), Some(last.0))?;
        blobs = copy_blobs(home, to).map_err(log_failed)?;
    } else {
        copy_archive(&work.archive, &to.join("archive"), None)?;
    }
    let mut keys = Vec::new();
    let mut beside: Vec<(PathBuf, String)> =
        BESIDE.iter().map(|name| (home.join(name), (*name).to_owned())).collect();
    if let Some(file) = &work.keys {
        for (from, name) in [(file.clone(), SECRETS_KEY), (home.join(LINKS_KEY), LINKS_KEY)] {
            if from.is_file() {
                keys.push(name.to_owned());
                beside.push((from, name.to_owned()));
            }
        }
    }
    for (from, name) in beside.into_iter().filter(|(from, _)| from.is_file()) {
        put(&from, &to.join(&name))?;
    }
    let mut files = Vec::new();
    list(to, to, &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok((blobs, files, keys))
}

/// A folder to fill: made, or empty.
pub(super) fn empty(folder: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        let why = format!("{} can't be made: {error}", folder.display());
        Failure::new(Code::HomeUnusable, why)
    };
    fs::create_dir_all(folder).map_err(failed)?;
    if fs::read_dir(folder).map_err(failed)?.next().is_some() {
        let why = format!("{} is not empty", folder.display());
        return Err(Failure::new(Code::Refused, why)
            .next("name a folder that is not there yet: a backup is one folder by itself"));
    }
    Ok(())
}

/// The archive's files up to an entry.
fn copy_archive(from: &Path, to: &Path, last: Option<u64>) -> Result<(), Failure> {
    let listed = match fs::read_dir(from) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            let why = format!("the archive {} can't be listed: {error}", from.display());
            return Err(Failure::new(Code::HomeUnusable, why));
        }
    };
    for file in listed.flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        let ends =
            name.strip_suffix(".arc").and_then(|it| it.split_once('-')?.1.parse::<u64>().ok());
        // What was archived after the log was copied is in the copy of the log.
        if ends.is_some_and(|ends| last.is_none_or(|last| ends <= last)) {
            put(&file.path(), &to.join(&name))?;
        }
    }
    Ok(())
}

/// Copies one file for good, readable by nobody else where it was.
pub(super) fn put(from: &Path, to: &Path) -> Result<(), Failure> {
    let copied = (|| {
        fs::create_dir_all(to.parent().unwrap_or(to))?;
        let rights = fs::metadata(from)?.permissions();
        fs::File::create(to)?.set_permissions(rights.clone())?;
        copy_file(from, to)?;
        fs::set_permissions(to, rights)
    })();
    copied.map_err(|error: io::Error| {
        let why = format!("{} can't be copied to {}: {error}", from.display(), to.display());
        Failure::new(Code::HomeUnusable, why)
    })
}

/// Every file below a folder with its digest, but for blobs.
fn list(root: &Path, dir: &Path, files: &mut Vec<Listed>) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        Failure::new(Code::HomeUnusable, format!("{} can't be read: {error}", dir.display()))
    };
    for file in fs::read_dir(dir).map_err(failed)? {
        let path = file.map_err(failed)?.path();
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "blobs" {
                list(root, &path, files)?;
            }
            continue;
        }
        let (sha256, bytes) = dagbok_runlog_embedded::digest_of_file(&path).map_err(failed)?;
        files.push(Listed { path: name, bytes, sha256 });
    }
    Ok(())
}
