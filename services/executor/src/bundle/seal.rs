//! What an unpacked bundle was like: every name, and of each file its inode, size and time of change, which
//! only the clock sets. So that it was changed is seen, whoever did it, without reading it.
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// The marks of a tree. It is kept beside the tree, for later lives of the executor.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seal(BTreeMap<PathBuf, Option<Mark>>);

/// Of a file; a folder has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Seal {
    /// Of the tree as it is.
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        let mut marks = BTreeMap::new();
        walk(folder, &mut |path, found| {
            let mark = (!found.is_dir()).then(|| Mark {
                inode: found.ino(),
                size: found.size(),
                changed: (found.ctime(), found.ctime_nsec()),
            });
            let name = path.strip_prefix(folder).expect("the walk stays inside").to_owned();
            marks.insert(name, mark);
        })?;
        Ok(Self(marks))
    }

    /// The one kept beside `folder`; `None` where there is none that can be read.
    pub(super) fn read(folder: &Path) -> Option<Self> {
        rmp_serde::from_slice(&fs::read(path_of(folder)).ok()?).ok()
    }

    /// Keeps it beside `folder`.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let bytes = rmp_serde::to_vec(self).map_err(io::Error::other)?;
        fs::write(path_of(folder), bytes)
    }

    /// What is not as it was, for people; `None` where all is.
    pub(super) fn broken(&self, folder: &Path) -> Option<String> {
        let now = match Self::of(folder) {
            Ok(now) => now,
            Err(error) => return Some(format!("it can't be read: {error}")),
        };
        let told = |what: &str, path: &Path| Some(format!("`{}` was {what}", path.display()));
        for (path, mark) in &self.0 {
            match now.0.get(path) {
                None => return told("removed", path),
                Some(found) if found != mark => return told("changed", path),
                Some(_) => {}
            }
        }
        let new = now.0.keys().find(|path| !self.0.contains_key(*path));
        new.and_then(|path| told("added", path))
    }
}

/// Where a tree's seal is kept.
pub(super) fn path_of(folder: &Path) -> PathBuf {
    folder.with_extension("seal")
}

/// A tree's folders, itself among them, the inner ones first.
pub(super) fn folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = vec![folder.to_owned()];
    walk(folder, &mut |path, kind| {
        if kind.is_dir() {
            found.push(path.to_owned());
        }
    })?;
    found.reverse();
    Ok(found)
}

fn walk(folder: &Path, each: &mut impl FnMut(&Path, &fs::Metadata)) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let found = fs::symlink_metadata(&path)?;
        each(&path, &found);
        if found.is_dir() {
            walk(&path, each)?;
        }
    }
    Ok(())
}

/// Lets its owner move a folder, or change what is in it.
pub(super) fn let_write(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

/// The opposite.
pub(super) fn forbid_writing(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o555))
}

/// Removes a tree that is for reading only.
pub(super) fn remove_tree(folder: &Path) -> io::Result<()> {
    for folder in folders(folder)? {
        let_write(&folder)?;
    }
    fs::remove_dir_all(folder)
}
