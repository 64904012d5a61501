//! One writer for an installation: an advisory lock on `<home>/lock`, which the kernel lets go of
//! when the process ends, however it ends.
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::OpenError;

/// How long a lock that somebody holds is waited for.
const PATIENCE: Duration = Duration::from_millis(500);
/// The pause between two tries at it.
const PAUSE: Duration = Duration::from_millis(5);

/// The lock of a writer at work, and where it was taken.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
}

/// Where the lock of an installation is.
pub(crate) fn path(home: &Path) -> PathBuf {
    home.join("lock")
}

/// Takes the lock for as long as the file is kept open.
pub(crate) fn take(home: &Path) -> Result<File, OpenError> {
    let path = path(home);
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = open.map_err(|source| OpenError::io("open", &path, source))?;
    match try_for_a_while(&file) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Only to name the holder: the lock itself is what counts.
            let _ = file.read_to_string(&mut holder);
            return Err(OpenError::Locked {
                home: home.to_owned(),
                holder: holder.trim().parse().ok(),
            });
        }
        Err(TryLockError::Error(source)) => return Err(OpenError::io("lock", &path, source)),
    }
    // A name for whoever is refused; a full disk must not keep the log from opening.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

/// Whoever held it may be about to be gone; or a process that somebody here is just starting has the file
/// too, until it runs its own program.
fn try_for_a_while(file: &File) -> Result<(), TryLockError> {
    let until = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(PAUSE),
            tried => return tried,
        }
    }
}
