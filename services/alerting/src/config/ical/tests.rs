//! Calendars as people and programs write them, and as nobody should.
use jiff::tz::TimeZone;

use super::*;

fn at(text: &str) -> Timestamp {
    let at: jiff::Timestamp = text.parse().expect("an instant");
    Timestamp(at.as_microsecond())
}

fn madrid() -> TimeZone {
    TimeZone::get("Europe/Madrid").expect("a zone")
}

/// The shifts of events around a time, each as a line.
fn read(events: &str, now: &str) -> Result<Vec<String>, String> {
    let text = format!("BEGIN:VCALENDAR\nVERSION:2.0\n{}\nEND:VCALENDAR\n", events.trim());
    let found = shifts(&text, &madrid(), at(now))?;
    Ok(found.iter().map(|it| format!("{} {} {}", it.person, it.from, it.until)).collect())
}

/// One event with these lines.
fn event(lines: &str) -> String {
    format!("BEGIN:VEVENT\nUID:1\nSUMMARY:ana\n{}\nEND:VEVENT", lines.trim())
}

fn begins(lines: &str, now: &str) -> Vec<String> {
    let found = read(&event(lines), now).expect("a calendar");
    found.iter().map(|it| it.split(' ').nth(1).expect("a begin").to_owned()).collect()
}

#[test]
fn shifts_have_zones_and_lines_may_be_folded() {
    let text = "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nSUMMARY:an\r\n a\r\n\
        DTSTART;TZID=Europe/Madrid:20260329T000000\r\nDTEND:20260330T070000Z\r\nEND:VEVENT\r\n\
        BEGIN:VEVENT\r\nSUMMARY:bo\r\nDTSTART;VALUE=DATE:20260330\r\nDTEND;VALUE=DATE:20260331\r\n\
        END:VEVENT\r\nEND:VCALENDAR\r\n";
    let found = shifts(text, &madrid(), at("2026-03-30T00:00:00Z")).expect("two shifts");
    let said: Vec<String> =
        found.iter().map(|it| format!("{} {} {}", it.person, it.from, it.until)).collect();
    assert_eq!(
        said,
        [
            "ana 2026-03-28T23:00:00Z 2026-03-30T07:00:00Z",
            "bo 2026-03-29T22:00:00Z 2026-03-30T22:00:00Z"
        ]
    );
    let odd = text.replace("20260331", "tomorrow");
    let wrong = shifts(&odd, &madrid(), at("2026-03-30T00:00:00Z")).expect_err("no time");
    assert!(wrong.contains("line 11: `tomorrow` is no time"), "{wrong}");
}

#[test]
fn what_repeats_begins_and_ends_by_the_same_clock_in_summer_and_winter() {
    let weekly = event(
        "DTSTART;TZID=Europe/Madrid:20260302T090000\nDTEND;TZID=Europe/Madrid:20260309T090000\n\
         RRULE:FREQ=WEEKLY;INTERVAL=2;COUNT=3",
    );
    assert_eq!(
        read(&weekly, "2026-03-20T00:00:00Z").unwrap(),
        [
            "ana 2026-03-02T08:00:00Z 2026-03-09T08:00:00Z",
            "ana 2026-03-16T08:00:00Z 2026-03-23T08:00:00Z",
            // The clocks go forward on the 29th, before and after which it is nine there.
            "ana 2026-03-30T07:00:00Z 2026-04-06T07:00:00Z",
        ]
    );
    let over = event(
        "DTSTART;TZID=Europe/Madrid:20260323T090000\nDURATION:P7D\nRRULE:FREQ=YEARLY;COUNT=1",
    );
    let over = read(&over, "2026-03-20T00:00:00Z").unwrap();
    assert_eq!(over, ["ana 2026-03-23T08:00:00Z 2026-03-30T07:00:00Z"]);
}

#[test]
fn an_end_is_by_any_clock_and_a_day_is_meant_whole() {
    let daily =
        "DTSTART;TZID=America/New_York:20260105T200000\nDURATION:PT2H\nRRULE:FREQ=DAILY;UNTIL=";
    let now = "2026-01-06T00:00:00Z";
    // Eight in the evening there is one o'clock of the next day in UTC.
    assert_eq!(begins(&format!("{daily}20260108T010000Z"), now).len(), 3);
    assert_eq!(begins(&format!("{daily}20260108T005959Z"), now).len(), 2);
    assert_eq!(begins(&format!("{daily}20260107"), now).len(), 3);
}

#[test]
fn dates_are_added_left_out_and_stood_in_for() {
    let lines = "DTSTART;TZID=Europe/Madrid:20260601T090000\nDTEND;TZID=Europe/Madrid:20260601T170000\n\
        RRULE:FREQ=WEEKLY;BYDAY=MO,WE;COUNT=4\nEXDATE:20260603T070000Z\n\
        RDATE;TZID=Europe/Madrid:20260606T090000,20260607T090000";
    let now = "2026-06-01T00:00:00Z";
    assert_eq!(
        begins(lines, now),
        [
            "2026-06-01T07:00:00Z",
            "2026-06-06T07:00:00Z",
            "2026-06-07T07:00:00Z",
            "2026-06-08T07:00:00Z",
            "2026-06-10T07:00:00Z"
        ]
    );
    let days = lines.replace("EXDATE:20260603T070000Z", "EXDATE;VALUE=DATE:20260603,20260610");
    assert_eq!(begins(&days, now).len(), 4);
    let bo = "BEGIN:VEVENT\nUID:1\nSUMMARY:bo\nRECURRENCE-ID;TZID=Europe/Madrid:20260608T090000\n\
        DTSTART:20260608T100000Z\nDTEND:20260608T110000Z\nEND:VEVENT";
    let gone = "BEGIN:VEVENT\nUID:1\nSTATUS:CANCELLED\nRECURRENCE-ID:20260610T070000Z\nEND:VEVENT";
    let found = read(&format!("{bo}\n{}\n{gone}", event(lines)), now).unwrap();
    let said: Vec<&str> = found.iter().map(|it| &it[..20]).collect();
    assert_eq!(
        said,
        [
            "ana 2026-06-01T07:00",
            "ana 2026-06-06T07:00",
            "ana 2026-06-07T07:00",
            "bo 2026-06-08T10:00:"
        ]
    );
    let alarm = "DTSTART:20260601T090000Z\nDTEND:20260601T100000Z\nBEGIN:VALARM\nSUMMARY:wake\n\
        DURATION:PT5M\nTRIGGER:-PT5M\nEND:VALARM";
    assert_eq!(
        read(&event(alarm), now).unwrap(),
        ["ana 2026-06-01T09:00:00Z 2026-06-01T10:00:00Z"]
    );
}

#[test]
fn whole_days_repeat_and_last_a_day_where_nobody_says() {
    let found = read(
        &event("DTSTART;VALUE=DATE:20261024\nRRULE:FREQ=DAILY;COUNT=2"),
        "2026-10-24T00:00:00Z",
    );
    assert_eq!(
        found.unwrap(),
        // The second has twenty-five hours.
        [
            "ana 2026-10-23T22:00:00Z 2026-10-24T22:00:00Z",
            "ana 2026-10-24T22:00:00Z 2026-10-25T23:00:00Z"
        ]
    );
}

#[test]
fn a_zone_may_be_what_the_calendar_says_of_it() {
    let zone = "BEGIN:VTIMEZONE\nTZID:Romance Standard Time\nBEGIN:STANDARD\nDTSTART:16011028T030000\n\
        RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0100\nEND:STANDARD\n\
        BEGIN:DAYLIGHT\nDTSTART:16010325T020000\nRRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3\nTZOFFSETFROM:+0100\n\
        TZOFFSETTO:+0200\nEND:DAYLIGHT\nEND:VTIMEZONE";
    let lines = "DTSTART;TZID=Romance Standard Time:20260323T090000\nDURATION:PT1H\nRRULE:FREQ=WEEKLY;COUNT=2";
    let now = "2026-03-20T00:00:00Z";
    let both = read(&format!("{zone}\n{}", event(lines)), now).unwrap();
    assert_eq!(
        both,
        [
            "ana 2026-03-23T08:00:00Z 2026-03-23T09:00:00Z",
            "ana 2026-03-30T07:00:00Z 2026-03-30T08:00:00Z"
        ]
    );
    // Where summer time has ended for good its rule counts no more; a rule that winter lacks is an hour each hand-over.
    let ruled = "RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3";
    let ended = zone.replace(ruled, &format!("{ruled};UNTIL=20200329T010000Z"));
    let winter = read(&format!("{ended}\n{}", event(lines)), now).unwrap();
    assert_eq!(winter[1], "ana 2026-03-30T08:00:00Z 2026-03-30T09:00:00Z");
    let goes_on = zone.replace(ruled, &format!("{ruled};UNTIL=20370329T010000Z"));
    assert_eq!(read(&format!("{goes_on}\n{}", event(lines)), now).unwrap(), both);
    let half = zone.replace("RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10\n", "");
    let wrong = read(&format!("{half}\n{}", event(lines)), now).unwrap_err();
    assert!(wrong.contains("line 5: summer begins by a rule"), "{wrong}");
    let unknown = read(&event(lines), now).expect_err("nobody knows it");
    assert!(unknown.contains("`Romance Standard Time` is no zone"), "{unknown}");
    let prefixed = lines.replace("Romance Standard Time", "/example.org/20260101/Europe/Madrid");
    assert_eq!(read(&event(&prefixed), now).unwrap(), both);
}

#[test]
fn what_is_hostile_comes_to_an_end() {
    let now = "2026-06-01T00:00:00Z";
    for (rule, said) in [
        ("FREQ=SECONDLY", "each minute"),
        ("FREQ=HOURLY", "too often"),
        ("FREQ=NEVER", "RRULE can't be read"),
        ("FREQ=WEEKLY;UNTIL=soon", "UNTIL: `soon`"),
    ] {
        let lines = format!("DTSTART:19700101T000000Z\nDURATION:PT1H\nRRULE:{rule}");
        let wrong = read(&event(&lines), now).expect_err(rule);
        assert!(wrong.contains(said), "{rule}: {wrong}");
    }
    let never = event(
        "DTSTART:20260101T000000Z\nDURATION:PT1H\nRRULE:FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30",
    );
    assert_eq!(read(&never, now).unwrap(), Vec::<String>::new());
    assert!(read("BEGIN:VEVENT\nSUMMARY:ana", now).is_err(), "half of it");
    assert!(shifts("<html>log in</html>", &madrid(), at(now)).unwrap_err().contains("no calendar"));
    let deep = "BEGIN:X\n".repeat(20);
    assert!(read(&deep, now).unwrap_err().contains("too deep"));
    let range = "DTSTART:20260601T090000Z\nDURATION:PT1H\nRECURRENCE-ID;RANGE=THISANDFUTURE:20260601T090000Z";
    assert!(read(&event(range), now).unwrap_err().contains("RANGE"));
}

#[test]
fn what_would_take_long_is_refused_before_it_does() {
    let now = "2026-06-01T00:00:00Z";
    let list = |most: u8| (0..most).map(|it| it.to_string()).collect::<Vec<_>>().join(",");
    let (hours, sixty) = (list(24), list(60));
    let begins = "DTSTART:20260101T000000Z\nDURATION:PT1H";
    let dense = format!(
        "{begins}\nRRULE:FREQ=YEARLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYHOUR={hours};BYMINUTE={sixty};BYSECOND={sixty}"
    );
    assert!(read(&event(&dense), now).unwrap_err().contains("24 times of a day"));
    let never = "RRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30\n";
    let some = event(&format!("{begins}\n{}", never.repeat(9)));
    assert_eq!(read(&some, now).unwrap(), Vec::<String>::new());
    let more = event(&format!("{begins}\n{}", never.repeat(11)));
    assert!(read(&more, now).unwrap_err().contains("too often"));
    let many = event(&format!("{begins}\n{}", never.repeat(300)));
    assert!(read(&many, now).unwrap_err().contains("200 rules"), "in one event too");
}

#[test]
fn what_is_over_for_long_counts_for_nothing() {
    let past = event("DTSTART:20240101T000000Z\nDTEND:20240108T000000Z");
    let near = event("DTSTART:20260501T000000Z\nDTEND:20260508T000000Z");
    let far = event("DTSTART:20290101T000000Z\nDTEND:20290108T000000Z");
    let all = read(&[past, near, far].join("\n"), "2026-06-01T00:00:00Z").unwrap();
    assert_eq!(all, ["ana 2026-05-01T00:00:00Z 2026-05-08T00:00:00Z"]);
}
