//! `depends_on_past` as two versions of real Airflow judge it. See `oracle/record_past.py` for what is recorded.
use dagbok_domain::namespace::DEFAULT_POOL;
use dagbok_events::{
    Actor, DagSpec, Fact, Leg, MapIndex, PoolName, QueueName, Record, RuledOut, RunCreated,
    RunFailed, RunId, RunKey, RunStarted, RunSucceeded, RunType, Scope, TaskQueued, TaskRuledOut,
    Timestamp, TryFailed, TryNumber, TryStarted, TrySucceeded, Usage,
};
use serde_json::Value;

use super::support::*;

const RECORDED: [(u8, &str); 2] =
    [(2, include_str!("../oracle/past-2.json")), (3, include_str!("../oracle/past-3.json"))];
/// The states of a task in the run before, in the order of the answers; no state is no such task.
const STATES: [Option<&str>; 6] = [
    None,
    Some("running"),
    Some("success"),
    Some("failed"),
    Some("skipped"),
    Some("upstream_failed"),
];

/// The arguments of a case.
#[expect(clippy::struct_excessive_bools, reason = "each is an argument of Airflow's")]
struct Case<'a> {
    run: &'a str,
    before: Option<&'a str>,
    catchup: bool,
    wait_for_downstream: bool,
    ignore_first: bool,
    start: Timestamp,
    earlier: bool,
}

impl<'a> Case<'a> {
    fn of(row: &'a [Value]) -> Self {
        let flag = |at: usize| row[at].as_bool().expect("a flag");
        Self {
            run: row[0].as_str().expect("a type"),
            before: row[1].as_str(),
            catchup: flag(2),
            wait_for_downstream: flag(3),
            ignore_first: flag(4),
            start: at(if row[5] == "first" { "2024-01-01" } else { "2024-01-02" }),
            earlier: flag(6),
        }
    }

    fn spec(&self, own: bool, below: bool) -> DagSpec {
        let spec = dag("d").with(|dag| dag.catchup = self.catchup).task("other", &[]);
        let spec = if own {
            spec.add("a", &[], |task| {
                (task.depends_on_past, task.start_date) = (true, Some(self.start));
                task.wait_for_downstream = self.wait_for_downstream;
                task.ignore_first_depends_on_past = self.ignore_first;
            })
        } else {
            spec
        };
        match (own, below) {
            (true, true) => spec.task("b", &["a"]),
            (false, true) => spec.task("b", &[]),
            (_, false) => spec,
        }
    }
}

fn run_type(name: &str) -> RunType {
    if name == "manual" { RunType::Manual } else { RunType::Scheduled }
}

fn append(world: &mut World, run: &str, facts: Vec<Fact>) {
    let run_id = RunId::new(run).expect("a run id");
    let record = Record {
        at: world.now,
        clock: None,
        scope: Scope::Run(RunKey { dag_id: dag_id("d"), run_id }),
        by: Actor::Scheduler,
        reason: None,
        cause: None,
        trace: None,
        facts,
    };
    world.append(&record);
}

fn begin(world: &mut World, kind: &str, date: &str) -> String {
    let run = format!("{kind}__{date}T00:00:00+00:00");
    let version = world.namespace.dag(&dag_id("d")).expect("it is there").current().number;
    let created = RunCreated {
        run_type: run_type(kind),
        logical_date: Some(at(date)),
        data_interval: None,
        run_after: at(date),
        version,
        bundle: digest(1),
        conf: None,
        note: None,
        asset_events: Vec::new(),
        asset_events_left_out: 0,
        backfill_id: None,
        partition: None,
    };
    let facts = vec![Fact::RunCreated(Box::new(created)), Fact::RunStarted(RunStarted {})];
    append(world, &run, facts);
    run
}

/// Brings a task of a run to a state.
fn bring(task: &str, state: &str) -> Vec<Fact> {
    let (task_id, map_index, leg) = (task_id(task), MapIndex::UNMAPPED, Leg::FIRST);
    let try_number = TryNumber::new(1).expect("a number");
    let ruled_out = |why| {
        vec![Fact::TaskRuledOut(TaskRuledOut {
            task_id: task_id.clone(),
            map_index,
            why,
            further: 0,
            message: None,
        })]
    };
    let started_at = at("2024-01-01");
    let mut facts = vec![
        Fact::TaskQueued(TaskQueued {
            task_id: task_id.clone(),
            map_index,
            try_number,
            leg,
            pool: PoolName::new(DEFAULT_POOL).expect("a pool"),
            pool_slots: 1,
            queue: QueueName::new("default").expect("a queue"),
        }),
        Fact::TryStarted(Box::new(TryStarted {
            task_id: task_id.clone(),
            map_index,
            try_number,
            leg,
            executor: executor("e1"),
            hostname: "box".to_owned(),
            pid: 1,
            started_at,
            inputs: [].into(),
        })),
    ];
    match state {
        "running" => {}
        "success" => facts.push(Fact::TrySucceeded(Box::new(TrySucceeded {
            task_id,
            map_index,
            try_number,
            leg,
            ended_at: started_at,
            usage: Usage::default(),
            log: None,
            skips: Vec::new(),
        }))),
        "failed" => facts.push(Fact::TryFailed(Box::new(TryFailed {
            task_id,
            map_index,
            try_number,
            leg,
            ended_at: started_at,
            failure: failure(dagbok_events::Fault::User),
            retry_at: None,
            usage: Usage::default(),
            log: None,
        }))),
        "skipped" => return ruled_out(RuledOut::Skipped),
        _ => return ruled_out(RuledOut::UpstreamFailed),
    }
    facts
}

/// Whether the task may go here.
fn goes(case: &Case<'_>, own: Option<&str>, below: Option<&str>) -> bool {
    let mut world = World::new();
    world.now = at("2024-01-03");
    if case.earlier && case.before.is_some() {
        world.read(&case.spec(true, true));
        let run = begin(&mut world, "scheduled", "2023-12-31");
        let all = ["other", "a", "b"].into_iter().flat_map(|task| bring(task, "success"));
        append(&mut world, &run, all.chain([Fact::RunSucceeded(RunSucceeded {})]).collect());
    }
    world.read(&case.spec(own.is_some(), below.is_some()));
    if let Some(kind) = case.before {
        let run = begin(&mut world, kind, "2024-01-01");
        let states = [("other", Some("success")), ("a", own), ("b", below)];
        let mut facts: Vec<Fact> = Vec::new();
        for (task, state) in states {
            facts.extend(state.map(|state| bring(task, state)).unwrap_or_default());
        }
        let states = [own, below];
        if !states.contains(&Some("running")) {
            let bad = |state: Option<&str>| matches!(state, Some("failed" | "upstream_failed"));
            facts.push(if states.into_iter().any(bad) {
                Fact::RunFailed(RunFailed { failed: Vec::new() })
            } else {
                Fact::RunSucceeded(RunSucceeded {})
            });
        }
        append(&mut world, &run, facts);
    }
    world.read(&case.spec(true, true));
    let run = begin(&mut world, case.run, "2024-01-02");
    world.settle();
    world.offered().contains(&format!("d/{run}/a/1"))
}

/// A run that is over and had the task, two runs back, while the one right before did not: the fold remembers since
/// when a task is there, and not that it was before. Airflow looks at every run there ever was.
fn is_known(case: &Case<'_>, own: Option<&str>) -> bool {
    own.is_none() && case.earlier && case.ignore_first
}

#[test]
fn a_task_waits_for_its_past_as_airflow_has_it() {
    for (era, text) in RECORDED {
        let rows: Vec<Value> = serde_json::from_str(text).expect("what was recorded");
        let (mut compared, mut known, mut otherwise) = (0, 0, Vec::new());
        for row in &rows {
            let row = row.as_array().expect("a row");
            let case = Case::of(row);
            let answers = row[7].as_str().expect("the answers").as_bytes();
            for (n, answer) in answers.iter().enumerate() {
                let (own, below) = (STATES[n / STATES.len()], STATES[n % STATES.len()]);
                if case.before.is_none() && n > 0 {
                    continue;
                }
                let ours = goes(&case, own, below);
                if ours == (*answer == b'1') {
                    compared += 1;
                } else if is_known(&case, own) {
                    known += 1;
                } else {
                    otherwise.push(format!("{row:?} {own:?} {below:?}: here {ours}"));
                }
            }
        }
        let more = otherwise.len();
        assert!(
            otherwise.is_empty(),
            "Airflow {era}, {more}:\n{}",
            otherwise[..more.min(12)].join("\n")
        );
        assert!(known * 20 <= compared, "{known} of {compared} for a known reason");
    }
}
