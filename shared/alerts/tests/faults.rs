//! Single histories, each about one thing that was wrong once, or that a careless change would make wrong.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
mod world;

use dagbok_alerts::{
    Agenda, AlertFact, AlertRecord, AlertState, AlertingClockWentBack, Answered, AskBody, By,
    ConfigurationRefused, Outcome, Rule, outcome,
};
use dagbok_events::{Fact, Micros, RunCreated, Scope};
use world::{HOUR, Step, World, created, key};

#[test]
fn a_run_that_is_missing_is_seen_by_time_alone() {
    let mut world = World::new();
    world.take(&Step::Promise(0));
    world.take(&Step::Wait(200));
    assert_eq!(world.book.open().count(), 0, "its grace is not over");
    world.take(&Step::Wait(161));
    let alert = world.book.open().next().unwrap().clone();
    assert_eq!(
        (alert.rule, alert.labels["cause"].as_str()),
        (Rule::RunMissing, "scheduler_silent")
    );
    assert_eq!(alert.causes, [1]);
    assert_eq!(alert.since, world.run_log[0].at.plus(Micros::from_secs(60)));
    // It comes late: the alert is over.
    let promised = world.run_log[0].at;
    let late = RunCreated { logical_date: Some(promised), ..created(world.now) };
    world.log(Scope::Run(key(0, 1)), Fact::RunCreated(Box::new(late)));
    world.settle();
    assert_eq!(world.book.open().count(), 0);
}

#[test]
fn a_success_of_an_earlier_run_makes_nothing_up() {
    let mut world = World::new();
    for step in [Step::Create(0, 0), Step::Create(0, 1), Step::Fail(0, 1), Step::Succeed(0, 0)] {
        world.take(&step);
    }
    assert_eq!(world.book.open().count(), 1, "run 0 was there before the one that failed");
    world.take(&Step::Create(0, 2));
    world.take(&Step::Succeed(0, 2));
    assert_eq!(world.book.open().count(), 0);
}

#[test]
fn what_somebody_closed_is_opened_only_by_what_comes_after() {
    let mut world = World::new();
    world.take(&Step::Create(0, 0));
    world.take(&Step::Fail(0, 0));
    world.take(&Step::Resolve(0));
    world.take(&Step::Crash);
    assert_eq!(world.book.open().count(), 0);
    world.take(&Step::Create(0, 1));
    world.take(&Step::Fail(0, 1));
    let alert = world.book.open().next().unwrap();
    assert_eq!((alert.generation, alert.runs.last().unwrap().run_id.as_str()), (2, "run_1"));
}

fn note(world: &mut World, fact: AlertFact) {
    let record =
        AlertRecord { at: world.now, by: By::Rules, reason: None, seen: 0, facts: vec![fact] };
    world.append(&record);
    world.settle();
}

fn open_of(world: &World, rule: Rule) -> Vec<u64> {
    world.book.open().filter(|alert| alert.rule == rule).map(|alert| alert.id).collect()
}

#[test]
fn an_older_run_that_fails_later_does_not_take_a_newer_ones_place() {
    let mut world = World::new();
    for step in [Step::Create(0, 0), Step::Create(0, 1), Step::Create(0, 2)] {
        world.take(&step);
    }
    world.take(&Step::Fail(0, 2));
    world.take(&Step::Fail(0, 0));
    // It is newer than the one that failed last, and older than the newest that failed.
    world.take(&Step::Succeed(0, 1));
    assert_eq!(open_of(&world, Rule::RunFailed).len(), 1, "run 2 is not made up for");
    world.take(&Step::Create(0, 3));
    world.take(&Step::Succeed(0, 3));
    assert_eq!(open_of(&world, Rule::RunFailed).len(), 0);
}

#[test]
fn who_was_told_of_a_run_is_known_however_often_it_happened() {
    let mut world = World::new();
    for run in 0..40 {
        world.take(&Step::Create(0, run));
        world.take(&Step::Fail(0, run));
    }
    let alert = world.book.open().next().unwrap();
    assert_eq!((alert.count, alert.runs.len(), &alert.runs[0]), (40, 40, &key(0, 0)));
    assert!(alert.runs.contains(&key(0, 7)));
}

#[test]
fn a_receiver_that_somebody_closed_fails_again_only_by_what_is_sent_after() {
    let mut world = World::new();
    world.take(&Step::Create(0, 0));
    world.take(&Step::Fail(0, 0));
    world.take(&Step::Create(1, 0));
    world.take(&Step::Fail(1, 0));
    world.take(&Step::Answer(0, 1));
    let failing = open_of(&world, Rule::ReceiverFailing);
    assert_eq!(failing.len(), 1);
    world.take(&Step::Wait(10));
    world.ask(AskBody::Resolve { id: failing[0] });
    world.settle();
    assert!(open_of(&world, Rule::ReceiverFailing).is_empty(), "it was closed");
    // The other message was begun before that.
    world.take(&Step::Answer(0, 1));
    assert!(open_of(&world, Rule::ReceiverFailing).is_empty(), "that says nothing new");
    world.take(&Step::Wait(400));
    world.take(&Step::Wait(4_000));
    while let Some(at) = world.under_way.iter().position(|it| it.1.contains("/pager")) {
        world.answer(at, 1);
        world.settle();
    }
    assert_eq!(open_of(&world, Rule::ReceiverFailing).len(), 1, "a later one was refused too");
}

#[test]
fn an_open_alert_about_the_configuration_says_what_is_wrong_with_it_now() {
    let mut world = World::new();
    for why in ["line 3: no such key", "line 9: no such chain"] {
        let (digest, why) = ("d".to_owned(), why.to_owned());
        note(&mut world, AlertFact::ConfigurationRefused(ConfigurationRefused { digest, why }));
    }
    let ids = open_of(&world, Rule::ConfigurationRefused);
    let alert = world.book.alert(ids[0]).unwrap();
    assert_eq!((ids.len(), alert.details[0].1.as_str()), (1, "line 9: no such chain"));
}

#[test]
fn a_clock_that_jumped_ahead_and_came_back_holds_nothing_up() {
    let mut world = World::new();
    let noon = world.now;
    world.now = noon.plus(Micros(HOUR.0 * 24));
    world.take(&Step::Create(0, 0));
    world.take(&Step::Fail(0, 0));
    world.answer(0, 3);
    let from = world.now;
    world.now = noon.plus(Micros::from_secs(60));
    let back = AlertingClockWentBack { from, to: world.now };
    note(&mut world, AlertFact::ClockWentBack(back));
    world.take(&Step::Wait(300));
    let told: Vec<&str> = world.under_way.iter().map(|it| it.1.as_str()).collect();
    assert!(told.iter().any(|name| name.contains("/boss")), "the next step waits: {told:?}");
}

#[test]
fn a_retry_that_waits_is_due_by_the_clock_as_it_is() {
    let mut world = World::new();
    let noon = world.now;
    world.now = noon.plus(Micros(HOUR.0 * 24));
    world.take(&Step::Create(0, 0));
    world.take(&Step::Fail(0, 0));
    world.answer(0, 0);
    let from = world.now;
    world.now = noon;
    note(&mut world, AlertFact::ClockWentBack(AlertingClockWentBack { from, to: noon }));
    world.take(&Step::Wait(301));
    assert!(world.under_way.iter().any(|it| it.1.contains("/pager")), "{:?}", world.under_way);
}

#[test]
fn messages_of_an_alert_that_nobody_takes_are_let_go_and_who_heard_is_not() {
    let mut world = World::new();
    world.take(&Step::Create(0, 0));
    world.take(&Step::Fail(0, 0));
    for _ in 0..300 {
        while !world.under_way.is_empty() {
            world.answer(0, 3);
        }
        world.take(&Step::Wait(1_000));
    }
    let alert = world.book.open().next().unwrap().clone();
    let kept = alert.deliveries.len();
    assert!(kept <= dagbok_alerts::limits::DELIVERIES + 2, "{kept}");
    assert!(world.reached.len() > 100, "{}", world.reached.len());
    assert!(alert.told().contains("pager") && alert.told().contains("boss"), "{:?}", alert.told());
    world.take(&Step::Succeed(0, 0));
    world.take(&Step::Create(0, 1));
    world.take(&Step::Succeed(0, 1));
    let ended = world.book.alert(alert.id).unwrap();
    assert!(matches!(ended.state, AlertState::Resolved { .. }));
    let ends = ended.deliveries.keys().filter(|name| name.contains("/resolve/")).count();
    assert_eq!(ends, 2, "both are told of the end");
}

#[test]
fn ten_thousand_open_alerts_cost_what_is_due() {
    let mut world = World::new();
    for dag in 0..10_000_u32 {
        world.fail_of(dag);
    }
    world.settle();
    while let Some((id, message, attempt)) = world.under_way.pop() {
        let answered = Answered::Accepted { status: Some(202), provider_id: None };
        let seen = world.watch.last_seq();
        let came = Outcome { id, message: &message, attempt, took_ms: 5, answered: &answered };
        let record = outcome(&world.book, &world.policy, world.now, seen, &came).unwrap();
        world.sending.remove(&message);
        world.append(&record);
    }
    let mut agenda = Agenda::default();
    let (watch, book) = (&mut world.watch, &mut world.book);
    assert_eq!(agenda.plan(watch, book, &world.policy, world.now, &world.sending), []);
    assert_eq!(book.open().count(), 10_000);
    // One more fails: that one is looked at, and not the ten thousand.
    let begun = std::time::Instant::now();
    for dag in 10_000..10_200_u32 {
        world.fail_of(dag);
        let (watch, book) = (&mut world.watch, &mut world.book);
        let records = agenda.plan(watch, book, &world.policy, world.now, &world.sending);
        assert_eq!(records.len(), 1);
        for record in &records {
            world.append(record);
        }
        let (watch, book) = (&mut world.watch, &mut world.book);
        assert_eq!(agenda.plan(watch, book, &world.policy, world.now, &world.sending).len(), 1);
    }
    let each = begun.elapsed() / 200;
    assert!(each < std::time::Duration::from_millis(2), "{each:?} for each");
}
