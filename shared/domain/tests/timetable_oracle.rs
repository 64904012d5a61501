//! What a real Airflow planned, replayed: `oracle/record_timetables.py` asked, the JSON beside it is the
//! answers. The one era's answers must all be ours; where the other's differ, the reason is named here.
use std::path::Path;

use dagbok_domain::timetable::{CompiledSchedule, Limits, compile};
use dagbok_events::{Interval, Micros, RunImmediately, Schedule, Span, Timestamp, Timetable};
use serde_json::Value;

#[path = "timetable_oracle/schedules.rs"]
mod schedules;

/// As the recorder writes it: seconds, with a fraction where there is one.
fn instant(value: &Value) -> Timestamp {
    match value.as_i64() {
        Some(whole) => Timestamp(whole * 1_000_000),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "microseconds of our times, exact in 53 bits"
        )]
        None => Timestamp((value.as_f64().expect("a number") * 1e6).round() as i64),
    }
}

fn interval(value: &Value) -> Interval {
    Interval { start: instant(&value[0]), end: instant(&value[1]) }
}

fn span(parts: &Value) -> Span {
    let part = |at: usize| parts[at].as_i64().expect("a number");
    Span { micros: Micros::from_secs(part(0)), months: i32::try_from(part(1)).expect("a few") }
}

fn schedule(case: &Value) -> Schedule {
    let rule = &case["rule"];
    let expression = || rule[1].as_str().expect("an expression").to_owned();
    let delta = || {
        let months = i32::try_from(rule[2].as_i64().expect("months")).expect("a few");
        (Micros::from_secs(rule[1].as_i64().expect("seconds")), months)
    };
    let timetable = match rule[0].as_str().expect("a rule") {
        "manual" => Timetable::Manual,
        "once" => Timetable::Once,
        "continuous" => Timetable::Continuous,
        "cron_interval" => Timetable::CronDataInterval { expression: expression() },
        "cron_trigger" => Timetable::CronTrigger { expression: expression() },
        "delta_interval" => Timetable::DeltaDataInterval { every: delta().0, months: delta().1 },
        "delta_trigger" => Timetable::DeltaTrigger { every: delta().0, months: delta().1 },
        "triggers" => {
            let crons = rule[1].as_array().expect("expressions").iter();
            let run_immediately = match &rule[3] {
                Value::Bool(true) => RunImmediately::Always,
                Value::Number(secs) => {
                    RunImmediately::Within(Micros::from_secs(secs.as_i64().expect("seconds")))
                }
                _ => RunImmediately::IfNear,
            };
            let expressions = crons.map(|cron| cron.as_str().expect("a text").to_owned()).collect();
            Timetable::CronTriggers { expressions, interval: span(&rule[2]), run_immediately }
        }
        "delta_triggers" => {
            Timetable::DeltaTriggers { every: span(&rule[1]), interval: span(&rule[2]) }
        }
        kind @ ("events" | "events_only") => {
            let dates = rule[1].as_array().expect("dates").iter().map(instant);
            let dates = dates.map(|at| Interval { start: at, end: at }).collect();
            Timetable::Events { dates, restricted: kind == "events_only" }
        }
        other => panic!("the recorder knows a rule that the test does not: {other}"),
    };
    Schedule { text: None, timetable, timezone: case["zone"].as_str().expect("a zone").to_owned() }
}

fn compiled(case: &Value) -> CompiledSchedule {
    compile(&schedule(case)).unwrap_or_else(|bad| panic!("{bad} in {case}"))
}

/// The recorded answer: an interval, or nothing (the end, or an exception: Airflow then plans nothing).
fn answer(value: &Value) -> Option<Interval> {
    value.is_array().then(|| interval(value))
}

/// What is planned for a case, in the recording's shape.
fn replay(case: &Value) -> Vec<Option<Interval>> {
    replay_by(&compiled(case), case)
}

fn replay_by(rules: &CompiledSchedule, case: &Value) -> Vec<Option<Interval>> {
    let limits = Limits {
        start_date: case.get("start").map(instant),
        end_date: case.get("end").map(instant),
        catchup: case["catchup"].as_bool().expect("a flag"),
    };
    let mut last = case.get("last").map(interval);
    let mut answers = Vec::new();
    for step in 0..case["steps"].as_i64().expect("a number") {
        let now = instant(&case["now"])
            .plus(Micros::from_secs(step * case["step"].as_i64().expect("seconds")));
        let planned = rules.next(last, &limits, now);
        if let Some(planned) = planned {
            assert_eq!(planned.logical_date, planned.data_interval.start, "{case}");
            assert_eq!(planned.run_after, planned.data_interval.end, "{case}");
            last = Some(planned.data_interval);
        }
        answers.push(planned.map(|planned| planned.data_interval));
        if planned.is_none() {
            break;
        }
    }
    answers
}

fn recorded(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle").join(name);
    let text =
        std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

fn list<'a>(recording: &'a Value, key: &str) -> &'a Vec<Value> {
    recording[key].as_array().unwrap_or_else(|| panic!("a list of {key}"))
}

fn show(answers: &[Option<Interval>]) -> String {
    let one = |answer: &Option<Interval>| match answer {
        Some(Interval { start, end }) => format!("{start} to {end}"),
        None => "nothing".to_owned(),
    };
    answers.iter().map(one).collect::<Vec<_>>().join("\n    ")
}

/// The differences, the first ones shown.
fn report(differences: &[String]) {
    let shown = differences.iter().take(4).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(differences.is_empty(), "{} differences, such as\n{shown}", differences.len());
}

#[test]
fn every_run_is_planned_as_airflow_3_plans_it() {
    let recording = recorded("timetables-3.json");
    let cases = list(&recording, "planned");
    assert!(cases.len() > 2000, "a recording of {} cases", cases.len());
    let (mut differences, mut went_on) = (Vec::new(), 0);
    for case in cases {
        let theirs = list(case, "next");
        let stuck = theirs.last().is_some_and(|answer| answer == "ValueError");
        let mut ours = replay(case);
        if stuck {
            // The one known difference. Where a clock is put back by less than an hour, an hourly
            // schedule's ticks overlap; Airflow raises from then on and never runs the DAG again.
            assert!(ours.iter().all(Option::is_some), "ours goes on: {case}");
            assert!(ours.is_sorted_by(|a, b| a < b), "and forward: {case}");
            ours.truncate(theirs.len() - 1);
            ours.push(None);
            went_on += 1;
        }
        let theirs: Vec<_> = theirs.iter().map(answer).collect();
        if ours != theirs {
            let ask = format!("{} in {}\n  {case}", case["rule"], case["zone"]);
            differences.push(format!(
                "{ask}\n  Airflow:\n    {}\n  ours:\n    {}",
                show(&theirs),
                show(&ours)
            ));
        }
    }
    report(&differences);
    assert_eq!(went_on, 4, "hourly in Lord Howe, twice, and in Monrovia");
}

#[test]
fn every_manual_run_gets_the_interval_that_airflow_infers() {
    let recording = recorded("timetables-3.json");
    let mut differences = Vec::new();
    for case in list(&recording, "manual") {
        let rules = compiled(case);
        for asked in list(case, "manual") {
            let at = instant(&asked[0]);
            // Where nothing can be inferred Airflow fails the trigger; ours gives it an empty interval.
            let failed = asked[1] == "CroniterBadDateError";
            let theirs = if failed {
                Interval { start: at, end: at }
            } else {
                interval(&asked.as_array().unwrap()[1..].into())
            };
            let ours = rules.manual_interval(at);
            if ours != theirs {
                differences.push(format!(
                    "{} in {} at {at}: {} not {}",
                    case["rule"],
                    case["zone"],
                    show(&[Some(ours)]),
                    show(&[Some(theirs)])
                ));
            }
        }
    }
    report(&differences);
}

/// Why Airflow 2 answers otherwise than Airflow 3, whose answers are ours.
fn why_airflow_2_differs(case: &Value) -> Option<&'static str> {
    let kind = case["rule"][0].as_str()?;
    let (start, last) = (case.get("start"), case.get("last"));
    Some(match kind {
        "once" | "continuous" if start.is_none() => "needs a start date",
        "continuous" => "an interval that ends before it starts, where the start date is to come",
        "cron_trigger" | "delta_trigger" if start.is_none() && case["catchup"] == true => {
            "needs a start date"
        }
        "cron_trigger" if start.is_none() => {
            "without a start date runs the last tick however long ago"
        }
        "delta_interval" if case["rule"][2] != 0 && case["catchup"] == false => {
            "counts months in units of 30 days since 1970, not from the start date"
        }
        "cron_interval" | "delta_interval" if last.is_some() => {
            "plans a run at or before the last one after the schedule has changed"
        }
        "cron_interval"
            if case["zone"] == "Australia/Lord_Howe" || case["zone"] == "Africa/Monrovia" =>
        {
            "repeats a run for ever where the clock is put back by less than an hour"
        }
        _ => return None,
    })
}

#[test]
fn airflow_2_differs_from_airflow_3_only_for_known_reasons() {
    let (older, newer) = (recorded("timetables-2.json"), recorded("timetables-3.json"));
    for key in ["planned", "manual"] {
        let same = usize::try_from(older["same"][key].as_u64().unwrap()).unwrap();
        assert_eq!(
            same + list(&older, key).len(),
            list(&newer, key).len(),
            "both were asked the same"
        );
    }
    assert!(list(&older, "manual").is_empty(), "manual runs are the same in both");
    let unexplained: Vec<String> = list(&older, "planned")
        .iter()
        .filter(|case| why_airflow_2_differs(case).is_none())
        .map(Value::to_string)
        .collect();
    report(&unexplained);
}

fn trigger_in(expression: &str, zone: &str) -> Result<CompiledSchedule, String> {
    let timetable = Timetable::CronTrigger { expression: expression.to_owned() };
    compile(&Schedule { text: None, timetable, timezone: zone.to_owned() })
        .map_err(|bad| bad.to_string())
}

fn intervals_of(expression: &str) -> CompiledSchedule {
    let timetable = Timetable::CronDataInterval { expression: expression.to_owned() };
    compile(&Schedule { text: None, timetable, timezone: "UTC".to_owned() }).expect("read before")
}

const ALL: Limits = Limits { start_date: None, end_date: None, catchup: true };

fn tick_after(rules: &CompiledSchedule, at: Timestamp) -> Option<Timestamp> {
    rules.next(Some(Interval { start: at, end: at }), &ALL, at).map(|planned| planned.run_after)
}

/// The two ticks before `at`, read off the interval of a manual run.
fn ticks_before(rules: &CompiledSchedule, at: Timestamp) -> Vec<Option<Timestamp>> {
    match rules.manual_interval(at) {
        Interval { start, end } if start == end => vec![None],
        Interval { start, end } if end == at => {
            vec![Some(start), Some(rules.manual_interval(start).start)]
        }
        Interval { start, end } => vec![Some(end), Some(start)],
    }
}

#[test]
fn every_expression_ticks_as_croniter_ticks() {
    let recording = recorded("croniter.json");
    let (mut differences, mut refused) = (Vec::new(), 0);
    for case in list(&recording, "expressions") {
        let expression = case["cron"].as_str().unwrap();
        let rules = trigger_in(expression, "UTC");
        if case.get("refused").is_some() != rules.is_err() {
            differences.push(format!("`{expression}`: {case} but ours: {:?}", rules.err()));
            continue;
        }
        refused += u32::from(rules.is_err());
        let Ok(rules) = rules else { continue };
        let intervals = intervals_of(expression);
        for asked in list(case, "asked") {
            let at = instant(&asked[0]);
            let recorded = |ticks: &Value| -> Vec<Option<Timestamp>> {
                ticks
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|tick| (!tick.is_null()).then(|| instant(tick)))
                    .collect()
            };
            let (after, before) = (recorded(&asked[1]), recorded(&asked[2]));
            let mut ours = vec![tick_after(&rules, at)];
            while let Some(Some(last)) = ours.last().copied().filter(|_| ours.len() < after.len()) {
                ours.push(tick_after(&rules, last));
            }
            if ours != after {
                differences
                    .push(format!("`{expression}` after {at}: {ours:?}, croniter: {after:?}"));
            }
            // Read off a manual run's interval, which takes two ticks before, and one after those.
            let followed = before[0].is_some_and(|tick| tick_after(&rules, tick).is_some());
            let readable = followed && !before.contains(&None);
            let before = if readable { before } else { vec![None] };
            let ours = ticks_before(&intervals, at);
            if ours != before {
                differences
                    .push(format!("`{expression}` before {at}: {ours:?}, croniter: {before:?}"));
            }
        }
    }
    report(&differences);
    assert!(refused > 80, "the recording has {refused} refused expressions");
}

#[test]
fn an_expression_counts_as_hourly_where_croniter_says_so() {
    let recording = recorded("croniter.json");
    // Just before New York's clock goes from 02:00 back to 01:00, to 02:00 four hours and then five from UTC.
    let (wall, at) = (instant(&1_730_599_199.into()), instant(&1_730_613_599.into()));
    let spring = instant(&1_741_000_000.into());
    let (mut hourly, mut other) = (0, 0);
    for case in list(&recording, "expressions").iter().filter(|case| case.get("refused").is_none())
    {
        let expression = case["cron"].as_str().unwrap();
        let Some(tick) =
            tick_after(&trigger_in(expression, "UTC").unwrap(), wall).filter(|tick| *tick < spring)
        else {
            continue;
        };
        let behind = if case["hourly"] == true { 4 } else { 5 };
        *(if behind == 4 { &mut hourly } else { &mut other }) += 1;
        let found = tick_after(&trigger_in(expression, "America/New_York").unwrap(), at);
        assert_eq!(found, Some(tick.plus(Micros::from_secs(behind * 3600))), "`{expression}`");
    }
    assert!(hourly > 50 && other > 200, "{hourly} hourly and {other} other expressions");
}
