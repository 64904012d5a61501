//! A recorded day of ten thousand tries: every counter is what somebody who counts facts by hand comes to, in one go and
//! over restarts.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests panic where a value is not what it must be"
)]
use std::collections::BTreeMap;

use dagbok_events::{
    Actor, ExecutorId, Fact, Failure, FailureKind, Fault, Interval, Leg, MapIndex, PoolName,
    QueueName, Record, RuledOut, RunCancelled, RunCreated, RunFailed, RunKey, RunStarted,
    RunSucceeded, RunType, Scope, TaskId, TaskQueued, TaskRuledOut, Timestamp, TryCancelled,
    TryFailed, TryLost, TryNumber, TryStarted, TrySucceeded, Usage,
};
use dagbok_metrics::{
    Detail, INSTRUMENTS, Kind, Ledger, Source, open_metrics, parse, wants_open_metrics,
};
use serde::Deserialize;

/// Tries of the day.
const TRIES: u64 = 10_000;

/// Chance by a seed.
struct Chance(u64);

impl Chance {
    fn of(&mut self, most: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

/// What was counted by hand: a counter with its labels' values, and how often.
type Counts = BTreeMap<(&'static str, Vec<String>), u64>;

/// The day in the making.
struct Day {
    chance: Chance,
    at: i64,
    records: Vec<Record>,
    counts: Counts,
    tries: u64,
}

impl Day {
    fn count(&mut self, name: &'static str, labels: &[&str], by: u64) {
        let labels = labels.iter().map(|it| (*it).to_owned()).collect();
        *self.counts.entry((name, labels)).or_default() += by;
    }

    fn say(&mut self, run: &RunKey, facts: Vec<Fact>) -> Timestamp {
        // Ten thousand tries fill a day.
        self.at += i64::try_from(self.chance.of(4_000_000)).unwrap();
        let at = Timestamp(self.at);
        self.count("dagbok_log_records_total", &[], 1);
        self.count("dagbok_log_facts_total", &[], facts.len() as u64);
        let (scope, by) = (Scope::Run(run.clone()), Actor::Scheduler);
        self.records.push(Record {
            at,
            clock: None,
            scope,
            by,
            reason: None,
            cause: None,
            trace: None,
            facts,
        });
        at
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.at)
    }

    /// One run from its making to its end.
    fn run(&mut self, number: u64) {
        let dag = format!("dag_{}", self.chance.of(40));
        let key =
            RunKey { dag_id: dag.parse().unwrap(), run_id: format!("r{number}").parse().unwrap() };
        let is_scheduled = self.chance.of(4) > 0;
        let run_type = if is_scheduled { RunType::Scheduled } else { RunType::Manual };
        self.count(
            "dagbok_runs_created_total",
            &[if is_scheduled { "scheduled" } else { "manual" }],
            1,
        );
        if is_scheduled {
            self.count("dagbok_expected_runs_total", &["made"], 1);
        }
        let due = self.now();
        self.say(&key, vec![created(run_type, due)]);
        self.say(&key, vec![Fact::RunStarted(RunStarted {})]);
        let tasks = 1 + self.chance.of(8);
        for task in 0..tasks {
            let task = TaskId::new(format!("t{task}")).unwrap();
            match self.task(&key, &task) {
                "success" => {}
                "cancelled" => {
                    let cancelled = Fact::RunCancelled(RunCancelled::default());
                    self.say(&key, vec![cancelled]);
                    return self.over(&dag, "cancelled");
                }
                _ => {
                    let further = 2;
                    let out = Fact::TaskRuledOut(TaskRuledOut {
                        task_id: TaskId::new("last").unwrap(),
                        map_index: MapIndex(0),
                        further,
                        why: RuledOut::UpstreamFailed,
                        message: None,
                    });
                    self.count(
                        "dagbok_tasks_ruled_out_total",
                        &["upstream_failed"],
                        u64::from(further) + 1,
                    );
                    self.say(&key, vec![out, Fact::RunFailed(RunFailed { failed: vec![task] })]);
                    return self.over(&dag, "failed");
                }
            }
        }
        self.say(&key, vec![Fact::RunSucceeded(RunSucceeded {})]);
        self.over(&dag, "success");
    }

    fn over(&mut self, dag: &str, state: &'static str) {
        self.count("dagbok_runs_ended_total", &[state], 1);
        self.count("dagbok_dag_runs_ended_total", &[dag, state], 1);
    }

    /// A task's tries, and what became of it at last.
    fn task(&mut self, key: &RunKey, task: &TaskId) -> &'static str {
        for number in 1..=3 {
            let number = TryNumber::new(number).unwrap();
            self.say(key, vec![queued(task, number)]);
            let at = self.now().plus(dagbok_events::Micros(1_000));
            self.say(key, vec![started(task, number, at)]);
            self.count("dagbok_tries_started_total", &[], 1);
            self.tries += 1;
            let luck = self.chance.of(20);
            let may_retry = number.get() < 3;
            let usage = Usage {
                max_rss_bytes: 1,
                user_us: self.chance.of(9_000_000),
                system_us: self.chance.of(99),
            };
            let ended_at = self.now();
            let retry_at = may_retry.then_some(ended_at);
            let (state, fact) = match luck {
                0 => ("cancelled", cancelled(task, number)),
                1 => ("lost", lost(task, number, retry_at)),
                2..=4 => {
                    self.count("dagbok_task_failures_total", &["exception", "user"], 1);
                    let state = if may_retry { "up_for_retry" } else { "failed" };
                    (state, failed(task, number, (ended_at, retry_at), usage))
                }
                _ => ("success", succeeded(task, number, ended_at, usage)),
            };
            self.say(key, vec![fact]);
            if !matches!(state, "cancelled" | "lost") {
                self.count("dagbok_try_cpu_seconds_total", &["user"], usage.user_us);
                self.count("dagbok_try_cpu_seconds_total", &["system"], usage.system_us);
            }
            self.count("dagbok_tasks_ended_total", &[state], 1);
            self.count("dagbok_dag_tries_ended_total", &[key.dag_id.as_str(), state], 1);
            let of_task = [key.dag_id.as_str(), task.as_str(), state];
            self.count("dagbok_task_tries_ended_total", &of_task, 1);
            match state {
                "success" | "cancelled" => return state,
                "lost" if may_retry => {}
                "up_for_retry" => {}
                _ => return "failed",
            }
        }
        "failed"
    }
}

fn created(run_type: RunType, due: Timestamp) -> Fact {
    Fact::RunCreated(Box::new(RunCreated {
        run_type,
        logical_date: Some(due),
        data_interval: Some(Interval { start: due, end: due }),
        run_after: due,
        version: version_one(),
        bundle: "0".repeat(64).parse().unwrap(),
        conf: None,
        note: None,
        asset_events: vec![],
        asset_events_left_out: 0,
        partition: None,
        backfill_id: None,
    }))
}

fn version_one<T: for<'a> Deserialize<'a>>() -> T {
    rmp_serde::from_slice(&rmp_serde::to_vec(&1_u32).unwrap()).unwrap()
}

fn queued(task: &TaskId, try_number: TryNumber) -> Fact {
    Fact::TaskQueued(TaskQueued {
        task_id: task.clone(),
        map_index: MapIndex::UNMAPPED,
        try_number,
        leg: Leg::FIRST,
        pool: PoolName::new("default_pool").unwrap(),
        pool_slots: 1,
        queue: QueueName::new("default").unwrap(),
    })
}

fn started(task: &TaskId, try_number: TryNumber, started_at: Timestamp) -> Fact {
    Fact::TryStarted(Box::new(TryStarted {
        task_id: task.clone(),
        map_index: MapIndex::UNMAPPED,
        try_number,
        leg: Leg::FIRST,
        executor: ExecutorId::new("e").unwrap(),
        hostname: "h".into(),
        pid: 1,
        started_at,
        inputs: BTreeMap::new(),
    }))
}

fn succeeded(task: &TaskId, try_number: TryNumber, ended_at: Timestamp, usage: Usage) -> Fact {
    Fact::TrySucceeded(Box::new(TrySucceeded {
        task_id: task.clone(),
        map_index: MapIndex::UNMAPPED,
        try_number,
        leg: Leg::FIRST,
        ended_at,
        usage,
        log: None,
        skips: vec![],
    }))
}

fn failed(
    task: &TaskId,
    try_number: TryNumber,
    (ended_at, retry_at): (Timestamp, Option<Timestamp>),
    usage: Usage,
) -> Fact {
    Fact::TryFailed(Box::new(TryFailed {
        task_id: task.clone(),
        map_index: MapIndex::UNMAPPED,
        try_number,
        leg: Leg::FIRST,
        ended_at,
        failure: Failure {
            kind: FailureKind::Exception,
            fault: Fault::User,
            message: "no".into(),
            exception: None,
            traceback: None,
            traceback_blob: None,
            file: None,
            line: None,
            signal: None,
            exit_code: None,
            retryable: true,
            retry_delay: None,
            retry_reason: None,
            out_of_memory: None,
        },
        retry_at,
        usage,
        log: None,
    }))
}

/// From what the golden samples have of such facts: only what counts is said.
fn lost(task: &TaskId, try_number: TryNumber, retry_at: Option<Timestamp>) -> Fact {
    let lost = serde_json::json!({
        "task_id": task, "map_index": -1, "try_number": try_number, "leg": Leg::FIRST,
        "why": "executor_gone", "retry_at": retry_at,
    });
    Fact::TryLost(serde_json::from_value::<Box<TryLost>>(lost).unwrap())
}

fn cancelled(task: &TaskId, try_number: TryNumber) -> Fact {
    let cancelled = serde_json::json!({
        "task_id": task, "map_index": -1, "try_number": try_number, "leg": Leg::FIRST, "skipped": false,
    });
    Fact::TryCancelled(serde_json::from_value::<TryCancelled>(cancelled).unwrap())
}

fn day() -> Day {
    let (chance, counts) = (Chance(1), Counts::new());
    let mut day = Day { chance, at: 1_780_000_000_000_000, records: Vec::new(), counts, tries: 0 };
    for number in 0.. {
        if day.tries >= TRIES {
            break;
        }
        day.run(number);
    }
    day
}

/// Every series of counters that a page shows, but for those at nothing.
fn shown(text: &str) -> BTreeMap<String, String> {
    let counters = INSTRUMENTS.iter().filter(|it| {
        matches!(it.kind, Kind::Counter | Kind::SecondsCounter)
            && matches!(it.source, Source::Fold | Source::TaskFold)
    });
    let names: Vec<&str> = counters.map(|it| it.name).collect();
    let (_, series) = parse(text);
    let is_counter = |name: &str| names.contains(&name.split('{').next().unwrap_or(name));
    series.into_iter().filter(|(name, value)| is_counter(name) && value != "0").collect()
}

fn expected(counts: &Counts) -> BTreeMap<String, String> {
    let series = counts.iter().filter(|(_, count)| **count > 0).map(|((name, values), count)| {
        let it = INSTRUMENTS.iter().find(|it| it.name == *name).unwrap();
        let labels =
            it.labels.iter().zip(values).map(|(label, value)| format!("{label}=\"{value}\""));
        let labels = labels.collect::<Vec<_>>().join(",");
        let name =
            if labels.is_empty() { (*name).to_owned() } else { format!("{name}{{{labels}}}") };
        let value = match it.kind {
            Kind::SecondsCounter => {
                let text = format!("{}.{:06}", count / 1_000_000, count % 1_000_000);
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            }
            _ => count.to_string(),
        };
        (name, value)
    });
    series.collect()
}

#[test]
fn each_counter_of_a_recorded_day_equals_what_its_facts_come_to() {
    let day = day();
    assert!(day.tries >= TRIES && day.counts.len() > 200, "{} tries", day.tries);
    let mut whole = Ledger::new(true);
    let mut kept = Ledger::new(true);
    for (seq, record) in (1..).zip(&day.records) {
        whole.take(seq, record);
        kept.take(seq, record);
        if seq % 7_001 == 0 {
            // A restart.
            kept = rmp_serde::from_slice(&rmp_serde::to_vec_named(&kept).unwrap()).unwrap();
        }
    }
    assert_eq!(shown(&whole.text(Detail::All)), expected(&day.counts));
    assert_eq!(whole, kept);
}

#[test]
fn histograms_lead_to_traces_where_openmetrics_is_spoken_and_nothing_else_changes() {
    let day = day();
    let mut ledger = Ledger::new(false);
    for (seq, record) in (1..).zip(&day.records) {
        ledger.take(seq, record);
    }
    assert!(wants_open_metrics("application/openmetrics-text;version=1.0.0,text/plain;q=0.5"));
    let (plain, with) = (ledger.text(Detail::All), ledger.text_with_exemplars(Detail::All));
    assert!(!plain.contains("trace_id"));
    let bare: Vec<&str> =
        with.lines().map(|line| line.split(" # {").next().unwrap_or(line)).collect();
    assert_eq!(bare, plain.lines().collect::<Vec<_>>());
    let open = open_metrics(&with);
    assert!(open.ends_with("# EOF\n") && open.contains("\n# TYPE dagbok_runs_ended counter\n"));
    let mut exemplars = 0;
    for line in open.lines().filter(|line| line.contains(" # {trace_id=\"")) {
        let (series, exemplar) = line.split_once(" # {trace_id=\"").unwrap();
        let (trace, rest) = exemplar.split_once("\"} ").unwrap();
        let (took, at) = rest.split_once(' ').unwrap();
        assert!(trace.len() == 32 && series.contains("_bucket{"), "{line}");
        let end = series.split("le=\"").nth(1).unwrap().split('"').next().unwrap();
        let end: f64 = if end == "+Inf" { f64::INFINITY } else { end.parse().unwrap() };
        assert!(took.parse::<f64>().unwrap() <= end, "{line}");
        assert!(at.parse::<f64>().unwrap() > 1.78e9, "{line}");
        exemplars += 1;
    }
    assert!(exemplars > 10, "{exemplars}");
}
