//! Small DAGs with branches, short circuits, setups and teardowns, as two versions of real Airflow ran them: how
//! their tasks and runs end here. See `oracle/record_outcomes.py` for what is recorded.
use std::collections::BTreeMap;

use dagbok_domain::run::{Done, Ending};
use dagbok_events::{DagSpec, Fact, RuledOut, TaskId, TriggerRule, Usage};
use dagbok_protocol::ReportBody;
use serde_json::Value;

use super::support::{DagExt as _, World, dag, run_key, task_id};

const RECORDED: [(u8, &str); 2] = [
    (2, include_str!("../oracle/outcomes-2.json")),
    (3, include_str!("../oracle/outcomes-3.json")),
];

fn name(place: usize) -> String {
    format!("t{place}")
}

fn places(value: &Value) -> Vec<usize> {
    let list = value.as_array().expect("a list");
    list.iter().map(|it| usize::try_from(it.as_u64().expect("a place")).expect("small")).collect()
}

fn spec_of(tasks: &[Value]) -> DagSpec {
    tasks.iter().enumerate().fold(dag("d"), |spec, (place, task)| {
        let upstream: Vec<String> = places(&task[0]).into_iter().map(name).collect();
        let upstream: Vec<&str> = upstream.iter().map(String::as_str).collect();
        let rule: TriggerRule = serde_json::from_value(task[1].clone()).expect("a trigger rule");
        let kind = task[2].as_str().expect("a kind");
        spec.add(&name(place), &upstream, |task| {
            task.trigger_rule = rule;
            task.is_setup = kind == "setup";
            task.is_teardown = kind.starts_with("teardown");
            task.on_failure_fail_dagrun = kind.ends_with('!');
        })
    })
}

/// What is right below a task, or all that is, but for teardowns below a short circuit.
fn below(tasks: &[Value], place: usize, all: bool) -> Vec<usize> {
    let mut found: Vec<usize> = Vec::new();
    for (other, task) in tasks.iter().enumerate() {
        let above = places(&task[0]);
        if above.contains(&place) || (all && above.iter().any(|up| found.contains(up))) {
            found.push(other);
        }
    }
    found
}

/// What the task's process decides against, as the Python package has it.
fn decided(tasks: &[Value], place: usize) -> Vec<TaskId> {
    let does = &tasks[place][3];
    let against = if let Some(followed) = does.as_array().map(|_| places(does)) {
        let taken: Vec<usize> = followed
            .iter()
            .flat_map(|one| std::iter::once(*one).chain(below(tasks, *one, true)))
            .collect();
        below(tasks, place, false).into_iter().filter(|it| !taken.contains(it)).collect()
    } else {
        let is_teardown =
            |it: &usize| tasks[*it][2].as_str().is_some_and(|it| it.starts_with("teardown"));
        let found = below(tasks, place, does == "cut").into_iter();
        found.filter(|it| !is_teardown(it)).collect::<Vec<_>>()
    };
    against.into_iter().map(|it| task_id(&name(it))).collect()
}

fn report(world: &mut World, tasks: &[Value], key: &str, place: usize) {
    world.start("e1", key);
    match tasks[place][3].as_str() {
        Some("ok") => world.succeed("e1", key),
        Some("fail") => world.fail("e1", key),
        Some("skip") => world.skip("e1", key),
        _ => {
            let (skips, usage) = (decided(tasks, place), Usage::default());
            let body = ReportBody::Succeeded {
                xcoms: Vec::new(),
                usage,
                log: None,
                skips,
                outlets: vec![],
            };
            world.report("e1", key, body)
        }
    };
}

/// How the run and each of its tasks end, where what runs at once ends in the DAG's order, or the other way.
fn run(tasks: &[Value], backwards: bool) -> (String, Vec<String>) {
    let mut world = World::with([spec_of(tasks)]);
    world.trigger_as("d", "r1");
    loop {
        world.settle();
        let mut offered = world.offered();
        if offered.is_empty() {
            break;
        }
        offered.sort();
        if backwards {
            offered.reverse();
        }
        for key in offered {
            let place = key.trim_start_matches("d/r1/t").trim_end_matches("/1");
            report(&mut world, tasks, &key, place.parse().expect("a place"));
        }
    }
    let mut ends = BTreeMap::new();
    for fact in world.log.iter().flat_map(|record| &record.facts) {
        let (task_id, done) = match fact {
            Fact::TrySucceeded(f) => (&f.task_id, Done::Success),
            Fact::TryFailed(f) => (&f.task_id, Done::Failed),
            Fact::TrySkipped(f) => (&f.task_id, Done::RuledOut(RuledOut::Skipped)),
            Fact::TaskRuledOut(f) => (&f.task_id, Done::RuledOut(f.why)),
            Fact::TryCancelled(f) if f.skipped => (&f.task_id, Done::RuledOut(RuledOut::Skipped)),
            _ => continue,
        };
        let state = match done {
            Done::Success => "success",
            Done::Failed => "failed",
            Done::RuledOut(RuledOut::Skipped) => "skipped",
            Done::RuledOut(RuledOut::UpstreamFailed) => "upstream_failed",
            Done::RuledOut(RuledOut::Removed) => "removed",
        };
        ends.insert(task_id.as_str().to_owned(), state.to_owned());
    }
    let ended = match world.namespace.ending(&run_key("d", "r1")) {
        Some(Ending::Success) => "success",
        Some(Ending::Failed) => "failed",
        None => "goes on",
    };
    let of = |place| ends.get(&name(place)).cloned().unwrap_or_else(|| "nothing".to_owned());
    (ended.to_owned(), (0..tasks.len()).map(of).collect())
}

#[test]
fn runs_end_as_airflow_ends_them() {
    for (era, text) in RECORDED {
        let cases: Vec<Value> = serde_json::from_str(text).expect("what was recorded");
        assert_eq!(cases.len(), 50);
        let (mut compared, mut otherwise) = (0, Vec::new());
        for (n, case) in cases.iter().enumerate() {
            let tasks = case[0].as_array().expect("tasks");
            let said: (String, Vec<String>) =
                serde_json::from_value(Value::Array(vec![case[1].clone(), case[2].clone()]))
                    .expect("how it ended");
            // What ends at the same time is seen by Airflow's scheduler at once, and here one by one: where that
            // makes a difference there is nothing to compare, here or between two runs of Airflow.
            let ours = run(tasks, false);
            if ours == said || ours != run(tasks, true) {
                compared += u32::from(ours == said);
            } else {
                otherwise.push(format!("case {n}: {case}\nhere {ours:?}"));
            }
        }
        assert!(otherwise.is_empty(), "Airflow {era}:\n{}", otherwise.join("\n"));
        assert!(compared >= 45, "only {compared} end as Airflow {era} has it");
    }
}
