//! The suite that every implementation passes, and the same operations through memory and disk.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
use async_trait::async_trait;
use dagbok_runlog::{
    Ports,
    conformance::{Fixture, differential},
    memory,
};
use dagbok_runlog_embedded::{Options, open};
use parking_lot::Mutex;
use tempfile::TempDir;

/// Small segments, so that every case of some length crosses from one to the next.
const OPTIONS: Options =
    Options { durability: dagbok_runlog_embedded::Durability::Fsync, segment_bytes: 4_096 };

#[derive(Default)]
struct Embedded {
    /// Kept until the case ends; the last is the one that is reopened.
    homes: Mutex<Vec<TempDir>>,
}

impl Embedded {
    fn open_last(&self) -> Ports {
        let homes = self.homes.lock();
        open(homes.last().unwrap().path(), OPTIONS).unwrap().0
    }
}

#[async_trait]
impl Fixture for Embedded {
    async fn ports(&self) -> Ports {
        self.homes.lock().push(tempfile::tempdir().unwrap());
        self.open_last()
    }

    async fn reopen(&self, ports: Ports) -> Ports {
        drop(ports);
        self.open_last()
    }

    async fn beside(&self, _ports: &Ports) -> Option<Ports> {
        None
    }

    fn keeps_queues_and_state(&self) -> bool {
        false
    }
}

async fn fixture() -> Embedded {
    Embedded::default()
}

dagbok_runlog::conformance_tests!(fixture);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_and_disk_give_the_same_answers() {
    for seed in 0..12 {
        let fixture = Embedded::default();
        let both = [("memory", memory::ports()), ("embedded", fixture.ports().await)];
        differential::log(seed, 250, &both).await;
        differential::queue(seed, 250, &both).await;
        differential::state(seed, 250, &both).await;
    }
}

/// Closing and opening in the middle of it changes no answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_and_a_disk_that_is_closed_and_opened_give_the_same_answers() {
    use dagbok_runlog::{ReadLimit, Seq};
    let fixture = Embedded::default();
    let memory = memory::ports();
    let mut embedded = fixture.ports().await;
    let mut chance = dagbok_runlog::conformance::seeded::Seeded::new(7);
    let mut last = Seq::ZERO;
    for _ in 0..30 {
        for _ in 0..chance.below(12) {
            let length = chance.size(2_000);
            let payload = bytes::Bytes::from(chance.bytes(length));
            let draft = dagbok_runlog::Draft { subject: "log.x".to_owned(), payload };
            let seq = memory.log.append(last, vec![draft.clone()]).await.unwrap();
            assert_eq!(embedded.log.append(last, vec![draft]).await.unwrap(), seq);
            last = seq;
        }
        embedded = fixture.reopen(embedded).await;
        assert_eq!(embedded.log.last().await.unwrap(), last);
        let all = ReadLimit { entries: usize::MAX, bytes: usize::MAX };
        let (one, other) = (memory.log.read(Seq::ZERO, all), embedded.log.read(Seq::ZERO, all));
        assert_eq!(one.await.unwrap(), other.await.unwrap());
    }
}
