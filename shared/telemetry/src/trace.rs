//! W3C trace context in and out of records and messages.
use dagbok_events::TraceContext;
use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

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
