//! Lineage: run events of OpenLineage, posted, written to a file, or logged.
use std::{
    convert::Infallible,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use dagbok_config::{Config, LineageCompression, LineageTransport};
use dagbok_events::{Record, decode};
use dagbok_lineage::{Event, Lineage, Names};
use dagbok_runlog::RunLog;
use dagbok_runtime::Shutdown;
use dagbok_telemetry::{Sent, metrics};
use reqwest::{
    Client, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue},
    redirect::Policy,
};

use super::export::{Exported, export};
use crate::{codes::Code, failure::Failure};

/// Where events go.
enum Transport {
    Http { client: Client, to: Url, headers: HeaderMap, gzip: bool },
    File { path: PathBuf, append: bool },
    Console,
}

/// Who sends events, by the configuration.
pub(crate) struct LineageSender {
    transport: Transport,
    names: Names,
}

/// Whether somebody wants lineage: tries say then what their operators read and wrote.
pub(crate) const fn is_wanted(config: &Config) -> bool {
    let of = &config.lineage;
    let named = of.transport.is_some() || of.url.is_some() || of.file.is_some();
    named && !of.disabled
}

/// The sender that the configuration names; what is wrong with it is said before anything runs.
pub(crate) fn lineage(config: &Config) -> Result<Option<LineageSender>, Failure> {
    let of = &config.lineage;
    if of.disabled {
        return Ok(None);
    }
    let wrong = |what: String| {
        Failure::new(Code::Config, what)
            .next("mend `[lineage]` in dagbok.toml, or the variable that stands for it; `dagbok config show` names it")
    };
    if let Some(fault) = &of.fault {
        return Err(Failure::new(Code::Config, fault)
            .next("lineage goes by that variable: mend it or take it away, or set OPENLINEAGE_DISABLED=true"));
    }
    let transport = match (of.transport, &of.url, &of.file) {
        (Some(transport), _, _) => transport,
        (None, None, None) => return Ok(None),
        (None, Some(_), None) => LineageTransport::Http,
        (None, None, Some(_)) => LineageTransport::File,
        (None, Some(_), Some(_)) => {
            let what = "both `lineage.url` and `lineage.file` are said; `lineage.transport` says which counts";
            return Err(wrong(what.to_owned()));
        }
    };
    if of.namespace.is_empty() {
        return Err(wrong("`lineage.namespace` is empty".to_owned()));
    }
    let transport = match transport {
        LineageTransport::Http => http(config).map_err(wrong)?,
        LineageTransport::File => {
            let path = of
                .file
                .clone()
                .ok_or_else(|| wrong("the transport `file` needs `lineage.file`".to_owned()))?;
            may_write(&path, of.append).map_err(|error| {
                wrong(format!("events can't be written to `{}`: {error}", path.display()))
            })?;
            Transport::File { path, append: of.append }
        }
        LineageTransport::Console => Transport::Console,
    };
    let names =
        Names { namespace: of.namespace.clone(), version: env!("CARGO_PKG_VERSION").to_owned() };
    Ok(Some(LineageSender { transport, names }))
}

fn http(config: &Config) -> Result<Transport, String> {
    let of = &config.lineage;
    let Some(url) = &of.url else {
        return Err("the transport `http` needs `lineage.url`".to_owned());
    };
    let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let base = parsed.filter(Url::has_host).ok_or_else(|| {
        // Who logs in there may stand in it.
        let shown = url.rsplit_once('@').map_or(url.as_str(), |(_, host)| host);
        format!("`lineage.url` begins with http:// or https:// and has a host: `{shown}` does not")
    })?;
    let to = base
        .join(&of.endpoint)
        .ok()
        .filter(|to| to.origin() == base.origin())
        .ok_or_else(|| format!("`lineage.endpoint` is a path: `{}` is none", of.endpoint))?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(key) = of.api_key.as_ref().filter(|key| !key.reveal().is_empty()) {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", key.reveal()))
            .map_err(|_| "`lineage.api_key` has characters that no header may have".to_owned())?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let gzip = of.compression == LineageCompression::Gzip;
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    // A key is for the server that was named, not for where that one points.
    let client = Client::builder().timeout(of.timeout.0).redirect(Policy::none()).build();
    let client = client.map_err(|error| error.to_string())?;
    Ok(Transport::Http { client, to, headers, gzip })
}

/// Whether events can be written there; nothing is made yet.
fn may_write(path: &Path, append: bool) -> io::Result<()> {
    if append && path.exists() {
        return fs::OpenOptions::new().append(true).open(path).map(drop);
    }
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    tempfile::tempfile_in(folder.unwrap_or(Path::new("."))).map(drop)
}

impl Transport {
    async fn send(&self, events: &[Event]) -> Sent {
        match self {
            Self::Http { client, to, headers, gzip } => {
                let Some(event) = events.first() else { return Sent::Taken(0) };
                let plain = event.json.clone().into_bytes();
                let body = if *gzip { packed(&plain) } else { Ok(plain) };
                let body = match body {
                    Ok(body) => body,
                    Err(error) => return Sent::Refused(error.to_string()),
                };
                let request = client.post(to.clone()).headers(headers.clone()).body(body);
                match request.send().await {
                    // What it says of it is not read: it may have no end.
                    Ok(response) => answered(response.status()),
                    Err(error) if error.is_builder() => {
                        Sent::Refused(error.without_url().to_string())
                    }
                    Err(error) => Sent::Later(error.without_url().to_string()),
                }
            }
            Self::File { path, append } => {
                let (path, append, events) = (path.clone(), *append, events.to_vec());
                let written =
                    tokio::task::spawn_blocking(move || write(&path, append, &events)).await;
                match written {
                    Ok(Ok(())) => Sent::Taken(0),
                    Ok(Err(error)) => Sent::Later(error.to_string()),
                    Err(error) => Sent::Later(error.to_string()),
                }
            }
            Self::Console => {
                for event in events {
                    tracing::info!(target: "openlineage", "{}", event.json);
                }
                Sent::Taken(0)
            }
        }
    }
}

fn packed(body: &[u8]) -> io::Result<Vec<u8>> {
    let level = flate2::Compression::fast();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), level);
    gzip.write_all(body)?;
    gzip.finish()
}

/// What an answer means: what it may take once somebody has seen to it is kept, as with a key that has run out.
fn answered(status: StatusCode) -> Sent {
    let later = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::PROXY_AUTHENTICATION_REQUIRED,
    ];
    if status.is_success() {
        Sent::Taken(0)
    } else if status.is_server_error() || later.contains(&status) {
        Sent::Later(format!("it answered {status}"))
    } else {
        Sent::Refused(format!("it answered {status}"))
    }
}

fn write(path: &Path, append: bool, events: &[Event]) -> io::Result<()> {
    if append {
        let mut lines = String::new();
        for event in events {
            lines.push_str(&event.json);
            lines.push('\n');
        }
        let mut file = fs::OpenOptions::new().append(true).create(true).open(path)?;
        // One write: whoever reads along sees whole lines.
        return file.write_all(lines.as_bytes());
    }
    for event in events {
        let at = event.at.to_jiff().strftime("%Y%m%d-%H%M%S.%6f").to_string();
        let mut name = path.as_os_str().to_owned();
        name.push(format!("-{at}-{}-{}.json", event.run_id, event.event_type.word()));
        fs::write(PathBuf::from(name), format!("{}\n", event.json))?;
    }
    Ok(())
}

impl Exported for LineageSender {
    type Fold = Lineage;
    type Record = Record;
    type Item = Event;
    const WHAT: &'static str = "lineage";
    const FILE: &'static str = "lineage.fold";
    const VERSION: u32 = dagbok_lineage::VERSION;
    // A request has one event: that is what servers take.
    const AT_ONCE: usize = 1;
    const STANDING_BY: usize = 5_000;

    fn hears(subject: &str) -> bool {
        Lineage::hears(subject)
    }

    fn read(payload: &[u8]) -> Option<Record> {
        decode(payload).ok()
    }

    fn take(&self, fold: &mut Lineage, record: &Record, due: &mut Vec<Event>) {
        fold.take(&self.names, record, due);
    }

    async fn send(&self, events: &[Event]) -> Sent {
        self.transport.send(events).await
    }

    fn count(&self, taken: u64, dropped: u64) {
        metrics().lineage_sent(taken, dropped);
    }

    fn waiting(&self, events: usize) {
        metrics().lineage_waiting(events);
    }
}

/// Sends events, where somebody asked for lineage.
pub(crate) async fn export_lineage(
    sender: Option<LineageSender>,
    log: Arc<dyn RunLog>,
    folder: Option<&Path>,
    shutdown: Shutdown,
) -> impl Future<Output = Result<(), Infallible>> + use<> {
    export(sender, log, folder, shutdown).await
}
