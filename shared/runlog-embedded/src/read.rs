//! Reads of what is durable: from memory where it is new, else from the files.
use std::{fs::File, sync::Arc};

use dagbok_runlog::{Entry, LogMark, PortError, PortResult, ReadBudget, ReadLimit, Seq};
use parking_lot::RwLock;

use crate::{
    frame::Frame,
    reader::{FrameReader, Step},
    view::{Place, View},
};

/// The entries after `after` that are in memory or known not to be there; `None` where files must
/// be read.
pub(crate) fn read_memory(view: &RwLock<View>, after: Seq, limit: ReadLimit) -> Option<Vec<Entry>> {
    let view = view.read();
    if after.0 >= view.last() {
        return Some(Vec::new());
    }
    view.newest(after.0, limit)
}

/// The entries after `after` from the files. Blocks on the disk.
pub(crate) fn read_files(
    view: &RwLock<View>,
    after: Seq,
    limit: ReadLimit,
) -> PortResult<Vec<Entry>> {
    let mut read = Reading { seen: after.0, entries: Vec::new(), budget: ReadBudget::new(limit) };
    loop {
        let place = {
            let view = view.read();
            let trimmed = view.check_base(read.seen);
            trimmed.map(|()| view.locate(read.seen.saturating_add(1)))
        };
        let place = match place {
            Ok(place) => place,
            // Trimmed under the read: what was read before stands.
            Err(error) if read.entries.is_empty() => return Err(error),
            Err(_) => return Ok(read.entries),
        };
        let Some(place) = place else { return Ok(read.entries) };
        match read.read_on(&place) {
            Ok(true) => {}
            // The file went by a trim, which the next look sees.
            Err(_) if view.read().check_base(read.seen).is_err() => {}
            // What is whole comes first; the next read meets the damage, and says so.
            Err(error) if read.entries.is_empty() => return Err(error),
            Ok(false) | Err(_) => return Ok(read.entries),
        }
    }
}

/// Every entry on `subject` that is there up to `until`, from the parts of files that have it. Blocks on the disk.
pub(crate) fn read_subject(
    view: &RwLock<View>,
    subject: &str,
    until: Seq,
) -> PortResult<Vec<Entry>> {
    let places = view.read().places_of(subject, until.0);
    let mut found = Vec::new();
    for place in &places {
        let read = read_place(place, |frame| {
            if frame.subject == subject && frame.seq <= until.0 {
                found.push(entry(frame));
            }
            true
        });
        match read {
            // The file went by a trim: what it had is not there any more.
            Err(_) if view.read().base().first.0 > place.last => {}
            read => drop(read?),
        }
    }
    // A part may begin below the base.
    let base = view.read().base().first;
    found.retain(|entry| entry.seq >= base);
    Ok(found)
}

/// A read over one or more files.
struct Reading {
    /// The last entry that was read or is not wanted.
    seen: u64,
    entries: Vec<Entry>,
    budget: ReadBudget,
}

impl Reading {
    /// Reads one segment on from a place; says whether more may be read after it.
    fn read_on(&mut self, place: &Place) -> PortResult<bool> {
        read_place(place, |frame| {
            if frame.seq <= self.seen {
                return true;
            }
            let fits = self.budget.takes(frame.payload.len());
            if fits {
                self.seen = frame.seq;
                self.entries.push(entry(frame));
            }
            fits
        })
    }
}

/// Reads on from a place as long as `take` takes what comes; says whether it took all.
fn read_place(place: &Place, mut take: impl FnMut(Frame<'_>) -> bool) -> PortResult<bool> {
    let path = &place.path;
    let failed = |error| PortError::unavailable("log", format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(failed)?;
    let mut reader = FrameReader::new(&file, place.offset, place.end);
    let mut due = place.seq;
    loop {
        let begins = reader.offset();
        let damaged = |why: &str| PortError::Damaged {
            what: "log",
            place: format!("{} byte {begins}", path.display()),
            why: format!("{why}; put the file back from a backup"),
        };
        match reader.next().map_err(failed)? {
            Step::Frame(frame) if frame.seq == due => {
                due += 1;
                if !take(frame) {
                    return Ok(false);
                }
            }
            Step::Frame(_) => return Err(damaged("a record has another record's place")),
            Step::Fault(why) => return Err(damaged(why)),
            Step::End if due > place.last => return Ok(true),
            Step::End => return Err(damaged("entries that were there are not")),
        }
    }
}

/// An entry of its own: a slice of what was read would keep all of that in memory.
fn entry(frame: Frame<'_>) -> Entry {
    let Frame { seq, subject, payload } = frame;
    Entry { seq: Seq(seq), subject: subject.to_owned(), payload: payload.to_vec().into() }
}

/// As [`read_memory`], else as [`read_files`] where blocking is allowed.
pub(crate) async fn read(
    view: &Arc<RwLock<View>>,
    after: Seq,
    limit: ReadLimit,
) -> PortResult<Vec<Entry>> {
    view.read().check_base(after.0)?;
    if let Some(entries) = read_memory(view, after, limit) {
        return Ok(entries);
    }
    let view = Arc::clone(view);
    let read = tokio::task::spawn_blocking(move || read_files(&view, after, limit));
    read.await.unwrap_or_else(|error| Err(PortError::unavailable("log", error)))
}

/// As [`read_subject`], where blocking is not allowed.
pub(crate) async fn on_subject(
    view: &Arc<RwLock<View>>,
    subject: &str,
    until: Seq,
) -> PortResult<Vec<Entry>> {
    let (view, subject) = (Arc::clone(view), subject.to_owned());
    let read = tokio::task::spawn_blocking(move || read_subject(&view, &subject, until));
    read.await.unwrap_or_else(|error| Err(PortError::unavailable("log", error)))
}

/// Which log it is, by its first entry, where that is not known yet.
pub(crate) async fn mark(view: &Arc<RwLock<View>>) -> PortResult<Option<LogMark>> {
    if let Some(mark) = view.read().mark {
        return Ok(Some(mark));
    }
    let one = ReadLimit { entries: 1, ..ReadLimit::default() };
    let found = match read(view, Seq::ZERO, one).await {
        // It was trimmed meanwhile, so the mark is known.
        Err(PortError::Trimmed { .. }) => return Ok(view.read().mark),
        found => found?,
    };
    let mark = found.first().map(LogMark::of);
    if mark.is_some() {
        view.write().mark = mark;
    }
    Ok(mark)
}
