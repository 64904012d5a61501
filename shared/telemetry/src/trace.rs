//! W3C trace context in and out of records and messages, and spans of what the log says has happened.
use std::{
    fmt,
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use dagbok_events::{Timestamp, TraceContext};
use opentelemetry::{
    Context, KeyValue,
    trace::{
        SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId,
        TraceState, Tracer as _,
    },
};
use opentelemetry_sdk::trace::SdkTracer;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Sets where spans go; only the first one counts.
pub(crate) fn install(tracer: SdkTracer) {
    // A second one would be a second set-up, which is refused elsewhere.
    let _ = TRACER.set(tracer);
}

/// Whether spans are exported at all.
pub fn traces_are_exported() -> bool {
    TRACER.get().is_some()
}

/// A name and its value, of a span.
pub type Attribute = (&'static str, String);

/// A stretch of time that the log told of: a run, with its tries inside.
pub struct Recorded(Context);

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recorded({})", self.0.span().span_context().span_id())
    }
}

impl Recorded {
    /// Begins one, within the trace of whoever asked for it; `None` where nothing is exported.
    pub fn begin(
        name: String,
        at: Timestamp,
        from: Option<&TraceContext>,
        attributes: Vec<Attribute>,
    ) -> Option<Self> {
        let outer = match from.and_then(parse) {
            Some(ids) => Context::new().with_remote_span_context(ids),
            None => Context::new(),
        };
        Self::within(&outer, name, at, attributes)
    }

    /// Begins one inside this.
    pub fn inside(&self, name: String, at: Timestamp, attributes: Vec<Attribute>) -> Option<Self> {
        Self::within(&self.0, name, at, attributes)
    }

    fn within(
        outer: &Context,
        name: String,
        at: Timestamp,
        attributes: Vec<Attribute>,
    ) -> Option<Self> {
        let tracer = TRACER.get()?;
        let builder = tracer
            .span_builder(name)
            .with_kind(SpanKind::Internal)
            .with_start_time(system_time(at))
            .with_attributes(
                attributes.into_iter().map(|(name, value)| KeyValue::new(name, value)),
            );
        let span = tracer.build_with_context(builder, outer);
        Some(Self(outer.with_span(span)))
    }

    /// Ends it; with `error`, as failed.
    pub fn end(self, at: Timestamp, error: Option<String>) {
        let span = self.0.span();
        match error {
            Some(why) => span.set_status(Status::error(why)),
            None => span.set_status(Status::Ok),
        }
        span.end_with_timestamp(system_time(at));
    }
}

fn system_time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(at.0).unwrap_or(0))
}

/// The current span's context, to travel with what it causes; `None` where nothing is traced.
pub fn trace_context() -> Option<TraceContext> {
    let context = Span::current().context();
    let span = context.span();
    let ids = span.span_context();
    ids.is_valid().then(|| TraceContext {
        traceparent: format!("00-{}-{}-{:02x}", ids.trace_id(), ids.span_id(), ids.trace_flags()),
        tracestate: Some(ids.trace_state().header()).filter(|header| !header.is_empty()),
    })
}

/// Makes `span` a part of the trace that `from` names; what is not in W3C's form is ignored.
pub fn adopt(span: &Span, from: &TraceContext) {
    if let Some(ids) = parse(from) {
        // An error says that the span is not traced at all, which is as it should be.
        let _ = span.set_parent(Context::new().with_remote_span_context(ids));
    }
}

fn parse(from: &TraceContext) -> Option<SpanContext> {
    let mut parts = from.traceparent.split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let well_formed =
        version.len() == 2 && version != "ff" && trace.len() == 32 && span.len() == 16;
    if !well_formed || flags.len() != 2 {
        return None;
    }
    let state = from.tracestate.as_deref().and_then(|text| text.parse::<TraceState>().ok());
    let ids = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        state.unwrap_or_default(),
    );
    ids.is_valid().then_some(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(text: &str) -> TraceContext {
        TraceContext { traceparent: text.to_owned(), tracestate: None }
    }

    #[test]
    fn a_traceparent_is_read_and_anything_else_is_ignored() {
        let ids =
            parse(&context("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")).unwrap();
        assert_eq!(ids.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(ids.span_id().to_string(), "b7ad6b7169203331");
        assert!(ids.is_sampled() && ids.is_remote());
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7-b7ad6b7169203331-01",
            "00-zzf7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert!(parse(&context(bad)).is_none(), "{bad}");
        }
    }
}
