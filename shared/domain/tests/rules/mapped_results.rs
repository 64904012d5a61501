//! Tasks that are mapped over what others return: how many copies they get, when, and of mapped groups.
use dagbok_domain::{
    namespace::{Namespace, Outcome},
    run::Ending,
};
use dagbok_events::{DagSpec, Expand, Extent, MapIndex, Payload, TaskSpec, TriggerRule, Usage};
use dagbok_protocol::{
    ClearTasks, CommandBody, RefusalCode, ReportBody, TaskCopy, XComValue,
    limits::{COPIES_PER_TASK, RENDERED_MAP_INDEX_CHARS},
};

use super::support::{DagExt as _, Sent, World, clearing, dag, run_key, task_id};

fn of(task: u32) -> Extent {
    Extent::Of { task }
}

/// A task that is mapped over these.
fn over(of: Vec<Extent>) -> impl Fn(&mut TaskSpec) {
    move |task| {
        task.is_mapped = true;
        task.expand = Some(Expand::Product { of: of.clone() });
    }
}

fn begun(spec: DagSpec) -> World {
    let mut world = World::with([spec.with(|dag| dag.max_active_tasks = 10_000)]);
    world.trigger_as("etl", "r1");
    world.settle();
    world
}

/// A try ends, and returned something of so many elements.
fn returns(world: &mut World, key: &str, length: Option<u32>) -> Sent {
    let value = Some(Payload::Inline("[]".to_owned()));
    let xcoms = vec![XComValue { key: "return_value".to_owned(), value, length }];
    let usage = Usage::default();
    world.report(
        "e1",
        key,
        ReportBody::Succeeded { xcoms, usage, log: None, skips: vec![], outlets: vec![] },
    )
}

/// The same from a snapshot.
fn restart(world: &mut World) {
    let snapshot = world.namespace.to_snapshot();
    world.namespace = Namespace::from_snapshot(&snapshot).expect("ours");
    assert_eq!(world.namespace.to_snapshot(), snapshot);
}

fn clear(world: &mut World, names: &[&str]) -> Sent {
    let task_ids = names.iter().map(|name| task_id(name)).collect();
    world.send(CommandBody::ClearTasks(ClearTasks { task_ids, ..clearing("etl", "r1", false) }))
}

#[test]
fn a_task_over_a_result_gets_a_copy_for_each_element() {
    let spec = dag("etl").task("a", &[]).add("m", &["a"], over(vec![of(0)])).task("z", &["m"]);
    let mut world = begun(spec);
    returns(&mut world, "etl/r1/a/1", Some(2))
        .is(["XComPushed a return_value", "TrySucceeded a 1"]);
    assert_eq!(world.settle(), ["TaskExpanded m 2", "TaskQueued m 1", "TaskQueued m 1"]);
    world.succeed("e1", "etl/r1/m[0]/1");
    assert_eq!(world.settle(), [] as [&str; 0]);
    world.succeed("e1", "etl/r1/m[1]/1");
    assert_eq!(world.settle(), ["TaskQueued z 1"]);
    world.succeed("e1", "etl/r1/z/1").is(["TrySucceeded z 1", "RunSucceeded"]);
}

#[test]
fn what_a_newer_version_maps_over_a_result_gets_a_copy_for_each_element_too() {
    let first = || dag("etl").task("a", &[]).add("m", &["a"], over(vec![of(0)]));
    let mut world = begun(first());
    returns(&mut world, "etl/r1/a/1", Some(2));
    world.settle();
    world.succeed("e1", "etl/r1/m[0]/1");
    world.succeed("e1", "etl/r1/m[1]/1").is(["TrySucceeded m 1", "RunSucceeded"]);
    world.read(&first().add("n", &["a"], over(vec![of(0)])));
    let ask = ClearTasks { on_latest_version: true, ..clearing("etl", "r1", true) };
    world.send(CommandBody::ClearTasks(ask)).is(["RunVersionChanged v2 +n", "RunCleared"]);
    assert_eq!(
        world.settle(),
        ["RunStarted", "TaskExpanded n 2", "TaskQueued n 1", "TaskQueued n 1"]
    );
}

#[test]
fn a_result_without_elements_skips_what_is_mapped_over_it() {
    let spec = dag("etl").task("a", &[]).add("m", &["a"], over(vec![of(0)])).task("z", &["m"]);
    let mut world = begun(spec);
    returns(&mut world, "etl/r1/a/1", Some(0));
    let facts =
        ["TaskExpanded m 0", "TaskRuledOut m Skipped", "TaskRuledOut z Skipped", "RunSucceeded"];
    assert_eq!(world.settle(), facts);
}

#[test]
fn lengths_are_multiplied_zipped_and_added() {
    let fixed = Extent::Fixed { length: 3 };
    let zip = |longest| Extent::Zip { of: vec![of(0), of(1)], longest };
    let concat = Extent::Concat { of: vec![of(0), of(1), of(0)] };
    let cases = [
        (vec![of(0), fixed], 6),
        (vec![of(0), of(1)], 10),
        (vec![zip(false)], 2),
        (vec![zip(true)], 5),
        (vec![concat.clone()], 9),
        (vec![concat, zip(false)], 18),
    ];
    for (extents, expected) in cases {
        let spec = dag("etl").task("a", &[]).task("b", &[]);
        let mut world = begun(spec.add("m", &["a", "b"], over(extents.clone())));
        returns(&mut world, "etl/r1/a/1", Some(2));
        assert_eq!(world.settle(), [] as [&str; 0]);
        returns(&mut world, "etl/r1/b/1", Some(5));
        assert_eq!(world.settle()[0], format!("TaskExpanded m {expected}"), "{extents:?}");
    }
}

#[test]
fn where_nobody_can_say_how_many_there_are_the_task_can_not_run() {
    let spec = dag("etl").task("a", &[]).add("m", &["a"], |task| {
        over(vec![of(0)])(task);
        task.trigger_rule = TriggerRule::AllDone;
    });
    let mut world = begun(spec.clone());
    returns(&mut world, "etl/r1/a/1", None);
    assert_eq!(world.settle(), ["TaskRuledOut m UpstreamFailed", "RunFailed m"]);
    let mut world = begun(spec);
    world.skip("e1", "etl/r1/a/1");
    assert_eq!(world.settle(), ["TaskRuledOut m Skipped", "RunSucceeded"]);
}

#[test]
fn what_would_have_too_many_copies_says_so() {
    let spec = |of| dag("etl").task("a", &[]).task("b", &[]).add("m", &["a", "b"], over(of));
    for (extents, said) in [
        (vec![of(0), of(1), Extent::Fixed { length: 2 }], "120000 copies (300 × 200 × 2)"),
        (vec![Extent::Concat { of: vec![of(0); 400] }], "120000 copies"),
    ] {
        let mut world = begun(spec(extents));
        returns(&mut world, "etl/r1/a/1", Some(300));
        returns(&mut world, "etl/r1/b/1", Some(200));
        let message = format!(
            "TaskRuledOut m UpstreamFailed: the task `m` would have {said}, and the limit is \
             {COPIES_PER_TASK} for each task of a run, which no setting changes: map it over fewer elements, or over \
             lists of several"
        );
        assert_eq!(world.settle(), [message, "RunFailed m".to_owned()]);
    }
}

fn clear_copies(world: &mut World, copies: &[(&str, i32)]) -> Sent {
    let copies = copies.iter().map(|(task, map_index)| TaskCopy {
        task_id: task_id(task),
        map_index: MapIndex(*map_index),
    });
    let copies = copies.collect();
    world.send(CommandBody::ClearTasks(ClearTasks { copies, ..clearing("etl", "r1", false) }))
}

#[test]
fn one_copy_is_cleared_by_itself() {
    let spec = dag("etl").task("a", &[]).add("m", &["a"], over(vec![of(0)])).task("z", &["m"]);
    let mut world = begun(spec);
    returns(&mut world, "etl/r1/a/1", Some(3));
    world.settle();
    for (copy, ends_well) in [(0, true), (1, false), (2, true)] {
        let key = format!("etl/r1/m[{copy}]/1");
        if ends_well {
            world.succeed("e1", &key)
        } else {
            world.fail("e1", &key)
        };
    }
    clear_copies(&mut world, &[("m", 1)]).is(["RunCleared", "TaskCleared m[1]", "TaskCleared z"]);
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued m 2"]);
    assert_eq!(world.offered(), ["etl/r1/m[1]/2"]);
    restart(&mut world);
    world.succeed("e1", "etl/r1/m[1]/2");
    assert_eq!(world.settle(), ["TaskQueued z 1"]);
    for (copy, said) in [
        (("m", 3), "task m of run etl/r1 has no copy 3: they go from 0 to 2"),
        (("m", -1), "task m of run etl/r1 has no copy -1: they go from 0 to 2"),
        (("z", 0), "task z of run etl/r1 has no copies: name it without a map index"),
        (("y", 0), "run etl/r1 has no task y"),
    ] {
        let refused = clear_copies(&mut world, &[copy]).outcome;
        let Outcome::Refused(refusal) = refused else { panic!("{refused:?}") };
        assert_eq!((refusal.code, refusal.message.as_str()), (RefusalCode::TaskNotFound, said));
    }
}

#[test]
fn in_a_group_what_is_below_a_copy_is_the_copy_of_its_index() {
    let spec = dag("etl").task("a", &[]).add("g.x", &["a"], over(vec![of(0)]));
    let mut spec = spec.add("g.y", &["g.x"], over(vec![of(0)]));
    for task in &mut spec.tasks[1..] {
        task.mapped_group = Some("g".to_owned());
    }
    let mut world = begun(spec);
    returns(&mut world, "etl/r1/a/1", Some(3));
    world.settle();
    for copy in [0, 2] {
        world.fail("e1", &format!("etl/r1/g.x[{copy}]/1"));
    }
    world.succeed("e1", "etl/r1/g.x[1]/1");
    world.settle();
    world.succeed("e1", "etl/r1/g.y[1]/1");
    clear_copies(&mut world, &[("g.x", 2)]).is([
        "RunCleared",
        "TaskCleared g.x[2]",
        "TaskCleared g.y[2]",
    ]);
    assert_eq!(world.settle(), ["RunStarted", "TaskQueued g.x 2"]);
}

#[test]
fn a_task_over_copies_has_one_for_each_that_returned_something() {
    let spec = dag("etl").add("m", &[], |task| {
        (task.is_mapped, task.expand) = (true, Some(Expand::Literal { length: 4 }));
    });
    let spec = spec.add("n", &["m"], |task| {
        over(vec![of(0)])(task);
        task.trigger_rule = TriggerRule::AllDone;
    });
    let mut world = begun(spec);
    returns(&mut world, "etl/r1/m[0]/1", None);
    returns(&mut world, "etl/r1/m[2]/1", None);
    world.skip("e1", "etl/r1/m[1]/1");
    assert_eq!(world.settle(), [] as [&str; 0]);
    world.succeed("e1", "etl/r1/m[3]/1");
    assert_eq!(world.settle(), ["TaskExpanded n 2", "TaskQueued n 1", "TaskQueued n 1"]);
}

#[test]
fn what_fails_before_there_are_copies_rules_the_task_out_once() {
    let spec = dag("etl").task("a", &[]).task("b", &[]).add("m", &["a", "b"], over(vec![of(0)]));
    let mut world = begun(spec);
    returns(&mut world, "etl/r1/a/1", Some(5));
    world.fail("e1", "etl/r1/b/1").is([
        "TryFailed b 1 retry never",
        "TaskRuledOut m UpstreamFailed",
        "RunFailed m",
    ]);
}

#[test]
fn a_task_that_is_to_run_again_has_as_many_copies_as_what_it_is_mapped_over_has_then() {
    let spec = dag("etl").task("a", &[]).add("m", &["a"], over(vec![of(0)])).task("z", &["m"]);
    let mut world = begun(spec.task("goes_on", &[]));
    returns(&mut world, "etl/r1/a/1", Some(2));
    world.settle();
    world.succeed("e1", "etl/r1/m[0]/1");
    world.fail("e1", "etl/r1/m[1]/1");
    clear(&mut world, &["a", "m"]).is(["TaskCleared a", "TaskCleared m[0..=1]", "TaskCleared z"]);
    assert_eq!(world.settle(), ["TaskQueued a 2"]);
    returns(&mut world, "etl/r1/a/2", Some(4));
    let queued = ["TaskQueued m 2", "TaskQueued m 2", "TaskQueued m 1", "TaskQueued m 1"];
    assert_eq!(world.settle(), [&["TaskExpanded m 4"][..], &queued].concat());
    for n in 0..4 {
        let number = if n < 2 { 2 } else { 1 };
        world.succeed("e1", &format!("etl/r1/m[{n}]/{number}"));
    }
    assert_eq!(world.settle(), ["TaskQueued z 1"]);
    clear(&mut world, &["a", "m"]);
    world.settle();
    returns(&mut world, "etl/r1/a/3", Some(1));
    assert_eq!(world.settle(), ["TaskRuledOut m[1..=3] Removed", "TaskQueued m 3"]);
    let run = world.namespace.active_run(&run_key("etl", "r1")).expect("it goes on");
    assert_eq!(run.instance_count(), 7);
    assert!(run.find(&task_id("m"), MapIndex(3)).is_some());
    // The snapshot knows copies that got other numbers.
    restart(&mut world);
    world.succeed("e1", "etl/r1/m[0]/3");
    world.succeed("e1", "etl/r1/z/1");
    world.succeed("e1", "etl/r1/goes_on/1");
    assert_eq!(world.namespace.ending(&run_key("etl", "r1")), Some(Ending::Success));
}

/// `a`, then tasks of a mapped group over what it returns.
fn grouped(inside: &[(&str, &[&str], TriggerRule)]) -> DagSpec {
    inside.iter().fold(dag("etl").task("a", &[]), |spec, (name, upstream, rule)| {
        spec.add(name, upstream, |task| {
            task.expand = Some(Expand::Product { of: vec![of(0)] });
            task.mapped_group = Some("g".to_owned());
            task.trigger_rule = *rule;
        })
    })
}

#[test]
fn in_a_mapped_group_a_copy_waits_for_the_copy_of_its_index() {
    let all = TriggerRule::AllSuccess;
    let spec = grouped(&[("one", &["a"], all), ("two", &["one"], all), ("three", &["two"], all)]);
    let mut world = begun(spec.task("z", &["three"]));
    returns(&mut world, "etl/r1/a/1", Some(3));
    assert_eq!(
        world.settle(),
        [
            "TaskExpanded one 3",
            "TaskExpanded two 3",
            "TaskExpanded three 3",
            "TaskQueued one 1",
            "TaskQueued one 1",
            "TaskQueued one 1"
        ]
    );
    world.succeed("e1", "etl/r1/one[1]/1");
    world.settle();
    assert_eq!(world.offered(), ["etl/r1/one[0]/1", "etl/r1/one[2]/1", "etl/r1/two[1]/1"]);
    world.fail("e1", "etl/r1/one[2]/1").is([
        "TryFailed one 1 retry never",
        "TaskRuledOut two[2] UpstreamFailed",
        "TaskRuledOut three[2] UpstreamFailed",
        "TaskRuledOut z UpstreamFailed",
    ]);
    world.skip("e1", "etl/r1/one[0]/1").is([
        "TrySkipped one 1",
        "TaskRuledOut two[0] Skipped",
        "TaskRuledOut three[0] Skipped",
    ]);
    world.succeed("e1", "etl/r1/two[1]/1");
    world.settle();
    world.succeed("e1", "etl/r1/three[1]/1").is(["TrySucceeded three 1", "RunFailed z"]);
}

#[test]
fn a_task_outside_of_a_mapped_group_counts_for_every_copy() {
    let all = TriggerRule::AllSuccess;
    let spec = dag("etl").task("a", &[]).task("b", &[]).add("one", &["a"], |task| {
        task.expand = Some(Expand::Product { of: vec![of(0)] });
        task.mapped_group = Some("g".to_owned());
    });
    let spec = spec.add("two", &["one", "b"], |task| {
        task.expand = Some(Expand::Product { of: vec![of(0)] });
        task.mapped_group = Some("g".to_owned());
        task.trigger_rule = all;
    });
    let mut world = begun(spec.clone());
    returns(&mut world, "etl/r1/a/1", Some(2));
    assert_eq!(world.settle(), ["TaskExpanded one 2", "TaskQueued one 1", "TaskQueued one 1"]);
    world.succeed("e1", "etl/r1/one[0]/1");
    assert_eq!(world.settle(), [] as [&str; 0], "the task outside is missing");
    world.succeed("e1", "etl/r1/b/1");
    assert_eq!(world.settle(), ["TaskExpanded two 2", "TaskQueued two 1"]);
    world.succeed("e1", "etl/r1/one[1]/1");
    assert_eq!(world.settle(), ["TaskQueued two 1"]);
    // What can't run by then is ruled out with the copies.
    let mut world = begun(spec.clone());
    returns(&mut world, "etl/r1/a/1", Some(2));
    world.settle();
    world.fail("e1", "etl/r1/one[1]/1").is(["TryFailed one 1 retry never"]);
    world.succeed("e1", "etl/r1/b/1");
    assert_eq!(world.settle(), ["TaskExpanded two 2", "TaskRuledOut two[1] UpstreamFailed"]);
    // Of a group over what stands in the file, the copies are there at once.
    let in_file = spec.with(|dag| {
        for task in &mut dag.tasks[2..] {
            task.expand = Some(Expand::Literal { length: 2 });
        }
    });
    let mut world = begun(in_file);
    world.succeed("e1", "etl/r1/a/1");
    world.settle();
    world.succeed("e1", "etl/r1/one[0]/1");
    world
        .fail("e1", "etl/r1/b/1")
        .is(["TryFailed b 1 retry never", "TaskRuledOut two[0..=1] UpstreamFailed"]);
    world.succeed("e1", "etl/r1/one[1]/1").is(["TrySucceeded one 1", "RunFailed two"]);
}

#[test]
fn a_copy_in_a_group_that_is_cleared_takes_with_it_what_it_ruled_out() {
    let all = TriggerRule::AllSuccess;
    let spec = grouped(&[("one", &["a"], all), ("two", &["one"], all)]).task("goes_on", &[]);
    let mut world = begun(spec);
    returns(&mut world, "etl/r1/a/1", Some(2));
    world.settle();
    world.fail("e1", "etl/r1/one[0]/1");
    world.succeed("e1", "etl/r1/one[1]/1");
    world.settle();
    world.clear("etl", "r1", true).is(["TaskCleared one[0]", "TaskCleared two[0]"]);
    world.settle();
    assert_eq!(world.offered(), ["etl/r1/goes_on/1", "etl/r1/one[0]/2", "etl/r1/two[1]/1"]);
    restart(&mut world);
    world.succeed("e1", "etl/r1/one[0]/2");
    world.settle();
    assert_eq!(world.offered(), ["etl/r1/goes_on/1", "etl/r1/two[0]/1", "etl/r1/two[1]/1"]);
}

#[test]
fn a_copys_name_is_kept_within_its_limit() {
    let mut world = begun(dag("etl").task("a", &[]));
    let rendered_map_index = "x".repeat(RENDERED_MAP_INDEX_CHARS + 5);
    let sent = world.report("e1", "etl/r1/a/1", ReportBody::Named { rendered_map_index });
    sent.is([format!("TryNamed a {}", "x".repeat(RENDERED_MAP_INDEX_CHARS)).as_str()]);
}

#[test]
fn a_mapping_that_can_not_be_is_an_error_of_its_file() {
    let later = dag("etl").task("a", &[]).add("m", &[], over(vec![of(1)]));
    let nothing = dag("etl").add("m", &[], over(vec![Extent::Fixed { length: 2 }]));
    let many = dag("etl").add("m", &[], |task| {
        task.expand = Some(Expand::Literal { length: COPIES_PER_TASK + 1 });
    });
    let apart = grouped(&[("one", &["a"], TriggerRule::AllSuccess)]).add("two", &["one"], |task| {
        task.mapped_group = Some("g".to_owned());
    });
    let cases = [
        (later, "task m is mapped over what does not come before it"),
        (nothing, "task m is mapped over what does not come before it"),
        (many, "task m is mapped over 100001 elements; at most 100000 are taken"),
        (apart, "tasks of the mapped group g are mapped differently"),
    ];
    for (spec, words) in cases {
        let fault = dagbok_domain::namespace::spec_fault(&spec).expect("a fault");
        assert!(fault.message.contains(words), "{fault:?}");
    }
}
