//! What is told again, what waits for too long, what will be late, what soon holds no more, and where it says what to do.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
mod world;

use dagbok_alerts::{
    AlertFact, AlertRecord, AskBody, BlobsObserved, By, CalendarRefused, CalendarTaken,
    ConfigurationTaken, Contact, DiskObserved, Person, ProjectionObserved, Purpose, Route, Rule,
    Schedule, Severity, review,
};
use dagbok_events::{
    DeadlineFrom, ExecutorId, Fact, ForeignReport, Leg, MapIndex, Micros, RefusedWhy,
    ReportRefused, RunStarted, TaskId, TryNumber,
};
use world::{
    HOUR, Step, World,
    acts::{
        MINUTE, begin, deadline, end, of, open, queue, scope, start, tasks, wait, whole, world,
    },
    created,
};

/// A world in which the pager forgets what it is not told again each ten minutes, and one of its runs failed.
fn forgetful() -> World {
    let mut world = World::new();
    world.policy.receivers.get_mut("pager").unwrap().refresh = Some(Micros(10 * MINUTE.0));
    world.policy.root.as_mut().unwrap().chain.steps.truncate(1);
    world.policy.root.as_mut().unwrap().repeat_interval = Micros(HOUR.0 * 100);
    world.take(&Step::Create(0, 0));
    world.take(&Step::Fail(0, 0));
    world
}

fn refreshed(world: &World) -> usize {
    let facts = world.alert_log.iter().flat_map(|record| &record.facts);
    let told = facts.filter(|fact| match fact {
        AlertFact::NotificationAttempted(it) => it.id == 1 && it.purpose == Purpose::Refresh,
        _ => false,
    });
    told.count()
}

/// Whatever is under way is taken.
fn all_taken(world: &mut World) {
    while !world.under_way.is_empty() {
        world.answer(0, 3);
        world.settle();
    }
}

#[test]
fn who_forgets_is_told_again_until_the_end_whoever_has_it_in_hand() {
    let mut world = forgetful();
    wait(&mut world, HOUR);
    assert_eq!(refreshed(&world), 0, "what was never taken is not told again");
    all_taken(&mut world);
    let first = refreshed(&world);
    for count in 1..=4 {
        wait(&mut world, Micros(10 * MINUTE.0));
        assert_eq!(refreshed(&world), first + count);
        wait(&mut world, Micros(9 * MINUTE.0));
        assert_eq!(refreshed(&world), first + count, "and not while one is under way");
        all_taken(&mut world);
    }
    world.take(&Step::Acknowledge(0));
    all_taken(&mut world);
    world.crash();
    let before = refreshed(&world);
    wait(&mut world, Micros(10 * MINUTE.0));
    assert!(refreshed(&world) > before, "acknowledged, and after a crash");
    let alert = world.book.open().next().unwrap();
    let kept = alert.deliveries.values().filter(|it| it.purpose == Purpose::Refresh);
    assert_eq!(kept.count(), 1, "the newest is at hand");
}

#[test]
fn an_end_waits_for_what_says_that_it_still_is_so_and_nothing_does_after() {
    let mut world = forgetful();
    world.answer(0, 3);
    wait(&mut world, Micros(10 * MINUTE.0));
    assert_eq!(refreshed(&world), 1);
    world.take(&Step::Resolve(0));
    let ends = |world: &World| {
        world.book.alert(1).unwrap().deliveries.values().any(|it| it.purpose == Purpose::Resolve)
    };
    assert!(!ends(&world), "it may come after its end, and open it anew");
    world.take(&Step::Answer(0, 3));
    assert!(ends(&world));
    world.take(&Step::Answer(0, 3));
    wait(&mut world, HOUR);
    assert_eq!(refreshed(&world), 1);
}

#[test]
fn one_that_failed_is_not_tried_again_after_the_end() {
    let mut world = forgetful();
    world.answer(0, 3);
    wait(&mut world, Micros(10 * MINUTE.0));
    world.answer(0, 0);
    world.take(&Step::Resolve(0));
    world.take(&Step::Answer(0, 3));
    wait(&mut world, HOUR);
    assert_eq!(refreshed(&world), 1);
}

#[test]
fn a_message_that_nobody_takes_for_a_quarter_of_an_hour_is_told_of() {
    let mut world = World::new();
    world.take(&Step::Create(0, 0));
    world.take(&Step::Fail(0, 0));
    wait(&mut world, Micros(15 * MINUTE.0 - 1));
    assert!(of(&world, Rule::MessagesWaiting).is_empty(), "not a moment early");
    wait(&mut world, Micros(1));
    let alert = open(&world, Rule::MessagesWaiting).unwrap();
    assert_eq!(alert.details[0], ("receivers".to_owned(), "pager".to_owned()));
    let id = alert.id;
    // Closed by hand it is well until something newer waits as long.
    world.ask(AskBody::Resolve { id });
    world.settle();
    assert!(open(&world, Rule::MessagesWaiting).is_none());
    for _ in 0..4 {
        wait(&mut world, HOUR);
    }
    assert!(open(&world, Rule::MessagesWaiting).is_some_and(|it| it.id != id));
    world.come_to_rest();
    assert!(open(&world, Rule::MessagesWaiting).is_none(), "all of them were taken");
}

#[test]
fn credentials_are_told_of_two_weeks_before_and_when_they_hold_no_more() {
    let mut world = World::new();
    let day = Micros(24 * HOUR.0);
    let until = world.now.plus(Micros(20 * day.0));
    world.policy.receivers.get_mut("mail").unwrap().expires = Some(until);
    world.agenda.look_again();
    wait(&mut world, Micros(6 * day.0 - 1));
    assert!(of(&world, Rule::CredentialsExpiring).is_empty());
    wait(&mut world, Micros(1));
    let first = open(&world, Rule::CredentialsExpiring).unwrap();
    assert_eq!((&*first.labels["receiver"], &*first.labels["severity"]), ("mail", "warning"));
    let id = first.id;
    world.ask(AskBody::Resolve { id });
    wait(&mut world, Micros(13 * day.0));
    assert!(open(&world, Rule::CredentialsExpiring).is_none(), "somebody knows");
    wait(&mut world, day);
    let worse = open(&world, Rule::CredentialsExpiring).unwrap();
    assert_eq!(worse.labels["severity"], Severity::Critical.word());
    assert!(review(&world.policy, world.now).iter().any(|it| it.contains("the receiver `mail`")));
    world.policy.receivers.get_mut("mail").unwrap().expires = Some(until.plus(Micros(365 * day.0)));
    world.agenda.look_again();
    world.settle();
    assert!(open(&world, Rule::CredentialsExpiring).is_none(), "they were renewed");
}

#[test]
fn a_run_that_will_be_late_is_told_of_before_it_is() {
    let by = deadline(None, DeadlineFrom::LogicalDate, Micros(HOUR.0 * 4));
    let mut world = world(&[by], &tasks());
    for run in 0..5 {
        whole(&mut world, run, Micros(HOUR.0 * 2), 1);
    }
    // Its logical date is an hour before, so that three hours are left: it begins with enough of them, then without.
    let made = world.now;
    for (run, late, told) in [(10, HOUR, false), (11, Micros(HOUR.0 + 1), true)] {
        world.log(scope(run), Fact::RunCreated(Box::new(created(world.now.plus(Micros(-HOUR.0))))));
        wait(&mut world, late);
        world.log(scope(run), Fact::RunStarted(RunStarted {}));
        queue(&mut world, run, "train");
        start(&mut world, run, "train", "one");
        world.settle();
        assert_eq!(open(&world, Rule::DeadlineAhead).is_some(), told, "{late:?} {made:?}");
        if told {
            let alert = open(&world, Rule::DeadlineAhead).unwrap();
            assert!(alert.summary.contains("will likely miss its deadline"), "{}", alert.summary);
            assert_eq!(alert.labels["severity"], "warning");
            wait(&mut world, Micros(HOUR.0 * 2));
            assert!(open(&world, Rule::DeadlineMissed).is_some());
        }
        end(&mut world, run);
        world.settle();
        assert!(open(&world, Rule::DeadlineAhead).is_none());
    }
    // One that never begins is told of as soon as it can't be done in time.
    world.log(scope(12), Fact::RunCreated(Box::new(created(world.now.plus(Micros(-HOUR.0))))));
    wait(&mut world, Micros(HOUR.0 - 1));
    assert!(open(&world, Rule::DeadlineAhead).is_none());
    wait(&mut world, Micros(1));
    assert!(open(&world, Rule::DeadlineAhead).is_some());
}

#[test]
fn nothing_is_foretold_of_what_nobody_knows() {
    let by = deadline(None, DeadlineFrom::LogicalDate, Micros(HOUR.0 * 4));
    let mut world = world(&[by], &tasks());
    for run in 0..4 {
        whole(&mut world, run, Micros(HOUR.0 * 2), 1);
    }
    begin(&mut world, 9);
    wait(&mut world, Micros(HOUR.0 * 2));
    assert!(of(&world, Rule::DeadlineAhead).is_empty(), "four are too few");
}

fn note(world: &mut World, fact: AlertFact) {
    let record =
        AlertRecord { at: world.now, by: By::Rules, reason: None, seen: 0, facts: vec![fact] };
    world.append(&record);
    world.settle();
}

#[test]
fn a_calendar_that_can_not_be_read_is_told_of_until_it_can() {
    let mut world = World::new();
    let schedule = "primary".to_owned();
    let refused = || {
        AlertFact::CalendarRefused(CalendarRefused {
            schedule: schedule.clone(),
            why: "it answered 500".to_owned(),
        })
    };
    let taken = || {
        AlertFact::CalendarTaken(CalendarTaken {
            schedule: schedule.clone(),
            digest: "1".to_owned(),
            shifts: 3,
        })
    };
    note(&mut world, refused());
    let alert = open(&world, Rule::CalendarRefused).unwrap();
    assert_eq!((&*alert.labels["schedule"], &*alert.labels["severity"]), ("primary", "critical"));
    note(&mut world, taken());
    assert!(open(&world, Rule::CalendarRefused).is_none());
    note(&mut world, refused());
    assert_eq!(open(&world, Rule::CalendarRefused).unwrap().labels["severity"], "warning");
    // What the configuration names no more can't fail.
    let (digest, receivers) = (String::new(), vec!["pager".to_owned()]);
    let without = ConfigurationTaken { digest, receivers, calendars: Vec::new() };
    note(&mut world, AlertFact::ConfigurationTaken(without));
    assert!(open(&world, Rule::CalendarRefused).is_none());
}

#[test]
fn a_runbook_is_the_routes_or_the_rules_and_stands_on_the_alert() {
    let mut world = World::new();
    world.policy.runbooks.insert(Rule::RunFailed, "https://wiki/failed".to_owned());
    world.take(&Step::Create(0, 0));
    world.take(&Step::Fail(0, 0));
    assert_eq!(open(&world, Rule::RunFailed).unwrap().labels["runbook"], "https://wiki/failed");
    world.take(&Step::Resolve(0));
    world.policy.root.as_mut().unwrap().runbook = Some("https://wiki/ml".to_owned());
    world.take(&Step::Create(0, 1));
    world.take(&Step::Fail(0, 1));
    assert_eq!(open(&world, Rule::RunFailed).unwrap().labels["runbook"], "https://wiki/ml");
}

#[test]
fn routes_that_nothing_reaches_and_steps_that_reach_nobody_are_named() {
    let mut world = World::new();
    assert_eq!(review(&world.policy, world.now), Vec::<String>::new());
    let root = world.policy.root.as_mut().unwrap();
    let child = |name: &str, matchers: &[&str]| Route {
        name: name.to_owned(),
        matchers: matchers.iter().map(|it| it.parse().unwrap()).collect(),
        ..root.clone()
    };
    let wide = child("wide", &["owner=ml"]);
    let narrow = child("narrow", &["severity=critical", "owner=ml"]);
    let mut lost = child("lost", &["owner=web"]);
    lost.chain.steps[0].receivers.clear();
    lost.chain.steps[0].people = vec!["nobody".to_owned()];
    root.routes = vec![wide, narrow, lost];
    let said = review(&world.policy, world.now);
    assert_eq!(
        said,
        [
            "nothing reaches the route `narrow`: all of it goes to `wide` before it",
            "step 1 of the route `lost` reaches nobody now: it is passed over"
        ]
    );
}

#[test]
fn whom_a_calendar_names_that_was_not_asked_for_may_be_anybody() {
    let mut world = World::new();
    let contacts = vec![Contact { receiver: "boss".to_owned(), after: Micros(0) }];
    let crew = &mut world.policy.crew;
    crew.people.insert("ana".to_owned(), Person { contacts });
    let (zone, trouble) = (jiff::tz::TimeZone::UTC, None);
    let (rotations, calendar, overrides) = (Vec::new(), Vec::new(), Vec::new());
    let schedule = Schedule { zone, rotations, calendar, overrides, trouble };
    crew.schedules.insert("primary".to_owned(), schedule);
    let chain = &mut world.policy.root.as_mut().unwrap().chain;
    chain.steps.truncate(1);
    chain.steps[0].receivers.clear();
    chain.steps[0].schedules = vec!["primary".to_owned()];
    let step = chain.steps[0].clone();
    assert!(world.policy.reachable(&step, world.now).is_empty());
    assert_eq!(review(&world.policy, world.now).len(), 2, "nobody is on call, nobody is reached");
    world.policy.unread.insert("primary".to_owned());
    assert_eq!(world.policy.reachable(&step, world.now), ["boss"]);
    let said = review(&world.policy, world.now);
    assert!(said.len() == 1 && said[0].contains("was not asked for"), "{said:?}");
}

#[test]
fn many_refused_reports_are_told_of_until_they_are_an_hour_old() {
    let mut world = World::new();
    let refused = Fact::ReportRefused(Box::new(ReportRefused {
        task_id: TaskId::new("train").unwrap(),
        map_index: MapIndex(-1),
        try_number: TryNumber::new(1).unwrap(),
        leg: Leg::default(),
        report: ForeignReport::Succeeded,
        executor: ExecutorId::new("one").unwrap(),
        why: RefusedWhy::RunOver,
        usage: None,
        log: None,
    }));
    for _ in 0..19 {
        world.log(scope(0), refused.clone());
        wait(&mut world, MINUTE);
    }
    assert!(open(&world, Rule::ReportsRefused).is_none());
    world.log(scope(0), refused);
    world.settle();
    assert_eq!(open(&world, Rule::ReportsRefused).unwrap().causes, [1, 20]);
    wait(&mut world, Micros(41 * MINUTE.0));
    assert!(open(&world, Rule::ReportsRefused).is_none(), "the first of twenty is an hour old");
}

#[test]
fn a_disk_is_told_of_before_it_is_full() {
    let mut world = World::new();
    let disk = |free: u64| {
        AlertFact::DiskObserved(DiskObserved {
            host: "one".to_owned(),
            folder: "/data".to_owned(),
            free: free << 20,
            total: 1_000 << 20,
            low_percent: 5,
        })
    };
    // Ten MiB in half an hour: what is left lasts longer than a day.
    for free in [900, 895, 890] {
        note(&mut world, disk(free));
        wait(&mut world, Micros(15 * MINUTE.0));
    }
    assert!(open(&world, Rule::DiskFilling).is_none());
    note(&mut world, disk(600));
    wait(&mut world, MINUTE);
    let alert = open(&world, Rule::DiskFilling).unwrap();
    assert_eq!(alert.labels["severity"], "warning");
    assert!(alert.summary.contains("full in 90 minutes"), "{}", alert.summary);
    note(&mut world, disk(40));
    let alert = open(&world, Rule::DiskFilling).unwrap();
    assert_eq!(alert.labels["severity"], "critical", "it got worse");
    let id = alert.id;
    world.ask(AskBody::Resolve { id });
    world.settle();
    assert!(open(&world, Rule::DiskFilling).is_none(), "somebody says that it is well");
    wait(&mut world, MINUTE);
    note(&mut world, disk(950));
    note(&mut world, disk(40));
    assert_eq!(open(&world, Rule::DiskFilling).unwrap().labels["severity"], "critical");
    note(&mut world, disk(950));
    assert!(open(&world, Rule::DiskFilling).is_none());
}

#[test]
fn what_is_well_for_now_is_told_of_once_it_is_worse_and_what_got_better_wakes_nobody() {
    let mut world = World::new();
    let disk = |free: u64| {
        AlertFact::DiskObserved(DiskObserved {
            host: "one".to_owned(),
            folder: "/data".to_owned(),
            free: free << 20,
            total: 1_000 << 20,
            low_percent: 5,
        })
    };
    note(&mut world, disk(900));
    wait(&mut world, Micros(40 * MINUTE.0));
    note(&mut world, disk(600));
    let id = open(&world, Rule::DiskFilling).unwrap().id;
    world.ask(AskBody::Resolve { id });
    world.settle();
    assert!(open(&world, Rule::DiskFilling).is_none());
    wait(&mut world, MINUTE);
    note(&mut world, disk(40));
    let worse = open(&world, Rule::DiskFilling).unwrap();
    assert_eq!(worse.labels["severity"], "critical", "that was said of what it was");
    let id = worse.id;
    world.ask(AskBody::Acknowledge { id });
    world.settle();
    note(&mut world, disk(60));
    let better = open(&world, Rule::DiskFilling).unwrap();
    assert_eq!(better.id, id, "somebody has it in hand");
    // Another machine's is another disk: that it has less says nothing of how fast one fills.
    note(&mut world, disk(900));
    wait(&mut world, Micros(40 * MINUTE.0));
    let other = DiskObserved {
        host: "two".to_owned(),
        folder: "/data".to_owned(),
        free: 600 << 20,
        total: 1_000 << 20,
        low_percent: 5,
    };
    note(&mut world, AlertFact::DiskObserved(other));
    assert!(open(&world, Rule::DiskFilling).is_none());
}

#[test]
fn how_little_of_a_disk_is_little_is_said_and_with_nothing_it_is_left_alone() {
    let mut world = World::new();
    let disk = |free: u64, low_percent: u8| {
        AlertFact::DiskObserved(DiskObserved {
            host: "one".to_owned(),
            folder: "/data".to_owned(),
            free: free << 20,
            total: 1_000 << 20,
            low_percent,
        })
    };
    note(&mut world, disk(40, 0));
    assert!(open(&world, Rule::DiskFilling).is_none());
    let AlertFact::DiskObserved(same) = disk(40, 3) else { unreachable!() };
    assert!(world.book.disk_is_news(world.now, &same), "what is said of it changed");
    note(&mut world, disk(40, 3));
    assert!(open(&world, Rule::DiskFilling).is_none(), "four of a hundred are enough");
    note(&mut world, disk(29, 3));
    assert_eq!(open(&world, Rule::DiskFilling).unwrap().labels["severity"], "critical");
    note(&mut world, disk(29, 0));
    assert!(open(&world, Rule::DiskFilling).is_none());
    // How fast it fills is nothing either.
    wait(&mut world, Micros(40 * MINUTE.0));
    note(&mut world, disk(2, 0));
    assert!(open(&world, Rule::DiskFilling).is_none());
    let old = r#"{"DiskObserved":{"host":"one","folder":"/data","free":1,"total":9}}"#;
    let Ok(AlertFact::DiskObserved(old)) = serde_json::from_str(old) else { unreachable!() };
    assert_eq!(old.low_percent, 5, "that was what held before it could be said");
}

#[test]
fn who_is_behind_says_so_until_it_has_caught_up() {
    let mut world = World::new();
    note(&mut world, AlertFact::ProjectionObserved(ProjectionObserved { behind: 7 }));
    assert!(open(&world, Rule::ProjectionBehind).unwrap().summary.contains("by 7 records"));
    note(&mut world, AlertFact::ProjectionObserved(ProjectionObserved { behind: 0 }));
    assert!(open(&world, Rule::ProjectionBehind).is_none());
    // Closed by hand it is well until it is behind another time, and nobody notes it anew meanwhile.
    note(&mut world, AlertFact::ProjectionObserved(ProjectionObserved { behind: 7 }));
    let id = open(&world, Rule::ProjectionBehind).unwrap().id;
    world.ask(AskBody::Resolve { id });
    world.settle();
    assert!(open(&world, Rule::ProjectionBehind).is_none() && world.book.is_behind());
    note(&mut world, AlertFact::ProjectionObserved(ProjectionObserved { behind: 0 }));
    note(&mut world, AlertFact::ProjectionObserved(ProjectionObserved { behind: 7 }));
    assert!(open(&world, Rule::ProjectionBehind).is_some());
}

#[test]
fn an_object_store_that_does_not_answer_is_told_of_until_it_does() {
    let mut world = World::new();
    let seen = |refused: Option<&str>| BlobsObserved {
        place: "s3://bucket/dagbok".to_owned(),
        refused: refused.map(str::to_owned),
    };
    assert!(!world.book.blobs_are_news(&seen(None)), "that it answers is no news");
    let away = seen(Some("AccessDenied: no"));
    assert!(world.book.blobs_are_news(&away));
    note(&mut world, AlertFact::BlobsObserved(away.clone()));
    let alert = open(&world, Rule::BlobsAway).unwrap();
    assert_eq!(alert.labels["severity"], "critical");
    assert!(alert.summary.contains("AccessDenied: no") && alert.summary.contains("s3://bucket"));
    assert!(!world.book.blobs_are_news(&away), "nor that it says the same again");
    assert!(world.book.blobs_are_news(&seen(Some("SlowDown"))));
    // Closed by hand it is well until it answers.
    let id = alert.id;
    world.ask(AskBody::Resolve { id });
    world.settle();
    note(&mut world, AlertFact::BlobsObserved(seen(Some("SlowDown"))));
    assert!(open(&world, Rule::BlobsAway).is_none());
    note(&mut world, AlertFact::BlobsObserved(seen(None)));
    note(&mut world, AlertFact::BlobsObserved(away));
    assert!(open(&world, Rule::BlobsAway).is_some());
    note(&mut world, AlertFact::BlobsObserved(seen(None)));
    assert!(open(&world, Rule::BlobsAway).is_none());
}
