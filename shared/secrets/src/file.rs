//! The file of master keys: a key a line, the one in use first.
use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use dagbok_events::Sealed;
use serde::de::DeserializeOwned;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{Entry, MasterKey, OpenError};

/// The largest file that is read, in bytes.
const LARGEST: u64 = 64 << 10;
const HEAD: &str = "# The master key of variables and connections, for `dagbok`. Whoever has it can read them; \
without it nobody can.\n# Keep a copy of it apart from copies of the log.\n";

/// Where master keys lie.
#[derive(Clone, Debug)]
pub struct KeyFile {
    path: PathBuf,
    /// Whether somebody named it, so that it is not for us to make.
    named: bool,
}

/// Why there is no master key.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// There is no file.
    #[error("there is no key file `{0}`; put it back, or name another by `secrets.key_file`")]
    Missing(PathBuf),
    /// There is none, though one is named.
    #[error(
        "there is no key file `{0}`, which `secrets.key_file` names; put it back, or make one: \
         `(umask 077; head -c 32 /dev/urandom | base64 > FILE)`"
    )]
    NamedMissing(PathBuf),
    /// It can't be read or written.
    #[error("the key file `{path}` can't be used: {source}; see who may read and write it")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It has something else in it.
    #[error("line {line} of the key file `{path}` is no key, which is 32 bytes in Base64; mend it")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// From 1; 0 where there is no key at all.
        line: usize,
    },
}

/// Master keys: the one in use, and older ones, by which values may still be encrypted.
#[derive(Clone, Debug)]
pub struct Ring(Vec<MasterKey>);

impl Ring {
    /// The one in use.
    pub fn current(&self) -> &MasterKey {
        &self.0[0]
    }

    /// The one of an id.
    pub fn find(&self, id: &str) -> Option<&MasterKey> {
        self.0.iter().find(|key| key.id() == id)
    }

    /// Their ids, the one in use first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(MasterKey::id)
    }

    /// Reads a value, by whichever key it is encrypted.
    pub fn open<T: DeserializeOwned>(
        &self,
        entry: Entry<'_>,
        sealed: &Sealed,
    ) -> Result<T, OpenError> {
        self.find(&sealed.master).unwrap_or_else(|| self.current()).open(entry, sealed)
    }
}

impl KeyFile {
    /// In the installation's own folder, where it is made when it is needed first.
    pub fn own(path: PathBuf) -> Self {
        Self { path, named: false }
    }

    /// Where somebody says. It is theirs to make.
    pub fn named(path: PathBuf) -> Self {
        Self { path, named: true }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether somebody named it, so that it is theirs to write.
    pub fn is_named(&self) -> bool {
        self.named
    }

    fn io(&self, source: io::Error) -> KeyFileError {
        let path = self.path.clone();
        match source.kind() {
            io::ErrorKind::NotFound if self.named => KeyFileError::NamedMissing(path),
            io::ErrorKind::NotFound => KeyFileError::Missing(path),
            _ => KeyFileError::Io { path, source },
        }
    }

    /// Reads it, as it is now: it may be exchanged meanwhile.
    pub fn load(&self) -> Result<Ring, KeyFileError> {
        let file = File::open(&self.path).map_err(|error| self.io(error))?;
        let mut text = Zeroizing::new(String::with_capacity(4 << 10));
        file.take(LARGEST).read_to_string(&mut text).map_err(|error| self.io(error))?;
        let mut keys = Vec::new();
        for (at, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.trim_start().starts_with('#') {
                continue;
            }
            let key = MasterKey::read(line);
            keys.push(key.ok_or_else(|| self.malformed(at + 1))?);
        }
        if keys.is_empty() { Err(self.malformed(0)) } else { Ok(Ring(keys)) }
    }

    fn malformed(&self, line: usize) -> KeyFileError {
        KeyFileError::Malformed { path: self.path.clone(), line }
    }

    /// Makes it, with a new key, where there is none and nobody named one; else as [`KeyFile::load`].
    pub fn make(&self) -> Result<Ring, KeyFileError> {
        if self.named {
            return self.load();
        }
        let keys = vec![MasterKey::generate()];
        // Whole or not at all: a file without its key, left by a crash, would have to be seen to by hand.
        let made = self.written(&keys).and_then(|file| {
            file.persist_noclobber(&self.path).map_err(|error| error.error)?;
            self.sync_folder()
        });
        match made {
            Ok(()) => Ok(Ring(keys)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.load(),
            Err(error) => Err(self.io(error)),
        }
    }

    /// Puts a new key before those that there are, and returns all.
    pub fn add(&self) -> Result<Ring, KeyFileError> {
        let mut keys = match self.load() {
            Ok(ring) => ring.0,
            Err(KeyFileError::Missing(_)) => Vec::new(),
            Err(error) => return Err(error),
        };
        keys.insert(0, MasterKey::generate());
        self.replace(&keys)?;
        Ok(Ring(keys))
    }

    /// Destroys all keys but the one of an id, as far as a file can be: its bytes are written over, which the file system
    /// or the disk may do elsewhere.
    pub fn keep_only(&self, id: &str) -> Result<Ring, KeyFileError> {
        let mut keys = self.load()?.0;
        keys.retain(|key| key.id() == id);
        if keys.is_empty() {
            return Err(self.malformed(0));
        }
        self.replace(&keys)?;
        Ok(Ring(keys))
    }

    /// Puts a file in the other's place, and writes the other over: a key that is destroyed later stood in each of them.
    fn replace(&self, keys: &[MasterKey]) -> Result<(), KeyFileError> {
        let replaced = || {
            let before = match OpenOptions::new().write(true).open(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                opened => Some(opened?),
            };
            self.written(keys)?.persist(&self.path).map_err(|error| error.error)?;
            self.sync_folder()?;
            before.map_or(Ok(()), wipe)
        };
        replaced().map_err(|error| self.io(error))
    }

    /// A file beside ours, for its owner alone.
    fn written(&self, keys: &[MasterKey]) -> io::Result<tempfile::NamedTempFile> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        write(file.as_file_mut(), keys)?;
        Ok(file)
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()
    }
}

fn write(file: &mut File, keys: &[MasterKey]) -> io::Result<()> {
    file.write_all(HEAD.as_bytes())?;
    for key in keys {
        file.write_all(key.text().as_bytes())?;
        file.write_all(b"\n")?;
    }
    file.sync_all()
}

fn wipe(mut file: File) -> io::Result<()> {
    let bytes = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    file.rewind()?;
    file.write_all(&vec![0; bytes])?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_made_for_its_owner_alone_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::own(folder.path().join("secrets.key"));
        assert!(matches!(file.load(), Err(KeyFileError::Missing(_))));
        let made = file.make().unwrap();
        let permissions = file.path().metadata().unwrap().permissions();
        assert_eq!(permissions.mode() & 0o777, 0o600);
        assert_eq!(file.load().unwrap().current().id(), made.current().id());
        assert_eq!(file.make().unwrap().current().id(), made.current().id(), "it stays");
    }

    #[test]
    fn a_named_file_is_not_made_and_any_32_bytes_are_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::named(folder.path().join("key"));
        assert!(matches!(file.make(), Err(KeyFileError::NamedMissing(_))));
        let key = "# mine\n\n cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=\n";
        std::fs::write(file.path(), key).unwrap();
        assert_eq!(file.load().unwrap().ids().count(), 1);
        std::fs::write(file.path(), format!("{key}hunter2\n")).unwrap();
        let error = file.load().unwrap_err();
        assert!(
            error.to_string().starts_with("line 4 of") && !error.to_string().contains("hunter2")
        );
        std::fs::write(file.path(), "\n").unwrap();
        assert!(matches!(file.load(), Err(KeyFileError::Malformed { line: 0, .. })));
    }

    #[test]
    fn a_key_is_added_before_and_the_old_one_is_wiped() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::own(folder.path().join("secrets.key"));
        let first = file.make().unwrap().current().clone();
        // Whoever holds a file before open sees nothing of the key any more.
        let mut earliest = File::open(file.path()).unwrap();
        let both = file.add().unwrap();
        assert_eq!(both.ids().last(), Some(first.id()));
        assert!(both.find(first.id()).is_some());
        let mut held = File::open(file.path()).unwrap();
        let kept = file.keep_only(both.current().id()).unwrap();
        assert_eq!(kept.ids().collect::<Vec<_>>(), [both.current().id()]);
        assert!(file.load().unwrap().find(first.id()).is_none());
        for held in [&mut earliest, &mut held] {
            let mut text = String::new();
            held.read_to_string(&mut text).unwrap();
            assert!(!text.contains(first.text().as_str()) && text.starts_with('\0'));
        }
        assert_eq!(file.path().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
