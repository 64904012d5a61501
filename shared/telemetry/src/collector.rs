//! A collector that is spoken to by OTLP over HTTP: each answer is told apart, so that what it has not taken can be sent
//! again, and what it won't take is counted.
use std::{fmt, time::Duration};

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource as ProtoResource,
};
use opentelemetry_sdk::Resource;
use reqwest::{
    Client, StatusCode as Http, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};

use crate::TelemetryError;

/// How long one answer may take, where `OTEL_EXPORTER_OTLP_TIMEOUT` does not say.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How much of an answer is read: what says which items were rejected is short.
const ANSWER: usize = 64 * 1_024;
/// Where a collector listens when nobody says.
const DEFAULT: &str = "http://localhost:4318";

/// What became of items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The collector has them, but for so many.
    Taken(u64),
    /// It will never take them, and says why.
    Refused(String),
    /// It may take them later.
    Later(String),
}

/// What is sent: where below a collector's address it goes, and the variables that say otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signal {
    path: &'static str,
    endpoint: &'static str,
    headers: &'static str,
    timeout: &'static str,
    compression: &'static str,
    certificates: [&'static str; 3],
}

macro_rules! signal {
    ($name:literal, $path:literal) => {
        Signal {
            path: $path,
            endpoint: concat!("OTEL_EXPORTER_OTLP_", $name, "_ENDPOINT"),
            headers: concat!("OTEL_EXPORTER_OTLP_", $name, "_HEADERS"),
            timeout: concat!("OTEL_EXPORTER_OTLP_", $name, "_TIMEOUT"),
            compression: concat!("OTEL_EXPORTER_OTLP_", $name, "_COMPRESSION"),
            certificates: [
                concat!("OTEL_EXPORTER_OTLP_", $name, "_CERTIFICATE"),
                concat!("OTEL_EXPORTER_OTLP_", $name, "_CLIENT_CERTIFICATE"),
                concat!("OTEL_EXPORTER_OTLP_", $name, "_CLIENT_KEY"),
            ],
        }
    };
}

/// Spans.
pub(crate) const TRACES: Signal = signal!("TRACES", "/v1/traces");
/// Figures.
pub(crate) const METRICS: Signal = signal!("METRICS", "/v1/metrics");
/// Log lines.
pub(crate) const LOGS: Signal = signal!("LOGS", "/v1/logs");

/// Certificates of all signals, which are not kept either.
const CERTIFICATES: [&str; 3] = [
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
];

/// Reads a variable.
pub(crate) type Get<'a> = &'a dyn Fn(&'static str) -> Option<String>;

/// The process' environment; what is empty is not set.
pub(crate) fn environment(name: &'static str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Where one signal goes.
pub(crate) struct Collector {
    client: Client,
    to: Url,
    pub(crate) headers: HeaderMap,
    resource: ProtoResource,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Collector({})", self.to)
    }
}

/// How many items of an answer's body were rejected; `None` where it is no answer of a collector.
pub(crate) type Read = fn(&[u8]) -> Option<i64>;

impl Collector {
    pub(crate) fn new(
        signal: Signal,
        get: Get<'_>,
        resource: &Resource,
    ) -> Result<Self, TelemetryError> {
        let to = address(signal, get)?;
        refuse_what_is_not_kept(signal, get)?;
        let (headers, timeout) = (headers(signal, get)?, timeout(signal, get)?);
        let client = Client::builder().timeout(timeout).build();
        let client = client.map_err(|error| TelemetryError::Exporter(error.to_string()))?;
        let attributes = resource.iter().map(|(name, value)| text(name.as_str(), &value.as_str()));
        let resource =
            ProtoResource { attributes: attributes.collect(), ..ProtoResource::default() };
        Ok(Self { client, to, headers, resource })
    }

    /// Who sends.
    pub(crate) fn resource(&self) -> ProtoResource {
        self.resource.clone()
    }

    /// Sends a body with `count` items once, and says what became of them.
    pub(crate) async fn send(&self, body: Vec<u8>, count: u64, rejected: Read) -> Sent {
        let request = self.client.post(self.to.clone()).headers(self.headers.clone()).body(body);
        match request.send().await {
            Ok(response) => answered(response, count, rejected).await,
            Err(error) if error.is_builder() => Sent::Refused(error.to_string()),
            Err(error) => Sent::Later(error.to_string()),
        }
    }
}

/// What all of ours is said to be from.
pub(crate) fn scope() -> InstrumentationScope {
    InstrumentationScope { name: "dagbok".to_owned(), ..InstrumentationScope::default() }
}

/// An attribute.
pub(crate) fn text(name: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.to_owned())) };
    KeyValue { key: name.to_owned(), value: Some(value), ..KeyValue::default() }
}

/// The address of a signal: its own variable's, or a folder of the common one's.
pub(crate) fn address(signal: Signal, get: Get<'_>) -> Result<Url, TelemetryError> {
    let common = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let (variable, value, whole) = match (get(signal.endpoint), get(common)) {
        (Some(own_value), _) => (signal.endpoint, own_value.clone(), own_value),
        (None, value) => {
            let value = value.unwrap_or_else(|| DEFAULT.to_owned());
            let whole = format!("{}{}", value.trim_end_matches('/'), signal.path);
            (common, value, whole)
        }
    };
    let parsed = Url::parse(&whole).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let why = "an address that begins with http:// or https:// is";
    parsed.ok_or(TelemetryError::Unsupported { variable, value, why })
}

/// The first variable that is set, the signal's own before the common one.
fn first(get: Get<'_>, own: &'static str, common: &'static str) -> Option<(&'static str, String)> {
    [own, common].into_iter().find_map(|variable| Some((variable, get(variable)?)))
}

/// The headers of each request: pairs as of baggage, whose values may be percent-encoded.
fn headers(signal: Signal, get: Get<'_>) -> Result<HeaderMap, TelemetryError> {
    let mut headers = HeaderMap::new();
    if let Some((variable, value)) = first(get, signal.headers, "OTEL_EXPORTER_OTLP_HEADERS") {
        for pair in value.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let of_pair = pair.split_once('=').and_then(|(name, value)| {
                let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
                Some((name, HeaderValue::from_bytes(&decoded(value.trim())).ok()?))
            });
            let Some((name, mut value)) = of_pair else {
                // A value may be a secret: the name alone is said.
                let value = pair.split('=').next().unwrap_or_default().to_owned();
                let why = "`name=value` pairs with commas between them are, each a header of HTTP";
                return Err(TelemetryError::Unsupported { variable, value, why });
            };
            value.set_sensitive(true);
            headers.append(name, value);
        }
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    Ok(headers)
}

/// `%20` and the like as what they stand for; a value with a `%` that is none of these as it is, as the SDK has it.
fn decoded(value: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let digits = after.split_at_checked(2).and_then(|(digits, after)| {
            let digits = std::str::from_utf8(digits).ok()?;
            Some((u8::from_str_radix(digits, 16).ok()?, after))
        });
        let Some((byte, after)) = digits else { return value.as_bytes().to_vec() };
        bytes.push(byte);
        rest = after;
    }
    bytes
}

fn timeout(signal: Signal, get: Get<'_>) -> Result<Duration, TelemetryError> {
    let Some((variable, value)) = first(get, signal.timeout, "OTEL_EXPORTER_OTLP_TIMEOUT") else {
        return Ok(TIMEOUT);
    };
    match value.trim().parse() {
        Ok(millis) if millis > 0 => Ok(Duration::from_millis(millis)),
        _ => {
            let why = "a number of milliseconds above 0 is";
            Err(TelemetryError::Unsupported { variable, value, why })
        }
    }
}

/// What would be passed over in silence is said: whoever asks for a certificate wants it checked.
fn refuse_what_is_not_kept(signal: Signal, get: Get<'_>) -> Result<(), TelemetryError> {
    for variable in CERTIFICATES.into_iter().chain(signal.certificates) {
        if let Some(value) = get(variable) {
            let why = "certificates are those that the system trusts";
            return Err(TelemetryError::Unsupported { variable, value, why });
        }
    }
    match first(get, signal.compression, "OTEL_EXPORTER_OTLP_COMPRESSION") {
        Some((variable, value)) if value != "none" => {
            let why = "what is sent goes as it is: `none` is";
            Err(TelemetryError::Unsupported { variable, value, why })
        }
        _ => Ok(()),
    }
}

/// The begin of an answer's body; `None` where it broke off.
async fn read(response: &mut reqwest::Response) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while body.len() < ANSWER {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                let most = chunk.len().min(ANSWER - body.len());
                body.extend_from_slice(chunk.get(..most)?);
            }
            Ok(None) => return Some(body),
            Err(_) => return None,
        }
    }
    Some(body)
}

/// What an answer to `count` items means.
async fn answered(mut response: reqwest::Response, count: u64, rejected: Read) -> Sent {
    let status = response.status();
    if status.is_success() {
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_json = kind.is_some_and(|kind| kind.contains("json"));
        let Some(body) = read(&mut response).await else {
            return Sent::Later("the answer broke off".to_owned());
        };
        // Some collectors speak JSON only where they answer.
        return match rejected(&body) {
            Some(rejected) => Sent::Taken(u64::try_from(rejected).unwrap_or(0).min(count)),
            None if is_json => Sent::Taken(0),
            None => Sent::Later("what it answered is no answer of a collector".to_owned()),
        };
    }
    // What it may take once somebody has seen to it is kept: a token that has run out.
    let later = [
        Http::TOO_MANY_REQUESTS,
        Http::REQUEST_TIMEOUT,
        Http::UNAUTHORIZED,
        Http::FORBIDDEN,
        Http::PROXY_AUTHENTICATION_REQUIRED,
    ];
    if status.is_server_error() || later.contains(&status) {
        return Sent::Later(format!("it answered {status}"));
    }
    Sent::Refused(format!("it answered {status}"))
}
