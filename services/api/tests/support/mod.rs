//! What the tests share: a namespace in memory, a story told record by record, and requests without
//! sockets.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "each test binary uses its part of this"
)]
pub(crate) mod liars;
pub(crate) mod story;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{Request, StatusCode, header},
    response::Response,
};
use dagbok_api::{Alerts, ApiState, Patience, model::ReadModel, router};
use dagbok_runlog::{Ports, RunLog, Seq, memory};
use dagbok_runtime::{Clock, Shutdown};
use serde_json::Value;
use story::Story;
use tower::ServiceExt as _;

pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Enough for what is there, and little for what is not.
pub(crate) const PATIENCE: Patience = Patience {
    answer: Duration::from_millis(300),
    model: Duration::from_secs(5),
    request: Duration::from_secs(10),
    heartbeat: Duration::from_millis(200),
};

/// A namespace with its API.
pub(crate) struct World {
    pub(crate) ports: Ports,
    pub(crate) story: Story,
    pub(crate) model: ReadModel,
    pub(crate) shutdown: Shutdown,
    pub(crate) app: Router,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(PATIENCE).await
    }

    pub(crate) async fn with(patience: Patience) -> Self {
        Self::on(memory::ports(), patience).await
    }

    pub(crate) async fn on(ports: Ports, patience: Patience) -> Self {
        Self::built(ports, patience, Clock::system(), None).await
    }

    /// At a time of the test's own, with a log of alerts where it has one.
    pub(crate) async fn built(
        ports: Ports,
        patience: Patience,
        clock: Clock,
        alerts: Option<Arc<dyn RunLog>>,
    ) -> Self {
        let shutdown = Shutdown::new();
        let model = ReadModel::open(None).unwrap();
        let state = ApiState::new(
            ports.clone(),
            model.clone(),
            clock,
            shutdown.clone(),
            patience,
            dagbok_api::retention::Rules::default(),
        )
        .await
        .unwrap();
        if let Some(log) = alerts {
            let alerts = Alerts::follow(log, &shutdown);
            assert!(alerts.wait_for(Seq::ZERO, SOON).await);
            assert!(state.alerts.set(alerts).is_ok());
        }
        let (kept, log, stop) = (model.clone(), Arc::clone(&ports.log), shutdown.clone());
        shutdown.spawn(async move { kept.keep(log, &stop).await.unwrap() });
        let story = Story::on(Arc::clone(&ports.log));
        Self { ports, story, model, shutdown, app: router(state) }
    }

    /// Waits until the rows hold what the story says.
    pub(crate) async fn settled(&self) {
        assert!(self.model.progress().wait_for(self.story.last(), SOON).await);
    }

    pub(crate) async fn send(&self, mut request: Request<Body>) -> Response {
        let peer: SocketAddr = "127.0.0.1:9".parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(peer));
        let sent = self.app.clone().oneshot(request);
        tokio::time::timeout(SOON, sent).await.expect("an answer in time").expect("infallible")
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        json_of(self.get_with(path, &[]).await).await
    }

    /// The answer to a request that must succeed.
    pub(crate) async fn ok(&self, path: &str) -> Value {
        let (status, value) = self.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {value}");
        value
    }

    pub(crate) async fn body(&self, method: &str, path: &str, body: &Value) -> (StatusCode, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-dagbok-user", "ada")
            .body(Body::from(body.to_string()))
            .unwrap();
        json_of(self.send(request).await).await
    }
}

pub(crate) async fn json_of(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let text = text_of(response).await;
    (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

pub(crate) async fn text_of(response: Response) -> String {
    let read = to_bytes(response.into_body(), 64 << 20);
    let bytes = tokio::time::timeout(SOON, read).await.expect("the body ends in time").unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Lines of JSON, blank ones left out.
pub(crate) async fn lines_of(response: Response) -> Vec<Value> {
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/x-ndjson");
    let text = text_of(response).await;
    text.lines()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The values under `field` of each in the list under `list`.
pub(crate) fn each<'a>(value: &'a Value, list: &str, field: &str) -> Vec<&'a str> {
    value[list]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one[field].as_str().unwrap_or("null"))
        .collect()
}
