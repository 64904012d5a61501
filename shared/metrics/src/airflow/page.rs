//! The page about StatsD, made of the table of names.
use std::fmt::Write as _;

use super::{AIRFLOW_NAMES, RUN_DURATION_ALIAS, Standing};

const HEAD: &str = "# Metrics by Airflow's names\n\n\
    Made from `shared/metrics/src/airflow/names.rs` by `make schemas`; a test holds it to that, and the names to those of \
    Airflow 3.3.2 itself, which `tests/airflow/metrics.py` records.\n\n\
    With `telemetry.statsd = \"udp://127.0.0.1:8125\"` (or `unix:///run/statsd.sock`) the scheduler that leads sends what \
    dashboards of Airflow are made of. A name's variables are its tags, where `telemetry.statsd_tags` is `datadog` or \
    `influx`; the dotted name, with the variables in it, is sent besides while `telemetry.statsd_legacy_names` is on. Counters \
    and timers are sent as facts come, from the start of the scheduler's term on; what was before is in `/metrics`. A \
    gauge below 0 is sent as 0 and then with its sign, because StatsD takes a sign for a change; DogStatsD does not, and gets \
    it alone. Lines that a socket does not take are counted in `dagbok_statsd_dropped_total`; over UDP nobody learns whether \
    they arrive.\n\n\
    | Airflow's name | dotted name | kind | here |\n|---|---|---|---|\n";

/// The page, in Markdown.
pub fn statsd_reference() -> String {
    let mut page = HEAD.to_owned();
    for it in AIRFLOW_NAMES {
        let legacy = it.legacy.map_or_else(String::new, |legacy| format!("`{legacy}`"));
        let here = match it.standing {
            Standing::Same => "the same".to_owned(),
            Standing::Like(how) => format!("approximated: {how}"),
            Standing::No(why) => format!("not sent: {why}"),
        };
        writeln!(page, "| `{}` | {legacy} | {} | {here} |", it.name, it.what.word())
            .expect("a string takes all");
    }
    writeln!(
        page,
        "| `{RUN_DURATION_ALIAS}` | | timer | no name of Airflow's: both `dagrun.duration` ones under one name |"
    )
    .expect("a string takes all");
    page
}
