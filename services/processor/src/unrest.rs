//! Which files of a folder are being written: of what changed, that which nobody has closed since.
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use notify::{
    Event, EventKind,
    event::{AccessKind, AccessMode, ModifyKind, RenameMode},
};

/// More files than this are a change that goes on, whatever is closed.
const MOST: usize = 1_000;

/// What changed and may not be whole yet.
#[derive(Debug, Default)]
pub(crate) struct Unrest {
    files: BTreeSet<PathBuf>,
}

impl Unrest {
    /// Takes note of an event; says whether it made something whole that was not.
    pub(crate) fn see(&mut self, event: &Event) -> bool {
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both)) => {
                let mut whole = false;
                for path in &event.paths {
                    whole |= self.files.remove(path);
                }
                whole
            }
            // Who may read it is told of after it was written.
            EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)) => false,
            _ => {
                if event.paths.is_empty() || self.files.len() >= MOST {
                    // Of what it is not known, or is not kept: nothing makes that whole.
                    self.files.insert(PathBuf::new());
                } else {
                    let paths = event.paths.iter().filter(|path| !is_aside(path)).cloned();
                    self.files.extend(paths);
                }
                false
            }
        }
    }

    /// Whether all that changed is whole. What was removed is not: it may be about to be written anew.
    pub(crate) fn is_over(&self) -> bool {
        self.files.is_empty()
    }
}

/// What an editor keeps beside the file that it writes.
fn is_aside(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') || name.ends_with('~')
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, DataChange, MetadataKind, RemoveKind};

    use super::*;

    const CLOSED: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));
    const CREATED: EventKind = EventKind::Create(CreateKind::File);
    const WRITTEN: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    const REMOVED: EventKind = EventKind::Remove(RemoveKind::File);
    const CHMOD: EventKind = EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any));

    fn renamed(how: RenameMode) -> EventKind {
        EventKind::Modify(ModifyKind::Name(how))
    }

    fn seen(events: &[(EventKind, &[&str])]) -> Unrest {
        let mut unrest = Unrest::default();
        for (kind, paths) in events {
            let event = paths.iter().fold(Event::new(*kind), |it, path| it.add_path(path.into()));
            unrest.see(&event);
        }
        unrest
    }

    #[test]
    fn what_was_written_and_closed_is_whole() {
        assert!(!seen(&[(CREATED, &["a"])]).is_over());
        assert!(!seen(&[(CREATED, &["a"]), (WRITTEN, &["a"])]).is_over());
        assert!(seen(&[(CREATED, &["a"]), (WRITTEN, &["a"]), (CLOSED, &["a"])]).is_over());
        assert!(seen(&[(WRITTEN, &["a"]), (CLOSED, &["a"]), (CHMOD, &["a"])]).is_over());
        assert!(!seen(&[(WRITTEN, &["a"]), (WRITTEN, &["b"]), (CLOSED, &["a"])]).is_over());
        assert!(!seen(&[(WRITTEN, &["a"]), (CLOSED, &["a"]), (WRITTEN, &["a"])]).is_over());
    }

    #[test]
    fn what_was_put_in_place_whole_is_whole_and_what_was_taken_away_is_not() {
        let (from, to, both) =
            (renamed(RenameMode::From), renamed(RenameMode::To), renamed(RenameMode::Both));
        let moved: [(EventKind, &[&str]); 5] = [
            (CREATED, &["a.tmp"]),
            (CLOSED, &["a.tmp"]),
            (from, &["a.tmp"]),
            (to, &["a"]),
            (both, &["a.tmp", "a"]),
        ];
        assert!(seen(&moved).is_over());
        assert!(!seen(&moved[..3]).is_over());
        assert!(!seen(&[(REMOVED, &["a"])]).is_over());
        assert!(seen(&[(REMOVED, &["a"]), (CREATED, &["a"]), (CLOSED, &["a"])]).is_over());
        assert!(seen(&[(REMOVED, &["a.py~"]), (CREATED, &[".a.py.swp"])]).is_over());
    }

    #[test]
    fn what_is_not_known_by_name_goes_on() {
        assert!(!seen(&[(EventKind::Any, &[])]).is_over());
        let mut many = Unrest::default();
        for n in 0..=MOST {
            many.see(&Event::new(CREATED).add_path(format!("{n}").into()));
        }
        for n in 0..=MOST {
            many.see(&Event::new(CLOSED).add_path(format!("{n}").into()));
        }
        assert!(!many.is_over());
    }
}
