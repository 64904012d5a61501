//! The few things that the writer asks of the disk, so that tests can hand it one that is full,
//! that fails, or that forgets what was not flushed. Reading goes to the files themselves.
use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::Path,
};

use crate::Durability;

/// A disk to write on.
pub(crate) trait Disk: Send + Sync + fmt::Debug {
    /// Makes a directory and those above it; once it returns they are there for good.
    fn create_dirs(&self, dir: &Path) -> io::Result<()>;
    /// Makes a file of `bytes`, replacing one that a crash left; once it returns it is there for good.
    fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<Box<dyn WriteAt>>;
    /// Opens a file to write on.
    fn open(&self, path: &Path) -> io::Result<Box<dyn WriteAt>>;
    /// Puts `bytes` at `path`, whole or not at all; once it returns they are there for good.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
}

/// A file to write on.
pub(crate) trait WriteAt: Send + fmt::Debug {
    /// Writes all of `bytes` at `offset`; after an error any part may be written.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts the file.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// Returns once what was written is there for good.
    fn flush(&self) -> io::Result<()>;
    /// Whether `path` still leads to this file: one that was deleted or replaced takes writes all the same.
    fn is_at(&self, path: &Path) -> io::Result<bool>;
}

/// The disk of this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileDisk {
    pub(crate) durability: Durability,
}

impl FileDisk {
    /// Flushes a directory: a file that was made in it, or renamed, is there for good.
    pub(crate) fn flush_dir(self, dir: &Path) -> io::Result<()> {
        match self.durability {
            Durability::Fsync => File::open(dir)?.sync_all(),
            Durability::None => Ok(()),
        }
    }

    /// Flushes a file and its length.
    pub(crate) fn flush_file(self, file: &File) -> io::Result<()> {
        match self.durability {
            Durability::Fsync => file.sync_data(),
            Durability::None => Ok(()),
        }
    }

    fn flush_parent(self, path: &Path) -> io::Result<()> {
        path.parent().map_or(Ok(()), |dir| self.flush_dir(dir))
    }
}

impl Disk for FileDisk {
    fn create_dirs(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            self.create_dirs(parent)?;
        }
        match fs::create_dir(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        match dir.parent() {
            Some(parent) if parent.as_os_str().is_empty() => self.flush_dir(Path::new(".")),
            _ => self.flush_parent(dir),
        }
    }

    fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<Box<dyn WriteAt>> {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        self.flush_file(&file)?;
        self.flush_parent(path)?;
        Ok(Box::new(DiskFile { file, disk: *self }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn WriteAt>> {
        let file = OpenOptions::new().write(true).open(path)?;
        Ok(Box::new(DiskFile { file, disk: *self }))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let beside = path.with_extension("new");
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        self.flush_file(&file)?;
        fs::rename(&beside, path)?;
        self.flush_parent(path)
    }
}

/// Whether `path` leads to the open `file`.
pub(crate) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (open.dev(), open.ino())),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

#[derive(Debug)]
struct DiskFile {
    file: File,
    disk: FileDisk,
}

impl WriteAt for DiskFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn flush(&self) -> io::Result<()> {
        self.disk.flush_file(&self.file)
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        is_at(&self.file, path)
    }
}
