//! Several pools made, changed and deleted by one request, as Airflow's: action by action, and within one all
//! or, where one of them stands in the way, none.
use std::collections::BTreeSet;

use axum::{Json, extract::State};
use dagbok_protocol::{CommandBody, PoolChange};

use super::{
    all,
    change::{remove, wanted},
};
use crate::{
    api::{
        errors::ApiError,
        extract::{Caller, InBody},
        state::ApiState,
        tell::tell,
    },
    shapes::{
        BulkDone, BulkError, BulkResponse, Detail, OnExistence, OnNonExistence, PoolAction,
        PoolBody, PoolBulk,
    },
};

/// Pools that one request may name.
const AT_ONCE: usize = 1_000;

/// Makes, changes and deletes pools.
#[utoipa::path(patch, path = "/api/v2/pools", tag = "Pool", request_body = PoolBulk,
    responses((status = 200, body = BulkResponse), (status = 202, body = Detail), (status = 400, body = Detail),
    (status = 422, body = Detail), (status = 503, body = Detail), (status = 504, body = Detail)
))]
pub(crate) async fn bulk(
    State(state): State<ApiState>,
    caller: Caller,
    InBody(PoolBulk { actions }): InBody<PoolBulk>,
) -> Result<Json<BulkResponse>, ApiError> {
    check(&actions)?;
    let bulk = Bulk { state: &state, caller };
    let mut response = BulkResponse::default();
    for action in actions {
        match action {
            PoolAction::Create { entities, action_on_existence } => {
                let done = response.create.get_or_insert_default();
                bulk.create(entities, action_on_existence, done).await?;
            }
            PoolAction::Update { entities, update_mask, action_on_non_existence } => {
                let done = response.update.get_or_insert_default();
                bulk.update(entities, update_mask, action_on_non_existence, done).await?;
            }
            PoolAction::Delete { entities, action_on_non_existence } => {
                let done = response.delete.get_or_insert_default();
                bulk.delete(entities, action_on_non_existence, done).await?;
            }
        }
    }
    Ok(Json(response))
}

/// Tells what is wrong with any of them before the first is done.
fn check(actions: &[PoolAction]) -> Result<(), ApiError> {
    let count = |action: &PoolAction| match action {
        PoolAction::Create { entities, .. } | PoolAction::Update { entities, .. } => entities.len(),
        PoolAction::Delete { entities, .. } => entities.len(),
    };
    let named: usize = actions.iter().map(count).sum();
    if named > AT_ONCE {
        let why = format!("the request names {named} pools; one may name up to {AT_ONCE}");
        return Err(ApiError::BadRequest(why));
    }
    for (nth, action) in actions.iter().enumerate() {
        if let PoolAction::Create { entities, .. } | PoolAction::Update { entities, .. } = action {
            for (which, body) in entities.iter().enumerate() {
                let (nth, which) = (nth.to_string(), which.to_string());
                wanted(body.clone(), &["body", "actions", &nth, "entities", &which])?;
            }
        }
    }
    Ok(())
}

/// One request's changes.
struct Bulk<'a> {
    state: &'a ApiState,
    caller: Caller,
}

impl Bulk<'_> {
    async fn create(
        &self,
        entities: Vec<PoolBody>,
        on_existence: OnExistence,
        done: &mut BulkDone,
    ) -> Result<(), ApiError> {
        let there = self.there().await?;
        let taken: Vec<&str> = entities.iter().map(|body| body.name.as_str()).collect();
        let taken: Vec<&str> = taken.into_iter().filter(|name| there.contains(*name)).collect();
        if on_existence == OnExistence::Fail && !taken.is_empty() {
            let names = taken.join(", ");
            let error = format!("The pools with these pool names: {names} already exist.");
            done.errors.push(BulkError { error, status_code: 409 });
            return Ok(());
        }
        for body in entities {
            if on_existence != OnExistence::Skip || !there.contains(&body.name) {
                self.set(wanted(body, &["body"])?, done).await?;
            }
        }
        Ok(())
    }

    async fn update(
        &self,
        entities: Vec<PoolBody>,
        mask: Option<Vec<String>>,
        on_non_existence: OnNonExistence,
        done: &mut BulkDone,
    ) -> Result<(), ApiError> {
        let there = self.there().await?;
        let names = entities.iter().map(|body| body.name.as_str());
        if !may_go_on(names, &there, on_non_existence, done) {
            return Ok(());
        }
        for body in entities.into_iter().filter(|body| there.contains(&body.name)) {
            let mut change = wanted(body, &["body"])?;
            if let Some(mask) = &mask {
                let counts = |field: &str| mask.iter().any(|name| name.trim() == field);
                change.slots = change.slots.filter(|_| counts("slots"));
                change.description = change.description.filter(|_| counts("description"));
                change.include_deferred =
                    change.include_deferred.filter(|_| counts("include_deferred"));
            }
            self.set(change, done).await?;
        }
        Ok(())
    }

    async fn delete(
        &self,
        names: Vec<String>,
        on_non_existence: OnNonExistence,
        done: &mut BulkDone,
    ) -> Result<(), ApiError> {
        let there = self.there().await?;
        if !may_go_on(names.iter().map(String::as_str), &there, on_non_existence, done) {
            return Ok(());
        }
        for name in names.into_iter().filter(|name| there.contains(name)) {
            match remove(self.state, &name, self.caller.clone()).await {
                Ok(()) => done.success.push(name),
                Err(ApiError::BadRequest(error)) => {
                    done.errors.push(BulkError { error, status_code: 400 });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn there(&self) -> Result<BTreeSet<String>, ApiError> {
        Ok(self.state.read(all).await?.into_iter().map(|pool| pool.name).collect())
    }

    async fn set(&self, change: PoolChange, done: &mut BulkDone) -> Result<(), ApiError> {
        let name = change.pool.to_string();
        tell(self.state, self.caller.clone(), None, CommandBody::SetPool(change)).await?;
        done.success.push(name);
        Ok(())
    }
}

/// Whether those that are there are to be seen to; says so where one is not there and all must be.
fn may_go_on<'a>(
    names: impl Iterator<Item = &'a str>,
    there: &BTreeSet<String>,
    on_non_existence: OnNonExistence,
    done: &mut BulkDone,
) -> bool {
    let missing: Vec<&str> = names.filter(|name| !there.contains(*name)).collect();
    if on_non_existence == OnNonExistence::Skip || missing.is_empty() {
        return true;
    }
    let names = missing.join(", ");
    let error = format!("The pools with these pool names: {names} were not found.");
    done.errors.push(BulkError { error, status_code: 404 });
    false
}
