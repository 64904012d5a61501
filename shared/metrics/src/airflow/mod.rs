//! The figures by Airflow's names of StatsD: what a note adds, what gauges say.
mod map;
mod names;
mod page;

pub use map::{Sample, Waiting, gauges, of_note};
pub use names::AIRFLOW_NAMES;
pub use page::statsd_reference;

/// What kind of value a name has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Counted up.
    Counter,
    /// As it stands.
    Gauge,
    /// How long something took, in milliseconds.
    Timer,
}

impl What {
    /// Airflow's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Timer => "timer",
        }
    }
}

/// What becomes of one of Airflow's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Sent, and means the same.
    Same,
    /// Sent, and means something near: what.
    Like(&'static str),
    /// Not sent: why it has no meaning here.
    No(&'static str),
}

/// One of Airflow's names.
#[derive(Clone, Copy, Debug)]
pub struct AirflowName {
    /// The name, whose variables are tags.
    pub name: &'static str,
    /// What kind of value it has.
    pub what: What,
    /// The older name, with its variables between braces.
    pub legacy: Option<&'static str>,
    /// What becomes of it.
    pub standing: Standing,
}

/// The alias by which older dashboards know the durations of runs.
pub const RUN_DURATION_ALIAS: &str = "dag_runs.duration";

/// The name of Airflow's, where it is one that is sent.
pub fn sent(name: &str) -> Option<&'static AirflowName> {
    let found = AIRFLOW_NAMES.iter().find(|it| it.name == name);
    found.filter(|it| !matches!(it.standing, Standing::No(_)))
}

/// Every name that can be sent, dotted ones with their variables between braces.
pub fn all_sent() -> impl Iterator<Item = &'static str> {
    let sent = AIRFLOW_NAMES.iter().filter(|it| !matches!(it.standing, Standing::No(_)));
    sent.flat_map(|it| std::iter::once(it.name).chain(it.legacy)).chain([RUN_DURATION_ALIAS])
}

/// Every name that can be sent without variables in it.
pub fn sent_plainly() -> impl Iterator<Item = &'static str> {
    let sent = AIRFLOW_NAMES.iter().filter(|it| !matches!(it.standing, Standing::No(_)));
    sent.map(|it| it.name).chain([RUN_DURATION_ALIAS])
}

/// The dotted name, with its variables filled in; dots within a value become `__`, so that the levels stay.
pub fn dotted(legacy: &str, tags: &[(&'static str, String)]) -> Option<String> {
    let mut name = String::new();
    let mut rest = legacy;
    while let Some((before, after)) = rest.split_once('{') {
        let (variable, after) = after.split_once('}')?;
        let (_, value) = tags.iter().find(|(tag, _)| *tag == variable)?;
        name.push_str(before);
        name.push_str(&value.replace('.', "__"));
        rest = after;
    }
    name.push_str(rest);
    Some(name)
}
