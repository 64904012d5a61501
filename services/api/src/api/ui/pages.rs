//! The page and the application's files.
use axum::{
    Router,
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use dagbok_ui::{Page, SECURITY_POLICY};
use serde_json::json;
use tower_http::compression::CompressionLayer;

use super::{
    super::{errors::ApiError, state::ApiState},
    old,
    view::{View, ViewQuery},
};

/// Airflow's paths, and ours beside them. What comes after them the browser reads.
const PATHS: [&str; 19] = [
    "/",
    "/home",
    "/dags",
    "/dags/{*rest}",
    "/dag_runs",
    "/task_instances",
    "/alerts",
    "/alerts/{*rest}",
    "/oncall",
    "/expected",
    "/import_errors",
    "/pools",
    "/executors",
    "/connections",
    "/variables",
    "/assets",
    "/health",
    "/audit",
    "/events",
];

/// The pages, and `/assets`.
pub(crate) fn routes() -> Router<ApiState> {
    let pages = PATHS.iter().fold(Router::new(), |router, path| router.route(path, get(page)));
    let olds = old::PATHS.iter().fold(pages, |router, path| {
        // Airflow 2 wrote some with a slash at their end, and its links have it.
        let slashed = format!("{path}/");
        router.route(path, get(old::moved)).route(&slashed, get(old::moved))
    });
    olds.layer(CompressionLayer::new()).route("/assets/{name}", get(asset))
}

async fn page(State(state): State<ApiState>, request: Request) -> Response {
    // A request's body is not shared between threads, its address is.
    let uri = request.uri().clone();
    let (path, query) = (uri.path(), uri.query().unwrap_or_default());
    match old::within_dag(&state, path, query).await {
        Ok(None) => {}
        Ok(Some(moved)) => return moved,
        Err(error) => return error.into_response(),
    }
    let query: ViewQuery = serde_html_form::from_str(query).unwrap_or_default();
    let base = dagbok_ui::base_of(path);
    let (mut status, mut snapshot) = (StatusCode::OK, String::new());
    if let Some(view) = View::of_path(path, &query).filter(|_| dagbok_ui::is_built()) {
        let of = view.name();
        let first = match view.snapshot(&state).await {
            Ok(data) => json!({ "of": of, "data": data }),
            Err(error) => {
                if matches!(error, ApiError::NotFound(_)) {
                    status = StatusCode::NOT_FOUND;
                }
                json!({ "of": of, "error": error.told() })
            }
        };
        snapshot = first.to_string();
    }
    let html = Html(Page { base: &base, snapshot: &snapshot }.html());
    (status, guarded(), html).into_response()
}

/// Headers of the page: nothing from elsewhere, in no frame, always asked anew.
fn guarded() -> [(HeaderName, &'static str); 6] {
    [
        (header::CONTENT_SECURITY_POLICY, SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ]
}

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some(file) = dagbok_ui::file(&name) else {
        return ApiError::NotFound(format!("the web UI has no file `{name}`")).into_response();
    };
    let takes = headers.get(header::ACCEPT_ENCODING).and_then(|it| it.to_str().ok());
    let takes = |coding: &str| {
        let mut named = takes.unwrap_or_default().split(',').map(str::trim);
        named.any(|one| one.split(';').next() == Some(coding) && !one.ends_with("q=0"))
    };
    let (coding, body) = if takes("br") {
        (Some("br"), file.brotli)
    } else if takes("gzip") {
        (Some("gzip"), file.gzip)
    } else {
        (None, file.plain)
    };
    let fixed = [
        (header::CONTENT_TYPE, file.kind()),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::VARY, "accept-encoding"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let coding = coding.map(|coding| [(header::CONTENT_ENCODING, coding)]);
    match coding {
        Some(coding) => (fixed, coding, body).into_response(),
        None => (fixed, body).into_response(),
    }
}
