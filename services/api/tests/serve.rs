//! The service on a socket: it answers while the read model is built, and ends in order.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod support;

use std::time::{Duration, Instant};

use axum::{Router, routing::get};
use dagbok_api::{ServeError, Served, Settings, serve};
use dagbok_events::{encode, subject_of};
use dagbok_runlog::{Draft, Seq, memory};
use dagbok_runtime::{Clock, Shutdown};
use serde_json::Value;
use support::{SOON, liars::records};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

async fn started(ports: &dagbok_runlog::Ports, shutdown: &Shutdown) -> Served {
    let settings = Settings::new("127.0.0.1:0".parse().unwrap());
    let more = Router::new().route("/metrics", get(|| async { "up 1\n" }));
    serve(ports.clone(), settings, Clock::system(), more, shutdown).await.unwrap()
}

async fn ask(served: &Served, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn answer(served: &Served, path: &str) -> String {
    let mut stream = ask(served, path).await;
    let mut text = String::new();
    tokio::time::timeout(SOON, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_answers_while_the_rows_are_built() {
    let ports = memory::ports();
    let told: Vec<Draft> = records(3, 20_000)
        .iter()
        .map(|record| Draft { subject: subject_of(&record.scope), payload: encode(record).into() })
        .collect();
    let count = told.len() as u64;
    ports.log.append(Seq::ZERO, told).await.unwrap();
    let shutdown = Shutdown::new();
    let begin = Instant::now();
    let served = started(&ports, &shutdown).await;
    let health = answer(&served, "/api/v2/monitor/health").await;
    assert!(begin.elapsed() < Duration::from_secs(5));
    let body: Value = serde_json::from_str(health.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(body["dagbok"]["projection"]["last"], count);
    assert!(answer(&served, "/metrics").await.ends_with("up 1\n"), "further routes are merged in");
    assert!(served.model.progress().wait_for(Seq(count), SOON).await);
    shutdown.start();
    assert!(shutdown.finished(SOON).await);
}

#[tokio::test]
async fn a_stream_ends_with_the_service() {
    let ports = memory::ports();
    let shutdown = Shutdown::new();
    let served = started(&ports, &shutdown).await;
    let mut stream = ask(&served, "/api/v2/dagbok/events?follow=true").await;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    let begin = Instant::now();
    shutdown.start();
    let mut rest = Vec::new();
    tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert!(rest.ends_with(b"0\r\n\r\n"), "the body ends in order, it is not cut");
    served.task.await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn an_address_in_use_is_said() {
    let ports = memory::ports();
    let shutdown = Shutdown::new();
    let served = started(&ports, &shutdown).await;
    let settings = Settings::new(served.address);
    let error =
        serve(ports, settings, Clock::system(), Router::new(), &shutdown).await.unwrap_err();
    assert!(matches!(error, ServeError::Listen { .. }));
    assert!(error.to_string().contains("--listen"), "{error}");
}

#[tokio::test]
async fn connections_that_say_nothing_keep_nobody_out() {
    let ports = memory::ports();
    let shutdown = Shutdown::new();
    let mut settings = Settings::new("127.0.0.1:0".parse().unwrap());
    settings.connections = 8;
    let served = serve(ports, settings, Clock::system(), Router::new(), &shutdown).await.unwrap();
    let mut told = ask(&served, "/api/v2/dagbok/events?follow=true").await;
    let mut head = [0; 12];
    told.read_exact(&mut head).await.unwrap();
    let mut idle = Vec::new();
    for _ in 0..50 {
        idle.push(TcpStream::connect(served.address).await.unwrap());
        // Each has been taken, or closed to make room, before the next comes.
        let health = answer(&served, "/api/v2/monitor/health").await;
        assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    }
    let mut closed = 0;
    for stream in &mut idle {
        let mut byte = [0; 1];
        let end = stream.read(&mut byte);
        if let Ok(end) = tokio::time::timeout(Duration::from_millis(20), end).await {
            assert_eq!(end.unwrap_or(0), 0);
            closed += 1;
        }
    }
    assert!(closed >= 42, "{closed} of 50 were closed, where 8 may stay");
    shutdown.start();
    served.task.await.unwrap();
}

#[tokio::test]
async fn foreign_names_and_pages_are_refused() {
    let ports = memory::ports();
    let shutdown = Shutdown::new();
    let served = started(&ports, &shutdown).await;
    for (host, more, status) in [
        ("localhost", "", 200),
        ("127.0.0.1:8793", "origin: http://localhost:8793\r\n", 200),
        ("evil.example", "", 403),
        ("localhost", "origin: http://evil.example\r\n", 403),
        ("localhost", "origin: null\r\n", 403),
    ] {
        for path in ["/api/v2/version", "/metrics"] {
            let mut stream = TcpStream::connect(served.address).await.unwrap();
            let request =
                format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{more}connection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            assert!(text.starts_with(&format!("HTTP/1.1 {status}")), "{host} {more}: {text}");
        }
    }
    shutdown.start();
    served.task.await.unwrap();
}
