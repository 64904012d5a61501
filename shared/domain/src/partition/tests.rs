//! What mappers, windows and rules make of keys, beside what real Airflow answered.
use dagbok_events::{PartitionMapper, PartitionWindow, Period, WaitPolicy};

use super::*;

fn start_of(period: Period, timezone: &str) -> PartitionMapper {
    let output = match period {
        Period::Hour => "%Y-%m-%dT%H",
        Period::Day => "%Y-%m-%d",
        Period::Week => "%Y-%m-%d (W%V)",
        Period::Month => "%Y-%m",
        Period::Quarter => "%Y-Q{quarter}",
        Period::Year => "%Y",
    };
    PartitionMapper::StartOf {
        period,
        timezone: timezone.to_owned(),
        input_format: "%Y-%m-%dT%H:%M:%S".to_owned(),
        output_format: output.to_owned(),
    }
}

fn of(period: Period, backward: bool) -> PartitionWindow {
    PartitionWindow::Of { period, backward }
}

#[test]
fn a_key_becomes_the_beginning_of_its_period() {
    let cases = [
        (Period::Hour, "2024-03-13T10"),
        (Period::Day, "2024-03-13"),
        (Period::Week, "2024-03-11 (W11)"),
        (Period::Month, "2024-03"),
        (Period::Quarter, "2024-Q1"),
        (Period::Year, "2024"),
    ];
    for (period, wanted) in cases {
        let mapper = start_of(period, "UTC");
        let keys = to_downstream(&mapper, "2024-03-13T10:42:15");
        assert_eq!(keys, Ok(vec![wanted.to_owned()]), "{period:?}");
        let begins = date_of(&mapper, wanted).expect("a date").expect("of a time");
        let again = to_downstream(&mapper, &begins.to_string()[..19]);
        assert_eq!(again, Ok(vec![wanted.to_owned()]), "{period:?} {begins}");
    }
    assert!(to_downstream(&start_of(Period::Day, "UTC"), "yesterday").is_err());
    let begins = date_of(&start_of(Period::Day, "Asia/Taipei"), "2024-03-13");
    assert_eq!(begins.expect("one").expect("one").to_string(), "2024-03-12T16:00:00Z");
}

#[test]
fn a_day_is_made_of_its_hours_and_a_month_of_its_days() {
    let rollup = |period: Period, input: Option<&str>| {
        let mut upstream = start_of(period, "UTC");
        if let (Some(input), PartitionMapper::StartOf { input_format, .. }) = (input, &mut upstream)
        {
            input.clone_into(input_format);
        }
        let (upstream, window) = (Box::new(upstream), of(period, false));
        PartitionMapper::Rollup { upstream, window, wait: WaitPolicy::All }
    };
    let needs = |mapper: &PartitionMapper, key: &str| {
        to_upstream(mapper, key).expect("made of others").expect("a key").0
    };
    let hours = needs(&rollup(Period::Day, None), "2024-03-13");
    assert_eq!((hours.len(), hours[23].as_str()), (24, "2024-03-13T23:00:00"));
    let days = needs(&rollup(Period::Month, Some("%Y-%m-%d")), "2024-02");
    assert_eq!((days.len(), days[28].as_str()), (29, "2024-02-29"));
    let months = needs(&rollup(Period::Quarter, None), "2024-Q3");
    assert_eq!(months, ["2024-07-01T00:00:00", "2024-08-01T00:00:00", "2024-09-01T00:00:00"]);
    let week = needs(&rollup(Period::Week, None), "2024-03-11 (W11)");
    assert_eq!((week.len(), week[6].as_str()), (7, "2024-03-17T00:00:00"));
    assert!(to_upstream(&rollup(Period::Day, None), "2024-03").expect("made of others").is_err());
}

#[test]
fn one_key_fans_out_to_the_days_from_it_or_up_to_it() {
    let fan = |backward| PartitionMapper::FanOut {
        upstream: Box::new(start_of(Period::Week, "UTC")),
        window: of(Period::Week, backward),
        downstream: Box::new(start_of(Period::Day, "UTC")),
    };
    let days = to_downstream(&fan(false), "2024-03-11T00:00:00").expect("days");
    assert_eq!((days.len(), &*days[0], &*days[6]), (7, "2024-03-11", "2024-03-17"));
    let before = to_downstream(&fan(true), "2024-03-11T00:00:00").expect("days");
    assert_eq!((before.len(), &*before[0], &*before[6]), (7, "2024-03-05", "2024-03-11"));
    let segments = vec!["apac".to_owned(), "eu".to_owned(), "us".to_owned()];
    let scatter = PartitionMapper::FanOut {
        upstream: Box::new(PartitionMapper::Identity),
        window: PartitionWindow::Segments { segments: segments.clone() },
        downstream: Box::new(PartitionMapper::Identity),
    };
    assert_eq!(to_downstream(&scatter, "us"), Ok(segments));
}

#[test]
fn parts_and_chains_are_mapped_one_by_one() {
    let product = PartitionMapper::Product {
        mappers: vec![PartitionMapper::Identity, start_of(Period::Day, "UTC")],
        delimiter: "|".to_owned(),
    };
    let keys = to_downstream(&product, "us|2026-06-14T03:00:00");
    assert_eq!(keys, Ok(vec!["us|2026-06-14".to_owned()]));
    assert!(to_downstream(&product, "us").is_err());
    let begins = date_of(&product, "us|2026-06-14").expect("one").expect("of a time");
    assert_eq!(begins.to_string(), "2026-06-14T00:00:00Z");
    let allowed = PartitionMapper::AllowedKey { allowed_keys: vec!["us".to_owned()] };
    let fixed = PartitionMapper::FixedKey { downstream_key: "all".to_owned() };
    let chain = PartitionMapper::Chain { mappers: vec![allowed.clone(), fixed] };
    assert_eq!(to_downstream(&chain, "us"), Ok(vec!["all".to_owned()]));
    let refused = to_downstream(&allowed, "eu").expect_err("not allowed");
    assert!(refused.contains("`eu`") && refused.contains("us"), "{refused}");
}

#[test]
fn enough_is_all_or_so_many_or_all_but_so_many() {
    let least = |n| WaitPolicy::MinimumCount { n };
    assert!(is_enough(WaitPolicy::All, 3, 3) && !is_enough(WaitPolicy::All, 2, 3));
    assert!(is_enough(least(2), 2, 3) && !is_enough(least(2), 1, 3));
    assert!(
        is_enough(least(-1), 2, 3) && !is_enough(least(-1), 1, 3) && is_enough(least(-5), 0, 3)
    );
    assert!(is_never(least(4), 3) && !is_never(least(-4), 3) && !is_never(WaitPolicy::All, 3));
}

#[test]
fn times_are_read_as_python_reads_them() {
    // As CPython 3.13's `strptime` answers.
    let read = |key: &str, format: &str| {
        let read = strptime::read(key, format).ok();
        read.map(|(at, offset)| (at.to_string(), offset.map(jiff::tz::Offset::seconds)))
    };
    let iso = "%Y-%m-%dT%H:%M:%S%z";
    let at = |text: &str, offset| Some((text.to_owned(), offset));
    assert_eq!(read("2024-03-13T01:02:03+05:30", iso), at("2024-03-13T01:02:03", Some(19_800)));
    assert_eq!(read("2024-03-13T01:02:03Z", iso), at("2024-03-13T01:02:03", Some(0)));
    assert_eq!(read("2024-03-13T01:02:03-0800", iso), at("2024-03-13T01:02:03", Some(-28_800)));
    assert_eq!(read("2024-03-13T01:02:03+5:30", iso), None);
    for odd in ["24-03-13", "+2024-03-01", " 2024-03-01", "2024-03-01 ", "0000-01-01", "2024-02-30"]
    {
        assert_eq!(read(odd, "%Y-%m-%d"), None, "{odd}");
    }
    assert_eq!(read("2024-3-1", "%Y-%m-%d"), at("2024-03-01T00:00:00", None));
    assert_eq!(read("2024111", "%Y%m%d"), at("2024-11-01T00:00:00", None));
    assert_eq!(read("2024-03-01t07", "%Y-%m-%dT%H"), at("2024-03-01T07:00:00", None));
    assert_eq!(read("01:02:60", "%H:%M:%S"), None);
    assert_eq!(read("03 MAR 99 12.5 am", "%d %b %y %I.%f %p"), at("1999-03-03T00:00:00.5", None));
    assert_eq!(read("2023-366", "%Y-%j"), at("2024-01-01T00:00:00", None));
    assert_eq!(read("2024 UTC", "%Y %Z"), at("2024-01-01T00:00:00", None));
    assert_eq!(read("2024", "%Y%Y"), None);
    assert_eq!(read("100%", "100%%"), at("1900-01-01T00:00:00", None));
}
