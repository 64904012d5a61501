//! A copy of what lies in an installation's folder while its one writer goes on: the log up to a whole entry,
//! and the blobs. Nothing in the folder that is copied is changed, and no lock is taken.
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use dagbok_runlog::{Digester, Seq};

use crate::{
    Durability, OpenError,
    disk::{Disk as _, FileDisk},
    index::Index,
    recover, segment,
    view::Segment,
};

/// How often it is begun anew where the log is trimmed meanwhile.
const TRIES: u32 = 5;
/// Bytes in hand.
const CHUNK: usize = 256 << 10;

/// Blobs that were copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopiedBlobs {
    /// Digests of those that are there whole.
    pub digests: BTreeSet<String>,
    /// Their bytes.
    pub bytes: u64,
    /// Names of those whose bytes are not what they are named by; they were left out.
    pub damaged: BTreeSet<String>,
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
    let found = recover::look_beside_a_writer(from)?;
    if let Some(trimmed) = found.view.trimmed {
        trimmed.store(&disk, into).map_err(|source| OpenError::io("write", into, source))?;
    }
    for held in &found.view.segments {
        let failed = |source| OpenError::io("copy", &held.path, source);
        let file = File::open(&held.path).map_err(failed)?;
        check(&file, held)?;
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

/// Reads a segment's records, of which its sidecar may have told so far: damage is told of the file that has it,
/// and not of its copy.
fn check(file: &File, held: &Segment) -> Result<(), OpenError> {
    let refused = |at, why: &str| {
        Err(segment::damaged(&held.path, at, why.to_owned(), segment::RESTORE.to_owned()))
    };
    if !segment::check_header(file, &held.path, held.first)? {
        return refused(0, "it has no header");
    }
    let begins = segment::HEADER as u64;
    let scan = segment::scan(file, held.first - 1, begins, held.end, &mut Index::default());
    let scan = scan.map_err(|source| OpenError::io("read", &held.path, source))?;
    match scan.fault {
        Some(why) => refused(scan.end, why),
        None if scan.last != held.last => refused(scan.end, "it ends with another record"),
        None => Ok(()),
    }
}

/// Copies blobs from `home` to `to` that `copied` does not have yet, each held against its name, and notes them
/// there. Nothing is flushed: that is for whoever has copied all. Blocks on the disk.
pub fn copy_blobs(home: &Path, to: &Path, copied: &mut CopiedBlobs) -> Result<(), OpenError> {
    let into = to.join("blobs");
    for (digest, path) in blobs_in(&home.join("blobs"))? {
        if copied.digests.contains(&digest) {
            continue;
        }
        let (folder, name) = digest.split_at(2);
        let folder = into.join(folder);
        let copy = folder.join(name);
        fs::create_dir_all(&folder).map_err(|source| OpenError::io("make", &folder, source))?;
        let draft = copy.with_extension("part");
        match copy_file(&path, &draft) {
            Ok((found, bytes)) if found == digest => {
                fs::rename(&draft, &copy)
                    .map_err(|source| OpenError::io("write", &copy, source))?;
                copied.bytes += bytes;
                copied.damaged.remove(&digest);
                copied.digests.insert(digest);
            }
            Ok(_) => {
                drop(fs::remove_file(&draft));
                copied.damaged.insert(digest);
            }
            // Swept meanwhile: nothing names it.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.exists() => {}
            Err(error) => return Err(OpenError::io("copy", &path, error)),
        }
    }
    Ok(())
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

/// Copies a file, and returns its digest and its length. Nothing is flushed. Blocks on the disk.
pub fn copy_file(from: &Path, to: &Path) -> io::Result<(String, u64)> {
    copy_into(from, &mut File::create(to)?)
}

/// As [`copy_file`], into a file that is open already.
pub fn copy_into(from: &Path, copy: &mut File) -> io::Result<(String, u64)> {
    read_through(from, |bytes| copy.write_all(bytes))
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
