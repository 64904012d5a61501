//! Homes of installations. What an installation keeps is never published: a bundle that held the home would
//! hold the bundles before it, and each would make the next.
use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write as _},
    path::{Path, PathBuf},
};

/// Lies in every home; it counts by being there, whatever it holds.
const MARK: &str = ".dagbokhome";
/// For whoever finds it.
const TEXT: &str = "This folder is the home of a Dagbok installation. Nothing in it is published, wherever a \
                    DAG folder holds it or links to it.\n";

/// Makes `home` and marks it, so that no bundle takes it in. What can't be marked is said and used anyway: a
/// full or read-only disk must not keep a service from starting.
pub fn mark_home(home: &Path) {
    if let Err(error) = mark(home) {
        tracing::warn!(home = %home.display(), %error,
            "the home can't be marked as one; keep it out of the DAG folder");
    }
}

fn mark(home: &Path) -> io::Result<()> {
    fs::create_dir_all(home)?;
    match OpenOptions::new().write(true).create_new(true).open(home.join(MARK)) {
        Ok(mut mark) => mark.write_all(TEXT.as_bytes()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether the folder is a home.
pub(crate) fn is_home(folder: &Path) -> bool {
    folder.join(MARK).symlink_metadata().is_ok()
}

/// The nearest home that the folder is or lies in.
pub(crate) fn home_around(real: &Path) -> Option<PathBuf> {
    real.ancestors().find(|folder| is_home(folder)).map(Path::to_owned)
}

/// The DAG folder, without links, where it can be read and is no home.
pub(crate) fn dag_folder(folder: &Path) -> io::Result<PathBuf> {
    let real = fs::canonicalize(folder)?;
    fs::read_dir(&real)?;
    if is_home(&real) {
        return Err(io::Error::other(format!(
            "it is the home of an installation too; keep the two apart with --dags and --home (where it is \
             none any more, remove `{MARK}` from it)"
        )));
    }
    Ok(real)
}
