//! What services serve: the API where there is one, and figures and health everywhere.
use std::{io, net::SocketAddr};

use axum::{Json, Router, http::StatusCode, response::IntoResponse, routing::get};
use dagbok_runlog_jetstream::Connection;
use dagbok_runtime::Shutdown;
use serde_json::json;
use tokio::net::TcpListener;

use crate::{codes::Code, failure::Failure};

/// Takes the address, before anything else is begun.
pub(crate) async fn bind(at: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(at).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            Failure::new(Code::PortInUse, format!("another process listens on {at}"))
                .next("end that one, or choose another address with --listen")
        }
        _ => Failure::new(Code::CantListen, format!("can't listen on {at}: {error}"))
            .next("choose another address with --listen"),
    })
}

/// Serves until the end is asked for and what is under way is answered.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: Shutdown,
) -> io::Result<()> {
    axum::serve(listener, router)
        .with_graceful_shutdown(async move { shutdown.started().await })
        .await
}

/// `/health` of a service without an API: 200 while its connection stands, 503 while it does not.
pub(crate) fn with_health(router: Router, service: &'static str, connection: Connection) -> Router {
    router.route(
        "/health",
        get(move || {
            let health = connection.health();
            async move {
                let status =
                    if health.connected { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                let body = json!({
                    "service": service,
                    "status": if health.connected { "healthy" } else { "unhealthy" },
                    "broker": {
                        "connected": health.connected,
                        "since_seconds": health.since.as_secs(),
                        "breaks": health.breaks,
                        "server": health.server_name,
                        "version": health.server_version,
                        "last_error": health.last_error,
                    },
                });
                (status, Json(body)).into_response()
            }
        }),
    )
}
