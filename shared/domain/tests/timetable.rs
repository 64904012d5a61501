//! Timetables by example and by property. What a real Airflow says is in `timetable_oracle.rs`.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic says where")]
use dagbok_domain::timetable::{CompiledSchedule, Limits, Missed, Planned, compile};
use dagbok_events::{Interval, Micros, Schedule, Timestamp, Timetable};
use proptest::prelude::*;

fn at(text: &str) -> Timestamp {
    text.parse::<jiff::Timestamp>().unwrap().into()
}

fn schedule(timetable: Timetable, zone: &str) -> Schedule {
    Schedule { text: None, timetable, timezone: zone.to_owned() }
}

fn interval_cron(expression: &str, zone: &str) -> CompiledSchedule {
    compile(&schedule(Timetable::CronDataInterval { expression: expression.to_owned() }, zone))
        .unwrap()
}

fn trigger_cron(expression: &str, zone: &str) -> CompiledSchedule {
    compile(&schedule(Timetable::CronTrigger { expression: expression.to_owned() }, zone)).unwrap()
}

fn from(start: &str, catchup: bool) -> Limits {
    Limits { start_date: Some(at(start)), end_date: None, catchup }
}

/// The first runs, each planned after the one before.
fn chain(rules: &CompiledSchedule, limits: &Limits, now: Timestamp, count: usize) -> Vec<Planned> {
    let first = rules.next(None, limits, now);
    std::iter::successors(first, |last| rules.next(Some(last.data_interval), limits, now))
        .take(count)
        .collect()
}

fn due(runs: &[Planned]) -> Vec<String> {
    runs.iter().map(|run| run.run_after.to_string()).collect()
}

const NOW: &str = "2024-05-01T12:00:00Z";

#[test]
fn a_daily_run_stands_for_the_day_before_in_one_era_and_for_its_own_instant_in_the_other() {
    let limits = from("2024-01-01T00:00:00Z", true);
    let older = interval_cron("0 2 * * *", "UTC").next(None, &limits, at(NOW)).unwrap();
    assert_eq!(older.logical_date, at("2024-01-01T02:00:00Z"));
    assert_eq!(older.run_after, at("2024-01-02T02:00:00Z"));
    let newer = trigger_cron("0 2 * * *", "UTC").next(None, &limits, at(NOW)).unwrap();
    assert_eq!(
        newer.data_interval,
        Interval { start: at("2024-01-01T02:00:00Z"), end: at("2024-01-01T02:00:00Z") }
    );
    assert_eq!(newer.run_after, newer.logical_date);
}

#[test]
fn a_time_that_does_not_come_moves_on_and_one_that_comes_twice_is_the_second() {
    let gap = chain(
        &trigger_cron("30 2 * * *", "Europe/Zurich"),
        &from("2024-03-30T00:00:00Z", true),
        at(NOW),
        3,
    );
    assert_eq!(due(&gap), ["2024-03-30T01:30:00Z", "2024-03-31T01:30:00Z", "2024-04-01T00:30:00Z"]);
    let fold = chain(
        &trigger_cron("30 2 * * *", "Europe/Zurich"),
        &from("2024-10-26T00:00:00Z", true),
        at(NOW),
        3,
    );
    assert_eq!(
        due(&fold),
        ["2024-10-26T00:30:00Z", "2024-10-27T01:30:00Z", "2024-10-28T01:30:00Z"]
    );
}

#[test]
fn an_hourly_schedule_runs_through_the_hour_that_comes_twice() {
    let runs = chain(
        &trigger_cron("30 * * * *", "Europe/Zurich"),
        &from("2024-10-26T23:00:00Z", true),
        at(NOW),
        4,
    );
    let hours = [
        "2024-10-26T23:30:00Z",
        "2024-10-27T00:30:00Z",
        "2024-10-27T01:30:00Z",
        "2024-10-27T02:30:00Z",
    ];
    assert_eq!(due(&runs), hours);
}

#[test]
fn without_catchup_only_the_newest_run_that_is_due_is_made() {
    let limits = from("2020-01-01T00:00:00Z", false);
    let newest = interval_cron("@daily", "UTC").next(None, &limits, at(NOW)).unwrap();
    assert_eq!(newest.logical_date, at("2024-04-30T00:00:00Z"));
    let following =
        interval_cron("@daily", "UTC").next(Some(newest.data_interval), &limits, at(NOW)).unwrap();
    assert_eq!(following.run_after, at("2024-05-02T00:00:00Z"));
}

#[test]
fn the_end_date_is_the_last_logical_date() {
    let limits =
        Limits { end_date: Some(at("2024-01-03T00:00:00Z")), ..from("2024-01-01T00:00:00Z", true) };
    for (rules, runs) in [(interval_cron("@daily", "UTC"), 3), (trigger_cron("@daily", "UTC"), 3)] {
        let made = chain(&rules, &limits, at(NOW), 10);
        assert_eq!(made.len(), runs);
        assert_eq!(made.last().unwrap().logical_date, at("2024-01-03T00:00:00Z"));
    }
}

#[test]
fn without_a_start_date_there_is_nothing_to_catch_up_from() {
    let limits = Limits { start_date: None, end_date: None, catchup: true };
    assert_eq!(interval_cron("@daily", "UTC").next(None, &limits, at(NOW)), None);
    let following = trigger_cron("@daily", "UTC").next(None, &limits, at(NOW)).unwrap();
    assert_eq!(following.run_after, at("2024-05-02T00:00:00Z"));
    let just_past =
        trigger_cron("@daily", "UTC").next(None, &limits, at("2024-05-01T02:00:00Z")).unwrap();
    assert_eq!(just_past.run_after, at("2024-05-01T00:00:00Z"));
}

#[test]
fn a_fixed_offset_is_a_zone() {
    let limits = from("2024-03-30T00:00:00Z", true);
    assert_eq!(
        due(&chain(&trigger_cron("0 2 * * *", "+02:00"), &limits, at(NOW), 1)),
        ["2024-03-30T00:00:00Z"]
    );
    assert_eq!(
        due(&chain(&trigger_cron("0 2 * * *", "-09:30"), &limits, at(NOW), 1)),
        ["2024-03-30T11:30:00Z"]
    );
}

#[test]
fn a_refusal_says_which_part_and_what_to_write() {
    let refused = |expression: &str, zone: &str| {
        let timetable = Timetable::CronTrigger { expression: expression.to_owned() };
        compile(&schedule(timetable, zone)).unwrap_err().to_string()
    };
    for (expression, parts) in [
        ("0 25 * * *", ["hour field `25`", "0 to 23"]),
        ("0 0 * * MONDAY", ["day-of-week field", "SUN to SAT"]),
        ("0 0 * foo *", ["month field `foo`", "JAN to DEC"]),
        ("0 0 * * 5L", ["day-of-week field `5l`", "`L5`"]),
        ("*/0 * * * *", ["minute field `*/0`", "step"]),
        ("H 4 * * *", ["minute field `h`", "random"]),
        ("0 0 10,15W * *", ["day-of-month field", "`W` takes one day"]),
        ("0 0 * * 1#6", ["day-of-week field", "between 1 and 5"]),
        ("* * * *", ["has 4 fields", "preset"]),
        ("@fortnightly", ["has 1 fields", "`@daily`"]),
    ] {
        let message = refused(expression, "UTC");
        assert!(parts.iter().all(|part| message.contains(part)), "{expression}: {message}");
        assert!(message.contains(expression), "{message}");
    }
    assert!(refused("@daily", "Europe/Zurik").contains("`Europe/Zurik`"));
    for (every, months) in
        [(0, 0), (-1, 0), (0, -1), (-28 * 86_400_000_000, 1), (i64::MIN, i32::MAX)]
    {
        let timetable = Timetable::DeltaTrigger { every: Micros(every), months };
        let message = compile(&schedule(timetable, "UTC")).unwrap_err().to_string();
        assert!(message.contains("must be positive"), "{message}");
    }
}

#[test]
fn an_expression_that_no_date_matches_has_no_runs() {
    for expression in ["0 0 30 2 *", "0 0 31 4,6 *", "0 0 10 * 1#5", "0 0 15W * 6,0"] {
        let rules = interval_cron(expression, "Europe/Zurich");
        assert!(rules.is_never(), "{expression}");
        for catchup in [true, false] {
            assert_eq!(rules.next(None, &from("2024-01-01T00:00:00Z", catchup), at(NOW)), None);
        }
        assert_eq!(rules.manual_interval(at(NOW)), Interval { start: at(NOW), end: at(NOW) });
    }
    assert!(!interval_cron("0 0 29 2 *", "UTC").is_never());
}

#[test]
fn the_ends_of_time_are_survived() {
    let day = 86_400_000_000;
    let deltas = [(day, 0), (0, 1)]
        .map(|(every, months)| Timetable::DeltaDataInterval { every: Micros(every), months });
    let rules: Vec<_> = deltas
        .into_iter()
        .map(|delta| compile(&schedule(delta, "UTC")).unwrap())
        .chain(["* * * * *", "0 0 1 1 *"].map(|cron| interval_cron(cron, "America/New_York")))
        .collect();
    for instant in
        [i64::MIN, i64::MIN + 1, -62_135_596_800_000_000, 253_402_300_799_999_999, i64::MAX]
            .map(Timestamp)
    {
        for rules in &rules {
            for catchup in [true, false] {
                let limits = Limits { start_date: Some(instant), end_date: None, catchup };
                let _ = rules.next(None, &limits, Timestamp(0));
                let _ =
                    rules.next(Some(Interval { start: instant, end: instant }), &limits, instant);
            }
            let _ = rules.manual_interval(instant);
            let _ = rules.missed_between(
                Interval { start: Timestamp(0), end: Timestamp(0) },
                instant,
                3,
            );
        }
    }
}

#[test]
fn skipping_half_a_century_of_minutes_is_not_walking_through_it() {
    let (rules, limits) =
        (interval_cron("* * * * *", "Europe/Zurich"), from("1974-01-01T00:00:00Z", false));
    // Step by step this would be 26 billion ticks.
    for minute in 0..1000 {
        let now = at(NOW).plus(Micros::from_secs(60 * minute));
        assert_eq!(rules.next(None, &limits, now).unwrap().run_after, now);
    }
    let after = Interval { start: at("1974-01-01T00:00:00Z"), end: at("1974-01-01T00:01:00Z") };
    let missed = rules.missed_between(after, at(NOW), 50).unwrap();
    assert_eq!((missed.count, missed.last), (50, at("2024-05-01T11:59:00Z")));
}

#[test]
fn what_was_missed_is_named_without_its_neighbours() {
    let day = |n: u32| at(&format!("2024-04-{n:02}T00:00:00Z"));
    let last = Interval { start: day(1), end: day(2) };
    let missed = interval_cron("@daily", "UTC").missed_between(last, day(6), 100);
    assert_eq!(missed, Some(Missed { first: day(2), last: day(5), count: 4 }));
    assert_eq!(interval_cron("@daily", "UTC").missed_between(last, day(2), 100), None);
    let events = [3, 9, 5, 7].map(|n| Interval { start: day(n), end: day(n) });
    let events =
        compile(&schedule(Timetable::Events { dates: events.to_vec(), restricted: false }, "UTC"))
            .unwrap();
    let missed = events.missed_between(Interval { start: day(3), end: day(3) }, day(9), 100);
    assert_eq!(missed, Some(Missed { first: day(5), last: day(7), count: 2 }));
    let every =
        compile(&schedule(Timetable::DeltaTrigger { every: Micros(0), months: 1 }, "UTC")).unwrap();
    let missed = every.missed_between(
        Interval { start: day(1), end: day(1) },
        at("2024-08-01T00:00:00Z"),
        2,
    );
    let (first, last) = (at("2024-05-01T00:00:00Z"), at("2024-07-01T00:00:00Z"));
    assert_eq!(missed, Some(Missed { first, last, count: 2 }));
}

/// Schedules whose ticks a person would expect to follow one another without surprises.
fn any_rules() -> impl Strategy<Value = (CompiledSchedule, bool)> {
    let crons = [
        "*/5 * * * *",
        "0 * * * *",
        "30 1 * * *",
        "30 2 * * *",
        "0 */4 * * *",
        "15 3 * * 1-5",
        "0 0 1 * *",
        "@weekly",
        "* * * * * */20",
    ];
    let zones = ["UTC", "Europe/Zurich", "America/New_York", "Asia/Kolkata", "+05:45"];
    let cron =
        (prop::sample::select(crons.to_vec()), prop::sample::select(zones.to_vec()), any::<bool>())
            .prop_map(|(cron, zone, data)| {
                (if data { interval_cron(cron, zone) } else { trigger_cron(cron, zone) }, data)
            });
    let delta = (1..400_000_i64, 0..14, any::<bool>()).prop_map(|(seconds, months, data)| {
        let every = Micros::from_secs(seconds);
        let delta = if data {
            Timetable::DeltaDataInterval { every, months }
        } else {
            Timetable::DeltaTrigger { every, months }
        };
        (compile(&schedule(delta, "UTC")).unwrap(), data)
    });
    prop_oneof![3 => cron, 1 => delta]
}

/// Microseconds between 2000 and 2040.
fn any_instant() -> impl Strategy<Value = Timestamp> {
    (946_684_800..2_208_988_800_i64, prop_oneof![Just(0), 0..1_000_000_i64])
        .prop_map(|(seconds, micros)| Timestamp(seconds * 1_000_000 + micros))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn catching_up_covers_everything_once((rules, data) in any_rules(), start in any_instant(), now in any_instant()) {
        let limits = Limits { start_date: Some(start), end_date: None, catchup: true };
        let runs = chain(&rules, &limits, now, 40);
        prop_assert_eq!(runs.len(), 40);
        prop_assert!(runs[0].logical_date >= start);
        for pair in runs.windows(2) {
            prop_assert!(pair[0].logical_date < pair[1].logical_date);
            if data {
                prop_assert_eq!(pair[0].data_interval.end, pair[1].data_interval.start);
            }
        }
        prop_assert!(runs.iter().all(|run| run.run_after == run.data_interval.end && run.run_after >= run.logical_date));
    }

    #[test]
    fn runs_move_forward_whatever_the_clock_does(
        (rules, _) in any_rules(), start in any_instant(), nows in prop::collection::vec(any_instant(), 8), catchup: bool,
    ) {
        let limits = Limits { start_date: Some(start), end_date: None, catchup };
        let mut last: Option<Planned> = None;
        for now in nows {
            let planned = rules.next(last.map(|last| last.data_interval), &limits, now).unwrap();
            prop_assert!(planned.logical_date >= start);
            prop_assert!(last.is_none_or(|last| planned.logical_date > last.logical_date));
            prop_assert_eq!(Some(planned), rules.next(last.map(|last| last.data_interval), &limits, now));
            last = Some(planned);
        }
    }

    #[test]
    fn the_newest_run_that_is_due_leaves_none_behind(
        cron in prop::sample::select(&["* * * * *", "0 3 * * *", "0 */6 * * 1", "0 0 L * *"][..]), now in any_instant(), data: bool,
    ) {
        let rules = if data { interval_cron(cron, "UTC") } else { trigger_cron(cron, "UTC") };
        let limits = from("1990-01-01T00:00:00Z", false);
        let newest = rules.next(None, &limits, now).unwrap();
        prop_assert!(newest.run_after <= now);
        prop_assert!(rules.next(Some(newest.data_interval), &limits, now).unwrap().run_after > now);
    }

    #[test]
    fn missed_runs_are_those_that_catching_up_would_make((rules, _) in any_rules(), start in any_instant(), skip in 1_usize..30, max in 1_u32..40) {
        let limits = Limits { start_date: Some(start), end_date: None, catchup: true };
        let runs = chain(&rules, &limits, start, skip + 1);
        let between: Vec<Timestamp> = runs[1..skip].iter().map(|run| run.logical_date).collect();
        let expected = between.first().map(|first| Missed {
            first: *first,
            last: *between.last().unwrap(),
            count: u32::try_from(between.len()).unwrap().min(max),
        });
        prop_assert_eq!(rules.missed_between(runs[0].data_interval, runs[skip].logical_date, max), expected);
    }

    #[test]
    fn no_text_is_too_odd_for_a_clear_answer(expression in "[-0-9*/,LWHR#? a-zé@]{0,24}", zone in "\\PC{0,12}") {
        let timetable = Timetable::CronDataInterval { expression: expression.clone() };
        if let Ok(rules) = compile(&schedule(timetable.clone(), "Europe/Zurich")) {
            let _ = rules.next(None, &from("2024-01-01T00:00:00Z", false), at(NOW));
        }
        let _ = compile(&schedule(timetable, &zone));
    }

    #[test]
    fn five_odd_fields_get_a_clear_answer(fields in prop::collection::vec("[-0-9*/,lw#?]{1,6}", 5..8)) {
        let timetable = Timetable::CronTrigger { expression: fields.join(" ") };
        if let Ok(rules) = compile(&schedule(timetable, "America/New_York")) {
            let _ = rules.next(None, &from("2024-01-01T00:00:00Z", false), at(NOW));
        }
    }
}
