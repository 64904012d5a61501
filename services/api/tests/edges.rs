//! Requests that are wrong, large or strange get a clear answer in one shape; nothing breaks.

mod support;

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use serde_json::json;
use support::{
    World, json_of,
    story::{key, spec},
};

#[tokio::test]
async fn every_error_has_a_detail() {
    let world = World::new().await;
    for (path, want) in [
        ("/nowhere", StatusCode::NOT_FOUND),
        ("/api/v2/dags/nope", StatusCode::NOT_FOUND),
        ("/api/v2/dags/%FF%FE", StatusCode::UNPROCESSABLE_ENTITY),
        ("/api/v2/dags/%00", StatusCode::NOT_FOUND),
        ("/api/v2/dags/..%2F..%2Fetc", StatusCode::NOT_FOUND),
        ("/api/v2/dags?limit=-1", StatusCode::UNPROCESSABLE_ENTITY),
        ("/api/v2/dags?limit=many", StatusCode::UNPROCESSABLE_ENTITY),
        ("/api/v2/dags?limit=99999999999999999999999", StatusCode::UNPROCESSABLE_ENTITY),
        ("/api/v2/dags?paused=perhaps", StatusCode::UNPROCESSABLE_ENTITY),
        ("/api/v2/dags?pausd=true", StatusCode::UNPROCESSABLE_ENTITY),
        ("/api/v2/dags?order_by=mood", StatusCode::BAD_REQUEST),
        (
            "/api/v2/dags/~/dagRuns?run_after_gte=2026-01-01T00:00:00",
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        ("/api/v2/dags/~/dagRuns?state=odd", StatusCode::UNPROCESSABLE_ENTITY),
        ("/api/v2/dags/~/dagRuns/x/taskInstances", StatusCode::BAD_REQUEST),
        ("/api/v2/dags/a/dagRuns/b/taskInstances/c/notanumber", StatusCode::UNPROCESSABLE_ENTITY),
        ("/api/v2/importErrors/first", StatusCode::UNPROCESSABLE_ENTITY),
        ("/api/v2/importErrors/1", StatusCode::NOT_FOUND),
    ] {
        let (status, answer) = world.get(path).await;
        assert_eq!(status, want, "{path}: {answer}");
        assert!(!answer["detail"].is_null(), "{path}: {answer}");
    }
    let (_, answer) = world.get("/api/v2/dags?limit=many").await;
    assert_eq!(answer["detail"][0]["loc"], json!(["query", "limit"]), "{answer}");
    let (status, answer) = world.body("DELETE", "/api/v2/dags", &json!({})).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(answer["detail"].as_str().unwrap().contains("DELETE"));
}

#[tokio::test]
async fn bodies_are_bounded_and_must_be_json() {
    let world = World::new().await;
    let runs = "/api/v2/dags/chain/dagRuns";
    let post = |kind: &str, body: Vec<u8>| {
        Request::post(runs).header(header::CONTENT_TYPE, kind).body(Body::from(body)).unwrap()
    };
    for (request, want) in [
        (post("application/json", vec![b' '; 2 << 20]), StatusCode::PAYLOAD_TOO_LARGE),
        (post("text/plain", b"{}".to_vec()), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (post("application/json", b"{".to_vec()), StatusCode::UNPROCESSABLE_ENTITY),
        (post("application/json", vec![0xff, 0xfe]), StatusCode::UNPROCESSABLE_ENTITY),
        (post("application/json", b"[[[[[[[[".repeat(2_000)), StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let (status, answer) = json_of(world.send(request).await).await;
        assert_eq!(status, want, "{answer}");
        assert!(!answer["detail"].is_null());
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_body_is_said_shortly_and_with_its_place() {
    let world = World::new().await;
    let ask = async |body: String| {
        let request = Request::post("/api/v2/dags/chain/dagRuns")
            .header(header::CONTENT_TYPE, "application/json");
        json_of(world.send(request.body(Body::from(body)).unwrap()).await).await
    };
    let (status, answer) = ask(" ".repeat(2 << 20)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let said = answer["detail"].as_str().unwrap();
    assert_eq!(said, "the body is too long: it may have up to 1000000 bytes");

    let deep = format!(r#"{{"logical_date": null, "conf": {{"a": {}"#, "[".repeat(5_000));
    let long = format!(r#"{{"logical_date": null, "conf": {{"{}": ["#, "k".repeat(100_000));
    for (body, place) in [
        (deep, json!(["body", "conf"])),
        (long, json!(["body", "conf"])),
        (r#"{"logical_date": 7}"#.to_owned(), json!(["body", "logical_date"])),
        ("{".to_owned(), json!(["body"])),
    ] {
        let (status, answer) = ask(body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
        let problem = &answer["detail"][0];
        assert_eq!(problem["loc"], place, "{problem}");
        let said = problem["msg"].as_str().unwrap();
        assert!(said.len() < 250 && !said.contains("conf") && !said.contains("Failed"), "{said}");
    }
}

#[tokio::test]
async fn names_are_believed_from_this_machine_only() {
    use axum::extract::ConnectInfo;
    use tower::ServiceExt as _;

    let world = World::new().await;
    let ask = |peer: &str, name: &str| {
        let mut request = Request::patch("/api/v2/dags/chain")
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-dagbok-user", name)
            .body(Body::from(r#"{"is_paused": true}"#))
            .unwrap();
        let peer: std::net::SocketAddr = peer.parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(peer));
        world.app.clone().oneshot(request)
    };
    let inbox = dagbok_runlog::QueueSettings { lease: support::SOON };
    let inbox = world.ports.queues.open(dagbok_protocol::names::INBOX, inbox).await.unwrap();
    for (peer, want) in [("127.0.0.1:1", "eve"), ("[::1]:1", "eve"), ("10.0.0.1:1", "anonymous")] {
        assert_eq!(ask(peer, "eve").await.unwrap().status(), StatusCode::GATEWAY_TIMEOUT);
        let item = inbox.pull(1, support::SOON).await.unwrap().remove(0);
        let command: dagbok_protocol::Command = dagbok_events::decode_any(&item.payload).unwrap();
        assert_eq!(command.by, dagbok_events::Actor::User(want.to_owned()), "{peer}");
        item.handle.ack().await.unwrap();
    }
    let long = "n".repeat(500);
    assert_eq!(ask("127.0.0.1:1", &long).await.unwrap().status(), StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn ids_of_any_language_are_found() {
    let world = World::new().await;
    world.story.registered(spec("überblick.täglich", &["a"]), 1).await;
    let run = key("überblick.täglich", "manual__2026-01-01T00:00:00+00:00");
    world.story.created(&run).await;
    world.settled().await;
    let dag = world.ok("/api/v2/dags/%C3%BCberblick.t%C3%A4glich").await;
    assert_eq!(dag["dag_id"], "überblick.täglich");
    for id in ["manual__2026-01-01T00:00:00+00:00", "manual__2026-01-01T00%3A00%3A00%2B00%3A00"] {
        let run = world.ok(&format!("/api/v2/dags/%C3%BCberblick.t%C3%A4glich/dagRuns/{id}")).await;
        assert_eq!(run["dag_run_id"], "manual__2026-01-01T00:00:00+00:00");
    }
}

#[tokio::test]
async fn the_document_describes_every_route() {
    let world = World::new().await;
    let document = world.ok("/openapi.json").await;
    assert_eq!(
        document,
        serde_json::from_str::<serde_json::Value>(&dagbok_api::openapi()).unwrap()
    );
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 30, "{}", paths.len());
    let run = &document["components"]["schemas"]["RunResponse"]["properties"];
    assert!(run["dag_run_id"].is_object() && run["state"].is_object());
    let trigger = &document["components"]["schemas"]["TriggerBody"];
    assert!(trigger["required"].as_array().unwrap().contains(&json!("logical_date")), "{trigger}");
    let response = world.get_with("/", &[]).await;
    assert_eq!(response.status(), StatusCode::OK);
    let policy = response.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'self'") && !policy.contains("unsafe"), "{policy}");
    assert!(support::text_of(response).await.contains("<base href=\"./\">"));
}
