//! What tasks ask people: lists, single questions, and answers.
use axum::{Json, extract::State};
use dagbok_events::{HitlAsk, HitlUser, MapIndex, RunKey, TryNumber};
use dagbok_protocol::{AnswerHitl, CommandBody};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::IntoParams;

use super::{
    errors::ApiError,
    extract::{Caller, InBody, InPath, InQuery, any_dag, flag, run_key, task_id, try_number},
    page::{Page, SortKey, instants, matches, orders, sort},
    params,
    state::ApiState,
    tasks::instance,
    tell::tell,
};
use crate::{
    model::{Store, rows::HitlRow},
    shapes::{
        Detail, HitlDetail, HitlDetailCollection, HitlDetailResponse, HitlExtra, HitlUserShape,
        ListExtra, UpdateHitlDetailPayload,
    },
};

/// Questions that are looked at for a page.
const LOOKED_AT: usize = 2_000;
const ORDERS: &[&str] = &[
    "created_at",
    "responded_at",
    "subject",
    "dag_id",
    "run_id",
    "task_display_name",
    "responded_by_user_id",
    "responded_by_user_name",
];

/// Which questions are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct HitlQuery {
    /// Entries of the page.
    limit: Option<usize>,
    /// Entries before it.
    offset: Option<usize>,
    /// Those with an answer, or those without.
    #[serde(deserialize_with = "flag")]
    response_received: Option<bool>,
    /// Those of DAGs whose id has this in it; `%`, `_` and `|` as in Airflow.
    dag_id_pattern: Option<String>,
    /// Those of this task.
    task_id: Option<String>,
    /// Those of tasks whose id has this in it.
    task_id_pattern: Option<String>,
    /// Those of this copy.
    map_index: Option<i32>,
    /// Those of tasks in any of these states.
    state: Vec<String>,
    /// Those that any of these answered, by id.
    responded_by_user_id: Vec<String>,
    /// Those that any of these answered, by name.
    responded_by_user_name: Vec<String>,
    /// Those whose subject has this in it.
    subject_search: Option<String>,
    /// Those whose body has this in it.
    body_search: Option<String>,
    /// Those of DAGs whose id begins with this.
    dag_id_prefix_pattern: Option<String>,
    /// Those of tasks whose id begins with this.
    task_id_prefix_pattern: Option<String>,
    created_at_gte: Option<String>,
    created_at_gt: Option<String>,
    created_at_lte: Option<String>,
    created_at_lt: Option<String>,
    /// `created_at` (also where not said), `responded_at`, `subject`, `dag_id`, `run_id`, `task_display_name`,
    /// `responded_by_user_id`, `responded_by_user_name`; with `-` before it the other way round.
    order_by: Vec<String>,
}

impl HitlQuery {
    fn wants(&self, row: &HitlRow) -> bool {
        let fits = |pattern: &Option<String>, text: &str| {
            pattern.as_deref().is_none_or(|pattern| matches(pattern, text))
        };
        let begins = |prefix: &Option<String>, text: &str| {
            prefix.as_deref().is_none_or(|prefix| text.starts_with(prefix))
        };
        let by = row.answer.as_ref().and_then(|it| it.by.as_ref());
        let any = |wanted: &[String], found: Option<&String>| {
            wanted.is_empty() || found.is_some_and(|found| wanted.contains(found))
        };
        self.response_received.is_none_or(|it| it == row.answer.is_some())
            && fits(&self.dag_id_pattern, row.run.dag_id.as_str())
            && self.task_id.as_deref().is_none_or(|it| it == row.task_id.as_str())
            && fits(&self.task_id_pattern, row.task_id.as_str())
            && self.map_index.is_none_or(|it| it == row.map_index.0)
            && any(&self.responded_by_user_id, by.map(|by| &by.id))
            && any(&self.responded_by_user_name, by.map(|by| &by.name))
            && begins(&self.dag_id_prefix_pattern, row.run.dag_id.as_str())
            && begins(&self.task_id_prefix_pattern, row.task_id.as_str())
            && fits(&self.subject_search, &row.ask.subject)
            && fits(&self.body_search, row.ask.body.as_deref().unwrap_or_default())
    }
}

fn person(user: &HitlUser) -> HitlUserShape {
    HitlUserShape { id: user.id.clone(), name: user.name.clone() }
}

fn object(text: Option<&str>) -> Map<String, Value> {
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// A question as it is shown; nothing where its task is gone.
fn detail(store: &Store, row: HitlRow) -> Result<HitlDetail, ApiError> {
    let one = instance(store, &row.run, row.task_id.as_str(), Some(row.map_index))?;
    let current = one.attempt().is_some_and(|attempt| attempt.number == row.try_number);
    let is_open = row.answer.is_none() && current && one.state() == Some("deferred");
    let HitlAsk { subject, body, options, defaults, multiple, params, assigned_users } = row.ask;
    let answer = row.answer;
    Ok(HitlDetail {
        task_instance: one.response(),
        options,
        subject,
        body,
        defaults,
        multiple,
        params: object(params.as_deref()),
        assigned_users: assigned_users.iter().map(person).collect(),
        created_at: row.created_at.into(),
        responded_by_user: answer.as_ref().and_then(|it| it.by.as_ref()).map(person),
        responded_at: answer.as_ref().map(|it| it.at.into()),
        chosen_options: answer.as_ref().map(|it| it.chosen_options.clone()),
        params_input: object(answer.as_ref().and_then(|it| it.params_input.as_deref())),
        response_received: answer.is_some(),
        dagbok: HitlExtra {
            try_number: row.try_number.get(),
            timeout_at: row.timeout_at.map(Into::into),
            is_open,
        },
    })
}

/// What tasks ask people, of a run, of a DAG, or with `~` of all.
#[utoipa::path(get, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/hitlDetails", tag = "Task Instance",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path), HitlQuery), responses(
    (status = 200, body = HitlDetailCollection), (status = 404, body = Detail), (status = 422, body = Detail)
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    InPath((dag, run)): InPath<(String, String)>,
    InQuery(query): InQuery<HitlQuery>,
) -> Result<Json<HitlDetailCollection>, ApiError> {
    let dag_id = any_dag(&dag)?;
    let run = match (&dag_id, run.as_str()) {
        (_, "~") | (None, _) => None,
        (Some(_), run) => Some(run_key(&dag, run)?),
    };
    let orders = orders(&query.order_by, ORDERS)?;
    let ends =
        [&query.created_at_gte, &query.created_at_gt, &query.created_at_lte, &query.created_at_lt];
    let created = instants("created_at", ends)?;
    let found = state.read(move |store| {
        let all = match query.response_received {
            Some(false) => store.hitl_open(dag_id.as_ref(), run.as_ref(), LOOKED_AT + 1)?,
            _ => store.hitl_of(dag_id.as_ref(), run.as_ref(), LOOKED_AT + 1)?,
        };
        let total_is_exact = all.len() <= LOOKED_AT;
        let wanted = all.into_iter().take(LOOKED_AT).filter(|row| {
            let at = row.created_at.0;
            query.wants(row) && created.is_none_or(|(from, to)| from <= at && at <= to)
        });
        let mut details: Vec<HitlDetail> =
            wanted.filter_map(|row| detail(store, row).ok()).collect();
        details.retain(|it| {
            let state = it.task_instance.state.as_deref();
            // Airflow's word for a task that waits for an answer; here it is one of those that are deferred.
            let is = |one: &String| {
                state == Some(one.as_str()) || (one == "awaiting_input" && it.dagbok.is_open)
            };
            query.state.is_empty() || query.state.iter().any(is)
        });
        sort(&mut details, &orders, |it, by| match by {
            "subject" => SortKey::Text(it.subject.clone()),
            "dag_id" => SortKey::Text(it.task_instance.dag_id.clone()),
            "run_id" => SortKey::Text(it.task_instance.dag_run_id.clone()),
            "responded_at" => SortKey::from(it.responded_at.as_ref().map(|at| at.0)),
            "task_display_name" => SortKey::Text(it.task_instance.task_display_name.clone()),
            "responded_by_user_id" => SortKey::Text(
                it.responded_by_user.as_ref().map(|by| by.id.clone()).unwrap_or_default(),
            ),
            "responded_by_user_name" => SortKey::Text(
                it.responded_by_user.as_ref().map(|by| by.name.clone()).unwrap_or_default(),
            ),
            _ => SortKey::from(Some(it.created_at.0)),
        });
        let (hitl_details, total_entries) = Page::new(query.limit, query.offset).cut(details);
        let dagbok = ListExtra { total_is_exact, complete: total_is_exact };
        Ok(HitlDetailCollection { hitl_details, total_entries, dagbok })
    });
    found.await.map(Json)
}

fn none(task: &str) -> ApiError {
    ApiError::NotFound(format!(
        "Human-in-the-loop detail does not exist for the task `{task}` of this run: it asks nobody anything"
    ))
}

/// What the newest try of a task asks, or the one of this number.
fn row(
    store: &Store,
    key: &RunKey,
    task: &str,
    map: MapIndex,
    number: Option<TryNumber>,
) -> Result<HitlRow, ApiError> {
    let one = instance(store, key, task, Some(map))?;
    let newest = || one.attempt().map(|attempt| attempt.number);
    let number = number.or_else(newest).ok_or_else(|| none(task))?;
    store.hitl((key, &task_id(task)?, map), number)?.ok_or_else(|| none(task))
}

/// What a task asks people.
#[utoipa::path(get,
    path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/hitlDetails",
    tag = "Task Instance",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path), ("task_id" = String, Path), ("map_index" = i32, Path)),
    responses((status = 200, body = HitlDetail), (status = 404, body = Detail), (status = 422, body = Detail)
))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    InPath((dag, run, task, map)): InPath<(String, String, String, i32)>,
) -> Result<Json<HitlDetail>, ApiError> {
    let found = state.read(move |store| {
        let row = row(store, &run_key(&dag, &run)?, &task, MapIndex(map), None)?;
        detail(store, row)
    });
    found.await.map(Json)
}

/// What one try of a task asked people.
#[utoipa::path(get,
    path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/hitlDetails/tries/{try_number}",
    tag = "Task Instance",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path), ("task_id" = String, Path), ("map_index" = i32, Path),
    ("try_number" = u16, Path)),
    responses((status = 200, body = HitlDetail), (status = 404, body = Detail), (status = 422, body = Detail)
))]
pub(crate) async fn get_try(
    State(state): State<ApiState>,
    InPath((dag, run, task, map, number)): InPath<(String, String, String, i32, u16)>,
) -> Result<Json<HitlDetail>, ApiError> {
    let found = state.read(move |store| {
        let number = try_number(number, &task)?;
        let row = row(store, &run_key(&dag, &run)?, &task, MapIndex(map), Some(number))?;
        detail(store, row)
    });
    found.await.map(Json)
}

/// Answers what a task asks people.
#[utoipa::path(patch,
    path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/hitlDetails",
    tag = "Task Instance",
    params(("dag_id" = String, Path), ("dag_run_id" = String, Path), ("task_id" = String, Path), ("map_index" = i32, Path)),
    request_body = UpdateHitlDetailPayload,
    responses((status = 200, body = HitlDetailResponse), (status = 202, body = Detail), (status = 403, body = Detail),
    (status = 404, body = Detail), (status = 409, body = Detail), (status = 422, body = Detail),
    (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn answer(
    State(state): State<ApiState>,
    InPath((dag, run, task, map)): InPath<(String, String, String, i32)>,
    caller: Caller,
    InBody(body): InBody<UpdateHitlDetailPayload>,
) -> Result<Json<HitlDetailResponse>, ApiError> {
    let (key, map_index) = (run_key(&dag, &run)?, MapIndex(map));
    let (of, asks, input) = (key.clone(), task.clone(), body.params_input.clone());
    let checked = state.read(move |store| {
        let row = row(store, &of, &asks, map_index, None)?;
        Ok(params::check_fields(&object(row.ask.params.as_deref()), &input))
    });
    checked.await?.map_err(ApiError::BadRequest)?;
    let input = Some(body.params_input).filter(|input| !input.is_empty());
    let RunKey { dag_id, run_id } = key.clone();
    let ask = AnswerHitl {
        dag_id,
        run_id,
        task_id: task_id(&task)?,
        map_index,
        chosen_options: body.chosen_options,
        params_input: input.map(|input| Value::Object(input).to_string()),
    };
    tell(&state, caller, None, CommandBody::AnswerHitl(Box::new(ask))).await?;
    let answered = state.read(move |store| {
        let row = row(store, &key, &task, map_index, None)?;
        let answer =
            row.answer.ok_or_else(|| ApiError::bug(&"an answer was taken and is not there"))?;
        let nobody = || HitlUserShape { id: String::new(), name: String::new() };
        Ok(HitlDetailResponse {
            responded_by: answer.by.as_ref().map_or_else(nobody, person),
            responded_at: answer.at.into(),
            params_input: object(answer.params_input.as_deref()),
            chosen_options: answer.chosen_options,
        })
    });
    answered.await.map(Json)
}
