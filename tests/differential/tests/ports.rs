//! The same seeded operations through memory, the embedded log and real servers: all give the same
//! answers, whatever lies below.
use dagbok_runlog::{Ports, conformance::differential, memory};
use dagbok_runlog_embedded::Options;
use dagbok_runlog_jetstream::{ConnectSettings, connect};
use dagbok_test_support::{NatsServer, SyncInterval, versions};
use tempfile::TempDir;

const SEEDS: std::ops::RangeInclusive<u64> = 1..=4;
const STEPS: usize = 120;

/// Every implementation, each empty, memory first; and what they stand on.
struct All {
    ports: Vec<(&'static str, Ports)>,
    _home: TempDir,
    _servers: [NatsServer; 3],
}

impl All {
    async fn fresh() -> Self {
        let home = tempfile::tempdir().expect("there is room for a folder");
        let (embedded, _) = dagbok_runlog_embedded::open(home.path(), Options::default())
            .expect("an empty folder is an empty log");
        let servers = [
            NatsServer::start(versions::NEWEST, SyncInterval::Default),
            NatsServer::start(versions::NEWEST, SyncInterval::Always),
            NatsServer::start(versions::OLDEST, SyncInterval::Default),
        ];
        let mut ports = vec![("memory", memory::ports()), ("embedded", embedded)];
        for (name, server) in ["newest", "newest, synced", "oldest"].into_iter().zip(&servers) {
            let settings = ConnectSettings::new(server.url(), "differential");
            ports.push((name, connect(settings).await.expect("the server takes us").0));
        }
        Self { ports, _home: home, _servers: servers }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_agree() {
    for seed in SEEDS {
        differential::log(seed, STEPS, &All::fresh().await.ports).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_agree() {
    for seed in SEEDS {
        differential::queue(seed, STEPS, &All::fresh().await.ports).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn states_agree() {
    for seed in SEEDS {
        differential::state(seed, STEPS, &All::fresh().await.ports).await;
    }
}
