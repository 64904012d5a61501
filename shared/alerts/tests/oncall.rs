//! Chains of people: who is on call, how they are reached, and what comes where nobody is.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
mod world;

use dagbok_alerts::{
    AlertFact, Contact, EscalatedWhy, MuteTime, Person, Rotation, Schedule, Step as Rung,
};
use dagbok_events::{Micros, Timestamp};
use jiff::{civil::time, tz::TimeZone};
use world::{Step, World};

const FIVE_MINUTES: Micros = Micros::from_secs(300);

/// A world in which ana and bo take turns each day at noon (UTC), reached by mail, after ten minutes by the pager.
fn world() -> World {
    let mut world = World::new();
    let crew = &mut world.policy.crew;
    for name in ["ana", "bo"] {
        let contact = |receiver: &str, after| Contact { receiver: receiver.to_owned(), after };
        let contacts =
            vec![contact("mail", Micros(0)), contact("pager", Micros(FIVE_MINUTES.0 * 2))];
        crew.people.insert(name.to_owned(), Person { contacts });
    }
    let rotation = Rotation {
        people: vec!["ana".to_owned(), "bo".to_owned()],
        start: "2027-01-01T12:00".parse().unwrap(),
        days: 1,
        hours: None,
    };
    let (rotations, calendar, overrides) = (vec![rotation], Vec::new(), Vec::new());
    let schedule = Schedule { zone: TimeZone::UTC, rotations, calendar, overrides, trouble: None };
    crew.schedules.insert("primary".to_owned(), schedule);
    world
}

fn rung(schedules: &[&str], receivers: &[&str]) -> Rung {
    let names = |all: &[&str]| all.iter().map(|&name| name.to_owned()).collect();
    let (schedules, receivers) = (names(schedules), names(receivers));
    Rung { schedules, receivers, wait: FIVE_MINUTES, ..Rung::default() }
}

fn told(world: &World) -> Vec<(String, Option<String>, u32)> {
    let facts = world.alert_log.iter().flat_map(|record| &record.facts);
    facts
        .filter_map(|fact| match fact {
            AlertFact::NotificationAttempted(it) => {
                Some((it.receiver.clone(), it.person.clone(), it.step))
            }
            _ => None,
        })
        .collect()
}

fn failed(world: &mut World) {
    world.take(&Step::Create(0, 0));
    world.take(&Step::Fail(0, 0));
}

#[test]
fn who_is_on_call_is_told_and_a_later_step_does_not_cut_their_own_rules_short() {
    let mut world = world();
    let rungs = vec![rung(&["primary"], &[]), rung(&[], &["boss"])];
    world.policy.root.as_mut().unwrap().chain.steps = rungs;
    failed(&mut world);
    let who = world.policy.crew.schedules["primary"].on_call(world.now).unwrap().to_owned();
    assert_eq!(told(&world), [("mail".to_owned(), Some(who.clone()), 0)]);
    world.answer(0, 3);
    world.take(&Step::Wait(301));
    assert_eq!(told(&world).last().unwrap(), &("boss".to_owned(), None, 1));
    world.take(&Step::Wait(300));
    let again = told(&world);
    assert!(again.contains(&("pager".to_owned(), Some(who), 0)), "{again:?}");
}

#[test]
fn whoever_acknowledges_is_not_reached_in_further_ways() {
    let mut world = world();
    world.policy.root.as_mut().unwrap().chain.steps = vec![rung(&["primary"], &[])];
    failed(&mut world);
    world.answer(0, 3);
    world.take(&Step::Acknowledge(0));
    world.take(&Step::Wait(2_000));
    assert!(!told(&world).iter().any(|it| it.0 == "pager"), "{:?}", told(&world));
}

#[test]
fn a_step_that_reaches_nobody_moves_on_at_once_and_says_so() {
    let mut world = world();
    world.policy.crew.schedules.get_mut("primary").unwrap().rotations.clear();
    let rungs = vec![rung(&["primary"], &[]), rung(&[], &["boss"])];
    world.policy.root.as_mut().unwrap().chain.steps = rungs;
    failed(&mut world);
    assert_eq!(told(&world), [("boss".to_owned(), None, 1)], "without any waiting");
    let facts = world.alert_log.iter().flat_map(|record| &record.facts);
    let said = facts.filter(|fact| {
        matches!(fact, AlertFact::AlertEscalated(it) if it.why == EscalatedWhy::NobodyReached)
    });
    assert_eq!(said.count(), 2);
}

#[test]
fn a_chain_that_reaches_nobody_at_all_goes_to_the_platform() {
    let mut world = world();
    world.policy.crew.schedules.get_mut("primary").unwrap().rotations.clear();
    let root = world.policy.root.as_mut().unwrap();
    let mut narrow = root.clone();
    narrow.name = "ml".to_owned();
    narrow.chain.steps = vec![rung(&["primary"], &[])];
    root.routes = vec![narrow];
    failed(&mut world);
    assert_eq!(told(&world), [("pager".to_owned(), None, 0)]);
    let alert = world.book.open().next().unwrap();
    let route = &alert.deliveries.values().next().unwrap().route;
    assert!(route.starts_with("platform"), "{route}");
}

fn mute(weekdays: &[jiff::civil::Weekday], hours: Option<(i8, i8)>) -> MuteTime {
    let hours = hours.map(|(from, until)| (time(from, 0, 0, 0), time(until, 0, 0, 0)));
    let zone = TimeZone::get("Europe/Madrid").unwrap();
    MuteTime { zone, weekdays: weekdays.to_vec(), hours }
}

#[test]
fn a_mute_time_goes_by_the_clock_of_its_place_over_midnight_and_clock_changes() {
    use jiff::civil::Weekday::{Friday, Saturday, Sunday};
    let at = |text: &str| Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_microsecond());
    // Nights that begin on a Friday or a Saturday, from ten to seven; the clocks change on the 29th of March.
    let nights = mute(&[Friday, Saturday], Some((22, 7)));
    for (text, is) in [
        ("2026-03-27T20:59:59Z", false),
        ("2026-03-27T21:00:00Z", true),
        ("2026-03-28T05:59:59Z", true),
        ("2026-03-28T06:00:00Z", false),
        ("2026-03-29T04:59:59Z", true),
        ("2026-03-29T05:00:00Z", false),
        ("2026-03-29T21:00:00Z", false),
    ] {
        assert_eq!(nights.holds(at(text)), is, "{text}");
    }
    let mut changes = vec![at("2026-03-27T12:00:00Z")];
    while changes.len() < 6 {
        changes.extend(nights.changes_after(*changes.last().unwrap()));
    }
    let expected =
        ["27T21", "28T06", "28T21", "29T05"].map(|it| at(&format!("2026-03-{it}:00:00Z")));
    assert_eq!(changes[1..5], expected);
    assert_eq!(changes[5], at("2026-04-03T20:00:00Z"));
    let sunday = mute(&[Sunday], None);
    assert_eq!(sunday.changes_after(at("2026-03-27T12:00:00Z")), Some(at("2026-03-28T23:00:00Z")));
    assert_eq!(mute(&[], None).changes_after(at("2026-03-27T12:00:00Z")), None);
}

#[test]
fn a_mute_time_that_ends_in_an_hour_that_comes_twice_ends_with_it() {
    use jiff::civil::Weekday::{Friday, Monday, Saturday, Sunday, Thursday, Tuesday, Wednesday};
    let at = |text: &str| Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_microsecond());
    // In Madrid the hour from two to three comes twice on the 25th of October 2026.
    let early = mute(&[], Some((22, 2)));
    let ends = early.changes_after(at("2026-10-24T21:00:00Z"));
    assert_eq!(ends, Some(at("2026-10-25T00:00:00Z")), "its first two o'clock");
    // From half past two on: it holds, is over when the hour begins anew, and holds again.
    let half = MuteTime { hours: Some((time(2, 30, 0, 0), time(7, 0, 0, 0))), ..mute(&[], None) };
    let mut changes = vec![at("2026-10-24T12:00:00Z")];
    while changes.len() < 5 {
        changes.extend(half.changes_after(*changes.last().unwrap()));
    }
    let expected = ["00:30", "01:00", "01:30", "06:00"];
    let expected = expected.map(|it| at(&format!("2026-10-25T{it}:00Z")));
    assert_eq!(changes[1..], expected);
    let all = [Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday];
    assert!(mute(&all, None).is_always() && mute(&[], Some((3, 3))).is_always());
    assert!(!mute(&all[1..], None).is_always() && !mute(&[], Some((3, 4))).is_always());
}

#[test]
fn a_route_that_is_always_mute_reaches_nobody() {
    let mut world = world();
    let reached = |world: &World| {
        let labels = dagbok_alerts::Labels::from([("dag".to_owned(), "etl".to_owned())]);
        dagbok_alerts::reach(&world.policy, "default", labels, world.now).receivers.len()
    };
    let names = ["day", "night"].map(str::to_owned);
    world.policy.mute_times.insert(names[0].clone(), mute(&[], Some((7, 22))));
    world.policy.mute_times.insert(names[1].clone(), mute(&[], Some((22, 6))));
    world.policy.root.as_mut().unwrap().mutes = names.to_vec();
    assert!(reached(&world) > 0, "there is an hour in the morning");
    world.policy.mute_times.insert(names[1].clone(), mute(&[], Some((22, 7))));
    assert_eq!(reached(&world), 0);
}

#[test]
fn a_round_robin_tells_one_of_its_people_and_the_next_alert_the_next_of_them() {
    let mut world = world();
    let cleo = world.policy.crew.people["ana"].clone();
    world.policy.crew.people.insert("cleo".to_owned(), cleo);
    let round_robin = ["ana", "bo", "cleo"].map(str::to_owned).to_vec();
    let step = Rung { round_robin, wait: Micros::from_secs(3_600), ..Rung::default() };
    world.policy.root.as_mut().unwrap().chain.steps = vec![step];
    world.agenda.look_again();
    for dag in 0..6 {
        world.take(&Step::Create(dag, 0));
        world.take(&Step::Fail(dag, 0));
    }
    let people: Vec<String> =
        told(&world).into_iter().filter_map(|(_, person, _)| person).collect();
    let turns = ["bo", "cleo", "ana", "bo", "cleo"];
    // From the sixth on they are told together.
    assert_eq!(people[..turns.len()], turns, "one each, in turn");
    assert!(people.len() <= 6, "{people:?}");
}
