//! A copy of what lies in an installation's folder while its one writer goes on: the log up to a whole entry,
//! and the blobs. Nothing in the folder that is copied is changed, and no lock is taken.
use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use dagbok_runlog::{Digester, Seq};

use crate::{
    Durability, OpenError,
    disk::{Disk as _, FileDisk},
    recover, segment,
};

/// How often it is begun anew where the log is trimmed meanwhile.
const TRIES: u32 = 5;
/// Bytes in hand.
const CHUNK: usize = 256 << 10;

/// Blobs that were copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopiedBlobs {
    /// Digests of those that are there whole, in order.
    pub digests: Vec<String>,
    /// Their bytes.
    pub bytes: u64,
    /// Names of those whose bytes are not what they are named by; they were left out.
    pub damaged: Vec<String>,
}

/// Copies the log in `home` to `to`, up to the last whole entry that it has now, and returns that. `to` has no log.
/// Blocks on the disk.
pub fn copy_log(home: &Path, to: &Path) -> Result<Seq, OpenError> {
    let (from, into) = (home.join("log"), to.join("log"));
    if !from.is_dir() {
        return Err(OpenError::Missing { home: home.to_owned() });
    }
    let disk = FileDisk { durability: Durability::Fsync };
    for left in (0..TRIES).rev() {
        disk.create_dirs(&into).map_err(|source| OpenError::io("make", &into, source))?;
        match copy_once(disk, &from, &into) {
            // Trimmed under our hands: what is missing is in the archive, and the log begins further on.
            Err(OpenError::Io { source, .. })
                if left > 0 && source.kind() == io::ErrorKind::NotFound =>
            {
                fs::remove_dir_all(&into)
                    .map_err(|source| OpenError::io("remove", &into, source))?;
            }
            copied => return copied,
        }
    }
    Err(OpenError::Missing { home: home.to_owned() })
}

fn copy_once(disk: FileDisk, from: &Path, into: &Path) -> Result<Seq, OpenError> {
    let found = recover::look(from)?;
    if let Some(trimmed) = found.view.trimmed {
        trimmed.store(&disk, into).map_err(|source| OpenError::io("write", into, source))?;
    }
    for held in &found.view.segments {
        let failed = |source| OpenError::io("copy", &held.path, source);
        let file = File::open(&held.path).map_err(failed)?;
        let path = segment::path(into, held.first);
        let mut copy = File::create(&path).map_err(failed)?;
        let copied = io::copy(&mut file.take(held.end), &mut copy).map_err(failed)?;
        if copied != held.end {
            return Err(failed(io::Error::from(io::ErrorKind::UnexpectedEof)));
        }
        copy.sync_all().map_err(failed)?;
    }
    disk.flush_dir(into).map_err(|source| OpenError::io("write", into, source))?;
    Ok(Seq(found.view.last()))
}

/// Copies blobs from `home` to `to` that are not there yet, and says which are there then. Each is held against
/// its name. Blocks on the disk.
pub fn copy_blobs(home: &Path, to: &Path) -> Result<CopiedBlobs, OpenError> {
    let (from, into) = (home.join("blobs"), to.join("blobs"));
    let disk = FileDisk { durability: Durability::Fsync };
    for (digest, path) in blobs_in(&from)? {
        let (folder, name) = digest.split_at(2);
        let folder = into.join(folder);
        let copy = folder.join(name);
        if copy.exists() {
            continue;
        }
        disk.create_dirs(&folder).map_err(|source| OpenError::io("make", &folder, source))?;
        let draft = copy.with_extension("part");
        match copy_file(&path, &draft) {
            Ok((found, _)) if found == digest => {
                fs::rename(&draft, &copy).map_err(|source| OpenError::io("write", &copy, source))?
            }
            Ok(_) => drop(fs::remove_file(&draft)),
            // Swept meanwhile: nothing names it.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.exists() => {}
            Err(error) => return Err(OpenError::io("copy", &path, error)),
        }
    }
    let mut copied = CopiedBlobs::default();
    for (digest, path) in blobs_in(&into)? {
        copied.bytes +=
            fs::metadata(&path).map_err(|source| OpenError::io("look at", &path, source))?.len();
        copied.digests.push(digest);
    }
    let is_there = |digest: &String| copied.digests.binary_search(digest).is_ok();
    let left = blobs_in(&from)?.into_iter().map(|(digest, _)| digest);
    let left: Vec<String> = left.filter(|digest| !is_there(digest)).collect();
    // What came since is no fault; what was looked at and differs is.
    for digest in left {
        let path = from.join(&digest[..2]).join(&digest[2..]);
        if digest_of_file(&path).is_ok_and(|(found, _)| found != digest) {
            copied.damaged.push(digest);
        }
    }
    if into.is_dir() {
        disk.flush_dir(&into).map_err(|source| OpenError::io("write", &into, source))?;
    }
    Ok(copied)
}

/// The blobs of a folder by their digests, in order; none where it is not there.
pub fn blobs_in(dir: &Path) -> Result<Vec<(String, PathBuf)>, OpenError> {
    let mut found = Vec::new();
    for folder in names(dir)?.into_iter().filter(|name| name.len() == 2) {
        let inner = dir.join(&folder);
        for name in names(&inner)? {
            let digest = format!("{folder}{name}");
            let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            if digest.len() == 64 && digest.bytes().all(is_hex) {
                found.push((digest, inner.join(name)));
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn names(dir: &Path) -> Result<Vec<String>, OpenError> {
    let listed = match fs::read_dir(dir) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(OpenError::io("list", dir, source)),
    };
    Ok(listed.flatten().filter_map(|file| file.file_name().into_string().ok()).collect())
}

/// Copies a file for good, and returns its digest and its length. Blocks on the disk.
pub fn copy_file(from: &Path, to: &Path) -> io::Result<(String, u64)> {
    let mut copy = File::create(to)?;
    let found = read_through(from, |bytes| copy.write_all(bytes))?;
    copy.sync_all()?;
    Ok(found)
}

/// The digest of a file, and its length. Blocks on the disk.
pub fn digest_of_file(path: &Path) -> io::Result<(String, u64)> {
    read_through(path, |_| Ok(()))
}

fn read_through(
    path: &Path,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let (mut digester, mut length) = (Digester::default(), 0);
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = match file.read(&mut chunk) {
            Ok(0) => return Ok((digester.finish(), length)),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        digester.update(&chunk[..read]);
        each(&chunk[..read])?;
        length += read as u64;
    }
}
