//! Three nats-servers that keep streams together.
use crate::nats::{NatsOptions, NatsServer, SyncInterval, free_port};

/// A cluster of three on loopback.
#[derive(Debug)]
pub struct NatsCluster {
    /// The servers; each may be stopped and started on its own.
    pub servers: Vec<NatsServer>,
}

impl NatsCluster {
    /// Starts three servers of `version`. They greet when this returns, and may still be electing.
    pub fn start(version: &str, sync: SyncInterval) -> Self {
        let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let routes: Vec<String> =
            ports.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let servers = ports.iter().enumerate().map(|(number, port)| {
            let routes = routes.join(", ");
            let extra = format!(
                "server_name: n{number}\ncluster {{\n  name: dagbok-tests\n  \
                 listen: 127.0.0.1:{port}\n  routes: [{routes}]\n}}\n"
            );
            NatsServer::start_with(&NatsOptions { sync, extra, ..NatsOptions::new(version) })
        });
        Self { servers: servers.collect() }
    }

    /// Where clients connect.
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(NatsServer::url).collect()
    }
}
