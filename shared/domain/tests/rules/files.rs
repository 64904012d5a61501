//! What the processor reads: files that change, break, mend and go, and the folder's code.
use dagbok_domain::namespace::{Namespace, Outcome};
use dagbok_events::{DagSpec, Digest, Fact};
use dagbok_protocol::{CommandBody, DagFile, limits};

use super::support::*;

fn broken(dag: &DagSpec, message: &str) -> DagFile {
    let mut file = file(&dag.source.file, &[]);
    file.errors.push(import_error(message));
    file
}

fn bundle_of_next_run(world: &mut World, dag: &str) -> Digest {
    let sent = world.trigger(dag);
    let Fact::RunCreated(created) = &sent.records[0].facts[0] else { panic!("{sent:?}") };
    created.bundle.clone()
}

#[test]
fn a_file_read_again_is_news_only_where_it_means_something_else() {
    let mut world = World::new();
    let etl = dag("etl").task("a", &[]);
    world.read(&etl).is(["DagRegistered etl v1"]);
    world.read(&etl).unchanged();
    world.read(&etl.clone().with(|dag| dag.source.line = 9)).unchanged();
    world.read(&etl.task("b", &[])).is(["DagRegistered etl v2"]);
}

#[test]
fn a_command_that_came_twice_is_decided_by_what_there_is() {
    let mut world = World::new();
    let read = CommandBody::DagFileRead(Box::new(file_of(&dag("etl"))));
    let command = world.command(read);
    world.deliver(&command).is(["DagRegistered etl v1"]);
    world.deliver(&command).unchanged();
}

#[test]
fn a_reading_that_comes_again_after_a_newer_one_is_out_of_date() {
    let mut world = World::new();
    let first = CommandBody::DagFileRead(Box::new(file_of(&dag("etl").task("old", &[]))));
    let first = world.command(first);
    world.deliver(&first).is(["DagRegistered etl v1"]);
    world.read(&dag("etl").task("new", &[])).is(["DagRegistered etl v2"]);
    let again = world.deliver(&first);
    assert_eq!(again.outcome, Outcome::Seen { seq: 1, run_id: None });
    assert!(again.records.is_empty());
    // The same of its going.
    let gone = world.command(CommandBody::DagFileGone { file: "etl.py".to_owned() });
    world.deliver(&gone);
    world.read(&dag("etl").task("new", &[])).is(["DagRegistered etl v3"]);
    assert!(world.deliver(&gone).records.is_empty());
    assert!(world.deliver(&first).records.is_empty());
}

#[test]
fn a_reading_that_landed_in_part_is_decided_to_its_end() {
    let mut world = World::new();
    let both = file("both.py", &[&dag("a"), &dag("b")]);
    let command = world.command(CommandBody::DagFileRead(Box::new(both)));
    let decision = world.namespace.decide(world.now, &command);
    assert_eq!(decision.records.len(), 2);
    world.append(&decision.records[0]);
    world.deliver(&command).is(["DagRegistered b v1"]);
    world.deliver(&command).unchanged();
}

#[test]
fn a_broken_file_keeps_its_dags_and_their_code() {
    let mut world = World::new();
    let etl = dag("etl").daily("2024-01-01").task("a", &[]);
    world.read(&etl);
    let sent = world.read_file(&broken(&etl, "invalid syntax"));
    sent.is(["DagImportFailed SyntaxError: invalid syntax"]);
    let Fact::DagImportFailed(failed) = &sent.records[0].facts[0] else { panic!("{sent:?}") };
    assert_eq!((failed.keeps.as_slice(), failed.line), ([dag_id("etl")].as_slice(), Some(3)));
    world.read_file(&broken(&etl, "invalid syntax")).unchanged();
    world.read_file(&broken(&etl, "no")).is(["DagImportFailed SyntaxError: no"]);
    world
        .send(CommandBody::PublishBundle { bundle: digest(2), folder: None })
        .is(["BundlePublished"]);
    assert_eq!(bundle_of_next_run(&mut world, "etl"), digest(1));
    assert_eq!(world.go_to("2024-01-02")[0], "RunCreated Scheduled 2024-01-01T00:00:00Z");
}

#[test]
fn a_long_message_is_cut_and_not_told_again_and_again() {
    let mut world = World::new();
    let long = broken(&dag("etl"), &"ä".repeat(limits::MESSAGE_BYTES));
    let sent = world.read_file(&long);
    let Fact::DagImportFailed(failed) = &sent.records[0].facts[0] else { panic!("{sent:?}") };
    assert!(failed.message.len() <= limits::MESSAGE_BYTES);
    assert!(failed.message.ends_with("… (2068 bytes cut)"), "{}", failed.message);
    world.read_file(&long).unchanged();
}

#[test]
fn a_mended_file_is_told_of_and_gets_the_code_of_now() {
    let mut world = World::new();
    let (etl, other) = (dag("etl"), dag("other"));
    world.read(&etl);
    world.read(&other);
    world.read_file(&broken(&etl, "out of time"));
    world.send(CommandBody::PublishBundle { bundle: digest(2), folder: None });
    assert_eq!(bundle_of_next_run(&mut world, "etl"), digest(1));
    assert_eq!(bundle_of_next_run(&mut world, "other"), digest(2));
    // Nothing in the folder changed: it just could be read this time.
    let mut file = file_of(&etl);
    file.bundle = digest(2);
    world.read_file(&file).is(["DagImportRecovered removed=false", "BundlePublished"]);
    assert_eq!(bundle_of_next_run(&mut world, "etl"), digest(2));
    // With a change its bundle is yet to be published.
    world.read_file(&broken(&etl, "again"));
    file.bundle = digest(3);
    world.read_file(&file).is(["DagImportRecovered removed=false"]);
    world.send(CommandBody::PublishBundle { bundle: digest(3), folder: None });
    assert_eq!(bundle_of_next_run(&mut world, "etl"), digest(3));
}

#[test]
fn a_broken_file_that_goes_takes_its_error_and_its_dags_along() {
    let mut world = World::new();
    let etl = dag("etl");
    world.read(&etl);
    world.read_file(&broken(&etl, "no"));
    let gone = CommandBody::DagFileGone { file: "etl.py".to_owned() };
    world
        .send(gone.clone())
        .is(["DagDisappeared file_gone=true", "DagImportRecovered removed=true"]);
    world.send(gone).unchanged();
}

#[test]
fn a_dag_taken_out_of_its_file_disappears_and_may_come_back() {
    let mut world = World::new();
    let (a, b) = (dag("a"), dag("b"));
    world.read_file(&file("both.py", &[&a, &b])).is(["DagRegistered a v1", "DagRegistered b v1"]);
    world.read_file(&file("both.py", &[&a])).is(["DagDisappeared file_gone=false"]);
    world.read_file(&file("both.py", &[&a])).unchanged();
    world.read_file(&file("both.py", &[&a, &b])).is(["DagRegistered b v2"]);
    assert_eq!(bundle_of_next_run(&mut world, "b"), digest(1));
}

#[test]
fn a_file_with_an_error_loses_none_of_the_dags_it_does_not_name() {
    let mut world = World::new();
    let (a, b) = (dag("a"), dag("b"));
    world.read_file(&file("both.py", &[&a, &b]));
    let mut half = file("both.py", &[&a]);
    half.errors.push(import_error("the second half is gone"));
    world.read_file(&half).is(["DagImportFailed SyntaxError: the second half is gone"]);
    assert!(!world.namespace.dag(&dag_id("b")).expect("known").is_gone());
}

#[test]
fn a_dag_id_belongs_to_the_file_that_had_it_first() {
    let mut world = World::new();
    let etl = dag("etl").task("a", &[]);
    world.read(&etl);
    let copy = file("copy.py", &[&etl]);
    let sent = world.read_file(&copy);
    let [fact] = &brief_all(&sent.records)[..] else { panic!("{sent:?}") };
    assert!(fact.starts_with("DagImportFailed AirflowDagDuplicatedIdException"), "{fact}");
    assert!(fact.contains("etl.py"), "{fact}");
    world.read_file(&copy).unchanged();
    world.read(&etl).unchanged();
    // Once the first one lets go of it the second may have it.
    world.send(CommandBody::DagFileGone { file: "etl.py".to_owned() });
    world.read_file(&copy).is(["DagRegistered etl v2", "DagImportRecovered removed=false"]);
    let queued = world.trigger("etl");
    assert!(matches!(queued.outcome, Outcome::Accepted { .. }));
    world.settle();
    let item = world.namespace.work_item(world.namespace.queued_tries()[0]).expect("offered");
    assert_eq!(item.file, "copy.py");
}

#[test]
fn every_error_of_a_file_is_told() {
    let mut world = World::new();
    world.read(&dag("etl"));
    let mut copy = file("copy.py", &[&dag("etl"), &dag("etl")]);
    copy.errors.push(import_error("mapped tasks are not supported yet"));
    let sent = world.read_file(&copy);
    let Fact::DagImportFailed(failed) = &sent.records[0].facts[0] else { panic!("{sent:?}") };
    assert_eq!((failed.exception.as_str(), failed.line), ("SyntaxError", Some(3)));
    let start = "3 errors: line 3: SyntaxError: mapped tasks are not supported yet; \
                 line 1: AirflowDagDuplicatedIdException: DAG etl: it is defined in etl.py already";
    assert!(failed.message.starts_with(start), "{}", failed.message);
    assert_eq!(failed.traceback, "", "there is nothing that the message does not say");
    world.read_file(&copy).unchanged();
    // What a message has no room for stands with the tracebacks.
    copy.errors[0].message = "x".repeat(limits::MESSAGE_BYTES);
    let sent = world.read_file(&copy);
    let Fact::DagImportFailed(failed) = &sent.records[0].facts[0] else { panic!("{sent:?}") };
    assert_eq!(failed.traceback.matches("AirflowDagDuplicatedIdException").count(), 2);
    // One of them is mended: the others stand.
    copy.errors.clear();
    copy.dags.pop();
    world.read_file(&copy).is(["DagImportFailed AirflowDagDuplicatedIdException: DAG etl: it is \
                               defined in etl.py already; give one of the two another id"]);
}

#[test]
fn a_file_that_defines_a_dag_twice_gets_the_first_and_an_error() {
    let mut world = World::new();
    let sent = world.read_file(&file("etl.py", &[&dag("etl"), &dag("etl").task("a", &[])]));
    let facts = brief_all(&sent.records);
    assert_eq!(facts[0], "DagRegistered etl v1");
    assert!(facts[1].contains("twice"), "{facts:?}");
}

#[test]
fn a_dag_that_the_rules_cannot_follow_is_an_error_of_its_file() {
    let many = (0..limits::TASKS_PER_DAG).map(|n| plain_task(&format!("t{n}"), Vec::new()));
    let many: Vec<_> = many.chain([plain_task("one_more", Vec::new())]).collect();
    let bad = "61 * * * *".to_owned();
    let cases: [(DagSpec, &str, &str); 7] = [
        (dag("etl").task("a", &[]).task("a", &[]), "DuplicateTaskIdFound", "id a"),
        (
            dag("etl").add("a", &[], |task| task.upstream = vec![0]),
            "AirflowDagCycleException",
            "task a",
        ),
        (
            dag("etl").add("a", &[], |task| task.upstream = vec![1]).task("b", &["a"]),
            "AirflowDagCycleException",
            "task a",
        ),
        (
            dag("etl").timetable(dagbok_events::Timetable::CronTrigger { expression: bad }),
            "BadSchedule",
            "minute",
        ),
        (
            dag("etl").task("a", &[]).with(|dag| dag.max_active_tasks = 0),
            "LimitExceeded",
            "max_active_tasks",
        ),
        (dag("etl").with(|dag| dag.tasks = many), "LimitExceeded", "at most 20000"),
        (
            dag("etl").with(|dag| dag.doc_md = Some("d".repeat(limits::SPEC_BYTES))),
            "LimitExceeded",
            "bytes",
        ),
    ];
    for (spec, exception, word) in cases {
        let mut world = World::new();
        world.read(&dag("etl").with(|dag| dag.owner = "before".to_owned()));
        let sent = world.read(&spec);
        let [fact] = &brief_all(&sent.records)[..] else { panic!("{sent:?}") };
        assert!(fact.starts_with(&format!("DagImportFailed {exception}: DAG etl")), "{fact}");
        assert!(fact.contains(word), "{fact}");
        let kept = world.namespace.dag(&dag_id("etl")).expect("the last good one");
        assert_eq!((kept.current().number, kept.is_gone()), (1, false));
    }
}

#[test]
fn a_bundle_is_published_once_and_new_runs_use_it() {
    let mut world = World::new();
    world.read(&dag("etl").task("a", &[]));
    let publish = |bundle| CommandBody::PublishBundle { bundle: digest(bundle), folder: None };
    world.send(publish(2)).is(["BundlePublished"]);
    world.send(publish(2)).unchanged();
    world.trigger_as("etl", "r1");
    world.send(publish(3)).is(["BundlePublished"]);
    world.trigger_as("etl", "r2");
    world.settle();
    let items = world.namespace.queued_tries().into_iter();
    let bundles: Vec<_> =
        items.map(|it| world.namespace.work_item(it).expect("offered").bundle).collect();
    assert_eq!(bundles, [digest(2), digest(3)], "a run keeps the code that it was made with");
}

#[test]
fn what_files_said_is_in_the_snapshot() {
    let mut world = World::new();
    world.read(&dag("etl"));
    world.read_file(&broken(&dag("etl"), "no"));
    world.send(CommandBody::PublishBundle { bundle: digest(2), folder: None });
    world.namespace = Namespace::from_snapshot(&world.namespace.to_snapshot()).expect("ours");
    world.read_file(&broken(&dag("etl"), "no")).unchanged();
    world.send(CommandBody::PublishBundle { bundle: digest(2), folder: None }).unchanged();
    assert_eq!(bundle_of_next_run(&mut world, "etl"), digest(1));
}

#[test]
fn the_dags_of_a_file_are_those_that_it_defines_now() {
    let mut world = World::new();
    let (a, b, c) = (dag("a"), dag("b"), dag("c"));
    world.read_file(&file("one.py", &[&a, &b]));
    world.read_file(&file("two.py", &[&c]));
    // `b` moves, by way of being gone, and `a` comes back.
    world.read_file(&file("one.py", &[]));
    world.read_file(&file("two.py", &[&b, &c])).is(["DagRegistered b v2"]);
    world.read_file(&file("one.py", &[&a]));
    world.namespace = Namespace::from_snapshot(&world.namespace.to_snapshot()).expect("ours");
    let keeps = |sent: &Sent| match &sent.records[0].facts[0] {
        Fact::DagImportFailed(failed) => failed.keeps.clone(),
        other => panic!("{other:?}"),
    };
    let mut broken = file("two.py", &[]);
    broken.errors.push(import_error("no"));
    assert_eq!(keeps(&world.read_file(&broken)), [dag_id("b"), dag_id("c")]);
    let gone = |file: &str| CommandBody::DagFileGone { file: file.to_owned() };
    world.send(gone("one.py")).is(["DagDisappeared file_gone=true"]);
    assert!(world.namespace.dag(&dag_id("a")).expect("known").is_gone());
    world.send(gone("one.py")).unchanged();
}

#[test]
fn folders_are_told_apart_by_what_their_files_go_by() {
    let mut world = World::new();
    let of = |id: &str, file: &str| {
        dag(id).task("t", &[]).with(|dag| file.clone_into(&mut dag.source.file))
    };
    let (one, two) = (of("one", "etl.py"), of("two", "team//etl.py"));
    world.read(&one);
    world.read(&two).is(["DagRegistered two v1"]);
    // A folder's bundle is that of its own files.
    let publish = |bundle, folder: Option<&str>| {
        let folder = folder.map(str::to_owned);
        CommandBody::PublishBundle { bundle: digest(bundle), folder }
    };
    world.send(publish(2, Some("team"))).is(["BundlePublished"]);
    world.send(publish(2, Some("team"))).unchanged();
    assert_eq!(bundle_of_next_run(&mut world, "one"), digest(1));
    assert_eq!(bundle_of_next_run(&mut world, "two"), digest(2));
    world.send(publish(3, None)).is(["BundlePublished"]);
    assert_eq!(bundle_of_next_run(&mut world, "one"), digest(3));
    assert_eq!(bundle_of_next_run(&mut world, "two"), digest(2));
    // Who runs a try finds the file in the bundle by its path there.
    world.settle();
    let tries = world.namespace.queued_tries().into_iter();
    let items: Vec<_> = tries.filter_map(|it| world.namespace.work_item(it)).collect();
    let told = |id: &str| {
        let item = items.iter().find(|item| item.key.dag_id == dag_id(id)).unwrap();
        (item.file.as_str(), item.folder.as_deref())
    };
    assert_eq!((told("one"), told("two")), (("etl.py", None), ("etl.py", Some("team"))));
    // Whoever had an id first keeps it; the error is the other file's, and names the first.
    let again = of("one", "team//more.py");
    let sent = world.read(&again);
    let Fact::DagImportFailed(failed) = &sent.records[0].facts[0] else { panic!("{sent:?}") };
    assert!(failed.message.contains("defined in etl.py already"), "{}", failed.message);
    // One of two files of one name goes.
    let gone = CommandBody::DagFileGone { file: "team//etl.py".to_owned() };
    world.send(gone).is(["DagDisappeared file_gone=true"]);
    world
        .send(CommandBody::DagFileGone { file: "etl.py".to_owned() })
        .is(["DagDisappeared file_gone=true"]);
    world.read(&again).is(["DagRegistered one v2", "DagImportRecovered removed=false"]);
}
