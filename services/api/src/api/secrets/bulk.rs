//! Several variables or connections made, changed and deleted by one request, as Airflow's: action by action, and
//! within one all or, where one of them stands in the way, none.
use std::{collections::BTreeSet, future::Future};

use crate::{
    api::{errors::ApiError, extract::Caller, state::ApiState},
    shapes::{BulkDone, BulkError, BulkResponse, OnExistence, OnNonExistence},
};

/// How many one request may name.
const AT_ONCE: usize = 1_000;

/// One thing to do with several.
pub(super) enum Action<T> {
    Create(Vec<T>, OnExistence),
    Update(Vec<T>, Option<Vec<String>>, OnNonExistence),
    Delete(Vec<String>, OnNonExistence),
}

/// Variables or connections.
pub(super) trait Kind {
    /// How one is asked for.
    type Body: Send;
    /// Several, in Airflow's words.
    const MANY: &str;
    /// What it goes by.
    fn name(body: &Self::Body) -> &str;
    /// Tells what is wrong with one; `at` is where it stands.
    fn check(body: &Self::Body, at: &[&str]) -> Result<(), ApiError>;
    /// The names of those that there are.
    fn there(state: &ApiState) -> impl Future<Output = Result<BTreeSet<String>, ApiError>> + Send;
    /// Has one be so, whether it is there or not.
    fn put(
        state: &ApiState,
        caller: Caller,
        body: Self::Body,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;
    /// Changes fields of one.
    fn change(
        state: &ApiState,
        caller: Caller,
        body: Self::Body,
        mask: &[String],
    ) -> impl Future<Output = Result<(), ApiError>> + Send;
    /// Has one be gone.
    fn delete(
        state: &ApiState,
        caller: Caller,
        name: &str,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;
}

/// Does all of it.
pub(super) async fn bulk<K: Kind>(
    state: &ApiState,
    caller: &Caller,
    actions: Vec<Action<K::Body>>,
) -> Result<BulkResponse, ApiError> {
    check::<K>(&actions)?;
    let mut response = BulkResponse::default();
    for action in actions {
        match action {
            Action::Create(entities, on_existence) => {
                let done = response.create.get_or_insert_default();
                create::<K>(state, caller, entities, on_existence, done).await?;
            }
            Action::Update(entities, mask, on_non_existence) => {
                let there = K::there(state).await?;
                let done = response.update.get_or_insert_default();
                if may_go_on::<K>(entities.iter().map(K::name), &there, on_non_existence, done) {
                    let mask = mask.unwrap_or_default();
                    for body in entities.into_iter().filter(|body| there.contains(K::name(body))) {
                        let name = K::name(&body).to_owned();
                        K::change(state, each(caller), body, &mask).await?;
                        done.success.push(name);
                    }
                }
            }
            Action::Delete(names, on_non_existence) => {
                let there = K::there(state).await?;
                let done = response.delete.get_or_insert_default();
                if may_go_on::<K>(names.iter().map(String::as_str), &there, on_non_existence, done)
                {
                    for name in names.into_iter().filter(|name| there.contains(name)) {
                        K::delete(state, each(caller), &name).await?;
                        done.success.push(name);
                    }
                }
            }
        }
    }
    Ok(response)
}

/// The key of the request is not that of each of its changes.
fn each(caller: &Caller) -> Caller {
    Caller { key: None, ..caller.clone() }
}

/// How often what rests on what was read is written, where that changes meanwhile.
const ATTEMPTS: usize = 10;

/// Writes what keeps some of what is there: again, where somebody changed that meanwhile.
pub(super) async fn again_where_changed<W>(mut write: impl FnMut() -> W) -> Result<(), ApiError>
where
    W: Future<Output = Result<(), ApiError>>,
{
    let mut left = ATTEMPTS;
    loop {
        match write().await {
            Err(ApiError::SecretChanged(_)) if left > 1 => left -= 1,
            written => return written,
        }
    }
}

/// Tells what is wrong with any of them before the first is done.
fn check<K: Kind>(actions: &[Action<K::Body>]) -> Result<(), ApiError> {
    let count = |action: &Action<K::Body>| match action {
        Action::Create(entities, _) | Action::Update(entities, ..) => entities.len(),
        Action::Delete(names, _) => names.len(),
    };
    let named: usize = actions.iter().map(count).sum();
    if named > AT_ONCE {
        let why = format!("the request names {named}; one may name up to {AT_ONCE}");
        return Err(ApiError::BadRequest(why));
    }
    for (nth, action) in actions.iter().enumerate() {
        if let Action::Create(entities, _) | Action::Update(entities, ..) = action {
            for (which, body) in entities.iter().enumerate() {
                let (nth, which) = (nth.to_string(), which.to_string());
                K::check(body, &["body", "actions", &nth, "entities", &which])?;
            }
        }
    }
    Ok(())
}

async fn create<K: Kind>(
    state: &ApiState,
    caller: &Caller,
    entities: Vec<K::Body>,
    on_existence: OnExistence,
    done: &mut BulkDone,
) -> Result<(), ApiError> {
    let there = K::there(state).await?;
    let taken: Vec<&str> =
        entities.iter().map(K::name).filter(|name| there.contains(*name)).collect();
    if on_existence == OnExistence::Fail && !taken.is_empty() {
        let error = format!("The {}: {} already exist.", K::MANY, taken.join(", "));
        done.errors.push(BulkError { error, status_code: 409 });
        return Ok(());
    }
    for body in entities {
        let name = K::name(&body).to_owned();
        if on_existence != OnExistence::Skip || !there.contains(&name) {
            K::put(state, each(caller), body).await?;
            done.success.push(name);
        }
    }
    Ok(())
}

/// Whether those that are there are to be seen to; says so where one is not there and all must be.
fn may_go_on<'a, K: Kind>(
    names: impl Iterator<Item = &'a str>,
    there: &BTreeSet<String>,
    on_non_existence: OnNonExistence,
    done: &mut BulkDone,
) -> bool {
    let missing: Vec<&str> = names.filter(|name| !there.contains(*name)).collect();
    if on_non_existence == OnNonExistence::Skip || missing.is_empty() {
        return true;
    }
    let error = format!("The {}: {} were not found.", K::MANY, missing.join(", "));
    done.errors.push(BulkError { error, status_code: 404 });
    false
}
