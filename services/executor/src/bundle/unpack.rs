//! Unpacks an archive that is not trusted: regular files with plain relative paths, and nothing else.
use std::{
    fs,
    io::{self, Read, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use dagbok_protocol::limits::BUNDLE_BYTES;

use crate::paths::plain;

/// Unpacked, a bundle is at most this large, in bytes.
const UNPACKED_BYTES: u64 = 4 * BUNDLE_BYTES as u64;
/// Files in one bundle.
const FILES: usize = 200_000;

/// Why an archive was not unpacked.
#[derive(Debug)]
pub(super) enum Unpack {
    /// It is not what the processor makes.
    Hostile(String),
    /// The disk refused.
    Disk(io::Error),
}

impl From<io::Error> for Unpack {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

/// Unpacks into `folder`, which must not exist, for reading only.
pub(super) fn unpack(packed: &[u8], folder: &Path) -> Result<(), Unpack> {
    let hostile = |why: String| Unpack::Hostile(why);
    fs::create_dir(folder)?;
    let unzipped = zstd::Decoder::new(packed).map_err(|error| hostile(error.to_string()))?;
    // What is beyond the limit looks like a torn archive; the sum below says which it was.
    let mut archive = tar::Archive::new(unzipped.take(UNPACKED_BYTES));
    let mut room = UNPACKED_BYTES;
    let entries = archive.entries().map_err(|error| hostile(error.to_string()))?;
    for (n, entry) in entries.enumerate() {
        let mut entry = entry.map_err(|error| hostile(error.to_string()))?;
        if n >= FILES {
            return Err(hostile(format!("it has more than {FILES} files")));
        }
        let path = entry.path().map_err(|error| hostile(error.to_string()))?.into_owned();
        let kind = entry.header().entry_type();
        let shown = path.display().to_string();
        if kind.is_dir() {
            fs::create_dir_all(
                folder.join(plain(&path).ok_or_else(|| hostile(bad_path(&shown)))?),
            )?;
            continue;
        }
        if !kind.is_file() {
            return Err(hostile(format!("`{shown}` is no regular file")));
        }
        let plain = plain(&path).filter(|path| !path.as_os_str().is_empty());
        let target = folder.join(plain.ok_or_else(|| hostile(bad_path(&shown)))?);
        room = room.checked_sub(entry.size()).ok_or_else(|| {
            hostile(format!("unpacked it has more than {} MiB", UNPACKED_BYTES >> 20))
        })?;
        let runs = entry.header().mode().is_ok_and(|mode| mode & 0o111 != 0);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        let mode = if runs { 0o555 } else { 0o444 };
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&target).map_err(
                |error| {
                    if error.kind() == io::ErrorKind::AlreadyExists {
                        hostile(format!("`{shown}` is in it twice"))
                    } else {
                        Unpack::Disk(error)
                    }
                },
            )?;
        copy(&mut entry, &mut file, &shown)?;
    }
    for folder in super::seal::folders(folder)? {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o555))?;
    }
    Ok(())
}

fn copy(
    entry: &mut tar::Entry<'_, impl Read>,
    file: &mut fs::File,
    shown: &str,
) -> Result<(), Unpack> {
    let mut buffer = vec![0; 64 << 10];
    let mut left = entry.size();
    while left > 0 {
        let read = entry.read(&mut buffer).map_err(|error| Unpack::Hostile(error.to_string()))?;
        if read == 0 {
            return Err(Unpack::Hostile(format!("`{shown}` ends early")));
        }
        file.write_all(&buffer[..read])?;
        left = left.saturating_sub(read as u64);
    }
    Ok(())
}

fn bad_path(shown: &str) -> String {
    format!("`{shown}` leads out of it")
}
