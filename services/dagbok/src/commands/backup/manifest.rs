//! What a backup says of itself: every file with its digest, the blobs by their names, the logs by their ends.
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Component, Path, PathBuf},
};

use dagbok_events::Timestamp;
use dagbok_runlog::{Digester, digest_of};
use dagbok_runlog_embedded::{blobs_in, digest_of_file};
use serde::{Deserialize, Serialize};

use crate::{codes::Code, failure::Failure};

/// The file that is written last: a folder without it is no whole backup.
pub(super) const NAME: &str = "manifest.json";
/// The format that is written; one that is higher is refused.
pub(super) const FORMAT: u32 = 1;
/// The largest that is read, in bytes.
const LARGEST: u64 = 256 << 20;

/// A backup by its own word.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// The form of this file.
    pub(super) format: u32,
    /// Which Dagbok made it.
    pub(super) version: String,
    /// When it was begun.
    pub(super) made_at: Timestamp,
    /// The installation's folder, where it was.
    pub(super) home: String,
    /// The run log; none where that is on NATS.
    pub(super) log: Option<LogSpan>,
    /// The log of alerts, where there is one.
    pub(super) alerts: Option<LogSpan>,
    /// The blobs.
    pub(super) blobs: BlobSet,
    /// Keys that it has, by their paths in it.
    pub(super) keys: Vec<String>,
    /// The archive was left out by choice: what the log was trimmed of is kept elsewhere.
    #[serde(default)]
    pub(super) without_archive: bool,
    /// Every other file, by its path in the folder.
    pub(super) files: Vec<Listed>,
}

/// As much of it as tells whether the rest can be read.
#[derive(Deserialize)]
struct Form {
    format: u32,
}

/// A log, from its first entry to its last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LogSpan {
    /// Which log it is.
    pub(super) mark: Option<String>,
    /// The first entry that is at hand; older ones are in the archive.
    pub(super) first: u64,
    /// The last entry.
    pub(super) last: u64,
}

/// Blobs: each is named by the digest of its bytes, so that the names are enough.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BlobSet {
    /// How many.
    pub(super) count: u64,
    /// Bytes in them.
    pub(super) bytes: u64,
    /// The digest of their names, in order, a line each.
    pub(super) names: String,
    /// Those that were damaged already, and were left out.
    pub(super) damaged: Vec<String>,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listed {
    /// Where, in the folder, with `/` between its parts.
    pub(super) path: String,
    /// Its length.
    pub(super) bytes: u64,
    /// SHA-256 of its bytes.
    pub(super) sha256: String,
}

/// What is not as the manifest says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Fault {
    /// Of which file.
    pub(super) path: String,
    /// What.
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

/// The digest by which a set of blobs is told.
pub(super) fn digest_of_names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut digester = Digester::default();
    for name in names {
        digester.update(name.as_bytes());
        digester.update(b"\n");
    }
    digester.finish()
}

impl Manifest {
    /// The last record that is in the archive alone, where that was left out.
    pub(super) fn archived_elsewhere(&self) -> Option<u64> {
        let first = self.log.as_ref().map_or(1, |log| log.first);
        (self.without_archive && first > 1).then(|| first - 1)
    }

    /// The manifest of the backup in `folder`, and its own digest.
    pub(super) fn load(folder: &Path) -> Result<(Self, String), Failure> {
        let path = folder.join(NAME);
        let failed = |error: &io::Error| {
            let why = format!("{} can't be read: {error}", path.display());
            Failure::new(Code::LogDamaged, why)
        };
        let found = fs::metadata(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                let why = format!("{} is no whole backup: it has no {NAME}", folder.display());
                Failure::new(Code::NoLog, why).next("that file is written last; make another with `dagbok backup`, or name the right folder")
            }
            _ => failed(&error),
        })?;
        if found.len() > LARGEST {
            let why = format!("{} has {} bytes: it is no manifest", path.display(), found.len());
            return Err(Failure::new(Code::LogDamaged, why));
        }
        let bytes = fs::read(&path).map_err(|error| failed(&error))?;
        let unreadable = |error: serde_json::Error| {
            Failure::new(Code::LogDamaged, format!("{} can't be read: {error}", path.display()))
        };
        let Form { format } = serde_json::from_slice(&bytes).map_err(unreadable)?;
        if format > FORMAT {
            let why = format!(
                "{} is of form {format}, and this version reads up to {FORMAT}",
                path.display()
            );
            return Err(Failure::new(Code::LogNewer, why).next("use the Dagbok that made it"));
        }
        let manifest: Self = serde_json::from_slice(&bytes).map_err(unreadable)?;
        Ok((manifest, digest_of(&bytes)))
    }

    /// Whatever in `folder` is not as it says. Blocks on the disk: everything is read.
    pub(super) fn faults(&self, folder: &Path) -> Vec<Fault> {
        let mut faults = Vec::new();
        for Listed { path, bytes, sha256 } in &self.files {
            let Some(place) = within(folder, path) else {
                faults.push(Fault::new(path, "the manifest names a path outside of the backup"));
                continue;
            };
            match digest_of_file(&place) {
                Ok((found, length)) if found == *sha256 && length == *bytes => {}
                Ok((_, length)) if length != *bytes => {
                    faults
                        .push(Fault::new(path, format!("it has {length} bytes, and had {bytes}")));
                }
                Ok(_) => faults.push(Fault::new(path, "its bytes are others than were copied")),
                Err(error) => faults.push(Fault::new(path, format!("it can't be read: {error}"))),
            }
        }
        faults.extend(self.blob_faults(folder));
        faults.extend(self.strangers(folder));
        faults
    }

    fn blob_faults(&self, folder: &Path) -> Vec<Fault> {
        let mut faults = Vec::new();
        let blobs = match blobs_in(&folder.join("blobs")) {
            Ok(blobs) => blobs,
            Err(error) => {
                return vec![Fault::new(
                    "blobs",
                    Failure::from_error(Code::LogDamaged, &error).to_string(),
                )];
            }
        };
        for (digest, path) in &blobs {
            let shown = || format!("blobs/{}/{}", &digest[..2], &digest[2..]);
            match digest_of_file(path) {
                Ok((found, _)) if found == *digest => {}
                Ok(_) => faults.push(Fault::new(shown(), "its bytes do not match its name")),
                Err(error) => {
                    faults.push(Fault::new(shown(), format!("it can't be read: {error}")));
                }
            }
        }
        let count = blobs.len() as u64;
        if count != self.blobs.count {
            let why = format!("there are {count}, and were {}", self.blobs.count);
            faults.push(Fault::new("blobs", why));
        } else if digest_of_names(blobs.iter().map(|(digest, _)| digest.as_str()))
            != self.blobs.names
        {
            faults.push(Fault::new("blobs", "they are others than were copied"));
        }
        faults
    }

    /// Files of the log or the archive that it does not name: an installation would read them.
    fn strangers(&self, folder: &Path) -> Vec<Fault> {
        let known: BTreeSet<&str> = self.files.iter().map(|file| file.path.as_str()).collect();
        let mut faults = Vec::new();
        for dir in ["log", "alerts/log", "archive"] {
            let listed = fs::read_dir(folder.join(dir)).into_iter().flatten().flatten();
            for file in listed.filter(|file| file.path().is_file()) {
                let path = format!("{dir}/{}", file.file_name().to_string_lossy());
                if !known.contains(path.as_str()) {
                    faults.push(Fault::new(path, "the manifest does not name it"));
                }
            }
        }
        faults.sort_by(|a, b| a.path.cmp(&b.path));
        faults
    }
}

/// The place of a file of a backup; `None` for what leads out of it.
pub(super) fn within(folder: &Path, path: &str) -> Option<PathBuf> {
    let relative = Path::new(path);
    let is_plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
    (is_plain && !path.is_empty()).then(|| folder.join(relative))
}
