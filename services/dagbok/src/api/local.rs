//! An API in this process over an installation's log that is only read.
use std::{net::SocketAddr, path::Path, sync::Arc};

use axum::Router;
use dagbok_api::{Settings, serve};
use dagbok_config::Config;
use dagbok_runtime::{Clock, Shutdown};

use crate::{codes::Code, failure::Failure, wire};

/// Serves until it is dropped.
#[derive(Debug)]
pub(crate) struct Local {
    address: SocketAddr,
    shutdown: Shutdown,
}

impl Local {
    /// Opens the log in `home` and folds it into rows that are thrown away.
    pub(crate) async fn start(home: &Path, config: &Config) -> Result<Self, Failure> {
        let ports = wire::read_only(home, config).await?;
        let shutdown = Shutdown::new();
        let signals = Arc::clone(&ports.signals);
        let (executor, ended) = (home.join(wire::EXECUTOR), shutdown.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = ended.started() => {}
                // Signals in memory can be listened for.
                _ = dagbok_executor::answer_for_executors(&executor, signals) => {}
            }
        });
        let mut settings = Settings::new(SocketAddr::from(([127, 0, 0, 1], 0)));
        // A long log takes its time to fold, and nobody else waits.
        settings.patience.model = std::time::Duration::from_mins(5);
        settings.patience.request = std::time::Duration::from_mins(5);
        // Nobody decides: the log itself is asked.
        settings.patience.answer = std::time::Duration::from_millis(100);
        settings.past = Some(crate::services::past(&ports, &Clock::system()));
        settings.secrets = Some(crate::services::key_file(config, home));
        settings.alerts = wire::alert_log_read_only(home).await;
        let served = serve(ports, settings, Clock::system(), Router::new(), &shutdown).await;
        let served = served.map_err(|error| Failure::from_error(Code::HomeUnusable, &error))?;
        Ok(Self { address: served.address, shutdown })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.shutdown.start();
    }
}
