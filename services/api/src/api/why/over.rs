//! Runs that are over: what the rows have of them.
use dagbok_events::{MapIndex, RunKey, Timestamp};
use dagbok_protocol::WhyAsk;

use super::text::{joined, quoted_state};
use crate::{
    api::{errors::ApiError, extract::no_task},
    model::{
        Store,
        rows::{RunRow, TaskInstanceState, TaskRow},
    },
    shapes::{WhyAnswer, WhyPiece, WhyReason, WhyTask},
};

/// The answer about a run that is over, and was at `at`, or a task of it; `None` where it is not.
pub(super) fn answer(
    store: &Store,
    ask: &WhyAsk,
    at: Option<Timestamp>,
) -> Result<Option<WhyAnswer>, ApiError> {
    let Some(run_id) = ask.run_id.clone() else { return Ok(None) };
    let key = RunKey { dag_id: ask.dag_id.clone(), run_id };
    let Some(run) = store.run(&key)?.filter(|run| run.state.is_over()) else { return Ok(None) };
    let ended = run.end_date.unwrap_or(run.updated_at);
    if at.is_some_and(|at| at < ended) {
        return Ok(None);
    }
    let is = match &ask.task_id {
        None => plain(None, MapIndex::UNMAPPED, run.state.word()),
        Some(_) => of_task(store, &run, ask)?,
    };
    let what = match &ask.task_id {
        None => format!("{key} is over since {ended}: {}", run.state.word()),
        Some(task_id) => {
            let why = is.reasons.first().map(|reason| format!(": {}", reason.message));
            let state = quoted_state(&is.state);
            format!("{task_id} of {key} {state}{}", why.unwrap_or_default())
        }
    };
    Ok(Some(WhyAnswer {
        dag_id: key.dag_id.to_string(),
        dag_run_id: Some(key.run_id.to_string()),
        at: ended.into(),
        seq: Some(run.last_seq),
        by: "rows".to_owned(),
        message: what,
        is,
        place: None,
        expected: None,
        roots: Vec::new(),
        more_roots: 0,
    }))
}

fn plain(task_id: Option<String>, map_index: MapIndex, state: &str) -> WhyPiece {
    WhyPiece {
        task_id,
        map_index: map_index.0,
        state: state.to_owned(),
        since: None,
        try_number: None,
        executor: None,
        reasons: Vec::new(),
    }
}

fn of_task(store: &Store, run: &RunRow, ask: &WhyAsk) -> Result<WhyPiece, ApiError> {
    let (key, task_id) = (run.key(), ask.task_id.as_ref().expect("only asked of a task"));
    let Some(row) = store.task(&key, task_id, ask.map_index)? else {
        return Err(no_task(task_id.as_str()));
    };
    let mut is = plain(Some(task_id.to_string()), ask.map_index, row.state.word());
    is.since = row
        .ruled_out_at
        .or_else(|| row.attempt.as_ref().and_then(|attempt| attempt.ended_at))
        .map(Into::into);
    is.try_number = row.attempt.as_ref().map(|attempt| attempt.number.get());
    is.reasons.extend(never(store, run, &row)?);
    Ok(is)
}

/// Why a task did not run, or will not any more.
fn never(store: &Store, run: &RunRow, row: &TaskRow) -> Result<Option<WhyReason>, ApiError> {
    if row.state == TaskInstanceState::Removed {
        let reason = |message: &String| WhyReason {
            kind: "never".to_owned(),
            message: message.clone(),
            ..WhyReason::default()
        };
        return Ok(row.message.as_ref().map(reason));
    }
    let caused: fn(TaskInstanceState) -> bool = match row.state {
        TaskInstanceState::UpstreamFailed => {
            |state| matches!(state, TaskInstanceState::Failed | TaskInstanceState::UpstreamFailed)
        }
        TaskInstanceState::Skipped if row.attempt.is_none() => {
            |state| state == TaskInstanceState::Skipped
        }
        _ => return Ok(None),
    };
    let mut tasks = Vec::new();
    if let Some(version) = store.version_shared(&run.dag_id, run.version)? {
        let of = version.spec.tasks.iter().find(|task| task.task_id == row.task_id);
        let above = of.into_iter().flat_map(|task| &task.upstream);
        for up in above.filter_map(|up| version.spec.tasks.get(*up as usize)) {
            let found = store.task(&run.key(), &up.task_id, MapIndex::UNMAPPED)?;
            let found = found.filter(|found| caused(found.state));
            tasks.extend(found.map(|found| WhyTask {
                task_id: up.task_id.to_string(),
                map_index: -1,
                state: Some(found.state.word().to_owned()),
                open: 0,
                copies: 1,
            }));
        }
    }
    let named = tasks.iter().take(10).map(|task| {
        format!("{} {}", task.task_id, quoted_state(task.state.as_deref().unwrap_or_default()))
    });
    let named: Vec<String> = named.collect();
    let message = match (&row.message, named.is_empty()) {
        (Some(message), _) => message.clone(),
        (None, false) => format!("before it, {}", joined(&named, 0)),
        (None, true) => "its run was ended, or a task before it decided against it".to_owned(),
    };
    Ok(Some(WhyReason { kind: "never".to_owned(), message, tasks, ..WhyReason::default() }))
}
