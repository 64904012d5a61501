//! The API's routes, and what all of them share: limits, time-outs, errors in one shape.
mod alerts;
mod assets;
mod backfills;
mod callbacks;
mod dags;
mod document;
mod drawn;
mod errors;
mod events;
mod executors;
mod extract;
mod guard;
mod history;
mod hitl;
mod import_errors;
mod json;
mod logs;
mod monitor;
mod page;
mod params;
mod pools;
mod promises;
mod prune;
mod pulse;
mod queues;
mod reschedule;
mod root;
mod runs;
pub(crate) mod secrets;
mod sources;
mod state;
mod tasks;
mod tell;
mod ui;
mod view;
mod why;
mod xcoms;

use std::any::Any;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{Extensions, HeaderMap, Method, StatusCode, Version},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use errors::ApiError;
pub(crate) use extract::Asker;
pub use guard::Names;
pub(crate) use guard::guard;
pub use params::check_fields_text as check_fields;
pub use queues::CountsQueues;
pub use state::{ApiState, Parts, Patience};
use tower_http::{catch_panic::CatchPanicLayer, compression::CompressionLayer};
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};
pub use why::{Past, PastError};

/// The largest body of a request: what one record can hold, in bytes.
pub(crate) const BODY_BYTES: usize = dagbok_protocol::limits::RECORD_BYTES;

/// The document's head; paths and types are collected from the handlers.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Dagbok",
        description = "DAGs, runs and their log. Paths under `/api/v2` have the shape of Apache Airflow 3's public API; those under `/api/v2/dagbok` are Dagbok's own."
    ),
    components(schemas(dags::MatchMode))
)]
struct Head;

fn answered() -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(Head::openapi())
        .routes(routes!(dags::list))
        .routes(routes!(dags::get, dags::patch, dags::delete))
        .routes(routes!(dags::details))
        .routes(routes!(reschedule::reschedule))
        .routes(routes!(assets::list))
        .routes(routes!(assets::get))
        .routes(routes!(assets::events, assets::create_event))
        .routes(routes!(assets::aliases))
        .routes(routes!(assets::alias))
        .routes(routes!(assets::materialize))
        .routes(routes!(assets::queued, assets::drop_queued))
        .routes(routes!(assets::queued_one, assets::drop_queued_one))
        .routes(routes!(assets::queued_of_asset, assets::drop_queued_of_asset))
        .routes(routes!(assets::upstream))
        .routes(routes!(backfills::list, backfills::create))
        .routes(routes!(backfills::dry_run))
        .routes(routes!(backfills::get))
        .routes(routes!(backfills::pause))
        .routes(routes!(backfills::unpause))
        .routes(routes!(backfills::cancel))
        .routes(routes!(promises::expected))
        .routes(routes!(promises::unpause_preview))
        .routes(routes!(dags::versions))
        .routes(routes!(sources::source))
        .routes(routes!(dags::tasks))
        .routes(routes!(dags::task))
        .routes(routes!(runs::list, runs::trigger))
        .routes(routes!(runs::get, runs::patch, runs::delete))
        .routes(routes!(runs::cancel))
        .routes(routes!(runs::mark))
        .routes(routes!(runs::clear))
        .routes(routes!(runs::refused_reports))
        .routes(routes!(history::changes))
        .routes(routes!(history::clear_task_instances))
        .routes(routes!(history::clear_run))
        .routes(routes!(history::patch_task_dry_run))
        .routes(routes!(history::patch_copy_dry_run))
        .routes(routes!(tasks::list))
        .routes(routes!(tasks::get, history::patch_task))
        .routes(routes!(tasks::get_copy, history::patch_copy))
        .routes(routes!(tasks::tries))
        .routes(routes!(tasks::tries_of_copy))
        .routes(routes!(tasks::one_try))
        .routes(routes!(tasks::copies))
        .routes(routes!(hitl::list))
        .routes(routes!(hitl::get, hitl::answer))
        .routes(routes!(hitl::get_try))
        .routes(routes!(why::partitions))
        .routes(routes!(callbacks::of_run))
        .routes(routes!(why::dag))
        .routes(routes!(why::run))
        .routes(routes!(why::task))
        .routes(routes!(why::run_changes))
        .routes(routes!(why::task_changes))
        .routes(routes!(xcoms::list))
        .routes(routes!(xcoms::get))
        .routes(routes!(import_errors::list))
        .routes(routes!(import_errors::get))
        .routes(routes!(pools::list, pools::post, pools::bulk))
        .routes(routes!(pools::get, pools::patch, pools::delete))
        .merge(secret())
        .merge(fleet())
        .merge(alerting())
        .merge(views())
        .routes(routes!(monitor::health))
        .routes(routes!(monitor::version))
}

/// Executors, and what waits for them.
fn fleet() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(queues::list))
        .routes(routes!(queues::get))
        .routes(routes!(executors::list))
        .routes(routes!(executors::cordon))
        .routes(routes!(executors::drain))
        .routes(routes!(executors::uncordon))
}

/// What the web UI's views show.
fn views() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(ui::home))
        .routes(routes!(ui::expected))
        .routes(routes!(ui::dags))
        .routes(routes!(ui::pools))
        .routes(routes!(ui::executors))
        .routes(routes!(ui::past))
        .routes(routes!(ui::code))
        .routes(routes!(ui::changes))
        .routes(routes!(ui::dag))
        .routes(routes!(ui::run))
        .routes(routes!(ui::task))
        .routes(routes!(ui::log))
}

/// Variables and connections.
fn secret() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(
            secrets::variables::list,
            secrets::variables::post,
            secrets::variables::bulk
        ))
        .routes(routes!(
            secrets::variables::get,
            secrets::variables::patch,
            secrets::variables::delete
        ))
        .routes(routes!(
            secrets::connections::list,
            secrets::connections::post,
            secrets::connections::bulk
        ))
        .routes(routes!(
            secrets::connections::get,
            secrets::connections::patch,
            secrets::connections::delete
        ))
        .routes(routes!(secrets::entries))
        .routes(routes!(secrets::rotate))
}

/// Alerts, what holds them back, and who lives.
fn alerting() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(alerts::list))
        .routes(routes!(alerts::change::test))
        .routes(routes!(alerts::study::on_call))
        .routes(routes!(alerts::study::check))
        .routes(routes!(alerts::get))
        .routes(routes!(alerts::change::acknowledge))
        .routes(routes!(alerts::change::resolve))
        .routes(routes!(alerts::told))
        .routes(routes!(alerts::silences::silences, alerts::silences::silence))
        .routes(routes!(alerts::silences::unsilence))
        .routes(routes!(alerts::duty::oncall))
        .routes(routes!(alerts::heartbeats::list))
        .routes(routes!(alerts::heartbeats::beat, alerts::heartbeats::forget))
        .routes(routes!(alerts::link::look, alerts::link::acknowledge))
        .routes(routes!(alerts::link::pagerduty))
}

/// Routes that take as long as they take: streams and long polls.
fn streamed() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(events::events))
        .routes(routes!(runs::wait_lines))
        .routes(routes!(runs::wait))
        .routes(routes!(logs::get))
        .routes(routes!(logs::follow))
        .routes(routes!(logs::usage))
        .routes(routes!(prune::prune))
        .routes(routes!(alerts::study::explain))
        .routes(routes!(alerts::study::backtest))
        .routes(routes!(ui::stream))
}

/// The whole API. Merge further routes (`/metrics`) with [`Router::merge`].
pub fn router(state: ApiState) -> Router {
    let (answered, _) = answered().split_for_parts();
    let (streamed, _) = streamed().split_for_parts();
    let answered = answered
        .layer(CompressionLayer::new())
        .layer(middleware::from_fn(tell::with_seq))
        .layer(middleware::from_fn_with_state(state.clone(), in_time));
    let ends = |_: StatusCode, _: Version, _: &HeaderMap, marks: &Extensions| {
        marks.get::<events::Ends>().is_some()
    };
    let streamed = streamed.layer(CompressionLayer::new().compress_when(ends));
    let text = openapi();
    answered
        .merge(streamed)
        .merge(root::routes(text))
        .merge(ui::routes())
        .fallback(not_found)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(CatchPanicLayer::custom(panicked))
        .with_state(state)
}

/// The OpenAPI document, as JSON with a line for each value.
pub fn openapi() -> String {
    let (_, mut document) = answered().split_for_parts();
    document.merge(streamed().into_openapi());
    document::complete(&mut document);
    root::document_text(&document)
}

async fn in_time(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let within = state.patience.request;
    match tokio::time::timeout(within, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            ApiError::Unavailable(format!("no answer was ready within {within:?}")).into_response()
        }
    }
}

async fn not_found(request: Request) -> ApiError {
    ApiError::NotFound(format!(
        "there is nothing at {}; /openapi.json lists what there is",
        request.uri().path()
    ))
}

async fn no_such_method(method: Method, request: Request) -> Response {
    let detail = format!(
        "{} does not take {method}; /openapi.json lists what it takes",
        request.uri().path()
    );
    let body = axum::Json(serde_json::json!({ "detail": detail }));
    (axum::http::StatusCode::METHOD_NOT_ALLOWED, body).into_response()
}

#[expect(clippy::needless_pass_by_value, reason = "the layer hands it over so")]
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    ApiError::bug(&format!("a handler panicked: {}", text.unwrap_or_default())).into_response()
}
