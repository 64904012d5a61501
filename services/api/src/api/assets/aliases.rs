//! Aliases: names that tasks give to assets when they run.
use axum::{Json, extract::State};
use serde::Deserialize;
use utoipa::IntoParams;

use super::super::{
    errors::ApiError,
    extract::{InPath, InQuery},
    page::{Page, SortKey, matches, orders, sort},
    state::ApiState,
};
use crate::{
    model::rows::AssetAliasRow,
    shapes::{AssetAlias, AssetAliasCollection, Detail},
};

/// Which aliases are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct AliasQuery {
    /// Entries of the page.
    limit: Option<usize>,
    /// Entries before it.
    offset: Option<usize>,
    /// Those whose name has this in it; `%`, `_` and `|` as in Airflow.
    name_pattern: Option<String>,
    /// `id` or `name`; by their names where not said.
    order_by: Vec<String>,
}

fn shown(row: &AssetAliasRow) -> AssetAlias {
    AssetAlias { id: row.id, name: row.name.clone(), group: "asset".to_owned() }
}

/// Every alias that is wanted.
#[utoipa::path(get, path = "/api/v2/assets/aliases", tag = "Asset", params(AliasQuery), responses(
    (status = 200, body = AssetAliasCollection), (status = 400, body = Detail), (status = 422, body = Detail)
))]
pub(crate) async fn aliases(
    State(state): State<ApiState>,
    InQuery(query): InQuery<AliasQuery>,
) -> Result<Json<AssetAliasCollection>, ApiError> {
    let page = Page::new(query.limit, query.offset);
    let orders = orders(&query.order_by, &["id", "name"])?;
    let found = state.read(move |store| {
        let mut all = store.asset_aliases()?;
        all.retain(|row| query.name_pattern.as_ref().is_none_or(|it| matches(it, &row.name)));
        sort(&mut all, &orders, |row, field| match field {
            "id" => Some(f64::from(row.id)).into(),
            _ => SortKey::from(row.name.as_str()),
        });
        let (rows, total_entries) = page.cut(all);
        let asset_aliases = rows.iter().map(shown).collect();
        Ok(AssetAliasCollection { asset_aliases, total_entries })
    });
    found.await.map(Json)
}

/// One alias.
#[utoipa::path(get, path = "/api/v2/assets/aliases/{asset_alias_id}", tag = "Asset",
    params(("asset_alias_id" = u32, Path)), responses(
    (status = 200, body = AssetAlias), (status = 404, body = Detail)
))]
pub(crate) async fn alias(
    State(state): State<ApiState>,
    InPath(id): InPath<u32>,
) -> Result<Json<AssetAlias>, ApiError> {
    let found = state.read(move |store| {
        let found = store.asset_aliases()?.into_iter().find(|row| row.id == id);
        found.as_ref().map(shown).ok_or_else(|| {
            ApiError::NotFound(format!(
                "there is no alias {id}; /api/v2/assets/aliases lists those there are"
            ))
        })
    });
    found.await.map(Json)
}
