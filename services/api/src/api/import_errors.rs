//! Files that can't be read.
use axum::{Json, extract::State};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    errors::ApiError,
    extract::{InPath, InQuery},
    page::{Page, SortKey, matches, orders, sort},
    state::ApiState,
    view::bundle_name,
};
use crate::{
    model::rows::ImportErrorRow,
    shapes::{Detail, ImportErrorCollection, ImportErrorExtra, ImportErrorResponse},
};

fn shown(row: ImportErrorRow) -> ImportErrorResponse {
    let ImportErrorRow { seq, at, file, line, exception, message, traceback, keeps } = row;
    let stack_trace =
        if traceback.is_empty() { format!("{exception}: {message}") } else { traceback };
    ImportErrorResponse {
        import_error_id: seq,
        timestamp: at.into(),
        bundle_name: Some(bundle_name(&file)),
        filename: file,
        stack_trace,
        dagbok: ImportErrorExtra {
            line,
            exception,
            message,
            keeps: keeps.iter().map(ToString::to_string).collect(),
        },
    }
}

/// Which import errors are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ImportErrorQuery {
    /// Entries of the page.
    limit: Option<usize>,
    /// Entries before it.
    offset: Option<usize>,
    /// Those of files with this in their names; `%`, `_` and `|` as in Airflow.
    filename_pattern: Option<String>,
    /// The one of this file.
    filename: Option<String>,
    /// `id`, `timestamp`, `filename`.
    order_by: Vec<String>,
}

/// Every file that can't be read, and why.
#[utoipa::path(get, path = "/api/v2/importErrors", tag = "Import Error", params(ImportErrorQuery), responses(
    (status = 200, body = ImportErrorCollection), (status = 400, body = Detail), (status = 422, body = Detail)
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    InQuery(query): InQuery<ImportErrorQuery>,
) -> Result<Json<ImportErrorCollection>, ApiError> {
    let mut wishes = orders(&query.order_by, &["id", "import_error_id", "timestamp", "filename"])?;
    if wishes.is_empty() {
        wishes = orders(&["id".to_owned()], &["id"])?;
    }
    let page = Page::new(query.limit, query.offset);
    let mut all = state.read(|store| Ok(store.import_errors()?)).await?;
    let pattern = query.filename_pattern.as_deref();
    all.retain(|row| {
        query.filename.as_ref().is_none_or(|name| *name == row.file)
            && pattern.is_none_or(|pattern| matches(pattern, &row.file))
    });
    sort(&mut all, &wishes, |row, field| match field {
        "timestamp" => Some(row.at).into(),
        "filename" => row.file.as_str().into(),
        #[expect(clippy::cast_precision_loss, reason = "sequences stay far below 2^53")]
        _ => SortKey::Number(row.seq as f64),
    });
    let (found, total_entries) = page.cut(all);
    Ok(Json(ImportErrorCollection {
        import_errors: found.into_iter().map(shown).collect(),
        total_entries,
    }))
}

/// Why one file can't be read.
#[utoipa::path(get, path = "/api/v2/importErrors/{import_error_id}", tag = "Import Error",
    params(("import_error_id" = u64, Path)),
    responses((status = 200, body = ImportErrorResponse), (status = 404, body = Detail), (status = 422, body = Detail)
))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    InPath(id): InPath<u64>,
) -> Result<Json<ImportErrorResponse>, ApiError> {
    let all = state.read(|store| Ok(store.import_errors()?)).await?;
    let found = all.into_iter().find(|row| row.seq == id);
    let found =
        found.ok_or_else(|| ApiError::NotFound(format!("there is no import error {id}")))?;
    Ok(Json(shown(found)))
}
