//! One writer for an installation: an advisory lock on `<home>/lock`, which the kernel lets go of
//! when the process ends, however it ends.
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read as _, Write as _},
    path::Path,
};

use crate::OpenError;

/// Takes the lock for as long as the file is kept open.
pub(crate) fn take(home: &Path) -> Result<File, OpenError> {
    let path = home.join("lock");
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = open.map_err(|source| OpenError::io("open", &path, source))?;
    match file.try_lock() {
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
