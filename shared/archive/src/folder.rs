//! The folder of an archive: files that follow on one another without a gap.
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use dagbok_runlog::{Chain, Entry, LogMark, PortResult, ReadBudget, ReadLimit, Seq};
use parking_lot::Mutex;

use crate::{
    ArchiveError,
    file::{self, Head},
};

/// What an archive holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first entry.
    pub first: Seq,
    /// The chain's value at the entry before it.
    pub before: Chain,
    /// The last entry.
    pub last: Seq,
    /// The chain's value at it.
    pub after: Chain,
    /// The log that the entries are of.
    pub mark: LogMark,
    /// Files.
    pub files: usize,
    /// Bytes in them.
    pub bytes: u64,
}

/// The entries of a file, and the first one's place.
type LastRead = (Seq, Arc<[Entry]>);

/// A folder of archived entries. Cheap to clone. All functions block on the disk.
#[derive(Clone, Debug)]
pub struct Archive {
    dir: Arc<Path>,
    /// The file that was read last: whoever reads on reads it again.
    last_read: Arc<Mutex<Option<LastRead>>>,
    /// What files say of themselves, for who looks for a subject in all of them.
    heads: Arc<Mutex<Heads>>,
}

/// Heads that were read: a file is written once and stays what it is.
#[derive(Debug, Default)]
struct Heads {
    by_file: BTreeMap<Named, Arc<Head>>,
    bytes: usize,
}

/// Bytes of heads that are kept: those of some eight million records. What is beyond is read again each time.
const HEADS_KEPT: usize = 16 << 20;

/// First and last entry of a file, by its name.
pub(crate) type Named = (u64, u64);

impl Archive {
    /// The archive in `dir`, which is made when the first entries are added.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.into(), last_read: Arc::default(), heads: Arc::default() }
    }

    /// Where it lies.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn path(&self, (first, last): Named) -> PathBuf {
        self.dir.join(format!("{first:020}-{last:020}.arc"))
    }

    /// The files by their names, in order.
    pub(crate) fn files(&self) -> Result<Vec<Named>, ArchiveError> {
        let found = match fs::read_dir(&self.dir) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(ArchiveError::io("list", &self.dir, error)),
        };
        let mut files = Vec::new();
        for file in found {
            let file = file.map_err(|error| ArchiveError::io("list", &self.dir, error))?;
            let name = file.file_name();
            let named = name.to_str().and_then(|name| {
                let (first, last) = name.strip_suffix(".arc")?.split_once('-')?;
                Some((first.parse().ok()?, last.parse().ok()?))
            });
            files.extend(named);
        }
        files.sort_unstable();
        Ok(files)
    }

    /// What it holds; `None` where it is empty. A gap between two files is an error.
    pub fn span(&self) -> Result<Option<Span>, ArchiveError> {
        let files = self.files()?;
        let (Some(&first), Some(&last)) = (files.first(), files.last()) else { return Ok(None) };
        if let Some(gap) = files.windows(2).find(|pair| pair[0].1 + 1 != pair[1].0) {
            return Err(ArchiveError::Missing {
                dir: self.dir.to_path_buf(),
                from: Seq(gap[0].1 + 1),
            });
        }
        let (begin, end) = (Head::load(&self.path(first))?, Head::load(&self.path(last))?);
        let lengths = files.iter().map(|file| fs::metadata(self.path(*file)).map(|it| it.len()));
        let bytes = lengths.sum::<io::Result<u64>>();
        let bytes = bytes.map_err(|error| ArchiveError::io("look at", &self.dir, error))?;
        let Head { first, before, mark, .. } = begin;
        let (files, last, after) = (files.len(), end.last, end.after);
        Ok(Some(Span { first, before, last, after, mark, files, bytes }))
    }

    /// As [`Archive::span`]; refuses an archive of another log than `ours`.
    pub fn span_of(&self, ours: LogMark) -> Result<Option<Span>, ArchiveError> {
        match self.span()? {
            Some(Span { mark: theirs, .. }) if theirs != ours => {
                Err(ArchiveError::OtherLog { dir: self.dir.to_path_buf(), theirs, ours })
            }
            span => Ok(span),
        }
    }

    /// Adds entries of the log `mark`, which go on where the archive ends; `before` is the chain's value at
    /// the entry before them. Returns its value at their last once they are there for good and were read
    /// back. Adding the same again changes nothing.
    pub fn add(
        &self,
        mark: LogMark,
        before: Chain,
        entries: &[Entry],
    ) -> Result<Chain, ArchiveError> {
        let Some(head) = Head::of(mark, before, entries) else { return Ok(before) };
        let no_fit = |why: String| Err(ArchiveError::NoFit { dir: self.dir.to_path_buf(), why });
        fs::create_dir_all(&self.dir)
            .map_err(|error| ArchiveError::io("make", &self.dir, error))?;
        let _alone = self.lock()?;
        if let Some(span) = self.span()? {
            if span.mark != mark {
                return no_fit(format!("it is of the log {}, they are of {mark}", span.mark));
            }
            if span.last.plus(1) != head.first {
                return no_fit(format!(
                    "it ends with {}, they begin with {}",
                    span.last, head.first
                ));
            }
            if span.after != before {
                return no_fit(format!(
                    "its chain ends with {}, theirs begins with {before}",
                    span.after
                ));
            }
        }
        self.remove_unfinished();
        let path = self.path((head.first.0, head.last.0));
        file::write(&path, &head, entries)?;
        let (found, _) = file::read(&path)?;
        if found != head {
            return Err(ArchiveError::damaged(&path, "it reads otherwise than it was written"));
        }
        Ok(head.after)
    }

    /// Whoever adds is alone until this is dropped: two at once, of which one was deposed and has not noticed, could
    /// write files that overlap. Where the file system has no locks, the lease must do.
    fn lock(&self) -> Result<File, ArchiveError> {
        let path = self.dir.join("lock");
        let opened = File::options().create(true).truncate(false).write(true).open(&path);
        let file = opened.map_err(|error| ArchiveError::io("open", &path, error))?;
        match file.lock() {
            Err(error) if error.kind() != io::ErrorKind::Unsupported => {
                Err(ArchiveError::io("lock", &path, error))
            }
            _ => Ok(file),
        }
    }

    /// Removes what a crash left of files that it was in the midst of.
    fn remove_unfinished(&self) {
        let found = fs::read_dir(&self.dir).into_iter().flatten().flatten().map(|file| file.path());
        for path in found.filter(|path| path.extension().is_some_and(|it| it == file::UNFINISHED)) {
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(%error, file = %path.display(), "an unfinished file can't be removed");
            }
        }
    }

    /// Entries after `after`, oldest first, from one file; empty where it holds none there.
    pub fn read(&self, after: Seq, limit: ReadLimit) -> PortResult<Vec<Entry>> {
        let due = after.plus(1);
        let Some(entries) = self.held(due)? else { return Ok(Vec::new()) };
        let mut budget = ReadBudget::new(limit);
        let wanted = entries.iter().filter(|entry| entry.seq >= due);
        Ok(wanted.take_while(|entry| budget.takes(entry.payload.len())).cloned().collect())
    }

    /// The entries of the file that holds `due`.
    fn held(&self, due: Seq) -> Result<Option<Arc<[Entry]>>, ArchiveError> {
        let mut last_read = self.last_read.lock();
        if let Some((first, entries)) = &*last_read
            && due >= *first
            && entries.last().is_some_and(|entry| due <= entry.seq)
        {
            return Ok(Some(Arc::clone(entries)));
        }
        let files = self.files()?;
        let Some(&file) = files.iter().find(|(first, last)| (*first..=*last).contains(&due.0))
        else {
            return Ok(None);
        };
        let (head, entries) = file::read(&self.path(file))?;
        let entries: Arc<[Entry]> = entries.into();
        *last_read = Some((head.first, Arc::clone(&entries)));
        Ok(Some(entries))
    }

    /// Every entry on a subject up to `until`, oldest first. Files without it are not unpacked.
    pub fn read_subject(&self, subject: &str, until: Seq) -> PortResult<Vec<Entry>> {
        let mut found = Vec::new();
        for file in self.files()?.into_iter().take_while(|(first, _)| *first <= until.0) {
            if self.head(file)?.may_hold(subject) {
                let (_, entries) = file::read(&self.path(file))?;
                let wanted = |entry: &Entry| entry.subject == subject && entry.seq <= until;
                found.extend(entries.into_iter().filter(wanted));
            }
        }
        Ok(found)
    }

    /// What a file says of itself.
    fn head(&self, file: Named) -> Result<Arc<Head>, ArchiveError> {
        if let Some(head) = self.heads.lock().by_file.get(&file) {
            return Ok(Arc::clone(head));
        }
        let head = Arc::new(Head::load(&self.path(file))?);
        let mut heads = self.heads.lock();
        if heads.bytes + head.bytes() <= HEADS_KEPT {
            heads.bytes += head.bytes();
            heads.by_file.insert(file, Arc::clone(&head));
        }
        Ok(head)
    }
}
