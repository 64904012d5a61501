//! Paths in archives that others made: they lead nowhere but below the folder that they are unpacked into.
use std::path::{Component, Path, PathBuf};

/// The path without `.`, so empty for the folder itself; `None` where it is absolute or goes up.
pub(crate) fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => plain.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(plain)
}
