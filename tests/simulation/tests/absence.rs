//! Runs that a real schedule promises and that nobody makes: over the ends of months, leap days and clock changes each is
//! missed when its own clock says so, and one that is made in time pages nobody.
use dagbok_alerts::{Backtest, Policy, Rule, WouldBe};
use dagbok_domain::namespace::{Namespace, Outcome};
use dagbok_events::{
    Actor, CommandId, DagSpec, Digest, Fact, Micros, Record, Timestamp, Timetable,
};
use dagbok_protocol::{Command, CommandBody, DagFile, RegisteredDag};
use serde_json::json;

const DAY: i64 = 24 * 3_600;

fn at(text: &str) -> Timestamp {
    text.parse::<jiff::Timestamp>().expect("an instant").into()
}

fn digest() -> Digest {
    Digest::new("0".repeat(64)).expect("hexadecimal")
}

/// A DAG without tasks: its runs succeed as soon as they begin.
fn dag(expression: &str, zone: &str) -> DagSpec {
    let timetable = Timetable::CronTrigger { expression: expression.to_owned() };
    let spec = json!({
        "dag_id": "nightly", "owner": "ml", "schedule": { "timetable": "Manual", "timezone": zone }, "catchup": false,
        "max_active_runs": 16, "max_active_tasks": 1, "tasks": [], "source": { "file": "nightly.py" },
    });
    let mut spec: DagSpec = serde_json::from_value(spec).expect("a DAG");
    spec.schedule.timetable = timetable;
    spec.start_date = Some(at("2026-01-01T00:00:00Z"));
    spec
}

/// A scheduler, and what it wrote.
struct Scheduler {
    namespace: Namespace,
    log: Vec<Record>,
}

impl Scheduler {
    /// It reads the DAG's file at `now`, and promises its next run.
    fn reads(spec: &DagSpec, now: Timestamp) -> Self {
        let mut it = Self { namespace: Namespace::new(), log: Vec::new() };
        let file = DagFile {
            file: spec.source.file.clone(),
            bundle: digest(),
            dags: vec![RegisteredDag { spec_digest: digest(), spec: spec.clone(), foretold: None }],
            errors: Vec::new(),
            paused_at_creation: false,
        };
        let command = Command {
            id: CommandId::new("c1").expect("an id"),
            by: Actor::Processor,
            sent_at: now,
            reply_to: None,
            reason: None,
            trace: None,
            body: CommandBody::DagFileRead(Box::new(file)),
        };
        let decision = it.namespace.decide(now, &command);
        assert!(matches!(decision.outcome, Outcome::Accepted { .. }), "{:?}", decision.outcome);
        for record in &decision.records {
            it.write(record);
        }
        it.settle(now);
        it
    }

    fn write(&mut self, record: &Record) {
        self.log.push(record.clone());
        self.namespace.evolve(self.log.len() as u64, record);
    }

    fn settle(&mut self, now: Timestamp) {
        for _ in 0..1_000 {
            let proposals = self.namespace.plan(now);
            if proposals.is_empty() {
                return;
            }
            for proposal in &proposals {
                if let Some(record) = self.namespace.carry_out(now, proposal) {
                    self.write(&record);
                }
            }
        }
        panic!("the rules call for more and more at {now}");
    }

    /// It lives until then, and is there whenever something is due.
    fn lives(&mut self, from: Timestamp, until: Timestamp) {
        let mut now = from;
        while let Some(due) = self.namespace.next_due(now).filter(|due| *due <= until) {
            now = due;
            self.settle(now);
        }
    }

    /// When the run is due that is promised now, and how late it may be.
    fn promise(&self) -> (Timestamp, Micros) {
        let mut promises = self.log.iter().flat_map(|record| &record.facts).filter_map(|fact| {
            let Fact::RunExpected(promise) = fact else { return None };
            Some((promise.due?, promise.grace))
        });
        promises.next_back().expect("it promises a run")
    }
}

/// What is told of a log by then.
fn told(log: &[Record], since: Timestamp, until: Timestamp) -> Vec<WouldBe> {
    let mut backtest = Backtest::new(Policy::default(), "default", since);
    for (seq, record) in (1..).zip(log) {
        backtest.take(seq, record);
    }
    backtest.pass(until);
    backtest.found().0.cloned().collect()
}

/// What it is, the schedule, where its clock hangs, when the file is read, and when its next run is due.
const CASES: [(&str, &str, &str, &str, &str); 12] = [
    ("a month's end", "0 6 1 * *", "UTC", "2027-04-30T12:00:00Z", "2027-05-01T06:00:00Z"),
    ("a short month", "0 6 1 * *", "UTC", "2027-02-28T12:00:00Z", "2027-03-01T06:00:00Z"),
    (
        "the last of some months",
        "0 6 31 * *",
        "UTC",
        "2027-04-01T00:00:00Z",
        "2027-05-31T06:00:00Z",
    ),
    ("a leap day", "0 6 29 2 *", "UTC", "2027-03-01T00:00:00Z", "2028-02-29T06:00:00Z"),
    ("a year's end", "0 0 1 1 *", "UTC", "2027-12-31T23:00:00Z", "2028-01-01T00:00:00Z"),
    (
        "a month's end elsewhere",
        "0 0 1 * *",
        "Asia/Tokyo",
        "2027-05-31T12:00:00Z",
        "2027-05-31T15:00:00Z",
    ),
    ("before summer", "0 6 * * *", "Europe/Madrid", "2027-03-26T12:00:00Z", "2027-03-27T05:00:00Z"),
    (
        "clocks go forward",
        "0 6 * * *",
        "Europe/Madrid",
        "2027-03-27T12:00:00Z",
        "2027-03-28T04:00:00Z",
    ),
    ("before winter", "0 6 * * *", "Europe/Madrid", "2027-10-29T12:00:00Z", "2027-10-30T04:00:00Z"),
    (
        "clocks go back",
        "0 6 * * *",
        "Europe/Madrid",
        "2027-10-30T12:00:00Z",
        "2027-10-31T05:00:00Z",
    ),
    (
        "forward, over there",
        "0 6 * * *",
        "America/New_York",
        "2027-03-13T12:00:00Z",
        "2027-03-14T10:00:00Z",
    ),
    (
        "a month's end, over there",
        "0 6 1 * *",
        "America/Santiago",
        "2027-03-31T12:00:00Z",
        "2027-04-01T09:00:00Z",
    ),
];

#[test]
fn a_run_that_nobody_makes_is_missed_when_its_own_clock_says_so() {
    for (name, expression, zone, read, due) in CASES {
        let (read, due) = (at(read), at(due));
        let scheduler = Scheduler::reads(&dag(expression, zone), read);
        let (promised, grace) = scheduler.promise();
        assert_eq!(promised, due, "{name}");
        // The scheduler dies.
        let missed_at = due.plus(grace);
        assert_eq!(told(&scheduler.log, read, missed_at.plus(Micros(-1))), [], "{name}");
        let told = told(&scheduler.log, read, missed_at.plus(Micros::from_secs(DAY)));
        let [missing] = told.as_slice() else { panic!("{name}: {told:?}") };
        assert_eq!((missing.rule, missing.opened_at), (Rule::RunMissing, missed_at), "{name}");
        assert_eq!(missing.labels["cause"], "scheduler_silent", "{name}");
        assert!(missing.summary.contains(&due.to_string()), "{name}: {}", missing.summary);
    }
}

#[test]
fn an_hour_that_is_left_out_or_comes_twice_is_one_run_that_is_missed_once() {
    for read in ["2027-03-27T12:00:00Z", "2027-10-30T12:00:00Z"] {
        let read = at(read);
        let scheduler = Scheduler::reads(&dag("30 2 * * *", "Europe/Madrid"), read);
        let (due, grace) = scheduler.promise();
        let hours = due.since(read).0 / 3_600_000_000;
        assert!((12..=14).contains(&hours), "{due}");
        let told = told(&scheduler.log, read, due.plus(Micros::from_secs(DAY)));
        let [missing] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((missing.rule, missing.opened_at), (Rule::RunMissing, due.plus(grace)));
    }
}

#[test]
fn what_is_made_in_time_pages_nobody_over_the_ends_of_months_and_clock_changes() {
    for (expression, zone, runs) in [
        ("0 6 * * *", "Europe/Madrid", 365),
        ("30 2 * * *", "America/New_York", 365),
        ("0 0 1 * *", "Asia/Tokyo", 12),
        ("0 0 31 * *", "UTC", 7),
    ] {
        let from = at("2027-01-01T00:30:00Z");
        let until = from.plus(Micros::from_secs(365 * DAY));
        let mut scheduler = Scheduler::reads(&dag(expression, zone), from);
        scheduler.lives(from, until);
        assert_eq!(told(&scheduler.log, from, until), [], "{expression} in {zone}");
        let facts = scheduler.log.iter().flat_map(|record| &record.facts);
        let made = facts.filter(|fact| matches!(fact, Fact::RunCreated(_))).count();
        assert!(made.abs_diff(runs) <= 1, "{expression} in {zone}: {made} runs");
    }
}
