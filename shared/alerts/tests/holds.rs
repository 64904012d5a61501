//! What is told with another, what follows from another, what flaps, and who lives.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
mod world;

use dagbok_alerts::{Alert, AlertFact, AskBody, Held, Inhibition, MuteTime, Rule, SuppressedWhy};
use dagbok_events::{Fact, Micros, Scope};
use world::{HOUR, Step, World, created, key};

fn pages(world: &World) -> usize {
    world.reached.keys().filter(|name| name.contains("/trigger/")).count()
}

fn held(world: &World) -> Vec<(u64, Held)> {
    world.book.open().filter_map(|alert| Some((alert.id, alert.held?))).collect()
}

fn accept_all(world: &mut World) {
    while !world.under_way.is_empty() {
        world.answer(0, 3);
        world.settle();
    }
}

#[test]
fn a_thousand_failures_in_ten_seconds_are_a_few_messages_and_none_is_lost() {
    let mut world = World::new();
    for dag in 0..1_000_u32 {
        world.fail_of(dag);
        if dag % 100 == 99 {
            world.now = world.now.plus(Micros::from_secs(1));
        }
        if dag % 20 == 19 {
            world.settle();
            accept_all(&mut world);
        }
    }
    assert_eq!(world.book.open().count(), 1_000);
    assert_eq!(pages(&world), 5);
    let held = held(&world);
    assert_eq!(held.len(), 995);
    let lead = world.book.open().next().unwrap();
    assert!(held.iter().all(|(_, it)| (it.why, it.by) == (SuppressedWhy::Grouped, Some(lead.id))));
    // Each is a record of its own, and the lead is told once more with what came.
    let suppressed = world.alert_log.iter().flat_map(|record| &record.facts);
    let suppressed = suppressed.filter(|fact| matches!(fact, AlertFact::AlertSuppressed(_)));
    assert_eq!(suppressed.count(), 995);
    assert_eq!((lead.follows.count, lead.follows.first.len()), (995, 10));
    world.take(&Step::Wait(2_000));
    accept_all(&mut world);
    assert!(pages(&world) <= 20, "{}", pages(&world));
    // What it was told with is over: the next takes its place, and the others are told with that.
    let id = world.book.open().next().unwrap().id;
    let before = pages(&world);
    world.ask(AskBody::Resolve { id });
    world.settle();
    accept_all(&mut world);
    assert_eq!(pages(&world), before + 1);
    assert_eq!(self::held(&world).len(), 994);
}

#[test]
fn a_silent_scheduler_is_one_page_and_lists_what_is_missing_for_it() {
    let mut world = World::new();
    for dag in 0..4 {
        world.take(&Step::Promise(dag));
    }
    world.take(&Step::Wait(400));
    let root = world.book.open().find(|alert| alert.rule == Rule::SchedulerSilent).unwrap();
    let (root, listed) = (root.id, root.follows.clone());
    let held = held(&world);
    assert_eq!(held.len(), 4);
    assert!(held.iter().all(|(_, it)| (it.why, it.by) == (SuppressedWhy::Inhibited, Some(root))));
    assert_eq!((pages(&world), listed.count), (1, 4));
    // It writes again: what is still missing is told by itself.
    let promised = world.run_log[0].at;
    let late = dagbok_events::RunCreated { logical_date: Some(promised), ..created(world.now) };
    world.log(Scope::Run(key(0, 1)), Fact::RunCreated(Box::new(late)));
    world.settle();
    let open: Vec<&Alert> = world.book.open().collect();
    assert_eq!(open.len(), 3);
    assert!(open.iter().all(|it| it.held.is_none() && it.chase.is_some()), "{open:?}");
}

#[test]
fn what_would_hold_each_other_is_told_once() {
    let mut world = World::new();
    let one = |text: &str| vec![text.parse().unwrap()];
    let (source, target) = (one("rule=run_failed"), one("rule=run_failed"));
    let equal = vec!["namespace".to_owned()];
    world.policy.inhibitions = vec![Inhibition { source, target, equal }];
    for dag in 0..4 {
        world.fail_of(dag);
    }
    world.settle();
    assert_eq!((pages(&world), held(&world).len()), (1, 3));
    world.take(&Step::Crash);
    assert_eq!((pages(&world), held(&world).len()), (1, 3));
}

#[test]
fn a_root_cause_that_was_silenced_holds_what_follows_once_it_is_told() {
    let mut world = World::new();
    let (matchers, until) = (vec!["rule=scheduler_silent".to_owned()], world.now.plus(HOUR));
    world.ask(AskBody::Silence { matchers, until });
    world.settle();
    for dag in 0..4 {
        world.take(&Step::Promise(dag));
    }
    world.take(&Step::Wait(400));
    let root = world.book.open().find(|alert| alert.rule == Rule::SchedulerSilent).unwrap().id;
    assert_eq!((pages(&world), held(&world).len()), (4, 1), "nobody hears of the root cause");
    world.ask(AskBody::Unsilence { silence: 1 });
    world.settle();
    let held = held(&world);
    assert!(held.iter().all(|(_, it)| (it.why, it.by) == (SuppressedWhy::Inhibited, Some(root))));
    assert_eq!((pages(&world), held.len()), (5, 4));
}

#[test]
fn what_leads_a_group_and_follows_from_one_of_it_keeps_nobody_from_being_told() {
    let mut world = World::new();
    let one = |text: &str| vec![text.parse().unwrap()];
    let (source, target) = (one("rule=run_missed"), one("rule=run_failed"));
    world.policy.inhibitions = vec![Inhibition { source, target, equal: vec!["dag".to_owned()] }];
    for dag in 1..=2 {
        world.fail_of(dag);
    }
    world.take(&Step::Create(0, 0));
    world.take(&Step::Fail(0, 0));
    let lead = world.book.open().last().unwrap().id;
    for id in world.book.open().map(|it| it.id).filter(|id| *id < lead).collect::<Vec<_>>() {
        world.ask(AskBody::Resolve { id });
    }
    for dag in 3..=8 {
        world.fail_of(dag);
    }
    world.settle();
    assert_eq!(held(&world).iter().filter(|(_, it)| it.by == Some(lead)).count(), 2);
    // The group is full: the root cause of its lead comes into it.
    world.take(&Step::Missed(0));
    let root = world.book.open().find(|alert| alert.rule == Rule::RunMissed).unwrap().id;
    let hold = |id: u64| world.book.alert(id).unwrap().held;
    assert_eq!(hold(lead).map(|it| (it.why, it.by)), Some((SuppressedWhy::Inhibited, Some(root))));
    for (id, it) in held(&world).into_iter().filter(|(id, _)| *id != lead) {
        let by = world.book.alert(it.by.unwrap()).unwrap();
        assert!(by.held.is_none() && by.chase.is_some(), "{id} is told with {}", by.id);
    }
}

#[test]
fn a_group_whose_lead_is_silenced_is_told_with_the_next() {
    let mut world = World::new();
    world.take(&Step::Create(0, 0));
    world.take(&Step::Fail(0, 0));
    for dag in 1..=7 {
        world.fail_of(dag);
    }
    world.settle();
    let lead = world.book.open().next().unwrap().id;
    assert_eq!((pages(&world), held(&world).len()), (5, 3));
    world.take(&Step::Silence);
    let held = held(&world);
    assert_eq!(held[0].1.why, SuppressedWhy::Silenced);
    assert_eq!((pages(&world), held.len()), (6, 3), "one takes its place");
    assert!(held.iter().all(|(id, it)| *id == lead || it.by.is_some_and(|by| by != lead)));
}

#[test]
fn what_comes_and_goes_is_told_once_it_stays() {
    let mut world = World::new();
    for run in 0..20 {
        world.take(&Step::Create(0, run * 2));
        world.take(&Step::Fail(0, run * 2));
        world.take(&Step::Wait(20));
        accept_all(&mut world);
        world.take(&Step::Create(0, run * 2 + 1));
        world.take(&Step::Succeed(0, run * 2 + 1));
        accept_all(&mut world);
    }
    assert_eq!(world.book.alerts().count(), 20, "each is in the ledger");
    let told = pages(&world);
    assert!((3..=6).contains(&told), "{told}");
    world.take(&Step::Create(0, 200));
    world.take(&Step::Fail(0, 200));
    assert_eq!(pages(&world), told);
    world.take(&Step::Wait(61));
    assert_eq!(pages(&world), told + 1, "it stayed");
}

#[test]
fn what_a_silence_holds_back_is_recorded_and_told_when_it_ends() {
    let mut world = World::new();
    world.take(&Step::Silence);
    world.take(&Step::Create(0, 0));
    world.take(&Step::Fail(0, 0));
    let (id, it) = held(&world)[0];
    assert_eq!((it.why, it.silence, pages(&world)), (SuppressedWhy::Silenced, Some(1), 0));
    world.take(&Step::Wait(3_601));
    assert_eq!((held(&world).len(), pages(&world)), (0, 1));
    assert!(world.book.alert(id).unwrap().chase.is_some());
}

#[test]
fn a_heartbeat_that_does_not_come_is_an_alert_until_the_next() {
    let mut world = World::new();
    world.takes = true;
    let beat = |world: &mut World| {
        let (period, grace) = (Micros::from_secs(60), Micros::from_secs(10));
        let (name, owner) = ("export".to_owned(), Some("ml".to_owned()));
        world.ask(AskBody::Heartbeat { name, period, grace, owner });
        world.settle();
    };
    beat(&mut world);
    world.take(&Step::Wait(69));
    assert_eq!(world.book.open().count(), 0);
    world.take(&Step::Wait(2));
    let alert = world.book.open().next().unwrap();
    let owner = alert.labels["owner"].clone();
    assert_eq!((alert.rule, owner.as_str()), (Rule::HeartbeatMissing, "ml"));
    let id = alert.id;
    world.take(&Step::Crash);
    assert_eq!(world.book.open().count(), 1);
    beat(&mut world);
    assert_eq!(world.book.open().count(), 0);
    // Closed by hand it is not opened again by the same absence.
    world.take(&Step::Wait(100));
    let next = world.book.open().next().unwrap().id;
    assert_ne!(next, id);
    world.ask(AskBody::Resolve { id: next });
    world.settle();
    world.take(&Step::Wait(1_000));
    assert_eq!(world.book.open().count(), 0);
}

#[test]
fn a_route_that_is_mute_tells_once_that_time_is_over_and_not_again_when_it_begins() {
    let mut world = World::new();
    // The world begins at eight in the morning of a Friday, by UTC.
    let zone = jiff::tz::TimeZone::UTC;
    let hours = Some((jiff::civil::time(7, 0, 0, 0), jiff::civil::time(9, 0, 0, 0)));
    let mute = MuteTime { zone, weekdays: Vec::new(), hours };
    world.policy.mute_times.insert("mornings".to_owned(), mute);
    world.policy.root.as_mut().unwrap().mutes = vec!["mornings".to_owned()];
    world.fail_of(1);
    world.settle();
    assert_eq!(pages(&world), 0);
    let alert = world.book.open().next().unwrap();
    assert_eq!(alert.held.map(|held| held.why), Some(SuppressedWhy::Muted));
    let due = world.agenda.next_due(&world.watch, &world.book, &world.policy);
    assert_eq!(due, Some(world.now.plus(Micros(HOUR.0))), "the minute in which that time is over");
    world.now = due.unwrap();
    world.settle();
    assert_eq!(pages(&world), 1);
    assert_eq!(world.book.open().next().unwrap().held, None);
    world.answer(0, 3);
    world.now = world.now.plus(Micros(22 * HOUR.0));
    world.settle();
    let told = pages(&world);
    world.now = world.now.plus(HOUR);
    world.settle();
    assert_eq!(pages(&world), told, "it is mute again");
}
