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
use reqwest::{Client, StatusCode as Http, Url};

use crate::TelemetryError;

/// How long one answer may take, where `OTEL_EXPORTER_OTLP_TIMEOUT` does not say.
const TIMEOUT: Duration = Duration::from_secs(10);
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
    headers: Vec<(String, String)>,
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
        let first = |one, other| get(one).or_else(|| get(other));
        let headers = first("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
            .unwrap_or_default();
        let pairs = headers.split(',').filter_map(|pair| pair.split_once('='));
        let headers = pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
        let timeout = first("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT");
        let timeout =
            timeout.and_then(|text| text.parse().ok()).map_or(TIMEOUT, Duration::from_millis);
        let client = Client::builder().timeout(timeout).build();
        let client = client.map_err(|error| TelemetryError::Exporter(error.to_string()))?;
        let attributes = resource.iter().map(|(name, value)| text(name.as_str(), &value.as_str()));
        let resource =
            ProtoResource { attributes: attributes.collect(), ..ProtoResource::default() };
        Ok(Self { client, to, headers: headers.collect(), resource })
    }

    /// Sends spans once, and says what became of them.
    pub async fn send(&self, spans: &[Span]) -> Sent {
        let scope =
            InstrumentationScope { name: "dagbok".to_owned(), ..InstrumentationScope::default() };
        let spans = spans.iter().map(proto).collect();
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, schema_url: String::new() }];
        let resource = Some(self.resource.clone());
        let resource_spans =
            vec![ResourceSpans { resource, scope_spans, schema_url: String::new() }];
        let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let mut request = self
            .client
            .post(self.to.clone())
            .header("content-type", "application/x-protobuf")
            .body(body);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        match request.send().await {
            Ok(response) => answered(response).await,
            Err(error) if error.is_builder() => Sent::Refused(error.to_string()),
            Err(error) => Sent::Later(error.to_string()),
        }
    }
}

async fn answered(response: reqwest::Response) -> Sent {
    let status = response.status();
    let Ok(body) = response.bytes().await else {
        return Sent::Later("the answer broke off".to_owned());
    };
    if status.is_success() {
        let partial =
            ExportTraceServiceResponse::decode(body).ok().and_then(|it| it.partial_success);
        let rejected = partial.map_or(0, |partial| partial.rejected_spans);
        return Sent::Taken(u64::try_from(rejected).unwrap_or(0));
    }
    let later = [Http::TOO_MANY_REQUESTS, Http::REQUEST_TIMEOUT];
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
}
