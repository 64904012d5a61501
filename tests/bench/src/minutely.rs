//! DAGs with a minute schedule through hours of virtual time: the rules, and the encoding of what they write. Every
//! minute all of them are due at once, which is the worst there is.
use std::time::Instant;

use dagbok_events::{
    DagId, ExecutorId, Fact, Micros, Record, Timestamp, Timetable, TryKey, Usage, encode,
};
use dagbok_protocol::{CommandBody, Report, ReportBody};
use serde_json::{Value, json};

use crate::{
    script::{Script, dag_file},
    shapes::Shape,
    year::resident,
};

const MINUTE: i64 = 60_000_000;

/// What is counted of the records written.
#[derive(Default)]
struct Counted {
    records: u64,
    bytes: u64,
    runs: u64,
    /// When the last run was made, since its minute began.
    last_made: f64,
    minute: Option<Instant>,
}

/// Figures for each number of DAGs, over so many minutes.
pub(crate) fn measure(dags: &[usize], minutes: i64) -> anyhow::Result<Value> {
    dags.iter().map(|dags| of(*dags, minutes)).collect()
}

#[expect(clippy::cast_precision_loss, reason = "rates for people")]
fn of(dags: usize, minutes: i64) -> anyhow::Result<Value> {
    let counted = std::cell::RefCell::new(Counted::default());
    let mut script = Script::new(|record: &Record| {
        let mut counted = counted.borrow_mut();
        counted.records += 1;
        counted.bytes += encode(record).len() as u64;
        if record.facts.iter().any(|fact| matches!(fact, Fact::RunCreated(_))) {
            counted.runs += 1;
            counted.last_made = counted.minute.map_or(0.0, |minute| minute.elapsed().as_secs_f64());
        }
    });
    // On the minute.
    script.now = Timestamp(script.now.0 / MINUTE * MINUTE);
    let begin = Instant::now();
    for n in 0..dags {
        let mut spec = Shape::Apart.dag(&format!("minutely{n}"), 1, u32::MAX);
        spec.source.file = format!("{n}.py");
        spec.schedule.timetable = Timetable::CronTrigger { expression: "* * * * *".to_owned() };
        spec.start_date = Some(script.now);
        script.command(dag_file(spec));
    }
    let registered = begin.elapsed().as_secs_f64();
    let (before, mut lags) = (resident()?, Vec::new());
    *counted.borrow_mut() = Counted::default();
    let begin = Instant::now();
    for minute in 0..minutes {
        counted.borrow_mut().minute = Some(Instant::now());
        let mut queued = Vec::new();
        script.plan(&mut queued);
        lags.push(counted.borrow().last_made);
        while let Some(key) = queued.pop() {
            for body in [started(), succeeded()] {
                script.command(report(key.clone(), script.now, body));
            }
            if queued.is_empty() {
                script.plan(&mut queued);
            }
        }
        script.now = script.now.plus(Micros(MINUTE));
        if minute == 0 {
            // The first minute makes what none had before.
            lags.clear();
        }
    }
    let took = begin.elapsed().as_secs_f64();
    let after = resident()?;
    let dag_id = DagId::new("minutely0")?;
    let ahead = script.namespace.dag(&dag_id).map_or(0, |dag| dag.ahead().count());
    let counted = counted.borrow();
    let runs = counted.runs.max(1);
    lags.sort_by(f64::total_cmp);
    Ok(json!({
        "dags": dags, "minutes": minutes, "runs": counted.runs, "register_s": round(registered),
        "us_per_run": round(took * 1e6 / runs as f64),
        "cores": (took / (minutes as f64 * 60.0) * 1e4).round() / 1e4,
        "lag_max_ms": round(lags.last().copied().unwrap_or(0.0) * 1e3),
        "records_per_run": round(counted.records as f64 / runs as f64),
        "bytes_per_run": counted.bytes / runs,
        "promised_ahead": ahead + 1,
        "resident_mb": { "before": before >> 20, "after": after >> 20 },
    }))
}

fn started() -> ReportBody {
    let inputs = std::collections::BTreeMap::new();
    ReportBody::Started { hostname: "bench".into(), pid: 1, inputs, again: false }
}

fn succeeded() -> ReportBody {
    let usage = Usage { max_rss_bytes: 30_000_000, user_us: 900, system_us: 400 };
    ReportBody::Succeeded { xcoms: vec![], usage, log: None, skips: vec![], outlets: vec![] }
}

fn report(key: TryKey, at: Timestamp, body: ReportBody) -> CommandBody {
    let executor = ExecutorId::new("bench").expect("within the rules");
    CommandBody::Report(Box::new(Report { key, executor, at, body }))
}

fn round(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}
