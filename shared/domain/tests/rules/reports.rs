//! What executors say: believed of a try that is theirs and in flight, kept as refused otherwise.
use dagbok_domain::namespace::Outcome;
use dagbok_events::{Fact, LogRef, LostWhy, MapIndex, Payload, Usage};
use dagbok_protocol::{CommandBody, RefusalCode, ReportBody, XComValue};

use super::support::*;

fn world() -> World {
    let spec = dag("etl").add("a", &[], |task| (task.retries, task.retry_delay) = (1, secs(0)));
    let mut world = World::with([spec.task("b", &["a"])]);
    world.trigger_as("etl", "r1");
    world.settle();
    world
}

fn every_claim() -> Vec<(ReportBody, &'static str)> {
    let xcom = XComValue {
        key: "k".to_owned(),
        value: Some(Payload::Inline("1".to_owned())),
        length: None,
    };
    let (xcoms, usage, message) = (vec![xcom.clone()], Usage::default(), String::new());
    let left = LogRef { digest: digest(9), size: 1, lines: 1, dropped: 0, usage: None };
    let log = Some(left.clone());
    let failure = failure(dagbok_events::Fault::User);
    vec![
        (started(), "Started"),
        (ReportBody::XCom(xcom), "XCom"),
        (
            ReportBody::Succeeded {
                xcoms: xcoms.clone(),
                usage,
                log: log.clone(),
                skips: vec![],
                outlets: vec![],
            },
            "Succeeded",
        ),
        (ReportBody::Failed { failure, xcoms: xcoms.clone(), usage, log: log.clone() }, "Failed"),
        (ReportBody::Skipped { message, xcoms, usage, log: log.clone() }, "Skipped"),
        (ReportBody::Returned, "Returned"),
        (ReportBody::Lost { why: LostWhy::Ordered, usage: Some(usage), log }, "Lost"),
        (ReportBody::Left { log: left }, "Left"),
    ]
}

/// Each claim is refused for this reason, kept with its log and usage, and changes nothing.
#[track_caller]
fn all_refused(world: &mut World, by: &str, key: &str, why: &str) {
    let (before, tries) = (world.state(), try_key(key));
    for (body, claim) in every_claim() {
        let sent = world.report(by, key, body);
        let kept = format!("ReportRefused {} {} {claim}: {why}", tries.task_id, tries.try_number);
        sent.refused(RefusalCode::StaleReport, [kept.as_str()]);
        let Fact::ReportRefused(fact) = &sent.records[0].facts[0] else { panic!("{sent:?}") };
        let is_an_end = ["Succeeded", "Failed", "Skipped", "Lost"].contains(&claim);
        let brings_a_log = is_an_end || claim == "Left";
        assert_eq!((fact.log.is_some(), fact.usage.is_some()), (brings_a_log, is_an_end));
        assert_eq!(world.settle(), [] as [&str; 0]);
    }
    assert_eq!(world.state(), before);
}

#[test]
fn a_try_is_started_and_succeeds() {
    let mut world = world();
    world.start("e1", "etl/r1/a/1").is(["TryStarted a 1 by e1"]);
    assert_eq!(world.offered(), [] as [&str; 0]);
    assert_eq!(world.namespace.held_by(&executor("e1")), [try_key("etl/r1/a/1")]);
    let value = XComValue { key: "return_value".to_owned(), value: None, length: None };
    let body = succeeded(vec![value]);
    world.report("e1", "etl/r1/a/1", body).is(["XComPushed a return_value", "TrySucceeded a 1"]);
    assert_eq!(world.namespace.held_by(&executor("e1")), []);
    assert_eq!(world.settle(), ["TaskQueued b 1"]);
}

#[test]
fn the_end_may_be_heard_before_the_beginning() {
    let mut world = world();
    world.succeed("e1", "etl/r1/a/1").is(["TrySucceeded a 1"]);
    world.settle();
    all_refused(&mut world, "e1", "etl/r1/a/1", "NotInFlight");
}

#[test]
fn a_beginning_told_twice_is_one() {
    let mut world = world();
    world.start("e1", "etl/r1/a/1");
    world.start("e1", "etl/r1/a/1").unchanged();
}

#[test]
fn the_same_report_twice_is_one() {
    let mut world = world();
    let body = Box::new(report("e1", "etl/r1/a/1", world.now, succeeded(Vec::new())));
    let command = world.command(CommandBody::Report(body));
    world.deliver(&command);
    let seq = world.log.len() as u64;
    assert_eq!(world.deliver(&command).outcome, Outcome::Seen { seq, run_id: None });
    assert_eq!(world.log.len() as u64, seq);
}

#[test]
fn a_refused_report_that_comes_again_is_refused_again_and_kept_once() {
    let mut world = world();
    world.start("e1", "etl/r1/a/1");
    let body = Box::new(report("e2", "etl/r1/a/1", world.now, started()));
    let command = world.command(CommandBody::Report(body));
    let sent = world.deliver(&command);
    sent.refused(RefusalCode::StaleReport, ["ReportRefused a 1 Started: HeldByAnother"]);
    world.deliver(&command).refused(RefusalCode::StaleReport, []);
    // So it stays after a restart from a snapshot.
    let bytes = world.namespace.to_snapshot();
    world.namespace = dagbok_domain::namespace::Namespace::from_snapshot(&bytes).expect("ours");
    world.deliver(&command).refused(RefusalCode::StaleReport, []);
}

#[test]
fn what_was_left_of_a_try_is_kept_and_says_nothing_of_it() {
    let mut world = world();
    world.start("e1", "etl/r1/a/1");
    let before = world.state();
    let log = LogRef { digest: digest(9), size: 1, lines: 1, dropped: 0, usage: None };
    let sent = world.report("e1", "etl/r1/a/1", ReportBody::Left { log: log.clone() });
    sent.refused(RefusalCode::StaleReport, ["ReportRefused a 1 Left: InFlight"]);
    let Fact::ReportRefused(fact) = &sent.records[0].facts[0] else { panic!("{sent:?}") };
    assert_eq!(fact.log, Some(log));
    assert_eq!(world.settle(), [] as [&str; 0]);
    assert_eq!(world.state(), before);
    world.succeed("e1", "etl/r1/a/1").is(["TrySucceeded a 1"]);
}

#[test]
fn a_report_of_another_executors_try_is_refused() {
    let mut world = world();
    world.start("e1", "etl/r1/a/1");
    all_refused(&mut world, "e2", "etl/r1/a/1", "HeldByAnother");
    world.succeed("e1", "etl/r1/a/1").is(["TrySucceeded a 1"]);
}

#[test]
fn a_report_of_a_try_that_is_over_is_refused() {
    let mut world = world();
    world.start("e1", "etl/r1/a/1");
    world.fail("e1", "etl/r1/a/1");
    // While the retry waits, while it is offered, and while another runs it.
    world.pause("etl");
    all_refused(&mut world, "e1", "etl/r1/a/1", "NotInFlight");
    world.unpause("etl");
    world.settle();
    all_refused(&mut world, "e1", "etl/r1/a/1", "NotInFlight");
    world.start("e2", "etl/r1/a/2");
    all_refused(&mut world, "e1", "etl/r1/a/1", "NotInFlight");
    world.succeed("e2", "etl/r1/a/2").is(["TrySucceeded a 2"]);
    world.settle();
    all_refused(&mut world, "e1", "etl/r1/a/1", "NotInFlight");
}

#[test]
fn a_report_of_a_try_that_never_was_is_refused() {
    let mut world = world();
    all_refused(&mut world, "e1", "etl/r1/a/2", "NotInFlight");
    all_refused(&mut world, "e1", "etl/r1/b/1", "NotInFlight");
    all_refused(&mut world, "e1", "etl/r1/c/1", "NoSuchTask");
    all_refused(&mut world, "e1", "etl/r2/a/1", "NoSuchRun");
    all_refused(&mut world, "e1", "elt/r1/a/1", "NoSuchRun");
}

#[test]
fn a_report_of_a_copy_that_is_not_mapped_is_refused() {
    let mut world = world();
    let mut report = report("e1", "etl/r1/a/1", world.now, started());
    report.key.map_index = MapIndex(0);
    let sent = world.send(CommandBody::Report(Box::new(report)));
    sent.refused(RefusalCode::StaleReport, ["ReportRefused a 1 Started: NoSuchTask"]);
}

#[test]
fn a_report_after_the_run_is_over_is_refused() {
    for cancelled in [true, false] {
        let mut world = world();
        world.start("e1", "etl/r1/a/1");
        if cancelled {
            world.cancel("etl", "r1");
        } else {
            world.succeed("e1", "etl/r1/a/1");
            world.settle();
            world.succeed("e1", "etl/r1/b/1");
        }
        assert!(!world.is_active("etl", "r1"));
        all_refused(&mut world, "e1", "etl/r1/a/1", "RunOver");
    }
}

#[test]
fn what_is_handed_back_is_offered_again_as_another_try() {
    let mut world = world();
    world.report("e1", "etl/r1/a/1", ReportBody::Returned).is(["TryReturned a 1"]);
    assert_eq!(world.settle(), ["TaskQueued a 2"]);
    // Nobody's retries are used up by it.
    world.fail("e2", "etl/r1/a/2");
    assert_eq!(world.settle(), ["TaskQueued a 3"]);
    world.fail("e2", "etl/r1/a/3").is([
        "TryFailed a 3 retry never",
        "TaskRuledOut b UpstreamFailed",
        "RunFailed b",
    ]);
}

#[test]
fn an_executor_can_give_up_its_own_try() {
    let mut world = world();
    world.start("e1", "etl/r1/a/1");
    let usage = Some(Usage { max_rss_bytes: 7, user_us: 8, system_us: 9 });
    let log = Some(LogRef { digest: digest(9), size: 1, lines: 1, dropped: 0, usage: None });
    let lost = ReportBody::Lost { why: LostWhy::Fenced, usage, log: log.clone() };
    let sent = world.report("e1", "etl/r1/a/1", lost);
    sent.is(["TryLost a 1 Fenced retry 2024-01-01T00:00:00Z"]);
    let Fact::TryLost(fact) = &sent.records[0].facts[0] else { panic!("{sent:?}") };
    assert_eq!((fact.usage, fact.log.clone()), (usage, log), "what it left behind is kept");
    assert_eq!(world.settle(), ["TaskQueued a 2"]);
}

#[test]
fn a_skip_is_no_failure_and_skips_what_follows() {
    let mut world = world();
    world.skip("e1", "etl/r1/a/1").is(["TrySkipped a 1", "TaskRuledOut b Skipped", "RunSucceeded"]);
}
