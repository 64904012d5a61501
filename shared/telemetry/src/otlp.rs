//! OTLP over HTTP, switched on by the standard variables alone: an endpoint, or an exporter that is
//! named, and `OTEL_SDK_DISABLED` not true.
use std::{fmt, time::Duration};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{MetricExporter, Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    metrics::PeriodicReader,
    trace::{SdkTracer, SdkTracerProvider},
};

use crate::{
    SeriesSender, SpanSender, TelemetryError,
    collector::{Collector, LOGS, environment},
};

/// Longest wait for the last export.
const FINISH_WITHIN: Duration = Duration::from_secs(3);

/// Where collectors are named.
const ENDPOINTS: [&str; 4] = [
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
];

/// Whether a log target belongs to the exporters themselves, whose spans must not be exported again.
pub(crate) fn is_own(target: &str) -> bool {
    ["opentelemetry", "hyper", "reqwest", "h2"].iter().any(|own| target.starts_with(own))
}

/// What the variables asked for.
pub(crate) struct Exporters {
    resource: Resource,
    traces: Option<SdkTracerProvider>,
    metrics: bool,
    logs: bool,
    service: &'static str,
}

impl fmt::Debug for Exporters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Exporters(traces: {}, metrics: {}, logs: {})",
            self.traces.is_some(),
            self.metrics,
            self.logs
        )
    }
}

impl Exporters {
    /// Reads the variables and builds what they ask for.
    pub(crate) fn from_environment(service: &'static str) -> Result<Self, TelemetryError> {
        let wanted = Wanted::read(environment)?;
        let resource = resource(service);
        // The exporters of the SDK would find out at the first span.
        for variable in ENDPOINTS {
            let value = std::env::var(variable).unwrap_or_default();
            let is_http = value.starts_with("http://") || value.starts_with("https://");
            if (wanted.traces || wanted.metrics || wanted.logs) && !value.is_empty() && !is_http {
                let why = "an address that begins with http:// or https:// is";
                return Err(TelemetryError::Unsupported { variable, value, why });
            }
        }
        let traces = if wanted.traces { Some(tracer_provider(resource.clone())?) } else { None };
        Ok(Self { resource, traces, metrics: wanted.metrics, logs: wanted.logs, service })
    }

    /// Who the figures and spans are from.
    pub(crate) fn resource(&self) -> Resource {
        self.resource.clone()
    }

    /// Where spans go.
    pub(crate) fn tracer(&self) -> Option<SdkTracer> {
        self.traces.as_ref().map(|provider| provider.tracer(self.service))
    }

    /// Where spans that the log tells of go.
    pub(crate) fn span_sender(&self) -> Result<Option<SpanSender>, TelemetryError> {
        let new = |_: &SdkTracerProvider| SpanSender::new(&environment, &self.resource);
        self.traces.as_ref().map(new).transpose()
    }

    /// Where figures that the log tells of go.
    pub(crate) fn series_sender(&self) -> Result<Option<SeriesSender>, TelemetryError> {
        self.metrics.then(|| SeriesSender::new(&environment, &self.resource)).transpose()
    }

    /// Where log lines go.
    pub(crate) fn log_collector(&self) -> Result<Option<Collector>, TelemetryError> {
        self.logs.then(|| Collector::new(LOGS, &environment, &self.resource)).transpose()
    }

    /// What pushes the metrics every `OTEL_METRIC_EXPORT_INTERVAL`.
    pub(crate) fn meter_reader(
        &self,
    ) -> Result<Option<PeriodicReader<MetricExporter>>, TelemetryError> {
        if !self.metrics {
            return Ok(None);
        }
        MetricExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .build()
            .map(|exporter| Some(PeriodicReader::builder(exporter).build()))
            .map_err(|error| TelemetryError::Exporter(error.to_string()))
    }

    /// Sends what is still held.
    pub(crate) fn finish(self) {
        if let Some(traces) = self.traces
            && let Err(error) = traces.shutdown_with_timeout(FINISH_WITHIN)
        {
            tracing::warn!(%error, "the last spans were not exported");
        }
        crate::metrics::flush();
    }
}

fn resource(service: &'static str) -> Resource {
    // The detectors read OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, which go before our own name.
    let named = std::env::var_os("OTEL_SERVICE_NAME").is_some();
    let builder = Resource::builder();
    let builder = if named { builder } else { builder.with_service_name(service) };
    builder
        .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build()
}

fn tracer_provider(resource: Resource) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .build()
        .map_err(|error| TelemetryError::Exporter(error.to_string()))?;
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

/// Which exporters the variables ask for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    traces: bool,
    metrics: bool,
    logs: bool,
}

impl Wanted {
    fn read(get: impl Fn(&'static str) -> Option<String>) -> Result<Self, TelemetryError> {
        if get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(Self { traces: false, metrics: false, logs: false });
        }
        let wants = |exporter: &'static str, endpoint: &'static str, protocol: &'static str| {
            let anywhere = get("OTEL_EXPORTER_OTLP_ENDPOINT").or_else(|| get(endpoint)).is_some();
            let on = match get(exporter).as_deref() {
                None => anywhere,
                Some("none") => false,
                Some("otlp") => true,
                Some(other) => {
                    let why = "`otlp` and `none` are; Prometheus is always served at /metrics";
                    return Err(TelemetryError::Unsupported {
                        variable: exporter,
                        value: other.to_owned(),
                        why,
                    });
                }
            };
            for variable in [protocol, "OTEL_EXPORTER_OTLP_PROTOCOL"] {
                match get(variable) {
                    Some(text) if text == "http/protobuf" => break,
                    Some(value) if on => {
                        let why = "Dagbok speaks `http/protobuf`, which every collector takes on port 4318";
                        return Err(TelemetryError::Unsupported { variable, value, why });
                    }
                    _ => {}
                }
            }
            Ok(on)
        };
        Ok(Self {
            traces: wants(
                "OTEL_TRACES_EXPORTER",
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            )?,
            metrics: wants(
                "OTEL_METRICS_EXPORTER",
                "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
                "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
            )?,
            logs: wants(
                "OTEL_LOGS_EXPORTER",
                "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
                "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL",
            )?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(variables: &[(&str, &str)]) -> Result<(bool, bool, bool), String> {
        let get = |name: &'static str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        Wanted::read(get)
            .map(|wanted| (wanted.traces, wanted.metrics, wanted.logs))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_exported_unasked() {
        assert_eq!(wanted(&[]), Ok((false, false, false)));
    }

    #[test]
    fn an_endpoint_asks_for_what_it_names() {
        let all = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318")];
        assert_eq!(wanted(&all), Ok((true, true, true)));
        let logs = [("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://c")];
        assert_eq!(wanted(&logs), Ok((false, false, true)));
        assert_eq!(
            wanted(&[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://c")]),
            Ok((false, true, false))
        );
        let but_no_traces =
            [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"), ("OTEL_TRACES_EXPORTER", "none")];
        assert_eq!(wanted(&but_no_traces), Ok((false, true, true)));
        let disabled = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"), ("OTEL_SDK_DISABLED", "TRUE")];
        assert_eq!(wanted(&disabled), Ok((false, false, false)));
    }

    #[test]
    fn what_is_not_spoken_is_said() {
        let grpc =
            [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
        assert!(wanted(&grpc).unwrap_err().contains("http/protobuf"));
        let own = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf");
        let none = ["OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"].map(|it| (it, "none"));
        assert_eq!(wanted(&[grpc[0], grpc[1], own, none[0], none[1]]), Ok((true, false, false)));
        assert!(
            wanted(&[("OTEL_TRACES_EXPORTER", "zipkin")])
                .unwrap_err()
                .contains("OTEL_TRACES_EXPORTER=zipkin")
        );
    }
}
