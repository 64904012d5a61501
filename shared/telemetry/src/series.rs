//! Figures that the log tells of, to a collector by OTLP: the page that Prometheus reads, taken apart. So both say the same,
//! and after a restart a counter goes on where it was.
use std::{collections::BTreeMap, sync::OnceLock, time::Duration};

use dagbok_events::Timestamp;
use opentelemetry_proto::tonic::{
    collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse},
    common::v1::KeyValue,
    metrics::v1::{
        AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
        ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, metric::Data,
        number_data_point::Value, summary_data_point::ValueAtQuantile,
    },
};
use opentelemetry_sdk::Resource;
use prost::Message as _;

use crate::{
    TelemetryError,
    collector::{Collector, Get, METRICS, Sent, scope, text},
    metrics,
};

/// Points of one request: of ten thousand DAGs there are many.
const AT_ONCE: usize = 5_000;
/// How often figures are sent, where `OTEL_METRIC_EXPORT_INTERVAL` does not say.
const EVERY: Duration = Duration::from_mins(1);

static SENDER: OnceLock<SeriesSender> = OnceLock::new();

/// Where figures go.
#[derive(Debug)]
pub struct SeriesSender {
    collector: Collector,
    every: Duration,
}

/// A request with some of the figures.
#[derive(Debug)]
pub struct SeriesRequest {
    body: Vec<u8>,
    /// How many values it has.
    points: u64,
}

/// Where figures of the log go; `None` where nobody asked for them.
pub fn series_sender() -> Option<&'static SeriesSender> {
    SENDER.get()
}

/// Sets where figures go; only the first one counts.
pub(crate) fn install(sender: SeriesSender) {
    // A second one would be a second set-up, which is refused elsewhere.
    let _ = SENDER.set(sender);
}

impl SeriesSender {
    pub(crate) fn new(get: Get<'_>, resource: &Resource) -> Result<Self, TelemetryError> {
        let variable = "OTEL_METRIC_EXPORT_INTERVAL";
        let every = match get(variable) {
            None => EVERY,
            Some(value) => match value.trim().parse() {
                Ok(millis) if millis > 0 => Duration::from_millis(millis),
                _ => {
                    let why = "a number of milliseconds above 0 is";
                    return Err(TelemetryError::Unsupported { variable, value, why });
                }
            },
        };
        Ok(Self { collector: Collector::new(METRICS, get, resource)?, every })
    }

    /// How often they are sent.
    pub const fn every(&self) -> Duration {
        self.every
    }

    /// Requests with all series of a page in Prometheus' text format, as they are at `now`; they count from `since`. Of
    /// many DAGs that is work for a thread of its own.
    pub fn requests(&self, page: &str, since: Timestamp, now: Timestamp) -> Vec<SeriesRequest> {
        let batches = requests(page, (nanos(since), nanos(now))).into_iter();
        batches.map(|batch| self.request(batch)).collect()
    }

    fn request(&self, batch: Vec<Metric>) -> SeriesRequest {
        let points = batch.iter().map(points).sum::<usize>() as u64;
        let scope_metrics =
            vec![ScopeMetrics { scope: Some(scope()), metrics: batch, schema_url: String::new() }];
        let resource = Some(self.collector.resource());
        let resource_metrics =
            vec![ResourceMetrics { resource, scope_metrics, schema_url: String::new() }];
        let body = ExportMetricsServiceRequest { resource_metrics }.encode_to_vec();
        SeriesRequest { body, points }
    }

    /// Sends requests until one is not taken. What is not taken is not sent again: the next ones have it too.
    pub async fn send(&self, requests: Vec<SeriesRequest>) {
        let mut left: u64 = requests.iter().map(|it| it.points).sum();
        for SeriesRequest { body, points } in requests {
            match self.collector.send(body, points, rejected).await {
                Sent::Taken(rejected) => {
                    metrics().points_sent(points.saturating_sub(rejected), rejected);
                    left = left.saturating_sub(points);
                }
                Sent::Refused(why) | Sent::Later(why) => {
                    metrics().points_sent(0, left);
                    tracing::warn!(why, left, "figures of the log are not taken by the collector");
                    return;
                }
            }
        }
    }
}

fn rejected(body: &[u8]) -> Option<i64> {
    let answer = ExportMetricsServiceResponse::decode(body).ok()?;
    Some(answer.partial_success.map_or(0, |partial| partial.rejected_data_points))
}

fn nanos(at: Timestamp) -> u64 {
    u64::try_from(at.0).unwrap_or(0).saturating_mul(1_000)
}

fn points(metric: &Metric) -> usize {
    match &metric.data {
        Some(Data::Gauge(it)) => it.data_points.len(),
        Some(Data::Sum(it)) => it.data_points.len(),
        Some(Data::Histogram(it)) => it.data_points.len(),
        Some(Data::Summary(it)) => it.data_points.len(),
        Some(Data::ExponentialHistogram(_)) | None => 0,
    }
}

/// A family of series, as the page has it.
#[derive(Debug, Default)]
struct Family<'a> {
    name: &'a str,
    help: &'a str,
    kind: &'a str,
    /// What follows the family's name, the labels but for `le` and `quantile`, those, and the value.
    samples: Vec<Sample<'a>>,
}

/// A line of it.
#[derive(Debug)]
struct Sample<'a> {
    suffix: &'a str,
    labels: Vec<(&'a str, String)>,
    /// The step or the quantile that it is of.
    edge: Option<f64>,
    value: f64,
    is_whole: bool,
}

/// The families of a page.
fn families(page: &str) -> Vec<Family<'_>> {
    let mut families: Vec<Family<'_>> = Vec::new();
    for line in page.lines() {
        if let Some(about) = line.strip_prefix("# HELP ") {
            let (name, help) = about.split_once(' ').unwrap_or((about, ""));
            families.push(Family { name, help, ..Family::default() });
        } else if let Some(about) = line.strip_prefix("# TYPE ") {
            let (name, kind) = about.split_once(' ').unwrap_or((about, ""));
            match families.last_mut().filter(|it| it.name == name) {
                Some(family) => family.kind = kind,
                None => families.push(Family { name, kind, ..Family::default() }),
            }
        } else if let (Some(family), false) = (families.last_mut(), line.starts_with('#')) {
            family.samples.extend(sample(family.name, line));
        }
    }
    families
}

fn sample<'a>(family: &str, line: &'a str) -> Option<Sample<'a>> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, mut rest) = series.split_once('{').unwrap_or((series, ""));
    let suffix = name.strip_prefix(family)?;
    let (mut labels, mut edge) = (Vec::new(), None);
    while let Some((label, after)) = rest.split_once("=\"") {
        let (text, after) = unquoted(after)?;
        match label.trim_start_matches(',') {
            "le" | "quantile" => edge = number(&text),
            label => labels.push((label, text)),
        }
        rest = after;
    }
    let is_whole = value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    Some(Sample { suffix, labels, edge, value: number(value)?, is_whole })
}

/// A value up to its closing quotation mark, and what follows.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

fn number(text: &str) -> Option<f64> {
    if text == "+Inf" { Some(f64::INFINITY) } else { text.parse().ok() }
}

fn attributes(labels: &[(&str, String)]) -> Vec<KeyValue> {
    labels.iter().map(|(name, value)| text(name, value)).collect()
}

/// Everything on a page, in requests of bounded size.
fn requests(page: &str, times: (u64, u64)) -> Vec<Vec<Metric>> {
    let mut requests = Vec::new();
    let (mut metrics, mut count) = (Vec::new(), 0);
    for family in families(page) {
        for metric in metrics_of(&family, times) {
            if count + points(&metric) > AT_ONCE && count > 0 {
                requests.push(std::mem::take(&mut metrics));
                count = 0;
            }
            count += points(&metric);
            metrics.push(metric);
        }
    }
    if !metrics.is_empty() {
        requests.push(metrics);
    }
    requests
}

/// A family as OTLP has it, in pieces that fit a request each.
fn metrics_of(family: &Family<'_>, times: (u64, u64)) -> Vec<Metric> {
    // Whoever hands it on to Prometheus puts this back.
    let name = match family.kind {
        "counter" => family.name.strip_suffix("_total").unwrap_or(family.name),
        _ => family.name,
    };
    let is_seconds = name.ends_with("_seconds");
    let metric = |data| Metric {
        name: name.to_owned(),
        description: family.help.to_owned(),
        unit: if is_seconds { "s".to_owned() } else { String::new() },
        metadata: Vec::new(),
        data: Some(data),
    };
    let cumulative = i32::from(AggregationTemporality::Cumulative);
    match family.kind {
        "histogram" => pieces(histograms(family, times), |data_points| {
            metric(Data::Histogram(Histogram { data_points, aggregation_temporality: cumulative }))
        }),
        "summary" => pieces(summaries(family, times), |data_points| {
            metric(Data::Summary(Summary { data_points }))
        }),
        "counter" => pieces(numbers(family, times), |data_points| {
            metric(Data::Sum(Sum {
                data_points,
                aggregation_temporality: cumulative,
                is_monotonic: true,
            }))
        }),
        _ => pieces(numbers(family, (0, times.1)), |data_points| {
            metric(Data::Gauge(Gauge { data_points }))
        }),
    }
}

fn pieces<T>(mut points: Vec<T>, metric: impl Fn(Vec<T>) -> Metric) -> Vec<Metric> {
    let mut metrics = Vec::new();
    while points.len() > AT_ONCE {
        let rest = points.split_off(AT_ONCE);
        metrics.push(metric(std::mem::replace(&mut points, rest)));
    }
    if !points.is_empty() {
        metrics.push(metric(points));
    }
    metrics
}

fn numbers(family: &Family<'_>, (since, now): (u64, u64)) -> Vec<NumberDataPoint> {
    let plain = family.samples.iter().filter(|it| it.suffix.is_empty());
    let points = plain.map(|it| NumberDataPoint {
        attributes: attributes(&it.labels),
        start_time_unix_nano: since,
        time_unix_nano: now,
        value: Some(if it.is_whole {
            Value::AsInt(whole(it.value))
        } else {
            Value::AsDouble(it.value)
        }),
        ..NumberDataPoint::default()
    });
    points.collect()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "it was written without a point, and counts are far below 2^53"
)]
fn whole(value: f64) -> i64 {
    value as i64
}

/// Samples by the labels that they have in common, in the order of the page.
fn by_labels<'f>(family: &'f Family<'_>) -> Vec<Vec<&'f Sample<'f>>> {
    let mut places: BTreeMap<&[(&str, String)], usize> = BTreeMap::new();
    let mut groups: Vec<Vec<&Sample<'_>>> = Vec::new();
    for sample in &family.samples {
        let place = *places.entry(&sample.labels).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[place].push(sample);
    }
    groups
}

fn histograms(family: &Family<'_>, (since, now): (u64, u64)) -> Vec<HistogramDataPoint> {
    let points = by_labels(family).into_iter().map(|samples| {
        let (mut bounds, mut counts, mut below) = (Vec::new(), Vec::new(), 0);
        let (mut sum, mut count) = (0.0, 0);
        for it in &samples {
            match (it.suffix, it.edge) {
                ("_bucket", Some(edge)) => {
                    let all = unsigned(it.value);
                    counts.push(all.saturating_sub(below));
                    below = all;
                    bounds.extend(edge.is_finite().then_some(edge));
                }
                ("_sum", _) => sum = it.value,
                ("_count", _) => count = unsigned(it.value),
                _ => {}
            }
        }
        HistogramDataPoint {
            attributes: attributes(&samples[0].labels),
            start_time_unix_nano: since,
            time_unix_nano: now,
            count,
            sum: Some(sum),
            bucket_counts: counts,
            explicit_bounds: bounds,
            ..HistogramDataPoint::default()
        }
    });
    points.collect()
}

fn summaries(family: &Family<'_>, (since, now): (u64, u64)) -> Vec<SummaryDataPoint> {
    let points = by_labels(family).into_iter().map(|samples| {
        let quantiles = samples.iter().filter_map(|it| {
            let quantile = it.edge.filter(|_| it.suffix.is_empty())?;
            Some(ValueAtQuantile { quantile, value: it.value })
        });
        let of =
            |suffix: &str| samples.iter().find(|it| it.suffix == suffix).map_or(0.0, |it| it.value);
        SummaryDataPoint {
            attributes: attributes(&samples[0].labels),
            start_time_unix_nano: since,
            time_unix_nano: now,
            count: unsigned(of("_count")),
            sum: of("_sum"),
            quantile_values: quantiles.collect(),
            ..SummaryDataPoint::default()
        }
    });
    points.collect()
}

fn unsigned(value: f64) -> u64 {
    u64::try_from(whole(value)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    const PAGE: &str = "\
# HELP dagbok_runs_ended_total Runs that are over
# TYPE dagbok_runs_ended_total counter
dagbok_runs_ended_total{state=\"success\"} 7
dagbok_runs_ended_total{state=\"a \\\"b\\\\\\nc, d=\\\"\"} 0
# HELP dagbok_cpu_seconds_total CPU
# TYPE dagbok_cpu_seconds_total counter
dagbok_cpu_seconds_total 0.25
# HELP dagbok_pool_slots Slots
# TYPE dagbok_pool_slots gauge
dagbok_pool_slots{pool=\"default_pool\"} -1
# HELP dagbok_took_seconds How long
# TYPE dagbok_took_seconds histogram
dagbok_took_seconds_bucket{dag_id=\"a\",le=\"0.5\"} 1
dagbok_took_seconds_bucket{dag_id=\"a\",le=\"10\"} 4
dagbok_took_seconds_bucket{dag_id=\"a\",le=\"+Inf\"} 5
dagbok_took_seconds_sum{dag_id=\"a\"} 40.5
dagbok_took_seconds_count{dag_id=\"a\"} 5
# HELP dagbok_dag_took_seconds By DAG
# TYPE dagbok_dag_took_seconds summary
dagbok_dag_took_seconds{dag_id=\"a\",quantile=\"0.5\"} 2
dagbok_dag_took_seconds{dag_id=\"a\",quantile=\"0.99\"} 3.5
dagbok_dag_took_seconds_sum{dag_id=\"a\"} 9
dagbok_dag_took_seconds_count{dag_id=\"a\"} 4
";

    fn all() -> Vec<Metric> {
        requests(PAGE, (5, 9)).into_iter().flatten().collect()
    }

    #[test]
    fn each_family_is_what_it_is_in_otlp() {
        let all = all();
        let names: Vec<(&str, &str)> =
            all.iter().map(|it| (it.name.as_str(), it.unit.as_str())).collect();
        let wanted = [
            ("dagbok_runs_ended", ""),
            ("dagbok_cpu_seconds", "s"),
            ("dagbok_pool_slots", ""),
            ("dagbok_took_seconds", "s"),
            ("dagbok_dag_took_seconds", "s"),
        ];
        assert_eq!(names, wanted);
        let Some(Data::Sum(sum)) = &all[0].data else { panic!("{all:?}") };
        assert!(sum.is_monotonic && sum.aggregation_temporality == 2);
        let point = &sum.data_points[0];
        assert_eq!(point.value, Some(Value::AsInt(7)));
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (5, 9));
        assert_eq!(sum.data_points[1].attributes, [text("state", "a \"b\\\nc, d=\"")]);
        let Some(Data::Sum(cpu)) = &all[1].data else { panic!("{all:?}") };
        assert_eq!(cpu.data_points[0].value, Some(Value::AsDouble(0.25)));
        let Some(Data::Gauge(gauge)) = &all[2].data else { panic!("{all:?}") };
        assert_eq!(gauge.data_points[0].value, Some(Value::AsInt(-1)));
        assert_eq!(gauge.data_points[0].start_time_unix_nano, 0);
    }

    #[test]
    fn steps_are_counted_each_for_itself_and_quantiles_stay() {
        let all = all();
        let Some(Data::Histogram(took)) = &all[3].data else { panic!("{all:?}") };
        let [point] = took.data_points.as_slice() else { panic!("{took:?}") };
        assert_eq!(point.explicit_bounds, [0.5, 10.0]);
        assert_eq!(point.bucket_counts, [1, 3, 1]);
        assert_eq!((point.count, point.sum), (5, Some(40.5)));
        assert_eq!(point.attributes, [text("dag_id", "a")]);
        let Some(Data::Summary(took)) = &all[4].data else { panic!("{all:?}") };
        let [point] = took.data_points.as_slice() else { panic!("{took:?}") };
        let quantiles: Vec<(f64, f64)> =
            point.quantile_values.iter().map(|it| (it.quantile, it.value)).collect();
        assert_eq!(quantiles, [(0.5, 2.0), (0.99, 3.5)]);
        assert_eq!((point.count, point.sum), (4, 9.0));
    }

    #[tokio::test]
    async fn what_is_not_sent_after_a_refusal_is_counted_with_it() {
        let (to, _got) = crate::log_records::tests::collector(vec![503]);
        // Another test may have done so.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let get = |name: &'static str| (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| to.clone());
        let sender = SeriesSender::new(&get, &Resource::builder_empty().build()).unwrap();
        let mut page = "# HELP a_total A\n# TYPE a_total counter\n".to_owned();
        for n in 0..=AT_ONCE {
            writeln!(page, "a_total{{n=\"{n}\"}} 1").expect("a text takes it");
        }
        let requests = sender.requests(&page, Timestamp(0), Timestamp(1));
        assert_eq!(requests.iter().map(|it| it.points).collect::<Vec<_>>(), [5_000, 1]);
        let dropped = || crate::log_records::tests::counted("dagbok_points_dropped_total");
        let before = dropped();
        sender.send(requests).await;
        assert_eq!(dropped() - before, 5_001);
    }

    #[test]
    fn no_request_has_more_than_its_share() {
        let mut page = "# HELP a_total A\n# TYPE a_total counter\n".to_owned();
        for n in 0..=AT_ONCE * 2 {
            writeln!(page, "a_total{{n=\"{n}\"}} 1").expect("a text takes it");
        }
        let requests = requests(&page, (0, 1));
        let counts: Vec<usize> = requests.iter().map(|it| it.iter().map(points).sum()).collect();
        assert_eq!(counts, [AT_ONCE, AT_ONCE, 1]);
    }
}
