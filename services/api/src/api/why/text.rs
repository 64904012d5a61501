//! Reasons in words, and as the API has them.
use dagbok_events::{AssetRef, DagId, RuledOut, RunKey, Timestamp, TriggerRule};
use dagbok_protocol::{
    Blocker, Holder, Holders, Piece, Place, Reason, Stands, WaitingLine, Why, WhyAsk,
};

use crate::{
    api::{errors::ApiError, view::word},
    model::Store,
    shapes::{WhyAnswer, WhyHolder, WhyPiece, WhyPlace, WhyReason, WhyTask},
};

/// Names in a sentence: further ones stand in the list.
const IN_SENTENCE: usize = 3;

/// The answer, as far as it follows from what was said.
pub(super) fn told(ask: &WhyAsk, why: &Why, by: &str) -> WhyAnswer {
    let is = piece(&why.is);
    let mut message = sentence(ask, &why.is, &is);
    if let (Some(place), false) = (&why.place, is.reasons.iter().any(|it| it.kind == "next")) {
        message = format!("{message}; {}", place_text(place));
    }
    if let (true, Some(root)) = (why.is.reasons.iter().any(is_upstream), why.roots.first()) {
        message = format!("{message}; {}", root_text(root));
    }
    WhyAnswer {
        dag_id: ask.dag_id.to_string(),
        dag_run_id: ask.run_id.as_ref().map(ToString::to_string),
        at: why.at.into(),
        seq: Some(why.seq),
        by: by.to_owned(),
        message,
        is,
        place: why.place.as_ref().map(place),
        expected: None,
        roots: why.roots.iter().map(piece).collect(),
        more_roots: why.more_roots,
    }
}

/// The same with what only the rows know: since when holders run, who paused the DAG.
pub(super) fn with_rows(
    store: &Store,
    dag_id: &DagId,
    mut told: WhyAnswer,
    at: Option<Timestamp>,
) -> Result<WhyAnswer, ApiError> {
    for reason in
        told.is.reasons.iter_mut().chain(told.roots.iter_mut().flat_map(|it| &mut it.reasons))
    {
        for holder in &mut reason.holders {
            holder.since = since_of(store, holder)?;
        }
        if reason.kind == "paused"
            && at.is_none()
            && let Some(pause) = store.dag(dag_id)?.and_then(|dag| dag.pause)
        {
            let why = pause.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            reason.message =
                format!("its DAG is paused since {} by {}{why}", pause.at, who(&pause.by));
        }
    }
    Ok(told)
}

fn who(by: &dagbok_events::Actor) -> String {
    match by {
        dagbok_events::Actor::User(name) | dagbok_events::Actor::Token(name) => name.clone(),
        other => word(other),
    }
}

fn since_of(
    store: &Store,
    holder: &WhyHolder,
) -> Result<Option<crate::shapes::DateTime>, ApiError> {
    let key = crate::api::extract::run_key(&holder.dag_id, &holder.dag_run_id)?;
    let task_id = crate::api::extract::task_id(&holder.task_id)?;
    let number = dagbok_events::TryNumber::new(holder.try_number);
    let Some(number) = number else { return Ok(None) };
    let found = store.one_try(&key, &task_id, dagbok_events::MapIndex(holder.map_index), number)?;
    Ok(found.and_then(|attempt| attempt.started_at).map(Into::into))
}

const fn is_upstream(reason: &Reason) -> bool {
    matches!(reason, Reason::Upstream { .. } | Reason::Scope { .. } | Reason::Lengths { .. })
}

/// What was asked about, and the nearest of what keeps it.
fn sentence(ask: &WhyAsk, is: &Piece, shown: &WhyPiece) -> String {
    let dag = &ask.dag_id;
    let of_run = ask.run_id.as_ref().map(|run_id| {
        let key = RunKey { dag_id: dag.clone(), run_id: run_id.clone() };
        key.to_string()
    });
    // Of a run that was over only that is known, of none of its tasks.
    let task_id = ask.task_id.as_ref().filter(|_| is.task_id.is_some());
    let name = match (task_id, &of_run) {
        (Some(task_id), Some(run)) => {
            format!("{} of {run}", copy_name(task_id.as_str(), ask.map_index.0))
        }
        (_, Some(run)) => run.clone(),
        _ => dag.to_string(),
    };
    let reasons: Vec<&str> = shown.reasons.iter().map(|reason| reason.message.as_str()).collect();
    let also = match reasons.len() {
        0 | 1 => String::new(),
        2 => format!("; also, {}", reasons[1]),
        more => format!("; also, {}, and {} more", reasons[1], more - 2),
    };
    let first = reasons.first().map_or_else(String::new, |first| format!(": {first}{also}"));
    match is.stands {
        Stands::Scheduled => format!("{name}{first}"),
        Stands::Running if ask.task_id.is_some() => {
            let on = is.executor.as_ref().map(|it| format!(" on {it}")).unwrap_or_default();
            let nth = is.try_number.map(|it| format!(" (try {it})")).unwrap_or_default();
            format!("{name} runs{on}{nth}: nothing keeps it")
        }
        Stands::Running | Stands::Ending if reasons.is_empty() => {
            format!("{name} is {}: its tasks say what they wait for", is.stands.word())
        }
        Stands::Success | Stands::Failed => format!("{name} {}", quoted_state(is.stands.word())),
        Stands::Skipped
        | Stands::UpstreamFailed
        | Stands::Removed
        | Stands::Waiting
        | Stands::Queued
        | Stands::Running
        | Stands::Ending
        | Stands::UpForRetry
        | Stands::UpForReschedule
        | Stands::Deferred => {
            format!("{name} {}{first}", quoted_state(is.stands.word()))
        }
    }
}

/// A state as a verb.
pub(super) fn quoted_state(state: &str) -> String {
    match state {
        "waiting" => "waits".to_owned(),
        "queued" => "is queued".to_owned(),
        "running" => "runs".to_owned(),
        "up_for_retry" => "is up for retry".to_owned(),
        "up_for_reschedule" => "is up for reschedule".to_owned(),
        "deferred" => "is deferred".to_owned(),
        "success" => "succeeded".to_owned(),
        "failed" => "failed".to_owned(),
        "skipped" => "was skipped".to_owned(),
        "upstream_failed" => "will not run (upstream_failed)".to_owned(),
        "removed" => "was removed".to_owned(),
        other => format!("is {other}"),
    }
}

fn root_text(root: &Piece) -> String {
    let name = root.task_id.as_ref().map_or_else(String::new, ToString::to_string);
    let name = copy_name(&name, root.map_index.0);
    let first = root.reasons.first().map(|it| format!(": {}", reason(it).message));
    let on = root.executor.as_ref().map(|it| format!(" on {it}")).unwrap_or_default();
    format!("{name} {}{on}{}", quoted_state(root.stands.word()), first.unwrap_or_default())
}

fn place_text(place: &Place) -> String {
    let least = if place.at_least { "at least " } else { "" };
    let line = match &place.line {
        WaitingLine::Pool(pool) => format!("in line for the pool {pool}"),
        WaitingLine::Dag => "in its DAG's line".to_owned(),
        WaitingLine::Task => "in the task's own line".to_owned(),
    };
    match place.before {
        0 => format!("it is the next {line}"),
        1 => format!("1 task goes before it {line}"),
        before => format!("{least}{before} tasks go before it {line}"),
    }
}

fn place(place: &Place) -> WhyPlace {
    let line = match place.line {
        WaitingLine::Pool(_) => "pool",
        WaitingLine::Dag => "dag",
        WaitingLine::Task => "task",
    };
    WhyPlace { before: place.before, at_least: place.at_least, line: line.to_owned() }
}

fn piece(it: &Piece) -> WhyPiece {
    WhyPiece {
        task_id: it.task_id.as_ref().map(ToString::to_string),
        map_index: it.map_index.0,
        state: it.stands.word().to_owned(),
        since: it.since.map(Into::into),
        try_number: it.try_number.map(dagbok_events::TryNumber::get),
        executor: it.executor.as_ref().map(ToString::to_string),
        reasons: it.reasons.iter().map(reason).collect(),
    }
}

/// A copy's name.
pub(super) fn copy_name(task_id: &str, map_index: i32) -> String {
    if map_index < 0 { task_id.to_owned() } else { format!("{task_id}[{map_index}]") }
}

/// Names with commas, and how many more.
pub(super) fn joined(names: &[String], more: u32) -> String {
    let shown = names.iter().take(IN_SENTENCE).map(String::as_str).collect::<Vec<_>>().join(", ");
    let left = names.len().saturating_sub(IN_SENTENCE) + more as usize;
    if left == 0 { shown } else { format!("{shown} and {left} more") }
}

pub(super) fn new(kind: &str, message: String) -> WhyReason {
    WhyReason { kind: kind.to_owned(), message, ..WhyReason::default() }
}

fn tasks_of(tasks: &[Blocker]) -> (Vec<WhyTask>, Vec<String>) {
    let shown = tasks.iter().map(|task| WhyTask {
        task_id: task.task_id.to_string(),
        map_index: task.map_index.0,
        state: task.stands.map(|stands| stands.word().to_owned()),
        open: task.open,
        copies: task.copies,
    });
    let name = |task: &Blocker| {
        let name = copy_name(task.task_id.as_str(), task.map_index.0);
        match task.stands {
            Some(stands) => format!("{name} ({})", stands.word()),
            None => format!("{name} ({} of {} copies not done)", task.open, task.copies),
        }
    };
    (shown.collect(), tasks.iter().map(name).collect())
}

fn holder(it: &Holder) -> WhyHolder {
    WhyHolder {
        dag_id: it.dag_id.to_string(),
        dag_run_id: it.run_id.to_string(),
        task_id: it.task_id.to_string(),
        map_index: it.map_index.0,
        try_number: it.try_number.get(),
        slots: it.slots,
        executor: it.executor.as_ref().map(ToString::to_string),
        since: None,
    }
}

/// `, held by train of ml/r7`; nothing where nobody is known.
fn held_by(holders: &Holders) -> String {
    let name = |it: &Holder| {
        let task = copy_name(it.task_id.as_str(), it.map_index.0);
        format!("{task} of {}/{}", it.dag_id, it.run_id)
    };
    let names: Vec<String> = holders.named.iter().map(name).collect();
    if names.is_empty() {
        String::new()
    } else {
        format!(", held by {}", joined(&names, holders.more))
    }
}

pub(super) fn full(kind: &str, most: u32, what: &str, holders: &Holders) -> WhyReason {
    WhyReason {
        most: Some(most),
        holders: holders.named.iter().map(holder).collect(),
        more: holders.more,
        ..new(kind, format!("{what}{}", held_by(holders)))
    }
}

fn of_tasks(kind: &str, what: &str, tasks: &[Blocker], more: u32) -> WhyReason {
    let (shown, names) = tasks_of(tasks);
    let message = format!("{what}{}", joined(&names, more));
    WhyReason { tasks: shown, more, ..new(kind, message) }
}

/// One reason.
#[expect(clippy::too_many_lines, reason = "one arm a reason, and none may be forgotten")]
pub(super) fn reason(it: &Reason) -> WhyReason {
    match it {
        Reason::Next => new("next", "nothing keeps it: it goes next".to_owned()),
        Reason::Paused => new("paused", "its DAG is paused".to_owned()),
        Reason::RunQueued => new("run_queued", "its run waits for its turn".to_owned()),
        Reason::MaxActiveRuns { .. }
        | Reason::BackfillPaused { .. }
        | Reason::BackfillMaxActiveRuns { .. }
        | Reason::NotDue { .. }
        | Reason::TimedOut { .. }
        | Reason::Gone
        | Reason::NoSchedule
        | Reason::NoFurtherRun
        | Reason::NextRun { .. }
        | Reason::Partitions { .. }
        | Reason::Assets { .. } => of_run(it),
        Reason::NoPool { .. }
        | Reason::PoolTooSmall { .. }
        | Reason::Pool { .. }
        | Reason::Parallelism { .. }
        | Reason::MaxActiveTasks { .. }
        | Reason::MaxActiveTisPerDag { .. }
        | Reason::MaxActiveTisPerDagRun { .. } => of_room(it),
        Reason::NoExecutor { .. }
        | Reason::TooLarge { .. }
        | Reason::Cordoned { .. }
        | Reason::Resources { .. }
        | Reason::ExecutorsFull { .. }
        | Reason::Offered { .. } => super::offer::of_offer(it),
        Reason::Upstream { rule, tasks, more } => {
            let what = match rule {
                TriggerRule::AllSuccess => "upstream tasks are not done: ".to_owned(),
                rule => format!("upstream tasks are not done ({}): ", word(rule)),
            };
            of_tasks("upstream", &what, tasks, *more)
        }
        Reason::Scope { tasks, more } => {
            of_tasks("scope", "setups, or what it tears down after, are not done: ", tasks, *more)
        }
        Reason::Lengths { tasks, more } => {
            of_tasks("lengths", "what it is mapped over is not done: ", tasks, *more)
        }
        Reason::DependsOnPast { logical_date, run_id, tasks } => {
            let names: Vec<String> = tasks.iter().map(ToString::to_string).collect();
            let run = run_id.as_ref().map(|it| format!(" ({it})")).unwrap_or_default();
            let what = if names.is_empty() { "its task".to_owned() } else { joined(&names, 0) };
            let message = format!(
                "in the run before, of {logical_date}{run}, {what} has not succeeded (depends_on_past)"
            );
            let runs = run_id.iter().map(ToString::to_string).collect();
            WhyReason { runs, ..new("depends_on_past", message) }
        }
        Reason::Retry { due } => {
            let message = format!("a try failed, and the next is due at {due}");
            WhyReason { until: Some((*due).into()), ..new("retry", message) }
        }
        Reason::Reschedule { due } => {
            let message = format!("it is to look again at {due}");
            WhyReason { until: Some((*due).into()), ..new("reschedule", message) }
        }
        Reason::Trigger { class_path, until } => super::trigger::reason(class_path, *until),
        Reason::Hitl { .. } => super::hitl::reason(it),
        Reason::Never { why, tasks, more, decided_by } => {
            let (shown, names) = tasks_of(tasks);
            let message = match (why, decided_by) {
                (_, Some(task_id)) => format!("{task_id} decided against it"),
                (RuledOut::Removed, _) => "it is no longer in the DAG".to_owned(),
                (RuledOut::OutOfDates, _) => {
                    "the run's logical date lies outside of its start_date and end_date".to_owned()
                }
                (_, None) if names.is_empty() => {
                    "by its trigger rule, or since its run is ended".to_owned()
                }
                (_, None) => format!("before it, {}", joined(&names, *more)),
            };
            WhyReason { tasks: shown, more: *more, ..new("never", message) }
        }
    }
}

/// What keeps runs.
fn of_run(it: &Reason) -> WhyReason {
    match it {
        Reason::MaxActiveRuns { most, runs, more, before } => {
            let what = format!("{most} runs of its DAG may be active (max_active_runs)");
            of_runs(("max_active_runs", what), *most, (runs, *more), *before)
        }
        Reason::BackfillPaused { backfill_id } => {
            let message = format!("its backfill {backfill_id} is paused");
            WhyReason { name: Some(backfill_id.to_string()), ..new("backfill_paused", message) }
        }
        Reason::BackfillMaxActiveRuns { backfill_id, most, runs, more, before } => {
            let what = format!(
                "{most} runs of its backfill {backfill_id} may be active (its max_active_runs)"
            );
            let it = of_runs(("backfill_max_active_runs", what), *most, (runs, *more), *before);
            WhyReason { name: Some(backfill_id.to_string()), ..it }
        }
        Reason::NotDue { due } => WhyReason {
            until: Some((*due).into()),
            ..new("not_due", format!("it does not begin before {due}"))
        },
        Reason::TimedOut { since } => {
            new("timed_out", format!("its run's time is up since {since} (dagrun_timeout)"))
        }
        Reason::Gone => new("gone", "no file defines the DAG any more".to_owned()),
        Reason::NoSchedule => {
            let message = "it has no schedule: `dagbok dags trigger` makes a run".to_owned();
            new("no_schedule", message)
        }
        Reason::NoFurtherRun => {
            let message = "its schedule has no further run".to_owned();
            new("no_further_run", message)
        }
        Reason::NextRun { logical_date, due } => super::hitl::reason_of_next(*logical_date, *due),
        Reason::Assets { missing, more, there } => {
            let assets = missing.iter().map(asset_name).collect();
            super::hitl::reason_of_assets(assets, *more, *there)
        }
        Reason::Partitions { waiting, more, dropped, events_dropped } => {
            super::hitl::reason_of_partitions(waiting, *more, (*dropped, *events_dropped))
        }
        _ => unreachable!("only asked of what keeps runs"),
    }
}

/// A limit of runs that is reached, with those that have it.
fn of_runs(
    (kind, what): (&str, String),
    most: u32,
    (runs, more): (&[dagbok_events::RunId], u32),
    before: u32,
) -> WhyReason {
    let runs: Vec<String> = runs.iter().map(ToString::to_string).collect();
    let line = match before {
        0 => String::new(),
        1 => "; 1 queued run comes before it".to_owned(),
        before => format!("; {before} queued runs come before it"),
    };
    let message = format!("{what}, and these are: {}{line}", joined(&runs, more));
    WhyReason { most: Some(most), runs, more, ..new(kind, message) }
}

fn asset_name(asset: &AssetRef) -> String {
    match asset {
        AssetRef::Asset { uri, .. } | AssetRef::Uri { uri } => uri.clone(),
        AssetRef::Name { name } => name.clone(),
        AssetRef::Alias { name } => format!("alias {name}"),
    }
}

/// What has no room.
fn of_room(it: &Reason) -> WhyReason {
    match it {
        Reason::NoPool { pool } => {
            let message = format!("there is no pool {pool}; `dagbok pools set` makes one");
            WhyReason { name: Some(pool.to_string()), ..new("no_pool", message) }
        }
        Reason::PoolTooSmall { pool, needs, slots } => {
            let message =
                format!("it needs {needs} slots of the pool {pool}, which has {slots} in all");
            let (name, most) = (Some(pool.to_string()), Some(*slots));
            WhyReason { name, most, ..new("pool_too_small", message) }
        }
        Reason::Pool { pool, needs, free, slots, holders } => {
            let what = if *free == 0 {
                format!("the pool {pool} is full ({slots} of {slots} slots)")
            } else {
                format!("it needs {needs} slots of the pool {pool}, and {free} of {slots} are free")
            };
            let name = Some(pool.to_string());
            WhyReason { name, ..full("pool", *slots, &what, holders) }
        }
        Reason::Parallelism { most, holders } => {
            let what = format!("{most} tries run or are queued in all (parallelism)");
            full("parallelism", *most, &what, holders)
        }
        Reason::MaxActiveTasks { most, holders } => {
            let what = format!("{most} tries of its DAG run or are queued (max_active_tasks)");
            full("max_active_tasks", *most, &what, holders)
        }
        Reason::MaxActiveTisPerDag { most, holders } => {
            let what =
                format!("{most} tries of the task run or are queued (max_active_tis_per_dag)");
            full("max_active_tis_per_dag", *most, &what, holders)
        }
        Reason::MaxActiveTisPerDagRun { most, holders } => {
            let what = format!(
                "{most} tries of it run or are queued in its run (max_active_tis_per_dagrun)"
            );
            full("max_active_tis_per_dagrun", *most, &what, holders)
        }
        _ => unreachable!("only asked of what has no room"),
    }
}
