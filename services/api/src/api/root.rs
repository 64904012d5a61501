//! The API's own description.
use axum::{Router, http::header, response::IntoResponse, routing::get};
use utoipa::openapi::OpenApi;

use super::state::ApiState;

/// The document as text: one value a line, and a line's end at the end.
pub(crate) fn document_text(document: &OpenApi) -> String {
    document.to_pretty_json().expect("an OpenAPI document has text keys") + "\n"
}

/// `/openapi.json`.
pub(crate) fn routes(document: String) -> Router<ApiState> {
    let json = move || {
        let document = document.clone();
        async move { ([(header::CONTENT_TYPE, "application/json")], document).into_response() }
    };
    Router::new().route("/openapi.json", get(json))
}
