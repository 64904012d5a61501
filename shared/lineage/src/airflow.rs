//! The facets of Airflow's provider, by its names, as far as their values are known here.
use dagbok_events::{AssetRef, DagSpec, RunKey, RunType, TaskSpec, Timestamp, TriggerRule};
use serde_json::{Map, Value, json};

use crate::{
    event::Names,
    facets::{cut, seconds, without_login},
    run::{Copy, Run, Token},
};

/// Tasks of a DAG that an event lists at most.
const TASKS: usize = 1_000;

/// Without what is not known.
fn pruned(value: Value) -> Value {
    match value {
        Value::Object(all) => {
            Value::Object(all.into_iter().filter(|(_, value)| !value.is_null()).collect())
        }
        other => other,
    }
}

fn dag(spec: &DagSpec) -> Value {
    pruned(json!({
        "dag_id": spec.dag_id,
        "description": spec.description.as_deref().map(cut),
        "fileloc": spec.source.file,
        "owner": spec.owner,
        "start_date": spec.start_date,
        "tags": if spec.tags.is_empty() { "[]".to_owned() } else { format!("['{}']", spec.tags.join("', '")) },
        "timetable": {},
        "timetable_summary": spec.schedule.text,
    }))
}

fn run_type(of: RunType) -> &'static str {
    match of {
        RunType::Manual => "manual",
        RunType::Scheduled => "scheduled",
        RunType::Backfill => "backfill",
        RunType::AssetTriggered => "asset_triggered",
    }
}

fn dag_run(key: &RunKey, run: &Run, end: Option<Timestamp>) -> Value {
    pruned(json!({
        "clear_number": run.round,
        "dag_id": key.dag_id,
        "data_interval_start": run.interval.map(|it| it.start),
        "data_interval_end": run.interval.map(|it| it.end),
        "dag_version_number": run.version,
        "dag_bundle_version": run.bundle,
        "duration": end.zip(run.begun).map(|(end, begun)| seconds(begun, end)),
        "end_date": end,
        "logical_date": run.logical,
        "run_after": run.due,
        "run_id": key.run_id,
        "run_type": run_type(run.kind),
        "start_date": run.begun,
    }))
}

fn trigger_rule(rule: TriggerRule) -> Value {
    serde_json::to_value(rule).unwrap_or_default()
}

fn assets(all: &[AssetRef]) -> Vec<Value> {
    let one = |of: &AssetRef| match of {
        AssetRef::Asset { uri, .. } | AssetRef::Uri { uri } => {
            Some(json!({ "uri": without_login(uri), "type": "asset" }))
        }
        AssetRef::Alias { .. } | AssetRef::Name { .. } => None,
    };
    all.iter().filter_map(one).take(TASKS).collect()
}

fn neighbours(spec: &DagSpec, task: &TaskSpec) -> (Vec<String>, Vec<String>) {
    let place = spec.tasks.iter().position(|it| it.task_id == task.task_id);
    let name = |it: &TaskSpec| it.task_id.to_string();
    let up = task.upstream.iter().filter_map(|at| spec.tasks.get(usize::try_from(*at).ok()?));
    let is_below = |it: &&TaskSpec| {
        place.is_some_and(|place| {
            it.upstream.iter().any(|at| usize::try_from(*at).is_ok_and(|at| at == place))
        })
    };
    let down = spec.tasks.iter().filter(is_below);
    (up.take(TASKS).map(name).collect(), down.take(TASKS).map(name).collect())
}

fn task(spec: &DagSpec, task: &TaskSpec) -> Value {
    let (up, down) = neighbours(spec, task);
    let list = |all: &[String]| match all {
        [] => "[]".to_owned(),
        all => format!("['{}']", all.join("', '")),
    };
    pruned(json!({
        "depends_on_past": task.depends_on_past,
        "downstream_task_ids": list(&down),
        "upstream_task_ids": list(&up),
        "ignore_first_depends_on_past": task.ignore_first_depends_on_past,
        "inlets": assets(&task.inlets),
        "outlets": assets(&task.outlets),
        "is_setup": task.is_setup,
        "is_teardown": task.is_teardown,
        "mapped": task.is_mapped,
        "max_active_tis_per_dag": task.max_active_tis_per_dag,
        "max_active_tis_per_dagrun": task.max_active_tis_per_dagrun,
        "operator_class": task.operator,
        "owner": if task.owner.is_empty() { &spec.owner } else { &task.owner },
        "priority_weight": task.priority_weight,
        "queue": task.queue,
        "retries": task.retries,
        "task_group": task.group.as_ref().map(|group| json!({ "group_id": group })),
        "task_id": task.task_id,
        "trigger_rule": trigger_rule(task.trigger_rule),
        "wait_for_downstream": task.wait_for_downstream,
        "wait_for_past_depends_before_skipping": task.wait_for_past_depends_before_skipping,
    }))
}

/// `airflowDagRun`, of events of runs.
pub(crate) fn dag_run_facet(
    names: &Names,
    key: &RunKey,
    run: &Run,
    spec: &DagSpec,
    end: Option<Timestamp>,
) -> Value {
    names.own_facet("RunFacet", json!({ "dag": dag(spec), "dagRun": dag_run(key, run, end) }))
}

/// `airflow`, of events of tries.
pub(crate) fn run_facet(
    names: &Names,
    (key, run): (&RunKey, &Run),
    (spec, of): (&DagSpec, &TaskSpec),
    (token, copy): (&Token, &Copy),
    end: Option<Timestamp>,
) -> Value {
    let instance = pruned(json!({
        "duration": end.map(|end| seconds(copy.started, end)),
        "pool": of.pool,
        "queued_dttm": copy.queued,
        "try_number": token.try_number,
        "map_index": (!token.map_index.is_unmapped()).then_some(token.map_index),
        "dag_bundle_version": run.bundle,
    }));
    let body = json!({
        "dag": dag(spec),
        "dagRun": dag_run(key, run, None),
        "task": task(spec, of),
        "taskInstance": instance,
        "taskUuid": crate::try_uuid(&names.namespace, &key.dag_id, run.date(), (&token.task_id, token.map_index, token.try_number)),
    });
    names.own_facet("RunFacet", body)
}

/// `airflowMappedTask`, of copies of mapped tasks.
pub(crate) fn mapped_facet(names: &Names, token: &Token, of: &TaskSpec) -> Option<Value> {
    let body = json!({ "mapIndex": token.map_index, "operatorClass": of.operator });
    (!token.map_index.is_unmapped()).then(|| names.own_facet("RunFacet", body))
}

/// `airflow`, of the job of a DAG: what it is made of.
pub(crate) fn job_facet(names: &Names, spec: &DagSpec) -> Value {
    let mut tasks = Map::new();
    let mut groups = Map::new();
    // Found in one walk: asking for each task's neighbours would look at all of them each time.
    let mut below = vec![Vec::new(); spec.tasks.len()];
    for task in &spec.tasks {
        for at in &task.upstream {
            if let Some(of) = usize::try_from(*at).ok().and_then(|at| below.get_mut(at)) {
                of.push(task.task_id.as_str());
            }
        }
    }
    for (task, below) in spec.tasks.iter().zip(&below).take(TASKS) {
        let body = json!({
            "operator": task.operator,
            "task_group": task.group,
            "emits_ol_events": true,
            "is_setup": task.is_setup,
            "is_teardown": task.is_teardown,
            "downstream_task_ids": below.iter().take(TASKS).collect::<Vec<_>>(),
        });
        tasks.insert(task.task_id.to_string(), body);
        if let Some(group) = &task.group {
            let above = group.rsplit_once('.').map(|(above, _)| above);
            groups.insert(group.clone(), json!({ "parent_group": above }));
        }
    }
    let body = json!({ "taskTree": {}, "taskGroups": groups, "tasks": tasks });
    names.own_facet("JobFacet", body)
}

/// `airflowState`, of the end of a run.
pub(crate) fn state_facet(names: &Names, run: &Run, state: &str) -> Value {
    let (mut states, mut durations) = (Map::new(), Map::new());
    for (task, (state, seconds)) in run.states.iter().take(TASKS) {
        states.insert(task.to_string(), state.as_str().into());
        durations.insert(task.to_string(), (*seconds).into());
    }
    let body = json!({ "dagRunState": state, "tasksState": states, "tasksDuration": durations });
    names.own_facet("RunFacet", body)
}
