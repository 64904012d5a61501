//! Reading an installation that somebody else writes, or nobody.
use std::{fs::File, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use dagbok_runlog::{
    AppendError, Base, Blobs, Chain, Draft, Entry, LogMark, PortError, PortResult, ReadLimit,
    RunLog, Seq, limits::MAX_PAYLOAD,
};
use futures::stream::{self, BoxStream, StreamExt as _};
use parking_lot::RwLock;

use crate::{
    FileBlobs, OpenError, OpenReport,
    base::Trimmed,
    read, recover, segment,
    view::{Segment, View},
};

/// How often a follower looks whether the writer, of whom nothing is heard, has written.
const LOOK: Duration = Duration::from_millis(250);

/// What can be read of an installation.
#[derive(Clone, Debug)]
pub struct ReadOnly {
    /// The facts; appends are refused.
    pub log: Arc<dyn RunLog>,
    /// Specs, bundles, logs, large values; puts are refused.
    pub blobs: Arc<dyn Blobs>,
}

/// Opens the installation in `home` to be read, whether or not a process writes it. Takes no lock
/// and changes nothing: a torn tail is reported and left. Blocks on the disk.
pub fn open_read_only(home: &Path) -> Result<(ReadOnly, OpenReport), OpenError> {
    let start = std::time::Instant::now();
    let dir = home.join("log");
    if !dir.is_dir() {
        return Err(OpenError::Missing { home: home.to_owned() });
    }
    let found = recover::look_beside_a_writer(&dir)?;
    let log = ReadOnlyLog { view: Arc::new(RwLock::new(found.view)), dir: dir.into() };
    let blobs = FileBlobs::read_only(&home.join("blobs"));
    let report = OpenReport { took: start.elapsed(), ..found.report };
    Ok((ReadOnly { log: Arc::new(log), blobs: Arc::new(blobs) }, report))
}

/// A log that is only read. It sees what the writer has written, which may be a moment before that
/// is durable.
#[derive(Clone, Debug)]
pub struct ReadOnlyLog {
    view: Arc<RwLock<View>>,
    dir: Arc<Path>,
}

impl ReadOnlyLog {
    /// Takes in what has been written since it last looked.
    async fn look(&self) -> PortResult<()> {
        let log = self.clone();
        let look = tokio::task::spawn_blocking(move || log.look_blocking());
        look.await.unwrap_or_else(|error| Err(PortError::unavailable("log", error)))
    }

    fn look_blocking(&self) -> PortResult<()> {
        let mut view = self.view.write();
        let trimmed =
            Trimmed::load(&self.dir).map_err(|error| PortError::unavailable("log", error))?;
        if let Some(trimmed) = trimmed.filter(|trimmed| trimmed.base.first > view.base().first) {
            view.trim(trimmed);
        }
        loop {
            if let Some(segment) = view.segments.last_mut() {
                extend(segment).map_err(|error| PortError::unavailable("log", error))?;
            }
            let first = view.last() + 1;
            let path = segment::path(&self.dir, first);
            let is_new = view.segments.last().is_none_or(|segment| segment.first < first);
            let Some(file) = is_new.then(|| File::open(&path).ok()).flatten() else {
                return Ok(());
            };
            let whole = segment::check_header(&file, &path, first);
            if !whole.map_err(|error| PortError::unavailable("log", error))? {
                return Ok(());
            }
            let (path, end) = (path.into(), segment::HEADER as u64);
            let index = crate::index::Index::default();
            view.segments.push(Segment { path, first, last: first - 1, end, index });
        }
    }
}

/// Takes in the whole records that a segment has grown by; one that is not whole is being written.
fn extend(segment: &mut Segment) -> std::io::Result<()> {
    let file = File::open(&segment.path)?;
    let length = file.metadata()?.len();
    if length > segment.end {
        let (last, end) = (segment.last, segment.end);
        let scan = segment::scan(&file, last, end, length, &mut segment.index)?;
        segment.last = scan.last;
        segment.end = scan.end;
    }
    Ok(())
}

#[async_trait]
impl RunLog for ReadOnlyLog {
    async fn append(&self, _expected: Seq, _drafts: Vec<Draft>) -> Result<Seq, AppendError> {
        let why = "to be written: it was opened to be read".to_owned();
        Err(PortError::Refused { what: "log", why }.into())
    }

    async fn read(&self, after: Seq, limit: ReadLimit) -> PortResult<Vec<Entry>> {
        match read::read(&self.view, after, limit).await {
            Ok(entries) if !entries.is_empty() => return Ok(entries),
            // The writer may have trimmed what was there when this looked last.
            Ok(_) | Err(PortError::Unavailable { .. }) => self.look().await?,
            Err(error) => return Err(error),
        }
        read::read(&self.view, after, limit).await
    }

    async fn read_subject(&self, subject: &str, until: Seq) -> PortResult<Vec<Entry>> {
        self.look().await?;
        match read::on_subject(&self.view, subject, until).await {
            // The writer may have trimmed since what was there when this looked.
            Err(PortError::Unavailable { .. }) => self.look().await?,
            found => return found,
        }
        read::on_subject(&self.view, subject, until).await
    }

    async fn last(&self) -> PortResult<Seq> {
        self.look().await?;
        Ok(Seq(self.view.read().last()))
    }

    /// Looks four times a second once it has caught up, as nothing tells it of a writer elsewhere.
    fn follow(&self, after: Seq) -> BoxStream<'static, PortResult<Vec<Entry>>> {
        stream::unfold(Some((self.clone(), after)), |following| async move {
            let (log, after) = following?;
            loop {
                match log.read(after, ReadLimit::default()).await {
                    Ok(entries) => match entries.last().map(|entry| entry.seq) {
                        Some(seen) => return Some((Ok(entries), Some((log, seen)))),
                        None => tokio::time::sleep(LOOK).await,
                    },
                    Err(error) => return Some((Err(error), None)),
                }
            }
        })
        .boxed()
    }

    async fn base(&self) -> PortResult<Base> {
        self.look().await?;
        Ok(self.view.read().base())
    }

    async fn mark(&self) -> PortResult<Option<LogMark>> {
        self.look().await?;
        read::mark(&self.view).await
    }

    async fn trim(&self, _below: Seq, _chain: Chain) -> PortResult<Base> {
        let why = "to be trimmed: it was opened to be read".to_owned();
        Err(PortError::Refused { what: "log", why })
    }

    fn max_payload(&self) -> usize {
        MAX_PAYLOAD
    }
}
