//! A year under virtual time: rotations by the clock of a place, people who stand in, clock changes, what flaps, silences,
//! receivers that lie, crashes. Each alert is taken by somebody, is over, or was told to the end of its chain.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
mod world;

use std::collections::{BTreeMap, BTreeSet};

use dagbok_alerts::{
    AlertFact, AlertState, AskBody, Contact, Person, Rotation, Schedule, Shift, Step as Rung,
};
use dagbok_events::{Micros, Timestamp, encode_any};
use jiff::tz::TimeZone;
use sha2::{Digest as _, Sha256};
use world::{HOUR, Step, World};

/// Numbers that look drawn, the same from the same seed: SplitMix64.
struct Draws(u64);

impl Draws {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % most
    }
}

const PEOPLE: [&str; 3] = ["ana", "bo", "cleo"];

/// Three people who take turns by the week, and hand over at nine in Madrid; one stands in each first week of a quarter.
fn crewed() -> World {
    let mut world = World::new();
    let crew = &mut world.policy.crew;
    for name in PEOPLE {
        let contact = |receiver: &str, after| Contact { receiver: receiver.to_owned(), after };
        let contacts = vec![contact("mail", Micros(0)), contact("pager", Micros::from_secs(300))];
        crew.people.insert(name.to_owned(), Person { contacts });
    }
    let people = PEOPLE.map(str::to_owned).to_vec();
    let start = "2027-01-04T09:00".parse().unwrap();
    let rotations = vec![Rotation { people, start, days: 7, hours: None }];
    let quarter = Micros(91 * 24 * HOUR.0);
    let overrides = (0..5).map(|n| {
        let from = Timestamp(world.now.0 + n * quarter.0);
        Shift { person: "cleo".to_owned(), from, until: from.plus(Micros(7 * 24 * HOUR.0)) }
    });
    let (overrides, calendar) = (overrides.collect(), Vec::new());
    let zone = TimeZone::get("Europe/Madrid").unwrap();
    crew.schedules.insert(
        "primary".to_owned(),
        Schedule { zone, rotations, calendar, overrides, trouble: None },
    );
    let schedules = vec!["primary".to_owned()];
    let chain = &mut world.policy.root.as_mut().unwrap().chain;
    chain.steps.insert(0, Rung { schedules, wait: Micros::from_secs(600), ..Rung::default() });
    world
}

/// Lives through a year; how the log of alerts ends up, and the world.
fn year(seed: u64) -> (String, World) {
    let (mut world, mut draws) = (crewed(), Draws(seed));
    let end = world.now.plus(Micros(365 * 24 * HOUR.0));
    let mut run = 0_u8;
    while world.now < end {
        let dag = u8::try_from(draws.below(3)).unwrap();
        run = run.wrapping_add(1);
        let step = match draws.below(20) {
            0..6 => {
                world.take_unchecked(&Step::Create(dag, run));
                Step::Fail(dag, run)
            }
            6..11 => {
                world.take_unchecked(&Step::Create(dag, run));
                Step::Succeed(dag, run)
            }
            // What comes and goes within the hour.
            11 => {
                for _ in 0..6 {
                    run = run.wrapping_add(1);
                    world.take_unchecked(&Step::Create(dag, run));
                    world.take_unchecked(&Step::Fail(dag, run));
                    world.now = world.now.plus(Micros::from_secs(200));
                    run = run.wrapping_add(1);
                    world.take_unchecked(&Step::Create(dag, run));
                    world.take_unchecked(&Step::Succeed(dag, run));
                }
                Step::Wait(1)
            }
            12 => Step::Silence,
            13..15 => Step::Acknowledge(0),
            15 => Step::Crash,
            16 => Step::Missed(dag),
            17 => Step::Promise(dag),
            _ => Step::Wait(1_800),
        };
        world.take_unchecked(&step);
        // Whatever is under way comes to an end of one kind or another, mostly a good one.
        while !world.under_way.is_empty() {
            let kind = u8::try_from(draws.below(12)).unwrap();
            world.take_unchecked(&Step::Answer(0, kind.min(3)));
        }
        // Up to two days go by, moment by moment in which something is due.
        let until = world.now.plus(Micros(i64::try_from(draws.below(48)).unwrap() * HOUR.0));
        while let Some(due) = world.agenda.next_due(&world.watch, &world.book, &world.policy)
            && due <= until
        {
            world.now = world.now.max(due);
            world.settle_unchecked();
            while !world.under_way.is_empty() {
                world.take_unchecked(&Step::Answer(0, 3));
            }
        }
        world.now = world.now.max(until);
        world.settle_unchecked();
    }
    world.check();
    let mut sum = Sha256::new();
    for record in &world.alert_log {
        sum.update(encode_any(record));
    }
    (dagbok_events::hex(&sum.finalize()), world)
}

#[test]
fn in_a_year_every_alert_is_taken_is_over_or_was_told_to_the_end() {
    let (sum, mut world) = year(7);
    assert_eq!(year(7).0, sum, "the same seed gives the same bytes");
    // What was opened last has its time too.
    let silent = world.book.silences().map(|(number, _)| number).collect::<Vec<_>>();
    for silence in silent {
        world.ask(AskBody::Unsilence { silence });
    }
    let end = world.now.plus(Micros(2 * HOUR.0));
    while let Some(due) = world.agenda.next_due(&world.watch, &world.book, &world.policy)
        && due <= end
    {
        world.now = world.now.max(due);
        world.settle_unchecked();
        while !world.under_way.is_empty() {
            world.take_unchecked(&Step::Answer(0, 3));
        }
    }
    let facts = || world.alert_log.iter().flat_map(|record| &record.facts);
    let opened = facts().filter(|fact| matches!(fact, AlertFact::AlertOpened(_))).count();
    assert!(opened > 100, "{opened} alerts");
    let mut told: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
    let mut people: BTreeSet<&str> = BTreeSet::new();
    for fact in facts() {
        if let AlertFact::NotificationAttempted(it) = fact {
            told.entry(it.id).or_default().insert(&it.receiver);
            people.extend(it.person.as_deref());
        }
    }
    assert_eq!(people.into_iter().collect::<Vec<_>>(), PEOPLE, "everybody had their turn");
    for alert in world.book.open() {
        let is_taken = matches!(alert.state, AlertState::Acknowledged { .. });
        let to_the_end = told.get(&alert.id).is_some_and(|told| told.contains("boss"));
        let is_told_with = alert.held.is_some_and(|held| held.by.is_some());
        assert!(is_taken || to_the_end || is_told_with, "{} of {}", alert.summary, alert.opened_at);
    }
    assert!(facts().any(
        |fact| matches!(fact, AlertFact::AlertOpened(it) if it.labels.contains_key("flapping"))
    ));
}
