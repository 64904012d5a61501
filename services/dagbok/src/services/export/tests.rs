//! Where an export goes on: after a restart, without an answer, with another log.
use std::sync::atomic::{AtomicBool, Ordering};

use dagbok_runlog::{
    AppendError, Base, Chain, Draft, Entry, LogMark, ReadLimit, memory::MemoryLog,
};
use futures::stream::BoxStream;

use super::*;

/// Exports nothing at all.
struct Few;

impl Exported for Few {
    type Fold = u32;
    type Record = ();
    type Item = u32;
    const WHAT: &'static str = "few";
    const FILE: &'static str = "few.fold";
    const VERSION: u32 = 7;
    const AT_ONCE: usize = 1;
    const STANDING_BY: usize = 1;

    fn hears(_: &str) -> bool {
        true
    }
    fn read(_: &[u8]) -> Option<()> {
        None
    }
    fn take(&self, _: &mut u32, (): &(), _: &mut Vec<u32>) {}
    async fn send(&self, _: &[u32]) -> Sent {
        Sent::Taken(0)
    }
    fn count(&self, _: u64, _: u64) {}
}

/// A log that does not answer while it is away.
#[derive(Debug, Default)]
struct Away {
    log: MemoryLog,
    is_away: AtomicBool,
}

impl Away {
    fn there(&self) -> PortResult<&MemoryLog> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(PortError::unavailable("log", "the broker is away"));
        }
        Ok(&self.log)
    }
}

#[async_trait::async_trait]
impl RunLog for Away {
    async fn append(&self, expected: Seq, drafts: Vec<Draft>) -> Result<Seq, AppendError> {
        self.log.append(expected, drafts).await
    }
    async fn read(&self, after: Seq, limit: ReadLimit) -> PortResult<Vec<Entry>> {
        self.there()?.read(after, limit).await
    }
    async fn last(&self) -> PortResult<Seq> {
        self.there()?.last().await
    }
    fn follow(&self, after: Seq) -> BoxStream<'static, PortResult<Vec<Entry>>> {
        self.log.follow(after)
    }
    async fn base(&self) -> PortResult<Base> {
        self.there()?.base().await
    }
    async fn mark(&self) -> PortResult<Option<LogMark>> {
        self.there()?.mark().await
    }
    async fn trim(&self, below: Seq, chain: Chain) -> PortResult<Base> {
        self.log.trim(below, chain).await
    }
    fn max_payload(&self) -> usize {
        self.log.max_payload()
    }
}

async fn log_of(payloads: &[&'static str]) -> Away {
    let away = Away::default();
    for (last, payload) in (0..).zip(payloads) {
        let draft = Draft { subject: "log.x".to_owned(), payload: (*payload).into() };
        away.log.append(Seq(last), vec![draft]).await.unwrap();
    }
    away
}

#[tokio::test]
async fn a_log_that_does_not_answer_costs_no_place_and_another_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(Few::FILE);
    let log = log_of(&["a", "b", "c"]).await;
    let position = Position::look(&log, Seq(2)).await.unwrap();
    let keep = |version| {
        let keep = Keep { version, position, from: 1, spans: Arc::new(0_u32) };
        fs::write(&file, rmp_serde::to_vec_named(&keep).unwrap()).unwrap();
    };
    keep(Few::VERSION);
    log.is_away.store(true, Ordering::Relaxed);
    assert!(begun::<Few>(&log, Some(&file)).await.is_err());
    log.is_away.store(false, Ordering::Relaxed);
    let (_, seen, from) = begun::<Few>(&log, Some(&file)).await.unwrap();
    assert_eq!((seen, from), (Seq(2), Seq(1)), "it goes on from there");
    // Another log, and another version: what comes from now on.
    let (_, seen, from) = begun::<Few>(&log_of(&["x", "y"]).await, Some(&file)).await.unwrap();
    assert_eq!((seen, from, file.exists()), (Seq(0), Seq(2), false));
    keep(Few::VERSION + 1);
    let (_, seen, from) = begun::<Few>(&log, Some(&file)).await.unwrap();
    assert_eq!((seen, from, file.exists()), (Seq(0), Seq(3), false));
}

/// Counts the records that it folds, and says how many it had when something followed from the time.
struct Timed;

impl Exported for Timed {
    type Fold = u32;
    type Record = ();
    type Item = u32;
    const WHAT: &'static str = "timed";
    const FILE: &'static str = "timed.fold";
    const VERSION: u32 = 1;
    const AT_ONCE: usize = 8;
    const STANDING_BY: usize = 8;

    fn hears(_: &str) -> bool {
        true
    }
    fn read(_: &[u8]) -> Option<()> {
        Some(())
    }
    fn take(&self, fold: &mut u32, (): &(), _: &mut Vec<u32>) {
        *fold += 1;
    }
    fn pass(fold: &mut u32, _: Timestamp, due: &mut Vec<u32>) {
        due.push(*fold);
    }
    async fn send(&self, _: &[u32]) -> Sent {
        Sent::Taken(0)
    }
    fn count(&self, _: u64, _: u64) {}
}

#[tokio::test]
async fn nothing_follows_from_the_time_while_the_fold_is_behind() {
    let log = Arc::new(log_of(&["begun", "over", "another"]).await);
    let of_log: Arc<dyn RunLog> = log.clone();
    let mut export = Export::begin(Timed, of_log, None).await.unwrap();
    export.pass().await;
    assert_eq!(export.end.map(|(last, _)| last), Some(Seq(3)));
    assert!(export.due.is_empty(), "it has nothing yet of what was over by then");
    let draft = Draft { subject: "log.x".to_owned(), payload: "later".into() };
    log.append(Seq(3), vec![draft]).await.unwrap();
    export.follow(Some(Seq(3))).await;
    export.pass().await;
    let due: Vec<u32> = export.due.iter().copied().collect();
    assert_eq!(due.len(), 1, "{due:?}");
    assert!(due[0] >= 3, "it has all that there was when it was looked");
    export.pass().await;
    assert_eq!(export.due.len(), 1, "once for each look");
}
