//! Schedules of every kind, as `oracle/record_schedules.py` asked both eras for them: what differs is printed with
//! its reason, and is at most one in a hundred.
use std::collections::BTreeMap;

use super::*;

const KINDS: [&str; 3] = ["expressions", "changes", "lengths"];
/// Of what the older era answers, the part that may differ from ours, in thousandths.
const MAY_DIFFER: usize = 10;

/// Zones of which the two databases of time zones, ours and the recording Python's, know different changes: in the
/// years to come, or long ago.
const OTHER_DATABASE: [&str; 3] = ["Africa/Casablanca", "Europe/Chisinau", "America/Bogota"];

/// Why ours is another answer than the recorded one.
fn reason(case: &Value, era: u8) -> Option<&'static str> {
    let theirs = list(case, "next");
    let kind = case["rule"][0].as_str()?;
    let zone = case["zone"].as_str()?;
    if OTHER_DATABASE.contains(&zone) && case["rule"][0] != "events" {
        return Some("knows other changes of the zone's clock");
    }
    Some(match era {
        3 if theirs.last()? == "ValueError" => {
            "raises for ever where the clock is put back by less than an hour"
        }
        3 if theirs.last()? == "AssertionError" || theirs.last()? == "CroniterBadDateError" => {
            "fails in a step of its own from then on"
        }
        2 if kind == "cron_interval" => {
            "repeats a run for ever where the clock is put back by less than an hour"
        }
        _ => return None,
    })
}

fn judged(era: u8, asked: &[Value]) {
    let (mut known, mut unknown) = (BTreeMap::<_, usize>::new(), Vec::new());
    for case in asked {
        let theirs: Vec<_> = list(case, "next").iter().map(answer).collect();
        let ours = replay_by(&compiled(case).of_era(era), case);
        if ours == theirs {
            continue;
        }
        match reason(case, era) {
            Some(reason) => *known.entry(reason).or_default() += 1,
            None => unknown.push(format!(
                "{case}\n  Airflow:\n    {}\n  ours:\n    {}",
                show(&theirs),
                show(&ours)
            )),
        }
    }
    let asked = asked.len();
    #[expect(clippy::print_stdout, reason = "disagreements are listed with their reasons")]
    for (reason, count) in &known {
        println!("Airflow {era}: {count} of {asked}: {reason}");
    }
    report(&unknown);
    let differ: usize = known.values().sum();
    assert!(differ * 1000 <= asked * MAY_DIFFER, "{differ} of {asked} differ: {known:?}");
}

#[test]
fn schedules_of_every_kind_make_the_runs_that_airflow_3_makes() {
    let recording = recorded("schedules-3.json");
    let of = |key| list(&recording, key).len();
    assert!(
        of("expressions") >= 2_500 && of("changes") >= 1_000,
        "both are asked as often as said"
    );
    let changes: std::collections::BTreeSet<_> = list(&recording, "changes")
        .iter()
        .map(|case| {
            (case["zone"].as_str().unwrap(), instant(&case["start"]).0 / 86_400_000_000 / 7)
        })
        .collect();
    assert!(changes.len() >= 100, "{} changes of clocks", changes.len());
    let asked: Vec<Value> = KINDS.iter().flat_map(|key| list(&recording, key).clone()).collect();
    judged(3, &asked);
}

#[test]
fn schedules_of_every_kind_make_the_runs_that_airflow_2_makes() {
    let (older, newer) = (recorded("schedules-2.json"), recorded("schedules-3.json"));
    let question = |case: &Value| {
        let mut case = case.clone();
        case.as_object_mut().expect("a case").remove("next");
        case.to_string()
    };
    let mut asked = Vec::new();
    for key in KINDS {
        let own: BTreeMap<String, &Value> =
            list(&older, key).iter().map(|case| (question(case), case)).collect();
        // Several expressions, and runs at once, are words of the newer era.
        let is_new = |case: &Value| {
            let rule = &case["rule"];
            rule[0] == "triggers" && (rule[1].as_array().unwrap().len() > 1 || !rule[3].is_null())
        };
        let both = list(&newer, key).iter().filter(|case| !is_new(case));
        // What is not among its own answers is as in Airflow 3.
        let before = asked.len();
        asked.extend(both.map(|case| (*own.get(&question(case)).unwrap_or(&case)).clone()));
        assert_eq!(older["asked"][key], asked.len() - before, "{key}: both were asked the same");
    }
    judged(2, &asked);
}

#[test]
fn a_manual_run_gets_the_interval_of_its_timetable() {
    for (name, era) in [("schedules-2.json", 2), ("schedules-3.json", 3)] {
        let recording = recorded(name);
        for case in list(&recording, "manual") {
            let rules = compiled(case).of_era(era);
            for asked in list(case, "manual") {
                let theirs = interval(&asked.as_array().unwrap()[1..].into());
                let ours = rules.manual_interval(instant(&asked[0]));
                assert_eq!(show(&[Some(ours)]), show(&[Some(theirs)]), "{case} at {}", asked[0]);
            }
        }
    }
    let both = list(&recorded("schedules-3.json"), "manual").len();
    assert_eq!(both, 6, "events, triggers and deltas");
}
