//! Spans that the log tells of, to a collector by OTLP over HTTP: each answer is told apart, so that what the collector
//! has not taken can be sent again, and what it won't take is counted.
use std::{fmt, sync::OnceLock, time::Duration};

use dagbok_metrics::Span;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource as ProtoResource,
    trace::v1::{ResourceSpans, ScopeSpans, Span as ProtoSpan, Status, span, status::StatusCode},
};
use opentelemetry_sdk::Resource;
use prost::Message as _;
use reqwest::{
    Client, StatusCode as Http, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};

use crate::TelemetryError;

/// How long one answer may take, where `OTEL_EXPORTER_OTLP_TIMEOUT` does not say.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How much of an answer is read: what says which spans were rejected is short.
const ANSWER: usize = 64 * 1_024;
/// Where a collector listens when nobody says.
const DEFAULT: &str = "http://localhost:4318";

static SENDER: OnceLock<SpanSender> = OnceLock::new();

/// What became of spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The collector has them, but for so many.
    Taken(u64),
    /// It will never take them, and says why.
    Refused(String),
    /// It may take them later.
    Later(String),
}

/// Where spans go.
pub struct SpanSender {
    client: Client,
    to: Url,
    headers: HeaderMap,
    resource: ProtoResource,
}

impl fmt::Debug for SpanSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpanSender({})", self.to)
    }
}

/// Where spans of the log go; `None` where nobody asked for them.
pub fn span_sender() -> Option<&'static SpanSender> {
    SENDER.get()
}

/// Sets where spans go; only the first one counts.
pub(crate) fn install(sender: SpanSender) {
    // A second one would be a second set-up, which is refused elsewhere.
    let _ = SENDER.set(sender);
}

type Get<'a> = &'a dyn Fn(&'static str) -> Option<String>;

/// The address for spans: its own variable's, or a folder of the common one's.
fn address(get: Get<'_>) -> Result<Url, TelemetryError> {
    let own = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    let common = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let (variable, value, whole) = match (get(own), get(common)) {
        (Some(own_value), _) => (own, own_value.clone(), own_value),
        (None, value) => {
            let value = value.unwrap_or_else(|| DEFAULT.to_owned());
            let whole = format!("{}/v1/traces", value.trim_end_matches('/'));
            (common, value, whole)
        }
    };
    let parsed = Url::parse(&whole).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let why = "an address that begins with http:// or https:// is";
    parsed.ok_or(TelemetryError::Unsupported { variable, value, why })
}

impl SpanSender {
    pub(crate) fn new(get: Get<'_>, resource: &Resource) -> Result<Self, TelemetryError> {
        let to = address(get)?;
        refuse_what_is_not_kept(get)?;
        let (headers, timeout) = (headers(get)?, timeout(get)?);
        let client = Client::builder().timeout(timeout).build();
        let client = client.map_err(|error| TelemetryError::Exporter(error.to_string()))?;
        let attributes = resource.iter().map(|(name, value)| text(name.as_str(), &value.as_str()));
        let resource =
            ProtoResource { attributes: attributes.collect(), ..ProtoResource::default() };
        Ok(Self { client, to, headers, resource })
    }

    /// Sends spans once, and says what became of them.
    pub async fn send(&self, spans: &[Span]) -> Sent {
        let scope =
            InstrumentationScope { name: "dagbok".to_owned(), ..InstrumentationScope::default() };
        let count = spans.len() as u64;
        let spans = spans.iter().map(proto).collect();
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, schema_url: String::new() }];
        let resource = Some(self.resource.clone());
        let resource_spans =
            vec![ResourceSpans { resource, scope_spans, schema_url: String::new() }];
        let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let request = self.client.post(self.to.clone()).headers(self.headers.clone()).body(body);
        match request.send().await {
            Ok(response) => answered(response, count).await,
            Err(error) if error.is_builder() => Sent::Refused(error.to_string()),
            Err(error) => Sent::Later(error.to_string()),
        }
    }
}

/// The first variable that is set, the one for traces before the common one.
fn first(get: Get<'_>, own: &'static str, common: &'static str) -> Option<(&'static str, String)> {
    [own, common].into_iter().find_map(|variable| Some((variable, get(variable)?)))
}

/// The headers of each request: pairs as of baggage, whose values may be percent-encoded.
fn headers(get: Get<'_>) -> Result<HeaderMap, TelemetryError> {
    let mut headers = HeaderMap::new();
    let own = "OTEL_EXPORTER_OTLP_TRACES_HEADERS";
    if let Some((variable, value)) = first(get, own, "OTEL_EXPORTER_OTLP_HEADERS") {
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

fn timeout(get: Get<'_>) -> Result<Duration, TelemetryError> {
    let own = "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT";
    let Some((variable, value)) = first(get, own, "OTEL_EXPORTER_OTLP_TIMEOUT") else {
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
fn refuse_what_is_not_kept(get: Get<'_>) -> Result<(), TelemetryError> {
    const CERTIFICATES: [&str; 6] = [
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CLIENT_KEY",
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    ];
    for variable in CERTIFICATES {
        if let Some(value) = get(variable) {
            let why = "certificates are those that the system trusts";
            return Err(TelemetryError::Unsupported { variable, value, why });
        }
    }
    let own = "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION";
    match first(get, own, "OTEL_EXPORTER_OTLP_COMPRESSION") {
        Some((variable, value)) if value != "none" => {
            let why = "spans are sent as they are: `none` is";
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

/// What an answer to `count` spans means.
async fn answered(mut response: reqwest::Response, count: u64) -> Sent {
    let status = response.status();
    if status.is_success() {
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_json = kind.is_some_and(|kind| kind.contains("json"));
        let Some(body) = read(&mut response).await else {
            return Sent::Later("the answer broke off".to_owned());
        };
        // Some collectors speak JSON only where they answer.
        let partial = match ExportTraceServiceResponse::decode(body.as_slice()) {
            Ok(answer) => answer.partial_success,
            Err(_) if is_json => None,
            Err(_) => {
                return Sent::Later("what it answered is no answer of a collector".to_owned());
            }
        };
        let rejected = partial.map_or(0, |partial| partial.rejected_spans);
        return Sent::Taken(u64::try_from(rejected).unwrap_or(0).min(count));
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

fn text(name: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.to_owned())) };
    KeyValue { key: name.to_owned(), value: Some(value), ..KeyValue::default() }
}

fn nanos(at: dagbok_events::Timestamp) -> u64 {
    u64::try_from(at.0).unwrap_or(0).saturating_mul(1_000)
}

fn proto(of: &Span) -> ProtoSpan {
    let links = of.links.iter().map(|(trace_id, span_id)| span::Link {
        trace_id: trace_id.to_vec(),
        span_id: span_id.to_vec(),
        ..span::Link::default()
    });
    let status = match &of.error {
        Some(why) => Status { code: StatusCode::Error.into(), message: why.clone() },
        None => Status { code: StatusCode::Ok.into(), message: String::new() },
    };
    ProtoSpan {
        trace_id: of.trace_id.to_vec(),
        span_id: of.span_id.to_vec(),
        parent_span_id: of.parent.map(|id| id.to_vec()).unwrap_or_default(),
        name: of.name.clone(),
        kind: span::SpanKind::Internal.into(),
        start_time_unix_nano: nanos(of.start),
        end_time_unix_nano: nanos(of.end),
        attributes: of.attributes.iter().map(|(name, value)| text(name, value)).collect(),
        links: links.collect(),
        status: Some(status),
        ..ProtoSpan::default()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;

    use super::*;

    fn of(variables: &[(&'static str, &str)]) -> Result<String, String> {
        let get = |name: &'static str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        address(&get).map(|url| url.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_address_is_the_standards() {
        assert_eq!(of(&[]).unwrap(), "http://localhost:4318/v1/traces");
        let common = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c:4318/otlp/");
        assert_eq!(of(&[common]).unwrap(), "https://c:4318/otlp/v1/traces");
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t:1/x");
        assert_eq!(of(&[common, own]).unwrap(), "http://t:1/x");
        let wrong = of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://c:4317")]).unwrap_err();
        assert!(wrong.contains("grpc://c:4317") && wrong.contains("http://"), "{wrong}");
        assert!(of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4318")]).is_err());
    }

    fn sender(variables: &[(&'static str, &str)]) -> Result<SpanSender, String> {
        let get = |name: &'static str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        // Another test may have done so.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let resource = Resource::builder_empty().build();
        SpanSender::new(&get, &resource).map_err(|error| error.to_string())
    }

    #[test]
    fn headers_are_decoded_and_what_is_none_is_said_at_the_start() {
        let headers = |text: &str| {
            sender(&[("OTEL_EXPORTER_OTLP_HEADERS", text)]).map(|sender| sender.headers)
        };
        let decoded = headers("Authorization=Basic%20YWJj, x-a = b=c%zz,").unwrap();
        assert_eq!(decoded["authorization"], "Basic YWJj");
        assert_eq!(decoded["x-a"], "b=c%zz");
        assert_eq!(decoded["content-type"], "application/x-protobuf");
        for wrong in ["nothing", "a b=c", "x=a%0Ab", "=c"] {
            let said = headers(wrong).unwrap_err();
            assert!(said.contains("OTEL_EXPORTER_OTLP_HEADERS"), "{said}");
        }
        let said = headers("bad name=secret").unwrap_err();
        assert!(!said.contains("secret"), "{said}");
    }

    #[test]
    fn variables_that_are_not_kept_are_refused() {
        for (variable, value) in [
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
            ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "/key.pem"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0"),
        ] {
            let said = sender(&[(variable, value)]).unwrap_err();
            assert!(said.contains(variable) && said.contains(value), "{said}");
        }
        let none = ("OTEL_EXPORTER_OTLP_COMPRESSION", "none");
        assert!(sender(&[none, ("OTEL_EXPORTER_OTLP_TIMEOUT", "500")]).is_ok());
    }

    /// What becomes of two spans where they are answered so; with an empty answer the peer takes all and says nothing.
    fn answered_with(answer: Vec<u8>) -> Sent {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let to = format!("http://{}", listener.local_addr().unwrap());
        let peer = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = [0; 8_192];
            // The request is small: it comes at once, head and body.
            let _ = stream.read(&mut bytes).unwrap();
            if answer.is_empty() {
                // Until the other side has had enough.
                while stream.read(&mut bytes).is_ok_and(|read| read > 0) {}
            }
            // Nobody need read all of it.
            let _ = stream.write_all(&answer);
        });
        let span = Span {
            trace_id: [1; 16],
            span_id: [2; 8],
            parent: None,
            name: "run".to_owned(),
            start: dagbok_events::Timestamp(1),
            end: dagbok_events::Timestamp(2),
            attributes: vec![],
            error: None,
            links: vec![],
        };
        let timeout = ("OTEL_EXPORTER_OTLP_TIMEOUT", "300");
        let sender = sender(&[("OTEL_EXPORTER_OTLP_ENDPOINT", to.as_str()), timeout]).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sent = runtime.block_on(sender.send(&[span.clone(), span]));
        drop((runtime, sender));
        peer.join().unwrap();
        sent
    }

    fn http(status: &str, kind: &str, body: &[u8]) -> Vec<u8> {
        let head = format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    }

    #[test]
    fn whatever_a_collector_answers_costs_a_count_at_most() {
        let rejects = |rejected_spans: i64| {
            let partial = ExportTracePartialSuccess { rejected_spans, ..Default::default() };
            let answer = ExportTraceServiceResponse { partial_success: Some(partial) };
            http("200 OK", "application/x-protobuf", &answer.encode_to_vec())
        };
        assert_eq!(answered_with(rejects(1)), Sent::Taken(1));
        assert_eq!(answered_with(rejects(i64::MAX)), Sent::Taken(2));
        assert_eq!(answered_with(rejects(i64::MIN)), Sent::Taken(0));
        assert_eq!(answered_with(http("200 OK", "application/json", b"{}")), Sent::Taken(0));
        let is_later = |answer| matches!(answered_with(answer), Sent::Later(_));
        assert!(is_later(http("200 OK", "text/html", b"<html>log in here</html>")));
        assert!(is_later(http("200 OK", "application/x-protobuf", &vec![b'<'; 4 << 20])));
        assert!(is_later(http("401 Unauthorized", "text/plain", b"no")));
        assert!(is_later(http("503 Unavailable", "text/plain", b"no")));
        assert!(is_later(vec![]), "one that takes all and never answers");
        let refused = answered_with(http("400 Bad Request", "text/plain", b"no"));
        assert!(matches!(refused, Sent::Refused(_)), "{refused:?}");
    }
}
