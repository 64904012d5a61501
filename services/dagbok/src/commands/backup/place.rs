//! Where a backup is put back: whole or not at all, wherever the installation's folder is. One that is not there
//! is filled beside its place and renamed; one that is there (a volume's root, what a link leads to, an empty folder)
//! is filled inside of it, and the log, without which nothing is an installation, moves up last.
use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use super::copies::{flush, resolved};
use crate::{codes::Code, failure::Failure};

/// What is filled first.
const DRAFT: &str = ".dagbok-restoring";
/// In a draft, held by whoever fills it; it becomes the installation's own.
const LOCK: &str = "lock";
/// What a file system of its own has.
const OF_THE_DISK: &str = "lost+found";

/// A place that is being filled.
pub(super) struct Place {
    /// The folder, links followed.
    home: PathBuf,
    is_there: bool,
    /// What to fill.
    pub(super) draft: PathBuf,
    /// Half a copy that an earlier restore left was here, and was removed.
    pub(super) had_left: bool,
    /// Held for as long as it is filled.
    _lock: File,
}

impl Place {
    /// Begins to fill `home` from `backup`; refused where something is in it.
    pub(super) fn take(home: &Path, backup: &Path) -> Result<Self, Failure> {
        if resolved(home).starts_with(resolved(backup)) {
            let why = format!("{} lies in the backup {}", home.display(), backup.display());
            return Err(Failure::new(Code::Refused, why).next("name another with --home"));
        }
        let failed = |error: io::Error| unusable(home, &error);
        let (place, is_there) = match fs::symlink_metadata(home) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => (home.to_owned(), false),
            Err(error) => return Err(failed(error)),
            Ok(_) => (fs::canonicalize(home).map_err(|error| leads_nowhere(home, &error))?, true),
        };
        let draft = if is_there {
            refuse_full(home, &place)?;
            place.join(DRAFT)
        } else {
            let (Some(parent), Some(name)) = (place.parent(), place.file_name()) else {
                let why = "the root can't be an installation's folder";
                return Err(Failure::new(Code::HomeUnusable, why));
            };
            fs::create_dir_all(parent).map_err(failed)?;
            parent.join(format!("{DRAFT}-{}", name.to_string_lossy()))
        };
        let (lock, had_left) = begun(&draft)?;
        Ok(Self { home: place, is_there, draft, had_left, _lock: lock })
    }

    /// Makes of what was filled the installation's folder, for good.
    pub(super) fn settle(&self) -> Result<(), Failure> {
        let settled = flush(&self.draft).and_then(|()| {
            if self.is_there {
                self.move_up()?;
                fs::remove_dir(&self.draft)?;
                return File::open(&self.home)?.sync_all();
            }
            fs::rename(&self.draft, &self.home)?;
            self.home.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
        });
        settled.map_err(|error| unusable(&self.home, &error))
    }

    /// Takes what was filled away again; says of what stays.
    pub(super) fn give_up(&self, failure: Failure) -> Failure {
        match fs::remove_dir_all(&self.draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                failure.next(format!("remove {}, which can't be: {error}", self.draft.display()))
            }
            _ => failure,
        }
    }

    /// Moves everything out of the draft, the log last; or nothing.
    fn move_up(&self) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.draft)? {
            names.push(entry?.file_name());
        }
        names.sort_by_key(|name| name == "log");
        for (at, name) in names.iter().enumerate() {
            if let Err(error) = fs::rename(self.draft.join(name), self.home.join(name)) {
                for name in &names[..at] {
                    // What can't go back is in the way of the next try, which says so.
                    let _ = fs::rename(self.home.join(name), self.draft.join(name));
                }
                return Err(error);
            }
        }
        Ok(())
    }
}

fn unusable(home: &Path, error: &io::Error) -> Failure {
    Failure::new(Code::HomeUnusable, format!("{} can't be made: {error}", home.display()))
}

fn leads_nowhere(home: &Path, error: &io::Error) -> Failure {
    let why = format!("{} is a link that can't be followed: {error}", home.display());
    Failure::new(Code::HomeUnusable, why)
        .next("make the folder that it names, or name another with --home")
}

/// Refuses a folder that has something in it, but for what the disk or an earlier restore put there.
fn refuse_full(home: &Path, place: &Path) -> Result<(), Failure> {
    for entry in fs::read_dir(place).map_err(|error| unusable(home, &error))? {
        let name = entry.map_err(|error| unusable(home, &error))?.file_name();
        if name != DRAFT && name != OF_THE_DISK {
            let why = format!("{} is there, and not empty", home.display());
            return Err(Failure::new(Code::Refused, why).next(format!(
                "stop what runs on it and move it away (mv {0} {0}.before; of a volume, what is in it), or name another with --home",
                home.display()
            )));
        }
    }
    Ok(())
}

/// A draft of our own, and whether half of another was there. A restore that was killed has let go of its lock.
fn begun(draft: &Path) -> Result<(File, bool), Failure> {
    let failed = |error: io::Error| unusable(draft, &error);
    let is_filled = || {
        let why = format!("another restore fills {}", draft.display());
        Failure::new(Code::Refused, why).next("wait for it, or end it")
    };
    let mut had_left = false;
    match fs::create_dir(draft) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            match File::open(draft.join(LOCK)) {
                Ok(lock) => match lock.try_lock() {
                    Ok(()) => {}
                    Err(TryLockError::WouldBlock) => return Err(is_filled()),
                    Err(TryLockError::Error(error)) => return Err(failed(error)),
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
            fs::remove_dir_all(draft).map_err(failed)?;
            fs::create_dir(draft).map_err(failed)?;
            had_left = true;
        }
        Err(error) => return Err(failed(error)),
    }
    let lock = File::create(draft.join(LOCK)).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok((lock, had_left)),
        Err(TryLockError::WouldBlock) => Err(is_filled()),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}
