//! A double of the API server, as far as pods go: it lists in pages, watches from a version with bookmarks, forgets old versions
//! (410 Gone), refuses second names, quotas and what is no pod, and fails when it is told to.
use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, Query, Request, State},
    http::{Method, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::get,
};
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

/// What the next requests of a kind get in the place of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) method: Method,
    pub(crate) status: u16,
    pub(crate) retry_after: Option<u64>,
    pub(crate) message: String,
    pub(crate) times: u32,
}

#[derive(Debug, Default)]
struct Held {
    pods: BTreeMap<String, Value>,
    version: u64,
    made: u64,
    /// When the pods of tasks were made.
    made_at: BTreeMap<String, Instant>,
    /// What happened, oldest first.
    events: VecDeque<(u64, &'static str, Value)>,
    /// Versions up to this one are forgotten.
    forgotten: u64,
    faults: Vec<Fault>,
    down: bool,
    /// Every pod that is deleted stays until its kubelet lets it go, one that waits too.
    lingers: bool,
    /// The next requests to make a pod are carried out, and answered with 500.
    unanswered: u32,
    slow: Option<Duration>,
    /// Lists are older than this pod.
    unlisted: Option<String>,
    asked: BTreeMap<String, u64>,
}

/// The server; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    held: Arc<Mutex<Held>>,
    changed: watch::Sender<u64>,
    /// Ends all watches when it changes.
    cut: watch::Sender<u64>,
    pub(crate) address: SocketAddr,
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason, "message": message})
}

fn answer(code: u16, body: &Value) -> Response {
    let code = StatusCode::from_u16(code).unwrap();
    (code, [("content-type", "application/json")], body.to_string()).into_response()
}

fn refusal(code: u16, reason: &str, message: &str) -> Response {
    answer(code, &status(code, reason, message))
}

/// Whether labels are as a selector says: `a=b`, `a!=b`, joined by commas.
fn selects(selector: &str, pod: &Value) -> bool {
    selector.split(',').filter(|it| !it.is_empty()).all(|one| match one.split_once("!=") {
        Some((name, value)) => pod["metadata"]["labels"][name] != value,
        None => one
            .split_once('=')
            .is_some_and(|(name, value)| pod["metadata"]["labels"][name] == value),
    })
}

impl Server {
    /// Serves on a port of its own.
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            held: Arc::default(),
            changed: watch::channel(0).0,
            cut: watch::channel(0).0,
            address: listener.local_addr().unwrap(),
        };
        server.held.lock().version = 100;
        let router = Router::new()
            .route("/api/v1/namespaces/{namespace}/pods", get(list).post(create))
            .route(
                "/api/v1/namespaces/{namespace}/pods/{name}",
                get(read).delete(delete).patch(patch),
            )
            .layer(middleware::from_fn_with_state(server.clone(), faults))
            .with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        server
    }

    /// A client of it.
    pub(crate) fn client(&self) -> kube::Client {
        drop(rustls::crypto::ring::default_provider().install_default());
        let url = format!("http://{}", self.address).parse().unwrap();
        let mut config = kube::Config::new(url);
        config.default_retry = false;
        kube::Client::try_from(config).unwrap()
    }

    fn tell(&self, held: &mut Held, kind: &'static str, name: &str) {
        held.version += 1;
        let version = held.version;
        let pod = held.pods.get_mut(name).unwrap();
        pod["metadata"]["resourceVersion"] = version.to_string().into();
        let pod = pod.clone();
        held.events.push_back((version, kind, pod));
        self.changed.send_replace(version);
    }

    /// Changes a pod; nothing where it is gone.
    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut held = self.held.lock();
        if let Some(pod) = held.pods.get_mut(name) {
            change(pod);
            self.tell(&mut held, "MODIFIED", name);
        }
    }

    /// Sets what is said of a pod.
    pub(crate) fn set_status(&self, name: &str, status: Value) {
        self.change(name, |pod| pod["status"] = status);
    }

    /// Takes a pod away, as a kubelet does that has ended its containers.
    pub(crate) fn remove(&self, name: &str) {
        let mut held = self.held.lock();
        if held.pods.contains_key(name) {
            self.tell(&mut held, "DELETED", name);
            held.pods.remove(name);
        }
    }

    /// All pods.
    pub(crate) fn pods(&self) -> BTreeMap<String, Value> {
        self.held.lock().pods.clone()
    }

    /// How many pods were ever made.
    pub(crate) fn made(&self) -> u64 {
        self.held.lock().made
    }

    /// When the pods of tasks were made.
    pub(crate) fn made_at(&self) -> BTreeMap<String, Instant> {
        self.held.lock().made_at.clone()
    }

    /// How often a method was asked for.
    pub(crate) fn asked(&self, method: &str) -> u64 {
        self.held.lock().asked.get(method).copied().unwrap_or(0)
    }

    /// Has requests fail.
    pub(crate) fn fail(&self, fault: Fault) {
        self.held.lock().faults.push(fault);
    }

    /// Answers nothing, or again.
    pub(crate) fn set_down(&self, down: bool) {
        self.held.lock().down = down;
        self.cut_watches();
    }

    /// Has pods stay that are deleted.
    pub(crate) fn set_lingers(&self, lingers: bool) {
        self.held.lock().lingers = lingers;
    }

    /// Makes so many pods, and answers as if it had not.
    pub(crate) fn leave_unanswered(&self, times: u32) {
        self.held.lock().unanswered = times;
    }

    /// Takes its time for each answer.
    pub(crate) fn set_slow(&self, slow: Option<Duration>) {
        self.held.lock().slow = slow;
    }

    /// Has lists be of the moment before this pod was made.
    pub(crate) fn set_unlisted(&self, name: Option<String>) {
        self.held.lock().unlisted = name;
    }

    /// Ends all watches.
    pub(crate) fn cut_watches(&self) {
        self.cut.send_modify(|it| *it += 1);
    }

    /// Forgets what happened: a watch from an old version gets 410 Gone.
    pub(crate) fn forget(&self) {
        let mut held = self.held.lock();
        held.forgotten = held.version;
        held.events.clear();
    }

    /// Completes with the next change.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

async fn faults(State(server): State<Server>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let (slow, fault) = {
        let mut held = server.held.lock();
        *held.asked.entry(method.to_string()).or_default() += 1;
        let slow = held.slow;
        let down = held
            .down
            .then(|| refusal(503, "ServiceUnavailable", "the test took the API server away"));
        let fault = down.or_else(|| {
            let fault = held.faults.iter_mut().find(|it| it.method == method && it.times > 0)?;
            fault.times -= 1;
            let reason = match fault.status {
                403 => "Forbidden",
                429 => "TooManyRequests",
                _ => "InternalError",
            };
            let mut answer = refusal(fault.status, reason, &fault.message);
            if let Some(after) = fault.retry_after {
                answer.headers_mut().insert("retry-after", after.into());
            }
            Some(answer)
        });
        (slow, fault)
    };
    if let Some(slow) = slow {
        tokio::time::sleep(slow).await;
    }
    match fault {
        Some(fault) => fault,
        None => next.run(request).await,
    }
}

type Asked = Query<BTreeMap<String, String>>;

async fn list(State(server): State<Server>, Query(asked): Asked) -> Response {
    let selector = asked.get("labelSelector").cloned().unwrap_or_default();
    if asked.get("watch").is_some_and(|it| it == "true" || it == "1") {
        let from = asked.get("resourceVersion").and_then(|it| it.parse().ok()).unwrap_or(0);
        return watching(server, selector, from);
    }
    let held = server.held.lock();
    let limit: usize = asked.get("limit").and_then(|it| it.parse().ok()).unwrap_or(usize::MAX);
    let after = asked.get("continue").filter(|it| !it.is_empty());
    let mut found =
        held.pods.iter().filter(|(name, _)| held.unlisted.as_ref() != Some(*name)).filter(
            |(name, pod)| after.is_none_or(|after| *name > after) && selects(&selector, pod),
        );
    let page: Vec<_> = found.by_ref().take(limit).collect();
    let more =
        if found.next().is_some() { page.last().map(|(name, _)| (*name).clone()) } else { None };
    let items: Vec<&Value> = page.iter().map(|(_, pod)| *pod).collect();
    let list = json!({"kind": "PodList", "apiVersion": "v1", "items": items,
        "metadata": {"resourceVersion": held.version.to_string(), "continue": more.unwrap_or_default()}});
    answer(200, &list)
}

/// Events behind a version, as lines; a bookmark each second.
fn watching(server: Server, selector: String, from: u64) -> Response {
    let (mut changed, mut cut) = (server.changed.subscribe(), server.cut.subscribe());
    let (lines, body) = tokio::sync::mpsc::channel::<Result<Bytes, std::convert::Infallible>>(64);
    tokio::spawn(async move {
        let line = |kind: &str, object: &Value| {
            Ok(Bytes::from(format!("{}\n", json!({"type": kind, "object": object}))))
        };
        let mut at = from;
        loop {
            let (events, forgotten, version) = {
                let held = server.held.lock();
                let events: Vec<_> =
                    held.events.iter().filter(|(seq, ..)| *seq > at).cloned().collect();
                (events, held.forgotten, held.version)
            };
            if at < forgotten {
                let gone = status(
                    410,
                    "Expired",
                    &format!("too old resource version: {at} ({forgotten})"),
                );
                drop(lines.send(line("ERROR", &gone)).await);
                return;
            }
            for (seq, kind, pod) in events {
                at = seq;
                // What is selected no more is deleted, for who watches.
                let selected = selects(&selector, &pod);
                let kind = if selected { kind } else { "DELETED" };
                if lines.send(line(kind, &pod)).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                _ = changed.changed() => {}
                _ = cut.changed() => return,
                () = tokio::time::sleep(Duration::from_secs(1)) => {
                    let mark = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"resourceVersion": version.to_string()}});
                    if lines.send(line("BOOKMARK", &mark)).await.is_err() {
                        return;
                    }
                    at = at.max(version);
                }
            }
        }
    });
    let body = Body::from_stream(futures::stream::unfold(body, |mut body| async {
        body.recv().await.map(|line| (line, body))
    }));
    ([("content-type", "application/json")], body).into_response()
}

async fn create(
    State(server): State<Server>,
    Path(namespace): Path<String>,
    body: Bytes,
) -> Response {
    let Ok(mut pod) = serde_json::from_slice::<Value>(&body) else {
        return refusal(400, "BadRequest", "the body is no JSON");
    };
    if let Err(error) = serde_json::from_value::<Pod>(pod.clone()) {
        return refusal(
            400,
            "BadRequest",
            &format!("Pod in version \"v1\" cannot be handled as a Pod: {error}"),
        );
    }
    let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let image = pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
    if image.is_empty() || image.contains(' ') {
        let why = format!(
            "Pod \"{name}\" is invalid: spec.containers[0].image: Invalid value: {image:?}"
        );
        return refusal(422, "Invalid", &why);
    }
    let mut held = server.held.lock();
    if held.pods.contains_key(&name) {
        return refusal(409, "AlreadyExists", &format!("pods \"{name}\" already exists"));
    }
    held.made += 1;
    let task = pod["metadata"]["annotations"]["task_id"].as_str().unwrap_or_default().to_owned();
    held.made_at.insert(task, Instant::now());
    pod["metadata"]["uid"] = format!("uid-{}", held.made).into();
    pod["metadata"]["namespace"] = namespace.into();
    pod["metadata"]["creationTimestamp"] = now().to_string().into();
    pod["status"] = json!({"phase": "Pending"});
    held.pods.insert(name.clone(), pod);
    server.tell(&mut held, "ADDED", &name);
    if held.unanswered > 0 {
        held.unanswered -= 1;
        return refusal(500, "InternalError", "the answer was lost");
    }
    let pod = held.pods[&name].clone();
    answer(201, &pod)
}

async fn read(State(server): State<Server>, Path((_, name)): Path<(String, String)>) -> Response {
    match server.held.lock().pods.get(&name) {
        Some(pod) => answer(200, pod),
        None => refusal(404, "NotFound", &format!("pods \"{name}\" not found")),
    }
}

/// A pod that runs is marked, and gone once its kubelet has ended it; others are gone at once.
async fn delete(
    State(server): State<Server>,
    Path((_, name)): Path<(String, String)>,
    body: Bytes,
) -> Response {
    let options: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut held = server.held.lock();
    let lingers = held.lingers;
    let Some(pod) = held.pods.get_mut(&name) else {
        return refusal(404, "NotFound", &format!("pods \"{name}\" not found"));
    };
    let wanted = &options["preconditions"]["uid"];
    if wanted.is_string() && *wanted != pod["metadata"]["uid"] {
        return refusal(409, "Conflict", "the UID in the precondition does not match");
    }
    let stays = lingers || pod["status"]["phase"] == "Running";
    if stays && options["gracePeriodSeconds"] != 0 {
        pod["metadata"]["deletionTimestamp"] = now().to_string().into();
        server.tell(&mut held, "MODIFIED", &name);
        let pod = held.pods[&name].clone();
        return answer(200, &pod);
    }
    let pod = pod.clone();
    server.tell(&mut held, "DELETED", &name);
    held.pods.remove(&name);
    answer(200, &pod)
}

async fn patch(
    State(server): State<Server>,
    Path((_, name)): Path<(String, String)>,
    body: Bytes,
) -> Response {
    let patch: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut held = server.held.lock();
    let Some(pod) = held.pods.get_mut(&name) else {
        return refusal(404, "NotFound", &format!("pods \"{name}\" not found"));
    };
    for (label, value) in patch["metadata"]["labels"].as_object().into_iter().flatten() {
        pod["metadata"]["labels"][label] = value.clone();
    }
    server.tell(&mut held, "MODIFIED", &name);
    let pod = held.pods[&name].clone();
    answer(200, &pod)
}

fn now() -> dagbok_events::Timestamp {
    dagbok_runtime::Clock::system().now()
}
