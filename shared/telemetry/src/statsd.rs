//! Values by Airflow's names to a StatsD socket: never waited for, and what the socket does not take is counted.
use std::{
    fmt::{self, Write as _},
    io,
    net::{SocketAddr, ToSocketAddrs as _, UdpSocket},
    os::unix::net::UnixDatagram,
    time::{Duration, Instant},
};

use cadence::{BufferedUdpMetricSink, BufferedUnixMetricSink, MetricSink};
pub use dagbok_metrics::airflow::{Sample, Waiting};
use dagbok_metrics::airflow::{What, all_sent, dotted, sent};
use regex::Regex;

use crate::{TelemetryError, metrics};

/// What one datagram holds at most: it fits where networks are old.
const DATAGRAM: usize = 1_432;
/// How soon a Unix socket whose reader went is looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How values carry their tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TagForm {
    /// Not at all.
    #[default]
    Off,
    /// After the value: `|#name:value`.
    Datadog,
    /// In the name: `,name=value`.
    Influx,
}

/// What is sent where, and how.
#[derive(Clone, Debug, Default)]
pub struct StatsdSettings {
    /// `udp://host:port` or `unix:///path`.
    pub address: String,
    /// What all names begin with; nothing where it is empty.
    pub prefix: String,
    /// How tags go.
    pub tags: TagForm,
    /// Whether dotted names with ids in them go too.
    pub legacy_names: bool,
    /// Names that go, all where there are none.
    pub allow: Vec<String>,
    /// Names that don't go, without an allow list.
    pub block: Vec<String>,
    /// Tags that don't go.
    pub disabled_tags: Vec<String>,
}

enum Place {
    Udp(SocketAddr),
    Unix(String),
}

/// A socket, and what goes there.
pub struct Statsd {
    place: Place,
    sink: Option<Box<dyn MetricSink + Send>>,
    looked: Option<Instant>,
    settings: StatsdSettings,
    allow: Vec<Regex>,
    block: Vec<Regex>,
}

impl fmt::Debug for Statsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Statsd({})", self.settings.address)
    }
}

fn bad(key: &'static str, value: &str, why: impl Into<String>) -> TelemetryError {
    TelemetryError::Statsd { key, value: value.to_owned(), why: why.into() }
}

impl Statsd {
    /// Takes the settings, or says what is wrong with them. Nobody need listen yet.
    pub fn new(settings: StatsdSettings) -> Result<Self, TelemetryError> {
        let place = place(&settings.address)?;
        let allow = patterns("telemetry.statsd_allow", &settings.allow)?;
        let block = patterns("telemetry.statsd_block", &settings.block)?;
        Ok(Self { place, sink: None, looked: None, settings, allow, block })
    }

    /// Sends one value, by its name and its dotted one.
    pub fn send(&mut self, sample: &Sample) {
        self.send_as(sample.name, sample, &sample.tags);
        let legacy = sent(sample.name).and_then(|known| known.legacy);
        if let Some(legacy) = legacy.filter(|_| self.settings.legacy_names)
            && let Some(name) = dotted(legacy, &sample.tags)
        {
            let of_name = |tag: &str| legacy.contains(&format!("{{{tag}}}"));
            let further: Vec<_> =
                sample.tags.iter().filter(|(tag, _)| !of_name(tag)).cloned().collect();
            self.send_as(&name, sample, &further);
        }
    }

    /// Sends what is gathered.
    pub fn flush(&mut self) {
        if let Some(sink) = &self.sink
            && sink.flush().is_err()
        {
            self.sink = None;
        }
    }

    fn send_as(&mut self, name: &str, sample: &Sample, tags: &[(&'static str, String)]) {
        let name = valid(name);
        if !self.goes(&name) {
            return;
        }
        let line = self.line(&name, sample, tags);
        let taken = match self.sink() {
            Some(sink) => sink.emit(&line).is_ok(),
            None => false,
        };
        if taken {
            metrics().statsd_sent();
        } else {
            metrics().statsd_dropped();
            self.sink = None;
        }
    }

    fn goes(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        let any = |of: &[Regex]| of.iter().any(|pattern| pattern.is_match(&name));
        if self.allow.is_empty() { !any(&self.block) } else { any(&self.allow) }
    }

    fn line(&self, name: &str, sample: &Sample, tags: &[(&'static str, String)]) -> String {
        let wanted =
            tags.iter().filter(|(tag, _)| !self.settings.disabled_tags.iter().any(|it| it == tag));
        let dot = if self.settings.prefix.is_empty() { "" } else { "." };
        let mut line = format!("{}{dot}{name}", self.settings.prefix);
        if self.settings.tags == TagForm::Influx {
            for (tag, value) in wanted.clone().filter(|(_, value)| !value.contains([',', '=', ' ']))
            {
                write!(line, ",{tag}={}", value.replace(':', "_")).expect("a string takes all");
            }
        }
        let kind = match sample.what {
            What::Counter => "c",
            What::Gauge => "g",
            What::Timer => "ms",
        };
        write!(line, ":{}|{kind}", sample.value).expect("a string takes all");
        if self.settings.tags == TagForm::Datadog {
            let tags: Vec<String> = wanted
                .map(|(tag, value)| format!("{tag}:{}", value.replace([',', '|'], "_")))
                .collect();
            if !tags.is_empty() {
                line.push_str("|#");
                line.push_str(&tags.join(","));
            }
        }
        line
    }

    fn sink(&mut self) -> Option<&(dyn MetricSink + Send)> {
        if self.sink.is_none() {
            if self.looked.is_some_and(|at| at.elapsed() < LOOK_AGAIN) {
                return None;
            }
            self.looked = Some(Instant::now());
            self.sink = open(&self.place).ok();
        }
        self.sink.as_deref()
    }
}

fn open(place: &Place) -> io::Result<Box<dyn MetricSink + Send>> {
    Ok(match place {
        Place::Udp(to) => {
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any)?;
            socket.set_nonblocking(true)?;
            let sink = BufferedUdpMetricSink::with_capacity(*to, socket, DATAGRAM);
            Box::new(sink.map_err(io::Error::other)?)
        }
        Place::Unix(path) => {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            Box::new(BufferedUnixMetricSink::with_capacity(path, socket, DATAGRAM))
        }
    })
}

/// Airflow's rule: what may not stand in a name becomes an underscore.
fn valid(name: &str) -> String {
    let ok = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    name.chars().map(|c| if ok(c) { c } else { '_' }).collect()
}

fn place(address: &str) -> Result<Place, TelemetryError> {
    let key = "telemetry.statsd";
    let why = "write `udp://host:8125` or `unix:///run/statsd.sock`";
    if let Some(path) = address.strip_prefix("unix://") {
        let is_absolute = path.starts_with('/');
        return if is_absolute {
            Ok(Place::Unix(path.to_owned()))
        } else {
            Err(bad(key, address, why))
        };
    }
    let Some(host) = address.strip_prefix("udp://") else { return Err(bad(key, address, why)) };
    let mut found = host
        .trim_end_matches('/')
        .to_socket_addrs()
        .map_err(|error| bad(key, address, format!("{error}; {why}")))?;
    found.next().map(Place::Udp).ok_or_else(|| bad(key, address, "the host has no address"))
}

/// Reads a list of regular expressions; each must find a name that there is.
fn patterns(key: &'static str, texts: &[String]) -> Result<Vec<Regex>, TelemetryError> {
    let one = |text: &String| {
        let wanted = text.trim().to_lowercase();
        let pattern = Regex::new(&wanted).map_err(|error| bad(key, text, error.to_string()))?;
        if all_sent().any(|name| may_match(&wanted, &pattern, name)) {
            return Ok(pattern);
        }
        let why = "no name that is sent is like it; schemas/statsd.md has all of them";
        Err(bad(key, text, why))
    };
    texts.iter().map(one).collect()
}

/// Whether a pattern can mean a name, whatever ids stand in it.
fn may_match(wanted: &str, pattern: &Regex, name: &str) -> bool {
    let name = name.to_lowercase();
    let fixed = name.split('{').next().unwrap_or(&name);
    let plain = wanted.trim_start_matches('^').replace('\\', "");
    pattern.is_match(&name.replace(['{', '}'], ""))
        || (fixed.len() < name.len() && fixed.len() > 3 && plain.starts_with(fixed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(address: &str) -> StatsdSettings {
        StatsdSettings {
            address: address.to_owned(),
            prefix: "airflow".to_owned(),
            ..Default::default()
        }
    }

    fn sample() -> Sample {
        let tags = vec![
            ("dag_id", "etl".to_owned()),
            ("run_id", "r1".to_owned()),
            ("task_id", "group.load".to_owned()),
            ("state", "success".to_owned()),
            ("queue", "gpu".to_owned()),
        ];
        Sample { name: "ti.finish", what: What::Counter, value: 1.0, tags }
    }

    fn heard(mut settings: StatsdSettings) -> Vec<String> {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        settings.address = format!("udp://{}", socket.local_addr().unwrap());
        let mut statsd = Statsd::new(settings).unwrap();
        statsd.send(&sample());
        statsd.flush();
        let mut bytes = [0; 2_048];
        let Ok(length) = socket.recv(&mut bytes) else { return vec![] };
        String::from_utf8_lossy(&bytes[..length]).lines().map(str::to_owned).collect()
    }

    #[test]
    fn names_go_as_airflow_writes_them() {
        assert_eq!(heard(settings("")), ["airflow.ti.finish:1|c"]);
        let legacy = StatsdSettings { legacy_names: true, ..settings("") };
        let dotted = "airflow.ti.finish.etl.group__load.success:1|c";
        assert_eq!(heard(legacy.clone()), ["airflow.ti.finish:1|c", dotted]);
        let disabled_tags = vec!["run_id".to_owned()];
        let datadog = StatsdSettings { tags: TagForm::Datadog, disabled_tags, ..legacy };
        assert_eq!(
            heard(datadog.clone()),
            [
                "airflow.ti.finish:1|c|#dag_id:etl,task_id:group.load,state:success,queue:gpu",
                "airflow.ti.finish.etl.group__load.success:1|c|#queue:gpu"
            ]
        );
        let influx = StatsdSettings { tags: TagForm::Influx, legacy_names: false, ..datadog };
        let line = "airflow.ti.finish,dag_id=etl,task_id=group.load,state=success,queue=gpu:1|c";
        assert_eq!(heard(influx), [line]);
    }

    #[test]
    fn lists_choose_by_regular_expressions_anywhere_in_a_name() {
        let allow = |text: &str| StatsdSettings { allow: vec![text.to_owned()], ..settings("") };
        assert_eq!(heard(allow("TI\\.")).len(), 1);
        assert!(heard(allow("pool")).is_empty());
        let block = |text: &str| StatsdSettings { block: vec![text.to_owned()], ..settings("") };
        assert!(heard(block("^ti")).is_empty());
        assert_eq!(heard(block("pool")).len(), 1);
    }

    #[test]
    fn what_can_not_be_meant_is_said_at_the_start() {
        let said = |settings| Statsd::new(settings).unwrap_err().to_string();
        let list = |text: &str| StatsdSettings {
            allow: vec![text.to_owned()],
            ..settings("udp://127.0.0.1:1")
        };
        assert!(said(list("schedular")).contains("schedular"));
        assert!(said(list("ti.(")).contains("telemetry.statsd_allow"));
        assert!(Statsd::new(list("ti.finish.my_dag.my_task")).is_ok());
        assert!(said(settings("http://127.0.0.1:8125")).contains("udp://"));
        assert!(said(settings("udp://127.0.0.1")).contains("udp://"));
        assert!(said(settings("unix://run")).contains("unix:///"));
    }

    #[test]
    fn nobody_who_listens_costs_nothing_but_a_count() {
        let folder = std::env::temp_dir().join(format!("dagbok-statsd-{}", std::process::id()));
        let mut statsd = Statsd::new(settings(&format!("unix://{}", folder.display()))).unwrap();
        let begin = Instant::now();
        for _ in 0..10_000 {
            statsd.send(&sample());
        }
        assert!(begin.elapsed() < Duration::from_secs(2));
        let text = metrics().render(|name| name == "dagbok_statsd_dropped_total");
        assert!(text.contains("dagbok_statsd_dropped_total"), "{text}");
    }
}
