//! What tasks ask people: those questions that wait, and one of a task with its answer.
use dagbok_events::{MapIndex, RunKey, TaskId};
use serde_json::{Map, Value};

use crate::{
    model::{
        Store, StoreError,
        rows::{HitlRow, TaskInstanceState, TaskRow},
    },
    shapes::{HitlUserShape, UiAnswer, UiAsk, UiQuestion},
};

/// Questions that are looked at, to tell how many wait.
const LOOKED_AT: usize = 200;
/// Names that a row has.
const NAMES: usize = 10;

/// Questions that wait for an answer.
pub(super) struct Asks {
    /// Those that are due first, and then those that wait longest.
    pub(super) shown: Vec<UiAsk>,
    pub(super) total: usize,
    /// Whether that is the whole number, or at least that.
    pub(super) exact: bool,
}

pub(super) fn asks(store: &Store, most: usize) -> Result<Asks, StoreError> {
    let mut rows = store.hitl_open(None, None, LOOKED_AT + 1)?;
    let exact = rows.len() <= LOOKED_AT;
    rows.truncate(LOOKED_AT);
    rows.sort_by_key(|row| (row.timeout_at.is_none(), row.timeout_at, row.created_at));
    let total = rows.len();
    Ok(Asks { shown: rows.into_iter().take(most).map(ask).collect(), total, exact })
}

fn ask(row: HitlRow) -> UiAsk {
    UiAsk {
        dag_id: row.run.dag_id.to_string(),
        run_id: row.run.run_id.to_string(),
        task_id: row.task_id.to_string(),
        map_index: row.map_index.0,
        subject: row.ask.subject,
        asked_at: row.created_at.into(),
        due_at: row.timeout_at.map(Into::into),
        assigned: row.ask.assigned_users.into_iter().take(NAMES).map(|user| user.name).collect(),
    }
}

fn object(text: Option<&str>) -> Map<String, Value> {
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// What the newest try of a task asks, or asked.
pub(super) fn question(
    store: &Store,
    key: &RunKey,
    id: &TaskId,
    map: MapIndex,
    task: Option<&TaskRow>,
) -> Result<Option<UiQuestion>, StoreError> {
    let Some(attempt) = task.and_then(|row| row.attempt.as_ref()) else { return Ok(None) };
    let Some(row) = store.hitl((key, id, map), attempt.number)? else { return Ok(None) };
    let waits = task.is_some_and(|row| row.state == TaskInstanceState::Deferred);
    let answer = row.answer.map(|it| UiAnswer {
        params_input: object(it.params_input.as_deref()),
        chosen_options: it.chosen_options,
        by: it.by.map(|by| by.name),
        at: it.at.into(),
    });
    let users = row.ask.assigned_users.into_iter();
    Ok(Some(UiQuestion {
        try_number: row.try_number.get(),
        subject: row.ask.subject,
        body: row.ask.body,
        options: row.ask.options,
        defaults: row.ask.defaults.unwrap_or_default(),
        multiple: row.ask.multiple,
        params: object(row.ask.params.as_deref()),
        assigned_users: users.map(|it| HitlUserShape { id: it.id, name: it.name }).collect(),
        asked_at: row.created_at.into(),
        due_at: row.timeout_at.map(Into::into),
        is_open: answer.is_none() && waits,
        answer,
    }))
}
