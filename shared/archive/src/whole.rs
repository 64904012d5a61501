//! A log together with the archive of what it was trimmed of.
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use dagbok_runlog::{
    AppendError, Base, Chain, Draft, Entry, LogMark, PortError, PortResult, ReadLimit, RunLog, Seq,
};
use futures::stream::{self, BoxStream, StreamExt as _};

use crate::{Archive, Span};

/// A log whose entries can be read from the archive's first on. All else is the log's.
#[derive(Clone, Debug)]
pub struct Whole {
    log: Arc<dyn RunLog>,
    archive: Archive,
    /// Whether the archive was found to be this log's.
    checked: Arc<AtomicBool>,
}

impl Whole {
    /// `log`, with what was trimmed from it read from `archive`.
    pub fn new(log: Arc<dyn RunLog>, archive: Archive) -> Self {
        Self { log, archive, checked: Arc::default() }
    }

    /// Runs what blocks on the disk.
    async fn archive<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Archive) -> PortResult<T> + Send + 'static,
    ) -> PortResult<T> {
        let archive = self.archive.clone();
        let done = tokio::task::spawn_blocking(move || work(&archive)).await;
        done.unwrap_or_else(|error| Err(PortError::unavailable("archive", error)))
    }

    /// The archive's entries after `after`, which the log says it does not have; never none.
    async fn archived(&self, after: Seq, limit: ReadLimit, first: Seq) -> PortResult<Vec<Entry>> {
        self.check_mark().await?;
        let found = self.archive(move |archive| archive.read(after, limit)).await?;
        if found.is_empty() {
            Err(PortError::Trimmed { asked: after.plus(1), first })
        } else {
            Ok(found)
        }
    }

    async fn span(&self) -> PortResult<Option<Span>> {
        self.archive(|archive| Ok(archive.span()?)).await
    }

    /// Refuses an archive of another log. Looked at once: it takes a look at every file.
    async fn check_mark(&self) -> PortResult<()> {
        if self.checked.load(Ordering::Relaxed) {
            return Ok(());
        }
        if let Some(mark) = self.log.mark().await? {
            self.archive(move |archive| Ok(archive.span_of(mark)?)).await?;
            self.checked.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Where somebody who follows is.
enum At {
    /// After this entry, wherever the next one lies.
    Unknown(Seq),
    /// After this entry, on the log.
    Log(Seq, BoxStream<'static, PortResult<Vec<Entry>>>),
    Ended,
}

impl Whole {
    /// What comes next, and where that leads.
    async fn next(&self, at: At) -> Option<(PortResult<Vec<Entry>>, At)> {
        let (seen, mut following) = match at {
            At::Ended => return None,
            At::Log(seen, following) => (seen, following),
            At::Unknown(seen) => match self.log.base().await {
                Ok(base) if seen.plus(1) < base.first => {
                    return Some(self.read_archived(seen).await);
                }
                Ok(_) => (seen, self.log.follow(seen)),
                Err(error) => return Some((Err(error), At::Ended)),
            },
        };
        match following.next().await? {
            Ok(entries) => {
                let seen = entries.last().map_or(seen, |entry| entry.seq);
                Some((Ok(entries), At::Log(seen, following)))
            }
            // Trimmed under who follows slowly; what the log let go stands in the archive.
            Err(PortError::Trimmed { .. }) => Some(self.read_archived(seen).await),
            Err(error) => Some((Err(error), At::Log(seen, following))),
        }
    }

    async fn read_archived(&self, after: Seq) -> (PortResult<Vec<Entry>>, At) {
        match self.read(after, ReadLimit::default()).await {
            Ok(entries) => {
                let seen = entries.last().map_or(after, |entry| entry.seq);
                (Ok(entries), At::Unknown(seen))
            }
            Err(error) => (Err(error), At::Ended),
        }
    }
}

#[async_trait]
impl RunLog for Whole {
    async fn append(&self, expected: Seq, drafts: Vec<Draft>) -> Result<Seq, AppendError> {
        self.log.append(expected, drafts).await
    }

    async fn read(&self, after: Seq, limit: ReadLimit) -> PortResult<Vec<Entry>> {
        match self.log.read(after, limit).await {
            Err(PortError::Trimmed { first, .. }) => self.archived(after, limit, first).await,
            read => read,
        }
    }

    async fn read_subject(&self, subject: &str, until: Seq) -> PortResult<Vec<Entry>> {
        let Base { first, .. } = self.log.base().await?;
        if first == Seq(1) {
            return self.log.read_subject(subject, until).await;
        }
        self.check_mark().await?;
        let (wanted, below) = (subject.to_owned(), until.min(Seq(first.0 - 1)));
        let mut found = self.archive(move |archive| archive.read_subject(&wanted, below)).await?;
        // Trimmed further meanwhile: what the log lacks by now was archived before.
        let held = self.log.read_subject(subject, until).await?;
        let Base { first: now, .. } = self.log.base().await?;
        if now > first {
            let (wanted, below) = (subject.to_owned(), until.min(Seq(now.0 - 1)));
            found = self.archive(move |archive| archive.read_subject(&wanted, below)).await?;
        }
        let last = found.last().map_or(Seq::ZERO, |entry| entry.seq);
        found.extend(held.into_iter().filter(|entry| entry.seq > last));
        Ok(found)
    }

    async fn last(&self) -> PortResult<Seq> {
        self.log.last().await
    }

    fn follow(&self, after: Seq) -> BoxStream<'static, PortResult<Vec<Entry>>> {
        let at = At::Unknown(after);
        stream::unfold((self.clone(), at), |(whole, at)| async move {
            let (read, at) = whole.next(at).await?;
            Some((read, (whole, at)))
        })
        .boxed()
    }

    /// Where the archive begins, if it reaches up to the log.
    async fn base(&self) -> PortResult<Base> {
        let base = self.log.base().await?;
        match self.span().await? {
            Some(Span { first, before, last, .. })
                if first < base.first && last.plus(1) >= base.first =>
            {
                Ok(Base { first, chain: before })
            }
            _ => Ok(base),
        }
    }

    async fn mark(&self) -> PortResult<Option<LogMark>> {
        self.log.mark().await
    }

    async fn trim(&self, below: Seq, chain: Chain) -> PortResult<Base> {
        self.log.trim(below, chain).await
    }

    fn max_payload(&self) -> usize {
        self.log.max_payload()
    }
}
