//! The same seeded operations through memory and real servers: all give the same answers.
mod common;

use common::OnNats;
use dagbok_runlog::{
    Ports,
    conformance::{Fixture as _, differential},
    memory,
};
use dagbok_test_support::{SyncInterval, versions};

struct All {
    ports: Vec<(&'static str, Ports)>,
    _servers: Vec<OnNats>,
}

async fn all() -> All {
    let newest = OnNats::one(versions::NEWEST, SyncInterval::Default);
    let synced = OnNats::one(versions::NEWEST, SyncInterval::Always);
    let oldest = OnNats::one(versions::OLDEST, SyncInterval::Default);
    let ports = vec![
        ("memory", memory::ports()),
        ("newest", newest.ports().await),
        ("newest, synced", synced.ports().await),
        ("oldest", oldest.ports().await),
    ];
    All { ports, _servers: vec![newest, synced, oldest] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_agree() {
    for seed in 1..=4 {
        differential::log(seed, 120, &all().await.ports).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_agree() {
    for seed in 1..=4 {
        differential::queue(seed, 120, &all().await.ports).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn states_agree() {
    for seed in 1..=4 {
        differential::state(seed, 120, &all().await.ports).await;
    }
}
