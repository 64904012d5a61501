//! Tasks that are no part of a run by their dates, and how such runs end, as two versions of real Airflow had it. See
//! `oracle/record_dates.py` for what is recorded.
use std::collections::BTreeMap;

use dagbok_events::{
    Actor, DagSpec, Fact, Record, RuledOut, RunCreated, RunType, Scope, Timestamp, TriggerRule,
};
use serde_json::Value;

use super::support::*;

const RECORDED: [(u8, &str); 2] =
    [(2, include_str!("../oracle/dates-2.json")), (3, include_str!("../oracle/dates-3.json"))];

fn day(value: &Value) -> Option<Timestamp> {
    value.as_u64().map(|day| at(&format!("2024-01-{day:02}")))
}

fn spec_of(era: u8, last: &Value, tasks: &[Value]) -> DagSpec {
    let dag = dag("d").with(|dag| {
        (dag.era, dag.start_date, dag.end_date) = (era, Some(at("2024-01-01")), day(last));
    });
    tasks.iter().enumerate().fold(dag, |spec, (place, task)| {
        let above = task[0].as_array().expect("upstreams").iter();
        let above: Vec<String> = above.map(|it| format!("t{it}")).collect();
        let above: Vec<&str> = above.iter().map(String::as_str).collect();
        let rule: TriggerRule = serde_json::from_value(task[1].clone()).expect("a trigger rule");
        spec.add(&format!("t{place}"), &above, |it| {
            (it.trigger_rule, it.start_date, it.end_date) = (rule, day(&task[2]), day(&task[3]));
        })
    })
}

fn begin(world: &mut World, kind: &str) {
    let run_type = match kind {
        "manual" => RunType::Manual,
        "scheduled" => RunType::Scheduled,
        _ => RunType::Backfill,
    };
    let made = RunCreated {
        run_type,
        logical_date: Some(at("2024-01-05")),
        data_interval: None,
        run_after: at("2024-01-05"),
        version: 1,
        bundle: digest(1),
        conf: None,
        note: None,
        asset_events: Vec::new(),
        asset_events_left_out: 0,
        backfill_id: None,
        partition: None,
    };
    let record = Record {
        at: world.now,
        clock: None,
        scope: Scope::Run(run_key("d", "r1")),
        by: Actor::Scheduler,
        reason: None,
        cause: None,
        trace: None,
        facts: vec![Fact::RunCreated(Box::new(made))],
    };
    world.append(&record);
}

/// How the run and its tasks end here, in the words of the table.
fn ends(era: u8, kind: &str, last: &Value, tasks: &[Value]) -> (String, Vec<Value>) {
    let mut world = World::with([spec_of(era, last, tasks)]);
    world.now = at("2024-01-06");
    begin(&mut world, kind);
    loop {
        world.settle();
        let Some(key) = world.offered().first().cloned() else { break };
        let place = key.trim_start_matches("d/r1/t").split('/').next().expect("a place");
        let place: usize = place.parse().expect("a place");
        match tasks[place][4].as_str() {
            Some("failed") => world.fail("e1", &key),
            Some("skipped") => world.skip("e1", &key),
            _ => world.succeed("e1", &key),
        };
    }
    let (mut run, mut stands) = ("running".to_owned(), BTreeMap::new());
    for fact in world.log.iter().flat_map(|record| &record.facts) {
        let (task_id, end) = match fact {
            Fact::RunSucceeded(_) => {
                "success".clone_into(&mut run);
                continue;
            }
            Fact::RunFailed(_) => {
                "failed".clone_into(&mut run);
                continue;
            }
            Fact::TrySucceeded(f) => (&f.task_id, Some("success")),
            Fact::TryFailed(f) => (&f.task_id, Some("failed")),
            Fact::TrySkipped(f) => (&f.task_id, Some("skipped")),
            Fact::TaskRuledOut(f) => (
                &f.task_id,
                match f.why {
                    RuledOut::Skipped => Some("skipped"),
                    RuledOut::UpstreamFailed => Some("upstream_failed"),
                    RuledOut::Removed => Some("removed"),
                    RuledOut::OutOfDates => None,
                },
            ),
            _ => continue,
        };
        stands.insert(task_id.as_str().to_owned(), end.map_or(Value::Null, Value::from));
    }
    let stand = |n: usize| stands.get(&format!("t{n}")).cloned().unwrap_or_else(|| "none".into());
    (run, (0..tasks.len()).map(stand).collect())
}

/// A task that waits for ever there, in a run that is failed as deadlocked, is `upstream_failed` here with what is
/// below it: a run whose tasks wait is never over here.
fn is_deadlock(run: &str, theirs: &[Value]) -> bool {
    run == "failed" && theirs.iter().any(|it| it == "none")
}

#[test]
fn tasks_outside_of_their_dates_are_no_part_of_a_run_as_in_airflow() {
    for (era, text) in RECORDED {
        let rows: Vec<Value> = serde_json::from_str(text).expect("what was recorded");
        let (mut absent, mut deadlocked, mut otherwise) = (0, 0, Vec::new());
        for row in &rows {
            let tasks = row[2].as_array().expect("tasks");
            let (kind, run) = (row[0].as_str().expect("a type"), row[3].as_str().expect("an end"));
            let theirs = row[4].as_array().expect("stands");
            absent += theirs.iter().filter(|it| it.is_null()).count();
            let (ours_run, ours) = ends(era, kind, &row[1], tasks);
            let here = ours.iter().map(Value::is_null);
            assert!(here.eq(theirs.iter().map(Value::is_null)), "Airflow {era}: {row}: {ours:?}");
            if is_deadlock(run, theirs) {
                deadlocked += 1;
                let waits = |(here, there): (&Value, &Value)| here == there || there == "none";
                if ours_run != run || !ours.iter().zip(theirs).all(waits) {
                    otherwise.push(format!("{row}: here {ours_run} {ours:?}"));
                }
            } else if ours_run != run || ours != *theirs {
                otherwise.push(format!("{row}: here {ours_run} {ours:?}"));
            }
        }
        let (all, most) = (rows.len(), rows.len() / 100);
        assert!(absent > all / 10 && deadlocked > 5, "{absent} absent, {deadlocked} deadlocked");
        let more = otherwise.len();
        assert!(more <= most, "Airflow {era}, {more} of {all}:\n{}", otherwise.join("\n"));
    }
}
