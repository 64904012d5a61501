//! Namespaces on real servers, for the suites.
#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use dagbok_runlog::{Ports, conformance::Fixture};
use dagbok_runlog_jetstream::{ConnectSettings, Connection, connect};
use dagbok_test_support::{NatsCluster, NatsServer, SyncInterval};

/// Gives every case a namespace of its own on one server.
pub struct OnNats {
    pub urls: Vec<String>,
    pub replicas: usize,
    count: AtomicU64,
    /// What is kept running for as long as the fixture is used.
    _server: Option<NatsServer>,
    _cluster: Option<NatsCluster>,
}

impl OnNats {
    pub fn one(version: &str, sync: SyncInterval) -> Self {
        let server = NatsServer::start(version, sync);
        Self {
            urls: vec![server.url()],
            replicas: 1,
            count: AtomicU64::new(0),
            _server: Some(server),
            _cluster: None,
        }
    }

    pub fn three(version: &str) -> Self {
        let cluster = NatsCluster::start(version, SyncInterval::Default);
        Self {
            urls: cluster.urls(),
            replicas: 3,
            count: AtomicU64::new(0),
            _server: None,
            _cluster: Some(cluster),
        }
    }

    fn settings(&self, namespace: String) -> ConnectSettings {
        ConnectSettings {
            urls: self.urls.clone(),
            replicas: Some(self.replicas),
            ..ConnectSettings::new("", namespace)
        }
    }

    async fn open(&self, number: u64) -> Ports {
        let settings = self.settings(format!("case-{number}"));
        // A cluster greets before it has elected who makes streams.
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
        loop {
            match connect(settings.clone()).await {
                Ok((ports, _)) => return ports,
                Err(error) if tokio::time::Instant::now() > deadline => panic!("{error}"),
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
    }

    fn number(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Fixture for OnNats {
    async fn ports(&self) -> Ports {
        let number = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        self.open(number).await
    }

    async fn reopen(&self, ports: Ports) -> Ports {
        drop(ports);
        self.open(self.number()).await
    }

    async fn beside(&self, _: &Ports) -> Option<Ports> {
        Some(self.open(self.number()).await)
    }
}

/// A server and one connection to it.
pub async fn on(server: &NatsServer, namespace: &str) -> (Ports, Connection) {
    connect(ConnectSettings::new(server.url(), namespace)).await.expect("the server takes us")
}
