//! Log lines to a collector by OTLP, as records that bear the trace that they are about. Whoever logs never waits: what
//! finds no room, or what the collector refuses, costs a count.
use std::{
    cell::Cell,
    fmt,
    sync::{
        OnceLock,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use dagbok_runtime::Clock;
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_proto::tonic::{
    collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse},
    common::v1::{AnyValue, KeyValue, any_value::Value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber},
};
use prost::Message as _;
use tracing::{
    Dispatch, Event, Level, Subscriber,
    dispatcher::WeakDispatch,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use crate::{
    TelemetryError,
    collector::{Collector, Sent, scope, text},
    metrics,
    otlp::is_own,
};

/// Records that wait for being sent; with more, the newest are dropped.
const ROOM: usize = 4_096;
/// Records of one request.
const AT_ONCE: usize = 512;
/// What comes close together goes in one request.
const GATHER: Duration = Duration::from_secs(1);
/// The first wait for a collector that takes nothing now, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// One text of a record, in bytes; what is above is cut.
const TEXT: usize = 16 << 10;
/// Where lines of crates that log by `log` say whose they are: they come under one name.
const TARGET: &str = "log.target";

thread_local! {
    /// Whether this is the thread of the sender: lines about what it does would be sent by it, and so on for ever.
    static SENDS: Cell<bool> = const { Cell::new(false) };
}

/// What the sender gets.
enum Item {
    Record(Box<LogRecord>),
    /// Answer once all before this is sent.
    Flush(SyncSender<()>),
}

/// Hands lines on.
pub(crate) struct Layered {
    out: SyncSender<Item>,
    dispatch: OnceLock<WeakDispatch>,
}

impl fmt::Debug for Layered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Layered")
    }
}

/// Who can ask that all of it be sent.
#[derive(Clone)]
pub(crate) struct Flusher(SyncSender<Item>);

impl fmt::Debug for Flusher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flusher")
    }
}

impl Flusher {
    /// Waits until all lines so far are sent, for `within` at most; says whether they are.
    pub(crate) fn flush(&self, within: Duration) -> bool {
        let end = Instant::now() + within;
        let (done, is_done) = sync_channel(1);
        let mut flush = Item::Flush(done);
        // A sender that has no room is about to have some.
        while let Err(full) = self.0.try_send(flush) {
            if Instant::now() >= end {
                return false;
            }
            flush = match full {
                std::sync::mpsc::TrySendError::Full(flush) => flush,
                std::sync::mpsc::TrySendError::Disconnected(_) => return false,
            };
            std::thread::sleep(Duration::from_millis(5));
        }
        is_done.recv_timeout(end.saturating_duration_since(Instant::now())).is_ok()
    }
}

/// Starts the sender; what hands lines to it, and who can have it finish.
pub(crate) fn start(collector: Collector) -> Result<(Layered, Flusher), TelemetryError> {
    let (out, inbox) = sync_channel(ROOM);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| TelemetryError::Exporter(error.to_string()))?;
    let spawned = std::thread::Builder::new().name("otlp-logs".to_owned()).spawn(move || {
        SENDS.set(true);
        while let Some((records, flush)) = gathered(&inbox) {
            runtime.block_on(deliver(&collector, records));
            if let Some(flush) = flush {
                // Whoever asked may have had enough.
                let _ = flush.try_send(());
            }
        }
    });
    spawned.map_err(|error| TelemetryError::Exporter(error.to_string()))?;
    let flusher = Flusher(out.clone());
    Ok((Layered { out, dispatch: OnceLock::new() }, flusher))
}

/// The next records to go in one request, and who is to be told; `None` once nobody logs any more.
fn gathered(inbox: &Receiver<Item>) -> Option<(Vec<LogRecord>, Option<SyncSender<()>>)> {
    let mut records = Vec::new();
    match inbox.recv().ok()? {
        Item::Record(record) => records.push(*record),
        Item::Flush(flush) => return Some((records, Some(flush))),
    }
    let end = Instant::now() + GATHER;
    while records.len() < AT_ONCE {
        match inbox.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(Item::Record(record)) => records.push(*record),
            Ok(Item::Flush(flush)) => return Some((records, Some(flush))),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    Some((records, None))
}

/// Sends records for as long as it takes.
async fn deliver(collector: &Collector, records: Vec<LogRecord>) {
    let count = records.len() as u64;
    if count == 0 {
        return;
    }
    let scope_logs =
        vec![ScopeLogs { scope: Some(scope()), log_records: records, schema_url: String::new() }];
    let resource = Some(collector.resource());
    let resource_logs = vec![ResourceLogs { resource, scope_logs, schema_url: String::new() }];
    let body = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
    let mut wait = WAITS.0;
    loop {
        match collector.send(body.clone(), count, rejected).await {
            Sent::Taken(rejected) => {
                return metrics().log_lines_sent(count.saturating_sub(rejected), rejected);
            }
            Sent::Refused(why) => {
                metrics().log_lines_sent(0, count);
                tracing::warn!(why, count, "log lines are refused by the collector");
                return;
            }
            Sent::Later(_) => {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(WAITS.1);
            }
        }
    }
}

fn rejected(body: &[u8]) -> Option<i64> {
    let answer = ExportLogsServiceResponse::decode(body).ok()?;
    Some(answer.partial_success.map_or(0, |partial| partial.rejected_log_records))
}

impl<S> Layer<S> for Layered
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_register_dispatch(&self, subscriber: &Dispatch) {
        // There is one for each process.
        let _ = self.dispatch.set(subscriber.downgrade());
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        if SENDS.get() {
            return;
        }
        let mut said = Said::default();
        event.record(&mut said);
        let of_log = said.target.take();
        let target = of_log.as_deref().unwrap_or(event.metadata().target());
        if is_own(target) {
            return;
        }
        let mut record = record(*event.metadata().level(), target, said);
        if record.trace_id.is_empty()
            && let Some(span) = ctx.event_span(event)
        {
            self.place(&span.id(), &mut record);
        }
        if self.out.try_send(Item::Record(Box::new(record))).is_err() {
            metrics().log_lines_sent(0, 1);
        }
    }
}

impl Layered {
    /// The trace of the service's own work, where that is traced.
    fn place(&self, span: &span::Id, record: &mut LogRecord) {
        let Some(dispatch) = self.dispatch.get().and_then(WeakDispatch::upgrade) else { return };
        let Some(context) = tracing_opentelemetry::get_otel_context(span, &dispatch) else {
            return;
        };
        let span = context.span();
        let ids = span.span_context();
        if ids.is_valid() {
            record.trace_id = ids.trace_id().to_bytes().to_vec();
            record.span_id = ids.span_id().to_bytes().to_vec();
            record.flags = u32::from(ids.trace_flags().to_u8());
        }
    }
}

fn record(level: Level, target: &str, said: Said) -> LogRecord {
    let now = u64::try_from(Clock::system().now().0).unwrap_or_default().saturating_mul(1_000);
    let severity = match level {
        Level::ERROR => SeverityNumber::Error,
        Level::WARN => SeverityNumber::Warn,
        Level::INFO => SeverityNumber::Info,
        Level::DEBUG => SeverityNumber::Debug,
        Level::TRACE => SeverityNumber::Trace,
    };
    let mut attributes = said.attributes;
    attributes.push(text("target", target));
    LogRecord {
        time_unix_nano: now,
        observed_time_unix_nano: now,
        severity_number: severity.into(),
        severity_text: level.as_str().to_owned(),
        body: Some(AnyValue { value: Some(Value::StringValue(said.message)) }),
        attributes,
        trace_id: said.trace.map(|id| id.to_vec()).unwrap_or_default(),
        ..LogRecord::default()
    }
}

/// What a line says.
#[derive(Debug, Default)]
struct Said {
    message: String,
    /// The trace that it names: of the run that it is about.
    trace: Option<[u8; 16]>,
    /// Whose it is, where it came by `log`.
    target: Option<String>,
    attributes: Vec<KeyValue>,
}

impl Said {
    fn note(&mut self, field: &Field, value: Value) {
        let key = field.name().to_owned();
        let value = Some(AnyValue { value: Some(value) });
        self.attributes.push(KeyValue { key, value, ..KeyValue::default() });
    }

    fn note_text(&mut self, field: &Field, text: &str) {
        let cut = &text[..text.floor_char_boundary(TEXT)];
        match field.name() {
            "message" => cut.clone_into(&mut self.message),
            "trace" if trace_id(text).is_some() => self.trace = trace_id(text),
            TARGET => self.target = Some(cut.to_owned()),
            _ => self.note(field, Value::StringValue(cut.to_owned())),
        }
    }
}

fn trace_id(text: &str) -> Option<[u8; 16]> {
    let id = u128::from_str_radix(text, 16).ok().filter(|id| text.len() == 32 && *id != 0)?;
    Some(id.to_be_bytes())
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.note_text(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.note(field, Value::IntValue(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match i64::try_from(value) {
            Ok(value) => self.note(field, Value::IntValue(value)),
            Err(_) => self.note_text(field, &value.to_string()),
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.note(field, Value::DoubleValue(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.note(field, Value::BoolValue(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.note_text(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{
        io::{Read as _, Write as _},
        sync::{Mutex, PoisonError},
    };

    use opentelemetry_sdk::Resource;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::collector::LOGS;

    /// Held by whoever looks at what is dropped: all tests count in one place.
    static COUNTING: Mutex<()> = Mutex::new(());
    const DROPPED: &str = "dagbok_log_lines_dropped_total";

    /// What a counter of this process has come to.
    pub(crate) fn counted(name: &str) -> u64 {
        let page = metrics().render(|it| it == name);
        let mut values = page.lines().filter_map(|line| line.strip_prefix(name));
        values.next().map_or(0, |value| value.trim().parse().unwrap())
    }

    /// Takes requests, answers each with the next status, and hands over what the good ones had.
    pub(crate) fn collector(statuses: Vec<u16>) -> (String, Receiver<ExportLogsServiceRequest>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let to = format!("http://{}", listener.local_addr().unwrap());
        let (out, got) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for status in statuses {
                let (mut stream, _) = listener.accept().unwrap();
                let mut bytes = Vec::new();
                let (head, length) = loop {
                    let mut some = [0; 4_096];
                    let read = stream.read(&mut some).unwrap();
                    bytes.extend_from_slice(&some[..read]);
                    let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") else {
                        continue;
                    };
                    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
                    let length = head.split("content-length: ").nth(1).unwrap();
                    let length: usize = length.lines().next().unwrap().parse().unwrap();
                    if bytes.len() >= end + 4 + length {
                        break (end + 4, length);
                    }
                };
                let said = format!(
                    "HTTP/1.1 {status} So\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
                );
                stream.write_all(said.as_bytes()).unwrap();
                if status == 200 {
                    let body = &bytes[head..head + length];
                    out.send(ExportLogsServiceRequest::decode(body).unwrap()).unwrap();
                }
            }
        });
        (to, got)
    }

    fn started(to: &str) -> (Layered, Flusher) {
        // Another test may have done so.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let get =
            |name: &'static str| (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| to.to_owned());
        let resource = Resource::builder_empty().build();
        start(Collector::new(LOGS, &get, &resource).unwrap()).unwrap()
    }

    fn value(of: &LogRecord, key: &str) -> Option<Value> {
        let found = of.attributes.iter().find(|it| it.key == key);
        found.and_then(|it| it.value.clone()?.value)
    }

    #[test]
    fn a_line_is_a_record_with_its_fields_and_the_trace_that_it_names() {
        let (to, got) = collector(vec![503, 200]);
        let (layer, flusher) = started(&to);
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            let trace = "0af7651916cd43dd8448eb211c80319c";
            tracing::error!(trace, dag_id = "etl", try_number = 2, gone = true, "a try failed");
            tracing::info!(target: "hyper::client", "this is about sending");
            tracing::info!(target: "log", { log.target = "reqwest::connect" }, "and this, by `log`");
            SENDS.set(true);
            tracing::info!("this is said while it is sent");
            SENDS.set(false);
            tracing::info!(target: "log", { log.target = "other" }, "this came by `log`");
            tracing::debug!(trace = "none", "no trace");
        });
        assert!(flusher.flush(Duration::from_secs(30)), "a collector that is back gets all of it");
        let request = got.recv().unwrap();
        let records = &request.resource_logs[0].scope_logs[0].log_records;
        let [failed, other, plain] = records.as_slice() else { panic!("{records:?}") };
        assert_eq!(failed.trace_id[..4], [0x0a, 0xf7, 0x65, 0x19]);
        assert_eq!(failed.severity_text, "ERROR");
        assert_eq!(failed.severity_number, i32::from(SeverityNumber::Error));
        let message = failed.body.clone().unwrap().value;
        assert_eq!(message, Some(Value::StringValue("a try failed".to_owned())));
        assert_eq!(value(failed, "dag_id"), Some(Value::StringValue("etl".to_owned())));
        assert_eq!(value(failed, "try_number"), Some(Value::IntValue(2)));
        assert_eq!(value(failed, "gone"), Some(Value::BoolValue(true)));
        assert_eq!(value(other, "target"), Some(Value::StringValue("other".to_owned())));
        assert!(plain.trace_id.is_empty());
        assert_eq!(value(plain, "trace"), Some(Value::StringValue("none".to_owned())));
    }

    #[test]
    fn whoever_logs_never_waits_for_a_collector_that_takes_nothing() {
        let (to, _got) = collector(vec![]);
        let (layer, flusher) = started(&to);
        let subscriber = tracing_subscriber::registry().with(layer);
        let _counting = COUNTING.lock().unwrap_or_else(PoisonError::into_inner);
        let (begun, before) = (Instant::now(), counted(DROPPED));
        tracing::subscriber::with_default(subscriber, || {
            for n in 0..ROOM * 3 {
                tracing::info!(n, "and another");
            }
        });
        assert!(begun.elapsed() < WAITS.1, "{:?}", begun.elapsed());
        // Beside those that wait, the sender has one request in its hands.
        let (dropped, no_room) = (counted(DROPPED) - before, (ROOM * 2) as u64);
        assert!((no_room - AT_ONCE as u64..=no_room).contains(&dropped), "{dropped}");
        assert!(!flusher.flush(Duration::from_millis(50)), "nobody says that they were sent");
    }

    #[test]
    fn a_collector_that_refuses_costs_a_count() {
        let (to, _got) = collector(vec![400]);
        let (layer, flusher) = started(&to);
        let subscriber = tracing_subscriber::registry().with(layer);
        let _counting = COUNTING.lock().unwrap_or_else(PoisonError::into_inner);
        let before = counted(DROPPED);
        tracing::subscriber::with_default(subscriber, || tracing::info!("it is not taken"));
        assert!(flusher.flush(Duration::from_secs(30)), "it goes on");
        assert_eq!(counted(DROPPED) - before, 1);
    }
}
