//! The thread that writes. It takes all that waits, writes it in one go, flushes once, lets readers
//! see it, and then answers.
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use dagbok_runlog::{AppendError, Entry, PortError, Seq};
use parking_lot::RwLock;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    disk::{self, Disk, WriteAt},
    index::{Index, Sealed},
    lock::Held,
    segment::{self, HEADER},
    view::{Segment, View},
};

/// Bytes after which a group takes no more, whatever waits.
const GROUP_BYTES: usize = 8 << 20;

/// Bytes of buffer that are kept between groups.
const BUFFER_BYTES: usize = 1 << 20;

/// One append, its frames encoded by whoever asks.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) expected: Seq,
    /// Not empty; the first has the place after `expected`.
    pub(crate) entries: Vec<Entry>,
    pub(crate) frames: Vec<u8>,
    pub(crate) answer: oneshot::Sender<Result<Seq, AppendError>>,
}

/// Appends that share one write and one flush, and the refusals between them.
#[derive(Default)]
struct Group {
    accepted: Vec<Request>,
    refused: Vec<(Request, u64)>,
    frames: Vec<u8>,
}

/// The writer of a log.
#[derive(Debug)]
pub(crate) struct Writer {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    segment_bytes: u64,
    view: Arc<RwLock<View>>,
    /// Tells followers; dropped with the writer, which ends them.
    durable: watch::Sender<u64>,
    /// The last segment; `None` before the first append of a new log.
    file: Option<Box<dyn WriteAt>>,
    /// Somebody who deletes or replaces the home does not stop for it, so it is looked at.
    lock: Held,
    /// The file of the log that is not where it was, once one is not: for good.
    gone: Option<String>,
    /// Why nothing can be written any more, since a flush failed: what the disk then holds is not
    /// known, and asking it again would be told that all is well.
    poison: Option<String>,
}

impl Writer {
    /// A writer that goes on where the view ends.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        dir: &Path,
        segment_bytes: u64,
        view: Arc<RwLock<View>>,
        durable: watch::Sender<u64>,
        lock: Held,
    ) -> io::Result<Self> {
        let path = view.read().segments.last().map(|segment| Arc::clone(&segment.path));
        let file = path.map(|path| disk.open(&path)).transpose()?;
        let dir = dir.to_owned();
        let (gone, poison) = (None, None);
        Ok(Self { disk, dir, segment_bytes, view, durable, file, lock, gone, poison })
    }

    /// Works until nobody can ask any more.
    pub(crate) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut buffer = Vec::new();
        while let Some(first) = requests.blocking_recv() {
            let mut last = self.view.read().last();
            let mut group = Group { frames: buffer, ..Group::default() };
            group.take(first, &mut last);
            while group.frames.len() < GROUP_BYTES {
                let Ok(next) = requests.try_recv() else { break };
                group.take(next, &mut last);
            }
            buffer = self.commit(group);
        }
    }

    /// Writes a group and answers all in it; gives its buffer back.
    fn commit(&mut self, group: Group) -> Vec<u8> {
        let Group { accepted, refused, mut frames } = group;
        let outcome = if accepted.is_empty() { Ok(()) } else { self.write(&frames) };
        match outcome {
            Ok(()) => self.publish(accepted),
            Err(why) => {
                tracing::error!("{why}");
                for request in accepted {
                    reply(request.answer, Err(self.failure(&why).into()));
                }
            }
        }
        for (Request { expected, answer, .. }, last) in refused {
            let failed = self.view.read().last() < last;
            reply(
                answer,
                Err(if failed {
                    // What it was refused for has not happened after all.
                    PortError::unavailable("log", "the appends before this one failed").into()
                } else {
                    AppendError::Conflict { expected, actual: Some(Seq(last)) }
                }),
            );
        }
        frames.clear();
        frames.shrink_to(BUFFER_BYTES);
        frames
    }

    /// Makes `frames` durable at the end of the log, or says why not.
    fn write(&mut self, frames: &[u8]) -> Result<(), String> {
        if let Some(why) = &self.poison {
            return Err(why.clone());
        }
        let (path, end) = match self.segment() {
            Ok(place) => place,
            // A home that is gone has no room for a new segment either: that is said rather.
            Err(why) => return self.still_there().and(Err(why)),
        };
        let file = self.file.as_ref().expect("the segment was just made sure of");
        let path = path.display();
        if let Err(error) = file.write_all_at(frames, end) {
            let why = format!(
                "can't write {path}: {error}; nothing of this append is kept, and the next one tries again"
            );
            // Half a record must not stay where the next one goes.
            return match file.set_len(end) {
                Ok(()) => Err(why),
                Err(cut) => Err(self.poisoned(&format!("{why}; nor can it be cut back: {cut}"))),
            };
        }
        if let Err(error) = file.flush() {
            return Err(self.poisoned(&format!("can't flush {path}: {error}")));
        }
        self.still_there()
    }

    /// Whether what was just written can be found again: nothing is acknowledged into a file that has
    /// no name any more.
    fn still_there(&mut self) -> Result<(), String> {
        let segment = self.view.read().segments.last().map(|it| Arc::clone(&it.path));
        let looked = match (&self.file, segment) {
            (Some(file), Some(path)) => {
                file.is_at(&path).map(|is| (!is).then(|| path.to_path_buf()))
            }
            _ => Ok(None),
        };
        let lock = &self.lock;
        let looked = looked.and_then(|gone| match gone {
            Some(path) => Ok(Some(path)),
            None => disk::is_at(&lock.file, &lock.path).map(|is| (!is).then(|| lock.path.clone())),
        });
        match looked {
            Ok(None) => Ok(()),
            Ok(Some(path)) => {
                let path = path.display().to_string();
                let why = format!(
                    "{path} was deleted or replaced while the log was written, so this append is not \
                     kept, and no more is taken: put the home back, or choose another, and start again"
                );
                self.gone = Some(path);
                Err(self.poison.insert(why).clone())
            }
            Err(error) => {
                let dir = self.dir.display();
                let why = format!("can't look whether the files in {dir} are still there: {error}");
                Err(self.poisoned(&why))
            }
        }
    }

    /// The error of an append that failed: where the files are gone no retry will mend it.
    fn failure(&self, why: &str) -> PortError {
        match &self.gone {
            Some(place) => {
                let (place, why) = (place.clone(), why.to_owned());
                PortError::Damaged { what: "log", place, why }
            }
            None => PortError::unavailable("log", why),
        }
    }

    /// Lets readers see what has become durable, and answers.
    fn publish(&mut self, accepted: Vec<Request>) {
        let mut answers = Vec::with_capacity(accepted.len());
        let mut last = None;
        {
            let mut view = self.view.write();
            for Request { entries, answer, .. } in accepted {
                view.grow(entries);
                last = Some(view.last());
                answers.push((answer, Seq(view.last())));
            }
        }
        if let Some(last) = last {
            self.durable.send_replace(last);
        }
        for (answer, seq) in answers {
            reply(answer, Ok(seq));
        }
    }

    /// The segment to write on, begun where it must be, and its end.
    fn segment(&mut self) -> Result<(Arc<Path>, u64), String> {
        let current = self.view.read().segments.last().map(|it| (Arc::clone(&it.path), it.end));
        match current {
            Some((path, end)) if end < self.segment_bytes => Ok((path, end)),
            Some((path, _)) => self.seal(&path).and_then(|()| self.begin()).map_err(|error| {
                format!(
                    "can't begin a segment after {}: {error}; the next append tries again",
                    path.display()
                )
            }),
            None => self
                .begin()
                .map_err(|error| format!("can't begin the log in {}: {error}", self.dir.display())),
        }
    }

    /// Writes the sidecar of the last segment.
    fn seal(&self, path: &Path) -> io::Result<()> {
        let sealed = {
            let view = self.view.read();
            let it = view.segments.last().expect("it is the one that is sealed");
            Sealed { first: it.first, last: it.last, end: it.end, index: it.index.clone() }
        };
        sealed.store(&*self.disk, &segment::sidecar(path))
    }

    /// Makes the next segment.
    fn begin(&mut self) -> io::Result<(Arc<Path>, u64)> {
        let last = self.view.read().last();
        let first = last + 1;
        let path: Arc<Path> = segment::path(&self.dir, first).into();
        self.file = Some(self.disk.create(&path, &segment::header(first))?);
        let end = HEADER as u64;
        let begun = Segment { path: Arc::clone(&path), first, last, end, index: Index::default() };
        self.view.write().segments.push(begun);
        Ok((path, end))
    }

    fn poisoned(&mut self, why: &str) -> String {
        let why = format!(
            "{why}; what the disk holds is not known, so nothing more is written: look at the disk, \
             then start again, and the log is checked"
        );
        self.poison.insert(why).clone()
    }
}

impl Group {
    /// Takes a request that expects what is then last; refuses any other.
    fn take(&mut self, request: Request, last: &mut u64) {
        if request.expected.0 == *last {
            *last += request.entries.len() as u64;
            self.frames.extend_from_slice(&request.frames);
            self.accepted.push(request);
        } else {
            self.refused.push((request, *last));
        }
    }
}

/// Answers; whoever asked may have gone.
fn reply(answer: oneshot::Sender<Result<Seq, AppendError>>, outcome: Result<Seq, AppendError>) {
    let _ = answer.send(outcome);
}
