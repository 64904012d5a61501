//! The service: the read model kept up to date, and the API on a socket.
mod connections;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use axum::{Router, middleware};
use dagbok_projection::FollowError;
use dagbok_protocol::names;
use dagbok_runlog::{PortError, Ports, RunLog};
use dagbok_runtime::{Clock, Shutdown};
use dagbok_secrets::KeyFile;
use futures::{StreamExt as _, stream};
use thiserror::Error;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    alerts::Alerts,
    api::{ApiState, CountsQueues, Names, Past, Patience, guard, router},
    model::{ModelError, ReadModel},
    questions,
    retention::{Retention, Rules},
};

/// Connections at once, unless set otherwise.
const CONNECTIONS: usize = 256;

/// How the service is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the read model may lie; without, it is thrown away with the process.
    pub home: Option<PathBuf>,
    /// How long the API waits for others.
    pub patience: Patience,
    /// The names it goes by.
    pub names: Names,
    /// Connections at once; one more closes that which has been silent for longest.
    pub connections: usize,
    /// A log that ends before the read model does is taken as it is, and the model is built anew.
    pub accept_shorter_log: bool,
    /// What is kept, and who looks after it; without, all is.
    pub retention: Option<Retention>,
    /// Who answers about the past; without, nobody does.
    pub past: Option<Arc<dyn Past>>,
    /// Who counts what waits on queues; without, nobody does.
    pub queues: Option<Arc<dyn CountsQueues>>,
    /// The log of alerts; without, there are none.
    pub alerts: Option<Arc<dyn RunLog>>,
    /// Where the master key of variables and connections lies; without, there are none.
    pub secrets: Option<KeyFile>,
}

impl Settings {
    /// Listening on `listen`, with nothing kept.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            home: None,
            patience: Patience::default(),
            names: Names::default(),
            connections: CONNECTIONS,
            accept_shorter_log: false,
            retention: None,
            past: None,
            queues: None,
            alerts: None,
            secrets: None,
        }
    }
}

/// The service could not start.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The address could not be had.
    #[error("can't listen on {listen}: {source}; choose another address with --listen")]
    Listen {
        /// Which.
        listen: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The read model could not be opened.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A primitive is not there.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The log has lost records that the read model knows of.
    #[error(transparent)]
    Log(#[from] FollowError),
}

/// A service under way.
#[derive(Debug)]
pub struct Served {
    /// Where it listens.
    pub address: SocketAddr,
    /// The rows, for whoever else wants to read them.
    pub model: ReadModel,
    /// Ends once the shutdown has started and the connections are closed.
    pub task: JoinHandle<()>,
}

/// The folder of the read model within a home.
pub fn model_dir(home: &std::path::Path) -> PathBuf {
    home.join("read-model")
}

/// Starts the service and returns once it listens: before the read model has caught up. `more` is
/// merged into the API's routes.
pub async fn serve(
    ports: Ports,
    settings: Settings,
    clock: Clock,
    more: Router,
    shutdown: &Shutdown,
) -> Result<Served, ServeError> {
    let Settings {
        listen,
        home,
        patience,
        names,
        connections,
        accept_shorter_log,
        retention,
        past,
        queues,
        alerts,
        secrets,
    } = settings;
    let listener =
        TcpListener::bind(listen).await.map_err(|source| ServeError::Listen { listen, source })?;
    let address = listener.local_addr().map_err(|source| ServeError::Listen { listen, source })?;
    let dir = home.as_deref().map(model_dir);
    let opened = tokio::task::spawn_blocking(move || ReadModel::open(dir.as_deref())).await;
    let model = opened.map_err(|panic| PortError::unavailable("state", panic))??;
    let log = Arc::clone(&ports.log);
    if accept_shorter_log {
        model.accept_shorter_log();
    }
    model.check_log(&*log).await?;
    let rules = retention.map(|retention| retention.rules).unwrap_or_default();
    let stop = shutdown.clone();
    let state = ApiState::new(ports, model.clone(), clock, stop, patience, rules).await?;
    if let Some(queues) = queues {
        state.queues.set(queues).expect("a new state has none");
    }
    if let Some(past) = past {
        state.past.set(past).expect("a new state has none");
    }
    if let Some(log) = alerts {
        let alerts = Alerts::follow(log, shutdown);
        state.alerts.set(alerts).expect("a new state has none");
    }
    if let Some(secrets) = secrets {
        state.secrets.set(secrets).expect("a new state has none");
    }
    if let Some(retention) = retention {
        shutdown.spawn(state.keeper().run(retention, shutdown.clone()));
    }

    keep_on(&model, log, shutdown);
    shutdown.spawn(questions::answer(state.clone(), None, shutdown.clone()));
    let app = router(state).merge(more).layer(middleware::from_fn_with_state(names, guard));
    let ended = shutdown.clone();
    let task = shutdown.spawn(connections::take(listener, app, connections, ended));
    tracing::info!(%address, "the API listens");
    Ok(Served { address, model, task })
}

/// Keeps the rows up to date until `shutdown` starts.
fn keep_on(model: &ReadModel, log: Arc<dyn RunLog>, shutdown: &Shutdown) {
    let (kept, stop) = (model.clone(), shutdown.clone());
    shutdown.spawn(async move {
        if let Err(error) = kept.keep_on(log, &stop).await {
            tracing::error!(%error, "the read model is out of date from here on");
        }
    });
}

/// Answers tasks alone, with no API on a socket: from rows that are made when the first one asks, and thrown away.
pub async fn answer_tasks(
    ports: Ports,
    clock: Clock,
    secrets: KeyFile,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    let mut asked = ports.signals.subscribe(names::QUESTIONS).await?;
    let first = tokio::select! {
        first = asked.next() => first,
        () = shutdown.started() => return Ok(()),
    };
    let opened = tokio::task::spawn_blocking(|| ReadModel::open(None)).await;
    let model = opened.map_err(|panic| PortError::unavailable("state", panic))??;
    let (log, patience) = (Arc::clone(&ports.log), Patience::default());
    let stop = shutdown.clone();
    let state =
        ApiState::new(ports, model.clone(), clock, stop, patience, Rules::default()).await?;
    state.secrets.set(secrets).expect("a new state has none");
    keep_on(&model, log, &shutdown);
    let heard = stream::iter(first).chain(asked).boxed();
    questions::answer(state, Some(heard), shutdown).await;
    Ok(())
}
