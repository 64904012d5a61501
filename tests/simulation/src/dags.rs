//! DAGs of all shapes and schedules, small enough that thousands of runs are quick.
use dagbok_events::{
    AssetCondition, AssetRef, DagId, DagSpec, Digest, Expand, Extent, ForetoldManual, ForetoldRuns,
    Interval, Micros, PoolName, QueueName, Schedule, ScheduleForetold, SourceLocation, TaskId,
    TaskSpec, Timestamp, Timetable, TriggerRule,
};
use dagbok_protocol::{DagFile, RegisteredDag};

use crate::prng::Prng;

/// The pools that tasks use, and their sizes when all is well.
pub const POOLS: [(&str, u32); 2] = [("default_pool", 6), ("gpu", 3)];

const RULES: [TriggerRule; 13] = [
    TriggerRule::AllSuccess,
    TriggerRule::AllFailed,
    TriggerRule::AllDone,
    TriggerRule::AllDoneMinOneSuccess,
    TriggerRule::AllDoneSetupSuccess,
    TriggerRule::AllSkipped,
    TriggerRule::OneSuccess,
    TriggerRule::OneFailed,
    TriggerRule::OneDone,
    TriggerRule::NoneFailed,
    TriggerRule::NoneFailedMinOneSuccess,
    TriggerRule::NoneSkipped,
    TriggerRule::Always,
];

/// The `n`th DAG's id.
pub fn dag_id(n: usize) -> DagId {
    DagId::new(format!("dag{n}")).expect("a DAG id")
}

/// The `n`th DAG's file.
pub fn file_name(n: usize) -> String {
    format!("dag{n}.py")
}

/// A digest told from others by a number.
pub fn digest(n: u64) -> Digest {
    Digest::new(format!("{n:064x}")).expect("hexadecimal")
}

/// A pool by name.
pub fn pool(name: &str) -> PoolName {
    PoolName::new(name).expect("a pool name")
}

/// Some meaning of the `n`th DAG. A schedule begins about `now` and is `pace` times as slow as it could be.
pub fn some_dag(rng: &mut Prng, n: usize, now: Timestamp, pace: i64) -> DagSpec {
    let count = if rng.chance(50) { 0 } else { 1 + rng.below(7) };
    let mut tasks: Vec<TaskSpec> = (0..count).map(|ix| some_task(rng, ix)).collect();
    some_group(rng, &mut tasks);
    some_scope(rng, &mut tasks);
    some_past(rng, &mut tasks);
    some_dates(rng, &mut tasks, now, pace);
    let timetable = some_timetable(rng, now, pace);
    let continuous = timetable == Timetable::Continuous;
    let start_date =
        rng.chance(800).then(|| now.plus(Micros::from_millis(rng.between(-20_000, 5_000) * pace)));
    DagSpec {
        dag_id: dag_id(n),
        display_name: None,
        description: None,
        doc_md: None,
        owner: if rng.chance(500) { String::new() } else { "ops".to_owned() },
        tags: Vec::new(),
        failure_email: Vec::new(),
        watchers: Vec::new(),
        on_success_callback: false,
        on_failure_callback: false,
        pod_overrides: Vec::new(),
        failure_notify: Vec::new(),
        deadlines: Vec::new(),
        era: if rng.chance(500) { 2 } else { 3 },
        schedule: Schedule { text: None, timetable, timezone: "UTC".to_owned() },
        start_date,
        end_date: rng.chance(200).then(|| now.plus(Micros::from_secs(30 * pace))),
        asset_condition: rng.chance(250).then(|| some_condition(rng)),
        catchup: rng.chance(500),
        max_active_runs: if continuous { 1 } else { u32::try_from(rng.below(4)).expect("small") },
        max_active_tasks: u32::try_from(1 + rng.below(6)).expect("small"),
        dagrun_timeout: rng.chance(200).then(|| Micros::from_millis(rng.between(500, 20_000))),
        is_paused_upon_creation: rng.chance(100).then_some(true),
        params: None,
        param_schemas: None,
        required_params: vec![],
        fail_fast: rng.chance(150),
        max_consecutive_failed_dag_runs: u32::try_from(rng.below(5)).expect("small"),
        tasks,
        not_carried_out: Vec::new(),
        source: SourceLocation { file: file_name(n), line: 1 },
    }
}

/// The same DAG without a schedule.
pub fn unscheduled(mut dag: DagSpec) -> DagSpec {
    dag.schedule.timetable = Timetable::Manual;
    dag.asset_condition = None;
    dag
}

/// One of a few assets, which several DAGs name.
pub fn some_asset(rng: &mut Prng) -> AssetRef {
    let name = format!("x{}", rng.below(4));
    AssetRef::Asset { uri: format!("file:///{name}"), name, group: "asset".to_owned(), extra: None }
}

fn some_condition(rng: &mut Prng) -> AssetCondition {
    let parts = 1 + rng.below(3);
    let of = (0..parts).map(|_| AssetCondition::One { of: some_asset(rng) }).collect();
    if rng.chance(500) { AssetCondition::All { of } } else { AssetCondition::Any { of } }
}

fn some_timetable(rng: &mut Prng, now: Timestamp, pace: i64) -> Timetable {
    let every = Micros::from_millis(rng.between(3_000, 15_000) * pace);
    match rng.below(8) {
        0 => Timetable::Once,
        1 => Timetable::Continuous,
        2 => Timetable::DeltaDataInterval { every, months: 0 },
        3 => Timetable::DeltaTrigger { every, months: 0 },
        4 => {
            let date = |n: i64| {
                let at = now.plus(Micros(every.0 * n));
                Interval { start: at, end: at }
            };
            Timetable::Events { dates: (-2..4).map(date).collect(), restricted: false }
        }
        5 if pace == 1 => Timetable::CronTrigger { expression: "*/5 * * * * *".to_owned() },
        5 => Timetable::CronTrigger { expression: "*/20 * * * *".to_owned() },
        6 => {
            let (class, arguments, description) = ("Own".to_owned(), String::new(), String::new());
            Timetable::Python { class, arguments, description }
        }
        _ => Timetable::Manual,
    }
}

fn some_task(rng: &mut Prng, ix: usize) -> TaskSpec {
    let mut upstream: Vec<u32> = (0..rng.below(4))
        .filter(|_| ix > 0)
        .map(|_| u32::try_from(rng.below(ix)).expect("small"))
        .collect();
    upstream.sort_unstable();
    upstream.dedup();
    let rule =
        if rng.chance(600) { TriggerRule::AllSuccess } else { RULES[rng.below(RULES.len())] };
    let (name, size) = POOLS[usize::from(rng.chance(300))];
    let backoff = rng.chance(300);
    let expand = rng.chance(300).then(|| some_expansion(rng, &upstream));
    TaskSpec {
        task_id: TaskId::new(format!("t{ix}")).expect("a task id"),
        operator: "PythonOperator".to_owned(),
        upstream,
        trigger_rule: rule,
        retries: u16::try_from(rng.below(3)).expect("small"),
        retry_delay: Micros::from_millis(rng.between(0, 4_000)),
        retry_email: Vec::new(),
        retry_backoff_milli: if backoff { 2_000 } else { 0 },
        max_retry_delay: backoff.then(|| Micros::from_secs(5)),
        execution_timeout: None,
        pool: pool(name),
        pool_slots: if rng.chance(300) {
            1 + u32::try_from(rng.below(3)).expect("small")
        } else {
            1
        }
        .min(size),
        queue: QueueName::new("default").expect("a queue name"),
        priority_weight: i32::try_from(rng.below(3)).expect("small"),
        owner: String::new(),
        group: None,
        is_mapped: expand.is_some(),
        expand,
        is_setup: false,
        is_teardown: false,
        on_failure_fail_dagrun: false,
        mapped_group: None,
        resources: dagbok_events::Resources::default(),
        limits: dagbok_events::Limits::default(),
        run_as_user: None,
        pod_override: None,
        wants_next_interval: false,
        inlets: Vec::new(),
        outlets: if rng.chance(200) { vec![some_asset(rng)] } else { Vec::new() },
        max_active_tis_per_dag: some_cap(rng),
        max_active_tis_per_dagrun: some_cap(rng),
        depends_on_past: false,
        wait_for_downstream: false,
        ignore_first_depends_on_past: true,
        wait_for_past_depends_before_skipping: false,
        start_date: None,
        end_date: None,
        doc_md: None,
    }
}

fn some_cap(rng: &mut Prng) -> Option<u32> {
    rng.chance(150).then(|| 1 + u32::try_from(rng.below(2)).expect("small"))
}

/// What a task may be mapped over: what stands in the file, or what some of its upstreams return.
fn some_expansion(rng: &mut Prng, upstream: &[u32]) -> Expand {
    if upstream.is_empty() || rng.chance(400) {
        let length = u32::try_from(rng.below(6)).expect("small");
        return Expand::Literal { length };
    }
    let mut of: Vec<Extent> = (0..=rng.below(2))
        .map(|_| Extent::Of { task: upstream[rng.below(upstream.len())] })
        .collect();
    match rng.below(6) {
        0 => of = vec![Extent::Zip { of, longest: rng.chance(500) }],
        1 => of = vec![Extent::Concat { of }],
        2 => of.push(Extent::Fixed { length: u32::try_from(1 + rng.below(2)).expect("small") }),
        _ => {}
    }
    Expand::Product { of }
}

/// Makes some tasks that follow each other a mapped group, over what stands in the file or one task returns.
fn some_group(rng: &mut Prng, tasks: &mut [TaskSpec]) {
    if tasks.len() < 3 || !rng.chance(300) {
        return;
    }
    let first = 1 + rng.below(tasks.len() - 2);
    let source = u32::try_from(rng.below(first)).expect("small");
    let expand = some_expansion(rng, &[source]);
    let over_a_result = matches!(expand, Expand::Product { .. });
    let inside = u32::try_from(first).expect("small");
    for task in &mut tasks[first..] {
        task.is_mapped = false;
        task.expand = Some(expand.clone());
        task.mapped_group = Some("g".to_owned());
        if over_a_result && !task.upstream.iter().any(|up| *up >= inside) {
            task.upstream.push(source);
            task.upstream.sort_unstable();
            task.upstream.dedup();
        }
    }
}

/// Makes some task a setup, and some after it a teardown of it.
fn some_scope(rng: &mut Prng, tasks: &mut [TaskSpec]) {
    let grouped = tasks.iter().any(|task| task.mapped_group.is_some());
    for _ in 0..rng.below(3) {
        if tasks.len() < 2 || grouped || rng.chance(400) {
            continue;
        }
        let setup = rng.below(tasks.len() - 1);
        let teardown = setup + 1 + rng.below(tasks.len() - setup - 1);
        if tasks[setup].is_teardown || tasks[teardown].is_setup {
            continue;
        }
        tasks[setup].is_setup = true;
        let last = &mut tasks[teardown];
        (last.is_teardown, last.trigger_rule) = (true, TriggerRule::AllDoneSetupSuccess);
        last.on_failure_fail_dagrun = rng.chance(300);
        last.upstream.push(u32::try_from(setup).expect("small"));
        last.upstream.sort_unstable();
        last.upstream.dedup();
    }
}

/// Lets some tasks wait for the run before.
fn some_past(rng: &mut Prng, tasks: &mut [TaskSpec]) {
    if !rng.chance(350) {
        return;
    }
    for task in tasks {
        task.depends_on_past = rng.chance(500);
        task.wait_for_downstream = task.depends_on_past && rng.chance(300);
        task.wait_for_past_depends_before_skipping = task.depends_on_past && rng.chance(500);
    }
}

/// Lets some tasks begin later than their DAG, or end earlier.
fn some_dates(rng: &mut Prng, tasks: &mut [TaskSpec], now: Timestamp, pace: i64) {
    for task in tasks {
        let date = |rng: &mut Prng| {
            rng.chance(30).then(|| now.plus(Micros::from_secs(rng.between(-20, 30) * pace)))
        };
        (task.start_date, task.end_date) = (date(rng), date(rng));
    }
}

/// What a timetable that is written in Python may answer about `now`: runs at even distances, and gaps between those.
pub fn some_answer(rng: &mut Prng, now: Timestamp, pace: i64) -> ScheduleForetold {
    let step = Micros::from_millis(rng.between(3_000, 15_000) * pace);
    let mut from = now.plus(Micros(-step.0 * rng.between(0, 4)));
    let after =
        rng.chance(500).then_some(Interval { start: from.plus(Micros(-step.0)), end: from });
    let mut runs = Vec::new();
    for _ in 0..rng.below(4) {
        let first = Interval { start: from, end: from.plus(step) };
        let late = rng.chance(300);
        let run_after =
            late.then(|| first.end.plus(Micros::from_millis(rng.between(0, 5_000) * pace)));
        let count = u32::try_from(1 + rng.below(4)).expect("small");
        runs.push(ForetoldRuns { first, run_after, step, count });
        let gap = Micros::from_millis(rng.between(0, 9_000) * pace);
        from = from.plus(Micros(step.0 * i64::from(count))).plus(gap);
    }
    let around = ForetoldManual::Around { start: Micros(-step.0), end: Micros(0) };
    ScheduleForetold {
        after,
        runs,
        heedless: rng.chance(300),
        manual: rng.chance(500).then_some(around),
    }
}

/// A file that defines this DAG.
pub fn file_of(dag: &DagSpec, bundle: u64) -> DagFile {
    let registered = RegisteredDag { spec_digest: meaning(dag), spec: dag.clone(), foretold: None };
    DagFile {
        file: dag.source.file.clone(),
        bundle: digest(bundle),
        dags: vec![registered],
        errors: Vec::new(),
        paused_at_creation: false,
    }
}

/// A stand-in for the hash of a DAG's meaning: equal where that is.
fn meaning(dag: &DagSpec) -> Digest {
    let bytes = dagbok_events::encode_any(dag);
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    digest(bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}
