//! The API as commands ask it: of a running installation, or of a stopped one's log by an API that is
//! started in this process and serves nobody else.
mod lines;
mod local;

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode, header::ACCEPT};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use url::Url;

pub(crate) use lines::Lines;

use crate::{codes::Code, context::Context, failure::Failure};

fn read_only() -> Failure {
    Failure::new(Code::Refused, "a stopped installation's log can only be read")
        .next("start it with `dagbok standalone`, and name its API with --api")
}

/// Names who asks; the API takes it from this machine's callers only.
const USER_HEADER: &str = "x-dagbok-user";
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take that is no stream: the API's own limit and some.
const ANSWER: Duration = Duration::from_secs(90);

/// Entries of a list that are asked for at once.
const PAGE: usize = 1_000;

/// An API to ask.
#[derive(Debug)]
pub(crate) struct Api {
    base: Url,
    http: reqwest::Client,
    /// Whether it is of this process, so that it can only be read.
    local: Option<local::Local>,
}

impl Api {
    /// The API that the command line names.
    pub(crate) async fn of(context: &Context) -> Result<Self, Failure> {
        match context.home_to_read() {
            Some(home) => {
                let local = local::Local::start(&home, &context.config).await?;
                Self::new(&local.url(), Some(local))
            }
            None => Self::new(&context.api(), None),
        }
    }

    /// The API of a running installation, also where a folder is named.
    pub(crate) fn of_running(context: &Context) -> Result<Self, Failure> {
        Self::new(&context.api(), None)
    }

    fn new(base: &str, local: Option<local::Local>) -> Result<Self, Failure> {
        let no_url = |why: &dyn std::fmt::Display| {
            Failure::new(Code::Usage, format!("`{base}` is no address of an API: {why}"))
                .next("write it as `http://127.0.0.1:8793`")
        };
        let url = Url::parse(base).map_err(|error| no_url(&error))?;
        if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
            return Err(no_url(&"it must begin with http:// or https://"));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .user_agent(concat!("dagbok/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Failure::from_error(Code::Bug, &error))?;
        Ok(Self { base: url, http, local })
    }

    /// All entries of a list, in pages; `part` says what a page has, and how many there are.
    pub(crate) async fn all<C: DeserializeOwned, T>(
        &self,
        path: &[&str],
        part: impl Fn(C) -> (Vec<T>, usize),
    ) -> Result<Vec<T>, Failure> {
        self.all_of(path, &[], part).await
    }

    /// All entries that are wanted of a list, as [`Api::all`].
    pub(crate) async fn all_of<C: DeserializeOwned, T>(
        &self,
        path: &[&str],
        wanted: &[(&'static str, String)],
        part: impl Fn(C) -> (Vec<T>, usize),
    ) -> Result<Vec<T>, Failure> {
        let mut found = Vec::new();
        loop {
            let mut query = wanted.to_vec();
            query.extend([("limit", PAGE.to_string()), ("offset", found.len().to_string())]);
            let (page, total) = part(self.get(path, &query).await?);
            let is_last = page.is_empty();
            found.extend(page);
            if is_last || found.len() >= total {
                return Ok(found);
            }
        }
    }

    /// Whether it reads a stopped installation's log.
    pub(crate) fn is_read_only(&self) -> bool {
        self.local.is_some()
    }

    /// A request to `path`, whose parts may have any characters, but for the two names that addresses drop.
    fn request(&self, method: Method, path: &[&str]) -> Result<RequestBuilder, Failure> {
        if let Some(part) = path.iter().find(|part| matches!(**part, "" | "." | "..")) {
            let what = format!("nothing is called `{part}`");
            return Err(Failure::new(Code::NotFound, what));
        }
        let mut url = self.base.clone();
        url.path_segments_mut()
            .expect("checked to be a base")
            .pop_if_empty()
            .extend(["api", "v2"])
            .extend(path);
        Ok(self.http.request(method, url))
    }

    /// Asks for a document.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<T, Failure> {
        let request = self.request(Method::GET, path)?.query(query).timeout(ANSWER);
        let body = self.respond(request).await?.bytes().await;
        let body = body.map_err(|error| self.lost(&error))?;
        serde_json::from_slice(&body).map_err(|error| unreadable(&error))
    }

    /// Sends a document and takes the answer, with whether it is only accepted yet (202).
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<Sent<T>, Failure> {
        self.ask(self.request(method, path)?.json(body)).await
    }

    /// Asks for a change that needs no document, and takes the answer as [`Api::send`] does.
    pub(crate) async fn put<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Sent<T>, Failure> {
        self.ask(self.request(Method::PUT, path)?.query(query)).await
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<Sent<T>, Failure> {
        if self.local.is_some() {
            return Err(read_only());
        }
        let request = Self::by_user(request.timeout(ANSWER));
        let response = self.respond(request).await?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| self.lost(&error))?;
        if status == StatusCode::ACCEPTED {
            let answer: Value =
                serde_json::from_slice(&body).map_err(|error| unreadable(&error))?;
            return Ok(Sent::Accepted(answer.get("detail").cloned().unwrap_or(answer)));
        }
        serde_json::from_slice(&body).map(Sent::Done).map_err(|error| unreadable(&error))
    }

    /// Asks for something to be gone.
    pub(crate) async fn delete(&self, path: &[&str]) -> Result<(), Failure> {
        if self.local.is_some() {
            return Err(read_only());
        }
        self.respond(Self::by_user(self.request(Method::DELETE, path)?.timeout(ANSWER))).await?;
        Ok(())
    }

    /// Asks for something to be gone; where only a part of it went so far, what is said of the rest.
    pub(crate) async fn delete_some(&self, path: &[&str]) -> Result<Option<Value>, Failure> {
        if self.local.is_some() {
            return Err(read_only());
        }
        let request = Self::by_user(self.request(Method::DELETE, path)?.timeout(ANSWER));
        let response = self.respond(request).await?;
        if response.status() != StatusCode::ACCEPTED {
            return Ok(None);
        }
        let body = response.bytes().await.map_err(|error| self.lost(&error))?;
        let answer: Value = serde_json::from_slice(&body).map_err(|error| unreadable(&error))?;
        Ok(Some(answer.get("detail").cloned().unwrap_or(answer)))
    }

    /// Says who asks.
    fn by_user(request: RequestBuilder) -> RequestBuilder {
        match user() {
            Some(user) => request.header(USER_HEADER, user),
            None => request,
        }
    }

    /// Asks for lines of JSON.
    pub(crate) async fn lines(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Lines, Failure> {
        let request =
            self.request(Method::GET, path)?.query(query).header(ACCEPT, "application/x-ndjson");
        Ok(Lines::new(self.respond(request).await?, self.shown()))
    }

    /// Asks for a text that is no part of the API, as `metrics`.
    pub(crate) async fn text(&self, path: &str) -> Result<String, Failure> {
        let response = self.respond(self.http.get(self.at(&[path])).timeout(ANSWER)).await?;
        response.text().await.map_err(|error| self.lost(&error))
    }

    /// Asks for a document that is no part of the API, for as long as it takes.
    pub(crate) async fn beside<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<T, Failure> {
        let response = self.respond(self.http.get(self.at(path)).query(query)).await?;
        let body = response.bytes().await.map_err(|error| self.lost(&error))?;
        serde_json::from_slice(&body).map_err(|error| unreadable(&error))
    }

    fn at(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        url.path_segments_mut().expect("checked to be a base").pop_if_empty().extend(path);
        url
    }

    async fn respond(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.lost(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.unwrap_or_default();
        Err(self.refusal(status, &body))
    }

    fn lost(&self, error: &reqwest::Error) -> Failure {
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let why = if error.is_timeout() {
            "it did not answer in time".to_owned()
        } else {
            cause.to_string()
        };
        Failure::new(Code::ApiUnreachable, format!("no API answers at {}: {why}", self.shown()))
            .next("start one with `dagbok standalone --dags DIR`, or name another with --api or DAGBOK_API")
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> Failure {
        let detail = serde_json::from_slice::<Value>(body).ok();
        let Some(detail) = detail.as_ref().and_then(|body| body.get("detail")) else {
            let what = format!("{} answered {status}, and not as Dagbok does", self.shown());
            return Failure::new(Code::ApiFailed, what).next("check the address");
        };
        let code = match status {
            StatusCode::NOT_FOUND => Code::NotFound,
            StatusCode::GATEWAY_TIMEOUT => Code::SchedulerSilent,
            status if status.is_server_error() => Code::ApiFailed,
            _ => Code::Refused,
        };
        Failure::new(code, detail_text(detail))
    }

    /// The address, for people: without a password.
    pub(crate) fn shown(&self) -> String {
        let mut shown = self.base.clone();
        // Only an address without a host refuses, and that can't have a password.
        let _ = shown.set_username("").and_then(|()| shown.set_password(None));
        shown.to_string()
    }
}

/// What became of something that was sent.
#[derive(Debug)]
pub(crate) enum Sent<T> {
    /// Done, and here it is.
    Done(T),
    /// Done, and not to be seen yet: `dag_run_id`, `seq`, `message`.
    Accepted(Value),
}

/// Who asks, for the log: as the machine calls them; `None` where that can't stand in a header.
fn user() -> Option<String> {
    let visible = |name: &String| {
        (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
    };
    std::env::var("USER").ok().filter(visible)
}

fn unreadable(error: &serde_json::Error) -> Failure {
    Failure::new(Code::ApiFailed, format!("the API's answer can't be read: {error}"))
        .next("check that it is of this version with `dagbok version`")
}

/// A `detail` as people read it: a text, an object with a message, or a list of what is wrong.
fn detail_text(detail: &Value) -> String {
    match detail {
        Value::String(text) => text.clone(),
        Value::Array(problems) => {
            let one = |problem: &Value| {
                let place = problem.get("loc").and_then(Value::as_array).into_iter().flatten();
                // The first part is `body`, `query` or `path`: of the request, not of what was asked.
                let place: Vec<_> = place.filter_map(Value::as_str).skip(1).collect();
                let what = problem.get("msg").and_then(Value::as_str).unwrap_or("is wrong");
                if place.is_empty() {
                    what.to_owned()
                } else {
                    format!("{}: {what}", place.join("."))
                }
            };
            problems.iter().map(one).collect::<Vec<_>>().join("; ")
        }
        other => match other.get("message").or_else(|| other.get("reason")).and_then(Value::as_str)
        {
            Some(text) => text.to_owned(),
            None => other.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn details_are_read_in_all_their_shapes() {
        assert_eq!(detail_text(&json!("no DAG")), "no DAG");
        assert_eq!(
            detail_text(&json!({"reason": "taken", "message": "the id is taken"})),
            "the id is taken"
        );
        let list = json!([{"loc": ["body", "conf"], "msg": "must be an object"}]);
        assert_eq!(detail_text(&list), "conf: must be an object");
        assert_eq!(
            detail_text(&json!([{"loc": ["body"], "msg": "the date is taken"}])),
            "the date is taken"
        );
    }
}
