//! What takes too long, and what numbers say: each rule opens its alert in its time, names its cause, and ends it.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
mod world;

use dagbok_alerts::{Backtest, Rule, Thresholds, explain};
use dagbok_events::{DeadlineFrom, Fact, LeftWhy, Micros, PoolDeleted, PoolName, PoolSet, Scope};
use serde_json::json;
use world::{
    HOUR, World,
    acts::{
        MINUTE, begin, deadline, end, filled, joined, left, of, open, part_joined, queue, scope,
        start, succeed, tasks, thresholds, wait, whole, world,
    },
    key,
};

#[test]
fn an_sla_is_told_once_it_is_missed_and_over_once_its_task_is_done() {
    let sla = deadline(Some("train"), DeadlineFrom::IntervalEnd, HOUR);
    let mut world = world(&[sla], &tasks());
    let cause = begin(&mut world, 0);
    queue(&mut world, 0, "train");
    start(&mut world, 0, "train", "one");
    wait(&mut world, Micros(HOUR.0 - 1));
    assert!(of(&world, Rule::DeadlineMissed).is_empty(), "not a moment early");
    let due = world.agenda.next_due(&world.watch, &world.book, &world.policy);
    assert_eq!(due, Some(world.now.plus(Micros(1))), "and awaited to the moment");
    wait(&mut world, Micros(1));
    let alert = open(&world, Rule::DeadlineMissed).unwrap();
    assert_eq!(alert.causes, [cause]);
    assert_eq!(alert.labels["task"], "train");
    assert_eq!(alert.labels["owner"], "ml");
    assert!(alert.summary.contains("its sla was"), "{}", alert.summary);
    succeed(&mut world, 0, "train", 1);
    world.settle();
    assert!(open(&world, Rule::DeadlineMissed).is_none());
}

#[test]
fn a_task_that_is_done_in_time_misses_nothing() {
    let sla = deadline(Some("train"), DeadlineFrom::IntervalEnd, HOUR);
    let mut world = world(&[sla], &tasks());
    begin(&mut world, 0);
    queue(&mut world, 0, "train");
    succeed(&mut world, 0, "train", 1);
    queue(&mut world, 0, "tell");
    start(&mut world, 0, "tell", "one");
    wait(&mut world, Micros(HOUR.0 * 3));
    assert!(of(&world, Rule::DeadlineMissed).is_empty());
}

#[test]
fn each_kind_of_deadline_has_its_time() {
    let at = |world: &World, rule| open(world, rule).map(|alert| alert.since);
    let epoch = World::new().now;
    for (from, after, due) in [
        (DeadlineFrom::LogicalDate, HOUR, epoch),
        (DeadlineFrom::LogicalDate, Micros(HOUR.0 * 2), epoch.plus(HOUR)),
        (DeadlineFrom::QueuedAt, MINUTE, epoch.plus(MINUTE)),
        (
            DeadlineFrom::Fixed(epoch.plus(HOUR)),
            Micros(-MINUTE.0),
            epoch.plus(Micros(59 * MINUTE.0)),
        ),
    ] {
        let mut world = world(&[deadline(None, from, after)], &tasks());
        begin(&mut world, 0);
        queue(&mut world, 0, "train");
        start(&mut world, 0, "train", "one");
        wait(&mut world, Micros(HOUR.0 * 4));
        assert_eq!(at(&world, Rule::DeadlineMissed), Some(due), "{from:?}");
        end(&mut world, 0);
        world.settle();
        assert_eq!(at(&world, Rule::DeadlineMissed), None, "{from:?}");
    }
    let average = DeadlineFrom::AverageRuntime { max_runs: 2, min_runs: 2 };
    let mut world = world(&[deadline(None, average, MINUTE)], &tasks());
    for (run, minutes) in [(0, 90), (1, 20), (2, 40)] {
        whole(&mut world, run, Micros(minutes * MINUTE.0), 1);
    }
    let began = world.now;
    begin(&mut world, 3);
    queue(&mut world, 3, "train");
    start(&mut world, 3, "train", "one");
    wait(&mut world, HOUR);
    assert_eq!(at(&world, Rule::DeadlineMissed), Some(began.plus(Micros(31 * MINUTE.0))));
}

#[test]
fn a_deadline_that_is_past_when_it_is_set_is_told_at_once() {
    let late = deadline(None, DeadlineFrom::IntervalEnd, Micros(-MINUTE.0));
    let mut world = world(&[late], &tasks());
    // Whoever has looked once looks at what changes from then on.
    wait(&mut world, MINUTE);
    assert!(open(&world, Rule::DeadlineMissed).is_none());
    begin(&mut world, 1);
    wait(&mut world, Micros::from_secs(1));
    assert!(open(&world, Rule::DeadlineMissed).is_some());
}

#[test]
fn another_run_that_misses_its_deadline_is_told_again() {
    let mut world = world(&[deadline(None, DeadlineFrom::QueuedAt, HOUR)], &tasks());
    let first = begin(&mut world, 0);
    wait(&mut world, MINUTE);
    let second = begin(&mut world, 1);
    wait(&mut world, HOUR);
    let alert = open(&world, Rule::DeadlineMissed).unwrap();
    assert_eq!((alert.causes.as_slice(), alert.count), ([first, second].as_slice(), 1));
    wait(&mut world, MINUTE);
    let third = begin(&mut world, 2);
    wait(&mut world, HOUR);
    let alert = open(&world, Rule::DeadlineMissed).unwrap();
    assert_eq!((alert.last_cause, alert.count), (third, 2));
}

#[test]
fn a_clock_that_goes_back_moves_what_is_counted_from_it() {
    let mut world = world(&[deadline(None, DeadlineFrom::QueuedAt, HOUR)], &tasks());
    begin(&mut world, 0);
    let (from, to) = (world.now, world.now.plus(Micros(-5 * HOUR.0)));
    world.now = to;
    let back = Fact::ClockWentBack(dagbok_events::ClockWentBack { from, to });
    world.log(Scope::Namespace, back);
    wait(&mut world, HOUR);
    assert_eq!(open(&world, Rule::DeadlineMissed).map(|it| it.since), Some(to.plus(HOUR)));
}

#[test]
fn a_run_that_takes_much_longer_than_those_before_it_is_slow() {
    let mut world = world(&[], &tasks());
    for run in 0..5 {
        whole(&mut world, run, Micros(30 * MINUTE.0), 1);
    }
    begin(&mut world, 9);
    queue(&mut world, 9, "train");
    start(&mut world, 9, "train", "one");
    wait(&mut world, Micros(90 * MINUTE.0 - 1));
    assert!(of(&world, Rule::RunSlow).is_empty());
    wait(&mut world, Micros(1));
    assert!(open(&world, Rule::RunSlow).unwrap().summary.contains("1800 seconds at most"));
    thresholds(&mut world, &Thresholds { slow_percent: Some(0), ..Thresholds::default() });
    world.settle();
    assert!(open(&world, Rule::RunSlow).is_none(), "the configuration says never");
}

#[test]
fn a_run_of_which_nothing_is_under_way_is_stuck_and_no_other() {
    let mut world = world(&[], &tasks());
    begin(&mut world, 0);
    begin(&mut world, 1);
    queue(&mut world, 1, "train");
    start(&mut world, 1, "train", "one");
    wait(&mut world, HOUR);
    let alert = open(&world, Rule::RunStuck).unwrap();
    assert_eq!(alert.runs, [key(0, 0)]);
    queue(&mut world, 0, "train");
    world.settle();
    assert!(open(&world, Rule::RunStuck).is_none());
    succeed(&mut world, 0, "train", 1);
    wait(&mut world, HOUR);
    assert!(open(&world, Rule::RunStuck).is_some(), "a new incident of the same run");
    assert_eq!(of(&world, Rule::RunStuck).len(), 2);
}

#[test]
fn a_last_success_that_is_too_old_is_told_with_its_time() {
    let mut world = world(&[], &tasks());
    whole(&mut world, 0, MINUTE, 1);
    let succeeded = world.now;
    let max_age = Some(Micros(72 * HOUR.0));
    thresholds(&mut world, &Thresholds { max_age, ..Thresholds::default() });
    wait(&mut world, Micros(72 * HOUR.0 - 1));
    assert!(of(&world, Rule::Stale).is_empty());
    wait(&mut world, Micros(1));
    let alert = open(&world, Rule::Stale).unwrap();
    assert!(alert.summary.contains(&succeeded.to_string()), "{}", alert.summary);
    whole(&mut world, 1, MINUTE, 1);
    world.settle();
    assert!(open(&world, Rule::Stale).is_none());
}

#[test]
fn the_configuration_sets_a_deadline_for_scheduled_runs() {
    let mut world = world(&[], &tasks());
    begin(&mut world, 0);
    let within = Some(HOUR);
    thresholds(&mut world, &Thresholds { within, ..Thresholds::default() });
    wait(&mut world, HOUR);
    assert!(open(&world, Rule::DeadlineMissed).is_some());
    thresholds(
        &mut world,
        &Thresholds { within: Some(Micros(9 * HOUR.0)), ..Thresholds::default() },
    );
    world.settle();
    assert!(open(&world, Rule::DeadlineMissed).is_none());
}

#[test]
fn memory_that_nears_its_limit_or_grows_into_it_is_told_before_it_is_reached() {
    let mut grows = world(&[], &tasks());
    thresholds(
        &mut grows,
        &Thresholds { memory_bytes: Some(4_096 << 20), ..Thresholds::default() },
    );
    for (run, mib) in [(0, 1_000), (1, 1_500), (2, 2_000)] {
        whole(&mut grows, run, MINUTE, mib);
        grows.settle();
        assert!(of(&grows, Rule::MemoryHigh).is_empty());
    }
    whole(&mut grows, 3, MINUTE, 2_700);
    grows.settle();
    let alert = open(&grows, Rule::MemoryHigh).unwrap();
    assert!(alert.summary.contains("2700 MiB of 4096 MiB"), "{}", alert.summary);
    assert!(alert.summary.contains("in three runs"), "{}", alert.summary);
    whole(&mut grows, 4, MINUTE, 900);
    grows.settle();
    assert!(open(&grows, Rule::MemoryHigh).is_none());
    whole(&mut grows, 5, MINUTE, 3_700);
    grows.settle();
    assert!(open(&grows, Rule::MemoryHigh).unwrap().summary.contains("near its limit"));
}

#[test]
fn a_pool_that_is_not_there_is_named_with_who_waits_for_it() {
    let pooled = json!([{ "task_id": "train", "operator": "X", "pool": "gpu" }]);
    let mut world = world(&[], &pooled);
    world.settle();
    assert!(of(&world, Rule::PoolMissing).is_empty(), "nobody waits");
    begin(&mut world, 0);
    world.settle();
    let alert = open(&world, Rule::PoolMissing).unwrap();
    assert_eq!((&*alert.labels["pool"], &*alert.labels["task"]), ("gpu", "train"));
    let pool = PoolName::new("gpu").unwrap();
    let set = PoolSet { pool: pool.clone(), slots: 1, description: None, include_deferred: false };
    world.log(Scope::Namespace, Fact::PoolSet(set));
    world.settle();
    assert!(open(&world, Rule::PoolMissing).is_none());
    world.log(Scope::Namespace, Fact::PoolDeleted(PoolDeleted { pool }));
    world.settle();
    assert_eq!(open(&world, Rule::PoolMissing).unwrap().generation, 2);
}

#[test]
fn an_executor_that_goes_without_a_word_is_told_until_somebody_takes_its_place() {
    let mut world = world(&[], &tasks());
    joined(&mut world, "a", "one", "default");
    joined(&mut world, "b", "two", "default");
    joined(&mut world, "c", "three", "gpu");
    left(&mut world, "a", LeftWhy::Drained);
    assert!(of(&world, Rule::ExecutorLost).is_empty(), "that one said goodbye");
    joined(&mut world, "a", "one", "default");
    left(&mut world, "a", LeftWhy::Gone);
    wait(&mut world, Micros(MINUTE.0 - 1));
    assert!(of(&world, Rule::ExecutorLost).is_empty(), "it may be started again");
    let due = world.agenda.next_due(&world.watch, &world.book, &world.policy);
    assert_eq!(due, Some(world.now.plus(Micros(1))));
    wait(&mut world, Micros(1));
    assert_eq!(open(&world, Rule::ExecutorLost).unwrap().labels["severity"], "warning");
    left(&mut world, "c", LeftWhy::Gone);
    wait(&mut world, MINUTE);
    let worse = open(&world, Rule::ExecutorLost).unwrap();
    assert_eq!(worse.labels["severity"], "critical");
    assert!(worse.summary.contains("`gpu`"), "{}", worse.summary);
    joined(&mut world, "d", "four", "gpu");
    world.settle();
    assert!(open(&world, Rule::ExecutorLost).is_some(), "one is gone still");
    joined(&mut world, "e", "one", "default");
    world.settle();
    assert!(open(&world, Rule::ExecutorLost).is_none());
}

#[test]
fn what_is_queued_while_an_executor_has_room_is_told_apart() {
    let cause = |world: &World| match open(world, Rule::StuckQueued) {
        Some(alert) => alert.labels["cause"].clone(),
        None => "none".to_owned(),
    };
    let mut room = world(&[], &tasks());
    joined(&mut room, "a", "one", "default");
    begin(&mut room, 0);
    queue(&mut room, 0, "train");
    wait(&mut room, HOUR);
    assert_eq!(cause(&room), "free_slots");
    let mut full = world(&[], &tasks());
    joined(&mut full, "a", "one", "default");
    begin(&mut full, 0);
    queue(&mut full, 0, "train");
    start(&mut full, 0, "train", "a");
    queue(&mut full, 0, "tell");
    wait(&mut full, HOUR);
    assert_eq!(cause(&full), "no_room");
    let mut pods = world(&[], &tasks());
    joined(&mut pods, "a", "one", "default");
    part_joined(&mut pods, "pod-a", "pod-a", "one");
    begin(&mut pods, 0);
    queue(&mut pods, 0, "tell");
    filled(&mut pods, "a", true);
    wait(&mut pods, HOUR);
    assert_eq!(cause(&pods), "no_room", "its slots are taken by pods that wait");
    left(&mut pods, "pod-a", LeftWhy::Gone);
    wait(&mut pods, HOUR);
    assert!(open(&pods, Rule::ExecutorLost).is_none(), "a pod is no executor that is missed");
    let mut again = world(&[], &tasks());
    joined(&mut again, "a", "one", "default");
    filled(&mut again, "a", true);
    filled(&mut again, "a", false);
    begin(&mut again, 0);
    queue(&mut again, 0, "tell");
    wait(&mut again, HOUR);
    assert_eq!(cause(&again), "free_slots");
    let mut nobody = world(&[], &tasks());
    begin(&mut nobody, 0);
    queue(&mut nobody, 0, "train");
    wait(&mut nobody, HOUR);
    assert_eq!(cause(&nobody), "no_executor");
    let mut asking = tasks();
    asking[0]["resources"] = serde_json::json!({"gpus": 2});
    let mut small = world(&[], &asking);
    joined(&mut small, "a", "one", "default");
    begin(&mut small, 0);
    let first = asking[0]["task_id"].as_str().unwrap();
    queue(&mut small, 0, first);
    small.settle();
    assert_eq!(cause(&small), "too_large", "at once");
    wait(&mut small, HOUR);
    assert_eq!(cause(&small), "too_large");
    let told = open(&small, Rule::StuckQueued).unwrap();
    assert!(told.summary.contains("2 GPUs, where it has 0"), "{}", told.summary);
}

#[test]
fn a_label_that_nobody_has_is_told_at_once_and_a_cordon_after_a_while() {
    let cause =
        |world: &World| open(world, Rule::StuckQueued).map(|alert| alert.labels["cause"].clone());
    let mut asking = tasks();
    asking[0]["resources"] = serde_json::json!({"labels": {"region": "ap"}});
    let mut elsewhere = world(&[], &asking);
    joined(&mut elsewhere, "a", "one", "default");
    begin(&mut elsewhere, 0);
    queue(&mut elsewhere, 0, asking[0]["task_id"].as_str().unwrap());
    elsewhere.settle();
    assert_eq!(cause(&elsewhere).as_deref(), Some("too_large"));
    let told = open(&elsewhere, Rule::StuckQueued).unwrap();
    let lacks = "the label `region` to be `ap`, where there is nothing";
    assert!(told.summary.contains(lacks), "{}", told.summary);
    let mut cordoned = world(&[], &tasks());
    joined(&mut cordoned, "a", "one", "default");
    begin(&mut cordoned, 0);
    let name = || "one".parse().unwrap();
    let cordon = dagbok_events::ExecutorCordoned { name: name(), drain: false, limit: None };
    cordoned.log(Scope::Namespace, Fact::ExecutorCordoned(cordon));
    queue(&mut cordoned, 0, "train");
    cordoned.settle();
    assert_eq!(cause(&cordoned), None, "somebody knows");
    wait(&mut cordoned, HOUR);
    assert_eq!(cause(&cordoned).as_deref(), Some("cordoned"));
    let fact = dagbok_events::ExecutorUncordoned { name: name() };
    cordoned.log(Scope::Namespace, Fact::ExecutorUncordoned(fact));
    cordoned.settle();
    assert_eq!(
        cause(&cordoned).as_deref(),
        Some("cordoned"),
        "one that is told stays as it was told"
    );
}

#[test]
fn slots_of_one_that_is_cordoned_are_not_free() {
    let cause =
        |world: &World| open(world, Rule::StuckQueued).map(|alert| alert.labels["cause"].clone());
    for (cordoned, again, expected) in
        [(false, false, "free_slots"), (true, false, "no_room"), (true, true, "free_slots")]
    {
        let mut half = world(&[], &tasks());
        joined(&mut half, "a", "one", "default");
        joined(&mut half, "b", "two", "default");
        begin(&mut half, 0);
        queue(&mut half, 0, "train");
        start(&mut half, 0, "train", "b");
        if cordoned {
            let name = "one".parse().unwrap();
            let cordon = dagbok_events::ExecutorCordoned { name, drain: false, limit: None };
            half.log(Scope::Namespace, Fact::ExecutorCordoned(cordon));
        }
        if again {
            let fact = dagbok_events::ExecutorUncordoned { name: "one".parse().unwrap() };
            half.log(Scope::Namespace, Fact::ExecutorUncordoned(fact));
        }
        queue(&mut half, 0, "tell");
        wait(&mut half, HOUR);
        assert_eq!(cause(&half).as_deref(), Some(expected));
    }
}

#[test]
fn retries_that_rise_are_told_and_those_that_were_always_there_are_not() {
    let mut world = world(&[], &tasks());
    let retried = |world: &mut World, run: u8, times: u16| {
        begin(world, run);
        for _ in 0..times {
            queue(world, run, "train");
            let failed = json!({
                "task_id": "train", "try_number": 1, "ended_at": "2026-01-01T00:00:00Z",
                "retry_at": "2026-01-01T00:00:00Z",
                "failure": { "kind": "exception", "fault": "user", "message": "no" },
                "usage": { "max_rss_bytes": 0, "user_us": 0, "system_us": 0 },
            });
            world.log(scope(run), Fact::TryFailed(serde_json::from_value(failed).unwrap()));
        }
        end(world, run);
        world.settle();
    };
    for (run, times) in [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1), (5, 1)] {
        retried(&mut world, run, times);
    }
    assert!(of(&world, Rule::RetriesRising).is_empty());
    for (run, times) in [(6, 3), (7, 3), (8, 3)] {
        retried(&mut world, run, times);
    }
    assert!(open(&world, Rule::RetriesRising).is_some());
    for run in 9..12 {
        retried(&mut world, run, 0);
    }
    assert!(open(&world, Rule::RetriesRising).is_none());
}

#[test]
fn what_was_folded_is_the_same_from_a_snapshot() {
    let sla = deadline(Some("train"), DeadlineFrom::IntervalEnd, HOUR);
    let mut world = world(&[sla, deadline(None, DeadlineFrom::QueuedAt, HOUR)], &tasks());
    joined(&mut world, "a", "one", "default");
    whole(&mut world, 0, MINUTE, 900);
    begin(&mut world, 1);
    queue(&mut world, 1, "train");
    start(&mut world, 1, "train", "a");
    left(&mut world, "a", LeftWhy::Gone);
    wait(&mut world, Micros(HOUR.0 * 2));
    let kept = dagbok_events::encode_any(&world.watch);
    let read: dagbok_alerts::Watch = dagbok_events::decode_any(&kept).unwrap();
    assert_eq!(dagbok_events::encode_any(&read), kept);
    assert_eq!(read.conditions(world.now), world.watch.conditions(world.now));
    let kept = dagbok_events::encode_any(&world.book);
    let read: dagbok_alerts::Book = dagbok_events::decode_any(&kept).unwrap();
    assert_eq!(read, world.book);
}

#[test]
fn a_history_gone_through_again_tells_what_would_have_been_told() {
    let mut lived = world(&[deadline(None, DeadlineFrom::QueuedAt, HOUR)], &tasks());
    lived.takes = true;
    let began = lived.now;
    begin(&mut lived, 0);
    queue(&mut lived, 0, "train");
    wait(&mut lived, Micros(HOUR.0 * 2));
    end(&mut lived, 0);
    wait(&mut lived, HOUR);
    let again = |since| {
        let mut backtest = Backtest::new(world::policy(), "default", since);
        for (seq, record) in (1..).zip(&lived.run_log) {
            backtest.take(seq, record);
        }
        backtest.pass(lived.now);
        let (found, left_out) = backtest.found();
        assert_eq!(left_out, 0);
        found.cloned().collect::<Vec<_>>()
    };
    let found = again(began);
    let rules: Vec<Rule> = found.iter().map(|it| it.rule).collect();
    assert_eq!(rules, [Rule::StuckQueued, Rule::DeadlineMissed]);
    assert_eq!(found[1].opened_at, began.plus(HOUR));
    assert_eq!(found[1].resolved_at, Some(began.plus(Micros(2 * HOUR.0))));
    assert_eq!(found[1].told.keys().collect::<Vec<_>>(), ["boss", "pager"], "nobody acknowledges");
    let opened: Vec<Rule> = lived.book.alerts().rev().map(|it| it.rule).collect();
    assert_eq!(opened, rules, "the same as were opened as it happened");
    assert_eq!(again(lived.now), []);
}

#[test]
fn a_record_says_what_is_wrong_by_it_and_what_is_awaited() {
    let mut world = world(&[deadline(None, DeadlineFrom::QueuedAt, HOUR)], &tasks());
    let began = world.now;
    let seq = begin(&mut world, 0);
    let said = explain(&world.watch, seq, world.now);
    assert_eq!(said.wrong, []);
    let awaited: Vec<_> = said.awaited.iter().map(|(rule, _, at)| (*rule, *at)).collect();
    assert_eq!(awaited, [(Rule::DeadlineMissed, began.plus(HOUR))]);
    let late = explain(&world.watch, seq, began.plus(HOUR));
    assert_eq!(late.wrong.iter().map(|it| it.rule).collect::<Vec<_>>(), [Rule::DeadlineMissed]);
}
