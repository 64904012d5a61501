//! Spans that the log tells of, to a collector by OTLP.
use std::sync::OnceLock;

use dagbok_metrics::Span;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    trace::v1::{ResourceSpans, ScopeSpans, Span as ProtoSpan, Status, span, status::StatusCode},
};
use opentelemetry_sdk::Resource;
use prost::Message as _;

use crate::{
    TelemetryError,
    collector::{Collector, Get, Sent, TRACES, scope, text},
};

static SENDER: OnceLock<SpanSender> = OnceLock::new();

/// Where spans go.
#[derive(Debug)]
pub struct SpanSender(Collector);

/// Where spans of the log go; `None` where nobody asked for them.
pub fn span_sender() -> Option<&'static SpanSender> {
    SENDER.get()
}

/// Sets where spans go; only the first one counts.
pub(crate) fn install(sender: SpanSender) {
    // A second one would be a second set-up, which is refused elsewhere.
    let _ = SENDER.set(sender);
}

impl SpanSender {
    pub(crate) fn new(get: Get<'_>, resource: &Resource) -> Result<Self, TelemetryError> {
        Collector::new(TRACES, get, resource).map(Self)
    }

    /// Sends spans once, and says what became of them.
    pub async fn send(&self, spans: &[Span]) -> Sent {
        let count = spans.len() as u64;
        let spans = spans.iter().map(proto).collect();
        let scope_spans =
            vec![ScopeSpans { scope: Some(scope()), spans, schema_url: String::new() }];
        let resource = Some(self.0.resource());
        let resource_spans =
            vec![ResourceSpans { resource, scope_spans, schema_url: String::new() }];
        let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        self.0.send(body, count, rejected).await
    }
}

fn rejected(body: &[u8]) -> Option<i64> {
    let answer = ExportTraceServiceResponse::decode(body).ok()?;
    Some(answer.partial_success.map_or(0, |partial| partial.rejected_spans))
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
        crate::collector::address(TRACES, &get)
            .map(|url| url.to_string())
            .map_err(|error| error.to_string())
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
            sender(&[("OTEL_EXPORTER_OTLP_HEADERS", text)]).map(|sender| sender.0.headers.clone())
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
