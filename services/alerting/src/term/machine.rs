//! Looks at the machine and at how far alerting is, for the rules about both. Each is noted seldom.
use std::path::{Path, PathBuf};

use dagbok_alerts::{
    AlertFact, Book, DiskObserved, ProjectionObserved,
    limits::{BEHIND, DISK_LOW},
};
use dagbok_events::{Micros, Timestamp};

/// How often it is looked.
const EVERY: Micros = Micros::from_secs(10);

/// Who looks.
#[derive(Debug)]
pub(crate) struct Looker {
    disk: Option<PathBuf>,
    looked: Timestamp,
    /// Since when records are known that are not folded, and the first of those.
    waits: Option<(Timestamp, u64)>,
}

impl Looker {
    pub(crate) fn new(disk: Option<PathBuf>) -> Self {
        Self { disk, looked: Timestamp(0), waits: None }
    }

    /// Whether it is time to look.
    pub(crate) fn is_due(&mut self, now: Timestamp) -> bool {
        let since = now.since(self.looked).0.abs();
        if since < EVERY.0 {
            return false;
        }
        self.looked = now;
        true
    }

    /// What is to be noted. Less free of the disk than `low` percent is little; `last` is the run log's last record, of
    /// which all up to `folded` are folded.
    pub(crate) fn look(
        &mut self,
        book: &Book,
        low: Option<u8>,
        now: Timestamp,
        (folded, last): (u64, u64),
    ) -> Vec<AlertFact> {
        let disk = self.disk.as_deref().and_then(|it| seen(it, low.unwrap_or(DISK_LOW)));
        let disk = disk.filter(|it| book.disk_is_news(now, it));
        let behind = self.behind(book, now, folded, last);
        disk.map(AlertFact::DiskObserved).into_iter().chain(behind).collect()
    }

    /// That records wait for being folded is no news while they are others each time.
    fn behind(&mut self, book: &Book, now: Timestamp, folded: u64, last: u64) -> Option<AlertFact> {
        let (since, waits_for) = match self.waits {
            Some((since, waits_for)) if folded < waits_for && since <= now => (since, waits_for),
            _ => (now, last),
        };
        self.waits = (folded < last).then_some((since, waits_for));
        let is_behind = self.waits.is_some_and(|(since, _)| now.since(since) >= BEHIND);
        if is_behind == book.is_behind() {
            return None;
        }
        let behind = if is_behind { last - folded } else { 0 };
        Some(AlertFact::ProjectionObserved(ProjectionObserved { behind }))
    }
}

/// What the disk of a folder has, reckoned as `df` does: blocks that are kept for root, or for whoever owns the volume below,
/// are of no use to this user, full or not.
fn seen(folder: &Path, low_percent: u8) -> Option<DiskObserved> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(DiskObserved {
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        folder: folder.display().to_string(),
        free: stat.f_bavail.saturating_mul(stat.f_frsize),
        total: (stat.f_blocks.saturating_sub(stat.f_bfree).saturating_add(stat.f_bavail))
            .saturating_mul(stat.f_frsize),
        low_percent,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_get_on_is_behind_and_who_does_is_not() {
        let mut looker = Looker::new(None);
        let book = Book::default();
        let at = |seconds: i64| Timestamp(seconds * 1_000_000);
        assert_eq!(looker.look(&book, None, at(0), (5, 10)), []);
        assert_eq!(looker.look(&book, None, at(50), (10, 90)), [], "what was waited for is folded");
        assert_eq!(looker.look(&book, None, at(100), (50, 190)), []);
        let said = looker.look(&book, None, at(110), (50, 200));
        assert_eq!(said, [AlertFact::ProjectionObserved(ProjectionObserved { behind: 150 })]);
        assert_eq!(looker.look(&book, None, at(120), (90, 200)), []);
    }
}
