//! Values by Airflow's names to a StatsD socket: never waited for, and what the socket does not take is counted.
use std::fmt::{self, Write as _};

pub use dagbok_metrics::airflow::{Sample, Waiting};
use dagbok_metrics::airflow::{What, dotted, sent};

use self::{lists::Lists, socket::Socket};
use crate::TelemetryError;

mod lists;
mod socket;

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

/// A socket, and what goes there.
pub struct Statsd {
    socket: Socket,
    settings: StatsdSettings,
    lists: Lists,
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
        let of_name = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if !settings.prefix.chars().all(of_name) {
            let why = "letters, digits, `_`, `.` and `-` may stand in a name";
            return Err(bad("telemetry.statsd_prefix", &settings.prefix, why));
        }
        let lists = Lists::new(&settings.allow, &settings.block, settings.legacy_names)?;
        Ok(Self { socket: Socket::new(&settings.address)?, settings, lists })
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
        self.socket.flush();
    }

    fn send_as(&mut self, name: &str, sample: &Sample, tags: &[(&'static str, String)]) {
        let name = valid(name);
        if !self.lists.goes(&name) {
            return;
        }
        let mut lines = self.line(&name, sample, sample.value, tags);
        // A gauge with a sign is one that goes up or down by so much, but for DogStatsD: so it is set to 0 before.
        let is_change = sample.what == What::Gauge && sample.value < 0.0;
        if is_change && self.settings.tags != TagForm::Datadog {
            lines = format!("{}\n{lines}", self.line(&name, sample, 0.0, tags));
        }
        self.socket.add(&lines);
    }

    fn line(
        &self,
        name: &str,
        sample: &Sample,
        number: f64,
        tags: &[(&'static str, String)],
    ) -> String {
        let wanted =
            tags.iter().filter(|(tag, _)| !self.settings.disabled_tags.iter().any(|it| it == tag));
        let dot = if self.settings.prefix.is_empty() { "" } else { "." };
        let mut line = format!("{}{dot}{name}", self.settings.prefix);
        if self.settings.tags == TagForm::Influx {
            for (tag, value) in
                wanted.clone().filter(|(_, value)| !value.contains([',', '=', ' ', '\n', '\r']))
            {
                write!(line, ",{tag}={}", value.replace([':', '|'], "_"))
                    .expect("a string takes all");
            }
        }
        let kind = match sample.what {
            What::Counter => "c",
            What::Gauge => "g",
            What::Timer => "ms",
        };
        write!(line, ":{number}|{kind}").expect("a string takes all");
        if self.settings.tags == TagForm::Datadog {
            let tags: Vec<String> =
                wanted.map(|(tag, value)| format!("{tag}:{}", plain(value))).collect();
            if !tags.is_empty() {
                line.push_str("|#");
                line.push_str(&tags.join(","));
            }
        }
        line
    }
}

/// Airflow's rule: what may not stand in a name becomes an underscore.
fn valid(name: &str) -> String {
    let ok = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    name.chars().map(|c| if ok(c) { c } else { '_' }).collect()
}

/// A tag's value, without what would end it.
fn plain(value: &str) -> String {
    value.replace(|c: char| c == ',' || c == '|' || c.is_control(), "_")
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, time::Duration};

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

    fn heard(settings: StatsdSettings) -> Vec<String> {
        heard_of(settings, &sample())
    }

    fn heard_of(mut settings: StatsdSettings, sample: &Sample) -> Vec<String> {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        settings.address = format!("udp://{}", socket.local_addr().unwrap());
        let mut statsd = Statsd::new(settings).unwrap();
        statsd.send(sample);
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
        let legacy_names = true;
        let of_task = StatsdSettings { legacy_names, ..list("ti.finish.my_dag.my_task") };
        assert!(Statsd::new(of_task).is_ok());
        for prefix in ["a:b", "a|b", "a\nb", "a b"] {
            let with =
                StatsdSettings { prefix: prefix.to_owned(), ..settings("udp://127.0.0.1:1") };
            assert!(said(with).contains("telemetry.statsd_prefix"), "{prefix}");
        }
        assert!(said(settings("http://127.0.0.1:8125")).contains("udp://"));
        assert!(said(settings("udp://127.0.0.1")).contains("udp://"));
        assert!(said(settings("unix://run")).contains("unix:///"));
    }

    #[test]
    fn a_gauge_below_zero_stands_there_and_does_not_go_down() {
        let tags = vec![("pool_name", "db\n|x,y".to_owned())];
        let full = Sample { name: "pool.open_slots", what: What::Gauge, value: -2.0, tags };
        let lines = ["airflow.pool.open_slots:0|g", "airflow.pool.open_slots:-2|g"];
        assert_eq!(heard_of(settings(""), &full), lines);
        let datadog = StatsdSettings { tags: TagForm::Datadog, ..settings("") };
        let line = "airflow.pool.open_slots:-2|g|#pool_name:db__x_y";
        assert_eq!(heard_of(datadog, &full), [line]);
        let influx = StatsdSettings { tags: TagForm::Influx, ..settings("") };
        assert_eq!(heard_of(influx, &full), lines);
    }
}
