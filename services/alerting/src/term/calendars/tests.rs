//! What is kept of calendars, and when it is read anew.
use dagbok_alerts::{Person, Schedule};

use super::*;

const HOUR: Micros = Micros::from_secs(3_600);

fn text(person: &str, stamp: u32) -> Arc<str> {
    format!(
        "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTAMP:{stamp}\r\nSUMMARY:{person}\r\n\
         DTSTART;VALUE=DATE:20260101\r\nRRULE:FREQ=DAILY\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    .into()
}

fn got(person: &str, stamp: u32) -> Got {
    Got { text: text(person, stamp), etag: None, modified: None }
}

fn policy() -> Policy {
    let mut policy = Policy::default();
    policy.crew.people.insert("ana".to_owned(), Person::default());
    let (zone, trouble) = (TimeZone::UTC, None);
    let (rotations, calendar, overrides) = (Vec::new(), Vec::new(), Vec::new());
    let schedule = Schedule { zone, rotations, calendar, overrides, trouble };
    policy.crew.schedules.insert("primary".to_owned(), schedule);
    policy
}

fn named() -> BTreeMap<String, config::Calendar> {
    let (url, every) = (Secret::new("https://example.org/ics".to_owned()), Duration::from_mins(1));
    let calendar = config::Calendar { url, every, zone: TimeZone::UTC };
    BTreeMap::from([("primary".to_owned(), calendar)])
}

/// What comes of an answer, and whether there is something to keep.
async fn answered(
    calendars: &mut Calendars,
    now: Timestamp,
    came: Result<Option<Got>, String>,
) -> (Result<Read, String>, bool) {
    let asking = calendars.due(now).pop().expect("it is time");
    let fetched = Fetched::of(asking, came, now).await;
    let read = calendars.came(now, fetched, &policy()).expect("it is named");
    (read, std::mem::take(&mut calendars.is_new))
}

/// Until when shifts are known.
fn known_until(calendars: &Calendars) -> Timestamp {
    let mut policy = policy();
    calendars.fill(&mut policy);
    policy.crew.schedules["primary"].calendar.last().expect("shifts").until
}

#[tokio::test]
async fn what_was_read_holds_is_unrolled_further_and_a_new_stamp_is_no_news() {
    let mut now = Timestamp(1_780_000_000_000_000);
    let mut calendars = Calendars::default();
    calendars.take(&named());
    let (first, is_new) = answered(&mut calendars, now, Ok(Some(got("ana", 1)))).await;
    let first = first.expect("a calendar");
    assert!(first.shifts > 400 && is_new);
    let known = known_until(&calendars);
    now = now.plus(HOUR);
    let (again, is_new) = answered(&mut calendars, now, Ok(Some(got("ana", 2)))).await;
    assert_eq!((again.expect("a calendar").digest, is_new), (first.digest, false));
    now = now.plus(HOUR);
    let (other, _) = answered(&mut calendars, now, Ok(Some(got("zoe", 3)))).await;
    assert!(other.expect_err("nobody").contains("`zoe`"));
    // A configuration that is taken anew loses nothing of it.
    calendars.take(&named());
    assert_eq!(known_until(&calendars), known);
    // It is as it was, or can't be had: two days later more of it is known all the same.
    for came in [Ok(None), Err("it answered 500".to_owned())] {
        let before = known_until(&calendars);
        now = now.plus(Micros(48 * HOUR.0));
        let is_well = came.is_ok();
        let (read, is_new) = answered(&mut calendars, now, came).await;
        assert_eq!((read.is_ok(), is_new), (is_well, true));
        assert_eq!(known_until(&calendars), before.plus(Micros(48 * HOUR.0)));
    }
}

#[tokio::test]
async fn one_name_that_nobody_knows_leaves_the_others_on_call() {
    let mut now = Timestamp(1_780_000_000_000_000);
    let (ana, zoe) = (text("ana", 1), text("zoe", 1));
    let event = zoe.split_once("BEGIN:VEVENT").expect("an event").1.replace("UID:1", "UID:2");
    let both = ana.replace("END:VCALENDAR\r\n", &format!("BEGIN:VEVENT{event}"));
    let mut calendars = Calendars::default();
    calendars.take(&named());
    let got = Got { text: both.into(), etag: None, modified: None };
    let (read, _) = answered(&mut calendars, now, Ok(Some(got))).await;
    let read = read.expect("what is known of it holds");
    assert!(read.strangers.expect("one is unknown").contains("`zoe`") && read.shifts > 400);
    let mut filled = policy();
    calendars.fill(&mut filled);
    let schedule = &filled.crew.schedules["primary"];
    assert!(schedule.calendar.iter().all(|shift| shift.person == "ana"));
    assert!(schedule.trouble.as_ref().expect("it is said").contains("`zoe`"));
    // It is as it was: that is still so.
    now = now.plus(HOUR);
    let (again, _) = answered(&mut calendars, now, Ok(None)).await;
    assert!(again.expect("it holds").strangers.is_some());
    // Once the configuration knows the name, the same text is read by it.
    let mut policy = policy();
    policy.crew.people.insert("zoe".to_owned(), Person::default());
    calendars.take(&named());
    now = now.plus(HOUR);
    let asking = calendars.due(now).pop().expect("it is time");
    let fetched = Fetched::of(asking, Ok(None), now).await;
    let read = calendars.came(now, fetched, &policy).expect("it is named").expect("it holds");
    assert!(read.strangers.is_none() && read.shifts > 800, "{read:?}");
}
