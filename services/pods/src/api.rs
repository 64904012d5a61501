//! What is asked of the API server besides watching, and what each of its answers means.
use std::time::Duration;

use http::{Method, Request, StatusCode};
use k8s_openapi::api::core::v1::Pod;
use kube::client::Body;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// By which a pod that is done with is passed over, where it is kept: Airflow's label.
pub(crate) const DONE: &str = "airflow_executor_done";

/// The pods of one namespace.
#[derive(Clone)]
pub(crate) struct PodApi {
    client: kube::Client,
    path: String,
}

impl std::fmt::Debug for PodApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PodApi").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What became of making a pod.
#[derive(Debug)]
pub(crate) enum Made {
    /// It is there.
    New,
    /// One of its name is there already.
    There,
    /// It will never be, as it is.
    Refused(String),
    /// It can't be now: what is lacking may come, as room in a quota.
    NotNow(String),
    /// The server has no time, or can't be reached: asked again after this, where it says.
    Unavailable(String, Option<Duration>),
}

/// Why nothing came of a request.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(crate) struct ApiError {
    /// The server's word, or the network's.
    pub(crate) why: String,
    /// When it wants to be asked again, where it says.
    pub(crate) after: Option<Duration>,
}

impl ApiError {
    fn new(why: String) -> Self {
        Self { why, after: None }
    }
}

struct Answer {
    status: StatusCode,
    retry_after: Option<Duration>,
    body: bytes::Bytes,
}

/// The server's own words about what it refuses.
#[derive(Default, Deserialize)]
struct Said {
    #[serde(default)]
    message: String,
    #[serde(default)]
    reason: String,
}

impl Answer {
    fn said(&self) -> String {
        let said: Said = serde_json::from_slice(&self.body).unwrap_or_default();
        let reason = if said.reason.is_empty() { self.status.to_string() } else { said.reason };
        if said.message.is_empty() { reason } else { format!("{reason}: {}", said.message) }
    }

    fn error(&self) -> ApiError {
        ApiError { why: self.said(), after: self.retry_after }
    }
}

impl PodApi {
    /// Of this namespace.
    pub(crate) fn new(client: kube::Client, namespace: &str) -> Self {
        Self { client, path: format!("/api/v1/namespaces/{namespace}/pods") }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: Vec<u8>,
    ) -> Result<Answer, ApiError> {
        let request = Request::builder().method(method).uri(path).header("content-type", kind);
        let request =
            request.body(Body::from(body)).map_err(|error| ApiError::new(error.to_string()))?;
        let asked = async {
            let response = self.client.send(request).await?;
            let status = response.status();
            let after = response.headers().get("retry-after").and_then(|it| it.to_str().ok());
            let retry_after = after.and_then(|it| it.parse().ok()).map(Duration::from_secs);
            let body = response.into_body().collect_bytes().await?;
            Ok::<_, kube::Error>(Answer { status, retry_after, body })
        };
        match timeout(PATIENCE, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(ApiError::new(whole(&error))),
            Err(_) => {
                Err(ApiError::new(format!("the API server did not answer within {PATIENCE:?}")))
            }
        }
    }

    /// Makes a pod.
    pub(crate) async fn make(&self, pod: &Value) -> Made {
        let body = serde_json::to_vec(pod).expect("a pod is plain JSON");
        let answer = match self.ask(Method::POST, &self.path, "application/json", body).await {
            Ok(answer) => answer,
            Err(error) => return Made::Unavailable(error.why, None),
        };
        match answer.status.as_u16() {
            200..=202 => Made::New,
            409 => Made::There,
            400 | 413 | 422 => Made::Refused(answer.said()),
            // A quota that is used up, rights that are not given, a namespace or service account that is not there.
            401 | 403 | 404 => Made::NotNow(answer.said()),
            _ => Made::Unavailable(answer.said(), answer.retry_after),
        }
    }

    /// A pod; `None` where there is none.
    pub(crate) async fn get(&self, name: &str) -> Result<Option<Pod>, ApiError> {
        let path = format!("{}/{name}", self.path);
        let answer = self.ask(Method::GET, &path, "application/json", Vec::new()).await?;
        match answer.status.as_u16() {
            200 => serde_json::from_slice(&answer.body)
                .map(Some)
                .map_err(|error| ApiError::new(error.to_string())),
            404 => Ok(None),
            _ => Err(answer.error()),
        }
    }

    /// Deletes a pod, if it is that one; one that is gone is deleted.
    pub(crate) async fn delete(&self, name: &str, uid: &str) -> Result<(), ApiError> {
        let options =
            json!({ "kind": "DeleteOptions", "apiVersion": "v1", "preconditions": { "uid": uid } });
        let path = format!("{}/{name}", self.path);
        let body = options.to_string().into_bytes();
        let answer = self.ask(Method::DELETE, &path, "application/json", body).await?;
        match answer.status.as_u16() {
            // Another has its name by now: of this one nothing is left.
            200..=202 | 404 | 409 => Ok(()),
            _ => Err(answer.error()),
        }
    }

    /// Marks a pod that is kept as done with; one that is gone needs no mark.
    pub(crate) async fn mark_done(&self, name: &str) -> Result<(), ApiError> {
        self.label(name, DONE, "True").await
    }

    /// Gives a pod a label; nothing where it is gone.
    pub(crate) async fn label(&self, name: &str, label: &str, value: &str) -> Result<(), ApiError> {
        let change = json!({ "metadata": { "labels": { label: value } } }).to_string();
        let path = format!("{}/{name}", self.path);
        let kind = "application/merge-patch+json";
        let answer = self.ask(Method::PATCH, &path, kind, change.into_bytes()).await?;
        match answer.status.as_u16() {
            200..=202 | 404 => Ok(()),
            _ => Err(answer.error()),
        }
    }
}

/// An error with those behind it.
fn whole(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !said.contains(&more) {
            said = format!("{said}: {more}");
        }
        source = error.source();
    }
    said
}
