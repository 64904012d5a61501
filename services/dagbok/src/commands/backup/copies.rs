//! What a backup copies, and in which order. All of it blocks on the disk.
use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use dagbok_config::FILE_NAME;
use dagbok_runlog_embedded::{CopiedBlobs, copy_blobs, copy_into, copy_log, digest_of_file};

use super::{
    make::Work,
    manifest::{Listed, NAME},
};
use crate::{codes::Code, failure::Failure, wire};

/// Files beside the logs that no log holds, and no record's place is in: how it is configured, and what was got
/// from elsewhere.
const BESIDE: [&str; 4] = [
    FILE_NAME,
    "alerting.toml",
    "snapshots/alerting-configuration",
    "snapshots/alerting-calendars",
];
/// Signs the links in messages.
pub(super) const LINKS_KEY: &str = "links.key";
/// What the master keys are called in a backup, wherever they lay.
pub(super) const SECRETS_KEY: &str = "secrets.key";
/// The server's own backups of streams, in a backup of an installation on NATS.
pub(super) const STREAMS: &str = "streams";
/// A manifest that is not whole yet.
pub(super) const DRAFT: &str = "manifest.part";
/// How often everything is copied anew where the keys were changed meanwhile.
const TRIES: u32 = 5;

/// What was copied.
pub(super) struct Copied {
    pub(super) blobs: CopiedBlobs,
    pub(super) files: Vec<Listed>,
    pub(super) keys: Vec<String>,
}

/// Copies everything. The keys and the log are of one time: a rotation wraps what the log has by the new key and
/// then destroys the old one, so that the log from before and the keys from after it could not be read.
pub(super) fn all(work: &Work) -> Result<Copied, Failure> {
    let mut blobs = CopiedBlobs::default();
    for _ in 0..TRIES {
        let before = key_now(work)?;
        logs(work, &mut blobs)?;
        let keys = beside(work)?;
        if key_now(work)? == before {
            let mut files = Vec::new();
            list(&work.to, &work.to, &mut files)?;
            files.sort_by(|a, b| a.path.cmp(&b.path));
            return Ok(Copied { blobs, files, keys });
        }
        for part in ["log", "alerts", "archive"].map(|part| work.to.join(part)) {
            if part.is_dir() {
                fs::remove_dir_all(&part).map_err(|error| {
                    let why = format!("{} can't be removed: {error}", part.display());
                    Failure::new(Code::HomeUnusable, why)
                })?;
            }
        }
    }
    let why = format!("the master keys were changed while the log was copied, {TRIES} times");
    Err(Failure::new(Code::Refused, why).next("make the backup once the rotation is over"))
}

/// Digest of the master keys, where they are wanted and there.
fn key_now(work: &Work) -> Result<Option<String>, Failure> {
    let Some(file) = &work.keys else { return Ok(None) };
    match digest_of_file(file) {
        Ok((digest, _)) => Ok(Some(digest)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let why = format!("{} can't be read: {error}", file.display());
            Err(Failure::new(Code::HomeUnusable, why))
        }
    }
}

fn logs(work: &Work, blobs: &mut CopiedBlobs) -> Result<(), Failure> {
    let Work { home, to, .. } = work;
    let log_failed = |error| wire::open_failure(&error);
    let mut last = work.last;
    if work.has_log {
        copy_blobs(home, to, blobs).map_err(log_failed)?;
        if home.join("alerts").join("log").is_dir() {
            copy_log(&home.join("alerts"), &to.join("alerts")).map_err(log_failed)?;
        }
        last = Some(copy_log(home, to).map_err(log_failed)?.0);
    }
    if !work.without_archive {
        archive(&work.archive, &to.join("archive"), last)?;
    }
    if work.has_log {
        copy_blobs(home, to, blobs).map_err(log_failed)?;
    }
    Ok(())
}

/// The configuration, and the keys where they are wanted. Returns which keys.
fn beside(work: &Work) -> Result<Vec<String>, Failure> {
    let Work { home, to, .. } = work;
    let mut keys = Vec::new();
    let mut files: Vec<(PathBuf, String)> =
        BESIDE.iter().map(|name| (home.join(name), (*name).to_owned())).collect();
    if let Some(file) = &work.keys {
        for (from, name) in [(file.clone(), SECRETS_KEY), (home.join(LINKS_KEY), LINKS_KEY)] {
            if from.is_file() {
                keys.push(name.to_owned());
                files.push((from, name.to_owned()));
            }
        }
    }
    for (from, name) in files.into_iter().filter(|(from, _)| from.is_file()) {
        put(&from, &to.join(&name))?;
    }
    Ok(keys)
}

/// A path as it is once links are followed, as far as it is there.
pub(super) fn resolved(path: &Path) -> PathBuf {
    let (mut at, mut rest) = (path, Vec::new());
    loop {
        if let Ok(found) = fs::canonicalize(at) {
            return rest.iter().rev().fold(found, |found, name| found.join(name));
        }
        let (Some(parent), Some(name)) = (at.parent(), at.file_name()) else {
            return path.to_owned();
        };
        rest.push(name);
        at = parent;
    }
}

/// A backup in the folder that it is of is gone with it.
pub(super) fn refuse_inside(work: &Work) -> Result<(), Failure> {
    let to = resolved(&work.to);
    for of in [&work.home, &work.archive] {
        if to.starts_with(resolved(of)) {
            let why = format!(
                "{} lies in {}, which is to be backed up: it would be lost with it",
                work.to.display(),
                of.display()
            );
            return Err(Failure::new(Code::Refused, why)
                .next("name a folder elsewhere, best on another disk"));
        }
    }
    Ok(())
}

/// The folder to fill: made, or empty. On NATS the streams are there already.
pub(super) fn empty(work: &Work) -> Result<(), Failure> {
    let folder = &work.to;
    let failed = |error: io::Error| {
        let why = format!("{} can't be made: {error}", folder.display());
        Failure::new(Code::HomeUnusable, why)
    };
    fs::create_dir_all(folder).map_err(failed)?;
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let is_due = name == "lost+found" || (name == STREAMS && !work.has_log);
        if !is_due {
            let why = format!("{} is not empty", folder.display());
            return Err(Failure::new(Code::Refused, why)
                .next("name a folder that is not there yet: a backup is one folder by itself"));
        }
    }
    Ok(())
}

/// Takes away what was copied where the rest could not be: the folder was empty before, so that it is all ours.
pub(super) fn discard(folder: &Path) {
    for name in ["log", "alerts", "archive", "blobs", "snapshots"] {
        // What stays is in the way of the next try, which says so.
        let _ = fs::remove_dir_all(folder.join(name));
    }
    for name in BESIDE.into_iter().chain([LINKS_KEY, SECRETS_KEY, DRAFT, NAME]) {
        let _ = fs::remove_file(folder.join(name));
    }
}

/// The archive's files up to an entry.
fn archive(from: &Path, to: &Path, last: Option<u64>) -> Result<(), Failure> {
    let listed = match fs::read_dir(from) {
        Ok(listed) => listed,
        // Whether there had to be one is seen by the log.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            let why = format!("the archive {} can't be listed: {error}", from.display());
            return Err(Failure::new(Code::HomeUnusable, why));
        }
    };
    for file in listed {
        let file = file.map_err(|error| {
            let why = format!("the archive {} can't be listed: {error}", from.display());
            Failure::new(Code::HomeUnusable, why)
        })?;
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

/// Copies one file, readable by nobody else than where it was, and not by them before it is. Nothing is flushed.
pub(super) fn put(from: &Path, to: &Path) -> Result<(), Failure> {
    let copied = (|| {
        fs::create_dir_all(to.parent().unwrap_or(to))?;
        let rights = fs::metadata(from)?.permissions();
        // The rights of the original come last: it may be one that nobody can write.
        let mut copy =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to)?;
        copy_into(from, &mut copy)?;
        copy.set_permissions(rights)
    })();
    copied.map_err(|error: io::Error| {
        let why = format!("{} can't be copied to {}: {error}", from.display(), to.display());
        Failure::new(Code::HomeUnusable, why)
    })
}

/// Returns once everything on the file system of `folder` is there for good: one flush for all files and names,
/// where one for each would make everybody else's wait.
pub(super) fn flush(folder: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(fs::File::open(folder)?)?)
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
            if name != "blobs" && name != "lost+found" {
                list(root, &path, files)?;
            }
            continue;
        }
        let (sha256, bytes) = digest_of_file(&path).map_err(failed)?;
        files.push(Listed { path: name, bytes, sha256 });
    }
    Ok(())
}
